"""Power: how likely a design decides a claim, and the smallest designs that are likely enough to."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import scipy.stats
from jaxtyping import Float
from numpy.typing import ArrayLike

from hlvm._numbers import UsageError, positive
from hlvm.claims.claim import ABOVE_ZERO, BELOW_ZERO, Claim, Limits
from hlvm.claims.drawn import ClaimConfig, is_equivalence
from hlvm.claims.looks import Looks
from hlvm.scoring import Interval, over_generators

__all__ = ["DecisionPower", "decision_power", "power_table", "replicates_needed"]

_POINTS = 4096  # of the integral over the estimated standard deviation; good to six digits


@dataclasses.dataclass(frozen=True, kw_only=True)
class DecisionPower:
    """Chances of the outcomes of a claim.

    Attributes:
        holds: chance that it comes out as yes.
        fails: chance that it comes out as no.
        half_width: expected half-width of its interval.
    """

    holds: float
    fails: float
    half_width: float

    @property
    def decided(self) -> float:
        """Chance that it is not left open."""
        return self.holds + self.fails


def decision_power(
    limits: Limits,
    difference: float,
    *,
    var_within: float,
    var_between: float = 0.0,
    seeds: int,
    generators: int = 1,
    margin: float = 0.03,
    tail: float = 0.025,
) -> DecisionPower:
    """Chances of the outcomes of a claim of :func:`drawn_claims`, for normal differences with a known truth.

    Exact: the estimated standard deviation is integrated over its chi distribution. For the yes of a direction that is
    the noncentral t distribution, for two one-sided tests Owen's Q.

    Args:
        limits: above zero, below zero, or within plus and minus the margin.
        difference: the true one.
        var_within: variance between seeds of one generator, at least 0.
        var_between: variance between generators, at least 0. It plays no part with one generator, as nothing is then
            said of others.
        seeds: of each generator.
        generators: how many.
        margin: largest difference that counts as none; for directions, which a small difference refutes.
        tail: level of each one-sided test; 0.025 makes the interval a 95 % one.

    Raises:
        UsageError: a design without an interval, a variance below 0, or a number that is not finite.

    Example:
        >>> found = decision_power((0.0, float("inf")), 0.05, var_within=0.03**2, seeds=6)
        >>> round(found.holds, 2), round(found.fails, 2), round(found.half_width, 3)
        (0.9, 0.0, 0.03)
    """
    positive(seeds, "seeds")
    positive(generators, "generators")
    if generators * seeds < 2:
        raise UsageError("must be at least 2 for an interval over one generator, got 1", argument="seeds")
    for name, number in (("var_within", var_within), ("var_between", var_between), ("difference", abs(difference))):
        if not 0 <= number < math.inf:
            raise UsageError(f"must be finite{'' if name == 'difference' else ' and at least 0'}", argument=name)
    several = generators > 1
    units = generators if several else seeds
    error = math.sqrt((var_between + var_within / seeds if several else var_within) / units)
    error = max(error, 1e-12 * (abs(difference) + margin))  # no variance: a step, but for nothing
    spread = _spread(units - 1)
    half, against = (scipy.stats.t.isf(level, units - 1) * spread for level in (tail, tail / 2))
    # From here on, in standard errors.
    below: Callable[[Any], Float[np.ndarray, " points"]] = scipy.stats.norm.cdf
    if is_equivalence(limits):
        middle, width = difference / error, limits[1] / error
        holds = np.maximum(below(width - half - middle) - below(half - width - middle), 0.0)
        fails = below(middle - width - against) + below(-middle - width - against)
    else:
        middle, width = (difference if math.isfinite(limits[0]) else -difference) / error, margin / error
        holds = below(middle - half)
        fails = below(np.minimum(width - half, half) - middle)
    return DecisionPower(holds=float(holds.mean()), fails=float(fails.mean()), half_width=float(half.mean() * error))


def replicates_needed(claim: Claim, replicates: int, *, power: float = 0.8, most: int = 10_000) -> int | None:
    """Estimate how many independent replicates in all would decide a claim.

    Means and spreads as they were measured are taken for the truth, so this is a guide and no promise. The claim is
    decided where every score has this chance to hold, or one of them has it to fail.

    Args:
        claim: with 95 % Student intervals over replicates (seeds, generators, draws), and limits of what decides.
        replicates: of each interval, at least 2.
        power: chance of a decision that is enough, between 0 and 1.
        most: largest number to try.

    Returns:
        The number, ``None`` if ``most`` do not suffice.

    Raises:
        UsageError: a claim without limits, fewer than 2 replicates, or ``power`` out of range.

    Example:
        >>> from hlvm.claims import mean_claim
        >>> claim = mean_claim("a beats b", {"a − b": [0.05, -0.02, 0.06]})
        >>> claim.holds, replicates_needed(claim, 3)
        (None, 19)
    """
    if not claim.limits:
        raise UsageError(f"{claim.text!r} has no limits that decide", argument="claim")
    if replicates < 2:
        raise UsageError(f"must be at least 2, got {replicates}", argument="replicates")
    if not 0 < power < 1:
        raise UsageError(f"must be between 0 and 1, got {power}", argument="power")
    chances = [
        _chance_of(claim.scores[name], ends, claim.margins.get(name, 0.0), replicates)
        for name, ends in claim.limits.items()
    ]

    def enough(number: int) -> bool:
        found = [chance(seeds=number) for chance in chances]
        return min(of.holds for of in found) >= power or max(of.fails for of in found) >= power

    return _fewest(enough, 2, most)


def _chance_of(interval: Interval, limits: Limits, margin: float, replicates: int) -> Callable[..., DecisionPower]:
    """Chances of the outcomes for one score, with as many seeds as are asked for."""
    error = (interval.high - interval.low) / 2 / float(scipy.stats.t.isf(0.025, replicates - 1))
    low, high = limits
    if math.isfinite(low) and math.isfinite(high):
        shift, limits = (low + high) / 2, ((low - high) / 2, (high - low) / 2)
    else:
        shift, limits = (low, ABOVE_ZERO) if math.isfinite(low) else (high, BELOW_ZERO)
    return functools.partial(
        decision_power, limits, interval.value - shift, var_within=replicates * error**2, margin=margin
    )


def power_table(
    limits: Mapping[str, Limits],
    pilot: Mapping[str, ArrayLike | Sequence[ArrayLike]],
    config: ClaimConfig | None = None,
    *,
    seeds: int | None = None,
    generators: int | None = None,
    looks: Looks | None = None,
    power: float = 0.8,
    most: int = 1024,
) -> pd.DataFrame:
    """Tabulate how likely a planned design decides each claim, and the smallest designs that are likely enough to.

    The pilot's means and variances are taken for the truth. A pilot of few seeds knows its variances badly, so the
    numbers of seeds are a guide, and no promise. Every claim is planned at the level of the strictest step of Holm's
    procedure, which is cautious. With looks, these are chances at the last look, and some claims are decided before.

    Args:
        limits: name of a difference -> limits, as :func:`drawn_limits` gives them.
        pilot: name -> measured differences, shape (seeds,) or (generators, seeds); or those of a study that left claims
            open.
        config: margins and the rate of errors.
        seeds: planned, of each generator; as many as in the pilot if not given.
        generators: planned; as many as in the pilot if not given.
        looks: stages of the planned study.
        power: chance of a decision that is enough, between 0 and 1.
        most: largest number of seeds or generators to try.

    Returns:
        One row per claim: ``claim``, ``difference``, ``var_between``, ``var_within`` (both of the pilot),
        ``generators``, ``seeds`` (both planned), ``holds``, ``fails``, ``decided`` (chances), ``half_width``
        (expected), ``seeds_needed`` (of as many generators as planned) and ``generators_needed`` (of as many seeds as
        planned, at least 2 generators). Both are missing where ``most`` are too few; ``generators_needed`` and
        ``var_between`` also after a pilot of one generator, which says nothing of others.

    Raises:
        UsageError: a claim without a pilot, several generators planned after a pilot of one, ``power`` out of range, or
            a design without an interval.
        ValueError: a pilot of which no interval can be made.
    """
    config = config or ClaimConfig()
    if not 0 < power < 1:
        raise UsageError(f"must be between 0 and 1, got {power}", argument="power")
    if missing := [name for name in limits if name not in pilot]:
        raise UsageError(f"lacks {', '.join(missing)}", argument="pilot")
    tail = config.error / max(len(limits), 1)
    tail = looks.tail(tail) if looks else tail
    rows: list[dict[str, Any]] = []
    for name, ends in limits.items():
        found = over_generators(pilot[name])
        if found.var_between is None and (generators or 1) > 1:
            raise UsageError(
                f"must be 1, because a pilot of one generator says nothing about others, got {generators}: give a "
                "pilot of several",
                argument="generators",
            )
        planned = {"generators": generators or found.generators, "seeds": seeds or max(found.seeds)}
        truth = {"var_within": found.var_within or 0.0, "var_between": found.var_between or 0.0}
        chance = functools.partial(decision_power, ends, found.interval.value, **truth, margin=config.margin, tail=tail)
        outcome = chance(**planned)
        enough = functools.partial(_smallest, chance, planned, power=power, most=most)
        rows.append(
            {"claim": name, "difference": found.interval.value}
            | {"var_between": found.var_between, "var_within": found.var_within}
            | planned
            | {"holds": outcome.holds, "fails": outcome.fails, "decided": outcome.decided}
            | {"half_width": outcome.half_width, "seeds_needed": enough("seeds")}
            | {"generators_needed": None if found.var_between is None else enough("generators")}
        )
    counts = dict.fromkeys(("seeds_needed", "generators_needed"), "Int64")
    numbers = dict.fromkeys(("var_between", "var_within"), "float64")
    columns = ["claim", "difference", "var_between", "var_within", "generators", "seeds", "holds", "fails", "decided"]
    table = pd.DataFrame(rows, columns=[*columns, "half_width", "seeds_needed", "generators_needed"])
    return table.astype(counts | numbers)


def _smallest(
    chance: Callable[..., DecisionPower], planned: Mapping[str, int], which: str, *, power: float, most: int
) -> int | None:
    """The smallest number of seeds or generators that decides often enough, if more of them never decide less."""

    def decides(number: int) -> bool:
        return chance(**{**planned, which: number}).decided >= power

    # One generator is another design than several: its unit is the seed.
    return _fewest(decides, 2 if which == "generators" or planned["generators"] == 1 else 1, most)


def _fewest(enough: Callable[[int], bool], fewest: int, most: int) -> int | None:
    """The smallest number that is enough, if more are never too few; ``None`` if the largest is not."""
    too_few, found = fewest - 1, fewest
    while not enough(found):
        if found >= most:
            return None
        too_few, found = found, min(2 * found, most)
    while found - too_few > 1:
        middle = (too_few + found) // 2
        too_few, found = (too_few, middle) if enough(middle) else (middle, found)
    return found


@functools.lru_cache(maxsize=256)
def _spread(freedom: int) -> Float[np.ndarray, " points"]:
    """Ratios of the estimated to the true standard deviation, at equal steps of their distribution."""
    return np.sqrt(scipy.stats.chi2.ppf((np.arange(_POINTS) + 0.5) / _POINTS, freedom) / freedom)
