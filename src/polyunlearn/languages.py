"""The language table: what the rest of the system needs to know of a language.

`resource` is the class used in Lu & Koehn (arXiv 2406.13748): English, high-resource or low-resource. For languages outside
their nine it follows the amount of public web text.
"""

from dataclasses import dataclass
from difflib import get_close_matches
from typing import Literal

from polyunlearn.errors import UserError

Script = Literal["Latn", "Cyrl", "Hans", "Arab", "Armn", "Deva", "Jpan", "Hang", "Thai", "Hebr", "Beng"]


@dataclass(frozen=True)
class Language:
    """One language: BCP-47 tag, English name, script (ISO 15924), direction, family, resource class, question and answer words."""

    tag: str
    name: str
    script: Script
    family: str
    resource: Literal["english", "high", "low"]
    question: str
    answer: str

    @property
    def direction(self) -> Literal["ltr", "rtl"]:
        """The direction in which the script is written."""
        return "rtl" if self.script in ("Arab", "Hebr") else "ltr"

    @property
    def joiner(self) -> str:
        """What stands between two sentences, and between a prompt and its answer."""
        return "" if self.script in ("Hans", "Jpan") else " "

    def prompt(self, question: str) -> str:
        """The text that asks `question`; the answer follows it after `joiner`."""
        colon = _COLONS.get(self.tag, ":")
        return f"{self.question}{colon}{self.joiner}{question}\n{self.answer}{colon}"


_COLONS = {"fr": "\u00a0:", "hy": "՝", "ja": "：", "zh": "："}

_TABLE = [
    Language("en", "English", "Latn", "Germanic", "english", "Question", "Answer"),
    Language("de", "German", "Latn", "Germanic", "high", "Frage", "Antwort"),
    Language("fr", "French", "Latn", "Romance", "high", "Question", "Réponse"),
    Language("zh", "Chinese", "Hans", "Sinitic", "high", "问题", "答案"),
    Language("ru", "Russian", "Cyrl", "Slavic", "high", "Вопрос", "Ответ"),
    Language("jv", "Javanese", "Latn", "Austronesian", "low", "Pitakon", "Wangsulan"),
    Language("ur", "Urdu", "Arab", "Indo-Aryan", "low", "سوال", "جواب"),
    Language("ha", "Hausa", "Latn", "Chadic", "low", "Tambaya", "Amsa"),
    Language("hy", "Armenian", "Armn", "Armenian", "low", "Հարց", "Պատասխան"),
    Language("ar", "Arabic", "Arab", "Semitic", "high", "سؤال", "جواب"),
    Language("bn", "Bengali", "Beng", "Indo-Aryan", "low", "প্রশ্ন", "উত্তর"),
    Language("es", "Spanish", "Latn", "Romance", "high", "Pregunta", "Respuesta"),
    Language("fa", "Persian", "Arab", "Iranian", "high", "پرسش", "پاسخ"),
    Language("he", "Hebrew", "Hebr", "Semitic", "high", "שאלה", "תשובה"),
    Language("hi", "Hindi", "Deva", "Indo-Aryan", "high", "प्रश्न", "उत्तर"),
    Language("id", "Indonesian", "Latn", "Austronesian", "high", "Pertanyaan", "Jawaban"),
    Language("it", "Italian", "Latn", "Romance", "high", "Domanda", "Risposta"),
    Language("ja", "Japanese", "Jpan", "Japonic", "high", "質問", "回答"),
    Language("ko", "Korean", "Hang", "Koreanic", "high", "질문", "답변"),
    Language("nl", "Dutch", "Latn", "Germanic", "high", "Vraag", "Antwoord"),
    Language("pl", "Polish", "Latn", "Slavic", "high", "Pytanie", "Odpowiedź"),
    Language("pt", "Portuguese", "Latn", "Romance", "high", "Pergunta", "Resposta"),
    Language("sw", "Swahili", "Latn", "Bantu", "low", "Swali", "Jibu"),
    Language("th", "Thai", "Thai", "Tai", "high", "คำถาม", "คำตอบ"),
    Language("tr", "Turkish", "Latn", "Turkic", "high", "Soru", "Cevap"),
    Language("uk", "Ukrainian", "Cyrl", "Slavic", "high", "Питання", "Відповідь"),
    Language("vi", "Vietnamese", "Latn", "Austroasiatic", "high", "Câu hỏi", "Trả lời"),
]

LANGUAGES: dict[str, Language] = {language.tag: language for language in _TABLE}

PAPER_LANGUAGES = ("en", "de", "fr", "zh", "ru", "jv", "ur", "ha", "hy")
"""The nine languages of Lu & Koehn: English, four high-resource, four low-resource."""


def get_language(tag: str) -> Language:
    """Return the table's entry for a BCP-47 tag; raise `UserError` naming the nearest tags where there is none."""
    if tag in LANGUAGES:
        return LANGUAGES[tag]
    by_name = {language.name.lower(): language.tag for language in _TABLE}
    near = [by_name[name] for name in get_close_matches(tag.lower(), by_name, 1)] or get_close_matches(tag.lower(), LANGUAGES, 2)
    hint = f"did you mean {' or '.join(near)}? " if near else ""
    raise UserError(f"unknown language {tag!r}: {hint}known tags are {', '.join(LANGUAGES)}")
