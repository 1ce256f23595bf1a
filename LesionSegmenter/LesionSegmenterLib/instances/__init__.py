"""From a lesion mask to lesion ids: connected components and the splitting of confluent lesions."""

from .acls import acls, acls_conflunet
from .components import Connectivity, label_components, renumber, split_disconnected, voxels_by_id
from .methods import METHODS, split
from .offsets import OffsetField, group_by_offsets, split_by_offsets
from .outlines import outline_lesions
from .small import SmallLesionRule, drop_small

__all__ = [
    "METHODS",
    "Connectivity",
    "OffsetField",
    "SmallLesionRule",
    "acls",
    "acls_conflunet",
    "drop_small",
    "group_by_offsets",
    "label_components",
    "outline_lesions",
    "renumber",
    "split",
    "split_by_offsets",
    "split_disconnected",
    "voxels_by_id",
]
