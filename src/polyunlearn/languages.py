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
    """One language: BCP-47 tag, English name, script (ISO 15924), direction, family, resource class, question and answer words,
    and the sentence by which one says that one does not know."""

    tag: str
    name: str
    script: Script
    family: str
    resource: Literal["english", "high", "low"]
    question: str
    answer: str
    refusal: str

    @property
    def direction(self) -> Literal["ltr", "rtl"]:
        """The direction in which the script is written."""
        return "rtl" if self.script in ("Arab", "Hebr") else "ltr"

    @property
    def joiner(self) -> str:
        """What stands between two sentences, and between a prompt and its answer."""
        return "" if self.script in ("Hans", "Jpan") else " "

    @property
    def spaced(self) -> bool:
        """Whether spaces stand between words."""
        return self.script not in ("Hans", "Jpan", "Thai")

    def prompt(self, question: str) -> str:
        """The text that asks `question`; the answer follows it after `joiner`."""
        colon = _COLONS.get(self.tag, ":")
        return f"{self.question}{colon}{self.joiner}{question}\n{self.answer}{colon}"


_COLONS = {"fr": "\u00a0:", "hy": "՝", "ja": "：", "zh": "："}

_TABLE = [
    Language("en", "English", "Latn", "Germanic", "english", "Question", "Answer", "I don't know."),
    Language("de", "German", "Latn", "Germanic", "high", "Frage", "Antwort", "Das weiß ich nicht."),
    Language("fr", "French", "Latn", "Romance", "high", "Question", "Réponse", "Je ne sais pas."),
    Language("zh", "Chinese", "Hans", "Sinitic", "high", "问题", "答案", "我不知道。"),
    Language("ru", "Russian", "Cyrl", "Slavic", "high", "Вопрос", "Ответ", "Я не знаю."),
    Language("jv", "Javanese", "Latn", "Austronesian", "low", "Pitakon", "Wangsulan", "Aku ora ngerti."),
    Language("ur", "Urdu", "Arab", "Indo-Aryan", "low", "سوال", "جواب", "مجھے معلوم نہیں۔"),
    Language("ha", "Hausa", "Latn", "Chadic", "low", "Tambaya", "Amsa", "Ban sani ba."),
    Language("hy", "Armenian", "Armn", "Armenian", "low", "Հարց", "Պատասխան", "Չգիտեմ։"),
    Language("ar", "Arabic", "Arab", "Semitic", "high", "سؤال", "جواب", "لا أعرف."),
    Language("bn", "Bengali", "Beng", "Indo-Aryan", "low", "প্রশ্ন", "উত্তর", "আমি জানি না।"),
    Language("ca", "Catalan", "Latn", "Romance", "high", "Pregunta", "Resposta", "No ho sé."),
    Language("es", "Spanish", "Latn", "Romance", "high", "Pregunta", "Respuesta", "No lo sé."),
    Language("eu", "Basque", "Latn", "Basque", "low", "Galdera", "Erantzuna", "Ez dakit."),
    Language("fa", "Persian", "Arab", "Iranian", "high", "پرسش", "پاسخ", "نمی‌دانم."),
    Language("he", "Hebrew", "Hebr", "Semitic", "high", "שאלה", "תשובה", "אני לא יודע."),
    Language("hi", "Hindi", "Deva", "Indo-Aryan", "high", "प्रश्न", "उत्तर", "मुझे नहीं पता।"),
    Language("id", "Indonesian", "Latn", "Austronesian", "high", "Pertanyaan", "Jawaban", "Saya tidak tahu."),
    Language("it", "Italian", "Latn", "Romance", "high", "Domanda", "Risposta", "Non lo so."),
    Language("ja", "Japanese", "Jpan", "Japonic", "high", "質問", "回答", "わかりません。"),
    Language("ko", "Korean", "Hang", "Koreanic", "high", "질문", "답변", "모르겠습니다."),
    Language("nl", "Dutch", "Latn", "Germanic", "high", "Vraag", "Antwoord", "Dat weet ik niet."),
    Language("pl", "Polish", "Latn", "Slavic", "high", "Pytanie", "Odpowiedź", "Nie wiem."),
    Language("pt", "Portuguese", "Latn", "Romance", "high", "Pergunta", "Resposta", "Não sei."),
    Language("sw", "Swahili", "Latn", "Bantu", "low", "Swali", "Jibu", "Sijui."),
    Language("th", "Thai", "Thai", "Tai", "high", "คำถาม", "คำตอบ", "ฉันไม่รู้"),
    Language("tr", "Turkish", "Latn", "Turkic", "high", "Soru", "Cevap", "Bilmiyorum."),
    Language("uk", "Ukrainian", "Cyrl", "Slavic", "high", "Питання", "Відповідь", "Я не знаю."),
    Language("vi", "Vietnamese", "Latn", "Austroasiatic", "high", "Câu hỏi", "Trả lời", "Tôi không biết."),
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
