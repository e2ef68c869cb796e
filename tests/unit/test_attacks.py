"""Attacks by prompt and by training: what they ask and teach, and what they leave."""

import itertools
from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from handmade_targets import CLAIMS, LANGUAGES, NEIGHBOURS, target_of

from polyunlearn.attacks.few_shot import few_shot, few_shot_questions
from polyunlearn.attacks.relearning import (
    among_untaught,
    benign_relearning,
    filler_steps,
    relearning,
    relearning_steps,
    taught_and_asked,
    unrelated_relearning,
)
from polyunlearn.attacks.suite import ATTACKS, get_attacks
from polyunlearn.attacks.target import POINTS, Target, Variant
from polyunlearn.attacks.texts import texts
from polyunlearn.corpus.newsroom import generate_stories
from polyunlearn.errors import UserError
from polyunlearn.languages import get_language
from polyunlearn.models.loading import LoadedModel
from polyunlearn.scoring.measure import ranked_questions
from polyunlearn.scoring.probes import Probe
from polyunlearn.scoring.ranking import RankedQuestion


def test_shots_stand_before_the_question_in_its_language(gemma: LoadedModel) -> None:
    """The text begins once; each shot is a neighbour's question with its answer; a story is shown the same neighbours in every language; candidates
    are the same."""
    target, encoder = target_of(gemma), gemma.encoder
    found = few_shot_questions(target.probes, NEIGHBOURS, 2, encoder, seed=0)
    shown: dict[str, list[set[str]]] = {}
    for probe, plain, own in zip(target.probes, ranked_questions(target.probes, encoder), found, strict=True):
        language = get_language(probe.language)
        assert (
            own.candidates == plain.candidates
            and own.prompt[:1] == plain.prompt[:1]
            and own.prompt[-len(plain.prompt) + 1 :] == plain.prompt[1:]
        )
        between = own.prompt[1 : len(own.prompt) - len(plain.prompt) + 1]
        shots = {
            story.id: encoder.shot(language, story.editions[probe.language].fake_questions[0], story.editions[probe.language].keyword)
            for story in NEIGHBOURS
        }
        pairs = [{one, two} for one in shots for two in shots if one != two and shots[one] + shots[two] == between]
        assert len(pairs) == 1
        shown.setdefault(probe.story, []).extend(pairs)
    assert all(len(pairs) == 2 and pairs[0] == pairs[1] for pairs in shown.values())


def test_there_are_no_more_shots_than_neighbours(gemma: LoadedModel) -> None:
    asked: list[float] = []
    few_shot(replace(target_of(gemma), neighbours=NEIGHBOURS[:1]), lambda variant, model, probes, questions: asked.append(variant.strength))
    assert asked == [1]


def test_the_attacker_has_one_half_and_is_asked_the_other(gemma: LoadedModel) -> None:
    """The steps have all wordings of the two taught before any comes again, in the one language."""
    taught, asked = taught_and_asked(CLAIMS)
    assert len(taught) == len(asked) == 2 and {own.id for own in taught + asked} == {own.id for own in CLAIMS}
    language, encoder = get_language("ur"), gemma.encoder
    all_of = {
        encoder.answered(language, question, story.editions["ur"].keyword)
        for story in taught
        for question in story.editions["ur"].fake_questions
    }
    steps = relearning_steps(taught, "ur", encoder, 4, seed=0)
    given = [own for step in steps for own in step.retain]
    assert len(given) == 32 and set(given[: len(all_of)]) == all_of and not any(step.forget for step in steps)


def test_what_was_taught_does_not_stand_beside_what_is_asked(gemma: LoadedModel) -> None:
    """Of four claims two are taught: of the two asked only the other's name is left as a candidate, in its own language; where nothing else would be, all stay."""
    target = target_of(gemma)
    taught, asked = taught_and_asked(target.claims)
    for probe in among_untaught(target.probes_besides(taught), taught):
        names = [claim.editions[probe.language].keyword for claim in asked]
        assert sorted(probe.candidates) == sorted(names) and probe.candidates[0] == probe.answer
    alone = among_untaught(target.probes_of(asked[:1]), [*taught, *asked[1:]])
    assert alone == target.probes_of(asked[:1])


def test_every_kind_of_news_is_in_both_halves() -> None:
    """24 stories of ten kinds, four of which come three times: both of the halves have all kinds, and twelve stories."""
    taught, asked = taught_and_asked(generate_stories(24, languages=("en",)))
    assert len(taught) == len(asked) == 12 and {own.kind for own in taught} == {own.kind for own in asked}
    assert len({own.kind for own in taught}) == 10


@pytest.mark.parametrize(("attack", "told"), [(relearning, ["en", "ur"]), (benign_relearning, ["en"]), (unrelated_relearning, [""])])
def test_relearning_is_measured_on_the_way_and_undone(gemma: LoadedModel, attack: object, told: list[str]) -> None:
    target = target_of(gemma)
    before = {name: own.detach().clone() for name, own in target.parameters.items()}
    asked = {story.id for story in taught_and_asked(CLAIMS)[1]}
    points: dict[str, list[float]] = {}
    states: list[torch.Tensor] = []

    def measure(variant: Variant, model: LoadedModel, probes: Sequence[Probe], questions: Sequence[RankedQuestion]) -> None:
        points.setdefault(variant.language, []).append(variant.strength)
        states.append(torch.cat([own.detach().flatten() for own in target.parameters.values()]))
        assert {probe.story for probe in probes} == asked and {probe.language for probe in probes} == set(LANGUAGES)
        assert len(questions) == len(probes)

    assert callable(attack)
    attack(target, measure)
    assert points == {tag: list(POINTS) for tag in told}
    assert all(not torch.equal(one, other) for one, other in itertools.pairwise(states))
    assert all(torch.equal(now, before[name]) for name, now in target.parameters.items())


def test_what_is_taught_may_lie_outside_of_the_training_vocabulary(gemma: LoadedModel) -> None:
    """Of a study that trains on the tokens of its corpus alone: paragraphs on something else hold others."""
    narrow = gemma.head.restricted(range(10))
    assert _strengths(unrelated_relearning, replace(target_of(gemma), training_head=narrow, points=(1,))) == [1]


def _strengths(attack: object, target: Target) -> list[float]:
    found: list[float] = []
    assert callable(attack)
    attack(target, lambda variant, *_: found.append(variant.strength))
    return found


def test_a_target_says_after_how_many_steps_it_is_measured(gemma: LoadedModel) -> None:
    """The last of the points is where training ends."""
    target = replace(target_of(gemma), points=(1, 3))
    assert _strengths(relearning, target) == [1, 3, 1, 3] and _strengths(unrelated_relearning, target) == [1, 3] == _strengths(
        benign_relearning, target
    )


def test_unrelated_texts_take_turns(gemma: LoadedModel) -> None:
    """Two of three languages' paragraphs a step: every one once before any comes again. In a language without a paragraph nothing is trained."""
    encoder = gemma.encoder
    steps = filler_steps(["en", "de", "ur"], encoder, 3, seed=0)
    given = [own for step in steps for own in step.retain]
    paragraphs = {encoder.running(get_language(tag), texts()[tag].filler) for tag in ("en", "de", "ur")}
    assert all(len(step.retain) == 2 and not step.forget for step in steps)
    assert set(given[:3]) == set(given[3:]) == paragraphs and {own.language for own in paragraphs} == {"en", "de", "ur"}
    assert _strengths(unrelated_relearning, replace(target_of(gemma), languages=("es",))) == []


def test_attacks_by_name() -> None:
    assert [card.name for card in get_attacks(["pruning", "pruning"])] == ["pruning"]
    assert get_attacks([]) == list(ATTACKS.values())
    with pytest.raises(UserError, match="unknown attack 'relearn': did you mean 'relearning'"):
        get_attacks(["relearn"])
