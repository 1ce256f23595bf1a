"""The command models: list, show, validate and add."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from command_calls import batch, call
from heads import bright_bundle, save_head
from LesionSegmenterLib import bundle


@pytest.fixture
def places(tmp_path, monkeypatch) -> Path:
    """Shipped and added models in folders of their own; returns that of the added."""
    monkeypatch.setattr(bundle, "SHIPPED", tmp_path / "shipped")
    monkeypatch.setenv("LESION_SEGMENTER_MODELS", str(tmp_path / "user"))
    return tmp_path / "user"


def test_an_added_model_is_listed_shown_and_found_by_name(places, tmp_path, capsys):
    source = bright_bundle(tmp_path / "source", version="2.1")
    assert call("models", "list") == 0
    assert capsys.readouterr().out == ""
    assert call("models", "add", source) == 0
    assert str(places / "bright-2.1") in capsys.readouterr().out
    shutil.rmtree(source)
    assert call("models", "list") == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert line.split()[:2] == ["bright", "2.1"] and "Whatever is bright" in line
    assert call("models", "show", "bright") == 0
    assert capsys.readouterr().out == "# Bright\n"
    (tmp_path / "in").mkdir()
    save_head(tmp_path / "in" / "a.nii.gz")
    assert batch(tmp_path / "in", tmp_path / "out", Path("bright")) == 0


def test_an_unusable_model_is_listed_as_such_and_does_not_hide_the_others(places, tmp_path, capsys):
    call("models", "add", bright_bundle(tmp_path / "source"))
    (places / "broken").mkdir()
    (places / "broken" / "bundle.json").write_text("{")
    capsys.readouterr()
    assert call("models", "list") == 0
    lines = capsys.readouterr().out.splitlines()
    assert (
        len(lines) == 2 and lines[0].startswith("bright ") and "broken" in lines[1] and "unusable" in lines[1]
    )


def test_a_whole_bundle_is_valid_and_an_edited_one_is_not(places, tmp_path, capsys, refused):
    folder = bright_bundle(tmp_path / "source")
    assert call("models", "validate", folder) == 0
    assert "bright 1.0 is complete" in capsys.readouterr().out
    (folder / "MODEL_CARD.md").write_text("edited")
    refused("models", "validate", folder, words=("MODEL_CARD.md", "edited"))
    refused("models", "add", folder, words=("edited",))
    assert not places.exists()


def test_weights_that_do_not_fit_the_network_are_not_valid(tmp_path, refused):
    folder = bright_bundle(tmp_path / "source")
    content = json.loads((folder / "bundle.json").read_text())
    content["architecture"]["arguments"]["widths"] = [4, 4]
    (folder / "bundle.json").write_text(json.dumps(content))
    refused("models", "validate", folder, words=("weights do not fit",))


def test_a_model_that_is_not_there_is_refused_with_the_names_that_are(places, tmp_path, refused):
    call("models", "add", bright_bundle(tmp_path / "source"))
    refused("models", "show", "brigt", words=("Did you mean 'bright'?",))
    refused("models", "validate", tmp_path / "none", words=("no model bundle here",))
