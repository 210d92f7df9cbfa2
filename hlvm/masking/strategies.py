"""Strategies that treat patches alike: a fixed number at random, each one by chance, or the same ones every time."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Hashable
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Key
from scipy.special import gammaln

from hlvm.graph import LatentGraph
from hlvm.masking.masks import checked_names, checked_ratio, count_masked, masked_array, uniform_masks
from hlvm.masking.patches import Patches, checked_unit, normal_unit

__all__ = ["BernoulliMask", "FixedMask", "MaskSampler", "RandomMask", "log_binomial"]


class MaskSampler(Protocol):
    """Anything that draws masks: every strategy of :mod:`hlvm.masking`, and any object with this method."""

    def sample(self, key: Key[Array, ""], n: int, graph: LatentGraph, /) -> Bool[Array, "n n_observed"]:
        """Draw ``n`` masks over ``graph.observed``, True = masked, each with both sides non-empty."""
        ...


@dataclasses.dataclass(frozen=True, kw_only=True)
class RandomMask:
    """Mask a fixed share of the patches, chosen uniformly at random.

    Attributes:
        ratio: share of the patches to mask, strictly between 0 and 1; see :func:`count_masked` for the
            rounding.
        unit: side of a square masking unit in cells, or its ``(rows, columns)``. 1 masks observed
            variables one by one and needs no grid.
        patches: the masking units themselves, for graphs without a grid; leave ``unit`` at 1 then.

    Raises:
        ValueError: a ratio outside (0, 1), a unit below 1, or both ``unit`` and ``patches``.
    """

    ratio: float
    unit: int | tuple[int, int] = 1
    patches: Patches | None = None

    def __post_init__(self) -> None:
        _check_fields(self)

    def patches_of(self, graph: LatentGraph) -> Patches:
        """The patches this strategy masks on a graph.

        Raises:
            ValueError: ``unit`` needs a grid that the graph lacks, or does not divide it.
        """
        return _patches_of(graph, self.unit, self.patches)

    def n_masked(self, graph: LatentGraph) -> int:
        """Number of masked observed variables in every mask.

        Raises:
            ValueError: patches differ in size, so that the number differs from mask to mask, or the
                ratio rounds to nothing masked or nothing visible.
        """
        patches = self.patches_of(graph)
        if patches.size is None:
            raise ValueError(
                "patches differ in size, so masks differ in how many observed variables they mask: "
                "use patches of equal size where a fixed number is needed"
            )
        return count_masked(self.ratio, len(patches)) * patches.size

    def sample(self, key: Key[Array, ""], n: int, graph: LatentGraph) -> Bool[Array, "n n_observed"]:
        """Draw masks; works under jit with a traced key.

        Args:
            key: a typed JAX key.
            n: number of masks.
            graph: the graph whose observed variables are masked.

        Returns:
            Boolean array of shape (n, n_observed) over ``graph.observed``, True = masked. Every row
            masks the same number of patches.

        Raises:
            ValueError: the patches do not fit the graph, or the ratio rounds to nothing masked or
                nothing visible.
        """
        patches = self.patches_of(graph)
        count = count_masked(self.ratio, len(patches))
        index = patches.index(graph)
        return uniform_masks(key, n, len(patches), count)[:, index]


@dataclasses.dataclass(frozen=True, kw_only=True)
class BernoulliMask:
    """Mask each patch by its own toss of a coin, given that at least one is masked and at least one is not.

    Masks that leave one side empty are not drawn: they are left out, and the others keep their proportions. So with
    ``N`` patches the expected share of masked ones is ``(r - r**N) / (1 - r**N - (1-r)**N)``, which is ``r`` for
    ``r = 1/2`` and as good as ``r`` for many patches.

    Attributes:
        ratio: probability that a patch is masked, strictly between 0 and 1.
        unit: as in :class:`RandomMask`.
        patches: as in :class:`RandomMask`.

    Raises:
        ValueError: a ratio outside (0, 1), a unit below 1, or both ``unit`` and ``patches``.
    """

    ratio: float
    unit: int | tuple[int, int] = 1
    patches: Patches | None = None

    def __post_init__(self) -> None:
        _check_fields(self)

    def n_masked(self, graph: LatentGraph) -> int:
        """Number of masked observed variables in every mask, where it is the same: with two equal patches.

        Raises:
            ValueError: the number differs from mask to mask.
        """
        patches = _patches_of(graph, self.unit, self.patches)
        if len(patches) == 2 and patches.size is not None:
            return patches.size
        raise ValueError(
            "each patch is masked by chance, so masks differ in how many observed variables they mask: "
            "use RandomMask where a fixed number is needed"
        )

    def sample(self, key: Key[Array, ""], n: int, graph: LatentGraph) -> Bool[Array, "n n_observed"]:
        """Draw masks; works under jit with a traced key.

        The number of masked patches is drawn first, from the binomial distribution without its two ends, and then
        which ones they are. Nothing is rejected, so shapes are fixed.

        Args:
            key: a typed JAX key.
            n: number of masks.
            graph: the graph whose observed variables are masked.

        Returns:
            Boolean array of shape (n, n_observed) over ``graph.observed``, True = masked.

        Raises:
            ValueError: the patches do not fit the graph, or there are fewer than 2.
        """
        patches = _patches_of(graph, self.unit, self.patches)
        index = patches.index(graph)
        if len(patches) < 2:
            raise ValueError(
                f"a mask needs at least 2 patches (one masked, one visible), got {len(patches)}: use a smaller unit"
            )
        count_key, place_key = jax.random.split(key)
        logits = jnp.asarray(log_binomial(len(patches), self.ratio)[1:-1], dtype=jnp.float32)
        counts = 1 + jax.random.categorical(count_key, logits, shape=(n, 1))
        return uniform_masks(place_key, n, len(patches), counts)[:, index]


@dataclasses.dataclass(frozen=True, kw_only=True)
class FixedMask:
    """Mask the same observed variables every time.

    Attributes:
        masked: their names.

    Raises:
        ValueError: no names, a string in place of a collection, or a name listed twice.
    """

    masked: tuple[str, ...]

    def __post_init__(self) -> None:
        names = tuple(checked_names(self.masked))
        object.__setattr__(self, "masked", names)
        if not names:
            raise ValueError("nothing is masked: name at least one observed variable")
        twice = _first_repeated(names)
        if twice is not None:
            raise ValueError(f"{twice!r} is listed twice: list each masked variable once")

    def n_masked(self, graph: LatentGraph) -> int:
        """Number of masked observed variables.

        Raises:
            ValueError: the names are not observed variables of this graph, or are all of them.
        """
        return int(masked_array(graph, self.masked).sum())

    def sample(self, key: Key[Array, ""], n: int, graph: LatentGraph) -> Bool[Array, "n n_observed"]:
        """Repeat the mask.

        Args:
            key: not used; there so that every strategy is called alike.
            n: number of masks.
            graph: the graph whose observed variables are masked.

        Returns:
            Boolean array of shape (n, n_observed) over ``graph.observed``, True = masked.

        Raises:
            ValueError: the names are not observed variables of this graph, or are all of them.
        """
        del key
        mask = masked_array(graph, self.masked)
        return jnp.broadcast_to(jnp.asarray(mask), (n, mask.size))


def _check_fields(strategy: RandomMask | BernoulliMask) -> None:
    object.__setattr__(strategy, "ratio", checked_ratio(strategy.ratio))
    object.__setattr__(strategy, "unit", normal_unit(strategy.unit))
    if strategy.patches is None:
        return
    if not isinstance(strategy.patches, Patches):
        raise ValueError(f"patches must be Patches, such as Patches(groups), got {strategy.patches!r}")
    if checked_unit(strategy.unit) != (1, 1):
        raise ValueError(f"give unit={strategy.unit!r} or patches, not both: they both say what is masked together")


def _patches_of(graph: LatentGraph, unit: int | tuple[int, int], patches: Patches | None) -> Patches:
    if patches is not None:
        return patches
    if checked_unit(unit) == (1, 1):
        return Patches.cells(graph)
    return Patches.blocks(graph, unit)


def log_binomial(n: int, ratio: float) -> Float[np.ndarray, " n_plus_1"]:
    """Logarithms of the probabilities of 0 to ``n`` successes in ``n`` trials, in float64."""
    k = np.arange(n + 1)
    return gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1) + k * np.log(ratio) + (n - k) * np.log1p(-ratio)


def _first_repeated(names: Collection[Hashable]) -> Any:
    seen: set[Hashable] = set()
    for name in names:
        if name in seen:
            return name
        seen.add(name)
    return None
