"""Figures look the same under any Matplotlib style of the user's, can be read, and leave it as it was."""

import dataclasses
import sys
import threading
from functools import cache
from inspect import signature

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.text import Text

from hlvm import plotting
from hlvm.claims import block_claim
from hlvm.graph import LatentGraph, pure_children_chain
from hlvm.images import contact_sheet, save_png
from hlvm.masking import RandomMask
from hlvm.scoring import block_verdict
from hlvm.theory import Advice, level_profile, shared_information

WHITE = {
    "axes.edgecolor": "w",
    "axes.labelcolor": "w",
    "axes.titlecolor": "w",
    "image.origin": "lower",
    "legend.facecolor": "k",
    "legend.labelcolor": "w",
    "savefig.facecolor": "k",
    "savefig.transparent": True,
    "text.color": "w",
    "xtick.color": "w",
    "ytick.color": "w",
}
LARGE = {"font.size": 30, "axes.titlesize": 40, "xtick.labelsize": 30, "xtick.labelbottom": False, "axes.grid": True}
STYLES = {"white": ["dark_background", WHITE], "large": ["grayscale", LARGE]}


@cache
def inputs():
    rng = np.random.default_rng(0)
    z = rng.normal(size=(120, 1))
    graph, large = LatentGraph.quadtree(1), LatentGraph.quadtree(2)
    masked = [graph.observed[0], graph.observed[-1]]
    claim = block_claim("code = c", block_verdict(2 * z, z, key=0))
    code = {"fit": "one", "score": "kernel_r2", "control": "none", "low": 0.4, "high": 0.6, "ratio": 0.5}
    scores = pd.DataFrame([code | {"latent": "a", "height": 1, "value": 0.5, "predicted": 1.0}])
    scores = pd.concat([scores.assign(control=control) for control in ("none", "floor", "ceiling", "chance")])
    profile = dataclasses.replace(
        level_profile(graph, [RandomMask(ratio=0.5)]),
        masked_share=np.linspace(0.1, 0.9, 12),
        heights=np.array([1, 2]),
        share=np.stack([np.linspace(0, 1, 12), np.full(12, np.nan)], axis=1),
    )
    return graph, large, masked, claim, scores, profile


def studied():
    """A study's table, what was told apart, and advice."""
    study = pd.DataFrame(
        [
            {"arm": f"{ratio} {unit}", "strategy": "random", "ratio": ratio, "unit": unit, "network": "vit", "loss": ""}
            | {"latent": "", "height": 1, "part": "noise", "score": "R²", "share_in_c": ratio, "value": ratio / unit}
            | {"low": 0.1, "high": 0.9, "floor": 0.1, "ceiling": 0.8}
            for ratio in (0.0, 0.5, 0.9)
            for unit in (1, 2)
        ]
    )
    pair = {"first": "0.5 1", "second": "0.9 1", "height": 1, "part": "noise", "score": "R²", "apart": True}
    pairs = pd.DataFrame([pair])
    kinds = [
        ("random", "cells", 0.5, 0.4, 0.02, 0.6, 0.02, True, True),
        ("block", "", 0.75, 0.1, 0.0, 0.9, 0.0, False, True),
    ]
    columns = ["kind", "unit", "masked_share", "demand", "demand_error", "availability", "availability_error"]
    found = pd.DataFrame(kinds, columns=[*columns, "tie", "front"]).assign(strategy=["a", "b"])
    masks = dict.fromkeys(found["strategy"], RandomMask(ratio=0.5))
    advice = Advice(target=("z",), height=2, strategies=masks, table=found, no_design="")
    return study, pairs, advice


def figures():
    """One or more figures of every public plotting function, by its name."""
    graph, large, masked, claim, scores, profile = inputs()
    shared = shared_information(graph, masked)
    options = {"masked": masked, "shared": shared, "title": "title"}
    yield "plot_claims", plotting.plot_claims([claim], title="title")
    yield "plot_graph", plotting.plot_graph(graph, **options)
    yield (
        "plot_graph",
        plotting.plot_graph(
            large, masked=large.observed[:1], shared=shared_information(large, large.observed[:1]), max_nodes=0
        ),
    )
    yield "plot_grid", plotting.plot_grid(graph, **options)
    yield (
        "plot_level_curves",
        plotting.plot_level_curves(
            level_profile(large, [RandomMask(ratio=0.25), RandomMask(ratio=0.5)]), title="title"
        ),
    )
    deep = level_profile(pure_children_chain(10), [RandomMask(ratio=0.5)])
    yield "plot_level_curves", plotting.plot_level_curves(deep)
    yield "plot_level_profile", plotting.plot_level_profile({"u": profile}, title="t")
    losses = {"a": np.linspace(1, 0.5, 100), "b": np.linspace(1, 0.7, 100)}
    yield "plot_losses", plotting.plot_losses({"panel": losses}, held_out={"panel": {"a": ([50], [0.8])}})
    yield "plot_losses", plotting.plot_losses({"panel": losses}, names_below=True)
    yield (
        "plot_picture",
        plotting.plot_picture(contact_sheet(np.linspace(0, 1, 64).reshape(4, 4, 4, 1), captions=list("abcd"))),
    )
    grey = np.linspace(0, 1, 96).reshape(2, 4, 4, 3)
    yield "plot_reconstructions", plotting.plot_reconstructions(grey, {"arm": (grey / 2, grey)}, title="title")
    yield "plot_scores_by_height", plotting.plot_scores_by_height(scores, x="ratio", panel="fit", title="title")
    yield "plot_scores_by_latent", plotting.plot_scores_by_latent(scores, title="title")
    study, pairs, advice = studied()
    for layout, rows in (("maps", study), ("curves", study[study["unit"] == 1]), ("arms", study)):
        yield "plot_study", plotting.plot_study(rows, told_apart=pairs, layout=layout, title="title")
    yield "plot_advice", plotting.plot_advice(advice, title="title")


def pixels(figure):
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


@cache
def plain():
    with mpl.rc_context():
        plt.style.use("default")
        return [(name, pixels(figure)) for name, figure in figures()]


def luminance(color):
    linear = np.asarray(to_rgb(color))
    linear = np.where(linear <= 0.04045, linear / 12.92, ((linear + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def contrasts(figure):
    """Contrast, 1 to 21, of every text that is seen with what lies behind it."""
    pixels(figure)
    seen = [text for text in figure.findobj(Text) if text.get_visible() and text.get_text().strip()]
    for text in seen:
        text.set_alpha(0)  # an invisible one would leave its place to others
    behind = pixels(figure) / 255
    for text in seen:
        box = text.get_window_extent()
        rows = slice(max(round(len(behind) - box.y1), 0), round(len(behind) - box.y0))
        part = behind[rows, max(round(box.x0), 0) : round(box.x1)].reshape(-1, 3)
        if not part.size:  # a tick beyond the end of its axis
            continue
        background = np.median(part, axis=0)
        bright, dark = sorted([luminance(text.get_color()), luminance(background)], reverse=True)
        yield text.get_text(), (bright + 0.05) / (dark + 0.05)


def test_every_plot_is_in_the_table():
    assert {name for name in plotting.__all__ if name.startswith("plot_")} == {name for name, _ in plain()}


def test_every_text_stands_out_from_what_lies_behind_it():
    found = {(name, *each) for name, figure in figures() for each in contrasts(figure)}
    assert len(found) > 50
    assert not [each for each in found if each[-1] < 4]


def panels():
    """Every public plotting function that draws a single panel, into axes that it is given."""
    graph, large, masked, claim, scores, _ = inputs()
    profile = level_profile(large, [RandomMask(ratio=0.25), RandomMask(ratio=0.5)])
    deep = level_profile(pure_children_chain(10), [RandomMask(ratio=0.5)])
    losses = {"a$_b$": np.linspace(1, 0.5, 100)}
    sheet = contact_sheet(np.linspace(0, 1, 16).reshape(1, 4, 4, 1))
    options = {"masked": masked, "shared": shared_information(graph, masked), "title": "title"}
    study, pairs, advice = studied()
    yield "plot_advice", lambda ax: plotting.plot_advice(advice, title="title", ax=ax)
    yield "plot_advice", lambda ax: plotting.plot_advice(advice, panel="availability", title="title", ax=ax)
    yield "plot_graph", lambda ax: plotting.plot_graph(graph, **options, ax=ax)
    yield "plot_graph", lambda ax: plotting.plot_graph(graph, **options, max_nodes=0, ax=ax)
    yield "plot_grid", lambda ax: plotting.plot_grid(graph, **options, ax=ax)
    yield "plot_level_profile", lambda ax: plotting.plot_level_profile(profile, title="title", ax=ax)
    curves = {"layout": "curves", "told_apart": pairs, "title": "title"}
    yield "plot_study", lambda ax: plotting.plot_study(study[study["unit"] == 1], **curves, ax=ax)
    yield "plot_study", lambda ax: plotting.plot_study(study, layout="arms", title="title", ax=ax)
    yield "plot_claims", lambda ax: plotting.plot_claims([claim], title="title", x_label="R²", ax=ax)
    yield "plot_level_curves", lambda ax: plotting.plot_level_curves(profile, title="title", ax=ax)
    yield "plot_level_curves", lambda ax: plotting.plot_level_curves(deep, title="title", ax=ax)
    yield "plot_losses", lambda ax: plotting.plot_losses({"panel": losses}, ax=ax)
    yield "plot_losses", lambda ax: plotting.plot_losses({"panel": losses}, names_below=True, ax=ax)
    yield "plot_picture", lambda ax: plotting.plot_picture(sheet, title="title", ax=ax)
    yield "plot_scores_by_height", lambda ax: plotting.plot_scores_by_height(scores, x="ratio", title="title", ax=ax)
    yield "plot_scores_by_latent", lambda ax: plotting.plot_scores_by_latent(scores, title="title", ax=ax)


def test_every_plot_that_takes_axes_is_in_the_table():
    plots = {name: getattr(plotting, name) for name in plotting.__all__ if name.startswith("plot_")}
    assert {n for n, plot in plots.items() if "ax" in signature(plot).parameters} == {name for name, _ in panels()}


@pytest.mark.parametrize("style", ["default", "dark_background"])
def test_plots_draw_into_axes_of_the_users_in_their_style(style):
    """Where the user's ground is dark, every text and line stands out from it."""
    for name, draw in panels():
        with plt.style.context(style):
            before = dict(mpl.rcParams)
            figure = Figure(figsize=(9, 5), layout="constrained")
            first, ax = figure.subplots(1, 2)
            first.set_title("kept")
            assert draw(ax) is figure
            assert dict(mpl.rcParams) == before
            found = list(contrasts(figure))
        texts = {text for text, _ in found}
        assert not [each for each in found if each[-1] < 4], name
        assert "kept" in texts
        assert any(text.startswith(("title", "panel")) for text in texts), name
        ground = luminance(ax.get_facecolor())
        assert ground == luminance(first.get_facecolor())
        for line in [line for inside in (ax, *ax.child_axes) for line in inside.lines]:
            if line.get_zorder() == 0 or (name == "plot_study" and line.get_zorder() in (4, 5)):
                continue  # the line of zero, and signs that bring their own ground, a white disc
            bright, dark = sorted([luminance(line.get_color()), ground], reverse=True)
            assert (bright + 0.05) / (dark + 0.05) > 1.5, (name, line.get_color())
        assert any(inside.lines or inside.images or inside.collections for inside in (ax, *ax.child_axes)), name


def test_plots_keep_a_title_of_axes_that_they_have_none_for():
    ax = Figure().subplots()
    ax.set_title("mine")
    plotting.plot_claims([inputs()[3]], ax=ax)
    assert ax.get_title() == "mine"


def test_plots_refuse_axes_for_several_panels():
    ax = Figure().subplots()
    with pytest.raises(ValueError, match="ax has room for one panel, and there are 2"):
        plotting.plot_losses({"a": {"x": [1.0]}, "b": {"x": [1.0]}}, ax=ax)
    profile = level_profile(LatentGraph.quadtree(2), [RandomMask(ratio=0.5)])
    with pytest.raises(ValueError, match="ax has room for one panel, and there are 2"):
        plotting.plot_level_profile({"cells": profile}, ax=ax)  # a panel per height
    with pytest.raises(ValueError, match="ax has room for one panel, and there are 2"):
        plotting.plot_study(studied()[0], layout="maps", ax=ax)  # predicted above measured


@pytest.mark.parametrize("style", STYLES)
def test_figures_are_the_same_under_any_style(style):
    with plt.style.context(STYLES[style]):
        before = dict(mpl.rcParams)
        for (name, figure), (_, expected) in zip(figures(), plain(), strict=True):
            np.testing.assert_array_equal(pixels(figure), expected, err_msg=name)
        assert dict(mpl.rcParams) == before


SCRIPT = "\N{MATHEMATICAL SCRIPT CAPITAL A}"
"""Matplotlib brings a font that has it; its default font lacks it."""


@pytest.mark.parametrize("suffix", ["png", "svg"])
def test_figures_draw_letters_that_another_installed_font_has(tmp_path, monkeypatch, suffix):
    graph = LatentGraph.from_edges([(SCRIPT, "\u03ba\u03b1\u03bb\u03ae"), (SCRIPT, "x\n1")])
    figure = plotting.plot_graph(graph, title=SCRIPT)  # a missing letter is a warning, and here an error
    plotting.save_figure(figure, tmp_path / f"figure.{suffix}")
    written = {text.get_text() for text in figure.axes[0].texts}
    assert written == {SCRIPT, "\u03ba\u03b1\u03bb\u03ae", "x\N{MIDDLE DOT}1"}
    monkeypatch.setattr(sys.modules[plotting.style.__module__], "_OTHER_SCRIPTS", ())
    with pytest.warns(UserWarning, match="MATHEMATICAL SCRIPT CAPITAL A.*missing from font"):
        plotting.save_figure(plotting.plot_graph(graph, title=SCRIPT), tmp_path / f"figure.{suffix}")


def test_save_figure_and_save_png_write_the_same_under_any_style(tmp_path):
    picture = np.linspace(0, 1, 48).reshape(4, 4, 3)
    profile = inputs()[-1]
    found = []
    for style in ("default", WHITE):
        with plt.style.context(style):
            figure = plotting.plot_level_profile(profile)
            plotting.save_figure(figure, tmp_path / "figure.png")
            save_png(tmp_path / "picture.png", picture)
            found.append([plt.imread(tmp_path / name) for name in ("figure.png", "picture.png")])
    for one, other in zip(*found, strict=True):
        np.testing.assert_array_equal(one, other)


def test_save_figure_keeps_the_background_of_a_figure_of_the_users(tmp_path):
    with plt.style.context("dark_background"):
        figure = Figure()
        figure.text(0.5, 0.5, "white")
        plotting.save_figure(figure, tmp_path / "f.png")
    assert plt.imread(tmp_path / "f.png")[0, 0, :3].tolist() == [0, 0, 0]


def test_style_is_undone_when_threads_take_turns():
    before = dict(mpl.rcParams)
    first, second = threading.Event(), threading.Event()

    def other():
        with plotting.style():
            second.set()
            first.wait()

    thread = threading.Thread(target=other)
    with plotting.style():
        thread.start()
        second.wait(0.2)  # the other thread comes in only where nothing keeps it out
    first.set()
    thread.join()
    assert dict(mpl.rcParams) == before
