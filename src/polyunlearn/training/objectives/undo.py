"""UNDO (unlearn, noise, distil on outputs): the unlearned model's predictions are taught to a blurred copy of it."""

from polyunlearn.training.cards import POSITIVE, Bounds, Card
from polyunlearn.training.objectives.npo import npo
from polyunlearn.training.unlearning import distilled

UNDO = Card(
    name="undo",
    part="forget",
    title="Unlearn, noise, distil",
    formula="half of the steps NPO with KL; θ ← (1 - noise) θ + noise · noise_scale · N; half of the steps KL(p_unlearned || p) on r alone",
    paper="Lee et al., arXiv 2506.06278",
    cost="less: half of the steps forget nothing; between the halves a forward pass over the distinct texts to retain",
    term=npo,
    needs=frozenset({"reference"}),
    bounds={"beta": POSITIVE, "noise": Bounds(most=1.0)},
    procedure=distilled,
    least_steps=2,
    retain="kl",
    insists="it is distilled by the divergence from what the unlearned state says; write undo",
    refuses_merging="each branch blurs all the weights, and what branches moved adds up, so that the model would shrink once a language",
    refuses_adapters="blurring an adapter leaves the weights that hold what is to be forgotten as they are",
)
