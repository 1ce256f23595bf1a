"""A model bundle on disk: its specification, its files and their checks; where bundles are found.

A bundle is a folder with `bundle.json`, `weights.safetensors`, perhaps `classifier.safetensors`, and
`MODEL_CARD.md`. Needs neither torch nor, until weights are looked at, safetensors; nothing is ever unpickled.
"""

from __future__ import annotations

import difflib
import json
import math
import os
import re
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, astuple, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from .atomic import hidden_sibling, move_into_place, scratch_folder, sha256, writing_error
from .confidence import LesionConfidence
from .errors import BundleError
from .labels import LesionType
from .strict_json import parse

SplitName = Literal["auto", "components", "acls", "acls-conflunet", "offsets"]
"""Ways to split a mask into lesions; ``auto`` leaves it to the engine, ``offsets`` takes a network's."""

SCHEMA_VERSION = 1
DEFAULT_MODEL = "uresnet-flair"
INSTANCE_MODEL = "conflunet-flair"  # whose offsets split what another model finds
SPECIFICATION = "bundle.json"
WEIGHTS = "weights.safetensors"
CARD = "MODEL_CARD.md"
_AGAIN = "Get the bundle again from where it came"
SHIPPED = Path(__file__).parents[1] / "Resources" / "Models"


@dataclass(frozen=True)
class Architecture:
    """A network of the registry by name, and its constructor's arguments."""

    name: str
    arguments: dict[str, Any]


@dataclass(frozen=True)
class ModelInput:
    """One input channel."""

    modality: Literal["FLAIR", "T1"]


@dataclass(frozen=True)
class Output:
    """What the network's channels mean: `label_map` gives a channel's label value (0 background).

    kind ``instances`` says that after the classes come a lesion-centre heat and the offsets along the array's
    three axes, as the network `conflunet` gives them. `confidence` holds for lesions at the threshold; it is
    None in a bundle that was not calibrated. Lesions under `least_confidence` are left out; of the others,
    voxels with less than `peak_share` of a lesion's highest probability are (`outline_lesions`).
    """

    kind: Literal["binary", "types", "instances"]
    label_map: dict[int, int]
    threshold: float = 0.5
    confidence: LesionConfidence | None = None
    least_confidence: float = 0.0
    peak_share: float = 0.0


@dataclass(frozen=True)
class TrainingData:
    """A data set the model learned from."""

    name: str
    licence: str
    citation: str


@dataclass(frozen=True)
class BundleSpec:
    """The content of `bundle.json`.

    preprocessing : in-plane spacing in mm, normalisation and context, as the engine reads them.
    shape : what the network takes at a time.
    classifier : name of the file of the cascade's second stage, None without one.
    split : default method of splitting a mask into lesions.
    scores : measured results by name.
    files : SHA-256 by file name, of every file but bundle.json.
    """

    name: str
    version: str
    title: str
    architecture: Architecture
    inputs: list[ModelInput]
    preprocessing: dict[str, Any]
    output: Output
    shape: Literal["slice", "patch", "volume"]
    training_data: list[TrainingData]
    licence: str
    scores: dict[str, Any] = field(default_factory=dict)
    classifier: str | None = None
    split: SplitName = "auto"
    files: dict[str, str] = field(default_factory=dict)
    schema_version: int = SCHEMA_VERSION


@dataclass(frozen=True)
class Bundle:
    """A bundle that has passed every check."""

    spec: BundleSpec
    folder: Path

    @property
    def weights(self) -> Path:
        """The network's weights."""
        return self.folder / WEIGHTS

    @property
    def classifier(self) -> Path | None:
        """The second stage's weights, None without one."""
        return self.folder / self.spec.classifier if self.spec.classifier else None


def load_bundle(folder: str | Path) -> Bundle:
    """Read a bundle and check all of it: keys and their types, file names, checksums, weights' format.

    Raises BundleError with the first thing that is wrong.
    """
    folder = Path(folder)
    spec = read_spec(folder)
    for name, checksum in spec.files.items():
        path = _inside(folder, name)
        try:
            found = sha256(path)
        except OSError as error:
            raise BundleError(f"the file {name} is missing or unreadable", folder, _AGAIN) from error
        if found != checksum.lower():
            raise BundleError(f"the file {name} was cut short or edited (SHA-256 differs)", folder, _AGAIN)
        if name.endswith(".safetensors"):
            _check_tensors(path)
    return Bundle(spec, folder)


def read_spec(folder: Path) -> BundleSpec:
    """The specification alone, without looking at the other files; BundleError where it is unusable."""
    path = folder / SPECIFICATION
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise BundleError(f"no model bundle here: there is no {SPECIFICATION}", folder) from error
    except OSError as error:
        raise BundleError(f"this file cannot be read ({error.strerror})", path) from error
    except (ValueError, RecursionError) as error:
        raise BundleError(f"this file is not JSON ({error})", path, _AGAIN) from error
    version = content.get("schema_version") if isinstance(content, dict) else None
    if isinstance(version, int) and version > SCHEMA_VERSION:
        raise BundleError(
            f"this bundle has schema version {version}, newer than {SCHEMA_VERSION}",
            path,
            "Update LesionSegmenter",
        )
    try:
        spec: BundleSpec = parse(content, BundleSpec)
    except ValueError as error:
        raise BundleError(str(error), path) from error
    _check_spec(spec, path)
    return spec


def _check_spec(spec: BundleSpec, path: Path) -> None:
    """What the types of the keys do not say."""
    problem = ""
    if spec.schema_version != SCHEMA_VERSION:
        problem = f"there is no schema version {spec.schema_version}"
    elif not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", spec.name):
        problem = f"name {spec.name!r} has characters other than letters, digits, '.', '_' and '-'"
    elif not re.fullmatch(r"\d{1,9}(\.\d{1,9})*", spec.version):
        problem = f"version {spec.version!r} is not of the form 1.2.3"
    elif not spec.inputs or spec.inputs[0].modality != "FLAIR":
        problem = "the first input is not the FLAIR"
    elif not set(spec.output.label_map.values()) <= {0, *map(int, LesionType)}:
        problem = f"output.label_map has a label value outside 0 to {max(LesionType)}"
    elif not 0 < spec.output.threshold < 1:
        problem = f"output.threshold is {spec.output.threshold}, not between 0 and 1"
    elif not 0 <= spec.output.least_confidence < 1:
        problem = f"output.least_confidence is {spec.output.least_confidence}, not from 0 to under 1"
    elif not 0 <= spec.output.peak_share <= 1:
        problem = f"output.peak_share is {spec.output.peak_share}, not from 0 to 1"
    elif spec.output.least_confidence and not spec.output.confidence:
        problem = "output.least_confidence needs output.confidence"
    elif spec.output.confidence and not all(map(math.isfinite, astuple(spec.output.confidence))):
        problem = "output.confidence holds a number that is not finite"
    elif spec.output.kind == "instances" and spec.shape == "slice":
        problem = "output.kind is instances, whose offsets a network of slices does not give"
    elif spec.split == "offsets" and spec.output.kind != "instances":
        problem = f"split is offsets, but output.kind is {spec.output.kind}, not instances"
    else:
        lacking = [name for name in (WEIGHTS, CARD, spec.classifier) if name and name not in spec.files]
        problem = f"files lacks {', '.join(lacking)}" if lacking else ""
    if problem:
        raise BundleError(problem, path, "Write the bundle again with lesion-train bundle")


def _inside(folder: Path, name: str) -> Path:
    """The path of a bundle's file; BundleError for a name that leads out of the folder, by a link or not."""
    plain = re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9._-]*", name)
    if not plain or not (folder / name).resolve().is_relative_to(folder.resolve()):
        raise BundleError(
            f"the file name {name!r} leads out of the bundle's folder", folder, "Do not use this bundle"
        )
    return folder / name


def _check_tensors(path: Path) -> None:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as tensors:
            if tensors.keys():
                return
    except (SafetensorError, OSError) as error:
        raise BundleError(f"this is not a safetensors file ({error})", path, _AGAIN) from error
    raise BundleError("this safetensors file holds no tensors", path, _AGAIN)


def write_bundle(folder: str | Path, spec: BundleSpec, files: Mapping[str, Path | bytes]) -> Bundle:
    """Write a bundle of `files` (name to content, or to the file to copy), and check it as on loading.

    The specification's checksums are taken from the files. The folder appears whole or not at all, and
    replaces a bundle of that place. BundleError for a folder that holds something else, an unusable
    specification, or a disk that cannot be written.
    """
    folder = Path(folder)
    if (
        folder.exists()
        and not (folder / SPECIFICATION).exists()
        and (folder.is_file() or any(folder.iterdir()))
    ):
        raise BundleError("this holds something other than a bundle", folder, "Choose a new folder")
    try:
        with scratch_folder(folder) as scratch:
            for name, content in files.items():
                if isinstance(content, Path):
                    shutil.copyfile(content, _inside(scratch, name))
                else:
                    _inside(scratch, name).write_bytes(content)
            spec = replace(spec, files={name: sha256(scratch / name) for name in sorted(files)})
            text = json.dumps(asdict(spec), indent=2, ensure_ascii=False)
            (scratch / SPECIFICATION).write_text(text + "\n", encoding="utf-8", newline="\n")
            try:
                spec = load_bundle(scratch).spec
            except BundleError as error:  # it names the hidden folder, which is gone by then
                where = folder / Path(error.where or scratch).relative_to(scratch)
                raise BundleError(error.what, where, error.todo) from error
            backup = hidden_sibling(folder)
            backup.mkdir()
            try:
                move_into_place([(scratch, folder)], backup)
            finally:
                shutil.rmtree(backup, ignore_errors=True)
    except OSError as error:
        refused = writing_error(folder, error)
        raise BundleError(refused.what, refused.where, refused.todo) from error
    return Bundle(spec, folder)


def user_folder() -> Path:
    """Where added bundles are kept: $LESION_SEGMENTER_MODELS, else the platform's place for user data."""
    if stated := os.environ.get("LESION_SEGMENTER_MODELS"):
        return Path(stated)
    if sys.platform == "darwin":
        base = Path.home() / "Library" / "Application Support"
    elif sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    else:
        base = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    return base / "LesionSegmenter" / "Models"


def find_bundles() -> list[Path]:
    """Folders that call themselves bundles, unchecked: those shipped, then the user's, each by name."""
    found: list[Path] = []
    for place in (SHIPPED, user_folder()):
        with suppress(OSError):  # another user's home must not hide the models shipped
            found += [path.parent for path in sorted(place.glob(f"[!.]*/{SPECIFICATION}"))]
    return found


def known_models() -> dict[str, tuple[BundleSpec, Path]]:
    """The newest bundle of each name, and its folder; all but its specification is unchecked."""
    newest: dict[str, tuple[BundleSpec, Path]] = {}
    for spec, folder in _specifications():  # of equals the first stays, and shipped bundles come first
        if spec.name not in newest or _release(spec) > _release(newest[spec.name][0]):
            newest[spec.name] = spec, folder
    return newest


def resolve_bundle(name_or_folder: str | Path = DEFAULT_MODEL) -> Bundle:
    """The bundle of a folder, or of a name (the newest of several versions); BundleError for none."""
    if Path(name_or_folder).is_dir():
        return load_bundle(name_or_folder)
    named = known_models()
    if str(name_or_folder) in named:
        return load_bundle(named[str(name_or_folder)][1])
    names = sorted(named)
    near = difflib.get_close_matches(str(name_or_folder), names, 1)
    advice = f"Did you mean {near[0]!r}?" if near else f"There are: {', '.join(names) or 'none'}"
    raise BundleError(f"there is no model {str(name_or_folder)!r}", todo=advice)


def add_bundle(source: str | Path) -> Bundle:
    """Check a bundle and copy it into the user's folder; one that is already there is left as it is.

    Raises BundleError for a bundle that fails its checks, or where a different one has its name and version.
    """
    bundle = load_bundle(source)
    spec = bundle.spec
    for other, folder in _specifications():
        if (other.name, other.version) == (spec.name, spec.version):
            if other == spec:
                return load_bundle(folder)
            raise BundleError(
                f"a different model {spec.name} {spec.version} is already there",
                folder,
                "Give the new one another version or name",
            )
    files: dict[str, Path | bytes] = {name: bundle.folder / name for name in spec.files}
    return write_bundle(user_folder() / f"{spec.name}-{spec.version}", spec, files)


def _specifications() -> Iterator[tuple[BundleSpec, Path]]:
    """The readable specifications among the bundles found: a broken one must not hide the others."""
    for folder in find_bundles():
        try:
            yield read_spec(folder), folder
        except BundleError:
            continue


def _release(spec: BundleSpec) -> tuple[int, ...]:
    return tuple(map(int, spec.version.split(".")))
