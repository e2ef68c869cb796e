"""The steps of a study's unlearned cells: in which languages they retain."""

import pytest

from polyunlearn.models.loading import LoadedModel
from polyunlearn.study.cells import Cell
from polyunlearn.study.materials import study_stories
from polyunlearn.study.presets import load_config
from polyunlearn.study.stages import cell_steps

SETTINGS = ["stories=4", "neighbours=2", "languages=[en,de,zh,ur]", "sources=[de]", "unlearning.steps=4", "unlearning.retain_batch=16"]


@pytest.mark.parametrize(
    ("retain_in", "strategy", "retained"),
    [
        ("source", "english", "de en"),
        ("source", "all", "de en"),
        ("told", "english", "de en"),
        ("told", "all", "de en ur zh"),
        ("told", "pivot:ur", "de en ur"),
    ],
)
def test_the_languages_of_what_is_retained(gemma: LoadedModel, retain_in: str, strategy: str, retained: str) -> None:
    """English and the source; what is told too where the study says so, which adds none to English, or to English and the source."""
    config = load_config("quickstart", [*SETTINGS, f"unlearning.retain_in={retain_in}"])
    steps = cell_steps(config, Cell("unlearned", 0, "de", strategy, "gradient_difference"), study_stories(config, 0), gemma)
    assert {own.language for step in steps for own in step.retain} == set(retained.split())


def test_articles_are_retained_in_every_language(gemma: LoadedModel) -> None:
    """Four steps of two articles: two in each of four languages, beside the sixteen questions."""
    config = load_config("quickstart", [*SETTINGS, "retain_stories=3", "unlearning.retain_texts=2"])
    steps = cell_steps(config, Cell("unlearned", 0, "de", "english", "gradient_difference"), study_stories(config, 0), gemma)
    assert [own.language for step in steps for own in step.retain[16:]] == ["en", "de", "zh", "ur"] * 2
