"""Comparison of the case under review with another rater's: a summary, a filter, and their outlines."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from slicer.i18n import tr as _

from ..comparison import CONSENSUS_DICE, Comparison, compare_raters
from ..errors import InputError
from ..export import read_case
from ..scene.io import open_case
from ..scene.lesion_scene import LesionScene
from ..scene.nodes import remove_node
from ..scene.outline import show_outline
from ..scene.tags import segment_name
from . import dialogs
from .settings import remember, remembered

if TYPE_CHECKING:
    from .section import Section


class Comparing:
    """The part of the Export section that compares; it ends when the case is closed.

    comparison : what was found last, the user's lesions being A's; None while nothing is compared.
    """

    def __init__(self, section: Section) -> None:
        self._section = section
        self._folder = Path()
        self._theirs: LesionScene | None = None
        self._summary = ""
        self.comparison: Comparison | None = None
        ui = section.ui
        ui.compareButton.clicked.connect(section.slot(self._choose))
        ui.compareAgainButton.clicked.connect(section.slot(lambda *_: self.compare_with(self._folder)))
        ui.endComparisonButton.clicked.connect(section.slot(lambda *_: self.end()))
        ui.differencesCheck.toggled.connect(section.slot(lambda *_: self._filter()))
        ui.outlinesCheck.toggled.connect(section.slot(lambda *_: self._outline()))
        ui.theirsCombo.connect("activated(int)", section.slot(self._jump))
        section.review.opened.connect(self._show)
        section.review.closed.connect(self.end)
        section.review.changed.connect(self._tell_stale)
        self._show()

    def compare_with(self, folder: Path) -> None:
        """Compare with another rater's folder, or the ``sub-`` folder in it.

        Raises InputError where it does not hold the open case on its FLAIR's grid, or no case is open.
        """
        review = self._section.review
        review.take_in_painting()
        folder = folder.parent if folder.name.startswith("sub-") else folder
        case = read_case(folder, review.subject)
        opened = open_case(folder, review.subject, review.scene.flair)
        comparison = compare_raters(review.lesions, opened.lesions)
        name = str(case.sidecar.get("rater") or _("no rater named"))
        self.end()
        self._folder, self.comparison = folder, comparison
        self._theirs = show_outline(opened.lesions, review.scene.flair, f"{review.subject} {name}")
        self._summary = "\n".join([_summary(comparison, name), *opened.warnings])
        ui = self._section.ui
        for each in comparison.only_b:
            volume = each.lesion.volume_mm3 / 1000
            text = f"{segment_name(each.lesion)}, {volume:.2f} ml"
            ui.theirsCombo.addItem(text)
        ui.outlinesCheck.checked = True
        self._show()

    def end(self) -> None:
        """Compare no more: the outlines and the filter go."""
        theirs, self._theirs, self.comparison = self._theirs, None, None
        if theirs is not None:
            remove_node(theirs.node)
        ui = self._section.ui
        ui.theirsCombo.clear()
        ui.differencesCheck.checked = False
        ui.outlinesCheck.checked = False
        self._show()

    def _choose(self, _checked: bool = False) -> None:
        start = remembered("compared_folder", "")
        folder = dialogs.ask_folder(_("Another rater's folder"), str(start))
        if folder is not None:
            self.compare_with(folder)
            remember("compared_folder", str(folder))

    def _show(self) -> None:
        """The summary, and which controls there is anything for."""
        ui, found = self._section.ui, self.comparison
        ui.compareButton.enabled = self._section.review.is_open
        for control in (ui.compareAgainButton, ui.endComparisonButton):
            control.enabled = found is not None
        for control in (ui.comparisonLabel, ui.differencesCheck, ui.outlinesCheck):
            control.setVisible(found is not None)
        for control in (ui.theirsLabel, ui.theirsCombo):
            control.setVisible(found is not None and bool(found.only_b))
        ui.comparisonLabel.text = self._summary if found is not None else ""

    def _tell_stale(self, _ids: set[int]) -> None:
        if self.comparison is not None:
            self._section.ui.comparisonLabel.text = (
                self._summary + "\n" + _("Lesions were edited since: press Again.")
            )

    def _filter(self) -> None:
        wanted = self.comparison is not None and self._section.ui.differencesCheck.checked
        lesions: Any = self._section.panel.lesions
        lesions.extra_filter = self.comparison.disputed if wanted and self.comparison else None

    def _outline(self) -> None:
        if self._theirs is not None:
            self._theirs.node.GetDisplayNode().SetVisibility(self._section.ui.outlinesCheck.checked)

    def _jump(self, index: int) -> None:
        if self._theirs is None or self.comparison is None:
            raise InputError(_("nothing is compared"), todo=_("Choose another rater's folder"))
        self._theirs.jump_to(self.comparison.only_b[index].lesion.lesion_id)


def _summary(found: Comparison, name: str) -> str:
    """How far two raters agree, for the user, who is A."""
    lines = [
        _("You: {n} lesions, {ml:.2f} ml. {name}: {m} lesions, {other:.2f} ml.").format(
            n=found.totals_a.count,
            ml=found.totals_a.volume_ml,
            name=name,
            m=found.totals_b.count,
            other=found.totals_b.volume_ml,
        ),
        _("{both} in both, {types} of them typed differently; {a} only yours, {b} only theirs.").format(
            both=len(found.pairs),
            types=len(found.type_disagreements),
            a=len(found.only_a),
            b=len(found.only_b),
        ),
    ]
    verdict = (
        _("Dice {dice:.2f}, under {limit}: go over this case together.")
        if found.needs_consensus
        else _("Dice {dice:.2f}, at least {limit}: no consensus is needed.")
    )
    return "\n".join([*lines, verdict.format(dice=found.dice, limit=CONSENSUS_DICE)])
