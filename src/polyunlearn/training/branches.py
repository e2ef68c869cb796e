"""Unlearning in branches: from one state each language is unlearned on its own, then the branches become one model.

After LBMRC (arXiv 2010.14271), which trains a reader for each language and one student of them all: no loss has to fight over languages.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import groupby, zip_longest

from torch import Tensor

from polyunlearn.models.sequences import TokenSequence
from polyunlearn.models.trainable import restore, snapshot
from polyunlearn.training.labels import Labels, asked
from polyunlearn.training.loop import Part, Step, plain
from polyunlearn.training.objectives.kl import KL
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
    start = snapshot(given.parameters)
    half = len(given.steps) // 2
    taught: dict[TokenSequence, Reference] = {}
    losses: list[float] = []
    for branch in branches_of(given.steps[:half]):
        restore(given.parameters, start)
        losses += procedure(_part(given, branch, len(losses)))
        own = {sequence: KL.needs for step in branch for sequence in (*step.forget, *step.instead)}
        taught |= dict.fromkeys(own, reference_now(given.body, given.head, own))
    restore(given.parameters, start)

    def reference(sequence: TokenSequence) -> Labels:
        return asked(taught.get(sequence) or given.reference)(sequence)

    objective = replace(given.objective, forget=Part(KL.term, KL.needs))
    student = _part(given, given.steps[half:], len(losses))
    return losses + trained(replace(student, objective=objective, reference=reference, rule=plain))


def student_steps(steps: Sequence[Step]) -> list[Step]:
    """What the student of such branches sees: their steps, one of each in turn; answers to give instead are imitated like the others."""
    turns: Iterator[Step] = (step for turn in zip_longest(*branches_of(steps)) for step in turn if step)
    return [Step(step.retain, (*step.forget, *step.instead)) for step in turns]


def _part(given: Training, steps: Sequence[Step], done: int) -> Training:
    """The training of some of the steps, after `done` others."""
    return replace(given, steps=steps, after_step=lambda number, loss: given.after_step(done + number, loss))
