"""Arms of a study: every combination of mask, network and loss, with the names and columns that tell them apart."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from hlvm.graph import LatentGraph
from hlvm.mae import Member, NetworkConfig
from hlvm.mae.config import ObjectiveConfig, network_to_dict
from hlvm.mae.objectives.descriptions import objective_to_dict
from hlvm.masking import law_of
from hlvm.masking.descriptions import mask_to_dict
from hlvm.masking.strategies import as_strategy

__all__ = ["Arm", "arms_of", "labels", "unit_name"]

_LONGEST_VALUE = 24
"""Longer values of a field are told by a number instead."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Arm:
    """One combination of mask, network and loss.

    Attributes:
        name: what tells it from the other arms.
        mask: how it is masked while training.
        network: its architecture.
        loss: what it makes small.
        strategy: name of the strategy in files, such as ``"random"``; of one of your own the name of its class.
        ratio: its masking ratio; where the strategy has none, the expected share of observed variables that is hidden.
        unit: side of its masking unit in cells, or ``"rows × columns"``; ``""`` where the strategy has none.
        mask_name: what tells the mask from the other masks.
        network_name: what tells the network from the other networks.
        loss_name: what tells the loss from the other losses.
    """

    name: str
    mask: Any
    network: NetworkConfig
    loss: ObjectiveConfig
    strategy: str
    ratio: float
    unit: int | str
    mask_name: str
    network_name: str
    loss_name: str

    @property
    def columns(self) -> dict[str, Any]:
        """The arm in columns of a table."""
        return {
            "arm": self.name,
            "strategy": self.strategy,
            "ratio": self.ratio,
            "unit": self.unit,
            "network": self.network_name,
            "loss": self.loss_name,
        }

    def member(self, seed: int) -> Member:
        """The arm as a member of an ensemble."""
        return Member(mask=self.mask, network=self.network, loss=self.loss, seed=seed)


def arms_of(
    graph: LatentGraph, masks: Sequence[Any], networks: Sequence[NetworkConfig], losses: Sequence[ObjectiveConfig]
) -> tuple[Arm, ...]:
    """All combinations; masks change slowest, losses fastest.

    A strategy of the user's own is called by its attribute ``name`` if that is a string, or else by its class. If it is
    a dataclass, the fields follow that tell it from others of that name.

    Raises:
        ValueError: a mask that is no strategy or does not fit the graph, or two that are the same.
    """
    tables = [mask_to_dict(mask) for mask in masks]
    shown = [_shown(table, mask) for table, mask in zip(tables, masks, strict=True)]
    of_networks = [network_to_dict(network) for network in networks]
    of_losses = [objective_to_dict(loss) for loss in losses]
    if len({type(loss) for loss in losses}) > 1:  # alone, reconstruction is told by its fields
        of_losses = [{"kind": loss.kind, **fields} for loss, fields in zip(losses, of_losses, strict=True)]
    for what, described in (("masks", shown), ("networks", of_networks), ("losses", of_losses)):
        repeated = next((i for i, one in enumerate(described) if one in described[:i]), None)
        if repeated is not None:
            own = what == "masks" and tables[repeated]["kind"] == "own"
            remedy = "leave it out" + (", or give each an attribute name, a string of its own" if own else "")
            raise ValueError(f"{what}: number {repeated + 1} is the same as an earlier one: {remedy}")
    named = [labels(part) for part in (shown, of_networks, of_losses)]
    arms: list[Arm] = []
    for (a, mask), (b, network), (c, loss) in itertools.product(
        enumerate(masks), enumerate(networks), enumerate(losses)
    ):
        own = (named[0][a], named[1][b], named[2][c])
        several = [True, len(networks) > 1, len(losses) > 1]
        arms.append(
            Arm(
                name=", ".join(label for label, tells in zip(own, several, strict=True) if tells and label),
                mask=mask,
                network=network,
                loss=loss,
                strategy=_strategy_name(tables[a]),
                ratio=_ratio(graph, mask),
                unit=_unit(mask),
                mask_name=own[0],
                network_name=own[1],
                loss_name=own[2],
            )
        )
    return tuple(arms)


def labels(tables: Sequence[Mapping[str, Any]]) -> list[str]:
    """Short names that differ: the kind of every table, and what tells it from the others of its kind.

    Args:
        tables: fields of settings by name; ``"kind"`` says which class they are of.

    Returns:
        One name per table, numbered where the fields that differ are long.
    """
    short = []
    for table in tables:
        same = [other for other in tables if other.get("kind") == table.get("kind")]
        told = [name for name in dict.fromkeys(n for t in same for n in t) if len({str(t.get(name)) for t in same}) > 1]
        words = {name: _word(table[name]) for name in told if name in table}
        values = [f"{name}={word}" for name, word in words.items() if len(word) <= _LONGEST_VALUE]
        short.append(" ".join([str(table.get("kind", "")), *values]).strip())
    return [label if short.count(label) == 1 else f"{label} #{i + 1}".strip() for i, label in enumerate(short)]


def _word(value: Any) -> str:
    """A value of a field in words; of a table inside of a table its kind, where it has one."""
    return str(value.get("kind", value) if isinstance(value, Mapping) else value)


def _shown(table: Mapping[str, Any], mask: Any) -> dict[str, Any]:
    """The table of a mask as arms are named after it."""
    if table["kind"] == "own":
        name = getattr(mask, "name", None)
        named = isinstance(name, str) and bool(name.strip())
        fields = {field: value for field, value in table["fields"].items() if not (named and field == "name")}
        return {**fields, "kind": name if named else table["class"]}
    return {**table, "unit": unit_name(table["unit"])} if "unit" in table else dict(table)


def _strategy_name(table: Mapping[str, Any]) -> str:
    return str(table["class"] if table["kind"] == "own" else table["kind"])


def _ratio(graph: LatentGraph, mask: Any) -> float:
    given = getattr(as_strategy(mask), "ratio", None)
    if isinstance(given, int | float):
        return float(given)
    law = law_of(mask, graph)
    share = getattr(law, "masked_share", None)
    fewest, most = law.hidden
    return float(share) if share is not None else (fewest + most) / (2 * graph.n_observed)


def unit_name(unit: Any) -> int | str:
    """A masking unit as tables name it: its side, or ``"rows × columns"`` where these differ."""
    if isinstance(unit, list | tuple):
        rows, columns = unit
        return rows if rows == columns else f"{rows} × {columns}"
    return unit


def _unit(mask: Any) -> int | str:
    unit = getattr(as_strategy(mask), "unit", None)
    return "" if unit is None or getattr(mask, "patches", None) is not None else unit_name(unit)
