"""What tables of every report are written with: estimates with their intervals, and Markdown."""

from collections.abc import Sequence

from polyunlearn.intervals import Estimate


def estimate_text(own: Estimate | None) -> str:
    """An estimate with its interval, to two places of which none says "-0.00"; a dash where there is none."""
    return f"{own.mean:z.2f} [{own.low:z.2f}, {own.high:z.2f}]" if own else "–"


def markdown_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """The lines of a Markdown table."""
    lines = [columns, ["---"] * len(columns), *rows]
    return ["| " + " | ".join(plain(one) for one in line) + " |" for line in lines]


def plain(text: str) -> str:
    """A name as it can stand in a table or between backticks."""
    return " ".join(text.replace("|", "\\|").replace("`", "'").split())
