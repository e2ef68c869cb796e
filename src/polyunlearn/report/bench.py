"""The figures of a benchmark, in the terminal and as JSON."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from polyunlearn.bench.run import Figure
from polyunlearn.files import write_text_atomically


def print_bench(figures: Sequence[Figure], console: Console) -> None:
    """One line a case: seconds of both ways, their ratio, the share of the matrix rate, peak memory."""
    table = Table(box=box.SIMPLE, padding=(0, 1, 0, 0))
    table.add_column("case")
    for title in ("usual s", "ours s", "ratio", "of rate", "GiB", "differ by"):
        table.add_column(title, justify="right", no_wrap=True)
    for figure in figures:
        table.add_row(
            figure.name,
            f"{figure.usual_seconds:z.2f}",
            f"{figure.ours_seconds:z.2f}",
            f"{figure.ratio:.1f}x",
            f"{figure.gemm_share:.0%}",
            f"{figure.peak_bytes_usual / 2**30:.1f} → {figure.peak_bytes_ours / 2**30:.1f}",
            "–" if figure.max_abs_difference is None else f"{figure.max_abs_difference:.0e}",
        )
    table.caption = "of rate: share of the matrix-product rate measured beside it; –: ours leaves tokens out of the softmax"
    console.print(table)


def write_bench(figures: Sequence[Figure], path: Path) -> None:
    """The same as JSON, in full precision."""
    write_text_atomically(path, json.dumps({"figures": [asdict(figure) for figure in figures]}, indent=2) + "\n")
