"""LINGTEA's protocol: in the terminal, as Markdown and as JSON."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from polyunlearn.analysis.lingtea import PERPLEXITY, RISE, Cost, Figure, lingtea_costs, lingtea_figures
from polyunlearn.files import finite, write_json_atomically, write_text_atomically
from polyunlearn.intervals import Estimate
from polyunlearn.languages import get_language
from polyunlearn.lingtea.store import BEFORE, Results
from polyunlearn.lingtea.tasks import FORGET, HELD_OUT, RETAIN, TASKS, Facts
from polyunlearn.lingtea.ways import WAYS
from polyunlearn.report.tables import estimate_text, markdown_table

FIRST, EXACT = "first", "exact_memorisation"

SHOWN = {
    "facts": ((FORGET, FIRST), (FORGET, EXACT), (RETAIN, FIRST), (RETAIN, EXACT)),
    "texts": ((FORGET, EXACT), (RETAIN, EXACT), (HELD_OUT, EXACT)),
}
"""What stands in the table of a task, as means over languages."""

BY_LANGUAGE = {
    "facts": (*SHOWN["facts"], (HELD_OUT, PERPLEXITY)),
    "texts": (*SHOWN["texts"], (FORGET, PERPLEXITY), (RETAIN, PERPLEXITY), (HELD_OUT, PERPLEXITY)),
}

NAMES = {FIRST: "PA", EXACT: "MA", PERPLEXITY: "perplexity"}

READING = {
    "facts": "PA: share of facts whose answer ranks before all other candidates; MA: share of the answer's tokens that are the model's first choice, given those before.",
    "texts": "MA: share of a text's tokens that are the model's first choice, given those before; of texts held out, to which nothing was done, many are guessed too.",
}
BITS = (
    "Held out: sentences of FLORES-200 that are neither forgotten nor retained; bits: the rise of their bits per byte in the worst language. "
    "Most left: the language in which most of what is to be forgotten is left. A worst language is picked by its figure, and its interval does not draw which it is."
)


@dataclass(frozen=True)
class Found:
    """What a folder holds: on what it was run, the figures, and what the ways took."""

    run: Mapping[str, Any]
    figures: tuple[Figure, ...]
    costs: tuple[Cost, ...]

    @classmethod
    def of(cls, results: Results) -> "Found":
        """Read off the states that are there."""
        states = results.states()
        return cls(results.manifest()["lingtea"], tuple(lingtea_figures(states)), tuple(lingtea_costs(states)))

    @property
    def task(self) -> str:
        """The task's name."""
        return str(self.run["task"])

    def value(self, way: str, part: str, metric: str, language: str = "") -> Estimate | None:
        """A figure; None where it was not measured."""
        return next(
            (own.value for own in self.figures if (own.way, own.part, own.metric, own.language) == (way, part, metric, language)), None
        )

    def most(self, way: str, part: str, metric: str) -> tuple[str, Estimate] | None:
        """The language in which a figure is largest, and it; one that is no number, as of a model that has diverged, is larger than any."""
        own = {one.language: one.value for one in self.figures if (one.way, one.part, one.metric) == (way, part, metric) and one.language}
        worst = max(own, key=lambda tag: math.inf if math.isnan(own[tag].mean) else own[tag].mean, default=None)
        return None if worst is None else (worst, own[worst])


def print_lingtea(found: Found, console: Console) -> None:
    """Print a line a way."""
    head, *rows = _rows(found)
    table = Table(*head, title=_title(found), title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for row in rows:
        table.add_row(*map(Text, row))
    console.print(table)
    for sentence in (READING[found.task], BITS):
        console.print(sentence, style="dim", highlight=False)


def write_lingtea_json(found: Found, path: Path) -> None:
    """Write every figure as JSON, atomically."""
    data = {
        "schema": 1,
        "run": found.run,
        "figures": [asdict(own) for own in found.figures],
        "costs": [asdict(own) for own in found.costs],
    }
    write_json_atomically(path, finite(data))


def write_lingtea_markdown(found: Found, path: Path) -> None:
    """Write the table, and one by language, as a Markdown document, atomically."""
    run = found.run
    held = {name: found.value(BEFORE, part, EXACT) for name, part in (("to forget", FORGET), ("to retain", RETAIN), ("held out", HELD_OUT))}
    counts = ", ".join(f"{own.n} {'texts ' if name == 'held out' else ''}{name}" for name, own in held.items() if own)
    stop = f", until {run['patience']} epochs bring no lower score of what is to be forgotten" if run["patience"] else ""
    rows, by_language = _rows(found), _by_language(found)
    text = [
        f"# {_title(found)}",
        "",
        f"`{run['model']}`, {found.task}: {counts}; at most {run['steps']} steps of {run['batch']}{stop}, at a rate that falls to nothing; layers from "
        f"{run['from_layer']} on train. Made by `polyunlearn study lingtea`. {READING[found.task]} {BITS} Means over languages and seeds; intervals (95 %) draw "
        "seeds, and items, each with all its languages and seeds.",
        "",
        *markdown_table(rows[0], rows[1:]),
        "",
        "## By language",
        "",
        *markdown_table(by_language[0], by_language[1:]),
        "",
    ]
    write_text_atomically(path, "\n".join(text))


def _title(found: Found) -> str:
    what = "Real facts" if found.task == Facts.name else "Texts"
    return f"{what}, unlearned in {len(found.run['languages'])} languages"


def _rows(found: Found) -> list[list[str]]:
    shown = SHOWN[found.task]
    rows = [["way", *(f"{part}, {NAMES[metric]}" for part, metric in shown), "most left", "bits", "seeds", "steps", "minutes"]]
    for cost in found.costs:
        figures = [estimate_text(found.value(cost.way, part, metric)) for part, metric in shown]
        left, rise = found.most(cost.way, *shown[0]), found.most(cost.way, HELD_OUT, RISE)
        took = ["", ""] if cost.way == BEFORE else [str(len(cost.seeds)), f"{cost.steps:.0f}"]
        rows.append(
            [
                _name(found, cost.way),
                *figures,
                f"{left[1].mean:z.2f} {left[0]}" if left else "",
                f"{rise[1].mean:+.1%} [{rise[1].low:+.1%}, {rise[1].high:+.1%}] {rise[0]}" if rise else "",
                *took,
                f"{cost.minutes:.1f}",
            ]
        )
    return rows


def _by_language(found: Found) -> list[list[str]]:
    tags = list(found.run["languages"])
    rows = [["way", "of", *(get_language(tag).name for tag in tags)]]
    for cost in found.costs:
        for part, metric in BY_LANGUAGE[found.task]:
            own = [found.value(cost.way, part, metric, tag) for tag in tags]
            rows.append(
                [
                    _name(found, cost.way),
                    f"{part}, {NAMES[metric]}",
                    *(_perplexity(one) if metric == PERPLEXITY else estimate_text(one) for one in own),
                ]
            )
    return rows


def _perplexity(own: Estimate | None) -> str:
    return f"{own.mean:.3g} [{own.low:.3g}, {own.high:.3g}]" if own else "–"


def _name(found: Found, way: str) -> str:
    return way if way == BEFORE else f"{WAYS[way].title}, rate {WAYS[way].rate_for(TASKS[found.task].rate):g}"
