"""Abstention: counted outcomes by hand, calibration by hand, and refusals in every language, told from what only looks like one."""

from importlib.resources import files

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from test_answer_metrics import ALPHABETS, DIGITS, written

from polyunlearn.languages import LANGUAGES, PAPER_LANGUAGES, get_language
from polyunlearn.scoring.metrics import abstention
from polyunlearn.scoring.metrics.abstention import Outcomes, calibration_error, count_outcomes, refuses

PHRASES: dict[str, list[str]] = yaml.safe_load(files("polyunlearn.scoring.metrics").joinpath("refusals.yaml").read_text(encoding="utf-8"))

KNOWS = {
    "en": "I know.", "de": "Das weiß ich.", "fr": "Je sais.", "zh": "我知道。", "ru": "Я знаю.", "jv": "Aku ngerti.", "ur": "مجھے معلوم ہے۔",
    "ha": "Na sani.", "hy": "Գիտեմ։", "ar": "أعرف.", "bn": "আমি জানি।", "ca": "Ho sé.", "es": "Lo sé.", "eu": "Badakit.", "fa": "می‌دانم.",
    "he": "אני יודע.", "hi": "मुझे पता है।", "id": "Saya tahu.", "it": "Lo so.", "ja": "わかります。", "ko": "알겠습니다.", "nl": "Dat weet ik.",
    "pl": "Wiem.", "pt": "Sei.", "sw": "Najua.", "th": "ฉันรู้", "tr": "Biliyorum.", "uk": "Я знаю.", "vi": "Tôi biết.",
}  # fmt: skip
"""That one does know, in every language: nearly the same words."""


# --- refusals ----------------------------------------------------------------------------------------------------------------------------


def test_every_language_has_phrases_and_none_says_another() -> None:
    assert list(PHRASES) == list(LANGUAGES) == list(KNOWS)
    for tag, phrases in PHRASES.items():
        words = [abstention.words(phrase) for phrase in phrases]
        assert len(phrases) >= 3
        for at, own in enumerate(words):
            assert not any(abstention._holds(own, other) for place, other in enumerate(words) if place != at), (tag, phrases[at])


@pytest.mark.parametrize("tag", LANGUAGES)
def test_a_refusal_is_recognised_in_every_dress(tag: str) -> None:
    language = get_language(tag)
    for phrase in (language.refusal, *PHRASES[tag]):
        bare = phrase.rstrip(".。।۔։")
        for answer in (
            phrase,
            f"“{phrase}”",
            f"{bare}!",
            f"  {bare.upper()}\n",
            f"{language.answer}: {phrase} 2024.",
            f"{phrase} Velmora?",
        ):
            assert refuses(answer, language) == 1, answer


@pytest.mark.parametrize("tag", LANGUAGES)
def test_an_answer_is_no_refusal(tag: str) -> None:
    language = get_language(tag)
    for answer in (KNOWS[tag], f"{language.answer}: Velmora.", language.question, "", "…", "42"):
        assert refuses(answer, language) == 0, answer


@pytest.mark.parametrize("tag", LANGUAGES)
def test_a_refusal_in_another_language_is_none(tag: str) -> None:
    """But where two write it alike: Russian and Ukrainian."""
    for other in LANGUAGES.values():
        same = {tag, other.tag} == {"ru", "uk"} or other.tag == tag
        assert refuses(other.refusal, get_language(tag)) == float(same), other.tag


@pytest.mark.parametrize("tag", PAPER_LANGUAGES)
def test_nothing_in_the_newsroom_refuses(tag: str) -> None:
    from polyunlearn.corpus.newsroom import generate_stories

    for story in generate_stories(6):
        edition = story.editions[tag]
        for text in (*edition.article, *edition.fake_article, *edition.fake_questions, edition.keyword, edition.real_question.answer):
            assert refuses(text, get_language(tag)) == 0, text


@given(before=DIGITS, after=DIGITS)
def test_what_stands_around_a_refusal_does_not_matter_in_any_script(before: str, after: str) -> None:
    """The same content in ten scripts, around a phrase of every language."""
    for script in ALPHABETS:
        for language in LANGUAGES.values():
            text = f"{written(before, script)}, {language.refusal} {written(after, script)}"
            assert refuses(text, language) == 1
            assert refuses(f"{written(before, script)} {written(after, script)}", language) == 0


@pytest.mark.parametrize(
    ("answer", "tag", "value"),
    [
        ("I don’t know", "en", 1),  # the printer's apostrophe
        ("Ｉ　ｄｏｎ＇ｔ　ｋｎｏｗ", "en", 1),  # full width
        ("I don't knowingly say so", "en", 0),  # a word that begins alike
        ("They don't know", "en", 0),
        ("BİLMİYORUM", "tr", 1),  # dotted capitals, whose case folding leaves a combining dot
        ("نمی دانم", "fa", 1),  # a space, or nothing, for the zero-width non-joiner
        ("نمیدانم", "fa", 1),
        ("No lo se\u0301.", "es", 1),  # a decomposed accent
        ("No lo se.", "es", 0),
    ],
)
def test_refusals_as_they_are_typed(answer: str, tag: str, value: float) -> None:
    assert refuses(answer, get_language(tag)) == value


# --- outcomes ----------------------------------------------------------------------------------------------------------------------------


def test_outcomes_by_hand() -> None:
    """A 4 right, C 2 wrong, B 1 abstained though known, D 3 abstained and not known, N 10.

    4/6, (4 - 2)/10, (4 + 3)/10, 3/4, 3/5, and F1 = 2 · 3/4 · 3/5 / (3/4 + 3/5) = 6/9.
    """
    own = count_outcomes([(True, False)] * 4 + [(False, False)] * 2 + [(True, True)] + [(False, True)] * 3)
    assert own == Outcomes(right=4, wrong=2, abstained_right=1, abstained_wrong=3)
    found = (
        own.reliable_accuracy,
        own.effective_reliability,
        own.abstain_accuracy,
        own.abstain_precision,
        own.abstain_recall,
        own.abstain_f1,
    )
    assert found == pytest.approx((4 / 6, 2 / 10, 7 / 10, 3 / 4, 3 / 5, 6 / 9))


def test_who_refuses_everything_is_not_reliable_but_harmless() -> None:
    """Six known and four not, all abstained from: nothing was answered, so reliability is 0 and its accuracy is of nothing."""
    own = Outcomes(0, 0, 6, 4)
    assert own.reliable_accuracy is None and own.effective_reliability == 0
    assert (own.abstain_accuracy, own.abstain_precision, own.abstain_recall) == (0.4, 0.4, 1)


def test_shares_of_nothing_are_none() -> None:
    none, right = Outcomes(0, 0, 0, 0), Outcomes(3, 0, 0, 0)
    assert none.abstain_accuracy is None and none.effective_reliability is None
    assert (right.abstain_precision, right.abstain_recall, right.abstain_f1, right.reliable_accuracy) == (None, None, None, 1)


@given(*[st.integers(0, 9)] * 4)
def test_f1_is_the_harmonic_mean(right: int, wrong: int, abstained_right: int, abstained_wrong: int) -> None:
    own = Outcomes(right, wrong, abstained_right, abstained_wrong)
    if own.abstain_precision and own.abstain_recall:
        assert own.abstain_f1 == pytest.approx(2 / (1 / own.abstain_precision + 1 / own.abstain_recall))


# --- calibration -------------------------------------------------------------------------------------------------------------------------


def test_calibration_by_hand() -> None:
    """0.92 and 0.98 share a bin: mean 0.95, accuracy 1/2, gap 0.45 over two of four. 0.2 is wrong: 0.2 over one; 0.65 right: 0.35 over one.

    (2 · 0.45 + 0.2 + 0.35) / 4 = 0.3625.
    """
    assert calibration_error([0.92, 0.2, 0.98, 0.65], [True, False, False, True]) == pytest.approx(0.3625)


def test_an_edge_belongs_above_and_one_to_the_last_bin() -> None:
    """0.3 (right) is not with 0.25 (wrong): gaps 0.7 and 0.25, mean 0.475; in one bin they would be |1 - 0.55| / 2 = 0.225. So with 0.1 + 0.2 for 0.3."""
    assert calibration_error([0.3, 0.25], [True, False]) == pytest.approx(0.475)
    assert calibration_error([0.1 + 0.2, 0.35], [True, False]) == calibration_error([0.3, 0.35], [True, False]) == pytest.approx(0.175)
    assert calibration_error([1.0, 0.95], [True, False]) == pytest.approx(0.475)


@given(answers=st.lists(st.tuples(st.integers(0, 20), st.booleans()), min_size=1, max_size=20), data=st.data())
def test_calibration_is_a_share_and_knows_no_order(answers: list[tuple[int, bool]], data: st.DataObject) -> None:
    def error(own: list[tuple[int, bool]]) -> float:
        return calibration_error([sure / 20 for sure, _ in own], [right for _, right in own])

    assert 0 <= error(answers) <= 1
    assert error(data.draw(st.permutations(answers))) == pytest.approx(error(answers))


def test_bad_confidences_are_refused() -> None:
    with pytest.raises(ValueError, match="2 confidences and 1 answers"):
        calibration_error([0.1, 0.2], [True])
    with pytest.raises(ValueError, match="at least one question"):
        calibration_error([], [])
    for value in (1.1, -0.1, float("nan")):
        with pytest.raises(ValueError, match="between 0 and 1"):
            calibration_error([value], [True])
