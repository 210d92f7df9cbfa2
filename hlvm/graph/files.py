"""Descriptions of graphs, JSON-ready, and the files that hold them: JSON, and GraphML.

What is read becomes *arguments*: the keyword arguments of ``LatentGraph.from_edges``, and the order of the nodes.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hlvm._files import as_path, write_text_atomically
from hlvm._files.digests import check_own_digest, with_digest
from hlvm._files.texts import decoded, parsed_json
from hlvm.graph import graphml
from hlvm.graph.checks import rows_of_names
from hlvm.graph.graphml import Arguments

__all__ = ["arguments", "description", "fault", "read", "write"]

_FORMAT = "hlvm.graph"
_FORMAT_VERSION = 1
_FULL_FIELDS = {"format", "version", "nodes", "grid"}
_ROW_FIELDS = {"name", "dim", "noise_dim", "parents"}
_SHORT_FIELDS = {"edges", "noise_dims", "dims", "observed", "grid"}


# ---------------------------------------------------------------------- descriptions


def description(
    nodes: Sequence[str],
    parent_indices: Sequence[Sequence[int]],
    dims: Sequence[int],
    noise_dims: Sequence[int],
    grid: tuple[int, int] | None,
) -> dict[str, Any]:
    """See ``LatentGraph.to_dict``."""
    return {
        "format": _FORMAT,
        "version": _FORMAT_VERSION,
        "nodes": [
            {"name": n, "dim": d, "noise_dim": e, "parents": [nodes[p] for p in above]}
            for n, d, e, above in zip(nodes, dims, noise_dims, parent_indices, strict=True)
        ],
        "grid": list(grid) if grid else None,
    }


def arguments(data: Any) -> Arguments:
    """The arguments that a description stands for; see ``LatentGraph.from_dict``.

    Raises:
        ValueError: the description is not a graph; the message says what is wrong or missing.
    """
    if not isinstance(data, Mapping):
        raise ValueError(f"a graph description is a JSON object, got {type(data).__name__}")
    if "edges" in data:
        return _of_short_form(data), None
    if data.get("format") != _FORMAT:
        raise ValueError('not a graph description: expected "edges", or "format": "hlvm.graph" with "nodes"')
    if data.get("version") != _FORMAT_VERSION:
        raise ValueError(f"graph format version {data.get('version')!r} is not known here (expected {_FORMAT_VERSION})")
    _check_fields(data, _FULL_FIELDS)
    rows = _checked_rows(data.get("nodes"))
    names = [row["name"] for row in rows]
    edges = [(parent, row["name"]) for row in rows for parent in row["parents"]]
    connected = {name for edge in edges for name in edge}
    bare = next((name for name in names if name not in connected), None)
    if bare is not None:
        raise ValueError(f"malformed graph description: {bare!r} has neither parents nor children")
    listed = set(names)
    unlisted = next((name for name in connected if name not in listed), None)
    if unlisted is not None:
        raise ValueError(f"malformed graph description: the parent {unlisted!r} is not listed as a node")
    has_child = {parent for parent, _ in edges}
    observed = [name for name in names if name not in has_child]
    return {
        "edges": edges,
        "noise_dims": {row["name"]: row["noise_dim"] for row in rows},
        "dims": {row["name"]: row["dim"] for row in rows},
        "observed": observed,
        "grid": rows_of_names(data.get("grid"), observed),
    }, names


def _checked_rows(rows: Any) -> list[Mapping[str, Any]]:
    if not isinstance(rows, list | tuple):
        raise ValueError(f'malformed graph description: "nodes" must be a list of nodes, got {type(rows).__name__}')
    seen: set[str] = set()
    for row in rows:
        if not isinstance(row, Mapping) or not row.keys() >= _ROW_FIELDS:
            raise ValueError(
                f"malformed graph description: each node needs name, dim, noise_dim and parents, got {_short(row)}"
            )
        _check_fields(row, _ROW_FIELDS)
        name, parents = row["name"], row["parents"]
        if not isinstance(name, str) or not name:
            raise ValueError(f"malformed graph description: a name is a non-empty string, got {_short(name)}")
        if name in seen:
            raise ValueError(f"malformed graph description: a node is listed twice: {name!r}")
        seen.add(name)
        if not isinstance(parents, list | tuple) or not all(isinstance(parent, str) for parent in parents):
            raise ValueError(f"malformed graph description: parents of {name!r} must be a list of names")
    return list(rows)


def _of_short_form(data: Mapping[str, Any]) -> dict[str, Any]:
    _check_fields(data, _SHORT_FIELDS)
    rows, observed = data["edges"], data.get("observed")
    if observed is not None and not (
        isinstance(observed, list | tuple) and all(isinstance(name, str) for name in observed)
    ):
        raise ValueError(f'"observed" must be a list of names, got {_short(observed)}')
    if not isinstance(rows, Sequence) or isinstance(rows, str):
        raise ValueError(f'"edges" must be a list of [parent, child] pairs, got {_short(rows)}')
    return {"noise_dims": 1, **data}


def _check_fields(data: Mapping[str, Any], known: set[str]) -> None:
    unknown = sorted(map(str, set(data) - known))
    if unknown:
        raise ValueError(f"unknown graph fields {unknown}; known: {sorted(known)}")


def _short(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) <= 60 else f"{shown[:57]}..."


# ---------------------------------------------------------------------- files


def write(path: str | os.PathLike[str], described: Mapping[str, Any]) -> None:
    """Write a description; see ``LatentGraph.save``."""
    target = as_path(path)
    try:
        is_graphml = _is_graphml(target)
    except ValueError as error:
        raise fault(path, error) from None
    for row in described["nodes"]:
        try:
            row["name"].encode("utf-8")
        except UnicodeEncodeError:
            raise ValueError(
                f"{path}: the name {row['name']!r} holds half of a surrogate pair, which is no character: rename it"
            ) from None
    content = with_digest(described)
    text = graphml.text(described) if is_graphml else json.dumps(content, indent=1, ensure_ascii=False) + "\n"
    write_text_atomically(target, text)


def read(path: str | os.PathLike[str]) -> Arguments:
    """The arguments that a file stands for; see ``LatentGraph.load``.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: another suffix, or the file holds no graph; see :func:`fault`.
    """
    source = as_path(path)
    content = source.read_bytes()
    return graphml.arguments(content) if _is_graphml(source) else arguments(check_own_digest(_parsed_json(content)))


def fault(path: str | os.PathLike[str], error: ValueError) -> ValueError:
    """A file's fault, in one line with its name."""
    what = f"{path} is not a JSON graph file" if isinstance(error, _NotInFormatError) else path
    return ValueError(f"{what}: {' '.join(str(error).split())}")


class _NotInFormatError(ValueError):
    """The bytes are not JSON at all."""


def _parsed_json(content: bytes) -> Any:
    try:
        return parsed_json(decoded(content), object_pairs_hook=_without_repeats)
    except _RepeatedKeyError:
        raise
    except ValueError as error:
        raise _NotInFormatError(str(error)) from None


class _RepeatedKeyError(ValueError):
    """A JSON object has one key twice, of which Python would keep the last."""


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        repeated = next(key for i, key in enumerate(keys) if key in keys[:i])
        raise _RepeatedKeyError(f"{repeated!r} is given twice in one JSON object: give each once")
    return found


def _is_graphml(path: Path) -> bool:
    suffix = path.suffix.lower()
    if suffix not in {".json", ".graphml"}:
        raise ValueError(f"the name of a graph file must end in .json or .graphml, got {suffix or 'no suffix'!r}")
    return suffix == ".graphml"
