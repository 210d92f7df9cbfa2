"""The rest that is unknown once some observed variables are seen: the quickest exact way for each model and mask.

Trees whose visible variables have noise in every dim are worked on in linear time, many masks together. Everything else
goes through dense matrices, one mask after the other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float

from hlvm.theory.gaussian.parameters import Parameters
from hlvm.theory.gaussian.sides import Side, variance_given
from hlvm.theory.gaussian.tree import Tree, TreePosterior
from hlvm.theory.oracles import Part, check_part

__all__ = ["Posterior"]

# How many times a variable's standard deviation may be that of its least noise.
_FAINTEST_OF_ONE = 1e150  # with latents of one dim nothing is lost, up to where squares overflow
_FAINTEST_ON_TREES = 1e5
_FAINTEST = 1e10

_NUMBERS_AT_ONCE = 2**22
"""Numbers in a table of all nodes and the masks that are worked on together: 32 MiB."""


class Posterior:
    """Variances given what is seen.

    Args:
        parameters: of the model.

    Attributes:
        parameters: of the model.
    """

    def __init__(self, parameters: Parameters) -> None:
        self.parameters = parameters
        self._first = parameters.graph.n_latents

    @cached_property
    def is_forest(self) -> bool:
        """Tell whether every variable has at most one parent."""
        return self.parameters.graph.arrays.is_forest

    @cached_property
    def tree(self) -> Tree:
        """The model made ready for many masks; of forests."""
        return Tree(self.parameters)

    @cached_property
    def variances(self) -> Float[np.ndarray, " n_dims"]:
        """Variance of every dim when nothing is seen, all variables side by side."""
        if self.is_forest:
            return np.concatenate([(root**2).sum(axis=1) for root in self.tree.prior_roots])
        latent = (self.parameters.latent_effects**2).sum(axis=1)
        nodes = list(range(self._first, self.parameters.graph.arrays.n_nodes))
        observed = (self.parameters.observed_effects(nodes) ** 2).sum(axis=1) + self._own_variances(nodes)
        return np.concatenate([latent, observed])

    @property
    def observed_variances(self) -> Float[np.ndarray, " n_observed_dims"]:
        """The part of :attr:`variances` that is of observed variables."""
        return self.variances[self.parameters.starts[self._first] :]

    def totals(self, part: Part) -> Float[np.ndarray, " n_latents"]:
        """Variance of each latent, or of the noise that enters at it, dims summed."""
        if part == "noise":
            return np.asarray([(factor**2).sum() for factor in self.parameters.factors[: self._first]])
        return np.add.reduceat(
            self.variances[: self.parameters.starts[self._first]], self.parameters.starts[: self._first]
        )

    def latents(
        self, seen: Bool[np.ndarray, "n_masks n_observed"], part: Part
    ) -> Float[np.ndarray, "n_masks n_latents"]:
        """The rest of :meth:`totals` once some observed variables are seen."""

        def on_tree(posterior: TreePosterior) -> np.ndarray:
            return posterior.latent_variances() if part == "value" else posterior.noise_variances()

        def dense(chosen: np.ndarray) -> np.ndarray:
            effects = self.parameters.latent_effects if part == "value" else self.parameters.latent_noise
            rest = variance_given(effects, self.side(chosen))
            return np.add.reduceat(rest, self.parameters.starts[: self._first])

        return self._answered(seen, self._first, on_tree, dense)

    def observed(self, seen: Bool[np.ndarray, "n_masks n_observed"]) -> Float[np.ndarray, "n_masks n_observed_dims"]:
        """Variance of each observed dim that is left; what stands at the seen ones has no meaning."""

        def dense(chosen: np.ndarray) -> np.ndarray:
            found = np.zeros(n_dims)
            hidden = self.observed_nodes(~chosen)
            if hidden:
                rest = variance_given(self.parameters.observed_effects(hidden), self.side(chosen))
                found[self.parameters.columns(~chosen)] = rest + self._own_variances(hidden)
            return found

        n_dims = self.parameters.starts[-1] - self.parameters.starts[self._first]
        return self._answered(seen, n_dims, TreePosterior.observed_variances, dense)

    def shares(
        self, seen: Bool[np.ndarray, "n_masks n_observed"], part: Part
    ) -> Float[np.ndarray, "n_masks n_latents"]:
        """Share of each latent that is known, 0 to 1; NaN where there is nothing to know."""
        check_part(part)
        total = self.totals(part)
        found = np.full((len(seen), len(total)), np.nan)
        np.divide(self.latents(seen, part), total, out=found, where=total > 0)
        return np.clip(1 - found, 0, 1)

    def relative_losses(self, seen: Bool[np.ndarray, "n_masks n_observed"]) -> Float[np.ndarray, "n_masks n_observed"]:
        """Mean over the dims of each observed variable of what is left of their variance, as shares of it."""
        found = self.observed(seen)
        variance = self.observed_variances
        np.divide(found, variance, out=found, where=variance > 0)
        found[:, variance == 0] = 0.0
        dims = self.parameters.graph.arrays.dims[self._first :]
        return found if (dims == 1).all() else np.add.reduceat(found, np.cumsum(dims) - dims, axis=1) / dims

    def means(
        self,
        targets: Bool[np.ndarray, " n_observed"],
        seen: Bool[np.ndarray, " n_observed"],
        centred: Float[np.ndarray, "n n_observed_dims"],
    ) -> Float[np.ndarray, "n n_target_dims"]:
        """Means of some observed variables given others, all centred."""
        hidden, shown = self.parameters.columns(targets), self.parameters.columns(seen)
        if self.is_linear_time(seen[None])[0]:
            return self.tree_posterior(seen[None]).observed_means(centred)[:, hidden]
        side = self.side(seen)
        effects = self.parameters.observed_effects(self.observed_nodes(targets))
        return (centred[:, shown] @ side.weights.T) @ (effects @ side.directions).T

    def side(self, chosen: Bool[np.ndarray, " n_observed"], known: Float[np.ndarray, "m g"] | None = None) -> Side:
        """One side of a mask; ``known`` are orthonormal directions of the latents' noises that are known already."""
        self._check_noise(chosen, _FAINTEST)
        return Side.of(self.parameters, self.observed_nodes(chosen), known)

    def is_linear_time(self, seen: Bool[np.ndarray, "n_masks n_observed"]) -> Bool[np.ndarray, " n_masks"]:
        """Tell for each mask whether message passing answers.

        Raises:
            ValueError: it would, and some visible variable has too little noise for double precision.
        """
        if not self.is_forest:
            return np.zeros(len(seen), dtype=bool)
        linear = self.has_full_noise(seen)
        if self.latents_are_numbers:
            self._check_noise(np.asarray(seen[linear].any(axis=0)), _FAINTEST_OF_ONE)
            return linear
        # Precision matrices are sums of squares, and rounding takes the square of this ratio from the weak directions.
        faint = seen & (self._noise_ratios[self._first :] > _FAINTEST_ON_TREES)
        return linear & ~np.asarray(faint.any(axis=1))

    def has_full_noise(self, seen: Bool[np.ndarray, "n_masks n_observed"]) -> Bool[np.ndarray, " n_masks"]:
        """Tell for each mask whether every visible variable has noise in every dim."""
        return np.asarray(~(seen & ~self._has_full_noise[self._first :]).any(axis=1))

    def can_be_known_on_tree(self, nodes: list[int]) -> bool:
        """Tell whether message passing also takes the values of these latents as known."""
        below = [node for node in nodes if self.parameters.graph.parent_indices[node]]
        most = _FAINTEST_OF_ONE if self.latents_are_numbers else _FAINTEST_ON_TREES
        return bool(self._has_full_noise[below].all() and (self._noise_ratios[below] <= most).all())

    @cached_property
    def latents_are_numbers(self) -> bool:
        """Tell whether every latent has one dim."""
        return bool((self.parameters.graph.arrays.dims[: self._first] == 1).all())

    def tree_posterior(
        self, seen: Bool[np.ndarray, "n_masks n_observed"], latents: Sequence[int] = ()
    ) -> TreePosterior:
        """Message passing with some observed variables seen, and in every mask the values of some latents."""
        nodes = np.zeros((len(seen), self.parameters.graph.arrays.n_nodes), dtype=bool)
        nodes[:, self._first :] = seen
        nodes[:, list(latents)] = True
        return TreePosterior(self.tree, nodes)

    def observed_nodes(self, chosen: Bool[np.ndarray, " n_observed"]) -> list[int]:
        """Positions of some observed variables in ``graph.nodes``."""
        return (self._first + np.flatnonzero(chosen)).tolist()

    # ------------------------------------------------------------------ inside

    def _answered(
        self,
        seen: Bool[np.ndarray, "n_masks n_observed"],
        n: int,
        on_tree: Callable[[TreePosterior], np.ndarray],
        dense: Callable[[np.ndarray], np.ndarray],
    ) -> Float[np.ndarray, "n_masks n"]:
        """Rows of answers, each distinct mask worked on once."""
        packed = np.packbits(seen, axis=1)
        first, back = np.unique(packed, axis=0, return_index=True, return_inverse=True)[1:]
        distinct = seen if len(first) == len(seen) else seen[first]
        found = np.empty((len(distinct), n))
        linear = self.is_linear_time(distinct)
        for rows in self._chunks(np.flatnonzero(linear)):
            found[rows] = on_tree(self.tree_posterior(distinct[rows])).T
        for row in np.flatnonzero(~linear).tolist():
            found[row] = dense(distinct[row])
        return found if distinct is seen else found[back.reshape(-1)]

    def _chunks(self, rows: np.ndarray) -> Iterator[np.ndarray]:
        if len(rows):
            step = max(1, _NUMBERS_AT_ONCE // self.tree.numbers_per_mask)
            yield from (rows[begin : begin + step] for begin in range(0, len(rows), step))

    def _check_noise(self, chosen: Bool[np.ndarray, " n_observed"], most: float) -> None:
        ratios = np.where(chosen, self._noise_ratios[self._first :], 0.0)
        worst = int(ratios.argmax())
        if ratios[worst] > most:
            name = self.parameters.graph.observed[worst]
            raise ValueError(
                f"the model is ill-conditioned: the least noise of {name!r} is a share "
                f"of {1 / ratios[worst]:.1g} of the variable's standard deviation, and double precision allows shares "
                f"down to {1 / most:.0e}: make it larger, or 0 for a dim without noise"
            )

    @cached_property
    def _has_full_noise(self) -> Bool[np.ndarray, " n_nodes"]:
        return np.asarray(self.parameters.noise_ranks) == self.parameters.graph.arrays.dims

    @cached_property
    def _noise_ratios(self) -> Float[np.ndarray, " n_nodes"]:
        """For each variable, its largest standard deviation over that of its least noise that is not 0."""
        found = np.zeros(len(self.parameters.factors))
        deviations = np.sqrt(np.maximum.reduceat(self.variances, self.parameters.starts[:-1]))
        for node, (factor, rank) in enumerate(zip(self.parameters.factors, self.parameters.noise_ranks, strict=True)):
            if rank:
                scales = np.abs(factor[0]) if factor.size == 1 else np.linalg.svd(factor, compute_uv=False)
                found[node] = deviations[node] / scales[:rank].min()
        return found

    def _own_variances(self, nodes: list[int]) -> Float[np.ndarray, " n"]:
        return np.concatenate([(self.parameters.factors[node] ** 2).sum(axis=1) for node in nodes])
