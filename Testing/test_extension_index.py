"""What Slicer's Extensions Index asks for: the entry, the metadata, and links that resolve."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
ENTRIES = list((REPOSITORY / "docs" / "index").glob("*.json"))
CMAKE = (REPOSITORY / "CMakeLists.txt").read_text()
RAW = "https://raw.githubusercontent.com/lesionsegmenter/SlicerLesionSegmenter/main/"


def metadata(name: str) -> str:
    found = re.search(rf'^set\(EXTENSION_{name} "(.+)"\)$', CMAKE, re.MULTILINE)
    assert found is not None, f"CMakeLists.txt sets no EXTENSION_{name}"
    return found[1]


def test_the_entry_is_named_as_the_extension_which_does_not_begin_with_slicer() -> None:
    (entry,) = ENTRIES
    assert f"project({entry.stem})" in CMAKE and not entry.stem.startswith("Slicer")


def test_the_entry_says_what_the_schema_asks_for() -> None:
    entry = json.loads(ENTRIES[0].read_text())
    assert {"$schema", "category", "scm_url"} <= entry.keys()
    assert re.search(r"slicer-extension-catalog-entry-schema-v1\.0\.\d\.json#$", entry["$schema"])
    assert (entry["scm_type"], entry["tier"]) == ("git", 1)
    assert entry["category"] == metadata("CATEGORY")


def test_the_repository_is_the_home_page_and_begins_with_slicer() -> None:
    url = json.loads(ENTRIES[0].read_text())["scm_url"]
    assert url.removesuffix(".git") == metadata("HOMEPAGE")
    assert Path(url).name.startswith("Slicer")


@pytest.mark.parametrize("name", ["ICONURL", "SCREENSHOTURLS"])
def test_icon_and_screenshots_are_files_of_the_repository(name: str) -> None:
    for url in metadata(name).split():
        assert url.startswith(RAW) and (REPOSITORY / url.removeprefix(RAW)).is_file(), url


@pytest.mark.parametrize("page", sorted((REPOSITORY / "docs").glob("*.md")), ids=lambda page: page.stem)
def test_every_link_of_a_page_that_stays_in_the_repository_resolves(page: Path) -> None:
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []
