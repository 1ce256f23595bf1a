"""Whether the Python that runs this has what the engine needs, told without importing any of it.

``python -m LesionSegmenterLib.requirements FILE`` prints one JSON line for the panel in Slicer, which has to
know of another Python, or of its own, before it starts the engine there.
"""

from __future__ import annotations

import json
import platform
import re
import sys
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

LEAST_PYTHON = (3, 11)


def read_requirements(path: Path) -> dict[str, str]:
    """The packages of a requirements file and the least version of each; comments and the like left out."""
    found = re.findall(r"^([A-Za-z0-9_.-]+)\s*>=\s*([0-9.]+)", path.read_text(encoding="utf-8"), re.MULTILINE)
    return dict(found)


def lacking(requirements: dict[str, str]) -> list[str]:
    """Those that are missing here, or older than required, as pip takes them: ``torch>=2.6``."""
    return [f"{name}>={least}" for name, least in requirements.items() if not _is_there(name, least)]


def _is_there(name: str, least: str) -> bool:
    try:
        return _numbers(version(name)) >= _numbers(least)
    except PackageNotFoundError:
        return False


def _numbers(text: str) -> tuple[int, ...]:
    """The release of a version as numbers: 2.9.1+cu128 is (2, 9, 1)."""
    found = re.match(r"\d+(\.\d+)*", text)
    return tuple(map(int, found[0].split("."))) if found else ()


def main(file: str) -> None:
    """Print what there is."""
    missing = lacking(read_requirements(Path(file)))
    if sys.version_info[:2] < LEAST_PYTHON:
        missing.insert(0, f"python>={'.'.join(map(str, LEAST_PYTHON))}")
    torch = None if any(line.startswith("torch>") for line in missing) else version("torch")
    told = {
        "event": "engine",
        "python": platform.python_version(),
        "torch": torch,
        "missing": missing,
        "training": all(find_spec(name) is not None for name in ("lesion_training", "yaml", "nilearn")),
    }
    print(json.dumps(told), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
