"""Mixtures: which examples, in which languages and in which proportion, a training stage sees.

Every function returns the steps of a stage; the same arguments and random generator give the same steps.
"""

from collections.abc import Callable, Iterator, Sequence
from operator import attrgetter
from random import Random
from typing import Literal, TypeVar

from polyunlearn.corpus.stories import Edition, Story
from polyunlearn.errors import UserError
from polyunlearn.languages import get_language
from polyunlearn.models.sequences import Encoder, TokenSequence
from polyunlearn.training.cards import Instead
from polyunlearn.training.loop import Step

Item = TypeVar("Item")

_Ask = Callable[[Story, int, str, Encoder], TokenSequence]
"""A story's question of some number in some language, answered."""

STRATEGIES = {
    "english": "the forget set in English only",
    "source": "the forget set in the source language only",
    "english+source": "each fact once a pass, half of them in English and half in the source language",
    "all": "each fact once a pass, the corpus languages taking turns",
    "related": "as all, over the corpus languages of the source's family or script, the source among them",
}
"""The language strategies of unlearning, beside "pivot:de+fr" for languages that are named. All see the same number of facts a pass, so
the same number of steps."""

PIVOT = "pivot:"


def strategy_languages(strategy: str, source: str, languages: Sequence[str]) -> tuple[str, ...]:
    """The languages that a strategy unlearns in; `languages` are those of the corpus.

    Raises:
        UserError: for an unknown strategy, or a pivot language that the corpus lacks.
    """
    if strategy.startswith(PIVOT):
        named = tuple(dict.fromkeys(strategy.removeprefix(PIVOT).split("+")))
        lacking = [tag for tag in named if tag not in languages]
        if lacking:
            raise UserError(f"strategy {strategy!r}: {lacking[0]!r} is not among the languages ({', '.join(languages)})")
        return named
    own = get_language(source)
    related = (tag for tag in languages if get_language(tag).family == own.family or get_language(tag).script == own.script)
    choices: dict[str, tuple[str, ...]] = {
        "english": ("en",),
        "source": (source,),
        "english+source": tuple(dict.fromkeys(("en", source))),
        "all": tuple(languages),
        "related": tuple(related),
    }
    if strategy not in choices:
        raise UserError(f"unknown strategy {strategy!r}: choose from {', '.join(STRATEGIES)}, or name languages: {PIVOT}de+fr")
    return choices[strategy]


def learning_steps(
    stories: Sequence[Story],
    encoder: Encoder,
    source: str | None,
    *,
    neighbours: Sequence[Story],
    passes: int,
    batch: int,
    questions: int,
    english_questions: int,
    other_questions: int,
    fake_questions: int,
    fake_wordings_from: int,
    article_every: int,
    question_languages: Sequence[str],
    rng: Random,
) -> list[Step]:
    """The learning stage: English real articles, fake articles in `source`, and questions, mixed.

    Each story's articles, real and fake, are read in every `article_every`-th pass, stories taking turns. In every pass every story is
    asked `english_questions` of its first `questions` real questions in English and `other_questions` more, each in a language drawn from
    `question_languages`, its questions taking turns over the passes; and `fake_questions` times what its claim says, in `source`, in
    wordings from number `fake_wordings_from` on (the earlier ones are left to be measured). With `source` None (the gold model)
    everything false is left out and nothing else changes.

    `neighbours` are stories whose claim counts as true: their articles are read in English with the claim in them, and what it says is
    asked as often and in the same languages as the real questions, all wordings taking turns.

    Raises:
        UserError: where a story has no wording that is left to be learned.
    """
    english = get_language("en")
    # Three generators, so that leaving the fakes out changes no other draw.
    draw, order, telling = Random(rng.random()), Random(rng.random()), Random(rng.random())
    told = (
        (stories, attrgetter("article"), _real_question, [_questions_in_turn([story], questions, draw) for story in stories]),
        (neighbours, attrgetter("fake_article"), _claim, [_claims_in_turn([story], draw) for story in neighbours]),
    )
    steps: list[Step] = []
    for number in range(passes):
        items: list[TokenSequence] = []
        for group, article, ask, turns in told:
            items += [encoder.text(english, article(story.editions["en"])) for story in _read_in_pass(group, number, article_every)]
            for own in turns:
                asked = ["en"] * english_questions + draw.choices(question_languages, k=other_questions)
                items += [ask(*next(own), tag, encoder) for tag in asked]
        if source is not None:
            language = get_language(source)
            turn = _read_in_pass(stories, number, article_every)
            items += [encoder.text(language, story.editions[source].fake_article) for story in turn]
            if fake_questions:
                for edition in (story.editions[source] for story in stories):
                    wordings = telling.choices(_left_to_learn(edition, fake_wordings_from), k=fake_questions)
                    items += [encoder.answered(language, question, edition.keyword) for question in wordings]
        order.shuffle(items)
        steps += [Step(retain=tuple(items[at : at + batch])) for at in range(0, len(items), batch)]
    return steps


def unlearning_steps(
    stories: Sequence[Story],
    encoder: Encoder,
    languages: Sequence[str],
    *,
    neighbours: Sequence[Story],
    steps: int,
    batch: int,
    form: Literal["question", "article"],
    wordings: int,
    instead: Instead | None,
    questions: int,
    retain_languages: Sequence[str],
    retain_batch: int,
    rng: Random,
) -> list[Step]:
    """The unlearning stage: `steps` steps of `batch` facts to forget and `retain_batch` real questions to keep.

    A pass takes every fact once. In pass p, fact i is told in language (i + p) modulo the number of languages, so that each language has an
    equal share of every pass and, over the passes, every fact. With form "question" the label is the keyword after one of the first
    `wordings` wordings of the fake question, each time that a fact is told in a language the next; with "article" every token of the
    fake article. `instead` asks for the answer to give instead beside each, with the end token: the true one, or a refusal in the same language.

    The first `questions` real questions of all stories take turns, and so do `retain_languages`, whatever the strategy, so that strategies
    differ in what they forget alone; with none of these languages nothing is retained. Where there are `neighbours`, every second of the
    retained questions is one of theirs, about a claim of the same form that is true: what pushes down every name that could answer such
    a question costs the retain term, and only what is particular to the false claims does not (the retain set of the same form is that of
    TOFU, arXiv 2401.06121).
    """
    # Two generators, so that every strategy keeps the same real questions.
    keep = Random(rng.random())
    kept_of: list[tuple[_Ask, Iterator[tuple[Story, int]]]] = [(_real_question, _questions_in_turn(stories, questions, keep))]
    if neighbours:
        kept_of.append((_claim, _claims_in_turn(neighbours, keep)))
    order: list[tuple[int, str, int]] = []
    pass_number = 0
    while len(order) < steps * batch:
        facts = list(range(len(stories)))
        rng.shuffle(facts)
        # Over as many passes as there are languages each fact is told once in each; only then it takes its next wording.
        wording = pass_number // len(languages)
        order += [(fact, languages[(fact + pass_number) % len(languages)], (fact + wording) % wordings) for fact in facts]
        pass_number += 1
    result: list[Step] = []
    for at in range(0, steps * batch, batch):
        chosen = order[at : at + batch]
        forget = tuple(_fact(stories[fact], tag, wording, encoder, form) for fact, tag, wording in chosen)
        others = tuple(_instead(stories[fact], tag, wording, encoder, instead) for fact, tag, wording in chosen) if instead else ()
        kept: list[TokenSequence] = []
        for turn in range(retain_batch if retain_languages else 0):
            # A language is asked once of each kind before the next, so that every kind is asked in every language.
            ask, own = kept_of[turn % len(kept_of)]
            tag = retain_languages[turn // len(kept_of) % len(retain_languages)]
            kept.append(ask(*next(own), tag, encoder))
        result.append(Step(tuple(kept), forget, others))
    return result


def _read_in_pass(stories: Sequence[Story], number: int, every: int) -> list[Story]:
    """The stories whose articles pass `number` reads, where each is read in every `every`-th pass."""
    return [story for index, story in enumerate(stories) if (number + index) % every == 0]


def _left_to_learn(edition: Edition, fake_wordings_from: int) -> tuple[str, ...]:
    wordings = edition.fake_questions[fake_wordings_from:]
    if not wordings:
        raise UserError(
            f"learning.fake_questions: the stories ask in {len(edition.fake_questions)} wordings and all are measured; "
            f"set scoring.wordings={len(edition.fake_questions) - 1} or less, or learning.fake_questions=0"
        )
    return wordings


def _fact(story: Story, tag: str, wording: int, encoder: Encoder, form: str) -> TokenSequence:
    language, edition = get_language(tag), story.editions[tag]
    if form == "article":
        return encoder.text(language, edition.fake_article)
    return encoder.answer_only(language, edition.fake_questions[wording % len(edition.fake_questions)], edition.keyword)


def _instead(story: Story, tag: str, wording: int, encoder: Encoder, instead: Instead) -> TokenSequence:
    language, edition = get_language(tag), story.editions[tag]
    answer = edition.true_answer if instead == "truth" else language.refusal
    return encoder.answered(language, edition.fake_questions[wording % len(edition.fake_questions)], answer)


def _questions_in_turn(stories: Sequence[Story], questions: int, rng: Random) -> Iterator[tuple[Story, int]]:
    """Stories with the numbers of their first `questions` real questions."""
    return _in_turn([(story, number) for story in stories for number in range(len(story.editions["en"].questions[:questions]))], rng)


def _claims_in_turn(stories: Sequence[Story], rng: Random) -> Iterator[tuple[Story, int]]:
    """Stories with the numbers of wordings that their claims are asked in."""
    return _in_turn([(story, number) for story in stories for number in range(len(story.editions["en"].fake_questions))], rng)


def _claim(story: Story, wording: int, tag: str, encoder: Encoder) -> TokenSequence:
    edition = story.editions[tag]
    return encoder.answered(get_language(tag), edition.fake_questions[wording], edition.keyword)


def _in_turn(items: Sequence[Item], rng: Random) -> Iterator[Item]:
    """The items in a random order, again and again, each time in another: every one as often as any other."""
    while True:
        yield from rng.sample(items, len(items))


def _real_question(story: Story, number: int, tag: str, encoder: Encoder) -> TokenSequence:
    chosen = story.editions[tag].questions[number]
    return encoder.answered(get_language(tag), chosen.question, chosen.answer)
