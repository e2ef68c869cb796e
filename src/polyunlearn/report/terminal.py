"""The report in the terminal: the spread matrix and the strategy table."""

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from polyunlearn.analysis.summary import CellFigures
from polyunlearn.analysis.tables import GroupCell, SpreadCell, StrategyRow, WayNames, choices, spread_matrix, strategy_table, traces
from polyunlearn.languages import get_language
from polyunlearn.study.cells import Cell

_STYLES = {"cleared": "green", "collapsed": "bold red", "not settled": "yellow", "remains": "red", "not reached": "dim"}


def print_report(figures: Sequence[CellFigures], console: Console) -> None:
    """Print both tables; nothing for a part of the study that is not there yet."""
    matrix = spread_matrix(figures)
    if matrix:
        console.print(_spread_table(matrix))
    rows = strategy_table(figures)
    if rows:
        console.print(_strategies(rows))
    for learned, method, trace in traces(figures):
        console.print(
            f"{_of(learned)}{', ' if method else ''}{method}: traced to {_names(trace.living) or 'no language'}; "
            f"unlearned in {_names(trace.chosen)}",
            markup=False,
            highlight=False,
        )
    for cell, choice in choices(figures):
        console.print(f"{_of(cell)}, {cell.strategy}, {cell.method}: unlearned in {_names(choice.chosen)}", markup=False, highlight=False)


def _of(cell: Cell) -> str:
    return f"{get_language(str(cell.source)).name} claims, seed {cell.seed}"


def _spread_table(matrix: Sequence[Sequence[SpreadCell]]) -> Table:
    table = Table(
        title="Where it spreads: share of stories whose false name ranks first", title_justify="left", box=box.SIMPLE, padding=(0, 1)
    )
    table.add_column("learned in")
    for cell in matrix[0]:
        table.add_column(cell.language, justify="right")
    table.add_row("nothing (base)", *(f"{cell.base:z.2f}" for cell in matrix[0]))
    for line in matrix:
        styles = ["bold red" if cell.reached == cell.seeds else "yellow" if cell.reached else "dim" for cell in line]
        table.add_row(
            get_language(line[0].source).name, *(Text(f"{c.learned:z.2f}", style=style) for c, style in zip(line, styles, strict=True))
        )
    table.caption = "bold: reached, that is above base beyond the 95 % interval in every seed"
    return table


def _strategies(rows: Sequence[StrategyRow]) -> Table:
    named = WayNames.of([row.strategy for row in rows], [row.method for row in rows])
    names = [named(row.strategy, row.method) for row in rows]
    title = f"Unlearning{f' in {named.common}' if named.common else ''}: what is left, as a share of what learning added"
    table = Table(title=title, title_justify="left", box=box.SIMPLE, padding=(0, 1, 0, 0))
    table.add_column("learned in")
    # A word is never cut: "english" and "english+source" are told apart by their ends.
    table.add_column(
        "unlearned with" if named.several_methods else "unlearned in", min_width=max(len(word) for name in names for word in name.split())
    )
    for name in ("English", "source", "other high", "low", "real quality"):
        table.add_column(name)
    for row, name in zip(rows, names, strict=True):
        quality = f"{row.real_quality_en_before:z.2f} → {row.real_quality_en:z.2f}"
        table.add_row(
            get_language(row.source).name,
            Text.assemble(name, (" collapsed", "bold red") if row.collapse else ""),
            *(_verdict(group) for group in row.groups),
            Text(quality, style="bold red" if row.collapse else ""),
        )
    steps = sorted({row.steps for row in rows})
    taken = f"{steps[0]} steps each" if len(steps) == 1 else f"{steps[0]} to {steps[-1]} steps"
    table.caption = f"{taken}; real quality in English, learned → unlearned; the report has the rest"
    return table


def _names(tags: Sequence[str]) -> str:
    return ", ".join(get_language(tag).name for tag in tags)


def _verdict(group: GroupCell) -> Text:
    if group.residual is None:
        return Text("–", style="dim")
    return Text(f"{group.verdict} {group.residual.mean:z.2f}", style=_STYLES[group.verdict])
