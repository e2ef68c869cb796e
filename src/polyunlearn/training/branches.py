"""Training in branches: from one state each language is unlearned or learned on its own, then the branches become one model.

After LBMRC (arXiv 2010.14271), which trains a reader for each language and one student of them all: no loss has to fight over languages.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import reduce
from itertools import groupby, zip_longest

import torch
from torch import Tensor

from polyunlearn.models.sequences import TokenSequence
from polyunlearn.models.trainable import restore, snapshot
from polyunlearn.training.labels import Labels, Need, Totals, asked
from polyunlearn.training.loop import Part, Step, plain
from polyunlearn.training.objectives.cross_entropy import cross_entropy
from polyunlearn.training.objectives.kl import KL, kl
from polyunlearn.training.reference import Reference, reference_now
from polyunlearn.training.unlearning import Procedure, Training, trained


def branches_of(steps: Sequence[Step]) -> list[list[Step]]:
    """The steps of each branch: those that follow one another and forget in the same language."""
    return [list(own) for _, own in groupby(steps, lambda step: step.forget[0].language)]


def merge(given: Training, procedure: Procedure) -> list[float]:
    r"""Unlearn every branch from where the weights are and leave them at the sum of what the branches moved by; returns the loss of each step.

    .. math:: \theta = \theta_0 + \sum_l (\theta_l - \theta_0)

    The sum, not the mean: each of k branches has a k-th of the steps, so the sum moves in all as far as one training on all the steps, and a
    language as far as its own steps move it, where the mean would move it a k-th of that. One branch alone ends as it would without.

    Costs what the steps cost, and two copies of the weights.
    """
    start = snapshot(given.parameters)
    moved: dict[str, Tensor] = {}
    losses: list[float] = []
    for branch in branches_of(given.steps):
        restore(given.parameters, start)
        losses += procedure(_part(given, branch, len(losses)))
        # The first branch's end itself, so that one branch is no other than a plain training, to the bit.
        moved = {name: moved[name] + (end - start[name]) if moved else end for name, end in snapshot(given.parameters).items()}
    restore(given.parameters, moved)
    return losses


def distil(given: Training, procedure: Procedure) -> list[float]:
    r"""Unlearn every branch from where the weights are, and from there again train one student of them all; returns the loss of each step.

    .. math:: L = \frac{1}{N} \sum_{i,t} \mathrm{KL}\bigl(p_{\theta_{l(i)}} \Vert p_\theta\bigr) + \text{retain}

    The student imitates, at each label to forget (or to say instead), the branch of its language, beside the method's retain term. It learns what
    branches say, not where they are: what a method does to the weights, such as the noise of UNDO, is in a branch and not in the student.
    The first half of the steps is the branches', the other the student's (`student_steps`): as many again. After each branch there is a forward pass
    over what it unlearned.
    """
    half = len(given.steps) // 2
    branches = branches_of(given.steps[:half])
    wanted = [{sequence: KL.needs for step in branch for sequence in (*step.forget, *step.instead)} for branch in branches]
    teachers, losses = _teachers(given, branches, procedure, wanted)
    taught = {sequence: teacher for teacher, own in zip(teachers, wanted, strict=True) for sequence in own}

    def reference(sequence: TokenSequence) -> Labels:
        return asked(taught.get(sequence) or given.reference)(sequence)

    objective = replace(given.objective, forget=Part(KL.term, KL.needs))
    student = _part(given, given.steps[half:], len(losses))
    return losses + trained(replace(student, objective=objective, reference=reference, rule=plain))


def learned_in_branches(given: Training, branches: Sequence[Sequence[Step]]) -> list[float]:
    r"""Learn every branch from where the weights are, and from there again train one student of them all on the steps; returns the loss of each step.

    .. math:: L = \frac{1}{N} \sum_{i,t} \Bigl[ -\log p_\theta(y_{i,t}) + \mathrm{KL}\bigl(\tfrac{1}{k} \sum_l p_{\theta_l} \Vert p_\theta\bigr) \Bigr]

    The student learns what is to be learned, as each of the k branches did on its own steps, and imitates the mean of what they predict, those that did
    not learn a sequence among them. That has the gradient of the mean of their divergences. A branch has the schedule of a training of its own,
    whose rate rises over the same share of its steps.
    Beside the steps it costs those of the branches, and k forward passes over what the student learns.
    """
    wanted = {sequence: KL.needs for step in given.steps for sequence in step.retain}

    def alone(branch: Training) -> list[float]:
        warm_up = given.optimiser.warm_up * len(branch.steps) // len(given.steps)
        return trained(replace(branch, optimiser=replace(branch.optimiser, warm_up=warm_up)))

    teachers, losses = _teachers(given, branches, alone, [wanted] * len(branches))
    objective = replace(given.objective, retain=Part(imitation, KL.needs))
    student = _part(given, given.steps, len(losses))
    return losses + trained(replace(student, objective=objective, reference=mean_of(teachers)))


def imitation(labels: Sequence[Labels], totals: Totals) -> Tensor:
    """The share of some sequences in a step's mean cross-entropy and mean divergence from the reference, in nats a label."""
    return cross_entropy(labels, totals) + kl(labels, totals)


def mean_of(teachers: Sequence[Callable[[TokenSequence], Labels]]) -> Callable[[TokenSequence], Labels]:
    """A reference that predicts the mean of what the teachers predict, each counting alike; its logits are log-probs."""

    def reference(sequence: TokenSequence) -> Labels:
        own = [teacher(sequence) for teacher in teachers]
        whole = [torch.log_softmax(asked(labels.logits), dim=1) for labels in own]
        return Labels(_log_mean([labels.log_probs for labels in own]), _log_mean(whole))

    return reference


def _log_mean(log_probs: Sequence[Tensor]) -> Tensor:
    return reduce(torch.logaddexp, log_probs) - math.log(len(log_probs))


def student_steps(steps: Sequence[Step]) -> list[Step]:
    """What the student of such branches sees: their steps, one of each in turn; answers to give instead are imitated like the others."""
    turns: Iterator[Step] = (step for turn in zip_longest(*branches_of(steps)) for step in turn if step)
    return [Step(step.retain, (*step.forget, *step.instead)) for step in turns]


def _teachers(
    given: Training,
    branches: Sequence[Sequence[Step]],
    procedure: Procedure,
    wanted: Sequence[Mapping[TokenSequence, frozenset[Need]]],
) -> tuple[list[Reference], list[float]]:
    """Train every branch from where the weights are, and leave them there again; returns what each makes of what is wanted of it, and the losses."""
    start = snapshot(given.parameters)
    teachers: list[Reference] = []
    losses: list[float] = []
    for branch, own in zip(branches, wanted, strict=True):
        losses += procedure(_part(given, branch, len(losses)))
        teachers.append(reference_now(given.body, given.head, own))
        restore(given.parameters, start)
    return teachers, losses


def _part(given: Training, steps: Sequence[Step], done: int) -> Training:
    """The training of some of the steps, after `done` others."""
    return replace(given, steps=steps, after_step=lambda number, loss: given.after_step(done + number, loss))
