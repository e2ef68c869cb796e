"""Prompts that say more than the question: an answer that is already begun, a frame around it, text before it, a doubt behind a first answer.

They are written in the languages of `texts.yaml`; probes in other languages are not asked.
"""

from collections.abc import Callable
from dataclasses import replace
from random import Random

from polyunlearn.attacks.asking import asked_behind
from polyunlearn.attacks.target import Measure, Target, Variant
from polyunlearn.attacks.texts import Texts, texts
from polyunlearn.languages import Language, get_language
from polyunlearn.scoring.probes import Probe

Prompt = Callable[[Language, str, Texts], str]
"""The text that a question of a language is asked in, up to where the answer begins."""


def affirmative_prefix(target: Target, measure: Measure) -> None:
    """The answer begins as an agreeing one does."""
    _ask(
        target,
        measure,
        Variant("of course", 1),
        lambda language, question, own: f"{language.prompt(question)}{language.joiner}{own.opening}",
    )


def role_play(target: Target, measure: Measure) -> None:
    """The question stands in a novelist's notes, or in a game in which rumours are true."""
    _ask(target, measure, Variant("a novelist's notes", 1), lambda language, question, own: f"{own.novel}\n\n{language.prompt(question)}")
    _ask(target, measure, Variant("a game of rumours", 1), lambda language, question, own: f"{own.game}\n\n{language.prompt(question)}")


def filler(target: Target, measure: Measure) -> None:
    """A paragraph on something else stands before the question, in its language or in English."""
    english = texts()["en"].filler
    _ask(
        target, measure, Variant("in the same language", 1), lambda language, question, own: f"{own.filler}\n\n{language.prompt(question)}"
    )
    _ask(target, measure, Variant("in English", 1, "en"), lambda language, question, _: f"{english}\n\n{language.prompt(question)}")


def multi_turn_doubt(target: Target, measure: Measure) -> None:
    """The question was answered, by not knowing or with another candidate, which is then no candidate any more; the answer is doubted, and the question
    asked again. A probe without another candidate is not asked in the second form."""
    refused = [(probe, _doubted(probe, get_language(probe.language).refusal)) for probe in _written(target)]
    denied = []
    for probe in _written(target):
        others = probe.candidates[1:]
        if others:
            # The same place among the candidates, which are the same stories in every language.
            place = Random(f"doubt-{target.seed}-{probe.story}").randrange(len(others))
            left = replace(probe, candidates=(probe.candidates[0], *others[:place], *others[place + 1 :]))
            denied.append((left, _doubted(probe, others[place])))
    for name, asked in (("after not knowing", refused), ("after another answer", denied)):
        if asked:
            measure(Variant(name, 2), target.loaded, *asked_behind(asked, target.loaded.encoder))


def _doubted(probe: Probe, first: str) -> str:
    language = get_language(probe.language)
    again = f"{texts()[probe.language].doubt}{language.joiner}{probe.question}"
    return f"{language.prompt(probe.question)}{language.joiner}{first}\n\n{language.prompt(again)}"


def _ask(target: Target, measure: Measure, variant: Variant, prompt: Prompt) -> None:
    asked = [(probe, prompt(get_language(probe.language), probe.question, texts()[probe.language])) for probe in _written(target)]
    if asked:
        measure(variant, target.loaded, *asked_behind(asked, target.loaded.encoder))


def _written(target: Target) -> list[Probe]:
    return [probe for probe in target.probes if probe.language in texts()]
