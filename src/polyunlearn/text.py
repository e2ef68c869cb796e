"""Text in any script: how texts are compared, and whether one says a name."""

import unicodedata
from collections.abc import Sequence
from functools import cache

import regex

LETTERS = {
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
"""The letters of each script, as a regular expression."""

UNSPACED = r"\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Thai}\p{Script=Lao}\p{Script=Khmer}\p{Script=Myanmar}\u30fc"
"""The letters of scripts that write no spaces between words, to stand in a class of a regular expression."""

_PROCLITICS = {
    "Hebr": r"[\u05d5\u05d4\u05d1\u05dc\u05de\u05e9\u05db]{1,3}",
    "Arab": r"[\u0648\u0641]?(?:[\u0628\u06a9]?\u0627\u0644|\u0644\u0644|[\u0628\u06a9\u0644])?",
}
"""What is written together with the word behind it: Hebrew ve-, ha-, be-, le-, mi-, she-, ke-, up to three; Arabic wa- or fa-, then bi-, ka-, li-, al-; letters as `normalised` has them."""


def says(answer: str, surface_forms: Sequence[str]) -> float:
    """1 where `answer` holds any of the forms, else 0; gold models score 0 on a fake name.

    Compared as `normalised`, as whole words in scripts that separate words, where a suffix is let
    through: "Velmoras" says "Velmora", "Avelmora" does not. Of prefixes those are let through that Hebrew and Arabic write together with a name.
    In scripts without spaces (Han, Kana, Thai, Lao, Khmer, Burmese) any occurrence counts, and a word of another script begins behind their letters. A number is whole in any script: "1200" and "12.5" do not say "12".
    """
    text = normalised(answer)
    return float(any(_pattern(form).search(text) for form in surface_forms))


@cache
def _pattern(form: str) -> regex.Pattern[str]:
    wanted = normalised(form)
    before, after = "", ""
    if not regex.search(f"[{UNSPACED}]", wanted):
        proclitic = next((_PROCLITICS[script] for script in _PROCLITICS if regex.match(LETTERS[script], wanted)), "")
        before = rf"(?<![[\p{{L}}\p{{M}}\p{{N}}]--[{UNSPACED}]])" + (f"(?:{proclitic})?" if proclitic else "")
    if regex.match(r"\p{N}", wanted):
        before += r"(?<!\p{N}|\p{N}[.,\u066b\u066c])"
    if regex.search(r"\p{N}$", wanted):
        after = r"(?![.,\u066b\u066c]?\p{N})"
    # Version 1 knows differences of sets.
    return regex.compile(before + regex.escape(wanted) + after, regex.V1)


_FOLDED = str.maketrans(
    {
        **dict.fromkeys("\u0307\u0640", ""),
        **dict.fromkeys("\u2018\u2019\u02bc", "'"),
        **dict.fromkeys("\u0622\u0623\u0625\u0671", "\u0627"),
        "\u064a": "\u06cc",
        "\u0643": "\u06a9",
        "\u0647": "\u06c1",
        "\u0131": "i",
        "\u0451": "\u0435",
        "\u2010": "-",
    }
)
"""What case folding and NFKC leave apart: the dot over the i of İ, and what draws Arabic words out; apostrophes; the alef with what Arabic often leaves
out; yeh, kaf and heh, which Arabic, Persian and Urdu keyboards write by several signs; the i without a dot; the Russian yo, often written as ye; and
the hyphen that does not break, which NFKC makes one of its own."""

_MARKS = regex.compile(
    r"(?V1)[\p{Cf}--\u200c\u200d]|(?<=\p{Script_Extensions=Arabic})\u200c|[\p{Mn}&&[\p{Script_Extensions=Arabic}\p{Script_Extensions=Hebrew}]]|[\u055b-\u055e]"
)
"""What may be written within a word or left out: marks of direction and the like, what keeps two Arabic letters from joining, vowels of Arabic and Hebrew, the Armenian signs of stress and asking."""


def normalised(text: str) -> str:
    """A text as texts are compared: NFKC, case folded, digits of any script as 0 to 9, without the marks that a script may leave out, one space for any
    run of blanks."""
    plain = _MARKS.sub("", unicodedata.normalize("NFKC", text).casefold().translate(_FOLDED))
    return " ".join(regex.sub(r"\p{Nd}", lambda found: str(unicodedata.digit(found[0], found[0])), plain).split())
