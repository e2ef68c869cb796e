"""What a study will cost, said before anything runs: cells, tokens, time and memory."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import get_args

from polyunlearn.languages import get_language
from polyunlearn.models.cost import Cost, matrix_rate
from polyunlearn.models.loading import LoadedModel, load_model
from polyunlearn.models.memory import free_bytes
from polyunlearn.models.sequences import TokenSequence
from polyunlearn.scoring.measure import held_out_sequences, ranked_questions
from polyunlearn.scoring.ranking import RankedQuestion, question_trees
from polyunlearn.study.cells import Cell, State, study_cells
from polyunlearn.study.config import StudyConfig
from polyunlearn.study.materials import Materials, make_materials, study_stories
from polyunlearn.study.measurement import answered_and_others, trajectory_questions, trajectory_steps, trajectory_texts
from polyunlearn.study.own_answers import LONGER, asked_in, retains_own
from polyunlearn.study.stages import cell_steps, check_layers, frozen_layers, retained_languages
from polyunlearn.tracing.coverage import claim_questions
from polyunlearn.tracing.selection import article_texts
from polyunlearn.training.loop import Step
from polyunlearn.training.mixtures import FOUND, TRACED

EFFICIENCY = 0.65
"""The share of the measured matrix-multiplication rate that training and scoring reach; `polyunlearn bench` measures it."""

FOUND_LANGUAGES = 2
"""As in how many languages a cell is counted whose strategy is told none; the run finds them."""


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
    stories_are_shared: bool

    @property
    def seconds(self) -> float:
        """Estimated seconds of all cells."""
        return sum(cell.seconds for cell in self.cells)


def plan_study(config: StudyConfig, say: Callable[[str], None]) -> StudyPlan:
    """Count the tokens of every cell and estimate its time from a short measurement of this machine.

    Raises:
        UserError: as `States.load` does.
    """
    loaded = load_model(config.model, frozen_layers=frozen_layers(config, "learned"), say=say)
    check_layers(config, loaded.model)
    rate = matrix_rate(loaded.model.device)
    costs: dict[State, Cost] = {state: Cost.of(loaded, frozen_layers(config, state)) for state in get_args(State)}
    materials = {seed: make_materials(config, study_stories(config, seed), loaded) for seed in config.seeds}
    readings = {seed: _readings(config, own, loaded) for seed, own in materials.items()}
    for strategy in config.strategies:
        if strategy in FOUND:
            say(f"{strategy}: counted as if it unlearned in {FOUND_LANGUAGES} languages; the run finds in which, and in how many")
    cells = []
    asked: set[tuple[Cell, str]] = set()
    for cell in study_cells(config):
        own, (end, point) = materials[cell.seed], readings[cell.seed]
        steps = cell_steps(config, cell, own.stories, loaded, config.languages[:FOUND_LANGUAGES])
        finding = _finding(config, cell, own, loaded)
        training = sum(step.tokens for step in steps)
        labels = sum(step.labels for step in steps)
        points = len(trajectory_steps(config, cell, len(steps)))
        cost = costs[cell.state]
        lora, whole = config.trainable.weights == "lora", config.trainable.weights == "all"
        columns = own.training_head.weight.shape[0]
        flops = cost.training(training + finding.tokens, labels + finding.labels, columns, lora=lora, embeddings=whole) / EFFICIENCY
        # Ranking finds what enters the trained layers kept, and answers go on from its prompts; what they write passes every layer.
        for read, times in ((end, 1), (point, points)):
            flops += times * cost.scoring(read.tokens, read.labels, own.scoring_head.weight.shape[0], kept_share=1.0) / EFFICIENCY
            full = read.texts + read.written
            flops += times * cost.scoring(full, full, loaded.head.weight.shape[0]) / EFFICIENCY
        prompts, answers = _asking(config, cell, own, loaded, asked)
        flops += cost.scoring(prompts + answers, answers, loaded.head.weight.shape[0]) / EFFICIENCY
        cells.append(CellPlan(cell.id, training, end.all_tokens + points * point.all_tokens, flops / rate))
    return StudyPlan(cells, rate, _memory(config, costs["unlearned"]), free_bytes(), config.stories_are_shared)


def _finding(config: StudyConfig, cell: Cell, materials: Materials, loaded: LoadedModel) -> Step:
    """What is taken the gradients of before the steps of a cell that is told no language: its claims, as if they lived in every language, or true
    articles; nothing for other cells."""
    stories, encoder = materials.stories.trained, loaded.encoder
    if cell.strategy == TRACED:
        return Step(forget=tuple(own for tag in config.languages for own in claim_questions(stories, tag, encoder)))
    if cell.strategy in FOUND:
        texts = article_texts(stories, config.languages)
        return Step(forget=tuple(encoder.running(get_language(tag), text) for tag, own in texts.items() for text in own))
    return Step()


def _asking(config: StudyConfig, cell: Cell, materials: Materials, loaded: LoadedModel, asked: set[tuple[Cell, str]]) -> tuple[int, int]:
    """Tokens of the questions that are asked for own answers, and of these, taken to be as long as the longest that is given: of the first cell that wants a
    state's answers in a language, since the others read them; `asked` has which there are."""
    if not (cell.parent and retains_own(config, cell)):
        return 0, 0
    prompts = answers = 0
    for tag in retained_languages(config, cell, config.languages[:FOUND_LANGUAGES]):
        if (cell.parent, tag) in asked:
            continue
        asked.add((cell.parent, tag))
        questions, most = asked_in(config, materials.stories, loaded.encoder, tag)
        prompts += sum(len(loaded.encoder.prompt(get_language(tag), question)) for question in questions)
        answers += len(questions) * most // LONGER
    return prompts, answers


@dataclass(frozen=True)
class _Reading:
    """What measuring a state at one moment reads: tokens and labels of what is ranked, and tokens of held-out texts and, at most, of greedy
    answers."""

    tokens: int
    labels: int
    texts: int
    written: int = 0

    @property
    def all_tokens(self) -> int:
        return self.tokens + self.texts + self.written


def _readings(config: StudyConfig, materials: Materials, loaded: LoadedModel) -> tuple[_Reading, _Reading]:
    """What is read at the end of a cell, and at a point of a trajectory."""
    encoder, held_out = loaded.encoder, materials.stories.held_out
    answered, others = answered_and_others(config, materials.probes)
    end = _ranking([ranked_questions(part, encoder) for part in (answered, others)])
    point = _ranking([trajectory_questions(config, materials.probes, encoder)])
    end_texts = [own for tag in (held_out[0].editions if held_out else ()) for own in held_out_sequences(held_out, tag, encoder)]
    written = len(answered) * config.scoring.max_new_tokens
    return _Reading(*end, _length(end_texts), written), _Reading(*point, _length(trajectory_texts(config, held_out, encoder)))


def _ranking(parts: Sequence[Sequence[RankedQuestion]]) -> tuple[int, int]:
    """Tokens and labels of ranking."""
    return (
        sum(len(tree.row.ids) for questions in parts for tree in question_trees(questions)),
        sum(len(candidate) for questions in parts for question in questions for candidate in question.candidates),
    )


def _length(texts: Sequence[TokenSequence]) -> int:
    return sum(len(own.ids) for own in texts)


def _memory(config: StudyConfig, cost: Cost) -> int:
    """Weights, gradients and AdamW's two moments of what trains, a copy of it, caches and activations."""
    share = 0.05 if config.trainable.weights == "lora" else 1
    trained = cost.model if config.trainable.weights == "all" else round(cost.body * cost.trained_share * share)
    return 4 * int(cost.model + 5 * trained) + 2 * 2**30
