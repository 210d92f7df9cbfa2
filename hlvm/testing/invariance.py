"""The properties that any score of two arrays must have, whatever it measures: a table of cases, and their check."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

__all__ = ["CASES", "Case", "check_score"]

_ROWS, _DIMS = 120, 2

Change = Callable[[np.ndarray, np.ndarray, np.random.Generator], tuple[Any, Any]]


class Case(NamedTuple):
    """A change of both arrays, and what a score must do.

    Attributes:
        change: takes a representation, latents and a random generator, and returns both changed.
        must: ``"equal"``: give the same number. ``"finite"``: give a finite number, or refuse by ``ValueError``.
            ``"refuse"``: refuse by ``ValueError``.
        tolerance: by how much an equal number may differ, in units of the score.
    """

    change: Change
    must: str = "equal"
    tolerance: float = 1e-6


def _both(change: Callable[[np.ndarray], Any]) -> Change:
    return lambda a, b, rng: (change(a), change(b))


def _reordered(a: np.ndarray, b: np.ndarray, rng: np.random.Generator) -> tuple[Any, Any]:
    order = rng.permutation(len(a))
    return a[order], b[order]


def _frozen(array: np.ndarray) -> np.ndarray:
    copy = array.copy()
    copy.flags.writeable = False
    return copy


def _spoilt(array: np.ndarray) -> np.ndarray:
    copy = array.copy()
    copy[3, 0] = np.nan
    return copy


def _wide(a: np.ndarray, b: np.ndarray, rng: np.random.Generator) -> tuple[Any, Any]:
    return np.concatenate([a, rng.normal(size=(len(a), 2 * len(a)))], axis=1), b


CASES: dict[str, Case] = {
    "scale up": Case(_both(lambda x: x * 1e9)),
    "scale down": Case(_both(lambda x: x * 1e-9)),
    "scale beyond squares": Case(_both(lambda x: x * 1e200)),
    "scale of subnormal numbers": Case(_both(lambda x: x * 1e-310), tolerance=1e-3),
    "sign": Case(_both(np.negative)),
    "shift": Case(_both(lambda x: x + 1e6)),
    "shift of the representation by 1e9": Case(lambda a, b, rng: (a + 1e9, b), tolerance=1e-4),
    "shift by 1e12": Case(_both(lambda x: x + 1e12), tolerance=2e-2),
    "shift of whole numbers": Case(_both(lambda x: np.round(1e6 * x).astype(np.int64) + 10**18), tolerance=1e-3),
    "column order": Case(lambda a, b, rng: (a[:, ::-1], b)),
    "row order": Case(_reordered, tolerance=0.15),  # another split and other halves: another sample of the same
    "float32": Case(_both(lambda x: x.astype(np.float32)), tolerance=1e-3),
    "float16": Case(_both(lambda x: x.astype(np.float16)), tolerance=2e-2),
    "byte order": Case(_both(lambda x: x.astype(">f8")), tolerance=0.0),
    "memory layout": Case(_both(np.asfortranarray), tolerance=1e-9),
    "strides": Case(_both(lambda x: np.repeat(x, 2, axis=1)[:, ::2]), tolerance=1e-9),
    "read-only memory": Case(_both(_frozen), tolerance=0.0),
    "lists": Case(_both(np.ndarray.tolist), tolerance=0.0),
    "duplicate column": Case(lambda a, b, rng: (np.c_[a, a[:, :1]], b), must="finite"),
    "constant column": Case(lambda a, b, rng: (np.c_[a, np.full(len(a), 0.3)], b), must="finite"),
    "more columns than rows": Case(_wide, must="finite"),
    "constant representation": Case(lambda a, b, rng: (np.ones_like(a), b), must="finite"),
    "gap": Case(lambda a, b, rng: (_spoilt(a), b), must="refuse"),
    "masked entries": Case(lambda a, b, rng: (np.ma.masked_greater(a, 0.0), b), must="refuse"),
    "text": Case(lambda a, b, rng: (a.astype(str), b), must="refuse"),
    "complex numbers": Case(lambda a, b, rng: (a + 1j, b), must="refuse"),
    "other rows": Case(lambda a, b, rng: (a[:-1], b), must="refuse"),
}
"""Cases that :func:`check_score` tries, by name."""


def check_score(
    score: Callable[[ArrayLike, ArrayLike], ArrayLike], *, exempt: Collection[str] = (), seed: int = 0
) -> None:
    """Check that a score of a representation and latents is one that can be trusted blindly.

    A score must not depend on units, offsets, the order of columns or how numbers lie in memory, must stay finite on
    awkward columns, and must refuse what holds no numbers. Every score of :mod:`hlvm.scoring` passes; use it for your
    own.

    Args:
        score: takes a representation, shape (n, 2), and latents, shape (n, 2), and returns a number or an array of
            numbers. It must be deterministic: fix its key.
        exempt: names of :data:`CASES` that it need not pass, such as ``"column order"`` for one number per column.
        seed: of the arrays.

    Raises:
        AssertionError: it fails; the message has a line per case.
        ValueError: an unknown name in ``exempt``.

    Example:
        >>> from hlvm.scoring import mcc
        >>> check_score(mcc)
        >>> check_score(lambda a, b: np.abs(np.asarray(a) - b).mean())
        Traceback (most recent call last):
        ...
        AssertionError: the score fails 11 of 27 cases:
        ...
    """
    unknown = sorted(set(exempt) - set(CASES))
    if unknown:
        raise ValueError(f"exempt: expected some of {', '.join(CASES)}, got {', '.join(unknown)}")
    rng = np.random.default_rng(seed)
    latents = rng.normal(size=(_ROWS, _DIMS))
    code = latents @ [[1.0, 0.4], [-0.3, 1.0]] + 0.3 * rng.normal(size=latents.shape)
    plain = _numbers(score(code, latents))
    tried = {name: case for name, case in CASES.items() if name not in exempt}
    failures = {name: _failure(score, case, code, latents, plain, rng) for name, case in tried.items()}
    lines = [f"  {name}: {why}" for name, why in failures.items() if why]
    if lines:
        raise AssertionError("\n".join([f"the score fails {len(lines)} of {len(tried)} cases:", *lines]))


def _failure(
    score: Callable[[ArrayLike, ArrayLike], ArrayLike],
    case: Case,
    code: np.ndarray,
    latents: np.ndarray,
    plain: np.ndarray,
    rng: np.random.Generator,
) -> str:
    """The reason why a case fails; empty if it does not."""
    a, b = case.change(code, latents, rng)
    try:
        found = _numbers(score(a, b))
    except ValueError as error:
        return "" if case.must in ("finite", "refuse") else f"it was refused ({error})"
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    if case.must == "refuse":
        return f"expected a ValueError, got {found}"
    if not np.isfinite(found).all():
        return f"expected finite numbers, got {found}"
    if case.must == "equal" and (
        found.shape != plain.shape or not np.allclose(found, plain, rtol=0, atol=case.tolerance)
    ):
        return f"expected {plain} within {case.tolerance:g}, got {found}"
    return ""


def _numbers(value: ArrayLike) -> np.ndarray:
    return np.asarray(value, dtype=np.float64)
