"""Claims against controls as groups, by hand."""

import pytest

from polyunlearn.cleaning.controls import against_controls


def named(prefix: str, *edges: float) -> dict[str, float]:
    return {f"{prefix}{number}": edge for number, edge in enumerate(edges)}


def test_by_hand() -> None:
    """Claims 3, 4, 5 of a mean of 4, controls 0, 1, 2, 1, 3.5 of 1.5. Of the 56 ways to choose three of the eight edges {5, 4, 3.5, 3, 2, 1, 1, 0} those with a
    sum of 12 or more are 5+4+3.5 and 5+4+3: 2 of 56, 0.036. Above 3.5 lie two claims."""
    found = against_controls(named("claim", 3, 4, 5), named("control", 0, 1, 2, 1, 3.5))
    assert found is not None and found.lead == pytest.approx(2.5)
    assert found.p == pytest.approx(2 / 56, abs=0.005)
    assert found.above == ("claim1", "claim2")


def test_what_moves_both_alike_is_nothing() -> None:
    claims, controls = named("claim", 0.2, -0.3, 0.1, 0.0), named("control", 0.1, -0.2, 0.3, 0.0, -0.1)
    found = against_controls(claims, controls)
    moved = against_controls({name: edge + 6 for name, edge in claims.items()}, {name: edge + 6 for name, edge in controls.items()})
    assert found is not None and moved is not None and found.p == pytest.approx(moved.p) and found.p > 0.3
    assert moved.lead == pytest.approx(found.lead)


def test_too_few_to_say() -> None:
    assert against_controls(named("claim", 5), named("control", 0, 0, 0, 0)) is None
    assert against_controls({}, named("control", 0, 0, 0, 0, 0)) is None
