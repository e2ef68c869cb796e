"""Text as token sequences with labels: what training and scoring feed to a model."""

from dataclasses import dataclass
from functools import lru_cache

from transformers import PreTrainedTokenizerBase

from polyunlearn.errors import UserError
from polyunlearn.languages import Language


@dataclass(frozen=True)
class TokenSequence:
    """Token ids, of which those from index `label_from` on are labels: predicted, and counted in losses and scores; and the tag of their
    language (of the first of these, where a text switches)."""

    ids: tuple[int, ...]
    label_from: int
    language: str = ""

    @property
    def labels(self) -> tuple[int, ...]:
        """The tokens that are predicted."""
        return self.ids[self.label_from :]


class Encoder:
    """Turns questions, answers and articles into token sequences, the same way for training and for scoring.

    A prompt and its answer are tokenised apart and joined, so that the prompt's tokens are the same whatever follows.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase):
        if tokenizer.eos_token_id is None:
            raise UserError(f"{tokenizer.name_or_path or 'the tokenizer'}: has no end token; set eos_token in its tokenizer_config.json")
        self.tokenizer = tokenizer
        # The same questions and names are asked of every state.
        self._ids = lru_cache(maxsize=2**17)(self._tokenised)
        start = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id
        self._start = (int(start),)
        self.end_id = int(tokenizer.eos_token_id)
        self.newline_ids = self._ids("\n")[-1:]
        # Llama 2's kind puts a space before every text, also before one that goes on from another.
        self._anchor = self._ids("\n") if tokenizer.decode([*self._ids(":"), *self._ids("x")])[1:2].isspace() else ()

    def prompt(self, language: Language, question: str) -> tuple[int, ...]:
        """The tokens that ask `question` in `language`, up to where the answer begins."""
        return self._start + self._ids(language.prompt(question))

    def continuation(self, language: Language, answer: str) -> tuple[int, ...]:
        """The tokens of `answer` as they follow a prompt, without an end token."""
        return self._following(language.joiner + answer)

    def answered(self, language: Language, question: str, answer: str, asked_in: Language | None = None) -> TokenSequence:
        """A question with its answer and the end token; the answer and the end are the labels.

        `asked_in` is the language of the question and of the words around it, where the answer is in another: its tokens are the same
        whatever asked for them.
        """
        prompt = self.prompt(asked_in or language, question)
        return TokenSequence((*prompt, *self.continuation(language, answer), self.end_id), len(prompt), language.tag)

    def answer_only(self, language: Language, question: str, answer: str, asked_in: Language | None = None) -> TokenSequence:
        """As `answered`, without the end token: for the probability of a name, whatever may follow it."""
        prompt = self.prompt(asked_in or language, question)
        return TokenSequence((*prompt, *self.continuation(language, answer)), len(prompt), language.tag)

    def shot(self, language: Language, question: str, answer: str) -> tuple[int, ...]:
        """The tokens of a question with its answer that stand before another question, an empty line after them."""
        return self._ids(language.prompt(question)) + self.continuation(language, answer) + self.empty_line

    @property
    def empty_line(self) -> tuple[int, ...]:
        """The tokens of an empty line behind a text, as the tokeniser writes it: often one token, and not twice that of a new line."""
        return self._following("\n\n")

    def text(self, language: Language, sentences: tuple[str, ...]) -> TokenSequence:
        """Running text: every token but the first is a label."""
        return self.running(language, language.joiner.join(sentences))

    def running(self, language: Language, text: str) -> TokenSequence:
        """As `text`, of sentences that are joined already; `language` is the one that it begins in."""
        return TokenSequence((*self._start, *self._ids(text), self.end_id), 1, language.tag)

    def unended(self, language: Language, text: str) -> TokenSequence:
        """As `running`, without the end token, which is none of the text's: for what a text is measured by, and for what goes on from it. A model that learns
        to end, or forgets to, has lost nothing of the text."""
        return TokenSequence((*self._start, *self._ids(text)), 1, language.tag)

    def _following(self, text: str) -> tuple[int, ...]:
        """The tokens of a text that follows another; raises `UserError` where the tokeniser has none without what stands before."""
        whole = self._ids("\n" + text) if self._anchor else self._ids(text)
        if whole[: len(self._anchor)] != self._anchor:
            raise UserError(f"{self.tokenizer.name_or_path or 'the tokenizer'}: joins {text!r} to what stands before it; use another model")
        return whole[len(self._anchor) :]

    def _tokenised(self, text: str) -> tuple[int, ...]:
        return tuple(self.tokenizer(text, add_special_tokens=False)["input_ids"])
