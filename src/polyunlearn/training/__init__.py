"""Teaching a model stories and unlearning them: mixtures, objectives, and the one loop."""
