"""Pruning: the smallest weights set to zero, as a model is to run faster."""

import torch
from torch import Tensor, nn

from polyunlearn.attacks.target import Measure, Target, Variant
from polyunlearn.models.body import decoder_layers
from polyunlearn.scoring.measure import ranked_questions

SHARES = (0.1, 0.2, 0.3)
"""Of each row's weights."""


def pruned(weight: Tensor, share: float) -> Tensor:
    """A matrix (outputs, inputs) without the `share` of each row's weights that are smallest in size, rounded down to whole weights."""
    count = int(weight.shape[1] * share)
    smallest = weight.abs().topk(count, dim=1, largest=False).indices
    return weight.scatter(1, smallest, 0.0)


@torch.no_grad()
def pruning(target: Target, measure: Measure) -> None:
    """Prune every matrix of every layer; embeddings and norms stay."""
    matrices = [module for module in decoder_layers(target.whole.model).modules() if isinstance(module, nn.Linear)]
    before = [module.weight.detach().clone() for module in matrices]
    questions = ranked_questions(target.probes, target.whole.encoder)
    for share in SHARES:
        for module, weight in zip(matrices, before, strict=True):
            module.weight.copy_(pruned(weight, share))
        measure(Variant(f"{share:.0%} of each row", share), target.whole, target.probes, questions)
    for module, weight in zip(matrices, before, strict=True):
        module.weight.copy_(weight)
