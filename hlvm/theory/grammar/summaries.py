"""What is asked of a string and a mask, as programmes for a batch of them: each is compiled once."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cached_property
from typing import Any, Literal, NamedTuple, TypeAlias

import jax
import jax.core
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from hlvm.theory.grammar.dynamic_programme import Cuts, DynamicProgramme, Marginals, Weights
from hlvm.theory.grammar.semirings import Entropy, LogMax, LogSum, Sampling

__all__ = ["Of", "Questions", "Summary", "bits"]

Of: TypeAlias = Literal["symbols", "productions"]

_BYTES = {"cpu": 2**22, "gpu": 2**29, "tpu": 2**28}
"""Memory of the largest array of one batch: on a CPU what its cache holds."""

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
        cell_spread: expected squared error of each cell as it is rendered, summed over its values.
        log_loss: bits that the string's own symbol costs at each cell.
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
        cuts: nodes cut off from their parents.
    """

    def __init__(self, programme: DynamicProgramme, dtype: Literal["float32", "float64"]) -> None:
        self.programme, self.dtype = programme, dtype
        values = programme.parameters.values
        self._values = {
            i: np.stack([values.get(node, np.eye(group.n_symbols)) for node in group.nodes.tolist()])
            if len({id(values.get(node)) for node in group.nodes.tolist()}) > 1
            else values.get(int(group.nodes[0]), np.eye(group.n_symbols))[None]
            for i, group in programme.leaves.items()
        }

    # ------------------------------------------------------------------ programmes, shape (batch, ...)

    def _start(self, weights: Weights, cells: Any, visible: Any) -> tuple[Weights, Any]:
        cast = {what: {n: jnp.asarray(a, self.dtype) for n, a in tables.items()} for what, tables in weights.items()}
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
    def posterior(self) -> Callable[..., dict[str, Array]]:
        """Probabilities of the symbols (or symbols and choices) of some variables."""

        def run(
            weights: Weights, cuts: Cuts | None, names: tuple[str, ...], of: Of, cells: Any, visible: Any
        ) -> dict[str, Array]:
            weights, evidence = self._start(weights, cells, visible)
            both = of == "productions"
            found = self.programme.marginals(LogSum(), weights, evidence, cuts, of_productions=both)
            graph, possible = self.programme.parameters.graph, found.total > -jnp.inf
            places = {node: (i, k) for i, g in enumerate(self.programme.groups) for k, node in enumerate(g.nodes)}
            answers = {}
            for name in names:
                i, k = places[graph.index[name]]
                of_latents = found.productions if both else found.latents
                array = (found.cells if i in found.cells else of_latents)[i][k]
                answers[name] = jnp.where(possible, array, jnp.nan).transpose(array.ndim - 1, *range(array.ndim - 1))
            return answers

        return jax.jit(run, static_argnums=(2, 3))

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

        def run(weights: Weights, cuts: Cuts | None, of_noise: bool, cells: Any, visible: Any) -> Summary:
            weights, evidence = self._start(weights, cells, visible)
            found = self.programme.marginals(LogSum(), weights, evidence, cuts, of_productions=of_noise)
            return self._summarise(found, cells)

        return jax.jit(run, static_argnums=2)

    def _summarise(self, found: Marginals, cells: Int[Array, "b n"]) -> Summary:
        programme, order = self.programme, self.programme.in_order
        parts: dict[str, dict[int, Array]] = {field: {} for field in Summary._fields}
        for i, symbols in found.latents.items():
            parts["entropy"][i], parts["top"][i] = _entropy(symbols), symbols.max(axis=1)
            parts["spread"][i] = 1 - (symbols**2).sum(axis=1)
        for i, both in found.productions.items():
            group = programme.groups[i]
            own = both.sum(axis=1)[:, None] if group.priors is None and group.channels is None else both
            parts["noise_spread"][i] = 1 - (own**2).sum(axis=(1, 2))
        for i, symbols in found.cells.items():
            group, values = programme.groups[i], jnp.asarray(self._values[i], self.dtype)
            parts["cell_entropy"][i] = _entropy(symbols)
            mean = jnp.einsum("kvb,kvc->kcb", symbols, jnp.broadcast_to(values, (len(group.nodes), *values.shape[1:])))
            square = ((values**2).sum(axis=2)[:, :, None] * symbols).sum(axis=1)
            parts["cell_spread"][i] = jnp.maximum(square - (mean**2).sum(axis=1), 0.0)
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

    def run(self, function: Callable[..., Any], *arguments: Any, n: int, rows: Callable[[Any], tuple[Any, ...]]) -> Any:
        """Call a programme batch after batch.

        Args:
            function: one of the programmes.
            arguments: what it takes before its rows.
            n: number of rows.
            rows: from positions of rows to the arrays of these rows.

        Returns:
            Its results, rows joined, as NumPy arrays.
        """
        found: list[Any] = []
        with jax.enable_x64(self.dtype == "float64"):
            for start in range(0, n, self.batch):
                here = np.arange(start, min(start + self.batch, n))
                # Few different sizes, so that little is compiled; what is added is a row that is there already.
                size = min(max(1 << (len(here) - 1).bit_length(), _SMALLEST), self.batch)
                padded = np.concatenate([here, np.full(size - len(here), here[-1])])
                answer = function(*arguments, *rows(padded))
                found.append((len(here), answer))
        found = [jax.tree.map(lambda array, m=m: np.asarray(array)[:m], answer) for m, answer in found]
        return jax.tree.map(lambda *arrays: np.concatenate(arrays), *found)


def bits(nats: Any) -> Any:
    """From nats to bits."""
    return nats / math.log(2)


def _entropy(symbols: Float[Array, "k v b"]) -> Float[Array, "k b"]:
    some = symbols > 0
    return bits(-jnp.where(some, symbols * jnp.log(jnp.where(some, symbols, 1.0)), 0.0).sum(axis=1))
