"""What the scene says of each lesion: its segment's id, name, colour, terminology and tags. No MRML here."""

from __future__ import annotations

import colorsys
import json
import re
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any, Literal
from urllib.parse import quote, unquote

from ..errors import InputError
from ..labels import TYPE_COLOURS, LesionType
from ..lesions import LesionRecord

Colour = tuple[float, float, float]
Colouring = Literal["type", "lesion"]

PREFIX = "LesionSegmenter."
RECORD_TAG, TYPE_TAG, STATUS_TAG = PREFIX + "Record", PREFIX + "Type", PREFIX + "Status"
NEXT_ID, JOURNAL, POSITION = PREFIX + "NextId", PREFIX + "Journal", PREFIX + "JournalPosition"
RECORDS, COLOURING = PREFIX + "Records", PREFIX + "Colouring"

_GOLDEN = (5**0.5 - 1) / 2  # its multiples, modulo 1, lie far apart for neighbouring numbers
_READABLE = ' {}[]",:.'  # stays as it is in a tag; the rest, | among it, would end a tag in a .seg.nrrd file

# (scheme, code, meaning): SNOMED CT morphologies, and the region that DICOM's CID 7140 and 4 name.
_MORPHOLOGIES = {
    LesionType.WMH: "SCT^52988006^Lesion",  # there is no morphology of WMH: lesion of the white matter
    LesionType.STROKE: "SCT^55641003^Infarct",
    LesionType.MS: "SCT^32693004^Demyelination",
    LesionType.LESION: "SCT^52988006^Lesion",
}
_REGIONS = {LesionType.WMH: "SCT^68523003^Cerebral White Matter"}
_BRAIN = "SCT^12738006^Brain"


def segment_id(lesion_id: int) -> str:
    """The segment of a lesion: ``L0001``, with more digits from 10000 on."""
    return f"L{lesion_id:04d}"


def names_of(ids: Iterable[int]) -> str:
    """Lesions as the name of an edit lists them: ``L0001, L0002, L0003 and 4 more``."""
    names = [segment_id(lesion_id) for lesion_id in ids]
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if names[3:] else "")


def lesion_id_of(segment: str) -> int | None:
    """The lesion of a segment id, or None for a segment that is not ours."""
    match = re.fullmatch(r"L(\d{4,10})", segment)
    return int(match[1]) if match else None


def segment_name(record: LesionRecord) -> str:
    """What lists and tooltips show: ``L0001 WMH``."""
    return f"{segment_id(record.lesion_id)} {record.type.label}"


def colour(record: LesionRecord, colouring: Colouring) -> Colour:
    """A lesion's colour, RGB in 0..1, the same whenever it is asked for.

    By ``type``: the type's hue in a lightness of the lesion's own. By ``lesion``: a hue of its own.
    """
    share = record.lesion_id * _GOLDEN % 1
    if colouring == "lesion":
        return colorsys.hsv_to_rgb(share, 0.8, 0.7 + 0.3 * (record.lesion_id % 2))
    hue, lightness, saturation = colorsys.rgb_to_hls(*TYPE_COLOURS[record.type])
    return colorsys.hls_to_rgb(hue, lightness * (0.7 + 0.4 * share), saturation)


def terminology(lesion_type: LesionType) -> str:
    """A type as Slicer's TerminologyEntry tag: morphologically abnormal structure, its kind, its region."""
    return "~".join(
        (
            "Segmentation category and type - DICOM master list",
            "SCT^49755003^Morphologically Abnormal Structure",
            _MORPHOLOGIES[lesion_type],
            "^^",
            "Anatomic codes - DICOM master list",
            _REGIONS.get(lesion_type, _BRAIN),
            "^^",
        )
    )


def tags(record: LesionRecord) -> dict[str, str]:
    """A segment's tags by name: type and status for any reader, and the whole record for ourselves."""
    return {
        TYPE_TAG: record.type.label,
        STATUS_TAG: record.status,
        RECORD_TAG: record_text(record),
    }


def record_text(record: LesionRecord) -> str:
    """A record as text that any tag or attribute can hold; `record_of` gives it back exactly."""
    return quote(json.dumps(asdict(record), separators=(",", ":")), safe=_READABLE)


def record_of(tag: str) -> LesionRecord:
    """The record that `record_text` wrote; InputError where it is damaged."""
    try:
        fields: dict[str, Any] = json.loads(unquote(tag))
        r, a, s = fields["centroid_ras_mm"]
        exact = {"type": LesionType(fields["type"]), "centroid_ras_mm": (r, a, s)}
        return LesionRecord(**{**fields, **exact, "parents": tuple(fields["parents"])})
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"a segment's lesion record is damaged ({error})", todo="Open the case folder"
        ) from error
