"""Adapters of languages beside the weights that all share: trained by the loss, or chosen by what steps of the shared weights do."""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
from handmade_bodies import gradient_made
from tiny import own_log_probs, sequences, sharp
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from polyunlearn.models.adapters import LanguageAdapters
from polyunlearn.models.forward import label_log_probs
from polyunlearn.models.loading import LoadedModel
from polyunlearn.models.sequences import TokenSequence
from polyunlearn.models.trainable import TrainablePlan, make_trainable, snapshot
from polyunlearn.study.cells import Cell, study_cells
from polyunlearn.study.config import StudyConfig
from polyunlearn.study.materials import study_stories
from polyunlearn.study.measurement import trajectory_steps
from polyunlearn.study.processes import Silent
from polyunlearn.study.run import run_study
from polyunlearn.study.stages import cell_steps, train_stage
from polyunlearn.study.store import Store
from polyunlearn.training.adapters import Adapters, adapted
from polyunlearn.training.gradients.adapters import in_own_language, meta_learned
from polyunlearn.training.loop import Objective, Optimiser, Rule, Step, plain
from polyunlearn.training.objectives import get_method
from polyunlearn.training.unlearning import Training, trained

WAYS: tuple[Adapters, ...] = ("language", "meta", "meta_first_order")
DIFFERENCE = get_method("gradient_difference").objective()


def _told(language: str, seed: int, *lengths: int) -> tuple[TokenSequence, ...]:
    return tuple(replace(own, language=language) for own in sequences(seed, *lengths))


STEP = Step(retain=(*_told("en", 10, 30, 6), *_told("ur", 11, 14, 9)), forget=(*_told("de", 50, 9, 22), *_told("en", 51, 17)))
STEPS = [STEP, Step(retain=_told("de", 60, 12), forget=_told("de", 61, 7, 8)), Step(retain=_told("en", 62, 9), forget=_told("ur", 63, 11))]


def _adapters(loaded: LoadedModel, parameters: Mapping[str, nn.Parameter], *, trained: bool = False) -> LanguageAdapters:
    """Those of the languages of `STEP`; `trained` ones add something."""
    adapters = LanguageAdapters(loaded.model, parameters, ["ur", "en", "de"], rank=2, alpha=4, seed=5)
    if trained:
        generator = torch.Generator().manual_seed(1)
        with torch.no_grad():
            for weight in adapters.parameters.values():
                weight.copy_(torch.randn(weight.shape, generator=generator) * 0.05)
    return adapters


def _body(folder: Path, from_layer: int = 1) -> tuple[LoadedModel, dict[str, nn.Parameter]]:
    loaded = sharp(folder)
    return loaded, make_trainable(loaded.model, TrainablePlan("body", from_layer=from_layer))


def _rule(way: Adapters, adapters: LanguageAdapters, reach: float = 0.05) -> Rule:
    if way == "language":
        return partial(in_own_language, adapters=adapters)
    return partial(meta_learned, adapters=adapters, reach=reach, second_order=way == "meta")


def _made(
    folder: Path,
    way: Adapters,
    step: Step = STEP,
    *,
    trained: bool = True,
    budget: int = 10_000,
    objective: Objective = DIFFERENCE,
    reach: float = 0.05,
) -> tuple[float, dict[str, Tensor]]:
    loaded, parameters = _body(folder)
    adapters = _adapters(loaded, parameters, trained=trained)
    every = {**parameters, **adapters.parameters}
    return gradient_made(_rule(way, adapters, reach), loaded.body, loaded.head, every, step, objective, budget)


def _far(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> float:
    """The largest difference beside the largest value."""
    assert one.keys() == other.keys() and one
    return max(float((one[name] - other[name]).abs().max()) for name in one) / max(float(part.abs().max()) for part in one.values())


def _only(made: Mapping[str, Tensor], language: str) -> dict[str, Tensor]:
    return {name: own for name, own in made.items() if name.startswith(f"{language} ")}


def _shared(made: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: own for name, own in made.items() if " " not in name}


# --- the adapters ------------------------------------------------------------------------------------------------------------------------


def test_they_stand_beside_the_linear_layers_that_train(any_model_folder: Path) -> None:
    """Seven a layer, on all but layer 0, twice (A and B) for each of three languages; not the norms, nor the output layer where it trains."""
    loaded, parameters = _body(any_model_folder)
    layers = loaded.model.config.num_hidden_layers - 1
    found = _adapters(loaded, parameters).parameters
    assert len(found) == 3 * 2 * 7 * layers
    assert {name.split(" ")[0] for name in found} == {"de", "en", "ur"}
    assert not any(".layers.0." in name for name in found)
    everything = make_trainable(loaded.model, TrainablePlan("all"))
    assert len(_adapters(loaded, everything).parameters) == 3 * 2 * 7 * (layers + 1)


def test_they_add_nothing_at_first_and_then_what_their_product_says(any_model_folder: Path) -> None:
    """With rank 2 and alpha 4 a weight W is as W + 2 B A; of another language's adapter nothing is seen, and behind it nothing stays."""
    loaded, parameters = _body(any_model_folder)
    plainly = own_log_probs(loaded, STEP.forget[0].ids)
    with _adapters(loaded, parameters).of("de"):
        assert torch.equal(own_log_probs(loaded, STEP.forget[0].ids), plainly)
    adapters = _adapters(loaded, parameters, trained=True)
    with adapters.of("de"):
        seen = own_log_probs(loaded, STEP.forget[0].ids)
    assert torch.equal(own_log_probs(loaded, STEP.forget[0].ids), plainly)
    found = {name.removeprefix("de "): own for name, own in _only(adapters.parameters, "de").items()}
    with torch.no_grad():
        for name in {name.removesuffix(".A").removesuffix(".B") for name in found}:
            parameters[f"{name}.weight"].add_(2 * found[f"{name}.B"] @ found[f"{name}.A"])
    assert float((own_log_probs(loaded, STEP.forget[0].ids) - seen).abs().max()) < 1e-4
    assert float((plainly - seen).abs().max()) > 1e-2


def test_merged_is_the_mean(any_model_folder: Path) -> None:
    loaded, parameters = _body(any_model_folder)
    before, adapters = snapshot(parameters), _adapters(loaded, parameters, trained=True)
    adapters.merge()
    found = adapters.parameters
    for name, weight in parameters.items():
        own = name.removesuffix(".weight")
        moved = [2 * found[f"{tag} {own}.B"] @ found[f"{tag} {own}.A"] for tag in ("de", "en", "ur") if f"{tag} {own}.A" in found]
        expected = before[name] + sum(moved, torch.zeros_like(weight)) / 3
        assert float((weight - expected).detach().abs().max()) < 1e-6
    assert sum(f"de {name.removesuffix('.weight')}.A" in found for name in parameters) == len(_only(found, "de")) // 2


def test_all_begin_alike_in_whichever_order_languages_are_named(any_model_folder: Path) -> None:
    loaded, parameters = _body(any_model_folder)
    one, other = (
        LanguageAdapters(loaded.model, parameters, tags, rank=2, alpha=4, seed=5).parameters for tags in (["en", "de"], ["de", "en", "de"])
    )
    assert list(one) == list(other) and all(torch.equal(one[name], other[name]) for name in one)
    assert all(torch.equal(own, one[name.replace("de ", "en ")]) for name, own in _only(one, "de").items())
    drawn = LanguageAdapters(loaded.model, parameters, ["de"], rank=2, alpha=4, seed=6).parameters
    assert any(not torch.equal(own, one[name]) for name, own in drawn.items())


# --- the gradients -----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS)
def test_at_the_start_the_loss_and_the_shared_gradient_are_the_plain_ones(any_model_folder: Path, way: Adapters) -> None:
    loaded, parameters = _body(any_model_folder)
    loss, wanted = gradient_made(plain, loaded.body, loaded.head, parameters, STEP, DIFFERENCE, 10_000)
    found, made = _made(any_model_folder, way, trained=False)
    assert found == pytest.approx(loss, abs=1e-4)
    assert _far(wanted, _shared(made)) < 1e-4


@pytest.mark.parametrize("way", WAYS)
def test_micro_batches_and_the_order_within_a_step_change_nothing(any_model_folder: Path, way: Adapters) -> None:
    _, whole = _made(any_model_folder, way)
    assert _far(whole, _made(any_model_folder, way, budget=1)[1]) < 1e-3
    assert _far(whole, _made(any_model_folder, way, Step(STEP.retain[::-1], STEP.forget[::-1]))[1]) < 1e-3


def test_an_adapter_learns_from_its_language_alone(any_model_folder: Path) -> None:
    """That of Urdu is the same whatever is forgotten and retained in the others, and no other has a gradient where Urdu stands alone; one
    whose language the step lacks has a gradient of 0, not none."""
    _, whole = _made(any_model_folder, "language")
    alone = Step(retain=tuple(own for own in STEP.retain if own.language == "ur"), forget=())
    # Retained are labels, of which the whole step has more.
    share = sum(len(own.labels) for own in alone.retain) / sum(len(own.labels) for own in STEP.retain)
    _, made = _made(any_model_folder, "language", alone)
    assert _far(_only(whole, "ur"), {name: own * share for name, own in _only(made, "ur").items()}) < 1e-4
    assert made.keys() == whole.keys()
    assert not any(bool(own.any()) for tag in ("de", "en") for own in _only(made, tag).values())
    assert all(bool(own.any()) for own in _only(made, "ur").values())


def test_answers_to_give_instead_go_with_those_to_forget(any_model_folder: Path) -> None:
    """IDK's loss and shared gradient, where the adapters add nothing, are those without; each answer in its own language."""
    instead = (*_told("de", 70, 5, 8), *_told("en", 71, 6))
    step, objective = replace(STEP, instead=instead), get_method("idk").objective()
    loaded, parameters = _body(any_model_folder)
    loss, wanted = gradient_made(plain, loaded.body, loaded.head, parameters, step, objective, 10_000)
    found, made = _made(any_model_folder, "language", step, trained=False, objective=objective)
    assert found == pytest.approx(loss, abs=1e-4)
    assert _far(wanted, _shared(made)) < 1e-4
    assert not any(
        bool(own.any()) for own in _only(_made(any_model_folder, "language", Step(forget=step.forget, instead=instead))[1], "ur").values()
    )


class _Pulled:
    """One shared weight θ and one φ a language, by hand: what is forgotten has the loss 2 (θ + φ)², what is retained (θ + φ - 3)² / 2."""

    def __init__(self, theta: float, **phi: float):
        self.theta = nn.Parameter(torch.tensor([theta]))
        self.parameters = {tag: nn.Parameter(torch.tensor([own])) for tag, own in phi.items()}
        self.passed: list[str] = []
        self._active = ""

    @contextmanager
    def of(self, language: str) -> Iterator[None]:
        self._active = language
        yield
        self._active = ""

    def backward(self, part: Step, *, moved: bool = False) -> float:
        assert {own.language for own in part.sequences} == {self._active}
        self.passed.append(("forget" if part.forget else "retain") + (", moved" if moved else ""))
        here = self.theta + self.parameters[self._active]
        loss = (2 * here**2 * len(part.forget) + (here - 3) ** 2 / 2 * len(part.retain)).sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return float(loss.detach())


@pytest.mark.parametrize(("second_order", "expected"), [(True, 1.5), (False, 0.0)])
def test_a_meta_learned_step_by_hand(second_order: bool, expected: float) -> None:
    """θ = 1, φ_de = 1, φ_en = 0; an answer to forget in German, one to retain in English.

    Forgetting has the gradient 4 (θ + φ_de) = 8, so that a reach of 1 leads to θ' = 1 - 8 / 8 = 0, β being 1/8. There v = θ' + φ_en - 3 = -3, which is
    also what φ_en gets. The mixed derivative of 2 (θ + φ)² is 4, so φ_de gets -1/8 * 4 * -3 = 1.5. By differences: ε = 1/3, θ ± εv is 0 and 2,
    where the gradient for φ_de is 4 (0 + 1) = 4 and 4 (2 + 1) = 12: (4 - 12) / (2/3) = -12 = 4 v, times -1/8: 1.5. The shared weight gets the plain
    gradient 8 + (1 + 0 - 3) = 6, and the loss is 2 * 2² + (-2)² / 2 = 10.
    """
    pulled = _Pulled(1.0, de=1.0, en=0.0)
    step = Step(retain=_told("en", 1, 4), forget=_told("de", 2, 4))
    every = {"theta": pulled.theta, **pulled.parameters}
    rule = partial(meta_learned, adapters=pulled, reach=1.0, second_order=second_order)  # type: ignore[arg-type]
    assert rule(step, pulled.backward, every, nn.Identity()) == pytest.approx(10.0)
    assert pulled.theta.item() == 1.0 and pulled.theta.grad is not None
    assert pulled.theta.grad.item() == pytest.approx(6.0)
    found = {tag: own.grad.item() for tag, own in pulled.parameters.items() if own.grad is not None}
    assert found == pytest.approx({"de": expected, "en": -3.0})
    assert pulled.passed == ["forget", "retain, moved", *["forget, moved"] * (2 if second_order else 0), "retain"]


def test_what_is_nowhere_to_forget_moves_nothing_ahead() -> None:
    """At θ + φ = 0 forgetting has no gradient, so that there is no step to look at: φ_en gets what is retained at θ, 0 + 0 - 3."""
    pulled = _Pulled(0.0, de=0.0, en=0.0)
    step = Step(retain=_told("en", 1, 4), forget=_told("de", 2, 4))
    rule = partial(meta_learned, adapters=pulled, reach=1.0, second_order=True)  # type: ignore[arg-type]
    rule(step, pulled.backward, {"theta": pulled.theta, **pulled.parameters}, nn.Identity())
    assert {tag: own.grad.item() for tag, own in pulled.parameters.items() if own.grad is not None} == {"de": 0.0, "en": -3.0}


def _loss(loaded: LoadedModel, adapters: LanguageAdapters, part: Sequence[TokenSequence], sign: int) -> Tensor:
    """The mean log-prob of the labels, each sequence read with its language's adapter in, times a sign."""
    found = []
    for own in part:
        with adapters.of(own.language):
            found += label_log_probs(loaded.body, loaded.head, [own])
    return sign * torch.cat(found).mean()


def test_the_difference_is_the_second_derivative(any_model_folder: Path) -> None:
    """What "meta" adds to the first order, against torch's gradient of a gradient: -β ∇φ (∇θ L_f(θ, φ) · v)."""
    loaded, parameters = _body(any_model_folder)
    adapters, reach = _adapters(loaded, parameters, trained=True), 0.02
    shared, own = list(parameters.values()), adapters.parameters
    with sdpa_kernel(SDPBackend.MATH):
        first = torch.autograd.grad(_loss(loaded, adapters, STEP.forget, 1), shared, create_graph=True)
        length = torch.stack([part.detach().pow(2).sum() for part in first]).sum().sqrt().item()
        with torch.no_grad():
            before = [weight.clone() for weight in shared]
            for weight, part in zip(shared, first, strict=True):
                weight.sub_(part, alpha=reach / length)
        ahead = torch.autograd.grad(_loss(loaded, adapters, STEP.retain, -1), [*shared, *own.values()], allow_unused=True)
        with torch.no_grad():
            for weight, kept in zip(shared, before, strict=True):
                weight.copy_(kept)
        # Again, since the weights that the graph holds were moved.
        first = torch.autograd.grad(_loss(loaded, adapters, STEP.forget, 1), shared, create_graph=True)
        along = torch.stack([(part * v).sum() for part, v in zip(first, ahead, strict=False)]).sum()
        mixed = torch.autograd.grad(along, list(own.values()), allow_unused=True)
    direct = {name: torch.zeros_like(own[name]) if one is None else one for name, one in zip(own, ahead[len(shared) :], strict=True)}
    wanted = {name: torch.zeros_like(own[name]) if one is None else -reach / length * one for name, one in zip(own, mixed, strict=True)}
    made = {way: _made(any_model_folder, way, reach=reach)[1] for way in WAYS}
    of_adapters = {way: {name: found[name] for name in own} for way, found in made.items()}
    assert _far(direct, of_adapters["meta_first_order"]) < 1e-3
    added = {name: of_adapters["meta"][name] - of_adapters["meta_first_order"][name] for name in own}
    assert _far(wanted, added) < 5e-3
    assert max(float(one.abs().max()) for one in wanted.values()) > 0.01 * max(float(one.abs().max()) for one in direct.values())
    assert not any(bool(one.any()) for one in _only(wanted, "ur").values()), "nothing is forgotten in Urdu"
    assert _far(_shared(made["meta"]), _shared(made["language"])) < 1e-4


# --- the training ------------------------------------------------------------------------------------------------------------------------


def _training(loaded: LoadedModel, parameters: Mapping[str, nn.Parameter], **changes: Any) -> Training:
    settings = {"optimiser": Optimiser(1e-3), "generator": torch.Generator(), **changes}
    return Training(loaded.body, loaded.head, parameters, STEPS, DIFFERENCE, **settings)


def _adapted(given: Training, way: Adapters) -> list[float]:
    return adapted(given, way, rank=2, alpha=4, seed=5)


@pytest.mark.parametrize("way", WAYS)
def test_what_trains_moves_and_nothing_else(any_model_folder: Path, way: Adapters) -> None:
    """The first loss is plain training's, later ones are not; the model has afterwards the same modules, no hooks, and its first layer."""
    loaded, parameters = _body(any_model_folder)
    before = {name: weight.detach().clone() for name, weight in loaded.model.named_parameters()}
    losses = _adapted(_training(loaded, parameters), way)
    other, others = _body(any_model_folder)
    plainly = trained(_training(other, others))
    assert losses[0] == pytest.approx(plainly[0], abs=1e-4)
    assert abs(losses[2] - plainly[2]) > 1e-4
    after = dict(loaded.model.named_parameters())
    assert after.keys() == before.keys()
    assert {name for name, weight in after.items() if not torch.equal(weight, before[name])} == parameters.keys()
    assert not any(module._forward_hooks for module in loaded.model.modules())
    assert {name for name, weight in after.items() if weight.requires_grad} == parameters.keys()
    assert max(float((weight - others[name]).detach().abs().max()) for name, weight in parameters.items()) > 1e-4


def test_what_is_retained_alone_has_no_adapter(any_model_folder: Path) -> None:
    """Nor a part in the mean: of three languages two are forgotten in. Told that more was read, the others' adapters end the same and count a half, not a third."""
    loaded, parameters = _body(any_model_folder)
    only = [replace(step, forget=tuple(own for own in step.forget if own.language != "ur")) for step in STEPS[:2]]
    taken: list[Training] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("polyunlearn.training.adapters.trained", lambda own: taken.append(own) or [])  # type: ignore[func-returns-value]
        _adapted(replace(_training(loaded, parameters), steps=only), "language")
    assert {name.split()[0] for name in taken[0].parameters if " " in name} == {"de", "en"}
    adapters = LanguageAdapters(loaded.model, parameters, ["de"], rank=2, alpha=4, seed=5)
    with adapters.of("ur"):
        assert not any(module._forward_hooks for module in loaded.model.modules())


@pytest.mark.parametrize("way", WAYS)
def test_each_step_is_shown_merged_and_what_is_shown_last_is_what_stays(gemma_folder: Path, way: Adapters) -> None:
    """Training goes on apart from it: one that is watched ends as one that is not, to the bit."""
    loaded, parameters = _body(gemma_folder)
    shown: list[dict[str, Tensor]] = []
    losses = _adapted(_training(loaded, parameters, after_step=lambda number, loss: bool(shown.append(snapshot(parameters)))), way)
    assert len(shown) == len(losses) == 3
    assert all(torch.equal(shown[-1][name], weight) for name, weight in parameters.items())
    again, unwatched = _body(gemma_folder)
    assert _adapted(_training(again, unwatched), way) == losses
    assert all(torch.equal(unwatched[name], weight) for name, weight in parameters.items())
    stopped, early = _body(gemma_folder)
    assert _adapted(_training(stopped, early, after_step=lambda number, loss: number == 2), way) == losses[:2]
    assert all(torch.equal(shown[1][name], weight) for name, weight in early.items())


def test_a_virtual_step_is_as_long_as_one_of_the_optimiser(gemma_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """AdamW's first step moves every weight by the rate: n weights by 1e-3 √n in all, which is what the rule is given."""
    taken: list[Training] = []
    monkeypatch.setattr("polyunlearn.training.adapters.trained", lambda own: taken.append(own) or [])  # type: ignore[func-returns-value]
    loaded, parameters = _body(gemma_folder)
    for way in WAYS:
        _adapted(_training(loaded, parameters), way)
    count = sum(weight.numel() for weight in parameters.values())
    rules: list[Any] = [own.rule for own in taken]
    assert [rule.keywords.get("reach") for rule in rules] == [None, *[pytest.approx(1e-3 * count**0.5)] * 2]
    assert [rule.keywords.get("second_order") for rule in rules] == [None, True, False]


# --- in a study --------------------------------------------------------------------------------------------------------------------------


def _study(folder: Path, way: str, **changes: Any) -> StudyConfig:
    unlearning = {"steps": 4, "batch": 2, "retain_batch": 2, "rate": 1e-3, "measure_every": 2, "adapters": way}
    return StudyConfig(
        name="x",
        model=str(folder),
        sources=("ur",),
        stories=4,
        languages=("en", "ur", "zh"),
        methods=("npo+kl",),
        unlearning=unlearning,
        **changes,
    )


@pytest.mark.parametrize("way", WAYS)
def test_a_cell_of_a_study_has_adapters(gemma_folder: Path, tmp_path: Path, way: Adapters) -> None:
    """All its weights move, otherwise than without and than with adapters of another rank; its trajectory is measured; and trained again, after another
    cell in the same process, it has the same bits."""
    cell = Cell("unlearned", 0, "ur", "english+source", "npo+kl")

    def end(way: str, **changes: Any) -> dict[str, Tensor]:
        config = _study(gemma_folder, way, **changes)
        stories, loaded = study_stories(config, 0), sharp(gemma_folder)
        steps = cell_steps(config, cell, stories, loaded)
        assert list(trajectory_steps(config, cell, len(steps))) == [2]
        parameters = make_trainable(loaded.model, TrainablePlan("body"))
        start = snapshot(parameters)
        losses = train_stage(config, cell, steps, loaded, loaded.head, parameters, tmp_path, lambda number, loss: False, stories)
        assert len(losses) == 4 and all(not torch.equal(own, start[name]) for name, own in parameters.items())
        return snapshot(parameters)

    found = end(way)
    for other in (end("none"), end(way, trainable={"rank": 3}), end(way, trainable={"alpha": 320})):
        assert _far(found, other) > 1e-6
    assert all(torch.equal(own, found[name]) for name, own in end(way).items())


class _Stopping(Silent):
    """Breaks off in the third step of unlearning, the first time."""

    stopped = False

    def cell(self, name: str, number: int, count: int) -> None:
        self.name = name

    def work(self, what: str, done: int, total: int) -> None:
        if what == "training" and done == 3 and "npo" in self.name and not self.stopped:
            self.stopped = True
            raise KeyboardInterrupt


def test_a_study_that_was_stopped_has_the_rows_of_one_that_was_not(gemma_folder: Path, tmp_path: Path) -> None:
    learning = {"passes": 2, "fake_questions": 0}
    scoring = {"answered_wordings": 0, "held_out_stories": 1, "candidates": 3}
    config = _study(gemma_folder, "meta", strategies=("english+source",), learning=learning, scoring=scoring)
    whole, broken, watcher = tmp_path / "whole", tmp_path / "broken", _Stopping()
    run_study(config, whole, Silent())
    with pytest.raises(KeyboardInterrupt):
        run_study(config, broken, watcher)
    run_study(config, broken, watcher)
    assert watcher.stopped
    for cell in study_cells(config):
        one, other = (Store(folder).rows_path(cell) for folder in (whole, broken))
        assert pq.read_table(one).to_pylist() == pq.read_table(other).to_pylist(), cell.id
        assert Store(whole).record(cell).losses == Store(broken).record(cell).losses


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"unlearning": {"projection": "language"}}, "adapters of languages do not go with projection; set one of the two to none"),
        ({"unlearning": {"subspace": "shared"}}, "adapters of languages do not go with subspace; set one of the two to none"),
        ({"unlearning": {"branches": "merge"}}, "adapters of languages do not go with branches; set one of the two to none"),
        ({"unlearning": {"branches": "distil"}}, "adapters of languages do not go with branches; set one of the two to none"),
        (
            {"unlearning": {"mixing": "chunk"}},
            "a text with a language a chunk has no adapter of its own; set unlearning.mixing=fact or token",
        ),
        (
            {"unlearning": {"retain_crossed": True}},
            "a question that is asked in one language and answered in another has no adapter of its own; set unlearning.retain_crossed=false",
        ),
        (
            {"trainable": {"weights": "lora"}},
            "they stand beside weights that all languages share and train, which 'lora' leaves as they are",
        ),
        *(
            ({"methods": [method]}, f"method {method!r} makes its gradient, or what becomes of the weights, in a way of its own")
            for method in ("npo_sam", "npo_lookahead", "cir", "task_vector", "undo")
        ),
    ],
)
def test_what_does_not_go_with_adapters_is_refused(way: str, changes: dict[str, Any], message: str) -> None:
    own = {"methods": ["npo"], **changes, "unlearning": {"adapters": way, "steps": 9, **changes.get("unlearning", {})}}
    with pytest.raises(ValueError, match=re.escape(f"unlearning.adapters: {message}")):
        StudyConfig(name="x", sources=("de",), **own)
    StudyConfig(
        name="x", sources=("de",), methods=("npo",), unlearning={"adapters": way, "mixing": "token", "language_weights": "residual"}
    )


@pytest.mark.parametrize("way", ["meta", "meta_first_order"])
def test_what_chooses_adapters_must_be_there(way: str) -> None:
    """A retain term with a weight; where the loss trains them there need be none."""
    for methods, more, message in (
        (["npo+none"], {}, f"method 'npo+none' has no retain term, by which {way!r} chooses them; set adapters=none or language"),
        (["npo"], {"retain_weight": 0}, "the weight of what method 'npo' retains may be 0, and then nothing says which"),
        (["pdu"], {}, "the weight of what method 'pdu' retains may be 0, and then nothing says which"),
    ):
        with pytest.raises(ValueError, match=re.escape(f"unlearning.adapters: {message}")):
            StudyConfig(name="x", sources=("de",), methods=methods, unlearning={"adapters": way, **more})
        StudyConfig(name="x", sources=("de",), methods=methods, unlearning={"adapters": "language", **more})


def test_one_method_of_a_study_can_have_adapters() -> None:
    unlearning = {"settings": {"npo@language": {"adapters": "language"}, "npo@meta": {"adapters": "meta"}}}
    config = StudyConfig(name="x", sources=("de",), methods=("npo", "npo@language", "npo@meta"), unlearning=unlearning)
    assert [way.adapters for way in config.ways] == ["none", "language", "meta"]
    assert [way.merged for way in config.ways] == ["", "adapters", "adapters"]
    with pytest.raises(
        ValueError, match=r"unlearning.settings.npo.adapters: Input should be 'none', 'language', 'meta' or 'meta_first_order'"
    ):
        StudyConfig(name="x", sources=("de",), methods=("npo",), unlearning={"settings": {"npo": {"adapters": "french"}}})
