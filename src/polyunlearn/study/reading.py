"""In which languages the learning stage reads its articles."""

from collections.abc import Iterable, Iterator
from operator import attrgetter
from typing import Any

from polyunlearn.corpus.stories import Story
from polyunlearn.models.sequences import Encoder, TokenSequence
from polyunlearn.study.config import StudyConfig
from polyunlearn.training.telling import Sentences, Teller


def reading(config: StudyConfig, source: str | None) -> dict[str, Any]:
    """How a cell of this source reads, as `training.mixtures.learning_steps` takes it: its `mixing`, `read_in` and `fakes_read_in`."""
    part = config.learning
    if part.mixing == "none":
        return {}
    languages = part.mixing_languages or config.languages
    return {
        "mixing": "fact" if part.mixing == "document" else part.mixing,
        "read_in": languages,
        "fakes_read_in": tuple(dict.fromkeys((source, *languages))) if part.mixed == "all" else (),
    }


def switching_articles(
    config: StudyConfig, stories: Iterable[Story], neighbours: Iterable[Story], encoder: Encoder
) -> Iterator[TokenSequence]:
    """Every form in which the study's cells can read an article that switches languages inside; nothing where none does.

    Where an article switches, two scripts can meet in a token that no article in one language has, and where a script has no spaces a cut can fall
    inside a token.
    """
    if config.learning.mixing not in ("sentence", "chunk"):
        return
    for source in config.sources:
        own = reading(config, source)
        true, false = (Teller(encoder, own[key], "article", own["mixing"]) for key in ("read_in", "fakes_read_in"))
        told: tuple[tuple[Iterable[Story], Teller, Sentences], ...] = (
            (stories, true, attrgetter("article")),
            (neighbours, true, attrgetter("fake_article")),
            (stories, false, attrgetter("fake_article")),
        )
        for group, teller, sentences in told:
            for story in group:
                for turn in range(len(teller.languages)):
                    yield teller.article(story, turn, sentences)
