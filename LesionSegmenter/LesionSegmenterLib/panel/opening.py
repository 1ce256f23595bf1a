"""Opens lesions that exist: a case folder, an image or segmentation file, a segmentation of the scene."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import qt
import slicer.util
from slicer.i18n import tr as _

from ..errors import InputError
from ..export import complete_subjects, subject_id
from ..scene.io import Holds, Opened, open_labels, open_segmentation, open_segmentation_file
from . import dialogs
from .rater import rater_name
from .settings import remember, remembered

if TYPE_CHECKING:
    from .section import Section

_KINDS = "Lesions (*.nii *.nii.gz *.nrrd *.mha *.seg.nrrd)"


class Opening:
    """The button for a case folder and the menu for everything else, of the Lesions section."""

    def __init__(self, section: Section) -> None:
        self._section = section
        ui = section.ui
        ui.openCaseButton.clicked.connect(section.slot(self._open_case))
        self._menu = qt.QMenu(section.widget)
        self._submenus: dict[Holds, Any] = {
            "lesions": self._menu.addMenu(_("Each segment or label is a lesion")),
            "types": self._menu.addMenu(_("Each segment or label is a type of lesions")),
        }
        self._menu.aboutToShow.connect(section.slot(self._list))
        ui.openLesionsButton.setMenu(self._menu)

    def _list(self) -> None:
        """The scene's segmentations but our own, and files, under either meaning."""
        own = self._section.review.scene.node if self._section.review.is_open else None
        nodes = [node for node in slicer.util.getNodesByClass("vtkMRMLSegmentationNode") if node is not own]
        for holds, menu in self._submenus.items():
            menu.clear()
            for node in nodes:
                self._add(menu, node.GetName(), partial(self._open_node, node, holds))
            self._add(menu, _("File…"), partial(self._open_file, holds))

    def _add(self, menu: Any, text: str, action: Any) -> None:
        menu.addAction(text).triggered.connect(self._section.slot(lambda *_: action()))

    def _open_case(self, *_arguments: Any) -> None:
        folder = dialogs.ask_folder(_("Case folder"), remembered("case_folder", ""))
        if folder is None:
            return
        subject = None
        if folder.name.startswith("sub-"):
            folder, subject = folder.parent, folder.name.removeprefix("sub-")
        elif len(complete_subjects(folder)) > 1:
            raise InputError(
                _("this folder holds several cases"),
                folder,
                _("Choose the sub- folder of one of them, or open the folder under Worklist"),
            )
        warnings = self._section.review.open_case(folder, subject, rater_name())
        remember("case_folder", str(folder))
        self._warn(warnings)

    def _open_node(self, node: Any, holds: Holds) -> None:
        self._review(open_segmentation(node, self._flair(), holds))

    def _open_file(self, holds: Holds) -> None:
        flair = self._flair()
        path = dialogs.ask_file(_("Lesions"), _KINDS, remembered("lesions_folder", ""))
        if path is None:
            return
        remember("lesions_folder", str(path.parent))
        is_segmentation = path.name.lower().endswith(".seg.nrrd")
        self._review((open_segmentation_file if is_segmentation else open_labels)(path, flair, holds))

    def _flair(self) -> Any:
        parameters = self._section.panel.parameters
        flair = parameters.flair if parameters is not None else None
        if flair is None:
            raise InputError(_("no FLAIR is chosen"), todo=_("Choose the one of these lesions under Inputs"))
        return flair

    def _review(self, opened: Opened) -> None:
        """Review them; the record of what is done is kept in a folder that the user names."""
        folder: Path | None = dialogs.ask_folder(
            _("Folder for the record of this review"), remembered("review_folder", "")
        )
        if folder is None:
            return
        remember("review_folder", str(folder))
        subject = subject_id(opened.flair.GetName())
        self._section.review.open(opened, folder, subject, rater_name())
        self._warn(opened.warnings)

    def _warn(self, warnings: tuple[str, ...]) -> None:
        if warnings:
            self._section.panel.tell("\n".join(warnings))
