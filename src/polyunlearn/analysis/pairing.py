"""Two studies set against each other, cell by cell: B − A with intervals, tests, and what stands after all comparisons are counted.

Intervals draw seeds, then stories (`analysis.clusters`); p-values exchange stories (`analysis.exchange`), and are adjusted for how many
comparisons of a metric are made. A p-value takes the stories as independent and says nothing of other seeds; the interval does where there are
several.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from statistics import fmean
from typing import Literal

import numpy as np

from polyunlearn.analysis.clusters import FEWEST, Array, percentiles
from polyunlearn.analysis.exchange import EXCHANGES, Exchange, exchange_paired, exchange_unpaired, holm
from polyunlearn.analysis.summary import Values
from polyunlearn.errors import UserError
from polyunlearn.study.cells import Cell, study_cells
from polyunlearn.study.store import Store

LEVEL = 0.05
MEAN, WORST = "mean", "worst"

Kind = tuple[str, str | None, str | None, str | None]
"""State, source, strategy, method."""

Stories = dict[tuple[int, str], dict[str, float]]
"""By seed and story: a value a language, the mean over wordings."""


@dataclass(frozen=True)
class Metric:
    """A figure that is compared; `worse` says in which direction the worst language lies."""

    name: str
    asks: str
    metric: str
    worse: Literal["high", "low"]


METRICS = (
    Metric("fake rank", "fake", "first", "high"),
    # A share rather than a number, so that studies with other numbers of questions compare.
    Metric("fake count", "fake", "says", "high"),
    Metric("real quality", "real", "first", "low"),
    Metric("bits per byte", "text", "bits_per_byte", "high"),
)


@dataclass(frozen=True)
class Difference:
    """A, B and B − A in a query language, over the languages ("mean"), or between A's worst language and B's ("worst", which names both).

    `low` to `high` is its 95 % interval, `p` its p-value, `adjusted` the same after Holm's adjustment among all comparisons of the metric; None
    where there are fewer than `FEWEST` stories, or one of the figures is no number.
    """

    language: str
    a: float
    b: float
    difference: float
    low: float | None
    high: float | None
    p: float | None
    adjusted: float | None
    worst_languages: tuple[str, str] | None = None

    @property
    def stands(self) -> bool:
        """Whether the interval excludes 0 and the adjusted p-value is at most .05."""
        apart = self.low is not None and self.high is not None and (self.low > 0 or self.high < 0)
        return apart and self.adjusted is not None and self.adjusted <= LEVEL


@dataclass(frozen=True)
class CellComparison:
    """One metric of a cell that both studies have, over its seeds. `stories_a` and `stories_b` count the (seed, story) clusters compared;
    `paired` says whether they are the same, `left_out` how many only one of the studies has, and `spread` is the largest standard deviation,
    over the languages, of paired differences within seeds."""

    state: str
    source: str | None
    strategy: str | None
    method: str | None
    metric: str
    paired: bool
    seeds_a: tuple[int, ...]
    seeds_b: tuple[int, ...]
    stories_a: int
    stories_b: int
    left_out: int
    spread: float | None
    differences: tuple[Difference, ...]

    @property
    def name(self) -> str:
        """The cell without its seed."""
        return ", ".join(part for part in (self.state, self.source, self.strategy, self.method) if part)


@dataclass(frozen=True)
class StudyComparison:
    """Two studies: their comparisons, by metric and then cell, and what a reader must know of them."""

    a: str
    b: str
    cells: tuple[CellComparison, ...]
    notes: tuple[str, ...]


def compare_studies(a: Store, b: Store, seed: int = 0) -> StudyComparison:
    """Compare every finished cell that both studies have, in every query language that both ask in; `seed` decides the draws alone.

    Raises:
        UserError: where a folder holds no study, or the two have no finished cell in common.
    """
    kinds_a, kinds_b = _finished(a), _finished(b)
    shared = [kind for kind in kinds_a if kind in kinds_b]
    # Every study asks in English.
    languages = [tag for tag in a.config().languages if tag in b.config().languages]
    if not shared:
        raise UserError(f"{a.folder} and {b.folder} have no finished cell in common; see: polyunlearn study status {a.folder}")
    values = Values(a), Values(b)
    same = tuple(own.config().stories_are_shared for own in (a, b))
    cells = []
    for metric in METRICS:
        own = [_compared(values, metric, languages, kind, (kinds_a[kind], kinds_b[kind]), same, seed) for kind in shared]
        cells += _adjusted([cell for cell in own if cell])
    return StudyComparison(a.config().name, b.config().name, tuple(cells), tuple(_notes(a, b, kinds_a, kinds_b, cells)))


def _finished(store: Store) -> dict[Kind, list[Cell]]:
    """The finished cells, a seed each, by what they are."""
    found: dict[Kind, list[Cell]] = {}
    for cell in study_cells(store.config()):
        if store.is_done(cell):
            found.setdefault((cell.state, cell.source, cell.strategy, cell.method), []).append(cell)
    return found


def _pooled(stories: Stories) -> Stories:
    """The means over seeds of the same stories, as if of one seed, whichever these are: one event is one cluster, in however many seeds it was told."""
    values: dict[tuple[str, str], list[float]] = {}
    for (_, story), by_language in stories.items():
        for tag, value in by_language.items():
            values.setdefault((story, tag), []).append(value)
    found: Stories = {}
    for (story, tag), over_seeds in values.items():
        found.setdefault((0, story), {})[tag] = fmean(over_seeds)
    return found


def _stories(values: Values, cells: Sequence[Cell], metric: Metric, languages: Sequence[str]) -> Stories:
    found: Stories = {}
    for cell in cells:
        for tag in languages:
            for story, wordings in values.at_end(cell, tag, metric.asks, metric.metric).items():
                found.setdefault((cell.seed, story), {})[tag] = sum(wordings) / len(wordings)
    return found


def _compared(
    values: tuple[Values, Values],
    metric: Metric,
    languages: Sequence[str],
    kind: Kind,
    cells: tuple[list[Cell], list[Cell]],
    same: Sequence[bool],
    seed: int,
) -> CellComparison | None:
    """The comparison of a cell; None where one of the studies did not measure this. `same` says of which study all seeds have the same stories."""
    measured = [_stories(own, some, metric, languages) for own, some in zip(values, cells, strict=True)]
    stories = [_pooled(own) if own and one else own for own, one in zip(measured, same, strict=True)]
    tags = [tag for tag in languages if all(any(tag in own for own in side.values()) for side in stories)]
    keys = [sorted(key for key, own in side.items() if all(tag in own for tag in tags)) for side in stories]
    common = sorted(set(keys[0]) & set(keys[1]))
    left_out = len(set(keys[0]) ^ set(keys[1])) if common else 0
    if common:
        keys = [common, common]
    if not tags or not all(keys):
        return None
    a, b = (np.array([[side[key][tag] for tag in tags] for key in own]) for side, own in zip(stories, keys, strict=True))
    seeds = [[key[0] for key in own] for own in keys]
    rng, figures = np.random.default_rng(seed), partial(_figures, metric)
    test = exchange_paired(a, b, seeds[0], figures, rng) if common else exchange_unpaired(a, b, seeds[0], seeds[1], figures, rng)
    # Of stories that seeds share all seeds are in the means.
    seeds_a, seeds_b = (
        tuple(dict.fromkeys(key[0] for key in every) if one else dict.fromkeys(own))
        for every, one, own in zip(measured, same, seeds, strict=True)
    )
    spread = _spread(b - a, seeds[0]) if common else None
    return CellComparison(
        *kind,
        metric=metric.name,
        paired=bool(common),
        seeds_a=seeds_a,
        seeds_b=seeds_b,
        stories_a=len(keys[0]),
        stories_b=len(keys[1]),
        left_out=left_out,
        spread=spread,
        differences=_differences(test, tags, metric),
    )


def _spread(differences: Array, seeds: Sequence[int]) -> float | None:
    """The standard deviation within seeds in the language where it is largest; None where no seed has two stories."""
    parts = [differences[[at for at, own in enumerate(seeds) if own == seed]] for seed in dict.fromkeys(seeds)]
    free = sum(len(part) - 1 for part in parts)
    squares = np.sum([((part - part.mean(0)) ** 2).sum(0) for part in parts], axis=0)
    return float(np.sqrt(squares / free).max()) if free else None


def _figures(metric: Metric, means: Array) -> Array:
    """Means of languages (..., languages) with their mean and the worst behind them."""
    worst = means.max(-1) if metric.worse == "high" else means.min(-1)
    return np.concatenate([means, means.mean(-1)[..., None], worst[..., None]], axis=-1)


def _differences(test: Exchange, tags: Sequence[str], metric: Metric) -> tuple[Difference, ...]:
    a, b = _figures(metric, test.a), _figures(metric, test.b)
    worst_a, worst_b = (tags[_worst(own, metric)] for own in (test.a, test.b))
    found = []
    for at, language in enumerate([*tags, MEAN, WORST]):
        # A diverged state has no numbers, and so nothing to test.
        tested = test.stories >= FEWEST and bool(np.isfinite(b[at] - a[at]))
        low, high = percentiles(test.draws[:, at]) if tested else (None, None)
        p = test.p_value(at, float(b[at] - a[at])) if tested else None
        found.append(Difference(language, float(a[at]), float(b[at]), float(b[at] - a[at]), low, high, p, None))
    found[-1] = replace(found[-1], worst_languages=(worst_a, worst_b))
    return tuple(found)


def _worst(means: Array, metric: Metric) -> int:
    """The first of the worst languages; their last bits do not decide."""
    return int(np.argmax(np.round(means if metric.worse == "high" else -means, 9)))


def _adjusted(cells: Sequence[CellComparison]) -> list[CellComparison]:
    """The comparisons of one metric, with Holm's adjustment among all of them."""
    p_values = [own.p for cell in cells for own in cell.differences if own.p is not None]
    adjusted = iter(holm(p_values))
    return [
        replace(cell, differences=tuple(own if own.p is None else replace(own, adjusted=next(adjusted)) for own in cell.differences))
        for cell in cells
    ]


def _other_texts(a: Store, b: Store) -> list[str]:
    """The seeds in which two studies that read as many stories of the same languages found others."""
    read = [
        (own.languages, own.culture, own.stories, own.neighbours, own.retain_stories, own.scoring.held_out_stories)
        for own in (a.config(), b.config())
    ]
    of_a, of_b = (own.manifest()["study"].get("stories", {}) for own in (a, b))
    same = [seed for seed in of_a if seed in of_b] if read[0] == read[1] else []
    return [seed for seed in same if of_a[seed]["fingerprint"] != of_b[seed]["fingerprint"]]


def _notes(
    a: Store, b: Store, of_a: Mapping[Kind, list[Cell]], of_b: Mapping[Kind, list[Cell]], cells: Sequence[CellComparison]
) -> list[str]:
    notes = []
    models = [own.manifest()["study"]["model"] for own in (a, b)]
    if models[0]["fingerprint"] != models[1]["fingerprint"]:
        notes.append(
            f"the models differ: {models[0]['name']} ({models[0]['fingerprint']}) and {models[1]['name']} ({models[1]['fingerprint']})"
        )
    for name, own, other in (("A", of_a, of_b), ("B", of_b, of_a)):
        alone = [", ".join(part for part in kind if part) for kind in own if kind not in other]
        if alone:
            notes.append(f"only {name} has: {'; '.join(alone)}")
    unpaired = dict.fromkeys(cell.name for cell in cells if not cell.paired and cell.metric == METRICS[0].name)
    if unpaired:
        notes.append(f"not paired, since the studies asked about other stories: {'; '.join(unpaired)}")
    partly = {cell.name: cell.left_out for cell in cells if cell.left_out and cell.metric == METRICS[0].name}
    if partly:
        notes.append(
            f"left out, since only one study asked about them: {'; '.join(f'{own} stories of {name}' for name, own in partly.items())}"
        )
    for key in ("candidates", "wordings", "answered_wordings", "vocabulary"):
        asked = [getattr(own.config().scoring, key) for own in (a, b)]
        if asked[0] != asked[1]:
            notes.append(f"measured differently: scoring.{key} is {asked[0]} in A and {asked[1]} in B")
    corpora = [own.config().corpus for own in (a, b)]
    if corpora[0] == corpora[1] and (changed := _other_texts(a, b)):
        notes.append(
            f"{corpora[0]} had other texts in A than in B (seed {', '.join(changed)}); stories are paired by their ids, whatever they say"
        )
    if corpora[0] != corpora[1]:
        notes.append(f"the corpora differ: {corpora[0]} and {corpora[1]}; stories are paired by their ids, whatever they say")
    tests = max(
        (sum(own.p is not None for cell in cells if cell.metric == metric.name for own in cell.differences) for metric in METRICS),
        default=0,
    )
    if tests > LEVEL * (1 + EXCHANGES):
        notes.append(
            f"{tests} comparisons of a metric are too many for {EXCHANGES + 1:,} exchanges: adjusted, no p can be {LEVEL} or less, so that none stands"
        )
    for side in ("a", "b"):
        diverged = dict.fromkeys(cell.name for cell in cells if not all(np.isfinite(getattr(own, side)) for own in cell.differences))
        if diverged:
            notes.append(f"diverged in {side.upper()}, so that what is no longer said counts for nothing: {'; '.join(diverged)}")
    short = dict.fromkeys(cell.metric for cell in cells if min(cell.stories_a, cell.stories_b) < FEWEST)
    if short:
        notes.append(f"too few stories or texts for an interval (fewer than {FEWEST}): {', '.join(short)}")
    return notes
