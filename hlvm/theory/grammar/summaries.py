"""Questions about a string and a mask, as programmes for a batch of them: each is compiled once."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cached_property
from typing import Any, Literal, TypeAlias

import jax
import jax.core
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from hlvm.theory.grammar.dynamic_programme import Cuts, DynamicProgramme, Weights
from hlvm.theory.grammar.semirings import Entropy, LogMax, LogSum, Sampling

__all__ = ["Number", "Of", "Questions", "bits", "standardised"]

Of: TypeAlias = Literal["symbols", "productions"]

_BYTES = {"cpu": 2**22, "gpu": 2**29, "tpu": 2**28}
"""Memory of the largest array of one batch: on a CPU what its cache holds."""

_LEAST = 1e-12
"""A variance up to this share of the squared range is that of a value that never changes."""

_LARGEST = 2**16
_SMALLEST = 8


Number: TypeAlias = Literal["entropy", "top", "spread", "noise_spread", "cell_spread", "log_loss"]
"""A number of the posterior of each latent or cell.

* ``entropy``: bits of each latent's symbol.
* ``top``: largest probability of each latent's symbol.
* ``spread``: expected squared error of each latent's one-hot symbol.
* ``noise_spread``: the same of what enters at each latent alone.
* ``cell_spread``: expected squared error of each cell as it is rendered, in units of the variance of each value that
  varies, mean over these; 1 when nothing is seen, NaN for cells that never change.
* ``log_loss``: bits that the string's own symbol costs at each cell; infinite where its posterior probability is below
  what the type holds, about 2**-149 in float32 and 2**-1074 in float64.
"""


class Questions:
    """Compiled programmes of one tree, with one table of weights and cuts.

    Args:
        programme: of the tree.
        dtype: "float32" or "float64".
    """

    def __init__(self, programme: DynamicProgramme, dtype: Literal["float32", "float64"]) -> None:
        self.programme = programme
        self.dtype: Literal["float32", "float64"] = dtype

    @cached_property
    def _squares(self) -> dict[int, Float[np.ndarray, "k v v"]]:
        """Inner products of the values of each two symbols, centred and in units of their variance, by cell."""
        found, values = {}, self.programme.parameters.values
        for i, group in self.programme.leaves.items():
            laws = self.programme.laws[i]
            each = [
                standardised(values.get(node, np.eye(group.n_symbols)), law)
                for node, law in zip(group.nodes.tolist(), laws, strict=True)
            ]
            found[i] = np.stack([of @ of.T for of in each])
        return found

    # ------------------------------------------------------------------ programmes, shape (..., batch)

    def _start(
        self, weights: Weights | None, cuts: Cuts | None, cells: Any, visible: Any
    ) -> tuple[LogSum, Weights, dict[int, Array]]:
        """Sums, tables and evidence. Without weights the tables are the model's own, and sums plain where they can."""
        groups = frozenset() if weights is not None else self.programme.plain(self.dtype, cut=cuts is not None)
        tables = self.programme.logs if weights is None else weights
        cast = jax.tree.map(lambda table: jnp.asarray(table, self.dtype), tables)
        return LogSum(groups), cast, self.programme.evidence(cells, visible, self.dtype)

    @cached_property
    def log_likelihood(self) -> Callable[..., Float[Array, " b"]]:
        """Logarithm of the probability of what is visible, and of what is known of the latents."""

        def run(weights: Weights | None, cuts: Cuts | None, cells: Any, visible: Any, known: Any = None) -> Array:
            sums, tables, evidence = self._start(weights, cuts, cells, visible)
            latents = None if known is None else self.programme.known(known, self.dtype)
            return self.programme.inside(sums, tables, evidence, latents, cuts)

        return jax.jit(run)

    @cached_property
    def joint_entropy(self) -> Callable[..., Float[Array, " b"]]:
        """Bits of everything hidden together, given what is visible."""

        def run(weights: Weights, cuts: Cuts | None, cells: Any, visible: Any) -> Array:
            _, tables, evidence = self._start(weights, cuts, cells, visible)
            total, entropy = self.programme.inside(Entropy(), tables, evidence, None, cuts)
            return jnp.where(total > -jnp.inf, bits(entropy), jnp.nan)

        return jax.jit(run)

    @cached_property
    def posterior(self) -> Callable[..., dict[int, Array]]:
        """Probabilities of the symbols, or of symbols and choices, of everything, by group: (nodes, ..., batch)."""

        def run(weights: Weights | None, cuts: Cuts | None, of: Of, cells: Any, visible: Any) -> dict[int, Array]:
            both = of == "productions"
            sums, tables, evidence = self._start(weights, cuts, cells, visible)
            found = self.programme.marginals(sums, tables, evidence, cuts, of_productions=both)
            possible = found.total > -jnp.inf
            groups = {**found.cells, **(found.productions if both else found.latents)}
            return {i: jnp.where(possible, array, jnp.nan) for i, array in groups.items()}

        return jax.jit(run, static_argnums=2)

    def place(self, name: str) -> tuple[int, int]:
        """Group of a variable, and its place there."""
        return self._places[self.programme.parameters.graph.index[name]]

    @cached_property
    def _places(self) -> dict[int, tuple[int, int]]:
        groups = enumerate(self.programme.groups)
        return {node: (i, k) for i, group in groups for k, node in enumerate(group.nodes.tolist())}

    @cached_property
    def outcome(self) -> Callable[..., tuple[Array, Array, Array, Array]]:
        """One outcome: logarithm of the total, symbols of latents, their choices, and symbols of cells."""

        def run(
            weights: Weights, cuts: Cuts | None, key: Any, cells: Any, visible: Any, places: Any
        ) -> tuple[Array, ...]:
            _, tables, evidence = self._start(weights, cuts, cells, visible)
            semiring = LogMax()
            if key is not None:
                semiring = Sampling(self._noise(key, places))
            found = self.programme.marginals(semiring, tables, evidence, cuts, of_productions=True)
            symbols = {i: jnp.argmax(chosen, axis=1) for i, chosen in found.latents.items()}
            choices = {i: jnp.argmax(chosen.sum(axis=1), axis=1) for i, chosen in found.productions.items()}
            shown = {i: jnp.argmax(chosen, axis=1) for i, chosen in found.cells.items()}
            order = self.programme.in_order
            possible = found.total > -jnp.inf
            each = [jnp.where(possible, order(numbers), -1) for numbers in (symbols, choices, shown)]
            return found.total, *each

        return jax.jit(run)

    def _noise(self, key: Any, rows: Any) -> dict[int, Array]:
        """Gumbel noise of each place; that of a row depends on the row alone. One draw, which compiles once."""
        shapes = self.programme.places
        ends = np.cumsum([nodes * alternatives for nodes, alternatives in shapes.values()]).tolist()
        draw = lambda row: jax.random.gumbel(jax.random.fold_in(key, row), (ends[-1],), dtype=self.dtype)  # noqa: E731
        noise = jax.vmap(draw)(rows).T
        begins = [0, *ends[:-1]]
        return {
            place: noise[begin:end].reshape(*shape, -1)
            for (place, shape), begin, end in zip(shapes.items(), begins, ends, strict=True)
        }

    @cached_property
    def number(self) -> Callable[..., Float[Array, "n b"]]:
        """A number of the posterior of each latent, or of each cell, as it is named."""
        squares = self._squares  # not while a function is traced

        def run(weights: Weights | None, cuts: Cuts | None, number: Number, cells: Any, visible: Any) -> Array:
            sums, tables, evidence = self._start(weights, cuts, cells, visible)
            of_productions = number == "noise_spread"
            found = self.programme.marginals(sums, tables, evidence, cuts, of_productions=of_productions)
            if number == "cell_spread":
                each = {i: self._cell_spread(symbols, squares[i]) for i, symbols in found.cells.items()}
            elif number == "log_loss":
                each = {i: self._log_loss(i, symbols, cells) for i, symbols in found.cells.items()}
            elif number == "noise_spread":
                each = {i: self._noise_spread(i, both, cuts) for i, both in found.productions.items()}
            else:
                of_symbols = {"entropy": _entropy, "top": lambda x: x.max(axis=1), "spread": _spread}[number]
                each = {i: of_symbols(symbols) for i, symbols in found.latents.items()}
            return jnp.where(found.total > -jnp.inf, self.programme.in_order(each), jnp.nan)

        return jax.jit(run, static_argnums=2)

    def _noise_spread(self, i: int, both: Float[Array, "k v m b"], cuts: Cuts | None) -> Float[Array, "k b"]:
        group = self.programme.groups[i]
        production = 1 - (both**2).sum(axis=(1, 2))
        if group.priors is not None or group.channels is not None:
            return production
        choice = _spread(both.sum(axis=1))
        return choice if cuts is None else jnp.where(jnp.asarray(cuts.cut)[group.nodes][:, None], production, choice)

    def _cell_spread(self, symbols: Float[Array, "k v b"], squares: Float[np.ndarray, "k v v"]) -> Float[Array, "k b"]:
        of_values = jnp.asarray(squares, self.dtype)
        own = jnp.einsum("kvv,kvb->kb", of_values, symbols)
        of_mean = (jnp.einsum("kvw,kwb->kvb", of_values, symbols) * symbols).sum(axis=1)
        return jnp.maximum(own - of_mean, 0.0)

    def _log_loss(self, i: int, symbols: Float[Array, "k v b"], cells: Int[Array, "n b"]) -> Float[Array, "k b"]:
        chance = jnp.where(self.programme.is_symbol(i, cells), symbols, 0.0).sum(axis=1)
        return -bits(jnp.log(chance))

    # ------------------------------------------------------------------ batches

    def batch(self, *, plain: bool) -> int:
        """Strings and masks that are worked on at a time, by sums without logarithms where they can be or with them."""
        width = 8 if self.dtype == "float64" else 4
        size = self.programme.size(self.programme.plain(self.dtype) if plain else frozenset())
        fits = _BYTES.get(jax.default_backend(), 2**22) // (size * width)
        return min(max(1 << max(fits, 1).bit_length() - 1, _SMALLEST), _LARGEST)

    def run(
        self,
        function: Callable[..., Any],
        weights: Weights | None,
        *arguments: Any,
        n: int,
        rows: Callable[[Any], tuple[Any, ...]],
        read: Callable[[Any], Any] = lambda answer: answer,
    ) -> Any:
        """Call a programme batch after batch.

        Args:
            function: one of the programmes.
            weights: its tables; ``None`` for sums without logarithms where they can be.
            arguments: what it takes before its rows.
            n: number of rows.
            rows: from positions of rows to the arrays of these rows, with rows last.
            read: what is kept of each batch.

        Returns:
            Its results as NumPy arrays, rows joined and first.
        """
        if not n:
            raise ValueError("there is nothing to answer: give at least one string and one mask")
        batch = self.batch(plain=weights is None)
        found: Any = None
        with jax.enable_x64(self.dtype == "float64"):
            for start in range(0, n, batch):
                here = np.arange(start, min(start + batch, n))
                # Few different sizes, so that little is compiled; what is added is a row that is there already.
                size = min(max(1 << (len(here) - 1).bit_length(), _SMALLEST), batch)
                padded = np.concatenate([here, np.full(size - len(here), here[-1])])
                answer = read(jax.tree.map(np.asarray, function(weights, *arguments, *rows(padded))))
                if found is None:
                    found = jax.tree.map(lambda array: np.empty((*array.shape[:-1], n), array.dtype), answer)
                for whole, part in zip(jax.tree.leaves(found), jax.tree.leaves(answer), strict=True):
                    whole[..., here[0] : here[-1] + 1] = part[..., : len(here)]
        return jax.tree.map(lambda array: np.moveaxis(array, -1, 0), found)


def standardised(values: Float[np.ndarray, "v k"], law: Float[np.ndarray, " v"]) -> Float[np.ndarray, "v k"]:
    """Values of symbols, centred, in units of their standard deviation times the root of how many of them vary.

    Values that never change become 0; NaN if none does.
    """
    centred = values - law @ values
    variance = law @ centred**2
    spans = np.ptp(values, axis=0)
    varies = (spans > 0) & (variance > _LEAST * spans**2)
    scaled = np.where(varies, centred / np.sqrt(np.where(varies, variance, 1.0)), 0.0)
    return scaled / np.sqrt(varies.sum()) if varies.any() else np.full_like(scaled, np.nan)


def bits(nats: Any) -> Any:
    """From nats to bits."""
    return nats / math.log(2)


def _spread(symbols: Float[Array, "k v b"]) -> Float[Array, "k b"]:
    return 1 - (symbols**2).sum(axis=1)


def _entropy(symbols: Float[Array, "k v b"]) -> Float[Array, "k b"]:
    some = symbols > 0
    return bits(-jnp.where(some, symbols * jnp.log(jnp.where(some, symbols, 1.0)), 0.0).sum(axis=1))
