"""Accuracy on questions in mixed languages: in the terminal, as Markdown and as JSON."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from polyunlearn.barriers.accuracy import ALL, SCORES, Barriers, Figure
from polyunlearn.barriers.mixed import TRANSLATED, VARIANTS
from polyunlearn.files import write_json_atomically, write_text_atomically
from polyunlearn.languages import get_language
from polyunlearn.report.tables import estimate_text, markdown_table

_FIGURES = ("accuracy", "chance", "swapped", "drop", "net drop")
READING = (
    "swapped: the same options behind another fact's question, which the score can pick by their language, form and frequency alone; drop: English less "
    "the variant; net drop: the same of accuracy less swapped, so what is lost of what the model knows"
)


def print_barriers(found: Barriers, console: Console) -> None:
    """Print for each score a line a variant, over all languages, and the net drop in each."""
    for score, does in SCORES.items():
        own = [figure for figure in found.figures if figure.score == score]
        apart = {(figure.language, figure.variant): figure for figure in own if figure.language in found.languages[1:]}
        console.print(_variants(f"{score}: {does}", [figure for figure in own if figure not in apart.values()]))
        if len(found.languages) > 2:
            console.print(_languages(f"{score}: net drop by language", found.languages[1:], apart))
    for line in (f"{READING}; bold: the interval over facts lies above 0", *_left_out(found)):
        console.print(line, style="dim", highlight=False, markup=False)


def write_barriers_json(found: Barriers, path: Path) -> None:
    """Write every figure as JSON in full precision, atomically."""
    write_json_atomically(path, {"schema": 1, **asdict(found)})


def write_barriers_markdown(found: Barriers, path: Path) -> None:
    """Write every figure, and what variants and scores are, as Markdown, atomically."""
    lines = [
        "# Knowledge barriers",
        "",
        f"Model `{found.model}` ({found.fingerprint}), asked in {', '.join(found.languages)}. Made by `polyunlearn barriers`.",
        "",
        *(f"- `{variant.name}` {variant.does}." for variant in VARIANTS),
        "",
        f"{READING}. In brackets 95 % intervals over facts; `{ALL}`: a fact's value is its mean over the languages.",
        "",
    ]
    for score, does in SCORES.items():
        rows = [[own.variant, own.language, str(own.accuracy.n), *_texts(own)] for own in found.figures if own.score == score]
        lines += [f"## {score}", "", f"The {does}.", "", *markdown_table(("variant", "language", "facts", *_FIGURES), rows), ""]
    write_text_atomically(path, "\n".join([*lines, *_left_out(found)]).rstrip("\n") + "\n")


def _variants(title: str, figures: Sequence[Figure]) -> Table:
    table = _table(title, ("variant", *_FIGURES), f"{figures[0].accuracy.n} facts")
    for own in figures:
        *texts, net = _texts(own)
        table.add_row(own.variant, *texts, _styled(own, net))
    return table


def _languages(title: str, tags: Sequence[str], apart: dict[tuple[str, str], Figure]) -> Table:
    names = [variant.name for variant in TRANSLATED]
    table = _table(title, ("language", *(name.replace("+", " + ") for name in names)), "")
    for tag in tags:
        cells = [apart[tag, name] for name in names]
        table.add_row(get_language(tag).name, *(_styled(own, f"{own.net_drop.mean:+z.2f}") for own in cells))
    return table


def _table(title: str, columns: Sequence[str], caption: str) -> Table:
    table = Table(title=title, title_justify="left", caption=caption or None, box=box.SIMPLE, padding=(0, 1, 0, 0))
    for name in columns:
        # Estimates may take two lines where the terminal is narrow; a name cut short says nothing.
        table.add_column(name, no_wrap=name == columns[0])
    return table


def _styled(own: Figure, text: str) -> Text:
    return Text(text, style="bold red" if own.net_drop.low > 0 else "")


def _texts(own: Figure) -> list[str]:
    return [
        estimate_text(own.accuracy),
        f"{own.chance:z.2f}",
        f"{own.swapped:z.2f}",
        estimate_text(own.drop),
        estimate_text(own.net_drop),
    ]


def _left_out(found: Barriers) -> list[str]:
    """What could not be asked, where there is any."""
    counts = ", ".join(f"{count} in {tag}" for tag, count in found.left_out.items())
    return (
        [f"Left out, having no English edition, no distractors, not as many as that, or two options that are one word: {counts}."]
        if counts
        else []
    )
