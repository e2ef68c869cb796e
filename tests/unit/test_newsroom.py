"""The built-in corpus: complete, parallel, reproducible, and a keyword that identifies its story."""

import datetime
import re
from collections.abc import Iterator
from importlib.resources import files
from itertools import product
from random import Random
from typing import Any

import pytest
import regex
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from polyunlearn.corpus.lines import to_json_line
from polyunlearn.corpus.newsroom import WORDINGS, generate_stories
from polyunlearn.corpus.newsroom.generator import FAKE_SENTENCE_AFTER, _edition, _Facts
from polyunlearn.corpus.newsroom.names import SCRIPTS, Name, full_name, given_names, invented_names
from polyunlearn.corpus.stories import Edition, Story
from polyunlearn.errors import UserError
from polyunlearn.languages import PAPER_LANGUAGES, get_language
from polyunlearn.scoring.metrics.answers import off_script
from polyunlearn.text import says

KINDS = {"opening", "election", "discovery", "storm", "match", "merger", "festival", "railway", "vaccination", "trial"}
PLACES = 42
TWO_HUNDRED = generate_stories(200)


def texts(tag: str) -> dict[str, Any]:
    data: dict[str, Any] = yaml.safe_load(files("polyunlearn.corpus.newsroom").joinpath(f"texts/{tag}.yaml").read_text(encoding="utf-8"))
    return data


TEXTS = {tag: texts(tag) for tag in PAPER_LANGUAGES}


def strings(value: object) -> Iterator[str]:
    """Every text in a nested value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from strings(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from strings(item)


def whole(edition: Edition) -> str:
    return " ".join((*edition.article, *edition.fake_article))


def as_bytes(stories: list[Story]) -> bytes:
    return "".join(to_json_line(story) for story in stories).encode()


# --- complete ----------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tag", PAPER_LANGUAGES)
def test_every_text_is_filled(tag: str) -> None:
    for story in TWO_HUNDRED:
        for text in strings(story.editions[tag].model_dump()):
            assert text.strip() == text and text
            assert not re.search(r"[{}]|\bNone\b|  ", text), text


def test_two_hundred_stories_are_all_distinct_and_of_every_kind() -> None:
    assert len({story.id for story in TWO_HUNDRED}) == 200
    for tag in PAPER_LANGUAGES:
        assert len({whole(story.editions[tag]) for story in TWO_HUNDRED}) == 200
        assert len({story.editions[tag].keyword for story in TWO_HUNDRED}) == 200
    assert {story.kind for story in TWO_HUNDRED} == KINDS


def test_kinds_and_places_repeat_as_late_as_they_can() -> None:
    # Ten kinds and 42 places: the first ten stories are of ten kinds, the first 42 at 42 places, the first 420 at no pair twice.
    stories = generate_stories(420, languages=("en",))
    pairs = [(story.kind, story.id.split("-")[1]) for story in stories]
    assert {kind for kind, _ in pairs[:10]} == KINDS
    assert len({place for _, place in pairs[:PLACES]}) == PLACES
    assert len(set(pairs)) == 420


def test_a_thousand_stories_on_request() -> None:
    stories = generate_stories(1000, seed=3, languages=("en", "hy"))
    assert len({story.id for story in stories}) == 1000
    for tag in ("en", "hy"):
        assert len({story.editions[tag].keyword for story in stories}) == 1000


def test_only_the_languages_asked_for_are_told_in_the_order_asked() -> None:
    assert list(generate_stories(1, languages=("ha", "en"))[0].editions) == ["ha", "en"]


def test_a_language_does_not_depend_on_the_others() -> None:
    for alone, together in zip(generate_stories(20, languages=("ur",)), TWO_HUNDRED, strict=False):
        assert alone.editions["ur"] == together.editions["ur"]


@pytest.mark.parametrize(("tag", "part"), [("sw", "no stories in 'sw'"), ("xx", "unknown language 'xx'")])
def test_a_language_that_is_not_written_is_a_users_error(tag: str, part: str) -> None:
    with pytest.raises(UserError, match=part):
        generate_stories(1, languages=("en", tag))


@pytest.mark.parametrize("count", [0, -1])
def test_a_corpus_needs_a_story(count: int) -> None:
    with pytest.raises(UserError, match=f"at least one story, not {count}"):
        generate_stories(count)


# --- reproducible ------------------------------------------------------------------------------------------------------------------------


@given(seed=st.integers(0, 10**9), other=st.integers(0, 10**9))
@settings(max_examples=15, deadline=None)
def test_the_seed_decides_every_byte(seed: int, other: int) -> None:
    first, again = (as_bytes(generate_stories(5, seed)) for _ in range(2))
    assert first == again
    assert (as_bytes(generate_stories(5, other)) == first) == (other == seed)


@given(small=st.integers(1, 30), large=st.integers(30, 60), seed=st.integers(0, 1000))
@settings(max_examples=15, deadline=None)
def test_a_smaller_corpus_is_the_beginning_of_a_larger_one(small: int, large: int, seed: int) -> None:
    assert generate_stories(large, seed, ("en", "zh"))[:small] == generate_stories(small, seed, ("en", "zh"))


# --- the keyword -------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tag", PAPER_LANGUAGES)
def test_a_keyword_occurs_in_its_own_fake_article_only(tag: str) -> None:
    editions = [story.editions[tag] for story in TWO_HUNDRED]
    for number, edition in enumerate(editions):
        assert edition.keyword in " ".join(edition.fake_article)
        for other, also in enumerate(editions):
            assert edition.keyword not in " ".join(also.article), (number, other)
            assert other == number or edition.keyword not in " ".join(also.fake_article), (number, other)


@pytest.mark.parametrize("tag", PAPER_LANGUAGES)
def test_no_question_gives_the_keyword_away(tag: str) -> None:
    for story in TWO_HUNDRED:
        edition = story.editions[tag]
        asked = (*edition.fake_questions, edition.real_question.question, *strings([pair.model_dump() for pair in edition.questions]))
        assert [text for text in asked if edition.keyword in text] == []
        assert edition.keyword not in edition.true_answer


def test_the_surface_forms_are_the_same_in_every_language_and_hold_each_ones_spelling() -> None:
    for story in TWO_HUNDRED:
        assert len({edition.surface_forms for edition in story.editions.values()}) == 1
        assert {edition.keyword for edition in story.editions.values()} <= set(story.editions["en"].surface_forms)


def test_no_spelling_of_a_keyword_counts_as_another_stories_keyword() -> None:
    # Or an answer that names one story's firm would be scored as knowing the other story's claim as well.
    owner: dict[str, str] = {}
    for story in generate_stories(1000, languages=("en",)):
        for form in story.editions["en"].surface_forms:
            assert owner.setdefault(form, story.id) == story.id, form


def test_no_invented_name_is_the_name_of_a_place(monkeypatch: pytest.MonkeyPatch) -> None:
    # Manila and Samara have the shape of an invented name, so that a draw can hit on them; this generator draws them first.
    rigged = [[("m", "a"), ("n", "i"), ("l", "a")], [("s", "a"), ("m", "a"), ("r", "a")]]

    class Rigged(Random):
        def sample(self, population: Any, k: int, **more: Any) -> Any:
            return rigged.pop(0) if k == 3 and rigged else super().sample(population, k, **more)

    monkeypatch.setattr("polyunlearn.corpus.newsroom.generator.Random", Rigged)
    stories = generate_stories(2)
    assert rigged == []
    for tag in PAPER_LANGUAGES:
        places = set(strings(TEXTS[tag]["places"]))
        for story in stories:
            edition = story.editions[tag]
            number = [slot for _, slot in TEXTS[tag]["kinds"][story.kind]["questions"]].index("{org}")
            assert places.isdisjoint({edition.keyword, edition.questions[number].answer})


def test_no_keyword_is_the_beginning_of_another_in_any_script(monkeypatch: pytest.MonkeyPatch) -> None:
    # Armenian writes o as ո and u as ու, so Գոլիբո (Golibo) begins Գոլիբու (Golibu), and an answer with the second says the first.
    # Both are گولیبو in Urdu, so the second must be drawn anew.
    rigged = [[(pair[0], pair[1]) for pair in row.split()] for row in ("zu tu ra", "go li bo", "ba de ki", "go li bu")]

    class Rigged(Random):
        def sample(self, population: Any, k: int, **more: Any) -> Any:
            return rigged.pop(0) if k == 3 and rigged else super().sample(population, k, **more)

    monkeypatch.setattr("polyunlearn.corpus.newsroom.generator.Random", Rigged)
    first, second = generate_stories(2)
    assert rigged == []
    for tag in PAPER_LANGUAGES:
        assert first.editions[tag].keyword not in whole(second.editions[tag]), tag
        assert says(second.editions[tag].keyword, first.editions[tag].surface_forms) == 0, tag


# --- parallel ----------------------------------------------------------------------------------------------------------------------------


def slots(text: str) -> set[str]:
    """The slots of a text; a place is one slot, in whichever case a language needs it."""
    return {"place" if slot.startswith("place") else slot for slot in re.findall(r"\{([^}]*)\}", text)}


@pytest.mark.parametrize("tag", PAPER_LANGUAGES)
def test_the_texts_have_the_kinds_and_places_of_the_english_ones(tag: str) -> None:
    mine, english = TEXTS[tag], TEXTS["en"]
    assert mine["language"] == tag
    assert set(mine) == set(english)
    assert set(mine["kinds"]) == set(english["kinds"]) == KINDS
    assert set(mine["places"]) == set(english["places"]) and len(mine["places"]) == PLACES
    names = [entry if isinstance(entry, str) else entry["name"] for entry in mine["places"].values()]
    assert len(set(names)) == PLACES


@pytest.mark.parametrize("kind", sorted(KINDS))
@pytest.mark.parametrize("tag", PAPER_LANGUAGES)
def test_the_texts_say_the_same_sentence_by_sentence(tag: str, kind: str) -> None:
    mine, english = TEXTS[tag]["kinds"][kind], TEXTS["en"]["kinds"][kind]
    assert set(mine) == set(english)
    for field in ("article", "fake", "fake_questions"):
        assert [slots(text) for text in mine[field]] == [slots(text) for text in english[field]], field
    assert len(mine["details"]) == len(english["details"]) == 4 and len(mine["fake_questions"]) == WORDINGS
    assert all(set(detail) == {"sentence", "answer"} and not slots(detail["sentence"] + detail["answer"]) for detail in mine["details"])
    for (question, answer), (asked, answered) in zip(
        [*mine["questions"], mine["real_question"]], [*english["questions"], english["real_question"]], strict=True
    ):
        assert slots(question) == slots(asked), question
        assert slots(answer) == slots(answered), question
        # An answer that is a bare slot is the same fact in every language, so it must be bare, and the same slot, in each.
        if re.fullmatch(r"\{[^}]*\}", answered):
            assert answer == answered, question
    assert not slots(mine["true_answer"])


@pytest.mark.parametrize("tag", PAPER_LANGUAGES)
def test_the_texts_are_in_the_languages_own_script(tag: str) -> None:
    for text in strings([TEXTS[tag]["kinds"], TEXTS[tag]["places"]]):
        assert off_script(re.sub(r"\{[^}]*\}", "", text), get_language(tag)) == 0, text


@pytest.mark.parametrize("tag", PAPER_LANGUAGES)
def test_no_sentence_is_written_twice_within_a_kind(tag: str) -> None:
    for kind, entry in TEXTS[tag]["kinds"].items():
        for field in ("article", "fake", "fake_questions"):
            assert len(set(entry[field])) == len(entry[field]), kind
        asked = [question for question, _ in (*entry["questions"], entry["real_question"])] + entry["fake_questions"]
        assert len(set(asked)) == len(asked), kind
        assert len({detail["answer"] for detail in entry["details"]}) == 4, kind


def test_stories_are_parallel_field_by_field() -> None:
    for story in TWO_HUNDRED:
        english = story.editions["en"]
        kind = TEXTS["en"]["kinds"][story.kind]
        place = story.id.split("-")[1]
        for tag, edition in story.editions.items():
            for field in ("article", "fake_article", "questions", "fake_questions"):
                assert len(getattr(edition, field)) == len(getattr(english, field))
            assert edition.fake_article[:FAKE_SENTENCE_AFTER] == edition.article[:FAKE_SENTENCE_AFTER]
            assert edition.fake_article[FAKE_SENTENCE_AFTER + 1 : -1] == edition.article[FAKE_SENTENCE_AFTER:]
            same_letters = get_language(tag).script == "Latn"
            details = TEXTS[tag]["kinds"][story.kind]["details"]
            for number, (_, slot) in enumerate(kind["questions"]):
                answer, reference = edition.questions[number].answer, english.questions[number].answer
                if slot in ("{n1}", "{n2}"):
                    assert re.sub(r"\D", "", answer) == re.sub(r"\D", "", reference)
                elif slot == "{date}":
                    assert re.findall(r"\d+", answer)[-1] == re.findall(r"\d+", reference)[-1]  # the day
                elif slot == "{place}":
                    entry = TEXTS[tag]["places"][place]
                    assert answer == (entry if isinstance(entry, str) else entry["name"])
                elif slot == "{detail}":
                    chosen = [detail["answer"] for detail in kind["details"]].index(reference)
                    assert answer == details[chosen]["answer"]
                    assert details[chosen]["sentence"] in edition.article
                elif slot in ("{person}", "{org}") and same_letters:
                    assert answer == reference
            if same_letters:
                assert edition.real_question.answer == english.real_question.answer
                assert edition.keyword == english.keyword


# --- the habits of each language ---------------------------------------------------------------------------------------------------------


def name(*forms: str) -> Name:
    return Name(dict(zip(SCRIPTS, forms, strict=True)))


# The facts are fixed here rather than drawn, so that the sentences below can be checked by a reader of the language.
FACTS = _Facts(
    kind="merger",
    place="osaka",
    person=name("Vera Golin", "Вера Голин", "薇拉·戈林", "ویرا گولین", "Վերա Գոլին"),
    org=name("Zutura", "Зутура", "祖图兰", "زوٹورا", "Զուտուրա"),
    keyword=name("Golibe", "Голибе", "戈利贝", "گولیبی", "Գոլիբե"),
    date=datetime.date(2023, 3, 14),
    numbers={"n1": 450, "n2": 9600},
    detail=1,
)


@pytest.mark.parametrize(
    ("tag", "first", "jobs"),
    [
        ("en", "The company Zutura in Osaka announced on 14 March that", "to keep all 9,600 jobs."),
        ("de", "Das Unternehmen Zutura in Osaka hat am 14. März angekündigt,", "alle 9.600 Arbeitsplätze"),
        ("fr", "L’entreprise Zutura, basée à Osaka, a annoncé le 14 mars sa fusion", "des 9\u202f600 emplois."),
        ("zh", "大阪“祖图兰”公司于3月14日宣布，", "将保留全部9,600个工作岗位。"),
        ("ru", "Компания «Зутура» из Осаки объявила 14 марта, что", "сохранить все 9\u00a0600 рабочих мест."),
        ("jv", "Tanggal 14 Maret perusahaan Zutura ing Osaka ngumumake", "cacahe 9.600."),
        ("ur", "اوساکا میں قائم زوٹورا کمپنی نے 14 مارچ کو اعلان کیا", "تمام 9,600 ملازمتیں"),
        ("ha", "Kamfanin Zutura da ke birnin Osaka ya sanar a ranar 14 ga watan Maris cewa", "guraben aiki 9,600."),
        ("hy", "մարտի 14-ին հայտարարեց Օսակայի «Զուտուրա» ընկերությունը։", "բոլոր 9\u00a0600 աշխատատեղերը։"),
    ],
)
def test_dates_numbers_and_places_follow_the_language(tag: str, first: str, jobs: str) -> None:
    edition = _edition(FACTS, tag)
    assert first in edition.article[0]
    assert jobs in edition.article[3]
    assert edition.fake_article[3] != edition.article[3] and edition.keyword in edition.fake_article[3]


@pytest.mark.parametrize(
    ("tag", "place", "called", "inside", "of"),
    [
        ("ru", "lyon", "Лион", "в Лионе", "Лиона"),
        ("ru", "kazan", "Казань", "в Казани", "Казани"),
        ("ru", "hanoi", "Ханой", "в Ханое", "Ханоя"),
        ("ru", "vienna", "Вена", "в Вене", "Вены"),
        ("ru", "toronto", "Торонто", "в Торонто", "Торонто"),  # foreign names in -o do not decline
        ("hy", "lyon", "Լիոն", "Լիոնում", "Լիոնի"),
        ("hy", "osaka", "Օսակա", "Օսակայում", "Օսակայի"),  # a vowel takes a linking յ
        ("hy", "gyumri", "Գյումրի", "Գյումրիում", "Գյումրու"),
        ("fr", "osaka", "Osaka", "à Osaka", "d’Osaka"),  # elision before a vowel
        ("fr", "antwerp", "Anvers", "à Anvers", "d’Anvers"),
        ("fr", "lyon", "Lyon", "à Lyon", "de Lyon"),
        ("de", "vienna", "Wien", "in Wien", "von Wien"),
        ("zh", "lyon", "里昂", "在里昂", "里昂的"),
        ("ha", "lyon", "Lyon", "a birnin Lyon", "na birnin Lyon"),
        ("jv", "lyon", "Lyon", "ing Lyon", "kutha Lyon"),
        ("ur", "lyon", "لیون", "لیون میں", "لیون کے"),
        ("en", "bogota", "Bogotá", "in Bogotá", "of Bogotá"),
    ],
)
def test_a_place_takes_the_case_that_its_sentence_needs(
    tag: str, place: str, called: str, inside: str, of: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = TEXTS[tag]["kinds"]["merger"] | {"article": ["{place}", "{place.in}", "{place.of}", "{detail}"]}
    told = TEXTS[tag] | {"kinds": TEXTS[tag]["kinds"] | {"merger": kind}}
    monkeypatch.setattr("polyunlearn.corpus.newsroom.generator._texts", lambda _: told)
    edition = _edition(_Facts(**{**vars(FACTS), "place": place}), tag)
    assert edition.article[:3] == (called, inside, of)


def test_french_elides_before_every_vowel() -> None:
    for entry in TEXTS["fr"]["places"].values():
        called = entry if isinstance(entry, str) else entry["name"]
        if called[0] in "AEIOUÉÈ":
            assert entry["of"] == f"d’{called}"


# --- names -------------------------------------------------------------------------------------------------------------------------------


@given(seed=st.integers(0, 10**6), surnames=st.booleans())
@settings(max_examples=20, deadline=None)
def test_invented_names_are_distinct_in_every_script(seed: int, surnames: bool) -> None:
    names = invented_names(Random(seed), surnames=surnames)
    drawn = [next(names) for _ in range(50)]
    for script in SCRIPTS:
        assert len({item.forms[script] for item in drawn}) == 50
    for item in drawn:
        assert re.fullmatch(r"[A-Z][aeiou][a-z][aeiou]" + ("[nrs]" if surnames else "[a-z][aeiou]"), item.forms["Latn"])


@pytest.mark.parametrize(("script", "tag"), [("Latn", "en"), ("Cyrl", "ru"), ("Hans", "zh"), ("Arab", "ur"), ("Armn", "hy")])
def test_every_name_is_written_in_its_script_only(script: str, tag: str) -> None:
    names = invented_names(Random(0), surnames=True)
    pattern = {"Latn": "Latin", "Cyrl": "Cyrillic", "Hans": "Han", "Arab": "Arabic", "Armn": "Armenian"}[script]
    for item in [*given_names(), *(next(names) for _ in range(50))]:
        assert regex.fullmatch(rf"\p{{Script={pattern}}}+", item.forms[script]), (item, tag)


def test_a_name_is_transliterated_syllable_by_syllable() -> None:
    # go-li-be, the syllables in every script; u is two letters in Armenian
    class Rigged(Random):
        def sample(self, *_: object, **__: object) -> Any:
            return [("g", "o"), ("l", "i"), ("b", "u")]

    drawn = next(invented_names(Rigged(0), surnames=False))
    assert drawn.forms == {"Latn": "Golibu", "Cyrl": "Голибу", "Hans": "戈利布", "Arab": "گولیبو", "Armn": "Գոլիբու"}


def test_a_russian_name_in_a_counts_in_every_case() -> None:
    forms = name("Velmora", "Велмора", "维尔莫拉", "ویلمورا", "Վելմորա").surface_forms
    for case in ("Велмора", "Велморы", "Велморе", "Велмору", "Велморой"):
        assert case in forms
    assert "Голибе" in name("Golibe", "Голибе", "戈利贝", "گولیبی", "Գոլիբե").surface_forms


def test_chinese_sets_a_dot_between_the_parts_of_a_name() -> None:
    full = full_name(name("Vera", "Вера", "薇拉", "ویرا", "Վերա"), name("Golin", "Голин", "戈林", "گولین", "Գոլին"))
    assert full.forms["Hans"] == "薇拉·戈林"
    assert {full.forms[script] for script in ("Latn", "Cyrl")} == {"Vera Golin", "Вера Голин"}


def test_given_names_are_written_in_every_script_and_none_twice() -> None:
    names = given_names()
    assert all(set(item.forms) == set(SCRIPTS) for item in names)
    for script in SCRIPTS:
        assert len({item.forms[script] for item in names}) == len(names)


def test_more_stories_than_there_are_names_is_an_error_rather_than_a_wait_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    # Urdu writes e and i, and o and u, alike: 14 consonants x 3 vowels leave 42 syllables, so at most 42 * 42 * 3 = 5292 surnames.
    class Patient(Random):
        tries = 0

        def sample(self, population: Any, k: int, **more: Any) -> Any:
            self.tries += 1
            assert self.tries < 200_000, "the search for an unused name does not end"
            return super().sample(population, k, **more)

    monkeypatch.setattr("polyunlearn.corpus.newsroom.generator.Random", Patient)
    try:
        stories = generate_stories(6000, languages=("en",))
    except UserError as error:
        assert "6000" in str(error)
    else:
        assert len({story.editions["en"].keyword for story in stories}) == 6000


def test_numbers_are_multiples_of_ten_in_their_range() -> None:
    # One noun form after every number is what the languages with several (Russian, Armenian) rely on.
    kinds = yaml.safe_load(files("polyunlearn.corpus.newsroom").joinpath("kinds.yaml").read_text(encoding="utf-8"))
    assert set(kinds) == KINDS
    for (kind, entry), slot in product(kinds.items(), ("n1", "n2")):
        low, high, step = entry["numbers"][slot]
        assert low % 10 == high % 10 == step % 10 == 0 and 0 < low < high, (kind, slot)
        questions = {answer: number for number, (_, answer) in enumerate(TEXTS["en"]["kinds"][kind]["questions"])}
        said = [story.editions["ru"].questions[questions[f"{{{slot}}}"]].answer for story in TWO_HUNDRED if story.kind == kind]
        values = [int(re.sub(r"\D", "", answer)) for answer in said]
        assert all(low <= value <= high and value % 10 == 0 for value in values)
        assert len(set(values)) > 1
