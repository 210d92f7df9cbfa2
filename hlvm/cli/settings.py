"""What to train, from a TOML or JSON file."""

from __future__ import annotations

import dataclasses
import itertools
import os
import sys
import tomllib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, get_args, get_origin, get_type_hints

from hlvm._files import as_path
from hlvm._files.texts import decoded, parsed_json
from hlvm._numbers import UsageError
from hlvm.mae.config import NETWORKS, LossConfig, TrainConfig, ViTConfig
from hlvm.mae.files import network_from_dict
from hlvm.mae.training.groups import Member
from hlvm.masking import Patches
from hlvm.masking.descriptions import STRATEGIES, mask_from_dict, without_lists

__all__ = ["TABLE_OF", "Settings", "expand_table", "in_file_words", "labels", "load_settings", "settings_from_dict"]

_TABLES = ("seed", "seeds", "train", "network", "mask", "loss")
_MOST_SEED = 2**32 - 1
_LARGEST, _TOO_LARGE = sys.float_info.max, 2**31
_LONGEST_VALUE = 24
"""Longer values are not part of a member's name."""

TABLE_OF = {
    "BottleneckConfig": "network",
    "LinearConfig": "network",
    "LossConfig": "loss",
    "RatioRange": "mask",
    "TrainConfig": "train",
    "ViTConfig": "network",
}
"""Classes, and the tables whose fields they check."""

_REMEDIES = {
    "bottleneck": "use a network of kind bottleneck",
    "grid": 'put "grid": [ROWS, COLUMNS] into the graph',
    "groups": "list the groups as patches",
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
        return settings_from_dict(data)
    except ValueError as error:
        raise ValueError(f"{path}: {in_file_words(error)}") from None


def in_file_words(error: ValueError) -> str:
    """What the classes say about their arguments, said of the tables in a file."""
    return error.told(TABLE_OF, _REMEDIES) if isinstance(error, UsageError) else str(error)


def settings_from_dict(data: Any) -> Settings:
    """Understand settings.

    Args:
        data: ``network`` and ``mask``: one table each, or a list of them; ``kind`` says which, the rest are the fields
            of the class: ``linear``, ``bottleneck`` or ``vit``; ``random``, ``ratio_range``, ``bernoulli``, ``block``,
            ``grid``, ``subtree`` or ``fixed``; ``patches`` are lists of names. ``loss``: likewise, without ``kind``.
            A field of these may be a list of values, see :func:`expand_table`.
            ``train``: the fields of :class:`TrainConfig`. ``seeds``: a list of whole numbers. ``seed``: of everything
            random. ``network`` and ``mask`` are needed.

    Returns:
        The settings; members are all combinations of networks, masks, losses and seeds, seeds changing fastest, then
        losses, masks and networks. Those of one table with lists are in the order of :func:`expand_table`.

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
    if not isinstance(data, Mapping):
        raise ValueError(f"settings are a table with {', '.join(_TABLES)}, got {type(data).__name__}")
    unknown = [name for name in data if name not in _TABLES]
    if unknown:
        raise ValueError(f"{unknown[0]!r} is not a setting: known are {', '.join(_TABLES)}")
    networks = _made(data, "network", NETWORKS, network_from_dict)
    kinds = {kind: cls for kind, cls in STRATEGIES.items() if kind != "list"}  # long lists of masks belong into Python
    masks = _made(data, "mask", kinds, mask_from_dict)
    losses = _made({"loss": {}, **data}, "loss", LossConfig, lambda table: LossConfig(**without_lists(table)))
    seeds = data.get("seeds", [0])
    if not isinstance(seeds, list) or not seeds or not all(map(_is_seed, seeds)) or len(set(seeds)) < len(seeds):
        raise ValueError(f"seeds must be a list of different whole numbers from 0 to {_MOST_SEED}, got {seeds!r}")
    seed = data.get("seed", 0)
    if not _is_seed(seed):
        raise ValueError(f"seed must be a whole number from 0 to {_MOST_SEED}, got {seed!r}")
    train = TrainConfig(**_checked_fields(TrainConfig, data.get("train", {}), "train"))
    members, names = [], []
    for (network, a), (mask, b), (loss, c), own in itertools.product(networks, masks, losses, seeds):
        members.append(Member(network=network, mask=mask, loss=loss, seed=own))
        names.append(", ".join(part for part in (a, b, c, f"seed {own}") if part))
    return Settings(seed=seed, members=tuple(members), train=train, names=tuple(names))


def _is_seed(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MOST_SEED


# ---------------------------------------------------------------------- tables


def expand_table(table: Mapping[str, Any], cls: type[Any]) -> list[dict[str, Any]]:
    """The tables that a table with lists of values stands for: one for every combination.

    A list is several values, ``ratio = [0.25, 0.75]``. Where one value is a list itself, several are a list of lists:
    ``unit = [1, 2]`` is one unit of one row and two columns, and ``unit = [[1, 1], [2, 2]]`` is two units; so with
    ``keep_every``, ``weights``, ``height_weights``, ``masked``, and one level deeper with ``patches``. The encoder of a
    bottleneck is a table, whose fields may be lists as well, or a list of tables.

    Args:
        table: fields of the class, unchecked; names that are none of its fields are left as they are.
        cls: the class.

    Returns:
        Tables without such lists, in the order in which values are listed; the last field with a list changes fastest.

    Example:
        >>> from hlvm.masking import RandomMask
        >>> for one in expand_table({"ratio": [0.25, 0.75], "unit": [[1, 1], 2]}, RandomMask):
        ...     print(one)
        {'ratio': 0.25, 'unit': [1, 1]}
        {'ratio': 0.25, 'unit': 2}
        {'ratio': 0.75, 'unit': [1, 1]}
        {'ratio': 0.75, 'unit': 2}
    """
    types = get_type_hints(cls)
    values = [_values(types[name], value) if name in types else [value] for name, value in table.items()]
    return [dict(zip(table, combination, strict=True)) for combination in itertools.product(*values)]


def _values(expected: Any, value: Any) -> list[Any]:
    """The values of one field."""
    if expected == ViTConfig | None:
        tables = value if isinstance(value, list) and value else [value]
        return [one for t in tables for one in (expand_table(t, ViTConfig) if isinstance(t, Mapping) else [t])]
    return value if value and _nesting(value) > _nesting_of(expected) else [value]


def _nesting(value: Any, most: int = 4) -> int:
    """Levels of lists in a value; deeper ones are no value of anything."""
    return 1 + max((_nesting(v, most - 1) for v in value), default=0) if isinstance(value, list) and most else 0


def _made(
    data: Mapping[str, Any], what: str, kinds: Mapping[str, type[Any]] | type[Any], make: Callable[[Any], Any]
) -> list[tuple[Any, str]]:
    """The objects that the tables of one name describe, and what to call each."""
    if what not in data:
        raise ValueError(f"{what!r} is missing: give at least one table [{what}]")
    tables = data[what] if isinstance(data[what], list) else [data[what]]
    if not tables:
        raise ValueError(f"{what!r} is an empty list: give at least one table [{what}]")
    found, single = [], []
    for given in tables:
        table = _checked_table(given, what)
        kind, named = None, what
        if not isinstance(kinds, type):
            kind, named = table.get("kind"), f"{what} of kind {table.get('kind')!r}"
            if not isinstance(kind, str) or kind not in kinds:
                raise ValueError(f"{what}: kind must be one of {', '.join(kinds)}, got {kind!r}")
        cls = kinds if isinstance(kinds, type) else kinds[str(kind)]
        for one in expand_table(table, cls):
            fields = _checked_fields(cls, {name: value for name, value in one.items() if name != "kind"}, named)
            made = make(fields if kind is None else {"kind": kind, **fields})
            if made in found:
                raise ValueError(f"{what}: {made!r} is said twice, in tables or in lists: leave one out")
            found.append(made)
            single.append(one)
    return list(zip(found, labels(single), strict=True))


def _checked_table(table: Any, what: str) -> Mapping[str, Any]:
    if not isinstance(table, Mapping):
        raise ValueError(f"{what} must be a table, got {table!r}")
    return table


def _checked_fields(cls: type[Any], table: Any, what: str) -> dict[str, Any]:
    """A table that holds fields of a class, all that it needs, with values of the right types."""
    table = _checked_table(table, what)
    fields = {field.name: field for field in dataclasses.fields(cls)}
    unknown = [name for name in table if name not in fields]
    if unknown:
        raise ValueError(f"{what}: {unknown[0]!r} is not a field of it; known are {', '.join(fields)}")
    for name, field in fields.items():
        needed = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        if needed and name not in table:
            raise ValueError(f"{what}: {name!r} is missing")
    types = get_type_hints(cls)
    return {name: _checked(types[name], value, name, what) for name, value in table.items()}


def _checked(expected: Any, value: Any, name: str, what: str) -> Any:
    """A value of one field, with whole numbers as floats where those are expected."""
    if expected == ViTConfig | None:
        return _checked_fields(ViTConfig, value, f"{name} of {what}")
    if get_origin(expected) is Literal:
        options = get_args(expected)
        words, fits = (
            f"one of {', '.join(map(str, options))}",
            any(type(value) is type(o) and value == o for o in options),
        )
    else:
        words, test, _ = _EXPECTED[expected]
        fits = test(value)
    if not fits:
        sizes = isinstance(value, list) and expected == int | tuple[int, int]
        ways = ": write several as lists in a list, as in [[1, 1], [2, 2]]" if sizes else ""
        raise ValueError(f"{what}: {name} must be {words}, got {value!r}{ways}")
    if expected is float:
        return float(value)
    return list(map(float, value)) if expected == tuple[float, ...] | None else value


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and not abs(value) > _LARGEST


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < _TOO_LARGE


def _is_size(value: Any) -> bool:
    return _is_whole(value) or (isinstance(value, list) and len(value) == 2 and all(map(_is_whole, value)))


def _are_numbers(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_number, value))


def _are_names(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(name, str) for name in value)


def _are_groups(value: Any) -> bool:
    return isinstance(value, list) and all(map(_are_names, value))


_EXPECTED: dict[Any, tuple[str, Callable[[Any], bool], int]] = {
    int: (f"a whole number below {_TOO_LARGE}", _is_whole, 0),
    float: ("a number", _is_number, 0),
    bool: ("true or false", lambda value: isinstance(value, bool), 0),
    int | tuple[int, int]: ("a whole number or a list [rows, columns]", _is_size, 1),
    tuple[float, ...] | None: ("a list of numbers", _are_numbers, 1),
    tuple[str, ...]: ("a list of names", _are_names, 1),
    Patches | None: ("a list of lists of names", _are_groups, 2),
}
"""What one value of a field looks like in a file, by the field's type, and the most levels of lists in it."""


def _nesting_of(expected: Any) -> int:
    return _EXPECTED[expected][2] if expected in _EXPECTED else 0


# ---------------------------------------------------------------------- names


def labels(tables: Sequence[Mapping[str, Any]]) -> list[str]:
    """The kind of every table, with what tells it from the others of its kind; numbered where that is long."""
    short = []
    for table in tables:
        same = [other for other in tables if other.get("kind") == table.get("kind")]
        told = [name for name in dict.fromkeys(n for t in same for n in t) if len({str(t.get(name)) for t in same}) > 1]
        values = [f"{name}={table[name]}" for name in told if name in table and len(str(table[name])) <= _LONGEST_VALUE]
        short.append(" ".join([str(table.get("kind", "")), *values]).strip())
    return [label if short.count(label) == 1 else f"{label} #{i + 1}".strip() for i, label in enumerate(short)]
