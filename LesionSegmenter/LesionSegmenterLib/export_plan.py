"""What an export of a review would do to the files that are there: to be shown before it is done."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from .export import case_paths, kept_flair_name
from .rater_copy import KeepFlair, rater_folder

Fate = Literal["new", "replaced", "removed"]


def plan_export(
    out: str | Path,
    rater: str,
    subject: str,
    flair: Path,
    has_probability: bool,
    keep_flair: KeepFlair = "path",
) -> dict[Path, Fate]:
    """The files that `rater_copy.write_review` would touch, and how, without a picture given.

    A picture of an earlier export goes, as it would show other lesions, and so does a probability map where
    there is none now. Raises InputError as `rater_copy.rater_folder` and `export.case_paths`.
    """
    folder = rater_folder(out, rater)
    paths = case_paths(folder, subject)
    obsolete = {paths.pop("qc")}
    if not has_probability:
        obsolete.add(paths.pop("probability"))
    written = list(paths.values())
    if keep_flair != "path":
        kept = paths["sidecar"].parent / kept_flair_name(flair, keep_flair, subject)
        if not (kept.exists() and kept.samefile(flair)):
            written.insert(0, kept)
    description = folder / "dataset_description.json"
    if not description.exists():
        written.append(description)
    plan: dict[Path, Fate] = {path: "replaced" if path.exists() else "new" for path in written}
    return plan | {path: "removed" for path in sorted(obsolete) if path.exists()}
