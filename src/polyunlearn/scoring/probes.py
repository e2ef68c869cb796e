"""Probes: what is asked of a model about a corpus, in which language and wording, and what to look for in the answer."""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Literal

from polyunlearn.corpus.claims import Claim
from polyunlearn.corpus.stories import Story


@dataclass(frozen=True)
class Probe:
    """One question in one language in one wording.

    `answer` is the keyword for a fake question and the reference answer for a real one; `candidates` are the answers it is ranked
    among, itself first; any of `surface_forms` in an answer counts as saying it.
    """

    story: str
    language: str
    asks: Literal["fake", "real"]
    wording: int
    question: str
    answer: str
    candidates: tuple[str, ...]
    surface_forms: tuple[str, ...]


def make_probes(stories: Sequence[Story], languages: Sequence[str], wordings: int, candidates: int, seed: int) -> list[Probe]:
    """All probes of a corpus: every fake question in its first `wordings` wordings, and every real question.

    An answer is ranked among those of `candidates` stories, its own included. The others are drawn from `seed` and the story, so
    that they are the same stories in every language, and for every model state.
    """
    probes: list[Probe] = []
    for story in stories:
        others = [other for other in stories if other.id != story.id]
        chosen = Random(f"{seed}-{story.id}").sample(others, min(candidates - 1, len(others)))
        for tag in languages:
            edition = story.editions[tag]
            names = (edition.keyword, *(other.editions[tag].keyword for other in chosen))
            for wording, question in enumerate(edition.fake_questions[:wordings]):
                probes.append(Probe(story.id, tag, "fake", wording, question, edition.keyword, names, edition.surface_forms))
            real = edition.real_question
            answers = tuple(dict.fromkeys((real.answer, *(other.editions[tag].real_question.answer for other in chosen))))
            probes.append(Probe(story.id, tag, "real", 0, real.question, real.answer, answers, (real.answer,)))
    return probes


def fact_probes(facts: Sequence[Claim], tag: str) -> list[Probe]:
    """The first question of each fact, a claim that is true, in one language, its answer ranked among its distractors; those that have none there are left
    out."""
    there = [(fact.id, fact.editions[tag]) for fact in facts if tag in fact.editions and fact.editions[tag].distractors]
    return [
        Probe(name, tag, "real", 0, own.fake_questions[0], own.keyword, (own.keyword, *own.distractors), own.surface_forms)
        for name, own in there
    ]
