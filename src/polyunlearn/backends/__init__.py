"""What other programs do for us: chat models behind an endpoint, and translators. Answers are cached on disk."""
