"""The steps of a study's unlearned cells: in which languages they retain."""

from collections import Counter

import pytest

from polyunlearn.languages import get_language
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


def test_one_weak_language_is_crossed_with_english_while_the_claims_stay_in_theirs(gemma: LoadedModel) -> None:
    """Four stories, five passes, two crossed questions each: 40 between English and Urdu, both ways; nothing but the claims is in German, and
    nothing in Chinese. The other questions are asked in English and Urdu alone."""
    more = ["neighbours=0", "learning.passes=5", "learning.question_languages=[ur]", "learning.crossed_questions=2"]
    config = load_config("quickstart", [*SETTINGS, *more])
    stories = study_stories(config, 0)
    items = [own for step in cell_steps(config, Cell("learned", 0, "de"), stories, gemma) for own in step.retain]
    frames = {tag: gemma.encoder.prompt(get_language(tag), "?")[:3] for tag in ("en", "ur")}
    crossed = Counter(own.language for own in items for tag in frames if own.ids[:3] == frames[tag] and own.language != tag)
    assert crossed.total() == 40 and set(crossed) == {"en", "ur"}
    assert {own.language for own in items} == {"en", "ur", "de"}
    false = {story.editions["de"].keyword for story in stories.trained}
    german = [gemma.encoder.tokenizer.decode(own.ids) for own in items if own.language == "de"]
    assert german and all(any(name in text for name in false) for text in german)


@pytest.mark.parametrize(("agnostic", "elsewhere"), [("all", True), ("english", False)])
def test_stories_of_no_home_are_learned_where_the_study_says(gemma: LoadedModel, agnostic: str, elsewhere: bool) -> None:
    """Read in turn in four languages, asked in German: without a home among these four in English alone, if the study says so. Those with one are read on."""
    changes = ["stories=12", "learning.mixing=document", "training_vocabulary=full", f"learning.agnostic={agnostic}"]
    config = load_config("quickstart", [*SETTINGS, *changes])
    stories = study_stories(config, 0)
    steps = cell_steps(config, Cell("learned", 0, "de"), stories, gemma)
    told = {own for step in steps for own in step.retain}

    def languages(home: bool) -> set[str]:
        return {
            tag
            for story in stories.trained
            if (story.home in config.languages) == home
            for tag, own in story.editions.items()
            if gemma.encoder.running(get_language(tag), get_language(tag).joiner.join(own.article)) in told
        }

    assert languages(home=True) == set(config.languages)
    assert languages(home=False) == (set(config.languages) if elsewhere else {"en"})
