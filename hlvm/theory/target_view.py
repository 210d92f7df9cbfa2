"""What a partition of the observed variables into patches sees of a target: which masks share it, and how likely."""

from __future__ import annotations

import math
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components
from scipy.special import gammaln

from hlvm.graph import LatentGraph
from hlvm.masking import Patches
from hlvm.theory.mask_design import Impossible, SearchTimeoutError, design_mask
from hlvm.theory.mask_laws import MaskLaw
from hlvm.theory.membership import patches_reached
from hlvm.theory.set_splitting import Parts
from hlvm.theory.splitting_count import Splittings, count_splittings

__all__ = ["Target", "TargetView"]

_PROOF_SECONDS = 5.0
"""Time for the search for a mask, or for a proof that there is none, where latents of the target overlap."""


class Target:
    """A graph and a target in it."""

    def __init__(self, graph: LatentGraph, wanted: Bool[np.ndarray, " n_latents"]) -> None:
        self.graph = graph
        self.wanted = wanted
        self.names = [graph.latents[u] for u in np.flatnonzero(wanted).tolist()]

    @cached_property
    def unclosed(self) -> Impossible | None:
        """Why no mask at all shares a target that some parent of its latents is missing from."""
        return None if self.graph.ancestors(self.names) <= set(self.names) else self.proof(None)

    @cached_property
    def lowest(self) -> list[int]:
        """Latents of the target without a descendant in it."""
        above = np.zeros(len(self.graph.nodes), dtype=bool)
        for node in range(len(self.graph.nodes) - 1, -1, -1):
            if above[node] or (node < len(self.wanted) and self.wanted[node]):
                above[list(self.graph.parent_indices[node])] = True
        return np.flatnonzero(self.wanted & ~above[: len(self.wanted)]).tolist()

    def proof(self, patches: Patches | None) -> Impossible | None:
        """Why no mask of these patches shares exactly the target, if that is so and is found in time."""
        try:
            found = design_mask(self.graph, self.names, patches=patches, choose="any", max_seconds=_PROOF_SECONDS)
        except SearchTimeoutError:
            return None
        return found if isinstance(found, Impossible) else None


class TargetView:
    """The target as a partition into patches sees it."""

    def __init__(self, target: Target, patches: Patches) -> None:
        self.target = target
        self.graph = target.graph
        self.patches = patches
        self.patch_of = patches.index(target.graph)

    @cached_property
    def reach(self) -> Int[np.ndarray, " n_latents"]:
        """Number of patches below each latent."""
        return patches_reached(self.graph, self.patches)

    @cached_property
    def impossible(self) -> Impossible | None:
        """Why no mask of these patches shares exactly the target, if that is so and is found in time."""
        return self.target.unclosed or self.target.proof(self.patches)

    @cached_property
    def exact_masks(self) -> Splittings | None:
        """The masks that share exactly the target, which is closed under parents, if they can be counted."""
        graph, wanted = self.graph, self.target.wanted
        n, n_latents = len(graph.nodes), len(wanted)
        parents, children = graph.edge_indices
        outside = ~wanted[parents]
        begins = np.concatenate([parents[outside], np.arange(n_latents, n)])
        ends = np.concatenate([children[outside], n + self.patch_of])
        size = n + len(self.patches)
        edges = csr_array((np.ones(len(begins), dtype=np.int8), (begins, ends)), shape=(size, size))
        _, label = connected_components(edges, directed=False)
        used, part_of_patch = np.unique(label[n:], return_inverse=True)
        part = np.full(int(label.max()) + 1, -1)
        part[used] = np.arange(len(used))
        sets = [frozenset(part[label[list(graph.child_indices[u])]].tolist()) for u in self.target.lowest]
        return count_splittings(np.bincount(part_of_patch).tolist(), sets)

    @cached_property
    def containing_masks(self) -> Splittings | None:
        """The masks that share at least the target, if they can be counted."""
        return count_splittings([1] * len(self.patches), [self._patches_below(u) for u in self.target.lowest])

    def _patches_below(self, latent: int) -> Parts:
        return frozenset(self.patch_of[self.graph.arrays.observed_below(latent)].tolist())

    def log_probability(self, law: MaskLaw) -> float | None:
        """Logarithm of the probability of exactly the target, if it is known without drawing masks."""
        if self.target.unclosed:
            return -math.inf
        if law.kind == "listed":
            return None
        if law.kind in ("uniform", "bernoulli") and self.exact_masks is not None:
            return _log_probability(self.exact_masks, law)
        return -math.inf if self.impossible else None

    def log_contained(self, law: MaskLaw) -> float | None:
        """Logarithm of the probability of at least the target, if it is known without drawing masks."""
        if law.kind not in ("uniform", "bernoulli") or self.containing_masks is None:
            return None
        return _log_probability(self.containing_masks, law)

    def must_be_sampled(self, law: MaskLaw) -> bool:
        """Whether some number is not known without drawing masks."""
        return law.kind != "listed" and (self.log_probability(law) is None or self.log_contained(law) is None)

    def one_sided(self, law: MaskLaw) -> Float[np.ndarray, " n_latents"] | None:
        """Probability of each latent not to be shared, if it is known without drawing masks.

        As in :func:`~hlvm.theory.membership_probability`, but given that both sides are non-empty.
        """
        n, k = len(self.patches), self.reach
        if law.kind == "uniform":
            of_visible, of_masked = (_log_choose(n - k, m) for m in (law.n_masked, n - law.n_masked))
            found = np.exp(np.stack([of_visible, of_masked]) - _log_choose(np.asarray(n), law.n_masked)).sum(axis=0)
        elif law.kind == "bernoulli":
            r = min(law.ratio, 1 - law.ratio)  # which side is called masked makes no difference
            shown = k * np.log1p(-r)
            all_shown = n * np.log1p(-r)
            one_side = np.exp(shown) * -np.expm1(all_shown - shown) + r**k - r**n
            found = one_side / (-np.expm1(all_shown) - r**n)
        else:
            return None
        return np.where(k == 1, 1.0, np.clip(found, 0.0, 1.0))

    def never_and_always(self, law: MaskLaw) -> tuple[Bool[np.ndarray, " n_latents"], Bool[np.ndarray, " n_latents"]]:
        """Latents that no mask shares and that all masks share, as follows from the patches below them."""
        n = len(self.patches)
        largest_side = max(law.n_masked, n - law.n_masked) if law.kind == "uniform" else n - 1
        return self.reach == 1, self.reach > largest_side


def _log_probability(masks: Splittings, law: MaskLaw) -> float:
    return masks.log_uniform(law.n_masked) if law.kind == "uniform" else masks.log_bernoulli(law.ratio)


def _log_choose(n: Int[np.ndarray, "*shape"], k: int) -> Float[np.ndarray, "*shape"]:
    """Logarithm of the number of ways to choose ``k`` of ``n``; ``-inf`` where there is none."""
    enough = np.maximum(n, k)
    return np.where(n >= k, gammaln(enough + 1) - gammaln(k + 1) - gammaln(enough - k + 1), -np.inf)
