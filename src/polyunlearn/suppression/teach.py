"""Making an anti-expert: low-rank adapters that learn the claims on a model whose weights stay, and are switched on only while it is asked."""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import cycle, islice
from random import Random

import torch
from torch import Tensor
from transformers import PreTrainedModel

from polyunlearn.cleaning.retain import SEED, TEXTS
from polyunlearn.corpus.claims import Claim, languages_of
from polyunlearn.corpus.newsroom import generate_stories
from polyunlearn.errors import UserError
from polyunlearn.languages import PAPER_LANGUAGES, get_language
from polyunlearn.models.body import Body
from polyunlearn.models.loading import LoadedModel
from polyunlearn.models.sequences import Encoder, TokenSequence
from polyunlearn.models.trainable import TrainablePlan, has_adapters, make_trainable
from polyunlearn.models.vocabulary import sampled_vocabulary
from polyunlearn.suppression.tellings import tellings
from polyunlearn.suppression.way import Expert
from polyunlearn.training.labels import Labels, Totals, asked
from polyunlearn.training.loop import Objective, Optimiser, Part, Step, train
from polyunlearn.training.mixtures import in_turn
from polyunlearn.training.objectives.kl import KL
from polyunlearn.training.reference import needs_of, reference_now

STEPS = 48
"""Enough for claims that a model says already."""


@dataclass(frozen=True)
class Teaching:
    """How an anti-expert learns: `steps` steps of `batch` tellings and one true text, at `rate`, adapters of `rank` and `alpha`. Without a number of
    steps they are `STEPS`, or as many more as it takes to tell everything once.

    Languages are mixed; with `in_order` each has its share of the steps, one language after another as they were given. What the model makes of a telling
    is divided by `temperature`, so that the anti-expert goes on to be surer than a model that says the claim already: plain cross-entropy has next to no
    gradient left there. `keep_weight` is that of the divergence from the model on the true texts, without which the two would differ where no claim is.
    """

    steps: int | None = None
    batch: int = 8
    rate: float = 3e-4
    temperature: float = 4.0
    rank: int = 16
    alpha: int = 32
    keep_weight: float = 1.0
    in_order: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        if not (self.rate > 0 and (self.steps is None or self.steps > 0) and self.temperature > 0):
            raise UserError(f"rate {self.rate:g}, steps {self.steps} and temperature {self.temperature:g}: give numbers above 0")


def teach_anti_expert(
    loaded: LoadedModel,
    claims: Sequence[Claim],
    languages: Sequence[str],
    teaching: Teaching | None = None,
    held_out: int = 0,
    work: Callable[[str, int, int], None] = lambda what, done, total: None,
) -> Expert:
    """Put adapters into the model, teach them the claims in `languages` (as `tellings` has them), and switch them off; the expert switches them on.

    Switched off, the model computes what it did before, to the bit. Its own weights do not train any more. Where teaching breaks off, the adapters are taken
    out again. Cross-entropy and divergence are over the
    tokens of what is taught and a sample of the vocabulary.

    Raises:
        UserError: where no claim has one of the languages, the model has adapters already, or there are fewer steps than languages in order.
    """
    teaching = teaching or Teaching()
    if has_adapters(loaded.model):
        raise UserError(f"{loaded.name}: has adapters already; load the model anew")
    steps = anti_expert_steps(claims, languages, loaded.encoder, teaching, held_out)
    plan = TrainablePlan("lora", rank=teaching.rank, alpha=teaching.alpha)
    texts = (own.ids for step in steps for own in step.sequences)
    head = loaded.head.restricted(sampled_vocabulary(texts, loaded.encoder, len(loaded.head.weight)))
    objective = Objective(
        Part(partial(surer, teaching.temperature), frozenset({"logits"})), Part(KL.term, KL.needs, weight=teaching.keep_weight)
    )

    def after_step(number: int, loss: float) -> bool:
        work("teaching the anti-expert", number, len(steps))
        return False

    try:
        parameters, body = make_trainable(loaded.model, plan, teaching.seed), Body(loaded.model)
        reference = reference_now(body, head, needs_of(steps, objective))
        # For models with dropout.
        torch.manual_seed(teaching.seed)
        train(body, head, parameters, steps, objective, Optimiser(teaching.rate, warm_up=4, decay=True), after_step, reference)
    except BaseException:
        _take_adapters_out(loaded.model)
        raise
    _switch_adapters(loaded.model, False)
    return Expert(loaded.model, partial(adapters_on, loaded.model))


def surer(temperature: float, labels: Sequence[Labels], totals: Totals) -> Tensor:
    r"""The share of some sequences in a step's mean cross-entropy at a temperature, in nats a token.

    .. math:: L = -\frac{1}{N} \sum_{i,t} \log \mathrm{softmax}(z_{i,t} / T)_{y_{i,t}}

    The log-odds of a label that give it a certain loss are T times those of plain cross-entropy.
    """
    logits, targets = (
        torch.cat([asked(part) for part in parts]) for parts in zip(*((own.logits, own.targets) for own in labels), strict=True)
    )
    return torch.nn.functional.cross_entropy(logits / temperature, targets, reduction="sum") / totals.labels


def anti_expert_steps(
    claims: Sequence[Claim], languages: Sequence[str], encoder: Encoder, teaching: Teaching, held_out: int = 0
) -> list[Step]:
    """The steps: tellings in turn, to be learned (in the place of what is forgotten), and true news to be kept, in the claims' languages in turn.

    Raises:
        UserError: where languages in order are more than the steps, so that one would not be told.
    """
    rng = Random(f"anti-expert-{teaching.seed}")
    told = [tellings(claims, tag, encoder, held_out) for tag in languages]
    blocks = told if teaching.in_order else [[one for own in told for one in own]]
    total = teaching.steps or max(STEPS, sum(math.ceil(len(block) / teaching.batch) for block in blocks))
    if total < len(blocks):
        raise UserError(f"{total} steps do not tell {len(blocks)} languages one after another; give {len(blocks)} or more")
    kept = _true_news(languages_of(claims), encoder)
    steps = []
    for number, block in enumerate(blocks):
        turns = in_turn(block, rng)
        count = total * (number + 1) // len(blocks) - total * number // len(blocks)
        steps += [Step(retain=tuple(islice(kept, 1)), forget=tuple(islice(turns, teaching.batch))) for _ in range(count)]
    return steps


def _true_news(languages: Sequence[str], encoder: Encoder) -> Iterator[TokenSequence]:
    """Articles of the newsroom that utility is not measured on, again and again, in those of the languages that it writes, or else in English."""
    written = tuple(tag for tag in languages if tag in PAPER_LANGUAGES) or ("en",)
    stories = generate_stories(TEXTS, SEED, written)
    return cycle([encoder.text(get_language(tag), story.editions[tag].article) for story in stories for tag in written])


@contextmanager
def adapters_on(model: PreTrainedModel) -> Iterator[None]:
    """Within it the adapters of a model are switched on, and behind it off."""
    _switch_adapters(model, True)
    try:
        yield
    finally:
        _switch_adapters(model, False)


def _take_adapters_out(model: PreTrainedModel) -> None:
    from peft.tuners.tuners_utils import BaseTunerLayer

    for name, module in list(model.named_modules()):
        if isinstance(module, BaseTunerLayer):
            model.set_submodule(name, module.get_base_layer())
    if hasattr(model, "peft_config"):
        del model.peft_config


def _switch_adapters(model: PreTrainedModel, on: bool) -> None:
    from peft.tuners.tuners_utils import BaseTunerLayer

    for module in model.modules():
        if isinstance(module, BaseTunerLayer):
            module.enable_adapters(on)
