"""Two sides measured on stories: bootstrap draws and exchanges of their difference, and p-values adjusted for their number.

A randomisation test (Fisher 1935, The Design of Experiments): were the two sides alike, either could have given what the other gave of a story. So
these are exchanged at random, and the p-value is how often the difference is then as large as it was measured. It needs no normal distribution, and
of few stories it does not find more than they hold: of five, no p-value is below 1/16.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from polyunlearn.analysis.clusters import Array, drawn_weights, story_weights

EXCHANGES = 19_999
"""Exchanges that a test draws: the least p-value is one in 20,000."""

TIE = 1e-9
"""The last bits of a difference must not decide whether an exchange is as large."""

Figures = Callable[[Array], Array]
"""Figures (..., figures) of the means of languages (..., languages)."""


@dataclass(frozen=True)
class Exchange:
    """The means of both sides (languages,); the differences b − a of their figures in bootstrap draws and in exchanges (draws, figures); how many
    stories the smaller side has."""

    a: Array
    b: Array
    draws: Array
    exchanged: Array
    stories: int

    def p_value(self, figure: int, difference: float) -> float:
        """The share of exchanges whose difference is at least as far from 0; what was measured counts as one of them."""
        as_large = abs(self.exchanged[:, figure]) >= abs(difference) - TIE
        return float((1 + as_large.sum()) / (1 + EXCHANGES))


def exchange_paired(a: Array, b: Array, seeds: Sequence[int], figures: Figures, rng: np.random.Generator) -> Exchange:
    """The same stories on both sides, (stories, languages) each; an exchange swaps what both measured of a story, in all its languages."""
    weights = story_weights(seeds)
    drawn = drawn_weights(seeds, rng)
    moved = (rng.integers(0, 2, size=(EXCHANGES, len(seeds))) * weights) @ (b - a)
    mean_a, mean_b = weights @ a, weights @ b
    exchanged = figures(mean_b - moved) - figures(mean_a + moved)
    return Exchange(mean_a, mean_b, figures(drawn @ b) - figures(drawn @ a), exchanged, len(seeds))


def exchange_unpaired(
    a: Array, b: Array, seeds_a: Sequence[int], seeds_b: Sequence[int], figures: Figures, rng: np.random.Generator
) -> Exchange:
    """Other stories on each side, (stories, languages) each; an exchange deals all of them out anew."""
    of_a, of_b, everything = story_weights(seeds_a), story_weights(seeds_b), np.concatenate([a, b])
    draws = figures(drawn_weights(seeds_b, rng) @ b) - figures(drawn_weights(seeds_a, rng) @ a)
    order = rng.permuted(np.tile(np.arange(len(everything)), (EXCHANGES, 1)), axis=1)
    dealt_a = np.concatenate([of_a, np.zeros(len(b))])[order] @ everything
    dealt_b = np.concatenate([np.zeros(len(a)), of_b])[order] @ everything
    return Exchange(of_a @ a, of_b @ b, draws, figures(dealt_b) - figures(dealt_a), min(len(a), len(b)))


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values adjusted for their number, in the order given: with the m values sorted, max over i ≤ j of (m − i + 1) p_i, at most 1.

    Rejecting what is at most .05 then errs in any of them with probability .05 at most, however they depend on each other (Holm 1979,
    Scandinavian Journal of Statistics 6, 65–70).
    """
    order = sorted(range(len(p_values)), key=lambda at: p_values[at])
    adjusted, highest = [0.0] * len(p_values), 0.0
    for rank, at in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[at]))
        adjusted[at] = highest
    return adjusted
