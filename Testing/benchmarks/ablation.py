"""What real, painted and synthetic training cases contribute, as ``compare_models.py`` measured it last."""

from __future__ import annotations

from benchmarks.accuracy import ablation_table, last_comparison
from benchmarks.tables import Table


def run(repetitions: int) -> Table:
    last = last_comparison()
    if last is None or not last.ablation:
        return ablation_table([], ["Not measured: no runs in runs/ablation were scored by `make compare`."])
    return ablation_table(last.ablation, [f"Scored on {last.date}, {last.machine}."])
