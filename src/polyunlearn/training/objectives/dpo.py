"""Preference of another answer over the one to forget: the true one (DPO) or a refusal (IDK+DPO); and the refusal learned alone (IDK)."""

from collections.abc import Sequence

import torch
from torch import Tensor

from polyunlearn.training.cards import POSITIVE, Card
from polyunlearn.training.labels import Labels, Totals, asked
from polyunlearn.training.objectives.cross_entropy import cross_entropy
from polyunlearn.training.objectives.npo import log_ratio

BETA = 0.1
"""The inverse temperature of the paper, wherever it names no other."""


def dpo(labels: Sequence[Labels], totals: Totals, *, beta: float = BETA) -> Tensor:
    r"""Prefer the answer to give instead, :math:`\tilde y_i`, to the answer to forget, :math:`y_i`.

    .. math::
        L = -\frac{1}{n} \sum_i \log \sigma\Bigl(\beta \Bigl[\log \frac{p_\theta(\tilde y_i \mid x_i)}{p_\mathrm{ref}(\tilde y_i \mid x_i)}
        - \log \frac{p_\theta(y_i \mid x_i)}{p_\mathrm{ref}(y_i \mid x_i)}\Bigr]\Bigr)

    Probabilities are those of whole answers, as in `npo`. It is Rafailov et al.'s scale; some unlearning code multiplies it by :math:`2/\beta`, as
    NPO is, which is a weight of 20 on it at the default. Bounded below by 0, and ln 2 at the reference. Only the difference counts, so both
    answers may become less probable.
    """
    margins = torch.stack([log_ratio(asked(own.instead)) - log_ratio(own) for own in labels])
    return torch.nn.functional.softplus(-beta * margins).sum() / totals.sequences


def idk(labels: Sequence[Labels], totals: Totals) -> Tensor:
    r"""The share of some answers in the step's mean cross-entropy of the refusals, in nats a token; nothing pushes the answers to forget.

    .. math:: L = -\frac{1}{N} \sum_i \sum_t \log p_\theta(\tilde y_{i,t} \mid x_i, \tilde y_{i,<t})

    N is the number of labels of all refusals of the step.
    """
    return cross_entropy([asked(own.instead) for own in labels], Totals(totals.sequences, totals.instead))


DPO = Card(
    name="dpo",
    part="forget",
    title="Direct preference optimisation, the truth preferred",
    formula="-mean over answers of log σ(β (log(p / p_ref)(true answer) - log(p / p_ref)(answer to forget)))",
    paper="Rafailov et al., arXiv 2305.18290",
    cost="a forward and a backward pass over the true answers too; once, before the first step, a forward pass over the distinct ones of both",
    term=dpo,
    needs=frozenset({"instead", "reference"}),
    bounds={"beta": POSITIVE},
    instead="truth",
)

IDK_DPO = Card(
    name="idk_dpo",
    part="forget",
    title="Direct preference optimisation, a refusal preferred",
    formula="-mean over answers of log σ(β (log(p / p_ref)(refusal) - log(p / p_ref)(answer to forget)))",
    paper="Maini et al., arXiv 2401.06121; the loss of Rafailov et al., arXiv 2305.18290",
    cost="a forward and a backward pass over the refusals too; once, before the first step, a forward pass over the distinct ones of both",
    term=dpo,
    needs=frozenset({"instead", "reference"}),
    bounds={"beta": POSITIVE},
    instead="refusal",
)

IDK = Card(
    name="idk",
    part="forget",
    title="A refusal learned instead",
    formula="CE(refusal)",
    paper="Maini et al., arXiv 2401.06121",
    cost="a forward and a backward pass over the refusals too",
    term=idk,
    needs=frozenset({"instead"}),
    instead="refusal",
)
