"""Figures draw what they are given; nothing is computed in them."""

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import PathCollection
from matplotlib.colors import to_hex

from hlvm import plotting
from hlvm.graph import LatentGraph
from hlvm.report import Section, Table, write_html
from hlvm.theory import shared_information


def _nodes(figure):
    """One collection per node, in graph order."""
    return [c for c in figure.axes[0].collections if isinstance(c, PathCollection)]


def _colors(figure):
    """Face colour of every node, in graph order."""
    return [to_hex(c.get_facecolor()[0]) for c in _nodes(figure)]


def test_plot_graph_colours_masked_visible_and_shared():
    graph = LatentGraph.tree(2, 2)
    shared = shared_information(graph, ["x_0"])
    figure = plotting.plot_graph(graph, masked=["x_0"], shared=shared, title="t")
    colors = dict(zip(graph.nodes, _colors(figure), strict=True))
    in_c = {name for name in graph.latents if colors[name] == plotting.COLORS["orange"].lower()}
    assert in_c == shared.members
    assert colors["x_0"] == plotting.COLORS["black"].lower()
    assert colors["x_1"] == plotting.COLORS["sky"].lower()


def test_plot_graph_places_latents_by_height():
    graph = LatentGraph.from_edges([("a", "b"), ("a", "x"), ("b", "y"), ("b", "z"), ("a", "z")])
    figure = plotting.plot_graph(graph)
    points = [c.get_offsets()[0] for c in _nodes(figure)]
    assert [y for _, y in points] == [graph.height(name) for name in graph.nodes]


def test_plot_graph_keeps_latents_over_the_same_children_apart():
    graph = LatentGraph.from_edges([("a", "x"), ("b", "x"), ("a", "y"), ("b", "y"), ("c", "x"), ("c", "y")])
    points = [tuple(c.get_offsets()[0]) for c in _nodes(plotting.plot_graph(graph))]
    assert len({(round(x, 2), y) for x, y in points}) == len(graph.nodes)
    assert sum(x for x, y in points if y == 1) / 3 == pytest.approx(0.5)  # still centred over their children


@pytest.mark.parametrize("channels", [1, 3])
def test_plot_images_tiles_every_image(channels):
    images = np.linspace(0, 0.9, 3)[:, None, None, None] * np.ones((3, 4, 4, channels))
    sheet = plotting.plot_images(images, columns=2).axes[0].images[0].get_array()
    assert sheet.shape[:2] == (9, 9)
    assert sheet[0, 0].max() == 0
    assert np.allclose(sheet[8, 0], 0.9)
    assert np.allclose(sheet[8, 8], 1.0)  # empty place


def test_plot_level_profile_draws_highest_first():
    share = np.arange(12).reshape(2, 3, 2) / 12
    figure = plotting.plot_level_profile(share, ratios=(0.1, 0.5, 0.9), units=("1", "2"), heights=(1, 2))
    assert [ax.get_title() for ax in figure.axes[:2]] == ["height 2", "height 1"]
    np.testing.assert_array_equal(figure.axes[0].images[0].get_array(), share[:, :, 1])


def test_plot_losses_averages_over_windows():
    figure = plotting.plot_losses({"p": {"a": np.repeat([1.0, 3.0], 50)}}, smooth=50)
    np.testing.assert_allclose(figure.axes[0].lines[0].get_ydata(), [1, 1, 3, 3])


def test_plots_of_scores_run_and_show_every_value(tmp_path):
    rows = pd.DataFrame(
        {
            "latent": ["a", "b"],
            "r2": [0.9, -0.1],
            "r2_low": [0.8, -0.2],
            "r2_high": [0.95, 0.0],
            "floor_r2": 0.2,
            "ceiling_r2": 1.0,
            "predicted_in_c": [1.0, 0.0],
        }
    )
    bars = plotting.plot_scores_by_latent({"one, two": rows})
    assert [patch.get_height() for patch in bars.axes[0].patches] == [0.9, 0.0]
    lines = plotting.plot_scores_by_height(
        {"unit 1": {1: [(0.1, 0.5, 0.4, 0.6)], 2: [(0.1, 0.7, 0.6, 0.8)]}},
        floors={1: 0.2, 2: 0.3},
        ceilings={1: 0.9, 2: 0.9},
        chance={1: 0.0, 2: 0.0},
        x_label="ratio",
    )
    claims = plotting.plot_claims(
        [("a", [(0.9, 0.95, 0.97), (0.8, 0.9, 0.95)], True), ("b", [(0.1, 0.2, 0.3)], None)], threshold=0.9
    )
    for i, figure in enumerate((bars, lines, claims)):
        plotting.save_figure(figure, tmp_path / f"{i}.png")
        assert (tmp_path / f"{i}.png").stat().st_size > 5000


def test_style_does_not_leak():
    before = mpl.rcParams["font.size"]
    with plotting.style():
        assert mpl.rcParams["font.size"] == 9.5
    assert mpl.rcParams["font.size"] == before


def test_write_html_escapes_everything(tmp_path):
    table = Table(header=("<h>",), rows=[("<script>",)], classes=["bad"])
    section = Section(heading="a & b", text=["<i>"], table=table, code="<pre>")
    write_html(tmp_path / "p.html", title="<t>", lead="l", sections=[section])
    page = (tmp_path / "p.html").read_text()
    assert "<script>" not in page
    assert page.count("&lt;") == 6
    assert '<td class="bad">' in page
