"""Scores of stored answers, and of what states know: in the terminal, as Markdown and as JSON."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from polyunlearn.analysis.rescoring import Score
from polyunlearn.files import write_json_atomically
from polyunlearn.report.metrics import CARDS
from polyunlearn.report.tables import estimate_text, markdown_table


def print_scores(scores: Sequence[Score], console: Console) -> None:
    """Print a table for each metric and kind of question: a line a cell, a column a language; and how many answers have no value."""
    for title, chosen in _groups(scores):
        table = Table(title=title, title_justify="left", box=box.SIMPLE, padding=(0, 1, 0, 0))
        tags = list(dict.fromkeys(own.language for own in chosen))
        table.add_column("cell", overflow="fold")
        for tag in tags:
            table.add_column(tag, justify="right", no_wrap=True)
        for cell in dict.fromkeys(own.cell for own in chosen):
            values = {own.language: own.value.mean for own in chosen if own.cell == cell and own.value}
            table.add_row(cell, *(f"{values[tag]:z.2f}" if tag in values else "" for tag in tags))
        console.print(table)
        if unscored := sum(own.unscored for own in chosen):
            console.print(f"{unscored} answers have no value: the judge gave no verdict that could be used", highlight=False)


def _groups(scores: Sequence[Score]) -> Iterator[tuple[str, list[Score]]]:
    """The scores of each metric and kind of question, with what they say."""
    cards = {card.name: card for card in CARDS}
    for key in dict.fromkeys((own.metric, own.of, own.asks) for own in scores):
        name, of, asks = key
        card, what = cards[name], "texts" if asks == "text" else f"{asks} questions"
        meaning = f"{card.better} is better" if asks == "real" else f"gold: {card.gold}"
        yield (
            f"{name}{f' ({of})' if of else ''}, {what}: {card.does} ({meaning})",
            [own for own in scores if (own.metric, own.of, own.asks) == key],
        )


def scores_markdown(scores: Sequence[Score]) -> str:
    """A table for each metric and kind of question as Markdown, with 95 % intervals."""
    lines: list[str] = []
    for title, chosen in _groups(scores):
        tags = list(dict.fromkeys(own.language for own in chosen))
        rows = []
        for cell in dict.fromkeys(own.cell for own in chosen):
            found = {own.language: own.value for own in chosen if own.cell == cell and own.value}
            rows.append([cell, *(estimate_text(found.get(tag)) for tag in tags)])
        lines += [f"**{title}**", "", *markdown_table(("cell", *tags), rows), ""]
    return "\n".join(lines)


def write_scores_json(scores: Sequence[Score], path: Path) -> None:
    """Write the scores with their 95 % intervals over stories as JSON, atomically."""
    write_json_atomically(path, {"schema": 1, "scores": [asdict(own) for own in scores]})
