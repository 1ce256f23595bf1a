"""A stroke of the Segment Editor's brush, as the editor node's masking and overwriting let it act."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import slicer
import slicer.util
from vtk.util.numpy_support import vtk_to_numpy

Point = tuple[float, float, float]


def paint(node: Any, stroke: list[Point], radius: float, normal: Point | None, *, erase: bool) -> None:
    """Add balls to the editor node's chosen segment or take them away.

    stroke : the balls' centres, RAS mm; radius : mm.
    normal : of a slice view, RAS: the balls are cut down to discs one slice thick. None: they stay balls.
    """
    segmentation, volume = node.GetSegmentationNode(), node.GetSourceVolumeNode()
    mask = np.any([_ball(volume, ras, radius, normal) for ras in dict.fromkeys(stroke)], axis=0)
    mask &= _allowed(node, segmentation, volume)
    name = node.GetSelectedSegmentID()
    logic = slicer.vtkSlicerSegmentationsModuleLogic
    mode = logic.MODE_MERGE_MIN if erase else logic.MODE_MERGE_MASK
    others = [] if erase else _to_overwrite(node, segmentation, name)
    image = _image(volume, ~mask if erase else mask)
    assert logic.SetBinaryLabelmapToSegment(image, segmentation, name, mode, image.GetExtent(), False, others)


def _ball(volume: Any, ras: Point, radius: float, normal: Point | None) -> npt.NDArray[np.bool_]:
    shape = volume.GetImageData().GetDimensions()
    to_ras = slicer.util.vtkMatrixFromArray(np.eye(4))
    volume.GetIJKToRASMatrix(to_ras)
    affine = slicer.util.arrayFromVTKMatrix(to_ras)
    grid = np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing="ij"), axis=-1)
    away = grid @ affine[:3, :3].T + affine[:3, 3] - np.asarray(ras)
    mask = (away**2).sum(axis=-1) <= radius**2
    if normal is not None:
        thickness = max(abs(affine[:3, :3].T @ np.asarray(normal)))
        mask &= np.abs(away @ np.asarray(normal)) <= thickness / 2
    return mask


def _allowed(node: Any, segmentation: Any, volume: Any) -> npt.NDArray[np.bool_]:
    """Where the editor node's mask lets paint go."""
    modes = slicer.vtkMRMLSegmentationNode
    mode, ids = node.GetMaskMode(), segmentation.GetSegmentation().GetSegmentIDs()
    if mode == modes.EditAllowedInsideSingleSegment:
        return _mask(segmentation, node.GetMaskSegmentID(), volume)
    everywhere = np.ones(volume.GetImageData().GetDimensions(), bool)
    if mode == modes.EditAllowedEverywhere:
        return everywhere
    if mode in (modes.EditAllowedInsideAllSegments, modes.EditAllowedOutsideAllSegments):
        inside = np.any([_mask(segmentation, name, volume) for name in ids], axis=0)
        return inside if mode == modes.EditAllowedInsideAllSegments else ~inside
    raise NotImplementedError(f"mask mode {mode}")


def _mask(segmentation: Any, name: str, volume: Any) -> npt.NDArray[np.bool_]:
    array = slicer.util.arrayFromSegmentBinaryLabelmap(segmentation, name, volume)
    return np.zeros(volume.GetImageData().GetDimensions(), bool) if array is None else array.T > 0


def _to_overwrite(node: Any, segmentation: Any, name: str) -> list[str]:
    if node.GetOverwriteMode() == slicer.vtkMRMLSegmentEditorNode.OverwriteNone:
        return []
    return [other for other in segmentation.GetSegmentation().GetSegmentIDs() if other != name]


def _image(volume: Any, mask: npt.NDArray[np.bool_]) -> Any:
    image, to_ras = slicer.vtkOrientedImageData(), slicer.util.vtkMatrixFromArray(np.eye(4))
    volume.GetIJKToRASMatrix(to_ras)
    image.SetDimensions(mask.shape)
    image.SetGeometryFromImageToWorldMatrix(to_ras)
    image.AllocateScalars(3, 1)  # VTK_UNSIGNED_CHAR
    vtk_to_numpy(image.GetPointData().GetScalars())[:] = np.ascontiguousarray(mask.T).ravel()
    return image
