"""Looks at a study in stages: how strict each must be so that all together err no more often than one."""

from __future__ import annotations

import dataclasses
import functools
import math
from typing import Any

import numpy as np
import scipy.stats
from jaxtyping import Bool, Float

from hlvm._numbers import UsageError, positive

__all__ = ["Looks"]

_POINTS = 2**12  # of the integral; the chance is then good to about 0.3 %


@dataclasses.dataclass(frozen=True, kw_only=True)
class Looks:
    """The stages at which claims are looked at, fixed before the first.

    Whoever looks after 4 seeds, and after 8 if nothing is decided, errs more often than one who looks once. So every
    look is a Student's test at one level, strict enough that the chance of an error at *any* look is the one asked for
    (repeated confidence intervals with Pocock's constant level). The level is computed for few seeds with unknown
    variance, as normal approximations are too lax there.

    This rule is the default for three reasons. All intervals of all looks cover together, so it does not matter which
    claims are open, who stops, and why; an ordinary interval at stopping covers too rarely, and Stein's rule needs one
    width for large and small differences. Most differences between masks are large, and a constant level decides them
    at the first look, where an O'Brien–Fleming boundary with 3 degrees of freedom decides nothing. And what is reported
    is the interval of the look that decided, at the level of that look: its coverage is at least the nominal one. The
    mean at stopping is further from zero than the truth on average, as for any rule that stops early.

    The level is exact where every look adds independent units: seeds of one generator, or generators with equally many
    seeds. Where seeds join the same several generators, looks share an error in equal parts (Bonferroni), which is
    cautious.

    Args:
        seeds: of each generator, at every look, or one number for all looks.
        generators: at every look, or one number for all.

    Raises:
        UsageError: no looks, other numbers of looks, a look without an interval, or a look that adds nothing.

    References:
        :cite:t:`jennison1990interim`.

    Example:
        >>> looks = Looks(seeds=(4, 8, 16))
        >>> round(looks.tail(0.025), 4), 0.025 / 3 < looks.tail(0.025) < 0.025
        (0.0096, True)
    """

    seeds: int | tuple[int, ...] = (4, 8, 16)
    generators: int | tuple[int, ...] = 1

    def __post_init__(self) -> None:
        lengths = {len(of) for of in (self.seeds, self.generators) if isinstance(of, tuple)}
        if len(lengths) != 1 or 0 in lengths:
            raise UsageError(
                f"needs seeds or generators at every look, equally many of both if both are given, got "
                f"seeds={self.seeds}, generators={self.generators}",
                of="Looks",
            )
        for generators, seeds in self.designs:
            positive(generators, "generators", of="Looks")
            positive(seeds, "seeds", of="Looks")
            if generators * seeds < 2:
                raise UsageError("needs at least 2 seeds of a single generator at every look", of="Looks")
        for (generators, seeds), (more, longer) in zip(self.designs, self.designs[1:], strict=False):
            if more < generators or longer < seeds or more * longer == generators * seeds:
                raise UsageError(f"must add seeds or generators at every look, got {self.designs}", of="Looks")

    @property
    def designs(self) -> tuple[tuple[int, int], ...]:
        """Generators and seeds of each, at every look."""
        (count,) = {len(of) for of in (self.seeds, self.generators) if isinstance(of, tuple)}
        of_each = [of if isinstance(of, tuple) else (of,) * count for of in (self.generators, self.seeds)]
        return tuple(zip(*of_each, strict=True))

    @property
    def units(self) -> tuple[int, ...] | None:
        """Independent units at every look; ``None`` where looks add seeds to several generators."""
        generators, seeds = zip(*self.designs, strict=True)
        if set(generators) == {1}:
            return seeds
        return generators if len(set(seeds)) == 1 and generators[0] > 1 else None

    def tail(self, error: float) -> float:
        """The one-sided level of every look at which the chance of an error at any of them is ``error``.

        Args:
            error: between 0 and 0.5.
        """
        return _tail(self.units, len(self.designs), error)

    def chance(self, tail: float) -> float:
        """The chance that a one-sided test at level ``tail`` errs at any look; the inverse of :meth:`tail`.

        Args:
            tail: between 0 and 0.5.
        """
        return _chance(self.units, len(self.designs), tail)


@functools.lru_cache(maxsize=4096)
def _tail(units: tuple[int, ...] | None, looks: int, error: float) -> float:
    if units is None or looks == 1:
        return error / looks

    tail = error / looks
    for _ in range(6):  # the chance is nearly a multiple of the level, so each step gains a digit
        tail *= error / _chance(units, looks, tail)
    return tail


def _chance(units: tuple[int, ...] | None, looks: int, tail: float) -> float:
    """The chance of any error, as (number of looks) × (chance at one) × (mean of 1 / looks that err, given an error).

    This form is precise however small the chance, since every point of the integral is an error.
    """
    if units is None or looks == 1:
        return min(looks * tail, 1.0)
    shares = [float((1 / _errors(units, look, tail).sum(axis=1)).mean()) for look in range(looks)]
    return tail * math.fsum(shares)


def _errors(units: tuple[int, ...], look: int, tail: float) -> Bool[np.ndarray, "points looks"]:
    """Tell whether each look errs, over studies in which one look does.

    Normal numbers up to that look are a direction and a length, which are independent. The angle to the axis of equal
    numbers is Student's statistic, drawn from its tail; the rest of the direction is uniform.
    """
    blocks = np.diff(units, prepend=0)
    points = _points(2 * len(units) + 2)
    normal, chi, (in_tail, length) = np.split(points.T, [len(units), 2 * len(units)])
    means = scipy.stats.norm.ppf(normal.T) / np.sqrt(blocks)
    # A block of one unit has no squares within.
    squares = np.where(blocks > 1, scipy.stats.chi2.ppf(chi.T, np.maximum(blocks - 1, 1)), 0.0)

    n, upto = units[look], look + 1
    statistic = scipy.stats.t.isf(tail * in_tail, n - 1)
    angle = np.arctan2(math.sqrt(n - 1), statistic)
    radius = np.sqrt(scipy.stats.chi2.ppf(length, n))
    middle = means[:, :upto] @ blocks[:upto] / n
    away = means[:, :upto] - middle[:, None]
    norm = np.sqrt(squares[:, :upto].sum(1) + away**2 @ blocks[:upto])
    scale = (radius * np.sin(angle) / norm)[:, None]
    means[:, :upto] = scale * away + (radius * np.cos(angle) / math.sqrt(n))[:, None]
    squares[:, :upto] *= scale**2

    counts = np.asarray(units)
    sums = np.cumsum(means * blocks, axis=1)
    around = np.cumsum(squares + blocks * means**2, axis=1) - sums**2 / counts
    student = sums / np.sqrt(counts) / np.sqrt(around / (counts - 1))
    errs = student > scipy.stats.t.isf(tail, counts - 1)
    errs[:, look] = True  # but for rounding
    return errs


@functools.lru_cache(maxsize=8)
def _points(dims: int) -> Float[np.ndarray, "points dims"]:
    """Sobol's points, always the same, off the edges."""
    sobol: Any = scipy.stats.qmc.Sobol(dims, scramble=False)
    return sobol.random(_POINTS) + 0.5 / _POINTS
