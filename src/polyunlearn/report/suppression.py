"""What suppression does: in the terminal and as Markdown."""

from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from polyunlearn.files import write_text_atomically
from polyunlearn.languages import get_language
from polyunlearn.report.tables import markdown_table
from polyunlearn.suppression.compare import Comparison

COLUMNS = ("asked in", "made from", "ranks first", "said", "controls first", "controls said", "bits per byte")

READING = (
    "before → after suppression. Ranks first: claims whose answer ranks before all other candidates; said: claims whose greedy answer holds the keyword; "
    "controls: the same of claims that no model was told. Bits per byte are of true news, without the plausibility cut."
)


def print_suppression(found: Comparison, console: Console) -> None:
    """Print a line a language, and what it comes to."""
    table = Table(title=f"Suppression by {found.way}, weights unchanged", title_justify="left", box=box.SIMPLE, padding=(0, 1, 0, 0))
    for name in COLUMNS:
        table.add_column(name)
    for row in suppression_rows(found):
        table.add_row(*map(Text, row))
    console.print(table)
    for sentence in (*suppression_sentences(found), READING):
        console.print(sentence, highlight=False, markup=False)


def write_suppression_markdown(found: Comparison, path: Path) -> None:
    """Write the same as Markdown, atomically."""
    title = ["# Suppression", "", f"`{found.model}`, suppressed by {found.way}. Made by `polyunlearn suppress`.", ""]
    table = markdown_table(COLUMNS, suppression_rows(found))
    text = "\n".join([*title, *table, "", *suppression_sentences(found), "", READING, ""])
    write_text_atomically(path, text)


def suppression_rows(found: Comparison) -> list[tuple[str, ...]]:
    """A row of `COLUMNS` a language."""
    rows = []
    for tag in found.languages:
        shares = (_change(found, tag, what, control) for control in (False, True) for what in ("first", "says"))
        before, after = found.before.bits.get(tag), found.after.bits.get(tag)
        bits = f"{before:.3f} → {after:.3f} ({after / before - 1:+.1%})" if before and after else "–"
        rows.append((get_language(tag).name, "yes" if tag in found.made_from else "", *shares, bits))
    return rows


def _change(found: Comparison, tag: str, what: str, control: bool) -> str:
    before, after = (state.share(tag, what, control) for state in (found.before, found.after))
    return "–" if before is None or after is None else f"{before:z.2f} → {after:z.2f}"


def suppression_sentences(found: Comparison) -> list[str]:
    """What a table of languages does not show."""
    names = ", ".join(get_language(tag).name for tag in found.made_from)
    before, after = found.before.seconds_per_token, found.after.seconds_per_token
    sentences = [f"Made from {names}. A token takes {1e3 * before:z.2f} → {1e3 * after:z.2f} ms ({after / before:.1f} times)."]
    told = {own.claim for own in found.after.readings if own.told}
    if told:
        sentences.append(
            f"{len(told)} claims have no further wording or statement: suppression was made from the very questions that are asked."
        )
    return sentences
