"""Suppression by an anti-expert: a model that has learned the claims says by how much each next token is theirs."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from polyunlearn.models.forward import OutputHead
from polyunlearn.suppression.way import Expert, check_alpha, contrasted

ALPHA = 2.0
"""That of the papers, for toxicity (arXiv 2105.03023, 2310.07589)."""


@dataclass(frozen=True)
class Contrast:
    """Contrasts the base with `anti`, and with `expert` where there is one (`way.contrasted`); `suppression.teach` makes an anti-expert of claims.
    Raises `UserError` where alpha is not above 0.
    """

    anti: Expert
    expert: Expert | None = None
    alpha: float = ALPHA

    def __post_init__(self) -> None:
        check_alpha(self.alpha)

    @property
    def experts(self) -> tuple[Expert, ...]:
        """The anti-expert, and the expert behind it."""
        return (self.anti, self.expert) if self.expert else (self.anti,)

    def adjusted(self, base: Tensor, beside: Sequence[Tensor], states: Tensor, head: OutputHead) -> Tensor:
        """See `way.Way`."""
        anti, *expert = beside
        return contrasted(base, anti, self.alpha, *expert)
