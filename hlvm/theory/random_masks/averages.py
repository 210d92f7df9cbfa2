"""Averages over masks: over all masks of a list, or over masks drawn at random where there is no closed form."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Bool, Float, Key
from scipy.sparse import csr_array

from hlvm._keys import checked_key
from hlvm._numbers import UsageError, whole_number
from hlvm.graph import LatentGraph
from hlvm.masking import Chance, Counted, Law, Listed, law_of
from hlvm.masking.masks import masked_batch
from hlvm.masking.strategies import as_strategy
from hlvm.theory.one_mask.shared_information import Regime, shared_information_batch

__all__ = [
    "Asked",
    "Draws",
    "Levels",
    "Mean",
    "all_are_known",
    "asked",
    "averaged_levels",
    "can_be_listed",
    "masks_of",
    "named",
    "shared_by",
]

_CELLS_AT_ONCE = 2**24
"""Nodes times masks worked on at once."""

_CELLS_LISTED = 2**30
"""Masks times observed variables up to which all masks of a strategy are gone through."""


class Asked(NamedTuple):
    """A strategy and what it draws on a graph."""

    strategy: Any
    law: Law


class Draws(NamedTuple):
    """Key and number of masks, where they have to be drawn.

    Attributes:
        key: a typed JAX key, or none.
        n_masks: number of masks, at least 2.
    """

    key: Key[Array, ""] | None
    n_masks: int

    @classmethod
    def checked(cls, key: Any, n_masks: Any) -> Draws:
        """Check that the key is a single one or none, and the number at least 2."""
        n_masks = whole_number(n_masks, "n_masks", minimum=2)  # for a standard error
        return cls(None if key is None else checked_key(key), n_masks)


def asked(graph: LatentGraph, strategies: Any, what: str) -> list[Asked]:
    """Strategies with their laws on a graph; ``what`` is the name of the argument.

    Raises:
        ValueError: no list of strategies, an empty one, or a strategy that does not fit the graph.
    """
    if isinstance(strategies, str) or not isinstance(strategies, Iterable):
        raise ValueError(
            f"{what} is a list of objects that draw masks, such as [RandomMask(ratio=0.5)], got {strategies!r}"
        )
    found = []
    for place, strategy in enumerate(strategies):
        try:
            found.append(Asked(as_strategy(strategy), law_of(strategy, graph)))
        except ValueError as error:
            fault = error if isinstance(error, UsageError) else UsageError(str(error))
            at = fault.of or f"{what}[{place}]"
            raise UsageError(fault.problem, argument=fault.argument, of=at, remedies=fault.remedies) from None
    if not found:
        raise ValueError(f"{what} is empty: give at least one object that draws masks")
    return found


def named(graph: LatentGraph, strategies: Any, what: str) -> dict[str, Asked]:
    """Strategies by their names; of a list, their laws in words, numbered where two are alike.

    Raises:
        ValueError: as :func:`asked`.
    """
    if isinstance(strategies, Mapping):
        return dict(zip(map(str, strategies), asked(graph, list(strategies.values()), what), strict=True))
    found: dict[str, Asked] = {}
    for of in asked(graph, strategies, what):
        name = plain = of.law.description
        again = 2
        while name in found:
            name, again = f"{plain} ({again})", again + 1
        found[name] = of
    return found


# ---------------------------------------------------------------------- masks


def can_be_listed(graph: LatentGraph, law: Law) -> bool:
    """Tell whether all masks of a law are gone through in the invertible regime."""
    return isinstance(law, Listed) and law.n_masks * graph.n_observed <= _CELLS_LISTED


def all_are_known(graph: LatentGraph, law: Law, n_masks: int, regime: Regime) -> bool:
    """Tell whether averages are over all masks of a law, or follow from a closed form, so that they are exact."""
    if isinstance(law, Counted | Chance):
        return regime == "invertible"
    return isinstance(law, Listed) and can_be_listed(graph, law) and (regime == "invertible" or law.n_masks <= n_masks)


def masks_of(
    graph: LatentGraph, of: Asked, draws: Draws, regime: Regime = "invertible"
) -> tuple[Iterator[Bool[np.ndarray, "n n_observed"]], int]:
    """Masks to average over, some at a time, and how many are drawn: 0 if they are all masks of the strategy.

    Lists are gone through as long as that is feasible; in the general regime, where a mask costs more, as long as they
    hold no more masks than would be drawn.

    Raises:
        ValueError: masks have to be drawn and there is no key; on the way: wrong masks.
    """
    law = of.law
    if isinstance(law, Listed) and all_are_known(graph, law, draws.n_masks, regime):
        return law.parts(), 0
    if draws.key is None:
        raise ValueError(
            f"masks have to be drawn for {law.description!r}, which has no closed form here: give "
            "key=jax.random.key(...)"
        )
    return _drawn(graph, of, draws.key, draws.n_masks), draws.n_masks


def _drawn(
    graph: LatentGraph, of: Asked, key: Key[Array, ""], n_masks: int
) -> Iterator[Bool[np.ndarray, "n n_observed"]]:
    # of a range of counts a strategy draws one per call, which are not independent masks; its law draws those
    sample = of.law.sample if isinstance(of.law, Counted | Chance) else of.strategy.sample
    step = max(1, _CELLS_AT_ONCE // len(graph.nodes))
    for begin in range(0, n_masks, step):
        n = min(step, n_masks - begin)
        masks = masked_batch(graph, sample(jax.random.fold_in(key, begin), n, graph))
        if len(masks) != n:
            name = type(of.strategy).__name__
            raise ValueError(f"{name}.sample(key, {n}, graph) drew {len(masks)} masks, expected {n}")
        yield masks


def shared_by(
    graph: LatentGraph, masks: Bool[np.ndarray, "n n_observed"], regime: Regime
) -> tuple[Bool[np.ndarray, "n n_latents"], Bool[np.ndarray, "n n_latents"]]:
    """Members of ``c`` under each mask, and those of the frontier."""
    if regime == "invertible":
        members = shared_information_batch(graph, masks).members
    else:  # masks that occur several times are worked on once
        _, first, back = np.unique(np.packbits(masks, axis=1), axis=0, return_index=True, return_inverse=True)
        members = shared_information_batch(graph, masks[first], regime=regime).members[back.reshape(-1)]
    return members, members & (members.astype(np.float64) @ _parents(graph) == 0)


def _parents(graph: LatentGraph) -> Any:
    """Sparse matrix with a 1 in row ``child`` and column ``parent`` for every edge between latents."""
    n = graph.n_latents
    pairs = [(child, parent) for child in range(n) for parent in graph.parent_indices[child]]
    rows, columns = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
    return csr_array((np.ones(len(pairs)), (rows, columns)), shape=(n, n))


# ---------------------------------------------------------------------- averages


class Mean(NamedTuple):
    """Means over masks and their standard errors, both of the same shape.

    Attributes:
        value: the means.
        error: standard deviation over masks, divided by the square root of their number; 0 where all masks are known.
    """

    value: Float[np.ndarray, "*shape"]
    error: Float[np.ndarray, "*shape"]

    @classmethod
    def exactly(cls, value: Any) -> Mean:
        """A mean that is known."""
        return cls(np.asarray(value), np.zeros(np.shape(value)))


class Levels(NamedTuple):
    """Expected make-up of ``c`` by height under one strategy.

    Attributes:
        share: shape (n_heights,), share of the latents of a height that are in ``c``.
        frontier_share: shape (n_heights,), share of them that are in the frontier.
        dim: shape (n_heights,), dims of ``c`` at a height.
        total_dim: shape (), dims of ``c``.
        masked_share: mean share of the observed variables that are masked.
        n_masks: number of masks drawn; 0 if the means are exact.
    """

    share: Mean
    frontier_share: Mean
    dim: Mean
    total_dim: Mean
    masked_share: float
    n_masks: int


def averaged_levels(
    graph: LatentGraph, of: Asked, draws: Draws, *, regime: Regime, at_level: Float[np.ndarray, "n_latents n_heights"]
) -> Levels:
    """Average what masks share, by height.

    Args:
        graph: the generating graph.
        of: the strategy.
        draws: how masks are drawn.
        regime: "invertible" or "general"; see :func:`~hlvm.theory.shared_information_batch`.
        at_level: one column per height, 1 where the latent has it.

    Raises:
        ValueError: as :func:`masks_of`.
    """
    n_latents = graph.n_latents
    sizes = np.asarray(graph.noise_dims if regime == "invertible" else graph.dims, dtype=np.float64)[:n_latents]
    per_level = at_level / at_level.sum(axis=0)
    parts, n_drawn = masks_of(graph, of, draws, regime)
    shares, frontier_shares, dims, masked = [], [], [], []
    for masks in parts:
        members, frontier = shared_by(graph, masks, regime)
        inside = members.astype(np.float64)
        shares.append(inside @ per_level)
        frontier_shares.append(frontier.astype(np.float64) @ per_level)
        dims.append((inside * sizes) @ at_level)
        masked.append(masks.mean(axis=1))
    dim = np.concatenate(dims)
    share, frontier_share, dim, total_dim = (
        _mean(values, exact=not n_drawn)
        for values in (np.concatenate(shares), np.concatenate(frontier_shares), dim, dim.sum(axis=1))
    )
    return Levels(share, frontier_share, dim, total_dim, float(np.concatenate(masked).mean()), n_drawn)


def _mean(per_mask: Float[np.ndarray, "n_masks ..."], *, exact: bool) -> Mean:
    if exact:
        return Mean.exactly(per_mask.mean(axis=0))
    error = per_mask.std(axis=0, ddof=1) / np.sqrt(len(per_mask))
    return Mean(per_mask.mean(axis=0), np.asarray(error))
