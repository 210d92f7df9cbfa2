"""Assertions about scores of two arrays, and about claims."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from numpy.typing import ArrayLike

from hlvm.claims import Claim
from hlvm.scoring import (
    BlockVerdict,
    Leakage,
    RankTest,
    RegressionConfig,
    Verdict,
    block_verdict,
    cca_rank,
    containment_verdict,
)
from hlvm.scoring.leakages import sure_leakage_many
from hlvm.testing.messages import (
    claim_failure,
    claim_outcome,
    leakage_failure,
    outcome,
    rank_failure,
    verdict_failure,
)
from hlvm.testing.recording import record

__all__ = [
    "assert_claim",
    "assert_contains",
    "assert_identified",
    "assert_no_leakage",
    "assert_not_identified",
    "assert_rank",
]


def assert_identified(
    representation: ArrayLike,
    latents: ArrayLike,
    *,
    key: Any,
    others: Mapping[str, ArrayLike] | ArrayLike | None = None,
    threshold: float = 0.9,
    floor: ArrayLike | None = None,
    ceiling: ArrayLike | None = None,
    groups: ArrayLike | None = None,
    config: RegressionConfig | None = None,
) -> BlockVerdict:
    """Assert that the block of latents and the representation predict each other on held-out rows.

    A share of ``1 - threshold`` of the representation's variance may still come from elsewhere: give the latents that
    it must not hold as ``others``.

    Args:
        representation: shape (n, p) or (n,).
        latents: the true latents, shape (n, d) or (n,), same rows.
        key: a JAX key or an int, for the split and the bootstrap.
        others: latents that the representation must not hold beyond what ``latents`` tell, name -> shape (n, e), or one
            array.
        threshold: R² that the lower end of each interval must reach, strictly between 0 and 1.
        floor: code of the untrained encoder, shape (n, p); its score is shown when the assertion fails.
        ceiling: an input known to hold the latents, such as the visible part; its score is shown likewise.
        groups: a label per row for rows that belong together, see :func:`hlvm.scoring.kernel_r2`.
        config: sizes and grids of the regressions; ``None`` for the defaults.

    Returns:
        The verdict of :func:`hlvm.scoring.block_verdict`, which is "identified".

    Raises:
        AssertionError: the verdict is "not identified", "collapsed" or "inconclusive"; the message holds the scores,
            their intervals, chance, floor and ceiling, and what would make the assertion pass.
        ValueError: an unfit array (see :func:`hlvm.scoring.kernel_r2`).

    Example:
        >>> import numpy as np
        >>> z = np.random.default_rng(0).normal(size=(400, 2))
        >>> assert_identified(2 * z[:, ::-1], z, key=0).verdict.value
        'identified'
    """
    __tracebackhide__ = True
    found = block_verdict(
        representation, latents, others=others, key=key, threshold=threshold, groups=groups, config=config
    )
    return _checked(found, Verdict.IDENTIFIED, representation, latents, floor, ceiling, key, config)


def assert_contains(
    representation: ArrayLike,
    latents: ArrayLike,
    *,
    key: Any,
    threshold: float = 0.9,
    floor: ArrayLike | None = None,
    ceiling: ArrayLike | None = None,
    groups: ArrayLike | None = None,
    config: RegressionConfig | None = None,
) -> BlockVerdict:
    """Assert that the latents can be predicted from the representation, whatever else that holds.

    This is all that a wide code can be asked.

    Args:
        representation: shape (n, p) or (n,).
        latents: the true latents, shape (n, d) or (n,), same rows.
        key: a JAX key or an int.
        threshold: R² that the lower end of the interval must reach, strictly between 0 and 1.
        floor: as for :func:`assert_identified`; an untrained wide encoder often passes, too.
        ceiling: as for :func:`assert_identified`.
        groups: a label per row for rows that belong together, see :func:`hlvm.scoring.kernel_r2`.
        config: sizes and grids of the regression; ``None`` for the defaults.

    Returns:
        The verdict of :func:`hlvm.scoring.containment_verdict`, which is "identified".

    Raises:
        AssertionError: as :func:`assert_identified`.
        ValueError: an unfit array (see :func:`hlvm.scoring.kernel_r2`).
    """
    __tracebackhide__ = True
    found = containment_verdict(representation, latents, key=key, threshold=threshold, groups=groups, config=config)
    return _checked(found, Verdict.IDENTIFIED, representation, latents, floor, ceiling, key, config)


def assert_not_identified(
    representation: ArrayLike,
    latents: ArrayLike,
    *,
    key: Any,
    threshold: float = 0.9,
    two_way: bool = True,
    floor: ArrayLike | None = None,
    ceiling: ArrayLike | None = None,
    groups: ArrayLike | None = None,
    config: RegressionConfig | None = None,
) -> BlockVerdict:
    """Assert that a regression from the representation to the block of latents, or back, surely falls short.

    Args:
        representation: shape (n, p) or (n,).
        latents: the true latents, shape (n, d) or (n,), same rows.
        key: a JAX key or an int, for the split and the bootstrap.
        threshold: R² that the upper end of an interval must stay below, strictly between 0 and 1.
        two_way: ``True``: refute that the representation is an invertible function of the latents; falling short in
            either direction does. ``False``: refute that it contains them.
        floor: as for :func:`assert_identified`.
        ceiling: as for :func:`assert_identified`. If the ceiling is below the threshold, too, the regressor cannot
            read the latents off anything with so few rows, and the assertion says nothing about the representation.
        groups: a label per row for rows that belong together, see :func:`hlvm.scoring.kernel_r2`.
        config: sizes and grids of the regressions; ``None`` for the defaults.

    Returns:
        The verdict, which is "not identified" or "collapsed".

    Raises:
        AssertionError: the verdict is "identified" or "inconclusive"; the message is as in :func:`assert_identified`.
        ValueError: an unfit array (see :func:`hlvm.scoring.kernel_r2`).

    Example:
        >>> import numpy as np
        >>> z, noise = np.random.default_rng(0).normal(size=(2, 400, 2))
        >>> assert_not_identified(noise, z, key=0).verdict.value
        'not identified'
    """
    __tracebackhide__ = True
    judge = block_verdict if two_way else containment_verdict
    found = judge(representation, latents, key=key, threshold=threshold, groups=groups, config=config)
    return _checked(found, Verdict.NOT_IDENTIFIED, representation, latents, floor, ceiling, key, config)


def assert_no_leakage(
    representation: ArrayLike,
    content: ArrayLike,
    style: ArrayLike,
    *,
    key: Any,
    tolerance: float = 0.05,
    groups: ArrayLike | None = None,
    config: RegressionConfig | None = None,
) -> Leakage:
    """Assert that the representation surely adds less than a tolerance to what the content tells about the style.

    Args:
        representation: shape (n, p) or (n,).
        content: the latents that the representation may hold, shape (n, d) or (n,), same rows.
        style: the latents that it must not hold beyond what the content tells about them, shape (n, e) or (n,).
        key: a JAX key or an int.
        tolerance: R² that counts as none, above 0.
        groups: a label per row for rows that belong together, see :func:`hlvm.scoring.kernel_r2`.
        config: sizes and grids of the regressions; ``None`` for the defaults.

    Returns:
        The scores of :func:`hlvm.scoring.leakage`, both of whose differences are surely below the tolerance.

    Raises:
        AssertionError: the upper end of either difference reaches the tolerance; the message holds all five intervals,
            and says whether that is sure or exact codes show as much with these rows.
        ValueError: an unfit array (see :func:`hlvm.scoring.kernel_r2`), or a tolerance that is not above 0.
    """
    __tracebackhide__ = True
    if not tolerance > 0:
        raise ValueError(f"tolerance: expected a number above 0, got {tolerance}")
    found = sure_leakage_many(
        representation, content, {"style": style}, key=key, tolerance=tolerance, groups=groups, config=config
    )["style"]
    record(f"leakage beyond the content: R² {found.beyond}, tolerance {tolerance:g}")
    if not max(found.excess.high, found.beyond.high) < tolerance:
        raise AssertionError(leakage_failure(found, tolerance))
    return found


def assert_rank(
    a: ArrayLike,
    b: ArrayLike,
    expected: int,
    *,
    alpha: float = 0.01,
    method: str = "auto",
    key: Any = None,
    n_permutations: int = 999,
) -> RankTest:
    """Assert how many canonical correlations of two arrays a test finds to be above 0.

    Args:
        a: shape (n, p) or (n,).
        b: shape (n, q) or (n,), same rows.
        expected: the rank.
        alpha: level of each test, strictly between 0 and 1: a correct expectation fails about this often by an extra
            dimension.
        method: ``"auto"``, ``"bartlett"`` or ``"permutation"``, see :func:`hlvm.scoring.cca_rank`.
        key: a JAX key or an int, for permutations.
        n_permutations: how many.

    Returns:
        The test, whose rank is the expected one.

    Raises:
        AssertionError: another rank; the message holds correlations and p-values.
        ValueError: as :func:`hlvm.scoring.cca_rank`, or a negative rank.
    """
    __tracebackhide__ = True
    if expected < 0:
        raise ValueError(f"expected: a rank is at least 0, got {expected}")
    found = cca_rank(a, b, alpha=alpha, method=method, key=key, n_permutations=n_permutations)
    record(f"rank {found.rank}, expected {expected}")
    if found.rank != expected:
        raise AssertionError(rank_failure(found, expected))
    return found


def assert_claim(claim: Claim) -> Claim:
    """Assert that a claim was measured to hold.

    Args:
        claim: from a builder of :mod:`hlvm.claims`, such as a difference between training seeds.

    Returns:
        The claim.

    Raises:
        AssertionError: it does not hold, or is open; the message holds its intervals beside their limits.

    Example:
        >>> from hlvm.claims import mean_claim
        >>> assert_claim(mean_claim("a beats b", {"a − b": [0.2, 0.3, 0.25]})).holds
        True
    """
    __tracebackhide__ = True
    scores = ", ".join(f"{name} = {interval}" for name, interval in claim.measured)
    record(f"{claim_outcome(claim)}: {claim.text}: {scores}")
    if not claim.holds:
        raise AssertionError(claim_failure(claim))
    return claim


def _checked(
    found: BlockVerdict,
    wanted: Verdict,
    representation: ArrayLike,
    latents: ArrayLike,
    floor: ArrayLike | None,
    ceiling: ArrayLike | None,
    key: Any,
    config: RegressionConfig | None,
) -> BlockVerdict:
    __tracebackhide__ = True
    scores = ", ".join(f"R²({name}) = {score.interval}" for name, score in found.directions.items())
    record(f"{outcome(found, found.verdict)}: {scores}")
    if found.verdict != wanted and not (wanted.refutes and found.verdict.refutes):
        given = {"floor": floor, "ceiling": ceiling}
        controls = {name: values for name, values in given.items() if values is not None}
        raise AssertionError(verdict_failure(found, wanted, representation, latents, controls, key, config))
    return found
