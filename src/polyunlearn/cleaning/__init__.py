"""What an owner does with a model and a list of claims: audit it, unlearn them, verify that they are gone."""
