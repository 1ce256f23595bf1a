"""The sample case of the panel, which a child process makes: ``python -m ...synthesis.sample FILE``.

It needs numpy and scipy alone, and takes some seconds, for which Slicer's window would stand still.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from ..atomic import atomic_file
from .scan import synthetic_scan


def main() -> None:
    """Write the synthetic FLAIR of the demonstration: ``flair`` (k, j, i) int16 and its ``affine`` (4, 4)."""
    scan = synthetic_scan()
    with atomic_file(Path(sys.argv[1])) as unfinished, unfinished.open("wb") as file:
        np.savez_compressed(file, flair=scan.flair.T, affine=scan.affine)


if __name__ == "__main__":
    main()
