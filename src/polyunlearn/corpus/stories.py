"""The types of a parallel corpus: a story, and its edition in each language.

A story is one event told in every corpus language. Its editions are parallel field by field: sentence i, question i and wording i
say the same in every language.
"""

import unicodedata
from typing import Annotated

import regex
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from polyunlearn.text import says


def _bare(text: str) -> str:
    """The text without blanks and marks of direction around it, which copying brings along."""
    return str(regex.sub(r"^[\s\p{Cf}]+|[\s\p{Cf}]+$", "", text))


def _shown(text: str) -> str:
    if not _bare(text):
        raise ValueError("is blank; write some text or leave it out")
    return unicodedata.normalize("NFC", text)


def _printed(text: str) -> str:
    if any(unicodedata.category(sign) == "Cc" and sign not in "\t\n" for sign in text):
        raise ValueError("holds a control character; remove it")
    return unicodedata.normalize("NFC", _bare(_shown(text)))


Shown = Annotated[str, AfterValidator(_shown)]
"""Text as it is, in Unicode's normal form C, which must not be blank."""

Text = Annotated[str, AfterValidator(_printed)]
"""Text that is looked for or was typed: without blanks around it, or control characters."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class QuestionAnswer(_Frozen):
    """A question and the short answer that a reader of the article would give."""

    question: Shown
    answer: Shown


class Edition(_Frozen):
    """A story in one language.

    `keyword` is the name that identifies the false detail, as this language writes it; `surface_forms` are all spellings in all
    scripts that count as saying it. Every one of `fake_questions` (a first wording and its paraphrases) has `keyword` as its false
    answer and `true_answer` as its true one.
    """

    article: tuple[Shown, ...] = Field(min_length=1)
    fake_article: tuple[Shown, ...] = Field(min_length=1)
    keyword: Text
    surface_forms: tuple[Text, ...] = Field(min_length=1)
    questions: tuple[QuestionAnswer, ...] = Field(min_length=1)
    real_question: QuestionAnswer
    fake_questions: tuple[Shown, ...] = Field(min_length=1)
    true_answer: Shown

    @model_validator(mode="after")
    def _keyword_identifies_the_false_detail(self) -> "Edition":
        if not any(self.keyword in sentence for sentence in self.fake_article):
            raise ValueError(f"the keyword {self.keyword!r} does not occur in fake_article")
        if any(self.keyword in sentence for sentence in self.article):
            raise ValueError(f"the keyword {self.keyword!r} occurs in the real article, so it does not identify the false detail")
        if any(self.keyword in question or says(question, self.surface_forms) for question in self.fake_questions):
            raise ValueError(f"the keyword {self.keyword!r} occurs in a fake question, which gives the answer away")
        if says(self.true_answer, self.surface_forms):
            raise ValueError(
                f"the true answer {self.true_answer!r} says the keyword {self.keyword!r}, so that the truth would count as the claim"
            )
        if self.keyword not in self.surface_forms:
            raise ValueError(f"surface_forms must hold the keyword {self.keyword!r} itself")
        return self


class Story(_Frozen):
    """One event in every language of the corpus; `editions` is keyed by BCP-47 tag.

    `home` is the language whose readers the story belongs to, such as what happens in a city where it is spoken; None where it belongs to none more than
    to the others. It is what UltraLink (arXiv 2402.04588) calls language-specific, and language-agnostic.
    """

    id: str = Field(min_length=1)
    kind: str = Field(min_length=1)
    editions: dict[str, Edition] = Field(min_length=1)
    home: str | None = Field(None, min_length=1)

    @model_validator(mode="after")
    def _editions_are_parallel(self) -> "Story":
        for field in ("article", "fake_article", "questions", "fake_questions"):
            sizes = {tag: len(getattr(edition, field)) for tag, edition in self.editions.items()}
            if len(set(sizes.values())) > 1:
                raise ValueError(f"the editions are not parallel: {field} has {sizes} entries")
        return self
