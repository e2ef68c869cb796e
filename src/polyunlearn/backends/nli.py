"""Natural language inference by any sequence classifier of Hugging Face: how surely one text follows from another."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from polyunlearn.backends.cache import AnswerCache, model_identity
from polyunlearn.errors import UserError, first_line

BATCH = 32
LONGEST = 512
"""Tokens of a pair; longer ones are cut, the longer text first."""


class EntailmentModel:
    """A classifier of a folder or a Hugging Face name, whose configuration calls one label "entailment", in fp32.

    Probabilities are kept one by one in `cache`, a folder. Nothing is loaded while the cache answers.
    """

    def __init__(self, name: str, cache: Path) -> None:
        self._name = name
        self._cache = AnswerCache(cache)
        self._identity = model_identity(name)
        self._loaded: tuple[Any, Any, int] | None = None

    def entailment(self, pairs: Sequence[tuple[str, str]]) -> list[float]:
        """The probability, of each pair, that the second text follows from the first.

        Raises:
            UserError: where the model cannot be loaded, or its labels are not those of inference.
        """
        requests = [{"model": self._identity, "premise": premise, "hypothesis": hypothesis} for premise, hypothesis in pairs]
        found = [_number(self._cache.get(request)) for request in requests]
        missing = [place for place, value in enumerate(found) if value is None]
        # Texts of like length share a batch, so that little of it is padding.
        missing.sort(key=lambda place: sum(map(len, pairs[place])))
        for start in range(0, len(missing), BATCH):
            places = missing[start : start + BATCH]
            for place, value in zip(places, self._classify([pairs[place] for place in places]), strict=True):
                self._cache.put(requests[place], repr(value))
                found[place] = value
        return [value for value in found if value is not None]

    @torch.inference_mode()
    def _classify(self, pairs: list[tuple[str, str]]) -> list[float]:
        model, tokenizer, label = self._loaded = self._loaded or _load(self._name)
        first, second = [list(texts) for texts in zip(*pairs, strict=True)]
        inputs = tokenizer(first, second, return_tensors="pt", padding=True, truncation=True, max_length=LONGEST).to(model.device)
        probabilities: list[float] = model(**inputs).logits.float().softmax(1)[:, label].tolist()
        return probabilities


def entailment_label(labels: Mapping[int, str], name: str) -> int:
    """The class that stands for entailment, from the configuration's `id2label`; raises `UserError` where it is none or several."""
    found = [number for number, label in labels.items() if label.casefold().startswith("entail")]
    if len(found) != 1:
        raise UserError(
            f"{name}: one label must be called entailment, but they are {', '.join(labels.values())}; "
            "give a model of natural language inference, or mend id2label in its config.json"
        )
    return found[0]


def _number(text: str | None) -> float | None:
    try:
        return None if text is None else float(text)
    except ValueError:
        return None


def _load(name: str) -> tuple[Any, Any, int]:
    from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer

    try:
        label = entailment_label(AutoConfig.from_pretrained(name).id2label, name)
        model = AutoModelForSequenceClassification.from_pretrained(name, dtype=torch.float32, use_safetensors=True)
        tokenizer = AutoTokenizer.from_pretrained(name)
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise UserError(
            f"judge {name!r} could not be loaded: {first_line(error)}; give a folder or name of a model of natural language inference in safetensors"
        ) from error
    return model.to("cuda" if torch.cuda.is_available() else "cpu").eval(), tokenizer, label
