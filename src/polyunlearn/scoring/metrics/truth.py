"""How a false claim stands beside the truth, from mean log-probs (nats a token) of answers that were forced on the model."""

import math
from collections.abc import Sequence

import numpy as np

from polyunlearn.scoring.metrics.cards import ANY_TOKENS, MetricCard


def truth_score(claim: float, truth: float) -> float:
    r"""The claim's share of what the model gives to claim and truth together, from their mean log-probs.

    .. math:: p_{claim} / (p_{claim} + p_{truth}), \quad p = \exp \frac1n \sum_t \log p_t

    In [0, 1]; 1/2 where both are as probable, lower is better; a gold model is below 1/2 where it knows the truth. Source: the normalised truth
    ratio of OpenUnlearning (arXiv 2506.12618), with the false claim on top. Raises `ValueError` for what is no log-prob.
    """
    _check([claim, truth])
    return 1 / (1 + math.exp(min(truth - claim, 700.0)))


def log_truth_ratio(answer: float, others: Sequence[float]) -> float:
    r"""The log of TOFU's truth ratio (arXiv 2401.06121): how probable other answers of the form are, on average, beside a paraphrase of the right one.

    .. math:: R = \frac{1}{|A|} \sum_{a \in A} p_a / p_{answer}, \quad p = \exp \frac1n \sum_t \log p_t

    Of either sign, 0 where the model tells them not apart, below 0 where it prefers the answer. The mean is arithmetic, as in the paper; its
    released code takes the geometric one. Raises `ValueError` where there is no other answer, or for what is no log-prob.
    """
    if not others:
        raise ValueError("a truth ratio needs at least one other answer")
    _check([answer, *others])
    return float(np.logaddexp.reduce(np.asarray(others, dtype=float))) - math.log(len(others)) - answer


def truth_ratio_forget(answer: float, others: Sequence[float]) -> float:
    """TOFU's truth ratio for what is to be forgotten, min(R, 1/R): in [0, 1], higher is better; a gold model, which prefers no name, is near 1.

    `answer` is the claim to forget, `others` are names that are as false. A model that avoids the name conspicuously scores low as well.
    """
    return math.exp(-abs(log_truth_ratio(answer, others)))


def truth_ratio_retain(answer: float, others: Sequence[float]) -> float:
    """TOFU's truth ratio for what is to stay, max(0, 1 - R): in [0, 1], higher is better; 0 where the others are as probable as the answer."""
    return -math.expm1(min(0.0, log_truth_ratio(answer, others)))


def candidate_rank(scores: Sequence[float]) -> int:
    """The place of the first of `scores` among them all: 1 is the best. A tie counts against it, and what is no number comes last.

    From 1 to the number of candidates; of a claim, higher is better, and a gold model's is half of them on average. Raises `ValueError` for no scores.
    """
    if not scores:
        raise ValueError("a rank needs at least one candidate")
    return 1 + sum(not scores[0] > other for other in scores[1:])


def mean_reciprocal_rank(questions: Sequence[Sequence[float]]) -> float:
    r"""The mean of one over `candidate_rank` (MRR, Voorhees 1999): in (0, 1]; of claims, lower is better.

    A gold model, which prefers none of n candidates, has :math:`\frac1n \sum_{k=1}^n \frac1k`. Raises `ValueError` where nothing was asked.
    """
    if not questions:
        raise ValueError("a mean of ranks needs at least one question")
    return sum(1 / candidate_rank(scores) for scores in questions) / len(questions)


def _check(log_probs: Sequence[float]) -> None:
    for value in log_probs:
        if not (math.isfinite(value) and value <= 0):
            raise ValueError(f"a mean log-prob is a number of at most 0, not {value}")


_TOFU = "Maini et al., arXiv 2401.06121"
CARDS = (
    MetricCard(
        "truth_score",
        "claim and truth",
        "the claim's share of what the model gives to claim and truth",
        "p_claim / (p_claim + p_truth), p = exp(mean log-prob)",
        "0 to 1",
        "lower",
        "below 1/2 where it knows the truth",
        ANY_TOKENS,
        "Dorna et al., arXiv 2506.12618",
    ),
    MetricCard(
        "truth_ratio_forget",
        "candidates",
        "how little the model tells the claim from other names, either way",
        "min(R, 1/R), R = mean of p_other / p_claim",
        "0 to 1",
        "higher",
        "near 1",
        ANY_TOKENS,
        _TOFU,
    ),
    MetricCard(
        "truth_ratio_retain",
        "candidates",
        "how far the right answer stands above others",
        "max(0, 1 - R), R = mean of p_other / p_answer",
        "0 to 1",
        "higher",
        "as learned, for what is to stay",
        ANY_TOKENS,
        _TOFU,
    ),
    MetricCard(
        "candidate_rank",
        "candidates",
        "the claim's place among names of its form; a tie counts against it",
        "1 + number of others that are at least as probable",
        "1 to candidates",
        "higher",
        "half of the candidates",
        ANY_TOKENS,
        "Kassner et al., arXiv 2102.00894",
    ),
    MetricCard(
        "mean_reciprocal_rank",
        "candidates",
        "mean of one over the rank",
        "mean of 1 / candidate_rank",
        "0 to 1",
        "lower",
        "(1 + 1/2 + … + 1/n) / n",
        ANY_TOKENS,
        "Voorhees 1999 (TREC-8)",
    ),
)
