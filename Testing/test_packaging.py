"""What is installed and shipped: pins, lists of files, sizes, versions."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterator
from fnmatch import fnmatch
from importlib.metadata import distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from LesionSegmenterLib import __version__

REPOSITORY = Path(__file__).resolve().parents[1]
MODULE = REPOSITORY / "LesionSegmenter"
PYPROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
MEGABYTE = 10**6


def requirements(path: Path) -> list[Requirement]:
    lines = (line.split("#")[0].strip() for line in path.read_text().splitlines())
    return [Requirement(line) for line in lines if line]


def pins() -> dict[str, str]:
    """Pinned version by canonical name; every line of the constraints file has to be an exact pin."""
    versions: dict[str, str] = {}
    for pin in requirements(REPOSITORY / "constraints.txt"):
        (specifier,) = pin.specifier
        assert specifier.operator == "==", pin
        assert canonicalize_name(pin.name) not in versions, f"{pin.name} is pinned twice"
        versions[canonicalize_name(pin.name)] = specifier.version
    return versions


def declared_requirements() -> list[Requirement]:
    project = PYPROJECT["project"]
    extras = project["optional-dependencies"].values()
    return [Requirement(line) for lines in (project["dependencies"], *extras) for line in lines]


def required_by(requirement: Requirement) -> Iterator[Requirement]:
    """What an installed distribution asks for on this machine, with the extras that the requirement names."""
    for line in distribution(requirement.name).requires or []:
        asked = Requirement(line)
        extras = ("", *requirement.extras)
        if asked.marker is None or any(asked.marker.evaluate({"extra": extra}) for extra in extras):
            yield asked


def test_every_declared_dependency_is_pinned_to_a_version_that_it_allows() -> None:
    versions = pins()
    for requirement in declared_requirements():
        assert versions[canonicalize_name(requirement.name)] in requirement.specifier


def test_every_dependency_of_a_dependency_is_pinned_too() -> None:
    versions, seen, todo = pins(), set(), declared_requirements()
    while todo:
        requirement = todo.pop()
        name = canonicalize_name(requirement.name)
        if (name, *sorted(requirement.extras)) in seen:
            continue
        seen.add((name, *sorted(requirement.extras)))
        assert name in versions, f"{name} is missing from constraints.txt"
        todo.extend(required_by(requirement))


def test_slicer_is_asked_for_the_dependencies_that_pyproject_names() -> None:
    in_slicer = requirements(MODULE / "Resources" / "requirements.txt")
    assert in_slicer == [Requirement(line) for line in PYPROJECT["project"]["dependencies"]]


def test_every_import_package_is_declared_in_pyproject() -> None:
    roots = PYPROJECT["tool"]["setuptools"]["package-dir"]
    on_disk = {
        ".".join((name, *init.parent.relative_to(REPOSITORY / root).parts))
        for name, root in roots.items()
        for init in (REPOSITORY / root).rglob("__init__.py")
    }
    assert set(PYPROJECT["tool"]["setuptools"]["packages"]) == on_disk


@pytest.mark.parametrize(
    ("variable", "pattern"),
    [("MODULE_PYTHON_SCRIPTS", "**/*.py"), ("MODULE_PYTHON_RESOURCES", "Resources/**/*")],
)
def test_cmake_lists_exactly_the_files_of_the_module(variable: str, pattern: str) -> None:
    block = re.search(rf"set\({variable}\n(.*?)\)", (MODULE / "CMakeLists.txt").read_text(), re.DOTALL)
    assert block is not None
    listed = block[1].split()
    files = [path for path in MODULE.glob(pattern) if path.is_file() and not path.name.startswith(".")]
    on_disk = sorted(path.relative_to(MODULE).as_posix() for path in files)
    should_be = f"{variable} in LesionSegmenter/CMakeLists.txt should be:\n  " + "\n  ".join(on_disk)
    assert listed == on_disk, should_be


def test_the_changelog_starts_with_the_version_of_the_package() -> None:
    versions = re.findall(r"^## \[(.+?)\]", (REPOSITORY / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert versions[0] == __version__


def repository_files() -> Iterator[Path]:
    """Walk the files that .gitignore does not name (a downloaded archive has no git to ask)."""
    ignored = [line.strip("/") for line in (REPOSITORY / ".gitignore").read_text().split()]
    for folder, subfolders, files in os.walk(REPOSITORY):
        subfolders[:] = [
            name for name in subfolders if name != ".git" and not any(fnmatch(name, glob) for glob in ignored)
        ]
        yield from (Path(folder, name) for name in files)


def test_no_file_of_the_repository_is_over_12_megabytes() -> None:
    assert [path for path in repository_files() if path.lstat().st_size > 12 * MEGABYTE] == []


def test_the_shipped_bundles_are_at_most_25_megabytes_together() -> None:
    models = MODULE / "Resources" / "Models"
    assert sum(path.stat().st_size for path in models.rglob("*") if path.is_file()) <= 25 * MEGABYTE


def test_the_licence_is_the_whole_apache_licence() -> None:
    text = (REPOSITORY / "LICENSE").read_text()
    assert "Apache License\n                           Version 2.0, January 2004" in text
    assert "END OF TERMS AND CONDITIONS" in text
