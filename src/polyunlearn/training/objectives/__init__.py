"""The objectives, by the name under which a study asks for them."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from polyunlearn.training.loop import Objective, Step
from polyunlearn.training.objectives.cross_entropy import cross_entropy
from polyunlearn.training.objectives.gradient_ascent import gradient_ascent
from polyunlearn.training.objectives.gradient_difference import gradient_difference


@dataclass(frozen=True)
class Method:
    """An unlearning method: its objective, and whether it has a retain term."""

    objective: Objective
    retains: bool


METHODS = {
    "gradient_ascent": Method(gradient_ascent, retains=False),
    "gradient_difference": Method(gradient_difference, retains=True),
}


def learning(forget: Sequence[Tensor], retain: Sequence[Tensor], step: Step) -> Tensor:
    """The objective of the learning stage: cross-entropy of everything in the step."""
    return cross_entropy(retain, step.retain_tokens)
