"""Mask design: given latents, find a mask that shares exactly these, or say why there is none.

Invertible regime; section 3 of ``docs/theory.md``. A latent is shared exactly if it has a masked and a visible
descendant. So the latents outside the target must be *whole*, with all patches below them on one side, and those in
the target must be *split*.

**Theorem.** Let the target ``T`` be closed under parents. Join every latent outside ``T`` with its children, and every
observed variable with its patch. Call the connected classes *parts*. A mask shares exactly ``T`` if and only if it
gives each part one side, uses both sides, and gives the children of every frontier latent of ``T`` (one without a
child in ``T``) both sides.

*Proof.* If ``c = T``, a latent outside ``T`` is whole, so everything observed below it and below its children is on one
side, and so is its part. A frontier latent has a masked and a visible descendant; these lie below two children of it,
since each child is observed or outside ``T`` and hence on one side. Conversely, under such a mask everything observed
below a latent outside ``T`` lies in its part, on one side. A frontier latent has two children on different sides and
below each something observed. Every other latent of ``T`` is an ancestor of a frontier latent of ``T``. QED

If ``T`` is not closed under parents, the missing parent must come along: it reaches what its child reaches. What
remains is to split sets of parts, see :mod:`hlvm.theory.design.set_splitting`. On a forest whose patches are single
observed variables or whole subtrees no two of these sets meet, and the answer takes linear time. On other graphs it is
NP-hard (in a two-layer graph with all latents in the target it *is* set splitting), and found by branch and bound. When
the parts can be put in an order in which every set is a contiguous stretch, as with one-dimensional receptive fields,
the linear program is already integral, and no branching is needed.

Masks come in pairs: exchanging the two sides does not change what is shared. So the largest masked part is the
complement of the smallest.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Literal, TypeAlias, get_args

import numpy as np
from jaxtyping import Bool, Int
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from hlvm._numbers import UsageError
from hlvm.graph import LatentGraph
from hlvm.masking import Patches
from hlvm.masking.patches import patch_index
from hlvm.theory.design.set_splitting import Parts, lightest_splitting
from hlvm.theory.one_mask.shared_information import check_regime, shared_information

__all__ = ["Choice", "DesignedMask", "Impossible", "SearchTimeoutError", "checked_target", "design_mask", "parts_of"]

Choice: TypeAlias = Literal["smallest", "largest", "any"]
"""Choice among several masks that share exactly the target, by the number of masked observed variables."""


class SearchTimeoutError(UsageError):
    """The search for a mask took longer than allowed; whether there is one is not known."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class DesignedMask:
    """A mask that shares exactly the target.

    Attributes:
        masked: names of the masked observed variables, in the order of ``graph.observed``; never none, never all. With
            ``choose="smallest"`` no mask that shares exactly the target has fewer, with "largest" none has more.
        shared: the latents it shares: the target.
        dim: intrinsic dimension of what is shared, the ``dim`` of :func:`~hlvm.theory.shared_information`.
    """

    masked: tuple[str, ...]
    shared: frozenset[str]
    dim: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class Impossible:
    """Proof that no mask shares exactly the target.

    The claim, which can be checked mask by mask: *every mask that shares all of* ``wanted`` *also shares one of*
    ``one_of``. If ``one_of`` is empty, no mask shares all of ``wanted``. If ``wanted`` is empty, every mask shares one
    of ``one_of``. Nothing can be left out of either: the claim does not hold for fewer latents.

    Attributes:
        reason: the claim in words, with what to do about it.
        latent: the latent to look at first: the one that must come along if it is a single one; else one that cannot
            be had without others.
        wanted: latents of the target that cannot be had (together, if they are several).
        one_of: latents outside the target of which one must come along.
    """

    reason: str
    latent: str
    wanted: frozenset[str]
    one_of: frozenset[str]


def design_mask(
    graph: LatentGraph,
    target: Collection[str],
    *,
    patches: Patches | None = None,
    choose: Choice = "smallest",
    max_seconds: float = 60.0,
) -> DesignedMask | Impossible:
    """Find a mask whose shared information is exactly the target, in the invertible regime.

    Always exact: an answer is a mask with the property asked for, or a proof that there is none. Linear time on forests
    whose patches are single observed variables or whole subtrees. Elsewhere targets that meet in common patches are
    found by branch and bound, which is fast on the graphs of tens to hundreds of latents tried and can take
    exponential time; ``choose="any"`` is easier than the two others.

    Args:
        graph: the generating graph.
        target: names of the latents to share; may be empty (share nothing).
        patches: what is masked together; ``None`` masks observed variables one by one.
        choose: "smallest" or "largest" masked part, counted in observed variables, or "any".
        max_seconds: when to give up the search; above 0.

    Returns:
        The mask, or why there is none.

    Raises:
        ValueError: a target that is not a collection of names of latents, patches that do not fit the graph or are
            fewer than 2, an unknown choice, or dims that no invertible mechanism can have.
        SearchTimeoutError: a ``ValueError``: the search takes longer than ``max_seconds``.

    References:
        ``docs/theory.md``, section 3; the theorem is proved at the top of this module's source.

    Example:
        >>> tree = LatentGraph.tree(2, 2)
        >>> design_mask(tree, ["z2_0", "z1_0"]).masked
        ('x_0',)
        >>> design_mask(tree, ["z1_0"]).latent
        'z2_0'
    """
    check_regime(graph, "invertible")
    if choose not in get_args(Choice):
        raise ValueError(f'choose must be "smallest", "largest" or "any", got {choose!r}')
    if not max_seconds > 0:
        raise ValueError(f"max_seconds must be above 0, got {max_seconds!r}")
    wanted = checked_target(graph, target)
    patch_of = patch_index(graph, patches)
    if patch_of.max() == 0:
        raise ValueError("a mask needs at least 2 patches (one masked, one visible), got 1: use a smaller unit")
    puzzle = _Puzzle(graph, wanted, patch_of, time.monotonic() + max_seconds)
    try:
        found = puzzle.missing_parent() or puzzle.solve(optimal=choose != "any")
    except TimeoutError:
        raise SearchTimeoutError(
            f"no answer within {max_seconds:g} seconds: on graphs whose target latents overlap this problem is hard",
            remedies={
                "choose": 'try choose="any"',
                "patches": "larger patches",
                "target": "fewer latents in the target",
                "max_seconds": "a larger max_seconds",
            },
        ) from None
    if isinstance(found, Impossible):
        return found
    mask = ~found if choose == "largest" else found
    shared = shared_information(graph, mask)
    names = tuple(name for name, hidden in zip(graph.observed, mask, strict=True) if hidden)
    return DesignedMask(masked=names, shared=shared.members, dim=shared.dim)


def checked_target(graph: LatentGraph, target: Collection[str]) -> frozenset[int]:
    """Positions of the latents of a target; refused are other names, observed variables, and no collection of names."""
    if isinstance(target, str) or not isinstance(target, Iterable):
        raise ValueError(f'target is a collection of names of latents such as ["z"], got {target!r}')
    found = frozenset(map(graph.position, target))
    for node in found:
        if node >= graph.n_latents:
            raise ValueError(
                f"target: {graph.nodes[node]!r} is an observed variable; only latents are shared between the two sides"
            )
    return found


def parts_of(
    graph: LatentGraph, target: Collection[int], patch_of: Int[np.ndarray, " n_observed"]
) -> Int[np.ndarray, " n_nodes"]:
    """The part of each node, numbered from 0 over observed variables; -1 for latents that are in no observed part."""
    n, n_latents = len(graph.nodes), graph.n_latents
    parents, children = graph.edge_indices
    outside = ~np.isin(parents, list(target))
    begins = np.concatenate([parents[outside], np.arange(n_latents, n)])
    ends = np.concatenate([children[outside], n + patch_of])
    size = n + int(patch_of.max()) + 1
    edges = csr_array((np.ones(len(begins), dtype=np.int8), (begins, ends)), shape=(size, size))
    _, label = connected_components(edges, directed=False)
    used, part = np.unique(label[n_latents:n], return_inverse=True)
    number = np.full(int(label.max()) + 1, -1)
    number[used] = np.arange(len(used))
    return np.concatenate([number[label[:n_latents]], part])


class _Puzzle:
    """The target as sets of parts to split. Nodes are positions in ``graph.nodes``."""

    def __init__(
        self, graph: LatentGraph, target: frozenset[int], patch_of: Int[np.ndarray, " n_observed"], deadline: float
    ) -> None:
        self.graph = graph
        self.target = target
        self.patch_of = patch_of
        self.deadline = deadline
        self.n_latents = graph.n_latents

    def missing_parent(self) -> Impossible | None:
        """The proof for a target that is not closed under parents, from its lowest missing ancestor."""
        pairs = [(p, u) for u in self.target for p in self.graph.parent_indices[u] if p not in self.target]
        if not pairs:
            return None
        parent, child = max(pairs)
        found = self._irreducible_reason([parent, child])
        if not found.one_of:
            return found
        named = {self.graph.nodes[u] for u in self.target}
        missing = sorted(self.graph.ancestors(named) - named)
        listed = ", ".join(map(repr, missing[:8])) + (f" and {len(missing) - 8} more" if len(missing) > 8 else "")
        return dataclasses.replace(
            found,
            reason=f"{found.reason}; it is a parent of {self.graph.nodes[child]!r}, which the target asks for, and a "
            f"mask cannot share a latent without its ancestors (missing: {listed})",
        )

    def solve(self, *, optimal: bool) -> Bool[np.ndarray, " n_observed"] | Impossible:
        """The smallest masked part, or the proof that there is none."""
        label = parts_of(self.graph, self.target, self.patch_of)
        part_of_observed = label[self.n_latents :]
        weights = np.bincount(part_of_observed)
        frontier = [u for u in sorted(self.target) if not self.target.intersection(self.graph.child_indices[u])]
        sets = [frozenset(label[list(self.graph.child_indices[u])].tolist()) for u in frontier]
        whole = next((u for u, parts in zip(frontier, sets, strict=True) if len(parts) == 1), None)
        if whole is not None:
            return self._explain([whole], label)
        if len(weights) == 1:
            return self._explain([], label)
        chosen = lightest_splitting(sets, weights.tolist(), optimal=optimal, deadline=self.deadline)
        if isinstance(chosen, np.ndarray):
            return chosen[part_of_observed]
        return self._explain([frontier[i] for i in chosen], label)

    # ------------------------------------------------------------------ proofs

    def _explain(self, split: list[int], label: Int[np.ndarray, " n_nodes"]) -> Impossible:
        """An irreducible reason why these latents cannot be split while those outside the target stay whole."""
        near = {p for u in split for p in label[self.n_latents + self.graph.arrays.observed_below(u)].tolist()}
        whole = [
            u
            for u in range(self.n_latents)
            if u not in self.target
            and self.target.issuperset(self.graph.parent_indices[u])
            and (not split or int(label[u]) in near)
        ]
        return self._irreducible_reason([*whole, *split])

    def _irreducible_reason(self, latents: list[int]) -> Impossible:
        """A reason among these latents; those in the target cannot all be split while the others stay whole."""
        patches_below = {u: frozenset(self.patch_of[self.graph.arrays.observed_below(u)].tolist()) for u in latents}

        def impossible(some: Sequence[int]) -> bool:
            return self._impossible(
                [patches_below[u] for u in some if u in self.target],
                [patches_below[u] for u in some if u not in self.target],
            )

        core = _irreducible(latents, impossible)
        nodes = self.graph.nodes
        return _worded([nodes[u] for u in core if u in self.target], [nodes[u] for u in core if u not in self.target])

    def _impossible(self, split: Sequence[Parts], whole: Sequence[Parts]) -> bool:
        """Tell whether no mask has every set of ``split`` on both sides and every set of ``whole`` on one."""
        n = int(self.patch_of.max()) + 1
        begins = [first for patches, first in zip(whole, map(min, whole), strict=True) for _ in patches]
        ends = [patch for patches in whole for patch in patches]
        edges = csr_array((np.ones(len(begins), dtype=np.int8), (begins, ends)), shape=(n, n))
        n_parts, label = connected_components(edges, directed=False)
        sets = [frozenset(label[list(patches)].tolist()) for patches in split]
        if n_parts == 1 or any(len(parts) == 1 for parts in sets):
            return True
        found = lightest_splitting(sets, [1] * n_parts, optimal=False, deadline=self.deadline)
        return not isinstance(found, np.ndarray)


def _irreducible(items: list[int], impossible: Callable[[Sequence[int]], bool]) -> list[int]:
    """A part of ``items`` that is impossible together while none of its own parts is (QuickXplain, Junker 2004)."""

    def within(background: list[int], grown: bool, candidates: list[int]) -> list[int]:
        if grown and impossible(background):
            return []
        if len(candidates) == 1:
            return candidates
        half = len(candidates) // 2
        first, second = candidates[:half], candidates[half:]
        from_second = within([*background, *first], True, second)
        from_first = within([*background, *from_second], bool(from_second), first)
        return from_first + from_second

    return within([], False, items)


def _worded(wanted: list[str], one_of: list[str]) -> Impossible:
    listed, either = " and ".join(map(repr, wanted)), " or ".join(map(repr, one_of))
    it = "it" if len(one_of) == 1 else "one of them"
    if not wanted:
        reason = f"{either} must come along: every mask of these patches has {it} on both sides; add it to the target"
    elif one_of:
        reason = (
            f"{either} must come along: every mask that has {listed} on both sides has {it} on both sides, too; "
            "add it to the target"
        )
    elif len(wanted) == 1:
        reason = f"{listed} cannot be had: everything below it lies in one patch; use smaller patches, or leave it out"
    else:
        reason = (
            f"{listed} cannot be had together: no mask of these patches splits all of them; leave one out with its "
            "descendants, or use smaller patches"
        )
    latent = one_of[0] if len(one_of) == 1 or not wanted else wanted[0]
    return Impossible(reason=reason, latent=latent, wanted=frozenset(wanted), one_of=frozenset(one_of))
