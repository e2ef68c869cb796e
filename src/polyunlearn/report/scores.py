"""Scores of stored answers: in the terminal and as JSON."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from polyunlearn.analysis.rescoring import Score
from polyunlearn.files import write_json_atomically
from polyunlearn.report.metrics import CARDS


def print_scores(scores: Sequence[Score], console: Console) -> None:
    """Print a table for each metric and kind of question: a line a cell, a column a language; and how many answers have no value."""
    cards = {card.name: card for card in CARDS}
    for name, asks in dict.fromkeys((own.metric, own.asks) for own in scores):
        card, chosen = cards[name], [own for own in scores if (own.metric, own.asks) == (name, asks)]
        meaning = f"gold: {card.gold}" if asks == "fake" else f"{card.better} is better"
        title = f"{name}, {asks} questions: {card.does} ({meaning})"
        table = Table(title=title, title_justify="left", box=box.SIMPLE, padding=(0, 1, 0, 0))
        tags = list(dict.fromkeys(own.language for own in chosen))
        table.add_column("cell", overflow="fold")
        for tag in tags:
            table.add_column(tag, justify="right", no_wrap=True)
        for cell in dict.fromkeys(own.cell for own in chosen):
            values = {own.language: own.value.mean for own in chosen if own.cell == cell and own.value}
            table.add_row(cell, *(f"{values[tag]:.2f}" if tag in values else "" for tag in tags))
        console.print(table)
        if unscored := sum(own.unscored for own in chosen):
            console.print(f"{unscored} answers have no value: the judge gave no verdict that could be used", highlight=False)


def write_scores_json(scores: Sequence[Score], path: Path) -> None:
    """Write the scores with their 95 % intervals over stories as JSON, atomically."""
    write_json_atomically(path, {"schema": 1, "scores": [asdict(own) for own in scores]})
