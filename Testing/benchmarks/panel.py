"""The panel as a user waits for it: its table filled, a lesion selected and relabelled, a case opened."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import slicer

from benchmarks.images import lesions as lesion_probability
from benchmarks.tables import Table, Timing, in_turn
from LesionSegmenterLib import edits
from LesionSegmenterLib.export import CaseData, write_case
from LesionSegmenterLib.image import NiftiWriter, read_volume
from LesionSegmenterLib.instances import label_components
from LesionSegmenterLib.labels import LesionType
from LesionSegmenterLib.lesions import LesionMap
from LesionSegmenterLib.measure import measure_lesions, type_map
from panel_app import PanelApp
from panel_lesions import grid_of_lesions

_SHAPE = (192, 256, 160)
_AFFINE = np.diag([1.0, 1.0, 1.0, 1.0])
_LESIONS, _ROWS = 150, 500


def run(repetitions: int) -> Table:
    app = PanelApp()
    try:
        with tempfile.TemporaryDirectory() as folder:
            app.open()
            timings = _Bench(app, Path(folder)).timings(repetitions)
    finally:
        app.close()
    return Table(
        "The panel",
        "The whole panel beside three slice views and a 3D view, all drawn, under the stand-ins for Slicer's "
        f"windows; {_LESIONS} lesions on {'x'.join(map(str, _SHAPE))}. Goals: table filled in under 100 ms, "
        "lesion selected or relabelled in under 200 ms, case opened in under 2 s.",
        ("what", "time", "against the naive way"),
        [
            (name, str(timing), timing.times_faster_than(naive) if naive else "")
            for name, timing, naive in timings
        ],
    )


class _Bench:
    """The panel with a case that it can open again and again."""

    def __init__(self, app: PanelApp, folder: Path) -> None:
        self.app, self.folder = app, folder
        self.review, self.section = app.panel.review, app.panel.lesions
        _write_case(folder)

    def timings(self, repetitions: int) -> list[tuple[str, Timing, Timing | None]]:
        """Names, times, and those of the naive way where there is one."""
        opening, _ = in_turn({"opened": self._open}, repetitions)
        review, _ = in_turn(self._reviewing(), repetitions)
        tables, _ = in_turn(self._tables(), repetitions)
        selected, relabelled = review["selected, all shown anew"], review["relabelled, all shown anew"]
        cells = tables["cells"]
        return [
            (f"case of {_LESIONS} lesions and its FLAIR opened", opening["opened"], None),
            ("a lesion selected", review["selected"], selected),
            ("a lesion selected, all segments and rows anew", selected, None),
            ("a lesion relabelled", review["relabelled"], relabelled),
            ("a lesion relabelled, all segments and rows anew", relabelled, None),
            (f"table of {_ROWS} lesions filled", tables["table"], cells),
            (f"table of {_ROWS} lesions, an item for every cell", cells, None),
        ]

    def _open(self) -> None:
        self.review.close()
        slicer.mrmlScene.Clear(0)
        self.review.open_case(self.folder / "case", "01", "Ada")
        self._draw()

    def _reviewing(self) -> dict[str, Callable[[], None]]:
        ids = list(self.review.lesions.records)
        turn = iter(ids * 1000)
        types = iter([LesionType.MS, LesionType.STROKE] * 1000)

        def select() -> None:
            self.review.select([next(turn)])

        def relabel() -> None:
            lesion_type = next(types)
            self.review.do("Relabel", lambda lesions: edits.relabel(lesions, ids[:1], lesion_type))

        def anew(act: Callable[[], None]) -> Callable[[], None]:
            def act_and_show_all() -> None:
                act()
                self.review.scene.refresh()
                self.section.table.show(self.review.lesions.records)
                self._draw()

            return act_and_show_all

        def drawn(act: Callable[[], None]) -> Callable[[], None]:
            def act_and_draw() -> None:
                act()
                self._draw()

            return act_and_draw

        return {
            "selected": drawn(select),
            "selected, all shown anew": anew(select),
            "relabelled": drawn(relabel),
            "relabelled, all shown anew": anew(relabel),
        }

    def _tables(self) -> dict[str, Callable[[], None]]:
        from LesionSegmenterLib.panel.lesion_table import COLUMNS

        records = grid_of_lesions(_ROWS).records
        view = self.section.ui.lesionTable

        def ours() -> None:
            self.section.table.show(records)
            self._draw_table(view)

        import qt

        naive = qt.QTableWidget()
        naive.setColumnCount(len(COLUMNS))
        self.app.window.statusBar().addWidget(naive)
        naive.show()

        def cells() -> None:
            naive.setRowCount(0)
            naive.setRowCount(_ROWS)
            for row, record in enumerate(records.values()):
                for number, column in enumerate(COLUMNS):
                    naive.setItem(row, number, qt.QTableWidgetItem(column.text(record)))
            self._draw_table(naive)

        return {"table": ours, "cells": cells}

    def _draw_table(self, view: Any) -> None:
        view.viewport().repaint()
        self.app.process()

    def _draw(self) -> None:
        self.app.process()
        for view in slicer.app._cpp.layoutManager()._views():
            view.forceRender()


def _write_case(folder: Path) -> None:
    probability = lesion_probability(_SHAPE, _LESIONS, confluent=False).astype(np.float32)
    ids = label_components(probability > 0.5)
    noise = np.random.default_rng(0).integers(0, 300, _SHAPE, np.int16)
    nib.save(nib.Nifti1Image(noise, _AFFINE), folder / "flair.nii.gz")
    volume = read_volume(folder / "flair.nii.gz")
    types = {int(i): LesionType.WMH for i in np.unique(ids[ids > 0])}
    records = measure_lesions(ids, volume.affine, probability, types)
    lesions = LesionMap.from_arrays(ids, volume.affine, records)
    case = CaseData("01", type_map(lesions.ids, types), lesions.ids, probability, records, {})
    write_case(folder / "case", case, NiftiWriter(volume), folder / "flair.nii.gz")
