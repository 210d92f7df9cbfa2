"""Grammars: laws of the literature, thresholds, and how much of their symbols can be known."""
