"""Attacks on unlearned states: what brings a claim back though the model no longer says it. One file an attack."""
