"""``hlvm graph``: the file holds what the package builds, and bad input is one line."""

import inspect

import pytest

from hlvm.cli.graph import _BUILDERS, graph
from hlvm.graph import (
    LatentGraph,
    diamond,
    overlapping_fields,
    pure_children_chain,
    random_graph,
    two_parent_measurement,
)

CASES = [
    ("quadtree --height 2", LatentGraph.quadtree(2)),
    ("quadtree --height 1 --root-dim 3 --noise-dim 2", LatentGraph.quadtree(1, root_dim=3, noise_dim=2)),
    ("tree --branching 2 3", LatentGraph.tree([2, 3])),
    ("tree --branching 3 --height 2 --root-dim 1 --noise-dim 0", LatentGraph.tree(3, 2, root_dim=1, noise_dim=0)),
    ("tree --branching 4", LatentGraph.tree([4])),
    ("overlapping-fields --side 5 7 --noise-dims 2", overlapping_fields((5, 7), noise_dims=2)),
    (
        "overlapping-fields --side 5 --size 2 --stride 1 --height 2 --dims 3",
        overlapping_fields(5, size=2, stride=1, height=2, dims=3),
    ),
    ("pure-children-chain --length 3 --children 1", pure_children_chain(3, children=1)),
    ("diamond", diamond()),
    ("two-parent-measurement --n-latents 4 --shared 2", two_parent_measurement(4, shared=2)),
    ("random-graph --n-latents 4 --n-observed 6", random_graph(0, n_latents=4, n_observed=6)),
    (
        "random-graph --n-latents 6 --n-observed 9 --kind layered --layers 3 --max-parents 3 --noise-dims 1 3 "
        "--dims 2 4 --seed 7",
        random_graph(
            7, n_latents=6, n_observed=9, kind="layered", layers=3, max_parents=3, noise_dims=(1, 3), dims=(2, 4)
        ),
    ),
]


@pytest.mark.parametrize(("line", "expected"), CASES, ids=[line for line, _ in CASES])
@pytest.mark.parametrize("suffix", [".json", ".graphml"])
def test_graph_writes_what_the_package_builds(run, tmp_path, line, expected, suffix):
    code, out, err = run("graph", *line.split(), "--out", "{new}/g" + suffix)
    assert (code, err) == (0, "")
    assert LatentGraph.load(tmp_path / f"g{suffix}") == expected
    assert f"{len(expected.edges)} edges" in out


def test_graph_prints_one_line_per_height(run):
    out = run("graph", "quadtree", "--height", "2", "--out", "{new}/g.json")[1]
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in out.splitlines() if line.startswith("│")]
    assert rows == [
        ["2", "1 latent", "2", "2"],
        ["1", "4 latents", "3", "1"],
        ["0", "16 observed on a 4 x 4 grid", "4", "1"],
    ]


def test_help_names_every_builder_with_its_options():
    words = " ".join(inspect.getdoc(graph).split())
    for name, make in _BUILDERS.items():
        options = {f"--{argument.replace('_', '-')}" for argument in inspect.signature(make).parameters}
        listed = words.partition(f" {name} (")[2].partition(")")[0]
        assert set(listed.split(", ")) == options, name


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("oak --out {new}/g.json", "BUILDER must be one of quadtree, tree, overlapping-fields"),
        ("quadtree --out {new}/g.json", "quadtree needs --height"),
        ("random-graph --n-latents 3 --out {new}/g.json", "random-graph needs --n-observed"),
        ("diamond --side 3 --out {new}/g.json", "--side does not go with diamond, which takes --width, --children"),
        ("quadtree --height 0 --out {new}/g.json", "--height must be a whole number of at least 1, got 0"),
        ("quadtree --height 2 --out {new}/g.txt", "must end in .json or .graphml"),
        ("quadtree --height 2 --out tree.json", "tree.json exists already: choose another name"),
        ("quadtree --height 30 --out {new}/g.json", "this tree would have more than"),
        ("overlapping-fields --side 4 --out {new}/g.json", "do not cover the 4 variables along a side"),
        ("overlapping-fields --side 5 --dims 1 2 --out {new}/g.json", "--dims is one number with overlapping-fields"),
        ("random-graph --n-latents 3 --n-observed 3 --seed -1 --out {new}/g.json", "--seed must be"),
        ("random-graph --n-latents 3 --n-observed 3 --kind odd --out {new}/g.json", "got 'odd'"),
        ("tree --branching 2 3 --height 3 --out {new}/g.json", "but branching lists 2 levels"),
    ],
)
def test_bad_input_is_one_line(refused, line, message):
    refused(f"graph {line}", message)
