"""What attacks on weights have in common: every matrix of every layer is another for as long as the model is read."""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from polyunlearn.attacks.target import Measure, Target, Variant
from polyunlearn.models.body import decoder_layers
from polyunlearn.scoring.measure import ranked_questions


@torch.no_grad()
def measure_changed(target: Target, measure: Measure, changes: Iterable[tuple[Variant, Callable[[Tensor], Tensor]]]) -> None:
    """Measure each variant with every matrix of every layer as its change makes it of the state's own, which comes back; embeddings and norms stay."""
    matrices = [module for module in decoder_layers(target.whole.model).modules() if isinstance(module, nn.Linear)]
    before = [module.weight.detach().clone() for module in matrices]
    questions = ranked_questions(target.probes, target.whole.encoder)
    try:
        for variant, change in changes:
            for module, weight in zip(matrices, before, strict=True):
                module.weight.copy_(change(weight))
            measure(variant, target.whole, target.probes, questions)
    finally:
        # The model may be an owner's, who interrupts.
        for module, weight in zip(matrices, before, strict=True):
            module.weight.copy_(weight)
