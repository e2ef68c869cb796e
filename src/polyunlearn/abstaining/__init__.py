"""Whether a model abstains where it should: what becomes of its answers, and what its own feedback in several languages says of them (arXiv 2406.15948)."""
