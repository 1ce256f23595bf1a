"""The stand-ins call slots, overrides and boxes as PythonQt does, and keep what it would swallow."""

from __future__ import annotations

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


def test_clicked_hands_over_a_truth_value_to_those_who_take_it(app: Any) -> None:
    import qt

    button = qt.QPushButton("x")
    calls: list[Any] = []
    button.clicked.connect(lambda checked: calls.append(checked))
    button.clicked.connect(lambda: calls.append("nothing"))
    button.connect("clicked()", lambda: calls.append("signature"))
    app.show(button)
    app.click(button)
    assert calls == [False, "nothing", "signature"]


def test_a_string_connection_is_normalised_and_an_unknown_signal_is_told(swallowed: Any) -> None:
    import qt

    edit = qt.QLineEdit()
    calls: list[str] = []
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
