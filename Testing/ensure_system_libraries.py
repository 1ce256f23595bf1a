"""Make sure that the libraries that VTK and Qt draw with are there: run by ``make test`` before pytest.

Linux's minimal images lack them. Where they are missing they are installed with apt if we may, and otherwise
named in one line; either way the exit status is 0, since only the tests that draw need them, and those skip.
With ``--window``, as ``make panel`` runs it, those for windows on a screen are wanted too.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence

# What the dynamic linker has to find, and the package of Debian and Ubuntu that has it.
OFF_SCREEN = {
    "libEGL.so.1": "libegl1",
    "libGL.so.1": "libgl1",
    "libX11.so.6": "libx11-6",
    "libdbus-1.so.3": "libdbus-1-3",
    "libfontconfig.so.1": "libfontconfig1",
    "libglib-2.0.so.0": "libglib2.0-0",
    "libxkbcommon.so.0": "libxkbcommon0",
}
WINDOWS = {
    "libxcb-cursor.so.0": "libxcb-cursor0",
    "libxcb-icccm.so.4": "libxcb-icccm4",
    "libxcb-image.so.0": "libxcb-image0",
    "libxcb-keysyms.so.1": "libxcb-keysyms1",
    "libxcb-randr.so.0": "libxcb-randr0",
    "libxcb-render-util.so.0": "libxcb-render-util0",
    "libxcb-shape.so.0": "libxcb-shape0",
    "libxcb-xkb.so.1": "libxcb-xkb1",
    "libxkbcommon-x11.so.0": "libxkbcommon-x11-0",
}
# Found at run time: the software renderer, and a font.
ALWAYS = ("libgl1-mesa-dri", "fonts-dejavu-core")
APT_TIMEOUT_S = 300


def missing_libraries(libraries: dict[str, str]) -> dict[str, str]:
    """Return those that the dynamic linker does not find, with their packages."""
    return {name: package for name, package in libraries.items() if not _loads(name)}


def _loads(name: str) -> bool:
    try:
        ctypes.CDLL(name)
    except OSError:
        return False
    return True


def install_with_apt(packages: list[str]) -> None:
    """Install packages; a machine without network, or with apt locked, is left as it is."""
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (["update"], ["install", "--yes", "--no-install-recommends", *packages]):
        try:
            subprocess.run(
                ["apt-get", "-qq", *command], env=environment, capture_output=True, timeout=APT_TIMEOUT_S
            )
        except (OSError, subprocess.TimeoutExpired):
            return


def main(arguments: Sequence[str] = ()) -> None:
    """Install what is missing where we may, and name what is missing after that."""
    if not sys.platform.startswith("linux"):
        return  # macOS and Windows draw with their own
    wanted = OFF_SCREEN | (WINDOWS if "--window" in arguments else {})
    missing = missing_libraries(wanted)
    if missing and os.geteuid() == 0 and shutil.which("apt-get"):
        install_with_apt([*missing.values(), *ALWAYS])
        missing = missing_libraries(wanted)
    if missing:
        print(
            f"Not found: {', '.join(missing)}. What draws cannot run without; "
            f"on Debian or Ubuntu: apt-get install {' '.join([*missing.values(), *ALWAYS])}"
        )


if __name__ == "__main__":
    main(sys.argv[1:])
