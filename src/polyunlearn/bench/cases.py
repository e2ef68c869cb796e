"""The cases: each makes, for one way, a function that does the work once and says how long it took and what came out."""

import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from polyunlearn.bench import usual
from polyunlearn.bench.material import make_material
from polyunlearn.models.cost import Cost
from polyunlearn.models.trainable import TrainablePlan, make_trainable, restore, snapshot
from polyunlearn.scoring.generation import greedy_tokens, read_prompts
from polyunlearn.scoring.measure import score_sequences
from polyunlearn.scoring.ranking import candidate_log_probs
from polyunlearn.training.labels import Labels
from polyunlearn.training.loop import Optimiser, train
from polyunlearn.training.objectives import get_method

RATE = 1e-5
MOST = 12
"""New tokens of an answer."""

DPO = "dpo+none"
"""The method whose usual way is TRL's: it retains nothing, as TRL's trainer doesn't."""

Way = Literal["usual", "ours"]


@dataclass(frozen=True)
class Outcome:
    """One measurement: seconds, necessary FLOPs, and values that both ways must agree on."""

    seconds: float
    flops: float
    values: list[float]


Work = Callable[[], Outcome]


@dataclass(frozen=True)
class Case:
    """`exact` says that ours must give what the usual way gives, up to rounding; `package` is an optional one that the usual way needs."""

    name: str
    exact: bool
    make: Callable[[str, Way], Work]
    package: str | None = None


def _training(plan: TrainablePlan, restricted: bool, method: str = "gradient_difference") -> Callable[[str, Way], Work]:
    def make(model: str, way: Way) -> Work:
        material = make_material(model, plan.from_layer, method)
        loaded = material.loaded
        parameters = make_trainable(loaded.model, plan)
        start = snapshot(parameters)
        head = material.restricted if restricted else loaded.head
        steps = material.steps
        cost = Cost.of(loaded, plan.from_layer)
        labels = sum(step.labels for step in steps)
        # The last token of a sequence predicts nothing that is asked.
        tokens = sum(step.tokens - len(step.sequences) for step in steps)
        flops = cost.training(tokens, labels, head.weight.shape[0], lora=plan.weights == "lora") / len(steps)

        objective = get_method(method).objective()
        compared = list(dict.fromkeys(sequence for step in steps for sequence in (*step.forget, *step.instead)))
        # Once a study, before the first step, so no part of a step.
        reference = {own: Labels(log_probs) for own, log_probs in zip(compared, score_sequences(loaded, head, compared), strict=True)}

        def ours() -> tuple[float, list[float]]:
            marks = [time.perf_counter()]

            def after_step(number: int, loss: float) -> bool:
                marks.append(time.perf_counter())
                return False

            losses = train(loaded.body, head, parameters, steps, objective, Optimiser(RATE), after_step, reference.__getitem__)
            return (marks[-1] - marks[0]) / len(steps), losses

        def theirs() -> tuple[float, list[float]]:
            if method != DPO:
                return usual.train(loaded.model, steps, RATE, method)
            from polyunlearn.bench import usual_dpo

            return usual_dpo.train(loaded, steps, RATE)

        def work() -> Outcome:
            restore(parameters, start)
            seconds, losses = ours() if way == "ours" else theirs()
            return Outcome(seconds, flops, losses)

        return work

    return make


def _ranking(restricted: bool) -> Callable[[str, Way], Work]:
    def make(model: str, way: Way) -> Work:
        material = make_material(model, 0)
        loaded, questions = material.loaded, material.questions
        head = material.restricted if restricted else loaded.head
        lengths = [[len(candidate) for candidate in question.candidates] for question in questions]
        tokens = sum(len(question.prompt) + sum(own) - len(own) for question, own in zip(questions, lengths, strict=True))
        places = sum(1 + sum(own) - len(own) for own in lengths)
        flops = Cost.of(loaded).scoring(tokens, places, head.weight.shape[0])

        def ours() -> list[float]:
            return [score for scores in candidate_log_probs(loaded.body, head, questions) for score in scores.tolist()]

        def work() -> Outcome:
            begin = time.perf_counter()
            scores = ours() if way == "ours" else usual.rank(loaded.model, questions)
            return Outcome(time.perf_counter() - begin, flops, scores)

        return work

    return make


def _answers(rows: int) -> Callable[[str, Way], Work]:
    def make(model: str, way: Way) -> Work:
        material = make_material(model, 0)
        loaded, prompts = material.loaded, material.prompts
        ends = [loaded.encoder.end_id, *loaded.encoder.newline_ids]

        def answers() -> list[list[int]]:
            if way == "ours":
                return greedy_tokens(loaded.model, loaded.head, loaded.encoder, read_prompts(loaded.body, prompts), MOST)
            return usual.answer(loaded.model, prompts, MOST, ends, rows)

        def work() -> Outcome:
            begin = time.perf_counter()
            found = answers()
            seconds = time.perf_counter() - begin
            # The usual way fills rows that have ended; an answer is what stands before its end.
            cut = [list(itertools.takewhile(lambda token: token not in ends, answer)) for answer in found]
            written = sum(len(answer) + 1 for answer in cut)
            flops = Cost.of(loaded).scoring(sum(map(len, prompts)) + written, written, loaded.head.weight.shape[0])
            return Outcome(seconds, flops, [float(token) for answer in cut for token in (*answer, -1)])

        return work

    return make


def cases(layers: int) -> list[Case]:
    """Every case, for a model of `layers` layers."""
    body, lora, upper = TrainablePlan("body"), TrainablePlan("lora"), TrainablePlan("body", from_layer=layers // 2)
    return [
        Case("gradient-difference step, body", True, _training(body, False)),
        Case("gradient-difference step, body, study vocabulary", False, _training(body, True)),
        Case("gradient-difference step, LoRA", True, _training(lora, False)),
        Case("gradient-difference step, LoRA, study vocabulary", False, _training(lora, True)),
        Case("gradient-difference step, upper half, kept states, study vocabulary", False, _training(upper, True)),
        Case("NPO step, body, reference resident or kept", True, _training(body, False, "npo")),
        Case("NPO step, body, reference resident or kept, study vocabulary", False, _training(body, True, "npo")),
        Case("DPO step, body", True, _training(body, False, DPO), package="trl"),
        Case("ranking 24 names", True, _ranking(False)),
        Case("ranking 24 names, study vocabulary", False, _ranking(True)),
        Case("greedy answers against one by one", True, _answers(1)),
        Case("greedy answers against fixed batches", True, _answers(usual.ROWS)),
    ]
