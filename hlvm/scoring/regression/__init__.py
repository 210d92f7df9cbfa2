"""Held-out regressions of one array on another."""
