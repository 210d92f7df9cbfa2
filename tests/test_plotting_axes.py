"""Graphs, maps, profiles, advice and studies in axes of the user's: the same content, and nothing covers another."""

from itertools import combinations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure
from matplotlib.text import Text

from hlvm import plotting
from hlvm.graph import LatentGraph
from hlvm.masking import RandomMask
from hlvm.theory import Advice, level_profile, shared_information

TREE = LatentGraph.quadtree(2)
MASKED = TREE.observed[:3]
SHARED = shared_information(TREE, MASKED)


def axes(width=6.4, height=4.8):
    return Figure(figsize=(width, height), layout="constrained").subplots()


def overlaps(figure):
    """Pairs of texts that cover each other by more than a pixel."""
    figure.draw_without_rendering()
    seen = [t for t in figure.findobj(Text) if t.get_visible() and t.get_text().strip()]
    boxes = [(t.get_text(), t.get_window_extent()) for t in seen]
    return [
        (one, other)
        for (one, a), (other, b) in combinations(boxes, 2)
        if min(a.x1, b.x1) - max(a.x0, b.x0) > 1 and min(a.y1, b.y1) - max(a.y0, b.y0) > 1
    ]


def legend(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


@pytest.mark.parametrize("size", [(6.4, 4.8), (3.2, 2.6), (12, 9)])
def test_plot_graph_draws_every_variable_into_axes_of_any_size(size):
    ax = axes(*size)
    assert plotting.plot_graph(TREE, masked=MASKED, shared=SHARED, title="t", ax=ax) is ax.figure
    nodes = {c.get_label(): c.get_offsets() for c in ax.collections if isinstance(c, PathCollection)}
    masked, frontier = nodes["masked"], nodes["in c, frontier"]
    assert len(masked) == 3
    assert set(np.asarray(masked)[:, 1]) == {0}  # at height 0
    heights = sorted(TREE.height(name) for name in SHARED.frontier)
    assert sorted(np.asarray(frontier)[:, 1]) == heights
    assert sum(len(each) for each in nodes.values()) == len(TREE.nodes)
    low, high = ax.get_xlim()
    assert all(low < x < high for each in nodes.values() for x in np.asarray(each)[:, 0])
    assert set(legend(ax)) == set(nodes)
    assert not ax.child_axes  # maps of the grid are a figure of their own
    assert overlaps(ax.figure) == []


def test_plot_graph_draws_a_large_graph_height_by_height_into_axes():
    ax = axes()
    plotting.plot_graph(TREE, masked=MASKED, shared=SHARED, max_nodes=0, title="t", ax=ax)
    arcs, bars = ax.child_axes
    shares = {bar.get_label(): [patch.get_width() for patch in bar] for bar in bars.containers}
    assert shares["masked"] == pytest.approx([3 / 16])
    assert [text.get_text() for text in arcs.get_yticklabels()] == ["0", "1", "2"]
    assert ax.get_title() == "t"
    assert overlaps(ax.figure) == []


def test_plot_grid_fills_the_place_of_axes():
    ax = axes()
    assert plotting.plot_grid(TREE, masked=MASKED, shared=SHARED, ax=ax) is ax.figure
    own = plotting.plot_grid(TREE, masked=MASKED, shared=SHARED).axes
    assert [inside.get_title() for inside in ax.child_axes] == ["mask", "height 1", "height 2"]
    for inside, alone in zip(ax.child_axes, own, strict=True):
        np.testing.assert_array_equal(inside.images[0].get_array(), alone.images[0].get_array())
    assert overlaps(ax.figure) == []
    tall = axes(2.5, 7)
    plotting.plot_grid(TREE, masked=MASKED, ax=tall)
    tall.figure.draw_without_rendering()
    assert len({round(inside.get_position().x0, 2) for inside in tall.child_axes}) == 1  # one below the other


def test_plot_level_profile_draws_one_map_into_axes():
    ax, profile = axes(), level_profile(TREE, [RandomMask(ratio=ratio) for ratio in (0.25, 0.5)])
    profile.share[0, 0] = 0
    plotting.plot_level_profile(profile, title="t", ax=ax)
    np.testing.assert_array_equal(ax.images[0].get_array(), profile.share[:, ::-1].T)
    assert [ax.get_title(), ax.get_xlabel(), ax.get_ylabel()] == ["t", "masking ratio", "height"]
    assert legend(ax) == ["exactly 0"]
    assert ax.figure.axes[1].get_ylabel() == "share of latents in c"
    assert overlaps(ax.figure) == []


def advice():
    kinds = [("random", "cells", 0.5, 0.4, 0.0, 0.6, 0.0, False, True)]
    kinds += [("block", "2 x 2", 0.75, 0.1, 0.0, 0.9, 0.0, False, True)]
    columns = ["kind", "unit", "masked_share", "demand", "demand_error", "availability", "availability_error"]
    found = pd.DataFrame(kinds, columns=[*columns, "tie", "front"]).assign(strategy=["a", "b"])
    masks = dict.fromkeys(found["strategy"], RandomMask(ratio=0.5))
    return Advice(target=("z",), height=2, strategies=masks, table=found, no_design="")


@pytest.mark.parametrize(
    ("panel", "places"), [(None, {0.5, 0.75}), ("ratio", {0.5, 0.75}), ("availability", {0.6, 0.9})]
)
def test_plot_advice_draws_the_panel_that_is_asked_for(panel, places):
    ax = axes()
    plotting.plot_advice(advice(), panel=panel, ax=ax)
    alone = plotting.plot_advice(advice(), panel=panel)
    assert len(alone.axes) == (2 if panel is None else 1)
    for drawn in (ax, alone.axes[0]):
        assert {float(x) for line in drawn.lines if line.get_marker() in "os" for x in line.get_xdata()} == places
    assert ax.get_title() == "masks for height 2"
    assert ("not beaten in both" in legend(ax)) == (panel == "availability")


def test_plot_advice_refuses_an_unknown_panel():
    with pytest.raises(ValueError, match='panel must be "ratio", "availability" or None, got \'demand\''):
        plotting.plot_advice(advice(), panel="demand")


def test_plots_draw_into_axes_of_a_subfigure():
    left, _ = Figure(figsize=(9, 4)).subfigures(1, 2)
    ax = left.subplots()
    assert plotting.plot_graph(TREE, ax=ax) is left.figure
    low, high = ax.get_xlim()
    assert high - low > max(
        line.get_offsets()[:, 0].max() for line in ax.collections if isinstance(line, PathCollection)
    )
    assert plt.get_fignums() == []
