"""The prediction of a study, before anything is trained: shares in ``c``, and how much can be known and is asked for.

Like :mod:`hlvm.theory`, this module sees graphs, masks and parameters of generators: never data, fits or scores.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from typing import Any, get_args

import numpy as np
import pandas as pd

from hlvm.graph import LatentGraph
from hlvm.masking import law_of
from hlvm.theory import Regime, level_profile, mask_profile, membership_probability, oracle_of
from hlvm.theory.random_masks.averages import all_are_known

__all__ = ["Prediction", "predict_quantities", "predict_shares", "regimes_of"]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Prediction:
    """Share of every latent in the shared information, for every mask and regime.

    Attributes:
        regime: the one that claims rest on.
        latents: columns ``mask``, ``regime``, ``latent``, ``height``, ``share_in_c`` (0 to 1) and ``error``, the
            standard error where masks were drawn, 0 where the share is exact.
        heights: columns ``mask``, ``regime``, ``height``, ``share_in_c`` (mean over the latents of the height),
            ``error``, ``frontier_share`` and ``dim`` (expected dims of ``c`` that enter there).
        masked: mask -> expected share of the observed variables that is hidden.
        quantities: how much of each latent can be known, and how much is asked for, where the generator has an exact
            oracle: the columns of :attr:`hlvm.theory.MaskProfile.table` with the mask as ``strategy``. Empty otherwise.
    """

    regime: Regime
    latents: pd.DataFrame
    heights: pd.DataFrame
    masked: Mapping[str, float]
    quantities: pd.DataFrame = dataclasses.field(default_factory=pd.DataFrame)

    def of_latents(self, mask: str) -> dict[str, float]:
        """Latent -> share in ``c`` under one mask, in the regime that claims rest on."""
        rows: Any = self.latents[(self.latents["mask"] == mask) & (self.latents["regime"] == self.regime)]
        return dict(zip(rows["latent"], rows["share_in_c"].astype(float), strict=True))

    def of_heights(self, mask: str, latents: Collection[str] | None = None) -> dict[int, float]:
        """Height -> share in ``c`` under one mask, in the regime that claims rest on.

        Args:
            mask: its name.
            latents: means are over these alone, and heights without any are left out; ``None`` for all.
        """
        rows: Any = self.heights[(self.heights["mask"] == mask) & (self.heights["regime"] == self.regime)]
        shares = dict(zip(rows["height"].astype(int), rows["share_in_c"].astype(float), strict=True))
        if latents is None:
            return shares
        each: Any = self.latents[(self.latents["mask"] == mask) & (self.latents["regime"] == self.regime)]
        found: dict[int, float] = {}
        for height, share in shares.items():
            of = each[each["height"] == height]
            chosen = of[of["latent"].isin(latents)]
            if len(chosen):
                found[height] = share if len(chosen) == len(of) else float(chosen["share_in_c"].mean())
        return found

    def quantity(
        self, mask: str, quantity: str, part: str = "", latents: Collection[str] | None = None
    ) -> dict[Any, float]:
        """Availability or demand under one mask; empty where nothing is known of it.

        Args:
            mask: its name.
            quantity: "availability" or "demand".
            part: of an availability "noise" or "value".
            latents: names for means by height over these alone, sums of a demand; ``None`` for each latent by itself.

        Returns:
            Latent -> number, or height -> number.
        """
        if self.quantities.empty:
            return {}
        known: Any = self.quantities
        rows = known[(known["strategy"] == mask) & (known["quantity"] == quantity) & (known["part"] == part)]
        each = rows[rows["latent"] != ""]
        if latents is None:
            return dict(zip(each["latent"], each["value"].astype(float), strict=True))
        if quantity == "demand" and not len(each):  # of graphs that are no forests demands are known by height only
            return dict(zip(rows["height"].astype(int), rows["value"].astype(float), strict=True))
        chosen = each[each["latent"].isin(latents)].groupby("height")["value"]
        found = chosen.sum() if quantity == "demand" else chosen.mean()
        return {int(height): float(value) for height, value in found.items()}

    def to_dict(self) -> dict[str, Any]:
        """The prediction, ready for JSON."""
        found = {
            "regime": self.regime,
            "latents": self.latents.to_dict("list"),
            "heights": self.heights.to_dict("list"),
            "masked": dict(self.masked),
        }
        if self.quantities.empty:
            return found
        table = self.quantities.astype(object).where(self.quantities.notna(), None)  # JSON has no NaN
        return {**found, "quantities": table.to_dict("list")}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Prediction:
        """The inverse of :meth:`to_dict`.

        Raises:
            ValueError: what :meth:`to_dict` does not write.
        """
        try:
            frames = {name: pd.DataFrame(data[name]) for name in ("latents", "heights")}
            quantities = pd.DataFrame(data.get("quantities", {}))
            if not quantities.empty:
                quantities = quantities.astype({"value": float, "error": float})
            return cls(regime=data["regime"], masked=dict(data["masked"]), quantities=quantities, **frames)
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"expected a prediction as Prediction.to_dict writes it: {error!r}") from None


def regimes_of(graph: LatentGraph) -> tuple[Regime, ...]:
    """The regimes whose dims the graph has: "general" always, "invertible" where an invertible mechanism can exist."""
    return get_args(Regime) if graph.invertible_dims_error() is None else ("general",)


def predict_shares(
    graph: LatentGraph, masks: Mapping[str, Any], *, regime: Regime, key: Any = 0, n_masks: int = 1000
) -> Prediction:
    """Shares in ``c`` of every latent and height, in each regime that the graph allows.

    Args:
        graph: the generating graph.
        masks: name -> strategy.
        regime: the one that claims rest on.
        key: a JAX key or an int; needed where masks have to be drawn.
        n_masks: masks drawn for what has no closed form.

    Raises:
        ValueError: the graph's dims do not allow the regime, or a strategy does not fit the graph.
    """
    known = regimes_of(graph)
    if regime not in known:
        raise ValueError(f'regime: these dims allow {" and ".join(known)} only, got "{regime}"')
    heights = dict(zip(graph.nodes, graph.heights, strict=True))
    latents: list[dict[str, Any]] = []
    levels: list[dict[str, Any]] = []
    masked: dict[str, float] = {}
    for of in known:
        profile = level_profile(graph, list(masks.values()), regime=of, key=key, n_masks=n_masks)
        for row, (name, mask) in enumerate(masks.items()):
            masked[name] = float(profile.masked_share[row])
            shares, drawn = _memberships(graph, mask, of, key, n_masks)
            latents += [
                {
                    "mask": name,
                    "regime": of,
                    "latent": latent,
                    "height": int(heights[latent]),
                    "share_in_c": float(share),
                    "error": float(np.sqrt(share * (1 - share) / drawn)) if drawn else 0.0,
                }
                for latent, share in shares.items()
            ]
            levels += [
                {
                    "mask": name,
                    "regime": of,
                    "height": int(height),
                    "share_in_c": float(profile.share[row, i]),
                    "error": float(profile.standard_error[row, i]),
                    "frontier_share": float(profile.frontier_share[row, i]),
                    "dim": float(profile.dim[row, i]),
                }
                for i, height in enumerate(profile.heights)
            ]
    return Prediction(regime=regime, latents=pd.DataFrame(latents), heights=pd.DataFrame(levels), masked=masked)


def _memberships(graph: LatentGraph, mask: Any, regime: Regime, key: Any, n_masks: int) -> tuple[dict[str, float], int]:
    """Share of every latent, and the number of masks drawn for it; 0 where it is exact."""
    shares = membership_probability(graph, mask, regime=regime, key=key, n_masks=n_masks)
    return shares, 0 if all_are_known(graph, law_of(mask, graph), n_masks, regime) else n_masks


def predict_quantities(
    models: Sequence[Any], masks: Mapping[str, Any], *, key: Any = 0, n_masks: int = 256
) -> pd.DataFrame:
    """Availability and demand of every latent and height, where the generators have exact oracles.

    Args:
        models: the generators, of one graph; means are over them.
        masks: name -> strategy.
        key: a JAX key or an int.
        n_masks: masks drawn for each strategy.

    Returns:
        See :attr:`Prediction.quantities`; empty if a generator has no exact oracle.
    """
    try:
        oracles = [oracle_of(model) for model in models]
    except ValueError:
        return pd.DataFrame()
    tables = [mask_profile(one, masks, ("availability", "demand"), key=key, n_masks=n_masks).table for one in oracles]
    if len(tables) == 1:
        return tables[0]
    values, errors = (np.stack([table[column].to_numpy(float) for table in tables]) for column in ("value", "error"))
    found = tables[0].assign(value=values.mean(axis=0))
    # Between generators, which differ by more than the draws of each.
    found["error"] = np.sqrt(np.maximum(values.var(axis=0, ddof=1), (errors**2).mean(axis=0)) / len(tables))
    return found
