"""A study's plan in the terminal."""

from rich.console import Console
from rich.table import Table

from polyunlearn.analysis.power import CORRELATION, DIFFERENCE, Spread, seeds_needed, stories_needed, worst_case
from polyunlearn.study.plan import StudyPlan


def print_plan(plan: StudyPlan, console: Console, spread: Spread | None = None) -> None:
    """Print every cell with its tokens and estimated time, the totals, and how many stories a claim takes.

    `spread` is how paired differences spread in a finished study; the worst case where none is given.
    """
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
    console.print(power_line(plan, spread), highlight=False)


def power_line(plan: StudyPlan, spread: Spread | None) -> str:
    """How many stories, and in each of the plan's seeds where these have their own, it takes to tell two states apart."""
    own = spread or worst_case()
    seeds = sum(cell.id.startswith("base-") for cell in plan.cells)
    total = stories_needed(own.stories)
    known = (
        f"measured spread {own.stories:z.2f} between stories, {'unknown' if own.seeds is None else f'{own.seeds:z.2f}'} between seeds"
        if spread
        else f"worst case, correlation {CORRELATION:g}"
    )
    each = f", {-(-total // seeds):,} in each of {seeds} seeds" if seeds > 1 and not plan.stories_are_shared else ""
    more = f"; as seeds differ, at least {seeds_needed(own, total)} seeds, even of that many stories each" if own.seeds else ""
    return f"a difference of {DIFFERENCE:g} between two states takes {total:,} stories{each} to be found (paired, 80 % power, 5 % level, {known}){more}"


def duration(seconds: float) -> str:
    """Seconds as a person says them."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
