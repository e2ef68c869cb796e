"""The grid of reading comprehension, and what teaching changes in it: in the terminal, as Markdown and as JSON."""

from collections.abc import Sequence
from dataclasses import asdict
from itertools import combinations
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table

from polyunlearn.analysis.clusters import ALL_OR_NOTHING, EITHER_WAY, Array, mean_over
from polyunlearn.comprehension.asking import WITHOUT, Reading
from polyunlearn.comprehension.teaching import Lesson
from polyunlearn.files import write_json_atomically, write_text_atomically
from polyunlearn.intervals import Estimate, estimate
from polyunlearn.languages import get_language
from polyunlearn.report.tables import estimate_text, markdown_table, places

BEFORE = "before"


def gains(readings: Sequence[Reading]) -> dict[str, Estimate]:
    """What an article adds to the share of questions that are answered, over its being unread: in the language of the question, and in another (mean over
    these), also by whether both are written in one script, where a name can be copied; a story, with all its languages, is a cluster."""
    without = {own.asked: own.first for own in readings if own.read == WITHOUT}
    found = {}
    for name, chosen in _by_relation(readings).items():
        added = [[now - then for now, then in zip(own.first, without[own.asked], strict=True)] for own in chosen]
        found[name] = estimate([fmean(values) for values in zip(*added, strict=True)], bounds=EITHER_WAY)
    return found


def _by_relation(readings: Sequence[Reading]) -> dict[str, list[Reading]]:
    """Readings with an article by how its language and that of the question stand to each other; what there is none of is left out."""
    read = [own for own in readings if own.read != WITHOUT]
    others = [own for own in read if own.read != own.asked]
    groups = {
        "in the same language": [own for own in read if own.read == own.asked],
        "in another language": others,
        "in another language of the same script": [own for own in others if _one_script(own)],
        "in another script": [own for own in others if not _one_script(own)],
    }
    return {name: chosen for name, chosen in groups.items() if chosen}


def _groups(readings: Sequence[Reading]) -> dict[str, list[Reading]]:
    """The same, then by the language of the article and by that of the question, and at the end without an article."""
    read = [own for own in readings if own.read != WITHOUT]
    names = {tag: get_language(tag).name for tag in dict.fromkeys(own.read for own in read)}
    return {
        **_by_relation(readings),
        **{f"in {name}": [own for own in read if own.read == tag] for tag, name in names.items()},
        **{f"in any, asked in {name}": [own for own in read if own.asked == tag] for tag, name in names.items()},
        "none": [own for own in readings if own.read == WITHOUT],
    }


def _one_script(reading: Reading) -> bool:
    return get_language(reading.read).script == get_language(reading.asked).script


def lesson_figures(lesson: Lesson) -> dict[str, dict[str, Estimate]]:
    """By groups of readings, named by their articles: the share of questions that are answered before and after each way of teaching, and the differences of
    any two of these.

    Means over seeds, stories and the group's pairs of languages. All seeds are asked about the same stories, so a story with all seeds is a cluster, and a
    draw draws seeds too; before there is one state.
    """
    states = {BEFORE: [lesson.before]}
    for own in lesson.after:
        states.setdefault(own.way, []).append(own.readings)
    seeds = [seed for seed in lesson.teaching.seeds for _ in lesson.before[0].first]
    found = {}
    for name in _groups(lesson.before):
        values = {state: _by_story([_groups(readings)[name] for readings in own]) for state, own in states.items()}
        found[name] = {state: _mean(own, seeds[: len(own)], ALL_OR_NOTHING) for state, own in values.items()}
        for earlier, later in combinations(values, 2):
            # The one state before stands against every seed.
            apart = values[later] - np.resize(values[earlier], len(seeds))
            found[name][f"{later} − {earlier}"] = _mean(apart, seeds, EITHER_WAY)
    return found


def _by_story(seeds: Sequence[Sequence[Reading]]) -> Array:
    """The mean of some readings of each story, one seed after another."""
    return np.concatenate([np.mean([own.first for own in readings], axis=0) for readings in seeds])


def _mean(values: Array, seeds: Sequence[int], bounds: tuple[float, float]) -> Estimate:
    return mean_over(values, seeds, shared=True, bounds=bounds)


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


def print_lesson(lesson: Lesson, console: Console) -> None:
    """Print what is answered before and after teaching, a row for each group of readings, and how far that is apart where the languages of article and
    question stand to each other in a like way. The intervals of the others, for which a terminal has no room, are in Markdown and JSON."""
    figures, states = lesson_figures(lesson), (BEFORE, *lesson.teaching.ways)
    table = Table("article", *states, title=f"The same before and after teaching ({_seeds(lesson)})", box=box.SIMPLE_HEAD)
    for name, own in figures.items():
        table.add_row(name, *(places(own[state].mean) for state in states))
    console.print(table)
    for name in _by_relation(lesson.before):
        for apart in (apart for apart in figures[name] if apart not in states):
            console.print(f"{apart}, article {name}: {estimate_text(figures[name][apart])}", highlight=False)


def write_comprehension_json(readings: Sequence[Reading], path: Path, lesson: Lesson | None = None) -> None:
    """Write every answer as JSON, atomically, with those after teaching where there was any."""
    data: dict[str, Any] = {
        "schema": 1,
        "readings": [asdict(own) for own in readings],
        "gains": {name: asdict(own) for name, own in gains(readings).items()},
    }
    if lesson:
        figures = {name: {state: asdict(own) for state, own in part.items()} for name, part in lesson_figures(lesson).items()}
        data |= {"teaching": asdict(lesson.teaching), "taught": [asdict(own) for own in lesson.after], "figures": figures}
    write_json_atomically(path, data)


def write_comprehension_markdown(readings: Sequence[Reading], model: str, path: Path, lesson: Lesson | None = None) -> None:
    """Write the grid with its intervals as a Markdown document, atomically, and what teaching changed where there was any."""
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
    write_text_atomically(path, "\n".join([*text, *(_lesson_lines(lesson) if lesson else ())]))


def _lesson_lines(lesson: Lesson) -> list[str]:
    own, figures = lesson.teaching, lesson_figures(lesson)
    rows = [[name, *map(estimate_text, part.values())] for name, part in figures.items()]
    extra = " The teachers of branches took as many exercises again between them." if "branches" in own.ways else ""
    return [
        "## Before and after teaching",
        "",
        f"Share of the same questions whose answer ranks first, after {own.steps} steps of {own.batch} exercises from {own.stories} other stories at rate {own.rate:g} "
        f"({_seeds(lesson)}). Intervals (95 %) draw stories, each with all seeds, and seeds.{extra}",
        "",
        *markdown_table(["article", *figures["none"]], rows),
        "",
    ]


def _seeds(lesson: Lesson) -> str:
    return "1 seed" if len(lesson.teaching.seeds) == 1 else f"{len(lesson.teaching.seeds)} seeds"


def _grid(readings: Sequence[Reading], *, intervals: bool = False) -> list[list[str]]:
    asked = list(dict.fromkeys(own.asked for own in readings))
    by_pair = {(own.read, own.asked): estimate(own.first, bounds=(0, 1)) for own in readings}
    rows = [["article in", *asked]]
    for read in dict.fromkeys(own.read for own in readings):
        values = [by_pair[read, tag] for tag in asked]
        name = "no article" if read == WITHOUT else get_language(read).name
        rows.append([name, *(estimate_text(own) if intervals else f"{own.mean:z.2f}" for own in values)])
    return rows
