"""The oracle of discrete trees: everything about strings and masks by exact belief propagation.

Section 8 of ``docs/theory.md``. Grammar images, trees with :class:`~hlvm.mechanisms.ProductionRules`, noisy leaves and
any tree of conditional probability tables are discrete trees. Answers about one string are exact. Averages over
strings are exact where all strings can be gone through, and estimated from strings drawn of the model elsewhere; they
say which.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import cached_property
from typing import Any, Literal

import numpy as np
from jaxtyping import Float

from hlvm._keys import checked_key
from hlvm._numbers import positive
from hlvm.graph import LatentGraph
from hlvm.theory.grammar.averages import Averages
from hlvm.theory.grammar.dynamic_programme import Weights
from hlvm.theory.grammar.effects import effects_of_productions
from hlvm.theory.grammar.inference import Inference
from hlvm.theory.grammar.parameters import DiscreteTreeModel, TreeParameters
from hlvm.theory.grammar.results import Outcomes, SymbolLoss
from hlvm.theory.grammar.summaries import Of
from hlvm.theory.oracles import (
    Answer,
    Answers,
    ByLatent,
    How,
    NoiseEffects,
    Part,
    check_part,
    three_states,
    three_states_of_one,
)

__all__ = ["GrammarOracle"]


class GrammarOracle:
    """Exact answers for one discrete tree.

    Entropies, losses in bits and information are in bits; log-likelihoods are natural logarithms.

    Args:
        model: a grammar, or anything that gives its graph and its tables; see :meth:`from_parameters` for plain arrays.
        dtype: "float32" or "float64". Nothing underflows in either: messages are logarithms where they could.

    Raises:
        ValueError: the model has no discrete tree, or its tables do not fit its graph.

    References:
        Belief propagation on random hierarchy models: :cite:t:`sclocchi2025transition`;
        :cite:t:`garnierbrun2024transformers`.

    Example:
        >>> graph = LatentGraph.from_edges([("z", "x1"), ("z", "x2")], dims=1)
        >>> copies = {"z": np.array([[[0, 0]], [[1, 1]]])}
        >>> oracle = GrammarOracle.from_parameters(graph, n_symbols={"z": 2, "x1": 2, "x2": 2}, rules=copies)
        >>> oracle.latent_r2(["x1"])["z"], float(oracle.information(["z"], visible=["x2"]))
        (1.0, 1.0)
    """

    how: How = "exact"
    """Where answers about one string come from; averages over strings say it themselves."""

    def __init__(self, model: DiscreteTreeModel, *, dtype: Literal["float32", "float64"] = "float32") -> None:
        if not hasattr(model, "discrete_tree_parameters"):
            raise ValueError(
                f"expected a model with discrete_tree_parameters(), got {type(model).__name__}: use "
                "GrammarOracle.from_parameters for plain arrays"
            )
        self._inference = Inference.of(TreeParameters.checked(model.graph, **model.discrete_tree_parameters()), dtype)

    @classmethod
    def from_parameters(
        cls,
        graph: LatentGraph,
        *,
        n_symbols: Mapping[str, int],
        rules: Mapping[str, Any],
        probabilities: Mapping[str, Any] | None = None,
        priors: Mapping[str, Any] | None = None,
        channels: Mapping[str, Any] | None = None,
        values: Mapping[str, Any] | None = None,
        dtype: Literal["float32", "float64"] = "float32",
    ) -> GrammarOracle:
        """Make an oracle from tables: a symbol takes one of its choices, and writes one symbol for each child.

        Variables that share a table should hold the same array, which makes the oracle fast.

        Args:
            graph: a forest: no variable has several parents.
            n_symbols: variable -> number of symbols, at least 1.
            rules: latent -> whole numbers (n_symbols, m, n_children): what each choice writes, children in the graph's
                order. Rules may be equal.
            probabilities: latent -> (n_symbols, m), of each choice given the symbol; uniform where left out.
            priors: root -> (n_symbols,); uniform where left out.
            channels: variable with a parent -> (n_written, n_symbols): probabilities of the symbol that it takes, given
                the one that is written for it; where left out, it takes that one.
            values: observed variable -> (n_symbols, n_values): how its symbols are rendered; one-hot where left out.
            dtype: as for the class.

        Returns:
            The oracle.

        Raises:
            ValueError: a graph that is no forest, a name unknown or missing, a shape that does not fit, a symbol out of
                range, or probabilities that are negative or do not sum to one.
        """
        tables = TreeParameters.checked(graph, n_symbols, rules, probabilities, priors, channels, values)
        return cls._with(Inference.of(tables, dtype))

    @classmethod
    def _with(cls, inference: Inference) -> GrammarOracle:
        oracle = cls.__new__(cls)
        oracle._inference = inference
        return oracle

    @cached_property
    def _averages(self) -> Averages:
        return Averages(self._inference)

    # ------------------------------------------------------------------ the model

    @property
    def graph(self) -> LatentGraph:
        """The latent graph."""
        return self._inference.graph

    @property
    def parameters(self) -> Weights:
        """Tables "probabilities", "priors" and "channels", each under the name of the first variable that holds it.

        Variables that share one appear once. :meth:`log_likelihood` takes such tables, and is differentiable in them.
        """
        return self._inference.programme.weights

    @property
    def n_symbols(self) -> Mapping[str, int]:
        """Number of symbols of each variable."""
        return dict(zip(self.graph.nodes, self._inference.parameters.n_symbols, strict=True))

    # ------------------------------------------------------------------ one string and one mask

    def log_likelihood(
        self,
        cells: Any,
        visible: Any = None,
        *,
        known: Mapping[str, Any] | None = None,
        parameters: Weights | None = None,
    ) -> Any:
        """Logarithm of the probability of the visible cells of each string; minus infinity if it is 0.

        May be called inside a jitted function and differentiated in ``parameters``.

        Args:
            cells: whole numbers, shape (n, n_observed) in the order of ``graph.observed``, or (n, rows, columns) on a
                grid. Cells that are not visible are not read.
            visible: booleans (n_observed,) or (n_masks, n_observed), True = visible; or names; ``None``: all.
            known: latent -> symbols that are known of it as well, shape (n,).
            parameters: other probabilities than the model's, as :attr:`parameters` has them; they are not checked.

        Returns:
            Shape (n,) or (n, n_masks), as ``visible`` has one mask or several.

        Raises:
            ValueError: another shape or type, or a visible symbol out of range.
        """
        return self._inference.log_likelihood(self._inference.pairs(cells, visible), known, parameters)

    def posterior(
        self,
        cells: Any,
        visible: Any = None,
        *,
        names: Collection[str] | None = None,
        of: Of = "symbols",
        parameters: Weights | None = None,
    ) -> dict[str, Any]:
        """Probabilities of the symbols of each latent given the visible cells; may be traced, as the likelihood.

        Args:
            cells: as for :meth:`log_likelihood`.
            visible: likewise.
            names: variables asked for, cells among them; ``None``: all latents.
            of: "symbols", or "productions" for a latent's symbol and choice together.
            parameters: as for :meth:`log_likelihood`.

        Returns:
            Variable -> (n, [n_masks,] n_symbols), or (..., n_symbols, m) for productions of a latent; NaN where what is
            visible is impossible.

        Raises:
            ValueError: as :meth:`log_likelihood`, or an unknown name.
        """
        wanted = self.graph.latents if names is None else _several(names)
        for name in wanted:
            self.graph.position(name)
        if of not in ("symbols", "productions"):
            raise ValueError(f'of must be "symbols" or "productions", got {of!r}')
        given = self._inference.pairs(cells, visible)
        found = self._inference.posterior(given, wanted, of, parameters)
        return {name: array.reshape(*given.shape, *array.shape[1:]) for name, array in found.items()}

    def entropy(self, cells: Any, visible: Any = None) -> Float[np.ndarray, "..."]:
        """Bits of each latent's symbol given the visible cells.

        Returns:
            Shape (n, [n_masks,] n_latents), in the order of ``graph.latents``; NaN where what is visible is impossible.

        Raises:
            ValueError: as :meth:`log_likelihood`.
        """
        given = self._inference.pairs(cells, visible)
        return self._inference.number(given, "entropy").reshape(*given.shape, -1)

    def joint_entropy(self, cells: Any, visible: Any = None) -> Float[np.ndarray, "..."]:
        """Bits of everything hidden together, given the visible cells: symbols, choices and cells.

        Returns:
            Shape (n,) or (n, n_masks); NaN where what is visible is impossible.
        """
        given = self._inference.pairs(cells, visible)
        return self._inference.joint_entropy(given).reshape(given.shape)

    def log_loss(self, cells: Any, visible: Any) -> Float[np.ndarray, "..."]:
        """Bits that each string's own symbols cost, given its visible cells: ``-log2 p(cell | visible)``.

        Args:
            cells: as for :meth:`log_likelihood`; here all cells are read.
            visible: likewise.

        Returns:
            Shape (n, [n_masks,] n_observed): 0 at visible cells, infinite where the string has a symbol that cannot be,
            or costs more than about 126 bits in float32, 1,000 in float64.

        Raises:
            ValueError: as :meth:`log_likelihood`.
        """
        given = self._inference.pairs(cells, visible)
        self._inference.pairs(cells, None)  # refuses symbols out of range where nothing is visible
        return self._inference.number(given, "log_loss").reshape(*given.shape, -1)

    def most_likely(self, cells: Any, visible: Any = None) -> Outcomes:
        """The most likely symbols and choices of everything, given the visible cells; see :meth:`log_likelihood`."""
        return self._inference.outcomes(None, self._inference.pairs(cells, visible))

    def sample_posterior(self, key: Any, cells: Any, visible: Any = None) -> Outcomes:
        """Draw symbols and choices of everything, given the visible cells; one draw for each string and mask.

        Args:
            key: a JAX key or an int.
            cells: as for :meth:`log_likelihood`; repeat a string for several draws.
            visible: likewise.

        Raises:
            ValueError: as :meth:`log_likelihood`.
        """
        return self._inference.outcomes(checked_key(key), self._inference.pairs(cells, visible))

    def sample(self, key: Any, n: int) -> Outcomes:
        """Draw strings with every symbol and choice behind them.

        Args:
            key: a JAX key or an int.
            n: number of strings, at least 1.
        """
        return self._inference.sample(checked_key(key), positive(n, "n"))

    # ------------------------------------------------------------------ averages over strings

    def best_accuracy(self, masked: Any = None, *, visible: Any = None, rows: int = 4096, key: Any = None) -> ByLatent:
        """Probability with which the best guess of each latent's symbol is right.

        Args:
            masked: names of the target, or a boolean array over ``graph.observed``, True = masked.
            visible: what is seen, in the same forms; ``None``: all that is no target. The rest is absent.
            rows: strings drawn, where not all are gone through.
            key: a JAX key or an int; needed where strings are drawn.

        Returns:
            Latent -> probability, 0 to 1.

        Raises:
            ValueError: no mask of this graph, a cell that is masked and visible, or no key where strings are drawn.
        """
        _, seen = three_states_of_one(self.graph, masked, visible, may_be_empty=True)
        return self._averages.best_accuracy(seen, self._averages.strings(rows, key))

    def latent_r2(
        self, masked: Any = None, *, visible: Any = None, part: Part = "value", rows: int = 4096, key: Any = None
    ) -> ByLatent:
        """Share of each latent that the visible part holds: R² of the best prediction of its one-hot symbol.

        Args:
            masked: as for :meth:`best_accuracy`.
            visible: likewise.
            part: "value", the symbol; or "noise", what enters at the latent alone: its choice, and at a root, and where
                there is a channel, symbol and choice together.
            rows: as for :meth:`best_accuracy`.
            key: likewise.

        Returns:
            Latent -> R², 0 to 1; NaN where it is constant.

        Raises:
            ValueError: as :meth:`best_accuracy`.
        """
        check_part(part)
        _, seen = three_states_of_one(self.graph, masked, visible, may_be_empty=True)
        return self._averages.latent_r2(seen, part, self._averages.strings(rows, key))

    def bayes_loss(self, masked: Any, *, visible: Any = None, rows: int = 4096, key: Any = None) -> SymbolLoss:
        """Least loss with which the masked cells can be reconstructed: in bits, and in squared error as rendered.

        Args:
            masked: as for :meth:`best_accuracy`.
            visible: likewise.
            rows: likewise.
            key: likewise.

        Returns:
            The loss of each masked cell and column.

        Raises:
            ValueError: as :meth:`best_accuracy`.
        """
        target, seen = three_states_of_one(self.graph, masked, visible)
        return self._averages.bayes_loss(target, seen, self._averages.strings(rows, key))

    def information(
        self,
        latents: Collection[str],
        masked: Any = None,
        *,
        visible: Any = None,
        given: Collection[str] = (),
        rows: int = 4096,
        key: Any = None,
    ) -> Answer:
        """Bits that the visible part tells about the symbols of some latents together.

        Args:
            latents: names.
            masked: as for :meth:`best_accuracy`.
            visible: likewise.
            given: latents that are known already; what the visible part tells beyond them is asked.
            rows: likewise.
            key: likewise.

        Returns:
            The information, at least 0 up to its error.

        Raises:
            ValueError: as :meth:`best_accuracy`, or a name that is no latent.
        """
        _, seen = three_states_of_one(self.graph, masked, visible, may_be_empty=True)
        return self._averages.information(_several(latents), _several(given), seen, rows, key)

    # ------------------------------------------------------------------ many masks

    def latent_r2_batch(
        self, masks: Any, *, visible: Any = None, part: Part = "value", rows: int = 1, key: Any = None
    ) -> Answers:
        """R² of each latent for many masks, see :meth:`latent_r2`; each mask has ``rows`` strings of its own.

        Returns:
            Values of shape (n_masks, n_latents). Errors are NaN with one row; average over masks then.

        Raises:
            ValueError: masks of another shape or type, a cell that is masked and visible, or no key where strings are
                drawn.
        """
        check_part(part)
        _, seen = three_states(self.graph, masks, visible)
        return self._averages.latent_r2_batch(seen, part, rows, key)

    def relative_loss_batch(self, masks: Any, *, visible: Any = None, rows: int = 1, key: Any = None) -> Answers:
        """Bayes loss of each target as rendered, in units of its variance, for many masks; see :meth:`latent_r2_batch`.

        Returns:
            Values of shape (n_masks, n_observed), 0 to 1 in the mean over strings; NaN where no target is.

        Raises:
            ValueError: as :meth:`latent_r2_batch`.
        """
        target, seen = three_states(self.graph, masks, visible)
        return self._averages.relative_loss_batch(target, seen, rows, key)

    def noise_effects(self) -> NoiseEffects:
        """Covariance of the rendered cells, and what of it each latent's production is the cause of; exact.

        What enters at a latent is its symbol and choice together, as far as what was written for it leaves them open.

        Raises:
            ValueError: more than 2,048 observed columns, or an oracle that was cut.
        """
        if self._inference.cuts is not None:
            raise ValueError("effects of noises are not known of an oracle that was cut: ask the one before the cut")
        return effects_of_productions(self._inference.parameters)

    def cut(self, height: int) -> GrammarOracle:
        """The oracle in which nothing above this height is shared: the highest nodes up to it become roots.

        Each keeps its law. The graph stays, and no cell tells of latents above. Averages are over strings of the whole
        tree.

        Args:
            height: at least 0, which cuts off every cell; the root's height cuts nothing.
        """
        return self._with(self._inference.cut(height))


def _several(names: Collection[str] | str) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) else tuple(names)
