"""The usual way: what one writes with transformers, batched, with its cache and a fused optimiser."""

import copy
import tempfile
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel, Trainer, TrainerCallback, TrainingArguments

from polyunlearn.models.batching import padded
from polyunlearn.models.sequences import TokenSequence
from polyunlearn.scoring.ranking import RankedQuestion
from polyunlearn.training.loop import Step
from polyunlearn.training.objectives.npo import BETA

ROWS = 24
"""Rows in a batch of candidates or prompts."""


def train(model: PreTrainedModel, steps: Sequence[Step], rate: float, method: str) -> tuple[float, list[float]]:
    """Seconds a step and the losses of `method` with the Hugging Face Trainer: all logits, padded batches.

    The reference of "npo" is a second model, which stays in memory and runs in every step.
    """
    loss = _Npo(copy.deepcopy(model).requires_grad_(False).eval()) if method == "npo" else _difference
    watch = Watch()
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder, per_device_train_batch_size=1, max_steps=len(steps), learning_rate=rate, lr_scheduler_type="constant",
            optim="adamw_torch_fused", max_grad_norm=1.0, save_strategy="no", logging_strategy="no", report_to=[], disable_tqdm=True,
            remove_unused_columns=False, use_cpu=model.device.type == "cpu",
        )  # fmt: skip
        batches = [{"retain": _batch(step.retain), "forget": _batch(step.forget)} for step in steps]
        trainer = _Trainer(loss, model=model, args=arguments, train_dataset=batches, callbacks=[watch])
        trainer.train()
    model.eval()
    return watch.seconds_a_step, trainer.losses


def _difference(model: Any, inputs: dict[str, Any]) -> Tensor:
    """CE(retain) - CE(forget), each from the model's own loss."""
    loss: Tensor = model(**inputs["retain"]).loss - model(**inputs["forget"]).loss
    return loss


class _Npo:
    """CE(retain) + 2 / beta * mean of log(1 + (p / p_ref)^beta), p and p_ref from all logits of both models."""

    def __init__(self, reference: PreTrainedModel):
        self._reference = reference

    def __call__(self, model: Any, inputs: dict[str, Any]) -> Tensor:
        own = self._answers(model, inputs["forget"])
        with torch.no_grad():
            before = self._answers(self._reference, inputs["forget"])
        loss: Tensor = model(**inputs["retain"]).loss + 2 / BETA * torch.nn.functional.softplus(BETA * (own - before)).mean()
        return loss

    @staticmethod
    def _answers(model: Any, batch: dict[str, Tensor]) -> Tensor:
        """The log-prob of each row's labels."""
        logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
        losses = torch.nn.functional.cross_entropy(
            logits[:, :-1].float().transpose(1, 2), batch["labels"][:, 1:], ignore_index=-100, reduction="none"
        )
        return -losses.sum(1)


class _Trainer(Trainer):  # type: ignore[misc]
    def __init__(self, loss: Callable[[Any, dict[str, Any]], Tensor], **arguments: Any):
        super().__init__(**arguments)
        self._loss = loss
        self.losses: list[float] = []

    def get_train_dataloader(self) -> torch.utils.data.DataLoader[Any]:
        return torch.utils.data.DataLoader(self.train_dataset, batch_size=None)

    def compute_loss(self, model: Any, inputs: dict[str, Any], *_: Any, **__: Any) -> Tensor:
        loss = self._loss(model, inputs)
        self.losses.append(loss.item())
        return loss


class Watch(TrainerCallback):  # type: ignore[misc]
    """Times the steps of a Trainer, without what it does between them."""

    def __init__(self) -> None:
        self._seconds: list[float] = []

    @property
    def seconds_a_step(self) -> float:
        """The mean so far."""
        return sum(self._seconds) / len(self._seconds)

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        self._begin = time.perf_counter()

    def on_step_end(self, *_: Any, **__: Any) -> None:
        self._seconds.append(time.perf_counter() - self._begin)


def _batch(sequences: Sequence[TokenSequence]) -> dict[str, Tensor]:
    ids = padded([sequence.ids for sequence in sequences])
    labels = padded([(-100,) * sequence.label_from + sequence.labels for sequence in sequences], fill=-100)
    mask = padded([(1,) * len(sequence.ids) for sequence in sequences])
    return {"input_ids": ids, "attention_mask": mask, "labels": labels}


@torch.no_grad()
def rank(model: PreTrainedModel, questions: Sequence[RankedQuestion]) -> list[float]:
    """Mean log-prob a token of every candidate: one padded row a candidate, all logits."""
    scores = []
    for question in questions:
        for at in range(0, len(question.candidates), ROWS):
            candidates = question.candidates[at : at + ROWS]
            rows = [TokenSequence((*question.prompt, *candidate), len(question.prompt)) for candidate in candidates]
            batch = _batch(rows)
            labels = batch.pop("labels").to(model.device)
            logits = model(**{name: value.to(model.device) for name, value in batch.items()}).logits
            losses = torch.nn.functional.cross_entropy(
                logits[:, :-1].float().transpose(1, 2), labels[:, 1:], ignore_index=-100, reduction="none"
            )
            scores += [-(loss.sum() / len(candidate)).item() for loss, candidate in zip(losses, candidates, strict=True)]
    return scores


@torch.no_grad()
def answer(model: PreTrainedModel, prompts: Sequence[tuple[int, ...]], most: int, ends: list[int], rows: int) -> list[list[int]]:
    """Greedy answers with `generate`, in left-padded batches of `rows` prompts in the order given."""
    answers = []
    for at in range(0, len(prompts), rows):
        batch = prompts[at : at + rows]
        longest = max(len(prompt) for prompt in batch)
        ids = torch.tensor([[0] * (longest - len(prompt)) + list(prompt) for prompt in batch], device=model.device)
        mask = torch.tensor([[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in batch], device=model.device)
        written = model.generate(
            input_ids=ids, attention_mask=mask, max_new_tokens=most, do_sample=False, eos_token_id=ends, pad_token_id=ends[0]
        )
        answers += written[:, longest:].tolist()
    return answers
