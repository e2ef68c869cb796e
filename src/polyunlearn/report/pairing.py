"""Two studies set against each other: in the terminal, as Markdown and as JSON."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from polyunlearn.analysis.pairing import MEAN, METRICS, WORST, CellComparison, Difference, StudyComparison, compare_studies
from polyunlearn.analysis.power import DIFFERENCE, stories_needed
from polyunlearn.files import finite, write_text_atomically
from polyunlearn.report.tables import markdown_table, signed
from polyunlearn.study.store import Store

_ALL = ("cell", "asked in", "A", "B", "B − A", "p", "Holm", "stands")

READING = (
    "In brackets: 95 % interval, drawing seeds and their stories, a story with all its wordings and languages as one cluster; of the stories of a corpus "
    "file, which all seeds share, stories alone, so that it says nothing of other seeds. p: exchanging what A and "
    "B measured of a story, which takes stories as independent and says nothing of other seeds. Holm: p adjusted for all comparisons of the "
    "metric. A difference stands where its interval excludes 0 and the adjusted p is at most .05; where none does, the studies may still differ by "
    "as much as the intervals reach."
)


def build_pairing(a: Path, b: Path, console: Console, json_file: Path | None, markdown_file: Path | None) -> None:
    """Compare two studies; print it, and write it where files are given. Raises `UserError` where they have nothing in common."""
    found = compare_studies(Store(a), Store(b))
    print_pairing(found, console)
    if json_file:
        write_text_atomically(json_file, pairing_json(found))
    if markdown_file:
        write_text_atomically(markdown_file, pairing_markdown(found, str(a), str(b)))


def print_pairing(found: StudyComparison, console: Console) -> None:
    """Print, metric by metric, every cell's mean and worst language, and in which query languages the difference stands."""
    for metric, cells in _by_metric(found):
        table = Table(title=f"{metric}: A → B and B − A", title_justify="left", box=box.SIMPLE, padding=(0, 1, 0, 0))
        for name in ("cell", "mean over languages", "worst language", "stands in"):
            table.add_column(name)
        for cell in cells:
            by_language = {own.language: own for own in cell.differences}
            standing = ", ".join(own.language for own in cell.differences if own.stands) or "–"
            # Text rather than strings: an interval's bracket is no markup.
            table.add_row(*map(Text, (cell.name, _change(by_language[MEAN]), _change(by_language[WORST]), standing)))
        console.print(table)
    for line in (*found.notes, *_needed(found), READING):
        console.print(line, style="dim", highlight=False, markup=False)


def pairing_markdown(found: StudyComparison, a: str, b: str) -> str:
    """Every comparison as a Markdown document."""
    lines = ["# Two studies", "", f"A: `{a}` ({found.a}). B: `{b}` ({found.b}). Made by `polyunlearn compare`.", "", READING, ""]
    lines += [f"- {note}" for note in (*found.notes, *_needed(found))]
    for metric, cells in _by_metric(found):
        rows = [[_named(cell), *_texts(own)] for cell in cells for own in cell.differences]
        lines += ["", f"## {metric[0].upper()}{metric[1:]}", "", *markdown_table(_ALL, rows)]
    return "\n".join(lines) + "\n"


def pairing_json(found: StudyComparison) -> str:
    """The same in full precision."""
    data = asdict(found)
    for cell, own in zip(data["cells"], found.cells, strict=True):
        for difference, value in zip(cell["differences"], own.differences, strict=True):
            difference["stands"] = value.stands
    return json.dumps(finite({"schema": 1, **data}), indent=1, ensure_ascii=False) + "\n"


def _by_metric(found: StudyComparison) -> list[tuple[str, list[CellComparison]]]:
    parts = [(metric.name, [cell for cell in found.cells if cell.metric == metric.name]) for metric in METRICS]
    return [part for part in parts if part[1]]


def _named(cell: CellComparison) -> str:
    """The cell with what was compared of it."""
    sizes = f"{cell.stories_a} stories" if cell.paired else f"{cell.stories_a} and {cell.stories_b} other stories, not paired"
    return f"{cell.name} ({sizes})"


def _change(own: Difference) -> str:
    where = "" if own.worst_languages is None else f" in {' → '.join(dict.fromkeys(own.worst_languages))}"
    return f"{own.a:.2f} → {own.b:.2f}{where}: {_difference(own)}"


def _difference(own: Difference) -> str:
    interval = "" if own.low is None or own.high is None else f" [{signed(own.low)}, {signed(own.high)}]"
    return signed(own.difference) + interval


def _texts(own: Difference) -> list[str]:
    where = own.language if own.worst_languages is None else f"{own.language} ({' → '.join(own.worst_languages)})"
    p_values = ["–" if value is None else f"{value:.4f}" for value in (own.p, own.adjusted)]
    return [where, f"{own.a:.2f}", f"{own.b:.2f}", _difference(own), *p_values, "yes" if own.stands else ""]


def _needed(found: StudyComparison) -> Sequence[str]:
    """How many stories a pairing like these takes to find a small difference, where the fake ranks differ at all."""
    spreads = [cell.spread for cell in found.cells if cell.metric == METRICS[0].name and cell.spread]
    if not spreads:
        return []
    widest = max(spreads)
    return [
        f"to find a difference of {DIFFERENCE:g} in the fake rank of a language takes {stories_needed(widest):,} stories, or more where seeds differ by themselves: "
        f"within seeds paired differences spread by {widest:.2f} (standard deviation) where they spread most; 80 % power, 5 % level, not adjusted for several comparisons"
    ]
