"""Claims drawn from a prediction: a direction where arms should differ, equivalence where they should not.

All claims of a study are one family. Each is decided by its own interval, whose level Holm's procedure picks, so that
the chance of any wrong outcome in the family is bounded, however the claims hang together.
"""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import scipy.special
from numpy.typing import ArrayLike

from hlvm._numbers import UsageError
from hlvm.claims.claim import ABOVE_ZERO, BELOW_ZERO, Claim, Limits, interval_claim
from hlvm.claims.looks import Looks
from hlvm.claims.stances import yes
from hlvm.scoring import Interval, RandomEffects, over_generators

__all__ = ["ClaimConfig", "drawn_claims", "drawn_limits", "is_equivalence"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClaimConfig:
    """Margins and the rate of errors of claims that are drawn from a prediction.

    Attributes:
        apart: a predicted difference beyond this draws a direction, any other draws equivalence; at least 0, in units
            of the prediction, such as shares.
        margin: the largest measured difference that counts as none; above 0, in units of the score, such as R².
        error: chance, at most, that any claim of the family is wrongly said to hold, and likewise that any is wrongly
            said not to; between 0 and 0.5. For a single claim, 0.025 makes the interval a 95 % one.

    Raises:
        UsageError: a number out of range.
    """

    apart: float = 0.05
    margin: float = 0.03
    error: float = 0.025

    def __post_init__(self) -> None:
        for name, fine, wanted in (
            ("apart", 0 <= self.apart < math.inf, "at least 0"),
            ("margin", 0 < self.margin < math.inf, "above 0"),
            ("error", 0 < self.error < 0.5, "between 0 and 0.5, such as 0.025"),
        ):
            if not fine:
                raise UsageError(f"must be {wanted}, got {getattr(self, name)}", argument=name, of="ClaimConfig")


def drawn_limits(predicted: Mapping[str, float | None], config: ClaimConfig | None = None) -> dict[str, Limits]:
    """Limits that the prediction draws for measured differences, before anything is measured.

    Args:
        predicted: name of a difference -> its predicted value; ``None`` where the theory says nothing.
        config: margins.

    Returns:
        Name -> above zero, below zero, or within the margin; names of which nothing is said are left out.

    Raises:
        UsageError: a prediction that is not finite.

    Example:
        >>> drawn_limits({"a − b": 0.4, "a − c": -0.2, "b − c": 0.01, "d − c": None})
        {'a − b': (0.0, inf), 'a − c': (-inf, 0.0), 'b − c': (-0.03, 0.03)}
    """
    config = config or ClaimConfig()
    limits: dict[str, Limits] = {}
    for name, difference in predicted.items():
        if difference is None:
            continue
        if not math.isfinite(difference):
            raise UsageError(f"must be finite, or None where nothing is said, got {difference}", argument=name)
        if abs(difference) <= config.apart:
            limits[name] = (-config.margin, config.margin)
        else:
            limits[name] = ABOVE_ZERO if difference > 0 else BELOW_ZERO
    return limits


def drawn_claims(
    predicted: Mapping[str, float | None],
    differences: Mapping[str, ArrayLike | Sequence[ArrayLike]],
    config: ClaimConfig | None = None,
    *,
    texts: Mapping[str, str] | None = None,
    looks: Looks | None = None,
    before: Mapping[str, Claim] | None = None,
) -> dict[str, Claim]:
    """Decide what a prediction draws of every difference, as one family.

    A claim of a direction holds if its interval lies beyond zero, and does not hold if the difference is surely smaller
    than the margin or points the other way. A claim of equivalence holds if the interval lies within the margin (two
    one-sided tests), and does not hold if it lies beyond.

    The tests that claims hold are one family and the tests that they do not are another. Holm's procedure tests each at
    ``config.error``. It needs nothing to be independent, so arms may share in many differences. A claim is shown with
    the interval that decided it: at the level of the last step of its family, or the wider of both if it is open. Each
    interval by itself covers with at least ``1 − 2 error``.

    In a study in stages, give the same ``looks`` at every stage, and what came out of the stage before. Claims that are
    decided stay so, with their intervals, and make those that are open easier to decide. Only these need further seeds;
    all error rates are those of a single stage.

    Args:
        predicted: name of a difference -> its predicted value; ``None`` where the theory says nothing, which draws no
            claim.
        differences: name -> measured differences, paired by seed, shape (seeds,) or (generators, seeds) as for
            :func:`hlvm.scoring.over_generators`.
        config: margins and the rate of errors.
        texts: name -> the claim in words; the others get plain ones.
        looks: the stages of the study, fixed before the first; ``None`` for a single one.
        before: the claims as the stage before left them, from the same prediction and config.

    Returns:
        Name -> claim, in the order of ``predicted``.

    Raises:
        UsageError: an open claim without measured differences, a prediction that is not finite, numbers of seeds at
            which no look was planned, or claims of another family.
        ValueError: differences that no interval can be made of.

    References:
        :cite:t:`holm1979multiple`.

    Example:
        >>> measured = {"a − b": [0.31, 0.28, 0.35, 0.30], "a − c": [0.01, -0.01, 0.0, 0.005]}
        >>> claims = drawn_claims({"a − b": 0.4, "a − c": 0.0}, measured)
        >>> [claim.holds for claim in claims.values()]
        [True, True]
    """
    config = config or ClaimConfig()
    limits = drawn_limits(predicted, config)
    claims = _taken_over(before or {}, limits)
    open_names = [name for name in limits if claims.get(name) is None or claims[name].holds is None]
    if missing := [name for name in open_names if name not in differences]:
        raise UsageError(f"lack {', '.join(missing)}, which the prediction covers", argument="differences")
    effects = {name: over_generators(differences[name]) for name in open_names}
    if looks:
        _check_planned(effects, looks)
    tests = {name: _tests(effects[name], limits[name], config.margin) for name in open_names}
    of_each = Counter(claim.holds for claim in claims.values())
    per_look = looks.tail if looks else float
    (hold, hold_tail), (fail, fail_tail) = (
        _step_down({name: tests[name][side] for name in tests}, len(limits) - of_each[outcome], config.error, per_look)
        for side, outcome in ((0, True), (1, False))
    )
    for name in open_names:
        # A test against two limits has two tails.
        against = fail_tail / (2 if is_equivalence(limits[name]) else 1)
        tail = hold_tail if name in hold else against if name in fail else min(hold_tail, against)
        claims[name] = interval_claim(
            (texts or {}).get(name, _worded(name, limits[name])),
            {name: _interval(effects[name], tail)},
            limits[name],
            margin=config.margin,
            theory=yes(f"predicted {predicted[name]:+.3f}"),
            reason=f"interval at {100 * (1 - 2 * tail):.4g} %, one of {len(limits)} claims",
        )
    return {name: claims[name] for name in limits}


def _taken_over(before: Mapping[str, Claim], limits: Mapping[str, Limits]) -> dict[str, Claim]:
    if before and {name: dict(claim.limits) for name, claim in before.items()} != {
        name: {name: ends} for name, ends in limits.items()
    }:
        raise UsageError(
            f"must be the claims of the same prediction and margins, got {', '.join(before)} for {', '.join(limits)}",
            argument="before",
        )
    return dict(before)


def _check_planned(effects: Mapping[str, RandomEffects], looks: Looks) -> None:
    for name, found in effects.items():
        if len(set(found.seeds)) > 1 or (found.generators, found.seeds[0]) not in looks.designs:
            raise UsageError(
                f"has {found.generators} generators of {' and '.join(map(str, sorted(set(found.seeds))))} seeds, where "
                f"looks are planned at (generators, seeds) of {looks.designs}: give just the seeds of one of them",
                argument=name,
            )


def is_equivalence(limits: Limits) -> bool:
    """Tell limits of equivalence from those of a direction."""
    return math.isfinite(limits[0]) and math.isfinite(limits[1])


def _worded(name: str, limits: Limits) -> str:
    if is_equivalence(limits):
        return f"{name}: smaller than {limits[1]:g} either way"
    return f"{name}: {'above' if limits == ABOVE_ZERO else 'below'} zero"


def _tests(found: RandomEffects, limits: Limits, margin: float) -> tuple[float, float]:
    """Values of p: of the test that the claim holds, and of the test that it does not."""

    def above(bound: float) -> float:
        return _tail(found.interval.value - bound, found)

    def below(bound: float) -> float:
        return _tail(bound - found.interval.value, found)

    low, high = limits
    if is_equivalence(limits):
        return max(above(low), below(high)), min(2 * min(below(low), above(high)), 1.0)
    return (above(low), below(low + margin)) if math.isfinite(low) else (below(high), above(high - margin))


def _tail(beyond: float, found: RandomEffects) -> float:
    """Chance that Student's statistic is as large as a mean that lies beyond a bound by so much."""
    if found.standard_error == 0:
        return 0.0 if beyond > 0 else 1.0
    return float(scipy.special.stdtr(found.units - 1, -beyond / found.standard_error))


def _interval(found: RandomEffects, tail: float) -> Interval:
    half = found.standard_error * -float(scipy.special.stdtrit(found.units - 1, tail))
    mean = found.interval.value
    return Interval(value=mean, low=mean - half, high=mean + half)


def _step_down(
    p_values: Mapping[str, float], claims: int, error: float, per_look: Callable[[float], float]
) -> tuple[set[str], float]:
    """Find the tests that Holm's procedure rejects, and the level of its last step, at which it rejects just these.

    Args:
        p_values: of the claims that are open.
        claims: how many are not rejected yet; more than the open ones, as claims decided the other way count.
        error: of the family.
        per_look: turns a level into that of one look.
    """
    rejected: set[str] = set()
    while True:
        tail = per_look(error / max(claims - len(rejected), 1))
        found = {name for name, p in p_values.items() if p <= tail}
        if found == rejected:
            return rejected, tail
        rejected = found
