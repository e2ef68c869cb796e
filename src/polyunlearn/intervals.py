"""Means over stories with bootstrap intervals. A story is one cluster: all its wordings are drawn together."""

from collections.abc import Sequence
from dataclasses import dataclass

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


def estimate(per_story: Sequence[float], seed: int = 0) -> Estimate:
    """The mean of one value a story, and its interval; the same values give the same interval."""
    values = np.asarray(per_story, dtype=float)
    if values.size == 0:
        raise ValueError("an estimate needs at least one story")
    draws = np.random.default_rng(seed).integers(0, values.size, size=(RESAMPLES, values.size))
    means = values[draws].mean(axis=1)
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return Estimate(float(values.mean()), float(low), float(high), int(values.size))


def paired_difference(after: Sequence[float], before: Sequence[float], seed: int = 0) -> Estimate:
    """The mean of after − before over the same stories, in the same order, and its interval."""
    if len(after) != len(before):
        raise ValueError("a paired difference needs the same stories on both sides")
    return estimate([a - b for a, b in zip(after, before, strict=True)], seed)
