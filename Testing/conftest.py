"""What the tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of real cases: $LESION_DATA, else shared/data beside the checkout; else skips."""
    folder = Path(os.environ.get("LESION_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not (folder / "lesion_banks").is_dir():
        pytest.skip(f"no real cases in {folder}: set LESION_DATA to the folder that holds lesion_banks")
    return folder
