"""Cuts that a network's votes do not support are taken back."""

from __future__ import annotations

import numpy as np
import pytest

from LesionSegmenterLib.instances import OffsetField, group_by_offsets, renumber, split_by_offsets
from LesionSegmenterLib.instances.separation import LEAST_SEPARATION, VOTE_ERROR_MM, merge_unseparated
from phantoms import as_partition, smooth_noise


def bar(length: int, parts: int = 2) -> np.ndarray:
    """A bar along i, cut into parts of equal length."""
    return np.repeat(np.arange(1, parts + 1), length // parts).astype(np.int32)[:, None, None]


def own_places(groups: np.ndarray) -> np.ndarray:
    """Votes of voxels for themselves."""
    return np.argwhere(groups > 0).astype(float)


def test_a_bar_whose_voxels_vote_for_themselves_is_not_cut():
    groups = bar(60)
    assert as_partition(merge_unseparated(groups, own_places(groups))) == as_partition(groups > 0)


def test_lesions_whose_votes_gather_in_two_places_stay_two():
    groups = bar(20)
    votes = np.where(groups.reshape(-1, 1) == 1, (5.0, 0, 0), (15.0, 0, 0))
    np.testing.assert_array_equal(merge_unseparated(groups, votes), groups)


def test_votes_for_one_place_between_two_centres_join_them_however_the_centres_lie():
    groups = bar(20)
    middle = np.random.default_rng(0).normal((9.5, 0, 0), 1, (20, 3))
    assert merge_unseparated(groups, middle).max() == 1


def test_groups_that_share_no_face_are_not_joined():
    groups = np.array([[1, 0], [0, 2]], np.int32)[..., None]
    np.testing.assert_array_equal(merge_unseparated(groups, np.zeros((2, 3))), groups)


def test_one_group_or_none_stays_as_it_is():
    for groups in (bar(6, 1), np.zeros((3, 3, 3), np.int32)):
        np.testing.assert_array_equal(merge_unseparated(groups, own_places(groups)), groups)


def test_few_voxels_that_agree_by_chance_are_no_lesion_of_their_own():
    groups = np.array([1, 1, 1, 2], np.int32)[:, None, None]
    votes = np.array([[0.0, 0, 0]] * 3 + [[0.9 * LEAST_SEPARATION * VOTE_ERROR_MM, 0, 0]])
    assert merge_unseparated(groups, votes).max() == 1
    assert merge_unseparated(groups, 1.2 * votes).max() == 2


def by_definition(groups: np.ndarray, votes: np.ndarray, least: float) -> set[frozenset[int]]:
    """The same, each separation from all voxels anew, each time joining the least separated neighbours."""
    places = np.argwhere(groups > 0)
    where = {tuple(place): vote for place, vote in zip(places.tolist(), votes, strict=True)}
    lesions = [[tuple(place) for place in np.argwhere(groups == n).tolist()] for n in np.unique(groups)[1:]]

    def separation(one: list[tuple[int, ...]], other: list[tuple[int, ...]]) -> float:
        if not any(sum(abs(p - q) for p, q in zip(a, b, strict=True)) == 1 for a in one for b in other):
            return np.inf
        first, second = (np.array([where[voxel] for voxel in lesion]) for lesion in (one, other))
        way = second.mean(0) - first.mean(0)
        along = way / np.linalg.norm(way)
        spread = ((first @ along).var() + (second @ along).var()) / 2
        return float(np.linalg.norm(way) / np.sqrt(spread + VOTE_ERROR_MM**2))

    while len(lesions) > 1:
        pairs = [(separation(a, b), i, j) for i, a in enumerate(lesions) for j, b in enumerate(lesions[:i])]
        nearest, i, j = min(pairs)
        if nearest >= least:
            break
        lesions[j] += lesions.pop(i)
    return {frozenset(np.ravel_multi_index(np.array(lesion).T, groups.shape)) for lesion in lesions}


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("least", [3.0, LEAST_SEPARATION, 6.0])
def test_it_is_what_the_definition_says_step_by_step(seed, least):
    mask = smooth_noise((9, 8, 7), seed) > 0.7
    rng = np.random.default_rng(seed)
    offsets = rng.normal(0, 0.7, (3, *mask.shape)) - 0.5 * (np.indices(mask.shape) % 4 - 1.5)
    field = OffsetField(rng.random(mask.shape), offsets, (1.0, 1.1, 2.0))
    groups = group_by_offsets(mask, field)
    votes = field.votes(np.argwhere(groups > 0)) * field.spacing
    found = merge_unseparated(groups, votes, least)
    expected = by_definition(groups, votes, least)
    assert {frozenset(np.flatnonzero(found == n)) for n in np.unique(found)[1:]} == expected
    assert groups.max() > len(expected)


def test_splitting_by_offsets_is_grouping_without_unsupported_cuts():
    mask = np.ones((30, 6, 6), bool)
    heat = np.zeros(mask.shape)
    heat[5, 3, 3] = heat[15, 3, 3] = heat[25, 3, 3] = 1  # three centres, but the votes are for two lesions
    i = np.indices(mask.shape)[0]
    offsets = np.stack([np.where(i < 15, 7.0, 22.0) - i, *np.zeros((2, *mask.shape))])
    field = OffsetField(heat, offsets, (1.0, 1.0, 1.0))
    found = split_by_offsets(mask, field)
    assert as_partition(found) == as_partition(np.where(i < 15, 1, 2))
    np.testing.assert_array_equal(found, renumber(found))
    assert group_by_offsets(mask, field).max() >= 2
