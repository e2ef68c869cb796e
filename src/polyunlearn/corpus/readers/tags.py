"""The names that data sets give to languages, as tags of the language table."""

import re
from functools import cache

from babel import Locale, UnknownLocaleError

from polyunlearn.languages import LANGUAGES

_NAME = re.compile(r"[A-Za-z]{2,3}([-_][A-Za-z0-9]{2,8})*")


def is_language(name: str) -> bool:
    """Whether `name` looks like a language that is known somewhere, be it in the table or not ("ml", "eng_Latn", "zh-CN")."""
    return _locale(name) is not None


def is_language_folder(name: str) -> bool:
    """Whether a folder of this name holds a language's files. Some folders are called like languages that the table lacks ("src" is Logudorese
    Sardinian), so that of these only the codes of two letters count."""
    return known_tag(name) is not None or (is_language(name) and len(re.split("[-_]", name)[0]) == 2)


def known_tag(name: str) -> str | None:
    """The table's tag for a language as a data set names it ("Fr", "zh-CN", "iw", the "arb_Arab" of FLORES-200), or None where the table lacks it or
    has it in another script. Other names of a language are those of Unicode CLDR, by babel."""
    locale = _locale(name)
    if locale is None or locale.language not in LANGUAGES:
        return None
    script = next((part.title() for part in re.split("[-_]", name)[1:] if len(part) == 4 and part.isalpha()), locale.script)
    return locale.language if script in (None, LANGUAGES[locale.language].script) else None


@cache
def _locale(name: str) -> Locale | None:
    if not _NAME.fullmatch(name):
        return None
    try:
        return Locale.parse(name.replace("-", "_"))
    except (UnknownLocaleError, ValueError):
        return None
