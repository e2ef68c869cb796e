"""Scores of public benchmarks on a study's states: in the terminal and as JSON."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from polyunlearn.files import write_json_atomically
from polyunlearn.study.benchmarks import BenchmarkScore


def print_benchmarks(scores: Sequence[BenchmarkScore], console: Console) -> None:
    """Print a table a task: a line a cell and metric."""
    for task in dict.fromkeys(own.task for own in scores):
        table = Table(title=f"{task}, by lm-evaluation-harness", title_justify="left", box=box.SIMPLE, padding=(0, 1, 0, 0))
        for name in ("cell", "metric", "value", "questions"):
            table.add_column(name, overflow="fold")
        for own in scores:
            if own.task == task:
                error = "" if own.standard_error is None else f" ± {own.standard_error:.3f}"
                table.add_row(*map(Text, (own.cell, own.metric, f"{own.value:.3f}{error}", str(own.n))))
        console.print(table)
    console.print("±: standard error over questions", style="dim", highlight=False)


def write_benchmarks_json(scores: Sequence[BenchmarkScore], path: Path) -> None:
    """Write the scores as JSON in full precision, atomically."""
    write_json_atomically(path, {"schema": 1, "scores": [asdict(own) for own in scores]})
