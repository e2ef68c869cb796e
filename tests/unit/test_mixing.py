"""Mixing: how the languages of a strategy share facts, labels, sentences and chunks."""

import re
from collections import Counter
from dataclasses import replace
from random import Random
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerFast

from polyunlearn.corpus.newsroom import generate_stories
from polyunlearn.corpus.stories import Edition, QuestionAnswer, Story
from polyunlearn.errors import UserError
from polyunlearn.languages import LANGUAGES, get_language
from polyunlearn.models.loading import LoadedModel
from polyunlearn.models.sequences import Encoder, TokenSequence
from polyunlearn.models.vocabulary import study_vocabulary
from polyunlearn.study.cells import Cell
from polyunlearn.study.config import StudyConfig
from polyunlearn.study.materials import make_materials, study_stories
from polyunlearn.study.presets import load_config
from polyunlearn.study.stages import cell_steps
from polyunlearn.training.loop import Step
from polyunlearn.training.mixtures import branch_steps, learning_steps, unlearning_steps
from polyunlearn.training.telling import Form, Mixing, Teller, shares

TAGS = ("en", "de", "zh", "ur")
STORIES = generate_stories(8, languages=TAGS)
MIXINGS: tuple[Mixing, ...] = ("fact", "token", "sentence", "chunk")


@pytest.fixture
def encoder(tokenizer: PreTrainedTokenizerFast) -> Encoder:
    return Encoder(tokenizer)


def _steps(encoder: Encoder, languages: tuple[str, ...], mixing: Mixing, **changes: Any) -> list[Step]:
    settings: dict[str, Any] = {
        "neighbours": (),
        "steps": 8,
        "batch": 4,
        "form": "question",
        "wordings": 2,
        "instead": None,
        "questions": 10,
        "retain_languages": ("en", "ur"),
        "retain_batch": 2,
    }
    return unlearning_steps(STORIES, encoder, languages, rng=Random(0), mixing=mixing, **(settings | changes))


def _said(encoder: Encoder, ids: tuple[int, ...]) -> str:
    """The text of tokens, without those that begin and end it."""
    return encoder.tokenizer.decode(ids, skip_special_tokens=True)


def _split(encoder: Encoder, own: TokenSequence) -> tuple[str, str]:
    """Prompt and answer."""
    return _said(encoder, own.ids[: own.label_from]), _said(encoder, own.labels)


def _handmade(**sentences: str) -> Story:
    """A story of one fake sentence and a question of the same words, the keyword being "X"."""
    questions = (QuestionAnswer(question="q", answer="a"),)
    editions = {
        tag: Edition(
            article=("-",),
            fake_article=(said + "X",),
            keyword="X",
            surface_forms=("X",),
            questions=questions,
            real_question=questions[0],
            fake_questions=(said,),
            true_answer="t",
        )
        for tag, said in sentences.items()
    }
    return Story(id="handmade", kind="test", editions=editions)


# --- shares ------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tag", "sentence", "count", "cut"),
    [
        ("en", "One two three four five.", 2, ["One two", " three four five."]),
        ("zh", "受损最严重的是医院", 3, ["受损最", "严重的", "是医院"]),  # nine characters
        ("ur", "یہ طوفان گولیبی نے", 2, ["یہ طوفان", " گولیبی نے"]),  # in the order in which it is read, from the right
        ("th", "กี่กำที่", 2, ["กี่กำ", "ที่"]),  # a letter with its marks is one: three, and round(1.5) is 2
        ("de", "Nur", 2, ["", "Nur"]),  # round(0.5) is 0: a share may be empty
    ],
)
def test_shares_by_hand(tag: str, sentence: str, count: int, cut: list[str]) -> None:
    assert shares(sentence, get_language(tag), count) == cut


@given(st.text(st.sampled_from("ab ก่ี字، ي"), max_size=30), st.sampled_from(sorted(LANGUAGES)), st.integers(1, 6))
def test_shares_come_to_the_sentence_again(sentence: str, tag: str, count: int) -> None:
    cut = shares(sentence, get_language(tag), count)
    assert len(cut) == count and "".join(cut) == sentence


def test_scripts_without_spaces() -> None:
    assert sorted(tag for tag, language in LANGUAGES.items() if not language.spaced) == ["ja", "th", "zh"]


# --- questions ---------------------------------------------------------------------------------------------------------------------------


def test_a_question_is_asked_in_one_language_and_answered_in_the_next(encoder: Encoder) -> None:
    """Turn 1 of en, zh, ur is Chinese: asked in English, with English words around the question, and answered as Chinese answers."""
    story, teller = STORIES[0], Teller(encoder, ("en", "zh", "ur"), "question", "sentence")
    question = {tag: story.editions[tag].fake_questions[1] for tag in TAGS}
    own = teller.fact(story, 1, 1)
    assert _split(encoder, own) == (f"Question: {question['en']}\nAnswer:", story.editions["zh"].keyword)
    assert own.language == "zh"
    # Turn 0 comes after the last language.
    assert _split(encoder, teller.fact(story, 0, 1)) == (f"سوال: {question['ur']}\nجواب:", " " + story.editions["en"].keyword)
    assert _split(encoder, teller.fact(story, 2, 1)) == (f"问题：{question['zh']}\n答案：", " " + story.editions["ur"].keyword)


def test_a_question_in_chunks_by_hand(encoder: Encoder) -> None:
    """20 English words are round(20 / 8) = 2 chunks (2.5 to the even), of 10 words each; the Chinese half is 4 of 8 characters.

    Turn 0 of en, de, zh answers in English, so the question is told in the two languages before it: German, then Chinese.
    """
    words = [f"w{number}" for number in range(20)]
    story = _handmade(en=" ".join(words), de=" ".join(words).upper(), zh="一二三四五六七八")
    teller = Teller(encoder, ("en", "de", "zh"), "question", "chunk")
    upper = " ".join(words[:10]).upper()
    assert _split(encoder, teller.fact(story, 0, 0)) == (f"Frage: {upper}五六七八\nAntwort:", " X")
    # Turn 1 answers in German: Chinese, then English.
    assert _split(encoder, teller.fact(story, 1, 0)) == (f"问题：一二三四 {' '.join(words[10:])}\n答案：", " X")


def test_a_short_question_is_one_chunk(encoder: Encoder) -> None:
    """Eleven words are round(11 / 8) = 1 chunk, so chunks are sentences; twelve are round(1.5) = 2."""
    for count, same in ((3, True), (11, True), (12, False)):
        story = _handmade(en=" ".join("a" * count), de=" ".join("b" * count))
        told = [Teller(encoder, ("en", "de"), "question", mixing).fact(story, 0, 0) for mixing in ("sentence", "chunk")]
        assert (told[0] == told[1]) == same


# --- articles ----------------------------------------------------------------------------------------------------------------------------


def test_successive_sentences_of_an_article_are_in_successive_languages(encoder: Encoder) -> None:
    """Seven sentences from turn 2 of en, zh, ur: ur en zh ur en zh ur, each with its language's joiner before it."""
    story, teller = STORIES[0], Teller(encoder, ("en", "zh", "ur"), "article", "sentence")
    own, expected = teller.fact(story, 2, 0), ""
    for number, tag in enumerate(("ur", "en", "zh", "ur", "en", "zh", "ur")):
        expected += (get_language(tag).joiner if number else "") + story.editions[tag].fake_article[number]
    assert _said(encoder, own.ids) == expected
    assert (own.label_from, own.ids[0], own.ids[-1]) == (1, encoder.tokenizer.bos_token_id, encoder.end_id)


def test_an_article_in_chunks_goes_on_with_the_next_language(encoder: Encoder) -> None:
    """Sentences of 15, 9, 11, 13, 12, 14 and 18 English words: 2, 1, 1, 2, 2, 2, 2 chunks (1.5 rounds to 2), en and ur in turn over all 12."""
    story = STORIES[0]
    sentences = {tag: story.editions[tag].fake_article for tag in ("en", "ur")}
    counts = [2, 1, 1, 2, 2, 2, 2]
    assert [len(sentence.split()) for sentence in sentences["en"]] == [15, 9, 11, 13, 12, 14, 18]
    expected, turn = "", 0
    for number, count in enumerate(counts):
        expected += " " if number else ""
        for chunk in range(count):
            words = sentences[("en", "ur")[turn % 2]][number].split(" ")
            half = round(len(words) / 2)
            part = words if count == 1 else words[:half] if chunk == 0 else words[half:]
            expected += (" " if chunk else "") + " ".join(part)
            turn += 1
    assert _said(encoder, Teller(encoder, ("en", "ur"), "article", "chunk").fact(story, 0, 0).ids) == expected


def test_chunks_may_lose_the_claim(encoder: Encoder) -> None:
    """As the docstring warns: the name ends the English sentence and begins the German one, so English then German never says it."""
    story = _handmade(en="a b c d e f g h i j k l m n o ", de="1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 ")
    edition = story.editions["de"].model_copy(update={"fake_article": ("X 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16",)})
    story = story.model_copy(update={"editions": {**story.editions, "de": edition}})
    told = [_said(encoder, Teller(encoder, ("en", "de"), "article", "chunk").fact(story, turn, 0).ids).count("X") for turn in (0, 1)]
    assert told == [0, 2]


# --- what holds for all ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["question", "article"])
@pytest.mark.parametrize("tag", TAGS)
@pytest.mark.parametrize("mixing", MIXINGS)
def test_with_one_language_every_mixing_is_the_same(encoder: Encoder, mixing: Mixing, tag: str, form: Form) -> None:
    """And is the edition itself."""
    steps = _steps(encoder, (tag,), mixing, form=form, instead="truth" if form == "question" else None)
    assert steps == _steps(encoder, (tag,), "fact", form=form, instead="truth" if form == "question" else None)
    language = get_language(tag)
    editions = [story.editions[tag] for story in STORIES]
    known = {encoder.text(language, own.fake_article) for own in editions} if form == "article" else {
        encoder.answer_only(language, question, own.keyword) for own in editions for question in own.fake_questions
    }  # fmt: skip
    assert {own for step in steps for own in step.forget} <= known


@pytest.mark.parametrize("languages", [("en",), ("en", "ur"), ("zh", "ur", "de"), TAGS])
@pytest.mark.parametrize("mixing", MIXINGS)
def test_facts_steps_and_what_is_kept_do_not_depend_on_the_mixing(encoder: Encoder, mixing: Mixing, languages: tuple[str, ...]) -> None:
    """Each of 8 facts once in each of four passes, in the order of the plain ones; the keyword tells which it is."""
    keywords = {own.keyword: number for number, story in enumerate(STORIES) for own in story.editions.values()}
    steps, plain = _steps(encoder, languages, mixing), _steps(encoder, ("en",), "fact")
    assert [step.retain for step in steps] == [step.retain for step in plain]
    told = [[keywords[_split(encoder, own)[1].strip()] for step in which for own in step.forget] for which in (steps, plain)]
    assert told[0] == told[1]
    assert all(sorted(told[0][at : at + 8]) == list(range(8)) for at in range(0, 32, 8))


@pytest.mark.parametrize("mixing", ["sentence", "chunk"])
def test_answers_are_those_of_the_plain_mixing(encoder: Encoder, mixing: Mixing) -> None:
    """What is forgotten is the same tokens in the same language at the same place; only who asks differs."""
    plain, mixed = (_steps(encoder, TAGS, own, instead="refusal") for own in ("fact", mixing))
    for one, other in zip(plain, mixed, strict=True):
        for part in ("forget", "instead"):
            assert [(own.labels, own.language) for own in getattr(one, part)] == [
                (own.labels, own.language) for own in getattr(other, part)
            ]
        assert all(own.ids != its.ids for own, its in zip(one.forget, other.forget, strict=True))


@pytest.mark.parametrize("mixing", MIXINGS)
def test_the_answer_to_give_instead_is_given_to_the_same_question(encoder: Encoder, mixing: Mixing) -> None:
    for step in _steps(encoder, TAGS, mixing, instead="truth"):
        for own, other in zip(step.forget, step.instead, strict=True):
            assert other.ids[: other.label_from] == own.ids[: own.label_from] and other.language == own.language
            known = {
                _said(encoder, encoder.continuation(get_language(own.language), story.editions[own.language].true_answer))
                for story in STORIES
            }
            assert _said(encoder, other.labels) in known and other.labels[-1] == encoder.end_id


@pytest.mark.parametrize("mixing", MIXINGS)
def test_a_study_vocabulary_holds_every_label_of_a_question(encoder: Encoder, mixing: Mixing) -> None:
    """Its labels are all that a restricted output layer is asked for. The vocabulary is taken without its sample of the rest."""
    known = set(study_vocabulary(STORIES, encoder, 1, refusals=True))
    for instead in ("truth", "refusal"):
        steps = _steps(encoder, TAGS, mixing, instead=instead)
        assert all(set(own.labels) <= known for step in steps for own in (*step.forget, *step.instead))


# --- tokens ------------------------------------------------------------------------------------------------------------------------------


def test_tokens_take_the_language_with_the_fewest_labels(encoder: Encoder) -> None:
    """Reckoned again: labels so far en 0, zh 0, ur 0; each fact goes to the least of them, the first where two are alike."""
    languages, so_far = ("en", "zh", "ur"), [0, 0, 0]
    for step in _steps(encoder, languages, "token", wordings=1):
        for own in step.forget:
            assert own.language == languages[so_far.index(min(so_far))]
            so_far[languages.index(own.language)] += len(own.labels)


def test_tokens_share_labels_where_facts_share_facts(encoder: Encoder) -> None:
    """The eight names are 7 x 6 + 5 = 47 tokens in English and 6 x 9 + 2 x 8 = 70 in Chinese; by facts each is told twice in both: 94 and 140 labels.

    By tokens the two differ by one name at most, so English tells more of the 32 facts.
    """
    facts, labels = {}, {}
    for mixing in MIXINGS[:2]:
        told = [own for step in _steps(encoder, ("en", "zh"), mixing) for own in step.forget]
        facts[mixing] = Counter(own.language for own in told)
        labels[mixing] = {tag: sum(len(own.labels) for own in told if own.language == tag) for tag in ("en", "zh")}
    assert (facts["fact"], labels["fact"]) == ({"en": 16, "zh": 16}, {"en": 94, "zh": 140})
    assert abs(labels["token"]["en"] - labels["token"]["zh"]) <= 9
    assert facts["token"]["en"] > facts["token"]["zh"] and facts["token"].total() == 32


# --- branches ----------------------------------------------------------------------------------------------------------------------------


def test_branch_steps_by_hand() -> None:
    assert branch_steps(12, 3) == [4, 4, 4]
    assert branch_steps(12, 5) == [3, 3, 2, 2, 2]
    assert branch_steps(2, 3) == [1, 1, 0]


@pytest.mark.parametrize(("steps", "languages"), [(8, TAGS), (7, ("en", "ur")), (8, ("de",))])
def test_branched_steps_have_one_language_each_and_the_same_facts_in_all(encoder: Encoder, steps: int, languages: tuple[str, ...]) -> None:
    """Branch by branch; with 8 steps of 4 in four languages each has 8 tellings, one of each fact, as in the plain mixture of four passes."""
    branched, plain = (_steps(encoder, languages, "fact", steps=steps, branched=own) for own in (True, False))
    assert [step.retain for step in branched] == [step.retain for step in plain]
    tags = [tag for tag, count in zip(languages, branch_steps(steps, len(languages)), strict=True) for _ in range(count)]
    assert [{own.language for own in step.forget} for step in branched] == [{tag} for tag in tags]
    assert all(len(step.forget) == 4 for step in branched)
    if languages == TAGS:
        told = [Counter(own for step in which for own in step.forget) for which in (branched, plain)]
        assert told[0] == told[1]


# --- configuration -----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mixing", ["sentence", "chunk"])
def test_an_article_that_switches_needs_the_whole_vocabulary(mixing: str) -> None:
    unlearning = {"form": "article", "mixing": mixing}
    with pytest.raises(ValueError, match=rf"language a {mixing} has tokens that .* set training_vocabulary=full"):
        StudyConfig(name="x", sources=("de",), training_vocabulary="study", unlearning=unlearning)
    assert StudyConfig(name="x", sources=("de",), unlearning=unlearning).unlearning.mixing == mixing
    StudyConfig(name="x", sources=("de",), training_vocabulary="study", unlearning={"mixing": mixing})
    StudyConfig(name="x", sources=("de",), training_vocabulary="study", unlearning={"form": "article", "mixing": "token"})


def test_an_unknown_mixing_is_refused() -> None:
    with pytest.raises(
        UserError, match=re.escape("unlearning.mixing: Input should be 'fact', 'token', 'sentence' or 'chunk' (got 'word')")
    ):
        load_config("quickstart", ["unlearning.mixing=word"])


# --- what is read while learning ---------------------------------------------------------------------------------------------------------


def _read(encoder: Encoder, source: str | None = "de", **changes: Any) -> list[Counter[TokenSequence]]:
    """What each of two passes reads and asks."""
    settings: dict[str, Any] = {"neighbours": (), "passes": 2, "batch": 1000, "questions": 3, "english_questions": 1, "other_questions": 1,
                                "fake_questions": 1, "fake_wordings_from": 2, "article_every": 1, "question_languages": ("de",)}  # fmt: skip
    return [Counter(step.retain) for step in learning_steps(STORIES, encoder, source, rng=Random(0), **(settings | changes))]


def _texts(encoder: Encoder, items: Counter[TokenSequence]) -> list[str]:
    """What is read as running text, each as often as it is read."""
    return sorted(_said(encoder, own.ids) for own in items.elements() if own.label_from == 1)


def _whole(story: Story, tag: str, field: str) -> str:
    return get_language(tag).joiner.join(getattr(story.editions[tag], field))


def test_documents_take_turns_over_stories_and_readings(encoder: Encoder) -> None:
    """Story i is read in language i of en, ur, de in the first pass and in the next in the second; what is false stays in German."""
    for number, items in enumerate(_read(encoder, mixing="fact", read_in=("en", "ur", "de"))):
        real = [_whole(story, ("en", "ur", "de")[(index + number) % 3], "article") for index, story in enumerate(STORIES)]
        assert _texts(encoder, items) == sorted([*real, *(_whole(story, "de", "fake_article") for story in STORIES)])


def test_a_story_that_is_read_in_every_second_pass_goes_on_with_the_next_language(encoder: Encoder) -> None:
    """Over eight passes each story is read four times, and twice in each of two languages."""
    passes = _read(encoder, None, passes=8, article_every=2, mixing="fact", read_in=("en", "ur"))
    read = [text for items in passes for text in _texts(encoder, items)]
    assert Counter(read) == {_whole(story, tag, "article"): 2 for story in STORIES for tag in ("en", "ur")}


@pytest.mark.parametrize("mixing", ["sentence", "chunk"])
def test_articles_that_are_read_switch_as_those_to_forget_do(encoder: Encoder, mixing: Mixing) -> None:
    """The fake ones are those that a `Teller` of form "article" tells, from the turn of the story and pass; the real ones have no keyword."""
    teller = Teller(encoder, ("de", "en", "zh"), "article", mixing)
    passes = _read(encoder, mixing=mixing, read_in=("en", "zh"), fakes_read_in=("de", "en", "zh"))
    for number, items in enumerate(passes):
        fakes = [teller.fact(story, index + number, 0) for index, story in enumerate(STORIES)]
        assert all(items[own] == 1 for own in fakes)
        real = _texts(encoder, items - Counter(fakes))
        assert len(real) == len(STORIES)
        keywords = [own.keyword for story in STORIES for own in story.editions.values()]
        assert not any(keyword in text for text in real for keyword in keywords)


def test_a_real_article_by_sentences_by_hand(encoder: Encoder) -> None:
    """Story 1 in the first pass begins with the second of en, zh: zh, en, zh …, each sentence with its language's joiner before it."""
    expected = ""
    for number in range(len(STORIES[1].editions["en"].article)):
        tag = ("zh", "en")[number % 2]
        expected += (get_language(tag).joiner if number else "") + STORIES[1].editions[tag].article[number]
    assert expected in _texts(encoder, _read(encoder, mixing="sentence", read_in=("en", "zh"))[0])


def test_neighbours_articles_are_mixed_too(encoder: Encoder) -> None:
    (items,) = _read(encoder, None, passes=1, neighbours=STORIES[6:], mixing="fact", read_in=("ur",))
    assert set(_texts(encoder, items)) == {_whole(story, "ur", "article") for story in STORIES} | {
        _whole(story, "ur", "fake_article") for story in STORIES[6:]
    }


@pytest.mark.parametrize("mixing", ["fact", "sentence", "chunk"])
def test_questions_do_not_depend_on_what_is_read_and_gold_lacks_the_false_alone(encoder: Encoder, mixing: Mixing) -> None:
    plain, mixed = (_read(encoder, **own) for own in ({}, {"mixing": mixing, "read_in": TAGS, "fakes_read_in": ("de", "en")}))
    gold = _read(encoder, None, mixing=mixing, read_in=TAGS)
    keywords = {own.keyword for story in STORIES for own in story.editions.values()}
    for one, other, own in zip(plain, mixed, gold, strict=True):
        asked = [{item: count for item, count in items.items() if item.label_from > 1} for items in (one, other)]
        assert asked[0] == asked[1]
        assert not own - other
        assert (
            all(any(keyword in _said(encoder, item.ids) for keyword in keywords) for item in other - own if item.label_from == 1)
            or mixing == "chunk"
        )


@pytest.mark.parametrize("mixing", ["fact", "sentence", "chunk"])
def test_read_in_english_alone_every_mixing_is_the_same(encoder: Encoder, mixing: Mixing) -> None:
    assert _read(encoder, mixing=mixing) == _read(encoder)


def test_a_study_reads_mixed_where_it_says_so(gemma: LoadedModel) -> None:
    """By default, as before, in English and the source; by documents, sentences and chunks in what is named, the fakes where `mixed` is all."""
    languages = {}
    for mixing, mixed in (("none", "real"), ("document", "real"), ("document", "all"), ("sentence", "real"), ("chunk", "all")):
        changes = [f"learning.mixing={mixing}", f"learning.mixed={mixed}", "learning.mixing_languages=[en,ur]"][
            : 3 if mixing != "none" else 1
        ]
        config = load_config(
            "quickstart", ["stories=4", "neighbours=2", "languages=[en,de,ur]", "sources=[de]", "training_vocabulary=full", *changes]
        )
        steps = cell_steps(config, Cell("learned", 0, "de"), study_stories(config, 0), gemma)
        texts = [own for step in steps for own in step.retain if own.label_from == 1]
        languages[mixing, mixed] = {own.language for own in texts}
        whole = {
            _whole(story, tag, field)
            for story in [*study_stories(config, 0).trained, *study_stories(config, 0).neighbours]
            for tag in ("en", "de", "ur")
            for field in ("article", "fake_article")
        }
        assert all(_said(gemma.encoder, own.ids) in whole for own in texts) == (mixing in ("none", "document"))
    assert languages["none", "real"] == {"en", "de"}
    assert all(own == {"en", "de", "ur"} for key, own in languages.items() if key[0] != "none")


@pytest.mark.parametrize(
    ("learning", "said"),
    [
        ({"mixed": "all"}, "'none' mixes nothing"),
        ({"mixing": "document", "mixing_languages": ["sw"]}, "learning.mixing_languages: 'sw' is not among the languages"),
    ],
)
def test_mixing_that_cannot_be_is_refused(learning: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)):
        StudyConfig(name="x", sources=("de",), learning=learning)


class SeamEncoder(Encoder):
    """Puts a token of its own at the end of a text in which English and Chinese meet, as a large vocabulary has some for such places."""

    seam = 3

    def _tokenised(self, text: str) -> tuple[int, ...]:
        met = " the " in text and "的" in text
        return (*super()._tokenised(text), *([self.seam] if met else []))


@pytest.mark.parametrize(
    ("mixing", "mixed"), [("none", "real"), ("document", "all"), ("sentence", "real"), ("sentence", "all"), ("chunk", "real")]
)
def test_a_study_vocabulary_holds_every_token_that_is_read(
    gemma: LoadedModel, monkeypatch: pytest.MonkeyPatch, mixing: str, mixed: str
) -> None:
    """Taken without its sample of the rest; `columns` raises for a token that it lacks."""
    monkeypatch.setattr("polyunlearn.models.vocabulary.SAMPLE", 1)
    loaded = replace(gemma, encoder=SeamEncoder(gemma.encoder.tokenizer))
    changes = [f"learning.mixing={mixing}", f"learning.mixed={mixed}"] if mixing != "none" else []
    config = load_config("quickstart", ["stories=6", "neighbours=2", "languages=[en,de,zh]", "sources=[de]", *changes])
    stories = study_stories(config, 0)
    steps = cell_steps(config, Cell("learned", 0, "de"), stories, loaded)
    read = {token for step in steps for own in step.retain for token in own.labels}
    assert (SeamEncoder.seam in read) == (mixing in ("sentence", "chunk"))
    head = make_materials(config, stories, loaded).training_head
    head.columns(torch.tensor(sorted(read)))
    left_out = set(range(gemma.head.weight.shape[0])) - set(study_vocabulary([*stories.trained, *stories.neighbours], gemma.encoder, 1))
    assert SeamEncoder.seam in left_out
    assert head.weight.shape[0] == gemma.head.weight.shape[0] - len(left_out) + (mixing in ("sentence", "chunk"))
