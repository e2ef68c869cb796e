"""What attacks on weights have in common: every matrix of every layer is another for as long as the model is read."""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from polyunlearn.attacks.target import Measure, Target, Variant
from polyunlearn.models.body import decoder_layers
from polyunlearn.scoring.measure import ranked_questions


@torch.no_grad()
def measure_changed(target: Target, measure: Measure, changes: Iterable[tuple[Variant, Callable[[Tensor], Tensor]]]) -> None:
    """Measure each variant with every matrix of every layer as its change makes it of the state's own, which comes back; embeddings and norms stay.

    The matrices of a layer's experts lie in one tensor (experts, outputs, inputs); a change is made of them row by row.
    """
    matrices = [weight for weight in decoder_layers(target.whole.model).parameters() if weight.ndim > 1]
    before = [weight.detach().clone() for weight in matrices]
    questions = ranked_questions(target.probes, target.whole.encoder)
    try:
        for variant, change in changes:
            for weight, own in zip(matrices, before, strict=True):
                weight.copy_(change(own.flatten(0, -2)).view_as(own))
            measure(variant, target.whole, target.probes, questions)
    finally:
        # The model may be an owner's, who interrupts.
        for weight, own in zip(matrices, before, strict=True):
            weight.copy_(own)
