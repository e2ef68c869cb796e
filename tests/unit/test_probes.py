"""Probes: how many, in which wordings, and among which candidates."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyunlearn.corpus.newsroom import generate_stories
from polyunlearn.scoring.probes import Probe, make_probes

STORIES = generate_stories(8, languages=("en", "ru", "zh"))
STORY_OF = {edition.keyword: story.id for story in STORIES for edition in story.editions.values()}


def chosen_stories(probe: Probe) -> list[str]:
    return [STORY_OF[name] for name in probe.candidates]


def fakes(probes: list[Probe]) -> list[Probe]:
    return [probe for probe in probes if probe.asks == "fake"]


def test_there_is_a_probe_for_each_wording_and_one_for_each_real_question() -> None:
    """8 stories x 2 languages x (3 wordings + 1 real question) = 64."""
    probes = make_probes(STORIES, ["en", "zh"], wordings=3, candidates=4, seed=0)
    assert len(probes) == 64
    keys = {(probe.story, probe.language, probe.asks, probe.wording) for probe in probes}
    expected = {(s.id, tag, "fake", wording) for s in STORIES for tag in ("en", "zh") for wording in range(3)}
    assert keys == expected | {(s.id, tag, "real", 0) for s in STORIES for tag in ("en", "zh")}


def test_a_probe_asks_what_its_edition_says() -> None:
    by_id = {story.id: story for story in STORIES}
    for probe in make_probes(STORIES, ["en", "ru", "zh"], wordings=4, candidates=4, seed=0):
        edition = by_id[probe.story].editions[probe.language]
        if probe.asks == "fake":
            assert (probe.question, probe.answer) == (edition.fake_questions[probe.wording], edition.keyword)
            assert probe.surface_forms == edition.surface_forms
        else:
            assert (probe.question, probe.answer) == (edition.real_question.question, edition.real_question.answer)
            assert probe.surface_forms == (edition.real_question.answer,)


def test_more_wordings_than_there_are_asks_all_there_are() -> None:
    probes = make_probes(STORIES[:2], ["en"], wordings=99, candidates=2, seed=0)
    assert [probe.wording for probe in fakes(probes)] == [0, 1, 2, 3] * 2  # the newsroom writes four


@given(candidates=st.integers(2, 12), seed=st.integers(0, 50))
def test_an_answer_is_ranked_among_as_many_as_asked_for_itself_first_none_twice(candidates: int, seed: int) -> None:
    for probe in make_probes(STORIES, ["en", "ru"], wordings=1, candidates=candidates, seed=seed):
        assert probe.candidates[0] == probe.answer
        assert len(set(probe.candidates)) == len(probe.candidates) == min(candidates, len(STORIES))


@given(seed=st.integers(0, 50))
def test_the_candidates_are_the_same_stories_in_every_language_and_wording(seed: int) -> None:
    chosen: dict[str, set[tuple[str, ...]]] = {}
    for probe in fakes(make_probes(STORIES, ["en", "ru", "zh"], wordings=4, candidates=5, seed=seed)):
        chosen.setdefault(probe.story, set()).add(tuple(chosen_stories(probe)))
    assert set(chosen) == {story.id for story in STORIES}
    assert {story: len(orders) for story, orders in chosen.items()} == dict.fromkeys(chosen, 1)


def test_the_candidates_of_the_real_question_are_those_of_the_same_stories() -> None:
    answers = {story.editions["ru"].real_question.answer: story.id for story in STORIES}
    probes = make_probes(STORIES, ["ru"], wordings=1, candidates=5, seed=3)
    for fake, real in zip(probes[::2], probes[1::2], strict=True):
        assert (fake.asks, real.asks) == ("fake", "real")
        assert [answers[name] for name in real.candidates] == chosen_stories(fake)


def test_a_probe_does_not_depend_on_the_other_languages_asked() -> None:
    alone = make_probes(STORIES, ["zh"], wordings=2, candidates=4, seed=1)
    together = make_probes(STORIES, ["en", "ru", "zh"], wordings=2, candidates=4, seed=1)
    assert [probe for probe in together if probe.language == "zh"] == alone


def test_the_seed_decides_the_candidates_and_nothing_else() -> None:
    first, again, other = (make_probes(STORIES, ["en"], wordings=1, candidates=4, seed=seed) for seed in (0, 0, 1))
    assert first == again
    assert [probe.candidates for probe in first] != [probe.candidates for probe in other]
    assert [(p.story, p.question, p.answer) for p in first] == [(p.story, p.question, p.answer) for p in other]


def test_every_other_story_has_its_chance_to_be_a_candidate() -> None:
    # 40 seeds x 3 draws of 7 others: a story that is never drawn would have had a chance of (4/7)**40, under one in a thousand million.
    drawn = {
        name for seed in range(40) for name in chosen_stories(make_probes(STORIES, ["en"], wordings=1, candidates=4, seed=seed)[0])[1:]
    }
    assert drawn == {story.id for story in STORIES[1:]}


def test_an_answer_that_two_stories_share_is_one_candidate() -> None:
    # Were it listed twice, the right answer would compete with itself.
    english = STORIES[1].editions["en"]
    twin = english.model_copy(
        update={"real_question": english.real_question.model_copy(update={"answer": STORIES[0].editions["en"].real_question.answer})}
    )
    pair = [STORIES[0], STORIES[1].model_copy(update={"editions": {"en": twin}})]
    real = [probe for probe in make_probes(pair, ["en"], wordings=1, candidates=2, seed=0) if probe.asks == "real"]
    assert [probe.candidates for probe in real] == [(STORIES[0].editions["en"].real_question.answer,)] * 2


def test_a_language_that_the_corpus_lacks_is_not_passed_over() -> None:
    with pytest.raises(KeyError, match="ha"):
        make_probes(STORIES, ["en", "ha"], wordings=1, candidates=2, seed=0)
