"""The head's outline: what counts as foreground where the air around it is noisy, and where there is none."""

from __future__ import annotations

import numpy as np
import pytest

from heads import SPACING, head
from LesionSegmenterLib.engine.normalisation import deep_values
from LesionSegmenterLib.engine.preprocessing import foreground


def noisy(image: np.ndarray, ratio: float, seed: int = 0) -> np.ndarray:
    """With Rician noise; ``ratio`` is the brain's intensity over sigma."""
    rng = np.random.default_rng(seed)
    one, other = rng.normal(0, 100 / ratio, (2, *image.shape))
    return np.hypot(image + one, other).astype(np.float32)


@pytest.mark.parametrize("scalp", [None, 180.0])
@pytest.mark.parametrize("ratio", [20, 10, 5])
def test_noise_in_the_air_is_not_foreground(ratio, scalp):
    image = head(scalp=scalp)
    clean, factors = foreground(image, SPACING)
    found, _ = foreground(noisy(image, ratio), SPACING)
    assert (clean & found).sum() * 2 / (clean.sum() + found.sum()) > 0.95
    assert np.median(deep_values(noisy(image, ratio), SPACING, found, factors)) == pytest.approx(100, rel=0.1)


def test_air_lifted_by_a_flat_contrast_is_not_foreground():
    image = noisy(head(), 25)
    clean, _ = foreground(image, SPACING)
    flat, _ = foreground(100 * (image / 100) ** 0.5, SPACING)
    assert (clean & flat).sum() * 2 / (clean.sum() + flat.sum()) > 0.9


def test_a_brain_that_fills_the_image_is_all_foreground():
    inside = noisy(head()[20:30, 22:38, 5:11], 20)  # no air at all
    found, _ = foreground(inside, SPACING)
    assert found.mean() > 0.9
