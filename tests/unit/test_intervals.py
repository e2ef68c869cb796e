"""Bootstrap intervals in cases that can be reckoned by hand."""

import numpy as np
import pytest

from polyunlearn.intervals import estimate, paired_difference


def test_constant_values_have_no_width() -> None:
    found = estimate([0.25] * 7)
    assert (found.mean, found.low, found.high, found.n) == (0.25, 0.25, 0.25, 7)


def test_one_story_has_no_width() -> None:
    found = estimate([0.5])
    assert (found.mean, found.low, found.high, found.n) == (0.5, 0.5, 0.5, 1)


def test_two_stories_by_hand() -> None:
    """Resamples of 0 and 1 have the means 0, 1/2, 1 with chances 1/4, 1/2, 1/4, so both tails of 2.5 % reach the ends."""
    found = estimate([0.0, 1.0])
    assert (found.mean, found.low, found.high) == (0.5, 0.0, 1.0)


def test_four_stories_by_hand() -> None:
    """One 1 among four: the mean of a resample is k/4, k binomial (4, 1/4): P(0) = 0.316, P(<= 2) = 0.949, P(<= 3) = 0.996.

    So the 2.5 % quantile is 0 and the 97.5 % quantile 3/4. The chances are far enough from the tails that 2,000 draws hit them.
    """
    found = estimate([0.0, 0.0, 0.0, 1.0])
    assert (found.mean, found.low, found.high) == (0.25, 0.0, 0.75)


@pytest.mark.parametrize(("stories", "share"), [(1, 0.975), (4, 0.6024), (6, 0.4593), (20, 0.1684), (24, 0.1425)])
def test_what_no_story_shows_may_still_be(stories: int, share: float) -> None:
    """None of n stories is left: a share q of others shows in none with probability (1 - q)^n = 0.025. Of four: 0.3976^4 = 0.025."""
    none = estimate([0.0] * stories, bounds=(0, 1))
    assert (none.mean, none.low, none.high) == (0, 0, pytest.approx(share, abs=1e-4))
    all_of_them = estimate([1.0] * stories, bounds=(0, 1))
    assert (all_of_them.mean, all_of_them.low, all_of_them.high) == (1, pytest.approx(1 - share, abs=1e-4), 1)


def test_more_seen_is_never_less_open() -> None:
    """From none of 20 to all, both ends rise; in the middle the bootstrap's ends, which are wider, stand."""
    found = [estimate([1.0] * count + [0.0] * (20 - count), bounds=(0, 1)) for count in range(21)]
    assert [own.low for own in found] == sorted(own.low for own in found)
    assert [own.high for own in found] == sorted(own.high for own in found)
    assert found[10] == estimate([1.0] * 10 + [0.0] * 10)


def test_a_large_sample_is_nearly_normal() -> None:
    """900 zeros and ones, half each: the standard error is 0.5 / 30, so the interval is 0.5 -/+ 1.96 x 0.016667 = 0.467 to 0.533."""
    found = estimate([0.0, 1.0] * 450)
    assert found.low == pytest.approx(0.467, abs=0.003)
    assert found.high == pytest.approx(0.533, abs=0.003)


def test_intervals_cover() -> None:
    """Of 400 samples of 40 normal values around 3, about 95 % of the intervals hold 3: the percentile bootstrap has a little less.

    With a standard error of sqrt(0.94 x 0.06 / 400) = 0.012, 0.90 and 0.98 are more than three away.
    """
    rng = np.random.default_rng(1)
    samples = rng.normal(3, 2, size=(400, 40))
    covered = np.mean([found.low <= 3 <= found.high for found in (estimate(list(sample), seed) for seed, sample in enumerate(samples))])
    assert 0.90 <= covered <= 0.98


def test_the_same_values_give_the_same_interval() -> None:
    values = list(np.random.default_rng(2).normal(size=20))
    assert estimate(values) == estimate(values)
    assert estimate(values, seed=1) != estimate(values, seed=2)


def test_intervals_shift_and_scale_with_the_values() -> None:
    """2 x + 5 has the interval 2 [low, high] + 5."""
    values = list(np.random.default_rng(3).normal(size=20))
    plain, moved = estimate(values), estimate([2 * value + 5 for value in values])
    assert (moved.mean, moved.low, moved.high) == pytest.approx((2 * plain.mean + 5, 2 * plain.low + 5, 2 * plain.high + 5))


def test_paired_difference_by_hand() -> None:
    """After 0.9, 0.2, 0.6 and before 0.4, 0.1, 0.6: differences 0.5, 0.1, 0, mean 0.2. All of one story: chances 1/27 = 3.7 %.

    Above the 2.5 % of a tail, so the interval ends at the least and the largest difference.
    """
    found = paired_difference([0.9, 0.2, 0.6], [0.4, 0.1, 0.6])
    assert (found.mean, found.low, found.high, found.n) == pytest.approx((0.2, 0.0, 0.5, 3))


def test_pairing_takes_the_stories_own_spread_out() -> None:
    """Stories differ by whole units, the effect is 0.1 in each: paired, it has no width."""
    before = [0.0, 1.0, 2.0, 3.0]
    found = paired_difference([value + 0.1 for value in before], before)
    assert (found.low, found.high) == pytest.approx((0.1, 0.1))


def test_what_cannot_be_estimated_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one story"):
        estimate([])
    with pytest.raises(ValueError, match="same stories"):
        paired_difference([1.0], [1.0, 2.0])
