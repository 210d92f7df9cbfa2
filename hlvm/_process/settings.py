"""The lock of what changes settings of the process for a while."""

from __future__ import annotations

import threading

__all__ = ["SETTINGS"]

SETTINGS = threading.RLock()
"""Held while warning filters or Matplotlib's parameters are others than the user's. Two threads that change filters at
the same time restore each other's, and so do Matplotlib, which does so inside, and ``warnings.catch_warnings``."""
