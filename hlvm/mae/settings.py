"""What to train, from a TOML or JSON file."""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from hlvm.mae.checkpoints import STRATEGIES, mask_from_dict, network_from_dict, without_lists
from hlvm.mae.config import BottleneckConfig, LinearConfig, LossConfig, TrainConfig, ViTConfig
from hlvm.mae.groups import Member

__all__ = ["Settings", "load_settings", "settings_from_dict"]

_TABLES = ("seed", "seeds", "train", "network", "mask", "loss")
_NETWORKS: dict[str, type[Any]] = {"linear": LinearConfig, "bottleneck": BottleneckConfig, "vit": ViTConfig}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """What to train.

    Attributes:
        seed: seed of the key that everything random follows from.
        members: every network with every mask, loss and seed.
        train: the optimisation.
        names: a short name for every member, for tables and curves.
    """

    seed: int
    members: tuple[Member, ...]
    train: TrainConfig
    names: tuple[str, ...]


def load_settings(path: str | os.PathLike[str]) -> Settings:
    """Read a ``.toml`` or ``.json`` file; see :func:`settings_from_dict` for what it holds.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: another suffix, or content that is not understood, with the file's name.
    """
    source = Path(path)
    if source.suffix not in {".toml", ".json"}:
        raise ValueError(f"{path}: settings are a .toml or .json file, got {source.suffix or 'no suffix'!r}")
    content = source.read_text(encoding="utf-8")
    try:
        return settings_from_dict(tomllib.loads(content) if source.suffix == ".toml" else json.loads(content))
    except ValueError as error:  # those of both parsers are ValueErrors, too
        raise ValueError(f"{path}: {error}") from None


def settings_from_dict(data: Any) -> Settings:
    """Understand settings.

    Args:
        data: ``network`` and ``mask``: one table each, or a list of them; ``kind`` says which, the rest are the fields
            of the class: ``linear``, ``bottleneck`` or ``vit``; ``random``, ``ratio_range``, ``bernoulli``, ``block``,
            ``grid``, ``subtree`` or ``fixed``. ``loss``: likewise, without ``kind``. ``train``: the fields of
            :class:`TrainConfig`. ``seeds``: a list of whole numbers. ``seed``: of everything random. ``network`` and
            ``mask`` are needed.

    Returns:
        The settings; members are all combinations, seeds changing fastest.

    Raises:
        ValueError: something missing, unknown, or out of range.

    Example:
        >>> found = settings_from_dict(
        ...     {
        ...         "seeds": [0, 1],
        ...         "network": {"kind": "bottleneck", "code_dim": 3},
        ...         "mask": [{"kind": "random", "ratio": 0.5}, {"kind": "random", "ratio": 0.75}],
        ...     }
        ... )
        >>> len(found.members), found.names[0]
        (4, 'bottleneck, random ratio=0.5, seed 0')
    """
    if not isinstance(data, Mapping):
        raise ValueError(f"settings are a table with {', '.join(_TABLES)}, got {type(data).__name__}")
    unknown = [name for name in data if name not in _TABLES]
    if unknown:
        raise ValueError(f"{unknown[0]!r} is not a setting: known are {', '.join(_TABLES)}")
    networks = [_made(t, _network, "network", _NETWORKS) for t in _several(data, "network")]
    masks = [_made(t, mask_from_dict, "mask", STRATEGIES) for t in _several(data, "mask")]
    losses = [_fields(LossConfig, t, "loss") for t in _several({"loss": {}, **data}, "loss")]
    seeds = data.get("seeds", [0])
    if not isinstance(seeds, list) or not seeds or not all(map(_is_seed, seeds)) or len(set(seeds)) < len(seeds):
        raise ValueError(f"seeds must be a list of different whole numbers of at least 0, got {seeds!r}")
    seed = data.get("seed", 0)
    if not _is_seed(seed):
        raise ValueError(f"seed must be a whole number from 0 to 4294967295, got {seed!r}")
    train = _fields(TrainConfig, data.get("train", {}), "train")
    members, names = [], []
    for (network, called), (mask, masked), loss, own in itertools.product(networks, masks, losses, seeds):
        members.append(Member(network=network, mask=mask, loss=loss, seed=own))
        extra = "" if len(losses) == 1 else f", {loss.score} {loss.region}"
        names.append(f"{called}, {masked}{extra}, seed {own}")
    return Settings(seed=seed, members=tuple(members), train=train, names=tuple(names))


def _is_seed(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**32


def _several(data: Mapping[str, Any], name: str) -> list[Any]:
    if name not in data:
        raise ValueError(f"{name!r} is missing: give at least one table [{name}]")
    found = data[name] if isinstance(data[name], list) else [data[name]]
    if not found:
        raise ValueError(f"{name!r} is an empty list: give at least one")
    return found


def _made(table: Any, make: Callable[[Any], Any], what: str, kinds: Mapping[str, type[Any]]) -> tuple[Any, str]:
    """The object, and what to call it."""
    kind = table.get("kind") if isinstance(table, Mapping) else None
    if not isinstance(kind, str) or kind not in kinds:
        raise ValueError(f"{what}: kind must be one of {', '.join(kinds)}, got {kind!r}")
    rest = {name: value for name, value in table.items() if name != "kind"}
    _check_fields(kinds[kind], rest, f"{what} of kind {kind!r}")
    try:
        made = make(table)
    except TypeError as error:
        raise ValueError(f"{what} of kind {kind!r}: {error}") from None
    few = rest if what == "mask" else {}
    return made, " ".join([kind, *(f"{n}={v}" for n, v in few.items() if not isinstance(v, list) or len(v) < 3)])


def _network(table: Mapping[str, Any]) -> Any:
    encoder = table.get("encoder")
    if encoder is not None:
        _check_fields(ViTConfig, encoder, "the encoder of a bottleneck")
    return network_from_dict(dict(table))


def _fields(cls: type[Any], table: Any, what: str) -> Any:
    if not isinstance(table, Mapping):
        raise ValueError(f"{what} must be a table, got {table!r}")
    _check_fields(cls, table, what)
    try:
        return cls(**without_lists(dict(table)))
    except TypeError as error:
        raise ValueError(f"{what}: {error}") from None


def _check_fields(cls: type[Any], table: Any, what: str) -> None:
    known = [field.name for field in dataclasses.fields(cls)]
    unknown = [name for name in table if name not in known]
    if unknown:
        raise ValueError(f"{what}: {unknown[0]!r} is not a field of it; known are {', '.join(known)}")
    missing = [
        field.name
        for field in dataclasses.fields(cls)
        if field.default is dataclasses.MISSING
        and field.default_factory is dataclasses.MISSING
        and field.name not in table
    ]
    if missing:
        raise ValueError(f"{what}: {missing[0]!r} is missing")
