"""What a study will cost, said before anything runs: cells, tokens, time and memory."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import get_args

import psutil
import torch

from polyunlearn.languages import get_language
from polyunlearn.models.body import decoder_layers
from polyunlearn.models.loading import LoadedModel, load_model
from polyunlearn.scoring.probes import Probe
from polyunlearn.study.cells import State, study_cells
from polyunlearn.study.config import StudyConfig
from polyunlearn.study.materials import make_materials, study_stories
from polyunlearn.study.run import cell_steps, frozen_layers

TRAINING_EFFICIENCY = 0.5
SCORING_EFFICIENCY = 0.5
"""The share of the measured matrix-multiplication rate that training and scoring are taken to reach: assumed, not measured."""


@dataclass(frozen=True)
class CellPlan:
    """What one cell will do: tokens that it trains on, tokens that its measurements read, estimated seconds."""

    id: str
    training_tokens: int
    scoring_tokens: int
    seconds: float


@dataclass(frozen=True)
class StudyPlan:
    """The whole study; `rate` is the measured fp32 rate of this machine in FLOP/s."""

    cells: list[CellPlan]
    rate: float
    memory_bytes: int
    memory_free: int

    @property
    def seconds(self) -> float:
        """Estimated seconds of all cells."""
        return sum(cell.seconds for cell in self.cells)


def plan_study(config: StudyConfig, say: Callable[[str], None]) -> StudyPlan:
    """Count the tokens of every cell and estimate its time from a short measurement of this machine."""
    loaded = load_model(config.model, frozen_layers=frozen_layers(config, "learned"), say=say)
    rate = _matrix_rate(loaded.model.device)
    costs: dict[State, _Cost] = {state: _Cost(config, loaded, state) for state in get_args(State)}
    materials = {seed: make_materials(config, study_stories(config, seed), loaded) for seed in config.seeds}
    cells = []
    for cell in study_cells(config):
        own = materials[cell.seed]
        steps = cell_steps(config, cell, own.stories, loaded)
        training = sum(step.tokens for step in steps)
        labels = sum(step.retain_tokens + step.forget_tokens for step in steps)
        first = [probe for probe in own.probes if probe.wording == 0]
        answered = [probe for probe in own.probes if probe.wording < config.scoring.answered_wordings]
        points = (len(steps) - 1) // config.unlearning.measure_every if cell.state == "unlearned" else 0
        prompts, candidates = _ranking_tokens(own.probes, loaded)
        if points:
            at_points = _ranking_tokens([replace(probe, candidates=probe.candidates[:1]) for probe in first], loaded)
            prompts, candidates = prompts + points * at_points[0], candidates + points * at_points[1]
        asked, _ = _ranking_tokens(answered, loaded)
        written = len(answered) * config.scoring.max_new_tokens
        cost = costs[cell.state]
        flops = cost.training(training, labels, own.training_head.weight.shape[0]) / TRAINING_EFFICIENCY
        flops += cost.scoring(prompts + candidates, candidates, own.scoring_head.weight.shape[0]) / SCORING_EFFICIENCY
        flops += cost.scoring(asked + written, written, loaded.head.weight.shape[0]) / SCORING_EFFICIENCY
        cells.append(CellPlan(cell.id, training, prompts + candidates + asked + written, flops / rate))
    return StudyPlan(cells, rate, costs["unlearned"].memory(), psutil.virtual_memory().available)


def _ranking_tokens(probes: Sequence[Probe], loaded: LoadedModel) -> tuple[int, int]:
    """The tokens of the prompts, and those of the candidates behind them."""
    encoder = loaded.encoder
    prompts = sum(len(encoder.prompt(get_language(probe.language), probe.question)) for probe in probes)
    lengths = {(p.language, name): len(encoder.continuation(get_language(p.language), name)) for p in probes for name in p.candidates}
    return prompts, sum(lengths[probe.language, name] - 1 for probe in probes for name in probe.candidates)


class _Cost:
    """FLOPs and bytes of a cell in one state, from the shapes of the model."""

    def __init__(self, config: StudyConfig, loaded: LoadedModel, state: State):
        layers = decoder_layers(loaded.model)
        self._body = sum(parameter.numel() for parameter in layers.parameters())
        self._all = sum(parameter.numel() for parameter in loaded.model.parameters())
        self._width = loaded.head.weight.shape[1]
        self._trained = 1 - frozen_layers(config, state) / len(layers)
        self._lora = config.trainable.weights == "lora"
        self._whole = config.trainable.weights == "all"

    def training(self, tokens: int, labels: int, columns: int) -> float:
        """Two FLOPs a weight forward, two for the gradient of what enters it, two for its own where it trains."""
        upper = self._body * self._trained
        return tokens * upper * (4 if self._lora else 6) + labels * self._width * columns * (6 if self._whole else 4)

    def scoring(self, tokens: int, labels: int, columns: int) -> float:
        """Two FLOPs a weight."""
        return 2 * (tokens * self._body * (1 + self._trained) / 2 + labels * self._width * columns)

    def memory(self) -> int:
        """Weights, gradients and AdamW's two moments of what trains, a copy of it, caches and activations."""
        trained = self._all if self._whole else round(self._body * self._trained * (0.05 if self._lora else 1))
        return 4 * int(self._all + 5 * trained) + 2 * 2**30


def _matrix_rate(device: torch.device) -> float:
    a, b = torch.randn(1024, 640, device=device), torch.randn(640, 2048, device=device)
    best = 0.0
    for _ in range(5):
        begin = time.perf_counter()
        for _ in range(20):
            c = a @ b
        float(c[0, 0])
        best = max(best, 20 * 2 * 1024 * 640 * 2048 / (time.perf_counter() - begin))
    return best
