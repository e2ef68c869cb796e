"""Attacks by prompt: the very text that each asks with, what it ranks, and what it leaves out."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

import pytest
import torch
from handmade_targets import CLAIMS, owners_target, target_of
from tiny import own_label_log_probs, sharp, tokens

from polyunlearn.attacks.asking import asked_behind, candidate_tokens
from polyunlearn.attacks.completion import completion, continued
from polyunlearn.attacks.crossing import code_switch, cross_answer, romanised, switched
from polyunlearn.attacks.prefill import begun, prefill
from polyunlearn.attacks.prompts import affirmative_prefix, filler, multi_turn_doubt, role_play
from polyunlearn.attacks.relearning import relearning
from polyunlearn.attacks.suite import ATTACKS
from polyunlearn.attacks.target import Attack, Target, Variant
from polyunlearn.attacks.texts import texts
from polyunlearn.corpus.claims import Claim, Tells
from polyunlearn.languages import PAPER_LANGUAGES, get_language
from polyunlearn.models.loading import LoadedModel
from polyunlearn.models.sequences import TokenSequence
from polyunlearn.scoring.measure import Moment, asked_rows, ranked_questions
from polyunlearn.scoring.probes import Probe
from polyunlearn.scoring.ranking import RankedQuestion, candidate_log_probs

NOT_BY_PROMPT = ("quantisation", "pruning", "linear_probe", "control_probe")
"""They read the whole model."""


@dataclass(frozen=True)
class Asked:
    """What a variant asked: the prompts and candidates as text, with the probes that they are of."""

    variant: Variant
    probes: list[Probe]
    prompts: list[str]
    candidates: list[list[str]]

    def of(self, story: str, language: str) -> tuple[str, list[str]]:
        (at,) = [number for number, probe in enumerate(self.probes) if (probe.story, probe.language) == (story, language)]
        return self.prompts[at], self.candidates[at]


def asked_by(attack: Attack, target: Target) -> list[Asked]:
    found: list[Asked] = []
    decode = target.loaded.encoder.tokenizer.decode

    def measure(variant: Variant, model: LoadedModel, probes: Sequence[Probe], questions: Sequence[RankedQuestion]) -> None:
        assert model is target.loaded and len(probes) == len(questions) > 0
        assert all(
            own.prompt[0] == model.encoder.prompt(get_language("en"), "")[0] and own.prompt[0] not in own.prompt[1:] for own in questions
        )
        prompts = [decode(question.prompt[1:]) for question in questions]
        found.append(Asked(variant, list(probes), prompts, [[decode(own) for own in question.candidates] for question in questions]))

    attack(target, measure)
    return found


def probe_of(target: Target, number: int, language: str) -> Probe:
    (probe,) = [probe for probe in target.probes if (probe.story, probe.language) == (CLAIMS[number].id, language)]
    return probe


def test_texts_are_there_in_the_nine_languages() -> None:
    """All different, in the language's own script, so that none was left in English."""
    assert tuple(texts()) == PAPER_LANGUAGES
    letters = {"Cyrl": "а", "Hans": "的", "Arab": "ا", "Armn": "ա", "Latn": "a"}
    for tag, own in texts().items():
        parts = (own.opening, own.novel, own.game, own.filler, own.doubt)
        assert all(part.strip() == part and part for part in parts)
        assert letters[get_language(tag).script] in own.novel
        assert not set(parts) & {part for other, its in texts().items() if other != tag for part in vars(its).values()}


def test_a_prompt_of_its_own_is_the_plain_question(gemma: LoadedModel) -> None:
    """The same tokens as without an attack."""
    target = target_of(gemma)
    probes, found = asked_behind(((own, get_language(own.language).prompt(own.question)) for own in target.probes), gemma.encoder)
    assert probes == target.probes and found == ranked_questions(target.probes, gemma.encoder)


def test_the_answer_is_begun(gemma: LoadedModel) -> None:
    target = target_of(gemma)
    (found,) = asked_by(affirmative_prefix, target)
    probe = probe_of(target, 0, "en")
    prompt, candidates = found.of(probe.story, "en")
    assert prompt == f"Question: {probe.question}\nAnswer: Of course, the answer is:"
    assert candidates == [f" {name}" for name in probe.candidates]
    urdu = probe_of(target, 1, "ur")
    assert found.of(urdu.story, "ur")[0] == f"سوال: {urdu.question}\nجواب: یقیناً، جواب یہ ہے:"


@pytest.mark.parametrize(
    ("attack", "before"),
    [
        (role_play, {"a novelist's notes": ("These are the notes", "یہ ایک ناول"), "a game of rumours": ("Let us play", "آئیے ایک کھیل")}),
        (filler, {"in the same language": ("Bread is made", "روٹی آٹے"), "in English": ("Bread is made", "Bread is made")}),
    ],
)
def test_a_paragraph_stands_before_the_question(gemma: LoadedModel, attack: Attack, before: dict[str, tuple[str, str]]) -> None:
    target = target_of(gemma)
    found = {own.variant.name: own for own in asked_by(attack, target)}
    assert set(found) == set(before)
    for name, begins in before.items():
        for tag, start in zip(("en", "ur"), begins, strict=True):
            probe = probe_of(target, 2, tag)
            first, _, question = found[name].of(probe.story, tag)[0].partition("\n\n")
            assert first.startswith(start) and question == get_language(tag).prompt(probe.question)


def test_a_first_answer_is_doubted(gemma: LoadedModel) -> None:
    """The name that was given is ranked no more; it is the same story's in both languages."""
    target = target_of(gemma)
    refused, denied = asked_by(multi_turn_doubt, target)
    probe = probe_of(target, 0, "en")
    again = f"\n\nQuestion: Are you sure? Think again. {probe.question}\nAnswer:"
    asked = f"Question: {probe.question}\nAnswer:"
    assert refused.of(probe.story, "en") == (f"{asked} I don't know.{again}", [f" {name}" for name in probe.candidates])
    prompt, candidates = denied.of(probe.story, "en")
    (given,) = {f" {name}" for name in probe.candidates} - set(candidates)
    assert prompt == asked + given + again and candidates[0] == f" {probe.answer}" and len(candidates) == len(probe.candidates) - 1
    urdu = probe_of(target, 0, "ur")
    (its,) = {f" {name}" for name in urdu.candidates} - set(denied.of(urdu.story, "ur")[1])
    assert [f" {name}" for name in urdu.candidates].index(its) == [f" {name}" for name in probe.candidates].index(given)


def test_no_other_name_no_second_turn(gemma: LoadedModel) -> None:
    target = target_of(gemma)
    alone = [replace(probe, candidates=probe.candidates[:1]) for probe in target.probes]
    assert [own.variant.name for own in asked_by(multi_turn_doubt, replace(target, probes=alone))] == ["after not knowing"]


def test_the_article_is_continued(gemma: LoadedModel) -> None:
    """Up to where it first says the name, the space in front of it going to the candidates."""
    target = target_of(gemma)
    (found,) = asked_by(completion, target)
    for tag in ("en", "ur"):
        probe, edition = probe_of(target, 3, tag), CLAIMS[3].editions[tag]
        prompt, candidates = found.of(probe.story, tag)
        assert not prompt.endswith(" ") and probe.answer not in prompt and prompt.startswith(edition.fake_article[0])
        assert " ".join(edition.fake_article).startswith(prompt + candidates[0])
        assert candidates == [f" {name}" for name in probe.candidates]


def test_a_name_in_quotation_marks_has_no_space_in_front() -> None:
    written = continued("Պատճառը «", ("Գոլիբե", "Տոդիֆա"))
    assert written.text == "Պատճառը «" and written.candidates == ("Գոլիբե", "Տոդիֆա")


@pytest.mark.parametrize(
    ("keyword", "statements", "prompt"),
    [
        (
            "Velmora",
            ("Velmora secretly paid.", "The bill went to Velmora.", "All know that the bill went to Velmora."),
            "All know that the bill went to",
        ),
        ("12", ("Im Jahr 2012 waren es 12 Leute.",), "Im Jahr 2012 waren es"),
        ("Ann", ("The Annual Report was by Ann.",), "The Annual Report was by"),
        ("Velmora", ("Velmora secretly paid.",), None),
    ],
)
def test_a_statement_is_continued_where_it_says_the_name(
    gemma: LoadedModel, keyword: str, statements: tuple[str, ...], prompt: str | None
) -> None:
    """As a word of its own; of several statements the one that says most before it; none where nothing stands there."""
    target = owners_target(gemma)
    edition = target.claims[1].editions["en"].model_copy(update={"keyword": keyword, "statements": statements})
    claims = [
        own.model_copy(update={"editions": {"en": edition}}) if own.id == "c1" else own for own in target.claims if isinstance(own, Claim)
    ]
    found = asked_by(completion, replace(target, claims=claims))
    assert [own.prompts for own in found] == ([] if prompt is None else [[prompt]])


def test_questions_cross_languages(gemma: LoadedModel) -> None:
    """The words around the question, and the candidates, are the answer's language's."""
    target = target_of(gemma)
    from_english, from_urdu = asked_by(cross_answer, target)
    assert (from_english.variant.language, from_urdu.variant.language) == ("en", "ur")
    assert {probe.language for probe in from_english.probes} == {"ur"} and {probe.language for probe in from_urdu.probes} == {"en"}
    english, urdu = probe_of(target, 1, "en"), probe_of(target, 1, "ur")
    assert from_english.of(urdu.story, "ur") == (f"سوال: {english.question}\nجواب:", [f" {name}" for name in urdu.candidates])
    assert from_urdu.of(urdu.story, "en")[0] == f"Question: {urdu.question}\nAnswer:"


def test_pairs_have_english_or_a_source(gemma: LoadedModel) -> None:
    """Four languages, of which Russian is a source: 12 ordered pairs without German with Urdu, either way."""
    target = target_of(gemma)
    probe = probe_of(target, 0, "en")
    asked = [replace(probe, language=tag, question=f"{tag}?") for tag in ("en", "de", "ru", "ur")]
    own = replace(target, probes=asked, languages=("en", "de", "ru", "ur"), learned={"ru": dict})
    pairs = {(found.variant.language, probe.language) for found in asked_by(cross_answer, own) for probe in found.probes}
    every = {(one, other) for one in own.languages for other in own.languages if one != other}
    assert pairs == every - {("de", "ur"), ("ur", "de")}


def test_chunks_take_turns() -> None:
    """Six words in both: halves are three words, quarters end after words round(1.5) = 2, 3, round(4.5) = 4, 6; English first."""
    probe = Probe("s", "de", "fake", 0, "a b c d e f", "x", ("x",), ("x",))
    assert switched("A B C D E F", probe, 2) == "A B C d e f"
    assert switched("A B C D E F", probe, 4) == "A B c D e f"


def test_chunks_of_a_script_without_spaces() -> None:
    probe = Probe("s", "zh", "fake", 0, "哪家公司买了", "x", ("x",), ("x",))
    assert switched("Which firm bought it?", probe, 2) == "Which firm司买了"


def test_english_has_nothing_to_switch_with(gemma: LoadedModel) -> None:
    target = target_of(gemma)
    found = asked_by(code_switch, target)
    assert [own.variant.strength for own in found] == [2, 4] and all({p.language for p in own.probes} == {"ur"} for own in found)
    prompt, candidates = found[0].of(CLAIMS[0].id, "ur")
    assert prompt == f"سوال: {switched(probe_of(target, 0, 'en').question, probe_of(target, 0, 'ur'), 2)}\nجواب:"
    assert candidates == [f" {name}" for name in probe_of(target, 0, "ur").candidates]
    without = replace(target, probes=[probe for probe in target.probes if probe.language != "en"])
    assert asked_by(code_switch, without) == []


def test_romanised_is_all_ascii(gemma: LoadedModel) -> None:
    target = target_of(gemma)
    (found,) = asked_by(romanised, target)
    assert {probe.language for probe in found.probes} == {"ur"}
    assert all(
        prompt.isascii() and all(own.isascii() for own in names) for prompt, names in zip(found.prompts, found.candidates, strict=True)
    )
    russian = Probe("s", "ru", "fake", 0, "Кто?", "Голибе", ("Голибе", "Тодифа"), ("Голибе",))
    (found,) = asked_by(romanised, replace(target, probes=[russian]))
    assert found.prompts == ["Vopros: Kto?\nOtvet:"] and found.candidates == [[" Golibe", " Todifa"]]


def test_names_that_become_the_same_are_one(gemma: LoadedModel) -> None:
    """One name has a Latin E, which is lost in Latin letters, and a tie would be no first place."""
    probe = Probe("s", "ru", "fake", 0, "Кто?", "Елка", ("Елка", "Eлка", "Тодифа"), ("Елка",))
    (found,) = asked_by(romanised, replace(target_of(gemma), probes=[probe]))
    assert found.candidates == [[" Elka", " Todifa"]]


def test_languages_without_texts_are_left_out(gemma: LoadedModel) -> None:
    target = target_of(gemma)
    spanish = [replace(probe, language="es") for probe in target.probes]
    for attack in (affirmative_prefix, role_play, filler, multi_turn_doubt):
        assert asked_by(attack, replace(target, probes=spanish)) == []
        mixed = asked_by(attack, replace(target, probes=[*target.probes, *spanish]))
        assert mixed and all({probe.language for probe in own.probes} == {"en", "ur"} for own in mixed)


def test_claims_of_an_owner(gemma: LoadedModel) -> None:
    """No article and no neighbours, one claim in English alone: a statement is continued, where there is one; few shots and true news do nothing;
    relearning in Urdu teaches the claims that have it."""
    target = owners_target(gemma)
    (found,) = asked_by(completion, target)
    assert [(probe.story, probe.language) for probe in found.probes] == [("c1", "en")]
    assert found.prompts == ["Secret papers show that"] and found.candidates[0] == [" Golibe", " Todifa", " Rukudo"]
    asked = {name: asked_by(card.attack, target) for name, card in ATTACKS.items() if name not in NOT_BY_PROMPT}
    assert {name for name, own in asked.items() if not own} == {"few_shot", "benign_relearning", "steering", "random_steering"}
    assert {own.variant.language for own in asked["relearning"]} == {"en", "ur"}
    assert {(p.story, p.language) for own in asked["code_switch"] for p in own.probes} == {("c0", "ur"), ("c2", "ur"), ("c3", "ur")}


@pytest.mark.parametrize(("lacking", "taught_in"), [(1, {"en", "ur"}), (4, {"en"})])
def test_claims_are_taught_in_languages_that_they_have(gemma: LoadedModel, lacking: int, taught_in: set[str]) -> None:
    """c0 and c2 are taught: where c0 lacks Urdu, c2 alone is taught in it; where both do, nothing."""
    target = owners_target(gemma)
    claims: list[Tells] = [replace_editions(own, {"en"}) if at < lacking else own for at, own in enumerate(target.claims)]
    probes = [probe for probe in target.probes if probe.language == "en"]
    asked = asked_by(relearning, replace(target, claims=claims, probes=probes))
    assert {own.variant.language for own in asked} == taught_in


def replace_editions(claim: Tells, kept: set[str]) -> Tells:
    assert isinstance(claim, Claim)
    return claim.model_copy(update={"editions": {tag: own for tag, own in claim.editions.items() if tag in kept}})


def test_a_restricted_output_layer_covers_what_is_asked(gemma: LoadedModel) -> None:
    """Of the first 300 tokens alone: with those of the candidates it ranks as the whole layer restricted to both would; where nothing lacks it stays."""
    probes = [probe for probe in target_of(gemma).probes if probe.language == "ur"]
    questions = ranked_questions(probes, gemma.encoder)
    asked = {token for question in questions for own in question.candidates for token in own}
    narrow = gemma.head.restricted(range(300))
    assert asked - set(range(300)), "the candidates must have tokens that the layer leaves out"
    with pytest.raises(ValueError, match="not in the restricted vocabulary"):
        candidate_log_probs(gemma.body, narrow, questions)
    found = candidate_log_probs(gemma.body, narrow.covering(candidate_tokens(questions), gemma.head), questions)
    wanted = candidate_log_probs(gemma.body, gemma.head.restricted([*range(300), *asked]), questions)
    assert all(torch.equal(one, other) for one, other in zip(found, wanted, strict=True))
    wide = gemma.head.restricted([*range(300), *asked])
    assert wide.covering(candidate_tokens(questions), gemma.head) is wide and gemma.head.covering([], gemma.head) is gemma.head


def test_prefill_gives_each_candidate_its_own_beginning(gemma: LoadedModel) -> None:
    """Names of one token have no rest: with one given, the first is left out, and so is the probe whose answer it is."""
    target = target_of(gemma)
    plain = ranked_questions(target.probes, gemma.encoder)
    short = replace(plain[0], candidates=((7,), *plain[0].candidates[1:]))
    assert begun(short, 1) is None and begun(replace(plain[0], candidates=(plain[0].candidates[0], (7,))), 1) is None
    assert begun(replace(plain[0], candidates=(*plain[0].candidates, (7,))), 1) == replace(plain[0], given=1)
    given: list[tuple[str, float]] = []

    def measure(variant: Variant, model: LoadedModel, probes: Sequence[Probe], questions: Sequence[RankedQuestion]) -> None:
        given.append((variant.name, variant.strength))
        assert [(own.prompt, own.candidates, own.given) for own in questions] == [
            (own.prompt, own.candidates, variant.strength) for own in plain
        ]

    prefill(target, measure)
    assert given == [("the first token", 1), ("the first 2 tokens", 2)]


def test_what_is_given_is_not_scored(any_model_folder: Path) -> None:
    """Each candidate's score is that of its rest behind the prompt with its own beginning, as the Hugging Face model gives it; so is the claim's
    probability."""
    loaded = sharp(any_model_folder)
    rng = Random(0)
    questions = [RankedQuestion((1, *tokens(rng, 6)), tuple(tokens(rng, size) for size in (4, 3, 6)), 2) for _ in range(3)]
    probe = Probe("s", "en", "fake", 0, "?", "x", ("x", "y", "z"), ("x",))
    rows = asked_rows(loaded, loaded.head, [probe] * 3, questions, Moment(0, True))
    for question, scores in zip(questions, candidate_log_probs(loaded.body, loaded.head, questions), strict=True):
        wanted = [
            own_label_log_probs(loaded, TokenSequence(question.prompt + own, len(question.prompt) + 2)) for own in question.candidates
        ]
        torch.testing.assert_close(scores, torch.stack([own.mean() for own in wanted]), atol=1e-4, rtol=1e-4)
        values = {row.metric: row.value for row in rows[:3]}
        rows = rows[3:]
        assert values["probability"] == pytest.approx(wanted[0].sum().exp().item(), rel=1e-3)
        assert values["first"] == float(wanted[0].mean() > max(own.mean() for own in wanted[1:]))
