"""The ways to split a mask into lesions, by name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from ..errors import InputError
from .acls import acls, acls_conflunet
from .components import Connectivity, label_components, renumber
from .offsets import OffsetField, split_by_offsets
from .small import SmallLesionRule, drop_small


class SplitMethod(Protocol):
    """Lesion ids, (i, j, k) int32, from a probability map and a mask of the same shape."""

    def __call__(
        self,
        probability: npt.NDArray[Any],
        mask: npt.NDArray[Any],
        spacing: Sequence[float],
        *,
        connectivity: Connectivity = 26,
    ) -> npt.NDArray[np.int32]: ...


def components(
    probability: npt.NDArray[Any],
    mask: npt.NDArray[Any],
    spacing: Sequence[float],
    *,
    connectivity: Connectivity = 26,
) -> npt.NDArray[np.int32]:
    """Connected components of the mask; the probability and the spacing play no part."""
    return label_components(mask, connectivity)


METHODS: dict[str, SplitMethod] = {
    "components": components,
    "acls": acls,
    "acls-conflunet": acls_conflunet,
}


def split(
    method: str,
    probability: npt.NDArray[Any],
    mask: npt.NDArray[Any],
    spacing: Sequence[float],
    *,
    connectivity: Connectivity = 26,
    small_lesion_rule: SmallLesionRule | None = None,
    offsets: OffsetField | None = None,
) -> npt.NDArray[np.int32]:
    """Split a lesion mask into lesions, drop the small ones if asked, and number the rest.

    Parameters
    ----------
    method : name
        A key of `METHODS`; or ``offsets``, `split_by_offsets`, where ``offsets`` is given.
    probability : (i, j, k), 0..1
        Lesion probability, not masked.
    mask : (i, j, k)
        Lesion voxels are not 0.
    spacing : 3 lengths
        Voxel size along i, j, k in mm.
    connectivity : 6, 18 or 26
        As in `label_components`.
    small_lesion_rule : rule or None
        Which lesions are too small to keep; None keeps all.
    offsets : field or None
        What a network says of lesion centres.

    Returns
    -------
    (i, j, k) int32 array of lesion ids 1..n, ordered as `renumber` does; 0 is background.

    Raises
    ------
    InputError : for an unknown method, or for arrays that are not 3D and of one shape.
    """
    if method not in METHODS and (method != "offsets" or offsets is None):
        raise InputError(f"unknown splitting method {method!r}", todo=f"Choose one of {', '.join(METHODS)}")
    if mask.ndim != 3 or probability.shape != mask.shape:
        raise InputError(
            f"splitting needs a probability map and a mask of one 3D shape, not {probability.shape} "
            f"and {mask.shape}",
            todo="Resample one onto the grid of the other",
        )
    if offsets is not None and method == "offsets":
        instances = split_by_offsets(mask, offsets)
    else:
        instances = METHODS[method](probability, mask, spacing, connectivity=connectivity)
    if small_lesion_rule is None:
        return instances
    return renumber(drop_small(instances, spacing, small_lesion_rule))
