"""In how many ways can patches be masked so that every given set of parts is split, and how likely is it?

Parts are groups of patches that stay on one side; sets of parts must have a part on each side. The masks are counted by
their number of masked patches, as the coefficients of a polynomial in ``z``. A part of ``w`` patches in no set gives
the factor ``1 + z**w``. A set of parts of ``w_1, ..., w_k`` patches, none of them in another set, gives the product of
the ``1 + z**w_i`` less its two ends ``1`` and ``z**(w_1 + ... + w_k)``. Sets that share parts give one factor together,
by going through all sides of their parts. With ``M`` of ``N`` patches masked at random, the probability is the
coefficient of ``z**M`` over ``C(N, M)``. With each patch masked with probability ``r`` it is the polynomial at
``z = r / (1-r)``, times ``(1-r)**N``.

Everything is a sum of positive terms, so nothing cancels. The factors are kept as logarithms. To read off one
coefficient, the factors are weighed by ``z = exp(t)`` with the ``t`` that puts the mean number of masked patches at
``M``: they turn into distributions, the coefficient lies in the bulk of their convolution, and neither overflows nor
underflows. Where it does underflow, because the number can hardly be reached by sums of the sizes of the parts, the
convolution is done with logarithms instead. Relative accuracy is about 1e-9 at 50,000 patches.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.optimize import brentq
from scipy.signal import fftconvolve

from hlvm.masking.laws import log_choose
from hlvm.theory.design.set_splitting import Parts, entangled
from hlvm.theory.random_masks.frontier import Groups

__all__ = ["Splittings", "count_splittings"]

_ENUMERATED = 2**18
"""Sides of the parts of one entangled group that are gone through, at most."""

_ENUMERATED_IN_ALL = 2**22

_NEGLIGIBLE = 1e-150
"""Terms of a distribution that are dropped: a product of two that are kept does not underflow, which would be slow."""

_IN_THE_BULK = 1e-120
"""Below this, a coefficient in plain numbers may lack terms that were dropped."""

Counts = Float[np.ndarray, " n_patches_plus_1"]
"""Logarithms of the numbers of ways to mask 0, 1, 2, ... patches; ``-inf`` where there is none."""


@dataclasses.dataclass(frozen=True, eq=False)
class Splittings:
    """The masks that split all sets, counted by how many patches they mask.

    Attributes:
        n_patches: number of patches, at least 2.
        factors: pairs of the counts of one factor of the polynomial, and how often it occurs.
    """

    n_patches: int
    factors: tuple[tuple[Counts, int], ...]

    def log_uniform(self, n_masked: int) -> float:
        """Logarithm of the probability when ``n_masked`` patches are masked at random; ``-inf`` if it cannot happen."""
        everything = float(log_choose(self.n_patches, np.asarray(n_masked)))
        return min(0.0, self._log_coefficient(min(n_masked, self.n_patches - n_masked)) - everything)

    def log_bernoulli(self, ratio: float) -> float:
        """The same when each patch is masked with probability ``ratio``, given that both sides are non-empty."""
        t = float(np.log(ratio) - np.log1p(-ratio))
        both_sides = _log_total(_one_set(((1, self.n_patches),)), t)
        return min(0.0, sum(count * _log_total(ways, t) for ways, count in self.factors) - both_sides)

    def _log_coefficient(self, masked: int) -> float:
        """Logarithm of a coefficient of the product, for at most half of the patches; it reads the same backwards."""
        lowest = [_first_finite(ways) for ways, _ in self.factors]
        if None in lowest:
            return -np.inf
        least = sum(count * (first or 0) for first, (_, count) in zip(lowest, self.factors, strict=True))
        if masked <= least:
            ends = sum(count * ways[first] for first, (ways, count) in zip(lowest, self.factors, strict=True))
            return float(ends) if masked == least else -np.inf
        t = self._tilt(masked)
        totals = [_log_total(ways, t) for ways, _ in self.factors]
        weights = [
            (np.exp(ways + t * np.arange(len(ways)) - total), count)
            for (ways, count), total in zip(self.factors, totals, strict=True)
        ]
        in_bulk = float(_coefficient(weights, masked, _convolve, np.dot))
        if in_bulk >= _IN_THE_BULK:
            whole = sum(count * total for total, (_, count) in zip(totals, self.factors, strict=True))
            return float(whole - t * masked + np.log(in_bulk))
        possible = [(np.isfinite(ways), count) for ways, count in self.factors]
        if not _coefficient(possible, masked, _convolve_possible, np.dot):
            return -np.inf
        return float(_coefficient(self.factors, masked, _log_convolve, lambda a, b: _log_total(a + b, 0.0)))

    def _tilt(self, masked: int) -> float:
        """The ``t`` at which the mean number of masked patches is ``masked``; 0 or less."""

        def excess(t: float) -> float:
            return sum(count * _mean(ways, t) for ways, count in self.factors) - masked

        if excess(0.0) <= 0:
            return 0.0
        low = -1.0
        while excess(low) > 0:
            low *= 2
        root: Any = brentq(excess, low, 0.0, xtol=1e-9)
        return float(root)


def count_splittings(weights: Sequence[int], sets: Sequence[Parts]) -> Splittings | None:
    """Count the masks that have a part of every set on each side, and use both sides.

    Args:
        weights: number of patches in each part.
        sets: the sets of parts to split; a set of one part cannot be split.

    Returns:
        The counts, or ``None`` when sets share parts in groups too large to go through.
    """
    n_patches = int(sum(weights))
    if any(len(parts) == 1 for parts in sets):
        return Splittings(n_patches, ((np.array([-np.inf]), 1),))
    found: Counter[Groups] = Counter()
    together: dict[tuple[int, ...], int] = {}
    work = 0
    to_split = list(sets) or [frozenset(range(len(weights)))]
    free = np.ones(len(weights), dtype=bool)
    for group in entangled(to_split):
        distinct = sorted({to_split[i] for i in group}, key=sorted)
        parts = sorted(frozenset().union(*distinct))
        free[parts] = False
        if len(distinct) == 1:
            found[_sizes(weights[part] for part in parts)] += 1
            continue
        work += 2 ** len(parts)
        if 2 ** len(parts) > _ENUMERATED or work > _ENUMERATED_IN_ALL:
            return None
        counts = _all_sides(distinct, parts, weights)
        together[counts] = together.get(counts, 0) + 1
    factors = [(_one_set(sizes), count) for sizes, count in found.items()]
    with np.errstate(divide="ignore"):
        factors += [(np.log(np.asarray(counts, dtype=np.float64)), count) for counts, count in together.items()]
    factors += [(_binomial(*kind), 1) for kind in _sizes(np.asarray(weights)[free].tolist())]
    return Splittings(n_patches, tuple(factors))


def _sizes(weights: Iterable[int]) -> Groups:
    return tuple(sorted(Counter(weights).items()))


def _one_set(sizes: Groups) -> Counts:
    """A set of parts of these sizes: both sides occur."""
    ways = np.zeros(1)
    for kind in sizes:
        ways = _log_convolve(ways, _binomial(*kind))
    ways[[0, -1]] = -np.inf
    return ways


def _binomial(size: int, count: int) -> Counts:
    """So many parts of one size, each on either side."""
    ways = np.full(size * count + 1, -np.inf)
    ways[::size] = log_choose(count, np.arange(count + 1))
    return ways


def _all_sides(sets: Sequence[Parts], parts: Sequence[int], weights: Sequence[int]) -> tuple[int, ...]:
    """Numbers of ways to put the parts on sides so that every set is split, by number of masked patches."""
    place = {part: i for i, part in enumerate(parts)}
    sides = np.arange(2 ** len(parts), dtype=np.int64)
    good = np.ones(len(sides), dtype=bool)
    for members in sets:
        bits = sum(1 << place[part] for part in members)
        inside = sides & bits
        good &= (inside != 0) & (inside != bits)
    masked = np.zeros(1, dtype=np.int64)
    for part in parts:
        masked = np.concatenate([masked, masked + weights[part]])
    return tuple(np.bincount(masked[good], minlength=int(masked[-1]) + 1).tolist())


# ---------------------------------------------------------------------- polynomials


def _first_finite(ways: Counts) -> int | None:
    finite = np.flatnonzero(np.isfinite(ways))
    return int(finite[0]) if len(finite) else None


def _log_total(ways: Counts, t: float) -> float:
    """Logarithm of the polynomial at ``exp(t)``."""
    terms = ways + t * np.arange(len(ways))
    top = terms.max()
    return float(top + np.log(np.exp(terms - top).sum())) if np.isfinite(top) else -np.inf


def _mean(ways: Counts, t: float) -> float:
    """Mean number of masked patches when the ways to mask ``s`` patches weigh ``exp(t * s)``."""
    degrees = np.arange(len(ways))
    terms = ways + t * degrees
    weights = np.exp(terms - terms.max())
    return float(weights @ degrees / weights.sum())


def _coefficient(
    factors: Sequence[tuple[np.ndarray, int]],
    at: int,
    convolve: Callable[[np.ndarray, np.ndarray], np.ndarray],
    combine: Callable[[np.ndarray, np.ndarray], Any],
) -> Any:
    """One coefficient of a product of powers, in the numbers of ``convolve``; terms above it are dropped on the way."""
    pool: list[np.ndarray] = []
    for square, count in factors:
        while count:
            square = square[: at + 1]
            if count & 1:
                pool.append(square)
            count >>= 1
            if count:
                square = convolve(square, square)
    pool.sort(key=len)
    while len(pool) > 2:
        pool.append(convolve(pool.pop(0), pool.pop(0))[: at + 1])
        pool.sort(key=len)
    if len(pool) == 1:
        return pool[0][at]
    one, other = pool
    first, last = max(0, at + 1 - len(other)), min(at + 1, len(one))
    return combine(one[first:last], other[at - np.arange(first, last)])


def _convolve(one: Float[np.ndarray, " n"], other: Float[np.ndarray, " m"]) -> Float[np.ndarray, " k"]:
    """The distribution of a sum; the zeros around the bulk cost nothing."""
    found = np.zeros(len(one) + len(other) - 1)
    (begin, bulk), (other_begin, other_bulk) = _bulk(one), _bulk(other)
    if len(bulk) and len(other_bulk):
        kept = np.convolve(bulk, other_bulk)
        found[begin + other_begin : begin + other_begin + len(kept)] = kept
    return found


def _bulk(law: Float[np.ndarray, " n"]) -> tuple[int, Float[np.ndarray, " m"]]:
    """Beginning of the terms that are not negligible, and the terms up to the last of them."""
    places = np.flatnonzero(law >= _NEGLIGIBLE)
    if not len(places):
        return 0, places.astype(np.float64)
    inner = law[places[0] : places[-1] + 1]
    return int(places[0]), np.where(inner >= _NEGLIGIBLE, inner, 0.0)


def _convolve_possible(one: Bool[np.ndarray, " n"], other: Bool[np.ndarray, " m"]) -> Bool[np.ndarray, " k"]:
    """Degrees that a product has; counts far below 2**53 come out of the transform to much better than a half."""
    return fftconvolve(one.astype(np.float64), other.astype(np.float64)) > 0.5


def _log_convolve(one: Counts, other: Counts) -> Counts:
    terms, longer = sorted((one, other), key=lambda ways: int(np.isfinite(ways).sum()))
    found = np.full(len(one) + len(other) - 1, -np.inf)
    places: Int[np.ndarray, " n"] = np.flatnonzero(np.isfinite(terms))
    for place in places.tolist():
        reach = slice(place, place + len(longer))
        found[reach] = np.logaddexp(found[reach], terms[place] + longer)
    return found
