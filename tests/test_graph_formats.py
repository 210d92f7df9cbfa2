import io
import json

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import graphs, property_test

from hlvm.graph import LatentGraph, diamond, from_networkx, overlapping_fields, to_networkx

SURROGATES = [chr(code) for code in (0xD800, 0xDFFF)]
ODD_NAMES = st.text(min_size=1, max_size=8).filter(lambda name: not any("\ud800" <= c <= "\udfff" for c in name))
SUFFIXES = (".json", ".graphml")

# ---------------------------------------------------------------------- networkx


@property_test
@given(graph=graphs(max_latents=8), free=graphs(max_latents=4, free_dims=True))
def test_networkx_gives_the_graph_back(graph, free):
    for one in (graph, free):
        assert from_networkx(to_networkx(one)) == one


def test_to_networkx_writes_the_attributes_it_names():
    found = to_networkx(LatentGraph.quadtree(1))
    assert found.graph == {"rows": 2, "columns": 2}
    assert found.nodes["z1_0_0"] == {"dim": 2, "noise_dim": 2, "observed": False}
    assert found.nodes["x_1_1"] == {"dim": 3, "noise_dim": 1, "observed": True}
    assert set(nx.get_edge_attributes(found, "order").values()) == {0}


def test_from_networkx_takes_plain_graphs_and_arguments():
    plain = nx.DiGraph([("b", "x"), ("a", "x"), ("a", "y")])
    assert from_networkx(plain) == LatentGraph.from_edges(plain.edges).reordered(["b", "a", "x", "y"])
    found = from_networkx(plain, dims=2, observed=["y", "x"], grid=(1, 2))
    assert (found.dims, found.observed, found.grid) == ((2, 2, 2, 2), ("y", "x"), (1, 2))
    assert found.parents("x") == ("b", "a")


def test_from_networkx_lets_arguments_win_over_attributes():
    graph = to_networkx(LatentGraph.quadtree(1))
    assert from_networkx(graph, dims=5, noise_dims=1, grid=(1, 4)).dims == (5,) * 5


def _marked(name, **attributes):
    graph = to_networkx(LatentGraph.tree(2, 1))
    graph.nodes[name].update(attributes)
    return graph


def _without(name, attribute):
    graph = to_networkx(LatentGraph.tree(2, 1))
    del graph.nodes[name][attribute]
    return graph


@pytest.mark.parametrize(
    ("graph", "message"),
    [
        (nx.Graph([("z", "x")]), "directed edges"),
        ([("z", "x")], "directed edges"),
        (nx.MultiDiGraph([("z", "x"), ("z", "x")]), "parallel edges"),
        (nx.DiGraph([(0, 1)]), "relabel_nodes"),
        (nx.DiGraph([("z", "z")]), "its own parent"),
        (nx.DiGraph([("a", "b"), ("b", "a"), ("b", "x")]), "cycle: "),
        (nx.empty_graph(["z"], create_using=nx.DiGraph), "'z' has neither parents nor children"),
        (nx.DiGraph(), "at least one edge"),
        (_marked("x_0", observed=False), "'x_0' is marked as not observed but has no children"),
        (_marked("z1_0", observed=True), "'z1_0' is marked as observed but has children"),
        (_marked("x_0", dim="two"), r"dims\['x_0'\] must be a whole number"),
        (_without("x_0", "dim"), "'x_0' has no attribute 'dim'"),
        (nx.DiGraph([("a", "x", {"order": 0}), ("b", "x", {"order": 0})]), "distinct whole numbers"),
        (nx.DiGraph([("z", "x"), ("z", "y")], rows=1), "grid side must be a whole number"),
    ],
)
def test_from_networkx_refuses_what_is_no_latent_graph(graph, message):
    with pytest.raises(ValueError, match=message):
        from_networkx(graph)


# ---------------------------------------------------------------------- files


@settings(property_test, max_examples=25)
@given(graph=graphs(max_latents=6), free=graphs(max_latents=4, free_dims=True))
def test_files_give_the_graph_back(tmp_path_factory, graph, free):
    for one in (graph, free, LatentGraph.quadtree(1)):
        for suffix in SUFFIXES:
            path = tmp_path_factory.getbasetemp() / f"graph{suffix}"
            one.save(path)
            assert LatentGraph.load(path) == one


@settings(property_test, max_examples=40)
@given(names=st.lists(ODD_NAMES, unique=True, min_size=4, max_size=4))
def test_graphml_keeps_names_with_any_characters(tmp_path_factory, names):
    path = tmp_path_factory.getbasetemp() / "names.graphml"
    top, low, one, other = names
    graph = LatentGraph.from_edges([(top, low), (top, one), (low, other)], noise_dims=2)
    graph.save(path)
    assert LatentGraph.load(path) == graph


AWKWARD = [
    "ζ→ξ",
    "a\nb",
    "\r",
    "\r\n",
    "\t",
    "'\"\\",
    "\u202e\u0000",
    "\x01",
    "🧠",
    " ",
    "<&>]]>",
    "\ufffe",
    "n0",
    "x, y",
]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_files_keep_all_awkward_names_together(tmp_path, suffix):
    graph = LatentGraph.from_edges([(AWKWARD[0], name) for name in AWKWARD[1:]], grid=(1, len(AWKWARD) - 1))
    path = tmp_path / f"graph{suffix}"
    graph.save(path)
    assert LatentGraph.load(path) == graph


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("half", SURROGATES)
def test_save_refuses_half_of_a_surrogate_pair(tmp_path, suffix, half):
    graph = LatentGraph.from_edges([("z", f"x{half}"), ("z", "y")])
    with pytest.raises(ValueError, match="half of a surrogate pair"):
        graph.save(tmp_path / f"graph{suffix}")
    assert not list(tmp_path.iterdir())


def test_graphml_of_networkx_alone_is_read(tmp_path):
    path = tmp_path / "plain.GraphML"
    nx.write_graphml(nx.DiGraph([("z", "x"), ("z", "y")]), path)
    assert LatentGraph.load(path) == LatentGraph.from_edges([("z", "x"), ("z", "y")])


def test_graphml_can_be_read_by_networkx_alone(tmp_path):
    graph = diamond()
    graph.save(tmp_path / "graph.graphml")
    found = nx.read_graphml(tmp_path / "graph.graphml")
    assert sorted(found.edges) == sorted(graph.edges)


@pytest.mark.parametrize("name", ["graph", "graph.txt", "graph.json.gz"])
def test_other_suffixes_are_refused(tmp_path, name):
    (tmp_path / name).write_text("{}", encoding="utf-8")
    for call in (LatentGraph.tree(2, 1).save, LatentGraph.load):
        with pytest.raises(ValueError, match=r"must end in \.json or \.graphml"):
            call(tmp_path / name)


XMLNS = 'xmlns="http://graphml.graphdrawing.org/xmlns"'
KEY = '<key id="d0" for="node" attr.name="dim" attr.type="int"/>'
JSON_KEY = '<key id="d0" for="node" attr.name="name_json" attr.type="string"/>'


def graphml(body, head=""):
    return f'<graphml {XMLNS}>{head}<graph edgedefault="directed">{body}</graph></graphml>'


NODES = '<node id="z"/><node id="x"/><edge source="z" target="x"/>'


@pytest.mark.parametrize(
    "content",
    [
        "",
        "not xml",
        "<a/>",
        "<graphml>",
        f"<graphml {XMLNS}></graphml>",
        graphml(""),
        graphml('<node/><node id="x"/><edge source="z" target="x"/>'),
        graphml('<edge source="z"/>'),
        graphml('<node id="z"/><edge source="z"/>'),
        graphml('<node id="z"/><edge source="z" target="x"/>'),
        graphml(NODES + '<node id="z"/>'),
        graphml('<node id="z"><data key="d0">2</data></node>'),
        graphml('<node id="z"><data key="d0">two</data></node><node id="x"/><edge source="z" target="x"/>', KEY),
        graphml('<node id="z"><data key="d0">2</data></node><node id="x"/><edge source="z" target="x"/>', KEY),
        graphml('<node id="z"><data key="d0">"y</data></node><node id="x"/><edge source="z" target="x"/>', JSON_KEY),
        graphml('<node id="z"><data key="d0">"x"</data></node><node id="x"/><edge source="z" target="x"/>', JSON_KEY),
        graphml(NODES + '<edge source="z" target="x"/>'),
        graphml(NODES + '<edge source="x" target="z"/>'),
        graphml(NODES).replace("directed", "undirected"),
        "<?xml version='1.0' encoding='bogus'?><graphml/>",
        b"\xff\xfe\x00",
    ],
)
def test_malformed_graphml_is_refused_in_one_line_naming_the_file(tmp_path, content):
    path = tmp_path / "broken.graphml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ValueError, match=r"^[^\n]*broken\.graphml: [^\n]+$"):
        LatentGraph.load(path)


NAME_KEY = '<key id="d0" for="node" attr.name="{}" attr.type="string"/>'
OF_IGRAPH = "".join(
    f'<node id="{node}"><data key="d0">{name}</data></node>'
    for node, name in (("n0", "shape"), ("n1", "left"), ("n2", 7))
)


@pytest.mark.parametrize("attribute", ["name", "label"])
def test_load_takes_the_names_that_other_programs_write_beside_ids(tmp_path, attribute):
    edges = '<edge source="n0" target="n1"/><edge source="n0" target="n2"/>'
    (tmp_path / "g.graphml").write_text(graphml(OF_IGRAPH + edges, NAME_KEY.format(attribute)))
    assert LatentGraph.load(tmp_path / "g.graphml").edges == (("shape", "left"), ("shape", "7"))
    (tmp_path / "g.graphml").write_text(graphml(OF_IGRAPH + edges, NAME_KEY.format("colour")))
    assert LatentGraph.load(tmp_path / "g.graphml").edges == (("n0", "n1"), ("n0", "n2"))


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        (OF_IGRAPH + '<node id="n3"/>', "'n3' has none"),
        (OF_IGRAPH + '<node id="n3"><data key="d0">left</data></node>', "'n3' has 'left', as 'n1' has"),
    ],
)
def test_load_refuses_names_that_some_nodes_lack_or_share(tmp_path, nodes, message):
    edges = "".join(f'<edge source="n0" target="n{i}"/>' for i in (1, 2, 3))
    (tmp_path / "g.graphml").write_text(graphml(nodes + edges, NAME_KEY.format("name")))
    with pytest.raises(ValueError, match=f"attribute 'name', but {message}.*or remove the attribute"):
        LatentGraph.load(tmp_path / "g.graphml")


FULL = LatentGraph.tree(2, 1).to_dict()
ROW = FULL["nodes"][0]


@pytest.mark.parametrize(
    "data",
    [
        5,
        None,
        "text",
        {"edges": 5},
        {"edges": None},
        {"edges": {"z": "x"}},
        {"edges": [["z", "x"]], "observed": 5},
        {"edges": [["z", "x"]], "observed": "x"},
        {"edges": [["z", "x"]], "observed": [["x"]]},
        {"edges": [["z", "x"]], "observed": {"x": 1}},
        {"edges": [["z", "x"]], "dims": [1, 1]},
        {"edges": [["z", "x"]], "dims": 1.5},
        {"edges": [["z", "x"]], "dims": {"z": 1, "x": None}},
        {"edges": [["z", "x"]], "noise_dims": "many"},
        {"edges": [["z", "x"]], "grid": "ab"},
        {"edges": [["z", "x"]], "grid": [1, 1, 1]},
        {"edges": [["z", "x"]], "grid": {"0": 1, "1": 1}},
        {"edges": [["z", "x"], ["z", "x"]]},
        {"edges": [["z", "x"], ["x", "z"]]},
        {"edges": [["z", ["x"]]]},
        {"edges": [{"z": "x"}]},
        {"edges": [["z", "x"]], "\ncolour": 1},
        {**FULL, "colour": 1},
        {**FULL, "version": [1]},
        {**FULL, "nodes": None},
        {**FULL, "nodes": {}},
        {**FULL, "nodes": [5]},
        {**FULL, "nodes": [[*FULL["nodes"]]]},
        {**FULL, "nodes": [*FULL["nodes"], ROW]},
        {**FULL, "nodes": [*FULL["nodes"], {**ROW, "name": "w"}]},
        {**FULL, "nodes": [{**ROW, "colour": 1}, *FULL["nodes"][1:]]},
        {**FULL, "nodes": [{**ROW, "name": ["z"]}, *FULL["nodes"][1:]]},
        {**FULL, "nodes": [{**ROW, "parents": "x_0"}, *FULL["nodes"][1:]]},
        {**FULL, "nodes": [{**ROW, "parents": [["x_0"]]}, *FULL["nodes"][1:]]},
        {**FULL, "nodes": [{**ROW, "parents": ["x_0"]}, *FULL["nodes"][1:]]},
        {**FULL, "nodes": [{**ROW, "dim": "2"}, *FULL["nodes"][1:]]},
        {**FULL, "nodes": FULL["nodes"][1:]},
        {**FULL, "grid": 5},
        {**FULL, "grid": [2, 2]},
    ],
    ids=lambda data: json.dumps(data)[:40],
)
def test_malformed_json_graphs_are_refused_in_one_line_naming_the_file(tmp_path, data):
    path = tmp_path / "broken.json"
    path.write_text(json.dumps(data), encoding="utf-8")
    with pytest.raises(ValueError, match=r"^[^\n]*broken\.json: [^\n]+$"):
        LatentGraph.load(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[" * 100_000, "is not a JSON graph file"),
        (b"1" * 5_000, "is not a JSON graph file"),
        (b"", "is not a JSON graph file"),
        (b'{"edges": [["z", "x"]], "edges": []}', "'edges' is given twice"),
        (b'{"edges": [["z", "x"]], "dims": NaN}', "dims must be a whole number"),
    ],
    ids=["deep", "long number", "empty", "repeated key", "NaN"],
)
def test_odd_json_is_refused_in_one_line_naming_the_file(tmp_path, content, message):
    path = tmp_path / "broken.json"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"^[^\n]*broken\.json[^\n]*{message}[^\n]*$"):
        LatentGraph.load(path)


@settings(property_test, max_examples=100)
@given(content=st.binary(max_size=60) | st.text(alphabet='{}[]",:edgs1 \n<>/', max_size=40).map(str.encode))
def test_load_never_fails_in_another_way(tmp_path_factory, content):
    for suffix in SUFFIXES:
        path = tmp_path_factory.getbasetemp() / f"fuzz{suffix}"
        path.write_bytes(content)
        with pytest.raises(ValueError, match=f"fuzz{suffix}"):
            LatentGraph.load(path)


# ---------------------------------------------------------------------- arrays of parents


@property_test
@given(graph=graphs(max_latents=8, kind="tree"))
def test_from_parents_matches_from_edges(graph):
    parents = [above[0] if above else -1 for above in graph.parent_indices]
    found = LatentGraph.from_parents(parents, names=graph.nodes, root_dim=3, noise_dim=2)
    noise_dims = {name: 2 if graph.parents(name) else 3 for name in graph.nodes}
    expected = LatentGraph.from_edges(graph.edges, noise_dims=noise_dims, observed=graph.observed)
    assert found == expected.reordered(graph.nodes)


def test_from_parents_takes_deep_chains():
    n = 3_000
    graph = LatentGraph.from_parents(np.arange(-1, n - 1), root_dim=1)
    assert graph.dims == tuple(range(1, n + 1))
    assert graph.heights[0] == n - 1


@pytest.mark.parametrize(
    ("parents", "kwargs", "message"),
    [
        ([], {}, "one whole number per node"),
        ([-1.0, 0.0], {}, "float64"),
        ([[-1, 0]], {}, "shape"),
        ([-1, 1], {}, "the parent of node 1 is 1"),
        ([-1, 0, -2], {}, "the parent of node 2 is -2"),
        ([-1, 0, 0, 2], {}, "node 1 has no children but comes before"),
        ([-1, 0, -1], {}, "node 2 has neither parent nor children"),
        ([-1, 0], {"names": ["z"]}, "1 names for 2 nodes"),
        ([-1, 0], {"names": ["z", "z"]}, "'z' twice"),
        ([-1, 0], {"names": ["z", 1]}, "non-empty string, got 1"),
        ([-1, 0], {"names": "zx"}, "1 names for 2 nodes"),
        ([-1, 0], {"root_dim": 0}, "root_dim"),
        ([-1, 0], {"noise_dim": -1}, "noise_dim"),
        ([-1, 0], {"grid": (1, 2)}, "grid"),
    ],
)
def test_from_parents_refuses_bad_arrays(parents, kwargs, message):
    with pytest.raises(ValueError, match=message):
        LatentGraph.from_parents(parents, **kwargs)


def test_save_writes_the_same_bytes_each_time(tmp_path):
    for suffix in SUFFIXES:
        for name in ("one", "other"):
            diamond().save(tmp_path / f"{name}{suffix}")
        assert (tmp_path / f"one{suffix}").read_bytes() == (tmp_path / f"other{suffix}").read_bytes()


def test_graphml_in_memory_is_what_networkx_would_write():
    graph = overlapping_fields(3)
    buffer = io.BytesIO()
    nx.write_graphml_xml(to_networkx(graph), buffer)
    assert from_networkx(nx.read_graphml(io.BytesIO(buffer.getvalue()))) == graph


def test_large_graph_survives_a_round_trip_through_a_file(tmp_path):
    """At 22,000 variables; work that grows with their square would take minutes."""
    graph = LatentGraph.quadtree(7)
    graph.save(tmp_path / "large.json")
    assert LatentGraph.load(tmp_path / "large.json") == graph
