"""``slicer.packaging`` without a network: it keeps what would be installed; a test says what is missing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any


class Packaging:
    """The functions of ``slicer.packaging``.

    installed : requirements that `pip_install` and `pip_ensure` were asked for, in order.
    missing : names of packages that `pip_check` and `pip_ensure` find missing.
    fails_with : what `pip_install` raises, if anything.
    """

    def __init__(self) -> None:
        self.installed: list[Any] = []
        self.missing: set[str] = set()
        self.fails_with: Exception | None = None

    def load_requirements(self, path: str | Path) -> list[Any]:
        """The requirements of a file."""
        from packaging.requirements import Requirement

        lines = (line.split("#")[0].strip() for line in Path(path).read_text().splitlines())
        return [Requirement(line) for line in lines if line]

    def pip_check(self, requirements: Any) -> bool:
        """Whether nothing is missing."""
        return not any(_name(requirement) in self.missing for requirement in _list(requirements))

    def pip_install(
        self,
        requirements: Any,
        constraints: str | Path | None = None,
        no_deps_requirements: Any = None,
        skip_packages: list[str] | None = None,
        blocking: bool = True,
        show_progress: bool = True,
        requester: str | None = None,
        logCallback: Callable[[str], None] | None = None,  # noqa: N803
        completedCallback: Callable[[int], None] | None = None,  # noqa: N803
    ) -> None:
        """Keep what was asked for."""
        self._install(requirements)
        if not blocking and completedCallback is not None:
            completedCallback(0)

    def pip_ensure(
        self,
        requirements: Any,
        constraints: str | Path | None = None,
        skip_packages: list[str] | None = None,
        prompt_install: bool = True,
        prompt_restart: bool = True,
        requester: str | None = None,
        skip_in_testing: bool = True,
        show_progress: bool = True,
    ) -> None:
        """Install what is missing."""
        missing = [r for r in _list(requirements) if _name(r) in self.missing]
        if missing:
            self._install(missing)

    def isPipInstallInProgress(self) -> bool:  # noqa: N802
        """Never: installing is over at once."""
        return False

    def _install(self, requirements: Any) -> None:
        if self.fails_with is not None:
            raise self.fails_with
        self.installed.extend(_list(requirements))
        names = (r for r in _list(requirements) if not str(r).startswith("-"))  # pip's options besides
        self.missing -= {_name(requirement) for requirement in names}


def _list(requirements: Any) -> list[Any]:
    if isinstance(requirements, str):
        return requirements.split()
    return list(requirements) if isinstance(requirements, list | tuple) else [requirements]


def _name(requirement: Any) -> str:
    from packaging.requirements import Requirement

    return Requirement(str(requirement)).name
