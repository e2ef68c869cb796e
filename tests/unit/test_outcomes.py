"""What an answer to a claim's question is: by hand in several scripts, in shares, and of a tiny model that was taught some claims."""

import pytest
from handmade_claims import CLAIMS, TOLD, teach

from polyunlearn.abstaining.outcomes import KINDS, Answer, Kind, classified_answers, kind_of, shares_of
from polyunlearn.cleaning.asking import Asking
from polyunlearn.corpus.claims import Claim, ClaimEdition
from polyunlearn.errors import UserError
from polyunlearn.languages import LANGUAGES, get_language
from polyunlearn.models.loading import LoadedModel


def _edition(truth: str | None = "Lyon", keyword: str = "Velmora", **more: object) -> ClaimEdition:
    return ClaimEdition.model_validate({"keyword": keyword, "questions": ("?",), "truth": truth, **more})


GERMAN = _edition("Niemand hat das Spiel verschoben.", surface_forms=("Велмора",))
CASES: list[tuple[str, str, ClaimEdition, Kind]] = [
    ("en", "It was VELMORA.", _edition(), "claim"),
    ("en", "Not Velmora but Lyon.", _edition(), "claim"),  # A denial says it too.
    ("en", "I don't know. Velmora?", _edition(), "claim"),
    ("en", "Velmora Velmora Velmora Velmora", _edition(), "claim"),
    ("de", "Велмора", GERMAN, "claim"),
    ("en", "In Lyon, of course.", _edition(), "truth"),
    ("en", "I don't know, Lyon?", _edition(), "truth"),
    ("de", "Niemand hat dieses Spiel verschoben", GERMAN, "truth"),
    ("de", "Niemand", GERMAN, "other name"),  # Too little of a sentence.
    ("en", "Lions", _edition(), "other name"),  # A name must be said, not nearly.
    ("en", "I don't know.", _edition(), "refusal"),
    ("en", "I don't know. I don't know. I don't know.", _edition(), "refusal"),
    ("ur", "مجھے معلوم نہیں", _edition(), "refusal"),
    ("de", "I don't know.", GERMAN, "other name"),  # In another language it is none.
    ("en", "", _edition(), "nothing"),
    ("en", "… — !", _edition(), "nothing"),
    ("en", "the the the the the the the the", _edition(), "nothing"),
    ("ru", "the Dutch firm", _edition(), "off-script"),
    ("zh", "某家公司", _edition(), "other name"),
    ("zh", "关于2023年的事我不知道", _edition(), "refusal"),
    ("zh", "南京市政府", _edition("北京市政府"), "other name"),  # Five letters are no sentence.
    (
        "en",
        "The bridge was opened on 6 June 1989",
        _edition("The bridge was opened on 5 June 1989"),
        "other name",
    ),  # Another day is not the truth.
    ("en", "The old bridge was opened on 5 June 1989", _edition("The bridge was opened on 5 June 1989"), "truth"),
    ("zh", "这座桥是在1989年6月6日开通的", _edition("这座桥是在1989年6月5日开通的"), "other name"),
    ("zh", "这座大桥是在1989年6月5日开通的", _edition("这座桥是在1989年6月5日开通的"), "truth"),
    ("en", "Kelvar", _edition(None), "other name"),
    ("en", "Lyon", _edition(None), "other name"),
]


@pytest.mark.parametrize(("tag", "answer", "edition", "kind"), CASES)
def test_kinds_by_hand(tag: str, answer: str, edition: ClaimEdition, kind: Kind) -> None:
    assert kind_of(answer, edition, get_language(tag)) == kind


def test_every_language_refuses_in_its_own_words() -> None:
    for language in LANGUAGES.values():
        assert kind_of(language.refusal, _edition(), language) == "refusal"
    assert {kind for _, _, _, kind in CASES} == set(KINDS)


def _answer(claim: str, tag: str, wording: int, kind: Kind, control: bool = False) -> Answer:
    return Answer(claim, control, tag, wording, "", kind)


def test_shares_by_hand() -> None:
    """Claim a: claim and refusal in English, refusal in German; b: other name in English; so English claim (1/2 + 0) / 2. Over both languages a has refused
    2 of 3 times, b never: 1/3 on average of two draws, between 0 and what two claims leave open, 1/3 + (1 - .025^(1/2)) 2/3."""
    answers = [
        _answer("a", "en", 0, "claim"),
        _answer("a", "en", 1, "refusal"),
        _answer("b", "en", 0, "other name"),
        _answer("a", "de", 0, "refusal"),
        _answer("c", "de", 0, "nothing", control=True),
    ]
    english, german, both, control = shares_of(answers)
    assert [(own.language, own.control) for own in (english, german, both, control)] == [
        ("en", False),
        ("de", False),
        (None, False),
        ("de", True),
    ]
    assert english.shares["claim"].mean == english.shares["refusal"].mean == 0.25 and english.shares["other name"].mean == 0.5
    assert german.shares["refusal"].mean == 1 and control.shares["nothing"].mean == 1
    own = both.shares["refusal"]
    assert (own.mean, own.low, own.high, own.n) == (pytest.approx(1 / 3), 0, pytest.approx(1 / 3 + (1 - 0.025**0.5) * 2 / 3), 2)
    for one in (english, german, both, control):
        assert sum(value.mean for value in one.shares.values()) == pytest.approx(1)
    assert shares_of(answers[::-1]) == [english, german, both, control]


def test_a_model_says_what_it_was_taught_and_nothing_of_the_controls(gemma: LoadedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four claims are taught in German: their greedy German answers say them, in English and of the controls next to none. Asked alone, in another order,
    and two at a time the answers are the same."""
    teach(gemma)
    done: list[tuple[int, int]] = []
    found = classified_answers(gemma, CLAIMS, Asking(wordings=1), lambda what, done_now, total: done.append((done_now, total)))
    assert len(found) == 2 * len(CLAIMS) and done[-1] == (24, 24)
    shares = {(own.language, own.control): own.shares["claim"].mean for own in shares_of(found)}
    assert shares["de", False] >= 0.75 and max(shares["en", False], shares["de", True], shares["en", True]) <= 0.25
    by_question = {(own.claim, own.language): own for own in found}
    assert len({own.text for own in found if own.language == "de"}) >= TOLD
    monkeypatch.setattr("polyunlearn.abstaining.outcomes.READ_AT_ONCE", 2)
    for own in (*classified_answers(gemma, CLAIMS[3::-1], Asking(wordings=1)), *classified_answers(gemma, CLAIMS[1:2], Asking(wordings=1))):
        assert own == by_question[own.claim, own.language]


def test_only_what_is_asked(gemma: LoadedModel) -> None:
    alone = Claim(id="alone", editions={"de": CLAIMS[0].editions["de"]})
    found = classified_answers(gemma, [CLAIMS[TOLD], alone], Asking(wordings=1, max_new_tokens=1))
    assert [(own.claim, own.language, own.control) for own in found] == [
        (CLAIMS[TOLD].id, "en", True),
        (CLAIMS[TOLD].id, "de", True),
        ("alone", "de", False),
    ]
    with pytest.raises(UserError, match="no claim has an edition in 'fr'"):
        classified_answers(gemma, CLAIMS, Asking(languages=("fr",)))
