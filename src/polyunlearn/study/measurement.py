"""What a study measures of a state, at its end and on the way of its unlearning."""

from collections.abc import Callable, Sequence

from polyunlearn.models.loading import LoadedModel
from polyunlearn.models.rows import TokenRow
from polyunlearn.scoring.measure import Moment, loss_rows, own_answers, rank_and_answer_rows, rank_rows, ranked_questions, text_rows
from polyunlearn.scoring.probes import Probe
from polyunlearn.scoring.ranking import question_trees
from polyunlearn.scoring.rows import Row
from polyunlearn.study.config import StudyConfig
from polyunlearn.study.materials import Materials


def trajectory_probes(config: StudyConfig, probes: Sequence[Probe]) -> list[Probe]:
    """The probes that a trajectory measures: those in the first wording, in the languages that it is followed in."""
    languages = config.unlearning.trajectory_languages or config.languages
    return [probe for probe in probes if probe.wording == 0 and probe.language in languages]


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
    return loss_rows(loaded, materials.scoring_head, trajectory_probes(config, materials.probes), Moment(step, False))


def token_rows(config: StudyConfig, loaded: LoadedModel, probes: Sequence[Probe]) -> tuple[list[TokenRow], list[TokenRow]]:
    """The rows of tokens that the end and a point on the way read, for `Body.keep`."""
    answered, others = (ranked_questions(part, loaded.encoder) for part in answered_and_others(config, probes))
    on_the_way = question_trees(own_answers(trajectory_probes(config, probes), loaded.encoder))
    return [tree.row for tree in (*question_trees(answered, read=True), *question_trees(others))], [tree.row for tree in on_the_way]
