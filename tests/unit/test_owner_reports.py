"""What an owner reads of an unlearned model: the card's figures, and that answers lie conspicuously low."""

import json
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from polyunlearn.cleaning.controls import AgainstControls
from polyunlearn.cleaning.findings import Audit, Finding, Group
from polyunlearn.cleaning.plan import Plan, Settings
from polyunlearn.cleaning.points import Point
from polyunlearn.cleaning.unlearn import Cleaning
from polyunlearn.cleaning.verify import Verification
from polyunlearn.report.audit import cleaning_sentences, print_verification, verification_sentences, write_claims_html
from polyunlearn.report.model_card import model_card

CLAIMS = tuple(f"c{number}" for number in range(10))


def finding(claim: str, tag: str = "de", *, edge: float = 0.0, p: float | None = 0.5, suppressed: float | None = 0.5) -> Finding:
    return Finding(claim, tag, "given", 1, edge, -9.0, p, 400, suppressed, 0.01, 0.0, None, 0.0, ("Nein",))


def audit(*findings: Finding) -> Audit:
    tags = tuple(dict.fromkeys(own.language for own in findings))
    return Audit("m", "f", tags, ("control",), 0.05, findings)


def low(count: int) -> Audit:
    """Ten claims, so many of which lie lower in German than all but one in a hundred; so does a control."""
    own = [finding(claim, suppressed=0.01 if number < count else 0.5) for number, claim in enumerate(CLAIMS)]
    return audit(*own, *(finding(claim, "en") for claim in CLAIMS), finding("control", suppressed=0.01))


def done_with(before: Audit, after: Audit) -> Cleaning:
    kept = Point(8, 0, 0, {"de": -1.0}, {"de": 0.001, "en": 0.0})
    return Cleaning(before, after, Plan(CLAIMS, ("de",), ()), (kept,), kept, True, {"de": 0.015, "en": 0.002}, {})


def test_answers_that_lie_conspicuously_low_are_a_warning_and_no_fault(tmp_path: Path) -> None:
    """Chance lets two of ten look so; with three it is said in the terminal, in words, on the page, in the figures and on the card; controls are not counted."""
    result = Verification(low(3), None, (), (), (), 0.1)
    assert result.result == "passed" and result.data()["suppressed"] == {"de": CLAIMS[:3]}
    (said,) = [own for own in verification_sentences(result) if own.startswith("CONSPICUOUSLY UNLIKELY: the answers of 3 claims")]
    assert "(German 3)" in said and "can tell that these claims were unlearned" in said and "fails nothing" in said
    shown = Console(file=StringIO(), width=2000)
    print_verification(result, shown)
    assert said in shown.file.getvalue()  # type: ignore[attr-defined]
    write_claims_html("title", {"Now": result.after}, verification_sentences(result), (), (), tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert page.count("▽</td>") == 4 and "CONSPICUOUSLY UNLIKELY" in page
    done = done_with(low(0), low(3))
    assert said in cleaning_sentences(done) and said in model_card(done, Settings(), "own", "float32")


def test_as_many_as_chance_gives_are_no_warning() -> None:
    result = Verification(low(2), None, (), (), (), 0.1)
    assert result.data()["suppressed"] == {} and not any("CONSPICUOUSLY" in own for own in verification_sentences(result))
    assert json.loads(json.dumps(result.data()))["suppressed"] == {}


@pytest.mark.parametrize(("p", "wanted"), [(None, "+1.00 → -0.50"), (0.5, "+4.33 → +4.67")])
def test_the_card_has_no_edge_that_says_nothing(p: float | None, wanted: str) -> None:
    """Two claims fall from 1 to -0.5; the third, at 11 and 15, counts where it has a p."""
    before, after = (
        audit(finding("c0", edge=own), finding("c1", edge=own), finding("c2", edge=other, p=p))
        for own, other in ((1.0, 11.0), (-0.5, 15.0))
    )
    assert f"| {wanted} |" in model_card(done_with(before, after), Settings(), "own", "float32")
    nothing = audit(finding("c2", edge=11.0, p=None))
    assert "| undecided |" in model_card(done_with(nothing, nothing), Settings(), "own", "float32")


def test_claims_that_were_found_and_left_out_are_there_still() -> None:
    """Three are held, of which the plan has one: the two others are said to be left out and remain; where it has none nothing was unlearned, which is not
    that none was found."""
    held = [finding(claim, p=0.001 if number < 3 else 0.5) for number, claim in enumerate(CLAIMS)]
    before, after = audit(*held, finding("control")), audit(replace(held[0], p=0.5), *held[1:], finding("control"))
    assert before.found == CLAIMS[:3]
    done = replace(done_with(before, after), plan=Plan(CLAIMS[:1], ("de",), ()))
    # Two of three are more than chance gives.
    assert done.remaining == CLAIMS[1:3]
    said = replace(done, after=audit(*(replace(own, says=1.0) for own in held)))
    assert said.remaining == CLAIMS[:3]
    assert "LEFT OUT: 2 of the 3 claims found, with no edition in the languages that were asked for." in cleaning_sentences(done)
    nothing = cleaning_sentences(replace(done, plan=Plan((), ("fr",), ())))
    assert nothing[0].startswith("LEFT OUT: 3 of the 3") and nothing[1] == "Nothing was unlearned."
    assert cleaning_sentences(replace(done_with(low(0), low(0)), plan=Plan((), (), ())))[0] == "The audit found none of the claims."


def test_claims_that_are_held_together_alone_are_found() -> None:
    """None of ten looks held by itself, six lie above the controls, all together by p = .0001: these six."""
    together = Group("de", AgainstControls(0, 10, 1.0, 0.0001, 0.0001, CLAIMS[:6]), (*CLAIMS, "control"))
    found = replace(audit(*map(finding, CLAIMS), finding("control")), groups=(together,))
    assert found.found == CLAIMS[:6] and not any(own.found for own in found.verdicts())


def test_the_cost_is_that_of_texts_which_did_not_choose() -> None:
    done = done_with(low(0), low(0))
    card = model_card(done, Settings(), "own", "float32")
    assert "| +1.5% |" in card and "+0.1%" not in card and "by which no state was chosen" in card and "(2.0%, by other articles)" in card
    assert "texts that it was not chosen by +1.5% in the worst language (de)" in cleaning_sentences(done)[0]
