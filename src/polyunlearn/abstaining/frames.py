"""What a model is asked about an answer of its own, in the languages that it is written in (feedback.yaml), and in which languages it is asked."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from itertools import cycle, islice
from random import Random

import yaml

from polyunlearn.errors import unknown_name
from polyunlearn.languages import LANGUAGES, Language, get_language

FEEDBACKS = 3
"""Feedbacks on each answer, as in the paper."""

MODES = {
    "none": "no feedback: the verdict alone",
    "native": "three feedbacks in the question's language",
    "english": "three feedbacks in English",
    "random": "three feedbacks, each in another language, drawn among those of feedback.yaml",
    "related": "three feedbacks in languages of its family, or where the table has none, drawn among those of its script",
}
"""In which languages a model gives feedback (arXiv 2406.15948, and none to compare with)."""


@dataclass(frozen=True)
class Frame:
    """The words around a question in one language: what asks for feedback, what opens it, what asks for a verdict, and the two verdicts."""

    language: Language
    review: str
    feedback: str
    verdict: str
    true: str
    false: str

    def reviewed(self, question: str, answer: str) -> str:
        """The text that feedback on an answer follows."""
        return f"{self._answered(question, answer)}\n{self.review}\n{self.feedback}"

    def judged(self, question: str, answer: str, feedbacks: tuple[str, ...]) -> str:
        """The text that a verdict on an answer follows; empty feedback is left out."""
        lines = [f"{self.feedback}{self.language.joiner}{own}" for own in feedbacks if own]
        return "\n".join((self._answered(question, answer), *lines, self.language.prompt(self.verdict)))

    def _answered(self, question: str, answer: str) -> str:
        return f"{self.language.prompt(question)}{self.language.joiner}{answer}"


@cache
def frames() -> dict[str, Frame]:
    """By the tag of the language; those of Lu & Koehn's study alone."""
    return {tag: Frame(get_language(tag), **entry) for tag, entry in _written()["frames"].items()}


def frame_of(tag: str, *, feedback: bool = False) -> Frame:
    """The frame of a language, or English's where it is not written; for `feedback` this then says which language is wanted."""
    english = frames()["en"]
    if tag in frames() or not feedback:
        return frames().get(tag, english)
    review = str(_written()["elsewhere"]).format(language=get_language(tag).name)
    return Frame(english.language, review, english.feedback, english.verdict, english.true, english.false)


def check_modes(modes: Sequence[str]) -> None:
    """Raise `UserError` for a mode that is not known."""
    for mode in modes:
        if mode not in MODES:
            raise unknown_name("mode", mode, MODES)


def feedback_languages(mode: str, tag: str, claim: str) -> tuple[str, ...] | None:
    """The languages of the feedbacks on an answer in language `tag`; None where it has no relative. `claim` draws those that are drawn."""
    drawing = Random(f"feedback-{claim}-{tag}")
    if mode == "random":
        return tuple(drawing.sample([own for own in frames() if own != tag], FEEDBACKS))
    pools = {"none": [], "native": [tag], "english": ["en"], "related": _relatives(tag, drawing)}
    if mode == "related" and not pools[mode]:
        return None
    return tuple(islice(cycle(pools[mode]), FEEDBACKS))


def _relatives(tag: str, drawing: Random) -> list[str]:
    own, others = LANGUAGES[tag], [language for language in LANGUAGES.values() if language.tag != tag]
    family = [language.tag for language in others if language.family == own.family]
    script = [language.tag for language in others if language.script == own.script]
    # The first of a script are first in the table, and no nearer than others.
    return family or drawing.sample(script, len(script))


@cache
def _written() -> dict[str, dict[str, dict[str, str]]]:
    return dict(yaml.safe_load(files(__package__).joinpath("feedback.yaml").read_text(encoding="utf-8")))
