"""What states know beyond ranks: figures by hand from rows, and rows of a tiny model against the Hugging Face model itself."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from handmade import config, written
from tiny import own_label_log_probs, sharp

from polyunlearn.analysis.knowledge import _drawn_aucs, _draws, knowledge_scores
from polyunlearn.analysis.rescoring import Score
from polyunlearn.corpus.newsroom import generate_stories
from polyunlearn.errors import UserError
from polyunlearn.languages import get_language
from polyunlearn.models.sequences import TokenSequence
from polyunlearn.models.trainable import TrainablePlan, make_trainable
from polyunlearn.report.scores import scores_markdown
from polyunlearn.scoring.knowledge import SAMPLES, Candidate, forced_rows, membership_rows, sampled_rows, truth_rows
from polyunlearn.scoring.measure import Moment
from polyunlearn.scoring.metrics.membership import auc
from polyunlearn.scoring.probes import make_probes
from polyunlearn.scoring.rows import Row
from polyunlearn.study.cells import Cell
from polyunlearn.study.store import Store

NOW = Moment(0, True)
STORIES = generate_stories(3, languages=("en", "ur"))
PROBES = [probe for probe in make_probes(STORIES, ("en", "ur"), 1, 3, seed=0) if probe.wording == 0]
TRUTHS = {(story.id, tag): story.editions[tag].true_answer for story in STORIES for tag in ("en", "ur")}
TEXTS = [
    Candidate(story.id, tag, member, " ".join(story.editions[tag].fake_article))
    for tag in ("en", "ur")
    for member, story in zip((True, True, False), STORIES, strict=True)
]
LEARNED, GOLD, BASE = Cell("learned", 0, "ur"), Cell("gold", 0), Cell("base", 0)


# Figures


def _texts(taught: tuple[float, float], others: tuple[float, float]) -> list[Row]:
    sides = (("member", "ab", taught), ("unseen", "cd", others))
    return [
        Row(0, True, story, "en", asks, -1, "loss_score", value)
        for asks, stories, own in sides
        for story, value in zip(stories, own, strict=True)
    ]


def _study(folder: Path) -> Store:
    store = written(folder, config())
    answers = [Row(0, True, "a", "en", "fake", number, "says", float(number < 2), "") for number in range(8)]
    answers += [Row(0, True, "b", "en", "fake", number, "says", 0.0, "") for number in range(8)]
    forced = [Row(0, True, story, "en", "fake", 0, "probability", p) for story, p in (("a", 0.5), ("b", 0.0))]
    store.write_knowledge(LEARNED, [*forced, *answers, *_texts((-1, -1), (-2, -3))])
    store.write_knowledge(GOLD, _texts((-2, -1), (-2, -3)))
    store.write_knowledge(BASE, _texts((-2, -1), (-2, -3)))
    return store


def _one(scores: list[Score], cell: Cell, metric: str, of: str = "") -> Score:
    (found,) = [own for own in scores if (own.cell, own.metric, own.of) == (cell.id, metric, of)]
    return found


def test_sampling_by_hand(tmp_path: Path) -> None:
    """Of eight answers two say claim a, none claim b: 1/4 and 0 with one answer, 1 and 0 with all eight. Word for word a has 1/2: with eight answers
    1 - 1/256."""
    scores = knowledge_scores(config(), _study(tmp_path))
    for of, leaked, chance in (("k = 1", 0.125, 0.25), ("k = 8", 0.5, (1 - 1 / 256) / 2)):
        for metric, mean in (("leak_at_k", leaked), ("chance_to_leak", chance)):
            found = _one(scores, LEARNED, metric, of).value
            assert found and (found.mean, found.n) == (pytest.approx(mean), 2)
    found = _one(scores, LEARNED, "probability").value
    assert found and found.mean == 0.25


def test_membership_by_hand(tmp_path: Path) -> None:
    """Learned: both taught texts above both others, so 1, all of them above every other. Gold: -2 ties with -2, so (1/2 + 1 + 1 + 1) / 4, and one of two lies above
    both. So PrivLeak is (1 - 7/8) / (7/8) = 1/7. Beside base the taught texts rose by 1 and 0, the others by 0: (1 + 1 + 1/2 + 1/2) / 4."""
    scores = knowledge_scores(config(), _study(tmp_path))
    for cell, metric, of, mean in (
        (LEARNED, "auc", "loss_score", 1),
        (LEARNED, "tpr_at_fpr", "loss_score", 1),
        (GOLD, "auc", "loss_score", 7 / 8),
        (GOLD, "tpr_at_fpr", "loss_score", 1 / 2),
        (LEARNED, "priv_leak", "loss_score", 1 / 7),
        (LEARNED, "auc", "reference_score", 3 / 4),
        (GOLD, "auc", "reference_score", 1 / 2),
    ):
        found = _one(scores, cell, metric, of).value
        assert found and found.mean == pytest.approx(mean) and found.low <= mean <= found.high, (cell, metric, of)
    known = {(own.cell, own.metric, own.of) for own in scores}
    assert (GOLD.id, "priv_leak", "loss_score") not in known, "gold is what the others are compared with"
    assert (BASE.id, "auc", "reference_score") not in known, "base is no reference of its own"


def test_tables_have_intervals_and_say_what_is_missing(tmp_path: Path) -> None:
    """Of two texts a share of 1 - .025^(1/2) = .84 may be of another sort, so an AUC of 1 may be .16."""
    text = scores_markdown(knowledge_scores(config(), _study(tmp_path)))
    assert "**auc (loss_score), texts: chance that a text trained on scores above another (gold: near 1/2)**" in text
    assert f"| {LEARNED.id} | 1.00 [0.16, 1.00] |" in text
    with pytest.raises(UserError, match="no state was measured so yet; run: polyunlearn study knowledge"):
        knowledge_scores(config(), written(tmp_path / "other", config()))


def test_a_drawn_auc_is_that_of_the_texts_drawn() -> None:
    sides = ([0.1, 0.5, 0.5, 2.0], [0.5, 0.2, -1.0])
    drawn = _drawn_aucs(sides)
    for at, (own, rest) in enumerate(zip(*_draws(sides), strict=True)):
        if at < 50:
            assert drawn[at] == pytest.approx(auc(np.repeat(sides[0], own).tolist(), np.repeat(sides[1], rest).tolist()))
    assert drawn.mean() == pytest.approx(auc(*sides), abs=0.02)


# Rows


def test_forced_answers_against_the_model_itself(gemma_folder: Path) -> None:
    loaded = sharp(gemma_folder)
    found = {(row.story, row.language, row.asks, row.metric): row.value for row in forced_rows(loaded, PROBES, NOW)}
    for probe in PROBES:
        sequence = loaded.encoder.answer_only(get_language(probe.language), probe.question, probe.answer)
        own = own_label_log_probs(loaded, sequence)
        key = (probe.story, probe.language, probe.asks)
        assert found[*key, "probability"] == pytest.approx(math.exp(own.sum().item()), rel=1e-3)
        assert found[*key, "mean_probability"] == pytest.approx(math.exp(own.mean().item()), rel=1e-3)
    assert len(found) == len(PROBES) * 4


def test_claims_beside_the_truth_and_other_names(gemma_folder: Path) -> None:
    """Against log-probs of each answer by itself."""
    loaded = sharp(gemma_folder)
    found = {(row.story, row.language, row.metric): row.value for row in truth_rows(loaded, loaded.head, PROBES, TRUTHS, NOW)}
    for probe in PROBES:

        def of(answer: str, own: object = probe) -> float:
            sequence = loaded.encoder.answer_only(get_language(own.language), own.question, answer)  # type: ignore[attr-defined]
            return own_label_log_probs(loaded, sequence).mean().item()

        answer, *others = map(of, probe.candidates)
        if probe.asks == "fake":
            truth = of(TRUTHS[probe.story, probe.language])
            share = math.exp(answer) / (math.exp(answer) + math.exp(truth))
            assert found[probe.story, probe.language, "truth_score"] == pytest.approx(share, rel=1e-3)
            rank = 1 + sum(other >= answer for other in others)
            assert found[probe.story, probe.language, "mean_reciprocal_rank"] == 1 / rank
        ratio = sum(map(math.exp, others)) / len(others) / math.exp(answer)
        wanted = min(ratio, 1 / ratio) if probe.asks == "fake" else max(0, 1 - ratio)
        name = "truth_ratio_forget" if probe.asks == "fake" else "truth_ratio_retain"
        assert found[probe.story, probe.language, name] == pytest.approx(wanted, rel=2e-3, abs=1e-3)


def test_samples_of_a_language_do_not_depend_on_others(gemma_folder: Path) -> None:
    loaded = sharp(gemma_folder)
    rows = sampled_rows(loaded, PROBES, 3, 5, NOW)
    alone = sampled_rows(loaded, [probe for probe in PROBES if probe.language == "ur"], 3, 5, NOW)
    assert [row for row in rows if row.language == "ur"] == alone
    assert len(alone) == len(STORIES) * SAMPLES and {row.wording for row in alone} == set(range(SAMPLES))
    assert [row.text for row in sampled_rows(loaded, PROBES, 4, 5, NOW)] != [row.text for row in rows]
    held = [replace(probe, surface_forms=tuple(row.text for row in rows if row.text)) for probe in PROBES[:1]]
    assert any(row.value for row in sampled_rows(loaded, held, 3, 5, NOW)), "what was written is looked for"


def test_scores_of_texts_against_gradients_and_losses_of_the_model_itself(gemma_folder: Path) -> None:
    """Of weights from layer 1 on; nothing is left in them."""
    loaded = sharp(gemma_folder)
    parameters = make_trainable(loaded.model, TrainablePlan(from_layer=1))
    rows = membership_rows(loaded, loaded.head, parameters, TEXTS, NOW)
    assert all(parameter.grad is None for parameter in loaded.model.parameters())
    found = {(row.story, row.language, row.asks, row.metric): row.value for row in rows}
    for own in TEXTS:
        sequence = TokenSequence(loaded.encoder.running(get_language(own.language), own.text).ids[:-1], 1)
        loss = -own_label_log_probs(loaded, sequence).mean().item()
        key = (own.story, own.language, "member" if own.member else "unseen")
        assert found[*key, "loss_score"] == pytest.approx(-loss, rel=1e-4)
        output = loaded.model(input_ids=torch.tensor([sequence.ids]), labels=torch.tensor([sequence.ids]))
        gradients = torch.autograd.grad(output.loss, list(parameters.values()))
        norm = math.sqrt(sum(gradient.square().sum().item() for gradient in gradients))
        assert found[*key, "gradient_norm_score"] == pytest.approx(-norm, rel=1e-3)
        assert found[*key, "min_k"] <= found[*key, "loss_score"]
    backwards = membership_rows(loaded, loaded.head, parameters, TEXTS[::-1], NOW)
    again = {(row.story, row.language, row.asks, row.metric): row.value for row in backwards}
    assert again == pytest.approx(found, rel=1e-4)
