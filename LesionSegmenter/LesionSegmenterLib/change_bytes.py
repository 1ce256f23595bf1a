"""A change of lesions as bytes, for a journal: versioned, compressed and exact."""

from __future__ import annotations

import json
import struct
import zlib
from dataclasses import asdict
from typing import Any

import numpy as np

from .errors import InputError
from .labels import LesionType
from .lesions import Change, LesionRecord

_MAGIC, _VERSION = b"LSCH", 1
_PREFIX = struct.Struct("<4sB")
_LENGTH = struct.Struct("<I")


def pack(change: Change) -> bytes:
    """Magic and version, then by zlib: the head as JSON, steps between voxels (int64), ids before and after.

    Neighbouring voxels lie one step apart and mostly have one id, so they compress to a few bits each; zlib's
    checksum tells damage.
    """
    head = {
        "shape": change.shape,
        "next_id": change.next_id,
        "records_before": [[i, record and asdict(record)] for i, record in change.records_before.items()],
        "records_after": [[i, record and asdict(record)] for i, record in change.records_after.items()],
    }
    text = json.dumps(head, allow_nan=False, separators=(",", ":")).encode()
    steps = np.diff(change.voxels, prepend=0).astype("<i8")
    arrays = (steps, change.before.astype("<i4"), change.after.astype("<i4"))
    content = b"".join((_LENGTH.pack(len(text)), text, *(array.tobytes() for array in arrays)))
    return _PREFIX.pack(_MAGIC, _VERSION) + zlib.compress(content)


def unpack(data: bytes) -> Change:
    """The change that `pack` was given.

    Raises InputError for bytes that are cut short, altered, or no change of this version.
    """
    if data[:4] != _MAGIC or len(data) < _PREFIX.size:
        raise InputError("these bytes are not a change of lesions")
    version = data[4]
    if version != _VERSION:
        raise InputError(
            f"this change of lesions has version {version}, not {_VERSION}", todo="Update the extension"
        )
    try:
        return _parse(zlib.decompress(data[_PREFIX.size :]))
    except (zlib.error, struct.error, ValueError, KeyError, TypeError) as error:
        raise InputError(f"this change of lesions is damaged ({error})") from error


def _parse(content: bytes) -> Change:
    (length,) = _LENGTH.unpack_from(content)
    start = _LENGTH.size + length
    head = json.loads(content[_LENGTH.size : start])
    count, rest = divmod(len(content) - start, 16)
    if rest:
        raise ValueError("its length is wrong")
    steps = np.frombuffer(content, "<i8", count, start)
    ids = np.frombuffer(content, "<i4", 2 * count, start + 8 * count).astype(np.int32)
    i, j, k = head["shape"]
    return Change(
        (i, j, k),
        np.cumsum(steps, dtype=np.int64),
        ids[:count],
        ids[count:],
        {i: _record(fields) for i, fields in head["records_before"]},
        {i: _record(fields) for i, fields in head["records_after"]},
        head["next_id"],
    )


def _record(fields: dict[str, Any] | None) -> LesionRecord | None:
    if fields is None:
        return None
    r, a, s = fields["centroid_ras_mm"]
    exact = {
        "type": LesionType(fields["type"]),
        "centroid_ras_mm": (r, a, s),
        "parents": tuple(fields["parents"]),
    }
    return LesionRecord(**{**fields, **exact})
