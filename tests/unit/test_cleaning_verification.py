"""Verification of a tiny model, with attacks that leave it as it was."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from handmade_claims import CLAIMS, TOLD, claim_of, taught
from tiny import sharp

import polyunlearn.cli.claims  # noqa: F401 — adds its commands
from polyunlearn.attacks.suite import get_attacks
from polyunlearn.cleaning import verify as verify_module
from polyunlearn.cleaning.asking import Asking
from polyunlearn.cleaning.unlearn import Cleaning
from polyunlearn.cleaning.verify import verify_claims
from polyunlearn.corpus.newsroom import generate_stories
from polyunlearn.errors import UserError
from polyunlearn.models.loading import LoadedModel


def test_verification_passes_what_is_gone_and_fails_what_is_there(cleaned: tuple[LoadedModel, Cleaning, Path], gemma_folder: Path) -> None:
    """The unlearned tiny model says none of the claims; the taught one fails in German, for all four, and names why. Controls have no outcome."""
    asking = Asking(max_new_tokens=6)
    gone = verify_claims(cleaned[0], CLAIMS, cleaned[1].before, [], asking)
    there = verify_claims(taught(gemma_folder), CLAIMS, None, [], asking)
    told = {claim.id for claim in CLAIMS[:TOLD]}
    assert {own.claim for own in gone.outcomes()} == told == {own.claim for own in there.outcomes()}
    assert not any("said" in own.faults for own in gone.outcomes() if own.language == "de")
    failed = [own for own in there.outcomes() if own.language == "de" and own.result == "failed"]
    assert {own.claim for own in failed} == told and all("said" in own.faults for own in failed) and there.result == "failed"
    assert json.loads(json.dumps(there.data()))["result"] == "failed"


def test_nothing_to_compare_with_is_undecided_and_no_pass(gemma_folder: Path) -> None:
    """One claim alone, in an untaught model: nothing can be said; with controls alone there is no outcome; neither passes."""
    loaded = sharp(gemma_folder)
    one = verify_claims(loaded, CLAIMS[:1], None, [], Asking(max_new_tokens=0))
    assert {own.result for own in one.outcomes()} == {"undecided"} and one.result == "undecided"
    assert verify_claims(loaded, CLAIMS[TOLD:], None, [], Asking(max_new_tokens=0)).result == "undecided"


def test_an_attack_that_could_not_fail_is_no_pass(gemma_folder: Path) -> None:
    """Four claims in one language give twelve pairs: no p is below 1/13, so that nothing can be found held, asked or attacked, and this says so. With one claim
    of a kind relearning teaches it, and asks for none."""
    attack = get_attacks(["pruning"])
    few = verify_claims(sharp(gemma_folder), CLAIMS[TOLD - 4 : TOLD], None, attack, Asking(max_new_tokens=0, languages=("en",)))
    assert few.result == "undecided" and few.attempts and all(own.undecided == own.asked == 4 for own in few.attempts)
    assert few.powerless == {"pruning": ("en",)}
    one = verify_claims(sharp(gemma_folder), [CLAIMS[0], *CLAIMS[TOLD:]], None, get_attacks(["relearning"]), Asking(max_new_tokens=0))
    assert one.powerless == {"relearning": ()} and one.result == "undecided" and all(own.controls for own in one.attempts)


def test_an_attack_that_can_do_nothing_is_refused(gemma_folder: Path) -> None:
    with pytest.raises(UserError, match="attack 'steering' needs the model before"):
        verify_claims(sharp(gemma_folder), CLAIMS, None, get_attacks(["steering"]))


def test_attacks_ask_all_claims_and_leave_the_weights(gemma_folder: Path) -> None:
    """Rounding to 8 bits changes next to nothing of a model that says the claims: they are held under it as without it."""
    loaded = taught(gemma_folder)
    before = {name: own.clone() for name, own in loaded.model.state_dict().items()}
    found = verify_claims(loaded, CLAIMS, None, get_attacks(["quantisation", "relearning", "romanised"]), Asking(max_new_tokens=0))
    gentle = [own for own in found.attempts if own.attack == "quantisation" and own.strength == 8 and own.language == "de"]
    assert [own.asked for own in gentle] == [TOLD] and gentle[0].controls == len(CLAIMS) - TOLD
    assert gentle[0].held >= 2 and set(gentle[0].claims) <= {claim.id for claim in CLAIMS[:TOLD]}
    assert {(own.spoken, own.strength) for own in found.attempts if own.attack == "relearning"} == {
        (tag, points) for tag in ("en", "de") for points in (5, 20)
    }
    assert all(torch.equal(own, before[name]) for name, own in loaded.model.state_dict().items())
    assert any(f.startswith("recovered by quantisation") for own in found.outcomes() for f in own.faults)


def test_answers_in_other_letters_are_asked_too(gemma_folder: Path) -> None:
    """Russian and Chinese claims in Latin letters, whose tokens none of the plain answers has."""
    claims = [
        claim_of(story, control=number >= 2, languages=("ru", "zh"))
        for number, story in enumerate(generate_stories(8, languages=("ru", "zh")))
    ]
    found = verify_claims(sharp(gemma_folder), claims, None, get_attacks(["romanised"]), Asking(max_new_tokens=0))
    assert {own.language for own in found.attempts} == {"ru", "zh"} and all(own.asked == 2 and own.controls == 6 for own in found.attempts)


@pytest.mark.parametrize("attack", ["pruning", "relearning"])
def test_an_attack_that_is_interrupted_leaves_the_weights(gemma_folder: Path, monkeypatch: pytest.MonkeyPatch, attack: str) -> None:
    loaded = sharp(gemma_folder)
    before = {name: own.clone() for name, own in loaded.model.state_dict().items()}
    moved = []

    def interrupted(*arguments: Any) -> Any:
        moved.append(any(not torch.equal(own, before[name]) for name, own in loaded.model.state_dict().items()))
        raise KeyboardInterrupt

    monkeypatch.setattr(verify_module, "candidate_tokens", interrupted)
    with pytest.raises(KeyboardInterrupt):
        verify_claims(loaded, CLAIMS, None, get_attacks([attack]), Asking(max_new_tokens=0))
    assert moved == [True] and all(torch.equal(own, before[name]) for name, own in loaded.model.state_dict().items())


def test_an_attack_after_which_there_are_no_numbers_decides_nothing(gemma_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = sharp(gemma_folder)
    monkeypatch.setattr("polyunlearn.attacks.pruning.pruned", lambda weight, share: weight * torch.nan)
    found = verify_claims(loaded, CLAIMS, None, get_attacks(["pruning"]), Asking(max_new_tokens=0))
    assert all(own.held == own.controls_held == 0 and own.undecided == own.asked and own.edge is None for own in found.attempts)
    assert list(found.powerless) == ["pruning"] and found.result != "passed"
