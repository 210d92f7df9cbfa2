"""Graphs of the literature, for the explorer's menu, for documentation and for tests."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from hlvm.graph import LatentGraph, diamond, overlapping_fields, pure_children_chain

__all__ = ["EXAMPLES", "Example"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Example:
    """A graph with where it comes from.

    Attributes:
        short_name: for addresses and tests, of letters, digits and dashes.
        name: what the graph is, for menus.
        reference: where it is described, with what is left out here; "" for shapes of this package.
        build: makes the graph.
    """

    short_name: str
    name: str
    reference: str
    build: Callable[[], LatentGraph]


def _one_factor() -> LatentGraph:
    tests = ("classics", "french", "english", "mathematics", "pitch", "music")
    return LatentGraph.from_edges([("g", test) for test in tests])


_FACTORS = {"visual": (1, 2, 3), "textual": (4, 5, 6), "speed": (7, 8, 9)}


def _second_order() -> LatentGraph:
    edges = [("g", factor) for factor in _FACTORS]
    edges += [(factor, f"x{test}") for factor, tests in _FACTORS.items() for test in tests]
    return LatentGraph.from_edges(edges)


def _bifactor() -> LatentGraph:
    edges = [(top, f"x{test}") for factor, tests in _FACTORS.items() for test in tests for top in ("g", factor)]
    return LatentGraph.from_edges(edges)


def _democracy() -> LatentGraph:
    edges = [("ind60", "dem60"), ("ind60", "dem65"), ("dem60", "dem65")]
    edges += [("ind60", f"x{i}") for i in (1, 2, 3)]
    edges += [("dem60", f"y{i}") for i in (1, 2, 3, 4)] + [("dem65", f"y{i}") for i in (5, 6, 7, 8)]
    return LatentGraph.from_edges(edges)


def _m_bias() -> LatentGraph:
    return LatentGraph.from_edges([("u1", "x"), ("u1", "m"), ("u2", "m"), ("u2", "y")])


def _factorial_chains() -> LatentGraph:
    edges = [(f"{chain}{t}", f"{chain}{t + 1}") for chain in "ab" for t in range(5)]
    edges += [(f"{chain}{t}", f"x{t}") for t in range(6) for chain in "ab"]
    return LatentGraph.from_edges(edges, observed=[f"x{t}" for t in range(6)])


def _hidden_markov_tree() -> LatentGraph:
    edges = [(f"s{i}", f"s{child}") for i in range(1, 8) for child in (2 * i, 2 * i + 1)]
    edges += [(f"s{i}", f"w{i}") for i in range(1, 16)]
    return LatentGraph.from_edges(edges, observed=[f"w{i}" for i in range(1, 16)])


EXAMPLES: tuple[Example, ...] = (
    Example(
        short_name="one-factor",
        name="one common factor, six tests",
        reference="Spearman (1904), 'General Intelligence,' Objectively Determined and Measured",
        build=_one_factor,
    ),
    Example(
        short_name="second-order",
        name="second-order factor, nine tests",
        reference="nine tests of Holzinger and Swineford (1939), with a factor above those of their three kinds",
        build=_second_order,
    ),
    Example(
        short_name="bifactor",
        name="bifactor model, nine tests",
        reference="Holzinger and Swineford (1937), The Bi-factor Method, on nine tests of theirs (1939)",
        build=_bifactor,
    ),
    Example(
        short_name="democracy",
        name="industrialisation and democracy",
        reference="Bollen (1989), Structural Equations with Latent Variables; correlated errors are left out",
        build=_democracy,
    ),
    Example(
        short_name="hidden-markov",
        name="hidden Markov model, eight steps",
        reference="Rabiner (1989), A Tutorial on Hidden Markov Models",
        build=lambda: pure_children_chain(8, children=1),
    ),
    Example(
        short_name="factorial-chains",
        name="factorial hidden Markov model, two chains",
        reference="Ghahramani and Jordan (1997), Factorial Hidden Markov Models",
        build=_factorial_chains,
    ),
    Example(
        short_name="hidden-markov-tree",
        name="hidden Markov tree, 15 wavelet coefficients",
        reference="Crouse, Nowak and Baraniuk (1998), Wavelet-Based Statistical Signal Processing Using Hidden Markov "
        "Models",
        build=_hidden_markov_tree,
    ),
    Example(
        short_name="hierarchy",
        name="random hierarchy model, three levels of pairs",
        reference="Cagnetta et al. (2023), How Deep Neural Networks Learn Compositional Data; the graph of its "
        "derivations",
        build=lambda: LatentGraph.tree(2, 3),
    ),
    Example(
        short_name="pure-children",
        name="chain of latents with pure children",
        reference="Silva et al. (2006), Learning the Structure of Linear Latent Variable Models",
        build=lambda: pure_children_chain(4, children=3),
    ),
    Example(
        short_name="m-bias",
        name="M-shaped graph of two causes",
        reference="Greenland, Pearl and Robins (1999), Causal Diagrams for Epidemiologic Research",
        build=_m_bias,
    ),
    Example(short_name="diamond", name="diamond", reference="", build=diamond),
    Example(
        short_name="fields", name="overlapping fields, 9 × 9 cells", reference="", build=lambda: overlapping_fields(9)
    ),
)
"""Graphs for the explorer's menu."""
