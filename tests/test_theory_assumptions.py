import dataclasses
from types import SimpleNamespace
from typing import get_args

import numpy as np
import oracles
import pytest
from hypothesis import given
from strategies import edge_lists, graphs, graphs_with_masks, property_test

from hlvm.graph import LatentGraph
from hlvm.mae.objectives.descriptions import OBJECTIVES
from hlvm.mechanisms import InvertibleMLP, LinearGaussian
from hlvm.theory import check_assumptions, check_edges, shared_information
from hlvm.theory.assumptions.objectives import ObjectiveName

TREE = LatentGraph.tree(2, 2)
STATUSES = {"holds", "fails", "not checkable"}


def finding(report, assumption):
    (found,) = [f for f in report.findings if f.assumption == assumption]
    return found


# ---------------------------------------------------------------------- a graph alone


@property_test
@given(graph=graphs(free_dims=True))
def test_dims_fail_exactly_at_the_nodes_that_do_not_add_up(graph):
    wrong = [
        name
        for name in graph.nodes
        if graph.dim(name) != sum(map(graph.dim, graph.parents(name))) + graph.noise_dim(name)
    ]
    found = finding(check_assumptions(graph), "dims of invertible functions")
    assert found.nodes == tuple(wrong)
    assert found.status == ("fails" if wrong else "holds")
    assert bool(wrong) == (graph.invertible_dims_error() is not None)


@property_test
@given(graph=graphs(free_dims=True, kind="forest"))
def test_on_trees_a_latent_is_hidden_exactly_if_less_than_its_dims_flows_down_from_it(graph):
    flow = oracles.nx.DiGraph()
    for name in graph.nodes:
        flow.add_edge((name, "in"), (name, "out"), capacity=graph.dim(name))
    flow.add_edges_from(((parent, "out"), (child, "in")) for parent, child in graph.edges)
    flow.add_edges_from(((name, "out"), "sink") for name in graph.observed)
    hidden = [
        name for name in graph.latents if oracles.nx.maximum_flow_value(flow, (name, "out"), "sink") < graph.dim(name)
    ]
    assert finding(check_assumptions(graph), "latents can be revealed").nodes == tuple(hidden)


@property_test
@given(graph=graphs())
def test_invertible_dims_meet_every_assumption_that_can_be_checked(graph):
    report = check_assumptions(graph, InvertibleMLP())
    assert report.ok
    assert not report.failures
    assert {f.status for f in report.findings} <= STATUSES
    assert finding(report, "latents can be revealed").status == "holds"
    assert set(report.unchecked) == {f for f in report.findings if f.status == "not checkable"}


def test_what_no_graph_can_tell_is_said():
    report = check_assumptions(TREE)
    assert {f.assumption for f in report.unchecked} == {
        "invertible mechanisms",
        "independent noises",
        "both sides of the mask are non-empty",
        "dim of the code",
        "mean-injectivity",
        "optimum reached",
    }
    assert "polar mechanism" in finding(report, "mean-injectivity").message


def test_report_reads_as_one_line_per_assumption():
    report = check_assumptions(LatentGraph.from_edges([("z", "x1"), ("z", "x2")], dims={"z": 3, "x1": 1, "x2": 1}))
    lines = str(report).splitlines()
    assert len(lines) == len(report.findings)
    assert sum(line.startswith("FAILS") for line in lines) == len(report.failures) == 2
    assert "'z': 3 against at most 2" in str(report)
    with pytest.raises(dataclasses.FrozenInstanceError):
        report.findings = ()


# ---------------------------------------------------------------------- mechanisms


@pytest.mark.parametrize(
    ("mechanism", "status", "nodes"),
    [
        (None, "not checkable", ()),
        (InvertibleMLP(), "holds", ()),
        (LinearGaussian(), "fails", ("z1_0", "z1_1", "x_0", "x_1", "x_2", "x_3")),
        (SimpleNamespace(invertible=True), "holds", ()),
        ({"z1_0": InvertibleMLP()}, "not checkable", ()),
        ({"z1_0": InvertibleMLP(), "x_3": LinearGaussian()}, "fails", ("x_3",)),
        (dict.fromkeys(TREE.nodes[1:], InvertibleMLP()), "holds", ()),
        (dict.fromkeys(TREE.nodes, InvertibleMLP()), "holds", ()),
    ],
)
def test_mechanisms_are_asked_whether_they_are_bijections(mechanism, status, nodes):
    found = finding(check_assumptions(TREE, mechanism), "invertible mechanisms")
    assert (found.status, found.nodes) == (status, nodes)


# ---------------------------------------------------------------------- masks


@property_test
@given(case=graphs_with_masks())
def test_mask_tells_the_dim_of_the_code(case):
    graph, masked = case
    report = check_assumptions(graph, masked=masked)
    dim = shared_information(graph, masked).dim
    assert finding(report, "both sides of the mask are non-empty").status == "holds"
    code = finding(report, "dim of the code")
    assert code.status == ("not checkable" if dim else "fails")
    assert (f"exactly {dim} numbers" in code.message) == bool(dim)


@pytest.mark.parametrize(
    ("masked", "message"),
    [
        ([], "nothing is masked"),
        (TREE.observed, "everything is masked"),
        (np.zeros(4, dtype=bool), "nothing is masked"),
    ],
)
def test_masks_with_an_empty_side_are_reported(masked, message):
    report = check_assumptions(TREE, masked=masked)
    assert not report.ok
    assert message in report.failures[0].message


# ---------------------------------------------------------------------- raw edges


@property_test
@given(edges=edge_lists())
def test_check_edges_passes_what_a_graph_accepts(edges):
    assert check_edges(edges, observed=LatentGraph.from_edges(edges).observed).ok


@pytest.mark.parametrize(
    ("edges", "observed", "assumption", "nodes"),
    [
        ([("z", "x1"), ("x1", "x2")], ["x1", "x2"], "observed variables are sinks", ("x1",)),
        ([("z", "x"), ("z", "w")], ["x"], "every latent has an observed descendant", ("w",)),
        ([("a", "b"), ("b", "a"), ("b", "x")], ["x"], "no cycles", ("a", "b")),
        ([("a", "a"), ("a", "x")], ["x"], "no cycles", ("a",)),
        ([("a", "x")], [], "every latent has an observed descendant", ("a", "x")),
        ([("a", "x"), ("a", "y"), ("a", "x")], ["x", "y"], "every edge once", ("x",)),
        ([("a", "x"), ("a", "y")], ["x", "y", "w"], "observed variables have parents", ("w",)),
    ],
)
def test_check_edges_names_the_nodes_at_fault(edges, observed, assumption, nodes):
    report = check_edges(edges, observed=observed)
    assert [f.assumption for f in report.failures] == [assumption]
    assert report.failures[0].nodes == nodes
    assert all(repr(name) in report.failures[0].message for name in nodes)
    with pytest.raises(ValueError, match=r"."):
        LatentGraph.from_edges(edges, observed=observed)


# ---------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"mechanism": "invertible"}, "the mechanism of 'z1_0' must have an attribute invertible"),
        ({"mechanism": {"nobody": InvertibleMLP()}}, "'nobody' is not a variable"),
        ({"masked": ["z2_0"]}, "masked: 'z2_0' is a latent"),
        ({"masked": ["nobody"]}, "'nobody' is not a variable"),
        ({"masked": "x_0"}, "masked is a collection of names"),
        ({"masked": np.zeros(3, dtype=bool)}, r"boolean array of shape \(4,\)"),
    ],
)
def test_check_assumptions_refuses_bad_input(kwargs, message):
    with pytest.raises(ValueError, match=message):
        check_assumptions(TREE, **kwargs)


def test_check_edges_refuses_bad_input():
    with pytest.raises(ValueError, match="an edge is a"):
        check_edges(["zx"], observed=["x"])
    with pytest.raises(ValueError, match="observed is a collection of names"):
        check_edges([("z", "x")], observed="x")
    with pytest.raises(ValueError, match="a variable's name is a non-empty string, got 3"):
        check_edges([("z", 3)], observed=["x"])
    with pytest.raises(ValueError, match="at least one edge"):
        check_edges([], observed=["x"])
    with pytest.raises(ValueError, match="observed lists names of observed variables, got 3"):
        check_edges([("z", "x")], observed=["x", 3])


def test_check_assumptions_counts_what_two_children_share_once():
    """A latent of 2 dims whose children of 2 dims in all meet in one observed dim cannot be revealed."""
    edges = [("z", "a"), ("z", "b"), ("a", "x1"), ("b", "x1"), ("w", "x1"), ("w", "x2")]
    dims = {"z": 2, "a": 1, "b": 1, "x1": 1, "w": 1, "x2": 1}
    (failure,) = [
        f for f in check_assumptions(LatentGraph.from_edges(edges, dims=dims)).failures if "revealed" in f.assumption
    ]
    assert failure.nodes == ("z",)
    assert "2 against at most 1" in failure.message
    apart = LatentGraph.from_edges([*edges, ("b", "x3")], dims={**dims, "x3": 1})
    assert not [f for f in check_assumptions(apart).failures if "revealed" in f.assumption]


# ---------------------------------------------------------------------- objectives


def test_objective_names_are_the_kinds_that_can_be_trained():
    assert set(get_args(ObjectiveName)) == {*OBJECTIVES, "energy"}


@pytest.mark.parametrize(
    ("objective", "expected"),
    [
        ("reconstruction", ["mean-injectivity"]),
        ("uniform_mae", ["mean-injectivity"]),
        ("energy", ["joint conditional law"]),
        ("cross_entropy", ["cells are symbols", "conditional law of each cell"]),
        ("ijepa", ["a teacher that keeps c", "no collapse"]),
        ("data2vec", ["a teacher that keeps c", "no collapse"]),
        ("vicreg", ["two views that share c", "no collapse"]),
        ("sigreg", ["two views that share c", "Gaussian latents"]),
        ("supervised", ["no masked modelling"]),
    ],
)
def test_check_assumptions_says_what_an_objective_needs_last(objective, expected):
    graph = LatentGraph.quadtree(1)
    usual, found = check_assumptions(graph), check_assumptions(graph, objective=objective)
    names = [one.assumption for one in found.findings]
    assert names[-len(expected) :] == expected
    kept = [one.assumption for one in usual.findings if one.assumption != "mean-injectivity"]
    assert names[: -len(expected)] == kept
    assert str(found)


def test_check_assumptions_finds_cells_that_hold_no_symbol():
    graph = LatentGraph.from_edges([("z", "a"), ("z", "b")], dims={"z": 1, "a": 1, "b": 3})
    (failed,) = [
        one
        for one in check_assumptions(graph, objective="cross_entropy").failures
        if one.assumption.startswith("cells")
    ]
    assert failed.nodes == ("a",)


def test_check_assumptions_refuses_unknown_objectives():
    with pytest.raises(ValueError, match=r"objective must be one of reconstruction, energy.*got 'hinge'"):
        check_assumptions(LatentGraph.quadtree(1), objective="hinge")
