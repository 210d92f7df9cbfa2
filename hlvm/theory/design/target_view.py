"""A target seen through patches of the observed variables: which masks share it, and how likely."""

from __future__ import annotations

import math
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float
from scipy.special import logsumexp

from hlvm.graph import LatentGraph
from hlvm.masking import Chance, Counted, Law, Patches
from hlvm.theory.design.mask_design import Impossible, SearchTimeoutError, design_mask, parts_of
from hlvm.theory.design.set_splitting import Parts
from hlvm.theory.design.splitting_count import Splittings, count_splittings
from hlvm.theory.random_masks.averages import can_be_listed
from hlvm.theory.random_masks.membership import Membership

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
        """The reason why no mask at all shares a target that some parent of its latents is missing from."""
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
        """The reason why no mask of these patches shares exactly the target, if that is so and is found in time."""
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
        self.membership = Membership(target.graph, patches)

    @cached_property
    def impossible(self) -> Impossible | None:
        """The reason why no mask of these patches shares exactly the target, if that is so and is found in time."""
        return self.target.unclosed or self.target.proof(self.patches)

    @cached_property
    def exact_masks(self) -> Splittings | None:
        """The masks that share exactly the target, which is closed under parents, if they can be counted."""
        label = parts_of(self.graph, np.flatnonzero(self.target.wanted).tolist(), self.patch_of)
        part_of_patch = np.empty(len(self.patches), dtype=np.int64)
        part_of_patch[self.patch_of] = label[self.graph.n_latents :]
        sets = [frozenset(label[list(self.graph.child_indices[u])].tolist()) for u in self.target.lowest]
        return count_splittings(np.bincount(part_of_patch).tolist(), sets)

    @cached_property
    def containing_masks(self) -> Splittings | None:
        """The masks that share at least the target, if they can be counted."""
        return count_splittings([1] * len(self.patches), [self._patches_below(u) for u in self.target.lowest])

    def _patches_below(self, latent: int) -> Parts:
        return frozenset(self.patch_of[self.graph.arrays.observed_below(latent)].tolist())

    def log_probability(self, law: Law) -> float | None:
        """Logarithm of the probability of exactly the target, if it is known without drawing masks."""
        if self.target.unclosed:
            return -math.inf
        if can_be_listed(self.graph, law):
            return None
        if isinstance(law, Counted | Chance) and self.exact_masks is not None:
            return _log_probability(self.exact_masks, law)
        return -math.inf if self.impossible else None

    def log_contained(self, law: Law) -> float | None:
        """Logarithm of the probability of at least the target, if it is known without drawing masks."""
        if not isinstance(law, Counted | Chance) or self.containing_masks is None:
            return None
        return _log_probability(self.containing_masks, law)

    def must_be_sampled(self, law: Law) -> bool:
        """Tell whether some number is not known without drawing masks."""
        return not can_be_listed(self.graph, law) and (
            self.log_probability(law) is None or self.log_contained(law) is None
        )

    def one_sided(self, law: Law) -> Float[np.ndarray, " n_latents"] | None:
        """Probability of each latent not to be shared, if it is known without drawing masks."""
        return self.membership.one_sided(law) if isinstance(law, Counted | Chance) else None

    def never_and_always(self, law: Law) -> tuple[Bool[np.ndarray, " n_latents"], ...]:
        """Latents that no mask shares and that all masks share, as follows from the patches below them."""
        n, reach = len(self.patches), self.membership.reach
        largest_side = max(law.most, n - law.fewest) if isinstance(law, Counted) else n - 1
        return reach == 1, reach > largest_side


def _log_probability(masks: Splittings, law: Counted | Chance) -> float:
    if isinstance(law, Chance):
        return masks.log_bernoulli(law.ratio)
    of_counts = [masks.log_uniform(n_masked) for n_masked in law.counts]
    return of_counts[0] if len(of_counts) == 1 else float(logsumexp(of_counts) - np.log(len(of_counts)))
