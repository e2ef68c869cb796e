"""Metrics: small functions on strings and numbers, each with its range, direction and what it says in every script."""
