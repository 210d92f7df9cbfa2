"""Imports JAX so that nothing of the process changes; every part of the package that uses it imports this first.

Importing JAX draws from NumPy's global random numbers, Flax from Python's, and Orbax adds a handler to the root logger,
so that a later ``logging.basicConfig`` would do nothing.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

__all__ = ["keeping_log_handlers", "undoing_side_effects"]


@contextmanager
def keeping_log_handlers() -> Iterator[None]:
    """Take away the handlers that the root logger gets inside: Orbax's messages add one where there was none."""
    before = list(logging.root.handlers)
    try:
        yield
    finally:
        for added in set(logging.root.handlers).difference(before):
            logging.root.removeHandler(added)


@contextmanager
def undoing_side_effects() -> Iterator[None]:
    """Put random states and handlers of logging back to what they were before the imports inside."""
    of_python, of_numpy = random.getstate(), np.random.get_state()  # noqa: NPY002  # what is kept is the user's
    try:
        with keeping_log_handlers():
            yield
    finally:
        random.setstate(of_python)
        np.random.set_state(of_numpy)  # noqa: NPY002


with undoing_side_effects():
    import jax  # noqa: F401
