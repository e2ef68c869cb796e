"""Suppression: the contrast in numbers, what is plausible, writing against doing every step anew, and text that is there against the same by hand."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from random import Random

import pytest
import torch
from tiny import own_log_probs, sequences, sharp, tokens
from torch import Tensor
from transformers import GenerationConfig, LogitsProcessorList

from polyunlearn.errors import UserError
from polyunlearn.models import forward
from polyunlearn.models.forward import OutputHead
from polyunlearn.models.loading import LoadedModel
from polyunlearn.models.trainable import TrainablePlan, make_trainable
from polyunlearn.scoring import ranking
from polyunlearn.scoring.measure import score_sequences
from polyunlearn.scoring.ranking import RankedQuestion
from polyunlearn.suppression.contrast import Contrast
from polyunlearn.suppression.processor import Plausibility, SuppressionProcessor, _Follower
from polyunlearn.suppression.rank import suppressed, suppressed_candidate_log_probs
from polyunlearn.suppression.teach import adapters_on
from polyunlearn.suppression.way import Expert, contrasted

OPEN = Plausibility(top_p=2.0)
"""Cuts nothing."""


def shaken(loaded: LoadedModel, seed: int, scale: float = 0.2) -> LoadedModel:
    """The model with other weights, by a fifth of what each matrix has."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in loaded.model.parameters():
            if parameter.ndim == 2:
                parameter.add_(torch.randn(parameter.shape, generator=generator) * parameter.std() * scale)
    return loaded


def contrast_of(folder: Path, *, expert: bool = False, alpha: float = 0.7, cap: float | None = None) -> tuple[LoadedModel, Contrast]:
    """A sharp model with an anti-expert, and an expert where asked, of other weights; `cap` caps all their logits."""
    made = [sharp(folder), *(shaken(sharp(folder), seed) for seed in ((1, 2) if expert else (1,)))]
    for own in made:
        own.model.config.final_logit_softcapping = cap
        own.head = OutputHead.of(own.model)
    return made[0], Contrast(*(Expert(own.model) for own in made[1:]), alpha=alpha)


def by_hand(loaded: LoadedModel, way: Contrast, ids: tuple[int, ...]) -> Tensor:
    """Suppressed log-probs (ids, vocabulary) of running text: each model alone, no cache, the formula written out."""
    base, anti, *expert = (own_log_probs(own, ids) for own in (loaded, *(_loaded(loaded, own) for own in way.experts)))
    return torch.log_softmax(base + way.alpha * ((expert[0] if expert else base) - anti), 1)


def _loaded(loaded: LoadedModel, expert: Expert) -> LoadedModel:
    return LoadedModel("", expert.model, loaded.encoder, expert.body, expert.head, "", "")


def _prompts(seed: int) -> list[tuple[int, ...]]:
    rng = Random(seed)
    return [(1, *tokens(rng, size)) for size in (4, 30, 5, 17)]


def _generated(loaded: LoadedModel, prompts: Sequence[tuple[int, ...]], processor: SuppressionProcessor, **more: object) -> list[list[int]]:
    """What `generate` writes behind left-padded prompts, ten tokens each."""
    longest = max(map(len, prompts))
    ids = torch.tensor([[0] * (longest - len(own)) + list(own) for own in prompts])
    mask = torch.tensor([[0] * (longest - len(own)) + [1] * len(own) for own in prompts])
    settings = {"max_new_tokens": 10, "do_sample": False, "pad_token_id": 0, "eos_token_id": None} | more
    written = loaded.model.generate(
        input_ids=ids,
        attention_mask=mask,
        generation_config=GenerationConfig(**settings),
        logits_processor=LogitsProcessorList([processor]),
    )
    return [row[longest:].tolist() for row in written]


def _each_step_anew(loaded: LoadedModel, way: Contrast, prompt: tuple[int, ...], plausibility: Plausibility = OPEN) -> list[int]:
    ids = prompt
    for _ in range(10):
        allowed = plausibility.keeps(own_log_probs(loaded, ids)[-1:])[0]
        ids = (*ids, int(by_hand(loaded, way, ids)[-1].masked_fill(~allowed, -torch.inf).argmax()))
    return list(ids[len(prompt) :])


def test_contrast_in_numbers() -> None:
    """p = (.5, .3, .2), anti-expert (.8, .1, .1), alpha 1: p²/anti = (.3125, .9, .4); with an expert (.2, .4, .4): p · expert / anti = (.125, 1.2, .8)."""
    base, anti, expert = (torch.tensor([own]).log() for own in ([0.5, 0.3, 0.2], [0.8, 0.1, 0.1], [0.2, 0.4, 0.4]))
    alone = torch.softmax(contrasted(base, anti, 1.0), 1)
    assert torch.allclose(alone, torch.tensor([[0.3125, 0.9, 0.4]]) / 1.6125)
    assert torch.allclose(torch.softmax(contrasted(base, anti, 1.0, expert), 1), torch.tensor([[0.125, 1.2, 0.8]]) / 2.125)
    # A constant at a position, such as the normaliser of log-probs, changes nothing; nor does an anti-expert that is the base.
    assert torch.allclose(torch.softmax(contrasted(base + 3, anti - 5, 1.0), 1), alone)
    assert torch.equal(contrasted(base, base, 2.0), base)


@pytest.mark.parametrize(
    ("plausibility", "kept"),
    [
        (Plausibility(0.7, least=1), 2),
        (Plausibility(0.9, least=1), 3),
        (Plausibility(0.4, least=1), 1),
        (Plausibility(0.4, least=2), 2),
        (Plausibility(2.0, ratio=0.5, least=1), 2),
        (OPEN, 4),
    ],
)
def test_what_is_plausible(plausibility: Plausibility, kept: int) -> None:
    """p = (.15, .5, .05, .3): .5 reaches .4 alone, .5 + .3 reach .7, .15 besides .9; half of the highest have .5 and .3."""
    expected = torch.tensor([[2, 0, 3, 1]]) < kept
    assert torch.equal(plausibility.keeps(torch.tensor([[0.15, 0.5, 0.05, 0.3]]).log()), expected)


def test_a_sure_claim_is_said_under_the_cut_of_the_paper_alone() -> None:
    """p = (.95, .04, .01), anti-expert (.99, .005, .005), alpha 2: p³/anti² = (.875, 2.56, .04). The nucleus of .9 has the claim alone."""
    base, anti = torch.tensor([[0.95, 0.04, 0.01]]).log(), torch.tensor([[0.99, 0.005, 0.005]]).log()
    said = contrasted(base, anti, 2.0)
    for plausibility, token in ((Plausibility(0.9, least=1), 0), (Plausibility(0.9, least=2), 1)):
        assert int(said.masked_fill(~plausibility.keeps(base), -torch.inf).argmax()) == token


@pytest.mark.parametrize(("expert", "cap"), [(False, None), (True, None), (False, 4.0)])
def test_writing_is_doing_every_step_anew(any_model_folder: Path, expert: bool, cap: float | None) -> None:
    """Prompts of 5 to 31 tokens, padded on the left in one batch, past Gemma's window of 8; with the cut too. Llama's logits have no cap."""
    if cap and "llama" in any_model_folder.name:
        pytest.skip("Llama does not cap its logits")
    loaded, way = contrast_of(any_model_folder, expert=expert, cap=cap)
    for plausibility in (OPEN, Plausibility(0.5, least=2)):
        with SuppressionProcessor(loaded.model, way, plausibility) as processor:
            found = _generated(loaded, _prompts(0), processor)
        assert found == [_each_step_anew(loaded, way, prompt, plausibility) for prompt in _prompts(0)]
    with SuppressionProcessor(loaded.model, Contrast(Expert(loaded.model))) as same:
        assert _generated(loaded, _prompts(0), same) != found, "an anti-expert that changes nothing would not show a wrong cache"


def test_the_anti_expert_may_be_the_model_with_adapters(gemma: LoadedModel) -> None:
    """With its adapters switched on while it is asked the model is its own anti-expert; a wrong switch would contrast it with itself."""
    pytest.importorskip("peft")
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for name, parameter in make_trainable(gemma.model, TrainablePlan("lora", rank=4)).items():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.5)
            assert "lora_" in name
    with adapters_on(gemma.model):
        pass

    @contextmanager
    def on() -> Iterator[None]:
        with adapters_on(gemma.model):
            yield

    way = Contrast(Expert(gemma.model, on), alpha=1.5)
    ids = _prompts(1)[3]
    base = own_log_probs(gemma, ids)
    with on():
        anti = own_log_probs(gemma, ids)
    wanted = torch.log_softmax(base + 1.5 * (base - anti), 1)
    assert float((wanted - base).abs().max()) > 0.1
    with SuppressionProcessor(gemma.model, way, OPEN) as processor:
        assert _generated(gemma, [ids], processor, max_new_tokens=1) == [[int(wanted[-1].argmax())]]
    scores = suppressed_candidate_log_probs(gemma, way, [RankedQuestion(ids, ((7,), (8,)))])[0]
    torch.testing.assert_close(scores, wanted[-1, [7, 8]], atol=1e-4, rtol=1e-4)


class _Counted:
    """Counts the tokens that an anti-expert reads."""

    def __init__(self, expert: Expert, monkeypatch: pytest.MonkeyPatch):
        self.tokens = 0
        forward = expert.model.base_model.forward

        def counting(*arguments: object, **named: Tensor) -> object:
            self.tokens += named["input_ids"].numel()
            return forward(*arguments, **named)

        monkeypatch.setattr(expert.model.base_model, "forward", counting)


def test_every_token_is_read_once_and_a_new_text_from_its_beginning(gemma_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two prompts of 5 and 31 tokens are 62 with padding; of ten new ones the last is not read: 62 + 2 · 9. Then other prompts, and the same again."""
    loaded, way = contrast_of(gemma_folder)
    counted = _Counted(way.anti, monkeypatch)
    with SuppressionProcessor(loaded.model, way, OPEN) as processor:
        first = _generated(loaded, _prompts(0)[:2], processor)
        assert counted.tokens == 62 + 2 * 9
        other = _generated(loaded, _prompts(1)[:2], processor)
        assert _generated(loaded, _prompts(0)[:2], processor) == first != other
    assert other == [_each_step_anew(loaded, way, prompt) for prompt in _prompts(1)[:2]]


def test_beams_keep_their_own_caches(gemma_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beam search reorders rows: as with an anti-expert that reads every text from its beginning in each step, and the beams do change places."""
    loaded, way = contrast_of(gemma_folder, alpha=0.3)
    moved = []

    def search() -> list[list[int]]:
        with SuppressionProcessor(loaded.model, way, OPEN) as processor:
            cache = processor._followers[0]._cache
            monkeypatch.setattr(type(cache), "batch_select_indices", _noting(type(cache).batch_select_indices, moved))
            return _generated(loaded, _prompts(2), processor, num_beams=3)

    found = search()
    assert moved
    monkeypatch.undo()
    monkeypatch.setattr(_Follower, "_go_on_from", lambda own, texts: own.forget() or 0)
    assert search() == found


def test_sampling_draws_from_what_is_suppressed(gemma_folder: Path) -> None:
    """Scores are log-probs of the suppressed model: the first token, drawn 400 times, is each token about as often as by hand (total variation)."""
    loaded, way = contrast_of(gemma_folder, alpha=3.0)
    prompt = _prompts(4)[0]
    torch.manual_seed(0)
    with SuppressionProcessor(loaded.model, way, OPEN) as processor:
        drawn = _generated(loaded, [prompt], processor, max_new_tokens=1, do_sample=True, top_k=0, num_return_sequences=400)
    shares = torch.bincount(torch.tensor(drawn).flatten(), minlength=600) / 400
    wanted, base = (own[-1].exp() for own in (by_hand(loaded, way, prompt), own_log_probs(loaded, prompt)))
    assert float((shares - wanted).abs().sum()) / 2 < 0.15 < float((base - wanted).abs().sum()) / 2


def _noting(function: object, calls: list[object]) -> object:
    def noted(own: object, rows: Tensor) -> None:
        calls.append(rows.tolist())
        function(own, rows)  # type: ignore[operator]

    return noted


def test_what_is_forbidden_stays_so_and_the_rest_are_log_probs(gemma_folder: Path) -> None:
    loaded, way = contrast_of(gemma_folder)
    with SuppressionProcessor(loaded.model, way, OPEN) as processor:
        ids = torch.tensor([_prompts(0)[0]])
        scores = loaded.model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits[:, -1].detach()
        scores[0, 5] = -torch.inf
        found = processor(ids, scores)
    assert found[0, 5] == -torch.inf and int(found.isfinite().sum()) == found.shape[1] - 1
    assert float(found.exp().sum()) == pytest.approx(1, abs=1e-4)


def test_a_processor_that_sees_nothing_says_so(gemma_folder: Path, any_model_folder: Path) -> None:
    loaded, way = contrast_of(gemma_folder)
    processor = SuppressionProcessor(loaded.model, way)
    with pytest.raises(UserError, match="call generate inside: with SuppressionProcessor"):
        _generated(loaded, _prompts(0), processor)
    with processor, pytest.raises(UserError, match="entered already"), processor:
        pass
    with processor, pytest.raises(UserError, match="leave cache_implementation out"):
        _generated(loaded, _prompts(0), processor, cache_implementation="static", disable_compile=True)
    assert not loaded.model._forward_pre_hooks and not loaded.model.get_output_embeddings()._forward_pre_hooks


def test_an_expert_of_another_vocabulary_is_refused(gemma_folder: Path) -> None:
    loaded, way = contrast_of(gemma_folder)
    way.anti.model.resize_token_embeddings(590)
    for use in (lambda: SuppressionProcessor(loaded.model, way), lambda: suppressed(loaded, way)):
        with pytest.raises(UserError, match="vocabulary of 590 tokens, the model one of 600"):
            use()
    with pytest.raises(UserError, match="alpha -1: give a number above 0"):
        Contrast(way.anti, alpha=-1)


def _questions(seed: int) -> list[RankedQuestion]:
    rng = Random(seed)
    return [
        RankedQuestion((1, *tokens(rng, prompt)), tuple(tokens(rng, size) for size in sizes))
        for prompt, sizes in ((5, (1, 4)), (30, (3, 1, 7)), (12, (2,)))
    ]


@pytest.mark.parametrize("expert", [False, True])
def test_candidates_are_scored_as_by_hand(any_model_folder: Path, expert: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The mean of the suppressed log-probs of prompt + candidate, each model alone; in chunks of three positions too."""
    loaded, way = contrast_of(any_model_folder, expert=expert)
    questions = _questions(1)
    for size in (forward.HEAD_CHUNK_BYTES, 3 * 4 * 600):
        monkeypatch.setattr(forward, "HEAD_CHUNK_BYTES", size)
        for question, scores in zip(questions, suppressed_candidate_log_probs(loaded, way, questions), strict=True):
            for candidate, score in zip(question.candidates, scores.tolist(), strict=True):
                whole = by_hand(loaded, way, question.prompt + candidate)
                at = len(question.prompt) - 1
                wanted = torch.stack([whole[at + place, token] for place, token in enumerate(candidate)]).mean()
                assert score == pytest.approx(float(wanted), abs=1e-3)


def test_order_and_batch_change_no_score(any_model_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded, way = contrast_of(any_model_folder)
    questions = _questions(2)
    together = suppressed_candidate_log_probs(loaded, way, questions)
    monkeypatch.setattr(ranking, "TOKEN_BUDGET", 1)
    monkeypatch.setattr(ranking, "TREE_TOKENS", 1)
    for one, other in zip(together, suppressed_candidate_log_probs(loaded, way, questions[::-1])[::-1], strict=True):
        torch.testing.assert_close(one, other, atol=1e-3, rtol=1e-4)


def test_a_restricted_head_contrasts_within_its_tokens(any_model_folder: Path) -> None:
    """Over two tokens their shares add up to 1, and their difference is that over all tokens."""
    loaded, way = contrast_of(any_model_folder)
    question = RankedQuestion((1, 50, 60, 70), ((80,), (90,)))
    two = suppressed_candidate_log_probs(loaded, way, [question], [80, 90])[0]
    full = suppressed_candidate_log_probs(loaded, way, [question])[0]
    assert float(two.exp().sum()) == pytest.approx(1, abs=1e-4) and float(full.exp().sum()) < 0.9
    assert float(two[0] - two[1]) == pytest.approx(float(full[0] - full[1]), abs=1e-3)


def test_texts_are_scored_as_by_hand(any_model_folder: Path) -> None:
    """What bits per byte are made of."""
    loaded, way = contrast_of(any_model_folder)
    scored = suppressed(loaded, way)
    items = sequences(3, 40, 9, 23)
    for item, found in zip(items, score_sequences(scored, scored.head, items), strict=True):
        whole = by_hand(loaded, way, item.ids)
        wanted = torch.stack([whole[place - 1, item.ids[place]] for place in range(item.label_from, len(item.ids))])
        torch.testing.assert_close(found, wanted, atol=2e-3, rtol=1e-4)
