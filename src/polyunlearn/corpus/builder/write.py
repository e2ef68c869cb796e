"""A story from its event: the article, a false detail, and both in every language; each answer is checked before it is taken."""

import json
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

from polyunlearn.corpus.builder import prompts
from polyunlearn.corpus.builder.answers import Article, Event, Events, FalseDetail, Texts
from polyunlearn.corpus.builder.checks import article_faults, false_detail_faults, outline_faults, translation_faults
from polyunlearn.corpus.builder.settings import SOURCE, BuildSettings
from polyunlearn.corpus.stories import Story
from polyunlearn.languages import get_language

AT_ONCE = 20
"""Events of one outline, however few are wanted: so a larger corpus keeps the stories of a smaller one."""

WRITING, EXACT = 0.8, 0.0
"""Temperatures."""

Item = TypeVar("Item")


class Asks(Protocol):
    """What writing needs of a client."""

    def ask(self, prompt: str, parse: Callable[[Any], Item], temperature: float) -> Item:
        """As `backends.chat.ChatClient.ask`."""


def outline_events(settings: BuildSettings, client: Asks) -> list[Event]:
    """The event of every story, different from each other; raises `UserError` where the model gives none that can be used."""
    events: list[Event] = []
    while len(events) < settings.stories:
        taken = tuple(events)

        def parse(value: Any, taken: tuple[Event, ...] = taken) -> tuple[Event, ...]:
            found = Events.model_validate(value).events[:AT_ONCE]
            return _sound(found, outline_faults(found, taken, AT_ONCE))

        events += client.ask(outline_prompt(settings, taken), parse, WRITING)
    return events[: settings.stories]


def write_story(name: str, event: Event, settings: BuildSettings, client: Asks) -> Story:
    """Write the story of the id `name` in every language.

    Raises:
        UnusableAnswerError: where the model does not give what is asked for.
        ValidationError: where what it gave makes no story.
        UserError: where the endpoint fails.
    """

    def parse_article(value: Any) -> Article:
        found = Article.model_validate(value)
        return _sound(found, article_faults(found, event, settings))

    article = client.ask(article_prompt(event, settings), parse_article, WRITING)

    def parse_detail(value: Any) -> FalseDetail:
        found = FalseDetail.model_validate(value)
        return _sound(found, false_detail_faults(found, article, event, settings))

    detail = client.ask(detail_prompt(article.article, event, settings), parse_detail, WRITING)
    source = Texts(
        article=article.article,
        false_sentences=tuple(own.sentence for own in detail.false_sentences),
        keyword=event.name,
        questions=article.questions,
        real_question=article.real_question,
        fake_questions=detail.fake_questions,
        true_answer=detail.true_answer,
    )

    def parse_translation(value: Any) -> Texts:
        found = Texts.model_validate(value)
        return _sound(found, translation_faults(found, source))

    texts = {SOURCE: source} | {tag: client.ask(translation_prompt(source, tag), parse_translation, EXACT) for tag in settings.targets}
    places = [own.after for own in detail.false_sentences]
    # A model asked in one language may name the firm in another's spelling.
    forms = [own.keyword for own in texts.values()]
    editions = {tag: own.edition(places, forms) for tag, own in texts.items()}
    return Story(id=name, kind=event.kind, editions=editions)


def outline_prompt(settings: BuildSettings, taken: Sequence[Event]) -> str:
    """What the next events are asked for with."""
    lines = "\n".join(f"- {event.headline} (name: {event.name})" for event in taken)
    return prompts.OUTLINE.format(topic=settings.topic, count=AT_ONCE, taken=prompts.TAKEN.format(lines=lines) if taken else "")


def article_prompt(event: Event, settings: BuildSettings) -> str:
    """What the article is asked for with."""
    return prompts.ARTICLE.format(headline=event.headline, name=event.name, sentences=settings.sentences, questions=settings.questions)


def detail_prompt(article: Sequence[str], event: Event, settings: BuildSettings) -> str:
    """What the false detail is asked for with."""
    lines = "\n".join(f"{number}. {sentence}" for number, sentence in enumerate(article, start=1))
    return prompts.FALSE_DETAIL.format(article=lines, name=event.name, wordings=settings.wordings)


def translation_prompt(source: Texts, tag: str) -> str:
    """What a translation is asked for with."""
    texts = json.dumps(source.model_dump(mode="json"), ensure_ascii=False, indent=0)
    return prompts.TRANSLATION.format(language=get_language(tag).name, texts=texts)


def _sound(item: Item, faults: Sequence[str]) -> Item:
    if faults:
        raise ValueError("; ".join(faults[:5]))
    return item
