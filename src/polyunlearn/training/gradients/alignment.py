"""Learning that draws languages together: Lens's losses on what a model makes of questions that are asked in English and in other languages."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import cast

import torch
from torch import Tensor, nn

from polyunlearn.models.body import Body
from polyunlearn.models.rows import TokenRow
from polyunlearn.training.gradients.parts import within
from polyunlearn.training.loop import Backward, Step

PAIRS = 4
"""Questions that a step compares, each in English and in one other language."""


@dataclass(frozen=True)
class Question:
    """A question in English and in another language, and its mean states (width,) in both before training."""

    english: TokenRow
    translated: TokenRow
    language: str
    english_before: Tensor
    translated_before: Tensor


@dataclass(frozen=True)
class Spaces:
    """Orthonormal bases of what languages share (width, 1) and of what tells them apart (width, rank), and each language's direction (width,): how far
    its mean lies from the English one, in the second."""

    shared: Tensor
    specific: Tensor
    directions: Mapping[str, Tensor]


def lens(question: Question, english: Tensor, translated: Tensor, spaces: Spaces) -> Tensor:
    r"""The losses of Lens (arXiv 2410.04407) on the mean states e and t (width,) of one question in English and in language l.

    .. math:: L = \frac{1}{d} \bigl( \lVert e - e_0 \rVert^2 + \lVert P_s (t - t_0) - \Delta_l \rVert^2 + \lVert P_a e - P_a t \rVert^2 \bigr)

    English is held where it was; t goes on along what tells its language from English, and comes to English in what all languages share. The three
    weigh alike, as in the published settings.
    """
    moved = within(translated - question.translated_before, spaces.specific) - spaces.directions[question.language]
    apart = within(english - translated, spaces.shared)
    return (english - question.english_before).square().mean() + moved.square().mean() + apart.square().mean()


@dataclass(frozen=True)
class Alignment:
    """A rule (`training.loop.Rule`): the gradient of the step, and `weight` times that of `lens` over the next `PAIRS` of `questions`."""

    questions: Iterator[Question]
    spaces: Spaces
    weight: float

    def __call__(self, step: Step, backward: Backward, parameters: Mapping[str, nn.Parameter], body: nn.Module) -> float:
        loss = backward(step)
        asked = list(islice(self.questions, PAIRS))
        rows = [row for own in asked for row in (own.english, own.translated)]
        states = mean_states(cast(Body, body), rows)
        found = [lens(own, *pair, self.spaces) for own, pair in zip(asked, zip(states[::2], states[1::2], strict=True), strict=True)]
        aligned = self.weight * torch.stack(found).mean()
        aligned.backward()  # type: ignore[no-untyped-call]
        return loss + aligned.item()


def mean_states(body: Body, rows: Sequence[TokenRow]) -> list[Tensor]:
    """Of each row its mean state (width,) over the tokens but the first, behind the last norm, as the output layer reads it and the published code."""
    return [own[1:].float().mean(0) for own in torch.split(body.packed(rows), [len(row.ids) for row in rows])]
