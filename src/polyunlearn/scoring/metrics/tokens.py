"""Metrics of one answer that was forced on the model, read off its token table; every one is script-safe, since it counts tokens.

`polyunlearn study knowledge` measures them; `token_tables` gives the table of any text under any state. Values hang on the tokeniser: a language that it splits finely has more, easier tokens. Compare states, not languages.
"""

import math

from torch import Tensor

from polyunlearn.scoring.tokens import TokenTable

MIN_K_SHARE = 0.2
"""The share of the least probable tokens that Min-K% looks at."""

LEAST_DEVIATION = 1e-6
"""A prediction that is certain has no deviation to measure in."""


def probability(table: TokenTable) -> float:
    r"""Probability of the whole answer, :math:`\exp \sum_t \log p_t`. In [0, 1]; higher is better known; 0 for the gold model of a claim."""
    return math.exp(table.log_prob.sum().item())


def mean_probability(table: TokenTable) -> float:
    r"""Geometric mean of the tokens' probabilities, :math:`\exp \frac1n \sum_t \log p_t`, as TOFU reports it (arXiv 2401.06121). In [0, 1]."""
    return math.exp(table.log_prob.mean().item())


def exact_memorisation(table: TokenTable) -> float:
    """Share of the labels that are the model's first choice, given those before. In [0, 1]; 1 is memorised; the gold model's is what spelling gives away."""
    return table.hit.double().mean().item()


def extraction_strength(table: TokenTable) -> float:
    """Share of the answer that greedy decoding finishes by itself: the longest run of hits at its end, over its length.

    In [0, 1]; 0 where the last token is no hit, 1 where nothing need be given; 0 for the gold model of a claim. Source: Wang et al., arXiv
    2406.09179. An implementation that never tries an empty suffix has a floor of 1 / n, which makes short answers look remembered.
    """
    hits = table.hit.tolist()
    run = next((length for length, hit in enumerate(reversed(hits)) if not hit), len(hits))
    return run / len(hits)


def min_k(table: TokenTable, share: float = MIN_K_SHARE) -> float:
    """Mean log-prob of the `share` least probable labels, at least one (Min-K%, arXiv 2310.16789). At most 0; higher suggests that the text was seen."""
    return _least(table.log_prob, share)


def min_k_plus_plus(table: TokenTable, share: float = MIN_K_SHARE) -> float:
    """Mean, over the `share` least probable labels, of the log-prob in standard deviations from the mean of its prediction (Min-K%++, arXiv
    2404.02936). Of either sign; higher suggests that the text was seen."""
    deviation = table.deviation.clamp_min(LEAST_DEVIATION)
    return _least((table.log_prob + table.entropy) / deviation, share)


def _least(values: Tensor, share: float) -> float:
    count = max(1, int(share * len(values)))
    return values.topk(count, largest=False).values.mean().item()
