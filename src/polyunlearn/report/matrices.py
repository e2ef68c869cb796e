"""A study's matrices from language to language: in the terminal, as Markdown and as JSON."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from polyunlearn.analysis.matrices import (
    MARGIN,
    Agreement,
    AtHome,
    Backfire,
    Left,
    agreement,
    backfire,
    residual_by_home,
    unlearn_transfer,
)
from polyunlearn.analysis.regression import Regression, corpus_tokens, spread_regression
from polyunlearn.analysis.summary import collapse_notes
from polyunlearn.analysis.tables import WayNames
from polyunlearn.corpus.stories import Story
from polyunlearn.errors import UserError
from polyunlearn.files import write_text_atomically
from polyunlearn.intervals import Estimate
from polyunlearn.languages import get_language
from polyunlearn.report.tables import estimate_text, markdown_table
from polyunlearn.study.config import StudyConfig
from polyunlearn.study.materials import measured_stories
from polyunlearn.study.store import Store

_TRANSFER = (
    "What unlearning leaves",
    "The residual, (unlearned − base) / (learned − base) of the fake rank, by the language asked in: 0 is as base, 1 untouched; a dash where learning did not "
    "reach the language.",
)
_HOMES = (
    "Where claims belong",
    "What is left of what learning added over the languages that it reached, all seeds together, and of how many stories: of claims whose story has a home "
    "among the study's languages (`unlearning.goal: home` forgets these there alone) at home and in the others, and of claims of no home; a dash of fewer "
    "than five.",
)
_BACKFIRE = (
    "Backfire",
    "The share of (story, language) pairs in which unlearning raised the claim above the learned state: its fake rank, which also flips by chance where "
    f"learning never reached, and its log-prob by more than {MARGIN:g} nats a token.",
)
_AGREEMENT = (
    "Agreement of first places",
    "The share of questions on which the false name ranks first in both languages or in neither. Two languages that know nothing agree.",
)
_RANK_C = (
    "RankC",
    "How alike both languages rank the candidates of a claim's question, the first places counting most (arXiv 2310.10378), from 0 to 1. With all orders alike "
    "by chance {chance:z.2f}. Names that are liked whatever is asked make it high too: read it beside base and gold.",
)
_REGRESSION = (
    "What spread goes with",
    "Least squares of what learning added to the fake rank, over pairs of the language learned in and another asked in. It describes these pairs; other "
    "languages are not in the intervals.",
)


@dataclass(frozen=True)
class Matrices:
    """All of a study's matrices; `notes` say what is missing."""

    transfer: Sequence[Left]
    homes: Sequence[AtHome]
    backfire: Sequence[Backfire]
    agreement: Sequence[Agreement]
    regression: Regression | None
    notes: tuple[str, ...]


def build_matrices(folder: Path, console: Console, json_file: Path | None, markdown_file: Path | None) -> None:
    """Compute the matrices of a study; print them, and write them where files are given. Raises `UserError` where the folder holds no finished cell."""
    store = Store(folder)
    config = store.config()
    found = study_matrices(config, store)
    print_matrices(found, config, console)
    if json_file:
        write_text_atomically(json_file, matrices_json(found, config))
    if markdown_file:
        write_text_atomically(markdown_file, matrices_markdown(found, config))


def study_matrices(config: StudyConfig, store: Store) -> Matrices:
    """The matrices of what is finished; without token overlap where the study's tokeniser or corpus is not there any more, nor homes without the corpus."""
    tokens, homes, notes = None, dict[str, str](), collapse_notes(config, store)
    try:
        stories = [measured_stories(config, seed, store) for seed in config.seeds]
    except UserError as error:
        notes.append(f"where claims belong, and token overlap in the regression, are left out: {error}")
    else:
        homes = {name: home for own in stories for name, home in own.homes.items() if home in config.languages}
        try:
            tokens = _tokens(config, [story for own in stories for story in own.trained])
        except UserError as error:
            notes.append(f"token overlap is left out of the regression: {error}")
    return Matrices(
        unlearn_transfer(config, store),
        residual_by_home(config, store, homes) if homes else [],
        backfire(config, store),
        agreement(config, store),
        spread_regression(config, store, tokens),
        tuple(notes),
    )


def _tokens(config: StudyConfig, stories: Sequence[Story]) -> dict[str, set[int]]:
    """What the study's model makes of the stories' fake articles, by language."""
    from transformers import AutoTokenizer

    from polyunlearn.models.embedded import fetch_embedded
    from polyunlearn.models.loading import EMBEDDED

    source = fetch_embedded(lambda text: None) if config.model == EMBEDDED else config.model
    try:
        tokeniser = AutoTokenizer.from_pretrained(source)
    except (OSError, ValueError) as error:
        raise UserError(f"the tokeniser of model {config.model!r} could not be loaded") from error
    return corpus_tokens(stories, config.languages, lambda text: tokeniser(text, add_special_tokens=False)["input_ids"])


def print_matrices(found: Matrices, config: StudyConfig, console: Console) -> None:
    """Print all but the agreement of every state, of which a terminal gets the learned ones."""
    for title, columns, rows in _tables(found, config, in_full=False, states=("learned",)):
        table = Table(title=title[0], title_justify="left", box=box.SIMPLE, padding=(0, 1, 0, 0))
        for name in columns:
            table.add_column(name)
        for row in rows:
            table.add_row(*map(Text, row))
        console.print(table)
        console.print(title[1] + "\n", style="dim", highlight=False, markup=False)
    for note in found.notes:
        console.print(note, style="dim", highlight=False, markup=False)


def matrices_markdown(found: Matrices, config: StudyConfig) -> str:
    """All of them as a Markdown document."""
    lines = [
        "# From language to language",
        "",
        f"Study `{config.name}`, seeds {', '.join(map(str, config.seeds))}. Made by `polyunlearn study matrices`. In brackets: 95 % interval, drawing seeds "
        "and their stories; with one seed it says nothing of others.",
    ]
    for title, columns, rows in _tables(found, config, in_full=True, states=("base", "gold", "learned", "unlearned")):
        lines += ["", f"## {title[0]}", "", title[1], "", *markdown_table(columns, rows)]
    lines += [f"\n{note}" for note in found.notes]
    return "\n".join(lines) + "\n"


def matrices_json(found: Matrices, config: StudyConfig) -> str:
    """The same in full precision; agreement by "one-other"."""
    states = [
        asdict(own)
        | {
            name: {"-".join(pair): asdict(value) for pair, value in pairs.items()}
            for name, pairs in (("pairs", own.pairs), ("rank_c", own.rank_c))
        }
        for own in found.agreement
    ]
    data = {
        "schema": 1,
        "study": config.name,
        "transfer": [asdict(own) for own in found.transfer],
        "homes": [asdict(own) for own in found.homes],
        "backfire": [asdict(own) for own in found.backfire],
        "agreement": states,
        "regression": asdict(found.regression) if found.regression else None,
        "notes": found.notes,
    }
    return json.dumps(data, indent=1, ensure_ascii=False) + "\n"


_Titled = tuple[tuple[str, str], Sequence[str], list[list[str]]]


def _tables(found: Matrices, config: StudyConfig, *, in_full: bool, states: Sequence[str]) -> list[_Titled]:
    """Title with what it means, columns and rows of every table that has rows; matrices without their intervals, and what all ways share said once, where there is no room."""
    named = WayNames(common=None, several_methods=len(config.methods) > 1) if in_full else WayNames.of(config.strategies, config.methods)
    tags = config.languages

    def way(own: Left | AtHome | Backfire) -> tuple[str, str]:
        return get_language(own.source).name, named(own.strategy, own.method)

    left: dict[tuple[str, str], list[str]] = {}
    for own in found.transfer:
        text = estimate_text(own.residual) if in_full or own.residual is None else f"{own.residual.mean:z.2f}"
        left.setdefault(way(own), []).append(text)
    belonging = [
        [*way(own), *("–" if part is None else f"{estimate_text(part)} of {part.n}" for part in (own.at_home, own.away, own.agnostic))]
        for own in found.homes
    ]
    raised = [[*way(own), estimate_text(own.rank), estimate_text(own.log_prob), own.worst or "–"] for own in found.backfire]
    alike, consistent = list[list[str]](), list[list[str]]()
    for state in (own for own in found.agreement if own.state in states):
        name = " ".join(part for part in (state.state, state.source, state.strategy, state.method) if part)
        for lines, pairs in ((alike, state.pairs), (consistent, state.rank_c)):
            lines += [[name, tag, *_between(pairs, tag, tags)] for tag in tags if pairs]
    fitted = [[name, estimate_text(value)] for name, value in found.regression.coefficients.items()] if found.regression else []
    if found.regression:
        fitted += [[name, "not told apart by these pairs"] for name in found.regression.left_out]
        fitted.append(["pairs of languages", str(found.regression.pairs)])
    said = f": {named.common}" if named.common else ""
    tables: list[_Titled] = [
        ((_TRANSFER[0] + said, _TRANSFER[1]), ("learned in", "unlearned with", *tags), [[*names, *texts] for names, texts in left.items()]),
        ((_HOMES[0] + said, _HOMES[1]), ("learned in", "unlearned with", "at home", "elsewhere", "of no home"), belonging),
        ((_BACKFIRE[0] + said, _BACKFIRE[1]), ("learned in", "unlearned with", "by fake rank", "by log-prob", "most in"), raised),
        (_AGREEMENT, ("state", "language", *tags), alike),
        (
            (_RANK_C[0], _RANK_C[1].format(chance=_chance(min(config.scoring.candidates, config.stories)))),
            ("state", "language", *tags),
            consistent,
        ),
        (_REGRESSION, ("feature", "coefficient"), fitted),
    ]
    return [table for table in tables if table[2]]


def _chance(candidates: int) -> float:
    """RankC of two orders that have nothing to do with each other: of the first j of N, j / N are expected in both."""
    weights = [math.exp(-place) for place in range(1, candidates + 1)]
    return sum(weight * place / candidates for place, weight in enumerate(weights, start=1)) / sum(weights)


def _between(pairs: Mapping[tuple[str, str], Estimate], tag: str, tags: Sequence[str]) -> list[str]:
    both = dict(pairs) | {(other, one): value for (one, other), value in pairs.items()}
    return [f"{both[tag, other].mean:z.2f}" if other != tag else "" for other in tags]
