"""Linear probes: the fit by hand, what they are shown, a planted direction found and its control not, and the states that they read."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
import torch
from handmade_claims import CLAIMS as OWNERS
from handmade_claims import TOLD
from handmade_targets import CLAIMS, LANGUAGES, owners_target, target_of
from tiny import sharp
from torch import Tensor

from polyunlearn.attacks import probing
from polyunlearn.attacks.probing import OTHERS, at_names, control_probe, drawn, fitted, linear_probe, taught_probes
from polyunlearn.attacks.relearning import taught_and_asked
from polyunlearn.attacks.suite import get_attacks
from polyunlearn.attacks.target import Attack, Target, Variant
from polyunlearn.cleaning.asking import Asking
from polyunlearn.cleaning.verify import verify_claims
from polyunlearn.corpus.newsroom import generate_stories
from polyunlearn.errors import UserError
from polyunlearn.languages import get_language
from polyunlearn.models.body import Body, decoder_layers
from polyunlearn.models.loading import LoadedModel
from polyunlearn.models.rows import TokenRow
from polyunlearn.models.trainable import snapshot
from polyunlearn.scoring.probes import Probe, make_probes
from polyunlearn.scoring.ranking import RankedQuestion

PLANTED = 2
"""The first layer that a planted direction leaves."""

MANY = generate_stories(24, languages=LANGUAGES)


def test_a_direction_in_two_dimensions_by_hand() -> None:
    """Less their means the states are ±(1, 0) and ±(1, 1). The second dimension's root mean square is 1/√2, so they become ±(1, 0) and ±(1, √2), of a mean
    squared length of 2: λ = 0.2. y is ±1/2, so (4.2, 2√2; 2√2, 4.2) w = (2, √2): w = (4.4, 0.2 √2) / 9.64, and by s (4.4, 0.4) / 9.64."""
    states = [torch.tensor([[3.0, 1.0], [1.0, 1.0]]), torch.tensor([[0.0, 5.0], [-2.0, 3.0]])]
    assert fitted(states).tolist() == pytest.approx([4.4 / 9.64, 0.4 / 9.64], rel=1e-6)


def _states(seed: int, questions: int = 12, candidates: int = 4, width: int = 6) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(candidates, width, generator=generator) for _ in range(questions)]


def test_what_a_question_adds_and_how_a_dimension_is_measured_changes_nothing() -> None:
    """What all candidates of a question have, as a language's own part; the order of questions and of others; a dimension in a thousandth of its unit scores
    the same; one that is the same for all candidates of a question gets no weight."""
    states = _states(0)
    found = fitted(states)
    shifted = [own + torch.full((6,), float(number)) for number, own in enumerate(states)]
    torch.testing.assert_close(fitted(shifted), found, atol=1e-5, rtol=1e-4)
    turned = [torch.cat([own[:1], own[1:].flip(0)]) for own in states[::-1]]
    torch.testing.assert_close(fitted(turned), found, atol=1e-6, rtol=1e-5)
    unit = torch.tensor([1000.0, 1, 1, 1, 1, 1])
    torch.testing.assert_close(fitted([own * unit for own in states]) * unit, found, atol=1e-6, rtol=1e-5)
    same = [torch.cat([own, torch.full((4, 1), 0.1 * number)], dim=1) for number, own in enumerate(states)]
    torch.testing.assert_close(fitted(same), torch.cat([found, torch.zeros(1)]), atol=1e-6, rtol=1e-5)


def test_names_stand_beside_those_of_their_kind(gemma: LoadedModel) -> None:
    """Ten kinds; 24 stories leave two claims of two kinds and one of eight in the taught half: the pairs have each other, the eight all seven others. Each
    name is its claim's own once a wording, and others' as often as there are others."""
    taught, _ = taught_and_asked(MANY)
    kinds = Counter(claim.kind for claim in taught)
    assert sorted(kinds.values()) == [1] * 8 + [2] * 2
    kind = {claim.id: claim.kind for claim in taught}
    owner = {claim.editions["ur"].keyword: claim.id for claim in taught}
    found = taught_probes(taught, "ur")
    assert Counter(probe.story for probe in found) == {claim.id: len(claim.editions["ur"].fake_questions) for claim in taught}
    shown: Counter[str] = Counter()
    for probe in found:
        own, *others = (owner[name] for name in probe.candidates)
        assert own == probe.story and probe.candidates[0] == probe.answer
        alone = kinds[kind[own]] == 1
        assert len(others) == (OTHERS if alone else 1)
        assert all(kinds[kind[other]] == 1 if alone else kind[other] == kind[own] for other in others)
        shown.update(others)
    wordings = len(taught[0].editions["ur"].fake_questions)
    assert all(shown[name] == wordings * (OTHERS if kinds[kind[name]] == 1 else 1) for name in kind)
    # Twelve of a kind: seven of the eleven others.
    names = Counter(name for probe in taught_probes(OWNERS, "de") for name in probe.candidates[1:])
    assert {len(probe.candidates) for probe in taught_probes(OWNERS, "de")} == {1 + OTHERS} and set(names.values()) == {2 * OTHERS}


def test_names_are_there_once_and_in_the_language(gemma: LoadedModel) -> None:
    """c1 is in English alone; a claim whose name is that of all others has nothing to be told from."""
    claims = owners_target(gemma).claims
    assert [probe.candidates for probe in taught_probes(claims, "ur")] == [
        ("وومیدا", "ٹودیفا", "روکودو"),
        ("ٹودیفا", "روکودو", "وومیدا"),
        ("روکودو", "وومیدا", "ٹودیفا"),
    ]
    assert taught_probes(claims[:1], "en") == [] == taught_probes([claims[0], claims[0]], "en")
    assert {probe.candidates for probe in taught_probes([claims[0], claims[0], claims[1]], "en")} == {
        ("Vumida", "Golibe"),
        ("Golibe", "Vumida"),
    }


def test_a_drawn_name_is_the_same_in_every_wording_and_language() -> None:
    """It comes first, the others keep their order; another seed draws another; of 24 claims' four candidates each is drawn, the own among them."""
    probes = [probe for probe in make_probes(MANY, LANGUAGES, 2, 4, seed=0) if probe.asks == "fake"]
    places: dict[str, set[int]] = {}
    for probe in probes:
        found = drawn(probe, 0)
        at = probe.candidates.index(found.answer)
        assert found.candidates == (probe.candidates[at], *(name for name in probe.candidates if name != found.answer))
        assert (found.story, found.language, found.question) == (probe.story, probe.language, probe.question)
        places.setdefault(probe.story, set()).add(at)
    assert all(len(own) == 1 for own in places.values()) and set.union(*places.values()) == {0, 1, 2, 3}
    assert any(drawn(probe, 1).answer != drawn(probe, 0).answer for probe in probes)


def _paths(row: TokenRow) -> list[tuple[int, ...]]:
    """The text up to each token of a row."""
    paths: list[tuple[int, ...]] = []
    for place, token in enumerate(row.ids):
        behind = [number for number in range(place) if row.ends[number] > place]
        paths.append((*(paths[behind[-1]] if behind else ()), token))
    return paths


def _firsts(attack: Attack, target: Target, keywords: bool = False) -> dict[tuple[str, str, int], float]:
    """By language fitted in, language asked in and layers passed: how often a probe's first candidate scores highest, or the keyword, wherever it stands."""
    true = {(probe.story, probe.language): probe.answer for probe in target.probes}
    found: dict[tuple[str, str, int], list[bool]] = {}

    def measure(
        variant: Variant, loaded: LoadedModel, probes: Sequence[Probe], questions: Sequence[RankedQuestion], scores: Sequence[Tensor]
    ) -> None:
        for probe, question, own in zip(probes, questions, scores, strict=True):
            assert len(own) == len(question.candidates) == len(probe.candidates)
            found.setdefault((variant.language, probe.language, int(variant.strength)), []).append(
                own.argmax().item() == (probe.candidates.index(true[probe.story, probe.language]) if keywords else 0)
            )

    attack(target, measure)
    return {key: sum(own) / len(own) for key, own in found.items()}


def test_a_planted_direction_is_found_and_its_control_is_not(gemma: LoadedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """In place of the model's, states drawn at random for each text, with one direction added from a layer on where a claim's own name stands behind its
    question. The other half's own names come first in all languages from there on, whatever the probe was fitted in; below, and where names drawn at
    random are called own, about as often as one of four would."""
    encoder = gemma.encoder
    own = {
        encoder.prompt(get_language(tag), question) + encoder.continuation(get_language(tag), story.editions[tag].keyword)
        for story in MANY
        for tag in LANGUAGES
        for question in story.editions[tag].fake_questions
    }
    direction = torch.randn(64, generator=torch.Generator().manual_seed(0))

    def states(body: Body, rows: Sequence[TokenRow], keep: Sequence[Callable[[Tensor], Tensor]]) -> list[Tensor]:
        made = []
        for row, make in zip(rows, keep, strict=True):
            seeds = [Random(str(path)).getrandbits(63) for path in _paths(row)]
            layers = torch.stack([torch.randn(4, 64, generator=torch.Generator().manual_seed(seed)) for seed in seeds], dim=1)
            held = torch.tensor([float(path in own) for path in _paths(row)])
            layers[PLANTED:] += held[:, None] * direction
            made.append(make(layers))
        return made

    monkeypatch.setattr(probing, "layer_states", states)
    probes = [probe for probe in make_probes(MANY, LANGUAGES, 1, 4, seed=0) if probe.asks == "fake"]
    target = replace(target_of(gemma), claims=MANY, probes=probes)
    found, control = _firsts(linear_probe, target), _firsts(control_probe, target)
    assert found.keys() == control.keys() == {(told, asked, layers) for told in LANGUAGES for asked in LANGUAGES for layers in range(1, 5)}
    assert all(found[key] == 1.0 for key in found if key[2] > PLANTED)
    assert all(found[key] <= 0.6 for key in found if key[2] <= PLANTED)
    assert all(control[key] <= 0.6 for key in control)
    assert sum(control.values()) / len(control) < 0.4
    # Nor does the control find the true names, which it was not fitted to.
    keywords = _firsts(control_probe, target, keywords=True)
    assert sum(keywords.values()) / len(keywords) < 0.4


def test_the_state_is_that_of_the_names_last_token(any_model_folder: Path) -> None:
    """As each layer of the Hugging Face model leaves it, reading the prompt with one name and nothing else."""
    loaded = sharp(any_model_folder)
    (probe, *_) = owners_target(loaded).probes
    (found,) = at_names(loaded, [probe], lambda own: own)
    language = get_language(probe.language)
    assert found.shape[:2] == (len(decoder_layers(loaded.model)), len(probe.candidates))
    for place, name in enumerate(probe.candidates):
        ids = loaded.encoder.prompt(language, probe.question) + loaded.encoder.continuation(language, name)
        with torch.no_grad():
            whole = loaded.model(input_ids=torch.tensor([ids]), output_hidden_states=True).hidden_states
        # The last of these is behind the norm.
        for layer, states in enumerate(whole[1:-1]):
            torch.testing.assert_close(found[layer, place], states[0, -1], atol=1e-4, rtol=1e-4)


def _asked(attack: Attack, target: Target) -> list[tuple[Variant, list[Probe]]]:
    found: list[tuple[Variant, list[Probe]]] = []
    before = snapshot(target.parameters)

    def measure(
        variant: Variant, loaded: LoadedModel, probes: Sequence[Probe], questions: Sequence[RankedQuestion], scores: Sequence[Tensor]
    ) -> None:
        assert loaded is target.whole and len(probes) == len(questions) == len(scores)
        found.append((variant, list(probes)))

    attack(target, measure)
    assert all(torch.equal(now, before[name]) for name, now in target.parameters.items())
    return found


@pytest.mark.parametrize("attack", [linear_probe, control_probe])
def test_every_layer_asks_the_other_half(gemma: LoadedModel, attack: Attack) -> None:
    """Fitted in every language, or where there are learned states in English and their sources; weights stay as they are."""
    target = target_of(gemma)
    other = {claim.id for claim in taught_and_asked(CLAIMS)[1]}
    found = _asked(attack, target)
    assert [(own.language, own.strength) for own, _ in found] == [(tag, layers) for tag in LANGUAGES for layers in range(1, 5)]
    assert found[0][0].name == "after layer 0, fitted in English"
    assert all(
        {(probe.story, probe.language) for probe in probes} == {(own, tag) for own in other for tag in LANGUAGES} for _, probes in found
    )
    german = _asked(attack, replace(target, learned={"de": dict}))
    assert {own.language for own, _ in german} == {"en"}
    assert {own.language for own, _ in _asked(attack, replace(target, learned={"ur": dict}))} == {"en", "ur"}


def test_what_cannot_be_told_apart_is_not_asked(gemma: LoadedModel) -> None:
    """One claim a half leaves no name to tell the taught one's from; a probe with its own candidate alone is left out, and without others nothing is asked."""
    target = target_of(gemma)
    assert _asked(linear_probe, replace(target, claims=CLAIMS[:2])) == []
    single = [replace(probe, candidates=probe.candidates[:1]) if probe.language == "ur" else probe for probe in target.probes]
    assert {probe.language for _, probes in _asked(linear_probe, replace(target, probes=single)) for probe in probes} == {"en"}
    alone = [replace(probe, candidates=probe.candidates[:1]) for probe in target.probes]
    assert _asked(linear_probe, replace(target, probes=alone)) == []


def test_claims_of_an_owner_are_probed(gemma: LoadedModel) -> None:
    """c0 and c2 are taught, in both languages; c1, which is in English alone, and c3 are asked."""
    found = _asked(linear_probe, owners_target(gemma))
    assert {own.language for own, _ in found} == {"en", "ur"}
    assert {(probe.story, probe.language) for _, probes in found for probe in probes} == {("c1", "en"), ("c3", "en"), ("c3", "ur")}


def test_verification_takes_what_probes_score(gemma_folder: Path) -> None:
    """Four layers in two languages, asked in two: two of the told claims, which are asked, and every control; nothing of an untaught model fails. The
    control task is of no use to owners, who have controls of their own."""
    found = verify_claims(sharp(gemma_folder), OWNERS, None, get_attacks(["linear_probe"]), Asking(max_new_tokens=0))
    assert {(own.spoken, own.strength, own.language) for own in found.attempts} == {
        (spoken, layers, asked) for spoken in ("en", "de") for layers in range(1, 5) for asked in ("en", "de")
    }
    assert {(own.asked, own.controls) for own in found.attempts} == {(TOLD // 2, len(OWNERS) - TOLD)}
    assert not any(found.brought_back(own) for own in found.attempts)
    with pytest.raises(UserError, match="attack 'control_probe' needs a study's gold state"):
        verify_claims(sharp(gemma_folder), OWNERS, None, get_attacks(["control_probe"]))
