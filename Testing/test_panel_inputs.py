"""The Inputs section: models, and the Python that runs them."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from fake_engines import fake_python
from LesionSegmenterLib.bundle import DEFAULT_MODEL, known_models
from LesionSegmenterLib.requirements import lacking, read_requirements

SHIPPED = f"{DEFAULT_MODEL} {known_models()[DEFAULT_MODEL][0].version}"


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's folder of models: empty."""
    folder = tmp_path / "models"
    folder.mkdir()
    monkeypatch.setenv("LESION_SEGMENTER_MODELS", str(folder))
    return folder


@pytest.fixture
def inputs(models: Path, section: Any) -> Any:
    made = section("inputs", "InputsSection")
    made.app = section.app
    return made


def add(models: Path, bundle: Path, **changes: Any) -> None:
    """Put a copy of a bundle among the user's models, with other values in its specification."""
    spec = json.loads((bundle / "bundle.json").read_text()) | changes
    folder = models / f"{spec['name']}-{spec['version']}"
    shutil.copytree(bundle, folder)
    (folder / "bundle.json").write_text(json.dumps(spec))


def items(combo: Any) -> list[str]:
    return [combo.itemText(n) for n in range(combo.count)]


def use_python(inputs: Any, folder: Path, body: str) -> None:
    """Choose another Python as the user does, and wait for what is found in it."""
    inputs.app.answer(fake_python(folder, body))
    inputs.app.click(inputs.ui.pythonButton)
    inputs.app.wait(lambda: not inputs.engine.checking)


def found(**changes: Any) -> str:
    """A Python that answers the check so."""
    told = {"python": "3.12.1", "torch": "2.9.0", "missing": [], "training": True} | changes
    return f"tell('engine', **{told!r})"


# Models


def test_each_model_is_listed_once_with_its_newest_version(models: Path, bright: Path, section: Any) -> None:
    add(models, bright, version="1.9")
    add(models, bright, version="1.10")
    inputs = section("inputs", "InputsSection")
    listed = items(inputs.ui.modelComboBox)
    assert listed == sorted(listed) and listed[0] == "bright 1.10" and SHIPPED in listed
    assert len(listed) == len(known_models())


def test_of_the_shipped_models_the_default_is_chosen_though_others_come_before_it(section: Any) -> None:
    inputs = section("inputs", "InputsSection")
    assert inputs.model == DEFAULT_MODEL and inputs.ui.modelComboBox.currentText == SHIPPED


def test_a_model_says_what_it_finds(models: Path, bright: Path, section: Any) -> None:
    add(models, bright)
    inputs = section("inputs", "InputsSection")
    section.app.choose(inputs.ui.modelComboBox, "bright 1.0")
    assert inputs.ui.modelSummaryLabel.text == "Whatever is bright\nFinds WMH, stroke in FLAIR; version 1.0"
    section.app.choose(inputs.ui.modelComboBox, SHIPPED)
    assert "Finds WMH, stroke, MS in FLAIR" in inputs.ui.modelSummaryLabel.text


def test_the_card_is_shown_and_hidden_at_a_click(inputs: Any) -> None:
    assert not inputs.ui.cardBrowser.visible
    inputs.app.click(inputs.ui.detailsButton)
    assert "Not a medical device" in inputs.ui.cardBrowser.toPlainText()
    inputs.app.click(inputs.ui.detailsButton)
    assert not inputs.ui.cardBrowser.visible


def test_a_model_is_added_from_a_folder_and_chosen(models: Path, bright: Path, panel: Any) -> None:
    ui = panel.ui("inputs")
    panel.answer(str(bright))
    panel.click(ui.addModelButton)
    panel.wait(lambda: ui.addModelButton.enabled)
    assert (models / "bright-1.0" / "bundle.json").is_file()
    assert ui.modelComboBox.currentText == "bright 1.0" and panel.panel.parameters.model == "bright"


def test_a_folder_that_is_no_bundle_is_not_added(inputs: Any, tmp_path: Path) -> None:
    inputs.app.answer(str(tmp_path))
    inputs.app.click(inputs.ui.addModelButton)
    inputs.app.wait(lambda: inputs.ui.addModelButton.enabled)
    assert "no model bundle here" in inputs.panel.told[-1]


def test_without_the_instance_model_only_a_network_that_predicts_offsets_can_be_split_by_them(
    models: Path, bright: Path, panel: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("LesionSegmenterLib.panel.inputs.INSTANCE_MODEL", "not-there")
    spec = json.loads((bright / "bundle.json").read_text())
    add(models, bright, name="offsetter", output=spec["output"] | {"kind": "instances"}, shape="volume")
    inputs, ui = panel.panel.inputs, panel.ui("inputs")
    inputs.refresh_models("offsetter")
    offsets = ui.splitComboBox.model().item(ui.splitComboBox.findText("offsets"))
    assert offsets.isEnabled()
    panel.choose(ui.splitComboBox, "offsets")
    assert panel.panel.parameters.split == "offsets"
    panel.choose(ui.modelComboBox, SHIPPED)
    assert not offsets.isEnabled()
    assert ui.splitComboBox.currentText == "auto" == panel.panel.parameters.split


def test_what_any_model_finds_can_be_split_by_the_instance_models_offsets(panel: Any) -> None:
    ui = panel.ui("inputs")
    panel.choose(ui.modelComboBox, SHIPPED)
    panel.choose(ui.splitComboBox, "offsets")
    assert panel.panel.inputs.engine_arguments()[2:4] == ["--split", "offsets"]


def test_a_scene_keeps_its_model_also_where_that_is_not_there(panel: Any) -> None:
    panel.panel.parameters.model = "from-another-machine"
    ui = panel.ui("inputs")
    assert ui.modelComboBox.currentText == "from-another-machine (not on this machine)"
    assert not ui.detailsButton.enabled
    assert panel.panel.inputs.engine_arguments() == [
        *("--model", "from-another-machine", "--split", "auto", "--device", "auto")
    ]


def test_the_choices_of_device_and_split_are_the_scenes(panel: Any) -> None:
    ui = panel.ui("inputs")
    panel.choose(ui.deviceComboBox, "cpu")
    panel.choose(ui.splitComboBox, "acls")
    assert (panel.panel.parameters.device, panel.panel.parameters.split) == ("cpu", "acls")
    assert panel.panel.inputs.engine_arguments()[2:] == ["--split", "acls", "--device", "cpu"]


def test_volumes_of_the_scene_can_be_chosen(panel: Any) -> None:
    import slicer

    ui = panel.ui("inputs")
    first, second = (slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", n) for n in ("A", "B"))
    ui.flairSelector.setCurrentNode(first)
    ui.t1Selector.setCurrentNode(second)
    assert panel.panel.inputs.flair is first and panel.panel.inputs.t1 is second
    assert panel.panel.parameters.flair is first and panel.panel.parameters.t1 is second


# The engine's Python


def test_what_is_missing_is_told_by_name_and_version() -> None:
    assert lacking({"numpy": "2.0", "scipy": "1.14"}) == []
    assert lacking({"numpy": "9999.1", "no-such-package": "1.0"}) == ["numpy>=9999.1", "no-such-package>=1.0"]


def test_the_requirements_of_the_module_are_read(inputs: Any) -> None:
    wanted = read_requirements(inputs.engine.requirements)
    assert wanted["torch"] == "2.6" and "scikit-image" in wanted and len(wanted) == 8


def test_the_engine_is_found_in_a_python_that_has_it(inputs: Any) -> None:
    inputs.enter()
    assert "Looking at Slicer's Python" in inputs.ui.engineLabel.text
    inputs.app.wait(lambda: not inputs.engine.checking)
    assert inputs.ui.engineLabel.text.startswith("Ready: PyTorch 2")
    assert inputs.ui.installButton.text == "Repair…"


def test_looking_for_the_engine_imports_no_torch(inputs: Any) -> None:
    command = inputs.engine.command("LesionSegmenterLib.requirements", str(inputs.engine.requirements))
    told = subprocess.run(
        [command[0], "-X", "importtime", *command[1:]], env=inputs.engine.environment(), capture_output=True
    )
    assert b"json" in told.stderr and b" torch" not in told.stderr and b"nibabel" not in told.stderr


def test_another_python_is_used_from_then_on_and_remembered(
    inputs: Any, tmp_path: Path, section: Any
) -> None:
    use_python(inputs, tmp_path, found())
    path = str(tmp_path / "python")
    assert inputs.ui.engineLabel.text == f"Ready: PyTorch 2.9.0 in {path}"
    assert inputs.engine.command("m", "x") == [path, "-m", "m", "x"]
    assert not inputs.ui.installButton.enabled
    assert section("inputs", "InputsSection").engine.other_python == path


def test_slicers_python_can_be_used_again(inputs: Any, tmp_path: Path) -> None:
    use_python(inputs, tmp_path, found())
    inputs.app.click(inputs.ui.ownPythonButton)
    inputs.app.wait(lambda: not inputs.engine.checking)
    assert "Slicer's Python" in inputs.ui.engineLabel.text and inputs.ui.installButton.enabled
    assert not inputs.ui.ownPythonButton.enabled


def test_what_another_python_lacks_is_told(inputs: Any, tmp_path: Path) -> None:
    use_python(inputs, tmp_path, found(torch=None, missing=["torch>=2.6"]))
    assert inputs.ui.engineLabel.text.startswith("Not installed: torch>=2.6")


@pytest.mark.parametrize("body", ["sys.exit('Segmentation fault, as it were')", "print('hello')"])
def test_a_program_that_is_no_python_is_told(inputs: Any, tmp_path: Path, body: str) -> None:
    use_python(inputs, tmp_path, body)
    assert "this Python does not run" in inputs.ui.engineLabel.text
    assert "Choose another one" in inputs.ui.engineLabel.text


def test_a_program_that_is_not_there_is_told(inputs: Any, tmp_path: Path) -> None:
    inputs.app.answer(str(tmp_path / "nothing"))
    inputs.app.click(inputs.ui.pythonButton)
    assert "cannot be started" in inputs.ui.engineLabel.text


def test_another_python_does_not_see_slicers_variables(
    inputs: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONHOME", "/slicer")
    monkeypatch.setenv("PYTHONPATH", "/slicer/lib")
    assert inputs.engine.environment()["PYTHONHOME"] == "/slicer"
    assert inputs.engine.environment()["PYTHONPATH"].endswith("/slicer/lib")
    use_python(inputs, tmp_path, found())
    assert "PYTHONHOME" not in inputs.engine.environment()
    assert "/slicer/lib" not in inputs.engine.environment()["PYTHONPATH"]


# Packages


@pytest.fixture
def packaging() -> Any:
    """What Slicer was asked to install."""
    import slicer.packaging

    standin = slicer.packaging.standin
    standin.installed.clear()
    standin.fails_with = None
    yield standin
    standin.fails_with = None


def lacks_torch(inputs: Any) -> None:
    from LesionSegmenterLib.panel.engine_python import EngineState

    inputs.engine.state = EngineState("3.12", None, ("torch>=2.6", "nibabel>=5.3"), False)
    inputs.engine.changed.emit()


def test_packages_are_installed_only_if_the_user_agrees_to_what_and_how_large(
    inputs: Any, packaging: Any
) -> None:
    import qt

    lacks_torch(inputs)
    assert inputs.ui.installButton.text == "Install…"
    inputs.app.answer(qt.QMessageBox.No)
    inputs.app.click(inputs.ui.installButton)
    (question,) = inputs.app.questions
    assert "torch>=2.6" in question and "nibabel>=5.3" in question and "GB" in question
    assert packaging.installed == []
    inputs.app.answer(qt.QMessageBox.Yes)
    inputs.app.click(inputs.ui.installButton)
    assert packaging.installed == ["torch>=2.6", "nibabel>=5.3"]
    inputs.app.wait(lambda: not inputs.engine.checking)
    assert inputs.ui.engineLabel.text.startswith("Ready")


def test_repair_replaces_nothing_that_slicer_itself_has_loaded(inputs: Any, packaging: Any) -> None:
    import qt

    inputs.engine.check()
    inputs.app.wait(lambda: not inputs.engine.checking)
    inputs.app.answer(qt.QMessageBox.Yes)
    inputs.app.click(inputs.ui.installButton)
    assert packaging.installed[:2] == ["--force-reinstall", "--no-deps"]
    assert "torch>=2.6" in packaging.installed
    assert not any(line.startswith(("numpy", "scipy")) for line in packaging.installed)


def test_an_installation_that_fails_is_told_and_can_be_tried_again(inputs: Any, packaging: Any) -> None:
    import qt

    lacks_torch(inputs)
    packaging.fails_with = subprocess.CalledProcessError(23, "pip")
    inputs.app.answer(qt.QMessageBox.Yes)
    inputs.app.click(inputs.ui.installButton)
    assert "pip ended with 23" in inputs.panel.told[-1]
    assert inputs.ui.installButton.enabled


def test_entering_the_module_installs_nothing(inputs: Any, packaging: Any) -> None:
    lacks_torch(inputs)
    inputs.enter()
    inputs.app.wait(lambda: not inputs.engine.checking)
    assert packaging.installed == [] and inputs.app.questions == []
