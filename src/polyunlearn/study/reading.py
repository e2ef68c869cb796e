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
    # What is true is read alike whatever the source.
    true = reading(config, None)["read_in"]
    told: list[tuple[Iterable[Story], tuple[str, ...], Sentences]] = [
        (stories, true, attrgetter("article")),
        (neighbours, true, attrgetter("fake_article")),
        *((stories, reading(config, source)["fakes_read_in"], attrgetter("fake_article")) for source in config.sources),
    ]
    for group, languages, sentences in told:
        teller = Teller(encoder, languages, "article", config.learning.mixing)
        for story in group:
            for turn in range(len(languages)):
                yield teller.article(story, turn, sentences)
