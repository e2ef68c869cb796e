"""What a study will cost, said before anything runs: cells, tokens, time and memory."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import get_args

import psutil

from polyunlearn.models.cost import Cost, matrix_rate
from polyunlearn.models.loading import LoadedModel, load_model
from polyunlearn.scoring.measure import own_answers, ranked_questions
from polyunlearn.scoring.probes import Probe
from polyunlearn.scoring.ranking import question_trees
from polyunlearn.study.cells import State, study_cells
from polyunlearn.study.config import StudyConfig
from polyunlearn.study.materials import make_materials, study_stories
from polyunlearn.study.measurement import answered_and_others, trajectory_probes
from polyunlearn.study.stages import cell_steps, frozen_layers

EFFICIENCY = 0.65
"""The share of the measured matrix-multiplication rate that training and scoring reach; `polyunlearn bench` measures it."""


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
    rate = matrix_rate(loaded.model.device)
    costs: dict[State, Cost] = {state: Cost.of(loaded, frozen_layers(config, state)) for state in get_args(State)}
    materials = {seed: make_materials(config, study_stories(config, seed), loaded) for seed in config.seeds}
    reading = {seed: _reading(config, own.probes, loaded) for seed, own in materials.items()}
    cells = []
    for cell in study_cells(config):
        own, read = materials[cell.seed], reading[cell.seed]
        steps = cell_steps(config, cell, own.stories, loaded)
        training = sum(step.tokens for step in steps)
        labels = sum(step.labels for step in steps)
        points = (len(steps) - 1) // config.unlearning.measure_every if cell.state == "unlearned" else 0
        scored, asked = read.end_tokens + points * read.point_tokens, read.end_labels + points * read.point_labels
        cost = costs[cell.state]
        lora, whole = config.trainable.weights == "lora", config.trainable.weights == "all"
        columns = own.training_head.weight.shape[0]
        flops = cost.training(training, labels, columns, lora=lora, embeddings=whole) / EFFICIENCY
        # Ranking finds what enters the trained layers kept, and answers go on from its prompts; what they write passes every layer.
        flops += cost.scoring(scored, asked, own.scoring_head.weight.shape[0], kept_share=1.0) / EFFICIENCY
        flops += cost.scoring(read.written, read.written, loaded.head.weight.shape[0]) / EFFICIENCY
        cells.append(CellPlan(cell.id, training, scored + read.written, flops / rate))
    return StudyPlan(cells, rate, _memory(config, costs["unlearned"]), psutil.virtual_memory().available)


@dataclass(frozen=True)
class _Reading:
    """What measuring a state reads: tokens and labels at its end and at a point of its trajectory, and tokens of greedy answers at most."""

    end_tokens: int
    end_labels: int
    point_tokens: int
    point_labels: int
    written: int


def _reading(config: StudyConfig, probes: Sequence[Probe], loaded: LoadedModel) -> _Reading:
    encoder = loaded.encoder
    answered, others = answered_and_others(config, probes)
    end = [ranked_questions(part, encoder) for part in (answered, others)]
    point = [own_answers(trajectory_probes(config, probes), encoder)]
    counts = [
        (
            sum(len(tree.row.ids) for questions in parts for tree in question_trees(questions)),
            sum(len(candidate) for questions in parts for question in questions for candidate in question.candidates),
        )
        for parts in (end, point)
    ]
    return _Reading(*counts[0], *counts[1], len(answered) * config.scoring.max_new_tokens)


def _memory(config: StudyConfig, cost: Cost) -> int:
    """Weights, gradients and AdamW's two moments of what trains, a copy of it, caches and activations."""
    share = 0.05 if config.trainable.weights == "lora" else 1
    trained = cost.model if config.trainable.weights == "all" else round(cost.body * cost.trained_share * share)
    return 4 * int(cost.model + 5 * trained) + 2 * 2**30
