"""A tree of symbols as plain tables, for exact inference."""

from __future__ import annotations

from typing import Any

import numpy as np

from hlvm._numbers import UsageError
from hlvm.mechanisms import Bernoulli, Categorical, Noise, ProductionRules
from hlvm.simulator.parts import ModelParts

__all__ = ["parameters"]


def parameters(model: ModelParts) -> dict[str, Any]:
    """See ``HierarchicalModel.discrete_tree_parameters``."""
    _check(model)
    graph, layout, shared = model.graph, model.layout, _Shared()
    columns: dict[int, np.ndarray] = {}
    for group, params in zip(layout.groups, model.params, strict=True):
        if group.mechanism is not None:
            columns.update(zip(group.nodes, np.asarray(params["column"], dtype=np.int64), strict=True))
    n_symbols: dict[str, int] = {}
    tables: dict[str, dict[str, np.ndarray]] = {"rules": {}, "probabilities": {}, "priors": {}, "channels": {}}
    for node, name in enumerate(graph.nodes):
        mechanism, children = layout.mechanisms[node], graph.child_indices[node]
        if not isinstance(mechanism, ProductionRules):
            tables["priors"][name] = shared(_weights(layout.noises[node]))
            n_symbols[name], n_choices = len(tables["priors"][name]), 1
        else:
            n_symbols[name], n_choices = mechanism.vocabulary, mechanism.synonyms
            weights = _weights(layout.noises[node]) if n_choices > 1 else np.ones(1)
            if children:
                tables["probabilities"][name] = shared(np.tile(weights, (mechanism.vocabulary, 1)))
            elif n_choices > 1:  # an observed variable shows its choice as well as its symbol
                tables["channels"][name] = shared(np.kron(np.eye(mechanism.vocabulary), weights))
                n_symbols[name] = mechanism.n_symbols
        if children:
            table = np.stack([columns[child] for child in children], axis=-1)
            tables["rules"][name] = shared(table.reshape(n_symbols[name], n_choices, len(children)))
    return {"n_symbols": n_symbols, **tables}


class _Shared:
    """Equal arrays as one object, by which readers can tell that they are equal."""

    def __init__(self) -> None:
        self._known: dict[tuple[Any, ...], np.ndarray] = {}

    def __call__(self, array: np.ndarray) -> np.ndarray:
        return self._known.setdefault((array.shape, array.dtype.str, array.tobytes()), array)


def _weights(noise: Noise) -> np.ndarray:
    """Probabilities of a discrete noise's values, float64; they sum to one more exactly than they were given."""
    given = (1 - noise.p, noise.p) if isinstance(noise, Bernoulli) else getattr(noise, "probabilities", None)
    weights = np.ones(noise.n_symbols or 1) if given is None else np.asarray(given, dtype=np.float64)
    return weights / weights.sum()


def _check(model: ModelParts) -> None:
    """Refuse what is no forest of symbols."""
    graph, layout = model.graph, model.layout
    for name, above, mechanism in zip(graph.nodes, graph.parent_indices, layout.mechanisms, strict=True):
        if mechanism is not None and type(mechanism) is not ProductionRules:
            raise UsageError(
                f"variable {name!r} has the mechanism {type(mechanism).__name__}: a discrete tree needs "
                f"ProductionRules everywhere"
            )
        if len(above) > 1:
            raise UsageError(
                f"variable {name!r} has {len(above)} parents: a discrete tree has at most one parent everywhere"
            )
    for node, name in enumerate(graph.nodes):
        mechanism, noise = layout.mechanisms[node], layout.noises[node]
        chooses = not isinstance(mechanism, ProductionRules) or mechanism.synonyms > 1
        if chooses and not isinstance(noise, Bernoulli | Categorical):
            raise UsageError(
                f"variable {name!r} has the noise {noise}: a discrete tree needs Categorical or Bernoulli noises"
            )
        if graph.dims[node] != 1:
            raise UsageError(
                f"variable {name!r} holds {graph.dims[node]} numbers: in a discrete tree it is one symbol, so build "
                f"the graph with dims=1"
            )
    if model.interventions:
        raise UsageError(
            f"variable {model.interventions[0]!r} was set by an intervention: it has no law given its parent, so give "
            f"the model from before"
        )
