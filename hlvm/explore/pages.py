"""The page: its modules, styles and data in one file."""

from __future__ import annotations

import dataclasses
import html
import json
import os
import re
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

from hlvm._files import as_path, write_text_atomically
from hlvm._keys import checked_key
from hlvm._numbers import UsageError, whole_number
from hlvm.explore.examples import EXAMPLES
from hlvm.explore.tables import tabulate
from hlvm.graph import LatentGraph

__all__ = ["MODULES", "explorer_page", "write_explorer"]

MODULES = (
    "python",
    "checks",
    "graph",
    "flow",
    "sharing",
    "patches",
    "splitting",
    "design",
    "profile",
    "state",
    "copies",
    "layout",
    "elements",
    "cells",
    "drawing",
    "chart",
    "panels",
    "main",
)
"""Modules of the page, each after those that it imports."""

_QUADTREES = (1, 2, 3, 4, 5)
_FIRST = "quadtree-3"
_MOST_VARIABLES = 2_000
"""Variables of a graph that can still be drawn."""

_IMPORT = re.compile(r'^import (\{[^}]*\}) from "\./(\w+)\.js";$', re.MULTILINE)
_EXPORT = re.compile(r"^export ((?:class|const|function\*?) (\w+))", re.MULTILINE)


def write_explorer(
    path: str | os.PathLike[str], model: Any = None, *, name: str = "", key: Any = 0, n_masks: int = 64
) -> None:
    """Write the explorer into one HTML file, all or nothing.

    Args:
        path: the file to write; its folder must exist.
        model: what to open, as in :func:`explorer_page`.
        name: as there.
        key: as there.
        n_masks: as there.

    Raises:
        ValueError: as :func:`explorer_page`.
        FileNotFoundError: the folder does not exist.
    """
    target = as_path(path)
    if not target.parent.is_dir():
        raise FileNotFoundError(f"the folder {target.parent} does not exist: make it first")
    write_text_atomically(target, explorer_page(model, name=name, key=key, n_masks=n_masks))


def explorer_page(model: Any = None, *, name: str = "", key: Any = 0, n_masks: int = 64) -> str:
    """Build the explorer: HTML with everything inside.

    Of a graph it shows, for every mask, what :func:`~hlvm.theory.shared_information` and
    :func:`~hlvm.theory.target_ancestors` say, masks that share chosen latents as :func:`~hlvm.theory.design_mask` finds
    them, and the profile of random masks. Of a model that has an exact oracle it also shows availability, demand and
    signal, which are tabulated here.

    Args:
        model: a :class:`~hlvm.graph.LatentGraph`, anything with a ``graph``, or ``None``: the page then opens on a
            quadtree.
        name: what to call it in the menu.
        key: a JAX key or an int, for the masks of the tables.
        n_masks: masks drawn for each number in the tables, at least 2.

    Returns:
        The text of the page.

    Raises:
        ValueError: no graph, or one of more than 2,000 variables, which the page cannot draw; or ``n_masks`` below 2.

    Example:
        >>> page = explorer_page(LatentGraph.tree(2, 2), name="a tree")
        >>> page.startswith("<!DOCTYPE html>"), "a tree" in page
        (True, True)
    """
    key, n_masks = checked_key(key), whole_number(n_masks, "n_masks", minimum=2)
    graphs: list[dict[str, Any]] = [
        {"key": f"quadtree-{h}", "name": f"quadtree, {2**h} × {2**h} cells", "height": h} for h in _QUADTREES
    ]
    graphs += [
        {"key": of.short_name, "name": of.name, "reference": of.reference, "graph": _text(of.build())}
        for of in EXAMPLES
    ]
    if model is not None:
        graphs.insert(0, _entry(model, name, key, n_masks))
    data = {"graphs": graphs, "first": _FIRST if model is None else graphs[0]["key"], "limit": _MOST_VARIABLES}
    parts = {
        "TITLE": html.escape("hlvm explorer" + (f": {name}" if name else "")),
        "STYLE": _file("style.css"),
        "DATA": _as_script(data),
        "PROGRAM": "\n".join(map(_module, MODULES)),
    }
    return re.sub("|".join(f"%{part}%" for part in parts), lambda found: parts[found[0].strip("%")], _file("page.html"))


def _entry(model: Any, name: str, key: Any, n_masks: int) -> dict[str, Any]:
    graph = model if isinstance(model, LatentGraph) else getattr(model, "graph", None)
    if not isinstance(graph, LatentGraph):
        raise ValueError(
            f"model must be a LatentGraph, or have a graph, such as LatentGraph.quadtree(3), got {model!r}"
        )
    if len(graph.nodes) > _MOST_VARIABLES:
        raise UsageError(
            f"the explorer draws graphs of at most {_MOST_VARIABLES:,} variables, this one has {len(graph.nodes):,}: "
            "use hlvm.theory, which takes graphs of any size"
        )
    found = {"key": "given", "name": name or "the graph that was given", "graph": _text(graph)}
    invertible = getattr(model, "invertible", None)
    if invertible is not None:
        found["regime"] = "invertible" if invertible else "general"
    return {**found, "tables": dataclasses.asdict(tabulate(model, key=key, n_masks=n_masks))}


def _text(graph: LatentGraph) -> str:
    return json.dumps(graph.to_dict(), separators=(",", ":"))


def _as_script(data: Mapping[str, Any]) -> str:
    """JSON that no name in it can end: a browser looks for the end tag whatever it stands in."""
    text = json.dumps(data, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _file(name: str) -> str:
    return (files("hlvm.explore") / "page" / name).read_text(encoding="utf-8")


def _module(name: str) -> str:
    """A module as the value of a function, so that all of them can stand in one script and keep their own names."""
    text = _IMPORT.sub(r"const \1 = module_\2;", _file(f"{name}.js"))
    exports = ", ".join(found[2] for found in _EXPORT.finditer(text))
    body = _EXPORT.sub(r"\1", text)
    return f"const module_{name} = (() => {{\n{body}return {{ {exports} }};\n}})();"
