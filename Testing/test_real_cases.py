"""The shipped model on real patients it never saw (skipped where the data are absent)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lesion_training.evaluation import CaseScore, score_case
from lesion_training.listing import LISTINGS, read_listing
from LesionSegmenterLib.segment import SegmentOptions, load


@pytest.fixture(scope="module")
def scores(data_dir: Path) -> list[CaseScore]:
    options = SegmentOptions(device="cpu")
    model = load(options)
    entries = read_listing(LISTINGS / "public.tsv", data_dir)
    return [score_case(entry, options, model) for entry in entries if entry.split == "validation"]


def test_the_validation_patients_are_the_two_that_training_never_reads(scores):
    assert [score.case for score in scores] == ["ljubljana-patient07", "tabriz-105465-raw"]


def test_every_validation_scan_gets_its_type(scores):
    assert [score.scan_type for score in scores] == [score.true_type for score in scores]


def test_the_card_states_the_scores_that_the_shipped_weights_reach(scores):
    stated = load(SegmentOptions(device="cpu")).bundle.spec.scores["cases"]
    for score in scores:
        # The card's were measured in bf16; a machine without it computes in fp32.
        assert score.metrics["dice"] == pytest.approx(stated[score.case]["metrics"]["dice"], abs=0.02)


def test_slices_without_lesions_stay_quiet(scores):
    assert np.mean([score.quiet_ml_per_litre for score in scores]) < 2.0
