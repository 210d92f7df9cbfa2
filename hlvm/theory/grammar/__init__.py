"""Discrete trees and random grammars: exact answers, laws of samples, thresholds, density evolution."""
