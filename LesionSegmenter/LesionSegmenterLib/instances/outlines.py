"""From a lesion probability to the mask that is split into lesions."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from .components import bounding_box, label_components


def outline_lesions(
    probability: npt.NDArray[np.floating], threshold: float, peak_share: float = 0.0
) -> npt.NDArray[np.bool_]:
    """The voxels of lesions: those over a threshold, but of a sure lesion without its unsure rim.

    One threshold is too low for the outline of a lesion that the network is sure of, whose probability fades
    over some voxels around it, or too high to find one of which it is less sure. With a share of a half, an
    outline lies where the probability has fallen to half of the lesion's highest, as the width of a peak
    is measured (full width at half maximum), or at the threshold where that is higher.

    Parameters
    ----------
    probability : (i, j, k), 0..1
    threshold : the least probability of a voxel of a lesion.
    peak_share : what a voxel must have besides, as a share of the highest probability of all voxels over the
        threshold that are connected to it (26 neighbours); 0 asks for nothing.

    Returns
    -------
    (i, j, k) bool array. Every component of the thresholded probability keeps its highest voxel.
    """
    mask = probability >= threshold
    box = bounding_box(mask) if peak_share else None
    if box is None:
        return mask
    near, labels = probability[box], label_components(mask[box], 26)
    peaks = ndimage.maximum(near, labels, np.arange(labels.max() + 1))
    mask[box] &= near >= peak_share * peaks[labels]
    return mask
