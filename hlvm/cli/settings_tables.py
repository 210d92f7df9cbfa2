"""Tables of settings: every value checked by the field's type, and lists expanded to every combination."""

from __future__ import annotations

import dataclasses
import itertools
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, get_args, get_origin, get_type_hints

from hlvm.mae.config import NETWORKS, NetworkConfig, ObjectiveConfig, ViTConfig
from hlvm.mae.files import network_from_dict
from hlvm.mae.objectives import LossConfig, SIGReg, VICReg
from hlvm.mae.objectives.descriptions import OBJECTIVES, objective_from_dict
from hlvm.masking import Patches
from hlvm.masking.descriptions import STRATEGIES, mask_from_dict
from hlvm.scoring import RegressionConfig
from hlvm.study.arms import labels

__all__ = [
    "MOST_SEED",
    "checked_fields",
    "checked_tables",
    "expand_table",
    "is_seed",
    "losses_of",
    "masks_of",
    "networks_of",
    "seed_of",
    "tables_of",
]

MOST_SEED = 2**32 - 1
_LARGEST, _TOO_LARGE = sys.float_info.max, 2**31


def checked_tables(data: Any, known: Sequence[str]) -> Mapping[str, Any]:
    """Settings that hold nothing unknown."""
    if not isinstance(data, Mapping):
        raise ValueError(f"settings are a table with {', '.join(known)}, got {type(data).__name__}")
    unknown = [name for name in data if name not in known]
    if unknown:
        raise ValueError(f"{unknown[0]!r} is not a setting: known are {', '.join(known)}")
    return data


def is_seed(value: Any) -> bool:
    """Tell whether a value can seed everything random."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MOST_SEED


def seed_of(data: Mapping[str, Any]) -> int:
    """The seed of everything random."""
    seed = data.get("seed", 0)
    if not is_seed(seed):
        raise ValueError(f"seed must be a whole number from 0 to {MOST_SEED}, got {seed!r}")
    return seed


def networks_of(data: Mapping[str, Any]) -> list[tuple[NetworkConfig, str]]:
    """Architectures, and what to call each."""
    return _made(data, "network", NETWORKS, network_from_dict)


def masks_of(data: Mapping[str, Any]) -> list[tuple[Any, str]]:
    """Mask strategies, and what to call each."""
    kinds = {kind: cls for kind, cls in STRATEGIES.items() if kind != "list"}  # long lists of masks belong into Python
    return _made(data, "mask", kinds, mask_from_dict)


def losses_of(data: Mapping[str, Any]) -> list[tuple[ObjectiveConfig, str]]:
    """The objectives, and what to call each; reconstruction where no kind is said or there is no table."""
    return _made({"loss": {}, **data}, "loss", OBJECTIVES, objective_from_dict, usual=LossConfig.kind)


def expand_table(table: Mapping[str, Any], cls: type[Any]) -> list[dict[str, Any]]:
    """The tables that a table with lists of values stands for: one for every combination.

    A list is several values, ``ratio = [0.25, 0.75]``. Where one value is a list itself, several are a list of lists:
    ``unit = [1, 2]`` is one unit of one row and two columns, and ``unit = [[1, 1], [2, 2]]`` is two units; so with
    ``keep_every``, ``weights``, ``height_weights``, ``masked``, and one level deeper with ``patches``. The encoder of a
    bottleneck is a table, whose fields may be lists as well, or a list of tables; so is the regularizer of a loss.

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
    inside = _classes_of(expected)
    if inside:
        tables = value if isinstance(value, list) and value else [value]
        return [one for table in tables for one in _expanded_inside(table, inside)]
    return value if value and _nesting(value) > _nesting_of(expected) else [value]


def _expanded_inside(table: Any, classes: Sequence[type[Any]]) -> list[Any]:
    """The tables that a table inside of a table stands for; what is none is left as it is."""
    cls = _class_of(table, classes)
    return [table] if cls is None else expand_table(table, cls)


def _nesting(value: Any, most: int = 4) -> int:
    """Levels of lists in a value; deeper ones are no value of anything."""
    return 1 + max((_nesting(v, most - 1) for v in value), default=0) if isinstance(value, list) and most else 0


def _made(
    data: Mapping[str, Any], what: str, kinds: Mapping[str, type[Any]], make: Callable[[Any], Any], usual: str = ""
) -> list[tuple[Any, str]]:
    """The objects that the tables of one name describe, and what to call each; ``usual`` is the kind of silent ones."""
    if what not in data:
        raise ValueError(f"{what!r} is missing: give at least one table [{what}]")
    tables = tables_of(data, what)
    if not tables:
        raise ValueError(f"{what!r} is an empty list: give at least one table [{what}]")
    found, single = [], []
    for table in tables:
        kind = table.get("kind", usual or None)
        named = f"{what} of kind {kind!r}" if "kind" in table or not usual else what
        if not isinstance(kind, str) or kind not in kinds:
            raise ValueError(f"{what}: kind must be one of {', '.join(kinds)}, got {kind!r}")
        cls = kinds[kind]
        for one in expand_table(table, cls):
            fields = checked_fields(cls, {name: value for name, value in one.items() if name != "kind"}, named)
            made = make({"kind": kind, **fields})
            if made in found:
                raise ValueError(f"{what}: {made!r} is given twice, in tables or in lists: remove one")
            found.append(made)
            single.append(one)
    if len({one.get("kind") for one in single}) > 1:
        single = [{"kind": usual, **one} for one in single]
    return list(zip(found, labels(single), strict=True))


def tables_of(data: Mapping[str, Any], what: str) -> list[Mapping[str, Any]]:
    """The tables of one name: one, or a list of them."""
    found = data.get(what, [])
    return [_checked_table(table, what) for table in (found if isinstance(found, list) else [found])]


def _checked_table(table: Any, what: str) -> Mapping[str, Any]:
    if not isinstance(table, Mapping):
        raise ValueError(f"{what} must be a table, got {table!r}")
    return table


def checked_fields(cls: type[Any], table: Any, what: str) -> dict[str, Any]:
    """A table that holds fields of a class, all that it needs, with values of the right types.

    Fields of types that no file can hold are no settings.
    """
    table, types = _checked_table(table, what), get_type_hints(cls)
    fields = {field.name: field for field in dataclasses.fields(cls) if _in_files(types[field.name])}
    unknown = [name for name in table if name not in fields]
    if unknown:
        raise ValueError(f"{what}: {unknown[0]!r} is not a field of it; known are {', '.join(fields)}")
    for name, field in fields.items():
        needed = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        if needed and name not in table:
            raise ValueError(f"{what}: {name!r} is missing")
    return {name: _checked(types[name], value, name, what) for name, value in table.items()}


def _checked(expected: Any, value: Any, name: str, what: str) -> Any:
    """A value of one field, with whole numbers as floats where those are expected."""
    inside = _classes_of(expected)
    if inside:
        return _checked_inside(inside, value, f"{name} of {what}")
    if get_origin(expected) is Literal:
        options = get_args(expected)
        words, fits = (
            f"one of {', '.join(map(str, options))}",
            any(type(value) is type(o) and value == o for o in options),
        )
    else:
        words, test, _ = _EXPECTED[_plain(expected)]
        fits = test(value)
    if not fits:
        sizes = isinstance(value, list) and expected == int | tuple[int, int]
        ways = ": write several as lists in a list, as in [[1, 1], [2, 2]]" if sizes else ""
        raise ValueError(f"{what}: {name} must be {words}, got {value!r}{ways}")
    if expected is float:
        return float(value)
    return list(map(float, value)) if expected in (tuple[float, ...], tuple[float, ...] | None) else value


def _checked_inside(classes: Sequence[type[Any]], table: Any, what: str) -> dict[str, Any]:
    """A table inside of a table, with its kind where it may be of several classes."""
    cls = _class_of(_checked_table(table, what), classes)
    if cls is None:
        kinds = ", ".join(each.kind for each in classes)
        raise ValueError(f"{what}: kind must be one of {kinds}, got {table.get('kind')!r}")
    if len(classes) == 1:
        return checked_fields(cls, table, what)
    fields = {name: value for name, value in table.items() if name != "kind"}
    return {"kind": cls.kind, **checked_fields(cls, fields, what)}


def _classes_of(expected: Any) -> list[type[Any]]:
    """Classes whose fields are a table inside of a table; none for types of another kind."""
    return [each for each in (expected, *get_args(expected)) if each in _TABLES_INSIDE]


def _class_of(table: Any, classes: Sequence[type[Any]]) -> type[Any] | None:
    """The class of a table inside of a table: of several the one that its kind names; ``None`` where none fits."""
    if not isinstance(table, Mapping):
        return None
    return classes[0] if len(classes) == 1 else next((c for c in classes if c.kind == table.get("kind")), None)


def _plain(expected: Any) -> Any:
    """Lists of words as lists of names: the class itself says which words there are."""
    words = get_origin(expected) is tuple and get_origin(get_args(expected)[0]) is Literal
    return tuple[str, ...] if words else expected


def _in_files(expected: Any) -> bool:
    return get_origin(expected) is Literal or _plain(expected) in _EXPECTED or bool(_classes_of(expected))


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
    int | None: (f"a whole number below {_TOO_LARGE}", _is_whole, 0),
    str: ("text in quotes", lambda value: isinstance(value, str), 0),
    str | None: ("text in quotes", lambda value: isinstance(value, str), 0),
    tuple[float, ...]: ("a list of numbers", _are_numbers, 1),
    tuple[float, ...] | None: ("a list of numbers", _are_numbers, 1),
    tuple[str, ...]: ("a list of names", _are_names, 1),
    tuple[str, ...] | None: ("a list of names", _are_names, 1),
    Patches | None: ("a list of lists of names", _are_groups, 2),
    Mapping[str, Any]: ("a table", lambda value: isinstance(value, dict), 0),
}
"""Test and words of one value of a field in a file, by the field's type, and the most levels of lists in it."""


_TABLES_INSIDE: tuple[type[Any], ...] = (ViTConfig, RegressionConfig, VICReg, SIGReg)
"""Classes whose fields are a table inside of a table; where a field takes several, its ``kind`` says which."""


def _nesting_of(expected: Any) -> int:
    return _EXPECTED[expected][2] if expected in _EXPECTED else 0
