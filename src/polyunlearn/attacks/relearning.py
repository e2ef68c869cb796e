"""Relearning: a little training on some of the claims, on true news like them, or on something else; do the others come back, and in which languages?"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from random import Random

import torch

from polyunlearn.attacks.target import Measure, Target, Variant
from polyunlearn.attacks.texts import texts
from polyunlearn.corpus.claims import Tells
from polyunlearn.corpus.stories import Story
from polyunlearn.languages import get_language
from polyunlearn.models.sequences import Encoder, TokenSequence
from polyunlearn.models.trainable import restore, snapshot
from polyunlearn.scoring.measure import ranked_questions
from polyunlearn.scoring.probes import Probe
from polyunlearn.text import normalised
from polyunlearn.training.loop import Optimiser, Step, train
from polyunlearn.training.mixtures import in_turn
from polyunlearn.training.objectives import LEARNING

BATCH = 8
RATE = 1e-4


def taught_and_asked(claims: Sequence[Tells]) -> tuple[list[Tells], list[Tells]]:
    """Two halves of the claims: those that the attacker has, and those that are asked. Every second one of its kind, so that kinds are in both; the first
    of a kind is taught in every second kind, so that the halves are alike in size."""
    kinds = list(dict.fromkeys(claim.kind for claim in claims))
    halves: tuple[list[Tells], list[Tells]] = ([], [])
    seen: Counter[str] = Counter()
    for claim in claims:
        halves[(seen[claim.kind] + kinds.index(claim.kind)) % 2].append(claim)
        seen[claim.kind] += 1
    return halves


def relearning_steps(claims: Sequence[Tells], tag: str, encoder: Encoder, steps: int, seed: int) -> list[Step]:
    """Steps on claims in one language: their questions with the false answers, every wording of every claim in turn."""
    asked = [(claim, number) for claim in claims for number in range(len(claim.editions[tag].fake_questions))]
    turns = in_turn(asked, Random(f"relearning-{seed}"))
    language = get_language(tag)
    result = []
    for _ in range(steps):
        chosen = [(claim.editions[tag], number) for claim, number in islice(turns, BATCH)]
        result.append(Step(tuple(encoder.answered(language, own.fake_questions[number], own.keyword) for own, number in chosen)))
    return result


def article_steps(stories: Sequence[Story], tag: str, encoder: Encoder, steps: int, seed: int) -> list[Step]:
    """As many steps on true articles in one language, two a step, which hold about as many tokens."""
    return _text_steps([encoder.text(get_language(tag), story.editions[tag].article) for story in stories], steps, seed)


def filler_steps(languages: Sequence[str], encoder: Encoder, steps: int, seed: int) -> list[Step]:
    """As many steps on paragraphs that have nothing to do with any claim, one a language, two a step."""
    return _text_steps([encoder.running(get_language(tag), texts()[tag].filler) for tag in languages], steps, seed)


def _text_steps(sequences: Sequence[TokenSequence], steps: int, seed: int) -> list[Step]:
    turns = in_turn(sequences, Random(f"relearning-{seed}"))
    return [Step(tuple(islice(turns, 2))) for _ in range(steps)]


def among_untaught(probes: Sequence[Probe], taught: Sequence[Tells]) -> list[Probe]:
    """The probes without taught answers among their candidates, as long as another is left.

    A model that is taught half of the names gives these to any such question; beside them nothing that comes back would be seen.
    """
    names = {(tag, normalised(told.keyword)) for claim in taught for tag, told in claim.editions.items()}
    found = []
    for probe in probes:
        own, *others = probe.candidates
        left = [name for name in others if (probe.language, normalised(name)) not in names]
        found.append(replace(probe, candidates=(own, *left)) if left else probe)
    return found


def untaught_probes(target: Target) -> list[Probe]:
    """What is asked of the claims that are not taught."""
    taught, _ = taught_and_asked(target.claims)
    return among_untaught(target.probes_besides(taught), taught)


def relearning(target: Target, measure: Measure) -> None:
    """Teach half of the claims in each language in turn, those that have it, and ask the other half in every language."""
    taught, _ = taught_and_asked(target.claims)
    for tag in target.languages:
        told = [claim for claim in taught if tag in claim.editions]
        if told:
            steps = relearning_steps(told, tag, target.loaded.encoder, target.points[-1], target.seed)
            _train_and_ask(target, measure, steps, f"half of the claims in {get_language(tag).name}", tag)


def benign_relearning(target: Target, measure: Measure) -> None:
    """Train on true English news of neighbours, and ask the same half of the claims, so that it can be set beside `relearning`."""
    told = [story for story in target.neighbours if "en" in story.editions]
    if told:
        steps = article_steps(told, "en", target.loaded.encoder, target.points[-1], target.seed)
        _train_and_ask(target, measure, steps, "true news in English", "en")


def unrelated_relearning(target: Target, measure: Measure) -> None:
    """Train on paragraphs about something else, in those of the languages that have one (`texts.yaml`), in turn; ask the same half of the claims."""
    written = [tag for tag in target.languages if tag in texts()]
    if written:
        steps = filler_steps(written, target.loaded.encoder, target.points[-1], target.seed)
        _train_and_ask(target, measure, steps, "paragraphs on something else", "")


def _train_and_ask(target: Target, measure: Measure, steps: Sequence[Step], name: str, tag: str) -> None:
    before, probes = snapshot(target.parameters), untaught_probes(target)
    questions = ranked_questions(probes, target.loaded.encoder)

    def after_step(number: int, loss: float) -> bool:
        if number in target.points:
            measure(Variant(name, number, tag), target.loaded, probes, questions)
        return False

    # What an attacker teaches can hold tokens that the study's training leaves out.
    taught = (token for step in steps for own in step.retain for token in own.labels)
    head = target.training_head.covering(taught, target.loaded.head)
    # For models with dropout.
    torch.manual_seed(Random(f"{name}-{target.seed}").getrandbits(63))
    try:
        train(target.loaded.body, head, target.parameters, steps, LEARNING, Optimiser(RATE), after_step)
    finally:
        # The model may be an owner's, who interrupts.
        restore(target.parameters, before)
