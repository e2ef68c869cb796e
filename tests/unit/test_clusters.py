"""Draws of seeds and stories, in cases that can be reckoned by hand."""

import numpy as np
import pytest

from polyunlearn.analysis.clusters import bearing, clusters, drawn_weights, mean_over, percentiles, share_left


def test_weights_of_a_draw_are_a_mean() -> None:
    weights = drawn_weights([0, 0, 0, 1], np.random.default_rng(1))
    assert weights.sum(1) == pytest.approx(1) and weights.min() == 0


def test_a_story_that_seeds_share_is_drawn_with_all_of_them() -> None:
    """Two stories in two seeds: in every draw the first has the same share of each seed that is drawn."""
    weights = drawn_weights([0, 0, 1, 1], np.random.default_rng(1), shared=True)
    assert weights.sum(1) == pytest.approx(1)
    both = weights[(weights[:, :2].sum(1) > 0) & (weights[:, 2:].sum(1) > 0)]
    assert len(both) > 100 and both[:, 0] == pytest.approx(both[:, 2]) and both[:, 1] == pytest.approx(both[:, 3])
    assert (clusters([0, 0, 1, 1], True), clusters([0, 0, 1, 1], False)) == (2, 4)


def test_shared_stories_are_not_taken_for_more() -> None:
    """Three seeds that say the same of the same 24 stories are one: the interval is as wide as of one seed. Taken for 72 it would be narrower by √3."""
    values = np.array([1.0] * 6 + [0.0] * 18)
    seeds = [0] * 24 + [1] * 24 + [2] * 24
    one, shared, apart = (
        mean_over(values, [0] * 24),
        mean_over(np.tile(values, 3), seeds, shared=True),
        mean_over(np.tile(values, 3), seeds),
    )
    assert (shared.n, apart.n, shared.mean) == (24, 72, 0.25)
    assert shared.high - shared.low == pytest.approx(one.high - one.low, abs=0.045)
    assert apart.high - apart.low < 0.75 * (shared.high - shared.low)


def test_seeds_that_share_stories_have_as_many() -> None:
    with pytest.raises(ValueError, match="as many each"):
        drawn_weights([0, 0, 1], np.random.default_rng(1), shared=True)


def test_where_no_draw_has_a_value_there_are_no_ends() -> None:
    """As of a diverged state, of which one text without a number is in every draw."""
    low, high = percentiles(np.full(9, np.nan))
    assert np.isnan(low) and np.isnan(high)
    assert np.isnan(mean_over(np.array([1.0, np.nan, 2.0]), [0, 0, 0]).mean)
    assert percentiles(np.array([np.nan, 3.0])) == (3.0, 3.0)


def test_a_share_by_hand() -> None:
    """Left 1, 0, 0, 0 of added 1, 1, 1, 1: 1/4, drawn as k/4 between 0 and 3/4. Of nothing there is no share."""
    found = share_left(np.array([1.0, 0, 0, 0]), np.ones(4), [0] * 4)
    assert (found.mean, found.low, found.high, found.n) == (0.25, 0, 0.75, 4)
    with pytest.raises(ValueError, match="share of nothing"):
        share_left(np.zeros(4), np.zeros(4), [0] * 4)


def test_stories_that_were_not_learned_say_nothing_of_what_is_left() -> None:
    """Of 24 stories four were learned, and nothing is left: it rests on four, of which a share of 1 − .025^(1/4) = .602 may be of another sort; of 24 it were .142.
    Two learned and two by half are 9 / 2.5 = 3.6, so four; what was learned the other way round counts as nothing."""
    added = np.array([1.0] * 4 + [0.0] * 20)
    found = share_left(np.zeros(24), added, [0] * 24)
    assert (found.mean, found.low, found.n) == (0, 0, 4) and found.high == pytest.approx(0.602, abs=0.001)
    assert bearing(np.array([1, 1, 0.5, 0.5, -1])) == 4 and bearing(np.ones(7)) == 7 and bearing(np.zeros(3)) == 1
