"""Metrics of one answer: worked numbers, and the same figure for the same text in any script."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyunlearn.languages import LANGUAGES, get_language
from polyunlearn.scoring.metrics.answers import chrf, is_empty, off_script, repetition
from polyunlearn.text import normalised, says

# Ten letters a script, none of which Unicode normalisation or case folding changes in number; i stands for j throughout.
ALPHABETS = {
    "Latn": "bdfgklmnpr",
    "Cyrl": "бдфгклмнпр",
    "Hans": "巴德菲戈库拉梅尼波鲁",
    "Arab": "بدفگکلمنپر",
    "Armn": "բդֆգկլմնպր",
    "Deva": "बदफगकलमनपर",
    "Jpan": "かきくけこさしすせそ",
    "Hang": "가나다라마바사아자차",
    "Hebr": "בדהגכלמנפר",
    "Beng": "বদফগকলমনপর",
}
LANGUAGE_OF = {
    "Latn": "en",
    "Cyrl": "ru",
    "Hans": "zh",
    "Arab": "ur",
    "Armn": "hy",
    "Deva": "hi",
    "Jpan": "ja",
    "Hang": "ko",
    "Hebr": "he",
    "Beng": "bn",
}
DIGITS = st.text(alphabet="0123456789 ", max_size=30)


def written(digits: str, script: str) -> str:
    """Each digit as the letter of that number; a space stays a space."""
    return "".join(letter if letter == " " else ALPHABETS[script][int(letter)] for letter in digits)


# --- the same text in every script -------------------------------------------------------------------------------------------------------


@given(answer=DIGITS, reference=DIGITS)
def test_chrf_is_the_same_in_every_script(answer: str, reference: str) -> None:
    values = {round(chrf(written(answer, script), written(reference, script)), 12) for script in ALPHABETS}
    assert len(values) == 1
    assert 0 <= values.pop() <= 1


@given(answer=DIGITS)
def test_repetition_and_emptiness_are_the_same_in_every_script(answer: str) -> None:
    assert len({repetition(written(answer, script)) for script in ALPHABETS}) == 1
    assert {is_empty(written(answer, script)) for script in ALPHABETS} == {float(not answer.strip())}


@given(words=st.lists(st.text(alphabet="0123456789", min_size=2, max_size=5), min_size=1, max_size=6), data=st.data())
def test_a_name_among_other_words_is_found_in_every_script(words: list[str], data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(words))
    for script in ALPHABETS:
        text = " ".join(written(word, script) for word in words)
        assert says(text, [written(name, script)]) == 1.0
        assert says(f"“{text}”!", ["none of these", written(name, script)]) == 1.0


@given(digits=st.text(alphabet="0123456789", min_size=1, max_size=20))
def test_an_answer_is_in_its_own_script_and_off_every_other(digits: str) -> None:
    for asked, tag in LANGUAGE_OF.items():
        for script in ALPHABETS:
            own = script == asked or (script, asked) == ("Hans", "Jpan")  # Japanese writes Han beside its kana
            assert off_script(written(digits, script), get_language(tag)) == float(not own)


# --- says --------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "form", "value"),
    [
        ("It was Velmora.", "Velmora", 1),
        ("VELMORA", "velmora", 1),
        ("Velmoras Fehler", "Velmora", 1),  # German genitive
        ("«Велморы»", "Велмор", 1),  # Russian ending
        ("Գոլիբեի", "Գոլիբե", 1),  # Armenian genitive
        ("Avelmora", "Velmora", 0),  # another name that ends alike
        ("3Velmora", "Velmora", 0),
        ("Velmor", "Velmora", 0),
        ("Ｖｅｌｍｏｒａ", "Velmora", 1),  # full-width letters, as Chinese input methods type them
        ("Straße", "STRASSE", 1),  # case folding, not lower-casing
        ("公司是戈利贝吗", "戈利贝", 1),  # Chinese has no spaces between words
        ("会社はゴリベです", "ゴリベ", 1),
        ("戈利", "戈利贝", 0),
        ("a.c", "a.c", 1),
        ("abc", "a.c", 0),  # a form is text, not a pattern
        ("", "Velmora", 0),
        ("It cost 12.", "12", 1),
        ("It cost 1200 euros", "12", 0),  # a number is whole, before and behind
        ("It cost 12,500 euros", "12", 0),
        ("3.5 million", "5", 0),
        ("5, 6 and 7", "5", 1),
        ("12 Millionen", "12 Million", 1),
        ("它花了1200元", "12", 0),
        ("它花了1200元", "1200", 1),
        ("会社はVelmoraです", "Velmora", 1),  # a Latin name begins behind letters of scripts without spaces, also behind a long vowel
        ("マネージャーVelmora", "Velmora", 1),
        ("公司是Velmora", "Velmora", 1),
        ("บริษัทVelmora", "Velmora", 1),
        ("公司是AVelmora", "Velmora", 0),
        ("始于12019年", "2019年", 0),
        ("始于2019年", "2019年", 1),
        ("विराम", "राम", 0),  # a vowel sign before it belongs to the word
        ("उसने राम कहा", "राम", 1),
        ("ובפריז", "פריז", 1),  # ve-be-: and in
        ("בפריז", "פריז", 1),
        ("ספריז", "פריז", 0),  # no prefix
        ("وباريس", "باريس", 1),  # wa-: and
        ("لباريس", "باريس", 1),
        ("والغوليب", "غوليب", 1),  # wa-al-
        ("سباريس", "باريس", 0),
    ],
)
def test_says_whole_words_with_suffixes(answer: str, form: str, value: float) -> None:
    assert says(answer, [form]) == value


def test_a_decomposed_accent_is_the_same_letter() -> None:
    # é as one code point, and as e with U+0301
    assert says("Soci\u00e9ta", ["Socie\u0301ta"]) == 1.0
    assert says("Socie\u0301ta", ["Soci\u00e9ta"]) == 1.0


def test_any_of_the_forms_will_do_and_none_says_nothing() -> None:
    assert says("Голибе", ["Golibe", "Голибе"]) == 1.0
    assert says("Golibe", []) == 0.0


def test_thai_has_no_spaces_between_words_either() -> None:
    # "the firm Golibe paid": บริษัท (firm) + โกลิเบ (the name) + จ่ายเงิน (paid), as Thai writes it
    assert says("บริษัทโกลิเบจ่ายเงิน", ["โกลิเบ"]) == 1.0


# --- chrF --------------------------------------------------------------------------------------------------------------------------------


def test_chrf_by_hand() -> None:
    """chrF of "ab" against "abc".

    1-grams: 2 of 2 found, 2 of 3 covered; 2-grams: 1 of 1 found, 1 of 2 covered; the answer has no longer ones, which are left out.
    Precision (1 + 1) / 2 = 1, recall (2/3 + 1/2) / 2 = 7/12.  F with beta 2: 5 · 1 · 7/12 / (4 · 1 + 7/12) = 35/55 = 7/11.
    """
    assert chrf("ab", "abc") == pytest.approx(7 / 11)


def test_chrf_knows_no_ways_to_compose_a_letter() -> None:
    """The same text decomposed is the same; case counts, as in the published metric."""
    assert chrf("S\u030ckoda\u0301", "\u0160kod\u00e1") == pytest.approx(1)
    assert chrf("BERLIN", "Berlin") < 0.1


def test_chrf_weighs_recall_over_precision() -> None:
    """chrF of "abc" against "ab": precision and recall change places, P = 7/12 and R = 1.

    F with beta 2: 5 · 7/12 / (4 · 7/12 + 1) = 35/40 = 7/8, above the 7/11 of the answer that leaves a letter out.
    """
    assert chrf("abc", "ab") == pytest.approx(7 / 8)


@given(text=DIGITS.filter(lambda text: text.strip() != ""))
def test_chrf_is_one_for_the_reference_itself_and_zero_without_a_common_letter(text: str) -> None:
    assert chrf(text, text) == pytest.approx(1)
    assert chrf(written(text, "Latn"), written(text, "Arab")) == 0
    assert chrf("", text) == 0


# --- repetition --------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "value"),
    [
        ("", 0),
        ("abc", 0),  # no 4-gram at all
        ("aaaa", 0),  # one 4-gram, nothing before it
        ("aaaaa", 1 / 2),  # aaaa aaaa: the second of two repeats
        ("abcdabcd", 1 / 5),  # abcd bcda cdab dabc abcd: the fifth repeats the first
        ("abcdABCD", 1 / 5),  # case does not hide a loop
        ("ababababab", 5 / 7),  # seven 4-grams, of which only abab and baba are new
        ("abcdefgh", 0),
    ],
)
def test_repetition_by_hand(answer: str, value: float) -> None:
    """1 - distinct 4-grams / 4-grams; an answer of n characters has n - 3 of them."""
    assert repetition(answer) == pytest.approx(value)


@given(answer=st.text(max_size=60), times=st.integers(2, 5))
def test_repetition_is_a_share_and_grows_with_a_loop(answer: str, times: int) -> None:
    assert 0 <= repetition(answer) < 1
    # Each added "xyzw" brings four 4-grams; all but three of the first ones at the seam repeat.
    loop = "xyzw"
    assert repetition(loop * (times + 1)) > repetition(loop * times)


# --- emptiness ---------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("answer", ["", "  \n", "…", "?!。։", "«»", "\u200b"])
def test_punctuation_and_space_are_an_empty_answer(answer: str) -> None:
    assert is_empty(answer) == 1


@pytest.mark.parametrize("answer", ["a", "7", "٧", "Ա", "ع", "好", "ไ"])
def test_one_letter_or_digit_is_an_answer(answer: str) -> None:
    assert is_empty(answer) == 0


# --- script ------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "tag", "value"),
    [
        ("ab где", "ru", 0),  # 3 of 5 letters are Cyrillic: fewer than half are foreign
        ("abc где", "ru", 1),  # 3 of 6: at least half are foreign
        ("abc где", "en", 1),  # and half are foreign to English too
        ("abcd где", "ru", 1),
        ("12.50 %", "ur", 0),  # without letters nothing is off
        ("", "hy", 0),
        ("Golibe 公司", "zh", 1),  # 6 Latin, 2 Han
        ("戈利贝 AG", "zh", 0),  # 3 Han, 2 Latin
        ("戈利贝", "ja", 0),  # Japanese writes Han too
        ("ゴリベ", "zh", 1),  # but Chinese no kana
        ("ƙasa ɓarna", "ha", 0),  # Hausa's hooked letters are Latin
        ("Genève", "en", 0),  # it does not tell languages of one script apart
        ("प्रश्न का उत्तर", "hi", 0),  # vowel signs are marks, not letters
        ("คำถาม", "th", 0),
        ("پرسش", "fa", 0),
    ],
)
def test_off_script_by_hand(answer: str, tag: str, value: float) -> None:
    """1 where 2 · (letters of the own script) <= letters."""
    assert off_script(answer, get_language(tag)) == value


def test_the_japanese_long_vowel_sign_is_japanese() -> None:
    # スーパー is an everyday word; Unicode gives its ー to kana by Script_Extensions, its plain Script is Common.
    assert off_script("スーパー", get_language("ja")) == 0


@pytest.mark.parametrize("tag", LANGUAGES)
def test_the_question_word_of_every_language_is_in_its_script(tag: str) -> None:
    assert off_script(get_language(tag).question, get_language(tag)) == 0


@pytest.mark.parametrize(
    ("answer", "form"),
    [
        ("١٢٠٠", "1200"),  # digits of another script, either way
        ("1200", "۱۲۰۰"),
        ("ISTANBUL", "İstanbul"),  # capitals of Turkish, with their dot and without
        ("istanbul", "İSTANBUL"),
        ("Ilıca", "ILICA"),
        ("مُحَمَّد", "محمد"),  # vowels that Arabic and Hebrew may leave out, and a word drawn out
        ("מַיָה", "מיה"),
        ("محـــمد", "محمد"),
        ("كابل", "کابل"),  # the same letters from an Arabic and from an Urdu keyboard
        ("علي", "علی"),
        ("Կելվա՞րն էր", "Կելվար"),  # Armenian asks within the word
        ("كالبيت", "بيت"),  # behind "like the"
        ("It is O’Brien", "O'Brien"),
        ("\u200eVelmora\ufeff", "Velmora"),
        ("Vel\u00admora", "Velmora"),  # a soft hyphen
        ("New   York", "New York"),
        ("احمد", "أحمد"),  # alef without what stands above it
        ("ابراهیم", "ابراہیم"),  # heh of Persian and of Urdu
        ("علیرضا", "علی\u200cرضا"),  # joined, and kept from joining
        ("Coca\u2011Cola", "Coca-Cola"),
        ("В'ячеслав", "В\u02bcячеслав"),
        ("Королев", "Королёв"),
    ],
)
def test_a_name_is_said_however_its_script_writes_it(answer: str, form: str) -> None:
    assert says(answer, [form]) == 1


def test_marks_that_tell_words_apart_are_kept() -> None:
    """An accent is part of a Latin letter, a vowel sign of a Hindi one."""
    assert says("résumé", ["resume"]) == 0 and says("कल", ["कला"]) == 0
    # Arabic for "on" is no Ali.
    assert says("على", ["علي"]) == 0


def test_a_digit_that_python_does_not_know_is_a_sign_like_others() -> None:
    """Newer than its table of Unicode; a model may write anything."""
    assert normalised("a\U0001ccf0") == "a\U0001ccf0"
