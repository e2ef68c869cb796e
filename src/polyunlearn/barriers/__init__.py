"""Knowledge barriers: what a model knows in one language and cannot use in another."""
