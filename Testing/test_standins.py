"""The stand-ins for Slicer are as strict as PythonQt is: what passes here has a chance in the application."""

from __future__ import annotations

import gc
import sys
from typing import Any

import pytest

slicer = pytest.importorskip("slicer", reason="slicer-core is not installed: make .venv/slicer")
pytest.importorskip("PySide6.QtWidgets", exc_type=ImportError)


@pytest.fixture(autouse=True)
def app(slicer_app: Any) -> Any:
    return slicer_app


@pytest.fixture
def swallowed() -> Any:
    """What was told instead of raised, up to now; a test that asks for it expects it."""
    from standins import problems

    return problems.take


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


def test_clicked_hands_over_a_truth_value_to_those_who_take_it(app: Any) -> None:
    import qt

    button, calls = qt.QPushButton("x"), []
    button.clicked.connect(lambda checked: calls.append(checked))
    button.clicked.connect(lambda: calls.append("nothing"))
    button.connect("clicked()", lambda: calls.append("signature"))
    app.show(button)
    app.click(button)
    assert calls == [False, "nothing", "signature"]


def test_a_string_connection_is_normalised_and_an_unknown_signal_is_told(swallowed: Any) -> None:
    import qt

    edit, calls = qt.QLineEdit(), []
    assert edit.connect("textChanged( const QString & )", calls.append)
    edit.setText("a")
    assert calls == ["a"]
    assert edit.connect("textChangd(QString)", calls.append) is False
    assert edit.connect("textChanged(int)", calls.append) is False
    assert len(swallowed()) == 2


def test_a_connection_can_be_taken_back(app: Any) -> None:
    import qt

    class Counter:
        count = 0

        def more(self) -> None:
            self.count += 1

    button, counter = qt.QPushButton(), Counter()
    button.clicked.connect(counter.more)
    button.click()
    assert button.clicked.disconnect(counter.more)
    button.click()
    assert counter.count == 1
    assert not button.clicked.disconnect(counter.more)


def test_an_exception_in_a_slot_is_swallowed_and_the_harness_knows(swallowed: Any) -> None:
    import qt

    button, calls = qt.QPushButton(), []
    button.clicked.connect(lambda: 1 / 0)
    button.clicked.connect(lambda: calls.append("next"))
    button.click()
    assert calls == ["next"]
    (message,) = swallowed()
    assert "ZeroDivisionError" in message


def test_an_exception_in_an_observer_of_vtk_is_swallowed_and_the_harness_knows(swallowed: Any) -> None:
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTextNode")
    node.AddObserver("ModifiedEvent", lambda *_: 1 / 0)
    node.Modified()
    (message,) = swallowed()
    assert "ZeroDivisionError" in message


def test_finished_hands_over_the_exit_code_and_by_signature_the_status_too(app: Any) -> None:
    import qt

    process, codes, both = qt.QProcess(), [], []
    process.finished.connect(lambda *arguments: codes.append(arguments))
    assert process.connect("finished(int,QProcess::ExitStatus)", lambda *arguments: both.append(arguments))
    process.start(sys.executable, ["-c", "print('é'); raise SystemExit(3)"])
    app.wait(lambda: codes and both)
    assert codes == [(3,)]
    assert both == [(3, qt.QProcess.NormalExit)]
    output = process.readAllStandardOutput()
    assert output.data().decode().strip() == "é"
    assert str(output).startswith("b'")
    with pytest.raises(TypeError):
        bytes(output)
    with pytest.raises(TypeError):
        len(output)


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


def test_boxes_are_answered_by_the_test_and_answers_are_those_of_pythonqt(app: Any) -> None:
    import qt

    app.answer(qt.QMessageBox.Yes, "/case", ("a", "b"), qt.QMessageBox.Ok)
    assert qt.QMessageBox.question(None, "Split", "Sure?") == qt.QMessageBox.Yes
    assert qt.QFileDialog.getOpenFileName(None, "Open") == "/case"
    assert qt.QFileDialog.getOpenFileNames(None, "Open") == ("a", "b")
    assert slicer.util.confirmOkCancelDisplay("Delete?")
    assert app.questions == ["Split Sure?", "Open", "Open", "Delete?"]


def test_a_box_that_no_test_answers_is_a_problem_and_does_not_wait(swallowed: Any) -> None:
    assert not slicer.util.confirmYesNoDisplay("Really?")
    (message,) = swallowed()
    assert "Really?" in message


def test_a_button_box_takes_its_buttons_afterwards() -> None:
    import qt

    with pytest.raises(ValueError):
        qt.QDialogButtonBox(qt.QDialogButtonBox.Ok | qt.QDialogButtonBox.Cancel)
    box = qt.QDialogButtonBox()
    box.setStandardButtons(qt.QDialogButtonBox.Ok | qt.QDialogButtonBox.Cancel)
    assert box.button(qt.QDialogButtonBox.Ok).text


def test_an_items_own_order_is_ignored_and_numbers_sort_by_their_value() -> None:
    import qt

    class Item(qt.QTableWidgetItem):
        def __lt__(self, other: Any) -> bool:
            raise AssertionError("PythonQt does not call this")

    table = qt.QTableWidget(2, 1)
    items = []
    for row, value in enumerate((10.0, 9.0)):
        item = Item()
        item.setData(qt.Qt.DisplayRole, value)
        table.setItem(row, 0, item)
        items.append(item)
    table.sortItems(0)
    assert [table.item(row, 0).data(qt.Qt.DisplayRole) for row in (0, 1)] == [9.0, 10.0]


def test_a_table_model_in_python_is_sorted_and_filtered_by_qt() -> None:
    import qt

    class Model(qt.QAbstractTableModel):
        def rowCount(self, parent: Any = None) -> int:  # noqa: N802
            return 3

        def columnCount(self, parent: Any = None) -> int:  # noqa: N802
            return 1

        def data(self, index: Any, role: int = 0) -> Any:
            if role == qt.Qt.TextAlignmentRole:
                return qt.Qt.AlignRight | qt.Qt.AlignVCenter
            return (30.0, 4.0, 12.0)[index.row()] if role == qt.Qt.DisplayRole else None

        def flags(self, index: Any) -> int:
            return qt.Qt.ItemIsEnabled | qt.Qt.ItemIsSelectable

    model, view, proxy = Model(), qt.QTableView(), qt.QSortFilterProxyModel()
    proxy.setSourceModel(model)
    view.setModel(proxy)
    proxy.sort(0)
    assert [proxy.index(row, 0).data() for row in range(3)] == [4.0, 12.0, 30.0]
    assert model.flags(model.index(0, 0)) == 33
    assert proxy.index(0, 0).data(qt.Qt.TextAlignmentRole) == 130
    assert model.index(1, 0) == model.index(1, 0)
    assert qt.QAbstractTableModel.flags(model, model.index(0, 0)) & qt.Qt.ItemIsEnabled
    with pytest.raises(AttributeError):
        super(Model, model).flags  # noqa: B018 (PythonQt's methods are in no class's dictionary)


def test_an_exception_in_an_override_is_swallowed_and_qt_goes_on(swallowed: Any) -> None:
    import qt

    class Model(qt.QStandardItemModel):
        def rowCount(self, parent: Any = None) -> int:  # noqa: N802
            raise RuntimeError("in the override")

    model, proxy = Model(), qt.QSortFilterProxyModel()
    proxy.setSourceModel(model)
    assert proxy.rowCount() == 0
    assert any("in the override" in message for message in swallowed())


def test_event_filters_and_event_handlers_in_python_are_called(app: Any) -> None:
    import qt

    seen: list[str] = []

    class Filter(qt.QObject):
        def eventFilter(self, watched: Any, event: Any) -> bool:  # noqa: N802
            if event.type() == qt.QEvent.KeyPress:
                seen.append(watched.objectName)
            return False

    class Area(qt.QWidget):
        def resizeEvent(self, event: Any) -> None:  # noqa: N802
            seen.append("resized")

    area, edit, watcher = Area(), qt.QLineEdit(), Filter()
    edit.objectName = "edit"
    edit.installEventFilter(watcher)
    qt.QVBoxLayout(area).addWidget(edit)
    app.show(area)
    app.type(edit, "x")
    assert "resized" in seen and "edit" in seen


def test_a_python_subclass_that_stays_connected_is_found() -> None:
    import qt

    from standins.pythonqt import connected_subclasses

    class Model(qt.QStandardItemModel):
        pass

    model, slot = Model(), lambda: None
    model.modelReset.connect(slot)
    assert connected_subclasses() == [model]
    model.modelReset.disconnect(slot)
    assert connected_subclasses() == []
