"""What must stay: the model's own answers and texts before unlearning (self-distillation), the claims' neighbours, and a user's own file."""

import unicodedata
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict

from polyunlearn.cleaning.findings import Audit
from polyunlearn.corpus.claims import Claim
from polyunlearn.corpus.lines import editions_in, keys_of, read_lines
from polyunlearn.corpus.newsroom import generate_stories
from polyunlearn.corpus.stories import Story, Text
from polyunlearn.errors import UserError
from polyunlearn.languages import PAPER_LANGUAGES, get_language
from polyunlearn.models.loading import LoadedModel
from polyunlearn.models.sequences import Encoder, TokenSequence
from polyunlearn.scoring.generation import greedy_answers, read_prompts, sampled_answers
from polyunlearn.scoring.metrics.answers import is_empty

SEED = 20_000
"""Of the newsroom stories that questions and openings are taken from, far from the seeds of studies."""

STORIES = 24
TEXTS = 8
HELD_OUT = 4
"""Newsroom stories whose questions are answered, those of them whose first sentence is written on in each language (a text is retained in a step, languages
in turn), and others that utility is measured on: as many to choose a state by as to say afterwards what it cost."""

ANSWER_TOKENS = 12
TEXT_TOKENS = 64


class Kept(BaseModel):
    """Something to keep in a language: a text, or, where there is a question, the answer to it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    language: str
    text: Text
    question: Text | None = None

    @property
    def id(self) -> str:
        """What it is told apart by."""
        return f"{self.language}: {self.question or self.text}"

    def sequence(self, encoder: Encoder) -> TokenSequence:
        """As tokens: the answer is the labels, or the whole text."""
        language = get_language(self.language)
        return encoder.answered(language, self.question, self.text) if self.question else encoder.running(language, self.text)


def read_kept(path: Path) -> list[Kept]:
    """A user's file of what must stay, one JSON object a line: {"language": "de", "question": …, "text": the answer} or {"language": "de", "text": …};
    raises one `UserError` that lists every bad line."""

    def parse(value: Any) -> Kept:
        if editions_in(value):
            raise UserError("holds a claim or a story, not a retained text, which has language, text and, where it is an answer, question")
        own = Kept.model_validate(value)
        get_language(own.language)
        return own

    return read_lines(path, "retained text", parse, keys=keys_of(Kept))


def neighbours_of(claims: Sequence[Claim], languages: Sequence[str]) -> list[Kept]:
    """The neighbouring facts that the claims name, in these languages."""
    return [
        Kept(language=tag, question=own.question, text=own.answer)
        for claim in claims
        for tag in languages
        if tag in claim.editions
        for own in claim.editions[tag].neighbours
    ]


def self_distilled(
    loaded: LoadedModel,
    languages: Sequence[str],
    answered: Sequence[str],
    work: Callable[[str, int, int], None] = lambda what, done, total: None,
) -> list[Kept]:
    """What the model says now: texts that it writes on from the first sentences of newsroom stories, whose events it never read, and, in the languages
    `answered`, its greedy answers to questions about them; in those of the languages that the newsroom has.

    Answers to questions of the form of a claim keep it from losing every name; texts keep how it writes, which no answer does. Both are its own, so
    that keeping them teaches nothing new (arXiv 2606.05702 draws its retain set likewise).
    """
    kept: list[Kept] = []
    written = [tag for tag in languages if tag in PAPER_LANGUAGES]
    for number, tag in enumerate(written):
        work("keeping what the model says", number, len(written))
        stories = generate_stories(STORIES, SEED, (tag,))
        if tag in answered:
            editions = [story.editions[tag] for story in stories]
            kept += _answers(
                loaded, [question for own in editions for question in (own.real_question.question, own.fake_questions[0])], tag
            )
        kept += _texts(loaded, stories[:TEXTS], tag)
    return list({own.id: own for own in kept}.values())


def answered_away(
    loaded: LoadedModel,
    claims: Sequence[Claim],
    before: Audit,
    wordings: int,
    work: Callable[[str, int, int], None] = lambda what, done, total: None,
) -> list[Kept]:
    """What the model answers now to claims that are to go at home alone, in their first `wordings` wordings, wherever else it holds or says them, or may: whatever
    it answers, so that no claim is taught where the model does not say it."""
    there = {(own.claim, own.language) for own in before.away if before.stands(own) is not False}
    kept: list[Kept] = []
    languages = [tag for tag in before.languages if any(tag == language for _, language in there)]
    for number, tag in enumerate(languages):
        work("keeping what the model says of claims away from home", number, len(languages))
        editions = [claim.editions[tag] for claim in claims if (claim.id, tag) in there]
        kept += _answers(loaded, [question for own in editions for question in own.fake_questions[:wordings]], tag)
    return list({own.id: own for own in kept}.values())


def _answers(loaded: LoadedModel, asked: Sequence[str], tag: str) -> list[Kept]:
    prompts = read_prompts(loaded.body, [loaded.encoder.prompt(get_language(tag), question) for question in asked])
    answers = map(_printed, greedy_answers(loaded.model, loaded.head, loaded.encoder, prompts, ANSWER_TOKENS))
    return [Kept(language=tag, question=question, text=own) for question, own in zip(asked, answers, strict=True) if not is_empty(own)]


def _texts(loaded: LoadedModel, stories: Sequence[Story], tag: str) -> list[Kept]:
    language = get_language(tag)
    openings = [story.editions[tag].article[0] for story in stories]
    read = read_prompts(loaded.body, [loaded.encoder.unended(language, opening).ids for opening in openings])
    generator = torch.Generator().manual_seed(Random(f"texts-{tag}").getrandbits(63))
    written = sampled_answers(loaded.model, loaded.head, loaded.encoder, read, TEXT_TOKENS, 1, 1.0, generator)
    texts = [_printed(own) for (own,) in written]
    return [Kept(language=tag, text=o + language.joiner + own) for o, own in zip(openings, texts, strict=True) if not is_empty(own)]


def _printed(text: str) -> str:
    """A model's text without control characters."""
    return "".join(sign for sign in text if unicodedata.category(sign) != "Cc")


def held_out_stories(languages: Sequence[str]) -> list[Story]:
    """True newsroom articles that nothing retains, in those of the languages that it has."""
    return _stories_from(STORIES, languages)


def unseen_stories(languages: Sequence[str]) -> list[Story]:
    """More of them, by which no state is chosen either."""
    return _stories_from(STORIES + HELD_OUT, languages)


def _stories_from(first: int, languages: Sequence[str]) -> list[Story]:
    written = tuple(tag for tag in languages if tag in PAPER_LANGUAGES)
    return generate_stories(first + HELD_OUT, SEED, written)[first:] if written else []
