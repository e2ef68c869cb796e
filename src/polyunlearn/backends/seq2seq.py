"""A local translator: any NLLB-style encoder-decoder of Hugging Face, whose first output token is the target language's."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from polyunlearn.backends.cache import AnswerCache, model_identity
from polyunlearn.errors import UserError, first_line
from polyunlearn.languages import get_language

BATCH = 16
BEAMS = 4

CODES = {
    "en": "eng", "de": "deu", "fr": "fra", "zh": "zho", "ru": "rus", "jv": "jav", "ur": "urd", "ha": "hau", "hy": "hye", "ar": "arb",
    "bn": "ben", "ca": "cat", "es": "spa", "eu": "eus", "fa": "pes", "he": "heb", "hi": "hin", "id": "ind", "it": "ita", "ja": "jpn",
    "ko": "kor", "nl": "nld", "pl": "pol", "pt": "por", "sw": "swh", "th": "tha", "tr": "tur", "uk": "ukr", "vi": "vie",
}  # fmt: skip
"""The three letters that FLORES-200 and NLLB (arXiv 2207.04672) know a tag's language by; the script follows them."""


class Seq2SeqTranslator:
    """Translates with a model of a folder or a Hugging Face name, in fp32 on a CPU and bf16 on a GPU, by beam search; texts are cached one by one.

    The tokeniser must know languages as NLLB writes them ("deu_Latn"). Nothing is loaded while the cache answers.
    """

    def __init__(self, name: str, cache: Path) -> None:
        self._name = name
        self._cache = AnswerCache(cache)
        self._identity = model_identity(name)
        self._loaded: tuple[Any, Any] | None = None

    def translate(self, texts: Sequence[str], source: str, target: str) -> list[str]:
        """As `translation.Translator`.

        Raises:
            UserError: where the model cannot be loaded or does not know a language.
        """
        # The two precisions do not always give the same text.
        about = {"model": self._identity, "precision": str(_dtype()), "source": source, "target": target, "beams": BEAMS}
        requests = [{**about, "text": text} for text in texts]
        found = [self._cache.get(request) for request in requests]
        missing = [place for place, text in enumerate(found) if text is None]
        # Texts of like length share a batch, so that little of it is padding.
        missing.sort(key=lambda place: len(texts[place]))
        for start in range(0, len(missing), BATCH):
            places = missing[start : start + BATCH]
            for place, text in zip(places, self._generate([texts[place] for place in places], source, target), strict=True):
                self._cache.put(requests[place], text)
                found[place] = text
        return [text for text in found if text is not None]

    @torch.inference_mode()
    def _generate(self, texts: list[str], source: str, target: str) -> list[str]:
        model, tokenizer = self._loaded = self._loaded or _load(self._name)
        tokenizer.src_lang = self._code(tokenizer, source)
        first = tokenizer.convert_tokens_to_ids(self._code(tokenizer, target))
        inputs = tokenizer(texts, return_tensors="pt", padding=True).to(model.device)
        longest = 2 * inputs["input_ids"].shape[1] + 16
        # max_length would else come from the model's own configuration, and be warned of.
        output = model.generate(
            **inputs, forced_bos_token_id=first, num_beams=BEAMS, do_sample=False, max_new_tokens=longest, max_length=None
        )
        return [text.strip() for text in tokenizer.batch_decode(output, skip_special_tokens=True)]

    def _code(self, tokenizer: Any, tag: str) -> str:
        """The token of a language."""
        language = get_language(tag)
        code = f"{CODES[tag]}_{language.script}"
        if code in tokenizer.get_vocab():
            return code
        raise UserError(f"{self._name}: the translator does not know {language.name} ({tag}); leave it out, or use another model")


def _dtype() -> torch.dtype:
    return torch.bfloat16 if torch.cuda.is_available() else torch.float32


def _load(name: str) -> tuple[Any, Any]:
    from safetensors import SafetensorError
    from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

    try:
        model = AutoModelForSeq2SeqLM.from_pretrained(name, dtype=_dtype(), use_safetensors=True)
        tokenizer = AutoTokenizer.from_pretrained(name)
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise UserError(
            f"translator {name!r} could not be loaded: {first_line(error)}; give a folder or name of an NLLB model in safetensors"
        ) from error
    return model.to("cuda" if torch.cuda.is_available() else "cpu").eval(), tokenizer
