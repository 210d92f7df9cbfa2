"""Probabilities of being shared, over the law of a strategy."""
