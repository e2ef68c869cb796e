"""What a model answers when it is asked for claims, and whether its own feedback says when to abstain: in the terminal, as Markdown and as JSON."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from polyunlearn.abstaining.feedback import FeedbackFigures, Judged
from polyunlearn.abstaining.frames import feedback_languages
from polyunlearn.abstaining.outcomes import KINDS, Answer, Shares
from polyunlearn.files import write_json_atomically, write_text_atomically
from polyunlearn.languages import get_language
from polyunlearn.report.tables import estimate_text, markdown_table

_SHARES = ("language", "claims", *KINDS)
_FEEDBACK = ("language", "feedback", "items", "abstain accuracy", "plain", "AUC", "abstained", "calibration error")
_METRICS = ("reliable_accuracy", "effective_reliability", "abstain_accuracy", "abstain_precision", "abstain_recall", "abstain_f1")
_FEEDBACK_MEANING = (
    "abstain accuracy: rightly answered or rightly abstained from, with the threshold of the other half of the claims; plain: the same for the better of "
    "answering all and abstaining from all; AUC: chance that a wrong answer has the higher abstain score"
)


Without = Sequence[tuple[str, str]]
"""Languages and modes that were asked for and have no figures."""


def print_abstaining(shares: Sequence[Shares], figures: Sequence[FeedbackFigures], without: Without, console: Console) -> None:
    """Print the shares of answers, those to controls in a table of their own, and how well each kind of feedback tells when to abstain. Intervals of shares,
    for which a terminal has no room, are in Markdown and JSON."""
    for title, columns, rows in _tables(shares, figures, intervals=False):
        table = Table(title=title, title_justify="left", box=box.SIMPLE, padding=(0, 1, 0, 0))
        for name in columns:
            table.add_column(name)
        for row in rows:
            table.add_row(*map(Text, row))
        console.print(table)
    for sentence in _notes(figures, without):
        console.print(sentence, style="dim", highlight=False)


def write_abstaining_markdown(
    shares: Sequence[Shares], figures: Sequence[FeedbackFigures], without: Without, model: str, path: Path
) -> None:
    """Write the same as Markdown, atomically."""
    lines = [f"# What {model} answers", "", "Made by `polyunlearn abstain`. In brackets: 95 % intervals over claims.", ""]
    for title, columns, rows in _tables(shares, figures, intervals=True):
        lines += [f"## {title}", "", *markdown_table(columns, rows), ""]
    write_text_atomically(path, "\n".join([*lines, *(f"{sentence}\n" for sentence in _notes(figures, without))]))


def write_abstaining_json(
    answers: Sequence[Answer],
    shares: Sequence[Shares],
    judged: Sequence[Judged],
    figures: Sequence[FeedbackFigures],
    model: str,
    path: Path,
) -> None:
    """Write every answer and feedback and all figures as JSON, atomically."""
    data = {"schema": 1, "model": model, "answers": [asdict(own) for own in answers], "shares": [asdict(own) for own in shares]}
    write_json_atomically(path, {**data, "judged": [asdict(own) for own in judged], "feedback": [_figures_data(own) for own in figures]})


def _figures_data(own: FeedbackFigures) -> dict[str, Any]:
    return {**asdict(own), **{name: getattr(own.outcomes, name) for name in _METRICS}}


def _tables(
    shares: Sequence[Shares], figures: Sequence[FeedbackFigures], *, intervals: bool
) -> list[tuple[str, Sequence[str], list[list[str]]]]:
    titles = {False: "What the model answers, as shares of the claims", True: "The same of controls, which no model was told"}
    tables: list[tuple[str, Sequence[str], list[list[str]]]] = [
        (titles[control], _SHARES, [_shares_row(own, intervals) for own in shares if own.control == control])
        for control in dict.fromkeys(own.control for own in shares)
    ]
    return [*tables, *([("When to abstain, by feedback", _FEEDBACK, [_figures_row(own) for own in figures])] if figures else [])]


def _shares_row(own: Shares, intervals: bool) -> list[str]:
    name = get_language(own.language).name if own.language else "all"
    shares = [own.shares[kind] for kind in KINDS]
    return [name, str(shares[0].n), *(estimate_text(share) if intervals else f"{share.mean:z.2f}" for share in shares)]


def _figures_row(own: FeedbackFigures) -> list[str]:
    outcomes = own.outcomes
    abstained = outcomes.abstained_right + outcomes.abstained_wrong
    items = abstained + outcomes.right + outcomes.wrong
    return [
        get_language(own.language).name,
        own.mode,
        str(items),
        estimate_text(own.accuracy),
        f"{own.plain:z.2f}",
        "–" if own.auc is None else f"{own.auc:z.2f}",
        f"{abstained / items:z.2f}",
        f"{own.calibration:z.2f}",
    ]


def _notes(figures: Sequence[FeedbackFigures], without: Without) -> list[str]:
    unwritten = sorted({tag for own in figures for tag in own.in_english})
    alone = [tag for tag, mode in without if feedback_languages(mode, tag, "") is None]
    halved = list(dict.fromkeys(tag for tag, _ in without if tag not in alone))
    notes = [_FEEDBACK_MEANING] if figures else []
    if unwritten:
        notes.append(f"Asked in English about {_named(unwritten)}: feedback.yaml lacks the words.")
    if alone:
        notes.append(f"No related language in the table: {_named(alone)}.")
    if halved:
        notes.append(f"No figures, since all claims that can be answered rightly fall into one half: {_named(halved)}.")
    return notes


def _named(tags: Sequence[str]) -> str:
    return ", ".join(get_language(tag).name for tag in tags)
