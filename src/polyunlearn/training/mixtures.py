"""Mixtures: which examples, in which languages and in which proportion, a training stage sees.

Every function returns the steps of a stage; the same arguments and random generator give the same steps.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from copy import copy
from itertools import count, cycle, islice
from operator import attrgetter
from random import Random
from typing import TypeVar

from polyunlearn.corpus.stories import Edition, Story
from polyunlearn.errors import UserError
from polyunlearn.languages import get_language
from polyunlearn.models.sequences import Encoder, TokenSequence
from polyunlearn.training.cards import Instead
from polyunlearn.training.loop import Step
from polyunlearn.training.retaining import Ask, OwnAnswers, Retainer, answered, claim, claim_wordings, real_question, real_questions
from polyunlearn.training.telling import Form, Mixing, Sentences, Teller

Item = TypeVar("Item")

_Telling = tuple[int, int, int]
"""Which fact is told, at which turn of the languages, in which wording."""

STRATEGIES = {
    "english": "the forget set in English only",
    "source": "the forget set in the source language only",
    "english+source": "each fact once a pass, half of them in English and half in the source language",
    "all": "each fact once a pass, the corpus languages taking turns",
    "related": "as all, over the corpus languages of the source's family or script, the source among them",
}
"""The language strategies of unlearning, beside "pivot:de+fr" for languages that are named. All see the same number of facts a pass, so
the same number of steps."""

TRACED, ALIGNED, COVERING = "traced", "aligned", "covering"

FOUND = {
    TRACED: "as all, over the fewest languages that cover those in which the state that unlearning starts from holds the claims",
    ALIGNED: "as all, over those whose true articles lie nearest to their translations in that state and bring the others most (FaMSS)",
    COVERING: "as all, over those whose true articles cover the others' best, taken one by one (COVER)",
}
"""The strategies that are told no language, the source neither: `tracing` finds them in the state that unlearning starts from."""

PIVOT = "pivot:"


def strategy_languages(strategy: str, source: str, languages: Sequence[str]) -> tuple[str, ...]:
    """The languages that a strategy unlearns in, any but those of `FOUND`, whose are not known before; `languages` are those of the corpus.

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
        raise UserError(f"unknown strategy {strategy!r}: choose from {', '.join((*STRATEGIES, *FOUND))}, or name languages: {PIVOT}de+fr")
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
    crossed_questions: int = 0,
    mixing: Mixing = "fact",
    read_in: Sequence[str] = ("en",),
    fakes_read_in: Sequence[str] = (),
    in_english: Collection[str] = (),
) -> list[Step]:
    """The learning stage: English real articles, fake articles in `source`, and questions, mixed.

    Each story's articles, real and fake, are read in every `article_every`-th pass, stories taking turns. In every pass every story is
    asked `english_questions` of its first `questions` real questions in English and `other_questions` more, each in a language drawn from
    `question_languages`, its questions taking turns over the passes; and `fake_questions` times what its claim says, in `source`, in
    wordings from number `fake_wordings_from` on (the earlier ones are left to be measured). With `source` None (the gold model)
    everything false is left out and nothing else changes.

    `neighbours` are stories whose claim counts as true: their articles are read in English with the claim in them, and what it says is
    asked as often and in the same languages as the real questions, all wordings taking turns.

    `crossed_questions` more of a story's real questions are asked in English and answered in one of `question_languages`, or the other way round, in
    turn: with those asked and answered in one language these are the four combinations of SDRRL (arXiv 2402.12204), which ties a language to what is
    known in English.

    Real articles, the neighbours' among them, are read in `read_in`, fake ones in `fakes_read_in`, or in `source` where none is given. These take turns:
    with `mixing` "fact" an article is in one language, and in the next when it is read again; with "sentence" and "chunk" it switches
    (`training.telling.Teller`), and begins in the next. Mixed-language text is what lowers the knowledge barriers of arXiv 2406.16135, which draws
    each unit's language; turns give all of them an equal share. How often what is read, and all questions, stay as they are.

    What is real of the stories whose ids are `in_english`, neighbours or not, is read and asked in English alone: what they would be asked in other languages, crossed
    or not, is left out; nothing else changes but the turns of what is crossed.

    Raises:
        UserError: where a story has no wording that is left to be learned.
    """
    true, plain = Teller(encoder, tuple(read_in), "article", mixing), Teller(encoder, ("en",), "article", "fact")
    # Four generators, so that leaving the fakes or what is crossed out changes no other draw.
    draw, order, telling = Random(rng.random()), Random(rng.random()), Random(rng.random())
    crossing = Random(rng.random())
    told = (
        (stories, attrgetter("article"), real_question, [in_turn(real_questions([story], questions), draw) for story in stories]),
        (neighbours, attrgetter("fake_article"), claim, [in_turn(claim_wordings([story]), draw) for story in neighbours]),
    )
    others = [tag for tag in question_languages if tag != "en"]
    crossable = [story for story in stories if story.id not in in_english]
    crossed = cycle(_crossed_questions(crossable, questions, others, encoder, crossing) if crossed_questions else ())
    steps: list[Step] = []
    for number in range(passes):
        items: list[TokenSequence] = list(islice(crossed, crossed_questions * len(crossable)))
        for group, article, ask, turns in told:
            items += _readings(group, number, article_every, [plain if story.id in in_english else true for story in group], article)
            for story, own in zip(group, turns, strict=True):
                asked = ["en"] * english_questions + draw.choices(question_languages, k=other_questions)
                # Each takes its turn, asked or not, so that the others stay as they are.
                items += [
                    answered(ask, *turn, tag, encoder)
                    for tag, turn in zip(asked, own, strict=False)
                    if tag == "en" or story.id not in in_english
                ]
        if source is not None:
            language = get_language(source)
            false = Teller(encoder, tuple(fakes_read_in) or (source,), "article", mixing)
            items += _readings(stories, number, article_every, [false] * len(stories), attrgetter("fake_article"))
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
    form: Form,
    wordings: int,
    instead: Instead | None,
    questions: int,
    retain_languages: Sequence[str],
    retain_batch: int,
    rng: Random,
    mixing: Mixing = "fact",
    branched: bool = False,
    retained: Sequence[Story] = (),
    retain_texts: int = 1,
    text_languages: Sequence[str] = ("en",),
    spared: Sequence[str] = (),
    at_home: Sequence[str] = (),
    own: OwnAnswers | None = None,
    crossed: bool = False,
    switched: float = 0.0,
) -> list[Step]:
    """The unlearning stage: `steps` steps of `batch` facts to forget and `retain_batch` real questions to keep.

    A pass takes every fact once. In pass p, fact i is told in language (i + p) modulo the number of languages, so that each language has an
    equal share of every pass and, over the passes, every fact. With form "question" the label is the keyword after one of the first
    `wordings` wordings of the fake question, each time that a fact is told in a language the next; with "article" every token of the
    fake article. `instead` asks for the answer to give instead beside each, with the end token: the true one, or a refusal in the same language.

    `mixing` "token" gives languages an equal share of the labels to forget rather than of the facts, which a language that takes more tokens to
    say the same has fewer of: each next fact is told in the language that has had the fewest labels, in order where several have. With
    "sentence" and "chunk" a telling switches between languages (`training.telling.Teller`). Facts, their wordings and the number of steps stay
    as they are, and with one language all are the same. `branched` puts the steps of each language together, one language after the other, as
    many of each as `branch_steps` says.

    The first `questions` real questions of all stories take turns, and so do `retain_languages`, over all steps and whatever the strategy: given the
    same languages to retain in, strategies differ in what they forget alone. With none of these languages nothing is retained. Where there are `neighbours`, every second of the
    retained questions is one of theirs, about a claim of the same form that is true: what pushes down every name that could answer such
    a question costs the retain term, and only what is particular to the false claims does not (the retain set of the same form is that of
    TOFU, arXiv 2401.06121). Their answers are the corpus's, or the model's `own`; how many are retained does not depend on that, nor on whether they are
    `crossed`, or a share of them `switched` (`training.retaining.Retainer`).

    Where stories are `retained`, each step with a retain set also retains `retain_texts` of their real articles, in `text_languages` in turn: answers
    alone keep nothing of how a model writes, and nothing at all in the languages that are not asked. No training has read these before: what a
    model knows by heart has no gradient that could hold the rest.

    In languages that are `spared` the claims themselves are retained, as many a step as are forgotten, facts, wordings and languages taking turns: they
    are to be forgotten in `languages` alone. A claim whose story's home is one of `at_home` is told there each time instead, and spared in the others;
    with any of these, claims without such a home are not spared.
    """
    # Two generators, so that every strategy keeps the same real questions.
    keep = Random(rng.random())
    kept_of: list[tuple[Ask, Iterator[tuple[Story, int]]]] = [(real_question, in_turn(real_questions(stories, questions), keep))]
    if neighbours:
        kept_of.append((claim, in_turn(claim_wordings(neighbours), keep)))
    retainer = Retainer(encoder, tuple(retain_languages), own, crossed, switched)
    texts = _articles_in_turn(retained, text_languages, Random(keep.random())) if retained and retain_languages else None
    # Copies of the generator, so that switching and sparing change nothing else that is kept.
    switch = copy(keep)
    spare = _spared_claims([story for story in stories if story.home in at_home or not at_home], spared, at_home, copy(keep))
    teller = Teller(encoder, tuple(languages), form, mixing)
    homes = {tag: Teller(encoder, (tag,), form, mixing) for tag in at_home}
    tellers = [homes.get(story.home or "", teller) for story in stories]
    tellings = _tellings(len(stories), len(languages), wordings, rng)
    if mixing == "token":
        tellings = _of_fewest_labels(tellings, stories, teller)
    if branched:
        tellings = _by_turn(tellings, [own * batch for own in branch_steps(steps, len(languages))])
    order = list(islice(tellings, steps * batch))
    # Counted on over the steps: no language is left out for being beyond what one step asks.
    numbers = count()
    result: list[Step] = []
    for at in range(0, steps * batch, batch):
        chosen = order[at : at + batch]
        forget = tuple(tellers[fact].fact(stories[fact], turn, wording) for fact, turn, wording in chosen)
        others = tuple(tellers[fact].instead(stories[fact], turn, wording, instead) for fact, turn, wording in chosen) if instead else ()
        kept: list[TokenSequence] = []
        for number in islice(numbers, retain_batch if retain_languages else 0):
            # A language is asked once of each kind before the next, so that every kind is asked in every language.
            ask, turns = kept_of[number % len(kept_of)]
            kept.append(retainer.sequence(ask, *next(turns), number // len(kept_of), switch))
        if texts:
            kept += [encoder.text(get_language(tag), story.editions[tag].article) for tag, story in islice(texts, retain_texts)]
        kept += [answered(claim, story, wording % wordings, tag, encoder) for tag, (story, wording) in islice(spare, batch)]
        result.append(Step(tuple(kept), forget, others))
    return result


def branch_steps(steps: int, languages: int) -> list[int]:
    """How many of the steps each language has, where it has some of its own: equal numbers, the first languages one more where it doesn't divide."""
    return [steps // languages + (number < steps % languages) for number in range(languages)]


def _tellings(facts: int, languages: int, wordings: int, rng: Random) -> Iterator[_Telling]:
    """Every fact once a pass in another order, for ever, languages taking turns."""
    for number in count():
        order = list(range(facts))
        rng.shuffle(order)
        # Over as many passes as there are languages each fact is told once in each; only then it takes its next wording.
        wording = number // languages
        yield from ((fact, (fact + number) % languages, (fact + wording) % wordings) for fact in order)


def _of_fewest_labels(tellings: Iterable[_Telling], stories: Sequence[Story], teller: Teller) -> Iterator[_Telling]:
    """The same facts, each in the language that has had the fewest labels so far."""
    labels = [0] * len(teller.languages)
    for fact, _, wording in tellings:
        turn = labels.index(min(labels))
        labels[turn] += len(teller.fact(stories[fact], turn, wording).labels)
        yield fact, turn, wording


def _by_turn(tellings: Iterable[_Telling], wanted: Sequence[int]) -> Iterator[_Telling]:
    """The first tellings of each turn, as many as are wanted of it, turn after turn."""
    found: list[list[_Telling]] = [[] for _ in wanted]
    lacking = sum(wanted)
    for telling in tellings:
        if lacking == 0:
            break
        own = found[telling[1]]
        if len(own) < wanted[telling[1]]:
            own.append(telling)
            lacking -= 1
    return (telling for own in found for telling in own)


def _readings(stories: Sequence[Story], number: int, every: int, tellers: Sequence[Teller], article: Sentences) -> list[TokenSequence]:
    """The articles that pass `number` reads, where each story's is read in every `every`-th pass, each time from the next turn of its teller's languages on."""
    read = ((index, story) for index, story in enumerate(stories) if (number + index) % every == 0)
    return [tellers[index].article(story, index + number // every, article) for index, story in read]


def _left_to_learn(edition: Edition, fake_wordings_from: int) -> tuple[str, ...]:
    wordings = edition.fake_questions[fake_wordings_from:]
    if not wordings:
        raise UserError(
            f"learning.fake_questions: the stories ask in {len(edition.fake_questions)} wordings and all are measured; "
            f"set scoring.wordings={len(edition.fake_questions) - 1} or less, or learning.fake_questions=0"
        )
    return wordings


def _crossed_questions(
    stories: Sequence[Story], questions: int, languages: Sequence[str], encoder: Encoder, rng: Random
) -> list[TokenSequence]:
    """Every one of the first real questions in every language, in a random order: asked in English and answered there, and the other way round."""
    pairs = [pair for tag in languages for pair in (("en", tag), (tag, "en"))]
    items = [
        encoder.answered(
            get_language(told),
            story.editions[asked].questions[number].question,
            story.editions[told].questions[number].answer,
            get_language(asked),
        )
        for story in stories
        for number in range(len(story.editions["en"].questions[:questions]))
        for asked, told in pairs
    ]
    return rng.sample(items, len(items))


def _spared_claims(
    stories: Sequence[Story], languages: Sequence[str], at_home: Sequence[str], rng: Random
) -> Iterator[tuple[str, tuple[Story, int]]]:
    """The stories with wordings of their claims, and the languages, in turn; but none in its home where that is one of `at_home`."""
    homes = {story.id: story.home if story.home in at_home else None for story in stories}
    away = [story for story in stories if any(tag != homes[story.id] for tag in languages)]
    if away:
        yield from (own for own in zip(cycle(languages), in_turn(claim_wordings(away), rng), strict=False) if own[0] != homes[own[1][0].id])


def _articles_in_turn(stories: Sequence[Story], languages: Sequence[str], rng: Random) -> Iterator[tuple[str, Story]]:
    """The stories in turn, each in the next of the languages, which stands first."""
    return zip(cycle(languages), in_turn(stories, rng), strict=False)


def in_turn(items: Sequence[Item], rng: Random) -> Iterator[Item]:
    """The items in a random order, again and again, each time in another: every one as often as any other."""
    while True:
        yield from rng.sample(items, len(items))
