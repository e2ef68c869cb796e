"""The language table and what it says of prompts."""

import unicodedata

import pytest
import regex

from polyunlearn.errors import UserError
from polyunlearn.languages import LANGUAGES, PAPER_LANGUAGES, Language, get_language

# How Unicode calls the script of each ISO 15924 code in the table.
UNICODE_SCRIPTS = {
    "Latn": "Latin",
    "Cyrl": "Cyrillic",
    "Hans": "Han",
    "Arab": "Arabic",
    "Armn": "Armenian",
    "Deva": "Devanagari",
    "Jpan": "Han",
    "Hang": "Hangul",
    "Thai": "Thai",
    "Hebr": "Hebrew",
    "Beng": "Bengali",
}


@pytest.mark.parametrize("language", LANGUAGES.values(), ids=LANGUAGES)
def test_question_and_answer_words_are_in_the_languages_own_script(language: Language) -> None:
    own = UNICODE_SCRIPTS[language.script]
    for word in (language.question, language.answer):
        letters = regex.findall(r"\p{L}", word)
        assert letters
        assert [letter for letter in letters if not regex.match(rf"\p{{Script={own}}}", letter)] == []
        assert unicodedata.is_normalized("NFC", word)


@pytest.mark.parametrize("language", LANGUAGES.values(), ids=LANGUAGES)
def test_direction_agrees_with_the_bidirectional_class_of_the_letters(language: Language) -> None:
    # Unicode gives right-to-left letters the classes R (Hebrew) and AL (Arabic).
    right_to_left = unicodedata.bidirectional(language.question[0]) in ("R", "AL")
    assert language.direction == ("rtl" if right_to_left else "ltr")


def test_the_paper_has_one_english_four_high_and_four_low_resource_languages() -> None:
    classes = [get_language(tag).resource for tag in PAPER_LANGUAGES]
    assert {name: classes.count(name) for name in ("english", "high", "low")} == {"english": 1, "high": 4, "low": 4}
    assert len(set(PAPER_LANGUAGES)) == 9


def test_every_tag_leads_to_its_own_entry_and_no_two_languages_share_a_name() -> None:
    assert {tag: get_language(tag).tag for tag in LANGUAGES} == {tag: tag for tag in LANGUAGES}
    assert len({language.name for language in LANGUAGES.values()}) == len(LANGUAGES)


@pytest.mark.parametrize(
    ("tag", "prompt"),
    [
        ("en", "Question: Who?\nAnswer:"),
        ("de", "Frage: Wer?\nAntwort:"),
        ("fr", "Question\u00a0: Qui ?\nRéponse\u00a0:"),  # French sets a no-break space before a colon
        ("zh", "问题：谁？\n答案："),  # full-width colon, no space after it
        ("ja", "質問：誰？\n回答："),
        ("hy", "Հարց՝ Ո՞վ։\nՊատասխան՝"),  # the Armenian but (՝) stands where others write a colon
        ("ur", "سوال: کون؟\nجواب:"),
    ],
)
def test_prompt_follows_the_languages_punctuation(tag: str, prompt: str) -> None:
    first = prompt.split("\n")[0]
    language = get_language(tag)
    question = first[first.index("՝" if tag == "hy" else "：" if tag in ("zh", "ja") else ":") + 1 :].strip()
    assert language.prompt(question) == prompt


@pytest.mark.parametrize("language", LANGUAGES.values(), ids=LANGUAGES)
def test_an_answer_joins_the_prompt_without_a_doubled_or_missing_space(language: Language) -> None:
    prompt = language.prompt("X?")
    assert not prompt[-1].isspace()  # the joiner brings the space, so the answer's first token is the same in training and scoring
    assert language.joiner == ("" if language.tag in ("zh", "ja") else " ")
    assert prompt.count("\n") == 1
    assert prompt.split("\n")[0].endswith(language.joiner + "X?")


@pytest.mark.parametrize(("typed", "near"), [("german", "de"), ("Chinse", "zh"), ("Hausa", "ha"), ("eng", "en"), ("hyy", "hy")])
def test_an_unknown_language_names_the_nearest_tag_and_the_known_ones(typed: str, near: str) -> None:
    with pytest.raises(UserError) as caught:
        get_language(typed)
    message = str(caught.value)
    assert repr(typed) in message
    assert f"did you mean {near}" in message
    assert all(tag in message.split("known tags are ")[1].split(", ") for tag in LANGUAGES)


@pytest.mark.parametrize("typed", ["EN", "De"])
def test_a_tag_in_the_wrong_case_leads_to_the_tag(typed: str) -> None:
    with pytest.raises(UserError, match=f"did you mean {typed.lower()}"):
        get_language(typed)


def test_a_language_that_is_like_no_other_gets_no_guess() -> None:
    with pytest.raises(UserError) as caught:
        get_language("qqqq")
    assert "did you mean" not in str(caught.value)
