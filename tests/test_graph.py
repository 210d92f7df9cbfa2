import json
from itertools import pairwise

import networkx as nx
import oracles
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import edge_lists, graphs, property_test

from hlvm.graph import LatentGraph

# ---------------------------------------------------------------------- structure


@property_test
@given(graph=graphs(max_latents=8))
def test_nodes_are_in_topological_order_latents_first(graph):
    position = {name: i for i, name in enumerate(graph.nodes)}
    assert all(position[parent] < position[child] for parent, child in graph.edges)
    assert graph.nodes == graph.latents + graph.observed
    assert set(graph.observed) == {name for name in graph.nodes if not graph.children(name)}


@property_test
@given(edges=edge_lists())
def test_from_edges_keeps_edges_and_the_order_of_parents(edges):
    graph = LatentGraph.from_edges(edges)
    assert sorted(graph.edges) == sorted(edges)
    for name in graph.nodes:
        assert list(graph.parents(name)) == [parent for parent, child in edges if child == name]
        assert set(graph.children(name)) == {child for parent, child in edges if parent == name}


@property_test
@given(graph=graphs(max_latents=8))
def test_heights_are_longest_paths_down(graph):
    dag = oracles.to_networkx(graph)
    for name in graph.nodes:
        below = dag.subgraph(nx.descendants(dag, name) | {name})
        assert graph.height(name) == nx.dag_longest_path_length(below)


@property_test
@given(graph=graphs(max_latents=8))
def test_ancestors_match_networkx(graph):
    dag = oracles.to_networkx(graph)
    for name in graph.nodes:
        assert graph.ancestors(name) == nx.ancestors(dag, name)
    both = list(graph.observed[:2])
    assert graph.ancestors(both) == nx.ancestors(dag, both[0]) | nx.ancestors(dag, both[1])


@property_test
@given(graph=graphs(max_latents=8))
def test_dims_left_out_are_those_of_invertible_mechanisms(graph):
    assert graph.invertible_dims_error() is None
    for name in graph.nodes:
        assert graph.dim(name) == graph.noise_dim(name) + sum(map(graph.dim, graph.parents(name)))


def test_invertible_dims_error_names_the_node():
    graph = LatentGraph.from_edges([("z", "x1"), ("z", "x2")], dims={"z": 2, "x1": 3, "x2": 2})
    assert graph.noise_dims == (2, 1, 1)
    assert "'x2' has dim 2" in str(graph.invertible_dims_error())


def test_is_tree_wants_one_root_and_one_parent_each():
    assert LatentGraph.tree(2, 3).is_tree
    assert not LatentGraph.from_edges([("a", "x1"), ("b", "x2")]).is_tree
    assert not LatentGraph.from_edges([("a", "x1"), ("a", "b"), ("b", "x1")]).is_tree


def test_equal_graphs_hash_alike():
    one, other = LatentGraph.quadtree(2), LatentGraph.quadtree(2)
    assert one == other
    assert hash(one) == hash(other)
    assert one != LatentGraph.quadtree(2, root_dim=3)
    assert one != "a graph"
    assert repr(one) == "LatentGraph(5 latents, 16 observed, 20 edges, height 2)"


# ---------------------------------------------------------------------- trees


def test_tree_layout():
    graph = LatentGraph.tree((2, 3), root_dim=4, noise_dim=2)
    assert graph.latents == ("z2_0", "z1_0", "z1_1")
    assert graph.observed == tuple(f"x_{i}" for i in range(6))
    assert graph.children("z1_1") == ("x_3", "x_4", "x_5")
    assert [graph.dim(name) for name in ("z2_0", "z1_0", "x_0")] == [4, 6, 8]
    assert LatentGraph.tree(3, 2) == LatentGraph.tree((3, 3))


@pytest.mark.parametrize("height", [1, 2, 3])
def test_quadtree_layout(height):
    graph = LatentGraph.quadtree(height)
    side = 2**height
    assert graph.grid == (side, side)
    assert graph.observed == tuple(f"x_{r}_{c}" for r in range(side) for c in range(side))
    assert len(graph.latents) == (4**height - 1) // 3
    assert graph.is_tree
    for row in range(side):
        for column in range(side):
            for up in range(1, height + 1):
                assert f"z{up}_{row >> up}_{column >> up}" in graph.ancestors(f"x_{row}_{column}")
    assert graph.heights[:1] == (height,)
    assert graph.invertible_dims_error() is None


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: LatentGraph.tree(2), "give the height"),
        (lambda: LatentGraph.tree(0, 2), "branching must be a whole number of at least 1"),
        (lambda: LatentGraph.tree((2, 2), 3), "height=3 but branching lists 2 levels"),
        (lambda: LatentGraph.tree(()), "at least one level"),
        (lambda: LatentGraph.quadtree(0), "height must be a whole number of at least 1"),
        (lambda: LatentGraph.quadtree(1, root_dim=0), "root_dim"),
        (lambda: LatentGraph.quadtree(1, noise_dim=-1), "noise_dim"),
    ],
)
def test_trees_of_impossible_shape_are_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build()


# ---------------------------------------------------------------------- bad graphs


@pytest.mark.parametrize(
    ("edges", "message"),
    [
        ([], "at least one edge"),
        (["ab"], r"an edge is a \(parent, child\) pair"),
        ([("a", "b", "c")], r"an edge is a \(parent, child\) pair"),
        ([("a", "")], "non-empty string"),
        ([("a", 1)], "non-empty string, got 1"),
        ([("a", "a")], "'a' is its own parent"),
        ([("a", "x"), ("a", "x")], "is listed twice"),
    ],
)
def test_malformed_edges_are_refused(edges, message):
    with pytest.raises(ValueError, match=message):
        LatentGraph.from_edges(edges)


@pytest.mark.parametrize(
    "edges",
    [
        [("a", "b"), ("b", "a")],
        [("a", "b"), ("b", "c"), ("c", "a"), ("c", "x")],
        [("r", "a"), ("a", "b"), ("b", "a"), ("b", "x"), ("r", "y")],
        [("r", "x"), ("a", "b"), ("b", "c"), ("c", "b"), ("c", "d"), ("d", "x")],
    ],
)
def test_a_cycle_is_refused_and_its_nodes_are_named(edges):
    with pytest.raises(ValueError, match="the edges contain a cycle: ") as caught:
        LatentGraph.from_edges(edges)
    cycle = str(caught.value).split(": ")[1].split(" -> ")
    assert cycle[0] == cycle[-1]
    assert len(set(cycle)) == len(cycle) - 1
    assert set(pairwise(cycle)) <= set(edges)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"observed": ["x", "x"]}, "observed lists a name twice"),
        ({"observed": ["x", "other"]}, "'other' has no edge"),
        ({"observed": ["x", "y", "b"]}, "'b' has the child 'y': observed variables are sinks"),
        ({"observed": ["x"]}, "'y' has no children and is not listed as observed"),
        ({"noise_dims": -1}, "noise_dims must be a whole number of at least 0"),
        ({"noise_dims": 0}, "root 'a' has noise_dims=0"),
        ({"noise_dims": {"a": 1}}, "no entry for 'b'"),
        ({"dims": 0}, "dims must be a whole number of at least 1"),
        ({"dims": True}, "got True"),
        ({"dims": {"a": 1, "b": 1, "x": 1, "y": 1, "w": 1}}, "dims names 'w'"),
        ({"grid": (2, 2)}, "has 4 cells, but there are 2 observed"),
        ({"grid": (0, 2)}, "grid side"),
    ],
)
def test_bad_settings_are_refused(kwargs, message):
    with pytest.raises(ValueError, match=message):
        LatentGraph.from_edges([("a", "x"), ("a", "b"), ("b", "y")], **kwargs)


@pytest.mark.parametrize("method", ["parents", "children", "height", "dim", "noise_dim", "ancestors", "position"])
def test_unknown_names_are_refused(method):
    with pytest.raises(ValueError, match="'nobody' is not a variable of this graph; known names: 'z2_0'"):
        getattr(LatentGraph.tree(2, 2), method)("nobody")


def test_observed_fixes_the_order():
    graph = LatentGraph.from_edges([("z", "x1"), ("z", "x2")], observed=["x2", "x1"])
    assert graph.observed == ("x2", "x1")


# ---------------------------------------------------------------------- files


@property_test
@given(graph=graphs(max_latents=8), free=graphs(max_latents=4, free_dims=True))
def test_description_gives_the_graph_back(graph, free):
    for one in (graph, free):
        assert LatentGraph.from_dict(json.loads(json.dumps(one.to_dict()))) == one


ODD_NAMES = st.text(min_size=1, max_size=8).filter(lambda name: not any("\ud800" <= c <= "\udfff" for c in name))


@settings(property_test, max_examples=25)
@given(names=st.lists(ODD_NAMES, unique=True, min_size=4, max_size=4))
def test_files_keep_names_with_any_characters(tmp_path_factory, names):
    path = tmp_path_factory.getbasetemp() / "graph.json"
    top, low, one, other = names
    graph = LatentGraph.from_edges([(top, low), (top, one), (low, other)], noise_dims=2)
    graph.save(path)
    assert LatentGraph.load(path) == graph


@pytest.mark.parametrize("name", ["ζ→ξ", "a\nb", "'\"\\", "\u202e\u0000", "🧠", " ", "x_0, x_1"])
def test_files_keep_awkward_names(tmp_path, name):
    graph = LatentGraph.from_edges([(name, "x1"), (name, "x2")], grid=(1, 2))
    graph.save(tmp_path / "graph.json")
    assert LatentGraph.load(tmp_path / "graph.json") == graph


def test_short_form_reads_hand_written_graphs():
    data = {"edges": [["z", "x1"], ["z", "x2"]], "noise_dims": 2, "grid": [1, 2]}
    assert LatentGraph.from_dict(data) == LatentGraph.from_edges([("z", "x1"), ("z", "x2")], noise_dims=2, grid=(1, 2))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([], "a graph description is a JSON object, got list"),
        ({}, 'expected "edges"'),
        ({"format": "hlvm.graph", "version": 99}, "version 99 is not known"),
        ({"format": "hlvm.graph", "version": 1}, "malformed graph description"),
        ({"format": "hlvm.graph", "version": 1, "nodes": [{"name": "z"}]}, "malformed graph description"),
        ({"edges": "zx"}, "must be a list of"),
        ({"edges": [["z", "x"]], "colour": 1}, "unknown graph fields"),
        ({"edges": [["z", "x"]], "grid": 3}, "grid must be"),
    ],
)
def test_malformed_descriptions_are_refused(data, message):
    with pytest.raises(ValueError, match=message):
        LatentGraph.from_dict(data)


def test_a_node_listed_twice_is_refused():
    data = LatentGraph.tree(2, 1).to_dict()
    data["nodes"].append(data["nodes"][-1])
    with pytest.raises(ValueError, match="a node is listed twice"):
        LatentGraph.from_dict(data)


@pytest.mark.parametrize("content", [b"not json", b"\xff\xfe", b'{"edges": []}'])
def test_load_names_the_file_at_fault(tmp_path, content):
    path = tmp_path / "broken.json"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"broken\.json"):
        LatentGraph.load(path)


def test_load_of_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="nothing"):
        LatentGraph.load(tmp_path / "nothing.json")
