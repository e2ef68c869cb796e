"""The tokens that a study can meet, for an output layer restricted to them."""

from collections.abc import Iterable, Sequence

from polyunlearn.corpus.stories import Story
from polyunlearn.languages import get_language
from polyunlearn.models.sequences import Encoder, TokenSequence

SAMPLE = 4096
"""How many tokens stand for the rest of the vocabulary."""


def study_vocabulary(
    stories: Sequence[Story], encoder: Encoder, size: int, switching: Iterable[TokenSequence] = (), *, refusals: bool = False
) -> list[int]:
    """Every token of the stories' articles, questions and answers in every language, of articles that are read in another form (`switching`), of the
    refusals in these languages where asked, and `SAMPLE` others evenly spread over the vocabulary of `size` tokens."""
    tokens = set(sampled_vocabulary((own.ids for own in switching), encoder, size))
    for story in stories:
        for tag in story.editions:
            tokens.update(*_edition_tokens(story, tag, encoder))
            if refusals:
                tokens.update(encoder.continuation(get_language(tag), get_language(tag).refusal))
    return sorted(tokens)


def sampled_vocabulary(texts: Iterable[tuple[int, ...]], encoder: Encoder, size: int) -> list[int]:
    """Every token of the texts, those that end an answer, and `SAMPLE` others evenly spread over the vocabulary of `size` tokens."""
    ends = {encoder.end_id, *encoder.newline_ids}
    return sorted(ends.union(range(0, size, max(1, size // SAMPLE)), *texts))


def _edition_tokens(story: Story, tag: str, encoder: Encoder) -> Iterable[tuple[int, ...]]:
    language, edition = get_language(tag), story.editions[tag]
    yield encoder.text(language, edition.article).ids
    yield encoder.text(language, edition.fake_article).ids
    for item in (*edition.questions, edition.real_question):
        yield encoder.answered(language, item.question, item.answer).ids
    for question in edition.fake_questions:
        yield encoder.answered(language, question, edition.keyword).ids
    yield encoder.continuation(language, edition.true_answer)
