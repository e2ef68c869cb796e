"""Stories: the types, the built-in newsroom, and a user's own in JSONL."""
