"""The objectives, by the name under which a study asks for them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

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
    """`objective`, where a token to forget is let go once its log-prob (nats) is below `floor`: it counts as `floor` and has no gradient.

    The stop rule of unlearning, the same for every method, strategy and language: what is gone is pushed no further while the rest
    still is, so an early language is not wrecked for the sake of a late one.
    """

    def stopped(forget: Sequence[Tensor], retain: Sequence[Tensor], step: Step) -> Tensor:
        return objective([log_probs.clamp(min=floor) for log_probs in forget], retain, step)

    return stopped


def learning(forget: Sequence[Tensor], retain: Sequence[Tensor], step: Step) -> Tensor:
    """The objective of the learning stage: cross-entropy of everything in the step."""
    return cross_entropy(retain, step.retain_tokens)
