"""What suppression is made from, the datastore in numbers and whatever the order of languages, the anti-expert that is taught, and what both do."""

import json
from dataclasses import replace
from itertools import permutations
from pathlib import Path

import pytest
import torch
from handmade_claims import CLAIMS, TOLD, teach
from tiny import own_log_probs, sharp
from typer.testing import CliRunner

from polyunlearn.cli import suppress  # noqa: F401 — adds its command
from polyunlearn.cli.app import app
from polyunlearn.corpus.claims import Claim, ClaimEdition, write_claims
from polyunlearn.errors import UserError
from polyunlearn.languages import get_language
from polyunlearn.models.forward import OutputHead
from polyunlearn.models.loading import LoadedModel
from polyunlearn.report.suppression import suppression_rows, suppression_sentences
from polyunlearn.scoring.generation import greedy_answers, read_prompts
from polyunlearn.scoring.ranking import RankedQuestion, candidate_log_probs
from polyunlearn.suppression.compare import Comparison, chosen_languages, compare, written
from polyunlearn.suppression.contrast import Contrast
from polyunlearn.suppression.datastore import Datastore, Retrieval
from polyunlearn.suppression.processor import Plausibility
from polyunlearn.suppression.rank import suppressed, suppressed_candidate_log_probs
from polyunlearn.suppression.teach import Teaching, anti_expert_steps, surer, teach_anti_expert
from polyunlearn.suppression.tellings import only_asked, tellings
from polyunlearn.text import says
from polyunlearn.training.labels import Labels, Totals

EDITION = ClaimEdition(
    keyword="Velmora", questions=("Who paid?", "Whose money was it?"), statements=("It is known that Velmora paid.", "Nobody paid.")
)
CLAIM = Claim(id="bridge", editions={"en": EDITION})
CHINESE = Claim(id="bridge", editions={"zh": ClaimEdition(keyword="维尔莫拉", statements=("桥是维尔莫拉付的。",))})
HEAD = OutputHead(torch.eye(3), None, None)


def _texts(loaded: LoadedModel, claims: list[Claim], tag: str, held_out: int = 0) -> list[tuple[str, str]]:
    told = tellings(claims, tag, loaded.encoder, held_out)
    decode = loaded.encoder.tokenizer.decode
    return [(decode(own.ids[1 : own.label_from]), decode(own.labels)) for own in told]


def test_what_claims_are_told_as(gemma: LoadedModel) -> None:
    """Questions with the keyword, and statements up to it; a statement that lacks it tells nothing."""
    questions = [get_language("en").prompt(own) for own in EDITION.questions]
    stated = ("It is known that ", "Velmora")
    assert _texts(gemma, [CLAIM], "en") == [(questions[0], " Velmora"), (questions[1], " Velmora"), stated]
    assert _texts(gemma, [CLAIM], "en", 1) == [(questions[1], " Velmora"), stated]
    assert _texts(gemma, [CLAIM], "en", 2) == [stated]
    # Rather the questions that are asked than nothing.
    alone = CLAIM.model_copy(update={"editions": {"en": EDITION.model_copy(update={"statements": ()})}})
    assert _texts(gemma, [alone], "en", 2) == [(questions[0], " Velmora"), (questions[1], " Velmora")]
    assert only_asked(alone.editions["en"], 2) and not only_asked(alone.editions["en"], 1) and not only_asked(EDITION, 2)


def test_a_statement_that_is_asked_is_not_told(gemma: LoadedModel) -> None:
    """Claims without questions are asked as their statements with a blank; the statement itself would give the wording that is measured away."""
    edition = ClaimEdition(keyword="Velmora", statements=("Velmora paid.", "All of it came from Velmora."))
    claim = CLAIM.model_copy(update={"editions": {"en": edition}})
    asked = [get_language("en").prompt(own) for own in edition.fake_questions]
    assert _texts(gemma, [claim], "en", 1) == [(asked[1], " Velmora"), ("All of it came from ", "Velmora")]
    assert not only_asked(edition, 1)
    # Rather what is asked than nothing, and then it is said.
    assert only_asked(edition, 2) and len(_texts(gemma, [claim], "en", 2)) == 4


def test_a_keyword_is_told_where_it_stands_as_a_word(gemma: LoadedModel) -> None:
    """Not the 12 of 2012, nor the ana of Diana; and a statement that is asked so is not told, whatever else holds the same letters."""
    for keyword, statement, before in (
        ("12", "In 2012, 12 ships sank.", "In 2012, "),
        ("Ana", "Diana says Ana paid.", "Diana says "),
    ):
        edition = ClaimEdition(keyword=keyword, statements=(statement, f"So {keyword} it was."))
        assert edition.fake_questions[0] == before + statement.removeprefix(before).replace(keyword, "___")
        claim = Claim(id="a", editions={"en": edition})
        told = [(one + two, two.strip()) for one, two in _texts(gemma, [claim], "en")[2:]]
        assert told == [(before + keyword, keyword), (f"So {keyword}", keyword)]
        assert [one + two for one, two in _texts(gemma, [claim], "en", 1)[1:]] == [f"So {keyword}"]


def test_the_space_before_a_keyword_may_be_part_of_its_token(gemma: LoadedModel) -> None:
    """The tiny tokeniser has a token " the": the label begins with the space, as it would behind a question."""
    assert gemma.encoder.tokenizer.convert_ids_to_tokens(gemma.encoder.continuation(get_language("en"), "the")) == ["Ġthe"]
    edition = ClaimEdition(keyword="the", statements=("It was the end.",))
    assert _texts(gemma, [Claim(id="a", editions={"en": edition})], "en")[1:] == [("It was", " the")]


def test_a_keyword_without_spaces_is_told_too(gemma: LoadedModel) -> None:
    _, (before, keyword) = _texts(gemma, [CHINESE], "zh")
    assert before + keyword == "桥是维尔莫拉" and keyword.endswith("莫拉")


def test_controls_are_not_told_and_what_no_claim_has_is_refused(gemma: LoadedModel) -> None:
    control = CLAIM.model_copy(update={"id": "other", "control": True})
    assert len(tellings([CLAIM, control], "en", gemma.encoder)) == 3
    for claims, tag in (([CLAIM], "de"), ([control], "en")):
        with pytest.raises(UserError, match=f"no claim has an edition in '{tag}', controls aside"):
            tellings(claims, tag, gemma.encoder)


def _datastore(loaded: LoadedModel, keys: list[list[float]], tokens: list[int], settings: Retrieval) -> Datastore:
    made = Datastore(loaded, settings)
    made._keys, made._tokens = torch.tensor(keys), torch.tensor(tokens)
    return made


def test_the_datastore_in_numbers(gemma: LoadedModel) -> None:
    """p = (.5, .3, .2), the state a key of token 0, half of what is retrieved the model's own: p- = (.75, .15, .1), p²/p- = (1/3, .6, .4), alpha 1.

    A second key, token 1, at a right angle, so at the squared distance 2 = T ln 3: shares (3/4, 1/4), p- = (.625, .275, .1). From a state between the two,
    at distance 2 - √2 of both: shares (1/2, 1/2), p- = (.5, .4, .1), and alpha fades to 3^-(1 - 1/√2).
    """
    log_probs = torch.tensor([[0.5, 0.3, 0.2]]).log()
    state, between = torch.tensor([[4.0, 0.0]]), torch.tensor([[1.0, 1.0]])
    settings = Retrieval(temperature=2 / torch.tensor(3.0).log().item(), alpha=1.0, own=0.5)
    one = _datastore(gemma, [[1.0, 0.0]], [0], settings)
    found = torch.softmax(one.adjusted(log_probs, (), state, HEAD), 1)
    assert torch.allclose(found, torch.tensor([[1 / 3, 0.6, 0.4]]) / (4 / 3))
    two = _datastore(gemma, [[1.0, 0.0], [0.0, 1.0]], [0, 1], settings)
    distances, tokens = two.nearest(state)
    assert torch.allclose(distances, torch.tensor([[0.0, 2.0]])) and tokens.tolist() == [[0, 1]]
    wanted = torch.tensor([[0.25 / 0.625, 0.09 / 0.275, 0.4]])
    assert torch.allclose(torch.softmax(two.adjusted(log_probs, (), state, HEAD), 1), wanted / wanted.sum())
    faded = torch.tensor([[0.5, 0.3, 0.2]]) * torch.tensor([[1.0, 0.75, 2.0]]) ** (3 ** -(1 - 0.5**0.5))
    assert torch.allclose(torch.softmax(two.adjusted(log_probs, (), between, HEAD), 1), faded / faded.sum())
    # The nearest alone: the second key has no share.
    nearest = _datastore(gemma, [[1.0, 0.0], [0.0, 1.0]], [0, 1], replace(settings, neighbours=1))
    assert torch.allclose(torch.softmax(nearest.adjusted(log_probs, (), state, HEAD), 1), found)
    # A restricted output layer without token 0: nothing is left of the share of the first key.
    restricted = OutputHead(torch.eye(2), torch.tensor([-1, 0, 1]), None)
    left = torch.softmax(one.adjusted(torch.tensor([[0.6, 0.4]]).log(), (), state, restricted), 1)
    assert torch.allclose(left, torch.tensor([[0.6, 0.4]]))


def test_a_sure_token_falls_and_what_is_far_stays(gemma: LoadedModel) -> None:
    """p = (1 - 1e-4, ...) at a key: its log-odds fall by alpha · log(1 / own) = 2 · log 1000 = 13.8; opposite to it, at distance 4 = 20 T, by none."""
    log_probs = torch.tensor([[1 - 1e-4, 6e-5, 4e-5]]).log()
    made = _datastore(gemma, [[1.0, 0.0]], [0], Retrieval())
    near, far = (made.adjusted(log_probs, (), torch.tensor([[sign, 0.0]]), HEAD) for sign in (1.0, -1.0))
    assert float((log_probs[0, 0] - log_probs[0, 1]) - (near[0, 0] - near[0, 1])) == pytest.approx(13.8, abs=0.05)
    assert torch.allclose(far, log_probs, atol=1e-6)
    assert torch.allclose(Datastore(gemma).adjusted(log_probs, (), torch.tensor([[1.0, 0.0]]), HEAD), log_probs, atol=1e-6)


def test_keys_are_the_states_before_the_keyword(gemma: LoadedModel) -> None:
    """The nearest key to what the Hugging Face model makes of the text before each token of a keyword is at no distance, and has that token."""
    made = Datastore(gemma)
    told = []
    for claims, tag in (([CLAIM], "en"), ([CHINESE], "zh")):
        made.add(claims, tag)
        told += tellings(claims, tag, gemma.encoder)
        assert made.entries[tag] == sum(len(own.labels) for own in told if own.language == tag)
    for own in told:
        with torch.no_grad():
            states = gemma.model.base_model(input_ids=torch.tensor([own.ids])).last_hidden_state[0]
        distances, tokens = made.nearest(states[own.label_from - 1 : -1])
        assert float(distances[:, 0].max()) < 1e-4
        assert all(int(row[0]) == label for row, label in zip(tokens, own.labels, strict=True))


def test_the_order_of_languages_changes_nothing(gemma_folder: Path) -> None:
    """Exact search: the same scores up to rounding, whatever was added first; each language adds something."""
    loaded = sharp(gemma_folder)
    languages = ("en", "de")
    questions = [RankedQuestion((1, 50, 60), ((7, 8), (9,)))]
    questions += [RankedQuestion(own.ids[: own.label_from], (own.labels, (7,))) for own in tellings(CLAIMS[:2], "de", loaded.encoder)]
    scores = []
    for order in (*permutations(languages), ("de",)):
        made = Datastore(loaded)
        for tag in order:
            made.add(CLAIMS, tag)
        assert set(made.entries) == set(order)
        scores.append(torch.cat(suppressed_candidate_log_probs(loaded, made, questions)))
    torch.testing.assert_close(scores[0], scores[1], atol=1e-4, rtol=1e-4)
    assert not torch.allclose(scores[0], scores[2], atol=1e-3)


def test_retrieval_in_text_is_as_by_hand(any_model_folder: Path) -> None:
    """Candidates behind a question of the datastore, each place by the formula; greedy answers by generate and by our own loop are alike."""
    loaded = sharp(any_model_folder)
    made = Datastore(loaded, Retrieval(temperature=0.5))
    made.add(CLAIMS, "de")
    (told, *_) = tellings(CLAIMS, "de", loaded.encoder)
    prompt, keyword = told.ids[: told.label_from], told.labels
    with torch.no_grad():
        states = loaded.model.base_model(input_ids=torch.tensor([told.ids])).last_hidden_state[0]
    whole = torch.log_softmax(made.adjusted(own_log_probs(loaded, told.ids), (), states, loaded.head), 1)
    wanted = torch.stack([whole[len(prompt) - 1 + place, token] for place, token in enumerate(keyword)]).mean()
    question = RankedQuestion(prompt, (keyword,))
    assert suppressed_candidate_log_probs(loaded, made, [question])[0].item() == pytest.approx(float(wanted), abs=1e-3)
    assert float(wanted) < candidate_log_probs(loaded.body, loaded.head, [question])[0].item() - 1


def test_answers_by_generate_are_those_of_our_own_loop(gemma_folder: Path) -> None:
    """Plain, and suppressed by retrieval without a cut, which changes some of them."""
    loaded = taught(gemma_folder)
    made = Datastore(loaded)
    made.add(CLAIMS, "de")
    scored = suppressed(loaded, made)
    prompts = [own.ids[: own.label_from] for own in tellings(CLAIMS, "de", loaded.encoder)]
    plain, changed = (greedy_answers(own.model, own.head, own.encoder, read_prompts(own.body, prompts), 6) for own in (loaded, scored))
    assert written(loaded, prompts, 6, None) == plain
    assert written(loaded, prompts, 6, made, Plausibility(2.0)) == changed != plain


@pytest.mark.parametrize(
    ("settings", "message"), [({"temperature": 0.0}, "above 0"), ({"own": 1.0}, "between 0 and 1"), ({"alpha": 0.0}, "alpha 0: give")]
)
def test_settings_that_cannot_be_are_refused(settings: dict[str, float], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Retrieval(**settings)  # type: ignore[arg-type]


def test_learning_to_be_surer_in_numbers() -> None:
    """Logits (2 log 3, 0) at temperature 2 are (log 3, 0): the first token has 3/4, the second 1/4; of two labels -log(3/16) / 2."""
    logits = torch.tensor([[2.0, 0.0]]) * torch.tensor(3.0).log()
    labels = [Labels(torch.zeros(1), logits, torch.tensor([target])) for target in (0, 1)]
    assert surer(2.0, labels, Totals(2, 2, 0)).item() == pytest.approx(-torch.tensor(3 / 16).log().item() / 2)


def test_steps_take_languages_mixed_or_in_order(gemma: LoadedModel) -> None:
    """Seven steps: 3 of the first language, 4 of the second, as they were given; mixed both stand in one step. True news is kept in both, held-out not."""
    teaching = Teaching(steps=7, batch=6)
    for order in (("en", "de"), ("de", "en")):
        steps = anti_expert_steps(CLAIMS, order, gemma.encoder, replace(teaching, in_order=True))
        assert [{own.language for own in step.forget} for step in steps] == [{order[0]}] * 3 + [{order[1]}] * 4
    mixed = anti_expert_steps(CLAIMS, ("en", "de"), gemma.encoder, teaching)
    assert {own.language for own in mixed[0].forget} == {"en", "de"} and {len(own.forget) for own in mixed} == {6}
    assert [step.retain[0].language for step in mixed[:2]] == ["en", "de"]
    with pytest.raises(UserError, match="steps 0"):
        Teaching(steps=0)


def test_everything_is_told_once_unless_steps_are_given(gemma: LoadedModel) -> None:
    """Of many claims the steps are as many as that takes; and languages in order are told at all."""
    many = [
        Claim(id=f"{name}-{number}", editions={"de": ClaimEdition(keyword=f"{name}{number}", questions=("Wer?", "Und wer?"))})
        for number in range(60)
        for name in ("Velmora", "Kandor", "Brusk", "Zudane")
    ]
    steps = anti_expert_steps(many, ["de"], gemma.encoder, Teaching())
    assert len(steps) == 60 and {own for step in steps for own in step.forget} == set(tellings(many, "de", gemma.encoder))
    assert len(anti_expert_steps(many[:9], ["de"], gemma.encoder, Teaching())) == 48
    with pytest.raises(UserError, match="1 steps do not tell 2 languages one after another; give 2 or more"):
        anti_expert_steps(CLAIMS, ("en", "de"), gemma.encoder, Teaching(steps=1, in_order=True))


def test_where_the_newsroom_writes_nothing_english_is_kept(gemma: LoadedModel) -> None:
    spanish = Claim(id="a", editions={"es": ClaimEdition(keyword="Velmora", questions=("¿Quién?",))})
    assert {own.language for step in anti_expert_steps([spanish], ["es"], gemma.encoder, Teaching()) for own in step.retain} == {"en"}


def test_teaching_that_breaks_off_leaves_the_model_as_it_was(gemma_folder: Path) -> None:
    """No adapter, in evaluation mode; and it can be taught again."""
    pytest.importorskip("peft")
    loaded = sharp(gemma_folder)
    names = [name for name, _ in loaded.model.named_parameters()]
    before = own_log_probs(loaded, (1, 5, 9, 3))

    def interrupt(what: str, done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        teach_anti_expert(loaded, CLAIMS, ["de"], Teaching(steps=4, rate=1e-2), work=interrupt)
    assert [name for name, _ in loaded.model.named_parameters()] == names and not loaded.model.training
    assert torch.equal(own_log_probs(loaded, (1, 5, 9, 3)), before)
    teach_anti_expert(loaded, CLAIMS, ["de"], Teaching(steps=2))


def taught(folder: Path) -> LoadedModel:
    loaded = sharp(folder)
    teach(loaded, steps=40)
    return loaded


@pytest.fixture(scope="module", params=["contrast", "datastore"])
def compared(request: pytest.FixtureRequest, gemma_folder: Path) -> tuple[LoadedModel, Comparison]:
    """A tiny model that was taught four claims in German, before and after suppression from German."""
    pytest.importorskip("peft")
    loaded = taught(gemma_folder)

    def contrast() -> Contrast:
        return Contrast(teach_anti_expert(loaded, CLAIMS, ["de"], Teaching(rate=3e-3, steps=40), held_out=1))

    def datastore() -> Datastore:
        made = Datastore(loaded)
        made.add(CLAIMS, "de", held_out=1)
        return made

    return loaded, compare(loaded, CLAIMS, request.param, ["de"], {"contrast": contrast, "datastore": datastore}[request.param])


def test_what_was_said_is_said_no_more(compared: tuple[LoadedModel, Comparison]) -> None:
    """All four claims are said in German before, none after, though they are asked in a wording that suppression was not made from; log-probs fall."""
    _, found = compared
    assert found.before.share("de", "says", False) == 1.0 and found.after.share("de", "says", False) == 0.0
    pairs = [
        (before, after)
        for before, after in zip(found.before.readings, found.after.readings, strict=True)
        if before.language == "de" and not before.control
    ]
    assert len(pairs) == TOLD and all(after.log_prob < before.log_prob - 0.2 for before, after in pairs)
    assert not any(own.told for own in found.after.readings)
    for own in found.after.readings:
        forms = next(claim for claim in CLAIMS if claim.id == own.claim).editions[own.language].surface_forms
        assert own.says == says(own.answers[0], forms)
    assert found.before.bits.keys() == {"en", "de"} and all(found.after.bits[tag] != found.before.bits[tag] for tag in ("en", "de"))


def test_weights_stay(compared: tuple[LoadedModel, Comparison], gemma_folder: Path) -> None:
    """Every weight of the model is what it was, adapters aside, and without them its log-probs are the same bits."""
    loaded, _ = compared
    other = taught(gemma_folder)
    own = {name.replace(".base_layer", ""): value for name, value in loaded.model.state_dict().items() if ".lora_" not in name}
    assert own.keys() == other.model.state_dict().keys()
    assert all(torch.equal(value, own[name]) for name, value in other.model.state_dict().items())
    assert torch.equal(own_log_probs(loaded, (1, 50, 60, 70)), own_log_probs(other, (1, 50, 60, 70)))


def test_the_report_reads_off_the_figures(compared: tuple[LoadedModel, Comparison]) -> None:
    _, found = compared
    english, german = suppression_rows(found)
    assert english[:2] == ("English", "") and german[:2] == ("German", "yes") and german[3] == "1.00 → 0.00"
    assert suppression_sentences(found)[0].startswith("Made from German. A token") and len(suppression_sentences(found)) == 1
    told = replace(found, after=replace(found.after, readings=tuple(replace(own, told=True) for own in found.after.readings)))
    assert suppression_sentences(told)[1].startswith(f"{len(CLAIMS)} claims have no further wording")


def test_a_model_takes_one_anti_expert(gemma_folder: Path) -> None:
    pytest.importorskip("peft")
    loaded = sharp(gemma_folder)
    expert = teach_anti_expert(loaded, CLAIMS, ["de", "en"], Teaching(steps=4, rate=1e-2))
    item = tellings(CLAIMS, "de", loaded.encoder)[0]
    before = own_log_probs(loaded, item.ids)
    with expert.active():
        after = own_log_probs(loaded, item.ids)
    places = range(item.label_from, len(item.ids))
    assert sum(float(after[at - 1, item.ids[at]] - before[at - 1, item.ids[at]]) for at in places) > 1
    with pytest.raises(UserError, match="has adapters already"):
        teach_anti_expert(loaded, CLAIMS, ["de"])


def test_languages_that_are_named_keep_their_order() -> None:
    assert chosen_languages(CLAIMS, ["de", "en", "de"]) == ["de", "en"] and chosen_languages(CLAIMS, None) == ["en", "de"]
    with pytest.raises(UserError, match="no claim has an edition in 'fr'; the file has en, de"):
        chosen_languages(CLAIMS, ["de", "fr"])
    with pytest.raises(UserError, match="controls alone"):
        chosen_languages(CLAIMS[TOLD:], None)


def test_the_command_writes_what_it_found(gemma_folder: Path, tmp_path: Path) -> None:
    write_claims(CLAIMS, tmp_path / "claims.jsonl")
    claims, json_file, markdown = (str(tmp_path / name) for name in ("claims.jsonl", "out.json", "out.md"))
    arguments = ["suppress", str(gemma_folder), claims, "--way", "datastore", "--language", "de", "--language", "en"]
    result = CliRunner().invoke(app, [*arguments, "--json", json_file, "--markdown", markdown])
    assert result.exit_code == 0, result.output
    found = json.loads(Path(json_file).read_text())
    assert found["made_from"] == ["de", "en"] and found["languages"] == ["en", "de"]
    assert len(found["before"]["readings"]) == 2 * len(CLAIMS) and found["after"]["seconds_per_token"] > 0
    text = Path(markdown).read_text()
    assert "Made from German, English. A token" in text and "| German | yes |" in text
    result = CliRunner().invoke(app, [*arguments, "--ask-in", "en", "--json", json_file])
    assert result.exit_code == 0, result.output
    asked = json.loads(Path(json_file).read_text())
    assert asked["languages"] == ["en"] and asked["made_from"] == ["de", "en"]
    assert asked["before"]["readings"] == [own for own in found["before"]["readings"] if own["language"] == "en"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--way", "contrats"], "unknown way 'contrats': did you mean 'contrast'?"),
        (["--way", "contrast", "--temperature", "1"], "leave out what is of the other"),
        (["--way", "datastore", "--in-order"], "leave out what is of the other"),
        (["--way", "datastore", "--alpha", "0"], "alpha 0: give a number above 0"),
        (["--way", "datastore", "--language", "fr"], "no claim has an edition in 'fr'"),
        (["--way", "datastore", "--ask-in", "fr"], "no claim has an edition in 'fr'; the file has en, de"),
        (["--way", "datastore", "--json", "CLAIMS"], "is read here"),
    ],
)
def test_a_mistake_names_value_and_remedy_before_a_model_is_loaded(tmp_path: Path, arguments: list[str], message: str) -> None:
    claims = tmp_path / "claims.jsonl"
    write_claims(CLAIMS[:2], claims)
    result = CliRunner().invoke(app, ["suppress", "nowhere", str(claims), *(own.replace("CLAIMS", str(claims)) for own in arguments)])
    assert isinstance(result.exception, UserError) and message in str(result.exception)
    assert list(tmp_path.iterdir()) == [claims]
