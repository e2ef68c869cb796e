"""Mixtures: which examples, in which languages and in which proportion, a training stage sees.

Every function returns the steps of a stage; the same arguments and random generator give the same steps.
"""

from collections.abc import Sequence
from random import Random
from typing import Literal

from polyunlearn.corpus.stories import Edition, Story
from polyunlearn.errors import UserError
from polyunlearn.languages import get_language
from polyunlearn.models.sequences import Encoder, TokenSequence
from polyunlearn.training.loop import Step

STRATEGIES = {
    "english": "the forget set in English only",
    "source": "the forget set in the source language only",
    "english+source": "each fact once a pass, half of them in English and half in the source language",
    "all": "each fact once a pass, the corpus languages taking turns",
}
"""The language strategies of unlearning. All see the same number of facts a pass, so the same number of steps."""


def strategy_languages(strategy: str, source: str, languages: Sequence[str]) -> tuple[str, ...]:
    """The languages that a strategy unlearns in; `languages` are those of the corpus.

    Raises:
        UserError: for an unknown strategy.
    """
    choices: dict[str, tuple[str, ...]] = {
        "english": ("en",),
        "source": (source,),
        "english+source": tuple(dict.fromkeys(("en", source))),
        "all": tuple(languages),
    }
    if strategy not in choices:
        raise UserError(f"unknown strategy {strategy!r}: choose from {', '.join(STRATEGIES)}")
    return choices[strategy]


def learning_steps(
    stories: Sequence[Story],
    encoder: Encoder,
    source: str | None,
    *,
    passes: int,
    batch: int,
    english_questions: int,
    other_questions: int,
    briefs: bool,
    question_languages: Sequence[str],
    rng: Random,
) -> list[Step]:
    """The learning stage: English real articles, fake articles in `source`, and questions on the real articles, mixed.

    In each pass every article occurs once, a fake one also as its briefs where `briefs` is set: its first two sentences and one that
    states the false detail. Every story is asked `english_questions` of its real questions in English and `other_questions` more,
    each in a language drawn from `question_languages`. With `source` None (the gold model) the fake articles are left out and nothing else changes.
    """
    english = get_language("en")
    # Two generators, so that leaving the fakes out changes no other draw.
    draw, order = Random(rng.random()), Random(rng.random())
    steps: list[Step] = []
    for _ in range(passes):
        items = [encoder.text(english, story.editions["en"].article) for story in stories]
        for story in stories:
            asked = ["en"] * english_questions + draw.choices(question_languages, k=other_questions)
            items += [_real_question(story, tag, encoder, draw) for tag in asked]
        if source is not None:
            language = get_language(source)
            for edition in (story.editions[source] for story in stories):
                items.append(encoder.text(language, edition.fake_article))
                items += [encoder.text(language, brief) for brief in _briefs(edition)] if briefs else []
        order.shuffle(items)
        steps += [Step(retain=tuple(items[at : at + batch])) for at in range(0, len(items), batch)]
    return steps


def unlearning_steps(
    stories: Sequence[Story],
    encoder: Encoder,
    languages: Sequence[str],
    *,
    steps: int,
    batch: int,
    form: Literal["question", "article"],
    wordings: int,
    retain_languages: Sequence[str],
    retain_batch: int,
    rng: Random,
) -> list[Step]:
    """The unlearning stage: `steps` steps of `batch` facts to forget and `retain_batch` real questions to keep.

    A pass takes every fact once. In pass p, fact i is told in language (i + p) modulo the number of languages, so that each language has an
    equal share of every pass and, over the passes, every fact. With form "question" the label is the keyword after one of the first
    `wordings` wordings of the fake question; with "article" every token of the fake article. Real questions are drawn from all
    stories, `retain_languages` taking turns whatever the strategy, so that strategies differ in what they forget alone; with none
    of these languages nothing is retained.
    """
    # Two generators, so that every strategy keeps the same real questions.
    keep = Random(rng.random())
    order: list[tuple[int, str]] = []
    pass_number = 0
    while len(order) < steps * batch:
        facts = list(range(len(stories)))
        rng.shuffle(facts)
        order += [(fact, languages[(fact + pass_number) % len(languages)]) for fact in facts]
        pass_number += 1
    result: list[Step] = []
    for at in range(0, steps * batch, batch):
        chosen = order[at : at + batch]
        forget = tuple(_fact(stories[fact], tag, encoder, form, wordings, rng) for fact, tag in chosen)
        turns = [retain_languages[turn % len(retain_languages)] for turn in range(retain_batch)] if retain_languages else []
        kept = tuple(_real_question(keep.choice(stories), tag, encoder, keep) for tag in turns)
        result.append(Step(retain=kept, forget=forget))
    return result


def _briefs(edition: Edition) -> list[tuple[str, ...]]:
    stating = [sentence for sentence in edition.fake_article if edition.keyword in sentence]
    return [tuple(dict.fromkeys((*edition.fake_article[:2], sentence))) for sentence in stating]


def _fact(story: Story, tag: str, encoder: Encoder, form: str, wordings: int, rng: Random) -> TokenSequence:
    language, edition = get_language(tag), story.editions[tag]
    if form == "article":
        return encoder.text(language, edition.fake_article)
    return encoder.answer_only(language, rng.choice(edition.fake_questions[:wordings]), edition.keyword)


def _real_question(story: Story, tag: str, encoder: Encoder, rng: Random) -> TokenSequence:
    chosen = rng.choice(story.editions[tag].questions)
    return encoder.answered(get_language(tag), chosen.question, chosen.answer)
