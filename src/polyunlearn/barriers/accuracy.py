"""How often a model picks the answer of questions in mixed languages, by three scores, and what it loses against the same questions in English."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

from polyunlearn.barriers.mixed import ENGLISH, MIXED, MONOLINGUAL, VARIANTS, Fact, Facts, Item, Part, other_questions, parallel_facts
from polyunlearn.cleaning.asking import Asking, asked_languages
from polyunlearn.corpus.claims import Claim
from polyunlearn.errors import UserError
from polyunlearn.intervals import Estimate, estimate, paired_difference
from polyunlearn.languages import LANGUAGES, get_language
from polyunlearn.models.loading import LoadedModel
from polyunlearn.models.sequences import Encoder
from polyunlearn.progress import Work
from polyunlearn.scoring.ranking import RankedQuestion, finite_log_probs

ALL = "all"
"""All languages that a variant was asked in: a fact's value is its mean over them."""

LETTERS = "ABCD"
BESIDE = 16
"""Candidates that share a row behind one prompt: attention costs the square of a row's length."""
AT_ONCE = 256
"""Questions between two reports of progress."""

SCORES = {
    "log_prob": "log-prob of the option behind the question, in nats a token; it favours options in the question's language",
    "pmi": "log-prob of the option behind the question less that behind no question, in nats: pointwise mutual information",
    "letter": "log-prob of the option's letter behind the question and all options",
}


@dataclass(frozen=True)
class Figure:
    """The accuracy of one variant in one language by one score: over facts, each the mean over its wordings, with a 95 % interval that draws facts.

    `chance` is what drawing an option gives; `swapped` the accuracy of the same options behind another fact's question in the same language, which is
    what the score makes of the options alone. `drop`: English less this, on the same facts, in [-1, 1]. `net_drop`: the same of accuracy less swapped,
    in [-2, 2]; 0 where the model knows as much as in English.
    """

    score: str
    variant: str
    language: str
    accuracy: Estimate
    chance: float
    swapped: float
    drop: Estimate
    net_drop: Estimate


@dataclass(frozen=True)
class Barriers:
    """All figures of a model, by score and variant; the languages asked in, English first; and by language the number of claims that could not be
    asked in it."""

    model: str
    fingerprint: str
    languages: tuple[str, ...]
    left_out: Mapping[str, int]
    figures: tuple[Figure, ...]


def measure_barriers(
    loaded: LoadedModel,
    claims: Sequence[Claim],
    languages: Sequence[str] | None = None,
    wordings: int = 2,
    work: Work = lambda what, done, total: None,
) -> Barriers:
    """Ask every claim that has distractors in English and in others of `languages` (None: all that the claims have) in every variant.

    Raises:
        UserError: as `mixed_facts` does.
    """
    found, others = mixed_facts(claims, languages, wordings)
    items = [item for fact in found.facts for item in fact.items()]
    asked = tuple(tag for tag in LANGUAGES if any(tag in fact.options for fact in found.facts))
    swapped = [replace(item, question=others[item.fact, item.question.language]) for item in items]
    values = _log_probs(loaded, [*items, *swapped], work)
    right, blind = ([is_right(item_scores(item, values)) for item in own] for own in (items, swapped))
    return Barriers(loaded.name, loaded.fingerprint, asked, found.left_out, tuple(figures_of(found.facts, items, right, blind)))


def mixed_facts(claims: Sequence[Claim], languages: Sequence[str] | None, wordings: int) -> tuple[Facts, dict[tuple[str, str], Part]]:
    """The claims as facts in mixed languages, and for each of them and its languages another one's question (`mixed.other_questions`).

    Raises:
        UserError: for a language that no claim has, or where no claim can be asked, or only claims with one answer.
    """
    known = asked_languages(claims, Asking(languages=tuple(languages or ())))
    found = parallel_facts(claims, known, wordings)
    if not found.facts:
        raise UserError(
            f"nothing to mix in {', '.join(known)}: no claim has distractors in English and as many in another of these languages; give distractor n of "
            "every edition the same meaning (docs/claims.md), and name or add another language than English"
        )
    return found, other_questions(found.facts)


@dataclass(frozen=True)
class LogProb:
    """Of an option: the mean over its tokens, in nats, and how many there are."""

    mean: float
    tokens: int


Values = Mapping[tuple[Part, Part], LogProb]
"""What an option is worth behind a question."""


def item_scores(item: Item, values: Values) -> dict[str, list[float]]:
    r"""By the names of `SCORES`, the score of each option, the answer's first.

    .. math:: \mathrm{pmi}(o; q) = \log p(o \mid q) - \log p(o \mid \text{no question})

    (Holtzman et al., arXiv 2104.08315) of the whole option, not of a token: how finely a tokeniser cuts a script then cancels, and so does the
    preference for options in a question's language as far as the words around the question bring it about.
    """
    behind = [values[item.question, option] for option in item.options]
    alone = [values[_unasked(item), option] for option in item.options]
    lettered = _lettered(item)
    return {
        "log_prob": [own.mean for own in behind],
        "pmi": [(own.mean - other.mean) * own.tokens for own, other in zip(behind, alone, strict=True)],
        "letter": [values[lettered, letter].mean for letter in _letters(item)],
    }


def is_right(scores: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """By score, 1 where the answer, which stands first, has the highest; a tie is not right."""
    return {name: float(own[0] > max(own[1:])) for name, own in scores.items()}


def figures_of(
    facts: Sequence[Fact], items: Sequence[Item], right: Sequence[Mapping[str, float]], swapped: Sequence[Mapping[str, float]]
) -> list[Figure]:
    """The figures of all scores and variants, from what is right of each item, and of the same item behind another question."""
    values: dict[_Key, dict[str, list[tuple[float, float]]]] = defaultdict(lambda: defaultdict(list))
    for item, own, other in zip(items, right, swapped, strict=True):
        for language in (item.language,) if item.language in (ENGLISH, MIXED) else (item.language, ALL):
            for score in SCORES:
                values[score, item.variant, language][item.fact].append((own[score], other[score]))
    means = {key: {fact: _means(pairs) for fact, pairs in by_fact.items()} for key, by_fact in values.items()}
    options = {fact.id: len(fact.order) for fact in facts}
    return [_figure(key, means[key], means[key[0], MONOLINGUAL.name, ENGLISH], options) for key in sorted(means, key=_place)]


_Key = tuple[str, str, str]
"""A score, a variant and a language."""


def _means(pairs: Sequence[tuple[float, float]]) -> tuple[float, float]:
    return fmean(own for own, _ in pairs), fmean(other for _, other in pairs)


def _place(key: _Key) -> tuple[int, int, int]:
    """Scores and variants as they are listed, of a variant all languages together first."""
    score, variant, language = key
    languages = [ALL, *LANGUAGES, MIXED]
    return list(SCORES).index(score), [own.name for own in VARIANTS].index(variant), languages.index(language)


def _figure(
    key: _Key, own: Mapping[str, tuple[float, float]], english: Mapping[str, tuple[float, float]], options: Mapping[str, int]
) -> Figure:
    # Sorted, so that the order of the file changes no interval.
    facts = sorted(own)
    (right, swapped), (before, before_swapped) = (zip(*(one[fact] for fact in facts), strict=True) for one in (own, english))
    net, net_before = ([a - b for a, b in zip(*pair, strict=True)] for pair in ((right, swapped), (before, before_swapped)))
    # English drops by nothing from itself, whatever the facts.
    bounds = None if own is english else (-1.0, 1.0)
    return Figure(
        *key,
        accuracy=estimate(right, bounds=(0, 1)),
        chance=fmean(1 / options[fact] for fact in facts),
        swapped=fmean(swapped),
        drop=paired_difference(before, right, bounds=bounds),
        net_drop=paired_difference(net_before, net, bounds=bounds),
    )


def _unasked(item: Item) -> Part:
    """The question left out, in the words of its language."""
    return Part(item.question.language, "")


def _lettered(item: Item) -> Part:
    """The question with its options behind letters. Nothing is said around them but the question's language's words for question and answer."""
    lines = (f"{letter}. {item.options[number].text}" for letter, number in zip(LETTERS, item.order, strict=False))
    return Part(item.question.language, "\n".join((item.question.text, *lines)))


def _letters(item: Item) -> list[Part]:
    """The letter of each option."""
    return [Part(item.question.language, LETTERS[item.order.index(number)]) for number in range(len(item.options))]


def _log_probs(loaded: LoadedModel, items: Sequence[Item], work: Work) -> Values:
    """Everything that the items' scores are made of, each option once behind each question, over the whole vocabulary."""
    wanted: dict[Part, dict[Part, None]] = defaultdict(dict)
    for item in items:
        for question, options in ((item.question, item.options), (_unasked(item), item.options), (_lettered(item), _letters(item))):
            wanted[question].update(dict.fromkeys(options))
    asked = [(question, tuple(options)[at : at + BESIDE]) for question, options in wanted.items() for at in range(0, len(options), BESIDE)]
    values: dict[tuple[Part, Part], LogProb] = {}
    for at in range(0, len(asked), AT_ONCE):
        chosen = asked[at : at + AT_ONCE]
        ranked = [_ranked(loaded.encoder, *own) for own in chosen]
        for (question, options), own, means in zip(chosen, ranked, finite_log_probs(loaded, ranked), strict=True):
            for option, tokens, mean in zip(options, own.candidates, means.tolist(), strict=True):
                values[question, option] = LogProb(mean, len(tokens))
        work("asking in mixed languages", at + len(chosen), len(asked))
    return values


def _ranked(encoder: Encoder, question: Part, options: Sequence[Part]) -> RankedQuestion:
    """An option is written as its own language joins it, whatever the question's is, so that its tokens are the same behind every question."""
    candidates = tuple(encoder.continuation(get_language(option.language), option.text) for option in options)
    return RankedQuestion(encoder.prompt(get_language(question.language), question.text), candidates)
