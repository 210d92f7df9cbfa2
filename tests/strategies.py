"""Hypothesis strategies for small latent graphs and masks on them."""

from hypothesis import settings
from hypothesis import strategies as st

from hlvm.graph import LatentGraph
from hlvm.masking import Patches

property_test = settings(max_examples=40)
"""Settings of property tests; see conftest.py for those of all."""


@st.composite
def edge_lists(draw, *, max_latents=7, max_observed=5, kind="dag"):
    """Edges of a random "dag" in which every latent has a child, or of a "tree", or of a "forest" of several."""
    single = kind != "dag"
    n_latents = draw(st.integers(1, max_latents))
    latents = [f"z{i}" for i in range(n_latents)]
    above = {}
    for i, name in enumerate(latents):
        above[name] = draw(_parents(latents[:i], minimum=1 if kind == "tree" and i else 0, maximum=1 if single else 3))
    childless = [name for name in latents if not any(name in parents for parents in above.values())]
    n_observed = draw(st.integers(2, max_observed))
    for i in range(n_observed):
        above[f"x{i}"] = draw(_parents(latents, minimum=1, maximum=1 if single else 3))
    for i, name in enumerate(childless):
        if single:
            above[f"y{i}"] = [name]
        elif name not in above[f"x{i % n_observed}"]:
            above[f"x{i % n_observed}"].append(name)
    return [(parent, child) for child, parents in above.items() for parent in parents]


def _parents(candidates, *, minimum, maximum):
    if not candidates:
        return st.just([])
    return st.lists(st.sampled_from(candidates), unique=True, min_size=minimum, max_size=maximum)


@st.composite
def graphs(draw, *, free_dims=False, **kwargs):
    """Random graphs; ``free_dims`` draws each dim from 1 to 4, else dims follow from noise dims 0 to 3."""
    edges = draw(edge_lists(**kwargs))
    names = list(dict.fromkeys(name for edge in edges for name in edge))
    if free_dims:
        return LatentGraph.from_edges(edges, dims={name: draw(st.integers(1, 4)) for name in names})
    has_parent = {child for _, child in edges}
    noise_dims = {name: draw(st.integers(0 if name in has_parent else 1, 3)) for name in names}
    return LatentGraph.from_edges(edges, noise_dims=noise_dims)


def masks_of(graph):
    """Non-empty proper subsets of the observed variables, as tuples of names."""
    n = len(graph.observed)
    return st.integers(1, 2**n - 2).map(
        lambda bits: tuple(name for i, name in enumerate(graph.observed) if bits >> i & 1)
    )


@st.composite
def graphs_with_masks(draw, **kwargs):
    """A random graph and the names of some masked observed variables of it."""
    graph = draw(graphs(**kwargs))
    return graph, draw(masks_of(graph))


@st.composite
def graphs_with_patches(draw, **kwargs):
    """A random graph and a random partition of its observed variables into at least two patches."""
    graph = draw(graphs(**kwargs))
    patch_of = [draw(st.integers(0, i)) if i > 1 else i for i in range(len(graph.observed))]
    groups: dict[int, list[str]] = {}
    for name, patch in zip(graph.observed, patch_of, strict=True):
        groups.setdefault(patch, []).append(name)
    return graph, Patches(tuple(map(tuple, groups.values())))
