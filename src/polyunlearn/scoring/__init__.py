"""Measuring a model: token scores, candidate ranking, greedy answers, and the metrics that derive from them."""
