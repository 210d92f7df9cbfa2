"""Assumptions that a graph meets, and how much rests on them."""
