"""Fixtures for tests of the scene without a panel; ``conftest.py`` makes them known."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

if TYPE_CHECKING:  # these import slicer, which may not be installed
    from LesionSegmenterLib.lesions import LesionMap
    from LesionSegmenterLib.scene.lesion_scene import LesionScene
    from slicer_scene import Application


@pytest.fixture
def application(tmp_path: Path) -> Application:
    """What the scene needs of the Slicer application, with an empty scene."""
    from slicer_scene import Application

    return Application(tmp_path)


@pytest.fixture
def scene(application: Application) -> LesionScene:
    """The lesions of `scene_cases.boxes`, as segments."""
    from scene_cases import affine, boxes, lesion_map

    return _shown(application, lesion_map(boxes(), affine()))


@pytest.fixture
def crowd(application: Application) -> LesionScene:
    """More lesions than are shown as segments."""
    from LesionSegmenterLib.scene.lesion_scene import MOST_SEGMENTS
    from scene_cases import many

    return _shown(application, many(MOST_SEGMENTS + 20))


def _shown(application: Application, lesions: LesionMap) -> LesionScene:
    from LesionSegmenterLib.scene.lesion_scene import LesionScene

    flair = application.add_volume(np.zeros(lesions.shape, np.int16), lesions.affine)
    return LesionScene.show(lesions, flair)
