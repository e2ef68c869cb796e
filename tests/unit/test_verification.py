"""What verification makes of audits and attacks, on figures by hand."""

from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from polyunlearn.attacks.target import Variant
from polyunlearn.cleaning.asking import Compared
from polyunlearn.cleaning.controls import AgainstControls
from polyunlearn.cleaning.findings import Audit, Finding, Group, audit_data, audit_of
from polyunlearn.cleaning.plan import Plan
from polyunlearn.cleaning.points import Point
from polyunlearn.cleaning.unlearn import Cleaning
from polyunlearn.cleaning.verify import DEFAULT_ATTACKS, Attempt, Verification, _attempt
from polyunlearn.report.audit import (
    ATTEMPT_COLUMNS,
    attempt_rows,
    audit_sentences,
    print_verification,
    verification_sentences,
    write_claims_markdown,
)

AFTER = Audit("m", "f", ("de",), (), 0.05, ())


def attempt(**more: Any) -> Attempt:
    own = Attempt(
        "relearning", "half of the claims", 20, "en", "de", 10, 0, 0, 20, 0, 6.7, 0.025, (), dict.fromkeys(("claim0", "claim1"), 7.0)
    )
    return replace(own, **more)


def group(p: float, above: int, least: float = 1e-4, attack: str = "relearning") -> Group:
    names = tuple(f"claim{number}" for number in range(above))
    return Group("de", AgainstControls(0, 10, 7.4, p, least, names), ("claim0", "claim1"), attack, "half of the claims", 20)


@pytest.mark.parametrize(
    ("p", "above", "wanted"),
    [(0.001, 2, 2), (0.001, 1, 0), (0.03, 2, 0)],
    ids=["together above the controls", "no more than is allowed", "as chance gives to asking and one attack"],
)
def test_claims_that_come_back_together_are_found_where_none_shows_alone(p: float, above: int, wanted: int) -> None:
    """Of ten claims none is held beyond chance. Allowed is a tenth, one; p counts for asking plainly and one attack, so 0.03 is 0.06. They come back in the form in
    which they lead most, not in the other."""
    own, other, found = attempt(), attempt(strength=5), group(p, above)
    result = Verification(AFTER, None, ("relearning",), (own, other), (found,), 0.1)
    assert result.adjusted(found) == pytest.approx(2 * p)
    assert len(result.brought_back(own)) == wanted and result.brought_back(other) == ()


@pytest.mark.parametrize(
    ("held", "controls_held", "controls", "wanted"),
    [
        (10, 1, 1, 10),
        (5, 1, 2, 5),
        (10, 4, 4, 10),
        (3, 2, 20, 3),
        (9, 10, 20, 9),
        (7, 10, 20, 0),
        (10, 20, 20, 0),
    ],
    ids=["one control", "one of two", "too few", "as chance gives", "oftener than controls", "as often", "all that there is"],
)
def test_controls_excuse_only_what_they_can_explain(held: int, controls_held: int, controls: int, wanted: int) -> None:
    """Ten claims. Fewer than five controls excuse nothing, nor do as many as chance gives (two of twenty). With ten of twenty controls nine of ten claims stand out
    (Fisher's p is 0.036), seven do not (0.26). Where every control is held no claim could stand out, so that the attack is named."""
    own = attempt(held=held, claims=tuple(f"claim{number}" for number in range(held)), controls=controls, controls_held=controls_held)
    result = Verification(AFTER, None, ("relearning",), (own,), (), 0.1)
    assert len(result.brought_back(own)) == wanted
    assert result.powerless == ({"relearning": ("de",)} if controls_held == controls == 20 else {})


def test_what_nothing_can_be_said_of_is_not_counted() -> None:
    """Of twenty claims two can be decided, and both are held: of two chance gives one, of twenty three. So they fail, under an attack too, where a tenth of two is
    allowed. One of two is surely held at p = 0.01, which is 0.02 for both."""
    own = attempt(asked=20, undecided=18, held=2, claims=("claim0", "claim1"))
    assert Verification(AFTER, None, ("relearning",), (own,), (), 0.1).brought_back(own) == ("claim0", "claim1")

    def audit(*p: float) -> Audit:
        return Audit(
            "m",
            "f",
            ("de",),
            (),
            0.05,
            tuple(
                Finding(f"c{number}", "de", "given", 1, 8.0, -9.0, p[number] if number < 2 else None, 400, 1.0, 0.1, 1.0, None, 0.0, ())
                for number in range(20)
            ),
        )

    both = audit(0.04, 0.04)
    result = Verification(both, None, (), (), (), 0.1)
    assert result.held_by_chance == 1 and [one.claim for one in result.outcomes() if one.faults] == ["c0", "c1"]
    names = tuple(one.claim for one in both.findings)
    done = Cleaning(both, both, Plan(names, ("de",), ()), (), Point(8, 0, 0, {}, {}), True, {}, {})
    assert done.remaining == ("c0", "c1")
    alone = audit(0.01, 0.9)
    assert [one.claim for one in alone.findings if alone.surely_held(one)] == ["c0"]


def test_an_attempt_counts_what_can_be_said() -> None:
    """A claim and a control without p have an edge that says nothing: it is in no mean and no count, nor are they in how many languages were tested."""

    def told(edge: float, p: float | None) -> Compared:
        return Compared(0.0, edge, p, 400 if p else 0, 0.9 if p else None, None)

    def audited(name: str, p: float | None) -> tuple[Finding, ...]:
        return tuple(Finding(name, tag, "given", 1, 0.0, -9.0, p, 400, None, 0.1, 0.0, None, 0.0, ()) for tag in ("de", "en"))

    findings = (*audited("a", 0.5), *audited("b", None), *audited("c", 0.5), *audited("d", None))
    after = Audit("m", "f", ("de", "en"), ("c", "d"), 0.05, findings)
    found = {"a": told(2.0, 0.01), "b": told(90.0, None), "c": told(1.0, 0.5), "d": told(80.0, None)}
    own = _attempt("relearning", Variant("half", 20, "en"), "de", found, after)
    assert (own.asked, own.held, own.undecided, own.controls, own.controls_held) == (2, 1, 1, 1, 0)
    assert (own.edge, own.rate, own.edges) == (2.0, 0.025, {"a": 2.0, "c": 1.0})
    nothing = _attempt("relearning", Variant("half", 20, "en"), "de", {"b": found["b"]}, after)
    assert nothing.edge is None
    assert attempt_rows(Verification(after, None, ("relearning",), (nothing, own), (), 0.1))[0][3] == "1 of 2"


def test_an_attack_more_hides_nothing_that_another_finds() -> None:
    """A probe with a thousand attempts in fifty languages beside relearning: p counts for three askings instead of two, not for fifty-one."""
    probe = attempt(attack="linear_probe")
    many = (*(replace(group(0.5, 0, attack="linear_probe"), language=f"x{number}") for number in range(50)), group(0.001, 2))
    found = Verification(AFTER, None, ("relearning", "linear_probe"), (attempt(), *[probe] * 1000), many, 0.1)
    assert len(found.brought_back(attempt())) == 2 and found.adjusted(many[-1]) == pytest.approx(0.003)


def test_no_figure_is_cut_in_a_narrow_terminal() -> None:
    """80 columns, the longest names: every p and lead stands whole, as do the words of the headings; forms and languages give way."""
    names = (*DEFAULT_ATTACKS, "unrelated_relearning")
    own = [attempt(attack=name, variant="a novelist's notes", language="de", controls_held=3, held=10) for name in names]
    groups = tuple(group(0.012, 2, attack=name) for name in names)
    shown = Console(file=StringIO(), width=80)
    groups = tuple(replace(one, variant="a novelist's notes") for one in groups)
    result = Verification(AFTER, None, names, tuple(own), groups, 0.1)
    print_verification(result, shown)
    printed = shown.file.getvalue()  # type: ignore[attr-defined]
    table = printed[printed.index("What attacks bring back") :]
    for row in attempt_rows(result):
        (line,) = (line for line in table.splitlines() if line.strip().startswith(f"{row[0]} "))
        assert f"{row[-2]}" in line.split() and line.split()[-1] == row[-1]
    assert all(word in table for name in ATTEMPT_COLUMNS if name not in ("form", "most in") for word in name.split())


def test_markdown_says_what_the_terminal_shows(tmp_path: Path) -> None:
    """A claim that is held stands in bold, one that is said has a mark, an attack its row; a name with a bar breaks no table."""

    def one(claim: str, tag: str, p: float | None, says: float) -> Finding:
        return Finding(claim, tag, "given", 1, 2.0, -9.0, p, 400, None, 0.1, 0.0, None, says, ())

    findings = (one("a|b", "de", 0.001, 1.0), one("a|b", "ur", 0.9, 0.0), one("c", "de", None, 0.0), one("control", "de", 0.5, 0.0))
    after = Audit("m", "f", ("de", "ur"), ("control",), 0.05, findings)
    result = Verification(after, None, ("relearning",), (attempt(),), (), 0.1)
    path = tmp_path / "verify.md"
    write_claims_markdown("Verification of m|n", after, verification_sentences(result), attempt_rows(result), path)
    lines = path.read_text(encoding="utf-8").splitlines()
    assert lines[0] == "# Verification of m\\|n" and lines[2].startswith("- FAIL: ")
    assert lines[lines.index("| claim | de | ur | p |") + 2 :][:2] == ["| a\\|b | **+2.0!** | +2.0 | 0.00 |", "| c | +2.0? |  |  |"]
    assert any(line.startswith("| relearning | ") for line in lines) and "bold: held beyond chance" in path.read_text(encoding="utf-8")


def test_what_could_not_have_failed_is_no_pass() -> None:
    """Ten claims that nothing can be said of alone: a group could fail whose least p is 0.001, not one of 0.03, which is 0.06 for asking and one attack; nor can
    what sets nothing against controls, or asks for no claim. Where all can be said alone, as many as chance does not give could be held."""

    def powerless(own: Attempt, *groups: Group) -> dict[str, tuple[str, ...]]:
        return Verification(AFTER, None, ("relearning",), (own,), groups, 0.1).powerless

    blind = attempt(undecided=10)
    assert powerless(blind, group(0.5, 0, least=0.001)) == {}
    assert powerless(blind, group(0.5, 0, least=0.03)) == powerless(blind) == {"relearning": ("de",)}
    assert powerless(attempt(asked=0)) == {"relearning": ()}
    assert powerless(attempt()) == {}
    # A single claim of one language at one in twenty is chance beside another asking; at one in a hundred it is not.
    assert powerless(attempt(asked=1, rate=0.05)) == {"relearning": ("de",)} and powerless(attempt(asked=1, rate=0.01)) == {}


def test_languages_that_an_attack_did_not_ask_in_are_named() -> None:
    """Of claims in German and Spanish relearning asked in both, role play in German alone, and doubt in none, which makes it powerless."""
    findings = tuple(Finding("c", tag, "given", 1, 0.0, -9.0, 0.5, 400, None, 0.1, 0.0, None, 0.0, ()) for tag in ("de", "es"))
    attempts = (attempt(), attempt(language="es"), attempt(attack="role_play"))
    found = Verification(replace(AFTER, findings=findings), None, ("relearning", "role_play", "multi_turn_doubt"), attempts, (), 0.1)
    assert found.unasked == {"role_play": ("es",)} and "multi_turn_doubt" in found.powerless
    undecided, *others = verification_sentences(found)
    assert undecided.startswith("UNDECIDED") and "role_play did not ask in es." in others
    assert "role_play did not ask in es." in verification_sentences(replace(found, attacks=("relearning", "role_play")))


def test_a_single_claim_that_is_held_fails() -> None:
    """Held at p = 0.04, alone: chance gives none of one. With an innocent claim beside it chance gives one, at one in ten; but not at p = 1/401, which is 0.005 for
    the two."""

    def verified(*p: float) -> Verification:
        findings = tuple(
            Finding(f"c{number}", "de", "given", 1, 8.0, -9.0, own, 400, 1.0, 0.1, 1.0, None, 0.0, ()) for number, own in enumerate(p)
        )
        return Verification(Audit("m", "f", ("de",), (), 0.05, findings), None, (), (), (), 0.1)

    assert [own.faults for own in verified(0.04).outcomes()] == [("held",)] and verified(0.04).result == "failed"
    assert verified(0.04, 0.5).result == "passed" and verified(0.04, 0.04).result == "failed"
    assert [own.faults for own in verified(1 / 401, 0.5).outcomes()] == [("held",), ()]


def test_claims_above_the_controls_together_are_held_without_any_attack() -> None:
    """Of twenty claims none is held alone, five lie above the controls and all together do, in one of two languages at p = 0.02: 0.04 for both. At 0.03, or with two
    above, which is no more than allowed, none is."""

    def audit(p: float, above: int) -> Audit:
        names = tuple(f"c{number}" for number in range(20))
        findings = tuple(Finding(name, "de", "given", 1, 1.0, -9.0, 0.3, 400, 0.7, 0.1, 0.0, None, 0.0, ()) for name in names)
        groups = (
            Group("de", AgainstControls(0, 20, 1.0, p, 1e-4, names[:above]), names),
            Group("en", AgainstControls(0, 20, 0.0, 0.5, 1e-4, ()), names),
        )
        return Audit("m", "f", ("de", "en"), (), 0.05, findings, groups)

    def failed(p: float, above: int) -> int:
        return sum(own.faults == ("held",) for own in Verification(audit(p, above), None, (), (), (), 0.1).outcomes())

    assert (failed(0.02, 5), failed(0.03, 5), failed(0.02, 2)) == (5, 0, 0)
    assert audit_of(audit_data(audit(0.02, 5))) == audit(0.02, 5)
    sentence = (
        "All together lie above the controls, whatever shows in each alone: German (by +1.0 nats a token, 5 of them above the controls)."
    )
    assert sentence in audit_sentences(audit(0.02, 5)) and not any("All together" in own for own in audit_sentences(audit(0.03, 5)))
