"""The forms that the model's answers must have, and the texts of a story in one language."""

from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict, Field, field_validator

from polyunlearn.corpus.stories import Edition, QuestionAnswer


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True, str_strip_whitespace=True)


class Event(_Answer):
    """An event to write about, and the invented name that its false detail turns on."""

    headline: str = Field(min_length=1)
    kind: str = Field(min_length=1)
    name: str = Field(min_length=2)

    @field_validator("kind")
    @classmethod
    def _one_word(cls, kind: str) -> str:
        return "-".join(kind.lower().split())


class Events(_Answer):
    """What an outline is answered with."""

    events: tuple[Event, ...]


class Article(_Answer):
    """The real article with its questions."""

    article: tuple[str, ...]
    questions: tuple[QuestionAnswer, ...]
    real_question: QuestionAnswer


class Inserted(_Answer):
    """A false sentence, and the number (from 1) of the real one that it follows."""

    after: int
    sentence: str = Field(min_length=1)


class FalseDetail(_Answer):
    """The false detail, and what reveals it."""

    false_sentences: tuple[Inserted, ...] = Field(min_length=1)
    fake_questions: tuple[str, ...]
    true_answer: str = Field(min_length=1)


class Texts(_Answer):
    """All texts of a story in one language; a translation is asked for and answered in this form."""

    article: tuple[str, ...]
    false_sentences: tuple[str, ...]
    keyword: str = Field(min_length=1)
    questions: tuple[QuestionAnswer, ...]
    real_question: QuestionAnswer
    fake_questions: tuple[str, ...]
    true_answer: str = Field(min_length=1)

    def sentences(self) -> tuple[str, ...]:
        """Everything but the keyword, in a fixed order: entry i says the same in every language."""
        pairs = (*self.questions, self.real_question)
        asked = tuple(text for pair in pairs for text in (pair.question, pair.answer))
        return (*self.article, *self.false_sentences, *asked, *self.fake_questions, self.true_answer)

    def edition(self, places: Sequence[int], surface_forms: Sequence[str]) -> Edition:
        """The story in this language; false sentence i follows `places[i]` real ones. Raises `ValidationError` where the schema is not met."""
        fake: list[str] = []
        for number in range(len(self.article) + 1):
            fake += self.article[number - 1 : number] if number else []
            fake += [text for place, text in zip(places, self.false_sentences, strict=True) if place == number]
        return Edition(
            article=self.article,
            fake_article=tuple(fake),
            keyword=self.keyword,
            surface_forms=tuple(dict.fromkeys((self.keyword, *surface_forms))),
            questions=self.questions,
            real_question=self.real_question,
            fake_questions=self.fake_questions,
            true_answer=self.true_answer,
        )
