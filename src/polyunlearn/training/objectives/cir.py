"""Collapse of irrelevant representations (CIR): gradient ascent on what is particular to the answers to forget."""

from polyunlearn.training.cards import Card
from polyunlearn.training.gradients.collapse import collapsed
from polyunlearn.training.objectives.gradient_ascent import gradient_ascent

CIR = Card(
    name="cir",
    part="forget",
    title="Collapse of irrelevant representations",
    formula="-CE(f), its gradient in each linear layer without the mean and first principal components of inputs and of output gradients",
    paper="Sondej and Yang, arXiv 2509.11816, whose loss on inner activations is gradient ascent on answers here; the token that begins every text counts, "
    "which the authors' code leaves out",
    cost="the inputs and output gradients of every trained linear layer at every token to forget are kept, and two eigenproblems solved a layer",
    term=gradient_ascent,
    rule=collapsed,
    refuses_adapters="it takes directions of what enters and leaves a layer out of the layer's gradient, and an adapter's inside is neither",
)
