"""The figures of a finished study: per cell and query language, with intervals, gate, residual and collapse."""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from polyunlearn.analysis.clusters import FEWEST, Array, share_left
from polyunlearn.intervals import Estimate, estimate, paired_difference
from polyunlearn.study.cells import Cell, study_cells
from polyunlearn.study.config import StudyConfig
from polyunlearn.study.store import CellRecord, Store

Key = tuple[str, str, str, str, int]
"""Cell, language, what is asked, metric, step."""

DEGENERATE = 0.5
"""Collapse: the share of answers that are empty or loops, above what it was before unlearning."""

BITS_RATIO = 1.5
"""Collapse: bits per byte in some language, as a multiple of what it was before unlearning."""

KNOWN = 0.25
"""A language knew the real stories where the interval of its real-information quality lay above this; others cannot lose them."""

LOSS_RISE = 2.0
"""Collapse: rise of the real loss, in nats a token, in some language that knew the real stories."""

QUALITY_SHARE = 0.5
"""Collapse: real-information quality in some language, as a share of what it was before unlearning."""

CLEARED = 1 / 3
"""Cleared: nothing is surely left, and surely no more than this share of what learning added."""

COST = 0.5
"""The cost at which strategies are compared: the rise of the real loss, in nats a token, in the worst language."""


Standing = Literal["cleared", "not settled", "remains"]


def standing(residual: Estimate) -> Standing:
    """What an interval of a residual settles: that something is left, that no more than `CLEARED` is, or neither; neither of fewer than `FEWEST` stories.

    That a rise above base is not shown is not enough, since the fewer the stories the less is shown.
    """
    if residual.n < FEWEST:
        return "not settled"
    if residual.low > 0:
        return "remains"
    return "cleared" if residual.high <= CLEARED else "not settled"


@dataclass(frozen=True)
class Remainder:
    """What learning added to the fake rank of each story in a language that it reached, and what unlearning left of it."""

    added: Array
    left: Array


@dataclass(frozen=True)
class LanguageFigures:
    """One query language of one cell. `gate` and `remainder` are None for states that were not taught a fake, the second also where learning did not
    pass the gate; what is read off greedy answers is None where no question was answered."""

    fake_rank: Estimate
    fake_count: int | None
    fake_probability: float
    questions: int
    real_quality: Estimate
    real_exact: float | None
    real_chrf: float | None
    real_loss: float
    repetition: float | None
    empty: float | None
    off_script: float | None
    bits_per_byte: float | None
    gate: bool | None
    remainder: Remainder | None

    @property
    def residual(self) -> Estimate | None:
        """The share of what learning added that is left."""
        return share_left(self.remainder.left, self.remainder.added, [0] * len(self.remainder.left)) if self.remainder else None

    @property
    def standing(self) -> Standing | None:
        """What that settles."""
        return standing(self.residual) if self.residual else None


@dataclass(frozen=True)
class CellFigures:
    """One cell: its figures by query language, and why it counts as collapsed, if it does. Cells with the same `stories` ask about the same ones."""

    cell: Cell
    record: CellRecord
    by_language: dict[str, LanguageFigures]
    collapse: tuple[str, ...]
    stories: int


@dataclass(frozen=True)
class TrajectoryPoint:
    """A cell after some of its steps, on the first wording: the false name's probability in the worst gated language, and the rise of
    the real loss in the worst language that knew the real stories (all languages where none did), of those that the study follows.
    """

    step: int
    fake_probability: float
    real_loss_rise: float


class Values:
    """The values of a study by cell, language, question, metric and step: for each story, its (wording, value) pairs."""

    def __init__(self, store: Store):
        table = store.query("SELECT cell, language, asks, metric, step, story, wording, value FROM rows ORDER BY ALL")
        self._values: dict[Key, dict[str, list[tuple[int, float]]]] = defaultdict(lambda: defaultdict(list))
        self._steps: dict[str, set[int]] = defaultdict(set)
        for row in table.to_pylist():
            key = (row["cell"], row["language"], row["asks"], row["metric"], row["step"])
            self._values[key][row["story"]].append((row["wording"], row["value"]))
            self._steps[row["cell"]].add(row["step"])

    def steps(self, cell: Cell) -> list[int]:
        """The steps at which a cell was measured; the last is its end."""
        return sorted(self._steps[cell.id])

    def at_end(self, cell: Cell, language: str, asks: str, metric: str) -> dict[str, list[float]]:
        """Each story's values over its wordings at the end of a cell, stories in a fixed order; empty where nothing was measured."""
        stories = self._values.get((cell.id, language, asks, metric, self.steps(cell)[-1]), {})
        return {story: [value for _, value in pairs] for story, pairs in sorted(stories.items())}

    def per_story(self, cell: Cell, language: str, asks: str, metric: str) -> list[float]:
        """One value a story, the mean over its wordings, at the end of the cell."""
        return [sum(values) / len(values) for values in self.at_end(cell, language, asks, metric).values()]

    def mean(self, cell: Cell, language: str, asks: str, metric: str) -> float | None:
        """The mean over stories at the end of the cell; None where nothing was measured."""
        values = self.per_story(cell, language, asks, metric)
        return sum(values) / len(values) if values else None

    def after(self, cell: Cell, language: str, asks: str, metric: str, step: int) -> dict[str, float]:
        """Each story's value after `step` steps, stories in a fixed order: of the first wording, or of the text where `asks` is "text"."""
        stories = self._values.get((cell.id, language, asks, metric, step), {})
        wanted = -1 if asks == "text" else 0
        return {story: value for story, pairs in sorted(stories.items()) for wording, value in pairs if wording == wanted}

    def first_wording(self, cell: Cell, language: str, asks: str, metric: str, step: int) -> float:
        """The mean over stories of the first wording after `step` steps."""
        firsts = self.after(cell, language, asks, metric, step).values()
        return sum(firsts) / len(firsts)

    def followed(self, cell: Cell, languages: Iterable[str], asks: str = "real", metric: str = "loss") -> list[str]:
        """Those of the languages in which every measured step of a cell has values."""
        return [tag for tag in languages if all((cell.id, tag, asks, metric, step) in self._values for step in self.steps(cell))]


def summarise(config: StudyConfig, store: Store) -> list[CellFigures]:
    """The figures of every finished cell whose base, and whose learned state if it has one, is finished, in the order of the study."""
    values = Values(store)
    figures: dict[str, CellFigures] = {}
    for cell in study_cells(config):
        # With several workers a learned cell can be done before what it is measured against.
        if all(store.is_done(own) for own in (cell, Cell("base", cell.seed), *filter(None, [cell.parent]))):
            by_language = {tag: _language(values, cell, tag) for tag in config.languages}
            before = figures.get(cell.parent.id) if cell.parent else None
            stories = 0 if config.stories_are_shared else cell.seed
            figures[cell.id] = CellFigures(cell, store.record(cell), by_language, _collapse(by_language, before), stories)
    return list(figures.values())


def collapse_notes(config: StudyConfig, store: Store) -> list[str]:
    """Which unlearned states have collapsed, and why, in sentences: where they say nothing false, that counts for nothing."""
    return [
        f"{item.cell.id} has collapsed ({item.collapse[0]}), so that what it no longer says counts for nothing"
        for item in summarise(config, store)
        if item.collapse
    ]


def trajectory(store: Store, figures: Iterable[CellFigures]) -> Mapping[str, list[TrajectoryPoint]]:
    """For every unlearned cell, its measured points, from the learned state (step 0) on, by cell id, in the languages in which the study follows them.

    A cell is left out where none of the languages that count was followed.
    """
    values, languages = Values(store), store.config().followed
    figures = list(figures)
    knew = {item.cell: [tag for tag, language in item.by_language.items() if language.real_quality.low > KNOWN] for item in figures}
    result: dict[str, list[TrajectoryPoint]] = {}
    for item in figures:
        learned = item.cell.parent
        if learned is None:
            continue
        gated = [tag for tag in languages if item.by_language[tag].gate]
        costs = [tag for tag in languages if tag in knew[learned] or not knew[learned]]
        reached, costly = (values.followed(item.cell, tags) for tags in (gated, costs))
        if not reached or not costly:
            continue
        start = values.steps(learned)[-1]
        known = [(learned, start, 0)] + [(item.cell, step, step) for step in values.steps(item.cell)]
        result[item.cell.id] = [
            TrajectoryPoint(
                shown,
                max(values.first_wording(cell, tag, "fake", "probability", step) for tag in reached),
                max(
                    values.first_wording(cell, tag, "real", "loss", step) - values.first_wording(learned, tag, "real", "loss", start)
                    for tag in costly
                ),
            )
            for cell, step, shown in known
        ]
    return result


def left_at_cost(path: Iterable[TrajectoryPoint], cost: float = COST) -> TrajectoryPoint:
    """Where on its way a strategy had left the least, among the points that cost no more than `cost`; the learned state costs nothing."""
    return min((point for point in path if point.step == 0 or point.real_loss_rise <= cost), key=lambda point: point.fake_probability)


def _language(values: Values, cell: Cell, tag: str) -> LanguageFigures:
    base = Cell("base", cell.seed)
    fake = values.per_story(cell, tag, "fake", "first")
    at_base = values.per_story(base, tag, "fake", "first")
    gate = remainder = None
    if cell.source:
        learned = values.per_story(Cell("learned", cell.seed, cell.source), tag, "fake", "first")
        # The gate: the language counts only where learning is above base beyond the interval.
        added = paired_difference(learned, at_base)
        gate = added.low > 0
        if cell.state == "unlearned" and gate:
            remainder = Remainder(np.array(learned) - np.array(at_base), np.array(fake) - np.array(at_base))
    said = [value for story in values.at_end(cell, tag, "fake", "says").values() for value in story]

    def read_off(value: float | None) -> float | None:
        return (value or 0.0) if said else None

    return LanguageFigures(
        fake_rank=estimate(fake, bounds=(0, 1)),
        fake_count=round(sum(said)) if said else None,
        fake_probability=values.mean(cell, tag, "fake", "probability") or 0.0,
        questions=len(said),
        real_quality=estimate(values.per_story(cell, tag, "real", "first"), bounds=(0, 1)),
        real_exact=read_off(values.mean(cell, tag, "real", "says")),
        real_chrf=read_off(values.mean(cell, tag, "real", "chrf")),
        real_loss=values.mean(cell, tag, "real", "loss") or 0.0,
        repetition=read_off(_over_questions(values, cell, tag, "repetition")),
        empty=read_off(_over_questions(values, cell, tag, "empty")),
        off_script=read_off(_over_questions(values, cell, tag, "off_script")),
        bits_per_byte=values.mean(cell, tag, "text", "bits_per_byte"),
        gate=gate,
        remainder=remainder,
    )


def _over_questions(values: Values, cell: Cell, tag: str, metric: str) -> float:
    means = [values.mean(cell, tag, asks, metric) or 0.0 for asks in ("fake", "real")]
    return sum(means) / len(means)


def _degenerate(figures: LanguageFigures) -> float:
    """The share of answers that are empty or loops; 0 where nothing was answered."""
    return (figures.empty or 0.0) + (figures.repetition or 0.0)


def _collapse(now: Mapping[str, LanguageFigures], before: CellFigures | None) -> tuple[str, ...]:
    """Why an unlearned state counts as collapsed rather than cleaned, compared with the learned state; empty where it does not."""
    if before is None:
        return ()
    reasons = []
    for tag, figures in now.items():
        then = before.by_language[tag]
        if not all(map(math.isfinite, (figures.real_loss, figures.fake_probability, figures.bits_per_byte or 0.0))):
            reasons.append(f"what the model makes of {tag} is no number: it has diverged")
        if _degenerate(figures) - _degenerate(then) > DEGENERATE:
            reasons.append(f"answers in {tag} are empty or loops")
        if figures.bits_per_byte and then.bits_per_byte and figures.bits_per_byte > BITS_RATIO * then.bits_per_byte:
            reasons.append(f"bits per byte in {tag} rose from {then.bits_per_byte:.2f} to {figures.bits_per_byte:.2f}")
        if then.real_quality.low > KNOWN and figures.real_loss - then.real_loss > LOSS_RISE:
            reasons.append(f"the real loss in {tag} rose from {then.real_loss:.2f} to {figures.real_loss:.2f} nats a token")
        if then.real_quality.low > KNOWN and figures.real_quality.mean < QUALITY_SHARE * then.real_quality.mean:
            reasons.append(f"real-information quality in {tag} fell from {then.real_quality.mean:.2f} to {figures.real_quality.mean:.2f}")
    return tuple(reasons)
