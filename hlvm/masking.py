"""Masking: which observed variables are hidden from the encoder.

A :class:`Patches` says which observed variables are masked together (the masking unit). A mask
strategy, :class:`RandomMask` or :class:`FixedMask`, draws masks: boolean arrays over
``graph.observed`` in which True means masked. Every mask leaves both sides non-empty. See section 1
of ``docs/theory.md``.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Collection, Hashable, Iterable
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int, Key

from hlvm.graph import LatentGraph

__all__ = [
    "FixedMask",
    "MaskStrategy",
    "Patches",
    "RandomMask",
    "check_ratio",
    "count_masked",
    "masked_array",
    "masked_batch",
    "uniform_masks",
]

_ROUNDING = 1e-9
"""Slack for ``ratio * n`` when it should be a half but its floating-point product is just below."""


# ---------------------------------------------------------------------- patches


@dataclasses.dataclass(frozen=True)
class Patches:
    """A partition of the observed variables into groups that are masked together.

    Build one with :meth:`cells`, :meth:`blocks` or :meth:`of_subtrees`, or list the groups yourself.

    Attributes:
        groups: the names in each patch. Every patch has at least one name, and no name is in two.

    Raises:
        ValueError: no patches, an empty patch, something that is not a name, or a name listed twice.

    Example:
        >>> patches = Patches.blocks(LatentGraph.quadtree(2), 2)
        >>> len(patches), patches.groups[1]
        (4, ('x_0_2', 'x_0_3', 'x_1_2', 'x_1_3'))
    """

    groups: tuple[tuple[str, ...], ...]

    def __post_init__(self) -> None:
        if isinstance(self.groups, str) or any(isinstance(group, str) for group in self.groups):
            raise ValueError(
                'patches are groups of names such as (("x1", "x2"), ("x3",)), got a string where a group goes'
            )
        object.__setattr__(self, "groups", tuple(map(tuple, self.groups)))
        if not self.groups:
            raise ValueError("patches need at least one group of observed variables")
        seen: set[str] = set()
        for group in self.groups:
            if not group:
                raise ValueError("a patch is empty: give every patch at least one observed variable")
            for name in group:
                if not isinstance(name, str):
                    raise ValueError(f"a patch lists names of observed variables, got {name!r}")
                if name in seen:
                    raise ValueError(f"{name!r} is listed twice: put every observed variable in exactly one patch")
                seen.add(name)

    def __len__(self) -> int:
        return len(self.groups)

    def __repr__(self) -> str:
        size = f"all of size {self.size}" if self.size else "of different sizes"
        return f"Patches({len(self)} patches, {size})"

    @property
    def size(self) -> int | None:
        """Observed variables per patch when all patches have equally many, else ``None``."""
        sizes = set(map(len, self.groups))
        return sizes.pop() if len(sizes) == 1 else None

    @classmethod
    def cells(cls, graph: LatentGraph) -> Patches:
        """Make every observed variable a patch of its own."""
        return cls(tuple((name,) for name in graph.observed))

    @classmethod
    def blocks(cls, graph: LatentGraph, unit: int | tuple[int, int]) -> Patches:
        """Cut the grid of observed variables into equal blocks, row by row.

        Args:
            graph: a graph whose observed variables form a grid (``graph.grid`` is set).
            unit: side of a block in cells, or ``(rows, columns)`` of a block.

        Returns:
            One patch per block; the cells of a patch are listed row by row.

        Raises:
            ValueError: the graph has no grid, or blocks of this size do not fill the grid exactly.
        """
        tall, wide = _checked_unit(unit)
        if graph.grid is None:
            raise ValueError(
                f"blocks of {tall} x {wide} need a grid and this graph has none: build the graph with "
                "grid=(rows, columns), use Patches.of_subtrees, or list the groups yourself"
            )
        rows, columns = graph.grid
        if rows % tall or columns % wide:
            raise ValueError(
                f"blocks of {tall} x {wide} do not fill the {rows} x {columns} grid: choose a unit whose sides "
                f"divide it ({_divisors(rows)} for rows, {_divisors(columns)} for columns)"
            )
        cells = np.arange(rows * columns).reshape(rows // tall, tall, columns // wide, wide)
        in_block = cells.transpose(0, 2, 1, 3).reshape(-1, tall * wide).tolist()
        return cls(tuple(tuple(graph.observed[cell] for cell in block) for block in in_block))

    @classmethod
    def of_subtrees(cls, graph: LatentGraph, height: int) -> Patches:
        """Make one patch of the observed descendants of each latent at a given height.

        Args:
            graph: a graph in which those descendants partition the observed variables.
            height: height of the latents; 0 gives :meth:`cells`.

        Returns:
            One patch per latent of that height, in the order of ``graph.latents``.

        Raises:
            ValueError: no latent has this height, two of them share an observed descendant, or an
                observed variable is below none of them.
        """
        if height == 0:
            return cls.cells(graph)
        top = max(graph.heights)
        if height not in range(1, top + 1):
            raise ValueError(f"height must be a whole number from 0 to {top}, got {height!r}")
        owner: dict[str, str] = {}
        groups: list[tuple[str, ...]] = []
        for latent, latent_height in zip(graph.latents, graph.heights, strict=False):
            if latent_height != height:
                continue
            group = _observed_descendants(graph, latent)
            for name in group:
                if owner.setdefault(name, latent) != latent:
                    raise ValueError(
                        f"{name!r} is below both {owner[name]!r} and {latent!r}: subtrees of height {height} overlap; "
                        "choose another height or list the groups yourself"
                    )
            groups.append(group)
        missing = next((name for name in graph.observed if name not in owner), None)
        if missing is not None:
            raise ValueError(
                f"{missing!r} is below no latent of height {height}: choose another height or list the groups yourself"
            )
        return cls(tuple(groups))

    def index(self, graph: LatentGraph) -> Int[np.ndarray, " n_observed"]:
        """Patch of each observed variable, as a position in :attr:`groups`.

        Args:
            graph: the graph whose observed variables these patches partition.

        Returns:
            Int array of shape (n_observed,), in the order of ``graph.observed``; values 0 to
            ``len(self) - 1``.

        Raises:
            ValueError: a patch lists a latent or an unknown name, or an observed variable is in no
                patch.
        """
        patch_of = {name: patch for patch, group in enumerate(self.groups) for name in group}
        try:
            index = np.fromiter((patch_of[name] for name in graph.observed), dtype=np.int64)
        except KeyError as missing:
            raise ValueError(
                f"observed variable {missing.args[0]!r} is in no patch: put every observed variable in exactly one"
            ) from None
        if len(patch_of) > len(index):
            _check_observed_names(graph, patch_of, "patches")
        return index


def _checked_unit(unit: int | tuple[int, int]) -> tuple[int, int]:
    sides = (unit, unit) if isinstance(unit, int) else unit
    if (
        not isinstance(sides, tuple)
        or len(sides) != 2
        or any(isinstance(side, bool) or not isinstance(side, int) or side < 1 for side in sides)
    ):
        raise ValueError(
            f"unit must be a whole number of cells of at least 1, or a tuple (rows, columns), got {unit!r}"
        )
    return sides


def _divisors(number: int) -> str:
    return ", ".join(str(d) for d in range(1, number + 1) if number % d == 0)


def _observed_descendants(graph: LatentGraph, latent: str) -> tuple[str, ...]:
    """Names of the observed variables below a latent, in the order of ``graph.observed``."""
    found: set[int] = set()
    stack = [graph.index[latent]]
    while stack:
        for child in graph.child_indices[stack.pop()]:
            if child not in found:
                found.add(child)
                stack.append(child)
    return tuple(graph.nodes[node] for node in sorted(found) if not graph.child_indices[node])


# ---------------------------------------------------------------------- single masks


def masked_array(graph: LatentGraph, masked: Any) -> Bool[np.ndarray, " n_observed"]:
    """Check one mask and return it as a boolean array.

    Args:
        graph: the graph whose observed variables are masked.
        masked: names of the masked observed variables, or a boolean array of shape (n_observed,) over
            ``graph.observed`` with True = masked.

    Returns:
        Boolean array of shape (n_observed,), True = masked.

    Raises:
        ValueError: an unknown name, a latent, an array of another shape or type, nothing masked, or
            everything masked.
    """
    if getattr(masked, "dtype", None) is not None and masked.dtype.kind not in "UO":
        return masked_batch(graph, _one_row(masked))[0]
    names = _checked_names(masked)
    _check_observed_names(graph, names, "masked")
    first = len(graph.nodes) - len(graph.observed)
    mask = np.zeros(len(graph.observed), dtype=bool)
    mask[[graph.index[name] - first for name in names]] = True
    return masked_batch(graph, mask[None])[0]


def masked_batch(graph: LatentGraph, masks: Any) -> Bool[np.ndarray, "n_masks n_observed"]:
    """Check many masks at once.

    Args:
        graph: the graph whose observed variables are masked.
        masks: boolean array of shape (n_masks, n_observed) over ``graph.observed``, True = masked.

    Returns:
        The same masks as a NumPy array.

    Raises:
        ValueError: an array of another shape or type, or a mask that masks nothing or everything.
    """
    array = np.asarray(masks)
    n_observed = len(graph.observed)
    if array.dtype != np.bool_:
        raise ValueError(f"a mask array is boolean (True = masked), got dtype {array.dtype}: compare or cast it first")
    if array.ndim != 2 or array.shape[1] != n_observed:
        raise ValueError(
            f"masks must have shape (n_masks, {n_observed}), one column per observed variable, got {array.shape}"
        )
    for empty, message in (
        (~array.any(axis=1), "nothing is masked"),
        (array.all(axis=1), "everything is masked, so nothing is visible"),
    ):
        if empty.any():
            where = f" in mask {int(np.argmax(empty))}" if len(array) > 1 else ""
            raise ValueError(
                f"{message}{where}: mask at least 1 and at most {n_observed - 1} of the {n_observed} observed variables"
            )
    return array


def _one_row(masked: Any) -> np.ndarray:
    array = np.asarray(masked)
    if array.ndim != 1:
        raise ValueError(f"one mask is an array of shape (n_observed,), got shape {array.shape}")
    return array[None]


def _checked_names(masked: Any) -> list[str]:
    if isinstance(masked, str) or not isinstance(masked, Iterable):
        raise ValueError(f'masked is a collection of names such as ["x1", "x2"], or a boolean array, got {masked!r}')
    names = list(masked)
    for name in names:
        if not isinstance(name, str):
            raise ValueError(f"masked is a collection of names or a boolean array, got the entry {name!r}")
    return names


def _check_observed_names(graph: LatentGraph, names: Iterable[str], what: str) -> None:
    first = len(graph.nodes) - len(graph.observed)
    for name in names:
        if graph.position(name) < first:
            raise ValueError(
                f"{what}: {name!r} is a latent; only observed variables are masked, such as {graph.observed[0]!r}"
            )


# ---------------------------------------------------------------------- counts


def count_masked(ratio: float, n_patches: int) -> int:
    """Number of masked patches: ``ratio * n_patches`` rounded to the nearest whole number, halves up.

    Args:
        ratio: share of the patches to mask, strictly between 0 and 1.
        n_patches: number of patches, at least 2.

    Returns:
        A number from 1 to ``n_patches - 1``.

    Raises:
        ValueError: the ratio is not strictly between 0 and 1, there are fewer than 2 patches, or the
            ratio rounds to nothing masked or nothing visible.

    Example:
        >>> count_masked(0.9, 10), count_masked(0.5, 5)
        (9, 3)
    """
    check_ratio(ratio)
    if n_patches < 2:
        raise ValueError(
            f"a mask needs at least 2 patches (one masked, one visible), got {n_patches}: use a smaller unit"
        )
    count = math.floor(ratio * n_patches + 0.5 + _ROUNDING)
    if not 0 < count < n_patches:
        usable = min(max(count, 1), n_patches - 1)
        problem = "nothing would be masked" if count == 0 else "nothing would be visible"
        raise ValueError(
            f"ratio {ratio} of {n_patches} patches rounds to {count}: {problem}; "
            f"the nearest usable ratio is {usable / n_patches:.6g} ({usable} of {n_patches})"
        )
    return count


def check_ratio(ratio: Any) -> None:
    """Check that a masking ratio is a number strictly between 0 and 1.

    Raises:
        ValueError: it is not.
    """
    if isinstance(ratio, bool) or not isinstance(ratio, (int, float, np.floating)) or not 0 < ratio < 1:
        raise ValueError(f"ratio must be a number strictly between 0 and 1, got {ratio!r}")


# ---------------------------------------------------------------------- strategies


def uniform_masks(
    key: Key[Array, ""], n: int, n_patches: int, n_masked: int | Int[Array, ""]
) -> Bool[Array, "n n_patches"]:
    """Draw masks uniformly among those with exactly ``n_masked`` masked patches.

    Random noise is ranked and the ranks are compared with the count, so shapes do not depend on it.

    Args:
        key: a typed JAX key.
        n: number of masks.
        n_patches: number of patches.
        n_masked: masked patches in every mask; may be traced under jit. See :func:`count_masked`.

    Returns:
        Boolean array of shape (n, n_patches), True = masked; every row has ``n_masked`` True entries.
    """
    noise = jax.random.bits(key, (n, n_patches), dtype=jnp.uint32)
    random_order = jnp.argsort(noise, axis=1)
    return random_order < n_masked


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
        check_ratio(self.ratio)
        sides = _checked_unit(self.unit)
        if self.patches is not None and sides != (1, 1):
            raise ValueError(f"give unit={self.unit!r} or patches, not both: they both say what is masked together")

    def patches_of(self, graph: LatentGraph) -> Patches:
        """The patches this strategy masks on a graph.

        Raises:
            ValueError: ``unit`` needs a grid that the graph lacks, or does not divide it.
        """
        if self.patches is not None:
            return self.patches
        if _checked_unit(self.unit) == (1, 1):
            return Patches.cells(graph)
        return Patches.blocks(graph, self.unit)

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
class FixedMask:
    """Mask the same observed variables every time.

    Attributes:
        masked: their names.

    Raises:
        ValueError: no names, a string in place of a collection, or a name listed twice.
    """

    masked: tuple[str, ...]

    def __post_init__(self) -> None:
        names = tuple(_checked_names(self.masked))
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


MaskStrategy: TypeAlias = RandomMask | FixedMask
"""Anything that draws masks: ``sample(key, n, graph)`` and ``n_masked(graph)``."""


def _first_repeated(names: Collection[Hashable]) -> Any:
    seen: set[Hashable] = set()
    for name in names:
        if name in seen:
            return name
        seen.add(name)
    return None
