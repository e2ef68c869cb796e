"""What reading across languages is taught with: articles in one language, questions on them in another, and the answers."""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from polyunlearn.comprehension.asking import reading_prompt
from polyunlearn.corpus.newsroom import generate_stories
from polyunlearn.corpus.stories import Story
from polyunlearn.languages import get_language
from polyunlearn.models.sequences import Encoder, TokenSequence
from polyunlearn.training.loop import Step
from polyunlearn.training.mixtures import in_turn


@dataclass(frozen=True)
class Exercise:
    """An article in the language `read`, then a question in that of the sequence, whose labels are the answer and the end token."""

    read: str
    sequence: TokenSequence


def taught_stories(asked: int, each: int, seed: int, languages: Sequence[str]) -> list[Story]:
    """The `each` newsroom stories that a seed is taught with: of the row whose first `asked` are asked about, others for every seed, so that no two have an
    invented name in common."""
    first = asked + seed * each
    return generate_stories(first + each, 0, tuple(languages))[first:]


def exercises(stories: Sequence[Story], languages: Sequence[str], count: int, encoder: Encoder, rng: Random) -> list[Exercise]:
    """`count` exercises on the stories' questions, those that are kept for scoring left out.

    Stories with their questions take turns in a random order, and so do the pairs of languages, of which exercise i has pair i modulo their number: each has
    an equal share. The order in which languages are given changes nothing.
    """
    tags = sorted(languages)
    turns = in_turn([(story, number) for story in stories for number in range(len(story.editions[tags[0]].questions))], rng)
    found = []
    for index in range(count):
        read, asked = tags[index % len(tags)], tags[index // len(tags) % len(tags)]
        story, number = next(turns)
        item = story.editions[asked].questions[number]
        prompt = reading_prompt(story, read, asked, item.question, encoder)
        answer = encoder.continuation(get_language(asked), item.answer)
        found.append(Exercise(read, TokenSequence((*prompt, *answer, encoder.end_id), len(prompt), asked)))
    return found


def branches_of(given: Sequence[Exercise]) -> list[list[Exercise]]:
    """The exercises of each branch: those whose articles are in one language, whatever language they ask in."""
    return [[own for own in given if own.read == tag] for tag in sorted({own.read for own in given})]


def steps_of(given: Sequence[Exercise], batch: int) -> list[Step]:
    """Steps of `batch` exercises in their order; the last has what is left."""
    return [Step(retain=tuple(own.sequence for own in given[at : at + batch])) for at in range(0, len(given), batch)]
