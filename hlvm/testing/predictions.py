"""Predictions of the theory for a graph and a mask: asserted, and joined with what was measured."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Literal

import pandas as pd
from numpy.typing import ArrayLike

from hlvm.graph import LatentGraph
from hlvm.scoring import RegressionConfig, score_by_height
from hlvm.testing.recording import record
from hlvm.theory import SharedInformation, shared_information
from hlvm.theory.one_mask.shared_information import Regime

__all__ = ["assert_shared_information", "score_against_theory"]


def assert_shared_information(
    graph: LatentGraph, masked: Collection[str], expected: Collection[str], *, regime: Regime = "invertible"
) -> SharedInformation:
    """Assert which latents a mask lets a masked autoencoder identify, before anything is trained.

    Args:
        graph: the generating graph.
        masked: names of the masked observed variables.
        expected: names of the latents in the shared information.
        regime: "invertible" or "general".

    Returns:
        The shared information, whose members are the expected ones.

    Raises:
        AssertionError: other members; the message names what is missing and what is too much.
        ValueError: as :func:`hlvm.theory.shared_information`, or an expected name that is no latent of the graph.

    Example:
        >>> graph = LatentGraph.from_edges([("z", "x1"), ("z", "x2")])
        >>> assert_shared_information(graph, ["x1"], {"z"}).dim
        1
    """
    __tracebackhide__ = True
    strangers = sorted(set(expected) - set(graph.latents))
    if strangers:
        raise ValueError(f"expected: {', '.join(strangers)} are not latents of the graph: name some of its latents")
    found = shared_information(graph, masked, regime=regime)
    record(f"shared information: {', '.join(sorted(found.members, key=graph.position)) or 'nothing'}")
    if found.members == set(expected):
        return found
    lines = [f"expected the mask to share {_listed(graph, expected)}, found {_listed(graph, found.members)} ({regime})"]
    for what, names in (("missing", set(expected) - found.members), ("too much", found.members - set(expected))):
        if names:
            lines.append(f"{what}: {_listed(graph, names)}")
    lines.append(f"frontier: {_listed(graph, found.frontier)}; intrinsic dims: {found.dim}; unique: {found.unique}")
    raise AssertionError("\n".join(lines))


def _listed(graph: LatentGraph, names: Collection[str]) -> str:
    return f"{{{', '.join(sorted(names, key=graph.position))}}}"


def score_against_theory(
    representations: Mapping[str, ArrayLike],
    latents: Mapping[str, ArrayLike],
    graph: LatentGraph,
    masked: Collection[str],
    *,
    of: Literal["noise", "value"],
    regime: Regime = "invertible",
    floors: Mapping[str, ArrayLike] | None = None,
    ceiling: ArrayLike | None = None,
    ensembles: Mapping[str, Collection[str]] | None = None,
    scores: Collection[str] = ("kernel_r2", "linear_r2", "cca"),
    key: Any,
    config: RegressionConfig | None = None,
) -> pd.DataFrame:
    """:func:`hlvm.scoring.score_by_height` with heights and predictions from the graph and the mask.

    Args:
        representations: fit -> its code, shape (n, p).
        latents: name of a latent of the graph -> what enters there (``sample.noise``), shape (n, dim), same rows; or,
            on purpose, its value.
        graph: the generating graph.
        masked: names of the masked observed variables.
        of: which of the two ``latents`` are, ``"noise"`` or ``"value"``. The prediction is about noises; a value
            outside of the shared information scores as far as its ancestors are in it.
        regime: "invertible" or "general".
        floors: fit -> code of the same encoder before training.
        ceiling: the visible part, shape (n, v).
        ensembles: name -> fits that differ by their training seed alone.
        scores: which of :data:`hlvm.scoring.by_height.SCORES`.
        key: a JAX key or an int.
        config: sizes and grids of the regressions.

    Returns:
        The table; ``predicted`` is 1 for members of the shared information and 0 for others.

    Raises:
        ValueError: a name that is no latent of the graph, or as the two functions it calls.
    """
    strangers = sorted(set(latents) - set(graph.latents))
    if strangers:
        raise ValueError(f"latents: {', '.join(strangers)} are not latents of the graph: name some of its latents")
    members = shared_information(graph, masked, regime=regime).members
    return score_by_height(
        representations,
        latents,
        heights=dict(zip(graph.nodes, graph.heights, strict=True)),
        predicted={name: name in members for name in latents},
        of=of,
        floors=floors,
        ceiling=ceiling,
        ensembles=ensembles,
        scores=scores,
        key=key,
        config=config,
    )
