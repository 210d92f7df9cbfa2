"""Descriptions and files behind :class:`hlvm.graph.LatentGraph`: JSON, and GraphML through networkx.

Each public function becomes a method of ``LatentGraph``; ``cls`` is that class.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hlvm._files import as_path, write_text_atomically
from hlvm._files.digests import check_own_digest, with_digest
from hlvm._files.texts import decoded, parsed_json
from hlvm._graph_checks import rows_of_names
from hlvm._graph_networkx import graphml_text, read_graphml

if TYPE_CHECKING:
    from hlvm.graph import LatentGraph

__all__ = ["from_dict", "load", "save", "to_dict"]

_FORMAT = "hlvm.graph"
_FORMAT_VERSION = 1
_FULL_FIELDS = {"format", "version", "nodes", "grid"}
_ROW_FIELDS = {"name", "dim", "noise_dim", "parents"}
_SHORT_FIELDS = {"edges", "noise_dims", "dims", "observed", "grid"}


# ---------------------------------------------------------------------- descriptions


def to_dict(self: LatentGraph) -> dict[str, Any]:
    """A JSON-ready description that :meth:`LatentGraph.from_dict` turns back into an equal graph."""
    return {
        "format": _FORMAT,
        "version": _FORMAT_VERSION,
        "nodes": [
            {"name": n, "dim": d, "noise_dim": e, "parents": [self.nodes[p] for p in above]}
            for n, d, e, above in zip(self.nodes, self.dims, self.noise_dims, self.parent_indices, strict=True)
        ],
        "grid": list(self.grid) if self.grid else None,
    }


def from_dict(cls: type[LatentGraph], data: Any) -> LatentGraph:
    """Rebuild a graph from the description that :meth:`LatentGraph.to_dict` gives.

    A shorter form is accepted for graphs written by hand: ``{"edges": [["z", "x1"], ...]}`` with the
    keyword arguments of :meth:`LatentGraph.from_edges` beside it, such as ``"grid": [["p0_0", "p0_1"], ...]``.

    Args:
        data: the description, as :func:`json.loads` gives it.

    Returns:
        The graph.

    Raises:
        ValueError: the description is not a graph; the message says what is wrong or missing.
    """
    if not isinstance(data, Mapping):
        raise ValueError(f"a graph description is a JSON object, got {type(data).__name__}")
    if "edges" in data:
        return _from_short_form(cls, data)
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
    graph = cls.from_edges(
        edges,
        noise_dims={row["name"]: row["noise_dim"] for row in rows},
        dims={row["name"]: row["dim"] for row in rows},
        observed=observed,
        grid=rows_of_names(data.get("grid"), observed),
    )
    return graph.reordered(names)


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


def _from_short_form(cls: type[LatentGraph], data: Mapping[str, Any]) -> LatentGraph:
    _check_fields(data, _SHORT_FIELDS)
    rows, observed = data["edges"], data.get("observed")
    if observed is not None and not (
        isinstance(observed, list | tuple) and all(isinstance(name, str) for name in observed)
    ):
        raise ValueError(f'"observed" must be a list of names, got {_short(observed)}')
    if not isinstance(rows, Sequence) or isinstance(rows, str):
        raise ValueError(f'"edges" must be a list of [parent, child] pairs, got {_short(rows)}')
    return cls.from_edges(
        rows,
        noise_dims=data.get("noise_dims", 1),
        dims=data.get("dims"),
        observed=observed,
        grid=data.get("grid"),
    )


def _check_fields(data: Mapping[str, Any], known: set[str]) -> None:
    unknown = sorted(map(str, set(data) - known))
    if unknown:
        raise ValueError(f"unknown graph fields {unknown}; known: {sorted(known)}")


def _short(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) <= 60 else f"{shown[:57]}..."


# ---------------------------------------------------------------------- files


def save(self: LatentGraph, path: str | os.PathLike[str]) -> None:
    """Write the graph to a ``.json`` or ``.graphml`` file, all or nothing.

    A ``.json`` file has a digest, so that damage to it is an error: take ``"digest"`` out when you edit one by hand.

    Args:
        path: the file; its suffix chooses the format. Both keep everything, names with any characters included.

    Raises:
        ValueError: another suffix, or a name with half of a surrogate pair, which no text file can hold.
        OSError: the file cannot be written.
    """
    target = as_path(path)
    is_graphml = _is_graphml(target)
    for name in self.nodes:
        try:
            name.encode("utf-8")
        except UnicodeEncodeError:
            raise ValueError(
                f"{path}: the name {name!r} holds half of a surrogate pair, which is no character: rename it"
            ) from None
    content = with_digest(self.to_dict())
    text = graphml_text(self) if is_graphml else json.dumps(content, indent=1, ensure_ascii=False) + "\n"
    write_text_atomically(target, text)


def load(cls: type[LatentGraph], path: str | os.PathLike[str]) -> LatentGraph:
    """Read a graph written by :meth:`LatentGraph.save`, by hand, or by another program.

    Args:
        path: a ``.json`` file (see :meth:`LatentGraph.from_dict`), or a ``.graphml`` file with a directed graph,
            whose attributes are read as by :meth:`LatentGraph.from_networkx`. Names that igraph or yEd write beside
            ids, in an attribute ``name`` or ``label``, are taken instead of ids if every node has its own.

    Returns:
        The graph.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: another suffix, or the file is not a graph; one line with the name of the file.
    """
    source = as_path(path)
    content = source.read_bytes()
    is_graphml = _is_graphml(source)
    try:
        return read_graphml(cls, content) if is_graphml else cls.from_dict(check_own_digest(_parsed_json(content)))
    except _NotInFormatError as error:
        raise ValueError(f"{path} is not a JSON graph file: {_one_line(error)}") from None
    except ValueError as error:
        raise ValueError(f"{path}: {_one_line(error)}") from None


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
        raise ValueError(f"{path}: a graph file ends in .json or .graphml, got {suffix or 'no suffix'!r}")
    return suffix == ".graphml"


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
