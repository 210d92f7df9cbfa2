"""The linear-Gaussian oracle: everything about one mask in closed form, in float64 (section 5 of ``docs/theory.md``).

On trees whose visible variables have noise in every dim, reconstruction, its loss and the latents' R² come from
:mod:`hlvm.theory.gaussian.tree`, in linear time and without a limit on size. Everything else works with dense matrices,
up to a stated limit.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import scipy.linalg
from jaxtyping import Bool, Float

from hlvm.graph import LatentGraph
from hlvm.masking import masked_array
from hlvm.theory.gaussian.parameters import Parameters
from hlvm.theory.gaussian.results import BayesLoss, ReducedRank, ratio
from hlvm.theory.gaussian.sides import Side, variance_given
from hlvm.theory.gaussian.tree import TreePosterior, prior_variances
from hlvm.theory.one_mask.trek_separation import TrekSeparation, trek_separating_set

__all__ = ["GaussianOracle", "LinearGaussianModel"]

# How many times a variable's standard deviation may be that of its least noise.
_FAINTEST_OF_ONE = 1e150  # with latents of one dim nothing is lost, up to where squares overflow
_FAINTEST_ON_TREES = 1e5
_FAINTEST = 1e10

Mask = Collection[str] | Bool[Any, " n_observed"]


class LinearGaussianModel(Protocol):
    """Everything the oracle asks of a model, such as :class:`hlvm.simulator.HierarchicalModel`."""

    @property
    def graph(self) -> LatentGraph:
        """The latent graph."""
        ...

    def linear_gaussian_parameters(self) -> Mapping[str, Mapping[str, Any]]:
        """The keyword arguments of :meth:`GaussianOracle.from_parameters` beside the graph."""
        ...


class GaussianOracle:
    """Closed forms for one linear-Gaussian model.

    Args:
        model: anything that gives its graph and its parameters, such as a
            :class:`~hlvm.simulator.HierarchicalModel` with :class:`~hlvm.mechanisms.LinearGaussian` mechanisms; see
            :meth:`from_parameters` for plain arrays.

    Raises:
        ValueError: the model is not linear-Gaussian, or its parameters do not fit its graph.

    Example:
        >>> graph = LatentGraph.from_edges([("z", "x1"), ("z", "x2")], dims=1)
        >>> ones = {"x1": [[1.0]], "x2": [[1.0]]}
        >>> oracle = GaussianOracle.from_parameters(graph, coefficients=ones, noise_scales={"z": 1, "x1": 1, "x2": 1})
        >>> round(oracle.latent_r2(["x1"])["z"], 6), round(oracle.bayes_loss(["x1"]).relative, 6)
        (0.5, 0.75)
    """

    def __init__(self, model: LinearGaussianModel) -> None:
        if not hasattr(model, "linear_gaussian_parameters"):
            raise ValueError(
                f"expected a model with linear_gaussian_parameters(), got {type(model).__name__}: use "
                "GaussianOracle.from_parameters for plain arrays"
            )
        self._parameters = Parameters.checked(model.graph, **model.linear_gaussian_parameters())

    @classmethod
    def from_parameters(
        cls,
        graph: LatentGraph,
        *,
        coefficients: Mapping[str, Any],
        noise_scales: Mapping[str, Any],
        offsets: Mapping[str, Any] | None = None,
    ) -> GaussianOracle:
        """Make an oracle from arrays: each variable is ``coefficients @ parents + offset + noise``.

        Args:
            graph: the latent graph.
            coefficients: name -> (dim, dims of the parents) array, parents in the graph's order; roots need none.
            noise_scales: name -> standard deviations (dim,), or one number for all dims, or a (dim, n) factor ``L``
                such that the noise's covariance is ``L @ L.T``. Zero is allowed.
            offsets: name -> (dim,) array; 0 where left out.

        Returns:
            The oracle.

        Raises:
            ValueError: a name is unknown or missing, a shape does not fit the graph, or a number is not finite.
        """
        oracle = cls.__new__(cls)
        oracle._parameters = Parameters.checked(graph, coefficients, noise_scales, offsets)
        return oracle

    @property
    def graph(self) -> LatentGraph:
        """The latent graph."""
        return self._parameters.graph

    def covariance(self, names: Collection[str] | None = None) -> Float[np.ndarray, "n n"]:
        """Joint covariance of some variables.

        Args:
            names: in the order wanted; ``None``: all of ``graph.nodes``.

        Returns:
            Their dims side by side, (n, n).

        Raises:
            ValueError: an unknown name, or together with their ancestors more than 8,192 dims.
        """
        chosen = self.graph.nodes if names is None else names
        return self._parameters.covariance([self.graph.position(name) for name in chosen])

    def bayes_reconstruction(self, masked: Mask, values: Any) -> Float[np.ndarray, "n n_masked_dims"]:
        """Best reconstruction of the masked part: its mean given the visible part.

        Args:
            masked: names of the masked observed variables, or a boolean array over ``graph.observed``, True = masked.
            values: shape (n, observed dims), all observed variables side by side as in ``Sample.observed_matrix``;
                masked columns are not read.

        Returns:
            Masked columns in the graph's order, (n, masked dims).

        Raises:
            ValueError: no mask of this graph, values of another shape or not finite where visible, larger than the
                stated limit, or ill-conditioned.
        """
        mask = masked_array(self.graph, masked)
        hidden = self._parameters.columns(mask)
        data = np.asarray(values, dtype=np.float64)
        if data.ndim != 2 or data.shape[1] != len(hidden):
            raise ValueError(f"values must have shape (n, {len(hidden)}), all observed dims; got {data.shape}")
        if not np.isfinite(data[:, ~hidden]).all():
            raise ValueError("values holds a number that is not finite in a visible column")
        means = self._observed_means
        centred = data - means
        if self._is_linear_time(mask):
            found = TreePosterior(self._parameters, ~mask).means(centred)
            predicted = np.concatenate([found[node] for node in self._observed_nodes(mask)]).T
        else:
            side = self._side(~mask)
            effects = self._parameters.observed_effects(self._observed_nodes(mask))
            predicted = (centred[:, ~hidden] @ side.weights.T) @ (effects @ side.directions).T
        return means[hidden] + predicted

    def bayes_loss(self, masked: Mask) -> BayesLoss:
        """Least mean squared error with which the masked part can be reconstructed.

        Args:
            masked: as in :meth:`bayes_reconstruction`.

        Returns:
            The error per masked column, and in units of the data's variance.

        Raises:
            ValueError: no mask of this graph, larger than the stated limit, or ill-conditioned.
        """
        mask = masked_array(self.graph, masked)
        _, mse = self._variances_given(mask)
        n_latent_dims = self._parameters.starts[len(self.graph.latents)]
        return BayesLoss(mse=mse, variance=self._variances[n_latent_dims:][self._parameters.columns(mask)])

    def latent_r2(self, masked: Mask) -> dict[str, float]:
        """Share of each latent that the visible part holds: R² of its best prediction, dims weighted by variance.

        Args:
            masked: as in :meth:`bayes_reconstruction`.

        Returns:
            Latent -> R², 0 to 1; NaN for a latent without variance.

        Raises:
            ValueError: no mask of this graph, larger than the stated limit, or ill-conditioned.
        """
        rest, _ = self._variances_given(masked_array(self.graph, masked))
        found = {}
        for name, begin, end in zip(
            self.graph.latents, self._parameters.starts, self._parameters.starts[1:], strict=False
        ):
            total = self._variances[begin:end].sum()
            found[name] = float(np.clip(1 - rest[begin:end].sum() / total, 0, 1)) if total > 0 else float("nan")
        return found

    def canonical_correlations(self, masked: Mask) -> Float[np.ndarray, " n"]:
        """Canonical correlations between the masked and the visible part, largest first.

        Args:
            masked: as in :meth:`bayes_reconstruction`.

        Returns:
            As many as the smaller part has dims, 0 to 1.

        Raises:
            ValueError: no mask of this graph, larger than the stated limit, or ill-conditioned.

        References:
            Angles between subspaces by singular values: :cite:t:`bjorck1973angles`.
        """
        mask = masked_array(self.graph, masked)
        one, other = self._side(mask), self._side(~mask)
        product = one.gains[:, None] * (one.directions.T @ other.directions) * other.gains
        n_masked = int(self._parameters.columns(mask).sum())
        found = np.zeros(min(n_masked, len(self._observed_means) - n_masked))
        correlations = scipy.linalg.svdvals(product)[: len(found)] if product.size else np.zeros(0)
        found[: len(correlations)] = np.minimum(correlations, 1.0)
        return found

    def cross_covariance_rank(self, masked: Mask, *, tolerance: float = 1e-10) -> int:
        """Rank of the covariance of the masked with the visible part: canonical correlations that are not zero.

        Args:
            masked: as in :meth:`bayes_reconstruction`.
            tolerance: correlations up to this count as zero. Rounding leaves them near 1e-15.

        Returns:
            The rank, at least 0. What rounding adds beyond the size of the smallest trek-separating set, which no rank
            exceeds, is not counted.

        Raises:
            ValueError: no mask of this graph, larger than the stated limit, or ill-conditioned.
        """
        found = int((self.canonical_correlations(masked) > tolerance).sum())
        return min(found, self.trek_separating_set(masked).dim)

    def reduced_rank(self, masked: Mask, k: int, *, standardize: bool = True) -> ReducedRank:
        """Best linear bottleneck of ``k`` numbers from the visible to the masked part.

        Args:
            masked: as in :meth:`bayes_reconstruction`.
            k: numbers in the code, 0 up to the dims of the smaller part.
            standardize: minimise errors in units of each masked column's variance, as :mod:`hlvm.mae` does, instead of
                squared units of the data.

        Returns:
            Encoder, decoder, and the loss of every rank.

        Raises:
            ValueError: no mask of this graph, ``k`` out of range, larger than the stated limit, or ill-conditioned.

        References:
            Reduced-rank regression: Izenman, "Reduced-rank regression for the multivariate linear model", Journal of
            Multivariate Analysis 5 (1975).
        """
        mask = masked_array(self.graph, masked)
        hidden = self._parameters.columns(mask)
        most = int(min(hidden.sum(), (~hidden).sum()))
        if isinstance(k, bool) or not isinstance(k, int | np.integer) or not 0 <= k <= most:
            raise ValueError(f"k must be a whole number from 0 to {most}, the dims of the smaller part; got {k!r}")
        side = self._side(~mask)
        bayes = self.bayes_loss(mask)
        scale = np.sqrt(bayes.variance) if standardize else np.ones(len(bayes.variance))
        seen = self._parameters.observed_effects(self._observed_nodes(mask)) @ side.directions
        left, s, _ = scipy.linalg.svd(ratio(seen * side.gains, scale[:, None]), full_matrices=False)
        explained = np.zeros(most)
        explained[: len(s)] = s[:most] ** 2
        beyond = np.append(np.cumsum(explained[::-1])[::-1], 0.0) / len(scale)
        code = np.zeros((k, len(scale)))
        code[: left.shape[1]] = left.T[:k]
        return ReducedRank(
            encoder=ratio(code, scale) @ seen @ side.weights,
            decoder=scale[:, None] * code.T,
            visible_means=self._observed_means[~hidden],
            masked_means=self._observed_means[hidden],
            losses=(bayes.relative if standardize else bayes.mean) + beyond,
        )

    def trek_separating_set(self, masked: Mask) -> TrekSeparation:
        """Smallest trek-separating set of the two parts, from the graph and the ranks of the noises.

        Args:
            masked: as in :meth:`bayes_reconstruction`.

        Returns:
            The set; its ``dim`` is the rank of the parts' covariance for almost all coefficients.

        Raises:
            ValueError: as :func:`hlvm.theory.trek_separating_set`.
        """
        return trek_separating_set(self.graph, masked, noise_ranks=self._parameters.noise_ranks)

    # ------------------------------------------------------------------ inside

    @cached_property
    def _is_forest(self) -> bool:
        return self.graph.arrays.is_forest

    def _is_linear_time(self, mask: Bool[np.ndarray, " n_observed"]) -> bool:
        ranks, dims = self._parameters.noise_ranks, self.graph.dims
        if not self._is_forest or any(ranks[node] != dims[node] for node in self._observed_nodes(~mask)):
            return False
        if all(dims[node] == 1 for node in range(len(self.graph.latents))):
            self._check_noise(~mask, _FAINTEST_OF_ONE)
            return True
        # Precision matrices are sums of squares, and rounding takes the square of this ratio from the weak directions.
        return bool((self._noise_ratios[~mask] <= _FAINTEST_ON_TREES).all())

    def _side(self, chosen: Bool[np.ndarray, " n_observed"]) -> Side:
        self._check_noise(chosen, _FAINTEST)
        return Side.of(self._parameters, self._observed_nodes(chosen))

    def _check_noise(self, chosen: Bool[np.ndarray, " n_observed"], most: float) -> None:
        ratios = np.where(chosen, self._noise_ratios, 0.0)
        worst = int(ratios.argmax())
        if ratios[worst] > most:
            raise ValueError(
                f"the model is ill-conditioned: the least noise of {self.graph.observed[worst]!r} is a share of "
                f"{1 / ratios[worst]:.1g} of the variable's standard deviation, and double precision allows shares "
                f"down to {1 / most:.0e}: make it larger, or 0 for a dim without noise"
            )

    @cached_property
    def _noise_ratios(self) -> Float[np.ndarray, " n_observed"]:
        """For each observed variable, its largest standard deviation over that of its least noise that is not 0."""
        found = []
        for node in self._observed_nodes(np.ones(len(self.graph.observed), dtype=bool)):
            scales = np.linalg.svd(self._parameters.factors[node], compute_uv=False)
            scales = scales[: self._parameters.noise_ranks[node]]
            variance = self._variances[self._parameters.starts[node] : self._parameters.starts[node + 1]]
            found.append(float(np.sqrt(variance.max(initial=0.0))) / scales.min() if scales.size else 0.0)
        return np.array(found)

    def _observed_nodes(self, chosen: Bool[np.ndarray, " n_observed"]) -> list[int]:
        return (len(self.graph.latents) + np.flatnonzero(chosen)).tolist()

    @cached_property
    def _observed_means(self) -> Float[np.ndarray, " n_observed_dims"]:
        return np.concatenate(self._parameters.means[len(self.graph.latents) :])

    @cached_property
    def _variances(self) -> Float[np.ndarray, " n_dims"]:
        """Variance of every dim, all variables side by side."""
        if self._is_forest:
            return prior_variances(self._parameters)
        latent = (self._parameters.latent_effects**2).sum(axis=1)
        nodes = list(range(len(self.graph.latents), len(self.graph.nodes)))
        observed = (self._parameters.observed_effects(nodes) ** 2).sum(axis=1) + self._own_variances(nodes)
        return np.concatenate([latent, observed])

    def _own_variances(self, nodes: list[int]) -> Float[np.ndarray, " n"]:
        return np.concatenate([(self._parameters.factors[node] ** 2).sum(axis=1) for node in nodes])

    def _variances_given(self, mask: Bool[np.ndarray, " n_observed"]) -> tuple[np.ndarray, np.ndarray]:
        """Variance given the visible part of each dim of the latents, and of the masked variables."""
        n_latents, hidden = len(self.graph.latents), self._observed_nodes(mask)
        if self._is_linear_time(mask):
            found = TreePosterior(self._parameters, ~mask).covariances()
            diagonals = [np.diagonal(matrix) for matrix in found]
            return np.concatenate(diagonals[:n_latents]), np.concatenate([diagonals[node] for node in hidden])
        side = self._side(~mask)
        latent = variance_given(self._parameters.latent_effects, side)
        seen = variance_given(self._parameters.observed_effects(hidden), side)
        return latent, seen + self._own_variances(hidden)
