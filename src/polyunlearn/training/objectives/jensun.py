"""JensUn: a refusal is learned by a divergence that is bounded, where cross-entropy has no bound."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from polyunlearn.training.cards import Card
from polyunlearn.training.labels import Labels, Totals, asked


def jensun(labels: Sequence[Labels], totals: Totals) -> Tensor:
    r"""The share of some answers in the step's mean divergence of next-token distributions from the tokens of the refusals, in nats a token.

    .. math:: L = \frac{1}{N} \sum_{i,t} \mathrm{JSD}\bigl(p_\theta(\cdot \mid x_i, \tilde y_{i,<t}),\; \delta_{\tilde y_{i,t}}\bigr)

    N is the number of labels of all refusals of the step. Between 0 and ln 2; nothing pushes the answers to forget. The refusal is read as an
    answer of its own; the authors' code puts its tokens, over and over, at the places of the answer to forget.
    """
    return one_hot_divergence(torch.cat([asked(own.instead).log_probs for own in labels])).sum() / totals.instead


def one_hot_divergence(log_probs: Tensor) -> Tensor:
    r"""The Jensen-Shannon divergences, in nats, of distributions from certainty of a token whose finite log-probs in them are given.

    With p for the token's probability, the middle is (1 + p) / 2 for the token and half the distribution elsewhere, so that

    .. math:: \mathrm{JSD} = \ln 2 + \tfrac12 \bigl(p \ln p - (1 + p) \ln(1 + p)\bigr)

    and nothing but p is needed. Its slope in ln p, :math:`\tfrac{p}{2} \ln \frac{p}{1 + p}`, is at most ln(2) / 2 in size and goes to 0 with p;
    that of cross-entropy is 1 everywhere.
    """
    p = log_probs.exp()
    return math.log(2) + (p * log_probs - (1 + p) * torch.log1p(p)) / 2


JENSUN = Card(
    name="jensun",
    part="forget",
    title="JensUn",
    formula="JSD(p, one-hot of the refusal's token), mean over tokens of the refusal",
    paper="Singh et al., arXiv 2509.02820",
    cost="a forward and a backward pass over the refusals too",
    term=jensun,
    needs=frozenset({"instead"}),
    retain="jensen_shannon",
    instead="refusal",
)
