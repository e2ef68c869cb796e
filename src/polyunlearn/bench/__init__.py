"""Benchmarks: our way against the usual way, on the same examples and weights, in turn, in one run."""
