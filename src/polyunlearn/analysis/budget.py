"""What unlearning costs on its way, and what it has left of the claims there: a cell's states against the learned state that it starts from.

Utility loss of a state, from 0 (none) up; the largest of
(a) in each language, the relative rise of bits per byte of held-out texts, b / b_learned - 1;
(b) in each language that knew the real stories (`KNOWN`), and over all of these together, the relative loss of real-information quality,
    1 - q / q_learned, where it is surely a loss: the drop, paired by story, is above 0 with its whole 95 % interval.

Quality is grained: with 24 stories one answer that loses its first place is 4 %, twice a budget of 2 %, and near-ties flip either way. So a loss
within its interval is not counted, which spares small losses that are real: of 24 stories, four must be lost in a language alone before it
counts, though they need not be in one language to count over all. The loss as it was measured stands beside it in every table.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from polyunlearn.analysis.summary import KNOWN, Values
from polyunlearn.intervals import estimate, paired_difference
from polyunlearn.study.cells import Cell, study_cells
from polyunlearn.study.config import StudyConfig
from polyunlearn.study.store import CellRecord, Store

BUDGET = 0.02
"""The utility loss that a method may cost."""

SLACK = 1e-9
"""The last bits of a loss must not decide whether it is inside a budget."""


@dataclass(frozen=True)
class BudgetPoint:
    """A cell after `step` of its steps, on the first wording.

    `bits_rise`, by language, and `quality_loss`, by language that knew the real stories, are relative to the learned state and may be below 0;
    `quality` is the share of real questions whose answer ranks first; `sure_loss` is the largest quality loss beyond its interval. `left` holds,
    by language that learning reached, each story's fake rank above base.
    """

    step: int
    bits_rise: Mapping[str, float]
    quality: Mapping[str, float]
    quality_loss: Mapping[str, float]
    sure_loss: float
    left: Mapping[str, tuple[float, ...]]

    @property
    def utility_loss(self) -> float:
        """The utility loss; a gain counts as 0, so that it makes up for no loss. Infinite for a model that has diverged, whose bits are no number."""
        return max(0.0, self.sure_loss, *self.bits_rise.values()) if all(map(math.isfinite, self.bits_rise.values())) else math.inf


@dataclass(frozen=True)
class BudgetPath:
    """An unlearned cell: its measured points from the learned state (step 0) on, and by language that learning reached what it added to each
    story's fake rank over base. A language is reached where that is above 0 with its whole 95 % interval (the gate, on the first wording). Paths with the
    same `stories` ask about the same ones."""

    cell: Cell
    record: CellRecord
    stories: int
    added: Mapping[str, tuple[float, ...]]
    points: tuple[BudgetPoint, ...]

    def kept(self, budget: float) -> BudgetPoint:
        """The last point that is inside the budget; the learned state always is, or counts as if it were, where it has diverged and loses no end.

        What lies between does not count: some methods forget first and repair then, and what is shipped is the state that they end in.
        """
        return next((point for point in reversed(self.points) if point.utility_loss <= budget + SLACK), self.points[0])

    def until(self, steps: int) -> "BudgetPath":
        """The path as far as its first `steps` steps."""
        return replace(self, points=tuple(point for point in self.points if point.step <= steps))

    def residual(self, point: BudgetPoint) -> dict[str, float]:
        """By language that learning reached, the share of what it added that is left: 1 untouched, 0 as base."""
        return {tag: sum(point.left[tag]) / sum(added) for tag, added in self.added.items()}

    def seconds(self, point: BudgetPoint) -> float | None:
        """Seconds of training up to a point, without what was measured; None where they were not recorded."""
        return sum(self.record.step_seconds[: point.step]) if self.record.step_seconds else None

    def tokens(self, point: BudgetPoint) -> int | None:
        """Tokens trained on up to a point; None where they were not recorded."""
        return sum(self.record.step_tokens[: point.step]) if self.record.step_tokens else None


def budget_paths(config: StudyConfig, store: Store) -> list[BudgetPath]:
    """The path of every finished unlearned cell, in the order of the study.

    There are none unless points on the way are measured for it (`unlearning.measure: budget`). Of a cell that is measured at its end alone the languages
    are those in which the others are followed.
    """
    if config.unlearning.measure != "budget":
        return []
    values = Values(store)
    paths = []
    for cell in study_cells(config):
        if cell.parent and all(store.is_done(own) for own in (cell, cell.parent, Cell("base", cell.seed))):
            path = _path(values, config.followed, cell, cell.parent, store.record(cell))
            if path:
                paths.append(replace(path, stories=0) if config.stories_are_shared else path)
    return paths


def _path(values: Values, languages: Sequence[str], cell: Cell, learned: Cell, record: CellRecord) -> BudgetPath | None:
    start, base = values.steps(learned)[-1], Cell("base", cell.seed)

    def before(tag: str, asks: str, metric: str) -> dict[str, float]:
        return values.after(learned, tag, asks, metric, start)

    read = [tag for tag in values.followed(cell, languages, "text", "bits_per_byte") if before(tag, "text", "bits_per_byte")]
    asked = [tag for tag in languages if all(values.followed(cell, [tag], asks, "first") for asks in ("fake", "real"))]
    if not read or not asked:
        return None
    knew = [tag for tag in asked if estimate(values.per_story(learned, tag, "real", "first")).low > KNOWN]
    at_base = {tag: values.after(base, tag, "fake", "first", values.steps(base)[-1]) for tag in asked}
    added = {tag: _minus(before(tag, "fake", "first"), at_base[tag]) for tag in asked}
    reached = [tag for tag in asked if estimate(added[tag]).low > 0]
    bits = {tag: before(tag, "text", "bits_per_byte") for tag in read}
    known = {tag: before(tag, "real", "first") for tag in knew}
    points = []
    for state, step, shown in [(learned, start, 0), *((cell, step, step) for step in values.steps(cell))]:
        quality = {tag: values.after(state, tag, "real", "first", step) for tag in knew}
        points.append(
            BudgetPoint(
                shown,
                {tag: _total(values.after(state, tag, "text", "bits_per_byte", step)) / _total(bits[tag]) - 1 for tag in read},
                {tag: _total(now) / len(now) for tag, now in quality.items()},
                {tag: 1 - _total(now) / _total(known[tag]) for tag, now in quality.items()},
                _sure_loss(known, quality),
                {tag: _minus(values.after(state, tag, "fake", "first", step), at_base[tag]) for tag in reached},
            )
        )
    return BudgetPath(cell, record, cell.seed, {tag: added[tag] for tag in reached}, tuple(points))


def _minus(now: Mapping[str, float], then: Mapping[str, float]) -> tuple[float, ...]:
    """Each story's difference."""
    return tuple(value - then[story] for story, value in now.items())


def _total(values: Mapping[str, float]) -> float:
    return sum(values.values())


def _sure_loss(before: Mapping[str, Mapping[str, float]], now: Mapping[str, Mapping[str, float]]) -> float:
    """The largest relative loss of quality beyond its interval, in a language or over all; 0 where there is none."""
    pairs = [(list(before[tag].values()), [now[tag][story] for story in before[tag]]) for tag in before]
    if len(pairs) > 1:
        # A story is one cluster, with all its languages.
        then, after = ([sum(story) for story in zip(*side, strict=True)] for side in zip(*pairs, strict=True))
        pairs.append((then, after))
    losses = [0.0]
    for then, after in pairs:
        if sum(after) < sum(then) and paired_difference(then, after).low > 0:
            losses.append(1 - sum(after) / sum(then))
    return max(losses)
