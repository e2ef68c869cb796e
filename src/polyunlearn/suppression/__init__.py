"""Suppressing claims at inference: the weights stay, what the model says is changed as it says it."""
