"""Assertions about identifiability, for test suites.

A claim has three outcomes, and an assertion passes on one of them only: an inconclusive result fails both
:func:`assert_identified` and :func:`assert_not_identified`, because a test that cannot tell must not be green.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from numpy.typing import ArrayLike

from hlvm.scoring import (
    BlockVerdict,
    RegressionConfig,
    Verdict,
    block_verdict,
    containment_verdict,
    permutation_null,
)
from hlvm.scoring.verdict import REVERSE

__all__ = ["assert_identified", "assert_not_identified"]

_CHANCE_PERMUTATIONS = 19  # for the mean and the scale of chance in a message; no p-value hangs on it
_CHANCE_TRAIN = 400  # chance hardly depends on the number of rows, the time to a failure message does


def assert_identified(
    representation: ArrayLike,
    latents: ArrayLike,
    *,
    key: Any,
    threshold: float = 0.9,
    two_way: bool = True,
    config: RegressionConfig | None = None,
) -> BlockVerdict:
    """Assert that the representation identifies the block of latents.

    Args:
        representation: shape (n, p) or (n,).
        latents: the true latents, shape (n, d) or (n,), same rows.
        key: a JAX key or an int, for the split and the bootstrap.
        threshold: R² that the lower end of each interval must reach, strictly between 0 and 1.
        two_way: ``True``: the representation is an invertible function of the latents
            (:func:`hlvm.scoring.block_verdict`). ``False``: it contains them and may hold more
            (:func:`hlvm.scoring.containment_verdict`).
        config: sizes and grids of the regressions; ``None`` for the defaults.

    Returns:
        The verdict, which is "identified".

    Raises:
        AssertionError: the verdict is "not identified" or "inconclusive"; the message holds the scores, their
            intervals, chance, and what would make the assertion pass.
        ValueError: an unfit array (see :func:`hlvm.scoring.kernel_r2`).

    Example:
        >>> import numpy as np
        >>> z = np.random.default_rng(0).normal(size=(400, 2))
        >>> assert_identified(2 * z[:, ::-1], z, key=0).verdict.value
        'identified'
    """
    __tracebackhide__ = True
    return _assert_verdict(Verdict.IDENTIFIED, representation, latents, key, threshold, two_way, config)


def assert_not_identified(
    representation: ArrayLike,
    latents: ArrayLike,
    *,
    key: Any,
    threshold: float = 0.9,
    two_way: bool = True,
    config: RegressionConfig | None = None,
) -> BlockVerdict:
    """Assert that the representation does not identify the block of latents.

    Args:
        representation: shape (n, p) or (n,).
        latents: the true latents, shape (n, d) or (n,), same rows.
        key: a JAX key or an int, for the split and the bootstrap.
        threshold: R² that the upper end of an interval must stay below, strictly between 0 and 1.
        two_way: ``True``: refute that the representation is an invertible function of the latents; falling short in
            either direction does. ``False``: refute that it contains them.
        config: sizes and grids of the regressions; ``None`` for the defaults.

    Returns:
        The verdict, which is "not identified".

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
    return _assert_verdict(Verdict.NOT_IDENTIFIED, representation, latents, key, threshold, two_way, config)


def _assert_verdict(
    wanted: Verdict,
    representation: ArrayLike,
    latents: ArrayLike,
    key: Any,
    threshold: float,
    two_way: bool,
    config: RegressionConfig | None,
) -> BlockVerdict:
    __tracebackhide__ = True
    judge = block_verdict if two_way else containment_verdict
    found = judge(representation, latents, key=key, threshold=threshold, config=config)
    if found.verdict != wanted:
        raise AssertionError(_failure_message(found, wanted, representation, latents, key, config))
    return found


def _failure_message(
    found: BlockVerdict,
    wanted: Verdict,
    representation: ArrayLike,
    latents: ArrayLike,
    key: Any,
    config: RegressionConfig | None,
) -> str:
    """Verdict, table of scores, and the way to green."""
    small = dataclasses.replace(config or RegressionConfig(), max_train=_CHANCE_TRAIN)
    claim = "two-way" if found.reverse is not None else "containment"
    lines = [
        f"expected the latents to be {wanted}, found {found.verdict} ({claim}, threshold {found.threshold:g})",
        f"because {found.reason}",
        "",
        f"{'direction':<10} {'R²':>7}  {f'{found.forward.level:.0%} interval':>18}  {'threshold':>9}  {'chance':>7}",
    ]
    for name, score in found.directions.items():
        pair = (latents, representation) if name == REVERSE else (representation, latents)
        chance = "–" if score.value != score.value else f"{_chance(*pair, key, small):.3f}"
        interval = f"[{score.low:.3f}, {score.high:.3f}]"
        lines.append(f"{name:<10} {score.value:>7.3f}  {interval:>18}  {found.threshold:>9g}  {chance:>7}")
    lines += [
        f"(ẑ: representation, c: latents; {found.forward.n_train} training and {found.forward.n_test} test rows)",
        "",
        f"to pass: {_way_to_pass(found, wanted)}",
    ]
    return "\n".join(lines)


def _chance(features: ArrayLike, targets: ArrayLike, key: Any, config: RegressionConfig) -> float:
    return permutation_null(features, targets, key=key, n_permutations=_CHANCE_PERMUTATIONS, config=config).chance


def _way_to_pass(found: BlockVerdict, wanted: Verdict) -> str:
    ends = "both intervals" if found.reverse is not None else "the interval"
    if wanted is Verdict.IDENTIFIED:
        rule = f"the lower end of {ends} must reach {found.threshold:g} and no single column may be lost"
    else:
        which = "either interval" if found.reverse is not None else "the interval"
        rule = f"the upper end of {which} must fall below {found.threshold:g}, or a single column be lost"
    if found.verdict is Verdict.INCONCLUSIVE:
        return f"{rule}; the result is inconclusive, more rows are needed to tell"
    return rule
