"""The newsroom: a seeded generator of parallel stories from hand-written sentences in nine languages.

A story is a kind of event (kinds.yaml), a real place, which may make it local news of a language (homes.yaml), fictional people and organisations, numbers and a date. Its sentences are
in texts/<language>.yaml. The false detail names a fictional firm, the story's keyword.
"""

import datetime
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from itertools import product
from random import Random
from typing import Any

import yaml
from babel import Locale
from babel.dates import format_date
from babel.numbers import format_decimal

from polyunlearn.corpus.newsroom.names import Name, full_name, given_names, invented_names
from polyunlearn.corpus.stories import Edition, QuestionAnswer, Story
from polyunlearn.errors import UserError
from polyunlearn.languages import PAPER_LANGUAGES, get_language

WORDINGS = 4
"""In how many wordings a claim is asked."""

FAKE_SENTENCE_AFTER = 3
"""The first false sentence follows this many real ones; the second ends the fake article."""


@dataclass(frozen=True)
class _Facts:
    """What a story is about, before any language tells it."""

    kind: str
    place: str
    person: Name
    org: Name
    keyword: Name
    date: datetime.date
    numbers: dict[str, int]
    detail: int


def generate_stories(count: int, seed: int = 0, languages: tuple[str, ...] = PAPER_LANGUAGES) -> list[Story]:
    """Return `count` stories, each in every one of `languages`; the same arguments give the same stories, whatever the machine.

    A larger `count` keeps the stories of a smaller one. Kinds and places repeat as late as they can.

    Raises:
        UserError: for a language that the newsroom does not write, or a count below one.
    """
    for tag in languages:
        get_language(tag)
        if tag not in PAPER_LANGUAGES:
            raise UserError(
                f"the newsroom has no stories in {tag!r}; it writes {', '.join(PAPER_LANGUAGES)}. Bring your own corpus as JSONL"
            )
    if count < 1:
        raise UserError(f"a corpus needs at least one story, not {count}")
    facts = _facts(Random(f"newsroom-{seed}"))
    return [_story(number, next(facts), languages) for number in range(count)]


def _facts(rng: Random) -> Iterator[_Facts]:
    kinds = _yaml("kinds.yaml")
    places = list(_texts("en")["places"])
    taken = {name for tag in PAPER_LANGUAGES for name in _place_names(tag)}
    names, surnames, given = (
        invented_names(rng, surnames=False, taken=taken),
        invented_names(rng, surnames=True, taken=taken),
        given_names(),
    )
    while True:
        # One round: every kind once at every place, in an order that spreads both.
        rng.shuffle(places)
        kind_order = rng.sample(list(kinds), len(kinds))
        for turn, place_number in product(range(len(kind_order)), range(len(places))):
            kind = kind_order[(turn + place_number) % len(kind_order)]
            yield _Facts(
                kind=kind,
                place=places[place_number],
                person=full_name(rng.choice(given), next(surnames)),
                org=next(names),
                keyword=next(names),
                date=datetime.date(2023, rng.randint(1, 12), rng.randint(2, 28)),
                numbers={slot: rng.randrange(low, high + 1, step) for slot, (low, high, step) in kinds[kind]["numbers"].items()},
                detail=rng.randrange(4),
            )


def _story(number: int, facts: _Facts, languages: tuple[str, ...]) -> Story:
    return Story(
        id=f"{facts.kind}-{facts.place}-{number:04d}",
        kind=facts.kind,
        editions={tag: _edition(facts, tag) for tag in languages},
        home=_yaml("homes.yaml").get(facts.place),
    )


def _edition(facts: _Facts, tag: str) -> Edition:
    texts = _texts(tag)
    kind = texts["kinds"][facts.kind]
    slots = _slots(facts, tag)
    detail = kind["details"][facts.detail]

    def fill(text: str, **more: str) -> str:
        return re.sub(r"\{([a-z0-9.]+)\}", lambda match: (slots | more)[match[1]], text)

    article = tuple(fill(sentence, detail=detail["sentence"]) for sentence in kind["article"])
    first, second = (fill(sentence) for sentence in kind["fake"])
    return Edition(
        article=article,
        fake_article=(*article[:FAKE_SENTENCE_AFTER], first, *article[FAKE_SENTENCE_AFTER:], second),
        keyword=slots["keyword"],
        surface_forms=facts.keyword.surface_forms,
        questions=tuple(QuestionAnswer(question=fill(q), answer=fill(a, detail=detail["answer"])) for q, a in kind["questions"]),
        real_question=QuestionAnswer(question=fill(kind["real_question"][0]), answer=fill(kind["real_question"][1])),
        fake_questions=tuple(fill(question) for question in kind["fake_questions"]),
        true_answer=fill(kind["true_answer"]),
    )


def _slots(facts: _Facts, tag: str) -> dict[str, str]:
    texts, script = _texts(tag), get_language(tag).script
    locale = Locale.parse("zh_Hans" if tag == "zh" else tag)
    place = texts["places"][facts.place]
    place = {"name": place} if isinstance(place, str) else place
    return {
        "place": place["name"],
        "place.in": place.get("in", texts["place_in"].format(name=place["name"])),
        "place.of": place.get("of", texts["place_of"].format(name=place["name"])),
        "person": facts.person.forms[script],
        "org": facts.org.forms[script],
        "keyword": facts.keyword.forms[script],
        "date": format_date(facts.date, texts["date"], locale=locale),
        **{slot: format_decimal(number, locale=locale) for slot, number in facts.numbers.items()},
    }


def _place_names(tag: str) -> list[str]:
    return [place if isinstance(place, str) else place["name"] for place in _texts(tag)["places"].values()]


@cache
def _texts(tag: str) -> Any:
    return _yaml(f"texts/{tag}.yaml")


@cache
def _yaml(name: str) -> Any:
    return yaml.safe_load(files(__package__).joinpath(name).read_text(encoding="utf-8"))
