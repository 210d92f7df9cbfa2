"""The model class: a graph with a mechanism and a noise at every variable."""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float, PRNGKeyArray

from hlvm._keys import checked_key
from hlvm.graph import LatentGraph
from hlvm.mechanisms import Mechanism, Noise
from hlvm.simulator import (
    checks,
    counterfactuals,
    density,
    discrete_tree,
    files,
    forward,
    interventions,
    inversion,
    linear_gaussian,
)
from hlvm.simulator.interventions import Do
from hlvm.simulator.layout import Layout, mechanism_per_node, noise_per_node
from hlvm.simulator.parts import ModelParts
from hlvm.simulator.sample import Sample

__all__ = ["HierarchicalModel"]

_ARRAYS = ["params", "shift", "scale", "key_data", "set_values", "noise_shift"]
_STATIC = ["layout", "standardized", "key_impl", "functions"]


@functools.partial(jax.tree_util.register_dataclass, data_fields=_ARRAYS, meta_fields=_STATIC)
@dataclasses.dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class HierarchicalModel(ModelParts):
    """A latent graph with a mechanism, its parameters and a noise at every variable.

    Make one with :meth:`init`. It is a JAX pytree, so it can be passed to jitted functions. It never changes: what
    changes a model returns a new one.

    Attributes:
        params: for every level group, the mechanism's parameters stacked over its variables.
        shift: subtracted from every raw value, (total dims,).
        scale: what the difference is divided by, (total dims,); see ``standardize`` of :meth:`init`.
        layout: graph, mechanisms, noises and the place of every variable in the buffers.
        standardized: whether ``shift`` and ``scale`` were estimated.
        key_data: the key that the model was drawn from, as numbers; see :attr:`key`.
        key_impl: which generator that key is for.
        set_values: variables that were set to values by interventions; ``None``: none.
        noise_shift: noises that were moved and rescaled; ``None``: none.
        functions: variables that were set by a function, with the function.

    Example:
        >>> import jax
        >>> from hlvm.mechanisms import InvertibleMLP
        >>> model = HierarchicalModel.init(jax.random.key(0), LatentGraph.quadtree(1), InvertibleMLP())
        >>> model.sample(jax.random.key(1), 5).observed["x_0_1"].shape
        (5, 3)
    """

    @classmethod
    def init(
        cls,
        key: Any,
        graph: LatentGraph,
        mechanism: Mechanism | Mapping[str, Mechanism],
        *,
        noise: Noise | Mapping[str, Noise] | None = None,
        standardize: bool = True,
    ) -> HierarchicalModel:
        """Draw the parameters of every mechanism.

        Args:
            key: a JAX key or an int ``k``, which stands for ``jax.random.key(k)``. The model keeps it.
            graph: the latent graph.
            mechanism: one mechanism for all variables, or one per name (roots need none).
            noise: the law of the noises: one for all variables, or one per name. A root is its own noise, so this is
                also the law of the roots. ``None``, and names left out: what the mechanism there is made for, which is
                :class:`~hlvm.mechanisms.Gaussian` except for symbols.
            standardize: shift and scale every coordinate by constants estimated from 4,096 draws, so that each has
                about zero mean and unit variance at any depth. An affine map: it changes neither what is invertible
                nor any signal-to-noise ratio. Roots and symbols are left as they are.

        Returns:
            The model.

        Raises:
            ValueError: a mechanism is missing, unknown, named for an unknown variable, or cannot have the graph's dims,
                parents or noise there; a noise has no variance, so that nothing can be standardised; parameters, or
                the draws for the scales, cannot fit into memory; or, found outside of jit only, the values of a
                variable are not finite, or nearly all of them equal beside a few far away.

        Warns:
            UserWarning: the graph has more than 100 levels, which take long to compile.
        """
        typed = checked_key(key)
        mechanisms = mechanism_per_node(graph, mechanism)
        noises = noise_per_node(graph, mechanisms, noise)
        wild = [name for name, law in zip(graph.nodes, noises, strict=True) if law.variance == float("inf")]
        if standardize and wild:
            raise ValueError(
                f"the noise of {wild[0]!r} has no variance, so values cannot be standardised: use standardize=False, "
                f"or StudentT with more than two degrees of freedom"
            )
        checks.check_model_size(graph, mechanisms, standardize)
        layout = Layout(graph, mechanisms, noises)
        checks.warn_of_depth(layout)
        model, evenness = _init(layout, standardize, typed)
        checks.check_scales(model.layout, model.scale, evenness)
        return model

    def __repr__(self) -> str:
        kinds = ", ".join(dict.fromkeys(str(m) for m in self.layout.mechanisms if m is not None))
        return f"HierarchicalModel({self.layout.graph}, {kinds})"

    # ------------------------------------------------------------------ drawing

    def sample(self, key: Any, n: int) -> Sample:
        """Draw ``n`` independent samples of every variable.

        Compiled once per ``n``; may be called inside a jitted function. With the same key, models that differ only by
        interventions on values, or by the laws of some noises, share the noises of all other variables.

        Raises:
            ValueError: ``n`` is below 1, or not the number of samples that an intervention gave values for; the samples
                cannot fit into memory; or the key is none.
        """
        if isinstance(n, bool) or not isinstance(n, int | np.integer) or n < 1:
            raise ValueError(f"the number of samples must be a whole number of at least 1, got n={n!r}")
        if self.set_values is not None and self.set_values.values.shape[1] not in (1, n):
            given = self.set_values.values.shape[1]
            raise ValueError(f"an intervention gave values for {given} samples, one each: draw as many, got n={n}")
        key = checked_key(key)
        if not isinstance(key, Tracer):  # compiled programs need not keep what they draw
            checks.check_sample_size(self.layout, int(n))
        return _sample(self, key, int(n))

    # ------------------------------------------------------------------ from values back

    def invert(self, observed: Any, *, tolerance: float = 1e-3) -> Sample:
        """All latents and noises behind observed values, in the invertible regime.

        Every observed variable tells all its ancestors, and what several of them tell of one latent is combined by
        least squares to first order, in float64, whatever the precision of the values. Not for use inside jit.

        Args:
            observed: observed name -> values, (n, dim); or all side by side, (n, total observed dims); or a sample.
            tolerance: how far the observed values may be from those of some sample, relative to one plus their size.
                Sampling in float32 moves them by about 1e-5 at most at height 6. With ``math.inf`` nothing is refused.

        Returns:
            A sample with these observed values, in float32.

        Raises:
            ValueError: some mechanism is not invertible, a variable was set by an intervention, the values have another
                shape, or no sample has these values; the message names the variable and the size of the misfit.

        References:
            The two passes are those of a Rauch-Tung-Striebel smoother on the graph.
        """
        return inversion.invert(self, observed, tolerance)

    def log_prob(self, sample: Sample | Mapping[str, Any]) -> Float[Array, " n"]:
        """Log density of samples, (n,), where there is one.

        * Where every variable has a density given its parents: the joint density of **all** variables. Symbols count
          with their probabilities. Variables that were set to a value count as given: they add nothing.
        * Where all mechanisms are invertible and every latent has exactly one child: the density of the **observed**
          variables, by change of variables. The latents are functions of them.

        Elsewhere the values lie on a surface and have no density; :meth:`noise_log_prob` always exists.

        Args:
            sample: a sample, or a mapping from names to arrays (n, dim), with all variables in the first case and at
                least the observed ones in the second.

        Raises:
            ValueError: there is no density; the message says at which variable and why.
        """
        return density.log_prob(self, sample)

    def noise_log_prob(self, sample: Sample) -> Float[Array, " n"]:
        """Log density of the noises of samples, (n,); log probability where they are discrete.

        Raises:
            ValueError: the sample is of another kind of model.
        """
        return density.noise_log_prob(self, sample)

    # ------------------------------------------------------------------ changes

    def intervene(self, do: Do, *, key: Any = None) -> HierarchicalModel:
        """The model in which some variables no longer arise as they did; all others keep their mechanisms.

        Values are in the units that samples show, after standardising. Interventions add up; a later one at the same
        variable takes the place of the earlier one. May be used inside jit. Different values, and values at different
        variables, share one compiled program.

        Args:
            do: name -> what is done there, at latents and observed variables alike:

                * numbers: the variable is set to them whatever its parents are. One number, shape (dim,), or shape
                  (n, dim) with one row per sample; the model then draws exactly n samples.
                * a function ``fn(parents, noise)``: the variable follows this instead. ``parents`` maps the parents'
                  names to arrays (n, dim), ``noise`` is the variable's own, (n, noise size); it returns shape (n, dim).
                  At a root, ``noise`` is what the root would have been.
                * a mechanism: the variable still arises from its parents and noise, by this mechanism with parameters
                  drawn from ``key``; if the model is standardised, with a shift and scale of its own again.
            key: a JAX key or an int, needed for mechanisms only.

        Returns:
            A new model of the same graph.

        Raises:
            ValueError: an unknown variable, values of another shape, a mechanism that does not fit there.

        Example:
            >>> import jax
            >>> from hlvm.mechanisms import LinearGaussian
            >>> graph = LatentGraph.from_edges([("z", "x1"), ("z", "x2")], dims=1)
            >>> model = HierarchicalModel.init(jax.random.key(0), graph, LinearGaussian())
            >>> model.intervene({"z": 2.0}).sample(jax.random.key(1), 3).latents["z"].ravel().tolist()
            [2.0, 2.0, 2.0]
        """
        return interventions.intervene(self, do, key)

    def counterfactual(self, sample: Sample, do: Do, *, key: Any = None) -> Sample:
        """Samples as they would have been under interventions, everything else about them being the same.

        Abduction, action, prediction: the noises are those of the sample, to the last bit; the model is changed as by
        :meth:`intervene`; and the values that follow are computed. Whatever the interventions do not reach keeps its
        value to the last bit, so setting a variable to the value it had changes nothing at all. For observed values
        alone, :meth:`invert` them first.

        Args:
            sample: samples of this model, with their noises.
            do: see :meth:`intervene`.
            key: a JAX key or an int, needed for mechanisms only.

        Returns:
            As many samples, row by row.

        Raises:
            ValueError: the sample was not drawn from this model, or see :meth:`intervene`; or a new mechanism takes
                another number of noises than the sample has there.

        References:
            Section 7.1 of :cite:t:`pearl2009causality`.
        """
        return counterfactuals.counterfactual(self, sample, do, self.intervene(do, key=key))

    def conditional_shift(self, shifts: Mapping[str, Any]) -> HierarchicalModel:
        """The model in which some variables have other noises, so that their laws given their parents are shifted.

        For tests of robustness: functions, parameters and standardisation stay as they are, only what enters anew at
        these variables changes. With the same key all other noises stay the same.

        Args:
            shifts: name -> the new law of its noise, a :class:`~hlvm.mechanisms.Noise`; or a pair (location, scale):
                the noise becomes location + scale times what its law gives. Each is a number or has shape (noise
                size,). A later pair takes the place of an earlier one. At a root this shifts the root itself.

        Raises:
            ValueError: an unknown variable, one without noise, a discrete noise with a pair, or a noise that the
                mechanism there cannot work with.
        """
        return interventions.conditional_shift(self, shifts)

    # ------------------------------------------------------------------ models with closed forms

    def linear_gaussian_parameters(self) -> dict[str, dict[str, np.ndarray]]:
        """The model as arrays, if every mechanism is linear with Gaussian noise, with ``standardize`` worked in.

        Each variable is ``coefficients @ parents + offset + noise_scale * noise`` with standard normal noise.

        Returns:
            Three dictionaries from names to float64 arrays: "coefficients", (dim, dims of the parents), without the
            roots; "noise_scales", (dim,); "offsets", (dim,). The keyword arguments of
            ``GaussianOracle.from_parameters`` in :mod:`hlvm.theory`.

        Raises:
            ValueError: some mechanism is not :class:`~hlvm.mechanisms.LinearGaussian`, some noise is not Gaussian, or a
                variable was set by an intervention.
        """
        return linear_gaussian.parameters(self)

    def linearised_parameters(self) -> dict[str, dict[str, np.ndarray]]:
        """The model to first order about the point where every noise has its mean, in the form of the method above.

        Coefficients are derivatives of each variable by its parents, noise scales are derivatives by its noise, times
        the noise's standard deviation, (dim, noise size). Of a linear-Gaussian model this is the model itself.

        Raises:
            ValueError: a variable is made of symbols or was set by an intervention, or a noise has no variance.
        """
        return linear_gaussian.linearised(self)

    def discrete_tree_parameters(self) -> dict[str, Any]:
        """The model as tables, if it is a forest of symbols: :class:`~hlvm.mechanisms.ProductionRules` everywhere.

        A latent with a parent takes a symbol of its vocabulary and chooses one of its synonyms. A root takes one of its
        productions and chooses nothing. An observed variable with synonyms shows the production.

        Returns:
            Mappings by name, the keyword arguments of ``GrammarOracle.from_parameters`` in :mod:`hlvm.theory`:

            * "n_symbols": number of symbols of every variable;
            * "rules": latent -> what each choice writes for the children, whole numbers (symbols, choices, children);
            * "probabilities": latent with a parent -> those of its choices given its symbol, (symbols, choices);
            * "priors": root -> probabilities of its symbols;
            * "channels": observed variable with synonyms -> from the symbol that is written to the production that is
              shown, (symbols, productions).

            Equal tables are one object.

        Raises:
            ValueError: a variable has two parents, another mechanism, a noise that is not discrete or more than one
                number, or was set by an intervention.

        Example:
            >>> import jax
            >>> from hlvm.mechanisms import production_rules
            >>> graph = LatentGraph.from_edges([("z", "x1"), ("z", "x2")], dims=1)
            >>> mechanisms, noises = production_rules(graph, vocabulary=3, synonyms=2)
            >>> model = HierarchicalModel.init(jax.random.key(0), graph, mechanisms, noise=noises)
            >>> model.discrete_tree_parameters()["rules"]["z"].shape
            (6, 1, 2)
        """
        return discrete_tree.parameters(self)

    # ------------------------------------------------------------------ files

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write graph, mechanisms, noises, parameters, interventions and key to one ``.npz`` file, all or nothing.

        Raises:
            ValueError: the path does not end in ``.npz``, or a user's function is part of the model and has no name.
            OSError: the file cannot be written.
        """
        files.save(self, path)

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str],
        *,
        known: Mapping[str, type[Mechanism] | type[Noise] | Mechanism] | None = None,
    ) -> HierarchicalModel:
        """Read a model written by :meth:`save`.

        Args:
            path: the ``.npz`` file.
            known: what is not part of this package, by name: classes of mechanisms and noises, and mechanisms from
                functions under the names they were given.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: the file is not a model, or uses an unknown mechanism or noise.
        """
        return files.load(cls, path, known)


# ---------------------------------------------------------------------- the traced programs


@functools.partial(jax.jit, static_argnums=(0, 1))
def _init(layout: Layout, standardize: bool, key: PRNGKeyArray) -> tuple[HierarchicalModel, Float[Array, " values"]]:
    """A model, and how evenly the draws behind its scales are spread; see ``calibrate``."""
    keys = dict(zip(("params", "calibration"), jax.random.split(key), strict=True))
    model = HierarchicalModel(
        params=forward.draw_params(layout, keys["params"]),
        shift=jnp.zeros(layout.n_values),
        scale=jnp.ones(layout.n_values),
        layout=layout,
        standardized=standardize,
        key_data=jax.random.key_data(key),
        key_impl=str(jax.random.key_impl(key)),
    )
    if not standardize:
        return model, jnp.ones(layout.n_values)
    rows = np.zeros(layout.n_values, dtype=bool)
    for group in layout.groups:
        rows[group.values] = group.mechanism is not None and group.mechanism.n_symbols is None
    shift, scale, evenness = forward.calibrate(model, keys["calibration"], rows)
    return dataclasses.replace(model, shift=shift, scale=scale), evenness


@functools.partial(jax.jit, static_argnames="n")
def _sample(model: HierarchicalModel, key: PRNGKeyArray, n: int) -> Sample:
    noises = forward.draw_noises(model, key, n)
    return Sample(values=forward.values_by_row(model, noises), noises=noises.T, layout=model.layout)
