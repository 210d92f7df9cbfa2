"""A graph in a notebook: a small picture, or counts where it is large."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hlvm._html import block, escaped, shortened, table
from hlvm.graph.arrays import GraphArrays

__all__ = ["graph_html"]

_MOST_NODES, _MOST_EDGES, _MOST_BESIDE = 60, 150, 24
_MOST_HEIGHTS = 20
_STEP, _RISE, _WIDTH, _TALL, _MARGIN = 54, 64, 48, 20, 64
_LETTERS = 7
_LATENT, _OBSERVED = 'fill="#dcebf7" stroke="#0072B2"', 'fill="#eeeeee" stroke="#777777"'
"""Light boxes; what is written on them is dark in every theme."""


def graph_html(title: str, names: Sequence[str], arrays: GraphArrays) -> str:
    """Draw a graph, its nodes laid out by height, or count its variables by height.

    Args:
        title: text above.
        names: of the variables.
        arrays: the structure.

    Returns:
        HTML with an SVG of at most 60 nodes, or with a table. Under 50 kB.
    """
    widest = int(np.bincount(arrays.heights).max())
    small = arrays.n_nodes <= _MOST_NODES and len(arrays.parents) <= _MOST_EDGES and widest <= _MOST_BESIDE
    return block(title, _picture(title, names, arrays) if small else _counts(arrays))


# ---------------------------------------------------------------------- large


def _counts(arrays: GraphArrays) -> str:
    """One row per height, the highest first."""
    heights, rows = np.asarray(arrays.heights), []
    for height in range(int(heights.max()), -1, -1):
        here = heights == height
        kind = "observed" if not height else "latents" if here.sum() > 1 else "latent"
        dims, noise_dims = _span(arrays.dims[here]), _span(arrays.noise_dims[here])
        rows.append((str(height), f"{here.sum()} {kind}", dims, noise_dims))
        if len(rows) == _MOST_HEIGHTS and height > 1:
            rows.append(("…", f"{(heights < height).sum()} more on {height} heights below", "", ""))
            break
    return table(("height", "variables", "dims", "noise dims"), rows)


def _span(numbers: np.ndarray) -> str:
    least, most = int(numbers.min()), int(numbers.max())
    return str(least) if least == most else f"{least} to {most}"


# ---------------------------------------------------------------------- small


def _picture(title: str, names: Sequence[str], arrays: GraphArrays) -> str:
    across = _places(arrays)
    top = int(max(arrays.heights))
    x = [_MARGIN + _STEP * (place + 0.5) for place in across]
    y = [_TALL + _RISE * (top - height) for height in np.asarray(arrays.heights).tolist()]
    width, tall = _MARGIN + _STEP * (max(across) + 1), 2 * _TALL + _RISE * top
    lines = [
        f'<line x1="{x[p]:.0f}" y1="{y[p] + _TALL / 2:.0f}" x2="{x[c]:.0f}" y2="{y[c] - _TALL / 2:.0f}"/>'
        for p, c in zip(arrays.parents.tolist(), arrays.children.tolist(), strict=True)
    ]
    sides = [
        f'<text x="4" y="{_TALL + _RISE * (top - height) + 4:.0f}" fill="currentColor">height {height}</text>'
        for height in range(top, -1, -1)
    ]
    nodes = [_node(names[i], i, x[i], y[i], arrays) for i in range(arrays.n_nodes)]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="{escaped(title)}" width="{width:.0f}" '
        f'viewBox="0 0 {width:.0f} {tall:.0f}" style="max-width:100%;height:auto" '
        'font-family="sans-serif" font-size="11">'
        f'<g stroke="currentColor" stroke-opacity="0.5">{"".join(lines)}</g>{"".join(sides)}{"".join(nodes)}</svg>'
    )


def _node(name: str, i: int, x: float, y: float, arrays: GraphArrays) -> str:
    latent = i < arrays.n_latents
    told = f"{shortened(name, 80)}: {arrays.dims[i]} dims, of which noise {arrays.noise_dims[i]}"
    return (
        f"<g><title>{escaped(told)}</title>"
        f'<rect x="{x - _WIDTH / 2:.0f}" y="{y - _TALL / 2:.0f}" width="{_WIDTH}" height="{_TALL}" '
        f'rx="{_TALL // 2 if latent else 2}" {_LATENT if latent else _OBSERVED}/>'
        f'<text x="{x:.0f}" y="{y + 4:.0f}" text-anchor="middle" fill="#111111">{escaped(name, _LETTERS)}</text></g>'
    )


def _places(arrays: GraphArrays) -> list[float]:
    """Places from left to right: observed variables side by side, latents above the middle of their children."""
    heights = np.asarray(arrays.heights)
    across = np.zeros(arrays.n_nodes)
    for height in range(int(heights.max()) + 1):
        here = np.flatnonzero(heights == height)
        if height:
            wanted = np.array([across[arrays.children[arrays.parents == i]].mean() for i in here])
            order = np.argsort(wanted, kind="stable")
            here, wanted = here[order], wanted[order]
        else:
            wanted = np.arange(len(here), dtype=float)
        across[here] = _apart(wanted)
    return (across - across.min()).tolist()


def _apart(wanted: np.ndarray) -> np.ndarray:
    """Places at least 1 apart in the given order, about the middle of those that were wanted (sorted)."""
    steps = np.arange(len(wanted))
    found = np.maximum.accumulate(wanted - steps) + steps
    return found + (wanted - found).mean()
