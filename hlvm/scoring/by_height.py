"""Every latent × score × control as tidy records, beside what the theory predicts for it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Mapping, Sequence
from functools import partial
from typing import Any, Literal

import numpy as np
import pandas as pd
from jaxtyping import Float, Int
from numpy.typing import ArrayLike

from hlvm._numbers import aligned, as_numbers, first_labelled
from hlvm.encoders import wrap
from hlvm.encoders.wrapping import is_encoder
from hlvm.scoring.correlation.canonical import cca_many
from hlvm.scoring.inputs import matrix, paired_matrices, random_streams
from hlvm.scoring.intervals import Interval
from hlvm.scoring.regression.config import RegressionConfig
from hlvm.scoring.regression.r2 import KernelR2, normalised_r2, paired_difference, r2_over_seeds
from hlvm.scoring.regression.scores import kernel_r2_many, linear_r2_many, mlp_r2
from hlvm.scoring.row_groups import check_groups, own_labels, permuted, row_groups

__all__ = ["SCORES", "score_by_height"]

SCORES = ("kernel_r2", "linear_r2", "mlp_r2", "cca")
"""The scores that :func:`score_by_height` knows; ``"cca"`` is the mean held-out canonical correlation."""


def score_by_height(
    representations: Mapping[str, Any],
    latents: Mapping[str, ArrayLike],
    *,
    heights: Mapping[str, int],
    inputs: ArrayLike | None = None,
    predicted: Mapping[str, bool | float] | None = None,
    of: Literal["noise", "value"] | None = None,
    floors: Mapping[str, Any] | None = None,
    ceiling: ArrayLike | None = None,
    chance: bool = True,
    ensembles: Mapping[str, Collection[str]] | None = None,
    scores: Collection[str] = ("kernel_r2", "linear_r2", "cca"),
    key: Any,
    groups: ArrayLike | None = None,
    config: RegressionConfig | None = None,
) -> pd.DataFrame:
    """Score every latent given every fit's representation and its controls.

    All regressions share one split, so differences between rows are paired. Canonical correlations have their own: they
    are found on the even rows and measured on the odd ones, and the other way round, whatever the key.

    Args:
        representations: fit -> its code, shape (n, p) or (n,); one entry per fit of an ensemble. Or fit -> an encoder,
            anything that :func:`hlvm.encoders.wrap` takes and that is ready, which encodes ``inputs``.
        latents: name -> what enters at each latent, its noise, or, on purpose, its value; shape (n, dim) or (n,), same
            rows. A value holds the latent's ancestors, and scores as far as these are in the code.
        heights: latent -> height in the graph, for every latent.
        inputs: what encoders among the representations encode, same rows, in the units that they expect.
        predicted: latent -> what the theory says, such as membership in the shared information (0 or 1) or its
            probability under random masks; ``None`` leaves the column out. Membership is about what enters.
        of: which of the two ``latents`` are, ``"noise"`` or ``"value"``; a column of the table. It is needed with
            ``predicted``, so that membership does not stand beside values unseen.
        floors: fit -> code of the same encoder before training, or that encoder, for some fits or all; an array that
            several fits share is scored once. Encoders that can be re-initialised have a floor without being named.
        ceiling: an input known to hold the latents, such as the visible part; shape (n, v).
        chance: also score each code with its rows shuffled.
        ensembles: name -> at least 2 fits that differ by their training seed alone. Each gets rows of its own, with the
            mean R² over these fits and its interval (:func:`hlvm.scoring.r2_over_seeds`).
        scores: which of :data:`SCORES`.
        key: a JAX key or an int.
        groups: a label per row, see :func:`hlvm.scoring.kernel_r2`; ``None`` to look for copies.
        config: sizes and grids of the regressions.

    Returns:
        One row per fit, latent, score and control, with columns ``fit``, ``latent``, ``height``, ``dim``,
        ``of``, ``predicted``, ``score``, ``control``, ``value``, ``low``, ``high``. ``control`` is ``"none"`` for the
        code itself, else ``"floor"``, ``"ceiling"``, ``"chance"``, and for ``"kernel_r2"`` also ``"above_floor"``
        (:func:`hlvm.scoring.paired_difference` of code and floor) and, with both a floor and a ceiling,
        ``"normalised"`` (:func:`hlvm.scoring.normalised_r2`). Where a control was not given its rows are missing. Rows
        of ensembles have its name as ``fit``, and no canonical correlations, differences or normalised scores.

    Raises:
        ValueError: no representation or latent, a latent without a height or prediction, a floor or an ensemble of an
            unknown fit, an ensemble of fewer than 2 fits or named as a fit, an unknown score, an unfit array (see
            :func:`hlvm.scoring.kernel_r2`), an encoder without ``inputs``, or one that fails.

    Example:
        >>> import numpy as np
        >>> z = np.random.default_rng(0).normal(size=(200, 2))
        >>> table = score_by_height({"seed 0": z[:, :1]}, {"a": z[:, 0], "b": z[:, 1]}, heights={"a": 2, "b": 1}, key=0)
        >>> of_code = table.query("score == 'kernel_r2' and control == 'none'").set_index("latent")
        >>> (of_code["value"] > 0.9).to_dict()
        {'a': True, 'b': False}
    """
    if of not in (None, "noise", "value") or (of is None and predicted is not None):
        raise ValueError(
            f'of: expected "noise" for what enters at the latents, which membership is about, or "value" for values, '
            f"which hold their ancestors; got {of!r}"
        )
    _check(representations, latents, heights, predicted, floors or {}, ensembles or {}, scores)
    representations, floors = _encoded(representations, floors or {}, inputs)
    like = first_labelled(*representations.values(), *latents.values())
    ordered = partial(aligned, "the first frame", like)
    representations = {name: ordered(name, values) for name, values in representations.items()}
    floors = {name: ordered(f"floor of {name}", values) for name, values in floors.items()}
    ceiling, groups = ordered("ceiling", ceiling), ordered("groups", groups)
    arrays = {name: matrix(name, ordered(name, values), truth=True) for name, values in latents.items()}
    groups = _groups_of_all(next(iter(representations.values())), arrays, groups)

    def about(fit: str, name: str) -> dict[str, Any]:
        column = {} if of is None else {"of": of}
        column |= {} if predicted is None else {"predicted": float(predicted[name])}
        return {"fit": fit, "latent": name, "height": heights[name], "dim": arrays[name].shape[1]} | column

    shared: dict[str, dict[str, dict[str, KernelR2 | Interval]]] = {}
    if ceiling is not None:
        shared["ceiling"] = _all_scores(ceiling, arrays, scores, key, groups, config)
    rows: list[dict[str, Any]] = []
    of_floors: dict[int, dict[str, dict[str, KernelR2 | Interval]]] = {}
    of_fits: dict[str, dict[str, dict[str, dict[str, KernelR2 | Interval]]]] = {}
    for fit, code in representations.items():
        found = of_fits[fit] = {"none": _all_scores(code, arrays, scores, key, groups, config)}
        if floors and fit in floors:
            floor = floors[fit]
            if id(floor) not in of_floors:
                of_floors[id(floor)] = _all_scores(floor, arrays, scores, key, groups, config)
            found["floor"] = of_floors[id(floor)]
        found.update(shared)
        if chance:
            found["chance"] = _all_scores(_shuffled_rows(fit, code, key, groups), arrays, scores, key, groups, config)
        for name, score in itertools.product(arrays, scores):
            by_control = {control: results[score][name] for control, results in found.items()}
            rows += [about(fit, name) | _columns(score, control, result) for control, result in by_control.items()]
            compared = _compared(by_control, key) if score == "kernel_r2" else {}
            rows += [about(fit, name) | _columns(score, control, result) for control, result in compared.items()]
    for ensemble, fits in (ensembles or {}).items():
        together = [of_fits[fit] for fit in fits]
        controls = [control for control in together[0] if all(control in one for one in together)]
        for name, score, control in itertools.product(arrays, scores, controls):
            of_all = [one[control][score][name] for one in together]
            regressions = [result for result in of_all if isinstance(result, KernelR2)]
            if regressions and control != "ceiling":
                mean = _over_seeds(regressions, key)
                rows.append(about(ensemble, name) | _columns(score, control, mean))
    return pd.DataFrame(rows)


def _encoded(
    representations: Mapping[str, Any], floors: Mapping[str, Any], inputs: ArrayLike | None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Codes in the place of encoders, and floors of those that can be re-initialised."""
    codes, low = dict(representations), dict(floors)
    encoders = {name: wrap(each, name=name) for name, each in codes.items() if is_encoder(each)}
    for name, encoder in encoders.items():
        if name not in low and encoder.untrained is not None:
            low[name] = encoder.reinitialised(0)
    below = {name: wrap(each, name=f"floor of {name}") for name, each in low.items() if is_encoder(each)}
    if inputs is None and (encoders or below):
        raise ValueError(f"inputs: expected what the encoder {next(iter((*encoders, *below)))!r} encodes, got None")
    if encoders or below:
        rows = as_numbers("inputs", inputs)
        codes |= {name: encoder(rows, data="inputs") for name, encoder in encoders.items()}
        low |= {name: encoder(rows, data="inputs") for name, encoder in below.items()}
    return codes, low


def _groups_of_all(
    representation: ArrayLike, latents: Mapping[str, ArrayLike], groups: ArrayLike | None
) -> Int[np.ndarray, " n"]:
    """Find the groups of rows once, so that all scores of a table share their split."""
    code = matrix("representation", representation)
    arrays = [paired_matrices("representation", code, name, values, truth=True)[1] for name, values in latents.items()]
    return own_labels(row_groups(code, np.concatenate(arrays, axis=1), groups), len(code))


def _shuffled_rows(name: str, representation: ArrayLike, key: Any, groups: np.ndarray) -> Float[np.ndarray, "n p"]:
    """The representation with its rows, or groups of rows, in another order, which follows from the key."""
    rows = matrix(name, representation)
    return rows[permuted(check_groups(groups, len(rows)), len(rows), random_streams(key).permutation)]


def _all_scores(
    code: ArrayLike,
    latents: Mapping[str, ArrayLike],
    scores: Collection[str],
    key: Any,
    groups: ArrayLike,
    config: RegressionConfig | None,
) -> dict[str, dict[str, KernelR2 | Interval]]:
    """Score -> latent -> result."""
    found: dict[str, dict[str, KernelR2 | Interval]] = {}
    how: dict[str, Any] = {"key": key, "groups": groups, "config": config}
    if "kernel_r2" in scores:
        found["kernel_r2"] = {**kernel_r2_many(code, latents, **how)}
    if "linear_r2" in scores:
        found["linear_r2"] = {**linear_r2_many(code, latents, **how)}
    if "mlp_r2" in scores:
        found["mlp_r2"] = {name: mlp_r2(code, values, **how) for name, values in latents.items()}
    if "cca" in scores:
        pairs = cca_many(code, latents, groups=groups)
        found["cca"] = {name: Interval(value=pair.mean, low=pair.low, high=pair.high) for name, pair in pairs.items()}
    return found


def _over_seeds(scores: Sequence[KernelR2], key: Any) -> Interval:
    """Mean over fits; NaN for a latent that cannot be scored."""
    if any(math.isnan(score.value) for score in scores):
        return Interval(value=math.nan, low=math.nan, high=math.nan)
    return r2_over_seeds(scores, key=key)


def _compared(of: Mapping[str, KernelR2 | Interval], key: Any) -> dict[str, Interval]:
    """The score against its floor, and between floor and ceiling."""
    score, floor, ceiling = (of.get(name) for name in ("none", "floor", "ceiling"))
    found: dict[str, Interval] = {}
    if isinstance(score, KernelR2) and isinstance(floor, KernelR2):
        found["above_floor"] = paired_difference(score, floor, key=key, n_boot=500)
        if isinstance(ceiling, KernelR2):
            found["normalised"] = normalised_r2(score, floor=floor, ceiling=ceiling, key=key, n_boot=500)
    return found


def _columns(score: str, control: str, result: KernelR2 | Interval) -> dict[str, Any]:
    return {"score": score, "control": control, "value": result.value, "low": result.low, "high": result.high}


def _check(
    representations: Mapping[str, Any],
    latents: Mapping[str, ArrayLike],
    heights: Mapping[str, int],
    predicted: Mapping[str, bool | float] | None,
    floors: Mapping[str, Any],
    ensembles: Mapping[str, Collection[str]],
    scores: Collection[str],
) -> None:
    if not representations or not latents:
        raise ValueError("expected at least one representation and one latent, got none")
    for what, known in (("heights", heights), ("predicted", predicted)):
        missing = [] if known is None else [name for name in latents if name not in known]
        if missing:
            raise ValueError(f"{what}: expected an entry for every latent, got none for {', '.join(missing)}")
    strangers = [name for name in floors if name not in representations]
    if strangers:
        raise ValueError(f"floors: expected names of representations, got {', '.join(strangers)}")
    for name, fits in ensembles.items():
        known_fits = set(fits) <= set(representations)
        if len(set(fits)) < 2 or len(set(fits)) != len(fits) or not known_fits or name in representations:
            raise ValueError(
                "ensembles: expected a new name and at least 2 different representations, "
                f"got {name}: {', '.join(fits)}"
            )
    unknown = [name for name in scores if name not in SCORES]
    if unknown or not scores:
        raise ValueError(f"scores: expected some of {', '.join(SCORES)}, got {', '.join(unknown) or 'none'}")
