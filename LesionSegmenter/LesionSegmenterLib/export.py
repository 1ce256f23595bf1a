"""The case folder: names, sidecar, and writing it whole or not at all (BIDS derivative style).

Needs numpy alone: whoever owns the process hands over the writer of volumes.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from . import __version__
from .atomic import deterministic_gzip, move_into_place, scratch_folder, sha256, writing_error
from .errors import InputError
from .labels import LesionType
from .lesions import LesionRecord
from .lesions_tsv import read_lesions_tsv, write_lesions_tsv
from .strict_json import parse

MAX_SUBJECT = 200  # names may have 255 characters; the longest is 46 more than the ID while it is written
DESCRIPTION = {
    "Name": "LesionSegmenter cases",
    "BIDSVersion": "1.10.0",
    "DatasetType": "derivative",
    "GeneratedBy": [{"Name": "LesionSegmenter", "Version": __version__}],
}
_SUFFIXES = {
    "types": "desc-type_dseg.nii.gz",
    "instances": "desc-instance_dseg.nii.gz",
    "probability": "desc-lesion_probseg.nii.gz",
    "lesions": "desc-lesions.tsv",
    "qc": "desc-qc.png",
    "sidecar": "desc-lesions.json",
}


class VolumeWriter(Protocol):
    """Writes an array, (i, j, k) of the FLAIR's file, on that file's grid and with its affine."""

    def labels(self, path: Path, array: NDArray) -> None:
        """Write label values or lesion ids in the array's own dtype."""

    def probability(self, path: Path, array: NDArray) -> None:
        """Write probabilities in 0..1, stored compactly."""


@dataclass(frozen=True, eq=False)
class CaseData:
    """What one case consists of; the arrays are (i, j, k) on the FLAIR's own grid.

    types : uint8 label values (`LesionType`).
    instances : int32 lesion ids.
    probability : 0..1, None where no model ran.
    records : one a lesion; those of rejected lesions may be absent from the arrays.
    sidecar : model, settings, times and the like; subject, FLAIR, label names and the notes on
        lesions are added on writing.
    qc_png : the picture's bytes.
    """

    subject: str
    types: NDArray[np.uint8]
    instances: NDArray[np.int32]
    probability: NDArray | None
    records: Sequence[LesionRecord]
    sidecar: dict[str, Any]
    qc_png: bytes | None = None


@dataclass(frozen=True)
class CaseFiles:
    """A case read back.

    paths : its files by name (types, instances, probability, lesions, qc, sidecar).
    flair : the copy in the case or the recorded path, which may no longer exist.
    records : the table's, with the notes that stand in the sidecar.
    next_id : the least id for a new lesion, as a review left it; 1 where none was.
    """

    subject: str
    paths: dict[str, Path]
    flair: Path
    records: list[LesionRecord]
    sidecar: dict[str, Any]
    next_id: int = 1


def bids_label(text: str) -> str:
    """The letters and digits of a text, accents taken off: what a BIDS entity may hold; may be empty."""
    return re.sub(r"[^A-Za-z0-9]", "", unicodedata.normalize("NFKD", text))


def subject_id(text: str) -> str:
    """A BIDS subject label from a file name: its `sub-` entity, else its letters and digits.

    Raises InputError where none is left.
    """
    name = re.sub(r"\.nii(\.gz)?$", "", Path(text).name, flags=re.IGNORECASE)
    entity = re.match(r"sub-([A-Za-z0-9]+)", name)
    label = bids_label(entity[1] if entity else name)
    if not label:
        raise InputError("no subject ID can be made from this name", text, "State one with --subject")
    return label


def case_paths(out: str | Path, subject: str) -> dict[str, Path]:
    """Where the files of a case stand, by name; InputError for an ID that is not letters and digits."""
    if not re.fullmatch(r"[A-Za-z0-9]+", subject):
        raise InputError(
            f"{subject!r} is not a subject ID: only the letters A-Z, a-z and digits are allowed",
            todo="Leave the other characters out",
        )
    if len(subject) > MAX_SUBJECT:
        raise InputError(
            f"a subject ID of {len(subject)} characters makes file names that are too long",
            todo=f"State one of at most {MAX_SUBJECT} with --subject",
        )
    anat = Path(out) / f"sub-{subject}" / "anat"
    return {name: anat / f"sub-{subject}_{suffix}" for name, suffix in _SUFFIXES.items()}


def complete_subjects(out: str | Path) -> list[str]:
    """IDs, sorted, of the cases in a folder that were written to the end (their sidecar is there)."""
    found = Path(out).glob(f"sub-*/anat/sub-*_{_SUFFIXES['sidecar']}")
    return sorted(path.parts[-3].removeprefix("sub-") for path in found)


def write_case(
    out: str | Path,
    case: CaseData,
    writer: VolumeWriter,
    flair: str | Path,
    keep_flair: Literal["path", "copy", "link"] = "path",
) -> dict[str, Path]:
    """Write a case below `out`, replacing an earlier one of that subject; returns its files by name.

    Everything is written to a hidden folder first and renamed into place at the end, the JSON sidecar last.
    The FLAIR is recorded by path and SHA-256, or also copied or linked into the case. InputError where `out`
    cannot be written or the disk is full: nothing is left behind and an earlier case stays as it was.
    """
    out, flair = Path(out), Path(flair)
    final = case_paths(out, case.subject)
    _check(case)
    anat = final["sidecar"].parent
    try:
        recorded = {"path": str(flair.absolute()), "sha256": sha256(flair)}
    except OSError as error:
        raise InputError(f"the FLAIR cannot be read ({error.strerror})", flair, "Check the path") from error
    try:
        with scratch_folder(anat / "case") as scratch:
            new = {name: scratch / path.name for name, path in final.items()}
            if keep_flair != "path":
                name = recorded["file"] = _keep_flair(flair, keep_flair, anat, scratch, case.subject)
                final["flair"], new["flair"] = anat / name, scratch / name
            _write_contents(new, case, writer, recorded)
            final["description"] = out / "dataset_description.json"
            new["description"] = scratch / final["description"].name
            if not final["description"].exists():
                _write_json(new["description"], DESCRIPTION)
            backup = scratch / "replaced"
            backup.mkdir()
            # The sidecar last; the FLAIR only where it was copied or linked, the picture where there is one.
            present = [name for name in sorted(new, key="sidecar".__eq__) if os.path.lexists(new[name])]
            obsolete = [final[name] for name in ("probability", "qc") if name not in present]
            move_into_place([(new[name], final[name]) for name in present], backup, obsolete)
    except OSError as error:
        raise writing_error(out, error) from error
    except InputError as error:
        # The writer names the hidden folder, which is gone by now.
        if isinstance(error.__cause__, OSError):
            raise writing_error(out, error.__cause__) from error
        raise
    return {name: path for name, path in final.items() if path.exists()}


def _check(case: CaseData) -> None:
    """ValueError where arrays and records contradict each other: never written, so never trained on."""
    shapes = {array.shape for array in (case.types, case.instances, case.probability) if array is not None}
    if len(shapes) != 1:
        raise ValueError(f"the arrays of a case differ in shape: {sorted(shapes)}")
    if case.types.dtype != np.uint8 or case.instances.dtype != np.int32:
        raise ValueError(f"types are uint8 and ids int32, not {case.types.dtype} and {case.instances.dtype}")
    if not np.array_equal(case.types > 0, case.instances > 0):
        raise ValueError("a voxel has a lesion type without a lesion id, or the reverse")
    ids = [record.lesion_id for record in case.records]
    unknown = set(np.unique(case.instances[case.instances > 0]).tolist()) - set(ids)
    if unknown or len(set(ids)) < len(ids):
        raise ValueError(f"lesion ids without a record: {sorted(unknown)}, or an id with two")


def kept_flair_name(flair: Path, keep: str, subject: str) -> str:
    """What a FLAIR is called in a case that it is copied or linked into: a copy is packed, a link is not."""
    plain = flair.name.lower().endswith(".nii")
    return f"sub-{subject}_FLAIR.nii" + ("" if plain and keep == "link" else ".gz")


def _keep_flair(flair: Path, keep: str, anat: Path, scratch: Path, subject: str) -> str:
    """Copy or link the FLAIR into the scratch folder, unless it is the case's own; returns its file name."""
    plain = flair.name.lower().endswith(".nii")
    name = kept_flair_name(flair, keep, subject)
    target = scratch / name
    if (anat / name).exists():
        if (anat / name).samefile(flair):
            return name
        if not case_paths(anat.parents[1], subject)["sidecar"].exists():
            raise InputError(
                "there is another FLAIR of this subject that no case was made of",
                anat / name,
                "Choose another output folder, or --keep-flair path",
            )
    if keep == "link":
        target.symlink_to(flair.resolve())
    elif plain:
        with flair.open("rb") as source, deterministic_gzip(target) as packed:
            shutil.copyfileobj(source, packed)
    else:
        shutil.copyfile(flair, target)
    return name


def _write_contents(
    new: dict[str, Path], case: CaseData, writer: VolumeWriter, flair: dict[str, str]
) -> None:
    writer.labels(new["types"], case.types)
    writer.labels(new["instances"], case.instances)
    if case.probability is not None:
        writer.probability(new["probability"], case.probability)
    write_lesions_tsv(new["lesions"], case.records)
    if case.qc_png is not None:
        new["qc"].write_bytes(case.qc_png)
    labels = {str(lesion_type.value): lesion_type.label for lesion_type in LesionType}
    notes = {str(record.lesion_id): record.note for record in case.records if record.note}
    own = {"subject": case.subject, "flair": flair, "labels": labels, "notes": notes}
    # Last as well as first: the sidecar given may have been read from another case, with its own of these.
    _write_json(new["sidecar"], own | case.sidecar | own)


def _write_json(path: Path, content: dict[str, Any]) -> None:
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False)
    # A path may hold bytes that are not UTF-8; as backslashreplace writes them they are valid JSON.
    path.write_text(text + "\n", encoding="utf-8", errors="backslashreplace", newline="\n")


def read_case(folder: str | Path, subject: str | None = None) -> CaseFiles:
    """The files, table and sidecar of a case; `subject` may be left out where the folder holds one.

    `folder` is the one given to `write_case`, or a `sub-` folder in it. InputError where there is no such
    case, it is incomplete, or its table or sidecar is damaged.
    """
    folder = Path(folder)
    if subject is None and folder.name.startswith("sub-"):
        folder, subject = folder.parent, folder.name.removeprefix("sub-")
    if subject is None:
        subjects = complete_subjects(folder)
        if len(subjects) != 1:
            listed = (
                f"{len(subjects)} cases ({', '.join(subjects[:5])} ...)" if subjects else "no complete case"
            )
            raise InputError(f"this folder holds {listed}", folder, "Name one subject")
        subject = subjects[0]
    paths = case_paths(folder, subject)
    if not paths["sidecar"].is_file():
        raise InputError(
            "there is no complete case: its sidecar is missing", paths["sidecar"], "Export it again"
        )
    try:
        sidecar = json.loads(paths["sidecar"].read_text(encoding="utf-8"))
        flair = sidecar["flair"]
        flair_path = paths["sidecar"].parent / flair["file"] if "file" in flair else Path(flair["path"])
        notes = parse(sidecar.get("notes", {}), dict[int, str], "notes")
        next_id = parse(sidecar.get("next_id", 1), int, "next_id")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError("this sidecar is damaged", paths["sidecar"], "Export the case again") from error
    for name in ("types", "instances", "lesions"):
        if not paths[name].is_file():
            raise InputError("this file of the case is missing", paths[name], "Export the case again")
    records = [
        replace(record, note=notes.get(record.lesion_id, "")) for record in read_lesions_tsv(paths["lesions"])
    ]
    present = {name: path for name, path in paths.items() if path.is_file()}
    return CaseFiles(subject, present, flair_path, records, sidecar, next_id)
