"""Whether a model finds true answers more probable than false ones, and in which languages to teach it (arXiv 2109.07958, 2406.14434)."""
