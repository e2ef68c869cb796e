"""BMLAMA-53 (after mLAMA, Kassner et al., arXiv 2102.00894) as Choi et al. (arXiv 2406.12354) publish it: facts in many languages with candidates."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from polyunlearn.corpus.claims import BLANK
from polyunlearn.corpus.readers.columns import Field, check_mapping, collected, columns_of, texts
from polyunlearn.corpus.readers.drafts import Draft, ReadClaims, others, to_claims
from polyunlearn.corpus.readers.rows import Row, read_table, table_names
from polyunlearn.errors import UserError

MASK = "<mask>"

FIELDS = (Field("prompt", ("prompt",)), Field("answers", ("answers",)), Field("candidates", ("candidates",), needed=False))


def read(sources: Sequence[str], mapping: Mapping[str, str]) -> ReadClaims:
    """Rows of {"prompt": {language: text with <mask>}, "answers": {language: [...]}, "candidates": {language: [...]}}.

    The statement has the first answer where <mask> stood, the question a blank; the other answers are surface forms. The other candidates are
    distractors, but for those that another row answers the same question with: many facts have several true answers. Raises `UserError` that names
    the rows of another form.
    """
    check_mapping(FIELDS, mapping)
    tables = [read_table(source) for source in sources]
    named = [(f"{name}:{row.number}", row) for name, table in zip(table_names(tables), tables, strict=True) for row in table.rows]
    return to_claims(_without_true(collected(named, lambda own: _draft(*own, mapping))))


def _draft(name: str, row: Row, mapping: Mapping[str, str]) -> Draft:
    columns = columns_of(row, FIELDS, mapping)
    prompts, answers, candidates = (_by_language(row, columns.get(field.name)) for field in FIELDS)
    told = [language for language, prompt in prompts.values.items() if prompt is not None]
    return Draft(name, "fact", tuple((language, _edition(language, prompts, answers, candidates)) for language in told))


def _without_true(drafts: Sequence[Draft]) -> list[Draft]:
    """The drafts without distractors that are an answer elsewhere."""
    true: dict[tuple[str, str], set[str]] = defaultdict(set)
    for draft in drafts:
        for language, own in draft.editions:
            true[language, own["questions"][0]].update(own["surface_forms"])

    def parted(language: str, own: Mapping[str, Any]) -> Mapping[str, Any]:
        return {**own, "distractors": others(own["distractors"], true[language, own["questions"][0]])}

    return [Draft(draft.id, draft.kind, tuple((language, parted(language, own)) for language, own in draft.editions)) for draft in drafts]


def _by_language(row: Row, column: str | None) -> Row:
    values = {} if column is None else row.values[column]
    if not isinstance(values, dict):
        raise UserError(f"{row.at}: column {column!r}: an object by language is wanted, not {type(values).__name__}")
    return Row(f"{row.at}: {column}", row.number, values)


def _edition(language: str, prompts: Row, answers: Row, candidates: Row) -> dict[str, Any]:
    prompt = prompts.values[language]
    if not isinstance(prompt, str) or MASK not in prompt:
        raise UserError(f"{prompts.at}: column {language!r}: text that holds {MASK} is wanted, not {prompt!r:.80}")
    forms = texts(answers, language if language in answers.values else None)
    keyword = forms[0] if forms else ""
    return {
        "keyword": keyword,
        "statements": (prompt.replace(MASK, keyword),),
        "questions": (prompt.replace(MASK, BLANK),),
        "surface_forms": forms,
        "distractors": others(texts(candidates, language if language in candidates.values else None), forms),
    }
