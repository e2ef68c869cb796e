"""Parallel sentences of FLORES-200: to forget, to retain, and others to measure what running text has lost."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from polyunlearn.corpus.readers import flores
from polyunlearn.errors import UserError
from polyunlearn.languages import get_language
from polyunlearn.models.loading import LoadedModel
from polyunlearn.models.sequences import Encoder
from polyunlearn.scoring.measure import Moment
from polyunlearn.scoring.metrics.tokens import exact_memorisation
from polyunlearn.scoring.rows import Row
from polyunlearn.scoring.tokens import TokenTable, token_tables
from polyunlearn.training.parallel_steps import Parallel

FOLDER = "flores200"

ByLanguage = Mapping[str, tuple[str, ...]]
"""By tag sentences, of which the n-th say the same."""


@dataclass(frozen=True)
class Sentences:
    """LINGTEA's sentences, in the languages that all its files have; `held_out` are neither to forget nor to retain."""

    forget: ByLanguage
    retain: ByLanguage
    held_out: ByLanguage

    def only(self, languages: Sequence[str]) -> "Sentences":
        """The same in some of the languages."""
        return Sentences(*({tag: own[tag] for tag in languages} for own in (self.forget, self.retain, self.held_out)))


def data_file(data: Path, folder: str, name: str) -> Path:
    """One of LINGTEA's files; raises `UserError` where it is not there."""
    path = data / folder / f"{name}.jsonl"
    if not path.is_file():
        raise UserError(
            f"{path}: there is no such file; give the folder that holds LINGTEA's data as it publishes them, {folder}/{name}.jsonl among them"
        )
    return path


def read_sentences(data: Path) -> Sentences:
    """Those of `forget-32` and `retain-32-x2`; held out are those of `forget-64` that neither has. Raises `UserError` for a file that is not there or cannot
    be read, and where none is left to be held out."""
    paths = [data_file(data, FOLDER, name) for name in ("forget-32", "retain-32-x2", "forget-64")]
    forget, retain, more = (flores.read([str(path)], {}).by_language for path in paths)
    shared = [tag for tag in forget if tag in retain and tag in more]
    trained = {text for part in (forget, retain) for tag in shared for text in part[tag]}
    count = min((len(more[tag]) for tag in shared), default=0)
    others = [number for number in range(count) if not any(more[tag][number] in trained for tag in shared)]
    if not others:
        raise UserError(
            f"{paths[2]}: no sentence beside those to forget and to retain is left to measure running text by; give LINGTEA's own file"
        )
    return Sentences(
        {tag: forget[tag] for tag in shared},
        {tag: retain[tag] for tag in shared},
        {tag: tuple(more[tag][number] for number in others) for tag in shared},
    )


def parallel_sentences(sentences: ByLanguage, encoder: Encoder) -> list[Parallel]:
    """Sentences as tokens; every token but the first is a label."""
    count = min((len(own) for own in sentences.values()), default=0)
    return [{tag: encoder.running(get_language(tag), own[number]) for tag, own in sentences.items()} for number in range(count)]


def sentence_rows(loaded: LoadedModel, sentences: ByLanguage, part: str, moment: Moment) -> list[Row]:
    """Rows of `exact_memorisation`, `loss` (nats a token) and `bits_per_byte` of each sentence by itself, over the whole vocabulary."""
    rows: list[Row] = []
    for tag, own in sentences.items():
        sequences = [loaded.encoder.unended(get_language(tag), text) for text in own]
        for number, (text, table) in enumerate(zip(own, token_tables(loaded, loaded.head, sequences), strict=True), start=1):
            rows += [
                Row(moment.step, moment.end, f"sentence:{number}", tag, part, -1, metric, value)
                for metric, value in _values(text, table).items()
            ]
    return rows


def _values(text: str, table: TokenTable) -> dict[str, float]:
    return {
        "exact_memorisation": exact_memorisation(table),
        "loss": -table.log_prob.mean().item(),
        "bits_per_byte": -table.log_prob.sum().item() / math.log(2) / len(text.encode()),
    }
