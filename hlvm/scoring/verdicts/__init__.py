"""Verdicts on claims about two arrays, and what they rest on."""
