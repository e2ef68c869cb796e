"""Suppression by retrieval: states like those in which the claims go on to their keyword make the keyword less likely (Goodtriever)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from polyunlearn.corpus.claims import Claim
from polyunlearn.errors import UserError
from polyunlearn.models.batching import packs
from polyunlearn.models.forward import OutputHead, label_states
from polyunlearn.models.loading import LoadedModel
from polyunlearn.suppression.contrast import ALPHA
from polyunlearn.suppression.tellings import tellings
from polyunlearn.suppression.way import Expert, check_alpha, contrasted


@dataclass(frozen=True)
class Retrieval:
    """How a datastore is read: the `neighbours` nearest keys, the `temperature` of their squared distances (0 to 4, since keys are unit vectors), `alpha` of
    the contrast, and the share `own` of what is retrieved that is the model's own prediction, which bounds how far a sure token falls: by
    alpha · log(1 / own) nats, 14 by default.

    Raises `UserError` for a value that cannot be.
    """

    neighbours: int = 1024
    temperature: float = 0.2
    alpha: float = ALPHA
    own: float = 1e-3

    def __post_init__(self) -> None:
        check_alpha(self.alpha)
        if not (self.temperature > 0 and self.neighbours > 0):
            raise UserError(f"temperature {self.temperature:g} and neighbours {self.neighbours}: give numbers above 0")
        if not 0 < self.own < 1:
            raise UserError(f"own {self.own:g}: give a number between 0 and 1; at 0 what is not retrieved would be infinitely likely")


class Datastore:
    """Keys and tokens of claims: the hidden states from which a model predicts each token of a keyword, scaled to length 1, and these tokens.

    Languages are added one after another, in any order: the search is exact, so that the same entries give the same answers up to rounding. `entries`
    counts those of each language.
    """

    experts: tuple[Expert, ...] = ()

    def __init__(self, loaded: LoadedModel, settings: Retrieval | None = None):
        self.settings = settings or Retrieval()
        self.entries: dict[str, int] = {}
        self._body, self._encoder = loaded.body, loaded.encoder
        device = loaded.head.weight.device
        self._keys = torch.empty(0, loaded.head.weight.shape[1], device=device)
        self._tokens = torch.empty(0, dtype=torch.long, device=device)

    @torch.no_grad()
    def add(self, claims: Sequence[Claim], language: str, held_out: int = 0) -> None:
        """Add the claims in one language, as `tellings` tells them, controls left out; raises `UserError` where no claim has it."""
        sequences = tellings(claims, language, self._encoder, held_out)
        for batch in packs([len(own.ids) for own in sequences]):
            states, labels = label_states(self._body, [sequences[index] for index in batch])
            self._keys = torch.cat([self._keys, _unit(states)])
            self._tokens = torch.cat([self._tokens, labels])
            self.entries[language] = self.entries.get(language, 0) + len(labels)

    def nearest(self, states: Tensor) -> tuple[Tensor, Tensor]:
        """The squared distances (positions, neighbours) of the nearest keys to states (positions, width), ascending, and their tokens."""
        # Of unit vectors |q - k|² is 2 - 2 q·k, so that one product is an exact search; rounding may take it below 0.
        distances = (2 - 2 * _unit(states) @ self._keys.T).clamp(min=0)
        found, places = distances.topk(min(self.settings.neighbours, len(self._keys)), largest=False)
        return found, self._tokens[places]

    def adjusted(self, base: Tensor, beside: Sequence[Tensor], states: Tensor, head: OutputHead) -> Tensor:
        r"""See `way.Way`. A kNN language model of the claims (arXiv 1911.00172) is the anti-expert, and the contrast fades with the nearest key's distance:

        .. math:: z' = \log p + \alpha e^{-\min_i d_i / T} (\log p - \log p_-), \quad
            p_-(v) = \epsilon\, p(v) + (1 - \epsilon) \sum_{i : v_i = v} \frac{e^{-d_i / T}}{\sum_j e^{-d_j / T}}

        with the share :math:`\epsilon` of the model's own. Where nothing is near its prediction stands, as it does where the datastore is empty.
        """
        log_probs = torch.log_softmax(base.float(), 1)
        if not len(self._keys):
            return log_probs
        distances, tokens = self.nearest(states)
        shares = torch.softmax(-distances / self.settings.temperature, 1)
        columns = tokens if head.column_of is None else head.column_of.to(tokens.device)[tokens]
        # Tokens that a restricted output layer leaves out have column -1; their share goes to none.
        retrieved = torch.zeros_like(log_probs).scatter_add_(1, columns.clamp(min=0), shares * (columns >= 0))
        anti = torch.logaddexp(log_probs + math.log(self.settings.own), torch.log((1 - self.settings.own) * retrieved))
        return contrasted(log_probs, anti, self.settings.alpha * torch.exp(-distances[:, :1] / self.settings.temperature))


def _unit(states: Tensor) -> Tensor:
    return torch.nn.functional.normalize(states.float(), dim=1)
