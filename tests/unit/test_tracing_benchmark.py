"""What the benchmark of tracing counts (benchmarks/tracing.py)."""

import pytest
from handmade_claims import CLAIMS, TOLD
from scripts import benchmark

script = benchmark("tracing")


def test_what_rose_more_than_any_control() -> None:
    """Of two claims one rose by 2.5 and one by 2 in German, where controls rose by 1 or 2: the first alone is there. In English, where none rose, it is the one
    that fell least; each language has its own controls."""
    told, controls = CLAIMS[:2], CLAIMS[TOLD:]
    then = {(claim.id, tag): -9.0 for claim in (*told, *controls) for tag in ("en", "de")}
    rise = {claim.id: 1.0 + number % 2 for number, claim in enumerate(controls)} | {told[0].id: 2.5, told[1].id: 2.0}
    now = then | {(name, "de"): -9.0 + own for name, own in rise.items()}
    assert script.risen(now, then, [*told, *controls]) == {(told[0].id, "de")}
    fell = {(name, "en"): -10.0 for name in rise if name != told[1].id}
    assert script.risen(now | fell, then, [*told, *controls]) == {(told[0].id, "de"), (told[1].id, "en")}


def test_precision_and_recall() -> None:
    """Three there, two found of which one is there: precision 1/2, recall 1/3. Nothing found has no precision."""
    true = {("a", "de"), ("b", "de"), ("c", "en")}
    assert script.shares({("a", "de"), ("a", "en")}, true) == ["3", "2", "0.50", "0.33"]
    assert script.shares(set(), true) == ["3", "0", "–", "0.00"]
    assert script.of(true, "de") == {("a", "de"), ("b", "de")}


def test_precision_by_claim_draws_claims() -> None:
    """Two claims, 1 of 1 and 1 of 3 right: 2 of 4. Drawn again it is 1 (the first twice), 1/2, or 1/3; where nothing was found there is no precision."""
    own = script.share([1, 1], [1, 3])
    assert own.mean == 0.5 and own.low == pytest.approx(1 / 3) and own.high == 1.0
    assert script.share([0, 0], [0, 0]) is None


def test_a_language_is_reached_by_half_of_the_claims() -> None:
    true = {("a", "de"), ("b", "de"), ("a", "en")}
    assert script.reached_by(true, ("a", "b", "c"), ("en", "de", "fr")) == ("de",)


def test_plantings_in_one_language_are_summed() -> None:
    """Two German plantings of a claim each: there in 2 + 1 languages, found in 1 + 1 of these and once wrongly, so precision 2/3 and recall 2/3; in German 1 and 1."""
    first = script.Planting(
        "de", ("a",), {("a", "de"), ("a", "en")}, {("a", "de")}, (0, 5), ("de", "en"), ("de",), ("en", "de"), (11, 17), ()
    )
    second = script.Planting("de", ("a",), {("a", "de")}, {("a", "de"), ("a", "fr")}, (1, 5), ("de",), ("de", "fr"), ("de",), None, ())
    lines = script.summary([first, second])
    assert (
        lines[2].startswith("| German | all languages | 3 | 3 | 0.67 [")
        and lines[3] == "| German | German | 2 | 2 | 1.00 [1.00, 1.00] | 1.00 [1.00, 1.00] |"
    )
    assert "| German | German, English | German | English, German | 11 to 17 | 0 of 5 |" in lines
    assert lines[-2] == (
        "Of 3 languages that were named 2 were reached, of 3 that were reached 2 were named; the source was named first in 2 of 2 plantings."
    )
