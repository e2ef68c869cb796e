"""How a text that is read, or a fact to forget, is told: in one language, or switching between several (code-switching)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from random import Random
from typing import Literal

import regex

from polyunlearn.corpus.stories import Edition, Story
from polyunlearn.languages import Language, get_language
from polyunlearn.models.sequences import Encoder, TokenSequence
from polyunlearn.training.cards import Instead

Form = Literal["question", "article"]
Mixing = Literal["fact", "token", "sentence", "chunk"]
"""What languages share: the facts of a pass, or its labels, each fact in one language; or each fact, sentence by sentence or chunk by chunk."""

CHUNK_WORDS = 8
"""Words of a chunk in the knowledge-barrier study (arXiv 2406.16135)."""

PLACE_WORDS, PLACES = 2, 4
"""English words of a place where a copy of a question may switch, and one in how many of these does."""

Sentences = Callable[[Edition], Sequence[str]]
"""Which of an edition's texts is told."""


@dataclass(frozen=True)
class Teller:
    """Tells facts in `languages`, which take turns: turn t is language t modulo their number.

    With mixing "fact" and "token" all of a telling is in the language of its turn. With form "question" the answer, and so what is
    forgotten, is in that language whatever the mixing; "sentence" asks for it in the language of the turn before, and "chunk" in those of
    as many turns before as the question has chunks. With form "article" the first sentence or chunk is in the language of the turn and each
    next one in the next.

    A sentence has as many chunks as its English edition has times eight words, rounded, at least one. No translator is at hand, so chunk j
    of n of a sentence is the same relative share of the parallel sentence, by words, or by characters where the script has no spaces.
    Word order differs between languages: what a chunk says may be said twice, or not at all, the keyword included. So with form
    "article" a telling in chunks need not hold its claim.
    """

    encoder: Encoder
    languages: tuple[str, ...]
    form: Form
    mixing: Mixing

    def fact(self, story: Story, turn: int, wording: int) -> TokenSequence:
        """What is to be forgotten: the keyword after wording number `wording` of the fake question (they start again after the last), or every
        token of the fake article."""
        language = self._language(turn)
        if self.form == "article":
            return self.article(story, turn, lambda edition: edition.fake_article)
        asked_in, question = self._question(story, turn, wording)
        return self.encoder.answer_only(language, question, story.editions[language.tag].keyword, asked_in)

    def article(self, story: Story, turn: int, sentences: Sentences) -> TokenSequence:
        """An article of the story, every token of it, as form "article" tells it."""
        return self.encoder.running(self._language(turn), self._article(story, turn, sentences))

    def instead(self, story: Story, turn: int, wording: int, instead: Instead) -> TokenSequence:
        """The answer to give instead, with the end token, to the same question: the true one, or a refusal in the language of the answer."""
        language = self._language(turn)
        answer = story.editions[language.tag].true_answer if instead == "truth" else language.refusal
        asked_in, question = self._question(story, turn, wording)
        return self.encoder.answered(language, question, answer, asked_in)

    def _question(self, story: Story, turn: int, wording: int) -> tuple[Language, str]:
        """The question, and the language that it begins in, which is that of the words around it."""
        number = wording % len(story.editions[self.languages[0]].fake_questions)
        said = {tag: edition.fake_questions[number] for tag, edition in story.editions.items()}
        chunks = self._chunks(said)
        first = turn if self.mixing in ("fact", "token") else turn - chunks
        return self._language(first), self._switched(said, first, chunks)

    def _article(self, story: Story, turn: int, sentences: Sentences) -> str:
        told = ""
        editions = {tag: sentences(edition) for tag, edition in story.editions.items()}
        for number in range(len(editions[self.languages[0]])):
            said = {tag: own[number] for tag, own in editions.items()}
            chunks = self._chunks(said)
            told += (self._language(turn).joiner if told else "") + self._switched(said, turn, chunks)
            turn += 0 if self.mixing in ("fact", "token") else chunks
        return told

    def _chunks(self, said: Mapping[str, str]) -> int:
        return max(1, round(len(said["en"].split()) / CHUNK_WORDS)) if self.mixing == "chunk" else 1

    def _switched(self, said: Mapping[str, str], turn: int, chunks: int) -> str:
        """A sentence in `chunks` chunks, the first in the language of the turn."""
        switching = (self._language(turn + number) for number in range(chunks))
        return "".join(shares(said[language.tag], language, chunks)[number] for number, language in enumerate(switching))

    def _language(self, turn: int) -> Language:
        return get_language(self.languages[turn % len(self.languages)])


def code_switched(said: Mapping[str, str], own: str, other: str, rng: Random) -> str:
    """A copy of a question in language `own` of which some places, drawn by `rng`, are in language `other`; `said` has it in both, and in English.

    It has as many places as its English edition has times two words, rounded, at least two, and one in four of them switches, at least one. What stands in a
    place is the same relative share of the parallel question, as in `Teller`, since no dictionary is at hand: where word order differs, a copy may say a
    thing twice or leave it out.
    """
    places = max(2, round(len(said["en"].split()) / PLACE_WORDS))
    switching = set(rng.sample(range(places), max(1, round(places / PLACES))))
    told, others = (shares(said[tag], get_language(tag), places) for tag in (own, other))
    return "".join(others[place] if place in switching else told[place] for place in range(places)).strip()


def shares(sentence: str, language: Language, count: int) -> list[str]:
    """A sentence cut into `count` shares of about equal length, which come to it again end to end; a word keeps the space before it.

    Words stay whole; where the script has no spaces between them, characters as readers count them, with their marks.
    """
    units = regex.findall(r"^[^ ]+| [^ ]*" if language.spaced else r"\X", sentence)
    cuts = [round(len(units) * number / count) for number in range(count + 1)]
    return ["".join(units[at:end]) for at, end in pairwise(cuts)]
