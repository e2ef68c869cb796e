"""The objectives, by the name under which a study asks for them."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from polyunlearn.training.loop import LogProbs, Objective, Step
from polyunlearn.training.objectives.cross_entropy import cross_entropy
from polyunlearn.training.objectives.gradient_ascent import gradient_ascent
from polyunlearn.training.objectives.gradient_difference import gradient_difference
from polyunlearn.training.objectives.npo import npo
from polyunlearn.training.objectives.simnpo import simnpo
from polyunlearn.training.objectives.weighted_ascent import weighted_ascent


@dataclass(frozen=True)
class Method:
    """An unlearning method: its objective, given the weight of its retain term; whether it has one, and whether it asks what the answers
    to forget were worth to the state that unlearning starts from."""

    objective: Callable[[float], Objective]
    retains: bool
    needs_reference: bool = False


METHODS = {
    "gradient_ascent": Method(lambda retain_weight: gradient_ascent, retains=False),
    "gradient_difference": Method(lambda retain_weight: partial(gradient_difference, retain_weight=retain_weight), retains=True),
    "npo": Method(lambda retain_weight: partial(npo, retain_weight=retain_weight), retains=True, needs_reference=True),
    "simnpo": Method(lambda retain_weight: partial(simnpo, retain_weight=retain_weight), retains=True),
    "wga": Method(lambda retain_weight: partial(weighted_ascent, retain_weight=retain_weight, known=1.0), retains=True),
    "satimp": Method(lambda retain_weight: partial(weighted_ascent, retain_weight=retain_weight, known=5.0, unsure=1.0), retains=True),
}


def stopped_below(objective: Objective, floor: float) -> Objective:
    """`objective`, where an answer to forget is let go once its mean log-prob (nats a token) is below `floor`: it then has no gradient.

    The stop rule of unlearning, the same for every method, strategy and language: what is gone is pushed no further while the rest
    still is, so an early language is not wrecked for the sake of a late one. It looks at the answer, not at its tokens: how a name
    goes on once it has begun is spelling that languages share, and need not go as far as how it begins.
    """

    def stopped(log_probs: LogProbs, step: Step) -> Tensor:
        # `where` rather than a plain detach: a micro-batch that is wholly let go still has a graph, with a gradient of zero.
        forget = [torch.where(own.mean() < floor, own.detach(), own) for own in log_probs.forget]
        return objective(replace(log_probs, forget=forget), step)

    return stopped


def learning(log_probs: LogProbs, step: Step) -> Tensor:
    """The objective of the learning stage: cross-entropy of everything in the step."""
    return cross_entropy(log_probs.retain, step.retain_tokens)
