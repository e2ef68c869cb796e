r"""How many stories a claim needs.

A difference :math:`\delta` between two states asked about the same stories is found, by a two-sided test at level :math:`\alpha`, with
probability :math:`1 - \beta` (power) where there are

.. math:: n = \left( \frac{(z_{1-\alpha/2} + z_{1-\beta})\, \sigma}{\delta} \right)^2

stories; :math:`\sigma` is the standard deviation of the paired differences, one a story, z the quantiles of the normal distribution (for
evaluations of language models: Miller 2024, arXiv 2411.00640, section 5; why it is worth asking before: Card et al. 2020, arXiv 2010.06595). Stories,
not questions, are counted, since the wordings and languages of one go together. Where seeds differ among themselves too, by :math:`\tau`, S seeds of
k stories of their own have the variance :math:`(\tau^2 + \sigma^2 / k) / S` in the place of :math:`\sigma^2 / n`, so more stories a seed do not make up for
too few seeds.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import NormalDist

import numpy as np

from polyunlearn.analysis.clusters import Array
from polyunlearn.analysis.summary import Values
from polyunlearn.errors import UserError
from polyunlearn.study.cells import Cell, study_cells
from polyunlearn.study.store import Store

LEVEL, POWER = 0.05, 0.8

DIFFERENCE = 0.1
"""The difference of a share that is worth a claim."""

CORRELATION = 0.5
"""What the worst case takes as the correlation of the two states' answers about a story, where nothing is measured."""


@dataclass(frozen=True)
class Spread:
    """How paired differences spread: standard deviations between the stories of a seed, and between seeds, None where one seed is known and so nothing of others."""

    stories: float
    seeds: float | None = 0.0

    @property
    def between_seeds(self) -> float:
        """The same, with seeds taken as alike where they are not known."""
        return self.seeds or 0.0


def worst_case(correlation: float = CORRELATION) -> Spread:
    r"""The largest spread that a difference of two shares can have at a correlation r, one question a story: both are then 1/2, and

    .. math:: \sigma^2 = 2 \cdot \tfrac14 (1 - r).

    A mean over several wordings spreads no more than this. Seeds are taken as alike. Raises `ValueError` where r is not from -1 to below 1.
    """
    if not -1 <= correlation < 1:
        raise ValueError(f"a correlation of {correlation:g} leaves nothing to find; it is from -1 to below 1")
    return Spread(math.sqrt((1 - correlation) / 2))


def stories_needed(sigma: float, difference: float = DIFFERENCE) -> int:
    """How many stories find a difference with 80 % power at the 5 % level; seeds taken as alike. At least 2, for there to be an interval."""
    _check(difference)
    return max(2, math.ceil((_reach() * sigma / difference) ** 2))


def seeds_needed(spread: Spread, stories: int, difference: float = DIFFERENCE) -> int:
    """How many seeds of `stories` stories each do."""
    _check(difference)
    return max(1, math.ceil((_reach() / difference) ** 2 * (spread.between_seeds**2 + spread.stories**2 / stories)))


def measured_spread(store: Store) -> Spread:
    """How the fake ranks of differently unlearned states differ in a finished study, in the query language where that spreads most.

    Paired by story, over every two unlearned states of a source; variances are means over them. That between seeds is a component of
    variance (one-way analysis, at least 0); seeds of a pair must have the same number of stories.

    Raises:
        UserError: where the study has no two unlearned states of the same source and seed.
    """
    config, values = store.config(), Values(store)
    ways: dict[tuple[str | None, str | None, str | None], dict[int, Cell]] = {}
    for cell in study_cells(config):
        if cell.state == "unlearned" and store.is_done(cell):
            ways.setdefault((cell.source, cell.strategy, cell.method), {})[cell.seed] = cell
    found = []
    for one, other in combinations(ways, 2):
        seeds = [seed for seed in ways[one] if seed in ways[other]]
        if one[0] == other[0] and seeds:
            found.append([[_paired(values, ways[one][seed], ways[other][seed], tag) for seed in seeds] for tag in config.languages])
    if not found:
        raise UserError(f"{store.folder}: has no two finished unlearned states of one source to measure a spread from; give another study")
    components = np.array([[_components(seeds, config.stories_are_shared) for seeds in languages] for languages in found])
    within = components[:, :, 0].mean(0)
    # A pair with one seed says nothing of what is between seeds.
    apart = [own[:, 1] for own in components if not np.isnan(own).any()]
    between = np.mean(apart, axis=0) if apart else np.zeros(len(within))
    widest = int(np.argmax(within + between))
    return Spread(float(np.sqrt(within[widest])), float(np.sqrt(between[widest])) if apart else None)


def _paired(values: Values, one: Cell, other: Cell, tag: str) -> Array:
    return np.subtract(values.per_story(one, tag, "fake", "first"), values.per_story(other, tag, "fake", "first"), dtype=float)


def _components(seeds: Sequence[Array], shared: bool) -> tuple[float, float]:
    """Variance of the differences within seeds, and between them beyond what that brings (NaN for one seed). Where seeds ask about the same stories, what these have in common
    moves all seeds alike, and only the rest brings seeds apart."""
    within = float(np.mean([own.var(ddof=1) if len(own) > 1 else 0.0 for own in seeds]))
    if len(seeds) < 2:
        return within, np.nan
    apart = within
    if shared:
        rest = np.stack(seeds)
        rest = rest - rest.mean(0) - rest.mean(1, keepdims=True) + rest.mean()
        apart = float((rest**2).sum()) / max(1, (len(seeds) - 1) * (rest.shape[1] - 1))
    between = float(np.var([own.mean() for own in seeds], ddof=1)) - apart / len(seeds[0])
    return within, max(0.0, between)


def _reach() -> float:
    """How many standard errors a difference must be worth."""
    normal = NormalDist()
    return normal.inv_cdf(1 - LEVEL / 2) + normal.inv_cdf(POWER)


def _check(difference: float) -> None:
    if not difference > 0:
        raise ValueError(f"a difference of {difference:g} cannot be found; give one above 0")
