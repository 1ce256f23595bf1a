"""Files written whole or not at all, and known by their checksum."""

from __future__ import annotations

import errno
import gzip
import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, cast

from .errors import InputError


def sha256(path: str | Path) -> str:
    """SHA-256 of a file's bytes, as 64 hexadecimal digits; OSError where it cannot be read."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def writing_error(folder: Path, error: OSError) -> InputError:
    """The one clear line for an operating system's refusal to write into `folder`."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return InputError("the disk is full", folder, "Free some space or choose another output folder")
    reason = error.strerror or str(error)
    return InputError(
        f"cannot write into this folder ({reason})", folder, "Choose a folder that you may write to"
    )


def check_not_input(out: Path, *inputs: Path) -> None:
    """InputError where a file to write, or a link to it, is one of the files that are read."""
    for path in inputs:
        with suppress(OSError):
            if out.samefile(path):
                raise InputError(
                    "this file is an input: it would be overwritten", out, "Write to another file"
                )


def hidden_sibling(path: Path) -> Path:
    """A new hidden name beside `path` for something unfinished; same file system, so a rename is atomic."""
    # Not tempfile's: its files are private to the user (0600), and the rename would keep that.
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yield a hidden name beside `path` to write to; it becomes `path` only if the block ends well.

    Raises InputError, naming the folder, for any OSError within; nothing is left behind by any exception.
    """
    unfinished = hidden_sibling(path)
    try:
        yield unfinished
        unfinished.replace(path)
    except OSError as error:
        raise writing_error(path.parent, error) from error
    finally:
        with suppress(OSError):
            unfinished.unlink(missing_ok=True)


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write plain JSON, which knows no nan (ValueError), as `atomic_file` does."""
    with atomic_file(path) as unfinished:
        unfinished.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n", encoding="utf-8")


@contextmanager
def scratch_folder(path: Path) -> Iterator[Path]:
    """Yield a new hidden folder beside `path`, removed at the end with all that is still in it.

    The folders above that had to be made are removed again if the block fails and left them empty.
    """
    made = [folder for folder in path.parents if not folder.exists()]
    folder = hidden_sibling(path)
    try:
        folder.mkdir(parents=True)
        yield folder
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        for parent in made:
            with suppress(OSError):
                parent.rmdir()
        raise
    shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def deterministic_gzip(path: Path) -> Iterator[IO[bytes]]:
    """Open `path` for writing gzip with neither time nor file name in it: same content, same bytes."""
    # Level 9, the default, takes up to four times as long for files a few percent smaller.
    with path.open("wb") as raw, gzip.GzipFile("", "wb", 6, raw, mtime=0) as file:
        yield cast(IO[bytes], file)


def move_into_place(moves: Sequence[tuple[Path, Path]], backup: Path, obsolete: Sequence[Path] = ()) -> None:
    """Rename every (unfinished, final) in order; should any fail, put everything back as it was.

    The moves are pairs on one file system. The last final name is the first to be taken away where it exists
    and the last to appear, so that its presence says that the set is complete. What was there before goes to
    `backup`, a folder on the same file system, and so does what is `obsolete` in the new set.
    """
    done: list[tuple[Path, Path]] = []  # (where it is now, where it was)

    def move(source: Path, target: Path) -> None:
        done.append((target, source))  # before the rename: an interrupt may fall between the two
        source.rename(target)

    try:
        for path in [*(final for _, final in reversed(moves)), *obsolete]:
            if os.path.lexists(path):
                move(path, backup / path.name)
        for unfinished, final in moves:
            move(unfinished, final)
    except BaseException:
        for now, before in reversed(done):
            with suppress(OSError):
                now.rename(before)
        raise
