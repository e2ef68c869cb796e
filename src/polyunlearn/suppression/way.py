"""What all ways of suppressing share: experts that predict beside a model, and how its prediction is changed by theirs."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

from torch import Tensor
from transformers import PreTrainedModel

from polyunlearn.errors import UserError
from polyunlearn.models.body import Body
from polyunlearn.models.forward import OutputHead


@dataclass(frozen=True)
class Expert:
    """A language model that predicts beside another of the same vocabulary: one of its own, or the same with adapters that `active` switches on
    while it computes."""

    model: PreTrainedModel
    active: Callable[[], AbstractContextManager[None]] = nullcontext

    @cached_property
    def body(self) -> Body:
        """Its hidden states, to be computed while it is active."""
        return Body(self.model)

    @cached_property
    def head(self) -> OutputHead:
        """Its output layer."""
        return OutputHead.of(self.model)


class Way(Protocol):
    """A way of suppressing, alike for text that is being written and for text that is there."""

    @property
    def experts(self) -> tuple[Expert, ...]:
        """The models that it asks beside the base, if any."""

    def adjusted(self, base: Tensor, beside: Sequence[Tensor], states: Tensor, head: OutputHead) -> Tensor:
        """Logits (positions, columns) in place of the base's logits or log-probs `base`; those of a position count up to a constant.

        `beside` are the logits of the experts, and `states` (positions, width) those that the base's were made of. `head` says which tokens the
        columns are of.
        """


def contrasted(base: Tensor, anti: Tensor, alpha: float | Tensor, expert: Tensor | None = None) -> Tensor:
    r"""DExperts (arXiv 2105.03023): what an anti-expert finds likelier than the expert does becomes less likely.

    .. math:: z' = z + \alpha (z_\mathrm{expert} - z_\mathrm{anti})

    Without an expert the base takes its place. Log-probs do for logits: a constant at a position changes nothing after the softmax.
    """
    return base + alpha * ((base if expert is None else expert) - anti)


def check_alpha(alpha: float) -> None:
    """Raise `UserError` for a contrast that would suppress nothing, or say a claim louder."""
    if not alpha > 0:
        raise UserError(f"alpha {alpha:g}: give a number above 0; the papers have 2")


def check_experts(head: OutputHead, way: Way) -> None:
    """Raise `UserError` where an expert has another vocabulary than the base, whose output layer is `head`."""
    size = len(head.weight if head.column_of is None else head.column_of)
    for expert in way.experts:
        if len(expert.head.weight) != size:
            raise UserError(
                f"{type(expert.model).__name__}: has a vocabulary of {len(expert.head.weight)} tokens, the model one of {size}; "
                "make the anti-expert from the model itself"
            )
