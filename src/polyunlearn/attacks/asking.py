"""Probes asked in another text than their own prompt, which is what attacks by prompt have in common."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from polyunlearn.languages import get_language
from polyunlearn.models.sequences import Encoder
from polyunlearn.scoring.probes import Probe
from polyunlearn.scoring.ranking import RankedQuestion


def asked_behind(probes: Iterable[tuple[Probe, str]], encoder: Encoder) -> tuple[list[Probe], list[RankedQuestion]]:
    """Each probe's candidates, as its language writes them behind a prompt, behind its text."""
    asked = list(probes)
    questions = []
    for probe, text in asked:
        language = get_language(probe.language)
        candidates = tuple(encoder.continuation(language, candidate) for candidate in probe.candidates)
        questions.append(RankedQuestion(_prompt(text, probe.language, encoder), candidates))
    return [probe for probe, _ in asked], questions


@dataclass(frozen=True)
class Written:
    """A text that candidates complete: `candidates` are as they follow it, a space in front where there is one, the probe's own first."""

    text: str
    candidates: tuple[str, ...]


def asked_as_written(probes: Iterable[tuple[Probe, Written]], encoder: Encoder) -> tuple[list[Probe], list[RankedQuestion]]:
    """Each probe's text with its candidates, which are in the probe's order; candidates that come to the same are one, in the probe too."""
    asked, questions = [], []
    for probe, written in probes:
        names: dict[tuple[int, ...], str] = {}
        for candidate, name in zip(written.candidates, probe.candidates, strict=True):
            names.setdefault(_tokens(candidate, probe.language, encoder), name)
        asked.append(replace(probe, candidates=tuple(names.values())))
        questions.append(RankedQuestion(_prompt(written.text, probe.language, encoder), tuple(names)))
    return asked, questions


def candidate_tokens(questions: Iterable[RankedQuestion]) -> Iterator[int]:
    """The tokens of all candidates."""
    return (token for question in questions for candidate in question.candidates for token in candidate)


def _prompt(text: str, tag: str, encoder: Encoder) -> tuple[int, ...]:
    """The tokens of a text, with the one that begins every text and without that which ends it."""
    return encoder.unended(get_language(tag), text).ids


def _tokens(text: str, tag: str, encoder: Encoder) -> tuple[int, ...]:
    return encoder.unended(get_language(tag), text).ids[1:]
