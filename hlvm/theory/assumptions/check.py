"""Check of the assumptions of the two theorems on a graph, its mechanisms and a mask, in words a user can act on.

The theorems are those of Kong et al. (2023), stated in sections 2 and 4 of ``docs/theory.md``. Some assumptions cannot
be decided from the graph; the report says so rather than keep silent.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any, Protocol, runtime_checkable

import networkx as nx
import numpy as np
from jaxtyping import Bool

from hlvm.graph import LatentGraph
from hlvm.graph.arrays import with_all_beyond
from hlvm.masking.masks import how_many_to_mask
from hlvm.theory.assumptions.objectives import ObjectiveName, findings_of_objective
from hlvm.theory.assumptions.report import AssumptionReport, Finding, Status, finding, listed
from hlvm.theory.one_mask.shared_information import shared_information

__all__ = ["HasInvertible", "check_assumptions"]


@runtime_checkable
class HasInvertible(Protocol):
    """A mechanism, or a whole model, that knows whether it is a bijection."""

    @property
    def invertible(self) -> bool:
        """Tell whether ``(parents, noise) <-> value`` is a bijection."""
        ...


def check_assumptions(
    graph: LatentGraph,
    mechanism: HasInvertible | Mapping[str, HasInvertible] | None = None,
    *,
    masked: Collection[str] | Bool[Any, " n_observed"] | None = None,
    objective: ObjectiveName | None = None,
) -> AssumptionReport:
    """Go through the assumptions of Theorems 1 and 2.

    A graph that exists has passed some of them already: :class:`~hlvm.graph.LatentGraph` refuses edges between observed
    variables and cycles. To have raw edges reported on rather than refused, use :func:`~hlvm.theory.check_edges`.

    Args:
        graph: the generating graph.
        mechanism: anything with an attribute ``invertible``: one mechanism for all variables (or the whole model), or a
            mapping from names to mechanisms. Roots need none. ``None``: unknown.
        masked: names of the masked observed variables, or a boolean array over ``graph.observed``; ``None``: unknown. A
            mask with an empty side is reported, not refused.
        objective: name of what is trained for, as in files, or ``"energy"``; what it can identify and what it needs
            comes last. ``None``: reconstruction by squared error, in its place among the others.

    Returns:
        One finding per assumption.

    Raises:
        ValueError: ``mechanism`` is something else or names an unknown variable, or ``masked`` names a latent or an
            unknown variable, or is an array of another shape or type; or an unknown objective.

    References:
        Theorems 1 and 2 of :cite:t:`kong2023mae`; ``docs/theory.md``, sections 2 and 4.

    Example:
        >>> graph = LatentGraph.from_edges([("z", "x1"), ("z", "x2")], dims={"z": 3, "x1": 1, "x2": 1})
        >>> [(finding.assumption, finding.nodes) for finding in check_assumptions(graph).failures]
        [('dims of invertible functions', ('x1', 'x2')), ('latents can be revealed', ('z',))]
    """
    sides = None if masked is None else _sides(graph, masked)
    of_objective = [] if objective is None else findings_of_objective(graph, objective)
    findings = [
        Finding(
            assumption="observed variables are sinks",
            theorems=(1, 2),
            status="holds",
            message="the edges have no cycle, no observed variable has a child, and every latent has an observed "
            "descendant: no other graph is accepted",
        ),
        _dims(graph),
        _revealed(graph),
        _mechanisms(graph, mechanism),
        Finding(
            assumption="independent noises",
            theorems=(1, 2),
            status="not checkable",
            message="a graph says nothing of noises: draw each variable's own noise independently of all others, as "
            "the simulator does",
        ),
        _two_sides(graph, sides),
        _code(graph, sides),
        *([] if of_objective else findings_of_objective(graph, None)),
        Finding(
            assumption="optimum reached",
            theorems=(2,),
            status="not checkable",
            message="the theorem is about the best encoder and decoder with unlimited data and capacity, and a decoder "
            "that is locally one-to-one; compare the loss with a longer run or a wider network",
        ),
        *of_objective,
    ]
    return AssumptionReport(findings=tuple(findings))


# ---------------------------------------------------------------------- dims and mechanisms


def _dims(graph: LatentGraph) -> Finding:
    implied = [sum(graph.dims[p] for p in above) + graph.noise_dims[v] for v, above in enumerate(graph.parent_indices)]
    wrong = [v for v, dim in enumerate(graph.dims) if dim != implied[v]]
    names = [graph.nodes[v] for v in wrong]
    first = f"{names[0]!r}: {graph.dims[wrong[0]]} where those add up to {implied[wrong[0]]}" if wrong else ""
    return finding(
        "dims of invertible functions",
        names,
        good="every dim is the sum of the parents' dims and the noise dim, as a bijection needs",
        bad=f"the dims of {listed(names)} are not the sum of the parents' dims and the noise dim, as a bijection "
        f"needs ({first}): leave dims out of the graph, which then takes those that invertible mechanisms imply, or "
        "assume the general regime",
    )


def _revealed(graph: LatentGraph) -> Finding:
    room = _room_below(graph)
    hidden = [u for u in range(graph.n_latents) if graph.dims[u] > room[u]]
    name = "latents can be revealed"
    if hidden:
        first, names = hidden[0], tuple(graph.nodes[u] for u in hidden)
        return Finding(
            assumption=name,
            theorems=(1, 2),
            status="fails",
            message=f"{listed(names)} hold more numbers than can pass through their children to the observed "
            f"variables ({names[0]!r}: {graph.dims[first]} against at most {room[first]}), so no smooth function of "
            "what is below gives them back: use fewer dims there, more below, or more children",
            nodes=names,
        )
    if graph.invertible_dims_error() is None:
        message = "under invertible mechanisms every latent is a function of each of its descendants"
        return Finding(assumption=name, theorems=(1, 2), status="holds", message=message)
    return Finding(
        assumption=name,
        theorems=(1, 2),
        status="not checkable",
        message="the dims leave room for every latent below it, but without invertible mechanisms whether its children "
        "reveal it depends on the functions and the noise",
    )


def _room_below(graph: LatentGraph) -> list[int]:
    """Numbers that can pass from each latent to the observed variables, if every node passes at most its dims.

    Exact where it is below the latent's dims; otherwise only known to be enough.
    """
    bound = _bound_below(graph)
    if graph.arrays.is_forest:
        return bound
    widest = [0] * len(graph.nodes)  # along a single path
    for node in range(len(graph.nodes) - 1, -1, -1):
        below = graph.child_indices[node]
        widest[node] = min(graph.dims[node], max(widest[child] for child in below)) if below else graph.dims[node]
    unclear = (u for u in range(graph.n_latents) if widest[u] < graph.dims[u] <= bound[u])
    for u in unclear:
        bound[u] = _flow_below(graph, u)
    return bound


def _bound_below(graph: LatentGraph) -> list[int]:
    """An upper bound, exact on forests; elsewhere what is below two children counts twice."""
    passes = list(graph.dims)
    room = [0] * len(graph.nodes)
    for node in range(len(graph.nodes) - 1, -1, -1):
        if graph.child_indices[node]:
            room[node] = sum(passes[child] for child in graph.child_indices[node])
            passes[node] = min(passes[node], room[node])
    return room


def _flow_below(graph: LatentGraph, latent: int) -> int:
    """Largest flow from the children of a latent to the observed variables, at most the latent's dims."""
    below = with_all_beyond(graph.child_indices[latent], graph.child_indices)
    wanted = graph.dims[latent]
    network = nx.DiGraph()
    for node in below:
        network.add_edge((node, "in"), (node, "out"), capacity=min(graph.dims[node], wanted))
        for child in graph.child_indices[node]:
            network.add_edge((node, "out"), (child, "in"), capacity=wanted)
        if node >= graph.n_latents:
            network.add_edge((node, "out"), "observed", capacity=wanted)
    for child in graph.child_indices[latent]:
        network.add_edge("latent", (child, "in"), capacity=wanted)
    return nx.maximum_flow_value(network, "latent", "observed")


def _mechanisms(graph: LatentGraph, mechanism: Any) -> Finding:
    name, theorems = "invertible mechanisms", (1, 2)
    if mechanism is None:
        message = (
            "no mechanism was given: give those of a model, or make sure that (parents, noise) <-> value is a bijection"
        )
        return Finding(assumption=name, theorems=theorems, status="not checkable", message=message)
    roots = {v for v, above in zip(graph.nodes, graph.parent_indices, strict=True) if not above}
    if isinstance(mechanism, Mapping):
        for key in mechanism:
            graph.position(key)
        of_node = {v: mechanism[v] for v in graph.nodes if v in mechanism and v not in roots}
    else:
        of_node = {v: mechanism for v in graph.nodes if v not in roots}
    for v, found in of_node.items():
        if not isinstance(getattr(found, "invertible", None), bool | np.bool_):
            raise ValueError(
                f"the mechanism of {v!r} must have an attribute invertible that is True or False, got {found!r}"
            )
    noisy = [v for v, found in of_node.items() if not found.invertible]
    missing = [v for v in graph.nodes if v not in roots and v not in of_node]
    if noisy or not missing:
        return finding(
            name,
            noisy,
            good="every mechanism says that it is a bijection",
            bad=f"the mechanisms at {listed(noisy)} are not bijections, so ancestors are only partly recoverable: use "
            "an invertible mechanism there, or assume the general regime",
        )
    message = f"no mechanism was given for {listed(missing)}; those given are bijections"
    return Finding(assumption=name, theorems=theorems, status="not checkable", message=message)


# ---------------------------------------------------------------------- masks and codes


def _sides(graph: LatentGraph, masked: Any) -> Bool[np.ndarray, " n_observed"]:
    """The mask as an array; unlike :func:`hlvm.masking.masked_array` a side may be empty."""
    n = graph.n_observed
    if getattr(masked, "dtype", None) is not None and masked.dtype.kind not in "UO":
        array = np.asarray(masked)
        if array.dtype != np.bool_ or array.shape != (n,):
            raise ValueError(
                f"masked is a collection of names or a boolean array of shape ({n},), got dtype {array.dtype} and "
                f"shape {array.shape}"
            )
        return array
    if isinstance(masked, str) or not isinstance(masked, Iterable):
        raise ValueError(f'masked is a collection of names such as ["x1", "x2"], or a boolean array, got {masked!r}')
    mask = np.zeros(n, dtype=bool)
    for name in masked:
        place = graph.position(name) - graph.n_latents
        if place < 0:
            raise ValueError(
                f"masked: {name!r} is a latent; only observed variables are masked, such as {graph.observed[0]!r}"
            )
        mask[place] = True
    return mask


def _two_sides(graph: LatentGraph, sides: Bool[np.ndarray, " n_observed"] | None) -> Finding:
    n = graph.n_observed
    status: Status = "holds"
    if sides is None:
        status, message = "not checkable", "no mask was given: every mask needs a masked and a visible variable"
    elif not sides.any():
        status, message = "fails", f"nothing is masked: {how_many_to_mask(n)}"
    elif sides.all():
        status, message = "fails", f"everything is masked, so nothing is visible: {how_many_to_mask(n)}"
    else:
        message = f"{int(sides.sum())} of {n} observed variables are masked"
    return Finding(assumption="both sides of the mask are non-empty", theorems=(1, 2), status=status, message=message)


def _code(graph: LatentGraph, sides: Bool[np.ndarray, " n_observed"] | None) -> Finding:
    name = "dim of the code"
    message = "the code needs exactly as many numbers as the shared information of a mask has dims"
    if sides is not None and sides.any() and not sides.all() and graph.invertible_dims_error() is None:
        dim = shared_information(graph, sides).dim
        message = f"for this mask the code needs exactly {dim} numbers, the dims of the shared information"
        if dim == 0:
            message = "the two sides share no latent, so there is nothing to identify: choose another mask"
            return Finding(assumption=name, theorems=(2,), status="fails", message=message)
    return Finding(assumption=name, theorems=(2,), status="not checkable", message=message)
