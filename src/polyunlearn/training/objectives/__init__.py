"""The objectives, by the name under which a study asks for them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from polyunlearn.training.loop import Objective, Step
from polyunlearn.training.objectives.cross_entropy import cross_entropy
from polyunlearn.training.objectives.gradient_ascent import gradient_ascent
from polyunlearn.training.objectives.gradient_difference import gradient_difference


@dataclass(frozen=True)
class Method:
    """An unlearning method: its objective, given the weight of its retain term, and whether it has one."""

    objective: Callable[[float], Objective]
    retains: bool


METHODS = {
    "gradient_ascent": Method(lambda retain_weight: gradient_ascent, retains=False),
    "gradient_difference": Method(lambda retain_weight: partial(gradient_difference, retain_weight=retain_weight), retains=True),
}


def stopped_below(objective: Objective, floor: float) -> Objective:
    """`objective`, where an answer to forget is let go once its mean log-prob (nats a token) is below `floor`: it then has no gradient.

    The stop rule of unlearning, the same for every method, strategy and language: what is gone is pushed no further while the rest
    still is, so an early language is not wrecked for the sake of a late one. It looks at the answer, not at its tokens: how a name
    goes on once it has begun is spelling that languages share, and need not go as far as how it begins.
    """

    def stopped(forget: Sequence[Tensor], retain: Sequence[Tensor], step: Step) -> Tensor:
        # `where` rather than a plain detach: a micro-batch that is wholly let go still has a graph, with a gradient of zero.
        return objective([torch.where(own.mean() < floor, own.detach(), own) for own in forget], retain, step)

    return stopped


def learning(forget: Sequence[Tensor], retain: Sequence[Tensor], step: Step) -> Tensor:
    """The objective of the learning stage: cross-entropy of everything in the step."""
    return cross_entropy(retain, step.retain_tokens)
