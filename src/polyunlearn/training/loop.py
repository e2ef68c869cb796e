"""The one training loop: takes steps, calls an objective on per-token log-probs, moves the trainable weights.

It knows nothing of languages, stories or methods. A step is split into packed micro-batches, whose shares of the loss add
up to the step's, so neither padding nor memory limits change what is computed.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from polyunlearn.models.batching import PACK_BUDGET, packs
from polyunlearn.models.body import Body
from polyunlearn.models.forward import OutputHead, label_log_probs
from polyunlearn.models.sequences import TokenSequence


@dataclass(frozen=True)
class Step:
    """What one optimiser step sees: sequences to learn or retain, and sequences to forget."""

    retain: tuple[TokenSequence, ...] = ()
    forget: tuple[TokenSequence, ...] = ()

    @property
    def retain_tokens(self) -> int:
        """Labels to retain."""
        return sum(len(sequence.labels) for sequence in self.retain)

    @property
    def forget_tokens(self) -> int:
        """Labels to forget."""
        return sum(len(sequence.labels) for sequence in self.forget)

    @property
    def tokens(self) -> int:
        """Tokens that the model reads in this step."""
        return sum(len(sequence.ids) for sequence in (*self.retain, *self.forget))


@dataclass(frozen=True)
class LogProbs:
    """The log-probs (nats) of a micro-batch's labels, a tensor (labels,) a sequence.

    `reference` has those of the sequences to forget under the state that training starts from, where the objective asks for them.
    """

    forget: Sequence[Tensor]
    retain: Sequence[Tensor]
    reference: Sequence[Tensor] = ()


class Objective(Protocol):
    """The share of a micro-batch in a step's loss; the step's totals normalise it."""

    def __call__(self, log_probs: LogProbs, step: Step) -> Tensor: ...


@dataclass(frozen=True)
class Optimiser:
    """AdamW (arXiv 1711.05101) with a linear warm-up to `rate` over `warm_up` steps, then constant or falling linearly to zero."""

    rate: float
    warm_up: int = 0
    decay: bool = False
    weight_decay: float = 0.0
    clip: float = 1.0
    """Gradients are scaled down to this norm, where it is above zero."""

    def rate_at(self, step: int, steps: int) -> float:
        """The learning rate of step `step` (from 0) of `steps`."""
        warm = min(1.0, (step + 1) / self.warm_up) if self.warm_up else 1.0
        return self.rate * warm * ((1 - step / steps) if self.decay else 1.0)


class _LabelLogProbs(nn.Module):
    """The forward pass as a module, so that Accelerate can wrap it."""

    def __init__(self, body: Body, head: OutputHead):
        super().__init__()
        self.body = body
        self.head = head

    def forward(self, sequences: Sequence[TokenSequence]) -> list[Tensor]:
        return label_log_probs(self.body, self.head, sequences)


def train(
    body: Body,
    head: OutputHead,
    parameters: Mapping[str, nn.Parameter],
    steps: Sequence[Step],
    objective: Objective,
    optimiser: Optimiser,
    after_step: Callable[[int, float], bool] = lambda step, loss: False,
    reference: Mapping[TokenSequence, Tensor] | None = None,
    token_budget: int = PACK_BUDGET,
) -> list[float]:
    """Train `parameters` on `steps` in order; returns the loss of each step taken.

    `reference` holds the log-probs that a `ReferenceCache` found, for an objective that asks for them. `after_step(number, loss)` is called after each step, numbered from 1, and ends the training by returning True. Weights are moved
    in place. Raises `ValueError` where a trainable weight gets no gradient at the first step.
    """
    accelerator = Accelerator()
    adam = torch.optim.AdamW(parameters.values(), lr=optimiser.rate, weight_decay=optimiser.weight_decay, fused=True)
    module, adam = accelerator.prepare(_LabelLogProbs(body, head), adam)
    body.train()
    losses: list[float] = []
    for number, step in enumerate(steps):
        for group in adam.param_groups:
            group["lr"] = optimiser.rate_at(number, len(steps))
        total = 0.0
        for sequences, forget in _micro_batches(step, token_budget):
            found = module(sequences)
            log_probs = LogProbs(
                forget=[own for own, is_forget in zip(found, forget, strict=True) if is_forget],
                retain=[own for own, is_forget in zip(found, forget, strict=True) if not is_forget],
                reference=[reference[own] for own, is_forget in zip(sequences, forget, strict=True) if is_forget] if reference else (),
            )
            share = objective(log_probs, step)
            accelerator.backward(share)
            total += share.item()
        if number == 0:
            _check_gradients(parameters)
        if optimiser.clip:
            accelerator.clip_grad_norm_(parameters.values(), optimiser.clip)
        adam.step()
        adam.zero_grad()
        losses.append(total)
        body.eval()
        stop = after_step(number + 1, total)
        body.train()
        if stop:
            break
    body.eval()
    return losses


def _micro_batches(step: Step, token_budget: int) -> list[tuple[list[TokenSequence], list[bool]]]:
    sequences = [*step.retain, *step.forget]
    forget = [False] * len(step.retain) + [True] * len(step.forget)
    batches = packs([len(sequence.ids) for sequence in sequences], token_budget)
    return [([sequences[i] for i in batch], [forget[i] for i in batch]) for batch in batches]


def _check_gradients(parameters: Mapping[str, nn.Parameter]) -> None:
    without = [name for name, parameter in parameters.items() if parameter.grad is None]
    if without:
        raise ValueError(f"{len(without)} trainable weights got no gradient, {without[0]} among them")
