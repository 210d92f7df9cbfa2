"""A bar of progress that works in terminals and in notebooks, whatever is installed there."""

from __future__ import annotations

import sys
import time
from typing import Any, Protocol, runtime_checkable

__all__ = ["ProgressBar"]

_WIDTH = 30


@runtime_checkable
class _Report(Protocol):
    @property
    def share(self) -> float: ...


class ProgressBar:
    """Shows how far a run is, and the time left at its speed until now; pass it as ``on_progress``.

    In a notebook it is a bar below the cell, on a terminal one line of standard error. Where neither is, as in a log
    file, nothing is shown.

    Example:
        >>> ProgressBar("train")
        train: begins
    """

    def __init__(self, title: str = "training") -> None:
        """Begin.

        Args:
            title: written before the bar.
        """
        self._title, self._share = title, 0.0
        self._began: float | None = None
        self._first = 0.0
        self._left: float | None = None
        self._shown: Any = None

    def __call__(self, progress: _Report) -> None:
        """Show where the run is.

        Args:
            progress: a :class:`Progress`, a :class:`hlvm.study.StudyProgress`, or what else has a ``share``, 0 to 1.
        """
        now, self._share = time.perf_counter(), progress.share
        # Programs are compiled before the first report, which says nothing of the speed. A bar may serve several runs.
        if self._began is None or self._share < self._first:
            self._began, self._first = now, self._share
        gained = self._share - self._first
        self._left = (now - self._began) * (1 - self._share) / gained if gained > 0 else None
        display = _display_of_notebook()
        if display is None:
            self._write()
        elif self._shown is None:
            self._shown = display(self, display_id=True)
        else:
            self._shown.update(self)

    def _write(self) -> None:
        if sys.stderr is None or not sys.stderr.isatty():
            return
        full = round(_WIDTH * self._share)
        end = "\n" if self._share >= 1 else ""
        # To the end of the line is cleared: the last text may have been longer.
        sys.stderr.write(f"\r{self._title} [{'#' * full}{'.' * (_WIDTH - full)}] {self._words()}\x1b[K{end}")
        sys.stderr.flush()

    def _words(self) -> str:
        if self._began is None:
            return "begins"
        if self._share >= 1:
            return "done"
        return f"{self._share:.0%}" + ("" if self._left is None else f", {_in_time(self._left)} left")

    def __repr__(self) -> str:
        return f"{self._title}: {self._words()}"

    def _repr_html_(self) -> str:
        """The bar for notebooks."""
        from hlvm._html import escaped

        title, words = escaped(self._title), escaped(self._words())
        bar = f'<progress value="{self._share:.4f}" max="1" aria-label="{title}"></progress>'
        return f'<div class="tex2jax_ignore">{title} {bar} {words}</div>'


def _in_time(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def _display_of_notebook() -> Any:
    """The function that shows things below a cell; ``None`` outside of a notebook, also in IPython on a terminal."""
    ask = getattr(sys.modules.get("IPython"), "get_ipython", None)
    if ask is None or not hasattr(ask(), "kernel"):
        return None
    return sys.modules["IPython"].display.display
