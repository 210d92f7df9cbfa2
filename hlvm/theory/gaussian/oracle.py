"""The linear-Gaussian oracle: everything about one mask in closed form, in float64 (section 5 of ``docs/theory.md``).

On trees whose visible variables have noise in every dim, reconstruction, its loss and the latents' R² come from
:mod:`hlvm.theory.gaussian.tree`, in linear time and without a limit on size. Everything else works with dense matrices,
up to a stated limit.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from hlvm.graph import LatentGraph
from hlvm.masking import Patches
from hlvm.theory.gaussian.bottleneck import best_bottleneck
from hlvm.theory.gaussian.crossings import crossings_of
from hlvm.theory.gaussian.cut import cut_at
from hlvm.theory.gaussian.effects import effects_of_noises
from hlvm.theory.gaussian.information import information
from hlvm.theory.gaussian.parameters import LinearGaussianModel, Parameters
from hlvm.theory.gaussian.posterior import Posterior
from hlvm.theory.gaussian.random_mask_code import RandomMaskLoss, best_code
from hlvm.theory.gaussian.results import BayesLoss, RandomMaskCode, ReducedRank
from hlvm.theory.gaussian.sides import correlations_between
from hlvm.theory.gaussian.visibility import Visibility
from hlvm.theory.one_mask.trek_separation import TrekSeparation, trek_separating_set
from hlvm.theory.oracles import Answer, Answers, ByLatent, How, NoiseEffects, Part, three_states, three_states_of_one

__all__ = ["GaussianOracle"]

Mask = Collection[str] | Bool[Any, " n_observed"]


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

    how: How = "exact"
    """Where all answers come from."""

    def __init__(self, model: LinearGaussianModel) -> None:
        if not hasattr(model, "linear_gaussian_parameters"):
            raise ValueError(
                f"expected a model with linear_gaussian_parameters(), got {type(model).__name__}: use "
                "GaussianOracle.from_parameters for plain arrays"
            )
        self._parameters = Parameters.checked(model.graph, **model.linear_gaussian_parameters())
        self._posterior = Posterior(self._parameters)

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
        return cls._of(Parameters.checked(graph, coefficients, noise_scales, offsets))

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

    def bayes_reconstruction(
        self, masked: Mask, values: Any, *, visible: Mask | None = None
    ) -> Float[np.ndarray, "n n_masked_dims"]:
        """Best reconstruction of the masked part: its mean given the visible part.

        Args:
            masked: what is asked for: names of observed variables, or a boolean array over ``graph.observed``.
            values: shape (n, observed dims), all observed variables side by side as in ``Sample.observed_matrix``;
                columns that are not visible are not read.
            visible: what is seen, in the same form; ``None``: everything that is not masked. What is neither is absent.

        Returns:
            Masked columns in the graph's order, (n, masked dims).

        Raises:
            ValueError: no mask of this graph, a variable both masked and visible, values of another shape or not finite
                where visible, larger than the stated limit, or ill-conditioned.
        """
        targets, seen = three_states_of_one(self.graph, masked, visible)
        hidden = self._parameters.columns(targets)
        data = np.asarray(values, dtype=np.float64)
        if data.ndim != 2 or data.shape[1] != len(hidden):
            raise ValueError(f"values must have shape (n, {len(hidden)}), all observed dims; got {data.shape}")
        if not np.isfinite(data[:, self._parameters.columns(seen)]).all():
            raise ValueError("values holds a number that is not finite in a visible column")
        predicted = self._posterior.means(targets, seen, data - self._observed_means)
        return self._observed_means[hidden] + predicted

    def bayes_loss(self, masked: Mask, *, visible: Mask | None = None) -> BayesLoss:
        """Least mean squared error with which the masked part can be reconstructed.

        Args:
            masked: as in :meth:`bayes_reconstruction`.
            visible: likewise.

        Returns:
            The error per masked column, and in units of the data's variance.

        Raises:
            ValueError: no mask of this graph, larger than the stated limit, or ill-conditioned.
        """
        targets, seen = three_states_of_one(self.graph, masked, visible)
        hidden = self._parameters.columns(targets)
        mse = self._posterior.observed(seen[None])[0, hidden]
        return BayesLoss(mse=mse, variance=self._posterior.observed_variances[hidden], how=self.how)

    def relative_loss_batch(self, masks: Any, *, visible: Any = None, rows: int = 1, key: Any = None) -> Answers:
        """Bayes loss of each target of many masks: mean over its dims of the error in units of the dim's variance.

        Args:
            masks: booleans (n_masks, n_observed), True = target; a mask may be without.
            visible: booleans of the same shape or (n_observed,); ``None``: everything that is no target.
            rows: not used, as nothing is drawn, nor is ``key``.
            key: see ``rows``.

        Returns:
            Exact numbers (n_masks, n_observed), NaN where no target is. Dims without variance count as 0.

        Raises:
            ValueError: arrays of another shape or type, a variable both masked and visible, larger than the stated
                limit, or ill-conditioned.
        """
        del rows, key
        targets, seen = three_states(self.graph, masks, visible)
        found = self._posterior.relative_losses(seen)
        found[~targets] = np.nan
        return Answers.exact(found)

    def latent_r2(self, masked: Mask | None = None, *, visible: Mask | None = None, part: Part = "value") -> ByLatent:
        """Share of each latent that the visible part holds: R² of its best prediction, dims weighted by variance.

        Args:
            masked: as in :meth:`bayes_reconstruction`, or ``None``: no target.
            visible: likewise.
            part: "value" of the latent, or the "noise" that enters at it alone: its value less its mean given its
                parents. Of a root both are the same.

        Returns:
            Latent -> R², 0 to 1; NaN for a latent without variance, or without noise.

        Raises:
            ValueError: no mask of this graph, larger than the stated limit, or ill-conditioned.
        """
        targets, seen = three_states_of_one(self.graph, masked, visible, may_be_empty=True)
        return self.latent_r2_batch(targets[None], visible=seen, part=part).by_latent(self.graph)

    def latent_r2_batch(
        self, masks: Any, *, visible: Any = None, part: Part = "value", rows: int = 1, key: Any = None
    ) -> Answers:
        """Answers of :meth:`latent_r2` for many masks: exact numbers (n_masks, n_latents).

        Args:
            masks: as in :meth:`relative_loss_batch`.
            visible: likewise.
            part: as in :meth:`latent_r2`.
            rows: not used, as nothing is drawn, nor is ``key``.
            key: see ``rows``.

        Raises:
            ValueError: as :meth:`relative_loss_batch`, or another part.
        """
        del rows, key
        _, seen = three_states(self.graph, masks, visible)
        return Answers.exact(self._posterior.shares(seen, part))

    def information(
        self,
        latents: str | Collection[str],
        masked: Mask | None = None,
        *,
        visible: Mask | None = None,
        given: str | Collection[str] = (),
    ) -> Answer:
        """Mutual information between some latents, taken together, and the visible part, in bits.

        Args:
            latents: names.
            masked: as in :meth:`latent_r2`.
            visible: likewise.
            given: latents whose values are known; of ``latents`` they say nothing new.

        Returns:
            ``I(latents; visible | given)``, 0 or more; infinite where the visible part fixes a function of the latents
            without noise. ``I(u, v; x) = I(u; x) + I(v; x | u)``.

        Raises:
            ValueError: a name that is no latent, no mask of this graph, larger than the stated limit, or
                ill-conditioned.
        """
        _, seen = three_states_of_one(self.graph, masked, visible, may_be_empty=True)
        return Answer(information(self._posterior, latents, seen, given), how=self.how)

    def noise_effects(self) -> NoiseEffects:
        """As :meth:`Oracle.noise_effects`: exact, for at most 2,048 observed columns."""
        return effects_of_noises(self._parameters)

    def cut(self, height: int) -> GaussianOracle:
        """The model in which nothing above a height is shared: the highest nodes up to it become roots.

        Each keeps its law. The loss of a target is then that of a decoder which sees only what is below the target's
        ancestor of this height.

        Args:
            height: 0 or more; from the graph's height on nothing changes.

        Returns:
            The oracle of the same graph. No cell tells of latents above the cut. What the graph alone answers, such as
            :meth:`trek_separating_set`, is about the model before the cut.

        Raises:
            ValueError: a graph that is no forest, or no whole number of at least 0.
        """
        return GaussianOracle._of(cut_at(self._posterior, height))

    def canonical_correlations(self, masked: Mask, *, visible: Mask | None = None) -> Float[np.ndarray, " n"]:
        """Canonical correlations between the masked and the visible part, largest first.

        Args:
            masked: as in :meth:`bayes_reconstruction`.
            visible: likewise.

        Returns:
            As many as the smaller part has dims, 0 to 1.

        Raises:
            ValueError: no mask of this graph, larger than the stated limit, or ill-conditioned.

        References:
            Angles between subspaces by singular values: :cite:t:`bjorck1973angles`.
        """
        targets, seen = three_states_of_one(self.graph, masked, visible)
        return correlations_between(self._posterior.side(targets), self._posterior.side(seen))

    def cross_covariance_rank(self, masked: Mask, *, visible: Mask | None = None, tolerance: float = 1e-10) -> int:
        """Rank of the covariance of the masked with the visible part: canonical correlations that are not zero.

        Args:
            masked: as in :meth:`bayes_reconstruction`.
            visible: likewise.
            tolerance: correlations up to this count as zero. Rounding leaves them near 1e-15.

        Returns:
            The rank, at least 0. What rounding adds beyond the size of the smallest trek-separating set, which no rank
            exceeds, is not counted.

        Raises:
            ValueError: no mask of this graph, larger than the stated limit, or ill-conditioned.
        """
        found = int((self.canonical_correlations(masked, visible=visible) > tolerance).sum())
        return min(found, self.trek_separating_set(masked).dim) if found else 0

    def reduced_rank(
        self, masked: Mask, k: int, *, visible: Mask | None = None, standardize: bool = True
    ) -> ReducedRank:
        """Best linear bottleneck of ``k`` numbers from the visible to the masked part.

        Args:
            masked: as in :meth:`bayes_reconstruction`.
            k: numbers in the code, 0 up to the dims of the smaller part.
            visible: as in :meth:`bayes_reconstruction`.
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
        targets, seen = three_states_of_one(self.graph, masked, visible)
        return best_bottleneck(self._posterior, targets, seen, k, standardize=standardize)

    def random_mask_autoencoder(
        self,
        strategy: Any,
        k: int,
        *,
        key: Any = None,
        n_masks: int = 1000,
        loss: RandomMaskLoss = "all",
        standardize: bool = True,
    ) -> RandomMaskCode:
        """Best linear autoencoder with one code of ``k`` numbers for all masks that a strategy draws.

        Args:
            strategy: any that :func:`hlvm.masking.law_of` takes. Laws are taken as they are; a strategy without one is
                drawn from.
            k: numbers in the code, 0 up to all observed dims.
            key: a JAX key or an int, where masks must be drawn.
            n_masks: how many of them.
            loss: "all" columns count, which has a closed form, or those that are "masked". Then the code is searched
                for from several starts, a better one may exist, and columns² times masking units are at most 2²⁶.
            standardize: as in :meth:`reduced_rank`.

        Raises:
            ValueError: no strategy for this graph, no key where one is needed, ``k`` out of range, or larger than a
                stated limit.
        """
        visibility = Visibility.of(strategy, self.graph, key=key, n_masks=n_masks)
        return best_code(self._parameters, visibility, k, loss=loss, standardize=standardize)

    def critical_ratios(self, patches: Patches, k: int, *, standardize: bool = True) -> tuple[float, ...]:
        """Masking ratios where the best code of ``k`` numbers changes what it holds; see :func:`critical_ratio`.

        Args:
            patches: what is masked together, each patch independently.
            k: numbers in the code, from 1 to one less than all observed dims. The loss counts all columns.
            standardize: as in :meth:`reduced_rank`.

        Returns:
            Ratios, increasing, found on a grid of 64 steps and refined: where the space that the code spans jumps.
            Where two modes mix on the way, it turns gradually, and nothing is reported.

        Raises:
            ValueError: patches of another graph, ``k`` out of range, or larger than the stated limit.
        """
        return crossings_of(self._parameters, patches, k, standardize=standardize)

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

    @classmethod
    def _of(cls, parameters: Parameters) -> GaussianOracle:
        oracle = cls.__new__(cls)
        oracle._parameters, oracle._posterior = parameters, Posterior(parameters)
        return oracle

    @cached_property
    def _observed_means(self) -> Float[np.ndarray, " n_observed_dims"]:
        return np.concatenate(self._parameters.means[self.graph.n_latents :])
