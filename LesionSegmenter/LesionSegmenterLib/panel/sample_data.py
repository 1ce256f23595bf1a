"""The synthetic scan among Slicer's sample data: made on this machine, with nothing downloaded."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import slicer
import slicer.util
from slicer.i18n import tr as _

from ..atomic import writing_error
from ..errors import InputError, LesionSegmenterError
from ..scene.files import load_flair
from .engine_process import Ended, EngineProcess
from .engine_python import Engine

SAMPLE = "LesionSegmenterSynthetic"
FILE = "sub-synthetic_FLAIR.nii.gz"
_MAKER = "LesionSegmenterLib.synthesis.sample"


def register(resources: Path) -> None:
    """Offer the sample in the Sample Data module; called once, when Slicer has started."""
    import SampleData

    SampleData.SampleDataLogic.registerCustomSampleDataSource(
        category=_("Lesion Segmenter"),
        sampleName=SAMPLE,
        uris="",
        fileNames=FILE,
        nodeNames=FILE.split(".")[0],
        customDownloader=SampleMaker(resources),
        thumbnailFileName=str(resources / "Icons" / "LesionSegmenter.png"),
    )


class SampleMaker:
    """Makes the scan in a child process when it is first asked for, and loads it; the window stays alive."""

    def __init__(self, resources: Path) -> None:
        self._requirements = resources / "requirements.txt"
        self._process: EngineProcess | None = None
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    def __call__(self, source: Any = None) -> None:
        """Slicer's call when the sample is chosen."""
        path = self.path
        if path.is_file():
            _show(load_flair(path))
        elif self._process is None:
            self._make()

    @property
    def path(self) -> Path:
        """Where the sample is kept."""
        return Path(slicer.app.cachePath) / "LesionSegmenter" / FILE

    def _make(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="LesionSegmenter-")
        engine = Engine(self._requirements)
        self._process = EngineProcess()
        self._process.finished.connect(self._finished)
        try:
            self._process.start(engine.command(_MAKER, str(self._scan)), engine.environment())
            slicer.util.showStatusMessage(_("The synthetic scan is being made…"))
        except LesionSegmenterError as error:
            self._let_go()
            slicer.util.errorDisplay(str(error))
        engine.cleanup()

    @property
    def _scan(self) -> Path:
        assert self._folder is not None
        return Path(self._folder.name) / "scan.npz"

    def _finished(self, ended: Ended) -> None:
        assert self._process is not None
        log = self._process.log
        try:
            if ended.status:
                raise InputError(
                    _("the synthetic scan could not be made ({reason})").format(
                        reason=log[-1] if log else ended.status
                    ),
                    todo=_("Check the engine's Python in Inputs"),
                )
            _show(self._keep())
            slicer.util.showStatusMessage("")
        except LesionSegmenterError as error:
            slicer.util.errorDisplay(str(error))
        finally:
            self._let_go()

    def _keep(self) -> Any:
        """The scan's node, its file being the one that is kept."""
        with np.load(self._scan) as scan:
            matrix = slicer.util.vtkMatrixFromArray(scan["affine"])
            node = slicer.util.addVolumeFromArray(scan["flair"], matrix, FILE.split(".")[0])
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise writing_error(self.path.parent, error) from error
        if not slicer.util.saveNode(node, str(self.path)):
            raise InputError(_("the synthetic scan could not be saved"), self.path)
        return node

    def _let_go(self) -> None:
        if self._process is not None:
            self._process.cleanup()
        if self._folder is not None:
            self._folder.cleanup()
        self._process = self._folder = None


def _show(node: Any) -> None:
    slicer.util.setSliceViewerLayers(background=node, fit=True, rotateToVolumePlane=True)
