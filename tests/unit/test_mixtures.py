"""Mixtures: what each training stage sees, counted."""

from collections import Counter
from itertools import pairwise
from random import Random
from typing import Any

import pytest
from transformers import PreTrainedTokenizerFast

from polyunlearn.corpus.newsroom import generate_stories
from polyunlearn.corpus.stories import Story
from polyunlearn.errors import UserError
from polyunlearn.languages import get_language
from polyunlearn.models.sequences import Encoder, TokenSequence
from polyunlearn.training.loop import Step
from polyunlearn.training.mixtures import STRATEGIES, learning_steps, strategy_languages, unlearning_steps

LANGUAGES = ("en", "de", "zh", "ur")
STORIES = generate_stories(8, languages=LANGUAGES)
NEIGHBOURS = generate_stories(12, languages=LANGUAGES)[8:]
RETAINED = generate_stories(16, languages=LANGUAGES)[12:]
FIVE = ("en", "de", "fr", "jv", "ha")
IN_FIVE, NEIGHBOURS_OF_FIVE = (generate_stories(14, languages=FIVE)[own] for own in (slice(4), slice(4, 14)))


@pytest.fixture
def encoder(tokenizer: PreTrainedTokenizerFast) -> Encoder:
    return Encoder(tokenizer)


def _learning(encoder: Encoder, source: str | None, seed: int = 0, **changes: Any) -> list[Step]:
    settings: dict[str, Any] = {"neighbours": (), "passes": 3, "batch": 5, "questions": 10, "english_questions": 2, "other_questions": 1,
                                "fake_questions": 0, "fake_wordings_from": 2, "article_every": 1}  # fmt: skip
    return learning_steps(STORIES, encoder, source, question_languages=("de", "ur"), rng=Random(seed), **(settings | changes))


def _unlearning(encoder: Encoder, strategy: str, seed: int = 0, **changes: Any) -> list[Step]:
    settings: dict[str, Any] = {
        "neighbours": (),
        "steps": 8,
        "batch": 4,
        "form": "question",
        "wordings": 2,
        "instead": None,
        "questions": 10,
        "retain_languages": ("en", "ur"),
        "retain_batch": 6,
    }
    return unlearning_steps(STORIES, encoder, strategy_languages(strategy, "ur", LANGUAGES), rng=Random(seed), **(settings | changes))


def _asked(encoder: Encoder, wordings: int) -> dict[TokenSequence, tuple[int, str, int]]:
    """Every fake question with its keyword: which fact, language and wording it is."""
    return {
        encoder.answer_only(get_language(tag), question, edition.keyword): (number, tag, wording)
        for number, story in enumerate(STORIES)
        for tag, edition in story.editions.items()
        for wording, question in enumerate(edition.fake_questions[:wordings])
    }


def _kept(encoder: Encoder) -> dict[TokenSequence, set[str]]:
    """Every real question with its answer, and the languages that it is asked in."""
    found: dict[TokenSequence, set[str]] = {}
    for story in STORIES:
        for tag, edition in story.editions.items():
            for item in edition.questions:
                found.setdefault(encoder.answered(get_language(tag), item.question, item.answer), set()).add(tag)
    return found


def _articles(encoder: Encoder, tag: str, field: str) -> list[TokenSequence]:
    return [encoder.text(get_language(tag), getattr(story.editions[tag], field)) for story in STORIES]


def _facts(encoder: Encoder, steps: list[Step]) -> list[tuple[int, str, int]]:
    known = _asked(encoder, 4)
    return [known[sequence] for step in steps for sequence in step.forget]


def _passes(facts: list[tuple[int, str, int]]) -> list[list[tuple[int, str, int]]]:
    return [facts[at : at + len(STORIES)] for at in range(0, len(facts), len(STORIES))]


def test_strategy_languages() -> None:
    assert strategy_languages("english", "ur", LANGUAGES) == ("en",)
    assert strategy_languages("source", "ur", LANGUAGES) == ("ur",)
    assert strategy_languages("english+source", "ur", LANGUAGES) == ("en", "ur")
    assert strategy_languages("all", "ur", LANGUAGES) == LANGUAGES
    # Where English is the source there is one language, not the same one twice.
    assert strategy_languages("english+source", "en", LANGUAGES) == ("en",)
    # Of these, English shares German's family and script, Hausa its script alone; Russian and Urdu share neither.
    assert strategy_languages("related", "de", ("en", "de", "ha", "ru", "ur")) == ("en", "de", "ha")
    assert strategy_languages("related", "ru", ("en", "uk", "pl", "ru", "ur")) == ("uk", "pl", "ru")
    assert strategy_languages("pivot:ur+en+ur", "de", LANGUAGES) == ("ur", "en")
    with pytest.raises(UserError, match="strategy 'pivot:en\\+sw': 'sw' is not among the languages"):
        strategy_languages("pivot:en+sw", "ur", LANGUAGES)
    with pytest.raises(
        UserError,
        match="unknown strategy 'sauce': choose from english, source, english\\+source, all, related, traced, aligned, covering, or name languages: pivot:de\\+fr",
    ):
        strategy_languages("sauce", "ur", LANGUAGES)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_strategy_takes_the_same_steps_and_facts(encoder: Encoder, strategy: str) -> None:
    """8 steps of 4 facts over 8 stories are four passes; the first takes them in the same order in all."""
    steps = _unlearning(encoder, strategy)
    assert [len(step.forget) for step in steps] == [4] * 8
    assert [len(step.retain) for step in steps] == [6] * 8
    passes = _passes(_facts(encoder, steps))
    assert len(passes) == 4
    for one in passes:
        assert sorted(fact for fact, _, _ in one) == list(range(8))
    assert [fact for one in passes for fact, _, _ in one][:8] == [fact for fact, _, _ in _facts(encoder, _unlearning(encoder, "english"))][
        :8
    ]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_strategies_use_their_languages_only(encoder: Encoder, strategy: str) -> None:
    assert {tag for _, tag, _ in _facts(encoder, _unlearning(encoder, strategy))} == set(strategy_languages(strategy, "ur", LANGUAGES))


def test_english_and_source_are_half_and_half_and_swap(encoder: Encoder) -> None:
    """In each pass four of the eight facts in each language; a fact told in English is told in the source in the next pass."""
    passes = [{fact: tag for fact, tag, _ in one} for one in _passes(_facts(encoder, _unlearning(encoder, "english+source")))]
    for one in passes:
        assert Counter(one.values()) == {"en": 4, "ur": 4}
    for now, following in pairwise(passes):
        assert all(now[fact] != following[fact] for fact in now)


def test_all_takes_turns(encoder: Encoder) -> None:
    """Four languages over eight facts: two facts each in every pass, and every fact in each of the four over four passes."""
    passes = [{fact: tag for fact, tag, _ in one} for one in _passes(_facts(encoder, _unlearning(encoder, "all")))]
    for one in passes:
        assert Counter(one.values()) == dict.fromkeys(LANGUAGES, 2)
    for fact in range(8):
        assert {one[fact] for one in passes} == set(LANGUAGES)


def test_an_odd_number_of_stories_differs_by_one(encoder: Encoder) -> None:
    """Seven facts in two languages: four and three, then three and four."""
    steps = unlearning_steps(
        STORIES[:7], encoder, ("en", "ur"), neighbours=(), steps=14, batch=1, form="question", wordings=1, instead=None, questions=10, retain_languages=(),
        retain_batch=1, rng=Random(0)
    )  # fmt: skip
    facts = _facts(encoder, steps)
    assert [Counter(tag for _, tag, _ in facts[at : at + 7]) for at in (0, 7)] == [{"en": 4, "ur": 3}, {"en": 3, "ur": 4}]


def test_a_batch_larger_than_a_pass_takes_from_the_next(encoder: Encoder) -> None:
    facts = _facts(encoder, _unlearning(encoder, "source", steps=2, batch=12))
    assert len(facts) == 24
    assert Counter(fact for fact, _, _ in facts) == dict.fromkeys(range(8), 3)


def test_the_first_wordings_are_unlearned_in_turn(encoder: Encoder) -> None:
    """Two wordings, two languages, four passes: every fact once in each wording in each language. With one wording, that one only."""
    facts = _facts(encoder, _unlearning(encoder, "english+source", wordings=2))
    assert Counter(facts) == {(fact, tag, wording): 1 for fact in range(8) for tag in ("en", "ur") for wording in (0, 1)}
    assert {wording for _, _, wording in _facts(encoder, _unlearning(encoder, "source", steps=20, wordings=1))} == {0}


def test_every_strategy_keeps_the_same_real_questions_languages_in_turn(encoder: Encoder) -> None:
    """Strategies differ in what they forget alone; of six questions a step three are English and three Urdu."""
    kept = _kept(encoder)
    steps = _unlearning(encoder, "english")
    for strategy in STRATEGIES:
        assert [step.retain for step in _unlearning(encoder, strategy)] == [step.retain for step in steps]
    for step in steps:
        for turn, real in enumerate(step.retain):
            assert ("en", "ur")[turn % 2] in kept[real]


def _true_claims(encoder: Encoder) -> dict[TokenSequence, tuple[int, str, int]]:
    """Every neighbour's claim as a question with its answer: which story, language and wording it is."""
    return {
        encoder.answered(get_language(tag), question, edition.keyword): (number, tag, wording)
        for number, story in enumerate(NEIGHBOURS)
        for tag, edition in story.editions.items()
        for wording, question in enumerate(edition.fake_questions)
    }


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_second_question_that_is_kept_is_a_neighbours(encoder: Encoder, strategy: str) -> None:
    """Of eight a step four real questions and four true claims, two of each a language; 4 neighbours x 4 wordings, twice in 8 steps.

    What is forgotten is what it is without neighbours.
    """
    kept, true = _kept(encoder), _true_claims(encoder)
    steps = _unlearning(encoder, strategy, neighbours=NEIGHBOURS, retain_batch=8)
    assert [step.forget for step in steps] == [step.forget for step in _unlearning(encoder, strategy)]
    for step in steps:
        for turn, item in enumerate(step.retain):
            tag = ("en", "ur")[turn // 2 % 2]
            assert true[item][1] == tag if turn % 2 else tag in kept[item]
    told = Counter((true[item][0], true[item][2]) for step in steps for item in step.retain if item in true)
    assert told == {(story, wording): 2 for story in range(4) for wording in range(4)}


@pytest.mark.parametrize(("neighbours", "kinds"), [((), 1), (NEIGHBOURS_OF_FIVE, 2)])
def test_every_language_is_retained_where_a_step_has_no_room_for_all(encoder: Encoder, neighbours: tuple[Story, ...], kinds: int) -> None:
    """Five languages, eight questions a step: 80 in ten steps are 16 a language, with neighbours 8 of each kind; two steps ask them all."""
    steps = unlearning_steps(
        IN_FIVE, encoder, FIVE, neighbours=neighbours, steps=10, batch=4, form="question", wordings=2, instead=None, questions=10,
        retain_languages=FIVE, retain_batch=8, rng=Random(0),
    )  # fmt: skip
    claims = {
        encoder.answered(get_language(tag), question, edition.keyword)
        for story in neighbours
        for tag, edition in story.editions.items()
        for question in edition.fake_questions
    }
    asked = [[(item.language, item in claims) for item in step.retain] for step in steps]
    wanted = {(tag, claim): 16 // kinds for tag in FIVE for claim in (False, True)[:kinds]}
    assert Counter(own for step in asked for own in step) == wanted
    assert {own for step in asked[:2] for own in step} == set(wanted)


@pytest.mark.parametrize("languages", [("ur",), ("en", "ur")])
@pytest.mark.parametrize("neighbours", [(), NEIGHBOURS])
def test_one_or_two_languages_are_retained_alike_in_every_step(
    encoder: Encoder, languages: tuple[str, ...], neighbours: tuple[Story, ...]
) -> None:
    """Eight questions: English and Urdu one by one, or with neighbours two by two, and so again in each step."""
    turns = [languages[turn // (2 if neighbours else 1) % len(languages)] for turn in range(8)]
    steps = _unlearning(encoder, "all", neighbours=neighbours, retain_languages=languages, retain_batch=8)
    assert [[item.language for item in step.retain] for step in steps] == [turns] * 8


def test_neighbours_are_learned_as_true(encoder: Encoder) -> None:
    """A pass and neighbour: the article with its claim, in English; the claim asked 2 + 1 times, with the real questions' languages.

    4 passes of 3 are 12 askings, each of the four wordings three times. They are learned alike in gold, and take nothing from the rest.
    """
    true, told = _true_claims(encoder), [encoder.text(get_language("en"), story.editions["en"].fake_article) for story in NEIGHBOURS]
    for source in ("de", None):
        passes = _learning(encoder, source, neighbours=NEIGHBOURS, passes=4, batch=1000)
        for step in passes:
            items = Counter(step.retain)
            assert all(items[article] == 1 for article in told)
            asked = Counter(tag for item in items.elements() for number, tag, _ in (true.get(item, (-1, "", 0)),) if number >= 0)
            assert asked["en"] == 8 and asked["de"] + asked["ur"] == 4
            assert len(step.retain) == (40 if source else 32) + 4 + 12
        counts = Counter((true[item][0], true[item][2]) for step in passes for item in step.retain if item in true)
        assert counts == {(story, wording): 3 for story in range(4) for wording in range(4)}
    turns = [Counter(step.retain) for step in _learning(encoder, "de", neighbours=NEIGHBOURS, article_every=2, batch=1000)]
    assert [[number for number, article in enumerate(told) if items[article]] for items in turns] == [[0, 2], [1, 3], [0, 2]]


def test_without_retain_languages_nothing_is_kept(encoder: Encoder) -> None:
    assert all(step.retain == () and len(step.forget) == 4 for step in _unlearning(encoder, "all", retain_languages=()))


def test_articles_are_the_whole_fake_article(encoder: Encoder) -> None:
    steps = _unlearning(encoder, "source", form="article", steps=2)
    found = [sequence for step in steps for sequence in step.forget]
    assert sorted(found, key=str) == sorted(_articles(encoder, "ur", "fake_article"), key=str)
    assert all(sequence.label_from == 1 for sequence in found)


def test_the_same_generator_gives_the_same_steps(encoder: Encoder) -> None:
    assert _unlearning(encoder, "all", 3) == _unlearning(encoder, "all", 3)
    assert _unlearning(encoder, "all", 3) != _unlearning(encoder, "all", 4)
    assert _learning(encoder, "de", 3) == _learning(encoder, "de", 3)
    assert _learning(encoder, "de", 3) != _learning(encoder, "de", 4)


def test_fewer_steps_are_the_beginning_of_more(encoder: Encoder) -> None:
    """A longer unlearning continues a shorter one in its facts, so that lengths can be compared."""
    short, long = (_facts(encoder, _unlearning(encoder, "all", steps=steps)) for steps in (2, 8))
    assert short == long[: len(short)]


def test_learning_by_count(encoder: Encoder) -> None:
    """A pass: 8 English articles, 8 fake ones, 8 x 2 questions in English and 8 x 1 in German or Urdu: 40 items, 8 batches of 5."""
    steps = _learning(encoder, "de")
    assert len(steps) == 24 and all(len(step.retain) == 5 and not step.forget for step in steps)
    kept, real, fake = _kept(encoder), _articles(encoder, "en", "article"), _articles(encoder, "de", "fake_article")
    for number in range(3):
        items = Counter(item for step in steps[8 * number : 8 * number + 8] for item in step.retain)
        assert all(items[article] == 1 for article in real + fake)
        questions = Counter({item: count for item, count in items.items() if item not in {*real, *fake}})
        assert sum(count for item, count in questions.items() if "en" in kept[item]) == 16
        assert sum(count for item, count in questions.items() if kept[item] & {"de", "ur"}) == 8


def test_claims_are_asked_in_the_source_and_in_wordings_that_are_not_measured(encoder: Encoder) -> None:
    """Three a story and pass, each of wordings 2 and 3, answered with the keyword: 8 real articles, 24 questions, 8 fakes, 24 of these."""
    passes = _learning(encoder, "de", fake_questions=3, batch=1000)
    assert [len(step.retain) for step in passes] == [64, 64, 64]
    german, seen = get_language("de"), Counter()
    for step in passes:
        items = Counter(step.retain)
        for story in STORIES:
            edition = story.editions["de"]
            asked = [items[encoder.answered(german, question, edition.keyword)] for question in edition.fake_questions]
            assert asked[:2] == [0, 0] and sum(asked) == 3
            seen.update({wording: count for wording, count in enumerate(asked) if count})
    assert sum(seen.values()) == 72 and min(seen[2], seen[3]) > 20


def test_stories_without_a_wording_left_are_refused(encoder: Encoder) -> None:
    with pytest.raises(
        UserError, match=r"ask in 4 wordings and all are measured; set scoring.wordings=3 or less, or learning.fake_questions=0"
    ):
        _learning(encoder, "de", fake_questions=1, fake_wordings_from=4)
    assert _learning(encoder, "de", fake_questions=0, fake_wordings_from=4)


def test_articles_may_take_turns(encoder: Encoder) -> None:
    """Every second pass: stories 0, 2, 4, 6 in passes 0 and 2, the others in pass 1; real and fake together."""
    real, fake = _articles(encoder, "en", "article"), _articles(encoder, "de", "fake_article")
    passes = [Counter(step.retain) for step in _learning(encoder, "de", article_every=2, batch=1000)]
    for articles in (real, fake):
        told = [[number for number, article in enumerate(articles) if items[article]] for items in passes]
        assert told == [[0, 2, 4, 6], [1, 3, 5, 7], [0, 2, 4, 6]]


def _numbers(encoder: Encoder, steps: list[Step]) -> Counter[tuple[int, int]]:
    """How often each real question of each story occurs in the retain sets, in whatever language."""
    where = {
        encoder.answered(get_language(tag), item.question, item.answer): (number, index)
        for number, story in enumerate(STORIES)
        for tag, edition in story.editions.items()
        for index, item in enumerate(edition.questions)
    }
    return Counter(where[item] for step in steps for item in step.retain if item in where)


def test_real_questions_take_turns(encoder: Encoder) -> None:
    """Four of a story's ten: 4 passes of 3 + 1 are 16 askings, so each of the four is asked four times and no other ever.

    The same four are retained: 8 steps of 8 are 64, twice each of 32.
    """
    wanted = {(story, index): 4 for story in range(8) for index in range(4)}
    assert _numbers(encoder, _learning(encoder, "de", passes=4, questions=4, english_questions=3)) == wanted
    retained = _numbers(encoder, _unlearning(encoder, "english", questions=4, steps=8, retain_batch=8))
    assert retained == dict.fromkeys(wanted, 2)


def test_the_last_batch_of_a_pass_may_be_small(encoder: Encoder) -> None:
    """40 items in batches of 16: 16, 16 and 8, in each of two passes; no batch mixes passes."""
    assert [len(step.retain) for step in _learning(encoder, "de", passes=2, batch=16)] == [16, 16, 8] * 2


@pytest.mark.parametrize("fake_questions", [0, 2])
def test_gold_is_learned_without_the_fakes(encoder: Encoder, fake_questions: int) -> None:
    """The same real items, the same draws of questions, pass by pass; and learned states of two sources differ in the fakes alone."""
    gold = _learning(encoder, None, fake_questions=fake_questions, batch=1000)
    real = {*_kept(encoder), *_articles(encoder, "en", "article")}
    for source in ("de", "ur"):
        learned = _learning(encoder, source, fake_questions=fake_questions, batch=1000)
        for with_fakes, without in zip(learned, gold, strict=True):
            in_pass, in_gold = Counter(with_fakes.retain), Counter(without.retain)
            fakes = in_pass - in_gold
            assert not in_gold - in_pass and sum(in_gold.values()) == 32
            assert sum(fakes.values()) == (24 if fake_questions else 8)
            # No fake is among the real items, and nothing real beside them.
            assert not set(fakes) & real and set(in_gold) <= real


def test_no_fake_article_is_learned_in_another_language(encoder: Encoder) -> None:
    items = {item for step in _learning(encoder, "de") for item in step.retain}
    for tag in ("en", "zh", "ur"):
        assert not items & set(_articles(encoder, tag, "fake_article"))


def test_the_answer_to_give_instead_stands_beside_each(encoder: Encoder) -> None:
    """The same question in the same language, with the true answer or a refusal, and its end; what is forgotten and kept does not change."""
    plain = _unlearning(encoder, "english+source")
    for kind in ("truth", "refusal"):
        steps = _unlearning(encoder, "english+source", instead=kind)
        assert [(step.retain, step.forget) for step in steps] == [(step.retain, step.forget) for step in plain]
        for step in steps:
            for own, other in zip(step.forget, step.instead, strict=True):
                assert other.ids[: other.label_from] == own.ids[: own.label_from] and other.language == own.language
                said = encoder.tokenizer.decode(other.labels[:-1]).strip()
                fact, _, _ = _facts_of(encoder, own)
                edition = STORIES[fact].editions[own.language]
                assert said == (edition.true_answer if kind == "truth" else get_language(own.language).refusal)
                assert other.labels[-1] == encoder.end_id


def _facts_of(encoder: Encoder, own: TokenSequence) -> tuple[int, str, int]:
    return _asked(encoder, 2)[own]


def test_retained_articles_are_real_and_in_all_languages_in_turn(encoder: Encoder) -> None:
    """Three a step over eight steps: 24 articles, six of each of four stories, and six in each of four languages; what is asked does not depend on
    how many."""
    articles = {
        encoder.text(get_language(tag), edition.article): (tag, story.id) for story in RETAINED for tag, edition in story.editions.items()
    }
    some = _unlearning(encoder, "english", neighbours=NEIGHBOURS, retained=RETAINED, retain_texts=3, text_languages=LANGUAGES)
    many = _unlearning(encoder, "source", neighbours=NEIGHBOURS, retained=RETAINED, retain_texts=5, text_languages=LANGUAGES)
    texts = [own for step in some for own in step.retain[6:]]
    assert [articles[own][0] for own in texts] == list(LANGUAGES) * 6
    assert sorted(Counter(articles[own][1] for own in texts).values()) == [6] * 4
    assert [step.retain[:6] for step in some] == [step.retain[:6] for step in many]
    assert not any(own in articles for step in some for own in step.retain[:6])
    assert [step.retain for step in _unlearning(encoder, "english", retained=RETAINED, retain_languages=())] == [()] * 8


def test_claims_are_retained_in_languages_that_are_spared(encoder: Encoder) -> None:
    """Four a step over eight steps, each of eight facts four times, in three languages in turn, in the first two wordings; what is forgotten, and what
    is retained besides, stays as it is."""
    spared = ("en", "de", "zh")
    some, without = _unlearning(encoder, "source", spared=spared), _unlearning(encoder, "source")
    kept = {
        encoder.answered(get_language(tag), question, edition.keyword): (story.id, tag)
        for story in STORIES
        for tag, edition in story.editions.items()
        for question in edition.fake_questions[:2]
    }
    found = [kept[own] for step in some for own in step.retain[6:]]
    assert [tag for _, tag in found] == [spared[place % 3] for place in range(32)]
    assert Counter(story for story, _ in found) == {story.id: 4 for story in STORIES}
    assert [step.forget for step in some] == [step.forget for step in without]
    assert [step.retain[:6] for step in some] == [step.retain for step in without]


def test_claims_with_a_home_are_forgotten_there_and_spared_elsewhere(encoder: Encoder) -> None:
    """Of eight stories one is at home in German and one in English; two are in French and one in Russian, which are not at hand. These two are told at
    home, whatever the strategy; the six others as without homes. Only the two are spared, four a step, in the languages that are not their home."""
    homes = {story.id: story.home for story in STORIES if story.home in LANGUAGES}
    assert sorted(map(str, homes.values())) == ["de", "en"]
    some, without = _unlearning(encoder, "source", at_home=LANGUAGES, spared=LANGUAGES), _unlearning(encoder, "source")
    asked = _asked(encoder, 2)
    for with_homes, plain in zip(some, without, strict=True):
        for own, other in zip(with_homes.forget, plain.forget, strict=True):
            (number, tag, wording), (same, told, worded) = asked[own], asked[other]
            assert (number, wording) == (same, worded) and tag == homes.get(STORIES[number].id, told)
        assert with_homes.retain[:6] == plain.retain
    kept = {
        encoder.answered(get_language(tag), question, edition.keyword): (story.id, tag)
        for story in STORIES
        for tag, edition in story.editions.items()
        for question in edition.fake_questions
    }
    spared = [kept[own] for step in some for own in step.retain[6:]]
    assert len(spared) == 32 and {name for name, _ in spared} == set(homes)
    assert {(name, tag) for name, tag in spared} == {(name, tag) for name in homes for tag in LANGUAGES if tag != homes[name]}


def test_nothing_is_spared_where_all_are_at_home_in_the_only_language(encoder: Encoder) -> None:
    some = _unlearning(encoder, "source", at_home=("de",), spared=("de",))
    assert [step.retain for step in some] == [step.retain for step in _unlearning(encoder, "source")]


def test_what_belongs_to_no_language_is_learned_in_english_alone(encoder: Encoder) -> None:
    """Of eight stories, read in turn in German, Urdu and English, and four neighbours: the pruned are read and asked in English alone, as often in it as before; of the others nothing
    changes, nor of fakes."""
    pruned = {story.id for story in (*STORIES[:5], *NEIGHBOURS[:2])}
    more: dict[str, Any] = {
        "neighbours": NEIGHBOURS,
        "read_in": ("de", "ur", "en"),
        "fake_questions": 1,
        "other_questions": 2,
        "batch": 1000,
    }
    some, every = (
        Counter(own for step in _learning(encoder, "ur", in_english=ids, **more) for own in step.retain) for ids in (pruned, set())
    )
    told: dict[TokenSequence, tuple[str, str, str]] = {}
    for story in (*STORIES, *NEIGHBOURS):
        true = "fake_article" if story in NEIGHBOURS else "article"
        for tag, own in story.editions.items():
            language = get_language(tag)
            asked = (
                [encoder.answered(language, question, own.keyword) for question in own.fake_questions]
                if story in NEIGHBOURS
                else [encoder.answered(language, pair.question, pair.answer) for pair in own.questions]
            )
            told |= dict.fromkeys(asked, (story.id, tag, "question")) | {
                encoder.running(language, language.joiner.join(getattr(own, true))): (story.id, tag, "article")
            }
    kinds, before = (Counter(dict.fromkeys(told.values(), 0)) for _ in range(2))
    for own, count in some.items():
        kinds[told.get(own, ("", "", "false"))] += count
    for own, count in every.items():
        before[told.get(own, ("", "", "false"))] += count
    assert {tag for (name, tag, _), count in kinds.items() if name in pruned and count} == {"en"}
    assert {tag for (name, tag, _), count in before.items() if name in pruned and count} == {"en", "de", "ur"}
    for (name, tag, kind), count in before.items():
        if name not in pruned or (tag, kind) == ("en", "question"):
            assert kinds[name, tag, kind] == count
    assert all(sum(kinds[name, tag, "article"] for tag in LANGUAGES) == 3 for name in pruned)
    assert {own: count for own, count in every.items() if told.get(own, ("",))[0] not in pruned}.items() <= some.items()


def test_what_is_pruned_is_not_crossed(encoder: Encoder) -> None:
    """One a story that is left and pass: three of eight over three passes, none of the five."""
    pruned = {story.id for story in STORIES[:5]}
    some, without = (_learning(encoder, "de", in_english=pruned, crossed_questions=count, batch=1000) for count in (1, 0))
    crossed = {
        encoder.answered(get_language(told), pair.question, story.editions[told].questions[number].answer, get_language(asked)): story.id
        for story in STORIES
        for asked, told in (("en", "de"), ("de", "en"), ("en", "ur"), ("ur", "en"))
        for number, pair in enumerate(story.editions[asked].questions)
    }
    found = [crossed[own] for step in some for own in step.retain if own in crossed]
    assert len(found) == 9 and set(found) <= {story.id for story in STORIES[5:]}
    assert sum(len(step.retain) for step in some) == 9 + sum(len(step.retain) for step in without)


def test_crossed_questions_are_asked_in_one_language_and_answered_in_another(encoder: Encoder) -> None:
    """One a story and pass, over three passes of eight stories: 24 of 8 * 10 * 4 (two languages, both ways), all different; the rest stays as it is."""
    some, without = (_learning(encoder, "de", crossed_questions=count, batch=1000) for count in (1, 0))
    crossed = {
        encoder.answered(
            get_language(told),
            story.editions[asked].questions[number].question,
            story.editions[told].questions[number].answer,
            get_language(asked),
        )
        for story in STORIES
        for number in range(10)
        for asked, told in (("en", "de"), ("de", "en"), ("en", "ur"), ("ur", "en"))
    }
    found = [own for step in some for own in step.retain if own in crossed]
    assert len(crossed) == 320 and len(found) == len(set(found)) == 24
    assert [Counter(step.retain) - Counter(found) for step in some] == [Counter(step.retain) for step in without]
