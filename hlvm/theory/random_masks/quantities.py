"""Profiles of random masks: which latents are shared, how much can be known, is asked for, and pulls in training."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Literal, TypeAlias, get_args

import jax
import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

from hlvm._numbers import positive
from hlvm.graph import LatentGraph
from hlvm.masking import Listed, MaskSampler
from hlvm.theory.exact import oracle_of
from hlvm.theory.one_mask.shared_information import Regime
from hlvm.theory.oracles import How, Oracle, Part, effects_of
from hlvm.theory.random_masks.averages import Asked, Draws, all_are_known, masks_of, named
from hlvm.theory.random_masks.ladder import ladder_of_masks, shared_error
from hlvm.theory.random_masks.membership import membership_probability
from hlvm.theory.random_masks.profile import level_profile
from hlvm.theory.signal.ridge import DEFAULT_RIDGE, checked_ridge, jackknife_error, ridge_numbers

__all__ = ["MaskProfile", "Quantity", "mask_profile"]

Quantity: TypeAlias = Literal["share", "availability", "demand", "signal", "relevance", "readability"]

_OF_SIGNALS = ("signal", "relevance", "readability")
_OF_MASKS, _OF_STRINGS = 0, 1
"""Streams of the key."""

_NUMBERS_AT_ONCE = 2**24
"""Losses by mask, cell and height that are held at a time, where no draws tie the masks together: 128 MiB."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class MaskProfile:
    """Quantities of every latent and height under every strategy.

    Attributes:
        strategies: name -> what draws the masks.
        table: one row per strategy, quantity and latent, and one per strategy, quantity and height. Columns:
            ``strategy`` (name); ``masked_share``, the mean share of the cells that is masked; ``quantity``;
            ``part``, of an availability, "value" or "noise", else ""; ``latent``, or "" for the row of a height;
            ``height``; ``value``; ``error``, its standard error, 0 where exact; ``how``, "exact", "linearised" or
            "estimated"; ``n_masks``, masks drawn, 0 if all were gone through or the answer has a closed form.

            A *share* is the probability that the latent is in the shared information (of a height, the mean over its
            latents). An *availability* is the R² of the best prediction of the latent's value or noise from what is
            visible (of a height, the mean). A *demand* is what knowing context of this height, beyond that of the
            height below, takes off the loss per masked cell, in units of a cell's variance (of a latent, its part of
            it). The *loss* that remains at a height is listed as well, with the demand; height 0 is the loss when
            nothing is seen.

            *Signal*, *relevance* and *readability* are of a latent's noise, see :class:`MaskSignal`: of a height,
            signals and relevances are summed, readabilities are means. A signal is per cell of the image, a demand per
            masked cell.
    """

    strategies: dict[str, MaskSampler]
    table: pd.DataFrame

    def of_heights(self, quantity: str, part: str = "") -> pd.DataFrame:
        """One quantity with a row per strategy and a column per height."""
        return self._pivot(quantity, part, "height", ~self.table["latent"].astype(bool))

    def of_latents(self, quantity: str, part: str = "") -> pd.DataFrame:
        """One quantity with a row per strategy and a column per latent."""
        return self._pivot(quantity, part, "latent", self.table["latent"].astype(bool))

    def _pivot(self, quantity: str, part: str, columns: str, rows: Any) -> pd.DataFrame:
        part = part or ("value" if quantity == "availability" else "")
        chosen: Any = self.table[rows & (self.table["quantity"] == quantity) & (self.table["part"] == part)]
        if not len(chosen):
            raise ValueError(f"the profile has no {quantity!r}{f' of {part!r}' if part else ''}")
        found = chosen.pivot(index="strategy", columns=columns, values="value")
        order = [name for name in self.strategies if name in found.index]
        return found.loc[order, list(dict.fromkeys(chosen[columns]))]


def mask_profile(
    model: Any,
    strategies: Iterable[MaskSampler] | Mapping[str, MaskSampler],
    quantities: Collection[Quantity] = ("share", "availability", "demand"),
    *,
    regime: Regime | None = None,
    key: Any = 0,
    n_masks: int = 256,
    rows: int = 1,
    ridge: float = DEFAULT_RIDGE,
) -> MaskProfile:
    """Shares, availability, demand and signals of every latent and height under random masks, before any training.

    Shares need the graph alone, all else an oracle. All strategies are asked about the same
    strings, so that their differences are less noisy than each of them.

    Args:
        model: a model with an exact oracle, or an oracle of any kind (see :func:`hlvm.theory.oracle_of`); for shares
            alone a :class:`~hlvm.graph.LatentGraph` will do.
        strategies: what draws the masks: a list, or name -> strategy.
        quantities: some of "share", "availability", "demand", "signal", "relevance" and "readability".
        regime: of the shares; ``None``: "invertible" if the model says that it is, else "general".
        key: a JAX key or an int.
        n_masks: masks drawn for each strategy, at least 2; lists of at most so many masks are gone through.
        rows: strings drawn for each mask, where the oracle draws them. More masks are better than more strings.
        ridge: of the reconstruction behind signals, relevances and readabilities, in units of a cell's variance; see
            :func:`mask_signal`.

    Returns:
        The profile.

    Raises:
        ValueError: no strategies, or one that does not fit the graph; an unknown quantity; a model without an oracle;
            or numbers out of range.

    References:
        ``docs/theory.md``, sections 3, 7 and 10.

    Example:
        >>> from hlvm.masking import RandomMask
        >>> from hlvm.theory import GaussianOracle
        >>> graph = LatentGraph.from_edges([("z", "x1"), ("z", "x2")], dims=1)
        >>> ones = {"x1": [[1.0]], "x2": [[1.0]]}
        >>> noises = {"z": 1, "x1": 1, "x2": 1}
        >>> oracle = GaussianOracle.from_parameters(graph, coefficients=ones, noise_scales=noises)
        >>> profile = mask_profile(oracle, {"half": RandomMask(ratio=0.5)})
        >>> [profile.of_heights(of).loc["half", 1].round(6).item() for of in ("availability", "demand")]
        [0.5, 0.25]
    """
    wanted = list(quantities)
    unknown = [quantity for quantity in wanted if quantity not in get_args(Quantity)]
    if unknown or not wanted:
        raise ValueError(f"quantities must be some of {', '.join(get_args(Quantity))}, got {wanted}")
    positive(rows, "rows")
    ridge = checked_ridge(ridge)
    needs_oracle = set(wanted) != {"share"}
    oracle = oracle_of(model) if needs_oracle else None
    graph = model if isinstance(model, LatentGraph) else model.graph
    each = named(graph, strategies, "strategies")
    draws = Draws.checked(key, n_masks)
    found: list[dict[str, Any]] = []
    for name, of in each.items():
        lines = _Lines(graph, name, of)
        if "share" in wanted:
            lines.shares(regime or ("invertible" if getattr(model, "invertible", False) else "general"), draws)
        if oracle is not None:
            lines.of_masks(oracle, wanted, draws, rows, ridge)
        found += lines.rows
    return MaskProfile(strategies={name: of.strategy for name, of in each.items()}, table=pd.DataFrame(found))


class _Lines:
    """Rows of the table about one strategy."""

    def __init__(self, graph: LatentGraph, name: str, of: Asked) -> None:
        self.graph, self.name, self.of = graph, name, of
        self.rows: list[dict[str, Any]] = []
        self.heights = np.asarray(graph.heights)[: graph.n_latents]

    def shares(self, regime: Regime, draws: Draws) -> None:
        """Probabilities of being in ``c``."""
        law, strategy = self.of.law, self.of.strategy
        shares = membership_probability(self.graph, strategy, regime=regime, key=draws.key, n_masks=draws.n_masks)
        levels = level_profile(self.graph, [strategy], regime=regime, key=draws.key, n_masks=draws.n_masks)
        drawn = 0 if all_are_known(self.graph, law, draws.n_masks, regime) else draws.n_masks
        value = np.array(list(shares.values()))
        error = np.sqrt(value * (1 - value) / drawn) if drawn else np.zeros_like(value)
        about = {"masked_share": float(levels.masked_share[0]), "how": "estimated" if drawn else "exact"}
        self._add("share", "", value, error, **about, n_masks=drawn)
        for i, height in enumerate(levels.heights.tolist()):
            self._row("share", "", "", height, levels.share[0, i], levels.standard_error[0, i], **about, n_masks=drawn)

    def of_masks(self, oracle: Oracle, wanted: list[Quantity], draws: Draws, rows: int, ridge: float) -> None:
        """Averages over masks of what an oracle says."""
        masks, drawn = self._masks(draws)
        ask = _Asking(oracle, masks, drawn, max(rows, 1 if drawn else -(-draws.n_masks // len(masks))), draws.key)
        if "availability" in wanted:
            for part in get_args(Part):
                values, shared = ask.latent_r2(part)
                self._add("availability", part, *ask.mean(values, shared), **ask.about)
                for height in np.unique(self.heights).tolist():
                    own = values[..., self.heights == height]
                    varies = ~np.isnan(own[0, 0])  # a latent that never changes has no share of its variance
                    if varies.any():
                        of_height = shared[self.heights == height][varies].mean()
                        value, error = ask.mean(own[..., varies].mean(axis=2, keepdims=True), of_height)
                        self._row("availability", part, "", height, value[0], error[0], **ask.about)
        if "demand" in wanted:
            loss, of_latents, shared = ask.ladder()
            value, error = ask.mean(loss, shared)
            for height in range(loss.shape[2]):
                self._row("loss", "", "", height, value[height], error[height], **ask.about)
            of_gains = np.hypot(shared[:-1], shared[1:])
            value, error = ask.mean(loss[..., :-1] - loss[..., 1:], of_gains)
            for height in np.unique(self.heights).tolist():
                self._row("demand", "", "", height, value[height - 1], error[height - 1], **ask.about)
            if of_latents is not None:
                self._add("demand", "", *ask.mean(of_latents, of_gains[self.heights - 1]), **ask.about)
        if chosen := [quantity for quantity in _OF_SIGNALS if quantity in wanted]:
            self._signals(ask, chosen, ridge)

    def _signals(self, ask: _Asking, chosen: list[str], ridge: float) -> None:
        """Numbers of ridge reconstructions; of draws that all masks share, errors are those of the means."""
        numbers, without = ask.signals(ridge)
        for quantity in chosen:
            place = _OF_SIGNALS.index(quantity)
            values, shared = numbers[place][:, None], None if without is None else without[:, place].mean(axis=1)
            self._add(quantity, "", *ask.mean(values, _shared_error(shared)), **ask.about)
            for height in np.unique(self.heights).tolist():
                own = self.heights == height
                if quantity == "readability":  # a latent without noise has none
                    own &= ~np.isnan(values[0, 0])
                if own.any():
                    n = own.sum() if quantity == "readability" else 1
                    apart = None if shared is None else shared[:, own].sum(axis=1, keepdims=True) / n
                    of_height = values[..., own].sum(axis=2, keepdims=True) / n
                    value, error = ask.mean(of_height, _shared_error(apart))
                    self._row(quantity, "", "", height, value[0], error[0], **ask.about)

    def _masks(self, draws: Draws) -> tuple[Bool[np.ndarray, "m n"], int]:
        """Masks, and how many of them are drawn: 0 if they are all there are."""
        if isinstance(self.of.law, Listed) and self.of.law.n_masks <= draws.n_masks:
            return self.of.law.masks(), 0
        key = None if draws.key is None else jax.random.fold_in(draws.key, _OF_MASKS)
        parts, drawn = masks_of(self.graph, self.of, Draws(key, draws.n_masks), "general")
        return np.concatenate(list(parts)), drawn

    def _add(self, quantity: str, part: str, value: np.ndarray, error: np.ndarray, **about: Any) -> None:
        for i, name in enumerate(self.graph.latents):
            self._row(quantity, part, name, int(self.heights[i]), value[i], error[i], **about)

    def _row(self, quantity: str, part: str, latent: str, height: int, value: Any, error: Any, **about: Any) -> None:
        self.rows.append(
            {
                "strategy": self.name,
                "masked_share": about["masked_share"],
                "quantity": quantity,
                "part": part,
                "latent": latent,
                "height": int(height),
                "value": float(value),
                "error": float(error),
                "how": about["how"],
                "n_masks": about["n_masks"],
            }
        )


class _Asking:
    """Questions to an oracle about some masks, and means of the answers.

    Args:
        oracle: the oracle.
        masks: of one strategy.
        drawn: how many of them are drawn; 0 if they are all there are.
        rows: strings for each mask, where strings are drawn.
        key: of these draws.
    """

    def __init__(self, oracle: Oracle, masks: Bool[np.ndarray, "m n"], drawn: int, rows: int, key: Any) -> None:
        self.oracle, self.masks, self.drawn = oracle, masks, drawn
        self.key = None if key is None else jax.random.fold_in(key, _OF_STRINGS)
        # From several strings for each mask of a list follows the error of the mean.
        self.rows = max(rows, 1 if drawn else 2)
        self.about: dict[str, Any] = {"masked_share": float(masks.mean()), "n_masks": drawn}

    def _say(self, how: How) -> None:
        self.about["how"] = "estimated" if self.drawn and how == "exact" else how

    @property
    def repeated(self) -> Bool[np.ndarray, "m_times_rows n"]:
        """Each mask as often as it has strings."""
        return np.repeat(self.masks, self.rows, axis=0)

    def latent_r2(self, part: Part) -> tuple[Float[np.ndarray, "m rows n_latents"], Float[np.ndarray, " n_latents"]]:
        """Each string's part in the R² of each latent, and the error that all masks share."""
        answers = self.oracle.latent_r2_batch(self.repeated, part=part, key=self.key)
        self._say(answers.how)
        return answers.value.reshape(len(self.masks), self.rows, -1), shared_error(answers)

    def ladder(self) -> tuple[Any, Any, Float[np.ndarray, " n_heights"]]:
        """Losses by the height of the context, parts of latents in the gains, and the error that all masks share.

        Shapes are (m, rows, n_heights) and (m, rows, n_latents); ``None`` for the parts where the graph is no forest.
        """
        masks, graph = self.repeated, self.oracle.graph
        step = max(1, _NUMBERS_AT_ONCE // (graph.n_observed * (max(graph.heights) + 1)))
        parts = [self._ladder(masks[:step])]
        if parts[0][3] == "estimated":  # draws are made for all masks at once
            parts = [self._ladder(masks)] if len(masks) > step else parts
        else:
            parts += [self._ladder(masks[begin : begin + step]) for begin in range(step, len(masks), step)]
        loss, each, error, how = zip(*parts, strict=True)
        self._say(how[0])
        shape = (len(self.masks), self.rows, -1)
        of_latents = None if each[0] is None else np.concatenate(each).reshape(shape)
        return np.concatenate(loss).reshape(shape), of_latents, error[0]

    def _ladder(self, masks: Bool[np.ndarray, "m n"]) -> tuple[Any, Any, Float[np.ndarray, " n_heights"], How]:
        found, graph = ladder_of_masks(self.oracle, masks, key=self.key), self.oracle.graph
        return found.mean_loss, found.latent_gain(graph) if graph.arrays.is_forest else None, found.error, found.how

    def signals(
        self, ridge: float
    ) -> tuple[Float[np.ndarray, "3 m n_latents"], Float[np.ndarray, "groups 3 m n_latents"] | None]:
        """Signals, relevances and readabilities; the same without each group of an oracle's draws, if it has any."""
        effects = effects_of(self.oracle)
        self._say(effects.how)
        found = ridge_numbers((effects, *effects.without), self.masks, ~self.masks, ridge)
        return found[0], found[1:] if effects.without else None

    def mean(
        self, values: Float[np.ndarray, "m rows n"], shared: Float[np.ndarray, " n"] | float
    ) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]]:
        """Mean over masks and strings, and its standard error: of drawn masks between them, of a list within each.

        What all masks have in common, such as the rows of a regression, comes on top.
        """
        values = values[~np.isnan(values).all(axis=(1, 2))]  # masks without a target that varies ask for nothing
        if len(values) < 2 and self.drawn:
            return np.full(values.shape[2], np.nan), np.full(values.shape[2], np.nan)
        by_mask = values.mean(axis=1)
        own = np.zeros_like(by_mask[0])
        if self.drawn:
            own = by_mask.std(axis=0, ddof=1) / math.sqrt(len(values))
        elif self.about["how"] != "exact" and values.shape[1] > 1:
            own = np.sqrt((values.var(axis=1, ddof=1) / self.rows).sum(axis=0)) / len(values)
        return by_mask.mean(axis=0), np.hypot(own, shared)


def _shared_error(without: Float[np.ndarray, "groups n"] | None) -> Float[np.ndarray, " n"] | float:
    """Error of means over masks from those without each group of draws; 0 without draws."""
    error = jackknife_error([] if without is None else without)
    return 0.0 if error is None else error
