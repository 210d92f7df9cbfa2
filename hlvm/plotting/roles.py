"""Roles of the variables of a graph under a mask, and how they are drawn: by colour, and by shape or hatching."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Literal, NamedTuple, TypeAlias, get_args

from jaxtyping import Bool
from matplotlib.artist import Artist
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from hlvm.graph import LatentGraph
from hlvm.masking import masked_array
from hlvm.plotting.styles import COLORS, MASKED_RGB
from hlvm.theory import SharedInformation

__all__ = [
    "LOOKS",
    "NEAR_VISIBLE",
    "NEAR_VISIBLE_LABEL",
    "Look",
    "Masked",
    "Role",
    "Roles",
    "bar_handles",
    "box_look",
    "node_handles",
    "roles_of",
]

Masked: TypeAlias = Collection[str] | Bool[Any, " n_observed"]
"""Names of the masked observed variables, or a boolean array over ``graph.observed`` with True = masked."""

Role: TypeAlias = Literal["frontier", "member", "outside", "latent", "masked", "visible", "observed"]
"""Role of a variable under a mask. Latents are just "latent" without a result, observed variables without a mask."""


class Look(NamedTuple):
    """Look of a role in a drawing.

    Attributes:
        label: its name in a legend.
        face: fill colour.
        edge: outline colour.
        marker: shape of a node.
        scale: size of a node, as a share of the largest.
        hatch: pattern of a bar or a cell.
    """

    label: str
    face: Any
    edge: str
    marker: str
    scale: float
    hatch: str

    def on(self, ink: str) -> Look:
        """The look on a ground on which text has this colour: outlines are light on a dark one."""
        return self._replace(edge=_LIGHT_EDGE) if ink == "white" else self


_LIGHT_EDGE = "#C8C8C8"

LOOKS: Mapping[Role, Look] = {
    "frontier": Look("in c, frontier", COLORS["vermilion"], COLORS["black"], "D", 0.85, "////"),
    "member": Look("in c, above the frontier", COLORS["orange"], COLORS["black"], "o", 1.0, ""),
    "outside": Look("latent, not in c", "white", "#7A7A7A", "o", 0.8, ""),
    "latent": Look("latent", "white", "#7A7A7A", "o", 0.8, ""),
    "masked": Look("masked", MASKED_RGB, COLORS["black"], "X", 0.95, "xxxx"),
    "visible": Look("visible", "#4D4D4D", "#4D4D4D", "s", 0.75, ""),
    "observed": Look("observed", "#4D4D4D", "#4D4D4D", "s", 0.75, ""),
}

NEAR_VISIBLE = COLORS["blue"]
"""Colour of the second cut, where the result is not unique."""

NEAR_VISIBLE_LABEL = "other least cut, nearest\nthe visible part"
"""Name of the second cut in a legend."""


class Roles(NamedTuple):
    """The variables of one graph by role.

    Attributes:
        of: role of each variable, in the order of ``graph.nodes``.
        near_visible: positions of the members of the cut nearest the visible part, where that cut is another one than
            ``c``; else empty.
    """

    of: tuple[Role, ...]
    near_visible: frozenset[int]

    @property
    def present(self) -> list[Role]:
        """The roles that occur, in a fixed order."""
        found = set(self.of)
        return [role for role in get_args(Role) if role in found]

    def positions(self, role: Role) -> list[int]:
        """Positions of the variables of a role."""
        return [i for i, found in enumerate(self.of) if found == role]


def roles_of(graph: LatentGraph, masked: Masked, shared: SharedInformation | None) -> Roles:
    """Sort the variables of a graph by role.

    Args:
        graph: the graph.
        masked: the masked observed variables; empty for no mask.
        shared: what the mask lets an autoencoder identify, or ``None``; drawn as it is.

    Raises:
        ValueError: ``masked`` is no mask of this graph, or ``shared`` holds other names than those of its latents.
    """
    mask = None if len(masked) == 0 else masked_array(graph, masked)
    inside = frozenset() if shared is None else shared.members
    second = frozenset() if shared is None or shared.unique else shared.near_visible
    strange = sorted((inside | second).difference(graph.latents))
    if strange:
        raise ValueError(
            f"shared holds {strange[0]!r}, which is no latent of this graph: draw a result beside the graph it was "
            "computed from"
        )
    latents: list[Role] = [
        ("frontier" if shared is not None and name in shared.frontier else "member")
        if name in inside
        else ("latent" if shared is None else "outside")
        for name in graph.latents
    ]
    below: list[Role] = (
        ["observed"] * len(graph.observed) if mask is None else ["masked" if out else "visible" for out in mask]
    )
    return Roles((*latents, *below), frozenset(graph.position(name) for name in second))


# ---------------------------------------------------------------------- legends


def node_handles(roles: Roles, ink: str, size: float = 8.0) -> list[Artist]:
    """Legend entries of the roles that occur, as nodes of at most so many points, beside text of this colour."""
    handles: list[Artist] = []
    for role in roles.present:
        look = LOOKS[role].on(ink)
        handles.append(
            Line2D(
                [],
                [],
                ls="",
                marker=look.marker,
                ms=size * look.scale,
                markerfacecolor=look.face,
                markeredgecolor=look.edge,
                label=look.label,
            )
        )
    if roles.near_visible:
        ring = {"marker": "o", "ms": size * 1.35, "markerfacecolor": "none", "markeredgecolor": NEAR_VISIBLE}
        handles.append(Line2D([], [], ls="", markeredgewidth=1.8, label=NEAR_VISIBLE_LABEL, **ring))
    return handles


def bar_handles(roles: Roles) -> list[Artist]:
    """Legend entries of the roles that occur, as filled boxes."""
    handles: list[Artist] = [Patch(label=LOOKS[role].label, **box_look(role)) for role in roles.present]
    if roles.near_visible:
        handles.append(Patch(facecolor=NEAR_VISIBLE, edgecolor=NEAR_VISIBLE, label=NEAR_VISIBLE_LABEL))
    return handles


def box_look(role: Role) -> dict[str, Any]:
    """Fill, hatching and outline of bars and cells of a role."""
    look = LOOKS[role]
    plain = look.face == "white"
    return {
        "facecolor": look.face,
        "hatch": look.hatch,
        "edgecolor": look.edge if plain else "white",
        "linewidth": 0.6,
    }
