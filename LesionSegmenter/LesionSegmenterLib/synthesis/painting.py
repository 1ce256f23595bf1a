"""Painting a lesion into an image: soft edges, uneven brightness, no bright fluid."""

from __future__ import annotations

import numpy as np
from scipy import ndimage


def soft_mask(mask: np.ndarray, blur: tuple[float, ...]) -> np.ndarray:
    """``mask`` as fractions 0..1 with an edge ``blur`` voxels wide an axis; small lesions keep their peak."""
    soft = ndimage.gaussian_filter(mask.astype(np.float32), blur)
    peak = float(soft.max(initial=0))
    return soft / peak if 0 < peak < 1 else soft


def paint(
    image: np.ndarray,
    soft: np.ndarray,
    contrast: float,
    rng: np.random.Generator,
    *,
    normal: float,
    fluid: float,
    texture: float = 0.2,
    replace: float = 0.5,
) -> np.ndarray:
    """Brighten ``image`` in place where ``soft`` is positive; returns the soft mask as it was painted.

    Parameters
    ----------
    image, soft : one box of the image and the lesion's fractions there, same shape.
    contrast : how far the lesion stands above ``normal``, in the image's units.
    normal, fluid : typical intensities of normal tissue and of fluid; fluid stays dark.
    texture : spread of the lesion's brightness, as a fraction of ``contrast``.
    replace : 0 adds the lesion to the tissue, 1 puts it in the tissue's place.
    """
    tissue = np.clip((image - fluid) / (0.6 * (normal - fluid)) - 0.5, 0, 1)
    soft = soft * tissue
    cells = [max(1, round(n / 4)) for n in soft.shape]
    noise = ndimage.zoom(
        rng.standard_normal(cells).astype(np.float32),
        [n / c for n, c in zip(soft.shape, cells, strict=True)],
        order=1,
    )
    level = contrast * (1 + texture * noise)
    image += soft * (level - replace * (image - normal))
    return soft
