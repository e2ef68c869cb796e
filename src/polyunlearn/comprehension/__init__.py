"""Reading comprehension across languages: an article in one, a question on it in another; asked, and taught (LBMRC, arXiv 2010.14271)."""
