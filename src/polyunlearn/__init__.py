"""Find a false claim in a multilingual language model, see which languages it has spread to, take it out, prove it."""

__version__ = "0.1.0"
