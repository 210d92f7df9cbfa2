"""Scores of every latent at once, side by side with their controls."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float, Int
from numpy.typing import ArrayLike

from hlvm._numbers import aligned, first_labelled
from hlvm.scoring.cca import CCA, cca_many
from hlvm.scoring.config import RegressionConfig
from hlvm.scoring.inputs import matrix, paired_matrices, random_streams
from hlvm.scoring.intervals import Interval
from hlvm.scoring.r2 import KernelR2, paired_difference
from hlvm.scoring.regression import kernel_r2_many
from hlvm.scoring.row_groups import check_groups, own_labels, permuted, row_groups

__all__ = ["LatentScores", "chance_scores", "groups_of_all", "score_latents", "score_table", "shuffled_rows"]


@dataclasses.dataclass(frozen=True, eq=False)
class LatentScores:
    """How well each latent can be read off one representation.

    Attributes:
        r2: latent -> held-out kernel R².
        cca: latent -> held-out canonical correlations.
    """

    r2: dict[str, KernelR2]
    cca: dict[str, CCA]


def score_latents(
    representation: ArrayLike,
    latents: Mapping[str, ArrayLike],
    *,
    key: Any,
    groups: ArrayLike | None = None,
    config: RegressionConfig | None = None,
) -> LatentScores:
    """Kernel R² and canonical correlations of every latent with one representation.

    Args:
        representation: shape (n, p).
        latents: name -> values, shape (n, dim), same rows.
        key: a JAX key or an int; representations scored with the same key and rows share the split, so that their
            differences are paired.
        groups: a label per row; rows that belong together (copies, sequences, views of one scene) are never on both
            sides of the split. ``None`` to look for copies, see :func:`hlvm.scoring.row_groups.row_groups`.
        config: sizes and grids of the regressions.

    Returns:
        The scores.

    Raises:
        ValueError: an unfit array, see :func:`hlvm.scoring.kernel_r2`.
    """
    representation, latents, groups = in_one_order(representation, latents, groups)
    how = {"key": key, "groups": groups_of_all(representation, latents, groups)}
    return LatentScores(
        r2=kernel_r2_many(representation, latents, config=config, **how),
        cca=cca_many(representation, latents, groups=how["groups"]),
    )


def in_one_order(
    representation: ArrayLike, latents: Mapping[str, ArrayLike], groups: ArrayLike | None
) -> tuple[Any, dict[str, Any], Any]:
    """Frames among the arrays in the row order of the first one."""
    like = first_labelled(representation, *latents.values())
    return (
        aligned("the first frame", like, "representation", representation),
        {name: aligned("the first frame", like, name, values) for name, values in latents.items()},
        aligned("the first frame", like, "groups", groups),
    )


def groups_of_all(
    representation: ArrayLike, latents: Mapping[str, ArrayLike], groups: ArrayLike | None
) -> Int[np.ndarray, " n"]:
    """Find the groups of rows once, so that all scores of a table share their split."""
    code = matrix("representation", representation)
    arrays = [paired_matrices("representation", code, name, values, truth=True)[1] for name, values in latents.items()]
    return own_labels(row_groups(code, np.concatenate(arrays, axis=1), groups), len(code))


def chance_scores(
    representation: ArrayLike,
    latents: Mapping[str, ArrayLike],
    *,
    key: Any,
    groups: ArrayLike | None = None,
    config: RegressionConfig | None = None,
) -> LatentScores:
    """The same scores after one shuffle of the representation's rows: what they give when there is nothing to find.

    Args:
        representation: shape (n, p).
        latents: name -> values, shape (n, dim).
        key: as for :func:`score_latents`; the shuffle follows from it.
        groups: a label per row; rows that belong together (copies, sequences, views of one scene) are never on both
            sides of the split. ``None`` to look for copies, see :func:`hlvm.scoring.row_groups.row_groups`.
        config: sizes and grids of the regressions.

    Returns:
        The scores by chance; R² near 0 or slightly below.
    """
    representation, latents, groups = in_one_order(representation, latents, groups)
    groups = groups_of_all(representation, latents, groups)
    code = shuffled_rows("representation", representation, key, groups)
    return score_latents(code, latents, key=key, groups=groups, config=config)


def shuffled_rows(name: str, representation: ArrayLike, key: Any, groups: np.ndarray) -> Float[np.ndarray, "n p"]:
    """The representation with its rows, or groups of rows, in another order, which follows from the key."""
    rows = matrix(name, representation)
    return rows[permuted(check_groups(groups, len(rows)), len(rows), random_streams(key).permutation)]


def score_table(
    scores: LatentScores, *, key: Any, heights: Mapping[str, int] | None = None, **controls: LatentScores
) -> pd.DataFrame:
    """One row per latent: its scores beside those of the controls.

    Args:
        scores: scores of the representation in question.
        key: for the bootstrap of paired differences.
        heights: latent -> height in the graph, if the table shall have it.
        **controls: scores of other representations by name, such as ``floor`` (untrained encoder), ``ceiling`` (the
            visible part itself) and ``chance``; same key, same rows, same latents.

    Returns:
        Columns ``latent``, ``height``, ``dim``; ``r2``, ``r2_low``, ``r2_high`` and ``cca``, ``cca_low``, ``cca_high``
        (mean held-out canonical correlation); the same six as ``NAME_r2`` and so on for each control; with a floor
        also ``above_floor``, ``above_floor_low``, ``above_floor_high``: the paired difference of R² on the same test
        rows.

    Raises:
        ValueError: a control scored on other rows.
    """
    return pd.DataFrame([_row(name, scores, key, heights, controls) for name in scores.r2])


def _row(
    name: str, scores: LatentScores, key: Any, heights: Mapping[str, int] | None, controls: Mapping[str, LatentScores]
) -> dict[str, Any]:
    row: dict[str, Any] = {"latent": name}
    if heights is not None:
        row["height"] = heights[name]
    row["dim"] = scores.r2[name].targets.shape[1]
    row |= _both(scores, name)
    for control, of in controls.items():
        row |= {f"{control}_{column}": value for column, value in _both(of, name).items()}
    if "floor" in controls:
        difference = paired_difference(scores.r2[name], controls["floor"].r2[name], key=key, n_boot=500)
        row |= _interval_columns("above_floor", difference)
    return row


def _both(scores: LatentScores, name: str) -> dict[str, float]:
    found = scores.cca[name]
    return _interval_columns("r2", scores.r2[name].interval) | _interval_columns(
        "cca", Interval(found.low, found.mean, found.high)
    )


def _interval_columns(name: str, interval: Interval) -> dict[str, float]:
    return {name: interval.value, f"{name}_low": interval.low, f"{name}_high": interval.high}
