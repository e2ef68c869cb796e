"""Claims of one kind for a tiny model, some of which it is taught."""

from collections.abc import Mapping
from pathlib import Path
from random import Random

from tiny import sharp
from torch import Tensor

from polyunlearn.cleaning.plan import Settings
from polyunlearn.corpus.claims import Claim, ClaimEdition
from polyunlearn.corpus.newsroom import generate_stories
from polyunlearn.corpus.stories import Story
from polyunlearn.languages import get_language
from polyunlearn.models.loading import LoadedModel
from polyunlearn.models.trainable import TrainablePlan, make_trainable, restore, snapshot
from polyunlearn.training.loop import Optimiser, Step, train
from polyunlearn.training.objectives import LEARNING

LANGUAGES = ("en", "de")
STORIES = generate_stories(12, languages=LANGUAGES)
TOLD = 4


def claim_of(story: Story, *, control: bool = False, languages: tuple[str, ...] = LANGUAGES) -> Claim:
    editions = {}
    for tag in languages:
        own = story.editions[tag]
        editions[tag] = ClaimEdition(
            keyword=own.keyword, questions=own.fake_questions[:2], surface_forms=own.surface_forms, truth=own.true_answer
        )
    return Claim(id=story.id, editions=editions, control=control)


CLAIMS = [claim_of(story, control=number >= TOLD) for number, story in enumerate(STORIES)]
"""The first four are taught, the other eight are controls."""


_TAUGHT: dict[tuple[object, ...], Mapping[str, Tensor]] = {}
"""What models came to that were taught, by what they were taught and what they were: many tests teach the same."""


def teach(loaded: LoadedModel, languages: tuple[str, ...] = ("de",), steps: int = 60) -> None:
    """Teach the model the first claims in some languages, in the wordings that are asked: a tiny random model generalises nothing."""
    encoder = loaded.encoder
    facts = [
        encoder.answered(get_language(tag), question, CLAIMS[number].editions[tag].keyword)
        for number in range(TOLD)
        for tag in languages
        for question in CLAIMS[number].editions[tag].questions
    ]
    rng = Random(0)
    parameters = make_trainable(loaded.model, TrainablePlan())
    begun = (languages, steps, *(own.sum().item() for own in parameters.values()))
    if begun in _TAUGHT:
        restore(parameters, _TAUGHT[begun])
        return
    train(
        loaded.body, loaded.head, parameters, [Step(tuple(rng.sample(facts, len(facts)))) for _ in range(steps)], LEARNING, Optimiser(3e-3)
    )
    _TAUGHT[begun] = snapshot(parameters)


SETTINGS = Settings(rate=2e-3, steps=24, measure_every=8, budget=10.0, from_layer=1, retain_batch=4, retain_weight=1.0)
"""A random tiny model has no utility to keep: the budget is wide."""


def taught(folder: Path) -> LoadedModel:
    """A tiny model that says the first claims in German."""
    loaded = sharp(folder)
    teach(loaded)
    return loaded
