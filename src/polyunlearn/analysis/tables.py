"""The tables that a report shows, averaged over seeds."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from polyunlearn.analysis.clusters import share_left
from polyunlearn.analysis.summary import KNOWN, CellFigures, Remainder, Standing, standing
from polyunlearn.intervals import Estimate
from polyunlearn.languages import get_language
from polyunlearn.study.cells import Cell
from polyunlearn.tracing.languages import Trace
from polyunlearn.tracing.selection import Choice


@dataclass(frozen=True)
class SpreadCell:
    """What learning in a source added to the fake rank in a query language: `added` = learned − base; `reached` seeds passed the gate."""

    source: str
    language: str
    base: float
    learned: float
    low: float
    high: float
    reached: int
    seeds: int

    @property
    def added(self) -> float:
        """Learned minus base."""
        return self.learned - self.base


GroupVerdict = Literal["not asked", "not reached", "collapsed", Standing]


@dataclass(frozen=True)
class GroupCell:
    """A strategy's effect in a group of query languages.

    `reached` counts the (language, seed) pairs that learning reached; `residual` is the share of what it added to them that is left, all together, and
    `by_language` the same of each language; `before` and `after` are mean fake ranks.
    """

    group: str
    languages: tuple[str, ...]
    reached: int
    residual: Estimate | None
    by_language: Mapping[str, Estimate]
    before: float | None
    after: float | None
    collapsed: bool = False

    @property
    def worst(self) -> str | None:
        """The language with the largest residual, of those that learning reached."""
        return max(self.by_language, key=lambda tag: self.by_language[tag].mean, default=None)

    @property
    def verdict(self) -> GroupVerdict:
        """What the intervals settle of those that learning reached: the claims remain where they surely do in the group or in a language of it."""
        if not self.languages:
            return "not asked"
        if not self.residual:
            return "not reached"
        own = "remains" if "remains" in map(standing, self.by_language.values()) else standing(self.residual)
        # A model that broke says nothing false either.
        return "collapsed" if own == "cleared" and self.collapsed else own


@dataclass(frozen=True)
class StrategyRow:
    """One line of the paper's table: a source unlearned with one strategy."""

    source: str
    method: str
    strategy: str
    groups: tuple[GroupCell, ...]
    steps: int
    tokens: int
    real_quality_en: float
    real_quality_en_before: float
    worst_quality_drop: float
    worst_quality_language: str
    collapse: tuple[str, ...]
    seeds: int


@dataclass(frozen=True)
class WayNames:
    """What ways of unlearning are called where they stand together: by what they do not share."""

    common: str | None
    """The strategy that all of several methods share, to be said once; None where it stands in the names."""
    several_methods: bool

    @classmethod
    def of(cls, strategies: Collection[str], methods: Collection[str]) -> "WayNames":
        """Names for these strategies with these methods, each counted once."""
        several = len(set(methods)) > 1
        return cls(next(iter(strategies)) if several and len(set(strategies)) == 1 else None, several)

    def __call__(self, strategy: str, method: str) -> str:
        """The name of one way."""
        return method if self.common else way_of_unlearning(strategy, method, self.several_methods)


def way_of_unlearning(strategy: str, method: str, several_methods: bool) -> str:
    """What a reader calls it: the strategy, with its method where the study has more than one."""
    return f"{strategy}, {method}" if several_methods else strategy


GROUPS = ("English", "source", "other high-resource", "low-resource")


def spread_matrix(figures: Sequence[CellFigures]) -> list[list[SpreadCell]]:
    """Source (rows) × query language (columns), over the learned states."""
    base = {item.cell.seed: item for item in figures if item.cell.state == "base"}
    learned = [item for item in figures if item.cell.state == "learned"]
    matrix = []
    for source in dict.fromkeys(item.cell.source for item in learned):
        same = [item for item in learned if item.cell.source == source]
        matrix.append([_spread_cell(str(source), tag, same, base) for tag in same[0].by_language])
    return matrix


def strategy_table(figures: Sequence[CellFigures]) -> list[StrategyRow]:
    """The paper's table: strategy × group of query languages, for every source and method."""
    by_id = {item.cell.id: item for item in figures}
    unlearned = [item for item in figures if item.cell.state == "unlearned"]
    rows = []
    for key in dict.fromkeys((item.cell.source, item.cell.method, item.cell.strategy) for item in unlearned):
        same = [item for item in unlearned if (item.cell.source, item.cell.method, item.cell.strategy) == key]
        before = [by_id[item.cell.parent.id] for item in same if item.cell.parent]
        source, method, strategy = (str(part) for part in key)
        rows.append(_strategy_row(source, method, strategy, same, before))
    return rows


def traces(figures: Sequence[CellFigures]) -> list[tuple[Cell, str, Trace]]:
    """What tracing found in each learned state; for which method, where those that train other layers found otherwise, else ""."""
    found: dict[Cell, dict[str, Trace]] = {}
    for item in figures:
        if item.cell.parent and isinstance(item.record.found, Trace):
            found.setdefault(item.cell.parent, {})[str(item.cell.method)] = item.record.found
    shown = []
    for learned, by_method in found.items():
        first = next(iter(by_method.values()))
        alike = all(trace == first for trace in by_method.values())
        shown += [(learned, "", first)] if alike else [(learned, method, trace) for method, trace in by_method.items()]
    return shown


def choices(figures: Sequence[CellFigures]) -> list[tuple[Cell, Choice]]:
    """What the strategies chose, for each unlearned cell, that choose languages by true texts."""
    return [(item.cell, item.record.found) for item in figures if isinstance(item.record.found, Choice)]


def language_group(tag: str, source: str) -> str:
    """The column of the paper's table that a query language belongs to; the source has its own, English also where it is the source."""
    if tag == "en":
        return "English"
    if tag == source:
        return "source"
    return "low-resource" if get_language(tag).resource == "low" else "other high-resource"


def _spread_cell(source: str, tag: str, learned: Sequence[CellFigures], base: dict[int, CellFigures]) -> SpreadCell:
    ranks = [item.by_language[tag].fake_rank for item in learned]
    return SpreadCell(
        source,
        tag,
        _mean([base[item.cell.seed].by_language[tag].fake_rank.mean for item in learned]),
        _mean([rank.mean for rank in ranks]),
        _mean([rank.low for rank in ranks]),
        _mean([rank.high for rank in ranks]),
        sum(bool(item.by_language[tag].gate) for item in learned),
        len(learned),
    )


def _strategy_row(source: str, method: str, strategy: str, after: Sequence[CellFigures], before: Sequence[CellFigures]) -> StrategyRow:
    qualities = {
        tag: [(b.by_language[tag].real_quality, a.by_language[tag].real_quality) for a, b in zip(after, before, strict=True)]
        for tag in after[0].by_language
    }
    # What was not known cannot be lost; all languages where none knew.
    known = {tag: own for tag, pairs in qualities.items() if (own := [pair for pair in pairs if pair[0].low > KNOWN])} or qualities
    drops = {tag: _mean([had.mean - has.mean for had, has in pairs]) for tag, pairs in known.items()}
    worst = max(drops, key=lambda tag: drops[tag])
    return StrategyRow(
        source=source,
        method=method,
        strategy=strategy,
        groups=tuple(replace(_group(name, source, after, before), collapsed=any(item.collapse for item in after)) for name in GROUPS),
        steps=after[0].record.steps,
        tokens=round(_mean([item.record.tokens for item in after])),
        real_quality_en=_mean([item.by_language["en"].real_quality.mean for item in after]),
        real_quality_en_before=_mean([item.by_language["en"].real_quality.mean for item in before]),
        worst_quality_drop=drops[worst],
        worst_quality_language=worst,
        collapse=tuple(dict.fromkeys(reason for item in after for reason in item.collapse)),
        seeds=len(after),
    )


def _group(name: str, source: str, after: Sequence[CellFigures], before: Sequence[CellFigures]) -> GroupCell:
    tags = tuple(tag for tag in after[0].by_language if language_group(tag, source) == name)
    pairs = [(tag, a.by_language[tag], b.by_language[tag]) for a, b in zip(after, before, strict=True) for tag in tags]
    reached = [pair for pair in pairs if pair[1].gate]
    return GroupCell(
        name,
        tags,
        len(reached),
        _share_left(after, tags),
        {tag: own for tag in tags if (own := _share_left(after, [tag]))},
        _mean([b.fake_rank.mean for _, _, b in reached]) if reached else None,
        _mean([a.fake_rank.mean for _, a, _ in reached]) if reached else None,
    )


def _share_left(cells: Sequence[CellFigures], tags: Sequence[str]) -> Estimate | None:
    """What is left over these languages and all seeds; the languages of a story, and the seeds that share it, are one cluster. None where learning reached
    none."""
    parts: dict[int, list[Remainder]] = {}
    for item in cells:
        if own := [found for tag in tags if (found := item.by_language[tag].remainder)]:
            parts.setdefault(item.stories, []).extend(own)
    if not parts:
        return None
    left = np.concatenate([np.sum([part.left for part in own], axis=0) for own in parts.values()])
    added = np.concatenate([np.sum([part.added for part in own], axis=0) for own in parts.values()])
    return share_left(left, added, [stories for stories, own in parts.items() for _ in own[0].left])


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
