"""Text as tokens: prompts, answers, running text; and the vocabulary that a study can meet."""

import pytest
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from polyunlearn.corpus.newsroom import generate_stories
from polyunlearn.languages import PAPER_LANGUAGES, get_language
from polyunlearn.models.sequences import Encoder, TokenSequence
from polyunlearn.models.vocabulary import SAMPLE, study_vocabulary


@pytest.fixture
def encoder(tokenizer: PreTrainedTokenizerFast) -> Encoder:
    return Encoder(tokenizer)


def test_labels_begin_at_label_from() -> None:
    assert TokenSequence((5, 6, 7, 8), 2).labels == (7, 8)


def test_answered_is_prompt_answer_end(encoder: Encoder) -> None:
    """bos, then "Question: Who?\\nAnswer:", then " Ann" and the end token as labels."""
    english = get_language("en")
    sequence = encoder.answered(english, "Who?", "Ann")
    assert sequence.ids[0] == encoder.tokenizer.bos_token_id
    assert encoder.tokenizer.decode(sequence.ids[1 : sequence.label_from]) == "Question: Who?\nAnswer:"
    assert encoder.tokenizer.decode(sequence.labels[:-1]) == " Ann"
    assert sequence.labels[-1] == encoder.end_id == encoder.tokenizer.eos_token_id


@pytest.mark.parametrize("tag", PAPER_LANGUAGES)
def test_prompt_is_the_same_whatever_follows(encoder: Encoder, tag: str) -> None:
    """What is scored (prompt + continuation), trained (answered) and generated from (prompt) begins with the same tokens."""
    language = get_language(tag)
    edition = generate_stories(1)[0].editions[tag]
    question = edition.fake_questions[0]
    prompt = encoder.prompt(language, question)
    for answer in (edition.keyword, edition.true_answer):
        only = encoder.answer_only(language, question, answer)
        assert only.ids == prompt + encoder.continuation(language, answer)
        assert only.label_from == len(prompt)
        assert encoder.answered(language, question, answer).ids == (*only.ids, encoder.end_id)


def test_chinese_answers_follow_without_a_space(encoder: Encoder) -> None:
    assert encoder.tokenizer.decode(encoder.continuation(get_language("zh"), "拉拉")) == "拉拉"
    assert encoder.tokenizer.decode(encoder.continuation(get_language("en"), "Lara")) == " Lara"


def _space_before_everything() -> PreTrainedTokenizerFast:
    """A tokeniser of Llama 2's kind: every text begins with "▁", which is decoded as a space, and none at the very start."""
    signs = ["</s>", *dict.fromkeys("▁:\n.?xQWhoAnB答案：北京罗马ea")]
    made = Tokenizer(models.BPE(vocab={sign: at for at, sign in enumerate(signs)}, merges=[]))
    made.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    made.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    return PreTrainedTokenizerFast(tokenizer_object=made, eos_token="</s>")


def test_no_space_comes_between_that_no_text_has() -> None:
    encoder = Encoder(_space_before_everything())
    assert encoder.tokenizer.decode(encoder.tokenizer("：")["input_ids"] + encoder.tokenizer("北京")["input_ids"]) == "： 北京"
    pieces = encoder.tokenizer.convert_ids_to_tokens
    assert pieces(encoder.continuation(get_language("zh"), "北京")) == ["北", "京"]
    assert pieces(encoder.continuation(get_language("en"), "Ann")) == ["▁", "A", "n", "n"]
    assert pieces(encoder.shot(get_language("en"), "Who?", "Ann"))[-4:] == ["n", "n", "\n", "\n"]
    assert pieces(encoder.newline_ids) == ["\n"]


def test_text_labels_all_but_the_first_token(encoder: Encoder) -> None:
    sequence = encoder.text(get_language("en"), ("One.", "Two."))
    assert sequence.label_from == 1
    assert encoder.tokenizer.decode(sequence.ids[1:-1]) == "One. Two."
    assert (sequence.ids[0], sequence.ids[-1]) == (encoder.tokenizer.bos_token_id, encoder.end_id)


def test_special_tokens_are_not_added_twice(encoder: Encoder) -> None:
    """A tokeniser that adds a start token of its own would otherwise put one into every answer."""
    sequence = encoder.answered(get_language("en"), "Who?", "Ann")
    assert sequence.ids.count(encoder.tokenizer.bos_token_id) == 1
    assert sequence.ids.count(encoder.end_id) == 1


def test_without_a_start_token_the_end_token_starts() -> None:
    """As GPT-2 and Qwen do it: there is no bos, and eos separates texts."""
    raw = Tokenizer(models.WordLevel({"<eos>": 0, "a": 1}, unk_token="a"))
    raw.pre_tokenizer = pre_tokenizers.Whitespace()
    encoder = Encoder(PreTrainedTokenizerFast(tokenizer_object=raw, eos_token="<eos>"))
    assert encoder.text(get_language("en"), ("a a",)).ids == (0, 1, 1, 0)


def test_vocabulary_holds_every_token_of_the_stories(encoder: Encoder) -> None:
    """A vocabulary of 1,000,000 leaves the even sample 244 apart, so that most tokens are there for the stories' sake."""
    stories = generate_stories(2, languages=("en", "zh", "ur"))
    size = 1_000_000
    vocabulary = study_vocabulary(stories, encoder, size)
    assert vocabulary == sorted(set(vocabulary))
    kept = set(vocabulary)
    for story in stories:
        for tag, edition in story.editions.items():
            language = get_language(tag)
            wanted = {*encoder.text(language, edition.article).ids, *encoder.text(language, edition.fake_article).ids}
            for question in edition.fake_questions:
                wanted |= {*encoder.answered(language, question, edition.keyword).ids, *encoder.continuation(language, edition.true_answer)}
            for item in (*edition.questions, edition.real_question):
                wanted |= set(encoder.answered(language, item.question, item.answer).ids)
            assert wanted <= kept
    assert {encoder.end_id, *encoder.newline_ids} <= kept
    assert {at * (size // SAMPLE) for at in range(SAMPLE)} <= kept


def test_vocabulary_grows_with_the_stories_only(encoder: Encoder) -> None:
    """Without stories only the sample, the end and the new line are left; a token of the stories outside it is not there."""
    none = study_vocabulary([], encoder, 1_000_000)
    some = study_vocabulary(generate_stories(1, languages=("en",)), encoder, 1_000_000)
    assert set(none) < set(some)
    assert len(none) <= SAMPLE + 3 + 1_000_000 % SAMPLE


def test_a_small_vocabulary_is_kept_whole(encoder: Encoder) -> None:
    assert study_vocabulary(generate_stories(1, languages=("en",)), encoder, 600) == list(range(600))
