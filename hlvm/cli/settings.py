"""What to train, from a TOML or JSON file."""

from __future__ import annotations

import dataclasses
import itertools
import os
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from hlvm._files import as_path
from hlvm._files.texts import decoded, parsed_json
from hlvm._numbers import UsageError
from hlvm.cli.settings_tables import (
    MOST_SEED,
    checked_fields,
    checked_tables,
    is_seed,
    losses_of,
    masks_of,
    networks_of,
    seed_of,
)
from hlvm.mae.config import TrainConfig
from hlvm.mae.objectives.descriptions import OBJECTIVES
from hlvm.mae.training.groups import Member, MemberError

__all__ = ["TABLE_OF", "Settings", "errors_of_settings", "load_settings", "read_settings", "settings_from_dict"]

Understood = TypeVar("Understood")
_TABLES = ("seed", "seeds", "train", "network", "mask", "loss")

TABLE_OF = {
    "BottleneckConfig": "network",
    "ClaimConfig": "claims",
    "Comparison": "claim",
    "LinearConfig": "network",
    "RatioRange": "mask",
    "RegressionConfig": "score.regression",
    "ScoreConfig": "score",
    "TrainConfig": "train",
    "ViTConfig": "network",
    **{cls.__name__: "loss" for cls in OBJECTIVES.values()},
}
"""Classes, and the tables whose fields they check."""

_REMEDIES = {
    "bottleneck": "use a network of kind bottleneck",
    "data": "give a graph or a family of images as DATA",
    "grid": 'put "grid": [ROWS, COLUMNS] into the graph',
    "groups": "list the groups as patches",
    "intervals": "set intervals = true in [score]",
    "none": "set intervals = false in [score]",
    "strategy": "use masks of kind random, bernoulli or subtree",
    "subtrees": "use masks of kind subtree",
    "vit": "of kind vit",
}
"""Advice of the package's errors, and how it is followed in a file."""


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
    return read_settings(path, settings_from_dict)


def read_settings(path: str | os.PathLike[str], understand: Callable[[Any], Understood]) -> Understood:
    """Read a ``.toml`` or ``.json`` file, and understand what it holds.

    Args:
        path: the file.
        understand: called with its content.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: another suffix, or content that is not understood, with the file's name.
    """
    source = as_path(path)
    if source.suffix not in {".toml", ".json"}:
        raise ValueError(f"{path}: settings are a .toml or .json file, got {source.suffix or 'no suffix'!r}")
    kind, parse = ("TOML", tomllib.loads) if source.suffix == ".toml" else ("JSON", parsed_json)
    content = source.read_bytes()
    try:
        data = parse(decoded(content))
    except (ValueError, RecursionError) as error:  # brackets inside each other, of which TOML's parser says nothing
        raise ValueError(f"{path} is not a {kind} file: {error}") from None
    try:
        return understand(data)
    except ValueError as error:
        raise ValueError(f"{path}: {_in_file_words(error)}") from None


@contextmanager
def errors_of_settings(
    path: str | os.PathLike[str], members: Sequence[str] = (), words: Mapping[str, str] | None = None
) -> Iterator[None]:
    """Word errors that settings are at fault for as errors of their file; others are left as they are.

    Args:
        path: the file.
        members: what to call each member.
        words: further arguments that settings hold, and what they are called there.
    """
    words = words or {}
    try:
        yield
    except MemberError as error:
        name = "" if error.alone else f"{members[error.member]}: "
        raise ValueError(f"{path}: {name}{_in_file_words(error.why)}") from None
    except UsageError as error:
        if error.of not in {*TABLE_OF, *words} and error.argument not in words:  # an option or the data is at fault
            raise
        raise ValueError(f"{path}: {_in_file_words(error, words)}") from None


def _in_file_words(error: ValueError, words: Mapping[str, str] | None = None) -> str:
    """What the classes say about their arguments, said of the tables in a file."""
    return error.told({**TABLE_OF, **(words or {})}, _REMEDIES) if isinstance(error, UsageError) else str(error)


def settings_from_dict(data: Any) -> Settings:
    """Understand settings.

    Args:
        data: ``network`` and ``mask``: one table each, or a list of them; ``kind`` says which, the rest are the fields
            of the class: ``linear``, ``bottleneck`` or ``vit``; ``random``, ``ratio_range``, ``bernoulli``, ``block``,
            ``grid``, ``subtree`` or ``fixed``; ``patches`` are lists of names. ``loss``: likewise, without ``kind``.
            A field of these may be a list of values, and every combination is taken.
            ``train``: the fields of :class:`TrainConfig`. ``seeds``: a list of whole numbers. ``seed``: of everything
            random. ``network`` and ``mask`` are needed.

    Returns:
        The settings; members are all combinations of networks, masks, losses and seeds, seeds changing fastest, then
        losses, masks and networks. Of one table with lists, the last field with a list changes fastest.

    Raises:
        ValueError: something missing, unknown, out of range or said twice.

    Example:
        >>> found = settings_from_dict(
        ...     {
        ...         "seeds": [0, 1],
        ...         "network": {"kind": "bottleneck", "code_dim": 3},
        ...         "mask": {"kind": "random", "ratio": [0.5, 0.75]},
        ...     }
        ... )
        >>> len(found.members), found.names[0]
        (4, 'bottleneck, random ratio=0.5, seed 0')
    """
    data = checked_tables(data, _TABLES)
    networks, masks, losses = networks_of(data), masks_of(data), losses_of(data)
    seeds = data.get("seeds", [0])
    if not isinstance(seeds, list) or not seeds or not all(map(is_seed, seeds)) or len(set(seeds)) < len(seeds):
        raise ValueError(f"seeds must be a list of different whole numbers from 0 to {MOST_SEED}, got {seeds!r}")
    seed, train = seed_of(data), TrainConfig(**checked_fields(TrainConfig, data.get("train", {}), "train"))
    members, names = [], []
    for (network, a), (mask, b), (loss, c), own in itertools.product(networks, masks, losses, seeds):
        members.append(Member(network=network, mask=mask, loss=loss, seed=own))
        names.append(", ".join(part for part in (a, b, c, f"seed {own}") if part))
    return Settings(seed=seed, members=tuple(members), train=train, names=tuple(names))
