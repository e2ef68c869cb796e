"""Stories in seeds as clusters: weights of a mean over them, and of its bootstrap draws.

A story of a seed, with all its wordings and languages, is one cluster: they are answers of one model about one event and rise and fall together.
Seeds are a level above, since all stories of a seed are asked of the same trained weights: a draw first draws seeds, then stories within each
seed drawn (a bootstrap of two levels, both with replacement: Davison & Hinkley 1997, section 3.8). With one seed it is a bootstrap over stories,
and says nothing of other seeds; with two or three, its intervals are still somewhat too narrow for that.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from polyunlearn.intervals import CONFIDENCE, RESAMPLES

Array = NDArray[np.float64]

FEWEST = 5
"""Of fewer clusters no interval is given: a percentile interval of so few is far too narrow, of one it has no width."""


def story_weights(seeds: Sequence[int]) -> Array:
    """The weight of each story (stories,) in the mean over seeds of each seed's mean; `seeds` says of which seed each story is."""
    return np.array([1 / (len(set(seeds)) * seeds.count(seed)) for seed in seeds])


def drawn_weights(seeds: Sequence[int], rng: np.random.Generator) -> Array:
    """The same weights in each of `RESAMPLES` draws, (draws, stories); each row's sum is 1."""
    levels = list(dict.fromkeys(seeds))
    times = rng.multinomial(len(levels), np.full(len(levels), 1 / len(levels)), size=RESAMPLES)
    weights = np.zeros((RESAMPLES, len(seeds)))
    for level, drawn in zip(levels, times.T, strict=True):
        own = [at for at, seed in enumerate(seeds) if seed == level]
        # A seed that is drawn k times has k draws of its stories.
        counts = rng.multinomial(drawn * len(own), np.full(len(own), 1 / len(own)))
        weights[:, own] = counts / (len(levels) * len(own))
    return weights


def percentiles(draws: Array) -> tuple[float, float]:
    """The ends of the 95 % interval of draws, those that have no value (NaN) left out."""
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(draws[~np.isnan(draws)], [tail, 1 - tail])
    return float(low), float(high)
