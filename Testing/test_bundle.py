"""Model bundles: what is loaded has been checked to the last byte, and the rest is refused clearly."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save

from LesionSegmenterLib import bundle
from LesionSegmenterLib.errors import BundleError

SPEC = bundle.BundleSpec(
    name="tiny-flair",
    version="1.2.0",
    title="A tiny model",
    architecture=bundle.Architecture("uresnet", {"width": 4, "classes": 3}),
    inputs=[bundle.ModelInput("FLAIR")],
    preprocessing={"spacing_mm": [1.0, 1.0], "normalisation": "zscore-foreground", "context_mm": 0},
    output=bundle.Output("types", {0: 0, 1: 1, 2: 2, 3: 3}, 0.4),
    shape="slice",
    training_data=[bundle.TrainingData("synthetic", "CC0-1.0", "none")],
    licence="Apache-2.0",
    scores={"validation": {"dice": 0.7}},
    classifier="classifier.safetensors",
)


def tensors(value: float = 1.0) -> bytes:
    return save({"weight": np.full((2, 2), value, np.float32)})


def contents(value: float = 1.0) -> dict[str, Path | bytes]:
    return {
        "weights.safetensors": tensors(value),
        "classifier.safetensors": tensors(),
        "MODEL_CARD.md": b"# Tiny\n",
    }


@pytest.fixture
def folder(tmp_path) -> Path:
    return bundle.write_bundle(tmp_path / "tiny", SPEC, contents()).folder


@pytest.fixture(autouse=True)
def places(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(bundle, "SHIPPED", tmp_path / "shipped")
    monkeypatch.setenv("LESION_SEGMENTER_MODELS", str(tmp_path / "user"))


def edit(folder: Path, **changes) -> None:
    """Change keys of bundle.json; None removes a key."""
    path = folder / "bundle.json"
    content = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({key: value for key, value in content.items() if value is not None}))


def refused(folder: Path, *words: str) -> None:
    with pytest.raises(BundleError) as caught:
        bundle.load_bundle(folder)
    line = str(caught.value)
    assert caught.value.exit_status == 2 and "\n" not in line
    for word in words:
        assert word in line


def test_a_bundle_loads_as_it_was_written(folder):
    loaded = bundle.load_bundle(folder)
    assert replace(loaded.spec, files={}) == SPEC
    assert set(loaded.spec.files) == {"weights.safetensors", "classifier.safetensors", "MODEL_CARD.md"}
    assert loaded.weights.read_bytes() == tensors()
    assert loaded.classifier == folder / "classifier.safetensors"


def test_the_same_bundle_is_the_same_bytes(folder, tmp_path):
    again = bundle.write_bundle(tmp_path / "again", SPEC, contents()).folder
    assert (folder / "bundle.json").read_bytes() == (again / "bundle.json").read_bytes()


def test_a_folder_without_a_specification_is_no_bundle(tmp_path):
    refused(tmp_path, "no bundle.json")
    refused(tmp_path / "nowhere", "no bundle.json")


@pytest.mark.parametrize("text", ["", "{", "\x00\x01"])
def test_a_specification_that_is_not_json_is_refused(folder, text):
    (folder / "bundle.json").write_text(text)
    refused(folder, "bundle.json", "not JSON")


@pytest.mark.parametrize("content", ["[]", "3", "null"])
def test_a_specification_that_is_no_object_is_refused(folder, content):
    (folder / "bundle.json").write_text(content)
    refused(folder, "not an object")


def test_a_newer_schema_says_to_update(folder):
    edit(folder, schema_version=2, novelty="x")
    refused(folder, "schema version 2", "Update LesionSegmenter")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"name": None}, "the key 'name' is missing"),
        ({"output": {"kind": "types"}}, "'output.label_map' is missing"),
        ({"version": 3}, "version is 3: expected text"),
        ({"version": "new"}, "not of the form 1.2.3"),
        ({"name": "../x"}, "characters other than"),
        ({"inputs": {}}, "inputs is {}: expected a list"),
        ({"inputs": []}, "the first input is not the FLAIR"),
        ({"inputs": [{"modality": "T3"}]}, "inputs[0].modality is 'T3': expected 'FLAIR' or 'T1'"),
        ({"shape": "cube"}, "shape is 'cube': expected 'slice' or 'patch' or 'volume'"),
        ({"preprocessing": "zscore"}, "expected an object"),
        ({"output": {"kind": "types", "label_map": {"one": 1}}}, "not a channel's number"),
        ({"output": {"kind": "types", "label_map": {"1": 9}}}, "label value outside 0 to 4"),
        ({"output": {"kind": "types", "label_map": {"1": True}}}, "output.label_map.1 is true"),
        ({"output": {"kind": "types", "label_map": {"1": 1}, "threshold": 1.5}}, "not between 0 and 1"),
        ({"output": {"kind": "types", "label_map": {"1": 1}, "least_confidence": 1}}, "from 0 to under 1"),
        ({"output": {"kind": "types", "label_map": {"1": 1}, "least_confidence": 0.1}}, "needs output.conf"),
        ({"output": {"kind": "types", "label_map": {"1": 1}, "peak_share": 1.1}}, "not from 0 to 1"),
        ({"schema_version": 0}, "no schema version 0"),
        ({"training_data": [{"name": "x", "licence": "y"}]}, "'training_data[0].citation' is missing"),
        ({"classifier": "other.safetensors"}, "files lacks other.safetensors"),
        ({"files": {}}, "files lacks weights.safetensors"),
    ],
)
def test_missing_and_mistyped_keys_are_named(folder, changes, words):
    edit(folder, **changes)
    refused(folder, words)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"licens": "MIT"}, ("unknown key 'licens'", "Did you mean 'licence'?")),
        (
            {"architecture": {"name": "uresnet", "arguments": {}, "argument": 1}},
            ("unknown key 'architecture.argument'", "Did you mean 'arguments'?"),
        ),
        ({"zzz": 1}, ("unknown key 'zzz'", "The keys are")),
    ],
)
def test_an_unknown_key_is_refused_with_the_nearest_right_one(folder, changes, words):
    edit(folder, **changes)
    refused(folder, *words)


@pytest.mark.parametrize("name", ["../outside.bin", "/etc/hostname", "a/b", "..", "C:evil", "a\\b", ""])
def test_a_file_name_that_leaves_the_folder_is_refused(folder, name):
    files = json.loads((folder / "bundle.json").read_text())["files"]
    (folder.parent / "outside.bin").write_bytes(b"x")
    edit(folder, files={name: bundle.sha256(folder.parent / "outside.bin"), **files})
    refused(folder, "leads out of the bundle's folder")


def test_a_link_that_leaves_the_folder_is_refused_even_with_the_right_content(folder, tmp_path):
    outside = tmp_path / "weights"
    (folder / "weights.safetensors").rename(outside)
    (folder / "weights.safetensors").symlink_to(outside)
    refused(folder, "leads out of the bundle's folder")


def test_a_missing_file_is_named(folder):
    (folder / "MODEL_CARD.md").unlink()
    refused(folder, "MODEL_CARD.md is missing")


@pytest.mark.parametrize("change", [lambda data: data[:-1], lambda data: data[:-1] + b"\x01", lambda _: b""])
def test_weights_that_were_cut_short_or_edited_are_refused(folder, change):
    path = folder / "weights.safetensors"
    path.write_bytes(change(path.read_bytes()))
    refused(folder, "weights.safetensors was cut short or edited")


@pytest.mark.parametrize("content", [b"", b"\x80\x04K\x01.", tensors()[:-1], save({})])
def test_weights_that_are_not_safetensors_are_refused_whatever_their_checksum(tmp_path, content):
    with pytest.raises(BundleError, match=r"weights\.safetensors: this (is not a )?safetensors file"):
        bundle.write_bundle(tmp_path / "new", SPEC, contents() | {"weights.safetensors": content})
    assert list(tmp_path.iterdir()) == []


def test_an_unusable_specification_is_not_written_and_leaves_the_earlier_bundle(folder):
    before = (folder / "bundle.json").read_bytes()
    with pytest.raises(BundleError, match="files lacks classifier"):
        bundle.write_bundle(folder, SPEC, {"weights.safetensors": tensors(), "MODEL_CARD.md": b""})
    assert (folder / "bundle.json").read_bytes() == before
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_writing_replaces_a_bundle_but_nothing_else(folder, tmp_path):
    bundle.write_bundle(folder, SPEC, contents(2.0))
    assert bundle.load_bundle(folder).weights.read_bytes() == tensors(2.0)
    assert [path.name for path in tmp_path.iterdir()] == [folder.name]
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.tex").write_text("x")
    with pytest.raises(BundleError, match="something other than a bundle"):
        bundle.write_bundle(tmp_path / "thesis", SPEC, contents())
    assert (tmp_path / "thesis" / "chapter.tex").read_text() == "x"


def test_bundles_are_found_by_name_the_newest_version_first(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "shipped" / "tiny-flair")
    newer = bundle.write_bundle(tmp_path / "newer", replace(SPEC, version="1.10.0"), contents(3.0)).folder
    assert bundle.find_bundles() == [tmp_path / "shipped" / "tiny-flair"]
    added = bundle.add_bundle(newer)
    assert added.folder == tmp_path / "user" / "tiny-flair-1.10.0"
    assert bundle.find_bundles() == [tmp_path / "shipped" / "tiny-flair", added.folder]
    assert bundle.resolve_bundle("tiny-flair").spec.version == "1.10.0"
    assert bundle.resolve_bundle(folder).spec.version == "1.2.0"


def test_a_name_that_is_not_there_gets_the_nearest_that_is(folder, tmp_path):
    with pytest.raises(BundleError, match="There are: none"):
        bundle.resolve_bundle()
    shutil.copytree(folder, tmp_path / "shipped" / "tiny-flair")
    with pytest.raises(BundleError, match=r"no model 'tiny-flare'\. Did you mean 'tiny-flair'"):
        bundle.resolve_bundle("tiny-flare")


def test_a_broken_bundle_hides_no_other(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "user" / "good")
    (tmp_path / "user" / "bad").mkdir()
    (tmp_path / "user" / "bad" / "bundle.json").write_text("{")
    assert bundle.resolve_bundle("tiny-flair").folder == tmp_path / "user" / "good"


def test_adding_twice_is_harmless_but_a_different_one_of_that_version_is_refused(folder, tmp_path):
    first = bundle.add_bundle(folder)
    assert bundle.add_bundle(folder) == first
    other = bundle.write_bundle(tmp_path / "other", SPEC, contents(2.0)).folder
    with pytest.raises(BundleError, match=r"a different model tiny-flair 1\.2\.0 is already there"):
        bundle.add_bundle(other)
    assert first.weights.read_bytes() == tensors()


def test_a_damaged_bundle_is_not_added(folder, tmp_path):
    (folder / "weights.safetensors").write_bytes(b"")
    with pytest.raises(BundleError):
        bundle.add_bundle(folder)
    assert not (tmp_path / "user").exists()
