"""Metrics of one greedy answer. All work on Unicode text in any script; `polyunlearn.text.says` is one of them."""

import unicodedata
from functools import cache

import regex
from sacrebleu.metrics import CHRF

from polyunlearn.languages import Language
from polyunlearn.text import LETTERS, normalised


def chrf(answer: str, reference: str) -> float:
    """chrF of Popović (2015), 0 to 1, higher is nearer to the reference: character n-grams, so every script scores alike. Case counts, and how a letter is
    composed does not (NFC)."""
    hypothesis, wanted = (unicodedata.normalize("NFC", text) for text in (answer, reference))
    return float(_chrf().sentence_score(hypothesis, [wanted]).score) / 100


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
    own = regex.compile(LETTERS[language.script])
    return float(2 * sum(1 for letter in letters if own.match(letter)) <= len(letters))


@cache
def _chrf() -> CHRF:
    return CHRF()
