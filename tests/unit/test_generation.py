"""Greedy answers, against the Hugging Face model one prompt at a time."""

from pathlib import Path
from random import Random
from types import SimpleNamespace

import pytest
import torch
from tiny import sharp, tokens
from transformers import GemmaConfig

from polyunlearn.models.forward import OutputHead
from polyunlearn.models.loading import LoadedModel
from polyunlearn.models.sequences import Encoder
from polyunlearn.scoring import generation
from polyunlearn.scoring.generation import PromptStates, greedy_answers, read_prompts
from polyunlearn.scoring.ranking import RankedQuestion, candidate_log_probs, question_trees, rank_and_read


def _prompts(seed: int) -> list[tuple[int, ...]]:
    rng = Random(seed)
    return [(1, *tokens(rng, size)) for size in (4, 30, 5, 17, 40, 9, 9, 28)]


def _answers_to(loaded: LoadedModel, prompts: list[tuple[int, ...]], most: int) -> list[str]:
    return greedy_answers(loaded.model, loaded.head, loaded.encoder, read_prompts(loaded.body, prompts), most)


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


@pytest.mark.parametrize("frozen_layers", [0, 2])
@pytest.mark.parametrize("seed", [0, 1])
def test_equal_to_generating_one_by_one(any_model_folder: Path, seed: int, frozen_layers: int) -> None:
    """Lengths differ, so rows are padded on the left; the longest pass Gemma's window of 8. Frozen layers run apart from the others."""
    loaded = sharp(any_model_folder, frozen_layers)
    prompts = _prompts(seed)
    found = _answers_to(loaded, prompts, 12)
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
    assert _answers_to(loaded, [prompt], 6) == [wanted.strip()]


def test_order_and_batch_change_nothing(any_model_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = sharp(any_model_folder)
    prompts = _prompts(3)
    together = _answers_to(loaded, prompts, 8)
    assert _answers_to(loaded, prompts[::-1], 8)[::-1] == together
    monkeypatch.setattr(generation, "ANSWER_BUDGET", 1)
    assert _answers_to(loaded, prompts, 8) == together


@pytest.mark.parametrize("frozen_layers", [0, 2])
def test_prompts_that_were_ranked_are_answered_alike(any_model_folder: Path, frozen_layers: int) -> None:
    """Behind a ranked prompt stand its candidates; an answer must not see them, whether or not the prompt's states were kept."""
    loaded = sharp(any_model_folder, frozen_layers)
    rng = Random(4)
    questions = [RankedQuestion(prompt, tuple(tokens(rng, size) for size in (1, 3, 6))) for prompt in _prompts(4)]
    wanted = _one_by_one(loaded, [question.prompt for question in questions], 10)
    trees = question_trees(questions, read=True)
    for kept in ([], trees[:1], trees):
        loaded.body.keep([tree.row for tree in kept])
        ranked = [own for _, own in sorted(rank_and_read(loaded.body, loaded.head, trees).items())]
        assert greedy_answers(loaded.model, loaded.head, loaded.encoder, [prompt for _, prompt in ranked], 10) == wanted
        for (scores, _), alone in zip(ranked, candidate_log_probs(loaded.body, loaded.head, questions), strict=True):
            torch.testing.assert_close(scores, alone, atol=1e-4, rtol=1e-5)


class _Scripted:
    """Stands in for a model: the hidden state at a row's last place is one-hot at the token that its script has next."""

    def __init__(self, encoder: Encoder, scripts: list[list[int]], own_ends: list[int] | None = None):
        size = len(encoder.tokenizer)
        self.config, self.device, self.base_model = GemmaConfig(num_hidden_layers=1), torch.device("cpu"), self._next
        self.generation_config = SimpleNamespace(eos_token_id=own_ends)
        self.head = OutputHead(torch.eye(size), None, None)
        self.ends = {encoder.end_id, *encoder.newline_ids, *(own_ends or [])}
        self.open = [list(script) for script in scripts]

    def _next(self, input_ids: torch.Tensor, **_: object) -> SimpleNamespace:
        tokens = [script.pop(0) for script in self.open]
        assert len(tokens) == len(input_ids), "rows whose answer ended are not computed any more"
        self.open = [script for script, token in zip(self.open, tokens, strict=True) if token not in self.ends]
        return SimpleNamespace(last_hidden_state=self.head.weight[torch.tensor(tokens)][:, None])


def _answers(encoder: Encoder, scripts: list[list[int]], own_ends: list[int] | None = None) -> list[str]:
    model = _Scripted(encoder, scripts, own_ends)
    most = max(len(script) for script in scripts)
    prompts = [PromptStates(model.head.weight[script.pop(0)], (torch.zeros(2, 1, 3, 1),)) for script in model.open]
    model.open = [script for script, prompt in zip(model.open, prompts, strict=True) if int(prompt.last.argmax()) not in model.ends]
    return greedy_answers(model, model.head, encoder, prompts, most)  # type: ignore[arg-type]


def test_what_stands_after_a_line_or_the_end_is_not_the_answer(gemma: LoadedModel) -> None:
    """A line may also end inside a token, with text behind it; the others go on when a row has ended."""
    encode = lambda text: gemma.encoder.tokenizer(text, add_special_tokens=False)["input_ids"]  # noqa: E731
    scripts = [[*encode(" Ann"), gemma.encoder.end_id], encode(" Ann\nQuestion: Bob"), [gemma.encoder.end_id], encode(" Bob")]
    most = max(len(script) for script in scripts)
    scripts[3] += encode(" Bob")[-1:] * (most - len(scripts[3]))
    assert _answers(gemma.encoder, scripts)[:3] == ["Ann", "Ann", ""]
    assert _answers(gemma.encoder, scripts)[3].startswith("Bob")


def test_the_model_s_own_ends_end_an_answer(gemma: LoadedModel) -> None:
    """A chat model ends its turn by a token that is not the tokeniser's end; what it writes behind it was not said."""
    tokenizer = gemma.encoder.tokenizer
    tokenizer.add_special_tokens({"additional_special_tokens": ["<end_of_turn>"]})
    turn = tokenizer.convert_tokens_to_ids("<end_of_turn>")
    written = [*tokenizer(" Ann", add_special_tokens=False)["input_ids"], turn, *tokenizer("Bob", add_special_tokens=False)["input_ids"]]
    assert _answers(gemma.encoder, [list(written)], [gemma.encoder.end_id, turn]) == ["Ann"]
    assert _answers(gemma.encoder, [list(written)]) == ["AnnBob"]


def test_an_answer_that_begins_with_a_line_end_is_empty(gemma: LoadedModel) -> None:
    """The answer ends at the first new line, so what a model writes behind it was not said.

    Gemma's tokeniser has a token for two new lines, which does not stop the generation as the one for a single new line does.
    """
    gemma.encoder.tokenizer.add_tokens(["\n\n"])
    written = gemma.encoder.tokenizer("\n\nBob", add_special_tokens=False)["input_ids"]
    assert not {gemma.encoder.end_id, *gemma.encoder.newline_ids} & set(written), "generation must not stop at any of these tokens"
    assert _answers(gemma.encoder, [written]) == [""]


def test_no_prompts_give_no_answers(gemma: LoadedModel) -> None:
    assert greedy_answers(gemma.model, gemma.head, gemma.encoder, [], 4) == []
