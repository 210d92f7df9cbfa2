"""Questions about a string and a mask, as programmes for a batch of them: each is compiled once."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any, Literal, NamedTuple, TypeAlias

import jax
import jax.core
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from hlvm.theory.grammar.dynamic_programme import Cuts, DynamicProgramme, Marginals, Weights
from hlvm.theory.grammar.semirings import Entropy, LogMax, LogSum, Sampling

__all__ = ["Of", "Questions", "Summary", "bits", "standardised"]

Of: TypeAlias = Literal["symbols", "productions"]

_BYTES = {"cpu": 2**22, "gpu": 2**29, "tpu": 2**28}
"""Memory of the largest array of one batch: on a CPU what its cache holds."""

_LEAST = 1e-12
"""A variance up to this share of the squared range is that of a value that never changes."""

_LARGEST = 2**16
_SMALLEST = 8


class Summary(NamedTuple):
    """Numbers of the posterior of each latent and cell, one row per string and mask.

    Attributes:
        entropy: bits of each latent's symbol.
        top: largest probability of each latent's symbol.
        spread: expected squared error of each latent's one-hot symbol.
        noise_spread: the same of what enters at each latent alone; ``None`` if it was not asked for.
        cell_entropy: bits of each cell.
        cell_spread: expected squared error of each cell as it is rendered, in units of the variance of each value that
            varies, mean over these; 1 when nothing is seen, NaN for cells that never change.
        log_loss: bits that the string's own symbol costs at each cell; infinite where its posterior probability is
            below what the type holds, about 2**-149 in float32 and 2**-1074 in float64.
    """

    entropy: Any
    top: Any
    spread: Any
    noise_spread: Any
    cell_entropy: Any
    cell_spread: Any
    log_loss: Any


class Questions:
    """Compiled programmes of one tree, with one table of weights and cuts.

    Args:
        programme: of the tree.
        dtype: "float32" or "float64".
    """

    def __init__(self, programme: DynamicProgramme, dtype: Literal["float32", "float64"]) -> None:
        self.programme, self.dtype = programme, dtype

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

    # ------------------------------------------------------------------ programmes, shape (batch, ...)

    def _start(self, weights: Weights, cells: Any, visible: Any) -> tuple[Weights, Any]:
        cast = jax.tree.map(lambda table: jnp.asarray(table, self.dtype), weights)
        return cast, self.programme.evidence(cells, visible, self.dtype)

    @cached_property
    def log_likelihood(self) -> Callable[..., Float[Array, " b"]]:
        """Logarithm of the probability of what is visible, and of what is known of the latents."""

        def run(weights: Weights, cuts: Cuts | None, cells: Any, visible: Any, known: Any = None) -> Array:
            weights, evidence = self._start(weights, cells, visible)
            latents = None if known is None else self.programme.known(known, self.dtype)
            return self.programme.inside(LogSum(), weights, evidence, latents, cuts)

        return jax.jit(run)

    @cached_property
    def joint_entropy(self) -> Callable[..., Float[Array, " b"]]:
        """Bits of everything hidden together, given what is visible."""

        def run(weights: Weights, cuts: Cuts | None, cells: Any, visible: Any) -> Array:
            weights, evidence = self._start(weights, cells, visible)
            total, entropy = self.programme.inside(Entropy(), weights, evidence, None, cuts)
            return jnp.where(total > -jnp.inf, bits(entropy), jnp.nan)

        return jax.jit(run)

    @cached_property
    def posterior(self) -> Callable[..., dict[int, Array]]:
        """Probabilities of the symbols, or of symbols and choices, of everything, by group: (batch, nodes, ...)."""

        def run(weights: Weights, cuts: Cuts | None, of: Of, cells: Any, visible: Any) -> dict[int, Array]:
            weights, evidence = self._start(weights, cells, visible)
            both = of == "productions"
            found = self.programme.marginals(LogSum(), weights, evidence, cuts, of_productions=both)
            possible = found.total > -jnp.inf
            groups = {**found.cells, **(found.productions if both else found.latents)}
            return {i: jnp.moveaxis(jnp.where(possible, array, jnp.nan), -1, 0) for i, array in groups.items()}

        return jax.jit(run, static_argnums=2)

    def named(self, groups: Mapping[int, Any], names: tuple[str, ...]) -> dict[str, Any]:
        """Posteriors of some variables."""
        found = {}
        for name in names:
            i, k = self._places[self.programme.parameters.graph.index[name]]
            found[name] = groups[i][:, k]
        return found

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
            weights, evidence = self._start(weights, cells, visible)
            semiring = LogMax()
            if key is not None:
                semiring = Sampling(self._noise(key, places))
            found = self.programme.marginals(semiring, weights, evidence, cuts, of_productions=True)
            symbols = {i: jnp.argmax(chosen, axis=1) for i, chosen in found.latents.items()}
            choices = {i: jnp.argmax(chosen.sum(axis=1), axis=1) for i, chosen in found.productions.items()}
            shown = {i: jnp.argmax(chosen, axis=1) for i, chosen in found.cells.items()}
            order = self.programme.in_order
            possible = (found.total > -jnp.inf)[:, None]
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
    def summary(self) -> Callable[..., Summary]:
        """Numbers of the posterior of everything, or all but those of noises."""
        squares = self._squares  # not while a function is traced

        def run(weights: Weights, cuts: Cuts | None, of_noise: bool, cells: Any, visible: Any) -> Summary:
            weights, evidence = self._start(weights, cells, visible)
            found = self.programme.marginals(LogSum(), weights, evidence, cuts, of_productions=of_noise)
            return self._summarise(found, cuts, cells, squares)

        return jax.jit(run, static_argnums=2)

    def _summarise(
        self,
        found: Marginals,
        cuts: Cuts | None,
        cells: Int[Array, "b n"],
        of_values: Mapping[int, Float[np.ndarray, "k v v"]],
    ) -> Summary:
        programme, order = self.programme, self.programme.in_order
        parts: dict[str, dict[int, Array]] = {field: {} for field in Summary._fields}
        for i, symbols in found.latents.items():
            parts["entropy"][i], parts["top"][i] = _entropy(symbols), symbols.max(axis=1)
            parts["spread"][i] = 1 - (symbols**2).sum(axis=1)
        for i, both in found.productions.items():
            group = programme.groups[i]
            production = 1 - (both**2).sum(axis=(1, 2))
            if group.priors is None and group.channels is None:
                choice = 1 - (both.sum(axis=1) ** 2).sum(axis=1)
                is_root = False if cuts is None else jnp.asarray(cuts.cut)[group.nodes][:, None]
                production = jnp.where(is_root, production, choice)
            parts["noise_spread"][i] = production
        for i, symbols in found.cells.items():
            group, squares = programme.groups[i], jnp.asarray(of_values[i], self.dtype)
            parts["cell_entropy"][i] = _entropy(symbols)
            own = jnp.einsum("kvv,kvb->kb", squares, symbols)
            of_mean = (jnp.einsum("kvw,kwb->kvb", squares, symbols) * symbols).sum(axis=1)
            parts["cell_spread"][i] = jnp.maximum(own - of_mean, 0.0)
            shown = cells.T[group.nodes - programme.n_latents]
            is_symbol = shown[:, None] == jnp.arange(group.n_symbols)[None, :, None]
            chance = jnp.where(is_symbol, symbols, 0.0).sum(axis=1)
            parts["log_loss"][i] = -bits(jnp.log(chance))
        possible = (found.total > -jnp.inf)[:, None]
        each = (order(parts[field]) if parts[field] else None for field in Summary._fields)
        return Summary(*(None if found is None else jnp.where(possible, found, jnp.nan) for found in each))

    # ------------------------------------------------------------------ batches

    @cached_property
    def batch(self) -> int:
        """Strings and masks that are worked on at a time."""
        width = 8 if self.dtype == "float64" else 4
        fits = _BYTES.get(jax.default_backend(), 2**22) // (self.programme.size * width)
        return min(max(1 << max(fits, 1).bit_length() - 1, _SMALLEST), _LARGEST)

    def run(
        self,
        function: Callable[..., Any],
        *arguments: Any,
        n: int,
        rows: Callable[[Any], tuple[Any, ...]],
        read: Callable[[Any], Any] = lambda answer: answer,
    ) -> Any:
        """Call a programme batch after batch.

        Args:
            function: one of the programmes.
            arguments: what it takes before its rows.
            n: number of rows.
            rows: from positions of rows to the arrays of these rows.
            read: what is kept of each batch.

        Returns:
            Its results, rows joined, as NumPy arrays.
        """
        if not n:
            raise ValueError("there is nothing to answer: give at least one string and one mask")
        found: list[Any] = []
        with jax.enable_x64(self.dtype == "float64"):
            for start in range(0, n, self.batch):
                here = np.arange(start, min(start + self.batch, n))
                # Few different sizes, so that little is compiled; what is added is a row that is there already.
                size = min(max(1 << (len(here) - 1).bit_length(), _SMALLEST), self.batch)
                padded = np.concatenate([here, np.full(size - len(here), here[-1])])
                answer = function(*arguments, *rows(padded))
                found.append((len(here), read(answer)))
        found = [jax.tree.map(lambda array, m=m: np.asarray(array)[:m], answer) for m, answer in found]
        return jax.tree.map(lambda *arrays: np.concatenate(arrays), *found)


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


def _entropy(symbols: Float[Array, "k v b"]) -> Float[Array, "k b"]:
    some = symbols > 0
    return bits(-jnp.where(some, symbols * jnp.log(jnp.where(some, symbols, 1.0)), 0.0).sum(axis=1))
