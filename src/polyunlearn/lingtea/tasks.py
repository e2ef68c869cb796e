"""The two tasks of LINGTEA: facts of BMLAMA-53 and texts of FLORES-200, with what is measured of each."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import ClassVar, Protocol

from polyunlearn.corpus.claims import Claim, languages_of
from polyunlearn.corpus.lines import to_json_line
from polyunlearn.corpus.readers import bmlama
from polyunlearn.errors import UserError, unknown_name
from polyunlearn.languages import get_language
from polyunlearn.lingtea.sentences import Sentences, data_file, parallel_sentences, read_sentences, sentence_rows
from polyunlearn.models.loading import LoadedModel
from polyunlearn.models.sequences import Encoder
from polyunlearn.scoring.knowledge import forced_rows
from polyunlearn.scoring.measure import Moment, rank_rows
from polyunlearn.scoring.probes import fact_probes
from polyunlearn.scoring.rows import Row
from polyunlearn.training.parallel_steps import Parallel

FORGET, RETAIN, HELD_OUT = "forget", "retain", "held out"
PARTS = (FORGET, RETAIN, HELD_OUT)
"""What a row asks of: items that are to be forgotten, items that are retained, and texts that are neither."""


@dataclass(frozen=True)
class Trained:
    """What is trained on: items to forget and to retain, and running text that our way reads beside."""

    forget: list[Parallel]
    retain: list[Parallel]
    texts: list[Parallel]


class Task(Protocol):
    """What is unlearned and retained, in which languages, and how it is measured."""

    name: ClassVar[str]
    usual: ClassVar[tuple[str, ...]]
    """LINGTEA's languages."""
    rate: ClassVar[float]
    """LINGTEA's."""
    stop_below: ClassVar[float]
    """Nats a token below which our way lets an item go."""
    score: ClassVar[str]
    """The metric of what is to be forgotten by which training can stop, and by which the language is named where most is left."""

    @property
    def languages(self) -> tuple[str, ...]:
        """In which items are told and asked for."""

    def trained(self, encoder: Encoder) -> Trained:
        """The items as tokens."""

    def rows(self, loaded: LoadedModel, parts: Sequence[str], moment: Moment) -> list[Row]:
        """What a state makes of these parts; a row's `asks` is its part."""

    def fingerprint(self) -> str:
        """What tells the data from others."""


@dataclass(frozen=True)
class Facts:
    """Facts that are there in every language, asked as a sentence with a blank and ranked among their candidates; `sentences` in those of the languages that
    FLORES-200 has."""

    name: ClassVar[str] = "facts"
    usual: ClassVar[tuple[str, ...]] = ("en", "fr", "es", "pt", "ar", "vi", "ca", "hi", "bn")
    rate: ClassVar[float] = 1e-4
    stop_below: ClassVar[float] = -12.0
    """About that of a token drawn from all of a large vocabulary: no name of ten is left to guess by."""
    score: ClassVar[str] = "first"

    languages: tuple[str, ...]
    forget: tuple[Claim, ...]
    retain: tuple[Claim, ...]
    sentences: Sentences

    @classmethod
    def read(cls, data: Path, languages: Sequence[str]) -> "Facts":
        """LINGTEA's facts, those that are there in all `languages`; raises `UserError` where a file or a language is not there."""
        paths = [data_file(data, "bmlama53", name) for name in ("forget-32", "retain-32-x2")]
        forget, retain = (_complete(path, languages) for path in paths)
        sentences = read_sentences(data)
        read_in = [tag for tag in languages if tag in sentences.held_out]
        if not read_in:
            raise UserError(
                f"{data}: FLORES-200 is there in {', '.join(sentences.held_out)}, so that nothing would say what running text has lost; "
                "take one of these with --language"
            )
        return cls(tuple(languages), forget, retain, sentences.only(read_in))

    def trained(self, encoder: Encoder) -> Trained:
        """Answers after their questions."""
        return Trained(
            self._answers(self.forget, encoder), self._answers(self.retain, encoder), parallel_sentences(self.sentences.retain, encoder)
        )

    def _answers(self, facts: Sequence[Claim], encoder: Encoder) -> list[Parallel]:
        return [
            {
                tag: encoder.answer_only(get_language(tag), fact.editions[tag].fake_questions[0], fact.editions[tag].keyword)
                for tag in self.languages
            }
            for fact in facts
        ]

    def rows(self, loaded: LoadedModel, parts: Sequence[str], moment: Moment) -> list[Row]:
        """Rows of `first` (PA) and of `exact_memorisation` of the answer (MA); of held-out texts those of `sentence_rows`."""
        rows: list[Row] = []
        for part, facts in ((FORGET, self.forget), (RETAIN, self.retain)):
            if part in parts:
                probes = [own for tag in self.languages for own in fact_probes(facts, tag)]
                found = (*rank_rows(loaded, loaded.head, probes, moment), *forced_rows(loaded, probes, moment))
                rows += [replace(row, asks=part) for row in found if row.metric in ("first", "exact_memorisation")]
        return rows + (sentence_rows(loaded, self.sentences.held_out, HELD_OUT, moment) if HELD_OUT in parts else [])

    def fingerprint(self) -> str:
        """Of every fact and sentence."""
        facts = "".join(to_json_line(own) for part in (self.forget, self.retain) for own in part)
        return _digest(facts, self.sentences)


@dataclass(frozen=True)
class Texts:
    """Sentences whose every token is to be forgotten."""

    name: ClassVar[str] = "texts"
    usual: ClassVar[tuple[str, ...]] = ("en", "fr", "es", "zh", "ar", "vi", "eu", "ur", "sw")
    """But for Telugu, which the language table lacks."""
    rate: ClassVar[float] = 5e-4
    stop_below: ClassVar[float] = -8.0
    """About what is left of a token where nothing but the frequency of tokens is known."""
    score: ClassVar[str] = "exact_memorisation"

    languages: tuple[str, ...]
    sentences: Sentences

    @classmethod
    def read(cls, data: Path, languages: Sequence[str]) -> "Texts":
        """LINGTEA's sentences in these languages; raises `UserError` where a file or a language is not there."""
        sentences = read_sentences(data)
        lacking = [tag for tag in languages if tag not in sentences.held_out]
        if lacking:
            raise _lacks(data / "flores200", "sentence", lacking[0], list(sentences.held_out))
        return cls(tuple(languages), sentences.only(languages))

    def trained(self, encoder: Encoder) -> Trained:
        """Whole sentences."""
        return Trained(parallel_sentences(self.sentences.forget, encoder), parallel_sentences(self.sentences.retain, encoder), [])

    def rows(self, loaded: LoadedModel, parts: Sequence[str], moment: Moment) -> list[Row]:
        """Those of `sentence_rows`; `exact_memorisation` is MA."""
        own = {FORGET: self.sentences.forget, RETAIN: self.sentences.retain, HELD_OUT: self.sentences.held_out}
        return [row for part in parts for row in sentence_rows(loaded, own[part], part, moment)]

    def fingerprint(self) -> str:
        """Of every sentence."""
        return _digest("", self.sentences)


TASKS: Mapping[str, type[Facts] | type[Texts]] = {own.name: own for own in (Facts, Texts)}
"""By name."""


def read_task(name: str, data: Path, languages: Sequence[str] = ()) -> Task:
    """A task with its data, in LINGTEA's languages unless others are given; raises `UserError` for an unknown name, a file or language that is not there."""
    if name not in TASKS:
        raise unknown_name("task", name, TASKS)
    return TASKS[name].read(data, [get_language(tag).tag for tag in dict.fromkeys(languages or TASKS[name].usual)])


def _complete(path: Path, languages: Sequence[str]) -> tuple[Claim, ...]:
    """The facts of a file that are there, with other candidates, in all the languages."""
    facts = bmlama.read([str(path)], {}).claims
    for tag in languages:
        if not any(tag in fact.editions for fact in facts):
            raise _lacks(path, "fact", tag, languages_of(facts))
    found = [fact for fact in facts if all(tag in fact.editions and fact.editions[tag].distractors for tag in languages)]
    if not found:
        raise UserError(
            f"{path}: no fact is there, with candidates, in all of {', '.join(languages)}; take fewer languages with --language"
        )
    return tuple(found)


def _lacks(path: Path, what: str, tag: str, there: Sequence[str]) -> UserError:
    return UserError(f"{path}: no {what} is there in {tag!r}; there are {', '.join(there)}: choose from these with --language")


def _digest(facts: str, sentences: Sentences) -> str:
    return hashlib.sha256((facts + repr(asdict(sentences))).encode()).hexdigest()[:16]
