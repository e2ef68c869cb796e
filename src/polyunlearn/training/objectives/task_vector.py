"""Negated task vectors: learn what is to be forgotten, and take away what was learned."""

from polyunlearn.training.cards import Card
from polyunlearn.training.objectives.cross_entropy import cross_entropy
from polyunlearn.training.unlearning import negated

TASK_VECTOR = Card(
    name="task_vector",
    part="forget",
    title="Negated task vector",
    formula="θ₀ - scale · (θ - θ₀), θ trained from θ₀ by CE(f); it stops for no answer (stop_below)",
    paper="Ilharco et al., arXiv 2212.04089",
    cost="less: one forward and one backward pass over the forget set; two more copies of the trained weights",
    term=cross_entropy,
    procedure=negated,
    retain=None,
    insists="what a retain term teaches would be taken away with the rest; write task_vector",
    refuses_adapters="the change that an adapter makes is a product of two matrices, and negating each change is not negating the product's",
)
