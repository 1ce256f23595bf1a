"""The journal file: what was appended is there, whatever stops the program, the disk or another program."""

from __future__ import annotations

import errno
import os
import tempfile
import zlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from full_disk import full_disk
from LesionSegmenterLib.errors import InputError
from LesionSegmenterLib.journal import Journal

FIRST = {"kind": "begin"}
texts = st.dictionaries(st.text(max_size=5), st.text(max_size=5) | st.integers() | st.none(), max_size=3)


@pytest.fixture
def path(tmp_path) -> Path:
    """A journal of four records."""
    path = tmp_path / "journal.bin"
    Journal.begin(path, FIRST, b"opening state")
    journal, _ = Journal.open(path)
    for number in range(3):
        journal.append({"number": number}, bytes([number]) * 20)
    return path


def read(path: Path) -> list[tuple[dict, bytes]]:
    journal, entries = Journal.open(path)
    return [(entry.content, journal.payload(entry)) for entry in entries]


@settings(deadline=None, max_examples=50)
@given(records=st.lists(st.tuples(texts, st.binary(max_size=40)), min_size=1, max_size=4))
def test_what_is_appended_is_read_back_in_order(records):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "journal.bin"
        Journal.begin(path, *records[0])
        journal, _ = Journal.open(path)
        appended = [journal.append(*record) for record in records[1:]]
        assert [(entry.content, journal.payload(entry)) for entry in appended] == records[1:]
        assert read(path) == records
        assert journal.end == path.stat().st_size and not journal.torn


def test_the_files_bytes_are_those_of_the_format(tmp_path):
    path = tmp_path / "journal.bin"
    Journal.begin(path, {"a": 1}, b"xyz")
    # Schema 1; 7 bytes of text, 3 of payload; the CRC-32 of sizes, text and payload.
    head = b"LSREVIEW\x01\x00\x00\x00" + b"\nREC" + b"\x07\x00\x00\x00\x03\x00\x00\x00"
    assert path.read_bytes()[:24] == head
    assert path.read_bytes()[24:28] == zlib.crc32(head[-8:] + b'{"a":1}xyz').to_bytes(4, "little")
    assert path.read_bytes()[28:] == b'{"a":1}xyz'


def test_a_record_is_on_the_disk_before_append_returns(path, monkeypatch):
    journal, _ = Journal.open(path)
    on_disk = []
    monkeypatch.setattr(os, "fsync", lambda _: on_disk.append(path.read_bytes()))
    journal.append({"kind": "do"}, b"change")
    assert on_disk == [path.read_bytes()] and on_disk[0].endswith(b'{"kind":"do"}change')


def test_a_record_cut_at_any_byte_is_dropped_and_the_next_one_takes_its_place(path):
    whole, expected = path.read_bytes(), read(path)
    start = Journal.open(path)[1][-1].start
    for end in range(start, len(whole)):
        path.write_bytes(whole[:end])
        assert read(path) == expected[:-1]
        journal, _ = Journal.open(path)
        assert journal.torn == (end > start)
        journal.append({"number": 9})
        assert read(path) == [*expected[:-1], ({"number": 9}, b"")]
        assert not Journal.open(path)[0].torn


@pytest.mark.parametrize("flush", [0, 1, 13, 30], ids="nothing but zeros from byte {} on".format)
def test_a_record_of_which_the_system_stored_the_length_alone_is_dropped(path, flush):
    whole, expected = path.read_bytes(), read(path)
    kept = Journal.open(path)[1][-1].start + flush
    path.write_bytes(whole[:kept] + bytes(len(whole) - kept))
    assert read(path) == expected[:-1]


def test_a_record_altered_before_the_last_one_is_refused_and_nothing_is_dropped(path):
    whole = path.read_bytes()
    second, third = Journal.open(path)[1][1:3]
    for position in range(second.start, third.start):
        damaged = bytearray(whole)
        damaged[position] ^= 0xFF
        path.write_bytes(damaged)
        with pytest.raises(InputError, match="record 2 of this journal is damaged"):
            Journal.open(path)
        assert path.read_bytes() == damaged


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b"", "not the journal of a review"),
        (b"LSREV", "not the journal of a review"),
        (b"lesion_id\ttype\n1\tMS\n", "not the journal of a review"),
        (b"LSREVIEW\x01\x00\x00\x00", "record 1 of this journal is damaged"),
        (b"LSREVIEW\x02\x00\x00\x00and what a later version may put here", "schema version 2.*Update"),
    ],
)
def test_a_file_that_cannot_be_resumed_is_refused_in_one_line(tmp_path, content, line):
    path = tmp_path / "journal.bin"
    path.write_bytes(content)
    with pytest.raises(InputError, match=line):
        Journal.open(path)
    assert path.read_bytes() == content


def test_a_missing_journal_is_said_to_be_missing(tmp_path):
    with pytest.raises(InputError, match=r"none\.bin: this journal cannot be read \(No such file"):
        Journal.open(tmp_path / "none.bin")


def test_a_journal_begins_whole_or_not_at_all(tmp_path, monkeypatch):
    def fail(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(InputError, match="the disk is full"):
        Journal.begin(tmp_path / "journal.bin", FIRST)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("room", [0, 1, 10, 40])
@pytest.mark.parametrize("truncates", [True, False], ids=["clean", "with a rest that stays"])
def test_a_disk_that_fills_up_within_a_record_costs_that_record_alone(path, room, truncates):
    journal, _ = Journal.open(path)
    expected, size = read(path), path.stat().st_size
    with (
        full_disk(room, truncates),
        pytest.raises(InputError, match=r"No space left on device.*Nothing was changed: free some space"),
    ):
        journal.append({"number": 3}, bytes(1000))
    assert path.stat().st_size == size + (0 if truncates else room)
    assert read(path) == expected
    journal.append({"number": 4}, b"later")
    assert read(path) == [*expected, ({"number": 4}, b"later")]


def test_a_record_that_may_not_have_reached_the_disk_is_taken_back(path, monkeypatch):
    journal, _ = Journal.open(path)
    expected = path.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(errno.EIO, "Input/output error")))
        with pytest.raises(InputError, match="Input/output error"):
            journal.append({"number": 3})
    assert path.read_bytes() == expected


def test_two_programs_do_not_write_over_each_other(path):
    first, second = Journal.open(path)[0], Journal.open(path)[0]
    first.append({"by": "first"})
    with pytest.raises(InputError, match="another program has written to this journal"):
        second.append({"by": "second"})
    assert read(path)[-1] == ({"by": "first"}, b"")


def test_a_journal_that_was_removed_or_altered_while_in_use_is_missed(path):
    journal, entries = Journal.open(path)
    altered = bytearray(path.read_bytes())
    altered[-1] ^= 1
    path.write_bytes(altered)
    assert journal.payload(entries[0]) == b"opening state"
    with pytest.raises(InputError, match="altered while it was in use"):
        journal.payload(entries[-1])
    path.unlink()
    with pytest.raises(InputError, match="cannot be written"):
        journal.append({})
    with pytest.raises(InputError, match="cannot be read"):
        journal.payload(entries[0])
    assert not path.exists()
