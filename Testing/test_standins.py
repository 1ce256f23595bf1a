"""The stand-ins for Slicer are as strict as PythonQt is: what passes here has a chance in the application."""

from __future__ import annotations

import gc
from typing import Any

import pytest

slicer = pytest.importorskip("slicer", reason="slicer-core is not installed: make .venv/slicer")
pytest.importorskip("PySide6.QtWidgets", exc_type=ImportError)


@pytest.fixture(autouse=True)
def app(slicer_app: Any) -> Any:
    return slicer_app


def test_properties_are_attributes_and_cannot_be_called() -> None:
    import qt

    button = qt.QPushButton("Split")
    assert (button.text, button.checked, button.enabled) == ("Split", False, True)
    button.text = "Merge"
    button.setEnabled(False)
    assert (button.text, button.enabled) == ("Merge", False)
    with pytest.raises(TypeError):
        button.text()
    with pytest.raises(TypeError):
        button.width()


def test_a_name_that_does_not_exist_is_refused_on_reading_and_on_writing() -> None:
    import qt

    for owner in (
        qt.QPushButton(),
        qt.QTableWidgetItem("1"),
        slicer.qMRMLNodeComboBox(),
        slicer.app,
        qt.QColor(),
    ):
        with pytest.raises(AttributeError, match="no attribute named 'noneEnable'"):
            owner.noneEnable  # noqa: B018
        with pytest.raises(AttributeError, match="creating new attributes on C\\+\\+ objects is not allowed"):
            owner.noneEnable = True


def test_methods_and_signals_cannot_be_overwritten_not_even_in_a_subclass() -> None:
    import qt

    class Button(qt.QPushButton):
        pass

    for button in (qt.QPushButton(), Button()):
        for name in ("click", "clicked"):
            with pytest.raises(AttributeError, match="can not be overwritten"):
                setattr(button, name, None)
    button.mine = 3  # a Python subclass may have attributes of its own
    assert button.mine == 3


def test_read_only_properties_and_values_of_the_wrong_type_are_refused() -> None:
    import qt

    box = qt.QSpinBox()
    with pytest.raises(AttributeError, match="not writable"):
        box.cleanText = "3"
    with pytest.raises(AttributeError, match="does not accept"):
        box.value = "three"
    with pytest.raises(AttributeError, match="does not accept"):
        box.enabled = "no"


def test_constructors_and_methods_take_no_keyword_arguments() -> None:
    import qt

    with pytest.raises(ValueError, match="keyword arguments"):
        qt.QPushButton(text="Split")
    with pytest.raises(ValueError, match="keyword arguments"):
        qt.QPushButton().setText(text="Split")


@pytest.mark.parametrize("arguments", [(), ("a", "b"), ("a", 1, None)])
def test_a_wrong_number_of_arguments_is_a_value_error(arguments: tuple[Any, ...]) -> None:
    import qt

    with pytest.raises(ValueError, match="with wrong arguments"):
        qt.QPushButton().setText(*arguments)


def test_numbers_and_none_pass_for_texts() -> None:
    import qt

    label = qt.QLabel("x")
    label.setText(3)
    assert label.text == "3"
    label.setText(None)
    assert label.text == ""
    label.text = 4
    assert label.text == "4"


def test_a_value_of_another_class_is_not_converted() -> None:
    import qt

    with pytest.raises(ValueError, match="does not convert"):
        qt.QShortcut("Ctrl+K", qt.QWidget())
    with pytest.raises(ValueError, match="does not convert"):
        qt.QPushButton().setIcon(qt.QPixmap(4, 4))
    with pytest.raises(ValueError, match="does not convert"):
        qt.QTableWidgetItem("x").setBackground("red")
    assert qt.QShortcut(qt.QKeySequence("Ctrl+K"), qt.QWidget()).key.toString() == "Ctrl+K"
    item = qt.QTableWidgetItem("x")
    item.setBackground(qt.QColor("red"))  # as PythonQt does
    assert item.background().color().name() == "#ff0000"


def test_objects_that_are_no_qobjects_use_calls() -> None:
    import qt

    item = qt.QTableWidgetItem("7")
    assert item.text() == "7"
    with pytest.raises(TypeError, match="is its call missing"):
        bool(item.text)
    with pytest.raises(TypeError, match="is its call missing"):
        f"{item.text}"


def test_a_wrapper_is_an_instance_of_its_own_class_alone() -> None:
    import qt

    button = qt.QPushButton()
    assert isinstance(button, qt.QPushButton)
    assert not isinstance(button, qt.QWidget)
    assert not issubclass(qt.QPushButton, qt.QAbstractButton)
    assert button.inherits("QWidget")
    assert button.className() == "QPushButton"


def test_one_object_has_one_wrapper_and_compares_by_identity() -> None:
    import qt

    parent = qt.QWidget()
    child = qt.QLabel("x", parent)
    assert parent.children() == (child,)
    assert child.parent() is parent
    assert child != qt.QLabel("x")


def test_combined_flags_are_integers_and_setters_take_them() -> None:
    import qt

    combined = qt.Qt.AlignRight | qt.Qt.AlignVCenter
    assert type(combined) is int
    label = qt.QLabel()
    label.setAlignment(combined)
    assert label.alignment == combined
    label.alignment = qt.Qt.AlignLeft
    assert label.alignment == qt.Qt.AlignLeft
    item = qt.QTableWidgetItem("x")
    item.setFlags(item.flags() & ~qt.Qt.ItemIsEditable)
    assert not item.flags() & qt.Qt.ItemIsEditable


def test_enumerations_have_no_members_of_their_own() -> None:
    import qt

    assert qt.Qt.AlignRight == 2
    with pytest.raises(AttributeError):
        qt.Qt.AlignmentFlag.AlignRight  # noqa: B018


def test_classes_that_python_cannot_use_or_that_qt_6_lacks_are_missing() -> None:
    import qt

    for name in ("Signal", "Slot", "Property", "QRegExp", "QTextCodec", "QDesktopWidget", "QKeyCombination"):
        assert not hasattr(qt, name), name
    assert not hasattr(qt.QVBoxLayout(), "setMargin")
    assert not hasattr(qt.QCheckBox(), "checkStateChanged")  # Qt 6 alone


def test_a_deleted_object_raises_value_error(app: Any) -> None:
    import qt

    widget = qt.QLabel("x")
    widget.deleteLater()
    app.process()
    assert not widget
    with pytest.raises(ValueError, match="destroyed"):
        widget.text  # noqa: B018
    with pytest.raises(ValueError, match="destroyed"):
        widget.show()
    table = qt.QTableWidget(1, 1)
    item = qt.QTableWidgetItem("x")
    table.setItem(0, 0, item)
    table.removeRow(0)
    with pytest.raises(ValueError, match="destroyed"):
        item.text()


def test_an_object_without_reference_or_parent_is_gone(app: Any) -> None:
    import qt

    calls: list[str] = []

    def start() -> None:
        timer = qt.QTimer()
        timer.timeout.connect(lambda: calls.append("rang"))
        timer.start(0)

    start()
    gc.collect()
    app.process(0.05)
    assert calls == []


def test_a_button_box_takes_its_buttons_afterwards() -> None:
    import qt

    with pytest.raises(ValueError):
        qt.QDialogButtonBox(qt.QDialogButtonBox.Ok | qt.QDialogButtonBox.Cancel)
    box = qt.QDialogButtonBox()
    box.setStandardButtons(qt.QDialogButtonBox.Ok | qt.QDialogButtonBox.Cancel)
    assert box.button(qt.QDialogButtonBox.Ok).text
