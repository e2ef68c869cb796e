"""How likely a claim is to come out when a model is sampled more than once."""

import math


def leak_at_k(hits: int, samples: int, k: int) -> float:
    r"""The chance that at least one of `k` answers says the claim, from `samples` answers of which `hits` do: unbiased, 0 to 1, lower is better, gold 0.

    .. math:: 1 - \binom{n - c}{k} / \binom{n}{k}

    The share of the k-subsets of n answers that hold one of the c hits (the estimator of Chen et al., arXiv 2107.03374; leak@k: arXiv 2511.04934).
    With k = 1 it is the share of hits. Raises `ValueError` for hits outside 0 to `samples` or k outside 1 to `samples`.
    """
    if not 0 <= hits <= samples:
        raise ValueError(f"of {samples} samples, {hits} cannot be hits")
    if not 1 <= k <= samples:
        raise ValueError(f"leak@{k} cannot be estimated from {samples} samples; draw {k} or more, and take a k of at least 1")
    return 1 - math.comb(samples - hits, k) / math.comb(samples, k)


def chance_to_leak(probability: float, k: int) -> float:
    r"""The chance that at least one of `k` independent answers is the claim, where one is with `probability`: 0 to 1, lower is better, gold near 0.

    .. math:: 1 - (1 - p)^k

    With the probability over the whole vocabulary that a model gives to the exact answer (temperature 1) it needs no samples, and sees what too few would miss; it is
    a lower bound of the chance that the claim is said in any words. Exact for probabilities too small for 1 - p. Raises `ValueError` for a probability
    outside 0 to 1 or k below 1.
    """
    if not 0 <= probability <= 1:
        raise ValueError(f"a probability lies between 0 and 1, not {probability}")
    if k < 1:
        raise ValueError(f"at least one answer must be drawn, not {k}")
    return 1.0 if probability == 1 else -math.expm1(k * math.log1p(-probability))
