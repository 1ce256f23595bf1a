"""A disk that runs full in the middle of what is written to an existing file."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest


class _File:
    """A raw file that has room for some more bytes."""

    def __init__(self, file: Any, room: int, truncates: bool):
        self._file, self._room, self._truncates = file, room, truncates

    def write(self, data: memoryview) -> int:
        if not self._room:
            raise OSError(errno.ENOSPC, "No space left on device")
        written = self._file.write(data[: self._room])
        self._room -= written
        return written

    def truncate(self, size: int) -> int:
        if not self._truncates and size < self._file.seek(0, 2):
            raise OSError(errno.EIO, "Input/output error")
        return self._file.truncate(size)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def __enter__(self) -> _File:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


@contextmanager
def full_disk(room: int, truncates: bool = True) -> Iterator[None]:
    """Files opened for update take `room` more bytes; without `truncates`, not even these can be removed."""
    real_open = Path.open

    def limited(path: Path, mode: str = "r", *arguments: Any, **options: Any) -> Any:
        file = real_open(path, mode, *arguments, **options)
        return _File(file, room, truncates) if mode == "r+b" else file

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "open", limited)
        yield
