"""Make sure that the libraries for drawing off screen are there: run by ``make test`` before pytest.

Linux's minimal images lack them. Where they are missing they are installed with apt if we may, and otherwise
named in one line; either way the exit status is 0, since only the tests that draw need them, and those skip.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys

LIBRARIES = ("libEGL.so.1", "libGL.so.1")
# libgl1-mesa-dri holds the software renderer behind the two.
PACKAGES = ("libegl1", "libgl1", "libgl1-mesa-dri")
APT_TIMEOUT_S = 300


def missing_libraries() -> list[str]:
    """Return the names of the libraries that the dynamic linker does not find."""
    return [name for name in LIBRARIES if not _loads(name)]


def _loads(name: str) -> bool:
    try:
        ctypes.CDLL(name)
    except OSError:
        return False
    return True


def install_with_apt() -> None:
    """Install PACKAGES; a machine without network, or with apt locked, is left as it is."""
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (["update"], ["install", "--yes", "--no-install-recommends", *PACKAGES]):
        try:
            subprocess.run(
                ["apt-get", "-qq", *command], env=environment, capture_output=True, timeout=APT_TIMEOUT_S
            )
        except (OSError, subprocess.TimeoutExpired):
            return


def main() -> None:
    """Install what is missing where we may, and name what is missing after that."""
    if not sys.platform.startswith("linux"):
        return  # macOS draws with its own frameworks
    if missing_libraries() and os.geteuid() == 0 and shutil.which("apt-get"):
        install_with_apt()
    if missing := missing_libraries():
        print(
            f"Not found: {', '.join(missing)}. The tests that draw off screen are skipped; "
            f"on Debian or Ubuntu: apt-get install {' '.join(PACKAGES)}"
        )


if __name__ == "__main__":
    main()
