"""Metrics of one greedy answer. All work on Unicode text in any script."""

import unicodedata
from collections.abc import Sequence
from functools import cache

import regex
from sacrebleu.metrics import CHRF

from polyunlearn.languages import Language

_LETTERS = {
    "Latn": r"\p{Script_Extensions=Latin}",
    "Cyrl": r"\p{Script_Extensions=Cyrillic}",
    "Hans": r"\p{Script_Extensions=Han}",
    "Arab": r"\p{Script_Extensions=Arabic}",
    "Armn": r"\p{Script_Extensions=Armenian}",
    "Deva": r"\p{Script_Extensions=Devanagari}",
    "Jpan": r"[\p{Script_Extensions=Han}\p{Script_Extensions=Hiragana}\p{Script_Extensions=Katakana}]",
    "Hang": r"\p{Script_Extensions=Hangul}",
    "Thai": r"\p{Script_Extensions=Thai}",
    "Hebr": r"\p{Script_Extensions=Hebrew}",
    "Beng": r"\p{Script_Extensions=Bengali}",
}


_UNSPACED = regex.compile(r"[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Thai}]")


def says(answer: str, surface_forms: Sequence[str]) -> float:
    """1 where `answer` holds any of the forms, else 0; gold models score 0 on a fake name.

    Compared after NFKC normalisation and case folding, as whole words in scripts that separate words, where a suffix is let
    through: "Velmoras" says "Velmora", "Avelmora" does not. In scripts without spaces (Han, Kana, Thai) any occurrence counts.
    """
    text = normalised(answer)
    for form in surface_forms:
        wanted = regex.escape(normalised(form))
        boundary = "" if _UNSPACED.search(form) else r"(?<![\p{L}\p{N}])"
        if regex.search(boundary + wanted, text):
            return 1.0
    return 0.0


def chrf(answer: str, reference: str) -> float:
    """chrF of Popović (2015), 0 to 1, higher is nearer to the reference: character n-grams, so every script scores alike."""
    return float(_chrf().sentence_score(answer, [reference]).score) / 100


def repetition(answer: str) -> float:
    """Share of the answer's character 4-grams that repeat an earlier one: 0 is none, near 1 is a loop."""
    text = normalised(answer)
    grams = [text[at : at + 4] for at in range(len(text) - 3)]
    return 1 - len(set(grams)) / len(grams) if grams else 0.0


def is_empty(answer: str) -> float:
    """1 where the answer has no letter and no digit, else 0."""
    return 0.0 if regex.search(r"[\p{L}\p{N}]", answer) else 1.0


def off_script(answer: str, language: Language) -> float:
    """1 where at least half of the answer's letters are not of the asked language's script, else 0 (so too without letters).

    It does not tell languages that share a script apart.
    """
    letters = regex.findall(r"\p{L}", answer)
    if not letters:
        return 0.0
    own = regex.compile(_LETTERS[language.script])
    return float(2 * sum(1 for letter in letters if own.match(letter)) <= len(letters))


def normalised(text: str) -> str:
    """A text as texts are compared: NFKC, case folded."""
    return unicodedata.normalize("NFKC", text).casefold()


@cache
def _chrf() -> CHRF:
    return CHRF()
