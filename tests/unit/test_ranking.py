"""Ranking candidates side by side behind one prompt, against a row for each."""

from pathlib import Path
from random import Random

import pytest
import torch
from tiny import own_label_log_probs, sharp, tokens

from polyunlearn.models.forward import label_log_probs
from polyunlearn.models.sequences import TokenSequence
from polyunlearn.scoring import ranking
from polyunlearn.scoring.ranking import RankedQuestion, candidate_log_probs, ranking_rows


def _questions(seed: int) -> list[RankedQuestion]:
    """Prompts shorter and longer than Gemma's window of 8, candidates of 1 to 12 tokens, some of which begin alike."""
    rng = Random(seed)
    questions = []
    for prompt_size, sizes in ((5, (1, 4, 12)), (31, (3, 1, 1, 7)), (12, (2,)), (19, (9, 9, 2, 5, 1))):
        shared = tokens(rng, 1)
        candidates = tuple((*shared, *tokens(rng, size - 1)) for size in sizes)
        questions.append(RankedQuestion((1, *tokens(rng, prompt_size - 1)), candidates))
    return questions


def _alone(question: RankedQuestion, candidate: tuple[int, ...]) -> TokenSequence:
    return TokenSequence(question.prompt + candidate, len(question.prompt))


@pytest.mark.parametrize("frozen", [0, 2])
def test_equal_to_a_row_for_each_candidate(any_model_folder: Path, frozen: int) -> None:
    """The mean of the label log-probs of prompt + candidate, through the Hugging Face model and through `label_log_probs`."""
    loaded = sharp(any_model_folder, frozen)
    questions = _questions(1)
    for question, scores in zip(questions, candidate_log_probs(loaded.body, loaded.head, questions), strict=True):
        assert scores.shape == (len(question.candidates),)
        for candidate, score in zip(question.candidates, scores.tolist(), strict=True):
            own = own_label_log_probs(loaded, _alone(question, candidate)).mean().item()
            assert score == pytest.approx(own, abs=1e-4)
            with torch.no_grad():
                ours = label_log_probs(loaded.body, loaded.head, [_alone(question, candidate)])[0].mean().item()
            assert score == pytest.approx(ours, abs=1e-4)


def test_candidates_score_differently(any_model_folder: Path) -> None:
    """So that the equality above says something: scores within a question are spread over more than a nat."""
    loaded = sharp(any_model_folder)
    scores = candidate_log_probs(loaded.body, loaded.head, _questions(1))[3]
    assert float(scores.max() - scores.min()) > 1


def test_order_and_batch_change_nothing(any_model_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = sharp(any_model_folder)
    questions = _questions(2)
    together = candidate_log_probs(loaded.body, loaded.head, questions)
    backwards = candidate_log_probs(loaded.body, loaded.head, questions[::-1])[::-1]
    # A budget of one token puts every question into a batch of its own.
    monkeypatch.setattr(ranking, "TOKEN_BUDGET", 1)
    alone = candidate_log_probs(loaded.body, loaded.head, questions)
    for a, b, c in zip(together, backwards, alone, strict=True):
        torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-5)
        torch.testing.assert_close(a, c, atol=1e-4, rtol=1e-5)


def test_order_of_candidates_moves_only_their_place(any_model_folder: Path) -> None:
    loaded = sharp(any_model_folder)
    question = _questions(3)[3]
    turned = RankedQuestion(question.prompt, question.candidates[::-1])
    scores, back = candidate_log_probs(loaded.body, loaded.head, [question, turned])
    torch.testing.assert_close(scores, back.flip(0), atol=1e-4, rtol=1e-5)


def test_the_same_candidate_twice_has_one_score(any_model_folder: Path) -> None:
    loaded = sharp(any_model_folder)
    question = _questions(4)[1]
    doubled = RankedQuestion(question.prompt, (*question.candidates, question.candidates[0]))
    scores = candidate_log_probs(loaded.body, loaded.head, [doubled])[0]
    assert scores[0].item() == pytest.approx(scores[-1].item(), abs=1e-5)


def test_restricted_head_ranks_within_its_tokens(any_model_folder: Path) -> None:
    """Restricted to two tokens a and b, the scores of the one-token candidates a and b are the logs of two shares of 1."""
    loaded = sharp(any_model_folder)
    question = RankedQuestion((1, 50, 60, 70), ((80,), (90,)))
    scores = candidate_log_probs(loaded.body, loaded.head.restricted([80, 90]), [question])[0]
    assert float(scores.exp().sum()) == pytest.approx(1, abs=1e-5)
    full = candidate_log_probs(loaded.body, loaded.head, [question])[0]
    assert float(scores[0] - scores[1]) == pytest.approx(float(full[0] - full[1]), abs=1e-4)


def test_rows_leave_the_last_token_of_each_candidate_out() -> None:
    """Prompt (7, 8), candidates (1, 2, 3), (4,) and (5, 6): the last tokens predict nothing, so 3, 4 and 6 are not computed."""
    row = ranking_rows([RankedQuestion((7, 8), ((1, 2, 3), (4,), (5, 6)))])[0]
    assert row.ids == (7, 8, 1, 2, 5)
    assert row.positions == (0, 1, 2, 3, 2)
    assert row.branches == (0, 0, 1, 1, 3)


def test_no_questions_give_no_scores(any_model_folder: Path) -> None:
    loaded = sharp(any_model_folder)
    assert candidate_log_probs(loaded.body, loaded.head, []) == []
