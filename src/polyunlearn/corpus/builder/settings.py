"""What a corpus is to be."""

import hashlib
import json
import re
from dataclasses import dataclass

from polyunlearn.errors import UserError
from polyunlearn.languages import get_language

SOURCE = "en"
"""The language that stories are written in before they are translated."""


@dataclass(frozen=True)
class BuildSettings:
    """`stories` stories on a topic, in English and `languages` (BCP-47).

    An article has `sentences` sentences, `questions` questions (ten in Lu & Koehn, arXiv 2406.13748) and one more for scoring; the question that
    reveals the false detail has `wordings` wordings. `workers` stories are in hand at a time, which changes nothing of the result.

    Raises:
        UserError: for a tag that is not in the table, or a number below one.
    """

    topic: str
    stories: int
    languages: tuple[str, ...] = ()
    sentences: int = 8
    questions: int = 10
    wordings: int = 4
    workers: int = 4

    def __post_init__(self) -> None:
        if not re.search(r"\w", self.topic):
            raise UserError(f"the topic {self.topic!r} says nothing; name what the stories are about, such as 'harbours of the North Sea'")
        for tag in self.languages:
            get_language(tag)
        for name in ("stories", "sentences", "questions", "wordings", "workers"):
            if getattr(self, name) < 1:
                raise UserError(f"{name} is {getattr(self, name)}; give 1 or more")

    @property
    def targets(self) -> tuple[str, ...]:
        """The languages that stories are translated into."""
        return tuple(tag for tag in dict.fromkeys(self.languages) if tag != SOURCE)

    def build_id(self, model: str) -> str:
        """What the ids of all stories begin with when `model` writes them: the topic, and a hash of everything that decides them but their number."""
        slug = re.sub(r"\W+", "-", self.topic.lower()).strip("-")[:40]
        decisive = [model, self.topic, sorted(self.targets), self.sentences, self.questions, self.wordings]
        return f"{slug}-{hashlib.sha256(json.dumps(decisive).encode()).hexdigest()[:8]}"

    def story_id(self, number: int, model: str) -> str:
        """The id of story `number`, from 0, that `model` writes."""
        return f"{self.build_id(model)}-{number:05d}"
