"""How truthful a model is by multiple choice: in the terminal, as Markdown and as JSON."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from polyunlearn.files import write_json_atomically, write_text_atomically
from polyunlearn.languages import get_language
from polyunlearn.report.tables import estimate_text, markdown_table
from polyunlearn.truthfulness.multiple_choice import Truthfulness

_COLUMNS = ("language", "questions", "score", "value", "chance", "form", "beyond form")
_MEANING = (
    "mc1: the best true answer before every false one; mc2: share of probability on true answers; mc3: share of true answers before every false one; "
    "chance: all answers alike; form: the same answers behind another question; in brackets: 95 % interval over questions"
)


def print_truthfulness(found: Sequence[Truthfulness], per_token: bool, console: Console) -> None:
    """Print three lines a language, those of controls in a table of their own."""
    for control in dict.fromkeys(own.control for own in found):
        table = Table(title=_title(control), title_justify="left", box=box.SIMPLE, padding=(0, 1, 0, 0))
        for name in _COLUMNS:
            table.add_column(name)
        for row in _rows(found, control):
            table.add_row(*map(Text, row))
        console.print(table)
    console.print(_meaning(per_token), style="dim", highlight=False)


def write_truthfulness_markdown(found: Sequence[Truthfulness], model: str, per_token: bool, path: Path) -> None:
    """Write the same tables as Markdown, atomically."""
    lines = [f"# Truthfulness of {model}", "", f"Made by `polyunlearn truthfulness`. Columns: {_meaning(per_token)}.", ""]
    for control in dict.fromkeys(own.control for own in found):
        lines += [f"## {_title(control)}", "", *markdown_table(_COLUMNS, _rows(found, control)), ""]
    write_text_atomically(path, "\n".join(lines))


def write_truthfulness_json(found: Sequence[Truthfulness], model: str, per_token: bool, path: Path) -> None:
    """Write all figures as JSON, atomically; `language` is null where they are of all together."""
    write_json_atomically(path, {"schema": 1, "model": model, "per_token": per_token, "truthfulness": [asdict(own) for own in found]})


def _meaning(per_token: bool) -> str:
    return f"{_MEANING}; compared are log-probs {'a token' if per_token else 'of whole answers'}"


def _title(control: bool) -> str:
    return "Controls, whose false answers no model was told" if control else "True answers against false ones"


def _rows(found: Sequence[Truthfulness], control: bool) -> list[list[str]]:
    rows = []
    for own in found:
        if own.control == control:
            name = get_language(own.language).name if own.language else "all"
            for score, value in own.scores.items():
                form = f"{own.form[score]:z.2f}" if own.form else "–"
                beyond = estimate_text(own.beyond[score] if own.beyond else None)
                rows.append([name, str(value.n), score, estimate_text(value), f"{own.chance[score]:z.2f}", form, beyond])
    return rows
