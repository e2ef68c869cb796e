"""The grid of reading comprehension: in the terminal, as Markdown and as JSON."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import fmean

from rich import box
from rich.console import Console
from rich.table import Table

from polyunlearn.files import write_json_atomically, write_text_atomically
from polyunlearn.intervals import Estimate, estimate
from polyunlearn.languages import get_language
from polyunlearn.report.tables import estimate_text, markdown_table
from polyunlearn.scoring.comprehension import WITHOUT, Reading


def gains(readings: Sequence[Reading]) -> dict[str, Estimate]:
    """What an article adds to the share of questions that are answered, over its being unread: in the language of the question, and in another (mean over
    these), also by whether both are written in one script, where a name can be copied; a story, with all its languages, is a cluster."""
    without = {own.asked: own.first for own in readings if own.read == WITHOUT}
    found = {}
    read = [own for own in readings if own.read != WITHOUT]
    others = [own for own in read if own.read != own.asked]
    for name, chosen in (
        ("in the same language", [own for own in read if own.read == own.asked]),
        ("in another language", others),
        ("in another language of the same script", [own for own in others if _one_script(own)]),
        ("in another script", [own for own in others if not _one_script(own)]),
    ):
        added = [[now - then for now, then in zip(own.first, without[own.asked], strict=True)] for own in chosen]
        if added:
            found[name] = estimate([fmean(values) for values in zip(*added, strict=True)])
    return found


def _one_script(reading: Reading) -> bool:
    return get_language(reading.read).script == get_language(reading.asked).script


def print_comprehension(readings: Sequence[Reading], console: Console) -> None:
    """Print the grid, a row for each language read, and what reading adds."""
    head, *rows = _grid(readings)
    table = Table(*head, title="Answers that rank first, by the language of the article and of the question", box=box.SIMPLE_HEAD)
    for row in rows:
        table.add_row(*row)
    console.print(table)
    for name, own in gains(readings).items():
        console.print(f"an article {name} adds {estimate_text(own)}", highlight=False)
    console.print(f"guessing gives {fmean(own.chance for own in readings):z.2f}", style="dim", highlight=False)


def write_comprehension_json(readings: Sequence[Reading], path: Path) -> None:
    """Write every answer as JSON, atomically."""
    data = {
        "schema": 1,
        "readings": [asdict(own) for own in readings],
        "gains": {name: asdict(own) for name, own in gains(readings).items()},
    }
    write_json_atomically(path, data)


def write_comprehension_markdown(readings: Sequence[Reading], model: str, path: Path) -> None:
    """Write the grid with its intervals as a Markdown document, atomically."""
    head, *rows = _grid(readings, intervals=True)
    added = [f"An article {name} adds {estimate_text(own)}." for name, own in gains(readings).items()]
    text = [
        "# Reading comprehension across languages",
        "",
        f"`{model}`: share of {len(readings[0].first)} newsroom questions whose answer ranks first among those of other stories, after the story's real article in the "
        f"language of the row, asked in that of the column. Guessing gives {fmean(own.chance for own in readings):z.2f}. Intervals (95 %) draw stories. Made by "
        "`polyunlearn comprehend`.",
        "",
        *markdown_table(head, rows),
        "",
        " ".join(added),
        "",
    ]
    write_text_atomically(path, "\n".join(text))


def _grid(readings: Sequence[Reading], *, intervals: bool = False) -> list[list[str]]:
    asked = list(dict.fromkeys(own.asked for own in readings))
    by_pair = {(own.read, own.asked): estimate(own.first, bounds=(0, 1)) for own in readings}
    rows = [["article in", *asked]]
    for read in dict.fromkeys(own.read for own in readings):
        values = [by_pair[read, tag] for tag in asked]
        name = "no article" if read == WITHOUT else get_language(read).name
        rows.append([name, *(estimate_text(own) if intervals else f"{own.mean:z.2f}" for own in values)])
    return rows
