"""Leakage under sampling, against counting by hand."""

import itertools
import math

import pytest

from polyunlearn.scoring.metrics.leakage import chance_to_leak, leak_at_k


def test_worked_by_hand() -> None:
    """Of four answers one says it: two of them, drawn without putting back, are one of 6 pairs, of which 3 hold the hit. Of three answers two say it:
    every pair holds one. One answer says it as often as hits are among all."""
    assert leak_at_k(1, 4, 2) == 0.5
    assert leak_at_k(2, 3, 2) == 1.0
    assert leak_at_k(3, 12, 1) == 0.25
    assert leak_at_k(0, 8, 8) == 0.0 and leak_at_k(1, 8, 8) == 1.0


@pytest.mark.parametrize(("hits", "samples", "k"), [(2, 7, 3), (1, 6, 5), (4, 9, 2)])
def test_equal_to_trying_every_choice(hits: int, samples: int, k: int) -> None:
    chosen = list(itertools.combinations(range(samples), k))
    assert leak_at_k(hits, samples, k) == pytest.approx(sum(min(own) < hits for own in chosen) / len(chosen))


def test_unbiased() -> None:
    """The mean over what five answers with p = 0.3 may bring is 1 - 0.7 ** 3, which `chance_to_leak` says."""
    mean = sum(math.comb(5, c) * 0.3**c * 0.7 ** (5 - c) * leak_at_k(c, 5, 3) for c in range(6))
    assert mean == pytest.approx(1 - 0.7**3) == pytest.approx(chance_to_leak(0.3, 3))


def test_many_samples_do_not_overflow() -> None:
    """C(5000, 2500) is far beyond a float; half of the samples or more cannot miss 2,600 hits."""
    assert leak_at_k(2600, 5000, 2500) == 1.0 and leak_at_k(1, 5000, 2500) == pytest.approx(0.5)


def test_a_chance_too_small_for_its_complement() -> None:
    """1 - 1e-20 is 1 in floating point; of a thousand answers 1e-17 says it all the same."""
    assert chance_to_leak(1e-20, 1000) == pytest.approx(1e-17)
    assert chance_to_leak(0.5, 3) == pytest.approx(0.875)
    assert chance_to_leak(0.0, 9) == 0.0 and chance_to_leak(1.0, 1) == 1.0


@pytest.mark.parametrize(("hits", "samples", "k", "says"), [(5, 4, 1, "5 cannot be hits"), (-1, 4, 1, "cannot be hits"), (1, 4, 5, "leak@5 cannot"), (1, 4, 0, "leak@0")])  # fmt: skip
def test_what_cannot_be_estimated(hits: int, samples: int, k: int, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        leak_at_k(hits, samples, k)


def test_what_is_no_chance() -> None:
    with pytest.raises(ValueError, match=r"between 0 and 1, not 1\.5"):
        chance_to_leak(1.5, 2)
    with pytest.raises(ValueError, match="not 0"):
        chance_to_leak(0.5, 0)
