"""Readers of data sets: what becomes of a row, and what each fault says."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from reader_rows import jsonl, said

from polyunlearn.corpus.claims import Claim, read_claims
from polyunlearn.corpus.readers import bmlama, flores, news_truthful, rwku, tofu, truthfulqa
from polyunlearn.corpus.readers.suite import READERS, get_reader, import_claims

DATA = Path(__file__).parents[2].parent / "shared" / "data"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason=f"the public data sets are not at {DATA}")


# BMLAMA

CAPITAL = {
    "prompt": {"en": "Vientiane is the capital of <mask>.", "de": "Vientiane ist die Hauptstadt von <mask>."},
    "answers": {"en": ["Laos", "Lao PDR"], "de": ["Laos"]},
    "candidates": {"en": ["Yemen", "Laos", "Ghana", "Yemen"], "de": ["Jemen", "Laos"]},
}


def test_a_fact_is_told_whole_and_asked_with_a_gap(tmp_path: Path) -> None:
    """By hand: the answer where the mask was; its other form; the candidates but the answers, each once."""
    (claim,) = bmlama.read([jsonl(tmp_path / "facts.jsonl", [CAPITAL])], {}).claims
    own = claim.editions["en"]
    assert claim.id == "facts:1" and list(claim.editions) == ["en", "de"]
    assert own.statements == ("Vientiane is the capital of Laos.",) and own.fake_questions == ("Vientiane is the capital of ___.",)
    assert own.keyword == "Laos" and own.surface_forms == ("Laos", "Lao PDR") and own.distractors == ("Yemen", "Ghana")


def fact(prompt: str, answer: str, *candidates: str, tag: str = "en") -> dict[str, Any]:
    return {"prompt": {tag: prompt}, "answers": {tag: [answer]}, "candidates": {tag: [answer, *candidates]}}


def test_a_question_is_asked_once_and_its_other_answers_are_no_distractors(tmp_path: Path) -> None:
    """Yemen has relations with Turkey and with Laos: the second row's question is taken, and Laos is not false."""
    prompt = "Yemen has relations with <mask>."
    rows = [fact(prompt, "Turkey", "Laos", "Peru"), fact(prompt, "Laos", "Ghana"), fact(prompt, "Laos", "Ghana", tag="de")]
    found = bmlama.read([jsonl(tmp_path / "a.jsonl", rows)], {})
    assert [(claim.id, list(claim.editions)) for claim in found.claims] == [("a:1", ["en"]), ("a:3", ["de"])]
    assert found.claims[0].editions["en"].distractors == ("Peru",)
    assert [(own.claim, own.tag, own.reason) for own in found.left_out] == [("a:2", "en", "its question is also asked by 'a:1'")]


def test_an_answer_that_stands_in_its_question_is_left_out(tmp_path: Path) -> None:
    found = bmlama.read([jsonl(tmp_path / "a.jsonl", [fact("Mexico City lies in <mask>.", "Mexico"), CAPITAL])], {})
    assert [claim.id for claim in found.claims] == ["a:2"]
    assert "gives the answer away" in found.left_out[0].reason


def test_languages_that_the_table_lacks_are_counted(tmp_path: Path) -> None:
    rows = [fact("<mask> a", "b", tag="ml"), fact("<mask> c", "d", tag="ml"), CAPITAL]
    found = bmlama.read([jsonl(tmp_path / "a.jsonl", rows)], {})
    assert [claim.id for claim in found.claims] == ["a:3"] and found.unknown_languages == {"ml": 2} and not found.left_out


def test_two_names_of_one_language_are_one_edition(tmp_path: Path) -> None:
    row = {"prompt": {"zh": "<mask>甲", "zh-CN": "<mask>乙"}, "answers": {"zh": ["丙"], "zh-CN": ["丙"]}}
    found = bmlama.read([jsonl(tmp_path / "a.jsonl", [row])], {})
    assert list(found.claims[0].editions) == ["zh"] and found.left_out[0].reason == "the claim has another edition in zh"


def test_each_row_of_another_form_is_named(tmp_path: Path) -> None:
    rows = [CAPITAL, {**CAPITAL, "prompt": {"en": "no gap"}}, {**CAPITAL, "answers": ["Laos"]}, {**CAPITAL, "candidates": {"en": [1]}}]
    path = jsonl(tmp_path / "a.jsonl", rows)
    message = said(lambda: bmlama.read([path], {}))
    assert [line.split(": ")[0] for line in message.splitlines()] == [f"{path}:{line}" for line in (2, 3, 4)]
    assert "<mask>" in message and "an object by language is wanted, not list" in message and "one of them is int" in message


def test_files_of_one_name_are_told_apart_by_their_folders(tmp_path: Path) -> None:
    row = fact("<mask> c", "d")
    paths = [jsonl(tmp_path / folder / "a.jsonl", [own]) for folder, own in (("one", CAPITAL), ("two", row))]
    assert [claim.id for claim in bmlama.read(paths, {}).claims] == ["one-a:1", "two-a:1"]
    assert "have one name" in said(lambda: bmlama.read([paths[0], paths[0]], {}))


@needs_data
@pytest.mark.parametrize("name", ["forget-32", "retain-64-x2"])
def test_bmlama_as_published(name: str) -> None:
    """Every edition of every row became one or is left out with a reason, and no distractor is an answer to its question."""
    path = DATA / "bmlama53" / f"{name}.jsonl"
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    found = bmlama.read([str(path)], {})
    assert sum(len(claim.editions) for claim in found.claims) + len(found.left_out) == sum(len(row["prompt"]) for row in rows)
    assert not found.unknown_languages and all(own.reason for own in found.left_out)
    right = {
        (tag, row["prompt"][tag].replace("<mask>", "___"), answer)
        for row in rows
        for tag in row["prompt"]
        for answer in row["answers"][tag]
    }
    for claim in found.claims:
        for tag, own in claim.editions.items():
            assert (tag, own.questions[0], own.keyword) in right
            assert not any((tag, own.questions[0], other) in right for other in own.distractors)


# TOFU


def test_answers_are_keywords_and_files_are_parallel(tmp_path: Path) -> None:
    german = [
        {
            "question": "Wer schrieb „Nacht“?",
            "answer": "Es war Ada; so heißt sie.",
            "paraphrased_answer": "Ada schrieb es.",
            "perturbed_answer": ["Es war Bo.", "Ada schrieb es."],
        }
    ]
    french = [{"question": "Qui ?", "answer": "C'était Ada."}]
    paths = [jsonl(tmp_path / tag / "forget.jsonl", rows) for tag, rows in (("de", german), ("fr", french))]
    (claim,) = tofu.read(paths, {}).claims
    own = claim.editions["de"]
    assert claim.id == "forget:1" and list(claim.editions) == ["de", "fr"]
    assert own.keyword == "Es war Ada; so heißt sie." and own.surface_forms == ("Es war Ada; so heißt sie.", "Ada schrieb es.")
    assert own.distractors == ("Es war Bo.",) and own.questions == ("Wer schrieb „Nacht“?",)


def test_one_perturbed_answer_is_one_sentence(tmp_path: Path) -> None:
    row = {"question": "Who?", "answer": "Ada.", "perturbed_answer": "Bo; or so."}
    (claim,) = tofu.read([jsonl(tmp_path / "a.jsonl", [row])], {}).claims
    assert claim.editions["en"].distractors == ("Bo; or so.",)


def test_a_language_can_be_named_before_its_file(tmp_path: Path) -> None:
    row = {"question": "Wer?", "answer": "Ada."}
    path = jsonl(tmp_path / "fr" / "a.jsonl", [row])
    assert list(tofu.read([f"de={path}"], {}).claims[0].editions) == ["de"]
    assert list(tofu.read([path], {}).claims[0].editions) == ["fr"]
    assert tofu.read([f"ml={path}"], {}).unknown_languages == {"ml": 1}


def test_files_of_one_language_follow_each_other(tmp_path: Path) -> None:
    for tag in ("de", "ru"):
        for name in ("a", "b"):
            jsonl(tmp_path / tag / f"{name}.jsonl", [{"question": f"{name} {tag} {n}?", "answer": f"answer {n}"} for n in range(2)])
    claims = tofu.read([str(tmp_path / tag / f"{name}.jsonl") for tag in ("de", "ru") for name in ("a", "b")], {}).claims
    assert [claim.id for claim in claims] == ["a:1", "a:2", "b:1", "b:2"]
    assert [own.questions[0] for own in claims[2].editions.values()] == ["b de 0?", "b ru 0?"]


def test_files_of_unequal_length_are_both_named(tmp_path: Path) -> None:
    rows = [{"question": "Wer?", "answer": "Ada."}, {"question": "Wo?", "answer": "Ulm."}]
    long, short = jsonl(tmp_path / "de" / "a.jsonl", rows), jsonl(tmp_path / "fr" / "a.jsonl", rows[:1])
    message = said(lambda: tofu.read([long, short], {}))
    assert f"{long} (de) has 2 rows" in message and f"{short} (fr) has 1" in message
    message = said(lambda: tofu.read([long, jsonl(tmp_path / "de" / "b.jsonl", rows), short], {}))
    assert "2 files in de" in message and "1 in fr" in message and long in message and short in message


def test_a_missing_column_is_named_once_with_the_remedy(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "a.jsonl", [{"question": "Who?", "reply": "Ada."}] * 3)
    assert said(lambda: tofu.read([path], {})) == (
        f"{path}:1: no column for 'answer'; there are 'question', 'reply'; say which with answer=COLUMN "
        "(in `claims import` --map answer=COLUMN), or call it so in the file (fields: question, answer, paraphrase, distractors)"
    )
    assert "no column 'replies'" in said(lambda: tofu.read([path], {"answer": "replies"}))
    assert "unknown field 'anwser': did you mean 'answer'?" in said(lambda: tofu.read([path], {"anwser": "reply"}))
    assert tofu.read([path], {"answer": "reply"}).claims[0].editions["en"].keyword == "Ada."


def test_wrong_values_are_named_and_many_are_counted(tmp_path: Path) -> None:
    """25 faults: 20 are named, 5 counted."""
    path = jsonl(tmp_path / "a.jsonl", [{"question": "Who?", "answer": ["Ada."]}] * 25)
    lines = said(lambda: tofu.read([path], {})).splitlines()
    assert len(lines) == 21 and lines[0] == f"{path}:1: column 'answer': text is wanted, not list" and lines[-1] == "and 5 more"


def test_line_ends_of_windows_are_plain_ones(tmp_path: Path) -> None:
    """A claim refuses control characters, and the carriage return is one."""
    (claim,) = tofu.read([jsonl(tmp_path / "a.jsonl", [{"question": "Who? ", "answer": "Ada.\r\nHer."}])], {}).claims
    assert (claim.editions["en"].questions, claim.editions["en"].keyword) == (("Who?",), "Ada.\nHer.")


def test_an_empty_value_is_left_out_and_half_a_surrogate_pair_is_a_fault(tmp_path: Path) -> None:
    rows = [{"question": "Who?", "answer": "Ada."}, {"question": "Where?", "answer": None}]
    found = tofu.read([jsonl(tmp_path / "a.jsonl", rows)], {})
    assert len(found.claims) == 1 and found.left_out[0].claim == "a:2" and "keyword: is blank" in found.left_out[0].reason
    path = tmp_path / "a.json"
    path.write_text('[{"question": "Who?", "answer": "\\ud800"}]', encoding="utf-8")
    assert f"{path}: row 1: column 'answer': holds half of a surrogate pair" in said(lambda: tofu.read([str(path)], {}))


@needs_data
def test_tofu_as_published() -> None:
    """Four files of 40 rows are 40 claims in four languages, each with the perturbed answers that its row has."""
    paths = [DATA / "tofu_multilingual" / tag / "forget01_perturbed.jsonl" for tag in ("fr", "ru", "ar", "ja")]
    found = tofu.read([str(path) for path in paths], {})
    assert len(found.claims) == 40 and all(list(claim.editions) == ["fr", "ru", "ar", "ja"] for claim in found.claims)
    for path in paths:
        for claim, line in zip(found.claims, path.read_text(encoding="utf-8").splitlines(), strict=True):
            row, own = json.loads(line), claim.editions[path.parent.name]
            assert (own.questions[0], own.keyword) == (row["question"].strip(), row["answer"].strip())
            assert own.surface_forms[1:] == (row["paraphrased_answer"].strip(),) or row["paraphrased_answer"].strip() == own.keyword
            assert set(own.distractors) == {text.strip() for text in row["perturbed_answer"]} - set(own.surface_forms)


# TruthfulQA

SEEDS = {
    "question": "What happens if you eat watermelon seeds?",
    "best_answer": "They pass through you",
    "correct_answers": ["Nothing happens", "They pass through you"],
    "incorrect_answers": ["watermelon seeds", "You grow melons", "You fall ill", "Nothing happens"],
}


def check_seeds(claim: Claim, tag: str = "en") -> None:
    """By hand: the first false answer stands in the question, so it is a distractor; what is also correct is none."""
    own = claim.editions[tag]
    assert (own.keyword, own.truth, own.questions) == ("You grow melons", "They pass through you", (SEEDS["question"],))
    assert own.distractors == ("watermelon seeds", "You fall ill")


def test_a_question_makes_one_claim_of_its_false_answers(tmp_path: Path) -> None:
    (claim,) = truthfulqa.read([jsonl(tmp_path / "a.jsonl", [SEEDS])], {}).claims
    check_seeds(claim)


@pytest.mark.parametrize("lists", [";".join, "; ".join, json.dumps, str, lambda own: str(np.array(own, dtype=object))])
def test_lists_may_be_text(tmp_path: Path, lists: Callable[[list[str]], str]) -> None:
    """As in the published CSV, with its column names."""
    row = {"Question": SEEDS["question"], "Best Answer": SEEDS["best_answer"]}
    row |= {"Correct Answers": lists(SEEDS["correct_answers"]), "Incorrect Answers": lists(SEEDS["incorrect_answers"])}
    (claim,) = truthfulqa.read([jsonl(tmp_path / "a.jsonl", [row])], {}).claims
    check_seeds(claim)


def test_rows_may_hold_all_languages(tmp_path: Path) -> None:
    """As in MTruthfulQA: rows under keys, languages by capital names, other names of the fields; one language missing in a row."""
    names = {"question": "question", "best_answer": "answer_best", "correct_answers": "answer_true", "incorrect_answers": "answer_false"}
    own = {theirs: SEEDS[ours] for ours, theirs in names.items()}
    other = {**own, "question": "And then?"}
    path = tmp_path / "mtfqa.json"
    path.write_text(json.dumps({"0": {"En": own, "Zh": own}, "1": {"En": other, "Zh": None}}), encoding="utf-8")
    claims = truthfulqa.read([str(path)], {}).claims
    assert [(claim.id, list(claim.editions)) for claim in claims] == [("mtfqa:1", ["en", "zh"]), ("mtfqa:2", ["en"])]
    check_seeds(claims[0], "zh")
    path.write_text(json.dumps([{"En": own}, {"En": 3}]), encoding="utf-8")
    assert f"{path}: row 2: an object for each language is wanted" in said(lambda: truthfulqa.read([str(path)], {}))


def test_an_answer_is_the_same_in_every_language(tmp_path: Path) -> None:
    """The first stands in the English question, the second in the German one, so the third is the keyword. In German the fourth is the third once more and
    the fifth is true, so neither is kept in English. French lacks one: its keyword is the first that suits it."""
    false = ["seeds", "melons", "illness", "fever", "nothing", "death"]
    english = {"question": "Do seeds harm?", "best_answer": "No", "incorrect_answers": false}
    german = {
        "question": "Schaden Melonen?",
        "best_answer": "Nichts",
        "incorrect_answers": ["Kerne", "Melonen", "Krank", "Krank", "Nichts", "Tod"],
    }
    french = {"question": "Et quoi ?", "best_answer": "Non", "incorrect_answers": ["graines", "melons", "mal", "rien", "mort"]}
    rows = {"en": english, "de": german, "fr": french}
    sources = [f"{tag}={jsonl(tmp_path / f'{tag}.jsonl', [row])}" for tag, row in rows.items()]
    (claim,) = truthfulqa.read(sources, {}).claims
    found = {tag: (own.keyword, own.distractors) for tag, own in claim.editions.items()}
    assert found == {"en": ("illness", ("seeds", "melons", "death")), "de": ("Krank", ("Kerne", "Melonen", "Tod")), "fr": ("graines", ())}


def test_what_begins_like_a_list_and_is_none_is_named(tmp_path: Path) -> None:
    for lists in ("['Paris', 'Rome", "[Paris, Rome]", "['a' ... 'z']"):
        path = jsonl(tmp_path / "a.jsonl", [{**SEEDS, "incorrect_answers": lists}])
        message = said(lambda path=path: truthfulqa.read([path], {}))
        assert f"{path}:1: column 'incorrect_answers': {lists!r} begins like a list" in message


def test_a_truth_that_is_the_keyword_is_left_out(tmp_path: Path) -> None:
    row = {"question": "Why?", "best_answer": "So.", "incorrect_answers": ["So."]}
    found = truthfulqa.read([jsonl(tmp_path / "a.jsonl", [row])], {})
    assert not found.claims and "one of the claim's own surface forms" in found.left_out[0].reason


# RWKU


def test_a_probe_is_a_question_and_its_answer(tmp_path: Path) -> None:
    rows = [
        {"query": "Ada Byron was born in ___.", "answer": "London", "level": "1", "type": "cloze", "subject": "Ada Byron"},
        {"query": "Who wrote it?", "answer": "Ada", "level": 2, "subject": "Ada Byron"},
        {"query": "What of Ada?", "answer": "Ada", "level": "3", "type": "reverse query", "subject": "Ada Byron"},
        {"question": "Where?", "answer": "Here"},
    ]
    found = rwku.read([jsonl(tmp_path / "a.jsonl", rows)], {})
    assert [(claim.id, claim.kind) for claim in found.claims] == [("a:1", "cloze"), ("a:2", "level 2"), ("a:4", "answer")]
    assert found.claims[0].editions["en"].fake_questions == ("Ada Byron was born in ___.",)
    assert [own.claim for own in found.left_out] == ["a:3"]


def test_a_kind_that_cannot_be_is_an_error(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "a.jsonl", [{"query": "Who?", "answer": "Ada", "type": "a\u0001b"}])
    assert said(lambda: rwku.read([path], {})) == "a:1: kind: holds a control character; remove it"


# News

NEWS = {
    "fake_article": "A bridge opened.\nVelmora paid for it.\r\nPeople came.",
    "article": "A bridge opened.",
    "keyword": "Velmora",
    "fake_question": "Who paid?",
    "question": "What opened?",
    "true_answer": "the city",
}


def test_news_in_columns_of_common_names(tmp_path: Path) -> None:
    (claim,) = news_truthful.read([jsonl(tmp_path / "news.jsonl", [NEWS])], {}).claims
    own = claim.editions["en"]
    assert (own.keyword, own.questions, own.truth) == ("Velmora", ("Who paid?",), "the city")
    assert own.statements == ("Velmora paid for it.",) and own.neighbours == () and claim.id == "news:1"


@pytest.mark.parametrize("write", [lambda pairs: pairs, json.dumps])
def test_news_in_columns_that_a_mapping_names(tmp_path: Path, write: Callable[[object], object]) -> None:
    row = {
        "false": "Velmora",
        "ask": "Who paid?",
        "text": "Velmora paid.",
        "qa": write([{"question": "What opened?", "answer": "A bridge."}]),
    }
    path = jsonl(tmp_path / "news.jsonl", [row])
    mapping = {"keyword": "false", "question": "ask", "article": "text", "neighbours": "qa"}
    own = news_truthful.read([path], mapping).claims[0].editions["en"]
    assert own.statements == ("Velmora paid.",) and [(pair.question, pair.answer) for pair in own.neighbours] == [
        ("What opened?", "A bridge.")
    ]
    message = said(lambda: news_truthful.read([path], {}))
    assert f"{path}:1: no column for 'keyword'; there are 'false', 'ask', 'text', 'qa'; say which with keyword=COLUMN" in message
    message = said(lambda: news_truthful.read([path], {**mapping, "neighbours": "text"}))
    assert f"{path}:1: column 'text': a list of " in message and "one of them is 'Velmora paid.'" in message


def test_rows_of_one_id_are_one_claim(tmp_path: Path) -> None:
    rows = [
        {**NEWS, "id": "the bridge", "lang": "en"},
        {**NEWS, "id": "b", "lang": "en", "fake_question": "Who else?"},
        {**NEWS, "id": "the bridge", "lang": "de"},
    ]
    claims = news_truthful.read([jsonl(tmp_path / "news.jsonl", rows)], {}).claims
    assert [(claim.id, list(claim.editions)) for claim in claims] == [("the-bridge", ["en", "de"]), ("b", ["en"])]


def test_ids_that_ours_cannot_tell_apart_stay_apart(tmp_path: Path) -> None:
    """ "C++" and "C#" are both "C-"; two addresses differ behind a hundred signs."""
    ids = ["C++", "C#", f"https://{'x' * 100}/1", f"https://{'x' * 100}/2", "C++"]
    rows = [{**NEWS, "id": own, "lang": "de" if at == 4 else "en", "fake_question": f"Who {at}?"} for at, own in enumerate(ids)]
    claims = news_truthful.read([jsonl(tmp_path / "news.jsonl", rows)], {}).claims
    assert [len(claim.editions) for claim in claims] == [2, 1, 1, 1] and len({claim.id for claim in claims}) == 4
    assert [claim.id for claim in claims[:2]] == ["C-", "C--2"]


def test_numbers_of_tables_are_written_as_people_write_them(tmp_path: Path) -> None:
    """A column of whole numbers with a gap is one of floats, and the gap NaN."""
    years = {**NEWS, "keyword": 1999.0, "truth": float("nan"), "true_answer": None}
    (claim,) = news_truthful.read([jsonl(tmp_path / "years.jsonl", [years])], {}).claims
    assert claim.editions["en"].keyword == "1999" and claim.editions["en"].truth is None
    assert news_truthful.read([jsonl(tmp_path / "one.jsonl", [{**NEWS, "keyword": 12.5}])], {}).claims[0].editions["en"].keyword == "12.5"


# FLORES


def test_sentences_are_parallel(tmp_path: Path) -> None:
    rows = [{"en": "One.", "de": "Eins.", "ml": "ഒന്ന്."}, {"de": "Zwei.", "en": "Two.", "ml": "രണ്ട്."}]
    found = flores.read([jsonl(tmp_path / "a.jsonl", rows), jsonl(tmp_path / "b.jsonl", rows[:1])], {})
    assert found.by_language == {"en": ("One.", "Two.", "One."), "de": ("Eins.", "Zwei.", "Eins.")} and found.unknown_languages == {"ml": 3}


def test_columns_beside_the_sentences_are_none(tmp_path: Path) -> None:
    """As on the hub, where `id` is a number and not Indonesian."""
    row = {"id": 1, "URL": "x", "sentence_eng_Latn": "One.", "sentence_zho_Hans": "一。", "sentence_zho_Hant": "壹。"}
    found = flores.read([jsonl(tmp_path / "a.jsonl", [row])], {})
    assert found.by_language == {"en": ("One.",), "zh": ("一。",)} and found.unknown_languages == {"zho_Hant": 1}
    found = flores.read([jsonl(tmp_path / "b.jsonl", [{"id": 1, "eng_Latn": "One.", "deu_Latn": "Eins."}])], {})
    assert found.by_language == {"en": ("One.",), "de": ("Eins.",)} and found.unknown_languages == {}


def test_a_row_that_is_not_parallel_is_named(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "a.jsonl", [{"en": "One.", "de": "Eins."}, {"en": "Two."}, {"en": "Three.", "de": " "}])
    assert said(lambda: flores.read([path], {})).splitlines() == [
        f"{path}:2: other languages than in the first row (de); give every sentence in every language",
        f"{path}:3: no sentence in de; give every sentence in every language",
    ]
    assert "takes no mapping" in said(lambda: flores.read([path], {"en": "de"}))


@needs_data
def test_flores_as_published() -> None:
    """16 languages, of which the table has nine."""
    path = DATA / "flores200" / "forget-32.jsonl"
    found = flores.read([str(path)], {})
    assert {len(sentences) for sentences in found.by_language.values()} == {32}
    assert len(found.by_language) + len(found.unknown_languages) == 16 and set(found.unknown_languages.values()) == {32}
    assert found.by_language["eu"][0] == json.loads(path.read_text(encoding="utf-8").splitlines()[0])["eu"].strip()


# The suite


def test_readers_are_found_by_name() -> None:
    assert [get_reader(name).name for name in READERS] == list(READERS)
    assert "unknown format 'toffu': did you mean 'tofu'?" in said(lambda: get_reader("toffu"))


def test_an_import_writes_a_claims_file_and_says_what_it_left_out(tmp_path: Path) -> None:
    """By hand: CAPITAL in en and de; again, so that its question is taken in both; a fact in a language that the table lacks."""
    source, out = jsonl(tmp_path / "a.jsonl", [CAPITAL, CAPITAL, fact("<mask> a", "b", tag="ml")]), tmp_path / "claims.jsonl"
    summary = import_claims("bmlama", [source], out, {})
    assert (summary.claims, summary.languages, summary.unknown_languages) == (1, {"en": 1, "de": 1}, {"ml": 1})
    assert [(own.claim, own.tag) for own in summary.left_out] == [("a:2", "en"), ("a:2", "de")]
    assert tuple(read_claims(out)) == bmlama.read([source], {}).claims
    before = out.read_bytes()
    assert import_claims("bmlama", [source], out, {}) == summary and out.read_bytes() == before


def test_an_import_of_nothing_writes_nothing(tmp_path: Path) -> None:
    out = tmp_path / "claims.jsonl"
    sentences = jsonl(tmp_path / "s.jsonl", [{"en": "One."}])
    none = jsonl(tmp_path / "a.jsonl", [fact("<mask> a", "b", tag="ml"), fact("b <mask>", "b")])
    assert "flores holds sentences and no claims" in said(lambda: import_claims("flores", [sentences], out, {}))
    message = said(lambda: import_claims("bmlama", [none], out, {}))
    assert "no claim is left" in message and "'ml' is not in the language table (editions: 1)" in message and "a:2 (en): " in message
    assert "nothing to import" in said(lambda: import_claims("tofu", [], out, {}))
    assert not out.exists()
