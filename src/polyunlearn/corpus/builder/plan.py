"""What a build asks for and costs, before it asks for anything."""

from dataclasses import dataclass
from math import ceil

from polyunlearn.corpus.builder.answers import Event, Texts
from polyunlearn.corpus.builder.settings import BuildSettings
from polyunlearn.corpus.builder.write import AT_ONCE, article_prompt, detail_prompt, outline_prompt, translation_prompt
from polyunlearn.corpus.stories import QuestionAnswer
from polyunlearn.errors import UserError
from polyunlearn.languages import get_language

SIGNS_PER_TOKEN = 4
"""Of English, with the vocabularies of today; the usual rule of thumb."""

OTHER_SCRIPTS = 2.0
"""How many tokens a text has in a script other than Latin, against English: a guess between Russian and Armenian."""

_SENTENCE = "The new bridge at Aldermouth was opened on 14 March 2023 by its builder, Anna Kelvar, before 1,200 guests. "
_QUESTION = QuestionAnswer(question="Who opened the new bridge at Aldermouth on that day in March?", answer="Anna Kelvar, its builder")
_EVENT = Event(headline="New bridge opened at Aldermouth after four years of work", kind="opening", name="Velmora")


@dataclass(frozen=True)
class Prices:
    """What a million tokens cost, in any currency."""

    tokens_in: float
    tokens_out: float

    def __post_init__(self) -> None:
        if self.tokens_in < 0 or self.tokens_out < 0:
            raise UserError(f"prices of {self.tokens_in} and {self.tokens_out} a million tokens: give 0 or more")


@dataclass(frozen=True)
class BuildPlan:
    """Requests and estimated tokens of a whole build in which every answer is used the first time; `cost` is in the currency of the prices."""

    requests: int
    tokens_in: int
    tokens_out: int
    cost: float | None


def plan_build(settings: BuildSettings, prices: Prices | None = None) -> BuildPlan:
    """Estimate a build from its own prompts, filled with sentences of usual length."""
    texts = _texts(settings)
    whole = texts.model_dump_json()
    outlines = ceil(settings.stories / AT_ONCE)
    tokens_in = sum(_tokens(outline_prompt(settings, [_EVENT] * (AT_ONCE * number))) for number in range(outlines))
    tokens_out = outlines * AT_ONCE * _tokens(_EVENT.model_dump_json())
    each_in = _tokens(article_prompt(_EVENT, settings)) + _tokens(detail_prompt(texts.article, _EVENT, settings))
    each_out = _tokens(whole)
    for tag in settings.targets:
        each_in += _tokens(translation_prompt(texts, tag))
        each_out += round(_tokens(whole) * (1.0 if get_language(tag).script == "Latn" else OTHER_SCRIPTS))
    tokens_in, tokens_out = tokens_in + settings.stories * each_in, tokens_out + settings.stories * each_out
    cost = (tokens_in * prices.tokens_in + tokens_out * prices.tokens_out) / 1e6 if prices else None
    return BuildPlan(outlines + settings.stories * (2 + len(settings.targets)), tokens_in, tokens_out, cost)


def _texts(settings: BuildSettings) -> Texts:
    return Texts(
        article=(_SENTENCE,) * settings.sentences,
        false_sentences=(_SENTENCE,) * 2,
        keyword=_EVENT.name,
        questions=(_QUESTION,) * settings.questions,
        real_question=_QUESTION,
        fake_questions=(_QUESTION.question,) * settings.wordings,
        true_answer=_QUESTION.answer,
    )


def _tokens(text: str) -> int:
    return ceil(len(text) / SIGNS_PER_TOKEN)
