"""Mask strategies as dictionaries for JSON and TOML, and the table of their names in files and on the command line."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from typing import Any

from hlvm.masking.listing import MaskList
from hlvm.masking.patches import Patches
from hlvm.masking.shapes import BlockMask, GridMask, SubtreeMask
from hlvm.masking.strategies import BernoulliMask, FixedMask, RandomMask, RatioRange, as_strategy

__all__ = ["STRATEGIES", "mask_from_dict", "mask_to_dict", "without_lists"]

STRATEGIES: dict[str, type[Any]] = {
    "random": RandomMask,
    "ratio_range": RatioRange,
    "bernoulli": BernoulliMask,
    "block": BlockMask,
    "grid": GridMask,
    "subtree": SubtreeMask,
    "fixed": FixedMask,
    "list": MaskList,
}
"""Name in files and on the command line -> strategy, a dataclass."""


def mask_to_dict(strategy: Any) -> dict[str, Any]:
    """A JSON-ready description of a mask strategy; of a designed mask, that of the fixed one.

    One of your own is described by the name of its class, with its fields if it is a dataclass.

    Raises:
        ValueError: no strategy, or a dataclass of your own has fields that JSON cannot hold.
    """
    strategy = as_strategy(strategy)
    kind = next((name for name, cls in STRATEGIES.items() if type(strategy) is cls), None)
    fields: dict[str, Any] = {}
    if dataclasses.is_dataclass(strategy):
        fields = {field.name: getattr(strategy, field.name) for field in dataclasses.fields(strategy) if field.init}
    if isinstance(fields.get("patches"), Patches):
        fields["patches"] = [list(group) for group in fields["patches"].groups]
    if kind == "list":
        fields["packed"] = fields["packed"].hex()
    if kind is not None:
        return {"kind": kind, **fields}
    try:
        json.dumps(fields)
    except TypeError as error:
        raise ValueError(
            f"the strategy {type(strategy).__name__} cannot be written to a file: {error}; "
            f"use fields of numbers and strings"
        ) from None
    return {"kind": "own", "class": type(strategy).__name__, "fields": fields}


def mask_from_dict(data: dict[str, Any], known: Mapping[str, Callable[..., Any]] | None = None) -> Any:
    """Rebuild a mask strategy from :func:`mask_to_dict`.

    Raises:
        ValueError: a strategy that is neither part of this package nor in ``known``, or fields that it does not have.
    """
    fields = without_lists(data)
    kind = fields.pop("kind", None)
    if kind not in (*STRATEGIES, "own"):
        raise ValueError(f"kind: expected one of {', '.join(STRATEGIES)}, got {kind!r}")
    if kind == "own":
        if data["class"] not in (known or {}):
            raise ValueError(
                f"these fits were trained with a mask strategy {data['class']!r} of your own: "
                f"load_fits(path, known={{{data['class']!r}: ...}}) with its class"
            )
        return (known or {})[data["class"]](**data["fields"])
    if fields.get("patches") is not None:
        fields["patches"] = Patches(tuple(map(tuple, data["patches"])))
    if kind == "list":
        fields["packed"] = bytes.fromhex(data["packed"])
    try:
        return STRATEGIES[kind](**fields)
    except TypeError as error:
        raise ValueError(f"a mask strategy of kind {kind!r} cannot be made of {sorted(fields)}: {error}") from None


def without_lists(fields: dict[str, Any]) -> dict[str, Any]:
    """JSON turns tuples into lists; this turns them back."""
    return {name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()}
