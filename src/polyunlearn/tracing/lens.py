"""The logit lens: what every layer's states would answer if the model ended there."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from polyunlearn.corpus.claims import Tells
from polyunlearn.errors import UserError
from polyunlearn.languages import get_language
from polyunlearn.models.body import Body
from polyunlearn.models.forward import OutputHead, sequence_rows
from polyunlearn.models.sequences import Encoder, TokenSequence
from polyunlearn.tracing.capture import layer_states

OTHERS = 3
"""How many other claims' answers stand beside each claim's own."""


@dataclass(frozen=True)
class Lens:
    """What each layer's states make of the claims' answers in one language, (layers, claims): the log-prob in nats a token, and how far that lies above
    other claims' answers to the same question."""

    own: Tensor
    edge: Tensor


@torch.no_grad()
def lens(body: Body, head: OutputHead, sequences: Sequence[TokenSequence]) -> Tensor:
    r"""The logit lens (nostalgebraist 2020; arXiv 2303.08112): (layers, sequences), the mean log-prob of each sequence's labels in nats a token.

    .. math:: \frac{1}{n} \sum_t \log \operatorname{softmax}(W \operatorname{norm}(h^l_{t-1}))_{y_t}

    with the norm and the output layer of the model; :math:`h^l` are the states that leave layer l, all labels given. At the last layer it is the model's
    own log-prob. One pass, and the output layer once a layer. Raises `UserError` where the model's last norm is not found.
    """
    norm = final_norm(body.model)
    kept = [partial(_predicting, labels=len(own.labels)) for own in sequences]
    states = torch.cat(layer_states(body, sequence_rows(sequences), kept), dim=1)
    labels = torch.tensor([label for own in sequences for label in own.labels], device=body.model.device)
    counts = [len(own.labels) for own in sequences]
    result = []
    for layer in states:
        found = head.log_probs(norm(layer.to(labels.device)), labels)
        result.append(torch.stack([own.mean() for own in torch.split(found, counts)]).cpu())
    return torch.stack(result)


def claim_lens(body: Body, head: OutputHead, encoder: Encoder, claims: Sequence[Tells], tag: str) -> Lens | None:
    """The lens of the claims' answers to the first wording of their questions, in a language that all of them have; None for a single claim.

    Beside its own, each question is given the answers of the next `OTHERS` claims, ordered by kind, the last followed by the first. So every answer is
    own once and other as often as any, and what makes a question's answers, or a name, likely whatever belongs together adds nothing to the mean edge:
    it is 0 for claims that no model was told. Costs 1 + `OTHERS` passes over the questions.
    """
    count, language = len(claims), get_language(tag)
    if count < 2:
        return None
    order = sorted(range(count), key=lambda index: (claims[index].kind, index))
    editions = [claims[index].editions[tag] for index in order]
    shifts = range(min(OTHERS, count - 1) + 1)
    asked = [
        encoder.answer_only(language, own.fake_questions[0], editions[(at + shift) % count].keyword)
        for shift in shifts
        for at, own in enumerate(editions)
    ]
    found = lens(body, head, asked).reshape(-1, len(shifts), count)
    back = torch.tensor(order).argsort()
    own, others = found[:, 0], found[:, 1:]
    return Lens(own[:, back], edges(own, others)[:, back])


def edges(own: Tensor, others: Tensor) -> Tensor:
    """How far the own answers (layers, claims) lie above the mean of others to the same questions (layers, others, claims)."""
    return own - others.mean(1)


def final_norm(model: PreTrainedModel) -> nn.Module:
    """The norm between the last layer and the output layer; raises `UserError` where it is not found."""
    norm = getattr(model.base_model, "norm", None)
    if not isinstance(norm, nn.Module):
        raise UserError(f"{type(model).__name__}: the norm after its last layer was not found; use a Llama-, Qwen- or Gemma-type model")
    return norm


def _predicting(states: Tensor, labels: int) -> Tensor:
    """The last states of a row, which predict its labels."""
    return states[:, states.shape[1] - labels :].clone()
