"""Controls: what a score would be if there were nothing to find, and what of it another array explains already.

A score means nothing alone. Besides chance, compare with an untrained encoder of the same shape (floor) and with an
input known to hold the latents (ceiling); both are :func:`hlvm.scoring.kernel_r2` of another array, and
:func:`hlvm.scoring.normalised_r2` puts the score between them. :func:`controlled_r2` does all of it in one call.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float
from numpy.typing import ArrayLike

from hlvm._numbers import aligned, first_labelled, positive
from hlvm.scoring.inputs import paired_matrices, random_streams
from hlvm.scoring.intervals import Interval
from hlvm.scoring.leakages import Leakage, leakage
from hlvm.scoring.multiplicity import count_exceeding
from hlvm.scoring.regression.config import RegressionConfig
from hlvm.scoring.regression.r2 import KernelR2, normalised_r2, paired_difference, scorable, sums_of_squares
from hlvm.scoring.regression.ridge import Problem
from hlvm.scoring.regression.scores import fit_kernel, kernel_r2
from hlvm.scoring.regression.splitting import Split, Standardiser
from hlvm.scoring.regression.threads import own_settings
from hlvm.scoring.row_groups import own_labels, permuted, row_groups

__all__ = [
    "ControlledScore",
    "PermutationNull",
    "controlled_r2",
    "permutation_null",
    "permutation_test",
]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class PermutationNull:
    """A score of latents whose rows were shuffled, beside that of the latents themselves.

    Attributes:
        observed: score of the latents as they are.
        null: score after each permutation, shape (n_permutations,).
        chance: mean of ``null``: what a representation without information scores; NaN if no permutation has a score.
        upper: 95 % quantile of ``null``.
        p_value: ``(1 + #{null ≥ observed}) / (1 + n_permutations)``, between ``1 / (1 + n_permutations)`` and 1. Scores
            that differ by rounding are equal. A permutation without a score (NaN) counts as one that is at least as
            large; without an observed score the p-value is NaN.
    """

    observed: float
    null: np.ndarray
    chance: float
    upper: float
    p_value: float

    @classmethod
    def of(cls, observed: float, null: np.ndarray) -> PermutationNull:
        """Summarise scores."""
        known = null[~np.isnan(null)]
        return cls(
            observed=observed,
            null=null,
            chance=float(known.mean()) if len(known) else math.nan,
            upper=float(np.quantile(known, 0.95)) if len(known) else math.nan,
            p_value=(1 + count_exceeding(null, observed)) / (1 + len(null)),
        )


@own_settings
def permutation_null(
    representation: ArrayLike,
    latents: ArrayLike,
    *,
    key: Any,
    n_permutations: int = 99,
    groups: ArrayLike | None = None,
    config: RegressionConfig | None = None,
) -> PermutationNull:
    """Kernel R² under the null hypothesis that representation and latents are independent.

    The rows of the latents are permuted over the training and test rows together, and bandwidth and ridge are chosen
    anew for each permutation, exactly as for the latents themselves, so the p-value is valid at any number of rows
    (rows must be exchangeable: independent samples, not a time series). The kernel matrices do not
    change under a permutation: all permutations are further right-hand sides of the same factorisations. Groups of
    rows change places as a whole, with groups of their size.

    Args:
        representation: features, shape (n, p) or (n,).
        latents: targets, shape (n, d) or (n,), same rows.
        key: a JAX key or an int; the split is that of :func:`hlvm.scoring.kernel_r2` with the same key.
        n_permutations: how many permutations, at least 1. The smallest p-value is ``1 / (1 + n_permutations)``.
        groups: a label per row, see :func:`hlvm.scoring.kernel_r2`; ``None`` to look for copies.
        config: sizes and grids; ``None`` for the defaults.

    Returns:
        The null scores and the p-value; ``observed`` equals ``kernel_r2(...).value`` with the same key.

    Raises:
        ValueError: an unfit array (see :func:`hlvm.scoring.kernel_r2`), ``n_permutations`` < 1, or all
            latents constant.
    """
    positive(n_permutations, "n_permutations")
    config = config or RegressionConfig()
    features, targets = paired_matrices("representation", representation, "latents", latents)
    streams = random_streams(key)
    split = config.draw_split(len(features), streams.split, row_groups(features, targets, groups))
    train_y, test_y, kept = _permuted(targets, split, n_permutations, streams.permutation)
    if not kept[: targets.shape[1]].any():
        raise ValueError("latents: expected at least one column that varies, got constants only")
    standardiser = Standardiser.fit(features[split.train])
    blocks = np.repeat(np.arange(n_permutations + 1), targets.shape[1])
    train_x, test_x = standardiser.apply(features[split.train]), standardiser.apply(features[split.test])
    selected = fit_kernel(Problem(train_x, test_x, train_y, blocks, split.train_groups), config=config)
    everything = np.ones((1, len(test_y)))
    sse, sst = (kept * sums[0] for sums in sums_of_squares(test_y - selected.predictions, test_y, everything))
    totals = np.bincount(blocks, weights=sst)
    # A permutation may move all variation of a rare event to one side; it then scores 0, like the mean.
    scores = np.where(totals > 0, 1 - np.bincount(blocks, weights=sse) / np.where(totals > 0, totals, 1.0), 0.0)
    return PermutationNull.of(float(scores[0]), scores[1:])


def permutation_test(
    score: Callable[[np.ndarray, np.ndarray], float],
    representation: ArrayLike,
    latents: ArrayLike,
    *,
    key: Any,
    n_permutations: int = 99,
    groups: ArrayLike | None = None,
) -> PermutationNull:
    """Any score under the null hypothesis that representation and latents are independent.

    Args:
        score: takes both arrays and returns a number, more being better, such as :func:`hlvm.scoring.mcc` or
            ``lambda a, b: cca(a, b).mean``. It is called ``n_permutations + 1`` times; for the kernel R²
            :func:`permutation_null` is far quicker.
        representation: shape (n, p) or (n,).
        latents: shape (n, d) or (n,), same rows, which are permuted; rows must be exchangeable.
        key: a JAX key or an int.
        n_permutations: how many, at least 1.
        groups: a label per row; groups change places as a whole, with groups of their size. ``None`` to look for
            copies, see :func:`hlvm.scoring.row_groups.row_groups`.

    Returns:
        The null scores and the p-value.

    Raises:
        ValueError: an unfit array (see :func:`hlvm.scoring.cca`), or ``n_permutations`` < 1.

    Example:
        >>> from hlvm.scoring import mcc
        >>> noise, z = np.random.default_rng(0).normal(size=(2, 100, 10))
        >>> found = permutation_test(mcc, noise, z, key=0)
        >>> bool(found.chance > 0.1), found.p_value > 0.05
        (True, True)
    """
    positive(n_permutations, "n_permutations")
    code, truth = paired_matrices("representation", representation, "latents", latents)
    rng = random_streams(key).permutation
    together = row_groups(code, truth, groups)
    orders = (permuted(together, len(truth), rng, least=n_permutations) for _ in range(n_permutations))
    null = [float(score(code, truth[order])) for order in orders]
    return PermutationNull.of(float(score(code, truth)), np.asarray(null))


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class ControlledScore:
    """A score between its controls; ``None`` for those whose array was not given.

    Attributes:
        score: R² of the latents given the representation.
        chance: its permutation null, with the p-value.
        floor: R² of the latents given the untrained encoder's code.
        ceiling: R² of the latents given the visible part, or the true content.
        above_floor: ``score − floor``, paired.
        normalised: place of the score between floor (0) and ceiling (1), paired.
        leakage: of the style, beyond what the latents explain.
    """

    score: KernelR2
    chance: PermutationNull
    floor: KernelR2 | None
    ceiling: KernelR2 | None
    above_floor: Interval | None
    normalised: Interval | None
    leakage: Leakage | None

    @property
    def table(self) -> pd.DataFrame:
        """One row per number: columns ``what``, ``value``, ``low``, ``high``, ``p_value``.

        ``low`` and ``high`` are the interval's ends; for chance ``high`` is the 95 % quantile of the null.
        """
        rows = [("score", *dataclasses.astuple(self.score.interval), self.chance.p_value)]
        rows.append(("chance", self.chance.chance, math.nan, self.chance.upper, math.nan))
        given = {
            "floor": None if self.floor is None else self.floor.interval,
            "ceiling": None if self.ceiling is None else self.ceiling.interval,
            "above the floor": self.above_floor,
            "normalised": self.normalised,
        }
        if self.leakage is not None:
            given["leakage: code more than latents"] = self.leakage.excess
            given["leakage: code beside latents"] = self.leakage.beyond
        rows += [(what, *dataclasses.astuple(of), math.nan) for what, of in given.items() if of is not None]
        return pd.DataFrame(rows, columns=["what", "value", "low", "high", "p_value"])


def controlled_r2(
    representation: ArrayLike,
    latents: ArrayLike,
    *,
    floor: ArrayLike | None = None,
    ceiling: ArrayLike | None = None,
    style: ArrayLike | None = None,
    key: Any,
    n_permutations: int = 99,
    groups: ArrayLike | None = None,
    config: RegressionConfig | None = None,
) -> ControlledScore:
    """Kernel R² with every control in one call, all on the same split and test rows.

    Args:
        representation: shape (n, p) or (n,).
        latents: shape (n, d) or (n,), same rows.
        floor: code of the untrained encoder of the same shape, shape (n, p).
        ceiling: an input known to hold the latents, shape (n, v): the visible part, or, when the latents are style, the
            true content.
        style: latents that the representation must not hold beyond what ``latents`` tell, shape (n, e) or (n,).
        key: a JAX key or an int.
        n_permutations: of the permutation null, at least 1.
        groups: a label per row, see :func:`hlvm.scoring.kernel_r2`; ``None`` to look for copies.
        config: sizes and grids; ``None`` for the defaults.

    Returns:
        The score with the controls that the given arrays allow.

    Raises:
        ValueError: an unfit array (see :func:`hlvm.scoring.kernel_r2`), ``n_permutations`` < 1, or all latents
            constant.

    Example:
        >>> z = np.random.default_rng(0).normal(size=(300, 2))
        >>> found = controlled_r2(np.tanh(z), z, floor=z[:, :1], ceiling=z, key=0)
        >>> found.chance.p_value, found.floor.value < 0.6 < found.score.value, found.normalised.low > 0.8
        (0.01, True, True)
    """
    like = first_labelled(representation, latents)
    floor, ceiling, style, groups = (
        aligned("representation", like, name, values)
        for name, values in (("floor", floor), ("ceiling", ceiling), ("style", style), ("groups", groups))
    )
    code, truth = paired_matrices("representation", representation, "latents", latents)
    groups = own_labels(row_groups(code, truth, groups), len(code))
    chance = permutation_null(code, truth, key=key, n_permutations=n_permutations, groups=groups, config=config)
    score_of = partial(kernel_r2, latents=truth, key=key, groups=groups, config=config)
    score = score_of(code)
    low = None if floor is None else score_of(floor)
    high = None if ceiling is None else score_of(ceiling)
    above_floor = normalised = None
    if low is not None:
        above_floor = paired_difference(score, low, key=key)
        if high is not None:
            normalised = normalised_r2(score, floor=low, ceiling=high, key=key)
    return ControlledScore(
        score=score,
        chance=chance,
        floor=low,
        ceiling=high,
        above_floor=above_floor,
        normalised=normalised,
        leakage=None if style is None else leakage(code, truth, style, key=key, groups=groups, config=config),
    )


def _permuted(
    targets: Float[np.ndarray, "n d"], split: Split, n_permutations: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Standardised training and test targets, as they are and after each permutation, side by side."""
    used = np.concatenate([split.train, split.test])
    together = None if split.groups is None else split.groups[used]
    orders = [used, *(used[permuted(together, len(used), rng, least=n_permutations)] for _ in range(n_permutations))]
    stacked = np.concatenate([targets[order] for order in orders], axis=1)
    n_train = len(split.train)
    standardiser = Standardiser.fit(stacked[:n_train])
    train, test = standardiser.apply(stacked[:n_train]), standardiser.apply(stacked[n_train:])
    return train, test, scorable(standardiser.constant, test)
