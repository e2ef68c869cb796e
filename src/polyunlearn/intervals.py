"""Means over stories with bootstrap intervals. A story is one cluster: all its wordings are drawn together."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

RESAMPLES = 2000
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Estimate:
    """A mean over stories with its 95 % percentile bootstrap interval (Efron 1979)."""

    mean: float
    low: float
    high: float
    n: int


def estimate(per_story: Sequence[float], seed: int = 0, bounds: tuple[float, float] | None = None) -> Estimate:
    """The mean of one value a story, and its interval; the same values give the same interval.

    `bounds` are the least and the largest value that a story can have; the interval is then `widened` to what so few stories leave open.
    """
    values = np.asarray(per_story, dtype=float)
    if values.size == 0:
        raise ValueError("an estimate needs at least one story")
    draws = np.random.default_rng(seed).integers(0, values.size, size=(RESAMPLES, values.size))
    means = values[draws].mean(axis=1)
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    found = Estimate(float(values.mean()), float(low), float(high), int(values.size))
    return widened(found, bounds) if bounds else found


def widened(own: Estimate, bounds: tuple[float, float]) -> Estimate:
    r"""An interval that reaches at least as far as stories may that are of a sort not seen, with values within `bounds`.

    A bootstrap knows the values that it saw alone: where none of 24 stories is left it says that none ever is. A share q of stories of another sort shows
    in none of n with probability :math:`(1 - q)^n`, which is 2.5 % at :math:`q = 1 - 0.025^{1/n}` (the exact binomial bound, Clopper & Pearson 1934):
    0.14 of 24 stories, 0.6 of four. That share may lie at either bound.
    """
    share = 1 - ((1 - CONFIDENCE) / 2) ** (1 / own.n)
    low, high = own.mean - share * (own.mean - bounds[0]), own.mean + share * (bounds[1] - own.mean)
    return replace(own, low=min(own.low, low), high=max(own.high, high))


def paired_difference(
    after: Sequence[float], before: Sequence[float], seed: int = 0, bounds: tuple[float, float] | None = None
) -> Estimate:
    """The mean of after − before over the same stories, in the same order, and its interval; `bounds` are those of the difference."""
    if len(after) != len(before):
        raise ValueError("a paired difference needs the same stories on both sides")
    return estimate([a - b for a, b in zip(after, before, strict=True)], seed, bounds)
