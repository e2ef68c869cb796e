"""What tables of every report are written with: figures, estimates with their intervals, and Markdown."""

import math
from collections.abc import Sequence

from polyunlearn.intervals import Estimate


def places(value: float) -> str:
    """Two places, of which none says "-0.00"."""
    return f"{value:z.2f}"


def signed(value: float) -> str:
    """Two places with the sign; what rounds to 0 has none."""
    if math.isnan(value):
        return "no number"
    return f"{value:+.2f}" if abs(value) >= 0.005 else "0.00"


def estimate_text(own: Estimate | None) -> str:
    """An estimate with its interval; a dash where there is none."""
    return f"{places(own.mean)} [{places(own.low)}, {places(own.high)}]" if own else "–"


def markdown_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """The lines of a Markdown table."""
    lines = [columns, ["---"] * len(columns), *rows]
    return ["| " + " | ".join(plain(one) for one in line) + " |" for line in lines]


def plain(text: str) -> str:
    """A name as it can stand in a table or between backticks."""
    return " ".join(text.replace("|", "\\|").replace("`", "'").split())
