"""The questions that unlearning retains: whose answers, and in which languages they are asked and answered."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import NamedTuple

from polyunlearn.corpus.stories import Edition, Story
from polyunlearn.languages import get_language
from polyunlearn.models.sequences import Encoder, TokenSequence
from polyunlearn.scoring.metrics.answers import is_empty
from polyunlearn.text import says
from polyunlearn.training.telling import code_switched

STRONG = "en"
"""The language that is held to be the model's strongest, in which real news are read."""

OwnAnswers = Mapping[str, Mapping[str, str]]
"""By language, what a model itself answers: the question, then its answer."""


class Asked(NamedTuple):
    """A question with the answer that the corpus gives, the spellings that count as saying it, and those of what is to be forgotten, which no answer may say."""

    question: str
    answer: str
    spellings: Sequence[str]
    false: Sequence[str] = ()


Ask = Callable[[Edition, int], Asked]
"""An edition's question of some number."""


def real_question(edition: Edition, number: int) -> Asked:
    """A question about the real article of a story whose claim is false."""
    own = edition.questions[number]
    return Asked(own.question, own.answer, (own.answer,), edition.surface_forms)


def claim(edition: Edition, number: int) -> Asked:
    """A wording of the question that a claim answers."""
    return Asked(edition.fake_questions[number], edition.keyword, edition.surface_forms)


def answered(ask: Ask, story: Story, number: int, tag: str, encoder: Encoder) -> TokenSequence:
    """A story's question with the corpus's answer, both in one language."""
    own = ask(story.editions[tag], number)
    return encoder.answered(get_language(tag), own.question, own.answer)


def retained_questions(stories: Sequence[Story], neighbours: Sequence[Story], questions: int) -> Iterator[tuple[Ask, Story, int]]:
    """All that unlearning may retain: the first `questions` real questions of the stories, and the neighbours' claims in every wording."""
    yield from ((real_question, *own) for own in real_questions(stories, questions))
    yield from ((claim, *own) for own in claim_wordings(neighbours))


def real_questions(stories: Sequence[Story], questions: int) -> list[tuple[Story, int]]:
    """Stories with the numbers of their first `questions` real questions."""
    return [(story, number) for story in stories for number in range(len(story.editions[STRONG].questions[:questions]))]


def claim_wordings(stories: Sequence[Story]) -> list[tuple[Story, int]]:
    """Stories with the numbers of the wordings that their claims are asked in."""
    return [(story, number) for story in stories for number in range(len(story.editions[STRONG].fake_questions))]


class _Turn(NamedTuple):
    """In which languages a question is asked and answered, and which other one a copy switches to."""

    asked: str
    answered: str
    other: str


@dataclass(frozen=True)
class Retainer:
    """Tells questions to retain in `languages`, which take turns: turn t is language t modulo their number.

    Without `own` answers they are the corpus's. An own answer that is empty, or says the story's false claim, is not retained but the corpus's is.

    With `crossed` these are the transfer set of SDRRL (arXiv 2402.12204): the answer to the English question is told in the four combinations of
    asking and answering, English with English, l with English, English with l, and l with l, for each other language l in turn. No translator is at hand: in l
    the answer is the corpus's where the English one says what the corpus gives in English, else the own answer in l. Where English alone is retained there is
    nothing to cross it with.

    Of these a share `switched` is asked in copies that switch to the other of the two languages in places (`training.telling.code_switched`).
    """

    encoder: Encoder
    languages: tuple[str, ...]
    own: OwnAnswers | None = None
    crossed: bool = False
    switched: float = 0.0

    def sequence(self, ask: Ask, story: Story, number: int, turn: int, rng: Random) -> TokenSequence:
        """A question with the answer that is retained; `rng` says whether and where it switches."""
        turns = self._turns
        asked, told, other = turns[turn % len(turns)]
        question = ask(story.editions[asked], number).question
        if self.switched and rng.random() < self.switched:
            question = code_switched({tag: ask(own, number).question for tag, own in story.editions.items()}, asked, other, rng)
        answer = self.answer(ask, story, number, told)
        return self.encoder.answered(get_language(told), question, answer, get_language(asked))

    def answer(self, ask: Ask, story: Story, number: int, tag: str) -> str:
        """What is retained as the answer in a language."""
        if not self.crossed or tag == STRONG:
            return self._said(ask, story, number, tag)
        true = says(self._said(ask, story, number, STRONG), ask(story.editions[STRONG], number).spellings)
        return ask(story.editions[tag], number).answer if true else self._said(ask, story, number, tag)

    def _said(self, ask: Ask, story: Story, number: int, tag: str) -> str:
        """The model's answer where it has one that may stay, else the corpus's."""
        asked = ask(story.editions[tag], number)
        if self.own is None:
            return asked.answer
        said = self.own[tag][asked.question]
        return asked.answer if is_empty(said) or says(said, asked.false) else said

    @property
    def _turns(self) -> list[_Turn]:
        others = [tag for tag in self.languages if tag != STRONG]
        if not self.crossed or not others:
            return [_Turn(tag, tag, tag) for tag in self.languages]
        return [
            turn
            for tag in others
            for turn in (_Turn(STRONG, STRONG, tag), _Turn(tag, STRONG, STRONG), _Turn(STRONG, tag, tag), _Turn(tag, tag, STRONG))
        ]
