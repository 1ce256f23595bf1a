"""What the tests share."""

from __future__ import annotations

from pathlib import Path

import pytest

from panel_fixtures import app, edit, lesions, opened, panel, run, section, slicer_app  # noqa: F401
from real_data import ABSENT, real_data
from scene_fixtures import application, crowd, scene  # noqa: F401


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of real cases: $LESION_DATA, else shared/data beside the checkout; else skips."""
    folder = real_data()
    if folder is None:
        pytest.skip(ABSENT)
    return folder


@pytest.fixture(scope="session")
def bright(tmp_path_factory) -> Path:
    """The bundle of a model that finds whatever is bright; to be left as it is."""
    from heads import bright_bundle  # here: it imports torch, which most tests do without

    return bright_bundle(tmp_path_factory.mktemp("models") / "bright")


@pytest.fixture
def flair(tmp_path: Path) -> Path:
    """The FLAIR of a head, with lesions that the model of ``bright`` finds."""
    from heads import save_head

    return save_head(tmp_path / "sub-01_FLAIR.nii.gz")


@pytest.fixture
def refused(capsys):
    """Run a command, and check that it ends with 2 and one line that says these words."""
    from command_calls import call

    def check(*arguments, words: tuple[str, ...] = ()) -> None:
        assert call(*arguments) == 2
        line = capsys.readouterr().err
        assert line.startswith("lesion-segmenter: ") and line.count("\n") == 1
        for word in words:
            assert word in line

    return check
