"""Masking ablations: from prediction to page."""
