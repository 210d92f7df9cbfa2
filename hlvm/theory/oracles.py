"""Oracles: what a model and a mask say about *how much* of each latent can be known, before anything is trained.

An oracle answers for many masks at once. A cell is *visible*, a *target* (masked and asked for) or *absent* (neither
seen nor asked for). Every answer says whether it is exact, linearised or estimated.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any, Literal, Protocol, TypeAlias, get_args, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float, Int

from hlvm._numbers import whole_number
from hlvm.graph import LatentGraph
from hlvm.masking.masks import check_observed_names, how_many_to_mask, masked_array

__all__ = [
    "Answer",
    "Answers",
    "ByLatent",
    "How",
    "NoiseEffects",
    "NoiseOracle",
    "Oracle",
    "Part",
    "check_part",
    "effects_of",
    "severed",
    "three_states",
    "three_states_of_one",
]

How: TypeAlias = Literal["exact", "linearised", "estimated"]
"""Where an answer comes from: a closed form, a linear model about the mean, or fresh draws of the generator."""

Part: TypeAlias = Literal["value", "noise"]
"""Of a latent: its value, or the noise that enters at it alone."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Answers:
    """Numbers of many masks, with where they come from.

    Attributes:
        value: shape (n_masks, n), one column per latent or observed variable; NaN where the question has no answer.
        error: shape (n_masks, n), standard errors; 0 where exact.
        how: "exact", "linearised" or "estimated".
        rows: fresh draws behind each mask; 0 if there are none.
    """

    value: Float[np.ndarray, "n_masks n"]
    error: Float[np.ndarray, "n_masks n"]
    how: How
    rows: int = 0

    @classmethod
    def exact(cls, value: Float[np.ndarray, "n_masks n"]) -> Answers:
        """Answers without error."""
        return cls(value=value, error=np.zeros(value.shape), how="exact")

    def by_latent(self, graph: LatentGraph) -> ByLatent:
        """Answers of the first mask, by the names of the latents."""
        value, error = (dict(zip(graph.latents, part[0].tolist(), strict=True)) for part in (self.value, self.error))
        return ByLatent(value, error=error, how=self.how, rows=self.rows)


class Answer(float):
    """One number, with where it comes from; it counts as the number alone.

    Attributes:
        error: its standard error; 0 where exact or linearised.
        how: "exact", "linearised" or "estimated".
        rows: fresh draws behind it; 0 if there are none.
    """

    error: float
    how: How
    rows: int

    def __new__(cls, value: float, *, error: float = 0.0, how: How, rows: int = 0) -> Answer:
        """Add to a number where it comes from."""
        found = super().__new__(cls, value)
        found.error, found.how, found.rows = error, how, rows
        return found

    def __getnewargs_ex__(self) -> tuple[tuple[float], dict[str, Any]]:
        return (self.value,), dict(vars(self))

    def __repr__(self) -> str:
        return f"Answer({self.value!r}, error={self.error!r}, how={self.how!r}, rows={self.rows})"

    @property
    def value(self) -> float:
        """The number alone."""
        return float(self)


class ByLatent(dict[str, float]):
    """Latent -> number, with where the numbers come from; otherwise a dict.

    Attributes:
        error: latent -> standard error; 0 where exact or linearised.
        how: "exact", "linearised" or "estimated".
        rows: fresh draws behind each; 0 if there are none.
    """

    def __init__(self, value: Mapping[str, float], *, error: Mapping[str, float], how: How, rows: int = 0) -> None:
        super().__init__(value)
        self.error, self.how, self.rows = dict(error), how, rows


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class NoiseEffects:
    """Covariance of the observed columns, and what of it is due to each latent's noise.

    Columns count in units of their standard deviation, as networks are trained, and those of a cell are divided by the
    root of their number: each cell has variance 1. Constant columns are left out.

    Attributes:
        cells: shape (n_columns,), the observed variable that each column belongs to.
        covariance: shape (n_columns, n_columns).
        columns: one array per latent, shape (n_below,): the columns that its noise reaches.
        loadings: one array per latent, shape (n_below, k): effect of each of k uncorrelated functions of its noise, of
            variance 1 each. The covariance that the noise is the cause of is ``loadings @ loadings.T``. NaN where the
            noise is not known.
        how: "exact", "linearised" or "estimated".
        rows: draws behind it; 0 if there are none.
        without: the same from all but one group of the draws, group by group, for errors by the jackknife; else empty.
    """

    cells: Int[np.ndarray, " n_columns"]
    covariance: Float[np.ndarray, "n_columns n_columns"]
    columns: tuple[Int[np.ndarray, " n_below"], ...]
    loadings: tuple[Float[np.ndarray, "n_below k"], ...]
    how: How
    rows: int = 0
    without: tuple[NoiseEffects, ...] = ()


@runtime_checkable
class Oracle(Protocol):
    """Everything that profiles and advice ask of a model of any kind.

    Masks are boolean arrays (n_masks, n_observed) over ``graph.observed``, True = target. ``visible`` is of the same
    shape; left out, everything that is no target is visible. ``key`` is needed where draws are.
    """

    @property
    def graph(self) -> LatentGraph:
        """The latent graph."""
        ...

    @property
    def how(self) -> How:
        """Where answers come from, if nothing is drawn for the one question."""
        ...

    def latent_r2_batch(
        self, masks: Any, *, visible: Any = None, part: Part = "value", rows: int = 1, key: Any = None
    ) -> Answers:
        """Share of each latent that the visible cells hold: R² of its best prediction, (n_masks, n_latents).

        ``rows`` is the number of draws per mask, where there are draws.
        """
        ...

    def relative_loss_batch(self, masks: Any, *, visible: Any = None, rows: int = 1, key: Any = None) -> Answers:
        """Bayes loss of each target in units of its variance, (n_masks, n_observed); NaN where no target is."""
        ...

    def cut(self, height: int) -> Oracle:
        """The model in which nothing above this height is shared: the highest nodes up to it become roots.

        Each keeps its law, and what enters at it is now all that it is. Cells below different new roots are
        independent, so the loss of a target is that of a decoder which sees only what is below the target's ancestor of
        this height. The graph stays, and so does the order of latents in answers. No cell tells of a latent above the
        cut: its R² is 0, of value and noise, and NaN where it was NaN.

        Raises:
            ValueError: a graph that is no forest, or no whole number of at least 0.
        """
        ...


@runtime_checkable
class NoiseOracle(Protocol):
    """Everything that signals ask of an oracle beside; the package's own can all tell."""

    def noise_effects(self) -> NoiseEffects:
        """Covariance of the observed columns, and what of it each latent's noise is the cause of.

        Raises:
            ValueError: an oracle that was cut and cannot tell, unknown noises, or more than 2,048 observed columns.
        """
        ...


def effects_of(oracle: Any) -> NoiseEffects:
    """The effects of the latents' noises.

    Raises:
        ValueError: an oracle that has no such method, or refuses.
    """
    if not isinstance(oracle, NoiseOracle):
        raise ValueError(
            f"signal, relevance and readability need an oracle with noise_effects(), which {type(oracle).__name__} has "
            "not: ask for other quantities"
        )
    return oracle.noise_effects()


def check_part(part: str) -> None:
    """Refuse what is no part of a latent.

    Raises:
        ValueError: neither "value" nor "noise".
    """
    if part not in get_args(Part):
        raise ValueError(f'part must be "value" or "noise", got {part!r}')


def severed(graph: LatentGraph, height: Any) -> Bool[np.ndarray, " n_nodes"]:
    """Nodes that a cut makes into roots: they are up to its height, and their parent is above it.

    Raises:
        ValueError: a graph that is no forest, or no whole number of at least 0.
    """
    height = whole_number(height, "height", minimum=0)
    arrays = graph.arrays
    if not arrays.is_forest:
        child = next(i for i, above in enumerate(graph.parent_indices) if len(above) > 1)
        raise ValueError(
            f"only forests can be cut: {graph.nodes[child]!r} has {len(graph.parent_indices[child])} parents"
        )
    found = np.zeros(arrays.n_nodes, dtype=bool)
    found[arrays.children] = arrays.heights[arrays.parents] > height
    return found & (arrays.heights <= height)


def three_states(
    graph: LatentGraph, masks: Any, visible: Any = None
) -> tuple[Bool[np.ndarray, "n_masks n_observed"], Bool[np.ndarray, "n_masks n_observed"]]:
    """Check masks and what is visible beside them.

    Args:
        graph: the graph whose observed variables are masked.
        masks: shape (n_masks, n_observed), True = target.
        visible: same shape or (n_observed,); ``None``: all that is no target.

    Returns:
        Targets and visible cells.

    Raises:
        ValueError: not booleans, another shape, or a cell that is both.
    """
    targets = _of_cells(graph, masks, "masks")
    seen = ~targets if visible is None else _of_cells(graph, np.atleast_2d(np.asarray(visible)), "visible")
    if visible is not None:
        if len(seen) not in (1, len(targets)):
            raise ValueError(f"visible must have one row, or {len(targets)} as masks has, got {len(seen)}")
        seen = np.broadcast_to(seen, targets.shape)
    both = (targets & seen).any(axis=0)
    if both.any():
        name = graph.observed[int(both.argmax())]
        raise ValueError(f"{name!r} is masked and visible at once: a cell is visible, a target, or neither")
    return targets, seen


def three_states_of_one(
    graph: LatentGraph, masked: Any, visible: Any = None, *, may_be_empty: bool = False
) -> tuple[Bool[np.ndarray, " n_observed"], Bool[np.ndarray, " n_observed"]]:
    """Check one mask and what is visible beside it, each by names or as booleans over ``graph.observed``.

    Args:
        graph: the graph whose observed variables are masked.
        masked: the targets; ``None`` where there may be none.
        visible: ``None``: all that is no target, at least one. Given, it may be empty.
        may_be_empty: the question makes sense without a target.

    Returns:
        Targets and visible cells.

    Raises:
        ValueError: an unknown name, a latent, an array of another shape or type, a cell that is both, or no target.
    """
    if visible is None and masked is not None:
        targets = masked_array(graph, masked)
        return targets, ~targets
    targets = _of_one(graph, () if masked is None else masked, "masked")
    if not may_be_empty and not targets.any():
        raise ValueError(f"nothing is masked: {how_many_to_mask(graph.n_observed)}")
    checked = three_states(graph, targets[None], None if visible is None else _of_one(graph, visible, "visible"))
    return checked[0][0], checked[1][0]


def _of_one(graph: LatentGraph, given: Any, what: str) -> np.ndarray:
    dtype = getattr(given, "dtype", None)
    if dtype is not None and dtype.kind not in "UO":
        return _of_cells(graph, np.asarray(given)[None], what)[0]
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise ValueError(f'{what} is a collection of names such as ["x1", "x2"], or a boolean array, got {given!r}')
    names = list(given)
    check_observed_names(graph, names, what)
    found = np.zeros(graph.n_observed, dtype=bool)
    found[[graph.index[name] - graph.n_latents for name in names]] = True
    return found


def _of_cells(graph: LatentGraph, given: Any, what: str) -> np.ndarray:
    array = np.asarray(given)
    if array.dtype != bool or array.ndim != 2 or array.shape[1] != len(graph.observed):
        raise ValueError(
            f"{what} must be booleans of shape (n_masks, {len(graph.observed)}), one column per observed variable, got "
            f"shape {array.shape} and type {array.dtype}"
        )
    return array
