"""What an objective sees of a sequence: what the model, and where asked the reference, make of its labels."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

import torch
from torch import Tensor

Need = Literal["logits", "states", "instead", "reference", "reference_logits", "reference_states", "reference_repeated"]
"""What a term asks for beside the log-probs of the labels; each names a field of `Labels`, or one of its `reference`."""


@dataclass(frozen=True)
class Labels:
    """One sequence's labels under one model state; a field that no term asks for is None.

    `log_probs` (labels,) in nats; `logits` (labels, columns) over the tokens of the output layer, of which `targets` (labels,) are the columns of
    the labels; `states` (labels, width), where the label is predicted, as they leave the watched layer. `repeated` (labels,), of a reference
    only, is the log-prob, where the label is predicted, that the label before it is said once more instead; -inf at the first label, which has none. `instead` is the answer to give instead, `reference` the same labels
    under the state that training starts from, without a gradient.
    """

    log_probs: Tensor
    logits: Tensor | None = None
    targets: Tensor | None = None
    states: Tensor | None = None
    repeated: Tensor | None = None
    instead: "Labels | None" = None
    reference: "Labels | None" = None

    def __len__(self) -> int:
        return len(self.log_probs)


@dataclass(frozen=True)
class Totals:
    """What a whole step holds of one part, by which the shares of its micro-batches are normalised: sequences, labels, and labels of the answers
    to give instead."""

    sequences: int
    labels: int
    instead: int = 0


Term = Callable[[Sequence[Labels], Totals], Tensor]
"""The share of some sequences in a step's loss. It adds up: over any split of a step into micro-batches, the shares come to the loss."""


Asked = TypeVar("Asked")


def asked(part: Asked | None) -> Asked:
    """A field that the term's needs name; raises `ValueError` where the loop left it out."""
    if part is None:
        raise ValueError("a term reads what its method does not name among its needs")
    return part


def let_go(own: Labels, gone: Tensor) -> Labels:
    """The same labels, without a gradient where `gone` is true; they still have a graph, with a gradient of zero."""

    def released(part: Tensor) -> Tensor:
        return torch.where(gone, part.detach(), part)

    fields: Mapping[str, Tensor | Labels | None] = vars(own)
    return Labels(**{  # type: ignore[arg-type]
        name: part if name in ("reference", "targets") or part is None else let_go(part, gone) if isinstance(part, Labels) else released(part)
        for name, part in fields.items()
    })  # fmt: skip
