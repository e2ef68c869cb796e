"""The comparison of methods at the same loss of utility: in the terminal, as Markdown and as JSON."""

from collections.abc import Sequence
from dataclasses import asdict
from math import isfinite
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from polyunlearn.analysis.comparison import Comparison, Cost, MethodRow, WayRow
from polyunlearn.analysis.tables import WayNames
from polyunlearn.files import finite, write_json_atomically, write_text_atomically
from polyunlearn.languages import get_language
from polyunlearn.report.tables import estimate_text, markdown_table, plain
from polyunlearn.study.config import StudyConfig

_COSTS = ("quality", "lost", "bits/byte", "steps", "tokens", "s")
_LEFT_OUT = ("seeds", "cells", "all languages", "quality", "tokens", "s")
"""What a terminal has no room for."""

_WAYS = ("unlearned with", "cells", "worst language", "all languages", "worst source", *_COSTS)
_ROWS = ("learned in", "unlearned with", "seeds", "worst language", "all languages", *_COSTS)

_IN_FULL = WayNames(common=None, several_methods=True)


def print_comparison(found: Comparison, console: Console) -> None:
    """Print what each method and strategy has left at the budget: over the sources, and by source. Markdown has more columns than a terminal."""
    title = "Left of what learning added, " + (
        f"at a utility loss of at most {found.budget:.1%}"
        if isfinite(found.budget)
        else f"at the end (at most {found.steps[-1]} steps), whatever it cost"
    )
    strategies = {way.strategy for way in found.ways}
    named = WayNames(strategies.pop() if len(strategies) == 1 else None, several_methods=True)
    title += f": {named.common}" if named.common else ""
    if len({row.source for row in found.rows}) == 1:
        order = [(way.method, way.strategy) for way in found.ways]
        rows = sorted(found.rows, key=lambda row: order.index((row.method, row.strategy)))
        title += f", {get_language(rows[0].source).name} claims"
        console.print(_table(title, _ROWS, [_row(row, named) for row in rows], ("learned in",)))
    else:
        console.print(_table(title, _WAYS, [_way(row, named) for row in found.ways]))
        console.print(_table("By source", _ROWS, [_row(row, named) for row in found.rows]))
    for method, strategy in found.left_out:
        console.print(f"left out, since it was measured after more steps alone: {named(strategy, method)}", highlight=False)
    console.print(
        "in brackets: 95 % interval; lost: of real quality; bits/byte: rise; both in the worst language; --markdown and --json have the rest",
        style="dim",
        highlight=False,
    )


def markdown(found: Comparison, configs: Sequence[StudyConfig], model: str) -> str:
    """The comparison as a Markdown document, by itself and in full."""
    config = configs[0]
    scale = f"{config.stories} stories with false claims and {config.neighbours} neighbours"
    seeds = ", ".join(dict.fromkeys(str(seed) for own in configs for seed in own.seeds))
    kept = (
        f"at the last state, of those measured after {', '.join(map(str, found.steps))} steps, that has lost at most {found.budget:.1%} of utility, "
        "though one before it may have lost more"
        if isfinite(found.budget)
        else f"at its end, of the states measured after {', '.join(map(str, found.steps))} steps, whatever utility it lost"
    )
    return "\n".join(
        [
            "# Methods at the same loss of utility",
            "",
            f"Study {_names(configs)} on `{plain(model)}`: {scale}, seeds {seeds}, asked in {', '.join(config.followed)}. "
            "Made by `polyunlearn study compare`.",
            "",
            f"Each method and strategy is taken {kept}. "
            "Utility loss is the largest relative loss in any language: the rise of bits per byte of unseen articles, or the loss of "
            "real-information quality, which counts only where its 95 % interval excludes that nothing was lost."
            + (" Learned states count as inside." if isfinite(found.budget) else "")
            + _branched(found),
            "",
            "*Left* is the residual, (unlearned − base) / (learned − base) of the fake rank in the first wording: 1 is untouched, 0 is as base. "
            "Only languages that learning reached count. Intervals (95 %) draw stories within each seed, and find the worst language anew in each draw; they do "
            "not cover other seeds. The worst of several languages has more left than one picked beforehand, by chance alone. "
            "*Quality*: share of real questions whose answer ranks first, mean over the languages that knew the real stories, learned → kept. "
            "*Lost* (of quality) and *bits/byte*: in the worst language, as measured. *s*: seconds of training alone, with what is asked of a reference before it and without tracing, on the machine of the study. "
            "Costs are means over seeds and sources.",
            "",
            "## Over all sources",
            "",
            "Of the sources and seeds that all have.",
            "",
            *markdown_table(_WAYS, [_way(row, _IN_FULL) for row in found.ways]),
            "",
            "Least left in the worst language first. *Worst source*: the one with most left in its worst language.",
            "",
            "## By source",
            "",
            *markdown_table(_ROWS, [_row(row, _IN_FULL) for row in found.rows]),
            "",
        ]
    )


def _names(configs: Sequence[StudyConfig]) -> str:
    return ", ".join(dict.fromkeys(f"`{plain(own.name)}`" for own in configs))


def _branched(found: Comparison) -> str:
    """Which ways have no state on the way that could be taken, and which have none in as many steps; nothing where all have."""
    left_out = "; ".join(_IN_FULL(strategy, method) for method, strategy in found.left_out)
    ends = [_IN_FULL(way.strategy, way.method) for way in found.ways if len(way.path) == 2]
    several = any(len(way.path) > 2 for way in found.ways)
    return (
        f" Measured at the end alone, so that they are inside there or count as untouched: {'; '.join(ends)}."
        if ends and several and isfinite(found.budget)
        else ""
    ) + (f" Left out, since measured after more steps alone: {left_out}." if left_out else "")


def as_json(found: Comparison, configs: Sequence[StudyConfig], model: str) -> dict[str, Any]:
    """The same in full precision, with the path of every method and strategy."""
    plain: dict[str, Any] = finite(
        {"schema": 1, "study": " + ".join(dict.fromkeys(own.name for own in configs)), "model": model, **asdict(found)}
    )
    return plain


def write_comparison_json(found: Comparison, configs: Sequence[StudyConfig], model: str, path: Path) -> None:
    """Write the comparison as JSON, atomically."""
    write_json_atomically(path, as_json(found, configs, model))


def write_comparison_markdown(found: Comparison, configs: Sequence[StudyConfig], model: str, path: Path) -> None:
    """Write the comparison as Markdown, atomically."""
    write_text_atomically(path, markdown(found, configs, model))


def worst_source_text(way: WayRow) -> str:
    """The source with the most left, with the language where that is."""
    row = way.worst_source
    return f"{get_language(row.source).name}: {estimate_text(row.worst_residual)} in {row.worst}" if row else "–"


def worst_language_text(row: MethodRow) -> str:
    """What is left in the worst language, which is named."""
    return f"{estimate_text(row.worst_residual)} in {row.worst}" if row.worst else "–"


def cost_texts(cost: Cost, unmoved: int, of: int) -> list[str]:
    """What the kept states cost: quality, its loss, rise of bits per byte, steps, tokens, seconds."""
    quality = "–" if cost.quality is None else f"{cost.quality_before:z.2f} → {cost.quality:z.2f}"
    lost = "–" if cost.quality_loss is None else f"{cost.quality_loss:+.1%} {cost.quality_language}"
    steps = f"{cost.steps:.1f}" + (f" ({unmoved} of {of} unmoved)" if unmoved else "")
    tokens = "–" if cost.tokens is None else f"{cost.tokens:,.0f}"
    seconds = "–" if cost.seconds is None else f"{cost.seconds:.1f}"
    return [quality, lost, f"{cost.bits_rise:+.1%} {cost.bits_language}", steps, tokens, seconds]


def way_texts(way: WayRow) -> list[str]:
    """What a method and strategy have left over all sources, and what it cost: the cells of its line, behind its name."""
    left = [estimate_text(way.worst_language), estimate_text(way.mean)]
    return [*left, worst_source_text(way), *cost_texts(way.cost, way.unmoved, way.cells)]


def _way(way: WayRow, named: WayNames) -> list[str]:
    return [named(way.strategy, way.method), str(way.cells), *way_texts(way)]


def _row(row: MethodRow, named: WayNames) -> list[str]:
    left = [worst_language_text(row), estimate_text(row.mean)]
    return [
        get_language(row.source).name,
        named(row.strategy, row.method),
        str(row.seeds),
        *left,
        *cost_texts(row.cost, row.unmoved, row.seeds),
    ]


def _table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], left_out: Sequence[str] = ()) -> Table:
    """A table for a terminal."""
    table = Table(title=title, title_justify="left", box=box.SIMPLE, padding=(0, 1, 0, 0))
    shown = [at for at, name in enumerate(columns) if name not in (*_LEFT_OUT, *left_out)]
    for at in shown:
        # Names and figures wrap between words and are never cut.
        words = [word for text in (columns[at], *(row[at] for row in rows)) for word in text.split()]
        names = columns[at] in ("learned in", "unlearned with")
        longest = max(map(len, words))
        table.add_column(columns[at], width=longest if names else None, min_width=longest)
    for row in rows:
        # Text rather than strings: an interval's bracket is no markup.
        table.add_row(*(Text(row[at]) for at in shown))
    return table
