"""The Retrain section: cases chosen, a training that is followed, stopped and resumed, and its model."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fake_engines import TRAIN, alive, calls_of, fake_python
from heads import LESIONS, centred_affine, save_head
from LesionSegmenterLib.bundle import DEFAULT_MODEL, known_models
from LesionSegmenterLib.export import CaseData, write_case
from LesionSegmenterLib.image import NiftiWriter, read_volume
from LesionSegmenterLib.labels import LesionType
from LesionSegmenterLib.measure import measure_lesions
from small_data import lesion_labels


def write_exported(folder: Path, subject: str, statuses: list[str]) -> None:
    """Export a head's four lesions: WMH, stroke, MS and WMH, in the given states."""
    path = save_head(folder / f"{subject}.nii.gz")
    ids = lesion_labels(centred_affine()).astype(np.int32)
    kinds = dict(
        zip((1, 2, 3, 4), (LesionType.WMH, LesionType.STROKE, LesionType.MS, LesionType.WMH), strict=True)
    )
    records = measure_lesions(ids, centred_affine(), types=kinds)
    assert len(records) == len(LESIONS)
    records = [replace(r, status=status) for r, status in zip(records, statuses, strict=True)]
    for record in records:
        if record.status == "rejected":
            ids[ids == record.lesion_id] = 0
    types = np.select([ids == i for i in kinds], list(kinds.values()), 0).astype(np.uint8)
    data = CaseData(subject, types, ids, None, records, {"reviewed": True})
    write_case(folder / "cases", data, NiftiWriter(read_volume(path)), path)


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three cases: one reviewed, one in part, one damaged."""
    folder = tmp_path_factory.mktemp("exported")
    write_exported(folder, "01", ["accepted", "accepted", "accepted", "rejected"])
    write_exported(folder, "02", ["accepted", "proposed", "proposed", "proposed"])
    write_exported(folder, "03", ["accepted"] * 4)
    (folder / "cases" / "sub-03" / "anat" / "sub-03_desc-lesions.tsv").write_text("rubbish\n")
    return folder / "cases"


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LESION_SEGMENTER_MODELS", str(tmp_path / "models"))
    return tmp_path / "models"


@pytest.fixture
def retrain(section: Any, models: Path, tmp_path: Path, bright: Path) -> Any:
    inputs = section("inputs", "InputsSection")
    section.app.window._cpp._panel.takeWidget()  # which the next section would otherwise delete
    made = section("retrain", "RetrainSection", inputs=inputs)
    made.app, made.inputs = section.app, inputs
    section.app.type(made.ui.runsLineEdit, str(tmp_path / "runs"))
    section.app.type(made.ui.nameLineEdit, "mine")
    use_trainer(tmp_path, TRAIN.format(pause=0, bundle=str(bright)))
    return made


def use_trainer(folder: Path, body: str) -> None:
    from LesionSegmenterLib.panel.settings import remember

    remember("python", fake_python(folder, body))


def choose(retrain: Any, folder: Path) -> None:
    retrain.app.answer(str(folder))
    retrain.app.click(retrain.ui.casesButton)
    retrain.app.wait(lambda: not retrain._recipes.running)


def train(retrain: Any) -> None:
    retrain.app.click(retrain.ui.trainButton)
    retrain.app.wait(lambda: not retrain.running)


def call_of(folder: Path, command: str) -> list[str]:
    return [call for call in calls_of(folder) if call[2] == command][-1]


def option(call: list[str], name: str) -> str:
    return call[call.index(name) + 1]


def rows(retrain: Any) -> list[list[str]]:
    table = retrain.ui.casesTable
    return [[table.item(row, column).text() for column in range(3)] for row in range(table.rowCount)]


def test_the_cases_of_a_folder_are_counted_by_type_and_review(retrain: Any, exported: Path) -> None:
    choose(retrain, exported)
    first, second, third = rows(retrain)
    assert first == ["01", "1 WMH, 1 stroke, 1 MS", "4 / 4"]
    assert second == ["02", "2 WMH, 1 stroke, 1 MS", "1 / 4"]
    assert third == ["03", "cannot be read", ""]
    assert "sub-03_desc-lesions.tsv" in retrain.ui.casesTable.item(2, 1).toolTip()
    assert "Chosen cases: 1, reviewed throughout: 1." in retrain.ui.casesSummaryLabel.text


def test_ticks_are_set_by_buttons_and_by_hand(retrain: Any, exported: Path) -> None:
    import qt

    choose(retrain, exported)
    retrain.app.click(retrain.ui.allButton)
    assert "Chosen cases: 2, reviewed throughout: 1." in retrain.ui.casesSummaryLabel.text
    assert "3 WMH, 2 stroke, 2 MS" in retrain.ui.casesSummaryLabel.text
    retrain.app.click(retrain.ui.noneButton)
    assert "Chosen cases: 0" in retrain.ui.casesSummaryLabel.text
    retrain.ui.casesTable.item(1, 0).setCheckState(qt.Qt.Checked)
    assert "Chosen cases: 1, reviewed throughout: 0." in retrain.ui.casesSummaryLabel.text
    retrain.app.click(retrain.ui.reviewedButton)
    assert [case.subject for case in retrain._table.chosen] == ["01"]


def test_a_folder_without_cases_is_refused(retrain: Any, tmp_path: Path) -> None:
    choose(retrain, tmp_path)
    assert "no exported case" in retrain.panel.told[-1]
    assert not retrain.ui.casesTable.visible


def test_the_folder_of_the_only_rater_is_found(retrain: Any, exported: Path, tmp_path: Path) -> None:
    folder = tmp_path / "all"
    folder.mkdir()
    (folder / "rater-Ada").symlink_to(exported)
    choose(retrain, folder)
    assert retrain.ui.casesLineEdit.text == str(folder / "rater-Ada") and len(rows(retrain)) == 3
    (folder / "rater-Bo").symlink_to(exported)
    choose(retrain, folder)
    assert "rater-Ada, rater-Bo" in retrain.panel.told[-1]


def test_recipes_are_those_that_the_trainer_lists(retrain: Any, exported: Path) -> None:
    choose(retrain, exported)
    combo = retrain.ui.recipeComboBox
    assert [combo.itemText(n) for n in range(combo.count)] == ["retrain", "uresnet"]
    assert combo.currentText == "retrain"


def test_a_training_becomes_a_model_in_the_list(
    retrain: Any, exported: Path, tmp_path: Path, models: Path
) -> None:
    choose(retrain, exported)
    train(retrain)
    retrain.app.wait(lambda: not retrain.running and "is in the list" in retrain.ui.trainingLabel.text)
    fit, bundle = call_of(tmp_path, "fit"), call_of(tmp_path, "bundle")
    assert fit[3] == "retrain" and option(fit, "--progress") == "json"
    assert option(fit, "--data") == str(exported / "sub-01")
    assert option(fit, "--start") == "uresnet-flair" and option(fit, "--out") == str(
        tmp_path / "runs" / "mine-1.0.0"
    )
    assert option(bundle, "--out") == str(models / "mine-1.0.0") and "--threshold" not in bundle
    assert Path(option(bundle, "--classifier")).is_file()
    combo = retrain.inputs.ui.modelComboBox
    assert "mine 1.0.0" in [combo.itemText(n) for n in range(combo.count)]
    assert retrain.ui.versionLineEdit.text == "1.1.0"
    assert retrain.panel.told == []


def test_all_cases_are_named_by_their_folder(retrain: Any, exported: Path, tmp_path: Path) -> None:
    folder = tmp_path / "exports"
    folder.mkdir()
    (folder / "dataset_description.json").write_text("{}")
    (folder / "sub-01").symlink_to(exported / "sub-01")
    choose(retrain, folder)
    train(retrain)
    assert option(call_of(tmp_path, "fit"), "--data") == str(folder)


def test_new_weights_and_other_recipes_can_be_chosen(retrain: Any, exported: Path, tmp_path: Path) -> None:
    choose(retrain, exported)
    retrain.app.choose(retrain.ui.recipeComboBox, "uresnet")
    retrain.app.choose(retrain.ui.startComboBox, "nothing: new weights")
    train(retrain)
    fit = call_of(tmp_path, "fit")
    assert fit[3] == "uresnet" and "--start" not in fit


def test_a_stopped_training_is_resumed(retrain: Any, exported: Path, tmp_path: Path, bright: Path) -> None:
    use_trainer(tmp_path, TRAIN.format(pause=0.05, bundle=str(bright)))
    choose(retrain, exported)
    retrain.app.click(retrain.ui.trainButton)
    retrain.app.wait(lambda: len(retrain._plot.points["loss"]) >= 2)
    assert retrain.ui.trainingLabel.text.startswith("Step ")
    assert not retrain.ui.trainButton.enabled and not retrain.ui.nameLineEdit.enabled
    retrain.app.click(retrain.ui.stopButton)
    retrain.app.wait(lambda: not retrain.running)
    assert "can be resumed" in retrain.ui.trainingLabel.text
    assert retrain.ui.trainButton.text == "Resume" and retrain.ui.trainButton.enabled
    train(retrain)
    retrain.app.wait(lambda: "is in the list" in retrain.ui.trainingLabel.text)
    steps = [step for step, _ in retrain._plot.points["loss"]]
    assert steps == list(range(1, 11))


def test_loss_and_validation_are_drawn_as_slicers_plot(retrain: Any, exported: Path) -> None:
    import slicer
    from vtk.util.numpy_support import vtk_to_numpy

    retrain.app.click(retrain.ui.curveButton)
    choose(retrain, exported)
    train(retrain)
    (chart,) = slicer.util.getNodesByClass("vtkMRMLPlotChartNode")
    drawn = {}
    for n in range(chart.GetNumberOfPlotSeriesNodes()):
        series = chart.GetNthPlotSeriesNode(n)
        table = series.GetTableNode().GetTable()
        name = series.GetYColumnName()
        drawn[name] = [vtk_to_numpy(table.GetColumnByName(c)) for c in (series.GetXColumnName(), name)]
    assert drawn["loss"][0].tolist() == list(range(1, 11))
    assert np.allclose(drawn["loss"][1], 1 / np.arange(1, 11))
    assert drawn["validation"][0].tolist() == [5, 10] and drawn["validation"][1].tolist() == [0.25, 0.5]
    assert not chart.GetXAxisRangeAuto() and chart.GetXAxisRange() == (0, 10)
    assert not chart.GetYAxisRangeAuto() and chart.GetYAxisRange() == pytest.approx((0, 1.05))
    retrain.app.click(retrain.ui.curveButton)
    assert len(slicer.util.getNodesByClass("vtkMRMLPlotChartNode")) == 1


def test_a_line_is_drawn_once_it_has_two_points(slicer_app: Any, tmp_path: Path) -> None:
    import slicer

    from LesionSegmenterLib.panel.training_plot import TrainingPlot

    def drawn() -> list[str]:
        (chart,) = slicer.util.getNodesByClass("vtkMRMLPlotChartNode")
        return [chart.GetNthPlotSeriesNode(n).GetName() for n in range(chart.GetNumberOfPlotSeriesNodes())]

    plot = TrainingPlot()
    plot.add(1, 0.9, 0.1)
    plot.show()
    slicer_app.process()  # Qt draws
    assert drawn() == []
    plot.add(2, 0.8, None)
    plot.draw()
    slicer_app.process()
    assert drawn() == ["loss"]
    plot.begin(tmp_path / "another run")
    slicer_app.process()
    assert drawn() == []


def test_a_training_goes_on_where_its_plot_went_with_the_scene(retrain: Any, exported: Path) -> None:
    import slicer

    retrain.app.click(retrain.ui.curveButton)
    slicer.mrmlScene.Clear(0)
    choose(retrain, exported)
    train(retrain)
    assert len(retrain._plot.points["loss"]) == 10 and retrain.panel.told == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda r: r.app.click(r.ui.noneButton), "no case is chosen"),
        (lambda r: r.app.type(r.ui.nameLineEdit, "no spaces"), "no usable name"),
        (lambda r: r.app.type(r.ui.versionLineEdit, "one"), "not of the form"),
        (
            lambda r: (
                r.app.type(r.ui.nameLineEdit, DEFAULT_MODEL),
                r.app.type(r.ui.versionLineEdit, known_models()[DEFAULT_MODEL][0].version),
            ),
            "already",
        ),
    ],
)
def test_what_cannot_be_trained_is_said(
    retrain: Any, exported: Path, tmp_path: Path, change: Any, words: str
) -> None:
    choose(retrain, exported)
    change(retrain)
    retrain.app.click(retrain.ui.trainButton)
    assert words in retrain.panel.told[-1]
    assert not any(call[2] == "fit" for call in calls_of(tmp_path))


def test_a_python_that_cannot_train_is_said(retrain: Any, exported: Path) -> None:
    from LesionSegmenterLib.panel.engine_python import EngineState

    retrain.inputs.engine.state = EngineState("3.12", "2.9", (), False)
    choose(retrain, exported)
    retrain.app.click(retrain.ui.trainButton)
    assert "lesion-segmenter[train]" in retrain.panel.told[-1]


def test_a_training_that_fails_is_explained(retrain: Any, exported: Path, tmp_path: Path) -> None:
    use_trainer(
        tmp_path,
        "print('first\\nsecond', file=sys.stderr)\n"
        "sys.exit('lesion-train: the loss is nan at step 7. Lower the learning rate and resume')",
    )
    choose(retrain, exported)
    train(retrain)
    text = retrain.ui.failureLabel.text
    assert "the loss is nan at step 7" in text and "second" in text and retrain.ui.failureLabel.visible
    retrain.app.click(retrain.ui.trainingLogButton)
    assert "first" in retrain.ui.trainingLogView.toPlainText()


def test_a_card_that_is_too_small_is_explained(retrain: Any, exported: Path, tmp_path: Path) -> None:
    use_trainer(tmp_path, "sys.exit('torch.OutOfMemoryError: CUDA out of memory')")
    choose(retrain, exported)
    train(retrain)
    assert "Choose cpu as the device" in retrain.ui.failureLabel.text


def test_nothing_is_left_of_a_training_when_the_module_is_unloaded(
    retrain: Any, exported: Path, tmp_path: Path
) -> None:
    body = "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
    body += "print('tree', os.getpid(), child.pid, flush=True)\ntime.sleep(60)"
    use_trainer(tmp_path, "if sys.argv[3] == 'recipes': sys.exit()\n" + body)
    choose(retrain, exported)
    retrain.app.click(retrain.ui.trainButton)
    retrain.app.wait(lambda: retrain._process.log)
    pids = [int(word) for word in retrain._process.log[0].split()[1:]]
    retrain._process.end()
    assert len(pids) == 2
    retrain.app.wait(lambda: not any(map(alive, pids)))


def test_the_folder_for_runs_is_chosen(retrain: Any, tmp_path: Path) -> None:
    retrain.app.answer(str(tmp_path))
    retrain.app.click(retrain.ui.runsButton)
    assert retrain.run_folder == tmp_path / "mine-1.0.0"


def test_the_fake_trainer_tells_what_the_real_one_tells(capsys: pytest.CaptureFixture[str]) -> None:
    """Else these tests would prove nothing."""
    from lesion_training.progress import training_reporter

    reporter = training_reporter("json")
    reporter.step(5, 10, 0.25, 0.5)
    reporter.step(6, 10, 0.2, None)
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert told == [
        {"event": "step", "step": 5, "steps": 10, "loss": 0.25, "validation": 0.5},
        {"event": "step", "step": 6, "steps": 10, "loss": 0.2, "validation": None},
    ]


def test_the_real_trainer_takes_one_case_by_its_folder(exported: Path) -> None:
    from lesion_training.folders import find_entries

    (entry,) = find_entries([exported / "sub-02"])
    assert entry.case == "02"


def test_the_real_trainer_lists_its_recipes_as_the_fake_one_does(
    retrain: Any, exported: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    from lesion_training.cli import main
    from lesion_training.recipe import recipe_names

    assert main(["recipes"]) == 0
    use_trainer(tmp_path, f"print({capsys.readouterr().out!r})")
    choose(retrain, exported)
    combo = retrain.ui.recipeComboBox
    assert sorted(combo.itemText(n) for n in range(combo.count)) == sorted(recipe_names())
