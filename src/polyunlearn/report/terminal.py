"""The report in the terminal: the spread matrix and the strategy table."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from polyunlearn.analysis.summary import CellFigures
from polyunlearn.analysis.tables import GROUPS, GroupCell, SpreadCell, StrategyRow, spread_matrix, strategy_table
from polyunlearn.languages import get_language

_STYLES = {"cleared": "green", "remains": "red", "not reached": "dim"}


def print_report(figures: Sequence[CellFigures], console: Console) -> None:
    """Print both tables; nothing for a part of the study that is not there yet."""
    matrix = spread_matrix(figures)
    if matrix:
        console.print(_spread_table(matrix))
    rows = strategy_table(figures)
    if rows:
        console.print(_strategies(rows))


def _spread_table(matrix: Sequence[Sequence[SpreadCell]]) -> Table:
    table = Table(title="Where it spreads: share of stories whose false name ranks first (learned ← base)", title_justify="left")
    table.add_column("learned in")
    for cell in matrix[0]:
        table.add_column(cell.language, justify="right")
    for line in matrix:
        texts = [
            Text(
                f"{cell.learned:.2f} ← {cell.base:.2f}",
                style="bold red" if cell.reached == cell.seeds else "yellow" if cell.reached else "dim",
            )
            for cell in line
        ]
        table.add_row(get_language(line[0].source).name, *texts)
    table.caption = "bold: learning reached this language (above base beyond the 95 % interval, in every seed)"
    return table


def _strategies(rows: Sequence[StrategyRow]) -> Table:
    table = Table(title="Unlearning: what is left, as a share of what learning added", title_justify="left")
    for name in ("learned in", "unlearned in", *GROUPS, "real quality in English", "largest drop", "steps", "tokens"):
        table.add_column(name)
    for row in rows:
        table.add_row(
            get_language(row.source).name,
            row.strategy,
            *(_verdict(group) for group in row.groups),
            Text(f"{row.real_quality_en:.2f} ← {row.real_quality_en_before:.2f}"),
            Text(
                "collapsed" if row.collapse else f"{row.worst_quality_drop:.2f} ({row.worst_quality_language})",
                style="bold red" if row.collapse else "",
            ),
            str(row.steps),
            str(row.tokens),
        )
    return table


def _verdict(group: GroupCell) -> Text:
    left = "" if group.residual is None else f" {group.residual:.2f}"
    return Text(group.verdict + left, style=_STYLES[group.verdict])
