"""The command ``graph``: a graph of a regular family in a file."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import tyro

from hlvm import graph as graphs
from hlvm.cli.input import check_new_file, check_seed
from hlvm.cli.tables import print_table
from hlvm.graph import LatentGraph

__all__ = ["graph"]

_BUILDERS: dict[str, Callable[..., LatentGraph]] = {
    "quadtree": LatentGraph.quadtree,
    "tree": LatentGraph.tree,
    "overlapping-fields": graphs.overlapping_fields,
    "pure-children-chain": graphs.pure_children_chain,
    "diamond": graphs.diamond,
    "two-parent-measurement": graphs.two_parent_measurement,
    "random-graph": graphs.random_graph,
}
"""Name on the command line -> the function whose arguments are the options."""

_Whole = Annotated[int | None, tyro.conf.arg(metavar="NUMBER", help_behavior_hint="")]
_Wholes = Annotated[tuple[int, ...], tyro.conf.arg(metavar="NUMBER ...", help_behavior_hint="")]
_Range = Annotated[int | tuple[int, int] | None, tyro.conf.arg(metavar="NUMBER|LEAST MOST", help_behavior_hint="")]
_Side = Annotated[int | tuple[int, int] | None, tyro.conf.arg(metavar="SIDE|ROWS COLUMNS", help_behavior_hint="")]
_Kind = Annotated[str | None, tyro.conf.arg(metavar="layered|general", help_behavior_hint="")]


def graph(
    builder: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="BUILDER")],
    *,
    out: Annotated[Path, tyro.conf.arg(metavar="FILE")],
    height: _Whole = None,
    branching: _Wholes = (),
    side: _Side = None,
    size: _Whole = None,
    stride: _Whole = None,
    length: _Whole = None,
    width: _Whole = None,
    children: _Whole = None,
    shared: _Whole = None,
    n_latents: _Whole = None,
    n_observed: _Whole = None,
    kind: _Kind = None,
    layers: _Whole = None,
    max_parents: _Whole = None,
    seed: _Whole = None,
    root_dim: _Whole = None,
    noise_dim: _Whole = None,
    noise_dims: _Range = None,
    dims: _Range = None,
) -> int:
    """Write a graph of a regular family to a .json or .graphml file, which the other commands read.

    The families are functions of the package, and the options are their arguments. An option that is left out takes the
    function's default:

    quadtree (--height, --root-dim, --noise-dim), tree (--branching, --height, --root-dim, --noise-dim),
    overlapping-fields (--side, --size, --stride, --height, --noise-dims, --dims), pure-children-chain (--length,
    --children, --root-dim, --noise-dim), diamond (--width, --children, --root-dim, --noise-dim), two-parent-measurement
    (--n-latents, --shared, --children, --root-dim, --noise-dim), random-graph (--n-latents, --n-observed, --kind,
    --layers, --max-parents, --noise-dims, --dims, --seed).

    Example: hlvm graph quadtree --height 3 --out quadtree.json

    Example: hlvm graph tree --branching 2 3 --out tree.json

    Args:
        builder: the family.
        out: the file to write (.json or .graphml); it must not exist.
        height: levels of latents; for a quadtree and a tree, levels below the root.
        branching: number of children of every latent; or one number for each level, from the root down.
        side: rows and columns of observed cells.
        size: side of a receptive field.
        stride: distance between neighbouring fields.
        length: latents of the chain.
        width: latents between the top and the bottom of the diamond.
        children: observed children of each latent that no other latent has.
        shared: observed children of each pair of latents.
        n_latents: number of latents.
        n_observed: number of observed variables.
        kind: parents only in the layer directly above, or among all earlier latents.
        layers: layers of latents, with --kind layered.
        max_parents: most parents of a variable.
        seed: seed of a random graph; 0 if left out.
        root_dim: dims of the root.
        noise_dim: noise dims of every other variable. Dims follow from invertible mechanisms.
        noise_dims: noise dims of every variable; for a random graph, two numbers are the limits of a random draw.
        dims: dims of every variable, in the same form. If left out, they follow from invertible mechanisms.
    """
    options = {name: value for name, value in locals().items() if name not in ("builder", "out")}
    given = {name: value for name, value in options.items() if value not in (None, ())}
    check_new_file(out, ".json", ".graphml")
    made = _built(builder, given)
    made.save(out)
    _print_summary(made)
    print(f"wrote {made!r} to {out}")
    return 0


def _built(builder: str, given: dict[str, Any]) -> LatentGraph:
    if builder not in _BUILDERS:
        raise ValueError(f"BUILDER must be one of {', '.join(_BUILDERS)}, got {builder!r}")
    make = _BUILDERS[builder]
    known = inspect.signature(make).parameters
    for name in given:
        if name not in known:
            takes = ", ".join(map(_option, known))
            raise ValueError(f"{_option(name)} does not go with {builder}, which takes {takes}")
    arguments = dict(given)
    if "seed" in known:
        check_seed(arguments.setdefault("seed", 0))
    for name, parameter in known.items():
        if parameter.default is parameter.empty and name not in arguments:
            raise ValueError(f"{builder} needs {_option(name)}")
    if len(arguments.get("branching", ())) == 1 and "height" in arguments:
        arguments["branching"] = arguments["branching"][0]
    for name in ("dims", "noise_dims"):
        if isinstance(arguments.get(name), tuple) and builder != "random-graph":
            raise ValueError(f"{_option(name)} is one number with {builder}, got {arguments[name]}")
    return make(**arguments)


def _option(argument: str) -> str:
    return f"--{argument.replace('_', '-')}"


def _print_summary(made: LatentGraph) -> None:
    """One line per height, the highest first."""
    rows = []
    for height in sorted(set(made.heights), reverse=True):
        nodes = [i for i, h in enumerate(made.heights) if h == height]
        cells = f" on a {made.grid[0]} x {made.grid[1]} grid" if made.grid and not height else ""
        rows.append(
            (
                str(height),
                f"{len(nodes)} {'latent' if height else 'observed'}{'s' if height and len(nodes) > 1 else ''}{cells}",
                _span([made.dims[i] for i in nodes]),
                _span([made.noise_dims[i] for i in nodes]),
            )
        )
    print_table(f"{len(made.edges)} edges", ("height", "variables", "dims", "noise dims"), rows)


def _span(numbers: list[int]) -> str:
    least, most = min(numbers), max(numbers)
    return str(least) if least == most else f"{least} to {most}"
