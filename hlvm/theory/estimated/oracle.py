"""The oracle of any model that can be sampled: held-out regressions on fresh draws."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import cached_property
from typing import Any, get_args

import numpy as np
import threadpoolctl
from jaxtyping import Bool, Float, Int

from hlvm._numbers import UsageError
from hlvm.graph import LatentGraph
from hlvm.theory.estimated.columns import Columns
from hlvm.theory.estimated.draws import Draws, are_categories
from hlvm.theory.estimated.effects import effects_on_draws
from hlvm.theory.estimated.information import information_bound, most_categories, most_quantities
from hlvm.theory.estimated.regression import Inputs, held_out_residuals
from hlvm.theory.estimated.results import EstimatedLoss
from hlvm.theory.oracles import (
    Answer,
    Answers,
    ByLatent,
    How,
    NoiseEffects,
    Part,
    severed,
    three_states,
    three_states_of_one,
)

__all__ = ["LEAST_ROWS", "EstimatedOracle"]

LEAST_ROWS = 50
"""Draws that an oracle needs at least."""

_HELD_OUT = 0.4

_on_one_thread = threadpoolctl.threadpool_limits.wrap(limits=1, user_api="blas")
"""Many factorisations of moderate size: on a busy machine, threads that wait for each other cost ten times more."""


class EstimatedOracle:
    """Answers by regression on draws that the oracle keeps; all masks share them.

    Each answer is the held-out R², or the held-out error, of a kernel ridge regression (see
    :mod:`hlvm.theory.estimated.regression`) from the visible cells. Three fifths of the draws are fitted on, the others
    are held out. A regression finds at most what can be known, so R² is a lower bound in expectation, and a loss an
    upper one: more rows come closer. Standard errors are those of the held-out draws, by the delta method. They say
    nothing of what the regression misses, and as all masks share the draws, their errors do not average out over masks.

    Quantities count in units of their standard deviation; whole numbers of at most 64 values are categories, and count
    as one-hot columns, unless the model's ``n_values`` or the caller says which latents are. A latent's value is all
    that the model says it holds: of grammar images symbol *and* synonym, where :class:`GrammarOracle` asks for the
    symbol alone.

    Make one with :func:`estimated_oracle` or :meth:`from_arrays`.
    """

    how: How = "estimated"
    """Where all answers come from."""

    def __init__(self, draws: Draws, *, height: int | None = None) -> None:
        self._draws, self._height = draws, height
        self._n_fitted = draws.n - int(_HELD_OUT * draws.n)

    @classmethod
    def from_arrays(
        cls,
        graph: LatentGraph,
        *,
        observed: Any,
        latents: Mapping[str, Any],
        noise: Mapping[str, Any] | None = None,
        categories: Collection[str] | None = None,
    ) -> EstimatedOracle:
        """Make an oracle from independent draws of any generator, at least 50, in random order.

        Args:
            graph: the latent graph.
            observed: observed variable -> (n, columns); or all of them side by side, (n, observed dims), in the graph's
                order; or images, (n, height, width, channels), cut into the patches of the graph's grid.
            latents: latent -> (n, dim). Latents that are left out are answered with NaN.
            noise: latent -> what enters there alone, (n, noise size); likewise.
            categories: latents whose values are categories; ``None``: those of few whole numbers.

        Raises:
            ValueError: a name is unknown or missing, shapes differ, a number is not finite, or too few draws.
        """
        draws = Draws.checked(graph, observed, latents, noise, categories)
        if draws.n < LEAST_ROWS:
            raise UsageError(f"must hold at least {LEAST_ROWS} draws, got {draws.n}", argument="observed")
        return cls(draws)

    @property
    def graph(self) -> LatentGraph:
        """The latent graph."""
        return self._draws.graph

    # ------------------------------------------------------------------ questions

    def latent_r2(self, masked: Any = None, *, visible: Any = None, part: Part = "value") -> ByLatent:
        """Share of each latent that the visible part holds: held-out R², dims weighted by variance.

        Args:
            masked: names of the target, or a boolean array over ``graph.observed``, True = masked; ``None``: none.
            visible: what is seen, in the same forms; ``None``: all that is no target. The rest is absent.
            part: "value" of the latent, or the "noise" that enters at it alone, in the units that the model gives it.

        Returns:
            Latent -> R², at most 1, below 0 by chance only; NaN where the latent, or its noise, is constant or unknown.

        Raises:
            ValueError: no mask of this graph, a cell that is masked and visible, or another part.
        """
        targets, seen = three_states_of_one(self.graph, masked, visible, may_be_empty=True)
        return self.latent_r2_batch(targets[None], visible=seen, part=part).by_latent(self.graph)

    def latent_r2_batch(
        self, masks: Any, *, visible: Any = None, part: Part = "value", rows: int = 1, key: Any = None
    ) -> Answers:
        """Answers of :meth:`latent_r2` for many masks, (n_masks, n_latents), with standard errors.

        Args:
            masks: booleans (n_masks, n_observed), True = target; a mask may be without.
            visible: booleans of the same shape or (n_observed,); ``None``: everything that is no target.
            part: as in :meth:`latent_r2`.
            rows: not used: the draws were made with the oracle, and all masks share them.
            key: likewise.

        Raises:
            ValueError: arrays of another shape or type, a cell that is masked and visible, or another part.
        """
        del rows, key
        if part not in get_args(Part):
            raise UsageError(f'must be "value" or "noise", got {part!r}', argument="part")
        _, seen = three_states(self.graph, masks, visible)
        wanted = self._values if part == "value" else self._entering
        asked = np.broadcast_to([columns is not None for columns in wanted], (len(seen), len(wanted)))
        missed, error = self._missed(seen, wanted, asked, self._roots[: len(wanted)])
        return Answers(value=1 - missed, error=error, how="estimated", rows=self._draws.n)

    @_on_one_thread
    def bayes_loss(self, masked: Any, *, visible: Any = None) -> EstimatedLoss:
        """Held-out mean squared error of reconstructing the masked part: an upper bound on the Bayes loss.

        Args:
            masked: as for :meth:`latent_r2`.
            visible: likewise.

        Returns:
            The loss of each masked column.

        Raises:
            ValueError: as :meth:`latent_r2`, or nothing is masked.
        """
        targets, seen = three_states_of_one(self.graph, masked, visible)
        mse, variance, error = [], [], []
        cells = np.flatnonzero(targets)
        for root in np.unique(self._roots[self.graph.n_latents + cells]):
            own = [cell for cell in cells if self._roots[self.graph.n_latents + cell] == root]
            residuals = self._residuals(self._below(seen[None], root)[0], [self._cells[cell] for cell in own])
            for cell, rest in zip(own, residuals, strict=True):
                columns = self._cells[cell]
                squares = (rest @ columns.basis) ** 2
                mse.append((cell, squares.mean(axis=0)))
                error.append((cell, squares.std(axis=0, ddof=1) / np.sqrt(len(squares))))
                variance.append((cell, ((columns.parts[self._n_fitted :] @ columns.basis) ** 2).mean(axis=0)))

        def in_order(parts: list[tuple[int, np.ndarray]]) -> np.ndarray:
            return np.concatenate([numbers for _, numbers in sorted(parts, key=lambda pair: pair[0])])

        return EstimatedLoss(
            mse=in_order(mse),
            variance=in_order(variance),
            mse_error=in_order(error),
            how="estimated",
            rows=self._draws.n,
        )

    def relative_loss_batch(self, masks: Any, *, visible: Any = None, rows: int = 1, key: Any = None) -> Answers:
        """Held-out loss of each target of many masks: mean over its dims of the error in units of the dim's variance.

        Components of a cell that hold a thousandth of its variance together are not predicted and count as lost.

        Args:
            masks: as for :meth:`latent_r2_batch`.
            visible: likewise.
            rows: likewise.
            key: likewise.

        Returns:
            Numbers (n_masks, n_observed), NaN where no target is. Dims without variance do not count; without any that
            has some, 0.

        Raises:
            ValueError: as :meth:`latent_r2_batch`.
        """
        del rows, key
        targets, seen = three_states(self.graph, masks, visible)
        missed, error = self._missed(seen, self._cells, targets, self._roots[self.graph.n_latents :])
        constant = np.array([columns.n_parts == 0 for columns in self._cells])
        value, error = (np.where(targets & constant, 0.0, part) for part in (missed, error))
        return Answers(value=value, error=error, how="estimated", rows=self._draws.n)

    @_on_one_thread
    def information(self, latents: str | Collection[str], masked: Any = None, *, visible: Any = None) -> Answer:
        """Bits that the visible part tells at least about the values of some latents together.

        A lower bound in expectation, whatever the latents are; see :mod:`hlvm.theory.estimated.information`. It is at
        most the logarithm of a fifth of the draws, 9.6 bits for 4,000, and loose from 2 bits below that on. Of an
        oracle that was cut, bounds of parts that have become independent are added up, and so are their errors. There
        is no ``given``, as a difference of two bounds is none.

        Args:
            latents: names, at least one.
            masked: as for :meth:`latent_r2`.
            visible: likewise.

        Returns:
            The bound, with its standard error; below 0 by chance, or where a fit to few draws finds nothing.

        Raises:
            ValueError: as :meth:`latent_r2`; a name without known values; or more numbers, or joint categories, than
                the draws can tell.
        """
        _, seen = three_states_of_one(self.graph, masked, visible, may_be_empty=True)
        names = [latents] if isinstance(latents, str) else list(dict.fromkeys(latents))
        if not names:
            raise UsageError("must name at least one latent", argument="latents")
        nodes = np.array([self._known_latent(name) for name in names], dtype=np.int64)
        value = error = 0.0
        for root in np.unique(self._roots[nodes]):
            cells = np.flatnonzero(self._below(seen[None], root)[0])
            if len(cells):
                own = [self.graph.nodes[node] for node in nodes if self._roots[node] == root]
                bound = information_bound(self._inputs, cells, *self._values_of(own))
                value, error = value + bound[0], error + bound[1]
        return Answer(value, error=error, how="estimated", rows=self._draws.n)

    def noise_effects(self) -> NoiseEffects:
        """Covariance of the cells, and the first-order effect of each latent's noise on them, from all draws.

        Each cell is regressed on functions of its ancestors' noises. Errors come from ten groups of draws, by the
        jackknife. Squares of effects are a little too large, the more so the more noises there are to so many draws.
        The oracle keeps what it found.

        Raises:
            ValueError: no noise is known, too few draws for the noises, more than 2,048 columns, or an oracle that was
                cut.
        """
        if self._height is not None:
            raise ValueError("effects of noises are not known of an oracle that was cut: ask the one before the cut")
        return self._effects

    def cut(self, height: int) -> EstimatedOracle:
        """The model in which nothing above a height is shared: the highest nodes up to it become roots.

        Each keeps its law. A regression of a target reads only what is below the target's ancestor of this height.

        Args:
            height: 0 or more; from the graph's height on nothing changes.

        Returns:
            The oracle of the same draws and graph. No cell tells of latents above the cut.

        Raises:
            ValueError: a graph that is no forest, or no whole number of at least 0.
        """
        severed(self.graph, height)  # refuses what cannot be cut
        found = EstimatedOracle(self._draws, height=min(height, self._height if self._height is not None else height))
        shared = ("_cells", "_values", "_noises", "_inputs")
        found.__dict__.update({name: self.__dict__[name] for name in shared if name in self.__dict__})
        return found

    # ------------------------------------------------------------------ inside

    @cached_property
    @_on_one_thread
    def _effects(self) -> NoiseEffects:
        return effects_on_draws(self._draws, self._cells)

    @cached_property
    def _cells(self) -> list[Columns]:
        return [self._columns(self._draws.observed, name, is_cell=True) for name in self.graph.observed]

    @cached_property
    def _values(self) -> list[Columns | None]:
        return self._of_latents(self._draws.latents)

    @cached_property
    def _noises(self) -> list[Columns | None]:
        return self._of_latents(self._draws.noise)

    @property
    def _entering(self) -> list[Columns | None]:
        """Columns of what enters at each latent alone: its noise, or, where it became a root, its value."""
        if self._height is None:
            return self._noises
        pairs = zip(self._values, self._noises, severed(self.graph, self._height), strict=False)
        return [value if is_cut else noise for value, noise, is_cut in pairs]

    def _of_latents(self, values: Mapping[str, np.ndarray]) -> list[Columns | None]:
        found = [self._columns(values, name) if name in values else None for name in self.graph.latents]
        return [columns if columns is not None and columns.n_parts else None for columns in found]

    def _known_latent(self, name: str) -> int:
        """Place of a latent whose values are known."""
        node = self.graph.position(name)
        if name not in self._draws.latents:
            what = "are observed" if node >= self.graph.n_latents else "are not among the draws"
            raise UsageError(f"lists {name!r}, whose values {what}: name latents that were drawn", argument="latents")
        return node

    def _values_of(self, names: list[str]) -> tuple[Float[np.ndarray, "n D"], Int[np.ndarray, " n"]]:
        """Quantities side by side, and labels of what the categories are together."""
        values, n = self._draws.latents, self._draws.n
        hot = [self._draws.latents[name] for name in names if self._is_category(values, name)]
        labels = np.unique(np.concatenate(hot, axis=1), axis=0, return_inverse=True)[1] if hot else np.zeros(n, int)
        known = [self._values[self.graph.index[name]] for name in names if not self._is_category(values, name)]
        parts = np.concatenate([np.zeros((n, 0)), *(columns.parts for columns in known if columns is not None)], axis=1)
        for found, most, what in (
            (int(labels.max()) + 1, most_categories(self._n_fitted), "joint categories"),
            (parts.shape[1], most_quantities(n - self._n_fitted), "numbers"),
        ):
            if found > most:
                raise UsageError(
                    f"hold {found} {what} together, and {n} draws can tell at most {most}: ask for fewer latents, make "
                    "more draws, or ask an exact oracle where the model has one",
                    argument="latents",
                )
        return parts, labels.reshape(-1)

    def _is_category(self, values: Mapping[str, np.ndarray], name: str) -> bool:
        told = self._draws.categories if values is self._draws.latents else None
        return are_categories(values[name]) if told is None else name in told

    def _columns(self, values: Mapping[str, np.ndarray], name: str, *, is_cell: bool = False) -> Columns:
        is_category = self._is_category(values, name)
        return Columns.of(values[name], self._n_fitted, is_category=is_category, is_cell=is_cell)

    @cached_property
    def _inputs(self) -> Inputs:
        return Inputs([columns.parts for columns in self._cells], self._n_fitted)

    @cached_property
    def _roots(self) -> Int[np.ndarray, " n_nodes"]:
        """For each node, the root that it is below; without a cut 0 everywhere, and -1 above one."""
        arrays = self.graph.arrays
        if self._height is None or (arrays.heights <= self._height).all():
            return np.zeros(arrays.n_nodes, dtype=np.int64)
        roots = np.arange(arrays.n_nodes)
        for node, above in enumerate(self.graph.parent_indices):
            if arrays.heights[node] > self._height:
                roots[node] = -1
            elif above and arrays.heights[above[0]] <= self._height:
                roots[node] = roots[above[0]]
        return roots

    def _below(self, seen: Bool[np.ndarray, "m n"], root: int) -> Bool[np.ndarray, "m n"]:
        """Visible cells below a root; nothing for what is above the cut."""
        return seen & (self._roots[self.graph.n_latents :] == root) & (root >= 0)

    def _residuals(self, seen: Bool[np.ndarray, " n"], wanted: list[Columns]) -> list[Float[np.ndarray, "n_held r"]]:
        """Part that is missed of each variable on the held-out draws; all of the components that are not predicted."""
        sizes = [columns.n_predicted for columns in wanted]
        held = [columns.parts[self._n_fitted :] for columns in wanted]
        if not seen.any() or not sum(sizes):
            return held
        targets = np.concatenate([columns.parts[:, : columns.n_predicted] for columns in wanted], axis=1)
        _, groups = np.unique(np.repeat(np.arange(len(wanted)), sizes), return_inverse=True)
        rest = held_out_residuals(self._inputs, np.flatnonzero(seen), targets, groups)
        own = np.split(rest, np.cumsum(sizes)[:-1], axis=1)
        return [
            np.concatenate([part, all_of[:, size:]], axis=1)
            for part, all_of, size in zip(own, held, sizes, strict=True)
        ]

    @_on_one_thread
    def _missed(
        self,
        seen: Bool[np.ndarray, "m n"],
        variables: list[Any],
        asked: Bool[np.ndarray, "m k"],
        roots: Int[np.ndarray, " k"],
    ) -> tuple[Float[np.ndarray, "m k"], Float[np.ndarray, "m k"]]:
        """Share of each variable's variance that is missed under each mask, with standard errors; NaN if not asked.

        What is visible below one root is regressed on once, however many masks have it so.
        """
        value, error = np.full(asked.shape, np.nan), np.full(asked.shape, np.nan)
        for root in np.unique(roots):
            own = roots == root
            sets, which = np.unique(self._below(seen, root), axis=0, return_inverse=True)
            for place, cells in enumerate(sets):
                masks = which.ravel() == place
                wanted = [
                    k
                    for k in np.flatnonzero(own & asked[masks].any(axis=0)).tolist()
                    if variables[k] is not None and variables[k].n_parts
                ]
                residuals = self._residuals(cells, [variables[k] for k in wanted])
                for k, rest in zip(wanted, residuals, strict=True):
                    rows = masks & asked[:, k]
                    value[rows, k], error[rows, k] = _share(rest, variables[k].parts[self._n_fitted :])
        return value, error


def _share(residuals: Float[np.ndarray, "n r"], values: Float[np.ndarray, "n r"]) -> tuple[float, float]:
    """Ratio of two sums of squares over rows, with its standard error by the delta method."""
    missed, total = (residuals**2).sum(axis=1), (values**2).sum(axis=1)
    mean = total.mean()
    if not mean:
        return np.nan, np.nan
    ratio = missed.mean() / mean
    return float(ratio), float((missed - ratio * total).std(ddof=1) / (mean * np.sqrt(len(missed))))
