"""The lock of what changes settings of the process for a while."""

from __future__ import annotations

import threading

__all__ = ["SETTINGS"]

SETTINGS = threading.RLock()
"""Hold it while warning filters or Matplotlib's parameters are not the user's.

``warnings.catch_warnings`` in two threads at once leaves the filters of one of them behind. Matplotlib uses it inside.
"""
