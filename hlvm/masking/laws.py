"""Laws of masks: the one vocabulary for the masks that a strategy draws on a graph.

:class:`Counted`: so many equal patches. :class:`Chance`: each patch by itself. :class:`Listed`: one mask of a list.
:class:`Sampled`: nothing known but how many observed variables can be hidden. A strategy tells its law with a method
``law(graph)``; training, theory, files and the command line read it there. Under each law masks are independent and
have both sides non-empty.
"""

from __future__ import annotations

import dataclasses
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int
from scipy.special import gammaln

from hlvm._keys import checked_key
from hlvm.graph import LatentGraph
from hlvm.masking.masks import uniform_masks
from hlvm.masking.patches import Patches

__all__ = ["Chance", "Counted", "Law", "LawfulMask", "Listed", "Sampled", "log_binomial", "log_choose"]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Counted:
    """A number of patches, chosen uniformly at random.

    Attributes:
        patches: what is masked together.
        fewest: smallest number of masked patches, at least 1.
        most: largest number, less than all. All whole numbers from ``fewest`` to ``most`` are equally likely. In
            training the masks of one step have one number.

    Raises:
        ValueError: numbers that leave one side empty, or are in the wrong order.
    """

    patches: Patches
    fewest: int
    most: int

    def __post_init__(self) -> None:
        if not 0 < self.fewest <= self.most < len(self.patches):
            raise ValueError(
                f"expected 1 <= fewest <= most <= {len(self.patches) - 1} of {len(self.patches)} patches, got "
                f"fewest={self.fewest}, most={self.most}"
            )

    @property
    def counts(self) -> range:
        """The equally likely numbers of masked patches."""
        return range(self.fewest, self.most + 1)

    @property
    def masked_share(self) -> float:
        """Expected share of the observed variables that a mask hides."""
        return (self.fewest + self.most) / (2 * len(self.patches))

    @property
    def hidden(self) -> tuple[int, int]:
        """Fewest and most observed variables that a mask hides."""
        sizes = sorted(map(len, self.patches.groups))
        return sum(sizes[: self.fewest]), sum(sizes[::-1][: self.most])

    @property
    def description(self) -> str:
        """The law in words."""
        number = f"{self.fewest}" if self.fewest == self.most else f"{self.fewest} to {self.most}"
        return f"{number} of {len(self.patches)} {self.patches.name} at random"

    def sample(self, key: Any, n: int, graph: LatentGraph) -> Bool[Array, "n n_observed"]:
        """Draw ``n`` independent masks over ``graph.observed``, True = masked; works under jit with a traced key."""
        key, counts = checked_key(key), self.fewest
        if self.fewest < self.most:
            count_key, key = jax.random.split(key)
            counts = jax.random.randint(count_key, (n, 1), self.fewest, self.most + 1)
        return uniform_masks(key, n, len(self.patches), counts)[:, self.patches.index(graph)]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Chance:
    """Each patch by itself with the same probability, given that both sides are non-empty.

    Attributes:
        patches: what is masked together, at least 2.
        ratio: probability that a patch is masked, strictly between 0 and 1, before masks with an empty side are left
            out.

    Raises:
        ValueError: fewer than 2 patches.
    """

    patches: Patches
    ratio: float

    def __post_init__(self) -> None:
        if len(self.patches) < 2:
            raise ValueError(
                f"a mask needs at least 2 patches (one masked, one visible), got {len(self.patches)}: use a smaller "
                "unit"
            )

    @property
    def masked_share(self) -> float:
        """Expected share of the observed variables that a mask hides; between ``ratio`` and 1/2."""
        n, r = len(self.patches), min(self.ratio, 1 - self.ratio)
        rarer = (r - r**n) / (-math.expm1(n * math.log1p(-r)) - r**n)
        return rarer if r == self.ratio else 1 - rarer

    @property
    def hidden(self) -> tuple[int, int]:
        """Fewest and most observed variables that a mask hides."""
        sizes = list(map(len, self.patches.groups))
        return min(sizes), sum(sizes) - min(sizes)

    @property
    def description(self) -> str:
        """The law in words."""
        return f"each of {len(self.patches)} {self.patches.name} with probability {self.ratio:g}"

    @property
    def count_logits(self) -> Float[np.ndarray, " n_patches_minus_1"]:
        """Logarithms of the probabilities of 1 to ``n_patches - 1`` masked patches, up to a constant."""
        return log_binomial(len(self.patches), self.ratio)[1:-1]

    def sample(self, key: Any, n: int, graph: LatentGraph) -> Bool[Array, "n n_observed"]:
        """Draw ``n`` independent masks over ``graph.observed``, True = masked; works under jit with a traced key.

        The number of masked patches is drawn first, and then which ones they are. Nothing is rejected, so shapes are
        fixed.
        """
        count_key, place_key = jax.random.split(checked_key(key))
        logits = jnp.asarray(self.count_logits, dtype=jnp.float32)
        counts = 1 + jax.random.categorical(count_key, logits, shape=(n, 1))
        return uniform_masks(place_key, n, len(self.patches), counts)[:, self.patches.index(graph)]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Listed:
    """One of the masks of a list, each as likely as the others; list a mask twice to make it twice as likely.

    Build one with :meth:`of`, or give masks in parts that are made when they are asked for.

    Attributes:
        patches: what is masked together, as far as it is known; single observed variables otherwise.
        n_masks: number of masks, at least 1.
        hidden: fewest and most observed variables that a mask hides.
        description: the law in words.
        parts: called without arguments, yields all masks in order: boolean arrays (n, n_observed), True = masked.
    """

    patches: Patches
    n_masks: int
    hidden: tuple[int, int]
    description: str
    parts: Callable[[], Iterator[Bool[np.ndarray, "n n_observed"]]] = dataclasses.field(repr=False)

    @classmethod
    def of(cls, graph: LatentGraph, masks: Bool[np.ndarray, "n_masks n_observed"], description: str) -> Listed:
        """The law of a list in memory; masks are not checked."""
        hidden = masks.sum(axis=1)
        return cls(
            patches=Patches.cells(graph),
            n_masks=len(masks),
            hidden=(int(hidden.min()), int(hidden.max())),
            description=description,
            parts=lambda: iter([masks]),
        )

    def masks(self) -> Bool[np.ndarray, "n_masks n_observed"]:
        """All masks in one array."""
        return np.concatenate(list(self.parts()))

    def sample(self, key: Any, n: int, graph: LatentGraph) -> Bool[Array, "n n_observed"]:
        """Draw ``n`` independent masks over ``graph.observed``, True = masked; works under jit with a traced key."""
        del graph
        return jnp.asarray(self.masks())[jax.random.randint(checked_key(key), (n,), 0, self.n_masks)]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Sampled:
    """A law that is known by drawing masks only.

    Attributes:
        patches: what is masked together, as far as it is known; single observed variables otherwise.
        hidden: fewest and most observed variables that a mask can hide. If they are equal, transformers need no
            padding. Training refuses masks outside of this range.
        description: the strategy in words.

    Raises:
        ValueError: a range that leaves one side empty, or is in the wrong order.
    """

    patches: Patches
    hidden: tuple[int, int]
    description: str

    def __post_init__(self) -> None:
        fewest, most = self.hidden
        n_observed = sum(map(len, self.patches.groups))
        if not 0 < fewest <= most < n_observed:
            raise ValueError(
                f"hidden must be (fewest, most) with 1 <= fewest <= most <= {n_observed - 1} of {n_observed} observed "
                f"variables, got {self.hidden}"
            )


Law: TypeAlias = Counted | Chance | Listed | Sampled
"""The law of the masks that a strategy draws on a graph."""


class LawfulMask(ABC):
    """Base of strategies that draw what their law says: with a method ``law`` they need no other."""

    @abstractmethod
    def law(self, graph: LatentGraph) -> Law:
        """The law of the masks on a graph.

        Raises:
            ValueError: the strategy does not fit the graph.
        """

    def sample(self, key: Any, n: int, graph: LatentGraph) -> Bool[Array, "n n_observed"]:
        """Draw masks; works under jit with a traced key.

        Args:
            key: a JAX key or an int.
            n: number of masks.
            graph: the graph whose observed variables are masked.

        Returns:
            Boolean array of shape (n, n_observed) over ``graph.observed``, True = masked.

        Raises:
            ValueError: the strategy does not fit the graph, or its law is known by drawing only.
        """
        law = self.law(graph)
        if isinstance(law, Sampled):
            raise ValueError(f"{type(self).__name__} has no law to draw from: give it a method sample(key, n, graph)")
        return law.sample(key, n, graph)


def log_binomial(n: int, ratio: float) -> Float[np.ndarray, " n_plus_1"]:
    """Logarithms of the probabilities of 0 to ``n`` successes in ``n`` trials, in float64."""
    k = np.arange(n + 1)
    return log_choose(n, k) + k * np.log(ratio) + (n - k) * np.log1p(-ratio)


def log_choose(n: int, k: Int[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
    """Logarithms of the numbers of ways to choose ``k`` of ``n``."""
    return gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1)
