"""What the benchmark of tracing counts (benchmarks/tracing.py)."""

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
