"""Methods and strategies at the same allowed loss of utility: rows of a study in, or of several that share their learned states, tables out.

Of every unlearned cell the last state inside the budget is taken (`analysis.budget`), and what it has left is compared. Intervals draw stories
within each seed, a story with all its languages as one cluster, and one that seeds share with all of its seeds; the worst language is found anew in every
draw. They hold for the states that were kept: that other stories could have kept others, and what other seeds would give, is not in them.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from polyunlearn.analysis.budget import BUDGET, BudgetPath, BudgetPoint, budget_paths
from polyunlearn.analysis.clusters import ALL_OR_NOTHING, bearing, percentiles, quotients
from polyunlearn.errors import UserError
from polyunlearn.intervals import RESAMPLES, Estimate, widened
from polyunlearn.study.config import StudyConfig
from polyunlearn.study.store import Store

Draws = NDArray[np.float64]
"""One value a resample; NaN where it has none."""


@dataclass(frozen=True)
class Cost:
    """What the kept states cost, means over seeds (and sources). Rises and losses are relative to the learned state, those of the worst language,
    which is named. `quality` is the mean over the languages that knew the real stories, None where none did."""

    utility_loss: float
    bits_rise: float
    bits_language: str
    quality_before: float | None
    quality: float | None
    quality_loss: float | None
    quality_language: str | None
    steps: float
    tokens: float | None
    seconds: float | None


@dataclass(frozen=True)
class MethodRow:
    """A source unlearned with one method and strategy: what its kept states have left, by language that learning reached in some seed.

    `worst` is the language with the most left, `worst_residual` what it has, with an interval of the largest in each draw, since which is the worst is not
    sure; `mean` is over the languages; all None where learning reached no language. The largest of several figures is more than is left in a language
    picked beforehand. `unmoved` seeds kept the learned state, since every point was over the budget.
    """

    source: str
    method: str
    strategy: str
    seeds: int
    unmoved: int
    residual: Mapping[str, Estimate]
    worst: str | None
    worst_residual: Estimate | None
    mean: Estimate | None
    cost: Cost


@dataclass(frozen=True)
class WayRow:
    """A method and strategy over the sources and seeds that all have. `worst_language` is the mean over sources of what is left in each one's worst language, `mean` that
    of its mean over languages; `worst_source` is the source with the most left in its worst language. `path` is what they passed through."""

    method: str
    strategy: str
    sources: tuple[str, ...]
    cells: int
    unmoved: int
    worst_language: Estimate | None
    mean: Estimate | None
    worst_source: MethodRow | None
    cost: Cost
    path: tuple["PathPoint", ...]


@dataclass(frozen=True)
class PathPoint:
    """A step of a method and strategy: means over cells of the utility loss and of what is left in a cell's worst language."""

    step: int
    utility_loss: float
    worst_residual: float


@dataclass(frozen=True)
class Comparison:
    """The comparison of a study: over the sources, the least left in the worst language first, and source by source in the study's order.
    `steps` are those after which states were measured, the learned state's 0 among them; `left_out` are methods and strategies that were measured after
    more steps alone than were asked for."""

    budget: float
    steps: tuple[int, ...]
    ways: tuple[WayRow, ...]
    rows: tuple[MethodRow, ...]
    left_out: tuple[tuple[str, str], ...] = ()


def compare(config: StudyConfig, store: Store, budget: float = BUDGET) -> Comparison | None:
    """The comparison of a study at a budget; None where no finished cell has what it needs."""
    paths = budget_paths(config, store)
    return comparison(paths, budget) if paths else None


def paths_together(stores: Sequence[Store]) -> list[BudgetPath]:
    """The paths of several studies that unlearn the same learned states, in the order of the studies; of one study, its own.

    Raises:
        UserError: where a folder holds no study, two were learned or measured otherwise, two hold the same method and strategy, or one has no source and
            seed in common with the first.
    """
    first = stores[0]
    paths: list[BudgetPath] = []
    ways: dict[tuple[str | None, str | None], Store] = {}
    starts: dict[tuple[str | None, int], BudgetPath] = {}
    for store in stores:
        differing = _differing(first, store)
        found = budget_paths(store.config(), store)
        for way in dict.fromkeys((path.cell.method, path.cell.strategy) for path in found):
            if way in ways:
                raise UserError(
                    f"{store.folder}: {way[0]}, {way[1]} is in {ways[way].folder} too; give one of the folders, or polyunlearn compare both"
                )
            ways[way] = store
        known = {_start(path): path for path in found}
        shared = [start for start in known if start in starts]
        if not differing and starts and not shared:
            differing = "every source and seed"
        if not differing and any((known[own].added, known[own].points[0]) != (starts[own].added, starts[own].points[0]) for own in shared):
            differing = "a learned state of the same settings"
        if differing:
            raise UserError(
                f"{store.folder}: {differing} is another than in {first.folder}, so that what is left is not of the same states; "
                "polyunlearn compare RUN_A RUN_B takes such studies"
            )
        starts = known | starts
        paths += found
    return paths


def _start(path: BudgetPath) -> tuple[str | None, int]:
    """Which learned state a path starts from."""
    return path.cell.source, path.cell.seed


_UNLEARNED_ONLY = {"name", "seeds", "sources", "strategies", "methods", "unlearning", "keep_states"}
"""What studies of the same learned states may have of their own."""


def _differing(one: Store, other: Store) -> str:
    """What two studies have otherwise that learned states and their figures rest on; "" where nothing."""
    a, b = one.config(), other.config()
    plain = [own.model_dump(mode="json", exclude=_UNLEARNED_ONLY) for own in (a, b)]
    for key in plain[0]:
        if plain[0][key] != plain[1][key]:
            return key
    if not a.learning.question_languages and set(a.sources) != set(b.sources):
        return "what is asked in, the sources where learning.question_languages names no languages,"
    if a.refuses != b.refuses and "study" in (a.training_vocabulary, a.scoring.vocabulary):
        return "the study vocabulary, which holds refusals where a method trains them,"
    if a.followed != b.followed:
        return "unlearning.trajectory_languages"
    studies = [own.manifest()["study"] for own in (one, other)]
    stories = [{seed: (own["count"], own["fingerprint"]) for seed, own in study.get("stories", {}).items()} for study in studies]
    if any(stories[0][seed] != stories[1][seed] for seed in stories[0].keys() & stories[1].keys()):
        return "the corpus"
    return "the model" if any(studies[0].get(key) != studies[1].get(key) for key in ("model", "precision")) else ""


def comparison(paths: Sequence[BudgetPath], budget: float = BUDGET, steps: int | None = None) -> Comparison:
    """The comparison of these paths, as far as their first `steps` steps where these are given.

    A way of which no state was measured in as many steps is left out. Ways are set against each other over the sources and seeds that all of them have;
    where there are none, as while a study runs, over their own.

    Raises:
        UserError: where no way is left.
    """
    cut = [path if steps is None else path.until(steps) for path in paths]
    measured = [path for path in cut if len(path.points) > 1 or steps is None]
    if not measured:
        first = min(point.step for path in paths for point in path.points if point.step)
        raise UserError(f"no state was measured in {steps} steps or fewer; the first were after {first}")
    grouped = _grouped(measured, lambda path: (path.cell.method, path.cell.strategy))
    common = set.intersection(*(set(map(_start, way)) for way in grouped))
    ways, rows = [], []
    for way in grouped:
        found = [_row(same, budget) for same in _grouped(way, lambda path: path.cell.source)]
        rows += [row for row, _ in found]
        own = [path for path in way if _start(path) in common] or way
        if own != way:
            found = [_row(same, budget) for same in _grouped(own, lambda path: path.cell.source)]
        ways.append(_way(own, found, budget))
    # What learning reached nowhere has nothing to compare, and a model that has diverged forgot nothing that counts: they stand last.
    ways.sort(
        key=lambda row: (
            row.worst_language is None,
            row.cost.utility_loss == math.inf,
            row.worst_language.mean if row.worst_language else 0.0,
        )
    )
    order = {source: at for at, source in enumerate(dict.fromkeys(path.cell.source for path in measured))}
    after = sorted({point.step for path in measured for point in path.points})
    kept = {(path.cell.method, path.cell.strategy) for path in measured}
    left_out = tuple(way for way in dict.fromkeys((str(path.cell.method), str(path.cell.strategy)) for path in paths) if way not in kept)
    return Comparison(budget, tuple(after), tuple(ways), tuple(sorted(rows, key=lambda row: order[row.source])), left_out)


@dataclass(frozen=True)
class _Resampled:
    """The draws behind a row's residuals."""

    worst: Draws
    mean: Draws


def _grouped(paths: Sequence[BudgetPath], key: Callable[[BudgetPath], object]) -> list[list[BudgetPath]]:
    return [[path for path in paths if key(path) == one] for one in dict.fromkeys(map(key, paths))]


def _row(paths: Sequence[BudgetPath], budget: float) -> tuple[MethodRow, _Resampled | None]:
    """The row of one source, method and strategy from its cells, a seed each; without draws where learning reached no language."""
    cell = paths[0].cell
    kept = [path.kept(budget) for path in paths]
    residual, draws = {}, {}
    for tag in dict.fromkeys(tag for path in paths for tag in path.added):
        reached = [(path, point) for path, point in zip(paths, kept, strict=True) if tag in path.added]
        draws[tag] = _mean_of([_drawn(path, point, tag) for path, point in reached])
        residual[tag] = _estimate([path.residual(point)[tag] for path, point in reached], draws[tag], _stories(paths, [tag]))
    worst = max(residual, key=lambda tag: residual[tag].mean) if residual else None
    resampled = _Resampled(_largest_of(list(draws.values())), _mean_of(list(draws.values()))) if worst else None
    mean = _estimate([own.mean for own in residual.values()], resampled.mean, _stories(paths, residual)) if resampled else None
    worst_residual = _estimate([residual[worst].mean], resampled.worst, _stories(paths, [worst])) if resampled and worst else None
    row = MethodRow(
        source=str(cell.source),
        method=str(cell.method),
        strategy=str(cell.strategy),
        seeds=len(paths),
        unmoved=sum(point.step == 0 for point in kept),
        residual=residual,
        worst=worst,
        worst_residual=worst_residual,
        mean=mean,
        cost=_cost(paths, kept),
    )
    return row, resampled


def _way(paths: Sequence[BudgetPath], rows: Sequence[tuple[MethodRow, _Resampled | None]], budget: float) -> WayRow:
    reached = [(row, own) for row, own in rows if own]
    worst_of = [row.worst_residual for row, _ in reached if row.worst_residual]
    mean_of = [row.mean for row, _ in reached if row.mean]
    return WayRow(
        method=str(paths[0].cell.method),
        strategy=str(paths[0].cell.strategy),
        sources=tuple(row.source for row, _ in rows),
        cells=len(paths),
        unmoved=sum(row.unmoved for row, _ in rows),
        worst_language=_over_sources(worst_of, [own.worst for _, own in reached]) if reached else None,
        mean=_over_sources(mean_of, [own.mean for _, own in reached]) if reached else None,
        worst_source=max((row for row, _ in reached), key=lambda row: row.worst_residual.mean if row.worst_residual else 0.0, default=None),
        cost=_cost(paths, [path.kept(budget) for path in paths]),
        path=_mean_path(paths),
    )


def _mean_path(paths: Sequence[BudgetPath]) -> tuple[PathPoint, ...]:
    """Cells of a study are measured after the same steps; those that learning reached in no language say nothing of what is left."""
    reached = [path for path in paths if path.added]
    sources = _grouped(reached, lambda path: path.cell.source)
    return tuple(
        PathPoint(
            points[0].step,
            _mean([point.utility_loss for point in points]),
            _mean([max(_by_language([path.residual(path.points[at]) for path in own]).values()) for own in sources]),
        )
        for at, points in enumerate(zip(*(path.points for path in reached), strict=True))
    )


def _cost(paths: Sequence[BudgetPath], kept: Sequence[BudgetPoint]) -> Cost:
    rises = _by_language([point.bits_rise for point in kept])
    losses = _by_language([point.quality_loss for point in kept])
    knowing = [(path.points[0].quality, point.quality) for path, point in zip(paths, kept, strict=True) if point.quality]
    # A number that is none is the worst of all.
    bits_language = max(rises, key=lambda tag: (math.isnan(rises[tag]), rises[tag]))
    quality_language = max(losses, key=lambda tag: losses[tag]) if losses else None
    tokens = [path.tokens(point) for path, point in zip(paths, kept, strict=True)]
    seconds = [path.seconds(point) for path, point in zip(paths, kept, strict=True)]
    return Cost(
        utility_loss=_mean([point.utility_loss for point in kept]),
        bits_rise=rises[bits_language],
        bits_language=bits_language,
        quality_before=_mean([_mean(list(before.values())) for before, _ in knowing]) if knowing else None,
        quality=_mean([_mean(list(now.values())) for _, now in knowing]) if knowing else None,
        quality_loss=losses[quality_language] if quality_language else None,
        quality_language=quality_language,
        steps=_mean([point.step for point in kept]),
        tokens=_mean_if_all(tokens),
        seconds=_mean_if_all(seconds),
    )


def _by_language(points: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Each language's mean over the points that have it."""
    tags = dict.fromkeys(tag for point in points for tag in point)
    return {tag: _mean([point[tag] for point in points if tag in point]) for tag in tags}


@cache
def _counts(seed: int, stories: int) -> Draws:
    """How often each resample holds each story (resamples, stories); the same for all cells of a seed, which have the same stories."""
    # As text: a seed may be negative.
    rng = np.random.default_rng(list(str(seed).encode()))
    return rng.multinomial(stories, np.full(stories, 1 / stories), size=RESAMPLES).astype(float)


def _drawn(path: BudgetPath, point: BudgetPoint, tag: str) -> Draws:
    """The residual in each resample; NaN where learning added nothing to the stories drawn."""
    counts = _counts(path.stories, len(path.added[tag]))
    added, left = counts @ np.array(path.added[tag]), counts @ np.array(point.left[tag])
    return quotients(left, added)


def _mean_of(draws: Sequence[Draws]) -> Draws:
    """The mean of several draws, of those that have a value."""
    together = np.stack(draws)
    known = ~np.isnan(together)
    return quotients(np.where(known, together, 0).sum(0), known.sum(0))


def _largest_of(draws: Sequence[Draws]) -> Draws:
    """The largest of several draws, of those that have a value."""
    together = np.stack(draws)
    largest: Draws = np.where(np.isnan(together).all(0), np.nan, np.where(np.isnan(together), -np.inf, together).max(0))
    return largest


def _estimate(means: Sequence[float], draws: Draws, stories: int) -> Estimate:
    return widened(Estimate(_mean(means), *percentiles(draws), stories), ALL_OR_NOTHING)


def _over_sources(own: Sequence[Estimate], draws: Sequence[Draws]) -> Estimate:
    """The mean over sources. They share their stories, so it rests on no more of them than the source that was learned in fewest."""
    return _estimate([one.mean for one in own], _mean_of(draws), min(one.n for one in own))


def _stories(paths: Iterable[BudgetPath], tags: Iterable[str]) -> int:
    """On how many stories what is left in these languages rests (`bearing`); a story in several sources or languages is one."""
    wanted, added = set(tags), dict[int, Draws]()
    for path in paths:
        for own in (np.array(values) for tag, values in path.added.items() if tag in wanted):
            added[path.stories] = added[path.stories] + own if path.stories in added else own
    return bearing(np.concatenate(list(added.values()))) if added else 1


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _mean_if_all(values: Sequence[float | None]) -> float | None:
    """The mean; None where one of the values is not known."""
    known = [value for value in values if value is not None]
    return _mean(known) if len(known) == len(values) else None
