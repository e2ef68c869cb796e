"""In which languages claims live in a state, and in which to unlearn them."""
