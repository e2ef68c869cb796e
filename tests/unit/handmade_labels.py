"""Labels made by hand, for objectives in numbers: two sequences to forget of 2 and 1 labels, two to retain of 3 and 1."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from polyunlearn.training.labels import Labels, Term, Totals

FORGET = ([-1.0, -2.0], [-3.0])
RETAIN = ([-0.5, -1.5, -2.0], [-4.0])
REFERENCE = ([-0.5, -0.5], [-4.0])
"""What the answers to forget were worth before: -1 and -4 in all, where now they are worth -3 each."""

FORGOTTEN = Totals(sequences=2, labels=3)
RETAINED = Totals(sequences=2, labels=4)


def tensor(value: object) -> Tensor:
    """A leaf in double precision."""
    return torch.tensor(value, dtype=torch.float64, requires_grad=True)


def labels(values: Sequence[Sequence[float]], reference: Sequence[Sequence[float]] | None = None) -> list[Labels]:
    """A `Labels` for each list of log-probs, with those of a reference."""
    found = [Labels(tensor(value)) for value in values]
    if reference is None:
        return found
    return [replace(own, reference=Labels(tensor(before).detach())) for own, before in zip(found, reference, strict=True)]


def of_logits(logits: Sequence[Sequence[float]], targets: Sequence[int], reference: Sequence[Sequence[float]] | None = None) -> Labels:
    """The labels `targets` of one sequence under logits (labels, columns), with those of a reference; the logits are the leaf."""
    leaf = tensor(logits)
    columns = torch.tensor(targets)
    log_probs = torch.log_softmax(leaf, 1).gather(1, columns[:, None])[:, 0]
    before = None if reference is None else of_logits(reference, targets)
    if before is not None:
        assert before.logits is not None
        before = Labels(before.log_probs.detach(), before.logits.detach(), columns)
    return Labels(log_probs, leaf, columns, reference=before)


def gradients(found: Sequence[Labels]) -> list[list[float]]:
    """The gradients of the log-probs."""
    assert all(own.log_probs.grad is not None for own in found)
    return [own.log_probs.grad.tolist() for own in found if own.log_probs.grad is not None]


def finite_differences(
    term: Term, logits: Sequence[Sequence[float]], build: object, totals: Totals, step: float = 1e-5
) -> list[list[float]]:
    """d term / d logits by central differences; `build` makes the `Labels` of such logits."""
    assert callable(build)
    found = []
    for row in range(len(logits)):
        found.append([])
        for column in range(len(logits[row])):
            ends = []
            for sign in (1, -1):
                moved = [list(values) for values in logits]
                moved[row][column] += sign * step
                ends.append(term([build(moved)], totals).item())
            found[-1].append((ends[0] - ends[1]) / (2 * step))
    return found
