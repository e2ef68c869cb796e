"""What the study vocabulary (a softmax over the corpus's tokens and 4,096 others) changes: in scores, and in what training leaves.

Claims of seed 0 learned in German with either vocabulary, each state measured with either: two trainings and six measurements.
"""

from dataclasses import replace

import numpy as np

from polyunlearn.models.loading import load_model
from polyunlearn.models.trainable import TrainablePlan, make_trainable, restore, snapshot
from polyunlearn.scoring.measure import Moment, rank_rows
from polyunlearn.scoring.rows import Row
from polyunlearn.study.cells import Cell
from polyunlearn.study.materials import make_materials, study_stories
from polyunlearn.study.presets import load_config
from polyunlearn.study.stages import cell_steps
from polyunlearn.training.loop import Optimiser, train
from polyunlearn.training.objectives import LEARNING

LANGUAGES = ("en", "de", "fr", "ur", "zh")


def main() -> None:
    """Print one line a state and comparison."""
    config = load_config("quickstart", ["seeds=[0]"])
    loaded = load_model(config.model, frozen_layers=config.learning.from_layer)
    parameters = make_trainable(loaded.model, TrainablePlan(from_layer=config.learning.from_layer))
    base = snapshot(parameters)
    materials = make_materials(config, study_stories(config, 0), loaded)
    probes = [probe for probe in materials.probes if probe.language in LANGUAGES]
    heads = {"full": loaded.head, "study": materials.scoring_head}
    steps = cell_steps(config, Cell("learned", 0, "de"), materials.stories, loaded)
    optimiser = Optimiser(config.learning.rate, config.learning.warm_up, decay=True)
    measured: dict[tuple[str, str], list[Row]] = {}
    for state in ("base", "full", "study"):
        restore(parameters, base)
        if state in heads:
            train(loaded.body, heads[state], parameters, steps, LEARNING, optimiser)
        for name, head in heads.items():
            measured[state, name] = rank_rows(loaded, head, probes, Moment(0, True))
        _compare(
            f"scores, state trained with {state}" if state in heads else "scores, base", measured[state, "full"], measured[state, "study"]
        )
    _compare("states, both measured with full", measured["full", "full"], measured["study", "full"])


def _compare(what: str, full: list[Row], study: list[Row]) -> None:
    def values(rows: list[Row], metric: str) -> np.ndarray:
        return np.array([row.value for row in rows if row.metric == metric])

    assert [replace(row, value=0) for row in full] == [replace(row, value=0) for row in study]
    parts = [f"first place {values(full, 'first').mean():.3f} and {values(study, 'first').mean():.3f}"]
    parts.append(f"the same in {(values(full, 'first') == values(study, 'first')).mean():.1%} of {len(values(full, 'first'))}")
    for metric in ("probability", "loss"):
        difference = values(study, metric) - values(full, metric)
        parts.append(f"{metric} {values(full, metric).mean():.3f}, change {difference.mean():+.4f}, at most {np.abs(difference).max():.4f}")
    print(f"{what}: {'; '.join(parts)}", flush=True)


if __name__ == "__main__":
    main()
