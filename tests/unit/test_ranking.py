"""Ranking candidates side by side behind one prompt, against a row for each."""

from pathlib import Path
from random import Random

import pytest
import torch
from tiny import own_label_log_probs, sharp, tokens

from polyunlearn.models.forward import label_log_probs
from polyunlearn.models.sequences import TokenSequence
from polyunlearn.scoring import ranking
from polyunlearn.scoring.ranking import RankedQuestion, candidate_log_probs, question_trees, rank_and_read


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
    # Rows and batches of one token at most: every question is in a batch of its own.
    monkeypatch.setattr(ranking, "TOKEN_BUDGET", 1)
    monkeypatch.setattr(ranking, "TREE_TOKENS", 1)
    assert len(ranking.question_trees(questions)) == len(questions)
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
    (tree,) = question_trees([RankedQuestion((7, 8), ((1, 2, 3), (4,), (5, 6)))])
    assert tree.row.ids == (7, 8, 1, 2, 5)
    assert tree.row.positions == (0, 1, 2, 3, 2)
    assert tree.places == (((0, 1, 2, 3), (0, 1), (0, 1, 4)),)
    assert tree.row.reads == ()


def test_questions_that_begin_alike_share_their_beginning() -> None:
    """(7, 8, 1) and (7, 8, 2), each with candidates (5, 6) and (5, 9): 7, 8; 1, 5; 2, 5 are six tokens instead of ten; a prompt that is
    another's beginning stands in the same place."""
    candidates = ((5, 6), (5, 9))
    questions = [RankedQuestion(prompt, candidates) for prompt in ((7, 8, 2), (7, 8, 1), (7, 8))]
    (tree,) = question_trees(questions, read=True)
    assert tree.row.ids == (7, 8, 1, 5, 2, 5, 5)
    assert tree.row.positions == (0, 1, 2, 3, 2, 3, 2)
    assert tree.numbers == (2, 1, 0)
    assert tree.places == (((0, 1, 6),) * 2, ((0, 1, 2, 3),) * 2, ((0, 1, 4, 5),) * 2)
    assert tree.row.reads == (0, 1, 2, 4)


def test_a_row_holds_no_more_tokens_than_it_may(monkeypatch: pytest.MonkeyPatch) -> None:
    """Prompts of five tokens with one candidate of one token: rows of at most 12 hold two of them; a question over the limit stands alone."""
    monkeypatch.setattr(ranking, "TREE_TOKENS", 12)
    rng = Random(6)
    questions = [RankedQuestion((number, *tokens(rng, 4)), ((3,),)) for number in range(5)] + [
        RankedQuestion((9, *tokens(rng, 29)), ((3,),))
    ]
    assert [len(tree.row.ids) for tree in question_trees(questions)] == [10, 10, 5, 30]
    assert sorted(number for tree in question_trees(questions) for number in tree.numbers) == list(range(6))


@pytest.mark.parametrize("frozen", [0, 2])
def test_sharing_a_beginning_changes_no_score(any_model_folder: Path, frozen: int) -> None:
    """Nine questions that share 3 to 20 tokens with others, longer than Gemma's window of 8, against each in a row of its own."""
    loaded = sharp(any_model_folder, frozen)
    rng = Random(7)
    stem, longer = tokens(rng, 3), tokens(rng, 17)
    stems = [stem, stem + longer, stem + longer[:9]]
    questions = [RankedQuestion(own + tokens(rng, 4), tuple(tokens(rng, size) for size in (1, 3, 6))) for own in stems * 3]
    assert len(question_trees(questions)) < len(questions)
    together = candidate_log_probs(loaded.body, loaded.head, questions)
    for question, scores in zip(questions, together, strict=True):
        torch.testing.assert_close(scores, candidate_log_probs(loaded.body, loaded.head, [question])[0], atol=1e-4, rtol=1e-5)


def test_no_questions_give_no_scores(any_model_folder: Path) -> None:
    loaded = sharp(any_model_folder)
    assert candidate_log_probs(loaded.body, loaded.head, []) == []


def test_nothing_that_is_read_holds_a_graph(any_model_folder: Path) -> None:
    """Of weights that train, too: a graph of every question of an audit takes gigabytes."""
    loaded = sharp(any_model_folder)
    assert all(weight.requires_grad for weight in loaded.model.parameters())
    questions = _questions(4)
    read = rank_and_read(loaded.body, loaded.head, question_trees(questions, read=True))
    assert not any(scores.requires_grad or prompt.last.requires_grad for scores, prompt in read.values())
    assert not any(part.requires_grad for _, prompt in read.values() for part in prompt.keys_values)
    assert not any(scores.requires_grad for scores in candidate_log_probs(loaded.body, loaded.head, questions))
