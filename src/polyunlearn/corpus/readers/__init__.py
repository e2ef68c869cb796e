"""Readers of data sets that people already have: rows in, claims (or parallel sentences) out (documented for users in docs/readers.md)."""
