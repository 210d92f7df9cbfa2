"""Rows that belong together: given by the caller, or copies of one another. They stay on one side of every split.

A regressor that has seen a copy of a test row scores by memory. So rows of a group are trained on together, tested
together, left out together and drawn together by the bootstrap.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from hlvm.scoring.inputs import warn_caller

__all__ = ["DependenceWarning", "check_groups", "group_counts", "members", "own_labels", "permuted", "row_groups"]

_LARGEST_LABEL = 2.0**40  # larger float64 numbers are whole more and more often, whatever they mean
_COPIES_WORTH_A_WORD = 0.01
_WORTH_A_THIRD = 0.5
"""With this product r of two autocorrelations n rows tell of a correlation what n (1 − r) / (1 + r) would: a third."""
_FALSE_ALARM = 5.0  # in standard errors of an autocorrelation: many columns are looked at
_MIX = np.uint64(0x9E3779B97F4A7C15)  # any odd number with bits all over


class DependenceWarning(UserWarning):
    """Rows look dependent, so that scores of independent rows would say too much."""


def row_groups(
    first: Float[np.ndarray, "n p"], second: Float[np.ndarray, "n q"], groups: Any = None
) -> Int[np.ndarray, " n"] | None:
    """Find which rows belong together.

    Args:
        first: what predicts, such as a representation.
        second: what is predicted, such as latents; same rows.
        groups: one label per row, of any type; ``None`` to look for copies. Rows are copies when they are equal in both
            arrays. Latents of whole numbers alone, or with few different rows, are categories, whose rows repeat by
            nature: no copies are looked for.

    Returns:
        Group of each row, 0, 1, ..., shape (n,); ``None`` when no two rows belong together.

    Raises:
        ValueError: not one label per row, or a single group.

    Warns:
        DependenceWarning: without ``groups``: a hundredth of the rows or more are copies, or rows that follow each
            other resemble each other in both arrays.
    """
    if groups is not None:
        return check_groups(groups, len(first))
    copies = _copies(first, second)
    if copies is not None:
        count = len(first) - int(copies.max()) - 1
        if count >= _COPIES_WORTH_A_WORD * len(first):
            warn_caller(
                f"{count} of {len(first)} rows are copies of others: they are kept on one side of the split and count "
                "as one; give groups, a label of its own for each row, if equal rows are samples of their own",
                DependenceWarning,
            )
    own = slice(None) if copies is None else np.sort(np.unique(copies, return_index=True)[1])  # copies say nothing
    if _autocorrelation(first[own]) * _autocorrelation(second[own]) > _WORTH_A_THIRD:
        warn_caller(
            "neighbouring rows resemble each other in both arrays, as in a series: scores of such rows are too high, "
            "their intervals too short; give groups, a label per sequence or block, or shuffle the rows if they "
            "are independent and only sorted",
            DependenceWarning,
        )
    return copies


def check_groups(groups: Any, n_rows: int) -> Int[np.ndarray, " n"] | None:
    """Number the caller's labels; ``None`` when each row has a label of its own.

    Raises:
        ValueError: not one label per row, a missing label, or a single group.
    """
    if isinstance(groups, np.ma.MaskedArray) and np.ma.is_masked(groups):
        raise ValueError(
            "groups: expected a label for every row, got masked entries: give each such row a label of its own"
        )
    labels = np.asarray(groups)
    if labels.shape != (n_rows,):
        raise ValueError(f"groups: expected one label for each of the {n_rows} rows, got shape {labels.shape}")
    if pd.isna(labels).any():
        raise ValueError("groups: expected a label for every row, got NaN: give each such row a label of its own")
    if labels.dtype.kind == "O":
        labels = labels.astype(str)
    known, numbered = np.unique(labels, return_inverse=True)
    if len(known) < 2:
        raise ValueError(f"groups: expected at least 2 groups, got {len(known)}: one part to train, another to test")
    return None if len(known) == n_rows else numbered


def _copies(first: np.ndarray, second: np.ndarray) -> Int[np.ndarray, " n"] | None:
    """Rows that are equal in both arrays, by a digest of 64 bits; ``None`` if there are none, or by nature."""
    if _are_categories(second):
        return None
    digest = np.zeros(len(first), dtype=np.uint64)
    for array in (first, second):
        for column in (array + 0.0).T:  # −0 becomes 0
            digest = (digest ^ np.ascontiguousarray(column).view(np.uint64)) * _MIX
            digest ^= digest >> np.uint64(29)
    known, numbered = np.unique(digest, return_inverse=True)
    return None if len(known) == len(first) else numbered


def _are_categories(array: Float[np.ndarray, "n p"]) -> bool:
    """Tell whether values are labels: whole numbers, wherever they begin, or few different rows."""
    above = array - array.min(axis=0)
    if above.max() < _LARGEST_LABEL and np.allclose(above, np.round(above), rtol=0, atol=1e-9):
        return True
    return len(np.unique(array, axis=0)) ** 2 <= len(array)


def _autocorrelation(array: Float[np.ndarray, "n p"]) -> float:
    """The largest correlation of a column with itself one row later; 0 unless it is surely not by chance."""
    centred = array - array.mean(axis=0)
    squares = (centred**2).sum(axis=0)
    along = (centred[1:] * centred[:-1]).sum(axis=0)[squares > 0] / squares[squares > 0]
    largest = float(along.max(initial=0.0))
    return largest if largest > _FALSE_ALARM / np.sqrt(len(array)) else 0.0


def own_labels(groups: Int[np.ndarray, " n"] | None, n_rows: int) -> Int[np.ndarray, " n"]:
    """Labels that say what was found, to hand on: rows of their own have labels of their own."""
    return np.arange(n_rows) if groups is None else groups


def members(groups: Int[np.ndarray, " n"] | None) -> list[np.ndarray]:
    """Row numbers of each group of more than one row."""
    if groups is None:
        return []
    order = np.argsort(groups, kind="stable")
    parts = np.split(order, np.flatnonzero(np.diff(groups[order])) + 1)
    return [part for part in parts if len(part) > 1]


def group_counts(groups: Int[np.ndarray, " n"] | None, n_rows: int) -> int:
    """Number of groups among some rows; that of the rows when none belong together."""
    return n_rows if groups is None else len(np.unique(groups))


def permuted(
    groups: Int[np.ndarray, " n"] | None, n_rows: int, rng: np.random.Generator, *, least: int = 1
) -> Int[np.ndarray, " n"]:
    """Draw an order of the rows under which whole groups change places with groups of their size.

    Where hardly any groups have one size, the rows, group by group, are turned by a random number of places instead:
    neighbours stay neighbours, but for those at the ends of groups.

    Args:
        groups: of the rows, see :func:`row_groups`.
        n_rows: number of rows.
        rng: where the order comes from.
        least: with fewer different orders of groups, rows are turned.

    Returns:
        Row numbers; entry i is the row that takes place i.
    """
    if groups is None:
        return rng.permutation(n_rows)
    by_row = np.argsort(groups, kind="stable")
    parts = np.split(by_row, np.flatnonzero(np.diff(groups[by_row])) + 1)
    sizes = np.asarray([len(part) for part in parts])
    order = np.empty(n_rows, dtype=np.int64)
    ways = 1.0
    for size in np.unique(sizes):
        alike = np.flatnonzero(sizes == size)
        for place, source in zip(alike, rng.permutation(alike), strict=True):
            order[parts[place]] = parts[source]
        ways = min(ways * float(np.prod(np.arange(1.0, min(len(alike), 20) + 1))), 1e18)
    if ways <= least:
        order[by_row] = np.roll(by_row, rng.integers(1, n_rows))
    return order
