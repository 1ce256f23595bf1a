"""What a saved scene remembers of the panel."""

from __future__ import annotations

from typing import Annotated

from slicer import vtkMRMLScalarVolumeNode
from slicer.parameterNodeWrapper import Choice, parameterNodeWrapper

from ..bundle import DEFAULT_MODEL

DEVICES = ["auto", "cpu", "cuda", "mps"]
SPLITS = ["auto", "components", "acls", "acls-conflunet", "offsets"]
ORDERS = ["unreviewed", "uncertainty", "size", "type", "position"]


@parameterNodeWrapper
class PanelParameters:
    """The choices of the Inputs and Lesions sections; widgets name them in `SlicerParameterName`."""

    flair: vtkMRMLScalarVolumeNode
    t1: vtkMRMLScalarVolumeNode
    model: str = DEFAULT_MODEL
    device: Annotated[str, Choice(DEVICES)] = "auto"
    split: Annotated[str, Choice(SPLITS)] = "auto"
    order: Annotated[str, Choice(ORDERS)] = "unreviewed"
