"""Canonical correlations, their relatives and tests of their number."""
