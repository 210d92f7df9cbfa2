"""Figures draw what they are given: all of it, once, and so that it can be read."""

import dataclasses
import math
import re
from collections import Counter
from functools import cache
from itertools import combinations, pairwise

import jax
import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import PatchCollection, PathCollection
from matplotlib.colors import to_hex, to_rgb
from matplotlib.patches import PathPatch
from matplotlib.text import Annotation, Text

from hlvm import plotting
from hlvm.claims import Claim, interval_claim, no, yes
from hlvm.graph import LatentGraph, diamond, overlapping_fields, pure_children_chain, random_graph
from hlvm.masking import RandomMask
from hlvm.plotting import COLORS
from hlvm.plotting.labels import fitting, shortened, text_width
from hlvm.plotting.layered_layout import layered_layout
from hlvm.report import Section, Table, claim_table, write_html
from hlvm.scoring import Interval, score_by_height
from hlvm.theory import level_profile, shared_information

LOOKS = {
    "frontier": "in c, frontier",
    "member": "in c, above the frontier",
    "outside": "latent, not in c",
    "masked": "masked",
    "visible": "visible",
}
OTHER_CUT = "other least cut, nearest\nthe visible part"


@pytest.fixture(autouse=True)
def no_figure_in_pyplot():
    yield
    assert plt.get_fignums() == []


def random_case(seed, n_latents, n_observed, *, ratio=0.2, regime="invertible", **options):
    options = {"kind": "general", **options}
    graph = random_graph(seed, n_latents=n_latents, n_observed=n_observed, **options)
    mask = np.random.default_rng(seed).random(n_observed) < ratio
    mask[0], mask[-1] = True, False
    return graph, mask, regime


def masked_case(graph, ratio=0.2, seed=0):
    mask = np.random.default_rng(seed).random(len(graph.observed)) < ratio
    mask[0], mask[-1] = True, False
    return graph, mask, "invertible"


def first_ambiguous(n_latents, n_observed):
    """A case whose least cut is not unique; about one random graph in ten has one."""
    for seed in range(200):
        graph, mask, _ = random_case(seed, n_latents, n_observed, ratio=0.4, dims=1)
        found = shared_information(graph, mask, regime="general")
        if not found.unique and len(found.near_masked & found.near_visible) and len(found.near_visible) > 2:
            return graph, mask, "general"
    raise AssertionError("no ambiguous case among these seeds")


FIVE = LatentGraph.from_edges([("z1", "z2"), ("z1", "x1"), ("z2", "x2"), ("z2", "x3")])
LONG = "a very long name of a latent variable, really"
ODD = LatentGraph.from_edges(
    [("$z_1$", LONG), ("$z_1$", "x\n1"), (LONG, LONG + " 1"), (LONG, LONG + " 2"), ("$z_1$", "$\\frac{$"), (LONG, "_")]
)
CASES = {
    "five": lambda: masked_case(FIVE),
    "odd names": lambda: masked_case(ODD),
    "diamond": lambda: masked_case(diamond()),
    "quadtree 21": lambda: masked_case(LatentGraph.quadtree(2)),
    "quadtree 85": lambda: masked_case(LatentGraph.quadtree(3)),
    "general 80": lambda: random_case(2, 30, 50),
    "chain of 24": lambda: masked_case(pure_children_chain(24)),
    "ambiguous": lambda: first_ambiguous(7, 8),
    "quadtree 341": lambda: masked_case(LatentGraph.quadtree(4), 0.05),
    "quadtree 1365": lambda: masked_case(LatentGraph.quadtree(5), 0.05),
    "layered 500": lambda: random_case(1, 200, 300, ratio=0.03, kind="layered", layers=5),
    "ambiguous 500": lambda: random_case(1, 200, 300, ratio=0.1, dims=1, regime="general"),
    "chain of 60": lambda: masked_case(pure_children_chain(60)),
    "chain of 150": lambda: masked_case(pure_children_chain(150, children=1)),
    "wide": lambda: masked_case(LatentGraph.tree(400, 1)),
    "fields": lambda: masked_case(overlapping_fields(15, height=3), 0.02),
}
SMALL = list(CASES)[:8]
LARGE = list(CASES)[8:]


@cache
def drawn(name):
    """A case with its figure, which tests only read."""
    graph, mask, regime = CASES[name]()
    shared = shared_information(graph, mask, regime=regime)
    return graph, mask, shared, plotting.plot_graph(graph, masked=mask, shared=shared, title=name)


def expected_roles(graph, mask, shared):
    """What every variable is, by name."""
    roles = {name: "masked" if out else "visible" for name, out in zip(graph.observed, mask, strict=True)}
    for name in graph.latents:
        roles[name] = "frontier" if name in shared.frontier else "member" if name in shared.members else "outside"
    return roles


@cache
def texts(figure):
    """Everything written in a figure that can be seen, with its box in pixels."""
    figure.draw_without_rendering()
    seen = [t for t in figure.findobj(Text) if t.get_visible() and t.get_text().strip()]
    return [(t.get_text(), t.get_window_extent()) for t in seen]


def overlaps(figure):
    """Pairs of texts that cover each other by more than a pixel."""
    found = []
    for (one, a), (other, b) in combinations(texts(figure), 2):
        if min(a.x1, b.x1) - max(a.x0, b.x0) > 1 and min(a.y1, b.y1) - max(a.y0, b.y0) > 1:
            found.append((one, other))
    return found


def hanging_over(figure):
    """Texts that leave the figure."""
    box = figure.bbox
    return [
        text
        for text, b in texts(figure)
        if b.x0 < box.x0 - 1 or b.x1 > box.x1 + 1 or b.y0 < box.y0 - 1 or b.y1 > box.y1 + 1
    ]


def nodes(figure):
    """Places of the nodes by legend label, as sets of rounded points."""
    return {
        c.get_label(): {tuple(np.round(p, 6)) for p in c.get_offsets().tolist()}
        for c in figure.axes[0].collections
        if isinstance(c, PathCollection)
    }


def places(graph):
    """Where the layout puts every variable."""
    return {
        name: (round(x, 6), float(height))
        for name, x, height in zip(graph.nodes, layered_layout(graph).x.tolist(), graph.heights, strict=True)
    }


def legend_labels(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


# ---------------------------------------------------------------------- graphs


@pytest.mark.parametrize("case", CASES)
def test_plot_graph_can_be_read(case):
    *_, figure = drawn(case)
    assert overlaps(figure) == []
    assert hanging_over(figure) == []
    legend = figure.legends[0].get_window_extent()
    assert not any(legend.overlaps(ax.get_window_extent()) for ax in figure.axes)
    width, height = figure.get_size_inches()
    assert width < 14
    assert height < 14


@pytest.mark.parametrize("case", SMALL)
def test_plot_graph_draws_every_variable_in_its_role(case):
    graph, mask, shared, figure = drawn(case)
    at, roles = places(graph), expected_roles(graph, mask, shared)
    found = nodes(figure)
    for role, label in LOOKS.items():
        assert found.get(label, set()) == {at[name] for name in graph.nodes if roles[name] == role}
    second = found.get(OTHER_CUT, set())
    assert second == (set() if shared.unique else {at[name] for name in shared.near_visible})
    assert set(legend_labels(figure)) == set(found)


def test_plot_graph_tells_roles_apart_without_colour():
    graph = LatentGraph.quadtree(2)
    masked = ["x_0_0", "x_1_1"]
    figure = plotting.plot_graph(graph, masked=masked, shared=shared_information(graph, masked))
    drawn_as = [c for c in figure.axes[0].collections if isinstance(c, PathCollection)]
    shapes = {(c.get_paths()[0].vertices.tobytes(), round(c.get_sizes()[0])) for c in drawn_as}
    assert len(shapes) == len(drawn_as) == 5
    _, _, _, figure = drawn("quadtree 341")
    hatches = {box.get_hatch() for box in figure.legends[0].get_patches()}
    assert len(hatches) == 3  # frontier, masked, and none for what a white, an orange and a dark box tell apart


@pytest.mark.parametrize("case", ["diamond", "general 80", "ambiguous"])
def test_plot_graph_draws_nothing_across_a_name(case):
    graph, mask, regime = CASES[case]()
    figure = plotting.plot_graph(graph, masked=mask, shared=shared_information(graph, mask, regime=regime))
    names = [text for text in figure.axes[0].texts if text.get_text()]
    for name in names:
        name.set_color((1, 1, 1, 0))  # so that what remains there is something else
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    picture = np.asarray(canvas.buffer_rgba())[::-1, :, :3]
    assert len(names) > 10
    for name in names:
        box = Text.get_window_extent(name)
        inside = picture[int(box.y0) + 1 : int(box.y1), int(box.x0) + 1 : int(box.x1)]
        assert inside.size
        assert (inside == 255).all(), name.get_text()


@pytest.mark.parametrize("case", ["five", "quadtree 85", "ambiguous"])
def test_plot_graph_writes_every_name_where_there_is_room(case):
    graph, *_, figure = drawn(case)
    names = {a.get_text(): tuple(np.round(a.xy, 6)) for a in figure.axes[0].texts if isinstance(a, Annotation)}
    assert names == places(graph)


def test_plot_graph_writes_names_as_they_are_and_shortens_long_ones():
    *_, figure = drawn("odd names")
    written = {a.get_text(): a for a in figure.axes[0].texts}
    assert {"$z_1$", "$\\frac{$", "_", "x\N{MIDDLE DOT}1"} <= set(written)
    assert not any(a.get_parse_math() for a in written.values())
    long = [name for name in written if name.startswith("a very")]
    assert len(long) == 3
    assert all("…" in name for name in long)


def test_plot_graph_keeps_dollars_in_titles(tmp_path):
    figure = plotting.plot_graph(FIVE, title="$\\frac{$ and $x_1$")
    plotting.save_figure(figure, tmp_path / "graph.svg")
    assert "$\\frac{$ and $x_1$" in (tmp_path / "graph.svg").read_text()


def test_plot_graph_of_no_mask_draws_two_kinds():
    figure = plotting.plot_graph(LatentGraph.quadtree(2))
    assert {label: len(points) for label, points in nodes(figure).items()} == {"latent": 5, "observed": 16}
    assert len(figure.axes) == 1  # no maps without a mask
    assert legend_labels(plotting.plot_graph(LatentGraph.quadtree(4)))[:2] == ["latent", "observed"]


@pytest.mark.parametrize(("n_nodes", "limit", "axes"), [(21, 21, 1), (21, 20, 2), (21, 0, 2)])
def test_plot_graph_draws_up_to_max_nodes_one_by_one(n_nodes, limit, axes):
    graph = LatentGraph.tree(4, 2)
    assert len(graph.nodes) == n_nodes
    assert len(plotting.plot_graph(graph, max_nodes=limit).axes) == axes


def test_plot_graph_draws_deep_and_dense_graphs_by_height():
    deep = pure_children_chain(25, children=1)
    dense = LatentGraph.from_edges([(f"z{i}", f"x{j}") for i in range(20) for j in range(20)])
    assert [len(plotting.plot_graph(graph).axes) for graph in (deep, dense)] == [2, 2]


# ---------------------------------------------------------------------- layout


@pytest.mark.parametrize("graph", [FIVE, LatentGraph.quadtree(3), LatentGraph.tree(3, 3)], ids=str)
def test_layered_layout_of_trees_has_no_crossings_and_centred_parents(graph):
    layout = layered_layout(graph)
    assert layout.crossings == 0
    if min(graph.heights[graph.position(c)] - graph.heights[graph.position(p)] for p, c in graph.edges) == -1:
        for name in graph.latents:
            below = [layout.x[graph.position(child)] for child in graph.children(name)]
            assert layout.x[graph.position(name)] == pytest.approx(np.mean(below), abs=1e-3)


@pytest.mark.parametrize("seed", range(8))
def test_layered_layout_keeps_edges_and_variables_apart(seed):
    graph, _, _ = random_case(seed, 12, 14, max_parents=3)
    layout = layered_layout(graph)
    heights = np.asarray(graph.heights)
    for height in range(heights.max() + 1):
        row = np.sort(layout.x[heights == height])
        assert (np.diff(row) > 1 - 1e-9).all()
    for line, (parent, child) in zip(layout.lines, graph.edges, strict=True):
        ends = [(layout.x[graph.position(name)], graph.height(name)) for name in (parent, child)]
        np.testing.assert_allclose(line[[0, -1]], ends)
        for x, height in line[1:-1]:  # bends lie beside the variables of their row
            assert np.abs(layout.x[heights == height] - x).min() > 0.6


@pytest.mark.parametrize("seed", range(8))
def test_layered_layout_counts_crossings_and_has_fewer_than_the_given_order(seed):
    graph, _, _ = random_case(seed, 10, 12, kind="layered", layers=2)
    layout = layered_layout(graph)
    assert layout.crossings == crossings(graph, layout.x)
    assert layout.crossings <= crossings(graph, np.arange(len(graph.nodes)))


def crossings(graph, x):
    """Pairs of edges that cross, where every edge joins neighbouring rows."""
    steps = [(graph.height(p), x[graph.position(p)], x[graph.position(c)]) for p, c in graph.edges]
    return sum(a == d and (b - e) * (c - f) < 0 for (a, b, c), (d, e, f) in combinations(steps, 2))


def test_layered_layout_keeps_latents_over_the_same_children_apart():
    graph = LatentGraph.from_edges([("a", "x"), ("b", "x"), ("a", "y"), ("b", "y"), ("c", "x"), ("c", "y")])
    x = layered_layout(graph).x
    assert sorted(np.diff(np.sort(x[:3]))) == pytest.approx([1, 1])
    assert x[:3].mean() == pytest.approx(x[3:].mean())  # centred over their children


# ---------------------------------------------------------------------- names


def test_shortened_keeps_to_the_width_and_to_both_ends():
    name = "z_" + "0123456789" * 4 + "_end"
    for width in (0.5, 1.0, 1.5):
        cut = shortened(name, width, 8.0)
        assert text_width(cut, 8.0) <= width
        assert cut.count("…") == 1
        assert cut.startswith("z_")
        assert cut.endswith("d")
    assert shortened(name, 9.0, 8.0) == name
    assert shortened(name, 0.1, 8.0) == ""


def test_fitting_tells_names_apart():
    names = [f"{letter}_same_middle_and_end" for letter in "abcd"]
    assert len(set(fitting(names, [0.6] * 4, 8.0))) == 4
    inside = [f"beginning_{letter}_and_end" for letter in "abcd"]
    assert fitting(inside, [0.6] * 4, 8.0) == [""] * 4  # better no name than the same one four times


# ---------------------------------------------------------------------- graphs by height


def table(figure):
    """The numbers beside the bars: ``(row, column, number)``, columns from left to right."""
    cells = [t for t in figure.axes[1].texts if not isinstance(t, Annotation)]
    columns = sorted({round(t.get_position()[0], 6) for t in cells})
    return {
        (round(t.get_position()[1]), columns.index(round(t.get_position()[0], 6))): int(t.get_text().replace(",", ""))
        for t in cells
    }


@pytest.mark.parametrize("case", LARGE)
def test_plot_graph_by_height_counts_every_variable(case):
    graph, mask, shared, figure = drawn(case)
    roles = expected_roles(graph, mask, shared)
    per_row = -(-max(graph.heights) // 63)
    rows = {name: -(-graph.height(name) // per_row) for name in graph.nodes}
    counts = Counter((rows[name], roles[name]) for name in graph.nodes)
    upper = [role for role in ("frontier", "member", "outside") if role in roles.values()]
    expected = {(row, 0): n for row, n in Counter(rows.values()).items()}
    for row in range(1, max(rows.values()) + 1):
        columns = [counts[row, role] for role in upper]
        if not shared.unique:
            columns.append(sum(rows[name] == row for name in shared.near_visible))
        expected |= {(row, i): n for i, n in enumerate(columns, start=1)} if len(columns) > 1 else {}
    expected |= {(0, 1): counts[0, "masked"], (0, 2): counts[0, "visible"]}
    assert table(figure) == expected
    assert len(figure.axes[0].get_yticklabels()) == max(rows.values()) + 1 <= 64


@pytest.mark.parametrize("case", LARGE)
def test_plot_graph_by_height_draws_bars_in_proportion(case):
    graph, mask, shared, figure = drawn(case)
    roles = expected_roles(graph, mask, shared)
    labels = {bars.get_label(): bars for bars in figure.axes[1].containers}
    assert set(labels) == {LOOKS[role] for role in roles.values()} | (set() if shared.unique else {OTHER_CUT})
    assert set(labels) <= set(legend_labels(figure))
    widths = Counter()
    for label, bars in labels.items():
        for bar in bars:
            assert bar.get_width() > 0.01  # even one of many is seen
            widths[round(bar.get_y() + bar.get_height() / 2)] += bar.get_width() * (label != OTHER_CUT)
    assert all(width == pytest.approx(1) for width in widths.values())
    masked = next(iter(labels["masked"]))
    assert masked.get_width() == pytest.approx(max(mask.mean(), 0.012), abs=0.01)


@pytest.mark.parametrize("case", ["layered 500", "ambiguous 500", "chain of 60"])
def test_plot_graph_by_height_draws_an_edge_band_per_pair_of_heights(case):
    graph, *_, figure = drawn(case)
    expected = Counter((graph.height(parent), graph.height(child)) for parent, child in graph.edges)
    bands = {}
    for patch in figure.axes[0].patches:
        assert isinstance(patch, PathPatch)
        (_, upper), *_, (_, lower) = patch.get_path().vertices.tolist()
        bands[upper, lower] = patch.get_linewidth()
    assert set(bands) == set(expected)
    ordered = sorted(expected, key=lambda pair: expected[pair])
    for few, many in pairwise(ordered):
        assert (bands[few] < bands[many]) == (expected[few] < expected[many])


def test_plot_graph_of_5000_variables_draws_few_artists():
    graph, mask, regime = random_case(2, 2000, 3000, ratio=0.01, dims=1, regime="general")
    shared = shared_information(graph, mask, regime=regime)
    figure = plotting.plot_graph(graph, masked=mask, shared=shared)
    assert len(figure.findobj()) < 1500
    assert overlaps(figure) == []


# ---------------------------------------------------------------------- maps


def test_plot_grid_colours_cells_by_the_latents_above():
    graph, mask, _ = CASES["fields"]()
    shared = shared_information(graph, mask)
    figure = plotting.plot_grid(graph, masked=mask, shared=shared, title="t")
    assert [ax.get_title() for ax in figure.axes] == ["mask", "height 1", "height 2", "height 3"]
    roles = expected_roles(graph, mask, shared)
    order = ["outside", "member", "frontier"]
    faces = {text: to_hex(box.get_facecolor()) for text, box in _legend_boxes(figure)}
    for height, ax in enumerate(figure.axes):
        image = ax.images[0]
        shown = image.cmap(image.norm(image.get_array()))
        for cell, name in enumerate(graph.observed):
            row, column = divmod(cell, graph.grid[1])
            above = [roles[a] for a in graph.ancestors(name) if graph.height(a) == height]
            role = max(above, key=order.index) if height else roles[name]
            assert to_hex(shown[row, column]) == faces[LOOKS[role]]
    assert overlaps(figure) == []
    assert hanging_over(figure) == []


def _legend_boxes(figure):
    legend = figure.legends[0]
    return zip(legend_labels(figure), legend.get_patches(), strict=True)


def test_plot_grid_marks_cells_without_a_latent_of_a_height():
    graph = LatentGraph.from_edges([("a", "b"), ("b", "x0"), ("b", "x1"), ("c", "x1"), ("c", "x2")], grid=(1, 3))
    figure = plotting.plot_grid(graph, masked=["x0"])
    assert legend_labels(figure) == ["latent", "masked", "visible", "no latent of this height"]
    blank = [ax.images[0].get_array().ravel() < 0 for ax in figure.axes]
    np.testing.assert_array_equal(blank, [[False] * 3, [False] * 3, [False, False, True]])


def test_plot_graph_with_a_mask_on_a_grid_adds_the_maps():
    *_, figure = drawn("quadtree 21")
    assert [ax.get_title() for ax in figure.axes[1:]] == ["mask", "height 1", "height 2"]


# ---------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"masked": ["z1"]}, "z1"),
        ({"masked": ["nothing"]}, "nothing"),
        ({"masked": FIVE.observed}, "everything is masked"),
        ({"masked": np.zeros(3, dtype=bool)}, "nothing is masked"),
        ({"masked": np.zeros(2, dtype=bool)}, "shape"),
        ({"max_nodes": -1}, "max_nodes"),
        ({"max_nodes": 2.5}, "max_nodes"),
        ({"shared": shared_information(LatentGraph.tree(2, 2), ["x_0"])}, "no latent of this graph"),
    ],
)
def test_plot_graph_refuses_what_does_not_fit(options, message):
    with pytest.raises(ValueError, match=message):
        plotting.plot_graph(FIVE, **options)


def test_plot_grid_refuses_a_graph_without_grid():
    with pytest.raises(ValueError, match="no grid"):
        plotting.plot_grid(FIVE, masked=["x1"])


# ---------------------------------------------------------------------- images


@pytest.mark.parametrize("channels", [1, 3])
def test_plot_picture_shows_every_pixel(channels):
    picture = np.random.default_rng(0).random((5, 7, channels))
    axes = plotting.plot_picture(picture, title="A picture").axes[0]
    assert np.array_equal(axes.images[0].get_array(), picture.squeeze())
    assert axes.get_title() == "A picture"


# ---------------------------------------------------------------------- level profiles


RATIOS = (0.1, 0.5, 0.9)


def panels(figure):
    """Axes with a heat map and a title."""
    return [ax for ax in figure.axes if ax.get_title()]


def at(ratios):
    return [RandomMask(ratio=ratio) for ratio in ratios]


def profile_of(share, ratios=RATIOS, heights=None):
    """A level profile with these shares, (ratios, heights)."""
    any_profile = level_profile(LatentGraph.quadtree(1), at([0.5]))
    heights = np.arange(share.shape[1]) + 1 if heights is None else np.asarray(heights)
    return dataclasses.replace(any_profile, share=share, masked_share=np.asarray(ratios), heights=heights)


def profiles_of(n_units, n_ratios, n_heights):
    share = np.random.default_rng(0).uniform(0.02, 0.98, (n_units, n_ratios, n_heights))
    ratios = np.linspace(0.0123, 0.9876, n_ratios)
    return {f"{2**i} x {2**i}": profile_of(each, ratios) for i, each in enumerate(share)}


def test_plot_level_profile_draws_one_panel_per_height_highest_first():
    profiles = profiles_of(2, 3, 2)
    figure = plotting.plot_level_profile(profiles)
    assert [ax.get_title() for ax in panels(figure)] == ["height 2", "height 1"]
    for ax, column in zip(panels(figure), (1, 0), strict=True):
        np.testing.assert_array_equal(ax.images[0].get_array(), [each.share[:, column] for each in profiles.values()])
    (ax,) = panels(plotting.plot_level_profile(profiles, height=1))
    assert ax.get_title() == "height 1"


def test_plot_level_profile_draws_one_panel_per_unit_highest_on_top():
    profiles = profiles_of(2, 3, 3)
    figure = plotting.plot_level_profile(profiles, panels="unit")
    assert [ax.get_title() for ax in panels(figure)] == list(profiles)
    for ax, each in zip(panels(figure), profiles.values(), strict=True):
        np.testing.assert_array_equal(ax.images[0].get_array(), each.share[:, ::-1].T)
    assert [t.get_text() for t in panels(figure)[0].get_yticklabels()] == ["3", "2", "1"]


def test_plot_level_profile_puts_ratios_and_heights_in_order_and_leaves_lacking_ones_grey():
    one = profile_of(np.array([[0.1, 0.2], [0.3, 0.4]]), ratios=(0.75, 0.25), heights=(1, 3))
    other = profile_of(np.array([[0.5]]), ratios=(0.5,), heights=(1,))
    high, low = (ax.images[0].get_array() for ax in panels(plotting.plot_level_profile({"a": one, "b": other})))
    np.testing.assert_array_equal(low.filled(-1), [[0.3, -1, 0.1], [-1, 0.5, -1]])
    np.testing.assert_array_equal(high.filled(-1), [[0.4, -1, 0.2], [-1, -1, -1]])


def test_plot_level_profile_tells_zero_from_small_and_from_missing():
    share = np.array([[0.0, 1e-14, 0.004, 0.5, 0.996, 1.0, np.nan]]).T
    figure = plotting.plot_level_profile({"$1$": profile_of(share, np.arange(1, 8) / 8)})
    (ax,) = panels(figure)
    assert [t.get_text() for t in ax.texts] == ["0", "<.01", "<.01", "0.50", ">.99", "1", ""]
    (boxes,) = [c for c in ax.collections if isinstance(c, PatchCollection)]
    (corners,) = [path.get_extents() for path in boxes.get_paths()]
    assert (corners.x0, corners.x1) == (-0.5, 0.5)
    assert boxes.get_hatch()
    assert legend_labels(figure) == ["exactly 0", "no value"]
    assert [t.get_text() for t in ax.get_yticklabels()] == ["$1$"]
    assert not plotting.plot_level_profile(profiles_of(1, 2, 1)).legends


def test_plot_level_profile_draws_one_profile_in_one_panel():
    profile = level_profile(LatentGraph.quadtree(2), at([0.25, 0.5]))
    figure = plotting.plot_level_profile(profile)
    np.testing.assert_array_equal(figure.axes[0].images[0].get_array(), profile.share[:, ::-1].T)


@pytest.mark.parametrize("by", ["height", "unit"])
@pytest.mark.parametrize(
    ("n_units", "n_ratios", "n_heights"), [(2, 2, 2), (1, 1, 1), (1, 9, 30), (3, 9, 4), (8, 40, 20)]
)
def test_plot_level_profile_can_be_read(by, n_units, n_ratios, n_heights):
    profiles = profiles_of(n_units, n_ratios, n_heights)
    for each in profiles.values():
        each.share[:, 0] = 0
    figure = plotting.plot_level_profile(
        {f"{name} cells, long name_{name}": each for name, each in profiles.items()},
        panels=by,
        title="A title so long that it does not fit into one line of a figure with one small panel only",
    )
    assert overlaps(figure) == []
    assert hanging_over(figure) == []
    assert len(figure.findobj()) < 6000
    assert max(figure.get_size_inches()) < 14


@pytest.mark.parametrize(
    ("profiles", "options", "message"),
    [
        ({}, {}, "got none"),
        ({"1": np.zeros((2, 2))}, {}, "got ndarray: call hlvm.theory.level_profile"),
        (np.zeros((2, 2)), {}, "got ndarray: call hlvm.theory.level_profile"),
        ({"1": profile_of(np.zeros((2, 1)), (0.5, 0.5))}, {}, "'1' has a ratio twice"),
        (profiles_of(1, 3, 2), {"panels": "ratio"}, "panels must be"),
        (profiles_of(1, 3, 2), {"height": 3}, "none of the heights"),
    ],
)
def test_plot_level_profile_refuses_what_does_not_fit(profiles, options, message):
    with pytest.raises(ValueError, match=message):
        plotting.plot_level_profile(profiles, **options)


def test_plot_level_curves_draws_every_height_and_the_errors_of_drawn_masks():
    graph, ratios = LatentGraph.quadtree(2), [0.75, 0.25, 0.5]
    closed = level_profile(graph, at(ratios))
    ax = plotting.plot_level_curves(closed).axes[0]
    assert [line.get_label() for line in ax.lines] == ["height 2", "height 1"]
    in_order = np.column_stack([[0.25, 0.5, 0.75], closed.share[[1, 2, 0], 0]])
    np.testing.assert_allclose(ax.lines[1].get_xydata(), in_order)
    assert not ax.collections
    sampled = level_profile(graph, at(ratios), regime="general", key=jax.random.key(0), n_masks=20)
    figure = plotting.plot_level_curves(sampled, quantity="dim", title="t")
    ax = figure.axes[0]
    assert len(ax.collections) == 2
    band = ax.collections[1].get_paths()[0].get_extents()
    high = (sampled.dim + 2 * sampled.dim_standard_error)[:, 0].max()
    assert band.y1 == pytest.approx(high)
    assert "20 masks" in ax.get_legend().get_title().get_text()
    assert overlaps(figure) == []


def test_plot_level_curves_of_many_heights_has_a_colour_bar():
    profile = level_profile(pure_children_chain(20), at(np.linspace(0.1, 0.9, 9)))
    figure = plotting.plot_level_curves(profile, quantity="frontier_share", title="t")
    assert len(figure.axes[0].lines) == 20
    assert len(figure.axes) == 2
    assert overlaps(figure) == []


def test_plot_level_curves_refuses_what_is_no_profile():
    profile = level_profile(LatentGraph.quadtree(1), at([0.5]))
    with pytest.raises(ValueError, match="quantity must be one of"):
        plotting.plot_level_curves(profile, quantity="height")
    with pytest.raises(ValueError, match="expected a LevelProfile"):
        plotting.plot_level_curves(profile.share)


# ---------------------------------------------------------------------- results and files


def test_plot_losses_averages_over_windows():
    figure = plotting.plot_losses({"p": {"a": np.repeat([1.0, 3.0], 50)}}, smooth=50)
    np.testing.assert_allclose(figure.axes[0].lines[0].get_ydata(), [1, 1, 3, 3])


@cache
def score_rows():
    """Table of score_by_height for two fits and three latents."""
    rng = np.random.default_rng(0)
    z = rng.normal(size=(60, 3))
    codes = {f"seed {i}, small": z[:, :1] + 0.3 * rng.normal(size=(60, 1)) for i in range(2)}
    return score_by_height(
        codes,
        {"a": z[:, 0], "b": z[:, 1], "e": z[:, 2]},
        heights={"a": 2, "b": 1, "e": 1},
        predicted={"a": True, "b": False, "e": False},
        of="noise",
        floors=dict.fromkeys(codes, rng.normal(size=(60, 1))),
        ceiling=z,
        scores=("linear_r2", "cca"),
        key=0,
    )


def test_plot_scores_by_latent_draws_the_table_of_score_by_height():
    rows = score_rows()
    figure = plotting.plot_scores_by_latent(rows, score="linear_r2")
    assert [ax.get_title() for ax in figure.axes] == ["seed 0,\nsmall", "seed 1,\nsmall"]
    for ax, fit in zip(figure.axes, ("seed 0, small", "seed 1, small"), strict=True):
        of_fit = rows[(rows["fit"] == fit) & (rows["score"] == "linear_r2")].set_index(["control", "latent"])
        assert [text.get_text() for text in ax.get_xticklabels()] == ["a", "b", "e"]
        expected = np.maximum(of_fit.loc["none", "value"], 0)
        np.testing.assert_allclose([bar.get_height() for bar in ax.patches], expected)
        assert [to_hex(bar.get_facecolor()) == "#ffffff" for bar in ax.patches] == [False, True, True]
        bars = [line.get_ydata().tolist() for line in ax.lines if line.get_linestyle() == "-"]
        np.testing.assert_allclose(bars, of_fit.loc["none", ["low", "high"]])
        for control, dashes in (("floor", ":"), ("ceiling", "--")):
            drawn_at = [line.get_ydata()[0] for line in ax.lines if line.get_linestyle() == dashes]
            np.testing.assert_allclose(drawn_at, of_fit.loc[control, "value"])


def test_plot_scores_draw_a_table_without_controls_and_predictions():
    rows = score_rows().query("control == 'none'").drop(columns="predicted")
    bars = plotting.plot_scores_by_latent(rows, score="cca").axes[0]
    assert {to_hex(bar.get_facecolor()) for bar in bars.patches} == {"#ffffff"}
    assert bars.get_legend() is None
    ax = plotting.plot_scores_by_height(rows.assign(ratio=0.5), x="ratio", score="cca").axes[0]
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["height 2", "height 1"]
    assert ax.get_ylabel() == "held-out canonical correlation"


def test_plot_scores_by_height_draws_means_over_latents_and_ends_over_fits():
    table = pd.concat([score_rows().assign(ratio=ratio) for ratio in (0.75, 0.25)])
    figure = plotting.plot_scores_by_height(
        pd.concat([table.assign(unit="one"), table.assign(unit="two")]), x="ratio", panel="unit", score="linear_r2"
    )
    assert [ax.get_title() for ax in figure.axes] == ["one", "two"]
    rows = score_rows().query("score == 'linear_r2' and height == 1")
    code = rows[rows["control"] == "none"].groupby("fit")[["value", "low", "high"]].mean()
    for ax in figure.axes:
        (line, (lower, upper), _) = ax.containers[1]
        np.testing.assert_allclose(line.get_xydata(), [[ratio, code["value"].mean()] for ratio in (0.25, 0.75)])
        np.testing.assert_allclose(
            [lower.get_ydata()[0], upper.get_ydata()[0]], [code["low"].min(), code["high"].max()]
        )
        levels = [line.get_ydata()[0] for line in ax.lines]
        for control in ("floor", "ceiling"):
            assert np.isclose(levels, rows[rows["control"] == control]["value"].mean()).any()


def of_study(**columns):
    """The tidy table of a study with two arms, whose numbers differ."""
    row = {"height": 1, "score": "R²", "chance": 0.0}
    return pd.DataFrame(
        [
            row
            | {"arm": f"ratio={ratio}", "ratio": ratio, "part": part, "share_in_c": ratio, "value": ratio / 2 + shift}
            | {"low": ratio / 2, "high": ratio, "floor": 0.05 + ratio / 10, "ceiling": 0.9, "latent": latent, **columns}
            for ratio in (0.25, 0.75)
            for part, shift in (("value", 0.2), ("noise", 0.0))
            for latent in ("a", "b")
        ]
    )


def test_plot_scores_by_height_draws_the_table_of_a_study():
    for part, shift in ((None, 0.0), ("noise", 0.0), ("value", 0.2)):
        (ax,) = plotting.plot_scores_by_height(of_study(latent=""), x="ratio", part=part).axes
        (line, *_) = ax.containers[0]
        np.testing.assert_allclose(line.get_xydata(), [[0.25, 0.125 + shift], [0.75, 0.375 + shift]])
        levels = {line.get_linestyle(): line.get_ydata()[0] for line in ax.lines if line.get_linestyle() in (":", "--")}
        assert levels == pytest.approx({":": 0.1, "--": 0.9})
    assert ax.get_ylabel() == "R²"
    with pytest.raises(ValueError, match="part must be one of the table's, noise, value, got 'noises'"):
        plotting.plot_scores_by_height(of_study(), x="ratio", part="noises")


def test_plot_scores_by_latent_draws_the_table_of_a_study():
    figure = plotting.plot_scores_by_latent(of_study())
    assert [ax.get_title() for ax in figure.axes] == ["ratio=0.25", "ratio=0.75"]
    for ax, ratio in zip(figure.axes, (0.25, 0.75), strict=True):
        assert [bar.get_height() for bar in ax.patches] == pytest.approx([ratio / 2] * 2)
        assert [bar.get_facecolor()[3] for bar in ax.patches] == pytest.approx([ratio] * 2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"x": "ratio"}, "got none named ratio"),
        ({"x": "height", "panel": "unit"}, "got none named unit"),
        ({"x": "height", "score": "mlp_r2"}, "score must be one of the table's, cca, linear_r2, got 'mlp_r2'"),
    ],
)
def test_plot_scores_by_height_refuses_what_the_table_lacks(options, message):
    with pytest.raises(ValueError, match=message):
        plotting.plot_scores_by_height(score_rows(), **options)


def test_plot_claims_draws_what_decides_beside_its_limits():
    """Neither the scores that are only shown, nor any name, decide what is drawn."""
    scores = {"forward": Interval(value=0.95, low=0.9, high=0.97), "back": Interval(value=0.2, low=0.1, high=0.3)}
    shown = {"R²(ẑ → c)": Interval(value=1.0, low=0.0, high=1.0)}
    block = interval_claim("code = c", scores, (0.85, math.inf), shown=shown, theory=yes())
    difference = {"a − b": Interval(value=0.0, low=-0.01, high=0.01)}
    same = interval_claim("no\nchange", difference, (-0.05, 0.05), theory=yes())
    silent = interval_claim("more", difference)
    ax = plotting.plot_claims([block, same, silent], x_label="R²").axes[0]
    lines = {kind: [line for line in ax.get_lines() if line.get_linestyle() == kind] for kind in ("-", "--")}
    values = [line.get_xdata()[0] for line in ax.get_lines() if line.get_marker() != "None"]
    assert values == [0.95, 0.2, 0.0, 0.0]
    assert [line.get_xdata()[0] for line in lines["--"]] == [0.85, 0.85, -0.05, 0.05, 0.0]
    rows = [round(float(np.mean(line.get_ydata()))) for line in lines["--"]]
    assert rows == [0, 0, 1, 1, 2]
    bars = [line for line in lines["-"] if line.get_marker() == "None"]
    assert [line.get_color() for line in bars] == [COLORS[c] for c in ("vermilion", "vermilion", "green", "grey")]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["code = c", "no\nchange", "more"]
    (legend,) = ax.figure.legends
    assert [text.get_text() for text in legend.get_texts()][-3:] == ["forward", "back", "a − b"]


def test_plot_claims_draws_where_theory_says_that_intervals_lie():
    limits = (0.9, math.inf)
    high, low = Interval(value=0.95, low=0.94, high=0.96), Interval(value=0.5, low=0.4, high=0.6)
    ax = plotting.plot_claims(
        [
            interval_claim("yes", {"R²": high}, limits, theory=yes()),
            interval_claim("no", {"R²": low}, limits, theory=no()),
            interval_claim("nothing", {"R²": low}, limits),
            interval_claim("no, one of two", {"R²": low, "back": high}, limits, theory=no()),
            interval_claim("between", {"a − b": low}, (0.3, 0.7), theory=no()),
        ]
    ).axes[0]
    left, right = ax.get_xlim()
    boxes = [(box.get_y(), box.get_height(), box.get_x(), box.get_x() + box.get_width()) for box in ax.patches]
    expected = [(-0.5, 1, 0.9, right), (0.5, 1, left, 0.9), (2.5, 0.5, left, 0.9), (3, 0.5, left, 0.9)]
    expected += [(3.5, 1, left, 0.3), (3.5, 1, 0.7, right)]
    np.testing.assert_allclose(boxes, expected)


def test_plot_claims_says_of_every_claim_what_was_predicted_and_what_was_found():
    """A code below the threshold is not shown as one that is c, though that was predicted."""
    narrow = interval_claim("code = c", {"R²": Interval(value=0.5, low=0.4, high=0.6)}, (0.9, math.inf), theory=no())
    wide = interval_claim("code = c", {"R²": Interval(value=0.95, low=0.94, high=0.96)}, (0.9, math.inf), theory=yes())
    between = interval_claim("code = c", {"R²": Interval(value=0.9, low=0.8, high=0.96)}, (0.9, math.inf))
    ax = plotting.plot_claims([narrow, wide, between]).axes[0]
    (right,) = ax.child_axes
    assert [label.get_text() for label in right.get_yticklabels()] == [
        "theory: no\ndoes not hold",
        "theory: yes\nholds",
        "theory: nothing\nopen",
    ]
    faces = [to_rgb(line.get_markerfacecolor()) for line in ax.get_lines() if line.get_marker() != "None"]
    assert faces == [to_rgb(color) for color in ("white", COLORS["green"], COLORS["grey"])]


def test_plot_claims_refuses_a_claim_without_limits():
    claim = Claim(text="t", scores={"a": Interval(value=0.1, low=0.0, high=0.2)}, holds=None)
    with pytest.raises(ValueError, match="leave out 't', which has none"):
        plotting.plot_claims([claim])


def test_style_does_not_leak():
    before = mpl.rcParams["font.size"]
    with plotting.style():
        assert mpl.rcParams["font.size"] == 9.5
    assert mpl.rcParams["font.size"] == before


def test_plot_losses_of_means_draws_them_at_their_steps():
    losses = {"p": {"a": [3.0, 2.0, 1.0]}}
    (line,) = plotting.plot_losses(losses, smooth=1, steps=[10, 20, 30]).axes[0].lines
    np.testing.assert_allclose(line.get_xydata(), [[10, 3], [20, 2], [30, 1]])


def test_plot_reconstructions_draws_samples_above_what_was_seen_and_made():
    samples = np.random.default_rng(0).random((2, 3, 70, 3))
    figure = plotting.plot_reconstructions(samples, {"a\nb": (samples / 2, samples / 3), "samples": (samples, None)})
    drawn = [ax.images[0].get_array() for ax in figure.axes]
    assert len(drawn) == 4
    for strip, factor in zip(drawn, (1, 2, 3, 1), strict=True):
        np.testing.assert_allclose(strip[:, :70], samples[0] / factor)
        np.testing.assert_allclose(strip[:, -70:], samples[1] / factor)
    assert [ax.get_title() for ax in figure.axes[:3]] == ["samples", "what the encoder saw", "reconstruction"]
    assert figure.texts[0].get_text() == "a·b"
    with pytest.raises(ValueError, match="shaped as the samples, got a"):
        plotting.plot_reconstructions(samples, {"a": (samples[:1], None)})
    with pytest.raises(ValueError, match="got no arms"):
        plotting.plot_reconstructions(samples, {})


def test_write_html_folds_a_section(tmp_path):
    sections = [Section(heading="a"), Section(heading="b", text=["inside"], folded=True)]
    write_html(tmp_path / "p.html", title="t", lead="l", sections=sections)
    page = (tmp_path / "p.html").read_text()
    assert re.search(r"<details>\n<summary><h2>b</h2></summary>\n<p>inside</p>\n</details>", page)
    assert page.count("<details>") == 1


def test_write_html_escapes_everything(tmp_path):
    table = Table(header=("<h>",), rows=[("<script>",)], classes=["bad"])
    section = Section(heading="a & b", text=["<i>"], table=table, code="<pre>")
    write_html(tmp_path / "p.html", title="<t>", lead="l", sections=[section])
    page = (tmp_path / "p.html").read_text()
    assert "<script>" not in page
    assert page.count("&lt;") == 6
    assert '<td class="bad">' in page


def test_write_html_groups_rows_below_a_head(tmp_path):
    scores = {"<a>": Interval(value=-0.5, low=-1.0, high=0.25), "b": Interval(value=0.5, low=0.25, high=1.0)}
    claims = [Claim(text="<x>", scores=scores, limits={"b": (0.0, math.inf)}, theory=yes("&"), holds=True)]
    table = claim_table(claims, [("holds <", "good")], said="theory", first=7)
    write_html(tmp_path / "p.html", title="t", lead="l", sections=[Section(heading="h", table=table)])
    page = (tmp_path / "p.html").read_text(encoding="utf-8")
    rows = [re.findall("<t[dh][^>]*>(.*?)</t[dh]>", row) for row in re.findall("<tr>(.*?)</tr>", page)]
    assert rows == [
        ["score", "value", "low", "high", "more than", "less than", "outcome"],
        ['<div class="said"><strong>7. &lt;x&gt;</strong><br>theory: yes: &amp;</div>', "holds &lt;"],
        ["&lt;a&gt;", "−0.500", "−1.000", "0.250", "", ""],
        ["b", "0.500", "0.250", "1.000", "0", ""],
    ]
    assert '<th scope="rowgroup" colspan="6">' in page
    assert '<td class="beside good" rowspan="3">' in page
