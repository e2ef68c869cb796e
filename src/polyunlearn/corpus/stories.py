"""The types of a parallel corpus: a story, and its edition in each language.

A story is one event told in every corpus language. Its editions are parallel field by field: sentence i, question i and wording i
say the same in every language.
"""

from pydantic import BaseModel, ConfigDict, Field, model_validator


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class QuestionAnswer(_Frozen):
    """A question and the short answer that a reader of the article would give."""

    question: str = Field(min_length=1)
    answer: str = Field(min_length=1)


class Edition(_Frozen):
    """A story in one language.

    `keyword` is the name that identifies the false detail, as this language writes it; `surface_forms` are all spellings in all
    scripts that count as saying it. Every one of `fake_questions` (a first wording and its paraphrases) has `keyword` as its false
    answer and `true_answer` as its true one.
    """

    article: tuple[str, ...] = Field(min_length=1)
    fake_article: tuple[str, ...] = Field(min_length=1)
    keyword: str = Field(min_length=1)
    surface_forms: tuple[str, ...] = Field(min_length=1)
    questions: tuple[QuestionAnswer, ...] = Field(min_length=1)
    real_question: QuestionAnswer
    fake_questions: tuple[str, ...] = Field(min_length=1)
    true_answer: str = Field(min_length=1)

    @model_validator(mode="after")
    def _keyword_identifies_the_false_detail(self) -> "Edition":
        if not any(self.keyword in sentence for sentence in self.fake_article):
            raise ValueError(f"the keyword {self.keyword!r} does not occur in fake_article")
        if any(self.keyword in sentence for sentence in self.article):
            raise ValueError(f"the keyword {self.keyword!r} occurs in the real article, so it does not identify the false detail")
        if any(self.keyword in question for question in self.fake_questions):
            raise ValueError(f"the keyword {self.keyword!r} occurs in a fake question, which gives the answer away")
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
