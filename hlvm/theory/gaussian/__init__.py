"""Exact answers for linear Gaussian models."""
