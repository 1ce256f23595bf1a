"""Where the real cases lie: they are no part of the project."""

from __future__ import annotations

import os
from pathlib import Path

REAL_DATA = Path(os.environ.get("LESION_DATA", Path(__file__).parents[2] / "shared" / "data"))
ABSENT = f"no real cases in {REAL_DATA}: set LESION_DATA to the folder that holds lesion_banks"


def real_data() -> Path | None:
    """The folder of real cases: $LESION_DATA, else shared/data beside the checkout; None for neither."""
    return REAL_DATA if (REAL_DATA / "lesion_banks").is_dir() else None
