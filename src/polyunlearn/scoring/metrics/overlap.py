"""How many words of a reference an answer has, in any script: ROUGE-L and token F1."""

from collections import Counter
from collections.abc import Sequence

import regex

from polyunlearn.text import UNSPACED, normalised

_WORDS = regex.compile(rf"(?V1)[{UNSPACED}]\p{{M}}*|[[\p{{L}}\p{{N}}]--[{UNSPACED}]][[\p{{L}}\p{{N}}\p{{M}}]--[{UNSPACED}]]*")
"""A letter with its marks in scripts that write no spaces, else letters, digits and marks up to the next of anything else, such a letter included."""


def words(text: str) -> list[str]:
    """The words of a text after NFKC normalisation and case folding; in scripts that write no spaces every letter, with its marks, is one."""
    return _WORDS.findall(normalised(text))


def token_f1(answer: str, reference: str) -> float:
    """F1 of the words that answer and reference have in common, with their numbers, 0 to 1; higher is nearer to the reference.

    As in SQuAD (arXiv 1606.05250), but for articles, which are English, and with words of any script. 0 where either has no word.
    """
    own, wanted = words(answer), words(reference)
    return _f1(sum((Counter(own) & Counter(wanted)).values()), len(own), len(wanted))


def rouge_l(answer: str, reference: str) -> float:
    """ROUGE-L of Lin (2004), F1 of the longest common subsequence of words, 0 to 1; higher is nearer to the reference.

    The usual implementation keeps a to z and 0 to 9 alone, so that most of the world's scripts score 0; this one has words of any script, unstemmed.
    """
    own, wanted = words(answer), words(reference)
    return _f1(_common_subsequence(own, wanted), len(own), len(wanted))


def _f1(common: int, own: int, wanted: int) -> float:
    return 2 * common / (own + wanted) if own and wanted else 0.0


def _common_subsequence(one: Sequence[str], other: Sequence[str]) -> int:
    """The length of the longest common subsequence."""
    lengths = [0] * (len(other) + 1)
    for word in one:
        before = 0
        for at, wanted in enumerate(other, start=1):
            above = lengths[at]
            lengths[at] = before + 1 if word == wanted else max(above, lengths[at - 1])
            before = above
    return lengths[-1]
