"""Suppression while a model writes: a logits processor for `generate` of transformers."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor
from torch.utils.hooks import RemovableHandle
from transformers import DynamicCache, LogitsProcessor, PreTrainedModel

from polyunlearn.errors import UserError
from polyunlearn.models.forward import OutputHead
from polyunlearn.suppression.way import Expert, Way, check_experts


@dataclass(frozen=True)
class Plausibility:
    """Which tokens may be said at all: of the model's own prediction the fewest that come to `top_p` (nucleus, arXiv 1904.09751), those of at least `ratio`
    of the highest probability (arXiv 2210.15097), and in any case the `least` most probable.

    The contrast says nothing of tokens that no expert finds likely, so they are left out. DExperts has top_p 0.9 and no `least`; but where a model is
    surer of a claim than that, its keyword alone would be left to say.
    """

    top_p: float = 0.9
    ratio: float = 0.0
    least: int = 16

    def keeps(self, log_probs: Tensor) -> Tensor:
        """Which of the log-probs (positions, vocabulary) may be said, as booleans."""
        ordered, places = log_probs.sort(dim=1, descending=True)
        probabilities = ordered.exp()
        before = probabilities.cumsum(1) - probabilities
        kept = (before < self.top_p) & (probabilities >= self.ratio * probabilities[:, :1])
        kept[:, : self.least] = True
        return torch.zeros_like(kept).scatter(1, places, kept)


class SuppressionProcessor(LogitsProcessor):  # type: ignore[misc]
    """Changes what `model` says next by a way of suppressing, in its `generate`, while the processor is entered:

    >>> with SuppressionProcessor(model, way) as processor:
    ...     model.generate(**inputs, logits_processor=LogitsProcessorList([processor]))

    Attention masks and hidden states are seen on their way through the model, so left padding and batches need nothing said of them. Greedy, sampled and
    beam search have been tried; assisted generation and static caches are not supported. Scores that it returns are log-probs, -inf where a
    token is not plausible.
    """

    def __init__(self, model: PreTrainedModel, way: Way, plausibility: Plausibility | None = None):
        self._model, self._way, self._plausibility = model, way, plausibility or Plausibility()
        self._head = OutputHead.of(model)
        check_experts(self._head, way)
        self._followers = [_Follower(expert) for expert in way.experts]
        self._hooks: list[RemovableHandle] = []
        self._mask: Tensor | None = None
        self._states = torch.empty(0)

    def __enter__(self) -> Self:
        if self._hooks:
            raise UserError("the suppression is entered already; make another processor")
        output: Any = self._model.get_output_embeddings()
        self._hooks = [
            self._model.register_forward_pre_hook(self._see_mask, with_kwargs=True),
            output.register_forward_pre_hook(self._see_states),
        ]
        return self

    def __exit__(self, *_: object) -> None:
        while self._hooks:
            self._hooks.pop().remove()
        for follower in self._followers:
            follower.forget()

    def _see_mask(self, module: object, arguments: object, named: dict[str, Any]) -> None:
        self._mask = named.get("attention_mask")

    def _see_states(self, module: object, arguments: Sequence[Tensor]) -> None:
        self._states = arguments[0][:, -1]

    @torch.no_grad()
    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Adjusted log-probs (rows, vocabulary) of the token after each of `input_ids` (rows, tokens), given the scores of the base."""
        if not self._hooks:
            raise UserError(
                "the suppression sees nothing of the model; call generate inside: with SuppressionProcessor(model, way) as processor"
            )
        # Where nothing is padded, generate gives the model no mask.
        mask = torch.ones_like(input_ids) if self._mask is None else self._mask
        if not isinstance(mask, Tensor) or mask.shape != input_ids.shape:
            raise UserError("suppression needs generate with an ordinary (dynamic) cache; leave cache_implementation out")
        own = torch.log_softmax(scores.float(), 1)
        beside = [follower(input_ids, mask) for follower in self._followers]
        said = self._way.adjusted(own, beside, self._states, self._head)
        # What another processor has forbidden stays so.
        allowed = self._plausibility.keeps(own) & own.isfinite()
        return torch.log_softmax(said.masked_fill(~allowed, -torch.inf), 1)


class _Follower:
    """An expert that reads along: of texts that grow by a token a call each token is computed once, whatever becomes of their order (beams)."""

    def __init__(self, expert: Expert):
        self._expert = expert
        self.forget()

    def forget(self) -> None:
        """Begin with new texts."""
        self._texts = torch.empty(0, 0, dtype=torch.long)
        self._cache = DynamicCache(config=self._expert.model.config)

    def __call__(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Logits (rows, vocabulary) of the token after each row of `ids`, which are padded where `mask` is 0."""
        texts = ids.masked_fill(mask == 0, -1)
        read = self._go_on_from(texts[:, :-1])
        self._texts = texts
        positions = (mask.cumsum(1) - 1).clamp(min=0)
        with self._expert.active():
            states = self._expert.model.base_model(
                input_ids=ids[:, read:], attention_mask=mask, position_ids=positions[:, read:], past_key_values=self._cache, use_cache=True
            ).last_hidden_state
        return self._expert.head.logits(states[:, -1])

    def _go_on_from(self, texts: Tensor) -> int:
        """Bring the cache into the order of these texts, and say how many of their tokens it holds: all, or none where one of them is new."""
        known = self._texts.to(texts.device)
        if known.shape[1] != texts.shape[1]:
            self.forget()
            return 0
        same = (texts[:, None] == known[None]).all(2)
        if not bool(same.any(1).all()):
            self.forget()
            return 0
        rows = same.int().argmax(1)
        if rows.tolist() != list(range(len(known))):
            self._cache.batch_select_indices(rows)
        return texts.shape[1]
