"""Exact answers for discrete trees, grammars among them."""
