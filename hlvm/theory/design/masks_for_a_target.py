"""Advice on masks for a target: which masks ask most for some latents, and how much of these can be known under them.

Demand and availability (section 7 of ``docs/theory.md``) pull apart: a mask that hides much asks for what is high up,
and leaves little to know it from. So the answer is a ranking by demand, and the candidates that no other one beats in
both.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool

from hlvm._numbers import UsageError, positive, whole_number
from hlvm.graph import LatentGraph
from hlvm.masking import BernoulliMask, FixedMask, GridMask, MaskSampler
from hlvm.masking.descriptions import STRATEGIES
from hlvm.theory.design.candidates import default_candidates
from hlvm.theory.design.mask_design import DesignedMask, checked_target, design_mask
from hlvm.theory.design.target_demand import TargetDemand, TargetQuestions
from hlvm.theory.exact import oracle_of
from hlvm.theory.random_masks.averages import Asked, Draws, named

__all__ = ["Advice", "advise", "target_of"]

_SECONDS = 5.0
"""Time for the search for a designed mask."""

_STEP = 2
"""Lattices that are tried by default keep every so manyth patch in both directions."""

_ERRORS = 2.0
"""Standard errors of a difference up to which two candidates are not told apart."""

_ROUNDING = 1e-9


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Advice:
    """Candidates for a target, the one that asks most for it first.

    Attributes:
        target: names of the latents, in the order of the graph.
        height: the height that was asked for; ``None`` if latents were named.
        strategies: name -> what draws the masks, in the order of the table.
        table: one row per candidate. Columns:

            * ``strategy``, its name; ``kind``, as in files and on the command line, or the name of its class, or
              "designed"; ``unit``, what is masked together; ``masked_share``, mean share of the cells that is masked;
            * ``demand``: what knowing the target takes off the loss per masked cell, in units of a cell's variance;
            * ``availability``: R² of the best prediction of the target's values from what is visible, mean over its
              latents; ``noise_availability``: that of the noise that enters at them alone. Latents or noises that never
              change are left out; NaN if there are no others;
            * ``demand_error``, ``availability_error``, ``noise_availability_error``: standard errors over the masks and
              strings that were drawn, and of an estimated oracle's regression; 0 where the number is exact;
            * ``below_best``: by how much the demand is below that of the first row; ``below_best_error``, the standard
              error of this difference, from the same strings;
            * ``tie``: whether that is at most two standard errors, so that the candidate is not told apart from the
              first, which is among its ties;
            * ``front``: whether no other candidate has more demand and at least the same availability, or more
              availability and at least the same demand, by the numbers as they are;
            * ``how``: "exact", "linearised" or "estimated"; ``n_masks``: masks drawn, 0 if all were gone through.
        no_design: why there is no designed mask among the candidates of the default; "" if there is one, or if the
            candidates were given.
    """

    target: tuple[str, ...]
    height: int | None
    strategies: dict[str, MaskSampler]
    table: pd.DataFrame
    no_design: str

    @property
    def best(self) -> MaskSampler:
        """The strategy that asks most for the target, ready for training."""
        return next(iter(self.strategies.values()))

    @property
    def front(self) -> pd.DataFrame:
        """The rows that no other candidate beats in both demand and availability, most demand first."""
        return self.table.loc[self.table["front"]]

    @property
    def ties(self) -> tuple[str, ...]:
        """Names of the candidates whose demand is not told apart from that of the best, the best among them."""
        return tuple(self.table.loc[self.table["tie"], "strategy"])

    @property
    def subject(self) -> str:
        """The target in words."""
        if self.height is not None:
            return f"height {self.height}"
        return ", ".join(self.target[:5]) + (f" and {len(self.target) - 5} more" if len(self.target) > 5 else "")

    def explain(self) -> str:
        """The answer in a few sentences."""
        first: Any = self.table.iloc[0]
        others = self.ties[1:]
        words = [_asked(self.subject, first)]
        if others:
            listed = "; ".join(others[:3]) + (f"; and {len(others) - 3} more" if len(others) > 3 else "")
            words.append(f"Not told apart from it (within two standard errors of the difference): {listed}.")
        elif len(self.table) > 1:
            second: Any = self.table.iloc[1]
            by = _with_error(second["below_best"], second["below_best_error"])
            words.append(f"Next comes {second['strategy']}, which asks for {by} less.")
        elsewhere: Any = self.front.iloc[-1]  # the highest availability there is
        if elsewhere["strategy"] != first["strategy"]:
            demand = _with_error(elsewhere["demand"], elsewhere["demand_error"])
            known = _with_error(elsewhere["availability"], elsewhere["availability_error"])
            words.append(f"It can be known best under {elsewhere['strategy']} (R² {known}), which asks for {demand}.")
        if self.no_design:
            words.append(f"No designed mask: {self.no_design}.")
        exact = sum(self.table["how"] == "exact")
        others = " or ".join(sorted(set(self.table["how"]) - {"exact"}))
        if exact in (0, len(self.table)):
            words.append(f"All numbers are {others or 'exact'}.")
        else:
            words.append(f"Numbers of {exact} of the {len(self.table)} candidates are exact, the others {others}.")
        return " ".join(words)


def _asked(subject: str, row: Any) -> str:
    demand = _with_error(row["demand"], row["demand_error"])
    known = _with_error(row["availability"], row["availability_error"])
    if row["demand"] <= _ERRORS * row["demand_error"] + _ROUNDING:
        return f"No candidate is seen to ask for {subject}: the most is {demand}, of {row['strategy']} (R² {known})."
    return (
        f"{row['strategy']} (ratio {row['masked_share']:.3g}) asks most for {subject}: knowing it takes {demand} of a "
        f"cell's variance off the loss per masked cell; R² of its values from what is visible is {known}."
    )


def _with_error(value: float, error: float) -> str:
    return f"{value:.4f} ± {error:.1g}" if error else f"{value:.4f}"


def advise(
    model: Any,
    target: int | str | Collection[str],
    strategies: Iterable[MaskSampler] | Mapping[str, MaskSampler] | None = None,
    *,
    key: Any = 0,
    n_masks: int = 512,
    rows: int = 1,
) -> Advice:
    """Rank masking strategies by how much their masks ask for a target, with how much of it can be known under them.

    All candidates are asked about the same strings, and masks are drawn with the same key, so that differences between
    candidates are less noisy than each of them; their standard errors are those of the paired differences.

    Args:
        model: a model with an exact oracle, or an oracle of any kind (see :func:`hlvm.theory.oracle_of`).
        target: a height of latents, or names of latents, whose demands add up. Names need a forest.
        strategies: the candidates: a list, or name -> strategy. ``None``: of the candidates of
            :func:`~hlvm.theory.design_strategy` those that mask a number of patches at random, rectangles, and lattices
            that keep every 2nd patch; beside them the smallest and the largest mask that share exactly the target and
            its ancestors, where there are such masks.
        key: a JAX key or an int.
        n_masks: masks drawn for each candidate, at least 2; lists of at most so many are gone through.
        rows: strings drawn for each mask, where the oracle draws them. More masks are better than more strings.

    Returns:
        The candidates, most demand first.

    Raises:
        ValueError: a model without an oracle, a target that the graph does not have, or whose values never change; no
            candidates, or one that does not fit the graph; or numbers out of range.

    References:
        ``docs/theory.md``, section 7.

    Example:
        >>> from hlvm.masking import FixedMask
        >>> from hlvm.theory import GaussianOracle
        >>> graph = LatentGraph.from_edges([("z", "x1"), ("z", "x2"), ("z", "x3")], dims=1)
        >>> ones = {name: [[1.0]] for name in graph.observed}
        >>> noises = dict.fromkeys(graph.nodes, 1)
        >>> oracle = GaussianOracle.from_parameters(graph, coefficients=ones, noise_scales=noises)
        >>> advice = advise(oracle, "z", {"one": FixedMask(masked=("x1",)), "two": FixedMask(masked=("x1", "x2"))})
        >>> advice.table[["strategy", "demand", "availability"]].round(4).values.tolist()
        [['one', 0.3333, 0.6667], ['two', 0.25, 0.5]]
    """
    oracle = oracle_of(model)
    graph = oracle.graph
    wanted, height = target_of(graph, target)
    positive(rows, "rows")
    draws = Draws.checked(key, n_masks)
    candidates = {} if strategies is None else named(graph, strategies, "strategies")
    no_design = ""
    if strategies is None:
        designed, no_design = _designed(graph, wanted)
        candidates = named(graph, [s for s in default_candidates(graph) if _is_tried(s)], "strategies")
        candidates |= named(graph, designed, "strategies") if designed else {}
    ask = TargetQuestions(oracle, wanted, height, draws, rows)
    found = {name: ask.about(of) for name, of in candidates.items()}
    if all(math.isnan(each.availability.value) for each in found.values()):
        raise UsageError("never changes in this model: ask for other latents", argument="target")
    order = sorted(found, key=lambda name: -found[name].demand.value)  # ties keep their order
    table = pd.DataFrame([_row(name, candidates[name], found[name], found[order[0]], found) for name in order])
    return Advice(
        target=tuple(graph.latents[i] for i in np.flatnonzero(wanted)),
        height=height,
        strategies={name: candidates[name].strategy for name in order},
        table=table,
        no_design=no_design,
    )


# ---------------------------------------------------------------------- target and candidates


def target_of(graph: LatentGraph, target: Any) -> tuple[Bool[np.ndarray, " n_latents"], int | None]:
    """The latents of a target, and its height if that is what was given.

    Raises:
        ValueError: as :func:`advise`.
    """
    wanted = np.zeros(graph.n_latents, dtype=bool)
    if isinstance(target, Iterable) and getattr(target, "ndim", 1):
        wanted[list(checked_target(graph, [target] if isinstance(target, str) else list(target)))] = True
        if not wanted.any():
            raise UsageError("names no latent: name at least one, or give a height", argument="target")
        if not graph.arrays.is_forest:
            raise UsageError(
                "is made of names, and some variable has several parents: what is asked of single latents is defined "
                "on forests only",
                argument="target",
                remedies={"target_height": "give a height instead"},
            )
        return wanted, None
    height = whole_number(target, "target", minimum=1)
    heights = np.asarray(graph.heights)[: graph.n_latents]
    if not (heights == height).any():
        known = ", ".join(map(str, np.unique(heights)))
        raise UsageError(f"must be a height of latents, one of {known}, got {height}", argument="target")
    return heights == height, height


def _is_tried(strategy: MaskSampler) -> bool:
    """Leave out what asks for nearly the same as another default candidate."""
    if isinstance(strategy, GridMask):
        return strategy.keep_every == _STEP
    return not isinstance(strategy, BernoulliMask)


def _designed(graph: LatentGraph, wanted: Bool[np.ndarray, " n_latents"]) -> tuple[dict[str, MaskSampler], str]:
    """Masks that share exactly the target and its ancestors, or why there are none."""
    names = {graph.latents[i] for i in np.flatnonzero(wanted)}
    found: dict[str, MaskSampler] = {}
    try:
        for choose in ("smallest", "largest"):
            mask = design_mask(graph, names | graph.ancestors(names), choose=choose, max_seconds=_SECONDS)
            if not isinstance(mask, DesignedMask):
                return {}, mask.reason
            name = f"designed: {len(mask.masked)} of {graph.n_observed} masked"
            found.setdefault(name, FixedMask(masked=mask.masked))
    except ValueError as error:  # dims that no invertible mechanism has, or a search that takes too long
        return {}, error.problem if isinstance(error, UsageError) else str(error)
    return found, ""


# ---------------------------------------------------------------------- table


def _row(
    name: str, of: Asked, found: TargetDemand, best: TargetDemand, others: Mapping[str, TargetDemand]
) -> dict[str, Any]:
    below = best.demand.value - found.demand.value
    error = found.demand.error_of_difference(best.demand)
    kind = next((kind for kind, cls in STRATEGIES.items() if type(of.strategy) is cls), type(of.strategy).__name__)
    return {
        "strategy": name,
        "kind": "designed" if name.startswith("designed: ") else kind,
        "unit": of.law.patches.name,
        "masked_share": found.masked_share,
        "demand": found.demand.value,
        "demand_error": found.demand.error,
        "availability": found.availability.value,
        "availability_error": found.availability.error,
        "noise_availability": found.noise_availability.value,
        "noise_availability_error": found.noise_availability.error,
        "below_best": below,
        "below_best_error": error,
        "tie": below <= _ERRORS * error + _ROUNDING,
        "front": not any(_beats(other, found) for other in others.values()),
        "how": found.how,
        "n_masks": found.n_masks,
    }


def _beats(one: TargetDemand, other: TargetDemand) -> bool:
    """Tell whether a candidate has more of one than another, and no less of the other."""
    gains = (one.demand.value - other.demand.value, one.availability.value - other.availability.value)
    return min(gains) >= -_ROUNDING and max(gains) > _ROUNDING
