"""The lesion classifier: its size, what it learns, and its file."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from lesion_training.cascade import MaskScan, ScanFeatures, fit, scanned_features, validate
from LesionSegmenterLib.classifier import (
    TYPES,
    CascadeClassifier,
    counterpart_shares,
    counterparts,
)
from LesionSegmenterLib.engine.cascade import _EVEN_SHARE, classify_lesions
from LesionSegmenterLib.errors import BundleError, InputError
from LesionSegmenterLib.labels import LesionType


def some_features(n: int = 20) -> np.ndarray:
    return np.random.default_rng(3).uniform(0, 2, (n, 11)) * ([1000, 500] + [1] * 6 + [10] * 3)


def seeded_classifier() -> CascadeClassifier:
    torch.manual_seed(0)
    model = CascadeClassifier()
    model.fit_standardisation(torch.tensor(some_features(), dtype=torch.float32))
    return model.eval()


def test_it_has_the_papers_number_of_parameters():
    assert sum(p.numel() for p in CascadeClassifier().parameters()) == 166_403


def test_probabilities_add_up_to_one_and_repeat_exactly():
    model, features = seeded_classifier(), some_features()
    probabilities = model.classify(features)
    assert probabilities.shape == (20, 3)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    np.testing.assert_array_equal(model.classify(features), probabilities)


def test_standardised_training_features_have_mean_0_and_sd_1():
    model, features = seeded_classifier(), torch.tensor(some_features(), dtype=torch.float32)
    standardised = model.standardise(features)
    torch.testing.assert_close(standardised.mean(dim=0), torch.zeros(11), atol=1e-5, rtol=0)
    torch.testing.assert_close(standardised.std(dim=0, correction=0), torch.ones(11), atol=1e-5, rtol=0)


def test_a_constant_training_feature_stays_finite():
    model = CascadeClassifier()
    model.fit_standardisation(torch.ones(5, 11))
    assert np.isfinite(model.classify(np.ones((2, 11)))).all()


def lesions_at(*volume_and_side: tuple[float, float]) -> np.ndarray:
    """Features of lesions of a volume in mm3 at a place from left (0) to right (1)."""
    features = some_features(len(volume_and_side))
    features[:, [0, 2]] = volume_and_side
    return features


def test_a_counterpart_is_the_lesion_volume_on_the_other_side_over_ones_own():
    np.testing.assert_allclose(counterparts(lesions_at((900, 0.2))), [0])
    np.testing.assert_allclose(counterparts(lesions_at((900, 0.2), (500, 0.4))), [0, 0])
    np.testing.assert_allclose(counterparts(lesions_at((1000, 0.2), (100, 0.9), (50, 0.7))), [0.15, 1, 1])
    # The first lies on the midline: half of the second is beside it, and half of it beside the second.
    np.testing.assert_allclose(counterparts(lesions_at((100, 0.5), (80, 0.9))), [0.4, 0.625])


def test_shares_of_counterparts_weigh_scans_alike_and_keep_every_bin_possible():
    one_sided = [(LesionType.STROKE, lesions_at(*[(800, 0.2)] * n)) for n in (1, 30)]
    shares = counterpart_shares([*one_sided, (LesionType.MS, lesions_at((8, 0.2), (8, 0.8)))])
    np.testing.assert_allclose(shares, [[1 / 3, 1 / 3, 1 / 3], [0.6, 0.2, 0.2], [0.25, 0.25, 0.5]])


def test_a_lesion_without_a_counterpart_is_a_stroke_sooner(tmp_path):
    model = seeded_classifier()
    alone, both = lesions_at((900, 0.2)), lesions_at((900, 0.2), (900, 0.8))
    np.testing.assert_array_equal(model.classify_scan(both), model.classify(both))  # without shares
    model.counterpart_shares = np.array([[0.1, 0.1, 0.8], [0.8, 0.1, 0.1], [0.1, 0.1, 0.8]])
    odds = [0.1, 0.8, 0.1] * model.classify(alone)
    np.testing.assert_allclose(model.classify_scan(alone), odds / odds.sum())
    assert model.classify_scan(both)[0, 1] < model.classify(both)[0, 1]
    assert model.classify_scan(np.zeros((0, 11))).shape == (0, 3)
    model.save(tmp_path / "classifier.safetensors", {})
    loaded = CascadeClassifier.load(tmp_path / "classifier.safetensors")
    np.testing.assert_array_equal(loaded.classify_scan(both), model.classify_scan(both))


def test_the_networks_stroke_channel_speaks_for_a_stroke_above_the_even_share(tmp_path):
    seeded_classifier().save(tmp_path / "classifier.safetensors", {})
    instances = np.zeros((20, 20, 20), np.int32)
    instances[4:8, 5:9, 6:9] = 3

    def typed(share: float | None) -> tuple[LesionType, float]:
        stroke = None if share is None else np.full(instances.shape, share, np.float32)
        brain = np.ones(instances.shape, bool)
        return classify_lesions(tmp_path / "classifier.safetensors", instances, np.eye(4), brain, stroke)[3]

    assert typed(_EVEN_SHARE) == typed(None)
    kind, confidence = typed(0.9)
    assert kind is LesionType.STROKE and confidence > 0.8
    assert typed(1.0)[1] == typed(0.96)[1] < 1  # no vote rules a type out
    assert typed(0.03)[0] is not LesionType.STROKE


@pytest.mark.parametrize("shares", ["[[1, 2, 3]]", "nonsense", "[[0, 1, 1], [1, 1, 1], [1, 1, 1]]", "{}"])
def test_shares_that_cannot_be_read_are_refused(tmp_path, shares):
    seeded_classifier().save(tmp_path / "classifier.safetensors", {"counterparts": shares})
    with pytest.raises(BundleError, match="cannot be read"):
        CascadeClassifier.load(tmp_path / "classifier.safetensors")


def test_a_saved_classifier_comes_back_the_same(tmp_path):
    model = seeded_classifier()
    model.save(tmp_path / "classifier.safetensors", {"seed": "0"})
    loaded = CascadeClassifier.load(tmp_path / "classifier.safetensors")
    assert loaded.metadata["seed"] == "0"
    np.testing.assert_array_equal(loaded.classify(some_features()), model.classify(some_features()))


def test_no_lesions_have_no_probabilities():
    assert seeded_classifier().classify(np.zeros((0, 11))).shape == (0, 3)


@pytest.mark.parametrize("features", [np.full((1, 11), np.nan), np.zeros((2, 10)), np.zeros(11)])
def test_unusable_features_are_refused(features):
    with pytest.raises(InputError):
        seeded_classifier().classify(features)


def test_a_missing_cut_or_foreign_file_is_refused(tmp_path):
    path = tmp_path / "classifier.safetensors"
    with pytest.raises(BundleError):
        CascadeClassifier.load(path)
    seeded_classifier().save(path, {})
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(BundleError):
        CascadeClassifier.load(path)
    from safetensors.torch import save_file

    save_file({"layers.0.weight": torch.zeros(400, 12)}, path)
    with pytest.raises(BundleError, match="classifier"):
        CascadeClassifier.load(path)


def typed_scans(seed: int) -> list[ScanFeatures]:
    """Scans whose lesions' volume tells the type: small, middling and large."""
    rng = np.random.default_rng(seed)
    scans = []
    for size, kind in enumerate(TYPES):
        for index in range(4):
            features = rng.uniform(0, 1, (5, 11))
            features[:, 0] = 10.0 ** (size + 1) * rng.uniform(1, 2, 5)
            scans.append(ScanFeatures(kind, f"{kind}{index}", features))
    return scans


def test_training_learns_what_tells_the_types_apart_and_repeats_exactly():
    models = [fit(typed_scans(0), np.random.default_rng(1), seed=2) for _ in range(2)]
    scores = validate(models[0], typed_scans(1))
    assert scores["lesion_balanced_accuracy"] > 0.85
    assert scores["scan_confusion"] == [[4, 0, 0], [0, 4, 0], [0, 0, 4]]
    features = typed_scans(3)[0].features
    np.testing.assert_array_equal(models[0].classify(features), models[1].classify(features))


def test_training_without_one_of_the_types_is_refused():
    scans = [scan for scan in typed_scans(0) if scan.type is not LesionType.MS]
    with pytest.raises(InputError):
        fit(scans, np.random.default_rng(0), seed=0)


def test_a_lesion_keeps_its_size_and_place_on_the_grids_of_training():
    mask = np.zeros((30, 30, 30), dtype=bool)
    mask[5:25, 5:25, 5:25] = True
    affine = np.eye(4)
    affine[:3, 3] = [10, -15, 5]  # centre of the lesion: (24.5, -0.5, 19.5)
    corners = np.array(list(itertools.product((-70, 70), (-90, 90), (-60, 60))), dtype=float)
    rng = np.random.default_rng(0)
    for _ in range(8):
        features = scanned_features(MaskScan(LesionType.STROKE, "cube", mask, affine), corners, rng)
        # Heads are 0.76 to 1.1 times the template, and edges move by a voxel of up to 8 mm.
        assert 0.25 * 8000 < features[:, 0].sum() < 2 * 8000
        largest = features[features[:, 0].argmax()]
        # Along S the box's lower edge moves on purpose.
        np.testing.assert_allclose(largest[2:4], [24.5 / 140 + 0.5, -0.5 / 180 + 0.5], atol=0.1)
