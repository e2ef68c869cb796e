"""A study's plan in the terminal."""

from rich.console import Console
from rich.table import Table

from polyunlearn.study.plan import StudyPlan


def print_plan(plan: StudyPlan, console: Console) -> None:
    """Print every cell with its tokens and estimated time, and the totals."""
    table = Table("cell", "training tokens", "scoring tokens", "about")
    for column in table.columns[1:]:
        column.justify = "right"
    for cell in plan.cells:
        table.add_row(cell.id, f"{cell.training_tokens:,}", f"{cell.scoring_tokens:,}", duration(cell.seconds))
    console.print(table)
    console.print(
        f"{len(plan.cells)} cells, about {duration(plan.seconds)} on this machine ({plan.rate / 1e9:.0f} GFLOP/s measured), "
        f"about {plan.memory_bytes / 2**30:.1f} GiB of memory ({plan.memory_free / 2**30:.1f} GiB free)",
        highlight=False,
    )


def duration(seconds: float) -> str:
    """Seconds as a person says them."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
