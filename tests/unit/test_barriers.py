"""Questions in mixed languages: what each variant translates, what options score, and what is lost against English."""

import itertools
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from handmade_claims import CLAIMS, TOLD, teach
from tiny import own_label_log_probs, sharp
from typer.testing import CliRunner

import polyunlearn.cli.barriers  # noqa: F401 — adds its command
from polyunlearn.barriers import accuracy
from polyunlearn.barriers.accuracy import SCORES, LogProb, Values, figures_of, is_right, item_scores, measure_barriers
from polyunlearn.barriers.mixed import MIXUP, OPTIONS, TRANSLATED, VARIANTS, Fact, Item, Part, other_questions, parallel_facts
from polyunlearn.cli import app
from polyunlearn.corpus.claims import Claim, write_claims
from polyunlearn.corpus.readers import bmlama
from polyunlearn.errors import UserError
from polyunlearn.languages import get_language
from polyunlearn.models.loading import LoadedModel
from polyunlearn.models.sequences import TokenSequence
from polyunlearn.report.barriers import write_barriers_markdown

DATA = Path(__file__).parents[2].parent / "shared" / "data" / "bmlama53"

FACT = Fact(
    "f",
    {"en": ("Capital of Laos?",), "de": ("Hauptstadt von Laos?",), "ru": ("Столица Лаоса?",)},
    {"en": ("Vientiane", "Rome", "Oslo"), "de": ("Vientiane", "Rom", "Oslo"), "ru": ("Вьентьян", "Рим", "Осло")},
    (2, 0, 1),
)


def claim(name: str, editions: dict[str, dict[str, Any]], **more: Any) -> Claim:
    return Claim.model_validate({"id": name, "editions": editions, **more})


def edition(keyword: str, *distractors: str, questions: tuple[str, ...] = ("?",), **more: Any) -> dict[str, Any]:
    return {"keyword": keyword, "questions": questions, "distractors": distractors, **more}


def parallel(name: str, count: int = 5, tags: tuple[str, ...] = ("en", "de"), **more: Any) -> Claim:
    """A claim whose distractor n is called n in every language."""
    told = {tag: edition(f"{tag}-{name}", *(f"{tag}-{number}" for number in range(count)), questions=(f"{tag}: {name}?",)) for tag in tags}
    return claim(name, told, **more)


def items(fact: Fact = FACT) -> dict[tuple[str, str], Item]:
    return {(item.variant, item.language): item for item in fact.items()}


# --- what is translated ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("variant", "question", "options"),
    [
        ("question+options", "de", "de de de"),
        ("question", "de", "en en en"),
        ("options", "en", "de de de"),
        ("answer", "en", "de en en"),
        ("question+answer", "de", "de en en"),
        ("wrong_option", "en", "en de en"),
    ],
)
def test_variants_by_hand(variant: str, question: str, options: str) -> None:
    item = items()[variant, "de"]
    assert item.question == Part(question, FACT.questions[question][0])
    assert item.options == tuple(Part(tag, FACT.options[tag][number]) for number, tag in enumerate(options.split()))


def test_a_fact_is_asked_once_in_english_once_in_every_variant_and_language_and_once_mixed() -> None:
    asked = Counter((item.variant, item.language) for item in FACT.items())
    translated = {(variant.name, tag) for variant in TRANSLATED for tag in ("de", "ru")}
    assert asked == Counter({("english", "en"), ("mixup", "mixed"), *translated})
    english = items()["english", "en"]
    assert english.question == Part("en", "Capital of Laos?") and {own.language for own in english.options} == {"en"}
    assert {variant.name for variant in VARIANTS} == {item.variant for item in FACT.items()}


def test_letters_stand_in_one_order_whatever_is_translated() -> None:
    assert {item.order for item in FACT.items()} == {(2, 0, 1)}


def test_a_mixup_draws_every_language_for_every_part_and_depends_on_its_fact_alone() -> None:
    """Of 300 facts in three languages each part is in each about 100 times; 60 lies five standard deviations (8.2) below."""
    facts = parallel_facts([parallel(f"c{number}", tags=("en", "de", "ru")) for number in range(300)], ("de", "ru"), 1).facts
    mixed = [items(fact)[MIXUP.name, "mixed"] for fact in facts]
    for part in [[item.question for item in mixed], *([item.options[number] for item in mixed] for number in range(OPTIONS))]:
        counts = Counter(own.language for own in part)
        assert set(counts) == {"en", "de", "ru"} and min(counts.values()) > 60
    (alone,) = parallel_facts([parallel("c7", tags=("en", "de", "ru"))], ("de", "ru"), 1).facts
    assert items(alone)[MIXUP.name, "mixed"] == mixed[7]


# --- from claims -------------------------------------------------------------------------------------------------------------------------


def test_options_say_the_same_in_every_language() -> None:
    """The keyword, then three of five distractors, the same numbers in each language; over many claims every one is drawn."""
    facts = parallel_facts([parallel(f"c{number}", tags=("en", "de", "ru")) for number in range(40)], ("de", "ru"), 1).facts
    drawn: set[str] = set()
    for fact in facts:
        numbers = {tuple(text.removeprefix(f"{tag}-") for text in own) for tag, own in fact.options.items()}
        (own,) = numbers
        assert own[0] == fact.id and len(set(own)) == OPTIONS
        drawn.update(own[1:])
    assert drawn == set("01234")
    assert {fact.order.index(0) for fact in facts} == set(range(OPTIONS))


def test_what_is_not_parallel_is_left_out_and_counted() -> None:
    claims = [
        parallel("good"),
        claim("longer", {"en": edition("a", "b"), "de": edition("c", "d", "e"), "fr": edition("f", "g")}),
        claim("bare", {"en": edition("h"), "de": edition("i")}),
        claim("no-english", {"de": edition("j", "k"), "fr": edition("l", "m")}),
        claim("english", {"en": edition("n", "o")}),
        parallel("untold", control=True),
    ]
    found = parallel_facts(claims, ("en", "de", "fr", "ru"), 1)
    assert {fact.id: tuple(fact.options) for fact in found.facts} == {"good": ("en", "de"), "longer": ("en", "fr")}
    assert found.left_out == {"de": 3, "fr": 1}


def test_two_distractors_make_three_options_and_the_truth_is_none() -> None:
    own = claim("c", {"en": edition("Velmora", "Kelvar", "Zudane", truth="the city"), "de": edition("Velmora", "Kelvar", "Zudane")})
    (fact,) = parallel_facts([own], ("de",), 1).facts
    assert sorted(fact.options["en"]) == ["Kelvar", "Velmora", "Zudane"] and fact.options["en"][0] == "Velmora"
    assert sorted(fact.order) == [0, 1, 2]


def test_wordings_are_as_many_as_every_language_has() -> None:
    own = claim("c", {"en": edition("a", "b", questions=("1?", "2?", "3?")), "de": edition("c", "d", questions=("eins?", "zwei?"))})
    for wordings, count in ((1, 1), (2, 2), (5, 2)):
        (fact,) = parallel_facts([own], ("de",), wordings).facts
        assert {len(asked) for asked in fact.questions.values()} == {count}
        assert sum(item.variant == "english" for item in fact.items()) == count


@pytest.mark.skipif(not DATA.is_dir(), reason=f"the public data are not at {DATA}")
def test_the_candidates_of_bmlama_are_parallel() -> None:
    """Every option has the number in the file's list of candidates that it has in English, in all twelve languages; most facts have four options."""
    path = DATA / "forget-32.jsonl"
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    read = bmlama.read([str(path)], {})
    found = parallel_facts(read.claims, list(rows[0]["prompt"]), 1)
    sizes = Counter(len(fact.order) for fact in found.facts)
    assert found.left_out == {} and sizes[OPTIONS] > 20 and set(sizes) <= {2, 3, OPTIONS}
    for fact in found.facts:
        candidates = rows[int(fact.id.split(":")[1]) - 1]["candidates"]
        places = {tuple(candidates[tag].index(text) for text in own) for tag, own in fact.options.items()}
        assert len(places) == 1 and len(fact.options) == 12


# --- scores ------------------------------------------------------------------------------------------------------------------------------


def test_what_stands_behind_letters_by_hand() -> None:
    """In the order 2, 0, 1 the answer is B: German words around a German question, the right option alone in German."""
    item = items()["question+answer", "de"]
    assert accuracy._lettered(item) == Part("de", "Hauptstadt von Laos?\nA. Oslo\nB. Vientiane\nC. Rome")
    assert [letter.text for letter in accuracy._letters(item)] == ["B", "C", "A"]


def _values(item: Item, behind: list[LogProb], alone: list[float], letters: list[float]) -> Values:
    found = {(item.question, option): own for option, own in zip(item.options, behind, strict=True)}
    pairs = zip(item.options, alone, behind, strict=True)
    found |= {(Part(item.question.language, ""), option): LogProb(mean, own.tokens) for option, mean, own in pairs}
    lettered = accuracy._lettered(item)
    return found | {(lettered, letter): LogProb(own, 1) for letter, own in zip(accuracy._letters(item), letters, strict=True)}


def test_scores_by_hand_and_the_trap() -> None:
    """An English question whose answer alone is Russian. Behind it the answer's four tokens are worth -3 each and -5 without it, Rome's two -2 and -2.5,
    Oslo's one -1 and -1: plainly Oslo comes first, since English is likelier behind English; by pmi the answer, with 4 · 2 = 8 nats to 1 and 0.

    Another 4 nats a token against Russian, whatever is asked, change every log-prob and no pmi.
    """
    item = items()["answer", "ru"]
    for against in (0.0, 4.0):
        behind = [LogProb(-3 - against, 4), LogProb(-2, 2), LogProb(-1, 1)]
        scores = item_scores(item, _values(item, behind, [-5 - against, -2.5, -1], [-2, -1, -3]))
        assert scores["log_prob"] == [-3 - against, -2, -1]
        assert scores["pmi"] == pytest.approx([8, 1, 0])
        assert scores["letter"] == [-2, -1, -3]


def test_a_tie_is_not_right() -> None:
    assert is_right({"pmi": [2.0, 1.0, 0.0], "letter": [1.0, 1.0, 0.0], "log_prob": [0.0, 0.5]}) == {"pmi": 1, "letter": 0, "log_prob": 0}


Told = dict[tuple[str, str], tuple[bool, bool]]
"""By variant and language, whether the answer is picked behind its own question, and behind another."""


def _figures(told: dict[str, Told]) -> list[accuracy.Figure]:
    """The figures of facts of which by every score the same is right."""
    facts = [Fact(name, FACT.questions, FACT.options, FACT.order) for name in told]
    chosen = [item for fact in facts for item in fact.items() if (item.variant, item.language) in told[fact.id]]
    pairs = [told[item.fact][item.variant, item.language] for item in chosen]
    right, swapped = ([dict.fromkeys(SCORES, float(pair[place])) for pair in pairs] for place in (0, 1))
    return figures_of(facts, chosen, right, swapped)


ENGLISH, GERMAN, RUSSIAN = ("english", "en"), ("question", "de"), ("question", "ru")


def test_figures_by_hand() -> None:
    """Three facts, right in English 1, 1, 0. The question in German: 1, 0, 0; in Russian, where two of them are: 0, 0. So German drops by 1/3,
    Russian by 1 from the 1 of these two, and both together, a fact's mean over its languages being 1/2, 0, 0, from 2/3 to 1/6.

    Behind another question in English 1, 0, 0, in German 1, 1, 0 and in Russian 0, 0: less that, English is 0, 1, 0, German 0, -1, 0 and Russian 0, 0.
    The net drops are 0, 2, 0 and 0, 1; with both together 0, -1/2, 0 they are 0, 3/2, 0.
    """
    figures = _figures(
        {
            "a": {ENGLISH: (True, True), GERMAN: (True, True), RUSSIAN: (False, False)},
            "b": {ENGLISH: (True, False), GERMAN: (False, True), RUSSIAN: (False, False)},
            "c": {ENGLISH: (False, False), GERMAN: (False, False)},
        }
    )
    assert [(own.variant, own.language) for own in figures if own.score == "pmi"] == [ENGLISH, ("question", "all"), GERMAN, RUSSIAN]
    for score in SCORES:
        found = {own.language: own for own in figures if own.score == score}
        for language, n, value, swapped, drop, net in (
            ("en", 3, 2 / 3, 1 / 3, 0, 0),
            ("all", 3, 1 / 6, 1 / 3, 1 / 2, 1 / 2),
            ("de", 3, 1 / 3, 2 / 3, 1 / 3, 2 / 3),
            ("ru", 2, 0, 0, 1, 1 / 2),
        ):
            own = found[language]
            assert own.accuracy.n == own.drop.n == own.net_drop.n == n and own.chance == pytest.approx(1 / 3)
            assert (own.accuracy.mean, own.swapped, own.drop.mean, own.net_drop.mean) == pytest.approx((value, swapped, drop, net))
            assert own.drop.low <= own.drop.mean <= own.drop.high
        assert (found["en"].drop.low, found["en"].drop.high) == (0, 0)
        # Each of the two loses all, so that drawing them anew changes nothing; but a share of 1 − sqrt(.025) = .842 of others, which gain as much, shows in no two.
        assert (found["ru"].drop.low, found["ru"].drop.high) == (pytest.approx(1 - 2 * 0.842, abs=0.001), 1)


def test_facts_are_what_an_interval_draws_not_languages_or_wordings() -> None:
    """Ten facts, five right and five wrong in both languages: 20 values, but the interval is that of the 10 of one language."""
    told = {f"f{number}": dict.fromkeys([ENGLISH, GERMAN, RUSSIAN], (number < 5, False)) for number in range(10)}
    found = {own.language: own.accuracy for own in _figures(told) if own.score == "pmi"}
    assert found["all"] == found["de"] and found["all"].n == 10


def test_the_order_of_facts_changes_no_interval() -> None:
    """97 facts, of which the first 20 are right: drawn by number, others would be drawn from the other end."""
    told: dict[str, Told] = {
        f"f{number:02}": {ENGLISH: (number < 20, number % 3 > 0), GERMAN: (number % 7 < 3, number < 50)} for number in range(97)
    }
    assert _figures(dict(reversed(told.items()))) == _figures(told)


def named(facts: list[Fact]) -> dict[str, dict[str, str]]:
    """By fact and language the id of the fact whose question stands in for its own."""
    asked = {own.questions[tag][0]: own.id for own in facts for tag in own.questions}
    found: dict[str, dict[str, str]] = {}
    for (name, tag), question in other_questions(facts).items():
        assert question.language == tag
        found.setdefault(name, {})[tag] = asked[question.text]
    return found


def test_another_question_is_the_same_fact_in_every_language_and_its_answer_no_option() -> None:
    """Ten claims, each with the next two's answers as wrong options, whose German questions sort the other way round; and one that asks otherwise for the first
    one's answer: it and the first never stand in for each other. The order changes nothing."""
    claims = []
    for number in range(10):
        told = [f"n{(number + more) % 10}" for more in range(3)]
        questions = {"en": f"{number}?", "de": f"{9 - number}!"}
        claims.append(claim(f"c{number}", {tag: edition(*told, questions=(questions[tag],)) for tag in ("en", "de")}))
    claims.append(claim("again", {tag: edition("N0", "x", questions=(f"again {tag}",)) for tag in ("en", "de")}))
    facts = list(parallel_facts(claims, ("de",), 1).facts)
    others = named(facts)
    options = {fact.id: {text.casefold() for text in fact.options["en"]} for fact in facts}
    answers = {fact.id: fact.options["en"][0].casefold() for fact in facts}
    assert set(others) == set(answers)
    for own, by_language in others.items():
        (other,) = set(by_language.values())
        assert set(by_language) == {"en", "de"} and answers[other] not in options[own]
    assert len({own["en"] for own in others.values()}) > 4
    assert named(facts[::-1]) == others


def test_where_every_answer_is_an_option_or_none_fits_everywhere_another_answer_will_do() -> None:
    """Claims a, b, c among each other; then two that share only one language each with a third."""
    three = ("Ada", "Bo", "Cy")
    among = []
    for number, name in enumerate(three):
        others = [own for own in three if own != name]
        among.append(claim(name, {tag: edition(name, *others, questions=(f"{number} {tag}?",)) for tag in ("en", "de")}))
    assert all(other != own for own, told in named(list(parallel_facts(among, ("de",), 1).facts)).items() for other in told.values())
    apart = [parallel("a", tags=("en", "de", "ru")), parallel("b", tags=("en", "de")), parallel("c", tags=("en", "ru"))]
    assert named(list(parallel_facts(apart, ("de", "ru"), 1).facts))["a"] | {"en": ""} == {"en": "", "de": "b", "ru": "c"}


def test_options_that_are_one_word_and_those_that_are_true_are_not_asked() -> None:
    """Two German distractors are one word; the truth of the second claim is a distractor of it in German alone, and so is none in English."""
    bank = claim("bank", {"en": edition("bank", "bench", "x"), "de": edition("Bank", "Ufer", "UFER"), "fr": edition("banque", "banc", "x")})
    true = claim("true", {"en": edition("v", "a", "b"), "de": edition("w", "c", "d", truth="D")})
    none = claim("none", {"en": edition("v", "a"), "de": edition("w", "c", truth="c")})
    found = parallel_facts([bank, true, none], ("de", "fr"), 1)
    assert {fact.id: set(fact.options) for fact in found.facts} == {"bank": {"en", "fr"}, "true": {"en", "de"}}
    assert found.facts[1].options == {"en": ("v", "a"), "de": ("w", "c")}
    assert found.left_out == {"de": 2}


def test_one_answer_alone_has_no_other_question() -> None:
    with pytest.raises(UserError, match=r"c: no other claim has another answer in en.*add claims in en"):
        other_questions(parallel_facts([parallel("c")], ("de",), 1).facts)


# --- of a model --------------------------------------------------------------------------------------------------------------------------


def test_log_probs_are_the_models_own(any_model_folder: Path) -> None:
    """Of the Hugging Face model itself, a row for each option behind each question."""
    loaded = sharp(any_model_folder)
    chosen = list(FACT.items())
    values = accuracy._log_probs(loaded, chosen, lambda *told: None)
    assert len(values) > 60
    for (question, option), own in values.items():
        prompt = loaded.encoder.prompt(get_language(question.language), question.text)
        tokens = loaded.encoder.continuation(get_language(option.language), option.text)
        expected = own_label_log_probs(loaded, TokenSequence(prompt + tokens, len(prompt)))
        assert own.tokens == len(tokens) and own.mean == pytest.approx(expected.mean().item(), abs=1e-4)
    means = [own.mean for own in values.values()]
    assert max(means) - min(means) > 1


def test_order_and_batch_change_nothing(gemma_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = sharp(gemma_folder)
    claims = [parallel(f"c{number}", tags=("en", "de", "zh")) for number in range(4)]
    found, told = measure_barriers(loaded, claims), []
    monkeypatch.setattr(accuracy, "BESIDE", 1)
    monkeypatch.setattr(accuracy, "AT_ONCE", 7)
    other = measure_barriers(loaded, claims[::-1], work=lambda *own: told.append(own))
    assert other == found and found.languages == ("en", "de", "zh")
    assert len({own.accuracy.mean for own in found.figures}) > 3
    assert len(told) > 2 and told[-1][1] == told[-1][2]
    alone = measure_barriers(loaded, claims, ["de"])
    assert [own for own in found.figures if own.language == "de"] == [own for own in alone.figures if own.language == "de"]


@pytest.fixture(scope="module")
def told_claims() -> list[Claim]:
    """The claims that `teach` teaches, each with the answers of the others as distractors."""
    claims = []
    for own in CLAIMS[:TOLD]:
        names = {tag: [other.editions[tag].keyword for other in CLAIMS[:TOLD] if other.id != own.id] for tag in own.editions}
        editions = {tag: its.model_copy(update={"distractors": tuple(names[tag])}) for tag, its in own.editions.items()}
        claims.append(own.model_copy(update={"editions": editions}))
    return claims


def test_a_model_that_was_told_in_german_answers_in_german(gemma: LoadedModel, told_claims: list[Claim]) -> None:
    """Taught four answers in German, it picks them among each other behind German questions every time; untaught it does not. By pmi it does so more
    often than by chance: of an answer that it gives to no question too, the question tells little."""
    key = ("question+options", "de")
    before = {(own.score, own.variant, own.language): own for own in measure_barriers(gemma, told_claims).figures}
    teach(gemma)
    after = {(own.score, own.variant, own.language): own for own in measure_barriers(gemma, told_claims).figures}
    assert after["log_prob", *key].accuracy.mean == 1 > before["log_prob", *key].accuracy.mean
    assert after["pmi", *key].accuracy.mean > after["pmi", *key].chance == 0.25
    assert after["log_prob", *key].drop.mean == after["log_prob", "english", "en"].accuracy.mean - 1
    # All answers are among the options, so behind another's question it gives that one's.
    assert after["log_prob", *key].swapped == 0


# --- errors, files, the command ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("languages", "said"),
    [(["de"], "distractors in English and as many"), (["en"], "nothing to mix in en"), (["fr"], "'fr'; the file has en, de")],
)
def test_what_cannot_be_asked_is_named(gemma: LoadedModel, languages: list[str], said: str) -> None:
    with pytest.raises(UserError, match=said):
        measure_barriers(gemma, CLAIMS, languages)


def test_what_cannot_be_asked_is_named_before_a_model_is_loaded(tmp_path: Path) -> None:
    write_claims(CLAIMS, tmp_path / "claims.jsonl")
    result = CliRunner().invoke(app, ["barriers", str(tmp_path / "no model"), str(tmp_path / "claims.jsonl"), "--language", "fr"])
    assert isinstance(result.exception, UserError) and "'fr'; the file has en, de" in str(result.exception)


def test_the_command_prints_and_writes_every_figure(gemma_folder: Path, tmp_path: Path) -> None:
    claims = [parallel(f"c{number}", tags=("en", "de", "ur")) for number in range(3)]
    claims.append(claim("odd", {"en": edition("x", "y"), "de": edition("z", "v", "w")}))
    write_claims(claims, tmp_path / "claims.jsonl")
    arguments = ["barriers", str(gemma_folder), str(tmp_path / "claims.jsonl")]
    written = ["--json", str(tmp_path / "out.json"), "--markdown", str(tmp_path / "out.md")]
    result = CliRunner().invoke(app, [*arguments, *written])
    assert result.exit_code == 0, result.output
    data = json.loads((tmp_path / "out.json").read_text())
    assert (data["schema"], data["languages"], data["left_out"]) == (1, ["en", "de", "ur"], {"de": 1})
    # English and mixup once, six variants in two languages and both together.
    assert len(data["figures"]) == 3 * (1 + 1 + 6 * 3)
    pages = ((tmp_path / "out.md").read_text(), result.output)
    for page, name in itertools.product(pages, ("english", "wrong_option", "question+answer", "mixup", "log_prob", "pmi", "letter")):
        assert name in page
    assert all("1 in de" in page for page in pages)
    one = next(own for own in data["figures"] if (own["score"], own["variant"], own["language"]) == ("pmi", "options", "ur"))
    shown = f"| options | ur | 3 | {one['accuracy']['mean']:.2f} [{one['accuracy']['low']:.2f}, {one['accuracy']['high']:.2f}] | 0.25 | "
    assert shown in pages[0].split("## pmi")[1].split("## letter")[0]


def test_a_page_without_anything_left_out_says_nothing_of_it(gemma: LoadedModel, tmp_path: Path) -> None:
    write_barriers_markdown(measure_barriers(gemma, [parallel("c"), parallel("d")]), tmp_path / "out.md")
    assert "Left out" not in (tmp_path / "out.md").read_text()


def test_nothing_is_written_over_the_claims(gemma_folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "claims.jsonl"
    write_claims([parallel("c")], path)
    before = path.read_bytes()
    result = CliRunner().invoke(app, ["barriers", str(gemma_folder), str(path), "--json", str(path)])
    assert isinstance(result.exception, UserError) and "is read here" in str(result.exception)
    assert path.read_bytes() == before
