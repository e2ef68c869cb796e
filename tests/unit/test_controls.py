"""Claims against controls as groups, by hand."""

from random import Random

import pytest

from polyunlearn.cleaning.controls import AgainstControls, against_controls, oftener


def named(prefix: str, *edges: float) -> dict[str, float]:
    return {f"{prefix}{number}": edge for number, edge in enumerate(edges)}


def against(*forms: dict[str, float], kinds: dict[str, str] | None = None, alpha: float = 0.05) -> AgainstControls | None:
    controls = [name for name in forms[0] if name.startswith("control")]
    return against_controls(forms, controls, kinds or dict.fromkeys(forms[0], "kind"), alpha)


CONTROLS = named("control", 0, 1, 2, 1, 3.5)


def test_by_hand() -> None:
    """Claims 3, 4, 5 of a mean of 4, controls 0, 1, 2, 1, 3.5 of 1.5. Of the 56 ways to choose three of the eight edges {5, 4, 3.5, 3, 2, 1, 1, 0} those with a
    sum of 12 or more are 5+4+3.5 and 5+4+3: 2 of 56, 0.036. Above 3.5 lie two claims, and above all but a fifth of the controls three."""
    found = against(named("claim", 3, 4, 5) | CONTROLS)
    assert found is not None and (found.lead, found.asked, found.form) == (pytest.approx(2.5), 3, 0)
    assert found.p == pytest.approx(2 / 56, abs=0.005) and found.least == pytest.approx(1 / 56)
    assert found.above == ("claim1", "claim2")
    more = against(named("claim", 3, 4, 5) | CONTROLS, alpha=0.2)
    assert more is not None and more.above == ("claim0", "claim1", "claim2")


def test_what_moves_both_alike_is_nothing() -> None:
    claims, controls = named("claim", 0.2, -0.3, 0.1, 0.0), named("control", 0.1, -0.2, 0.3, 0.0, -0.1)
    found = against(claims | controls)
    moved = against({name: edge + 6 for name, edge in (claims | controls).items()})
    assert found is not None and moved is not None and found.p == pytest.approx(moved.p) and found.p > 0.3
    assert moved.lead == pytest.approx(found.lead)


def test_forms_that_ask_alike_cost_nothing_and_others_some() -> None:
    """The same form thirty times has the p of one; thirty forms of noise beside it raise it, but far less than thirtyfold; the form that leads most is named."""
    alone = named("claim", 3, 4, 5, 4, 3) | named("control", 0, 1, 2, 1, 3.5, 2, 1, 0)
    one, same = against(alone), against(*[alone] * 30)
    rng = Random(0)
    noise = [{name: rng.gauss(0, 1) for name in alone} for _ in range(30)]
    other = against(*noise, alone)
    assert one and same and other and same.p == one.p < other.p < 15 * one.p
    assert other.form == 30 and other.lead == pytest.approx(one.lead)


def test_names_are_dealt_out_within_their_kind() -> None:
    """Numbers lie ten nats above names, claims and controls alike, and all but one of the claims are numbers: that is no lead. A kind without controls, and controls
    of a kind without claims, are left out."""
    numbers = named("claim", 10, 11, 9, 10.5) | named("control", 10.2, 10.8, 9.1)
    names = {"claim9": 0.1} | {f"control{9 + number}": edge for number, edge in enumerate((0.0, 0.3, -0.2, 0.2))}
    kinds = dict.fromkeys(numbers, "number") | dict.fromkeys(names, "name") | {"claim20": "date", "control30": "place"}
    found = against(numbers | names | {"claim20": 50.0, "control30": 99.0}, kinds=kinds)
    assert found is not None and found.asked == 5 and abs(found.lead) < 0.3 and found.p > 0.2 and "claim20" not in found.above


def test_a_control_that_strays_hides_nothing() -> None:
    """Twenty claims lead twenty controls by two, but one control is far off, as a mistyped one may be: of the others all are above."""
    rng = Random(1)
    edges = named("claim", *(2 + rng.gauss(0, 0.5) for _ in range(20))) | named("control", *(rng.gauss(0, 0.5) for _ in range(19)), 10)
    found = against(edges)
    assert found is not None and found.p < 0.01 and len(found.above) > 10


def test_innocent_claims_fail_no_more_often_than_alpha() -> None:
    """Of 200 draws of eight claims and ten controls under four forms at most 5 % and what chance adds to that (three standard deviations) have a p of 0.05."""
    rng = Random(2)
    found = [
        against(*({name: rng.gauss(0, 1) for name in [*named("claim", *[0] * 8), *named("control", *[0] * 10)]} for _ in range(4)))
        for _ in range(200)
    ]
    assert sum(own is not None and own.p <= 0.05 for own in found) <= 200 * 0.05 + 3 * (200 * 0.05 * 0.95) ** 0.5


def test_the_order_of_names_changes_nothing() -> None:
    edges = named("claim", 3, 4, 5) | CONTROLS
    assert against(dict(reversed(edges.items()))) == against(edges)


def test_too_few_to_say() -> None:
    assert against(named("claim", 5) | named("control", 0, 0, 0, 0)) is None
    assert against(named("control", 0, 0, 0, 0, 0)) is None
    assert against(named("claim", 5) | CONTROLS, kinds={"claim0": "a"} | dict.fromkeys(CONTROLS, "b")) is None
    still = against(named("claim", 1) | named("control", 1, 1, 1, 1, 1))
    assert still is not None and still.p == 1


def test_held_oftener_by_hand() -> None:
    """Of six held, five claims and five controls: four claims or more are 5 * 10 + 1 * 5 of 210 ways. Nothing held, or everything, says nothing."""
    assert oftener(4, 5, 2, 5) == pytest.approx(55 / 210)
    assert oftener(10, 10, 1, 5) == pytest.approx(5 / 1365)
    assert oftener(0, 5, 0, 5) == oftener(5, 5, 5, 5) == oftener(0, 5, 3, 5) == 1.0
