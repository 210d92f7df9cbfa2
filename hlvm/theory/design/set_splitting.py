"""Choose parts so that every given set has a chosen and a left-out part, with the least total weight.

This is weighted set splitting. It is NP-hard in general (Lovász 1973). Sets that share no part with another are split
by hand: choosing the lightest part is the least one can do, and enough. Sets that share parts are solved together as
an integer program by HiGHS, whose answer is proved optimal or infeasible by branch and bound.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from jaxtyping import Bool
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

__all__ = ["Parts", "entangled", "lightest_splitting"]

Parts: TypeAlias = frozenset[int]
"""Positions of some parts."""

_OPTIMAL, _INFEASIBLE = 0, 2
"""Status codes of :func:`scipy.optimize.milp`."""


def lightest_splitting(
    sets: Sequence[Parts], weights: Sequence[int], *, optimal: bool, deadline: float
) -> Bool[np.ndarray, " n_parts"] | Sequence[int]:
    """Choose parts so that no set is wholly chosen or wholly left out.

    At least one part is chosen and one is left out, also when there are no sets.

    Args:
        sets: the sets to split, each with at least 2 parts.
        weights: positive weight of each part; at least 2 parts.
        optimal: whether the chosen parts must have the least total weight that is possible.
        deadline: value of :func:`time.monotonic` at which to give up.

    Returns:
        One entry per part, True = chosen; or, when it is impossible, the positions of some sets that cannot all be
        split, not necessarily the fewest.

    Raises:
        TimeoutError: no answer by the deadline.
    """
    chosen = np.zeros(len(weights), dtype=bool)
    if not sets:
        chosen[int(np.argmin(weights))] = True
        return chosen
    for group in entangled(sets):
        distinct = sorted({sets[i] for i in group}, key=sorted)
        if len(distinct) == 1:
            chosen[min(distinct[0], key=lambda part: (weights[part], part))] = True
            continue
        parts = sorted(frozenset().union(*distinct))
        picked = _branch_and_bound(distinct, parts, weights, optimal=optimal, deadline=deadline)
        if picked is None:
            return group
        chosen[picked] = True
    return chosen


def entangled(sets: Sequence[Parts]) -> list[list[int]]:
    """Group sets that share parts, directly or through others; positions in ``sets``."""
    rows = [i for i, parts in enumerate(sets) for _ in parts]
    columns = [len(sets) + part for parts in sets for part in parts]
    n = len(sets) + max(map(max, sets), default=0) + 1
    _, label = connected_components(csr_array((np.ones(len(rows), dtype=np.int8), (rows, columns)), shape=(n, n)))
    groups: dict[int, list[int]] = {}
    for i in range(len(sets)):
        groups.setdefault(int(label[i]), []).append(i)
    return list(groups.values())


def _branch_and_bound(
    sets: Sequence[Parts], parts: Sequence[int], weights: Sequence[int], *, optimal: bool, deadline: float
) -> list[int] | None:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    column = {part: i for i, part in enumerate(parts)}
    rows = [i for i, members in enumerate(sets) for _ in members]
    columns = [column[part] for members in sets for part in members]
    matrix = csr_array((np.ones(len(rows)), (rows, columns)), shape=(len(sets), len(parts)))
    most: Any = np.array([len(members) - 1.0 for members in sets])
    found = milp(
        np.array([float(weights[part]) if optimal else 0.0 for part in parts]),
        integrality=np.ones(len(parts)),
        bounds=Bounds(0, 1),
        constraints=LinearConstraint(matrix, 1.0, most),
        options={"mip_rel_gap": 0.0, "time_limit": left},
    )
    if found.status == _INFEASIBLE:
        return None
    if found.status != _OPTIMAL:
        raise TimeoutError
    picked = {part for part, value in zip(parts, found.x, strict=True) if value > 0.5}
    if any(members <= picked or not members & picked for members in sets):
        raise RuntimeError("HiGHS returned an answer that violates a constraint; please report this with the graph")
    return sorted(picked)
