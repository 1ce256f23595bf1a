"""Nodes of the scene: the journal that one of them names, and taking them away whole."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import slicer
import slicer.util

from .tags import JOURNAL, NEXT_ID


def journal_of_scene() -> Path | None:
    """The journal of the case that `LesionScene.restore` would find in the scene; None without one."""
    node = node_of_case()
    path = node.GetAttribute(JOURNAL) if node is not None else None
    return Path(path) if path else None


def node_of_case() -> Any:
    """The node of the scene's case: one that names its journal before any other; None without one.

    A case whose review was left, as another was opened, has a node as well, but names no journal any more.
    """
    kinds = ("vtkMRMLSegmentationNode", "vtkMRMLLabelMapVolumeNode")
    ours = [n for kind in kinds for n in slicer.util.getNodesByClass(kind) if n.GetAttribute(NEXT_ID)]
    return next((node for node in ours if node.GetAttribute(JOURNAL)), ours[0] if ours else None)


def remove_node(node: Any) -> None:
    """Take a displayable node, if it is in the scene, out of it with its display and storage nodes."""
    scene = node.GetScene()
    if scene is None:
        return
    displays = [node.GetNthDisplayNode(n) for n in range(node.GetNumberOfDisplayNodes())]
    parts = [part for part in (*displays, node.GetStorageNode()) if part is not None]
    for each in (node, *parts):
        if each.GetScene() is not None:  # Slicer's Data module takes the parts away with the node
            scene.RemoveNode(each)


def is_on_disk(volume: Any) -> bool:
    """Whether a volume's file holds all of it: it was loaded or saved, and not altered since."""
    return volume.GetStorageNode() is not None and not volume.GetModifiedSinceRead()
