"""Strategies that treat patches alike: a number at random, each one by chance, or the same ones every time."""

from __future__ import annotations

import dataclasses
from typing import Any, Protocol

import jax
from jaxtyping import Array, Bool, Key

from hlvm._keys import checked_key
from hlvm._numbers import UsageError
from hlvm.graph import LatentGraph
from hlvm.masking.laws import Chance, Counted, Law, LawfulMask, Listed, Sampled
from hlvm.masking.masks import checked_names, checked_ratio, count_masked, masked_array, uniform_masks
from hlvm.masking.patches import Patches, checked_unit, normal_unit

__all__ = ["BernoulliMask", "FixedMask", "MaskSampler", "RandomMask", "RatioRange", "as_strategy", "law_of"]

_LONGEST_NAME = 80


class MaskSampler(Protocol):
    """Anything that draws masks: every strategy of :mod:`hlvm.masking`, and any object with this method.

    With a method ``law(graph)`` as well, an object tells what it draws; see :mod:`hlvm.masking.laws`.
    """

    def sample(self, key: Key[Array, ""], n: int, graph: LatentGraph, /) -> Bool[Array, "n n_observed"]:
        """Draw ``n`` masks over ``graph.observed``, True = masked, each with both sides non-empty."""
        ...


def as_strategy(mask: Any) -> Any:
    """The strategy itself; of a designed mask the fixed one; anything else is refused."""
    if not isinstance(mask, type):
        if callable(getattr(mask, "sample", None)):
            return mask
        if isinstance(getattr(mask, "masked", None), tuple):
            return FixedMask(masked=mask.masked)
    raise ValueError(
        f"expected a mask strategy such as hlvm.masking.RandomMask(ratio=0.5), an object with a method "
        f"sample(key, n, graph), or a designed mask, got {mask!r}: derive from hlvm.masking.LawfulMask if you have a "
        "method law(graph) only, and see MaskList.of for masks in an array"
    )


def law_of(strategy: Any, graph: LatentGraph) -> Law:
    """The law of the masks that a strategy draws on a graph.

    Args:
        strategy: a strategy of :mod:`hlvm.masking`, any object with a method ``sample(key, n, graph)`` (its law is
            :class:`Sampled`, unless it has a method ``law(graph)``), or the answer of
            :func:`hlvm.theory.design_mask`.
        graph: the graph whose observed variables are masked.

    Raises:
        ValueError: it draws no masks, does not fit the graph, or its ``law`` gives something else.
    """
    strategy = as_strategy(strategy)
    ask = getattr(strategy, "law", None)
    if callable(ask):
        law = ask(graph)
        if not isinstance(law, Law):
            raise ValueError(
                f"{type(strategy).__name__}.law(graph) must give a law of hlvm.masking.laws (Counted, Chance, Listed "
                f"or Sampled), got {law!r}"
            )
        return law
    if graph.n_observed < 2:
        raise ValueError("a mask needs at least 2 observed variables (one masked, one visible), this graph has 1")
    words = type(strategy).__name__ if type(strategy).__repr__ is object.__repr__ else repr(strategy)
    words = words if len(words) <= _LONGEST_NAME else words[: _LONGEST_NAME - 3] + "..."
    return Sampled(patches=Patches.cells(graph), hidden=(1, graph.n_observed - 1), description=words)


class _MaskOfPatches(LawfulMask):
    """Strategies with a field for a unit and one for patches."""

    unit: int | tuple[int, int]
    patches: Patches | None

    def patches_of(self, graph: LatentGraph) -> Patches:
        """The patches this strategy masks on a graph.

        Raises:
            ValueError: they do not fit the graph; ``unit`` needs a grid that the graph lacks, or does not divide it.
        """
        if self.patches is None:
            return Patches.blocks(graph, self.unit)
        self.patches.index(graph)
        return self.patches

    def _check(self, *ratios: str) -> None:
        for name in ratios:
            object.__setattr__(self, name, checked_ratio(getattr(self, name)))
        object.__setattr__(self, "unit", normal_unit(self.unit))
        if self.patches is None:
            return
        if not isinstance(self.patches, Patches):
            raise ValueError(f"patches must be Patches, such as Patches(groups), got {self.patches!r}")
        if checked_unit(self.unit) != (1, 1):
            raise ValueError(f"give unit={self.unit!r} or patches, not both: they both say what is masked together")


@dataclasses.dataclass(frozen=True, kw_only=True)
class RandomMask(_MaskOfPatches):
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
        self._check("ratio")

    def law(self, graph: LatentGraph) -> Counted:
        """So many patches at random.

        Raises:
            ValueError: the patches do not fit the graph, or the ratio rounds to nothing masked or nothing visible.
        """
        patches = self.patches_of(graph)
        count = count_masked(self.ratio, len(patches))
        return Counted(patches=patches, fewest=count, most=count)


@dataclasses.dataclass(frozen=True, kw_only=True)
class RatioRange(_MaskOfPatches):
    """Mask a share of the patches that is drawn anew at every training step, and patches anew for every sample.

    The number of masked patches is uniform over the whole numbers between those of the two ratios.

    Attributes:
        low: smallest ratio, strictly between 0 and 1.
        high: largest ratio, at least ``low``.
        unit: as in :class:`RandomMask`.
        patches: as in :class:`RandomMask`.

    Raises:
        ValueError: ratios out of range or in the wrong order, or as for :class:`RandomMask`.
    """

    low: float
    high: float
    unit: int | tuple[int, int] = 1
    patches: Patches | None = None

    def __post_init__(self) -> None:
        self._check("low", "high")
        if self.low > self.high:
            raise UsageError(
                f"must not be above the highest ratio, {self.high}, got {self.low}: exchange them",
                argument="low",
                of="RatioRange",
            )

    def law(self, graph: LatentGraph) -> Counted:
        """A number of patches between two, at random.

        Raises:
            ValueError: the patches do not fit the graph, or a ratio rounds to nothing masked or nothing visible.
        """
        patches = self.patches_of(graph)
        fewest, most = (count_masked(ratio, len(patches)) for ratio in (self.low, self.high))
        return Counted(patches=patches, fewest=fewest, most=most)

    def sample(self, key: Any, n: int, graph: LatentGraph) -> Bool[Array, "n n_observed"]:
        """Draw masks as for one training step: all of them hide the same number of patches.

        Args:
            key: a JAX key or an int.
            n: number of masks.
            graph: the graph whose observed variables are masked.

        Returns:
            Boolean array of shape (n, n_observed) over ``graph.observed``, True = masked.

        Raises:
            ValueError: as :meth:`law`.
        """
        law = self.law(graph)
        count_key, place_key = jax.random.split(checked_key(key))
        count = jax.random.randint(count_key, (), law.fewest, law.most + 1)
        return uniform_masks(place_key, n, len(law.patches), count)[:, law.patches.index(graph)]


@dataclasses.dataclass(frozen=True, kw_only=True)
class BernoulliMask(_MaskOfPatches):
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
        self._check("ratio")

    def law(self, graph: LatentGraph) -> Chance:
        """Each patch by chance.

        Raises:
            ValueError: the patches do not fit the graph, or there are fewer than 2.
        """
        return Chance(patches=self.patches_of(graph), ratio=self.ratio)


@dataclasses.dataclass(frozen=True, kw_only=True)
class FixedMask(LawfulMask):
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
        if len(set(names)) < len(names):
            seen: set[str] = set()
            twice = next(name for name in names if name in seen or seen.add(name))
            raise ValueError(f"{twice!r} is listed twice: list each masked variable once")

    def law(self, graph: LatentGraph) -> Listed:
        """A list of one mask.

        Raises:
            ValueError: the names are not observed variables of this graph, or are all of them.
        """
        named = ", ".join(self.masked[:5])
        more = f" and {len(self.masked) - 5} more" if len(self.masked) > 5 else ""
        return Listed.of(graph, masked_array(graph, self.masked)[None], f"always {named}{more}")
