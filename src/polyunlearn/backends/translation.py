"""Translators: what they are asked, and the one that asks a chat model (`backends/seq2seq.py` has the local model)."""

import json
from collections.abc import Sequence
from typing import Any, Protocol

from pydantic import BaseModel, ConfigDict

from polyunlearn.backends.chat import ChatClient
from polyunlearn.languages import get_language

AT_ONCE = 40
"""Texts in one request: enough for the whole of a claim, few enough to be answered in full."""

_PROMPT = """\
Translate every text of the JSON list below from {source} into {target}, as a careful native writer of {target} would say it.
Keep the meaning exactly, also where a text is untrue. Keep numbers in digits, keep ___ and the marks “ ” where they stand around the same
words, and write names as {target} usually writes them, the same way in every text.
Answer with one JSON object {{"translations": [...]}} that holds exactly {count} strings in the order of the list, and nothing else.

{texts}"""


class Translator(Protocol):
    """Translates between languages of the table."""

    def translate(self, texts: Sequence[str], source: str, target: str) -> list[str]:
        """The texts in the language `target`, in order; tags are BCP-47.

        Raises:
            UserError: for a language that it does not know, or where it cannot answer.
        """


class ChatTranslator:
    """Translates through a chat model, whose client caches. Texts that are asked together are translated with each other in sight."""

    def __init__(self, client: ChatClient) -> None:
        self._client = client

    def translate(self, texts: Sequence[str], source: str, target: str) -> list[str]:
        """As `Translator`; raises `UnusableAnswerError` where the model does not answer in the form that is wanted."""
        done: list[str] = []
        for start in range(0, len(texts), AT_ONCE):
            done += self._batch(texts[start : start + AT_ONCE], source, target)
        return done

    def _batch(self, texts: Sequence[str], source: str, target: str) -> list[str]:
        prompt = _PROMPT.format(
            source=get_language(source).name,
            target=get_language(target).name,
            count=len(texts),
            texts=json.dumps(list(texts), ensure_ascii=False, indent=0),
        )

        def parse(value: Any) -> list[str]:
            found = _Translations.model_validate(value).translations
            if len(found) != len(texts):
                raise ValueError(f"translations holds {len(found)} texts, not {len(texts)}")
            if not all(text.strip() for text in found):
                raise ValueError("a translation is empty")
            return [text.strip() for text in found]

        return self._client.ask(prompt, parse, temperature=0.0)


class _Translations(BaseModel):
    model_config = ConfigDict(strict=True)

    translations: list[str]
