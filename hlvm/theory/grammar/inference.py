"""Inference on strings and masks: the compiled programmes of one tree, with its tables and what is cut off."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any, Literal

import jax
import jax.core
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from hlvm.graph import LatentGraph
from hlvm.theory.grammar.dynamic_programme import Cuts, DynamicProgramme, Weights, log_table, logarithms
from hlvm.theory.grammar.parameters import TreeParameters
from hlvm.theory.grammar.results import Outcomes
from hlvm.theory.grammar.strings import Pairs, pairs
from hlvm.theory.grammar.summaries import Number, Of, Questions
from hlvm.theory.oracles import Part, severed

__all__ = ["Inference"]


@dataclasses.dataclass(frozen=True, eq=False)
class Inference:
    """Answers about strings and masks as arrays.

    Attributes:
        questions: the compiled programmes.
        cuts: nodes that are cut off from their parents, or ``None``.
    """

    questions: Questions
    cuts: Cuts | None = None

    @classmethod
    def of(cls, parameters: TreeParameters, dtype: Literal["float32", "float64"]) -> Inference:
        """Inference on a whole tree.

        Raises:
            ValueError: another dtype.
        """
        if dtype not in ("float32", "float64"):
            raise ValueError(f'dtype must be "float32" or "float64", got {dtype!r}')
        return cls(Questions(DynamicProgramme(parameters), dtype))

    @property
    def whole(self) -> Inference:
        """The same with nothing cut off."""
        return dataclasses.replace(self, cuts=None)

    def cut(self, height: int) -> Inference:
        """The same with nothing shared above a height."""
        already = False if self.cuts is None else self.cuts.cut
        laws = {i: log_table(law) for i, law in self.programme.laws.items()}
        return dataclasses.replace(self, cuts=Cuts(cut=already | severed(self.graph, height), laws=laws))

    # ------------------------------------------------------------------ the tree

    @property
    def programme(self) -> DynamicProgramme:
        """The dynamic programme."""
        return self.questions.programme

    @property
    def parameters(self) -> TreeParameters:
        """Tables of the tree."""
        return self.programme.parameters

    @property
    def graph(self) -> LatentGraph:
        """The latent graph."""
        return self.parameters.graph

    @cached_property
    def observed_symbols(self) -> Int[np.ndarray, " n_observed"]:
        """Number of symbols of each observed variable."""
        return np.array(self.parameters.n_symbols[self.graph.n_latents :])

    @cached_property
    def laws(self) -> list[Float[np.ndarray, " v"]]:
        """Probabilities of each variable's symbols when nothing is seen, in the order of ``graph.nodes``."""
        found: list[np.ndarray] = [np.zeros(0)] * len(self.graph.nodes)
        for i, rows in self.programme.laws.items():
            for node, law in zip(self.programme.groups[i].nodes.tolist(), rows, strict=True):
                found[node] = law
        return found

    def prior_spread(self, node: int, part: Part) -> float:
        """Variance of a latent's one-hot symbol or noise when nothing is seen."""
        law, tables = self.laws[node], self.parameters
        if part == "noise":
            both = law[:, None] * tables.probabilities[node]
            is_root = node in tables.priors or (self.cuts is not None and self.cuts.cut[node])
            law = both if is_root or node in tables.channels else both.sum(axis=0)
        return float(1 - (law**2).sum())

    # ------------------------------------------------------------------ strings and masks

    def pairs(self, cells: Any, visible: Any) -> Pairs:
        """Check strings and what is visible of them; see :func:`hlvm.theory.grammar.strings.pairs`."""
        return pairs(self.graph, self.observed_symbols, cells, visible)

    def log_likelihood(
        self, given: Pairs, known: Mapping[str, Any] | None = None, weights: Weights | None = None
    ) -> Any:
        """Log-likelihood of each pair; traced if any argument is."""
        latents = None if known is None else self._known(known, len(given.cells))
        more = (lambda places: ()) if latents is None else (lambda places: (latents[given.strings(places)].T,))
        found = self._run(self.questions.log_likelihood, given=given, more=more, weights=weights, plain=True)
        return found.reshape(given.shape)

    def posterior(self, given: Pairs, names: tuple[str, ...], of: Of, weights: Weights | None = None) -> dict[str, Any]:
        """Posterior of some variables, one row per pair; traced if any argument is."""
        places = {name: self.questions.place(name) for name in names}
        kept = {i: np.unique([k for j, k in places.values() if i == j]) for i, _ in places.values()}
        groups = self._run(
            self.questions.posterior,
            of,
            given=given,
            weights=weights,
            plain=of == "symbols",
            read=lambda groups: {
                i: groups[i] if len(nodes) == len(groups[i]) else groups[i][nodes] for i, nodes in kept.items()
            },
        )
        return {name: groups[i][:, np.searchsorted(kept[i], k)] for name, (i, k) in places.items()}

    def number(self, given: Pairs, number: Number) -> np.ndarray:
        """A number of every latent's or every cell's posterior, one row per pair."""
        return self._run(self.questions.number, number, given=given, plain=number != "noise_spread")

    def joint_entropy(self, given: Pairs) -> np.ndarray:
        """Bits of everything hidden, one number per pair."""
        return self._run(self.questions.joint_entropy, given=given)

    def outcomes(self, key: Any, given: Pairs) -> Outcomes:
        """One outcome for each pair: drawn, or the most likely one without a key."""
        total, symbols, choices, cells = self._run(
            self.questions.outcome, key, given=given, more=lambda places: (places.astype(np.uint32),)
        )
        shape, latents = given.shape, self.graph.latents
        named = {name: symbols[:, i].reshape(shape) for i, name in enumerate(latents)}
        named |= {name: cells[:, i].reshape(shape) for i, name in enumerate(self.graph.observed)}
        return Outcomes(
            symbols=named,
            choices={name: choices[:, i].reshape(shape) for i, name in enumerate(latents)},
            cells=np.ascontiguousarray(cells).reshape(*shape, -1),  # they are read string by string
            log_likelihood=total.reshape(shape),
        )

    def sample(self, key: Any, n: int) -> Outcomes:
        """Strings with everything behind them, drawn with nothing given."""
        n_observed = self.graph.n_observed
        return self.outcomes(key, self.pairs(np.zeros((n, n_observed), dtype=np.int32), np.zeros(n_observed, bool)))

    def _run(
        self,
        function: Callable[..., Any],
        *arguments: Any,
        given: Pairs,
        more: Callable[[Any], tuple[Any, ...]] = lambda places: (),
        weights: Weights | None = None,
        plain: bool = False,
        read: Callable[[Any], Any] = lambda answer: answer,
    ) -> Any:
        """Ask about pairs batch after batch; all at once while a function is traced. Rows come first.

        Args:
            function: one of the programmes.
            arguments: what it takes before its rows.
            given: the pairs.
            more: from places of pairs to more rows.
            weights: other tables than the model's own.
            plain: the programme knows sums without logarithms, for the model's own tables.
            read: what is kept of the programme's answer.
        """
        if weights is not None and self.cuts is not None:
            raise ValueError(
                "parameters cannot be given to an oracle that is cut: make an oracle of them, and cut that"
            )
        own = None if plain else self.programme.logs
        tables = own if weights is None else logarithms(weights)

        def rows(places: Any) -> tuple[Any, ...]:
            return (*given.rows(places), *more(places))

        if any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves((given.cells, tables))):
            if self.questions.dtype == "float64" and jax.dtypes.canonicalize_dtype(np.float64) != np.float64:
                raise ValueError("a float64 oracle is traced with 64 bits only: wrap the call in jax.enable_x64(True)")
            answer = read(function(tables, self.cuts, *arguments, *rows(np.arange(len(given)))))
            return jax.tree.map(lambda array: jnp.moveaxis(array, -1, 0), answer)
        return self.questions.run(function, tables, self.cuts, *arguments, n=len(given), rows=rows, read=read)

    def _known(self, known: Mapping[str, Any], n: int) -> Any:
        found = np.full((n, self.graph.n_latents), -1, dtype=np.int32)
        for name, symbols in known.items():
            node = self.graph.position(name)
            if node >= self.graph.n_latents:
                raise ValueError(f"known is about latents, but {name!r} is observed: make it visible")
            array, end = np.asarray(symbols), self.parameters.n_symbols[node]
            fits = array.shape in ((), (n,)) and array.dtype.kind in "iu"
            if not fits or (array.size and not 0 <= array.min() <= array.max() < end):
                raise ValueError(f"known[{name!r}] must be whole numbers 0 to {end - 1} of shape ({n},)")
            found[:, node] = array
        return found
