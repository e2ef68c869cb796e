"""What the rules share: a step's two parts, and their gradients held apart from each other."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from polyunlearn.training.loop import Step

Gradient = dict[str, Tensor]
"""A gradient by the names of the weights, of their shapes."""


def forget_part(step: Step) -> Step:
    """What a step forgets, with the answers to give instead."""
    return Step(forget=step.forget, instead=step.instead)


def gradient_of(part: Step, backward: Callable[[Step], float], parameters: Mapping[str, nn.Parameter]) -> tuple[Gradient, float]:
    """The gradient of the whole of a part, however many micro-batches it takes, and its share of the loss; `.grad`, which must be empty, is empty
    again. Weights that the part does not reach have a gradient of zero."""
    share = backward(part)
    gradient = {name: torch.zeros_like(weight) if weight.grad is None else weight.grad for name, weight in parameters.items()}
    for weight in parameters.values():
        weight.grad = None
    return gradient, share


def add_gradient(gradient: Gradient, parameters: Mapping[str, nn.Parameter]) -> None:
    """Add a gradient that was held apart to `.grad`."""
    for name, own in gradient.items():
        weight = parameters[name]
        weight.grad = own if weight.grad is None else weight.grad + own


def within(vectors: Tensor, basis: Tensor) -> Tensor:
    """The part of vectors (any, width) that lies in the span of an orthonormal basis (width, directions)."""
    return vectors @ basis @ basis.T


def inner(one: Gradient, other: Gradient) -> float:
    """The inner product of two gradients, summed in double precision."""
    return sum(float(torch.sum(one[name] * other[name], dtype=torch.float64)) for name in one)
