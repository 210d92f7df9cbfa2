"""Masks and strategies that share what is wanted."""
