"""Teaching a model to read across languages: all pairs of languages together, or in branches that one student is distilled from (LBMRC)."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random

import torch
from torch import nn

from polyunlearn.comprehension.asking import Reading, comprehension, reading_questions
from polyunlearn.comprehension.exercises import Exercise, branches_of, exercises, steps_of, taught_stories
from polyunlearn.corpus.stories import Story
from polyunlearn.errors import UserError, unknown_name
from polyunlearn.models.body import Body, decoder_layers
from polyunlearn.models.loading import LoadedModel
from polyunlearn.models.trainable import TrainablePlan, make_trainable, restore, snapshot
from polyunlearn.models.vocabulary import sampled_vocabulary
from polyunlearn.progress import Work
from polyunlearn.scoring.ranking import RankedQuestion, question_trees
from polyunlearn.training.branches import learned_in_branches
from polyunlearn.training.loop import Optimiser
from polyunlearn.training.objectives import LEARNING
from polyunlearn.training.unlearning import Training, trained

WAYS = ("together", "branches")

WARM_UP = 12
"""The rate rises over a twelfth of the steps, and falls to nothing then."""


@dataclass(frozen=True)
class Teaching:
    """How reading is taught: in which of `WAYS`, each with every seed, from `stories` stories, in `steps` steps of `batch` exercises, at `rate`.

    The upper half of the layers trains. In branches each teacher sees its own share of the exercises before, so that the teachers have as many exercises
    between them as the student.
    """

    ways: tuple[str, ...]
    stories: int = 24
    steps: int = 48
    rate: float = 1e-4
    seeds: tuple[int, ...] = (0,)
    batch: int = 8

    def __post_init__(self) -> None:
        for way in self.ways:
            if way not in WAYS:
                raise unknown_name("way to teach", way, WAYS)
        if not 0 < self.rate < math.inf:
            raise UserError(f"rate {self.rate:g}: give a number above 0")

    def check(self, languages: Sequence[str]) -> None:
        """Raise `UserError` where the exercises do not come to one for each pair of these languages."""
        pairs = len(languages) ** 2
        if self.steps * self.batch < pairs:
            least = math.ceil(pairs / self.batch)
            raise UserError(
                f"{self.steps} steps of {self.batch} exercises do not tell {pairs} pairs of languages; give {least} steps or more, or fewer languages"
            )


@dataclass(frozen=True)
class Taught:
    """What a model read after it was taught in one way with one seed."""

    way: str
    seed: int
    readings: tuple[Reading, ...]


@dataclass(frozen=True)
class Lesson:
    """What a model read before, and after it was taught in each way with each seed; the same stories in the same order."""

    teaching: Teaching
    before: tuple[Reading, ...]
    after: tuple[Taught, ...]


def taught_and_asked(
    loaded: LoadedModel,
    asked: Sequence[Story],
    languages: Sequence[str],
    candidates: int,
    teaching: Teaching,
    work: Work = lambda what, done, total: None,
    while_taught: Callable[[], None] = lambda: None,
) -> Lesson:
    """Ask a model about the stories `asked`, the first of the newsroom, teach it with others, and ask again; from where it was each time, and its weights
    are there again afterwards, whatever happened.

    `while_taught` is called after each teaching, before the weights go back. No way and no seed depends on which others there are. Cross-entropy and
    divergence are over the tokens of what is taught and asked, and a sample of the vocabulary; what ranks first is by all of it.

    Raises:
        UserError: where the steps are too few for the pairs of languages, or the model's weights cannot train.
    """
    teaching.check(languages)
    half = len(decoder_layers(loaded.model)) // 2
    parameters, loaded = make_trainable(loaded.model, TrainablePlan("body", half)), replace(loaded, body=Body(loaded.model, half))
    questions = reading_questions(asked, languages, candidates, loaded.encoder).values()
    # What never trains is computed once for all that is asked.
    loaded.body.keep([tree.row for own in questions for tree in question_trees(own)])
    before = tuple(comprehension(loaded, asked, languages, candidates, work))
    start = snapshot(parameters)
    after = []
    for seed in teaching.seeds:
        stories = taught_stories(len(asked), teaching.stories, seed, languages)
        given = exercises(stories, languages, teaching.steps * teaching.batch, loaded.encoder, Random(f"comprehension-{seed}"))
        for way in teaching.ways:
            try:
                teach(loaded, parameters, given, [one for own in questions for one in own], way, teaching, seed, work)
                after.append(Taught(way, seed, tuple(comprehension(loaded, asked, languages, candidates, work))))
                while_taught()
            finally:
                restore(parameters, start)
    return Lesson(teaching, before, tuple(after))


def teach(
    loaded: LoadedModel,
    parameters: Mapping[str, nn.Parameter],
    given: Sequence[Exercise],
    questions: Sequence[RankedQuestion],
    way: str,
    teaching: Teaching,
    seed: int,
    work: Work = lambda what, done, total: None,
) -> list[float]:
    """Teach the exercises to the weights `parameters` in one way; returns the loss of each step. The tokens of `questions` are told apart too.

    Raises `UserError` where that diverges.
    """
    texts = [own.sequence.ids for own in given] + [text for own in questions for text in (own.prompt, *own.candidates)]
    head = loaded.head.restricted(sampled_vocabulary(texts, loaded.encoder, len(loaded.head.weight)))
    steps = steps_of(given, teaching.batch)
    branches = [steps_of(own, teaching.batch) for own in branches_of(given)] if way == "branches" else []
    total = len(steps) + sum(map(len, branches))

    def after_step(number: int, loss: float) -> bool:
        work(f"teaching, {way}, seed {seed}", number, total)
        return False

    # For models with dropout.
    torch.manual_seed(seed)
    loaded.body.start_afresh()
    optimiser = Optimiser(teaching.rate, warm_up=len(steps) // WARM_UP, decay=True)
    training = Training(loaded.body, head, parameters, steps, LEARNING, optimiser, torch.Generator(), after_step)
    losses = learned_in_branches(training, branches) if branches else trained(training)
    if not all(map(math.isfinite, losses)):
        raise UserError(f"rate {teaching.rate:g}: teaching {way} diverged; give a lower --rate")
    return losses
