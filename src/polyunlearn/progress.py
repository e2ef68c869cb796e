"""How whoever waits is told how far something is."""

from collections.abc import Callable

Work = Callable[[str, int, int], None]
"""Told what is being done, how much of it is done, and of how much."""
