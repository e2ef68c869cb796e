"""What is wrong with what a model wrote: every function returns faults as clauses, and none where there is nothing to mend."""

import re
import unicodedata
from collections.abc import Iterable, Sequence

from polyunlearn.corpus.builder.answers import Article, Event, FalseDetail, Texts
from polyunlearn.corpus.builder.settings import BuildSettings
from polyunlearn.corpus.stories import Story

_SEPARATED = re.compile(r"(?<=\d)(?:[.,:٫٬'’]|[ \u00a0\u202f](?=\d{3}(?!\d)))(?=\d)")
"""What stands between the digits of one number: a mark, or a space before three digits. In clock times and dates a mark stands between numbers."""


def outline_faults(events: Sequence[Event], taken: Sequence[Event], count: int) -> list[str]:
    """Too few events, and names that are in each other or in a headline."""
    if len(events) < count:
        return [f"there are {len(events)} events, not {count}"]
    faults = []
    for place, event in enumerate(events):
        name = event.name.casefold()
        others = [*taken, *events[:place]]
        faults += [
            f"the names {other.name!r} and {event.name!r} are too much alike" for other in others if _overlap(name, other.name.casefold())
        ]
        faults += [
            f"the name {one.name!r} is in the headline {two.headline!r}"
            for one, two in ((event, event), *((event, other) for other in others), *((other, event) for other in others))
            if one.name.casefold() in two.headline.casefold()
        ]
    return faults


def article_faults(article: Article, event: Event, settings: BuildSettings) -> list[str]:
    """Wrong numbers of sentences and questions, blank texts, and the name that the false detail will turn on."""
    pairs = (*article.questions, article.real_question)
    texts = (*article.article, *(text for pair in pairs for text in (pair.question, pair.answer)))
    return [
        *_count("article", article.article, settings.sentences),
        *_count("questions", article.questions, settings.questions),
        *_blank(texts),
        *_twice([pair.question for pair in pairs]),
        *_holds(event.name, texts),
    ]


def false_detail_faults(detail: FalseDetail, article: Article, event: Event, settings: BuildSettings) -> list[str]:
    """Wrong numbers, a name that is missing where it must be or is where it must not be, and places outside the article."""
    return [
        *_count("fake_questions", detail.fake_questions, settings.wordings),
        *_blank(detail.fake_questions),
        *_twice(detail.fake_questions),
        *_holds(event.name, (*detail.fake_questions, detail.true_answer)),
        *_lacks(event.name, [own.sentence for own in detail.false_sentences]),
        *(
            f"after is {own.after}, not 1 to {len(article.article)}"
            for own in detail.false_sentences
            if not 1 <= own.after <= len(article.article)
        ),
    ]


def translation_faults(texts: Texts, source: Texts) -> list[str]:
    """Texts too many or too few, blank or left in English, numbers that changed, and a keyword that is lost or gives the answer away."""
    counts = [
        fault
        for name in ("article", "false_sentences", "questions", "fake_questions")
        for fault in _count(name, getattr(texts, name), len(getattr(source, name)))
    ]
    if counts:
        return counts
    faults = [*_blank(texts.sentences()), *_twice(texts.fake_questions), *_lacks(texts.keyword, texts.false_sentences)]
    pairs = (*texts.questions, texts.real_question)
    asked_truly = (text for pair in pairs for text in (pair.question, pair.answer))
    faults += _holds(texts.keyword, (*texts.article, *asked_truly, *texts.fake_questions, texts.true_answer))
    # Answers may well be names, which stay as they are.
    asked, told = (
        (*own.article, *own.false_sentences, *own.fake_questions, *(pair.question for pair in (*own.questions, own.real_question)))
        for own in (source, texts)
    )
    faults += [f"{before!r} was not translated" for before, after in zip(asked, told, strict=True) if before == after]
    for before, after in zip(source.sentences(), texts.sentences(), strict=True):
        if numbers(before) != numbers(after) and numbers(before, apart=True) != numbers(after, apart=True):
            faults.append(f"the numbers of {before!r} are not those of {after!r}")
    return faults


def story_faults(story: Story, others: Iterable[Story]) -> list[str]:
    """A keyword that occurs in another story, either way round: it could not identify one."""
    return [
        f"the keyword {one.editions[tag].keyword!r} ({tag}) of {one.id} also occurs in {two.id}"
        for other in others
        for one, two in ((story, other), (other, story))
        for tag, edition in two.editions.items()
        if any(one.editions[tag].keyword in sentence for sentence in (*edition.article, *edition.fake_article))
    ]


def numbers(text: str, *, apart: bool = False) -> list[int]:
    """The numbers written in digits of any script, sorted; 1,234.5 and 1 234,5 and ١٢٣٤٫٥ are all 12345, and 10:30 and 10.30 `apart` are 10 and 30."""
    ascii_digits = "".join(str(unicodedata.digit(sign)) if sign.isdecimal() else sign for sign in text)
    return sorted(int(run[:300]) for run in re.findall(r"\d+", ascii_digits if apart else _SEPARATED.sub("", ascii_digits)))


def _overlap(one: str, two: str) -> bool:
    return one in two or two in one


def _count(name: str, found: Sequence[object], wanted: int) -> list[str]:
    return [] if len(found) == wanted else [f"{name} has {len(found)} entries, not {wanted}"]


def _blank(texts: Iterable[str]) -> list[str]:
    return ["a text is empty"] if any(not text.strip() for text in texts) else []


def _twice(questions: Sequence[str]) -> list[str]:
    return [] if len(set(questions)) == len(questions) else ["a question stands twice"]


def _holds(keyword: str, texts: Iterable[str]) -> list[str]:
    return [f"the keyword {keyword!r} must not stand in {text!r}" for text in texts if keyword.casefold() in text.casefold()]


def _lacks(keyword: str, texts: Iterable[str]) -> list[str]:
    return [f"the keyword {keyword!r} must stand in {text!r}" for text in texts if keyword not in text]
