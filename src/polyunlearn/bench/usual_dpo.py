"""The usual way of DPO: TRL's trainer, set for speed on the machine at hand. Needs the package `trl`."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from datasets import Dataset, load_from_disk
from torch import Tensor
from trl import DPOConfig, DPOTrainer

from polyunlearn.bench.usual import Watch
from polyunlearn.models.loading import LoadedModel
from polyunlearn.training.loop import Step
from polyunlearn.training.objectives.dpo import BETA


def train(loaded: LoadedModel, steps: Sequence[Step], rate: float) -> tuple[float, list[float]]:
    """Seconds a step and the losses of steps of as many pairs each, the answer to give instead chosen and the one to forget rejected.

    The reference's log-probs are computed before the first step, so there is no second model, and their time is not counted. Defaults of
    TRL that would make a step slower or other than ours are off: layers computed once more for the backward pass, bf16 over fp32 weights, a
    shuffled order, a longest length. Batches are padded, since `padding_free` does nothing in TRL 1.16.
    """
    model, watch = loaded.model, Watch()
    with tempfile.TemporaryDirectory() as folder:
        arguments = DPOConfig(
            output_dir=folder, per_device_train_batch_size=len(steps[0].forget), max_steps=len(steps), learning_rate=rate,
            lr_scheduler_type="constant", optim="adamw_torch_fused", max_grad_norm=1.0, save_strategy="no", logging_strategy="no",
            report_to=[], disable_tqdm=True, train_sampling_strategy="sequential", loss_type=["sigmoid"], beta=BETA,
            precompute_ref_log_probs=True, max_length=None, gradient_checkpointing=False, bf16=False, use_cpu=model.device.type == "cpu",
        )  # fmt: skip
        pairs = _pairs(steps, Path(folder) / "pairs")
        trainer = _Trainer(model=model, args=arguments, train_dataset=pairs, processing_class=loaded.encoder.tokenizer, callbacks=[watch])
        trainer.train()
    model.eval()
    return watch.seconds_a_step, trainer.losses


def _pairs(steps: Sequence[Step], folder: Path) -> Dataset:
    """Every pair in order, on disk: TRL writes the reference's log-probs beside a data set there.

    For one in memory it makes a folder of its own, which stays behind when the process is killed, as those of a benchmark are.
    """
    rows = [
        {"prompt_ids": own.ids[: own.label_from], "chosen_ids": other.labels, "rejected_ids": own.labels}
        for step in steps
        for own, other in zip(step.forget, step.instead, strict=True)
    ]
    Dataset.from_list(rows).save_to_disk(folder)
    return load_from_disk(folder)


class _Trainer(DPOTrainer):  # type: ignore[misc]
    def __init__(self, **arguments: Any):
        super().__init__(**arguments)
        self.losses: list[float] = []

    def _prepare_dataset(self, dataset: Dataset, *_: Any) -> Dataset:
        # TRL's takes text alone, lets tokens merge across the end of the prompt, and gives every answer an end token: other ids than ours.
        return dataset

    def compute_loss(self, *arguments: Any, **named: Any) -> Tensor:
        loss: Tensor = super().compute_loss(*arguments, **named)
        self.losses.append(loss.item())
        return loss
