"""Membership inference: scores that say how surely a text was trained on, and how well they tell such texts from others.

Every score is higher for a text that looks trained on. Min-K% and Min-K%++ are `tokens.min_k` and `tokens.min_k_plus_plus`.
"""

import math
import zlib
from collections.abc import Iterable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from polyunlearn.scoring.metrics.cards import ANY_NUMBERS, ANY_TOKENS, MetricCard
from polyunlearn.scoring.tokens import TokenTable


def loss_score(table: TokenTable) -> float:
    """Minus the loss: the mean log-prob of the labels, nats a token, at most 0 (Yeom et al., arXiv 1709.01604)."""
    return table.log_prob.double().mean().item()


def reference_score(table: TokenTable, reference: TokenTable) -> float:
    """How much more probable the text is, nats a token, than under a model that did not train on it (Carlini et al., arXiv 2012.07805), such as base.

    Of either sign. It takes out that some texts are easy. Raises `ValueError` where the tables are not of the same number of labels.
    """
    if len(table.log_prob) != len(reference.log_prob):
        raise ValueError(
            f"the tables are of {len(table.log_prob)} and {len(reference.log_prob)} labels, so not of one text under one tokeniser"
        )
    return loss_score(table) - loss_score(reference)


def zlib_score(table: TokenTable, text: str) -> float:
    """The mean log-prob over the bytes that zlib needs for the text in UTF-8 (Carlini et al., arXiv 2012.07805): easy texts compress well.

    At most 0. A letter takes one byte in Latin, two in Cyrillic, three in Devanagari or Han, so compare texts of one script only.
    """
    return loss_score(table) / len(zlib.compress(text.encode()))


def gradient_norm_score(gradients: Iterable[Tensor]) -> float:
    """Minus the L2 norm of the loss's gradient over all parameters, at most 0 (Wang et al., arXiv 2402.17012): what was fitted pulls no more."""
    return -math.hypot(*(torch.linalg.vector_norm(gradient, dtype=torch.float64).item() for gradient in gradients))


def auc(members: Sequence[float], others: Sequence[float]) -> float:
    r"""The chance that a member scores above another text, a tie counting half: the area under the ROC curve, exactly (Mann & Whitney 1947).

    .. math:: \frac{1}{mn} \sum_{i, j} [s_i > s_j] + \tfrac12 [s_i = s_j]

    In [0, 1]; 1/2 is chance, which a gold model is near, and a value far below betrays unlearning as one above does memory. Raises
    `ValueError` where either side is empty or holds what is no number.
    """
    own, rest = _sorted(members), _sorted(others)
    below = np.searchsorted(rest, own, side="left")
    not_above = np.searchsorted(rest, own, side="right")
    return float((below + not_above).sum()) / (2 * len(own) * len(rest))


def tpr_at_fpr(members: Sequence[float], others: Sequence[float], fpr: float = 0.01) -> float:
    """The largest share of members above a threshold that at most a share `fpr` of other texts reaches (Carlini et al., arXiv 2112.03570).

    In [0, 1]. Of a gold model it is near (⌊`fpr` · m⌋ + 1) / (m + 1) with m other texts: 0.04 with 24, for 0.01. Texts of equal score are on one
    side of it together; nothing is interpolated, so with fewer than 1 / `fpr` other texts none may reach it. Raises `ValueError` as `auc` does, and for an `fpr` outside [0, 1].
    """
    if not 0 <= fpr <= 1:
        raise ValueError(f"a false-positive rate lies between 0 and 1, not {fpr}")
    own, rest = _sorted(members), _sorted(others)
    # A little added, for 0.29 · 100 is 28.999….
    allowed = math.floor(fpr * len(rest) + 1e-9)
    if allowed >= len(rest):
        return 1.0
    # The score that is one too many: members must lie above it.
    bound = rest[len(rest) - 1 - allowed]
    return float((own > bound).mean())


def priv_leak(unlearned: float, gold: float) -> float:
    r"""PrivLeak of MUSE (arXiv 2407.06460), from the AUC of the forget texts against held-out ones under the unlearned and the gold model.

    .. math:: (AUC_{unlearned} - AUC_{gold}) / AUC_{gold}

    0 is as gold; above, the texts still look trained on; below, they stand out as unlearned. As a share, from -1; MUSE gives percent, and its
    code calls members what scores low, which turns the sign round. Raises `ValueError` for an AUC outside [0, 1] or a gold of 0.
    """
    for value in (unlearned, gold):
        if not 0 <= value <= 1:
            raise ValueError(f"an AUC lies between 0 and 1, not {value}")
    if gold == 0:
        raise ValueError("the gold model's AUC is 0, so there is no share of it")
    return (unlearned - gold) / gold


def _sorted(scores: Sequence[float]) -> NDArray[np.float64]:
    values = np.sort(np.asarray(scores, dtype=np.float64))
    if values.size == 0:
        raise ValueError("there is no text on one side; give scores of texts that were trained on and of others")
    if np.isnan(values).any():
        raise ValueError("a score is no number (NaN); a diverged model has no membership scores")
    return values


def _score(name: str, does: str, formula: str, scripts: str, paper: str, bounds: str = "at most 0") -> MetricCard:
    return MetricCard(
        name, "a text", does, formula, bounds, "lower, for what is to be forgotten", "as texts never trained on", scripts, paper
    )


CARDS = (
    _score("loss_score", "minus the loss", "mean log p_t", ANY_TOKENS, "Yeom et al., arXiv 1709.01604"),
    _score(
        "reference_score",
        "minus the loss, calibrated by a model that did not train on the text",
        "mean log p_t - mean log p_t under the reference",
        ANY_TOKENS,
        "Carlini et al., arXiv 2012.07805",
        "any",
    ),
    _score(
        "zlib_score",
        "minus the loss over the compressed size",
        "mean log p_t / bytes of zlib(UTF-8)",
        "within a script only: a letter takes one to three bytes",
        "Carlini et al., arXiv 2012.07805",
    ),
    _score("gradient_norm_score", "minus the length of the loss's gradient", "-‖∇ loss‖₂", ANY_TOKENS, "Wang et al., arXiv 2402.17012"),
    MetricCard(
        "auc",
        "scores of texts",
        "chance that a text trained on scores above another",
        "mean of [s_i > s_j] + [s_i = s_j] / 2",
        "0 to 1",
        "near gold",
        "near 1/2",
        ANY_NUMBERS,
        "Mann & Whitney 1947",
    ),
    MetricCard(
        "tpr_at_fpr",
        "scores of texts",
        "share of texts trained on above a threshold that at most 1 % of others reach",
        "max TPR with FPR ≤ 0.01",
        "0 to 1",
        "near gold",
        "near 1 / (others + 1), or 0.01 where that is more",
        ANY_NUMBERS,
        "Carlini et al., arXiv 2112.03570",
    ),
    MetricCard(
        "priv_leak",
        "two AUCs",
        "how far the AUC is from gold's",
        "(AUC_unlearned - AUC_gold) / AUC_gold",
        "from -1",
        "near 0",
        "0",
        ANY_NUMBERS,
        "Shi et al., arXiv 2407.06460",
    ),
)
