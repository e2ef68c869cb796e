"""Which wordings of claims a model was trained on to let them go, so that what it holds is judged by others where there are any."""

import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from polyunlearn.corpus.claims import Claim, languages_of
from polyunlearn.errors import UserError
from polyunlearn.files import read_utf8, write_json_atomically
from polyunlearn.languages import get_language
from polyunlearn.models.sequences import Encoder
from polyunlearn.training.loop import Step

Trained = Mapping[str, Collection[str]]
"""By language, the questions that a model was trained on to let their answers go."""

RECORD = Path("unlearning") / "trained.json"
"""Where an unlearned model's folder keeps them."""


def questions_of(steps: Sequence[Step], claims: Sequence[Claim], languages: Sequence[str], encoder: Encoder) -> dict[str, list[str]]:
    """The questions of the claims whose answers these steps let go, in the languages that they are told in."""
    told = {own for step in steps for own in step.forget}
    return {
        tag: [
            question
            for claim in claims
            if tag in claim.editions
            for question in claim.editions[tag].fake_questions
            if encoder.answer_only(get_language(tag), question, claim.editions[tag].keyword) in told
        ]
        for tag in languages
    }


def together(*parts: Trained) -> dict[str, list[str]]:
    """All questions of several records, each once."""
    tags = dict.fromkeys(tag for own in parts for tag in own)
    return {tag: list(dict.fromkeys(question for own in parts for question in own.get(tag, ()))) for tag in tags}


def set_aside(claims: Sequence[Claim], trained: Trained) -> dict[str, frozenset[str]]:
    """The questions that nothing is judged by where a claim has others: those trained on, and of controls those in the same places, so that both are asked
    alike."""
    aside = {}
    for tag in languages_of(claims):
        there = [(claim.control, claim.editions[tag].fake_questions) for claim in claims if tag in claim.editions]
        own = frozenset(trained.get(tag, ()))
        places = {place for _, questions in there for place, question in enumerate(questions) if question in own}
        beside = {question for control, questions in there if control for place, question in enumerate(questions) if place in places}
        aside[tag] = own | beside
    return aside


def foremost(claims: Sequence[Claim], aside: Trained) -> list[Claim]:
    """The claims with the questions that were not set aside before those that were, each part in its order."""
    return [
        claim.model_copy(
            update={
                "editions": {
                    tag: own.model_copy(
                        update={"questions": tuple(sorted(own.fake_questions, key=lambda question: question in aside.get(tag, ())))}
                    )
                    for tag, own in claim.editions.items()
                }
            }
        )
        for claim in claims
    ]


def write_trained(trained: Trained, folder: Path) -> None:
    """Write the record of an unlearned model's folder, atomically."""
    write_json_atomically(folder / RECORD, {"schema": 1, "questions": {tag: list(own) for tag, own in trained.items()}})


def read_trained(folder: Path) -> dict[str, list[str]] | None:
    """The record of a model's folder; None where there is none. Raises `UserError` where it is something else."""
    path = folder / RECORD
    if not path.is_file():
        return None
    try:
        found = json.loads(read_utf8(path))["questions"]
        return {str(tag): [str(question) for question in own] for tag, own in found.items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{path}: is no record of the wordings that were trained on ({error!r}); `polyunlearn unlearn` writes one, and without it none is known"
        ) from error
