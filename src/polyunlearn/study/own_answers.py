"""What the state that unlearning starts from answers by itself to the questions that unlearning retains."""

import json
import unicodedata
from collections.abc import Callable, Sequence
from pathlib import Path

from polyunlearn.files import read_utf8, write_json_atomically
from polyunlearn.languages import get_language
from polyunlearn.models.loading import LoadedModel
from polyunlearn.models.sequences import Encoder
from polyunlearn.scoring.generation import answer_text, greedy_tokens, read_prompts
from polyunlearn.study.cells import Cell
from polyunlearn.study.config import StudyConfig
from polyunlearn.study.materials import Stories
from polyunlearn.training.retaining import OwnAnswers, retained_questions

ASKED_AT_ONCE = 128
"""Questions whose keys and values are held at a time."""

LONGER = 2
"""How much longer than the longest answer of the corpus, in tokens, an own answer may be."""


def retains_own(config: StudyConfig, cell: Cell) -> bool:
    """Whether the cell retains the model's own answers."""
    return cell.method is not None and config.unlearning.of_method(cell.method).retain_answers == "own"


def own_answers(
    config: StudyConfig,
    cell: Cell,
    stories: Stories,
    loaded: LoadedModel,
    languages: Sequence[str],
    folder: Path,
    work: Callable[[str, int, int], None],
) -> OwnAnswers:
    """The greedy answers, in each of the languages, of the state that an unlearned cell starts from, which `loaded` must be in.

    They are kept in `folder`, one file a state and language, so that the cells that start from it share them, and people can read what is retained.
    A language is asked by itself, so that no answer hangs on which others are asked.
    """
    assert cell.parent
    found = {}
    for number, tag in enumerate(languages):
        work("asking what to retain", number, len(languages))
        path = folder / f"{cell.parent.id}-{tag}.json"
        if not path.is_file():
            write_json_atomically(path, _answers(loaded, *asked_in(config, stories, loaded.encoder, tag), tag))
        found[tag] = json.loads(read_utf8(path))
    return found


def asked_in(config: StudyConfig, stories: Stories, encoder: Encoder, tag: str) -> tuple[list[str], int]:
    """The distinct questions in a language, and how many tokens an answer may have."""
    language = get_language(tag)
    items = [
        ask(story.editions[tag], number)
        for ask, story, number in retained_questions(stories.trained, stories.neighbours, config.learning.questions)
    ]
    longest = max(len(encoder.continuation(language, own.answer)) for own in items)
    return list(dict.fromkeys(own.question for own in items)), LONGER * longest


def _answers(loaded: LoadedModel, questions: Sequence[str], most_tokens: int, tag: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for at in range(0, len(questions), ASKED_AT_ONCE):
        part = questions[at : at + ASKED_AT_ONCE]
        prompts = read_prompts(loaded.body, [loaded.encoder.prompt(get_language(tag), question) for question in part])
        said = greedy_tokens(loaded.model, loaded.head, loaded.encoder, prompts, most_tokens)
        found |= {question: whole_answer(loaded.encoder, tokens, most_tokens) for question, tokens in zip(part, said, strict=True)}
    return found


def whole_answer(encoder: Encoder, tokens: list[int], most_tokens: int) -> str:
    """An answer as text; nothing where it was cut off, so that it would be taught to end where it does not, or holds what is no text."""
    text = answer_text(encoder, tokens)
    cut = len(tokens) == most_tokens and answer_text(encoder, tokens[:-1]) != text
    return "" if cut or any(sign == "\ufffd" or unicodedata.category(sign) == "Cc" for sign in text) else text
