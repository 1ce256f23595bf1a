"""The newcomer's path: the Makefile, what continuous integration runs, the check of system libraries."""

from __future__ import annotations

import ctypes
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import ensure_system_libraries

REPOSITORY = Path(__file__).resolve().parents[1]
MAKEFILE = REPOSITORY / "Makefile"


def make_venv(folder: Path, *pythons: str, **stubs: int) -> subprocess.CompletedProcess[str]:
    """Run the Makefile's rule for .venv in a folder whose Pythons are stubs with the given exit statuses."""
    shutil.copy(MAKEFILE, folder)
    for name, status in stubs.items():
        stub = folder / name.replace("_", ".")
        stub.write_text(f'#!/bin/sh\necho "$(basename "$0") $*" >> calls\nexit {status}\n')
        stub.chmod(0o755)
    return subprocess.run(
        ["make", ".venv/bin/python", *pythons],
        cwd=folder,
        env={**os.environ, "PATH": f"{folder}:{os.environ['PATH']}", "MAKEFLAGS": ""},
        capture_output=True,
        text=True,
    )


def test_the_venv_is_made_by_the_newest_python_that_runs(tmp_path: Path) -> None:
    run = make_venv(tmp_path, python3_13=127, python3_12=0, python3_11=0)
    assert run.returncode == 0, run.stderr
    calls = (tmp_path / "calls").read_text().splitlines()
    assert calls[-1] == "python3.12 -m venv --clear .venv"


def test_without_a_suitable_python_make_stops_with_one_line(tmp_path: Path) -> None:
    run = make_venv(tmp_path, "PYTHON=old", old=1)
    assert run.returncode != 0
    lines = [line for line in run.stderr.splitlines() if not line.startswith("make")]
    assert len(lines) == 1
    assert lines[0].startswith("No Python 3.11, 3.12 or 3.13")


def test_the_version_check_accepts_the_python_that_runs_the_tests(tmp_path: Path) -> None:
    run = make_venv(tmp_path, f"PYTHON={sys.executable}")
    assert run.returncode == 0, run.stderr
    assert (tmp_path / ".venv" / "bin" / "python").exists()


def test_make_installs_the_torch_that_the_constraints_pin() -> None:
    (installed,) = re.findall(r"torch==\S+", MAKEFILE.read_text())
    assert installed in (REPOSITORY / "constraints.txt").read_text().splitlines()


def test_every_script_that_make_runs_exists() -> None:
    for script in re.findall(r"\S+\.py\b", MAKEFILE.read_text()):
        assert (REPOSITORY / script).is_file(), script


def test_continuous_integration_runs_make_test() -> None:
    script = REPOSITORY / ".ci" / "run"
    assert os.access(script, os.X_OK)
    assert script.read_text().splitlines()[-1] == "make test"


@pytest.fixture
def linux_without_egl(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A Linux that lacks libEGL until apt-get installs it; returns the apt-get actions as they come."""
    actions: list[str] = []

    def load(name: str) -> None:
        if name == "libEGL.so.1" and "install" not in actions:
            raise OSError(name)

    def run(command: list[str], **kwargs: Any) -> None:
        actions.append(command[2])

    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(ctypes, "CDLL", load)
    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    return actions


def test_root_gets_a_missing_library_from_apt(
    linux_without_egl: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    ensure_system_libraries.main()
    assert linux_without_egl == ["update", "install"]
    assert capsys.readouterr().out == ""


def test_anyone_else_reads_one_line_that_names_the_missing_library(
    linux_without_egl: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    ensure_system_libraries.main()
    assert linux_without_egl == []
    (line,) = capsys.readouterr().out.splitlines()
    assert "libEGL.so.1" in line and "libGL.so.1" not in line and "libegl1" in line
