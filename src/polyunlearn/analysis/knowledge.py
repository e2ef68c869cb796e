"""Figures of what states know (`scoring.knowledge`): rows in, scores with intervals out."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polyunlearn.analysis.clusters import ALL_OR_NOTHING, percentiles
from polyunlearn.analysis.rescoring import Score
from polyunlearn.intervals import RESAMPLES, Estimate, estimate, widened
from polyunlearn.scoring.knowledge import MEMBERSHIP
from polyunlearn.scoring.metrics.leakage import chance_to_leak, leak_at_k
from polyunlearn.scoring.metrics.membership import auc, priv_leak, tpr_at_fpr
from polyunlearn.scoring.metrics.suite import METRICS
from polyunlearn.study.cells import Cell, study_cells
from polyunlearn.study.config import StudyConfig
from polyunlearn.study.store import Store

REFERENCE = "reference_score"

Scores = dict[str, float]
"""By story, the score of a text."""


def knowledge_scores(config: StudyConfig, store: Store) -> list[Score]:
    """Every figure of every state that was measured, in the order of the study; raises `UserError` where none was."""
    rows = store.query_knowledge(
        "SELECT cell, language, asks, metric, story, wording, value FROM rows ORDER BY cell, language, story, wording"
    ).to_pylist()
    measured = {row["cell"] for row in rows}
    cells = [cell for cell in study_cells(config) if cell.id in measured]
    found: list[Score] = []
    for cell in cells:
        for tag in config.languages:
            own = [row for row in rows if row["cell"] == cell.id and row["language"] == tag]
            found += [*_asked(own, cell, tag), *_sampled(own, cell, tag)]
    found += _membership(config, cells, rows)
    order = list(dict.fromkeys((own.metric, own.of, own.asks) for own in found))
    return sorted(found, key=lambda own: order.index((own.metric, own.of, own.asks)))


def _asked(rows: Sequence[dict[str, Any]], cell: Cell, tag: str) -> list[Score]:
    """Means over stories of what is one value a probe."""
    values: dict[tuple[str, str], list[float]] = {}
    for row in rows:
        if row["asks"] in ("fake", "real") and row["metric"] != "says":
            values.setdefault((row["metric"], row["asks"]), []).append(row["value"])
    return [Score(metric, asks, cell.id, tag, estimate(own, bounds=METRICS[metric].bounds)) for (metric, asks), own in values.items()]


def _sampled(rows: Sequence[dict[str, Any]], cell: Cell, tag: str) -> list[Score]:
    """What sampling leaks: from the answers drawn, and from the probability of the claim, word for word."""
    answers: dict[str, list[float]] = {}
    for row in rows:
        if row["metric"] == "says":
            answers.setdefault(row["story"], []).append(row["value"])
    if not answers:
        return []
    samples = len(next(iter(answers.values())))
    exact = [row["value"] for row in rows if row["metric"] == "probability" and row["asks"] == "fake"]
    scores = []
    for k in dict.fromkeys((1, samples)):
        leaked = [leak_at_k(int(sum(own)), samples, k) for own in answers.values()]
        scores.append(Score("leak_at_k", "fake", cell.id, tag, estimate(leaked, bounds=(0, 1)), of=f"k = {k}"))
        scores.append(
            Score("chance_to_leak", "fake", cell.id, tag, estimate([chance_to_leak(p, k) for p in exact], bounds=(0, 1)), of=f"k = {k}")
        )
    return scores


def _membership(config: StudyConfig, cells: Sequence[Cell], rows: Sequence[dict[str, Any]]) -> list[Score]:
    """How well texts that were taught are told from others, by each score, and against gold."""
    texts: dict[tuple[str, str, str, str], Scores] = {}
    for row in rows:
        if row["metric"] in MEMBERSHIP:
            texts.setdefault((row["cell"], row["language"], row["metric"], row["asks"]), {})[row["story"]] = row["value"]
    found = []
    for tag in config.languages:
        for score in (*MEMBERSHIP, REFERENCE):
            for cell in cells:
                sides = _sides(texts, cell, tag, score)
                if sides is None:
                    continue
                gold = _sides(texts, Cell("gold", cell.seed), tag, score)
                found.append(Score("auc", "text", cell.id, tag, _auc(sides), of=score))
                found.append(Score("tpr_at_fpr", "text", cell.id, tag, _tpr_at_fpr(sides), of=score))
                if gold and cell.state not in ("base", "gold") and auc(*gold) > 0:
                    found.append(Score("priv_leak", "text", cell.id, tag, _priv_leak(sides, gold), of=score))
    place = {"auc": 0, "tpr_at_fpr": 1, "priv_leak": 2}
    return sorted(found, key=lambda own: (place[own.metric], (*MEMBERSHIP, REFERENCE).index(own.of)))


Sides = tuple[list[float], list[float]]
"""The scores of the texts that were taught, and of the others, each in the order of its stories."""


def _sides(texts: dict[tuple[str, str, str, str], Scores], cell: Cell, tag: str, score: str) -> Sides | None:
    """None where the texts were not measured, or base, with which a reference score compares, was not."""
    name = "loss_score" if score == REFERENCE else score
    found = []
    for asks in ("member", "unseen"):
        own = texts.get((cell.id, tag, name, asks))
        base = texts.get((Cell("base", cell.seed).id, tag, name, asks))
        if own is None or (score == REFERENCE and (base is None or cell.state == "base")):
            return None
        found.append([own[story] - (base[story] if score == REFERENCE and base else 0) for story in sorted(own)])
    return found[0], found[1]


def _draws(sides: Sides) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """How often each draw of the bootstrap has each text of either side, (draws, texts); either side is drawn by itself."""
    rng = np.random.default_rng(0)
    own, rest = (rng.multinomial(len(side), np.full(len(side), 1 / len(side)), size=RESAMPLES) for side in sides)
    return own, rest


def _drawn_aucs(sides: Sides) -> NDArray[np.float64]:
    """The AUC in each draw: the mean over pairs of texts, each as often as it was drawn."""
    own, rest = np.array(sides[0])[:, None], np.array(sides[1])[None]
    above = (own > rest) + (own == rest) / 2
    times = _draws(sides)
    found: NDArray[np.float64] = ((times[0] @ above) * times[1]).sum(1) / above.size
    return found


def _auc(sides: Sides) -> Estimate:
    return _widened(Estimate(auc(*sides), *percentiles(_drawn_aucs(sides)), len(sides[0])), sides)


def _tpr_at_fpr(sides: Sides) -> Estimate:
    drawn = [
        tpr_at_fpr(np.repeat(sides[0], own).tolist(), np.repeat(sides[1], rest).tolist()) for own, rest in zip(*_draws(sides), strict=True)
    ]
    return _widened(Estimate(tpr_at_fpr(*sides), *percentiles(np.array(drawn)), len(sides[0])), sides)


def _widened(own: Estimate, sides: Sides) -> Estimate:
    """As far as texts of a sort that neither side showed may take it: of the fewer there may be more of these."""
    return replace(widened(replace(own, n=min(map(len, sides))), ALL_OR_NOTHING), n=own.n)


def _priv_leak(sides: Sides, gold: Sides) -> Estimate:
    """With its interval; the same texts are drawn of both states."""
    own, under_gold = _drawn_aucs(sides), _drawn_aucs(gold)
    drawn = np.divide(own - under_gold, under_gold, out=np.full(len(own), np.nan), where=under_gold > 0)
    return Estimate(priv_leak(auc(*sides), auc(*gold)), *percentiles(drawn), len(sides[0]))
