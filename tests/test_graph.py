import copy
import dataclasses
import json
import pickle
import re
from itertools import pairwise, product

import networkx as nx
import numpy as np
import oracles
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import edge_lists, graphs, property_test

from hlvm.graph import (
    LatentGraph,
    diamond,
    overlapping_fields,
    pure_children_chain,
    random_graph,
    two_parent_measurement,
)
from hlvm.masking import Patches

# ---------------------------------------------------------------------- structure


@property_test
@given(graph=graphs(max_latents=8))
def test_nodes_are_in_topological_order_latents_first(graph):
    position = {name: i for i, name in enumerate(graph.nodes)}
    assert all(position[parent] < position[child] for parent, child in graph.edges)
    assert graph.nodes == graph.latents + graph.observed
    assert set(graph.observed) == {name for name in graph.nodes if not graph.children(name)}


@property_test
@given(graph=graphs(max_latents=8))
def test_edge_indices_and_child_indices_match_the_edges(graph):
    parents, children = graph.edge_indices
    assert [(graph.nodes[p], graph.nodes[c]) for p, c in zip(parents, children, strict=True)] == list(graph.edges)
    for node, below in enumerate(graph.child_indices):
        assert below == tuple(c for c, above in enumerate(graph.parent_indices) if node in above)
    with pytest.raises(ValueError, match="read-only"):
        graph.edge_indices[0, 0] = 5


def test_reordered_keeps_topological_orders_only():
    graph = LatentGraph.from_edges([("a", "x"), ("b", "y"), ("b", "c"), ("c", "z")])
    swapped = graph.reordered(["b", "c", "a", "x", "y", "z"])
    assert swapped.nodes == ("b", "c", "a", "x", "y", "z")
    assert sorted(swapped.edges) == sorted(graph.edges)
    for kept in (["c", "b", "a", "x", "y", "z"], ["a", "b", "x", "c", "y", "z"], ["a", "b", "c", "z", "y", "x"]):
        assert graph.reordered(kept) is graph
    with pytest.raises(ValueError, match="expected every name"):
        graph.reordered(["a"])


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


# ---------------------------------------------------------------------- random graphs and other families


@property_test
@given(
    seed=st.integers(0, 2**32 - 1),
    kind=st.sampled_from(["layered", "general"]),
    n_latents=st.integers(1, 9),
    n_observed=st.integers(2, 9),
    max_parents=st.integers(1, 4),
    layers=st.integers(1, 3),
    noise_dims=st.sampled_from([1, (0, 3)]),
    dims=st.sampled_from([None, 2, (1, 4)]),
)
def test_random_graphs_are_as_asked_for(seed, kind, n_latents, n_observed, max_parents, layers, noise_dims, dims):
    layers = min(layers, n_latents)
    asked = {"n_latents": n_latents, "n_observed": n_observed, "max_parents": max_parents, "kind": kind}
    asked |= {"layers": layers, "noise_dims": noise_dims, "dims": dims}
    if kind == "layered" and -(-n_latents // layers) > n_observed * max_parents:
        with pytest.raises(ValueError, match="cannot be children of all"):
            random_graph(seed, **asked)
        return
    graph = random_graph(seed, **asked)
    assert (len(graph.latents), len(graph.observed)) == (n_latents, n_observed)
    assert max(map(len, graph.parent_indices)) <= max_parents
    assert all(graph.children(name) for name in graph.latents)
    assert all(graph.parents(name) for name in graph.observed)
    if kind == "layered":
        assert max(graph.heights) == layers
        assert all(graph.height(parent) == graph.height(child) + 1 for parent, child in graph.edges)
    if dims is None:
        assert graph.invertible_dims_error() is None
    else:
        assert all((dims if isinstance(dims, int) else 1) <= dim <= 4 for dim in graph.dims)
    assert graph == random_graph(seed, **asked)


def test_random_graphs_differ_between_seeds_and_use_up_a_generator():
    asked = {"n_latents": 8, "n_observed": 12}
    generator = np.random.default_rng(5)
    drawn = [random_graph(generator, **asked) for _ in range(3)]
    assert len({*drawn, random_graph(6, **asked)}) == 4
    assert drawn[0] == random_graph(5, **asked)


def test_random_graph_of_a_seed_stays_the_same_between_versions():
    graph = random_graph(0, n_latents=2, n_observed=3)
    assert graph.edges == (("z_0", "z_1"), ("z_0", "x_0"), ("z_0", "x_1"), ("z_1", "x_2"))


@pytest.mark.parametrize(
    ("seed", "kwargs", "message"),
    [
        (-1, {}, "seed must be"),
        (True, {}, "seed must be"),
        ("0", {}, "seed must be"),
        (0, {"n_latents": 0}, "n_latents"),
        (0, {"n_observed": 2.0}, "n_observed"),
        (0, {"max_parents": 0}, "max_parents"),
        (0, {"kind": "other"}, 'kind must be "layered" or "general"'),
        (0, {"kind": "layered", "layers": 5}, "4 latents cannot fill 5 layers"),
        (0, {"kind": "layered", "n_observed": 1, "max_parents": 1}, "cannot be children of all 2 latents above"),
        (0, {"dims": (3, 2)}, "the first number is the least"),
        (0, {"dims": (1, 2, 3)}, r"dims must be a whole number or \(least, most\)"),
        (0, {"dims": 0}, "dims must be a whole number of at least 1"),
        (0, {"noise_dims": (-1, 2)}, "noise_dims must be a whole number of at least 0"),
    ],
)
def test_random_graphs_that_cannot_be_are_refused(seed, kwargs, message):
    with pytest.raises(ValueError, match=message):
        random_graph(seed, **{"n_latents": 4, "n_observed": 4, **kwargs})


@pytest.mark.parametrize(
    ("side", "size", "stride", "height"), [(5, 3, 2, 1), ((4, 6), 2, 1, 2), (10, 4, 2, 2), (6, 2, 2, 1)]
)
def test_overlapping_fields_layout(side, size, stride, height):
    graph = overlapping_fields(side, size=size, stride=stride, height=height)
    rows, columns = side if isinstance(side, tuple) else (side, side)
    assert graph.grid == (rows, columns)
    assert graph.observed == tuple(f"x_{r}_{c}" for r in range(rows) for c in range(columns))
    lowest = {name: name.split("_")[1:] for name in graph.latents if graph.height(name) == 1}
    for r, c in product(range(rows), range(columns)):
        covering = {
            name
            for name, (i, j) in lowest.items()
            if 0 <= r - int(i) * stride < size and 0 <= c - int(j) * stride < size
        }
        assert set(graph.parents(f"x_{r}_{c}")) == covering
        assert covering
    assert set(graph.heights) == set(range(height + 1))
    assert graph.invertible_dims_error() is None
    assert graph.is_tree == (size == stride and len(lowest) == 1)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"side": 6}, "do not cover the 6 variables"),
        ({"side": 2}, "do not cover the 2 variables"),
        ({"side": 5, "height": 3}, "do not cover the 2 variables along a side below level 2"),
        ({"side": 5, "stride": 4}, "stride=4 is larger than size=3"),
        ({"side": 5, "stride": 0}, "stride"),
        ({"side": (5, 5, 5)}, "side must be"),
        ({"side": 5, "height": 0}, "height"),
    ],
)
def test_fields_that_do_not_fit_are_refused(kwargs, message):
    with pytest.raises(ValueError, match=message):
        overlapping_fields(**kwargs)


def test_shapes_of_the_literature():
    chain = pure_children_chain(3, children=2)
    assert chain.is_tree
    assert chain.edges[:2] == (("z_0", "z_1"), ("z_1", "z_2"))
    assert chain.children("z_1") == ("z_2", "x_1_0", "x_1_1")
    assert chain.dims[:3] == (1, 2, 3)

    top = diamond(width=2, children=1)
    assert top.parents("bottom") == ("side_0", "side_1")
    assert top.children("top") == ("side_0", "side_1", "x_top_0")
    assert top.heights[0] == 3
    assert not top.is_tree

    pairs = two_parent_measurement(3, shared=2, children=1)
    assert len(pairs.observed) == 3 * 2 + 3
    assert pairs.parents("x_0_2_1") == ("z_0", "z_2")
    assert pairs.parents("x_1_0") == ("z_1",)
    assert all(not pairs.parents(name) for name in pairs.latents)
    for graph in (chain, top, pairs):
        assert graph.invertible_dims_error() is None


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: pure_children_chain(0), "length"),
        (lambda: pure_children_chain(2, children=0), "children"),
        (lambda: diamond(width=0), "width"),
        (lambda: diamond(root_dim=0), "root_dim"),
        (lambda: two_parent_measurement(1), "n_latents"),
        (lambda: two_parent_measurement(3, shared=0), "shared"),
        (lambda: two_parent_measurement(3, noise_dim=-1), "noise_dim"),
    ],
)
def test_shapes_out_of_range_are_refused(build, message):
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


CELLS = ["p0_0", "p1_0", "p0_1", "p1_1"]
BY_COLUMN = [("z", name) for name in CELLS]


def test_from_edges_places_cells_by_their_names():
    """By halves: the left column first."""
    graph = LatentGraph.from_edges(BY_COLUMN, dims=1, grid=[["p0_0", "p0_1"], ["p1_0", "p1_1"]])
    assert (graph.grid, graph.observed) == ((2, 2), ("p0_0", "p0_1", "p1_0", "p1_1"))
    assert Patches.blocks(graph, (1, 2)).groups == (("p0_0", "p0_1"), ("p1_0", "p1_1"))
    short = {"edges": BY_COLUMN, "dims": 1, "grid": [["p0_0", "p0_1"], ["p1_0", "p1_1"]]}
    assert LatentGraph.from_dict(short) == graph


@pytest.mark.parametrize(
    "names",
    [
        CELLS,
        ["x[0,0]", "x[1,0]", "x[0,1]", "x[1,1]"],
        ["row1col1", "row2col1", "row1col2", "row2col2"],
        ["p00", "p10", "p01", "p11"],
        ["x1", "x3", "x2", "x4"],
        [f"x{column}_{row}" for row in range(2) for column in range(3)],
    ],
)
def test_from_edges_refuses_cells_whose_names_tell_other_places(tmp_path, names):
    size, edges = (2, len(names) // 2), [("z", name) for name in names]
    for order in (None, names):
        with pytest.raises(ValueError, match=rf"'{re.escape(names[1])}' would be in row 0, column 1.*as rows of names"):
            LatentGraph.from_edges(edges, observed=order, grid=size)
    tree = {"names": ["z", *names], "grid": size}
    with pytest.raises(ValueError, match="as rows of names"):
        LatentGraph.from_parents([-1] + [0] * len(names), **tree)
    meant = LatentGraph.from_edges(edges, grid=[names[: size[1]], names[size[1] :]])
    assert (meant.grid, list(meant.observed)) == (size, names)
    for suffix in (".json", ".graphml"):  # files of ours keep their order, whatever the names
        meant.save(tmp_path / f"graph{suffix}")
        assert LatentGraph.load(tmp_path / f"graph{suffix}") == meant


@pytest.mark.parametrize("names", [["a", "b", "c", "d"], ["x1", "x2", "x10", "x11"], ["s1_7", "s1_9", "s2_3", "s2_8"]])
def test_from_edges_fills_a_grid_row_by_row_with_names_of_no_place(names):
    assert LatentGraph.from_edges([("z", name) for name in names], grid=(2, 2)).observed == tuple(names)


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


# ---------------------------------------------------------------------- arrays


@property_test
@given(graph=graphs())
def test_arrays_match_the_tuples(graph):
    arrays = graph.arrays
    assert (arrays.n_latents, arrays.n_nodes) == (len(graph.latents), len(graph.nodes))
    assert list(zip(arrays.parents.tolist(), arrays.children.tolist(), strict=True)) == [
        (parent, child) for child, above in enumerate(graph.parent_indices) for parent in above
    ]
    assert arrays.is_forest == all(len(above) <= 1 for above in graph.parent_indices)
    assert arrays.is_root.tolist() == [not above for above in graph.parent_indices]
    assert arrays.dims.tolist() == list(graph.dims)
    assert arrays.noise_dims.tolist() == list(graph.noise_dims)
    assert arrays.parent_tuples == graph.parent_indices


@property_test
@given(graph=graphs())
def test_levels_hold_every_edge_once_and_children_before_parents(graph):
    n = len(graph.latents)
    for levels, inner in ((graph.arrays.levels, False), (graph.arrays.inner_levels, True)):
        found, settled = [], set(range(n, len(graph.nodes))) if not inner else None
        for level in levels:
            children = np.split(level.children, level.starts[1:])
            assert level.parents[level.place].tolist() == [
                p for p, below in zip(level.parents, children, strict=True) for _ in below
            ]
            widths = set(map(len, children))
            assert level.width == (widths.pop() if len(widths) == 1 else 0)
            np.testing.assert_array_equal(
                level.fold(np.add, level.children + 1), [(below + 1).sum() for below in children]
            )
            for parent, below in zip(level.parents.tolist(), children, strict=True):
                found += [(parent, child) for child in below.tolist()]
                assert settled is None or settled.issuperset(below.tolist())
            if settled is not None:
                settled.update(level.parents.tolist())
        edges = [(p, c) for c, above in enumerate(graph.parent_indices) for p in above if c < n or not inner]
        assert sorted(found) == sorted(edges)


@pytest.mark.parametrize("n", [3, 63, 64, 65, 66, 200])
def test_heights_of_chains_shorter_and_longer_than_the_vectorised_rounds(n):
    graph = LatentGraph.from_parents(np.arange(-1, n - 1))
    assert graph.heights == tuple(range(n - 1, -1, -1))


@pytest.mark.parametrize("width", [2, 16, 17, 40])
def test_level_fold_of_regular_levels_matches_reduceat(width):
    (level,) = LatentGraph.tree(width, 1).arrays.levels
    values = np.random.default_rng(width).integers(0, 9, (width, 3))
    np.testing.assert_array_equal(level.fold(np.add, values), values.sum(axis=0, keepdims=True))
    np.testing.assert_array_equal(level.fold(np.minimum, values[:, 0]), values[:, 0].min(keepdims=True))


def test_graph_made_from_arrays_is_like_any_other():
    lazy = LatentGraph.from_parents([-1, 0, 0, 1, 1, 2, 2], grid=(2, 2))
    assert "nodes" not in vars(lazy), "nothing is written out before it is asked for"
    assert lazy.names_at([0, 3]) == ["z_0", "x_0"]
    named = LatentGraph.from_parents([-1, 0, 0, 1, 1, 2, 2], names=lazy.nodes, grid=(2, 2))
    copies = [pickle.loads(pickle.dumps(lazy)), copy.copy(lazy), copy.deepcopy(lazy), dataclasses.replace(lazy)]
    for twin in (*copies, named, dataclasses.replace(lazy, names=lazy.nodes)):
        assert twin == lazy
        assert hash(twin) == hash(lazy)
        with pytest.raises(ValueError, match="read-only"):
            twin.arrays.dims[0] = 1
    for change in (
        {"grid": None},
        {"names": named.nodes[::-1]},
        {"arrays": LatentGraph.tree([2, 2], noise_dim=2).arrays},
    ):
        assert dataclasses.replace(lazy, **change) != lazy
    assert lazy == LatentGraph.from_edges(
        lazy.edges, noise_dims={**dict.fromkeys(lazy.nodes, 1), "z_0": 2}, grid=(2, 2)
    )
    assert lazy.nodes is lazy.nodes
    with pytest.raises(AttributeError, match="no attribute 'colour'"):
        _ = lazy.colour
    with pytest.raises(dataclasses.FrozenInstanceError):
        lazy.nodes = ()
