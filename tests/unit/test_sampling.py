"""Sampled answers: which token a number stands for, against writing one by one without a cache, and what may not change them."""

from collections import Counter
from pathlib import Path
from random import Random

import pytest
import torch
from tiny import sharp, tokens

from polyunlearn.models.loading import LoadedModel
from polyunlearn.scoring import generation
from polyunlearn.scoring.generation import drawn_tokens, greedy_answers, read_prompts, sampled_answers

LENGTHS = (4, 30, 5, 17, 40, 9)


def _prompts(seed: int) -> list[tuple[int, ...]]:
    rng = Random(seed)
    return [(1, *tokens(rng, size)) for size in LENGTHS]


def _sampled(
    loaded: LoadedModel, prompts: list[tuple[int, ...]], samples: int, temperature: float, generator: torch.Generator
) -> list[list[str]]:
    read = read_prompts(loaded.body, prompts)
    return sampled_answers(loaded.model, loaded.head, loaded.encoder, read, 8, samples, temperature, generator)


def _seeded(seed: int = 5) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_numbers_and_their_tokens() -> None:
    """Probabilities 0.2, 0.5, 0, 0.3, so the bounds are 0.2, 0.7, 0.7, 1; the third token, of probability 0, is never drawn."""
    logits = torch.tensor([0.2, 0.5, 0.0, 0.3]).log().expand(6, 4)
    uniform = torch.tensor([0.0, 0.19, 0.21, 0.69, 0.71, 1 - 1e-16], dtype=torch.float64)
    assert drawn_tokens(logits, 1.0, uniform).tolist() == [0, 0, 1, 1, 3, 3]


def test_each_token_of_a_large_vocabulary() -> None:
    """2,500 tokens are two blocks and a part of a third: a number amid each token's share of the sum, taken over all at once, stands for it."""
    logits = torch.randn(2500, generator=_seeded(), dtype=torch.float64)
    shares = torch.softmax(logits, 0)
    assert drawn_tokens(logits.expand(2500, -1), 1.0, shares.cumsum(0) - shares / 2).tolist() == list(range(2500))


def test_temperature_sharpens() -> None:
    """Weights 1 and 3: at temperature 1 the first has a quarter; at a half, 1 of 1 + 9; at two, 1 of 1 + √3 = 0.366."""
    logits = torch.tensor([1.0, 3.0]).log().expand(2, 2)
    for temperature, bound in ((1.0, 0.25), (0.5, 0.1), (2.0, 0.36603)):
        uniform = torch.tensor([bound - 1e-4, bound + 1e-4])
        assert drawn_tokens(logits, temperature, uniform).tolist() == [0, 1]


@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_equal_to_writing_one_by_one(any_model_folder: Path, temperature: float) -> None:
    """By hand: for every prompt and sample in turn its own eight numbers; the whole text anew for each token, no cache, no padding; the first token whose
    cumulative probability exceeds the number, until the end or a new line."""
    loaded, prompts, generator = sharp(any_model_folder), _prompts(0), _seeded()
    wanted = []
    for prompt in prompts:
        numbers = torch.rand(3, 8, generator=generator, dtype=torch.float64)
        for own in numbers:
            ids = list(prompt)
            for number in own.tolist():
                with torch.no_grad():
                    logits = loaded.model(input_ids=torch.tensor([ids]), use_cache=False).logits[0, -1].double()
                cumulative = torch.softmax(logits / temperature, 0).cumsum(0)
                ids.append(int((cumulative > number).nonzero()[0]))
                if ids[-1] in (loaded.encoder.end_id, *loaded.encoder.newline_ids):
                    break
            text = loaded.encoder.tokenizer.decode(ids[len(prompt) :], skip_special_tokens=True)
            wanted.append(next(iter(text.splitlines()), "").strip())
    found = _sampled(loaded, prompts, 3, temperature, _seeded())
    assert [len(own) for own in found] == [3] * len(prompts)
    assert [answer for own in found for answer in own] == wanted
    assert len(set(wanted)) > 9, "answers that are all alike would not show a mixed-up row"


def test_batches_and_parts_change_nothing(any_model_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each alone in its batch, two at a time before the vocabulary, or the prompts in two calls on one generator: the same texts."""
    loaded, prompts = sharp(any_model_folder), _prompts(1)
    together = _sampled(loaded, prompts, 4, 1.0, _seeded())
    generator = _seeded()
    assert _sampled(loaded, prompts[:2], 4, 1.0, generator) + _sampled(loaded, prompts[2:], 4, 1.0, generator) == together
    monkeypatch.setattr(generation, "SAMPLED_AT_ONCE", 2)
    assert _sampled(loaded, prompts, 4, 1.0, _seeded()) == together
    monkeypatch.setattr(generation, "ANSWER_BUDGET", 1)
    assert _sampled(loaded, prompts, 4, 1.0, _seeded()) == together
    assert _sampled(loaded, prompts, 4, 1.0, _seeded(6)) != together


def test_near_temperature_zero_it_is_greedy(any_model_folder: Path) -> None:
    loaded, prompts = sharp(any_model_folder), _prompts(2)
    greedy = greedy_answers(loaded.model, loaded.head, loaded.encoder, read_prompts(loaded.body, prompts), 8)
    assert _sampled(loaded, prompts, 2, 1e-4, _seeded()) == [[answer] * 2 for answer in greedy]


def test_as_often_as_probable() -> None:
    """Of 20,000 numbers, each of three tokens gets its share within four standard deviations (0.0035 at most, each)."""
    logits = torch.tensor([0.1, 0.3, 0.6]).log().expand(20_000, 3)
    counts = Counter(drawn_tokens(logits, 1.0, torch.rand(20_000, generator=_seeded(0), dtype=torch.float64)).tolist())
    assert all(abs(counts[token] / 20_000 - share) < 0.014 for token, share in enumerate((0.1, 0.3, 0.6)))


def test_no_prompts_give_no_answers(gemma: LoadedModel) -> None:
    assert _sampled(gemma, [], 3, 1.0, _seeded()) == []


def test_temperature_must_be_positive(gemma: LoadedModel) -> None:
    with pytest.raises(ValueError, match=r"above 0, not 0\.0"):
        _sampled(gemma, _prompts(0), 1, 0.0, _seeded())
