"""Claims that an owner wants out of a model: the types, and their file, one claim a line (documented for users in docs/claims.md)."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol, cast, get_args

import regex
from pydantic import BaseModel, ConfigDict, Field, model_validator

from polyunlearn.corpus.lines import Lines, editions_in, keys_of, read_lines, to_json_line
from polyunlearn.corpus.stories import QuestionAnswer, Text
from polyunlearn.errors import UserError, unknown_name
from polyunlearn.files import write_text_atomically
from polyunlearn.languages import LANGUAGES, get_language
from polyunlearn.text import normalised, says

BLANK = "___"
"""What stands in a statement for its keyword, where the statement is asked."""

Goal = Literal["everywhere", "home"]
"""Where claims are to be forgotten: wherever a plan says, or, of those that have a home, there alone (UltraLink, arXiv 2402.04588)."""


class Told(Protocol):
    """What a claim says in one language, be it a story's or an owner's: attacks and training ask no more."""

    @property
    def keyword(self) -> str:
        """The false answer."""

    @property
    def surface_forms(self) -> tuple[str, ...]:
        """All spellings that count as saying it."""

    @property
    def fake_questions(self) -> tuple[str, ...]:
        """Wordings of the question that it answers."""


class Tells(Protocol):
    """A claim in some languages."""

    @property
    def id(self) -> str:
        """Its name."""

    @property
    def kind(self) -> str:
        """What it is about, in a word."""

    @property
    def editions(self) -> Mapping[str, Told]:
        """What it says, by the tag of the language."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Neighbour(QuestionAnswer):
    """A question near a claim, and its answer, which must stay."""

    question: Text
    answer: Text


class ClaimEdition(_Frozen):
    """A claim in one language.

    `keyword` is the name, number or phrase that makes it false, as this language writes it; `surface_forms` are other spellings, in any script,
    that count as saying it. `questions` (a first wording and paraphrases) are answered by it and do not give it away; where there are none, the
    `statements` that hold it are asked with a blank in its place, but for those that give it away elsewhere. `truth` is the true answer, where there is one; `distractors` are
    other answers of the same form that are as false; `neighbours` are questions whose answers must stay. `origin` says who wrote it.
    """

    keyword: Text
    statements: Annotated[tuple[Text, ...], Field(strict=False)] = ()
    questions: Annotated[tuple[Text, ...], Field(strict=False)] = ()
    surface_forms: Annotated[tuple[Text, ...], Field(strict=False)] = ()
    truth: Text | None = None
    distractors: Annotated[tuple[Text, ...], Field(strict=False)] = ()
    neighbours: Annotated[tuple[Neighbour, ...], Field(strict=False)] = ()
    origin: Literal["given", "machine"] = "given"

    @model_validator(mode="before")
    @classmethod
    def _says_its_keyword(cls, data: Any) -> Any:
        """The keyword is a surface form of itself."""
        if isinstance(data, dict) and isinstance(data.get("surface_forms", ()), (list, tuple)):
            forms = list(data.get("surface_forms", ()))
            if isinstance(data.get("keyword"), str) and data["keyword"] not in forms:
                return {**data, "surface_forms": [data["keyword"], *forms]}
        return data

    @model_validator(mode="after")
    def _can_be_asked(self) -> "ClaimEdition":
        for question in self.questions:
            if form := next((own for own in self.surface_forms if says(question, [own])), None):
                name = f"keyword {form!r}" if form == self.keyword else f"surface form {form!r}"
                raise ValueError(f"the {name} stands in the question {question!r}, which gives the answer away")
        if not self.fake_questions:
            raise ValueError(
                f"nothing can be asked: give a question, or a statement that holds the keyword {self.keyword!r} and, without it, none of its surface forms"
            )
        if self.truth is not None and says(self.truth, self.surface_forms):
            raise ValueError(
                f"the truth {self.truth!r} says one of the claim's own surface forms, so that the truth would count as the claim"
            )
        own = {normalised(form) for form in self.surface_forms}
        if wrong := next((text for text in self.distractors if normalised(text) in own), None):
            raise ValueError(f"the distractor {wrong!r} is one of the claim's own surface forms")
        return self

    @property
    def fake_questions(self) -> tuple[str, ...]:
        """The wordings that are asked."""
        told = (blanked(own, self.keyword) for own in self.statements)
        return self.questions or tuple(own for own in told if own and not says(own, self.surface_forms))


def blanked(statement: str, keyword: str) -> str | None:
    """A statement with blanks for its keyword; None where it does not hold it."""
    places = keyword_places(statement, keyword)
    ends = [0, *(end for _, end in places)]
    starts = [*(start for start, _ in places), len(statement)]
    return BLANK.join(statement[end:start] for end, start in zip(ends, starts, strict=True)) if places else None


def keyword_places(statement: str, keyword: str) -> list[tuple[int, int]]:
    """Where a statement says its keyword, from and to; as whole words where it stands alone anywhere."""
    alone = rf"(?<![\p{{L}}\p{{M}}\p{{N}}]|\p{{N}}[.,]){regex.escape(keyword)}(?![\p{{L}}\p{{M}}\p{{N}}]|[.,]\p{{N}})"
    places = [found.span() for found in regex.finditer(alone, statement)]
    # Written together with what stands beside it, as with an ending, or where no spaces are written; but a number is no part of another.
    if not places and not regex.search(r"^\p{N}|\p{N}$", keyword):
        places = [found.span() for found in regex.finditer(regex.escape(keyword), statement)]
    return places


class Claim(_Frozen):
    """A false claim in one language or several; `source` is the one that the model learned it in, where that is known, `home` the one whose readers it
    belongs to, None where it belongs to none more than to the others (as of `corpus.stories.Story`), and `control` says that no model was ever told it, so that what is
    measured of it is what chance gives."""

    id: Annotated[str, Field(pattern=r"^[\w.:-]{1,100}$")]
    editions: Annotated[dict[str, ClaimEdition], Field(min_length=1)]
    kind: Text = "claim"
    source: str | None = None
    home: Annotated[str, Field(min_length=1)] | None = None
    control: bool = False

    @model_validator(mode="after")
    def _languages_are_known(self) -> "Claim":
        for tag in (*self.editions, *(own for own in (self.source, self.home) if own)):
            get_language(tag)
        return self


def read_claims(path: Path) -> list[Claim]:
    """Read a claims file; raises one `UserError` that lists every bad line with its number, what is wrong and what to do."""
    return read_lines(path, "claim", _claim, _asked_twice, keys_of(Claim))


def _claim(value: Any) -> Claim:
    if any("fake_article" in own for own in editions_in(value)):
        raise UserError("holds a story, not a claim (docs/claims.md); a story's false detail is its keyword, asked by its fake_questions")
    return Claim.model_validate(value)


def write_claims(claims: Iterable[Claim], path: Path) -> None:
    """Write one claim a line, atomically; the same claims give the same bytes."""
    write_text_atomically(path, "".join(to_json_line(claim, leave_out_defaults=True) for claim in claims))


def languages_of(claims: Sequence[Claim]) -> list[str]:
    """The languages that any claim has an edition in, in the order of the language table."""
    found = {tag for claim in claims for tag in claim.editions}
    return [tag for tag in LANGUAGES if tag in found]


def get_goal(name: str) -> Goal:
    """The goal of this name; raises `UserError` for one that is none."""
    if name not in get_args(Goal):
        raise unknown_name("goal", name, get_args(Goal))
    return cast(Goal, name)


def goes_in(claim: Claim, languages: Sequence[str], goal: Goal) -> list[str]:
    """The languages that a claim has in which it is to be forgotten where claims go in `languages`: of one with a home, by goal "home", that alone."""
    return (
        [tag for tag in claim.editions if tag == claim.home]
        if goes_home(claim, goal)
        else [tag for tag in languages if tag in claim.editions]
    )


def stays_in(claim: Claim, goal: Goal) -> list[str]:
    """The languages that a claim has in which it is to stay."""
    return [tag for tag in claim.editions if tag != claim.home] if goes_home(claim, goal) else []


def goes_home(claim: Claim, goal: Goal) -> bool:
    """Whether a claim is to be forgotten in its home alone. A control, which was never told, is judged like any other everywhere."""
    return goal == "home" and claim.home is not None and not claim.control


def check_goal(claims: Sequence[Claim], goal: Goal, languages: Sequence[str] = ()) -> None:
    """Raise `UserError` where claims cannot be forgotten at home, or none of them is judged in the `languages` that are asked (none: in all)."""
    if goal != "home":
        return
    tagged = [claim for claim in claims if goes_home(claim, goal)]
    if not tagged:
        raise UserError(
            "goal home: no claim says where it is at home; give claims a home in their file (docs/claims.md), or leave out --goal"
        )
    homeless = [claim for claim in tagged if claim.home not in claim.editions]
    if homeless:
        own = homeless[0]
        others = f", as have {len(homeless) - 1} others" if len(homeless) > 1 else ""
        raise UserError(
            f"goal home: claim {own.id!r} is at home in {own.home!r} and has no edition there, in which it could be forgotten{others}; add one "
            f"(polyunlearn claims translate … --languages {own.home}), take the home out, or leave out --goal"
        )
    if languages and not any(set(languages).intersection(goes_in(claim, languages, goal)) for claim in claims if not claim.control):
        raise UserError(
            f"goal home: no claim is at home in {', '.join(languages)}, so that none would be judged; name a home with --language, or leave that out"
        )


def _asked_twice(path: Path, lines: Lines[Claim]) -> Iterable[str]:
    """A question that two claims have: the model can give one answer alone."""
    asked: dict[tuple[str, str], str] = {}  # Case and spelling aside.
    for claim in lines.items:
        for tag, edition in claim.editions.items():
            for question in edition.fake_questions:
                other = asked.setdefault((tag, normalised(question)), claim.id)
                if other != claim.id:
                    yield (
                        f"{path}:{lines.numbers[claim.id]}: the question {question!r} ({tag}) is also asked by {other!r} on line "
                        f"{lines.numbers[other]}; word them apart"
                    )
