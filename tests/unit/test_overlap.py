"""ROUGE-L and token F1: worked numbers, every script alike, and what the usual implementation makes of most scripts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rouge_score import rouge_scorer
from test_answer_metrics import ALPHABETS, DIGITS, written

from polyunlearn.scoring.metrics.overlap import rouge_l, token_f1, words

SPACED = sorted(set(ALPHABETS) - {"Hans", "Jpan"})


def test_words_of_an_order() -> None:
    """Answer a b c d of four, reference b d a of three. In common are three words, 6 / 7; in their order b d, 4 / 7."""
    assert token_f1("a b c d", "B, d: A!") == pytest.approx(6 / 7)
    assert rouge_l("a b c d", "B, d: A!") == pytest.approx(4 / 7)


def test_a_word_counts_as_often_as_both_have_it() -> None:
    """x twice in the answer, once in the reference: one in common, of 2 and 1."""
    assert token_f1("x x", "x") == rouge_l("x x", "x") == pytest.approx(2 / 3)


def test_words_in_scripts_without_spaces_are_letters_with_their_marks() -> None:
    assert words("维尔莫拉 Velmora") == ["维", "尔", "莫", "拉", "velmora"]
    assert words("关于Velmora我不知道2019年") == ["关", "于", "velmora", "我", "不", "知", "道", "2019", "年"]
    assert words("ที่นี่") == ["ที่", "นี่"]
    assert words("दिल्ली") == ["दिल्ली"] and words("ｆｕｌｌ Straße") == ["full", "strasse"]


@pytest.mark.parametrize("metric", [token_f1, rouge_l])
def test_nothing_has_nothing_in_common(metric: object) -> None:
    assert callable(metric)
    assert metric("", "a") == metric("a", "…") == metric("", "") == 0


@given(DIGITS, DIGITS)
def test_every_script_scores_alike(answer: str, reference: str) -> None:
    """Words of the same letters in eight scripts; in Han and Kana each letter is a word, as if all were spaced."""
    for metric in (token_f1, rouge_l):
        latin = metric(written(answer, "Latn"), written(reference, "Latn"))
        assert {metric(written(answer, script), written(reference, script)) for script in SPACED} == {latin}
        spaced = metric(" ".join(written(answer, "Latn")), " ".join(written(reference, "Latn")))
        assert {metric(written(answer, script), written(reference, script)) for script in ("Hans", "Jpan")} == {spaced}


@given(st.text(max_size=20))
def test_a_text_is_all_of_itself(text: str) -> None:
    assert rouge_l(text, text) == token_f1(text, text) == (1.0 if words(text) else 0.0)


@pytest.mark.parametrize(
    ("language", "answer"),
    [
        ("Russian", "Музей называется Велмора"),
        ("Urdu", "عجائب گھر کا نام ویلمورا ہے"),
        ("Chinese", "博物馆名叫维尔莫拉"),
        ("Armenian", "Թանգարանը կոչվում է Վելմորա"),
    ],
)
def test_the_usual_rouge_is_blind_where_ours_sees(language: str, answer: str) -> None:
    """The right answer, word for word: 0 with Google's ROUGE-L in all four languages, 1 with ours. In English both say 1."""
    usual = rouge_scorer.RougeScorer(["rougeL"])
    assert usual.score(answer, answer)["rougeL"].fmeasure == 0 and rouge_l(answer, answer) == 1
    english = "The museum is called Velmora"
    assert usual.score(english, english)["rougeL"].fmeasure == rouge_l(english, english) == 1
