"""An append-only file of records that survives whatever stops the program in the middle of one."""

from __future__ import annotations

import json
import os
import struct
import zlib
from contextlib import suppress
from dataclasses import dataclass
from io import SEEK_END, FileIO
from pathlib import Path
from typing import Any, cast

from .atomic import atomic_file
from .errors import InputError

_PREFIX = struct.Struct("<8sI")  # magic, schema version
_MAGIC, _SCHEMA = b"LSREVIEW", 1
_HEAD = struct.Struct("<4sIII")  # marker, bytes of text and of payload, CRC-32 of these two numbers and both
_SIZES = struct.Struct("<II")
_MARKER = b"\nREC"


@dataclass(frozen=True)
class Entry:
    """One record of a journal: what it says, and where in the file it lies, payload included (bytes)."""

    content: dict[str, Any]
    start: int
    size: int


class Journal:
    """A file of records, each a JSON object and a payload of bytes under one checksum.

    The file begins with magic and schema version. A record is a marker, two sizes, a CRC-32, the JSON text
    and the payload. Every record is on the disk when `append` returns. The file is opened for each record and
    closed again, so that nothing is held between two actions of a person.

    path : the file.
    end : bytes up to the end of the last whole record.
    torn : the last record was cut off when the file was opened, and is dropped.
    """

    def __init__(self, path: Path, end: int, size: int):
        self.path, self.end, self.torn = path, end, size > end
        self._size = size  # of the file as this journal left it; a torn record may stand behind `end`

    @classmethod
    def begin(cls, path: Path, content: dict[str, Any], payload: bytes = b"") -> None:
        """Make a new journal with its first record, whole or not at all; InputError as `atomic_file`."""
        with atomic_file(path) as unfinished, unfinished.open("wb") as file:
            file.write(_PREFIX.pack(_MAGIC, _SCHEMA) + _pack(content, payload))
            file.flush()
            os.fsync(file.fileno())
        _sync_folder(path.parent)

    @classmethod
    def open(cls, path: Path) -> tuple[Journal, list[Entry]]:
        """An existing journal and its records.

        A record that cannot be read, with no readable one behind it, was cut off by what stopped the program:
        it is left out and the next one takes its place.

        Raises InputError for a file that cannot be read, is no journal, has another schema version, or is
        damaged before its last record.
        """
        try:
            data = path.read_bytes()
        except OSError as error:
            raise InputError(f"this journal cannot be read ({error.strerror})", path) from error
        _check_prefix(data, path)
        entries, position = [], _PREFIX.size
        while record := _unpack(data, position):
            content, _, size = record
            entries.append(Entry(content, position, size))
            position += size
        if not entries or _readable_behind(data, position):
            raise InputError(
                f"record {len(entries) + 1} of this journal is damaged",
                path,
                "Restore it from a backup, or move it away to begin the review anew",
            )
        return cls(path, position, len(data)), entries

    def append(self, content: dict[str, Any], payload: bytes = b"") -> Entry:
        """Write a record to the disk.

        Raises InputError where the disk is full, the file cannot be written, or another program wrote to it
        since: the journal then is as it was before. Should even the beginning of the record be impossible to
        remove, it is dropped by the next `append` or `open`.
        """
        record = _pack(content, payload)
        try:
            # Unbuffered: a buffer would try again to write what failed when the file is closed.
            with self.path.open("r+b", buffering=0) as file:
                if file.seek(0, SEEK_END) != self._size:
                    raise InputError(
                        "another program has written to this journal", self.path, "Close and open the case"
                    )
                try:
                    self._write(cast(FileIO, file), record)
                except BaseException:
                    self._remove_unfinished(cast(FileIO, file))
                    raise
        except OSError as error:
            reason = error.strerror or str(error)
            raise InputError(
                f"this journal cannot be written ({reason})",
                self.path,
                "Nothing was changed: free some space, or see that the folder is writable, and do it again",
            ) from error
        entry = Entry(content, self.end, len(record))
        self.end += len(record)
        self._size = self.end
        return entry

    def payload(self, entry: Entry) -> bytes:
        """The payload of a record, from the file; InputError if it is gone or was altered since."""
        try:
            with self.path.open("rb") as file:
                file.seek(entry.start)
                record = _unpack(file.read(entry.size), 0)
        except OSError as error:
            raise InputError(f"this journal cannot be read ({error.strerror})", self.path) from error
        if record is None:
            raise InputError(
                "this journal was altered while it was in use", self.path, "Restore it from a backup"
            )
        return record[1]

    def _write(self, file: FileIO, record: bytes) -> None:
        file.truncate(self.end)
        file.seek(self.end)
        rest = memoryview(record)
        while rest:
            rest = rest[file.write(rest) :]
        os.fsync(file.fileno())

    def _remove_unfinished(self, file: FileIO) -> None:
        with suppress(OSError):
            file.truncate(self.end)
            os.fsync(file.fileno())
        with suppress(OSError):
            self._size = file.seek(0, SEEK_END)


def _pack(content: dict[str, Any], payload: bytes) -> bytes:
    text = json.dumps(content, allow_nan=False, separators=(",", ":")).encode()
    body = _SIZES.pack(len(text), len(payload)) + text + payload
    return _HEAD.pack(_MARKER, len(text), len(payload), zlib.crc32(body)) + body[_SIZES.size :]


def _unpack(data: bytes, start: int) -> tuple[dict[str, Any], bytes, int] | None:
    """Content, payload and size of the record at a position; None where there is no whole one."""
    if len(data) - start < _HEAD.size:
        return None
    marker, text_size, payload_size, checksum = _HEAD.unpack_from(data, start)
    text_start = start + _HEAD.size
    payload_start = text_start + text_size
    end = payload_start + payload_size
    if marker != _MARKER or end > len(data):
        return None
    sizes = zlib.crc32(_SIZES.pack(text_size, payload_size))
    if zlib.crc32(memoryview(data)[text_start:end], sizes) != checksum:
        return None
    return json.loads(data[text_start:payload_start]), data[payload_start:end], end - start


def _readable_behind(data: bytes, position: int) -> bool:
    """Whether a whole record begins anywhere behind a position."""
    while (position := data.find(_MARKER, position + 1)) > 0:
        if _unpack(data, position):
            return True
    return False


def _check_prefix(data: bytes, path: Path) -> None:
    if len(data) < _PREFIX.size or data[:8] != _MAGIC:
        raise InputError("this file is not the journal of a review", path, "Move it away")
    _, schema = _PREFIX.unpack_from(data)
    if schema != _SCHEMA:
        raise InputError(
            f"this journal has schema version {schema}; this program knows {_SCHEMA}",
            path,
            "Update the extension",
        )


def _sync_folder(folder: Path) -> None:
    """Put the name of a new file on the disk too, where the system lets a folder be opened."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
