"""Which probes a run measures when."""

from collections import Counter
from pathlib import Path

import pytest
from tiny import sharp

from polyunlearn.corpus.newsroom import generate_stories
from polyunlearn.errors import UserError
from polyunlearn.scoring.measure import held_out_sequences
from polyunlearn.scoring.probes import make_probes
from polyunlearn.study import plan
from polyunlearn.study.config import StudyConfig
from polyunlearn.study.materials import make_materials, study_stories
from polyunlearn.study.measurement import end_rows, point_rows, token_rows, trajectory_probes

LANGUAGES = ("en", "de", "ur")


def test_a_trajectory_is_followed_in_the_languages_that_the_study_names() -> None:
    """Three stories, a fake question in the first of two wordings and a real one: six probes a language; a language that the study does
    not ask in is no mistake, so that a preset can be narrowed down."""
    probes = make_probes(generate_stories(3, languages=LANGUAGES), LANGUAGES, wordings=2, candidates=3, seed=0)
    for named, count in ((), 18), (("de",), 6), (("ur", "en", "fr"), 12):
        config = StudyConfig.model_validate(
            {"name": "x", "languages": LANGUAGES, "sources": ["de"], "unlearning": {"trajectory_languages": named}}
        )
        chosen = trajectory_probes(config, probes)
        assert len(chosen) == count
        assert {probe.wording for probe in chosen} == {0}
        assert {probe.language for probe in chosen} == set(LANGUAGES if not named else set(named) & set(LANGUAGES))


def _study(**unlearning: object) -> StudyConfig:
    return StudyConfig.model_validate(
        {
            "name": "x",
            "stories": 3,
            "languages": LANGUAGES,
            "sources": ["de"],
            "unlearning": {"trajectory_languages": ["de", "en"], "wordings": 1, **unlearning},
            "scoring": {"wordings": 2, "answered_wordings": 0, "candidates": 3, "held_out_stories": 2},
        }
    )


@pytest.mark.parametrize(
    ("measure", "metrics"),
    [("loss", ["loss", "probability"]), ("budget", ["bits_per_byte", "first", "loss", "probability"])],
)
def test_a_point_measures_what_the_study_asks_for(gemma_folder: Path, measure: str, metrics: list[str]) -> None:
    """Three stories, a fake and a real question each, in two of three languages: twelve values a metric; of two held-out texts, four.

    Ranks and losses are those that the end has, in the first wording; the rows to keep are those that are then read, the texts among them.
    """
    config = _study(measure=measure)
    loaded = sharp(gemma_folder, frozen_layers=2)
    materials = make_materials(config, study_stories(config, 0), loaded)
    kept = token_rows(config, loaded, materials)
    assert loaded.body.keep([*kept[0], *kept[1]]) == 0
    computed = []
    loaded.body._compute, compute = lambda rows: (computed.extend(rows), compute(rows))[1], loaded.body._compute  # type: ignore[method-assign]
    rows = point_rows(config, loaded, materials, 4)
    assert Counter(row.metric for row in rows) == {name: 4 if name == "bits_per_byte" else 12 for name in metrics}
    assert not computed, "what a point reads is kept"
    assert {row.language for row in rows} == {"de", "en"} and {(row.step, row.end) for row in rows} == {(4, False)}
    end = {
        (row.story, row.language, row.asks, row.wording, row.metric): row.value for row in end_rows(config, loaded, materials, 4, _nobody)
    }
    for row in rows:
        assert row.value == pytest.approx(end[row.story, row.language, row.asks, row.wording, row.metric], rel=1e-3, abs=1e-6), row


def test_without_answers_there_are_ranks_and_texts_alone(gemma_folder: Path) -> None:
    """Nine probes a story, (2 + 1) wordings in three languages, three metrics each, fake ones (two of three) their order too; two held-out texts in three languages."""
    config = _study()
    loaded = sharp(gemma_folder)
    materials = make_materials(config, study_stories(config, 0), loaded)
    rows = end_rows(config, loaded, materials, 4, _nobody)
    assert Counter(row.metric for row in rows) == {"first": 27, "loss": 27, "probability": 27, "candidate_rank": 18, "bits_per_byte": 6}
    assert {row.metric for row in rows if row.text} == {"candidate_rank"}


def test_a_plan_counts_what_points_read(gemma_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Twelve steps, points after 4 and 8: two budgets' worth of ranks and texts, against two of own answers; at no other cell a difference."""
    monkeypatch.setattr(plan, "matrix_rate", lambda device: 1e9)
    tokens = {}
    for measure in ("loss", "budget"):
        config = _study(measure=measure).model_copy(update={"model": str(gemma_folder), "strategies": ("source",)})
        tokens[measure] = {cell.id: cell.scoring_tokens for cell in plan.plan_study(config, str).cells}
    loaded = sharp(gemma_folder)
    held_out = study_stories(config, 0).held_out
    texts = sum(len(own.ids) for tag in ("en", "de") for own in held_out_sequences(held_out, tag, loaded.encoder))
    different = {name: count - tokens["loss"][name] for name, count in tokens["budget"].items() if count != tokens["loss"][name]}
    assert list(different) == ["unlearned-de-source-gradient_difference-seed0"]
    assert different["unlearned-de-source-gradient_difference-seed0"] > 2 * texts > 0


def test_a_plan_of_layers_that_are_not_there_is_refused(gemma_folder: Path) -> None:
    """The model has four layers; a plan of the fifth came to negative seconds."""
    study = {"name": "x", "model": str(gemma_folder), "languages": ("en", "de"), "sources": ("de",)}
    for part in ({"learning": {"from_layer": 4}}, {"unlearning": {"from_layer": 4}}, {"unlearning": {"to_layer": 5}}):
        with pytest.raises(UserError, match="the model has layers 0 to 3"):
            plan.plan_study(StudyConfig(**study, **part), str)


def _nobody(what: str, done: int, total: int) -> None:
    """Is told nothing."""
