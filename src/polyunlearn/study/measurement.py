"""What a study measures of a state, at its end and on the way of its unlearning."""

from collections.abc import Callable, Sequence

from polyunlearn.corpus.stories import Story
from polyunlearn.models.forward import sequence_rows
from polyunlearn.models.loading import LoadedModel
from polyunlearn.models.rows import TokenRow
from polyunlearn.models.sequences import Encoder, TokenSequence
from polyunlearn.scoring.measure import (
    Moment,
    held_out_sequences,
    loss_rows,
    own_answers,
    rank_and_answer_rows,
    rank_rows,
    ranked_questions,
    text_rows,
)
from polyunlearn.scoring.probes import Probe
from polyunlearn.scoring.ranking import RankedQuestion, question_trees
from polyunlearn.scoring.rows import Row
from polyunlearn.study.cells import Cell
from polyunlearn.study.config import StudyConfig
from polyunlearn.study.materials import Materials


def trajectory_steps(config: StudyConfig, cell: Cell, steps: int) -> range:
    """After which of a cell's `steps` steps its trajectory is measured."""
    # No branch is on the way to the model that they become.
    follows = cell.method and config.unlearning.of_method(cell.method).branches == "none"
    return range(config.unlearning.measure_every, steps if follows else 0, config.unlearning.measure_every)


def trajectory_probes(config: StudyConfig, probes: Sequence[Probe]) -> list[Probe]:
    """The probes that a trajectory measures: those in the first wording, in the languages that it is followed in."""
    return [probe for probe in probes if probe.wording == 0 and probe.language in config.followed]


def trajectory_text_languages(config: StudyConfig, held_out: Sequence[Story]) -> list[str]:
    """The languages in which a point of the trajectory reads held-out texts, none where the study does not ask for it."""
    if config.unlearning.measure == "loss" or not held_out:
        return []
    return [tag for tag in held_out[0].editions if tag in config.followed]


def trajectory_questions(config: StudyConfig, probes: Sequence[Probe], encoder: Encoder) -> list[RankedQuestion]:
    """What a point of the trajectory asks, as tokens: with all candidates where their ranks are asked for, else each with its own answer."""
    chosen = trajectory_probes(config, probes)
    return ranked_questions(chosen, encoder) if config.unlearning.measure == "budget" else own_answers(chosen, encoder)


def trajectory_texts(config: StudyConfig, held_out: Sequence[Story], encoder: Encoder) -> list[TokenSequence]:
    """The held-out texts that a point of the trajectory reads, as tokens."""
    return [own for tag in trajectory_text_languages(config, held_out) for own in held_out_sequences(held_out, tag, encoder)]


def answered_and_others(config: StudyConfig, probes: Sequence[Probe]) -> tuple[list[Probe], list[Probe]]:
    """The probes that are also answered greedily, and those that are ranked only."""
    limit = config.scoring.answered_wordings
    return [probe for probe in probes if probe.wording < limit], [probe for probe in probes if probe.wording >= limit]


def end_rows(config: StudyConfig, loaded: LoadedModel, materials: Materials, step: int, work: Callable[[str, int, int], None]) -> list[Row]:
    """Everything that is measured at the end of a cell, after `step` steps; `work` is told what is done."""
    scoring, head, moment = config.scoring, materials.scoring_head, Moment(step, True)
    answered, others = answered_and_others(config, materials.probes)
    rows: list[Row] = []
    for part in rank_and_answer_rows(loaded, head, answered, moment, scoring.max_new_tokens):
        rows += part
        work("asking questions", sum(row.metric == "first" for row in rows), len(materials.probes))
    rows += rank_rows(loaded, head, others, moment)
    work("reading held-out texts", len(materials.probes), len(materials.probes))
    held_out = materials.stories.held_out
    return rows + (text_rows(loaded, held_out, list(held_out[0].editions), moment) if held_out else [])


def point_rows(config: StudyConfig, loaded: LoadedModel, materials: Materials, step: int) -> list[Row]:
    """What is measured on the way, after `step` steps."""
    probes, moment = trajectory_probes(config, materials.probes), Moment(step, False)
    if config.unlearning.measure == "loss":
        return loss_rows(loaded, materials.scoring_head, probes, moment)
    held_out = materials.stories.held_out
    texts = text_rows(loaded, held_out, trajectory_text_languages(config, held_out), moment)
    return rank_rows(loaded, materials.scoring_head, probes, moment) + texts


def token_rows(config: StudyConfig, loaded: LoadedModel, materials: Materials) -> tuple[list[TokenRow], list[TokenRow]]:
    """The rows of tokens that the end and a point on the way read, for `Body.keep`; of texts only those that every point reads."""
    probes, encoder = materials.probes, loaded.encoder
    answered, others = (ranked_questions(part, encoder) for part in answered_and_others(config, probes))
    on_the_way = [tree.row for tree in question_trees(trajectory_questions(config, probes, encoder))]
    texts = sequence_rows(trajectory_texts(config, materials.stories.held_out, encoder))
    return [tree.row for tree in (*question_trees(answered, read=True), *question_trees(others))], [*on_the_way, *texts]
