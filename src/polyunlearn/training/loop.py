"""The one training loop: takes steps, calls an objective on what the model makes of their labels, moves the trainable weights.

It knows nothing of languages, stories or methods. A step is split into packed micro-batches, whose shares of the loss add
up to the step's, so neither padding nor memory limits change what is computed.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Protocol

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, GradientState, PartialState
from torch import Tensor, nn

from polyunlearn.models.batching import PACK_BUDGET, packs
from polyunlearn.models.body import Body
from polyunlearn.models.forward import LabelPass, OutputHead, label_passes
from polyunlearn.models.memory import give_back_freed
from polyunlearn.models.sequences import TokenSequence
from polyunlearn.training.labels import Labels, Need, Term, Totals, let_go
from polyunlearn.training.weighting import LanguageWeights, weighted


@dataclass(frozen=True)
class Step:
    """What one optimiser step sees: sequences to learn or retain, sequences to forget, and for each of these the one to give instead, or none at all."""

    retain: tuple[TokenSequence, ...] = ()
    forget: tuple[TokenSequence, ...] = ()
    instead: tuple[TokenSequence, ...] = ()

    @property
    def sequences(self) -> tuple[TokenSequence, ...]:
        """All of them."""
        return (*self.retain, *self.forget, *self.instead)

    @property
    def labels(self) -> int:
        """Labels in this step."""
        return sum(len(sequence.labels) for sequence in self.sequences)

    @property
    def tokens(self) -> int:
        """Tokens that the model reads in this step."""
        return sum(len(sequence.ids) for sequence in self.sequences)


@dataclass(frozen=True)
class Part:
    """One term of an objective, with what it asks of the loop and its weight.

    A sequence whose mean log-prob (nats a token) is below `stop_below` is let go: it then has no gradient. It is the stop rule of
    unlearning, the same for every method, strategy and language: what is gone is pushed no further while the rest still is, so an early
    language is not wrecked for the sake of a late one. It looks at the answer, not at its tokens: how a name goes on once it has begun is
    spelling that languages share, and need not go as far as how it begins. `floors` are those of single sequences, in its place.

    `by_language` weights the sequences of each language, of a term on what is forgotten; None leaves them together.
    """

    term: Term
    needs: frozenset[Need] = frozenset()
    weight: float = 1.0
    stop_below: float | None = None
    by_language: LanguageWeights | None = None
    floors: Mapping[TokenSequence, float] = field(default_factory=dict)

    def floor(self, sequence: TokenSequence) -> float:
        """The mean log-prob (nats a token) below which a sequence is let go."""
        return self.floors.get(sequence, -math.inf if self.stop_below is None else self.stop_below)


@dataclass(frozen=True)
class Dual:
    """A weight of the retain term that follows its loss, as the dual variable of the bound that it stay within `tolerance` (nats a label)."""

    rate: float
    tolerance: float

    def after(self, weight: float, retained: float) -> float:
        """The weight after a step whose retain loss, without its weight, was `retained`."""
        return max(0.0, weight + self.rate * (retained - self.tolerance))


@dataclass(frozen=True)
class Objective:
    """The loss of a step: a term on what it forgets and one on what it retains; `watched` is the layer whose states terms may ask for.

    With `dual`, the retain term's weight is what a training begins with.
    """

    forget: Part | None
    retain: Part | None
    watched: int | None = None
    dual: Dual | None = None

    def after(self, retained: float) -> "Objective":
        """The objective of the step after one whose retain loss, without its weight, was `retained`."""
        if not (self.dual and self.retain):
            return self
        return replace(self, retain=replace(self.retain, weight=self.dual.after(self.retain.weight, retained)))


class Backward(Protocol):
    """Adds the gradient of a part of the step, given as a step of its own, to `.grad`, and returns its share of the step's loss.

    With `moved` the weights are not where the step found them, so that nothing is learned there of what is left in a language. Elsewhere that is read off
    every answer that the step forgets, even where a rule teaches it, so a rule passes each once there at most.
    """

    def __call__(self, part: Step, *, moved: bool = False) -> float: ...


Rule = Callable[[Step, Backward, Mapping[str, nn.Parameter], nn.Module], float]
"""Leaves the gradient by which a step moves the weights in `.grad`, which is empty before, and returns the step's loss.

It gets the step, what adds gradients, the weights that train, by name, and the body that holds them.
"""


def plain(step: Step, backward: Backward, parameters: Mapping[str, nn.Parameter], body: nn.Module) -> float:
    """The gradient of the loss."""
    return backward(step)


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


class MasterWeights:
    """The fp32 weights that the optimiser moves: those of the model themselves, or copies of those that it holds in fewer bits.

    Next to a weight of 1, bf16 has no number nearer than 0.004, so steps of 1e-5 would be rounded away one by one; in a copy they add up.
    """

    def __init__(self, parameters: Iterable[nn.Parameter]):
        self._pairs = [(own, own if own.dtype == torch.float32 else nn.Parameter(own.detach().float())) for own in parameters]

    @property
    def masters(self) -> list[nn.Parameter]:
        """What the optimiser is given, in the order of the weights."""
        return [master for _, master in self._pairs]

    def take_gradients(self) -> None:
        """Move the gradients of the model's weights to the copies."""
        for own, master in self._pairs:
            if master is not own:
                master.grad, own.grad = own.grad.float() if own.grad is not None else None, None

    @torch.no_grad()
    def give_values(self) -> None:
        """Round the copies into the model's weights."""
        for own, master in self._pairs:
            if master is not own:
                own.copy_(master)


GIVE_BACK_EVERY = 8
"""Steps between two times that freed memory goes back to the system: it gathers by a tenth of a gigabyte in a few, and to ask for it anew costs a step one twentieth."""


class _LabelPasses(nn.Module):
    """The forward pass as a module, so that Accelerate can wrap it."""

    def __init__(self, body: Body, head: OutputHead):
        super().__init__()
        self.body = body
        self.head = head

    def forward(self, sequences: Sequence[TokenSequence], logits: bool, watched: int | None) -> list[LabelPass]:
        return label_passes(self.body, self.head, sequences, logits=logits, watched=watched)


def train(
    body: Body,
    head: OutputHead,
    parameters: Mapping[str, nn.Parameter],
    steps: Sequence[Step],
    objective: Objective,
    optimiser: Optimiser,
    after_step: Callable[[int, float], bool] = lambda step, loss: False,
    reference: Callable[[TokenSequence], Labels] | None = None,
    rule: Rule = plain,
    token_budget: int = PACK_BUDGET,
) -> list[float]:
    """Train `parameters` on `steps` in order; returns the loss of each step taken.

    `reference` says what the state that training starts from makes of a sequence, for an objective that asks for it. `after_step(number, loss)`
    is called after each step, numbered from 1, and ends the training by returning True. Weights are moved in place. Raises `ValueError` where a
    trainable weight gets no gradient at the first step.
    """
    with _training(body) as accelerator:
        weights = MasterWeights(parameters.values())
        adam = torch.optim.AdamW(weights.masters, lr=optimiser.rate, weight_decay=optimiser.weight_decay, fused=True)
        module, adam = accelerator.prepare(_LabelPasses(body, head), adam)
        losses: list[float] = []
        body.train()
        for number, step in enumerate(steps):
            for group in adam.param_groups:
                group["lr"] = optimiser.rate_at(number, len(steps))

            retained: list[float] = []

            def backward(
                part: Step, *, moved: bool = False, whole: Step = step, current: Objective = objective, retained: list[float] = retained
            ) -> float:
                total = 0.0
                for retain, forget in _micro_batches(part, token_budget):
                    share, kept = _share(module, current, retain, forget, whole, reference, observed=not moved)
                    accelerator.backward(share)
                    total += share.item()
                    retained.append(kept.item())
                return total

            loss = rule(step, backward, parameters, body)
            if number == 0:
                _check_gradients(parameters)
            if optimiser.clip:
                accelerator.clip_grad_norm_(parameters.values(), optimiser.clip)
            weights.take_gradients()
            adam.step()
            adam.zero_grad()
            weights.give_values()
            if number % GIVE_BACK_EVERY == 0:
                give_back_freed()
            losses.append(loss)
            if objective.forget and objective.forget.by_language:
                objective.forget.by_language.end_step()
            if step.retain:
                # Rules go over what is retained once, in however many parts.
                objective = objective.after(sum(retained))
            body.eval()
            stop = after_step(number + 1, loss)
            body.train()
            if stop:
                break
    return losses


@contextmanager
def _training(body: Body) -> Iterator[Accelerator]:
    """An accelerator of our own; afterwards the body is in evaluation mode, whatever happened.

    An accelerator's settings are the process's, so those of whoever calls us are set aside and come back: under their accumulation no step would
    be taken, and under their autocast log-probs would be rounded. Where there are none, none are left that theirs would have to agree with.
    """
    states = (AcceleratorState, GradientState, PartialState)
    before = [dict(own._shared_state) for own in states]
    AcceleratorState._shared_state.clear()
    GradientState._shared_state.clear()
    try:
        # Weights stay where they are: an owner may hold a model on the CPU of a machine that has a GPU.
        yield Accelerator(device_placement=False, mixed_precision="no", gradient_accumulation_steps=1)
    finally:
        body.eval()
        for own, kept in zip(states, before, strict=True):
            own._shared_state.clear()
            own._shared_state.update(kept)


Forgotten = tuple[TokenSequence, TokenSequence | None]
"""An answer to forget, with the one to give instead, if any."""


def _share(
    module: nn.Module,
    objective: Objective,
    retain: Sequence[TokenSequence],
    forget: Sequence[Forgotten],
    step: Step,
    reference: Callable[[TokenSequence], Labels] | None,
    *,
    observed: bool,
) -> tuple[Tensor, Tensor]:
    """The share of one micro-batch in the loss of `step`, and in its retain loss without the weight, which has no gradient. Where it is `observed`, the
    weights of languages take note of what the step forgets."""
    sequences = [*retain, *(own for own, _ in forget), *(other for _, other in forget if other)]
    parts = (objective.retain, objective.forget)
    watches = any(part and {"states"} & part.needs for part in parts)
    logits = any(part and "logits" in part.needs for part in parts)
    passes = dict(zip(sequences, module(sequences, logits, objective.watched if watches else None), strict=True))

    def labels(sequence: TokenSequence, part: Part, instead: TokenSequence | None = None) -> Labels:
        found = passes[sequence]
        before = reference(sequence) if reference and any(need.startswith("reference") for need in part.needs) else None
        other = labels(instead, part) if instead else None
        return Labels(found.log_probs, found.logits, found.targets, found.watched, None, other, before)

    by_language = objective.forget.by_language if objective.forget and observed else None
    if by_language:
        forgotten = set(step.forget)
        for sequence in (*retain, *(own for own, _ in forget)):
            if sequence in forgotten:
                by_language.observe(sequence.language, passes[sequence].log_probs)
    shares = []
    retained = torch.zeros(())
    if objective.retain and retain:
        part = objective.retain
        retained = part.term([labels(own, part) for own in retain], _totals(step.retain, ()))
        shares.append(part.weight * retained)
    if objective.forget and forget:
        part = objective.forget
        own = [labels(sequence, part, other) for sequence, other in forget]
        if part.floors or part.stop_below is not None:
            # Rather than left out: a micro-batch that is wholly let go still has a graph, with a gradient of zero.
            own = [let_go(one, one.log_probs.mean() < part.floor(sequence)) for one, (sequence, _) in zip(own, forget, strict=True)]
        totals = _totals(step.forget, step.instead)
        if part.by_language is None:
            shares.append(part.weight * part.term(own, totals))
        else:
            shares.append(part.weight * weighted(part.term, own, [sequence.language for sequence, _ in forget], totals, part.by_language))
    loss = torch.stack(shares).sum() if shares else sum((found.log_probs.sum() for found in passes.values()), torch.zeros(())) * 0
    return loss, retained.detach()


def _totals(sequences: Sequence[TokenSequence], instead: Sequence[TokenSequence]) -> Totals:
    return Totals(len(sequences), sum(len(own.labels) for own in sequences), sum(len(own.labels) for own in instead))


def _micro_batches(step: Step, token_budget: int) -> list[tuple[list[TokenSequence], list[Forgotten]]]:
    """What to retain and what to forget, an answer always beside the one to give instead."""
    retain = list(step.retain)
    forget: list[Forgotten] = list(zip(step.forget, step.instead or [None] * len(step.forget), strict=True))
    lengths = [len(own.ids) for own in retain] + [len(own.ids) + (len(other.ids) if other else 0) for own, other in forget]
    batches = packs(lengths, token_budget)
    return [
        ([retain[i] for i in batch if i < len(retain)], [forget[i - len(retain)] for i in batch if i >= len(retain)]) for batch in batches
    ]


def _check_gradients(parameters: Mapping[str, nn.Parameter]) -> None:
    without = [name for name, parameter in parameters.items() if parameter.grad is None]
    if without:
        raise ValueError(f"{len(without)} trainable weights got no gradient, {without[0]} among them")
