"""How a step's gradient is made where it is not the plain one of the loss: one rule (`training.loop.Rule`) a file."""
