"""Figures of LINGTEA's protocol: rows of its states in, shares with intervals out."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import fmean

import numpy as np

from polyunlearn.analysis.clusters import ALL_OR_NOTHING, Array, mean_over
from polyunlearn.intervals import Estimate
from polyunlearn.lingtea.store import BEFORE, State
from polyunlearn.lingtea.tasks import PARTS

RISE = "bits_rise"
"""By how much bits per byte of a text have risen since before, as a share."""

PERPLEXITY = "perplexity"
SHARES = ("first", "exact_memorisation")


@dataclass(frozen=True)
class Figure:
    """One metric of one part (`lingtea.tasks.PARTS`) after a way, in one language, or over all (""): the mean over seeds and items; an item, with all its
    seeds and languages, is a cluster."""

    way: str
    part: str
    metric: str
    language: str
    value: Estimate


@dataclass(frozen=True)
class Cost:
    """What the states of a way took, as means over seeds: the step that was kept and the minutes of training and measuring."""

    way: str
    seeds: tuple[int, ...]
    steps: float
    minutes: float


def lingtea_figures(states: Sequence[State]) -> list[Figure]:
    """Every figure of every way, in the order of the states; raises `ValueError` where the state before is not among them."""
    before = next(iter(own for own in states if own.way == BEFORE), None)
    if before is None:
        raise ValueError("nothing to set the ways against: the state before anything is missing")
    return [
        figure
        for way in dict.fromkeys(own.way for own in states)
        for part in PARTS
        for figure in _of_part(way, part, [own for own in states if own.way == way], before)
    ]


def lingtea_costs(states: Sequence[State]) -> list[Cost]:
    """What each way took."""
    found = []
    for way in dict.fromkeys(own.way for own in states):
        own = [state for state in states if state.way == way]
        steps, seconds = fmean(state.record.kept for state in own), fmean(state.record.seconds for state in own)
        found.append(Cost(way, tuple(state.seed for state in own), steps, seconds / 60))
    return found


def _of_part(way: str, part: str, states: Sequence[State], before: State) -> list[Figure]:
    seeds = [state.seed for state in states]
    values = {metric: _values(states, part, metric) for metric in (*SHARES, "loss", "bits_per_byte")}
    share, mean = partial(_mean, seeds=seeds, bounds=ALL_OR_NOTHING), partial(_mean, seeds=seeds)
    estimates: dict[str, tuple[dict[str, Array], Callable[[Array], Estimate]]] = {
        name: (values[name], share) for name in SHARES if values[name]
    }
    if values["loss"]:
        bits, then = values["bits_per_byte"], _values([before], part, "bits_per_byte")
        estimates[PERPLEXITY] = values["loss"], partial(_perplexity, seeds=seeds)
        estimates["bits_per_byte"] = bits, mean
        if way != BEFORE:
            estimates[RISE] = {tag: own / then[tag] - 1 for tag, own in bits.items()}, mean
    found = []
    for metric, (own, estimated) in estimates.items():
        over_all = np.mean(list(own.values()), axis=0)
        found += [Figure(way, part, metric, tag, estimated(one)) for tag, one in {"": over_all, **own}.items()]
    return found


def _values(states: Sequence[State], part: str, metric: str) -> dict[str, Array]:
    """By language the values (seeds, items), items in the same order in each; empty where nothing was measured so."""
    found: dict[str, list[dict[str, float]]] = {}
    for number, state in enumerate(states):
        for row in state.rows:
            if row.asks == part and row.metric == metric:
                own = found.setdefault(row.language, [{} for _ in states])
                own[number][row.story] = row.value
    return {tag: np.array([[one[story] for story in own[0]] for one in own]) for tag, own in found.items()}


def _mean(values: Array, seeds: Sequence[int], bounds: tuple[float, float] | None = None) -> Estimate:
    items = values.shape[1]
    return mean_over(values.flatten(), [seed for seed in seeds for _ in range(items)], shared=True, bounds=bounds)


def _perplexity(values: Array, seeds: Sequence[int]) -> Estimate:
    """Of nats a token; over texts and languages the geometric mean."""
    own = _mean(values, seeds)
    with np.errstate(over="ignore"):
        mean, low, high = np.exp([own.mean, own.low, own.high]).tolist()
    return Estimate(mean, low, high, own.n)
