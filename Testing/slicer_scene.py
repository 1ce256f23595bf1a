"""The parts of the Slicer application that slicer-core lacks and the scene needs: no window, no Qt.

Everything else is Slicer's own: the scene, its nodes and logics, the storage, the slice views.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import slicer
import slicer.util
import vtk
from vtk.util.numpy_support import vtk_to_numpy

_LOGICS = {
    "colors": "vtkSlicerColorLogic",
    "volumes": "vtkSlicerVolumesLogic",
    "segmentations": "vtkSlicerSegmentationsModuleLogic",
}
_MANAGERS = ("vtkMRMLVolumeGlyphSliceDisplayableManager", "vtkMRMLSegmentationsDisplayableManager2D")

if sys.platform.startswith("linux") and not os.environ.get("DISPLAY"):
    os.environ.setdefault("VTK_DEFAULT_OPENGL_WINDOW", "vtkEGLRenderWindow")  # else X is tried first, noisily


class Application:
    """An empty scene with its logics, set up as ``slicer.mrmlScene`` and ``slicer.modules``."""

    def __init__(self, folder: Path) -> None:
        self.scene = slicer.vtkMRMLScene()
        self.logic = slicer.vtkSlicerApplicationLogic()
        self.logic.SetMRMLScene(self.scene)
        self.folder = folder / "temporary"
        self.folder.mkdir(parents=True, exist_ok=True)
        self.logic.SetTemporaryPath(str(self.folder))
        self.logic.SetHomeDirectory(str(self.folder))
        self.logic.SetShareDirectory(str(self.folder))
        modules = {name: self._module(class_name) for name, class_name in _LOGICS.items()}
        slicer.mrmlScene, slicer.modules = self.scene, SimpleNamespace(**modules)

    def _module(self, class_name: str) -> SimpleNamespace:
        logic = getattr(slicer, class_name)()
        logic.SetMRMLApplicationLogic(self.logic)
        logic.SetMRMLScene(self.scene)
        return SimpleNamespace(logic=lambda: logic)

    def save(self, path: Path) -> None:
        """Save the scene as one .mrb file, or as a .mrml file with its data beside it."""
        if path.suffix == ".mrb":
            assert self.scene.WriteToMRB(str(path))
            return
        path.parent.mkdir(exist_ok=True)
        self.scene.SetRootDirectory(str(path.parent))
        for node in slicer.util.getNodesByClass("vtkMRMLStorableNode"):
            if node.GetSaveWithScene() and node.AddDefaultStorageNode():
                storage = node.GetStorageNode()
                name = f"{node.GetName()}.{storage.GetDefaultWriteFileExtension()}"
                storage.SetFileName(str(path.parent / name))
                assert storage.WriteData(node)
        self.scene.SetURL(str(path))
        assert self.scene.Commit(str(path))

    def load(self, path: Path) -> None:
        """Load a saved scene in place of this one."""
        if path.suffix == ".mrb":
            assert self.logic.OpenSlicerDataBundle(str(path), str(self.folder))
            return
        self.scene.SetURL(str(path))
        assert self.scene.Connect()

    def add_volume(self, array: npt.NDArray[Any], affine: npt.NDArray[Any], name: str = "FLAIR") -> Any:
        """A volume node of an (i, j, k) array; the affine maps voxel indices to RAS mm."""
        matrix = slicer.util.vtkMatrixFromArray(np.asarray(affine, float))
        return slicer.util.addVolumeFromArray(np.ascontiguousarray(array.T), matrix, name)


class SliceView:
    """A slice view of the scene, drawn off screen.

    orientation : ``Axial``, ``Coronal`` or ``Sagittal``.
    """

    def __init__(self, application: Application, flair: Any, orientation: str, side: int = 128) -> None:
        self._window, self._renderer = vtk.vtkRenderWindow(), vtk.vtkRenderer()
        self._window.SetOffScreenRendering(1)
        self._window.SetMultiSamples(0)
        self._window.SetSize(side, side)
        self._window.AddRenderer(self._renderer)
        self._interactor = vtk.vtkRenderWindowInteractor()
        self._interactor.SetRenderWindow(self._window)
        self._renderer.GetActiveCamera().ParallelProjectionOn()
        self._add_image()
        factory = slicer.vtkMRMLSliceViewDisplayableManagerFactory.GetInstance()
        factory.SetMRMLApplicationLogic(application.logic)
        for name in _MANAGERS:
            if not factory.IsDisplayableManagerRegistered(name):
                factory.RegisterDisplayableManager(name)
        self._managers = slicer.vtkMRMLDisplayableManagerGroup()
        self._managers.SetRenderer(self._renderer)
        self._managers.Initialize(factory, self._renderer)
        self._logic = slicer.vtkMRMLSliceLogic()
        self._logic.SetMRMLApplicationLogic(application.logic)
        if application.logic.GetSliceLogics() is None:
            application.logic.SetSliceLogics(vtk.vtkCollection())
        application.logic.GetSliceLogics().AddItem(self._logic)
        self._logic.SetMRMLScene(application.scene)
        self.node = self._logic.AddSliceNode(orientation)
        self.node.SetLayoutName(orientation)
        self.node.SetOrientation(orientation)
        self._managers.SetMRMLDisplayableNode(self.node)
        self._logic.ResizeSliceNode(side, side)
        self.composite = self._logic.GetSliceCompositeNode()
        self.composite.SetBackgroundVolumeID(flair.GetID())
        self._logic.FitSliceToAll()

    def _add_image(self) -> None:
        """First of all, so that what is transparent is drawn over it."""
        self._slices = vtk.vtkImageMapper()
        self._slices.SetColorWindow(255)
        self._slices.SetColorLevel(127.5)
        actor = vtk.vtkActor2D()
        actor.SetMapper(self._slices)
        actor.GetProperty().SetDisplayLocationToBackground()
        self._renderer.AddViewProp(actor)

    def xy_of(self, ras: tuple[float, float, float]) -> tuple[float, float, float]:
        """Where a point is drawn: pixels right and up, and slices in front of the one shown."""
        from_view = vtk.vtkMatrix4x4()
        from_view.DeepCopy(self.node.GetXYToRAS())
        from_view.Invert()
        x, y, depth, _ = from_view.MultiplyPoint((*ras, 1.0))
        return x, y, depth

    def colour_at(self, ras: tuple[float, float, float]) -> npt.NDArray[np.float64]:
        """RGB in 0..1 of what is drawn at a point, which has to lie on the slice that is shown."""
        x, y, depth = self.xy_of(ras)
        assert abs(depth) < 0.5, "the point is not on the slice shown"
        return self._image()[round(y), round(x)] / 255

    def colour_in_the_middle(self) -> npt.NDArray[np.float64]:
        """RGB in 0..1 of what is drawn in the middle of the view."""
        image = self._image()
        return image[image.shape[0] // 2, image.shape[1] // 2] / 255

    def _image(self) -> npt.NDArray[np.uint8]:
        """The picture, (y, x, RGB), y upwards."""
        self._slices.SetInputConnection(self._logic.GetImageDataConnection())
        self._window.Render()
        grab = vtk.vtkWindowToImageFilter()
        grab.SetInput(self._window)
        grab.ReadFrontBufferOff()
        grab.Update()
        image = grab.GetOutput()
        width, height, _ = image.GetDimensions()
        return vtk_to_numpy(image.GetPointData().GetScalars()).reshape(height, width, -1)[..., :3]
