"""The settings of the process under which this package scores: one BLAS thread, and NumPy's own handling of errors.

The factorisations are many and of moderate size: a second thread gains little on an idle machine, and on a busy one
threads that wait for each other make them much slower.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ParamSpec, TypeVar

import numpy as np
from threadpoolctl import ThreadpoolController

__all__ = ["own_settings"]

_P = ParamSpec("_P")
_R = TypeVar("_R")


def own_settings(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """Run a function with linear algebra on one thread and NumPy's default errors; both are as before afterwards."""

    @functools.wraps(function)
    def limited(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        # NumPy keeps this setting per thread. A user who raises on every underflow would get no score at all.
        with _ONE_THREAD.held(), np.errstate(divide="warn", over="warn", under="ignore", invalid="warn"):
            return function(*args, **kwargs)

    return limited


class _OneThread:
    """The limit on BLAS threads, which all Python threads share: the first call sets it, the last one lifts it.

    Were each call to set and lift it by itself, one that begins during another would find the limit and restore that.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._calls = 0
        self._before: list[int] = []

    @contextmanager
    def held(self) -> Iterator[None]:
        with self._lock:
            if self._calls == 0:
                self._before = [library.num_threads for library in _blas()]
                self._set([1] * len(self._before))
            self._calls += 1
        try:
            yield
        finally:
            with self._lock:
                self._calls -= 1
                if self._calls == 0:
                    # What is no longer 1 was set by others meanwhile, and stays.
                    found = [library.num_threads for library in _blas()]
                    self._set([old if now == 1 else now for old, now in zip(self._before, found, strict=True)])

    def _set(self, numbers: list[int]) -> None:
        for library, number in zip(_blas(), numbers, strict=True):
            library.set_num_threads(number)
            # Later threadpoolctl lets only the thread that set a limit change it, and another one may lift this.
            getattr(library, "clear_controlling_thread", lambda: None)()


@functools.cache
def _blas() -> tuple[Any, ...]:
    """Looks up the loaded libraries once; NumPy's and SciPy's are loaded when this module's users are."""
    return tuple(ThreadpoolController().select(user_api="blas").lib_controllers)


_ONE_THREAD = _OneThread()
