"""Discrete production rules: every symbol is written out as a tuple of symbols one level below."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any, ClassVar, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from hlvm._keys import checked_key
from hlvm.graph import LatentGraph
from hlvm.mechanisms.base import Mechanism, Params, whole_fields
from hlvm.mechanisms.noises import Categorical, Noise
from hlvm.mechanisms.rule_tables import draw_tuples

__all__ = ["ProductionRules", "production_rules"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class ProductionRules(Mechanism):
    """A symbol that is looked up in a table of rules, together with a choice among its synonyms.

    A *production* is a symbol and the choice of one of the ways to write it out, ``symbol * synonyms + choice``. The
    value of a variable is its production, a whole number. A rule gives for each production of the parent one symbol per
    child; the table is common to the siblings, each of which reads its own column, so that together they show the
    production. The choice is the variable's noise. With ``synonyms=1`` there is no choice and no noise: the
    observed variables of a grammar show bare symbols.

    With several parents, every combination of their productions has a rule.

    :func:`production_rules` fills in the fields for a whole graph.

    Attributes:
        inputs: productions of each parent number, at least 1.
        vocabulary: symbols at this variable, at least 1.
        synonyms: ways to write out each of them below, at least 1.
        children: how many variables share the parents, this one included.
        position: which of them this one is, from 0.
        rules: which variables share a table: "level": all of this depth, wherever they are. "siblings": only those with
            the same parents.
        unambiguous: whether no two rules of the table may have equal tuples; a parent's production is then a function
            of all its children. It needs ``vocabulary ** children`` to be at least the number of rules.

    References:
        One level of the Random Hierarchy Model of :cite:t:`cagnetta2024rhm`, where tables are unambiguous, shared by
        the whole level, and drawn uniformly. Several parents are ours.
    """

    invertible: ClassVar[bool] = False
    inputs: int
    vocabulary: int
    synonyms: int = 1
    children: int = 1
    position: int = 0
    rules: Literal["level", "siblings"] = "level"
    unambiguous: bool = True

    def __post_init__(self) -> None:
        whole_fields(self, inputs=1, vocabulary=1, synonyms=1, children=1, position=0)
        if self.position >= self.children:
            raise ValueError(f"ProductionRules: position {self.position} is not among {self.children} children")
        if self.rules not in ("level", "siblings"):
            raise ValueError(f'ProductionRules: rules are shared by "level" or "siblings", got {self.rules!r}')

    @property
    def n_symbols(self) -> int:
        """Values that the variable can take: its productions."""
        return self.vocabulary * self.synonyms

    @property
    def default_noise(self) -> Noise:
        """Synonyms are equally likely."""
        return Categorical(n=self.synonyms)

    @property
    def key_scope(self) -> Literal["level", "siblings"]:
        """Variables that share a table draw it from one key."""
        return self.rules

    @property
    def explicit_noise(self) -> bool:
        """The choice can be read off the value."""
        return True

    def noise_size(self, parent_dim: int, noise_dim: int, dim: int) -> int:
        """One choice, or none without synonyms, whatever the graph's noise dim is."""
        if dim != 1:
            raise ValueError(f"a production is one number, but the graph gives dim {dim}: build the graph with dims=1")
        rows = self.inputs**parent_dim
        if self.unambiguous and rows > self.vocabulary**self.children:
            raise ValueError(
                f"{rows} rules need as many different tuples, but {self.vocabulary} symbols for {self.children} "
                f"children make only {self.vocabulary**self.children}: use more symbols, or unambiguous=False"
            )
        return int(self.synonyms > 1)

    def init(self, key: Any, parent_dim: int, noise_size: int, dim: int) -> Params:
        """Draw the whole table and keep this child's column, (number of rules,).

        Tables are drawn by the code that draws those of grammar images. It runs in NumPy, also while a model is being
        compiled: the compiled program calls it back.
        """
        words = jax.random.key_data(checked_key(key))
        n_rules = self.inputs**parent_dim
        draw = functools.partial(self._columns, n_rules=n_rules)
        column = jax.ShapeDtypeStruct((n_rules,), jnp.int32)
        return {"column": jax.pure_callback(draw, column, words, vmap_method="expand_dims")}

    def _columns(self, words: Any, n_rules: int) -> np.ndarray:
        """This child's column of the table of each key, (..., rules), from the words of the keys, (..., words)."""
        keys = np.asarray(words)
        columns = [
            draw_tuples(
                seed,
                n_rules=n_rules,
                n_symbols=self.vocabulary,
                tuple_size=self.children,
                distinct=self.unambiguous,
            )[:, self.position]
            for seed in keys.reshape(-1, keys.shape[-1]).tolist()
        ]
        return np.stack(columns).reshape(*keys.shape[:-1], n_rules)

    def apply(self, params: Params, parents: Float[Array, " p"], noise: Float[Array, " e"]) -> Float[Array, " d"]:
        """Look up the symbol and add the choice."""
        symbol = self._symbol(params, parents)
        choice = noise if self.synonyms > 1 else jnp.zeros(1, parents.dtype)
        return symbol[None] * self.synonyms + choice

    def noise_of(
        self, params: Params, parents: Float[Array, " p"], value: Float[Array, " d"]
    ) -> tuple[Float[Array, " e"], Float[Array, ""]]:
        """The choice, if the symbol is the one that the rule gives."""
        choice = value - self._symbol(params, parents)[None] * self.synonyms
        possible = (choice >= 0) & (choice < self.synonyms)
        log_det = jnp.where(possible.all(), 0.0, jnp.inf).astype(value.dtype)
        return choice[: int(self.synonyms > 1)], log_det

    def check_inputs(self, noise: Noise, n_symbols: tuple[int | None, ...]) -> None:
        """Refuse parents that are no productions, and a noise that is no choice among the synonyms."""
        if self.synonyms > 1 and noise.n_symbols != self.synonyms:
            raise ValueError(
                f"its noise chooses among {self.synonyms} synonyms and must be Categorical(n={self.synonyms}) or one "
                f"with as many probabilities, got {noise}"
            )
        for given in n_symbols:
            if given != self.inputs:
                raise ValueError(
                    f"its parents must have {self.inputs} productions each, but one of them "
                    f"{'is a real number' if given is None else f'has {given}'}: give a root the noise "
                    f"Categorical(n={self.inputs}), and any other parent ProductionRules with vocabulary * synonyms = "
                    f"{self.inputs}"
                )

    def _symbol(self, params: Params, parents: Float[Array, " p"]) -> Float[Array, ""]:
        """The symbol that the rule of the parents' productions gives."""
        place = self.inputs ** jnp.arange(parents.shape[0])
        rule = (jnp.round(parents).astype(jnp.int32) * place).sum()
        return params["column"][rule].astype(parents.dtype)


def production_rules(
    graph: LatentGraph, *, vocabulary: int, synonyms: int, rules: Literal["level", "siblings"] = "level"
) -> tuple[dict[str, ProductionRules], dict[str, Categorical]]:
    """Mechanisms and roots' noises that make a graph a grammar.

    Args:
        graph: the latent graph, with dim 1 everywhere.
        vocabulary: symbols at every variable, at least 1.
        synonyms: ways to write out each latent symbol, at least 1. The observed variables show bare symbols.
        rules: which variables share a table, see :class:`ProductionRules`. Tables are unambiguous where the number of
            siblings allows it.

    Returns:
        ``mechanism`` and ``noise`` for ``HierarchicalModel.init``.

    Raises:
        ValueError: some variable does not hold one number.

    Example:
        >>> tree = LatentGraph.tree(2, 2)
        >>> grammar = LatentGraph.from_edges(tree.edges, dims=1)
        >>> mechanisms, noises = production_rules(grammar, vocabulary=4, synonyms=2)
        >>> len(mechanisms), list(noises.values())
        (6, [Categorical(n=8, probabilities=None)])
    """
    wide = [name for name, dim in zip(graph.nodes, graph.dims, strict=True) if dim != 1]
    if wide:
        raise ValueError(f"a production is one number, but {wide[0]!r} has dim {graph.dim(wide[0])}: use dims=1")
    families: dict[tuple[int, ...], list[int]] = {}
    for node, above in enumerate(graph.parent_indices):
        families.setdefault(above, []).append(node)
    productions = vocabulary * synonyms
    mechanisms: dict[str, ProductionRules] = {}
    for above, nodes in families.items():
        for position, node in enumerate(nodes if above else ()):
            mechanisms[graph.nodes[node]] = ProductionRules(
                inputs=productions,
                vocabulary=vocabulary,
                synonyms=synonyms if graph.child_indices[node] else 1,
                children=len(nodes),
                position=position,
                rules=rules,
                unambiguous=productions ** len(above) <= vocabulary ** len(nodes),
            )
    roots = {graph.nodes[node]: Categorical(n=productions) for node in families[()]}
    return mechanisms, roots
