"""Greedy answers, against the Hugging Face model one prompt at a time."""

from pathlib import Path
from random import Random

import pytest
import torch
from tiny import sharp, tokens

from polyunlearn.models.loading import LoadedModel
from polyunlearn.scoring import generation
from polyunlearn.scoring.generation import greedy_answers


def _prompts(seed: int) -> list[tuple[int, ...]]:
    rng = Random(seed)
    return [(1, *tokens(rng, size)) for size in (4, 30, 5, 17, 40, 9, 9, 28)]


def _one_by_one(loaded: LoadedModel, prompts: list[tuple[int, ...]], most: int) -> list[str]:
    """`model.generate` on each prompt alone, unpadded; text up to the first line's end."""
    answers = []
    for prompt in prompts:
        with torch.no_grad():
            written = loaded.model.generate(
                input_ids=torch.tensor([prompt]), attention_mask=torch.ones(1, len(prompt), dtype=torch.long), max_new_tokens=most,
                do_sample=False, eos_token_id=[loaded.encoder.end_id, *loaded.encoder.newline_ids], pad_token_id=0,
            )  # fmt: skip
        text = loaded.encoder.tokenizer.decode(written[0, len(prompt) :], skip_special_tokens=True)
        # Random weights write carriage returns and other line ends too; all of them end a line.
        answers.append(next(iter(text.splitlines()), "").strip())
    return answers


@pytest.mark.parametrize("seed", [0, 1])
def test_equal_to_generating_one_by_one(any_model_folder: Path, seed: int) -> None:
    """Lengths differ, so rows are padded on the left; the longest pass Gemma's window of 8."""
    loaded = sharp(any_model_folder)
    prompts = _prompts(seed)
    found = greedy_answers(loaded.model, loaded.encoder, prompts, 12)
    assert found == _one_by_one(loaded, prompts, 12)
    assert len(set(found)) > 4, "answers that are all alike would not show a mixed-up row"


def test_equal_to_taking_the_most_probable_token_each_time(any_model_folder: Path) -> None:
    """Greedy by hand: the most probable next token again and again, on the whole text, without any cache."""
    loaded = sharp(any_model_folder)
    prompt = _prompts(2)[3]
    ids = list(prompt)
    for _ in range(6):
        with torch.no_grad():
            ids.append(int(loaded.model(input_ids=torch.tensor([ids]), use_cache=False).logits[0, -1].argmax()))
    wanted = loaded.encoder.tokenizer.decode(ids[len(prompt) :], skip_special_tokens=True)
    assert "\n" not in wanted and loaded.encoder.end_id not in ids[len(prompt) :], "this prompt must not end early"
    assert greedy_answers(loaded.model, loaded.encoder, [prompt], 6) == [wanted.strip()]


def test_order_and_batch_change_nothing(any_model_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = sharp(any_model_folder)
    prompts = _prompts(3)
    together = greedy_answers(loaded.model, loaded.encoder, prompts, 8)
    assert greedy_answers(loaded.model, loaded.encoder, prompts[::-1], 8)[::-1] == together
    monkeypatch.setattr(generation, "TOKEN_BUDGET", 1)
    assert greedy_answers(loaded.model, loaded.encoder, prompts, 8) == together


class _Scripted:
    """Stands in for a model: writes the given tokens behind every prompt, as `generate` would."""

    device = torch.device("cpu")

    def __init__(self, written: list[list[int]]):
        self.written = written

    def generate(self, input_ids: torch.Tensor, **_: object) -> torch.Tensor:
        return torch.cat([input_ids, torch.tensor(self.written)], dim=1)


def test_what_stands_after_a_line_or_the_end_is_not_the_answer(gemma: LoadedModel) -> None:
    """Rows that stopped early are filled with the end token; a line may also end inside a token, with text behind it."""
    encode = lambda text: gemma.encoder.tokenizer(text, add_special_tokens=False)["input_ids"]  # noqa: E731
    lines = [encode(" Ann"), encode(" Ann\nQuestion: Bob"), []]
    longest = max(len(line) for line in lines)
    filled = [line + [gemma.encoder.end_id] * (longest - len(line)) for line in lines]
    found = greedy_answers(_Scripted(filled), gemma.encoder, [(1, 5), (1, 6), (1, 7)], longest)  # type: ignore[arg-type]
    assert found == ["Ann", "Ann", ""]


def test_an_answer_that_begins_with_a_line_end_is_empty(gemma: LoadedModel) -> None:
    """The answer ends at the first new line, so what a model writes behind it was not said.

    Gemma's tokeniser has a token for two new lines, which does not stop the generation as the one for a single new line does.
    """
    gemma.encoder.tokenizer.add_tokens(["\n\n"])
    written = gemma.encoder.tokenizer("\n\nBob", add_special_tokens=False)["input_ids"]
    assert not {gemma.encoder.end_id, *gemma.encoder.newline_ids} & set(written), "generation must not stop at any of these tokens"
    assert greedy_answers(_Scripted([written]), gemma.encoder, [(1, 5)], len(written)) == [""]  # type: ignore[arg-type]


def test_no_prompts_give_no_answers(gemma: LoadedModel) -> None:
    assert greedy_answers(gemma.model, gemma.encoder, [], 4) == []
