"""Stories in seeds as clusters: weights of a mean over them, and of its bootstrap draws.

A story of a seed, with all its wordings and languages, is one cluster: they are answers of one model about one event and rise and fall together.
Seeds are a level above, since all stories of a seed are asked of the same trained weights: a draw first draws seeds, then stories within each
seed drawn (a bootstrap of two levels, both with replacement: Davison & Hinkley 1997, section 3.8). With one seed it is a bootstrap over stories,
and says nothing of other seeds; with two or three it is too wide where seeds are alike, and too narrow where they differ (docs/statistics.md).
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from polyunlearn.intervals import CONFIDENCE, RESAMPLES, Estimate, widened

Array = NDArray[np.float64]

FEWEST = 5
"""Of fewer clusters no interval is given: a percentile interval of so few is far too narrow, of one it has no width."""


EITHER_WAY = (-1.0, 1.0)
"""The bounds of a story's share less another of it. Of an excess, which is two such differences, a story that was not seen is taken to lie within them too: one
that falls by a whole place where gold rises by one is not reckoned with."""

ALL_OR_NOTHING = (0.0, 1.0)
"""What a story of another sort than those seen can have: nothing that was added is left, lost or brought back, or all of it."""


def story_weights(seeds: Sequence[int]) -> Array:
    """The weight of each story (stories,) in the mean over seeds of each seed's mean; `seeds` says of which seed each story is."""
    return np.array([1 / (len(set(seeds)) * seeds.count(seed)) for seed in seeds])


def drawn_weights(seeds: Sequence[int], rng: np.random.Generator, *, shared: bool = False) -> Array:
    """The same weights in each of `RESAMPLES` draws, (draws, stories); each row's sum is 1.

    With `shared` every seed has the same stories in the same order, so that a story is drawn with all of its seeds: one event is one cluster. Raises
    `ValueError` where the seeds then differ in how many they have.
    """
    levels = list(dict.fromkeys(seeds))
    times = rng.multinomial(len(levels), np.full(len(levels), 1 / len(levels)), size=RESAMPLES)
    weights = np.zeros((RESAMPLES, len(seeds)))
    if shared:
        stories = len(seeds) // len(levels)
        if any(seeds.count(level) != stories for level in levels):
            raise ValueError("seeds that share their stories have as many each")
        same = rng.multinomial(stories, np.full(stories, 1 / stories), size=RESAMPLES) / stories
    for level, drawn in zip(levels, times.T, strict=True):
        own = [at for at, seed in enumerate(seeds) if seed == level]
        if shared:
            weights[:, own] = same * drawn[:, None] / len(levels)
            continue
        # A seed that is drawn k times has k draws of its stories.
        counts = rng.multinomial(drawn * len(own), np.full(len(own), 1 / len(own)))
        weights[:, own] = counts / (len(levels) * len(own))
    return weights


def mean_over(values: Array, seeds: Sequence[int], *, shared: bool = False, bounds: tuple[float, float] | None = None) -> Estimate:
    """The mean over seeds of each seed's mean of a value a story, with its interval, `widened` where `bounds` are given."""
    draws = drawn_weights(seeds, np.random.default_rng(0), shared=shared) @ values
    found = Estimate(float(story_weights(seeds) @ values), *percentiles(draws), clusters(seeds, shared))
    return widened(found, bounds) if bounds else found


def clusters(seeds: Sequence[int], shared: bool) -> int:
    """How many clusters stories of these seeds are."""
    return len(seeds) // len(set(seeds)) if shared else len(seeds)


def share_left(left: Array, added: Array, seeds: Sequence[int]) -> Estimate:
    """Sum of `left` over sum of `added`, the share that is left of what was added, with its interval; a value a story, `seeds` saying of which seed.

    It is `widened` as if all or nothing of it may be left in a story of another sort, and rests on as many stories as `bearing` says. Raises `ValueError`
    where nothing was added.
    """
    if added.sum() <= 0:
        raise ValueError("there is no share of nothing")
    # Every story counts alike, whichever seed it is of.
    drawn = drawn_weights(seeds, np.random.default_rng(0)) * np.array([seeds.count(seed) for seed in seeds])
    shares = quotients(drawn @ left, drawn @ added)
    return widened(Estimate(float(left.sum() / added.sum()), *percentiles(shares), bearing(added)), ALL_OR_NOTHING)


def bearing(added: Array) -> int:
    r"""How many stories a share of what was added rests on: :math:`(\sum_i a_i)^2 / \sum_i a_i^2`, rounded, where :math:`a_i` was added to story i, or 0 where
    that is less (the effective number of weighted observations, Kish 1965).

    A story to which nothing was added says nothing of what is left: of 24 stories, 4 of which were learned, four count.
    """
    own = np.maximum(added, 0.0)
    return max(1, round(float(own.sum() ** 2 / (own**2).sum()))) if own.any() else 1


def quotients(part: Array, whole: Array) -> Array:
    """Part over whole, draw by draw; NaN where the whole is not above 0."""
    found: Array = np.divide(part, whole, out=np.full(len(whole), np.nan), where=whole > 0)
    return found


def percentiles(draws: Array) -> tuple[float, float]:
    """The ends of the 95 % interval of draws, those that have no value (NaN) left out; no numbers (NaN) where none has, as of a diverged model."""
    tail = (1 - CONFIDENCE) / 2
    known = draws[~np.isnan(draws)]
    low, high = np.quantile(known, [tail, 1 - tail]) if known.size else (np.nan, np.nan)
    return float(low), float(high)
