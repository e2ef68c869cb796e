"""What unlearning does from language to language: what it leaves where, where it backfires, and how alike languages answer. Rows in, matrices out.

Intervals draw seeds, then stories (`analysis.clusters`).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations

import numpy as np

from polyunlearn.analysis.clusters import (
    ALL_OR_NOTHING,
    EITHER_WAY,
    FEWEST,
    Array,
    bearing,
    drawn_weights,
    mean_over,
    percentiles,
    quotients,
    share_left,
)
from polyunlearn.analysis.summary import KNOWN, Values
from polyunlearn.intervals import Estimate, estimate, paired_difference, widened
from polyunlearn.study.cells import Cell, study_cells
from polyunlearn.study.config import StudyConfig
from polyunlearn.study.store import Store

MARGIN = 0.1
"""Nats a token by which a claim's log-prob must rise for it to count: rounding and the training of anything else move it by less or about that."""


@dataclass(frozen=True)
class Left:
    """What unlearning leaves of claims learned in `source` when asked in `language`: the residual, (unlearned − base) / (learned − base) of the fake
    rank, mean over the `reached` of `seeds` that learning reached there; None where that is none. 0 is as base, 1 untouched."""

    source: str
    strategy: str
    method: str
    language: str
    reached: int
    seeds: int
    residual: Estimate | None


@dataclass(frozen=True)
class AtHome:
    """What unlearning leaves of claims learned in `source`, over the languages that learning reached: of claims whose story has a home among the study's
    languages in that home (`at_home`) and in the others (`away`), and of all other claims (`agnostic`). The sum of what is left over that of what was added, of
    all seeds together, since a seed has few stories of a kind; None of fewer than `FEWEST` stories, or where learning added nothing."""

    source: str
    strategy: str
    method: str
    at_home: Estimate | None
    away: Estimate | None
    agnostic: Estimate | None


@dataclass(frozen=True)
class Lost:
    """What unlearning took of real quality in a language that knew the real stories: learned − unlearned, paired by story; above 0 is a loss."""

    source: str
    strategy: str
    method: str
    language: str
    quality: Estimate


@dataclass(frozen=True)
class Backfire:
    """The share of (story, language) pairs where unlearning raised the claim above the learned state, from 0 (nowhere, the aim) to 1: its fake rank
    (mean over wordings), or its log-prob by more than `MARGIN` nats a token. `worst` is the language where the log-prob rose most often, None where it rose in none."""

    source: str
    strategy: str
    method: str
    rank: Estimate
    log_prob: Estimate
    worst: str | None


@dataclass(frozen=True)
class Agreement:
    """How alike a state answers in two languages: by language pair the share of (story, wording) in which the false name ranks first in both or in
    neither, from 0 to 1. Two languages that know nothing agree, so it is read beside the fake ranks. `rank_c` is RankC
    (`rank_consistency`) over (story, wording) of the same pairs, which is high too where names are liked alike whatever is asked; empty where a cell is of a
    version that kept no orders."""

    state: str
    source: str | None
    strategy: str | None
    method: str | None
    pairs: Mapping[tuple[str, str], Estimate]
    rank_c: Mapping[tuple[str, str], Estimate]


def unlearn_transfer(config: StudyConfig, store: Store) -> list[Left]:
    """Source and strategy × query language, over the finished unlearned cells in the order of the study."""
    values = Values(store)
    found = []
    for cells in _unlearned(config, store):
        for tag in config.languages:
            parts = [own for cell in cells if (own := _reached(values, cell, tag))]
            residual = _residual(parts, config.stories_are_shared) if parts else None
            found.append(Left(*_way(cells[0]), tag, len(parts), len(cells), residual))
    return found


def residual_by_home(config: StudyConfig, store: Store, homes: Mapping[str, str]) -> list[AtHome]:
    """For every source, strategy and method with finished cells, in the order of the study; `homes` are stories' homes by their id."""
    values = Values(store)
    homes = {story: home for story, home in homes.items() if home in config.languages}
    found = []
    for cells in _unlearned(config, store):
        by_place: dict[str, _ByStory] = {"at_home": {}, "away": {}, "agnostic": {}}
        for cell in cells:
            reached = {tag: own for tag in config.languages if (own := _reached(values, cell, tag))}
            stories = list(values.at_end(cell, config.languages[0], "fake", "first"))
            # What seeds share is one story.
            _sum_by_place(by_place, 0 if config.stories_are_shared else cell.seed, stories, reached, homes)
        found.append(AtHome(*_way(cells[0]), *map(_pooled, by_place.values())))
    return found


def quality_lost(config: StudyConfig, store: Store) -> list[Lost]:
    """Source and strategy × query language, over the seeds in which the learned state knew the real stories in it (`KNOWN`)."""
    values = Values(store)
    found = []
    for cells in _unlearned(config, store):
        for tag in config.languages:
            parts = {cell.seed: drop for cell in cells if (drop := _drop(values, cell, tag))}
            if parts:
                seeds = [own for own, drop in parts.items() for _ in drop]
                drops = np.concatenate([np.array(drop) for drop in parts.values()])
                lost = mean_over(drops, seeds, shared=config.stories_are_shared, bounds=EITHER_WAY)
                found.append(Lost(*_way(cells[0]), tag, lost))
    return found


def backfire(config: StudyConfig, store: Store) -> list[Backfire]:
    """For every source, strategy and method with finished cells, in the order of the study."""
    values = Values(store)
    found = []
    for cells in _unlearned(config, store):
        seeds = [cell.seed for cell in cells for _ in values.per_story(cell, config.languages[0], "fake", "first")]
        ranks, log_probs = (
            np.concatenate([_rise(values, cell, config.languages, metric) for cell in cells]) for metric in ("first", "loss")
        )
        # A loss is a negative log-prob.
        rose = -log_probs > MARGIN
        worst = config.languages[int(np.argmax(rose.mean(0)))] if rose.any() else None
        by_rank, by_log_prob = (
            mean_over(own.mean(1), seeds, shared=config.stories_are_shared, bounds=ALL_OR_NOTHING) for own in (ranks > 0, rose)
        )
        found.append(Backfire(*_way(cells[0]), by_rank, by_log_prob, worst))
    return found


def agreement(config: StudyConfig, store: Store) -> list[Agreement]:
    """For every kind of state, over its seeds, in the order of the study."""
    values = Values(store)
    kinds: dict[tuple[str, str | None, str | None, str | None], list[Cell]] = {}
    for cell in study_cells(config):
        if store.is_done(cell):
            kinds.setdefault((cell.state, cell.source, cell.strategy, cell.method), []).append(cell)
    found = []

    def over_pairs(cells: Sequence[Cell], alike: Callable[[Cell, str, str], Array]) -> dict[tuple[str, str], Estimate]:
        pairs = {}
        for one, other in combinations(config.languages, 2):
            parts = [alike(cell, one, other) for cell in cells]
            seeds = [cell.seed for cell, part in zip(cells, parts, strict=True) for _ in part]
            pairs[one, other] = mean_over(np.concatenate(parts), seeds, shared=config.stories_are_shared, bounds=ALL_OR_NOTHING)
        return pairs

    for kind, cells in kinds.items():
        orders = _orders(store, cells)
        ordered = all((cell.id, tag) in orders for cell in cells for tag in config.languages)
        same = over_pairs(cells, lambda cell, one, other: _same(values, cell, one, other))
        consistent = partial(_consistent, orders)
        rank_c = over_pairs(cells, consistent) if ordered else {}
        found.append(Agreement(*kind, same, rank_c))
    return found


def _orders(store: Store, cells: Sequence[Cell]) -> dict[tuple[str, str], Array]:
    """By cell and language, for each story and wording the place of each candidate, (stories, wordings, candidates) from 1; these are the same names in every
    language."""
    names = ", ".join(f"'{cell.id}'" for cell in cells)
    table = store.query(
        f"SELECT cell, language, story, list(text ORDER BY wording) AS orders FROM rows WHERE metric = 'candidate_rank' AND cell IN ({names}) "
        "GROUP BY ALL ORDER BY ALL"
    )
    found: dict[tuple[str, str], list[list[list[int]]]] = {}
    for row in table.to_pylist():
        found.setdefault((row["cell"], row["language"]), []).append([list(map(int, order.split())) for order in row["orders"]])
    # The place of a candidate is where its number stands in the order.
    return {key: np.asarray(np.argsort(np.array(orders), axis=2), dtype=float) + 1 for key, orders in found.items()}


def _consistent(orders: Mapping[tuple[str, str], Array], cell: Cell, one: str, other: str) -> Array:
    """For each story RankC over its wordings."""
    return np.asarray(rank_consistency(orders[cell.id, one], orders[cell.id, other]).mean(1))


def rank_consistency(one: Array, other: Array) -> Array:
    r"""RankC of two languages (Qi, Fernández & Bisazza 2023, arXiv 2310.10378): how alike they rank the candidates of each question, from 0 to 1.

    Both hold the place of each candidate, (..., candidates) from 1, in the same order of candidates. With N of them and P@j the share of the first j that
    both have among their first j,

    .. math:: \sum_{j=1}^{N} w_j \, P@j, \quad w_j = \frac{e^{N-j}}{\sum_{k=1}^{N} e^{N-k}}

    of shape (...). 1 is the same order; never 0, as all candidates are among the first N of both.
    """
    count = one.shape[-1]
    # e^(N-j) with e^N taken out, so that many candidates do not overflow.
    weights = np.exp(-np.arange(1.0, count + 1))
    # A candidate is among the first j of both from the larger of its two places on.
    both = np.maximum(one, other)
    shares = np.array([(both <= place).sum(-1) / place for place in range(1, count + 1)])
    return np.asarray(np.tensordot(weights / weights.sum(), shares, 1))


def _unlearned(config: StudyConfig, store: Store) -> Iterator[list[Cell]]:
    """The finished unlearned cells, with what they are measured against, a seed each, by source, strategy and method."""
    ways: dict[tuple[str, str, str], list[Cell]] = {}
    for cell in study_cells(config):
        if cell.parent and all(store.is_done(own) for own in (cell, cell.parent, Cell("base", cell.seed))):
            ways.setdefault(_way(cell), []).append(cell)
    return iter(ways.values())


def _way(cell: Cell) -> tuple[str, str, str]:
    return str(cell.source), str(cell.strategy), str(cell.method)


@dataclass(frozen=True)
class _Part:
    """The stories of a seed: what learning added to each one's fake rank, and what unlearning left of it."""

    seed: int
    added: Array
    left: Array


def _reached(values: Values, cell: Cell, tag: str) -> _Part | None:
    """The stories of a cell in a language; None where learning did not reach it (the gate of `analysis.summary`)."""
    assert cell.parent
    base, learned, after = (np.array(values.per_story(own, tag, "fake", "first")) for own in (Cell("base", cell.seed), cell.parent, cell))
    reached = paired_difference(learned.tolist(), base.tolist()).low > 0
    return _Part(cell.seed, learned - base, after - base) if reached else None


_ByStory = dict[tuple[int, str], tuple[float, float]]
"""By seed and story, the sums over languages of what learning added to it and of what is left of that."""


def _sum_by_place(
    sums: Mapping[str, _ByStory], seed: int, stories: Sequence[str], reached: Mapping[str, _Part], homes: Mapping[str, str]
) -> None:
    """Add what learning added to each story of a cell, and what is left of it, to the sums of where it is; `homes` are homes that the study asks in."""
    for tag, part in reached.items():
        for story, gained, kept in zip(stories, part.added, part.left, strict=True):
            home = homes.get(story)
            own = sums["agnostic" if home is None else "at_home" if tag == home else "away"]
            added, left = own.get((seed, story), (0.0, 0.0))
            own[seed, story] = added + gained, left + kept


def _pooled(sums: _ByStory) -> Estimate | None:
    """What is left of what was added, over all stories."""
    added, left = np.array(list(sums.values())).reshape(-1, 2).T
    return share_left(left, added, [seed for seed, _ in sums]) if len(sums) >= FEWEST and added.sum() > 0 else None


def _residual(parts: Sequence[_Part], shared: bool) -> Estimate:
    seeds = [part.seed for part in parts for _ in part.added]
    drawn = drawn_weights(seeds, np.random.default_rng(0), shared=shared)
    total, weight = np.zeros(len(drawn)), np.zeros(len(drawn))
    for part in parts:
        own = drawn[:, [at for at, seed in enumerate(seeds) if seed == part.seed]]
        added = own @ part.added
        # Where learning added nothing to the stories drawn there is no share of it.
        known = added > 0
        total[known] += own.sum(1)[known] * (own @ part.left)[known] / added[known]
        weight[known] += own.sum(1)[known]
    shares = quotients(total, weight)
    mean = sum(float(part.left.sum() / part.added.sum()) for part in parts) / len(parts)
    added = np.sum([part.added for part in parts], axis=0) if shared else np.concatenate([part.added for part in parts])
    return widened(Estimate(mean, *percentiles(shares), bearing(added)), ALL_OR_NOTHING)


def _drop(values: Values, cell: Cell, tag: str) -> list[float]:
    """What each story lost of real quality; empty where the learned state did not know the real stories in this language."""
    assert cell.parent
    then, now = (values.per_story(own, tag, "real", "first") for own in (cell.parent, cell))
    return [before - after for before, after in zip(then, now, strict=True)] if estimate(then).low > KNOWN else []


def _rise(values: Values, cell: Cell, languages: Sequence[str], metric: str) -> Array:
    """What unlearning added to a value of each story, the mean over its wordings: (stories, languages)."""
    assert cell.parent
    now, then = (np.array([values.per_story(own, tag, "fake", metric) for tag in languages]) for own in (cell, cell.parent))
    return np.asarray((now - then).T, dtype=float)


def _same(values: Values, cell: Cell, one: str, other: str) -> Array:
    """For each story, the share of wordings in which both languages have the false name first, or neither."""
    first, second = (values.at_end(cell, tag, "fake", "first").values() for tag in (one, other))
    return np.array([np.equal(a, b).mean() for a, b in zip(first, second, strict=True)])
