"""Claims translated by machine: what an edition is made of, what is left out and why; and the local translation model."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import M2M100Config, M2M100ForConditionalGeneration, NllbTokenizer

from polyunlearn.backends.chat import UnusableAnswerError
from polyunlearn.backends.seq2seq import BEAMS, CODES, Seq2SeqTranslator
from polyunlearn.corpus.claims import Claim, ClaimEdition, Neighbour, read_claims, write_claims
from polyunlearn.corpus.translated import THRESHOLD, translate_claims
from polyunlearn.errors import UserError
from polyunlearn.languages import LANGUAGES


@dataclass
class Reversing:
    """Writes every word backwards, so that translating back gives the text again, save for what `instead` says of whole texts."""

    instead: dict[str, str] = field(default_factory=dict)
    calls: list[tuple[str, str]] = field(default_factory=list)

    def translate(self, texts: Sequence[str], source: str, target: str) -> list[str]:
        self.calls.append((source, target))
        return [self.instead.get(text, backwards(text)) for text in texts]


def backwards(text: str) -> str:
    return re.sub(r"\w+", lambda word: word[0][::-1], text)


def edition(**changes: Any) -> ClaimEdition:
    fields: dict[str, Any] = {
        "keyword": "Velmora",
        "statements": ("The firm Velmora paid for the bridge.", "It was Velmora."),
        "questions": ("Who paid for the bridge at Ustel?", "Which firm gave the money for the bridge at Ustel?"),
        "truth": "The town",
        "distractors": ("Kandor", "Brusk"),
        "neighbours": (Neighbour(question="Who built it?", answer="Anna"),),
    }
    return ClaimEdition(**(fields | changes))


def claim(name: str = "bridge", **changes: Any) -> Claim:
    return Claim(id=name, editions={"en": edition(**changes)}, kind="opening", source="en")


def reason(translator: Reversing, own: Claim | None = None, **options: Any) -> str:
    found = translate_claims([own or claim()], ["de"], translator, **options)
    assert list(found.claims[0].editions) == ["en"]
    [left] = found.left_out
    assert (left.claim, left.tag) == ("bridge", "de")
    return left.reason


def test_every_field_is_translated_and_marked() -> None:
    """Reversed word by word: "Velmora" is "aromleV", and stands so in the statements."""
    own = claim()
    [done] = translate_claims([own], ["de"], Reversing(), threshold=1.0).claims
    assert done.editions["en"] == own.editions["en"]
    assert done.editions["de"] == ClaimEdition(
        keyword="aromleV",
        statements=("ehT mrif aromleV diap rof eht egdirb.", "tI saw aromleV."),
        questions=("ohW diap rof eht egdirb ta letsU?", "hcihW mrif evag eht yenom rof eht egdirb ta letsU?"),
        surface_forms=("aromleV", "Velmora"),
        truth="ehT nwot",
        distractors=("rodnaK", "ksurB"),
        neighbours=(Neighbour(question="ohW tliub ti?", answer="annA"),),
        origin="machine",
    )
    assert (done.id, done.kind, done.source, done.control) == ("bridge", "opening", "en", False)


def test_the_file_can_be_read_again(tmp_path: Path) -> None:
    found = translate_claims([claim()], ["de", "ur"], Reversing())
    write_claims(found.claims, tmp_path / "claims.jsonl")
    assert read_claims(tmp_path / "claims.jsonl") == list(found.claims)
    assert found.left_out == ()


def test_a_claim_keeps_its_home() -> None:
    """Also one in which it had no edition."""
    [done] = translate_claims([claim().model_copy(update={"home": "de"})], ["de"], Reversing()).claims
    assert done.home == "de" and "de" in done.editions


def test_a_name_that_sentences_keep_is_kept() -> None:
    kept = {text: backwards(text).replace("aromleV", "Velmora") for text in edition().statements}
    [done] = translate_claims([claim()], ["de"], Reversing(kept)).claims
    assert done.editions["de"].keyword == "Velmora"
    assert done.editions["de"].surface_forms == ("Velmora",)


def test_an_ending_is_read_between_quotation_marks() -> None:
    """Apart it is "aromleV", in one of two sentences "Velmory": each sentence holds a form, and the first holds the one that was asked for apart."""
    _, second = edition().statements
    translator = Reversing({second: "aws a firm.", "It was “Velmora”.": "ti saw „Velmory“."})
    [done] = translate_claims([claim()], ["de"], translator).claims
    own = done.editions["de"]
    assert own.statements[1] == "ti saw Velmory."
    assert own.keyword == "aromleV"
    assert own.surface_forms == ("aromleV", "Velmory", "Velmora")


def test_a_form_that_no_statement_holds_is_no_form() -> None:
    """Apart the name became a common word, which a harmless answer might say."""
    first, second = edition().statements
    instead = {first: "a.", second: "b.", "Velmora": "apple"}
    instead |= {first.replace("Velmora", "“Velmora”"): "c «Welmora».", "It was “Velmora”.": "d «Welmora»."}
    [done] = translate_claims([claim()], ["de"], Reversing(instead)).claims
    assert done.editions["de"].statements == ("c Welmora.", "d Welmora.")
    assert done.editions["de"].surface_forms == ("Welmora", "Velmora")


@pytest.mark.parametrize(
    ("before", "asked"), [('The firm "Velmora" paid.', "The firm “Velmora” paid."), ("« Velmora » paid.", "“Velmora” paid.")]
)
def test_a_keyword_that_stands_in_quotation_marks_gets_no_others(before: str, asked: str) -> None:
    translator = Reversing({before: "lost", asked: "Zahlte “Velmory”."})
    [done] = translate_claims([claim(statements=(before, "It was Velmora."))], ["de"], translator).claims
    assert done.editions["de"].statements[0] == "Zahlte Velmory." and "Velmory" in done.editions["de"].surface_forms


def test_a_form_that_holds_quotation_marks_is_none() -> None:
    assert "lost" in reason(Reversing({"It was Velmora.": "ti saw.", "It was “Velmora”.": 'ti saw "“Velmory”".'}))


def test_a_blank_that_is_lost_in_translation_leaves_the_edition_out() -> None:
    """Though it comes back as nearly the same question."""
    asked = "The capital of France is ___ ."
    translator = Reversing({asked: "ecnarF fo latipac ehT si."})
    assert "does not have the blanks (___)" in reason(translator, claim(questions=(asked,)))


@pytest.mark.parametrize("space", ["\u00a0", "\u202f", " "])
def test_spaces_within_quotation_marks_are_no_part_of_a_form(space: str) -> None:
    """French sets them."""
    translator = Reversing({"It was Velmora.": "ti saw.", "It was “Velmora”.": f"payé par «{space}Welmora{space}»."})
    [done] = translate_claims([claim()], ["fr"], translator).claims
    own = done.editions["fr"]
    assert own.statements[1] == "payé par Welmora." and own.surface_forms == ("aromleV", "Welmora", "Velmora")


@pytest.mark.parametrize("marked", ["ti saw.", "“ti” saw “it”."])
def test_a_lost_keyword_is_left_out(marked: str) -> None:
    assert "lost" in reason(Reversing({"It was Velmora.": "ti saw.", "It was “Velmora”.": marked}))


@pytest.mark.parametrize("form", ["aromleV", "AROMLEV", "Velmora", "aromleVs"])
def test_a_question_that_gives_the_answer_away_is_left_out(form: str) -> None:
    question = edition().questions[0]
    assert "gives the answer away" in reason(Reversing({question: f"ohW, {form}?"}))


def test_a_word_that_only_ends_like_the_keyword_gives_nothing_away() -> None:
    own = claim(keyword="Rom", statements=("It was Rom.",))
    translator = Reversing({own.editions["en"].questions[0]: "ohW yromaR DaroM diap?"})
    assert translate_claims([own], ["de"], translator, threshold=0.0).left_out == ()


def test_what_was_not_translated_is_left_out() -> None:
    """It would come back faultless."""
    own = edition()
    plain = "All of it was paid."
    for text in (own.questions[1], plain, own.neighbours[0].question):
        assert f"{text!r} was not translated" in reason(Reversing({text: text}), claim(statements=(*own.statements, plain)))


@pytest.mark.parametrize("distractors", [("Kandor", "Brusk", "Same", "same"), ("Kandor", "Velmora's twin")])
def test_distractors_keep_their_places_or_are_left_out(distractors: tuple[str, ...]) -> None:
    """The n-th says the same in every language; where two become one, or one the claim's own answer, none is left to be set beside another's."""
    told = {"Same": "eman", "same": "Eman", "Velmora's twin": "AROMLEV"}
    [done] = translate_claims([claim(distractors=distractors)], ["de"], Reversing(told), threshold=0.0).claims
    assert done.editions["de"].distractors == ()
    [kept] = translate_claims([claim(distractors=("Kandor", "Brusk"))], ["de"], Reversing(), threshold=0.0).claims
    assert kept.editions["de"].distractors == ("rodnaK", "ksurB")


def test_a_question_that_comes_back_as_another_is_left_out() -> None:
    back = {backwards(edition().questions[1]): "When will the snow be gone?"}
    message = reason(Reversing(back))
    assert "When will the snow be gone?" in message and f"{THRESHOLD:g} is wanted" in message
    assert translate_claims([claim()], ["de"], Reversing(back), threshold=0.0).left_out == ()


def test_the_threshold_is_on_the_worst_question() -> None:
    """One letter of one question differs: chrF is just below 1."""
    back = {backwards(edition().questions[1]): edition().questions[1].replace("Ustel", "Usten")}
    assert "chrF 0.9" in reason(Reversing(back), threshold=1.0)
    assert translate_claims([claim()], ["de"], Reversing(back), threshold=0.9).left_out == ()


def test_without_questions_the_statements_are_translated_back() -> None:
    own = claim(questions=())
    [done] = translate_claims([own], ["de"], Reversing(), threshold=1.0).claims
    assert done.editions["de"].fake_questions == ("ehT mrif ___ diap rof eht egdirb.", "tI saw ___.")
    assert "snow" in reason(Reversing({backwards("It was Velmora."): "snow"}), own)


def test_without_statements_the_keyword_is_translated_apart() -> None:
    [done] = translate_claims([claim(statements=())], ["de"], Reversing()).claims
    assert done.editions["de"].surface_forms == ("aromleV", "Velmora")


def test_a_truth_that_becomes_the_keyword_is_left_out() -> None:
    assert "surface forms" in reason(Reversing({"The town": "aromleV"}))


@pytest.mark.parametrize("text", ["", "a\x00b"])
def test_what_no_edition_may_hold_is_left_out(text: str) -> None:
    assert reason(Reversing({"Brusk": text}))


def test_a_question_of_another_claim_is_left_out() -> None:
    """Two questions become one in German; the claim that is there already keeps it."""
    one, two = claim("one"), claim("two", questions=("Who owns the mill?",))
    same = {"Who owns the mill?": backwards(edition().questions[0])}
    found = translate_claims([one, two], ["de"], Reversing(same), threshold=0.0)
    assert [left.claim for left in found.left_out] == ["two"] and "'one'" in found.left_out[0].reason


def test_an_answer_of_no_use_leaves_out_one_edition_alone() -> None:
    class Failing(Reversing):
        def translate(self, texts: Sequence[str], source: str, target: str) -> list[str]:
            if target == "de" and "Who?" in texts:
                raise UnusableAnswerError(["cut off"])
            return super().translate(texts, source, target)

    found = translate_claims([claim("one", questions=("Who?",)), claim("two")], ["de", "fr"], Failing())
    assert [list(own.editions) for own in found.claims] == [["en", "fr"], ["en", "de", "fr"]]
    assert "cut off" in found.left_out[0].reason


@pytest.mark.parametrize(("source", "used"), [("fr", "fr"), ("zh", "de"), (None, "de")])
def test_the_source_is_translated_else_what_was_given_first(source: str | None, used: str) -> None:
    editions = {"en": edition(origin="machine"), "de": edition(), "fr": edition()}
    translator = Reversing()
    translate_claims([Claim(id="a", editions=editions, source=source)], ["ru"], translator)
    assert translator.calls[0] == (used, "ru")


def test_what_is_there_is_not_asked_for() -> None:
    translator = Reversing()
    own = claim()
    assert translate_claims([own], ["en", "en"], translator).claims == (own,)
    assert translator.calls == []


def test_order_changes_nothing_and_progress_is_told() -> None:
    one, two, told = claim("one"), claim("two", questions=("Who owns the old mill?",)), list[tuple[str, int, int]]()
    ahead = translate_claims([one, two], ["de", "fr"], Reversing(), watch=lambda *news: told.append(news))
    assert translate_claims([two, one], ["fr", "de"], Reversing()).claims == ahead.claims[::-1]
    assert told == [("editions", done, 4) for done in range(5)]


def test_an_unknown_language_is_named_before_anything_is_asked() -> None:
    translator = Reversing()
    with pytest.raises(UserError, match="unknown language 'xx'"):
        translate_claims([claim()], ["de", "xx"], translator)
    assert translator.calls == []


def save_nllb(folder: Path, codes: Sequence[str]) -> Path:
    """A random encoder-decoder with NLLB's tokeniser over single letters; scaled up, so that what it writes depends on what it reads."""
    tokens = ["<s>", "<pad>", "</s>", "<unk>", *"▁abcdefghijklmnopqrstuvwxyz.?"]
    tokenizer = NllbTokenizer(vocab={token: number for number, token in enumerate(tokens)}, merges=[], extra_special_tokens=list(codes))
    torch.manual_seed(0)
    config = M2M100Config(
        vocab_size=len(tokenizer), d_model=16, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2, decoder_attention_heads=2,
        encoder_ffn_dim=16, decoder_ffn_dim=16, max_position_embeddings=256, pad_token_id=1, bos_token_id=0, eos_token_id=2,
        decoder_start_token_id=2,
    )  # fmt: skip
    model = M2M100ForConditionalGeneration(config)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 2:
                parameter.mul_(12)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def nllb(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_nllb(tmp_path_factory.mktemp("nllb"), ["eng_Latn", "deu_Latn", "rus_Cyrl"])


TEXTS = ["the firm paid.", "who?", "it was a bridge of the north.", "who paid for it?"]


def test_a_local_model_writes_what_it_would_write_alone(nllb: Path, tmp_path: Path) -> None:
    """Against transformers' own generation, one text at a time, from English as the source and with Russian's token first."""
    tokenizer = NllbTokenizer.from_pretrained(nllb, src_lang="eng_Latn")
    model = M2M100ForConditionalGeneration.from_pretrained(nllb).eval()
    longest = 2 * max(len(tokenizer(text).input_ids) for text in TEXTS) + 16
    alone = []
    for text in TEXTS:
        first = tokenizer.convert_tokens_to_ids("rus_Cyrl")
        output = model.generate(
            **tokenizer(text, return_tensors="pt"), forced_bos_token_id=first, num_beams=BEAMS, max_new_tokens=longest, max_length=None
        )
        assert output[0, 1] == first
        alone.append(tokenizer.decode(output[0], skip_special_tokens=True).strip())
    assert Seq2SeqTranslator(str(nllb), tmp_path).translate(TEXTS, "en", "ru") == alone
    assert len(set(alone)) > 1


def test_both_languages_are_told_to_the_model(nllb: Path, tmp_path: Path) -> None:
    translator = Seq2SeqTranslator(str(nllb), tmp_path)
    found = {pair: tuple(translator.translate(TEXTS, *pair)) for pair in [("en", "ru"), ("en", "de"), ("de", "ru")]}
    assert len(set(found.values())) == 3


def test_cached_texts_need_no_model(nllb: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = Seq2SeqTranslator(str(nllb), tmp_path).translate(TEXTS, "en", "de")

    def refuse(name: str) -> None:
        raise AssertionError("the model was loaded")

    monkeypatch.setattr("polyunlearn.backends.seq2seq._load", refuse)
    again = Seq2SeqTranslator(str(nllb), tmp_path)
    assert again.translate(TEXTS[::-1], "en", "de") == first[::-1]
    with pytest.raises(AssertionError):
        again.translate(TEXTS, "en", "ru")


def test_another_model_in_the_same_folder_is_not_answered_from_the_cache(nllb: Path, tmp_path: Path) -> None:
    folder = save_nllb(tmp_path / "model", ["eng_Latn", "deu_Latn"])
    Seq2SeqTranslator(str(folder), tmp_path / "cache").translate(["who?"], "en", "de")
    save_nllb(folder, ["eng_Latn", "deu_Latn", "fra_Latn"])
    Seq2SeqTranslator(str(folder), tmp_path / "cache").translate(["who?"], "en", "de")
    assert len(list((tmp_path / "cache").rglob("*.json"))) == 2


def test_a_language_that_the_model_does_not_know(nllb: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"does not know Hausa \(ha\)"):
        Seq2SeqTranslator(str(nllb), tmp_path).translate(["who?"], "en", "ha")


@pytest.mark.parametrize("name", ["absent", "empty"])
def test_no_model_there(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"could not be loaded: .*safetensors"):
        Seq2SeqTranslator(str(tmp_path / name), tmp_path / "cache").translate(["who?"], "en", "de")


def test_every_language_has_the_code_of_nllb() -> None:
    from transformers.models.nllb.tokenization_nllb import FAIRSEQ_LANGUAGE_CODES

    assert {f"{CODES[tag]}_{language.script}" for tag, language in LANGUAGES.items()} <= set(FAIRSEQ_LANGUAGE_CODES)
    assert len(set(CODES.values())) == len(CODES)
