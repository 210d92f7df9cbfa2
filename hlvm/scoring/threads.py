"""One BLAS thread for the factorisations of this package.

They are many and of moderate size: a second thread gains little on an idle machine, and on a busy one threads that wait
for each other make them much slower.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from threadpoolctl import ThreadpoolController

__all__ = ["one_blas_thread"]

_P = ParamSpec("_P")
_R = TypeVar("_R")


def one_blas_thread(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """Run a function with linear algebra on one thread, and give the threads back afterwards."""

    @functools.wraps(function)
    def limited(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        with _controller().limit(limits=1, user_api="blas"):
            return function(*args, **kwargs)

    return limited


@functools.cache
def _controller() -> ThreadpoolController:
    """Looks up the loaded libraries once; NumPy's and SciPy's are loaded when this module's users are."""
    return ThreadpoolController()
