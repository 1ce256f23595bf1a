"""The edits of a lesion map, each a function that plans a `Change` and touches nothing itself.

What becomes of the volume: labels, splits and merges keep it, voxel by voxel; deleting takes the lesion's
away; adding, redrawing, growing and shrinking change it by the voxels painted or reached, of which those of
other lesions count only where these may be eaten. Rejected lesions yield their voxels to whoever draws there.
"""

from .cutting import split_k, split_plane
from .drawing import add, redraw
from .growing import grow, shrink
from .labelling import accept, annotate, reject, relabel, restore, set_status
from .merging import delete, merge
from .seeds import SeedMethod, split_seeds
from .splitting import split_acls, split_components, split_offsets

__all__ = [
    "SeedMethod",
    "accept",
    "add",
    "annotate",
    "delete",
    "grow",
    "merge",
    "redraw",
    "reject",
    "relabel",
    "restore",
    "set_status",
    "shrink",
    "split_acls",
    "split_components",
    "split_k",
    "split_offsets",
    "split_plane",
    "split_seeds",
]
