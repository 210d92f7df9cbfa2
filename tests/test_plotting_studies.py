"""Pictures of studies: every cell in its place, and what is not told apart marked as such."""

import itertools

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.patches import Rectangle
from matplotlib.text import Text

from hlvm import plotting
from hlvm.plotting.study_curves import ALIKE_LABEL, BEST_LABEL

RATIOS, UNITS, HEIGHTS = (0.25, 0.5, 0.75), (1, 2), (1, 2)


@pytest.fixture(autouse=True)
def no_figure_in_pyplot():
    yield
    assert plt.get_fignums() == []


def arm(ratio, unit, network="vit"):
    return f"random ratio={ratio} unit={unit} {network}"


def study_table(ratios=RATIOS, units=UNITS, networks=("vit",), strategies=("random",), latents=("",)):
    """Rows in which every number is another one, from the largest ratio on."""
    rows = []
    for network, strategy, height, ratio, unit, latent in itertools.product(
        networks, strategies, HEIGHTS, reversed(ratios), units, latents
    ):
        number = len(rows) / 400
        rows.append(
            {
                "arm": f"{arm(ratio, unit, network)}{'' if strategy == 'random' else strategy}",
                "strategy": strategy,
                "ratio": ratio,
                "unit": unit,
                "network": network,
                "loss": "",
                "latent": latent and f"{latent}{height}",
                "height": height,
                "part": "noise",
                "score": "R²",
                "share_in_c": 0.5 + number,
                "value": 0.1 + number,
                "low": 0.05 + number,
                "high": 0.2 + number,
                "floor": 0.01,
                "ceiling": 0.9,
            }
        )
    return pd.DataFrame(rows)


def pairs_of(table, apart):
    """All pairs of one height; ``apart(first, second)`` says whether they are told apart."""
    arms = list(dict.fromkeys(table["arm"]))
    return pd.DataFrame(
        [
            {"first": a, "second": b, "height": height, "latent": "", "part": "noise"}
            | {"score": table["score"].iloc[0], "apart": apart(a, b)}
            for a, b in itertools.combinations(arms, 2)
            for height in HEIGHTS
        ]
    )


def maps_of(figure):
    """Cells of every map, in the order of drawing."""
    return [np.ma.filled(ax.images[0].get_array(), np.nan) for ax in figure.axes if ax.images]


def expected(table, height, column, **chosen):
    rows = table[table["height"] == height]
    for name, value in chosen.items():
        rows = rows[rows[name] == value]
    return rows.pivot(index="unit", columns="ratio", values=column).to_numpy()


def texts(figure):
    FigureCanvasAgg(figure).draw()
    return [text.get_text() for text in figure.findobj(Text) if text.get_text() and text.get_visible()]


def test_plot_study_draws_predicted_above_measured_highest_first():
    table = study_table()
    figure = plotting.plot_study(table, title="<b>")
    wanted = [expected(table, height, column) for column in ("share_in_c", "value") for height in (2, 1)]
    np.testing.assert_allclose(maps_of(figure), wanted)
    drawn = [ax for ax in figure.axes if ax.images]
    rows = [round(ax.get_position().y0, 3) for ax in drawn]
    assert rows[0] == rows[1] > rows[2] == rows[3]
    assert {(ax.images[0].norm.vmin, ax.images[0].norm.vmax, ax.images[0].cmap.name) for ax in drawn} == {
        (0, 1, "cividis")
    }
    found = texts(figure)
    assert {"<b>", "height 1", "height 2", "predicted: share in c", "measured: R²", "masking unit"} <= set(found)
    assert f"{table['value'].iloc[0]:.2f}" in found


def test_plot_study_leaves_arms_that_are_missing_or_diverged_grey():
    table = study_table()
    lacking = (table["ratio"] == 0.5) & (table["unit"] == 2)
    diverged = (table["ratio"] == 0.25) & (table["unit"] == 1)
    table.loc[diverged, "value"] = np.nan
    figure = plotting.plot_study(table[~lacking], told_apart=pairs_of(table, lambda *_: True))
    predicted, _, measured, _ = maps_of(figure)
    assert np.isnan(predicted).tolist() == [[False] * 3, [False, True, False]]
    assert np.isnan(measured).tolist() == [[True, False, False], [False, True, False]]
    assert "no value" in texts(figure)


def test_plot_study_marks_the_best_and_what_is_not_told_apart_from_it():
    """Rising values: the best arm is the first of the lowest ratio and the largest unit."""
    table = study_table()
    best, second = arm(0.25, 2), arm(0.5, 2)
    figure = plotting.plot_study(table, told_apart=pairs_of(table, lambda *both: set(both) != {best, second}))
    for ax in [ax for ax in figure.axes if ax.images][2:]:
        outlines = {
            patch.get_gid(): patch.get_xy() for patch in ax.patches if isinstance(patch, Rectangle) and patch.get_gid()
        }
        assert {gid: np.round(xy).tolist() for gid, xy in outlines.items()} == {
            "best of its map": [0, 1],
            BEST_LABEL: [1, 1],
        }
        (joint,) = [line for line in ax.lines if line.get_gid() == ALIKE_LABEL]
        np.testing.assert_allclose(joint.get_xydata(), [[0.5, 1]])
    assert {BEST_LABEL, ALIKE_LABEL, "best of its map"} <= set(texts(figure))


def test_plot_study_takes_pairs_that_are_missing_as_not_told_apart():
    table = study_table(units=(1,))
    pairs = pairs_of(table, lambda *_: True)
    known = pairs[~((pairs["first"] == arm(0.75, 1)) & (pairs["second"] == arm(0.5, 1)))]
    ax = plotting.plot_study(table, told_apart=known).axes[0]
    (joint,) = [line for line in ax.lines if line.get_gid() == ALIKE_LABEL]
    np.testing.assert_allclose(joint.get_xdata(), [0.625])


def test_plot_study_has_no_marks_where_nothing_was_compared():
    table = study_table()
    values = pairs_of(table, lambda *_: False).assign(part="value")
    for told_apart in (None, values):
        figure = plotting.plot_study(table, told_apart=told_apart)
        assert not [line for ax in figure.axes for line in ax.lines if line.get_gid()]
        assert ALIKE_LABEL not in texts(figure)


def test_plot_study_draws_a_row_per_network_below_the_prediction_of_its_strategy():
    table = study_table(networks=("vit width=16", "vit width=32"))
    figure = plotting.plot_study(table)
    wanted = [expected(table, h, "share_in_c", network="vit width=16") for h in (2, 1)]
    wanted += [expected(table, h, "value", network=n) for n in ("vit width=16", "vit width=32") for h in (2, 1)]
    np.testing.assert_allclose(maps_of(figure), wanted)
    assert "measured, vit width=32: R²" in texts(figure)
    one = plotting.plot_study(table, network="vit width=32")
    np.testing.assert_allclose(maps_of(one)[2:], wanted[4:])


@pytest.mark.parametrize(("over", "name"), [("ratio", "masking ratio"), ("unit", "masking unit")])
def test_plot_study_draws_curves_where_one_axis_has_one_value(over, name):
    table = study_table(ratios=RATIOS if over == "ratio" else (0.5,), units=UNITS if over == "unit" else (2,))
    figure = plotting.plot_study(table, told_apart=pairs_of(table, lambda *_: False))
    assert [ax.get_title() for ax in figure.axes] == ["height 2", "height 1"]
    for ax, height in zip(figure.axes, (2, 1), strict=True):
        rows = table[table["height"] == height].sort_values(over)
        (line, (lower, upper), _) = ax.containers[0]
        np.testing.assert_allclose(line.get_ydata(), rows["value"])
        np.testing.assert_allclose(lower.get_ydata(), rows["low"])
        np.testing.assert_allclose(upper.get_ydata(), rows["high"])
        found = {line.get_linestyle(): line.get_ydata() for line in ax.lines if line.get_linestyle() in (":", "--")}
        np.testing.assert_allclose(found[":"], rows["floor"])
        np.testing.assert_allclose(found["--"], rows["ceiling"])
        (predicted,) = [line for line in ax.lines if line.get_marker() == "s"]
        np.testing.assert_allclose(predicted.get_ydata(), rows["share_in_c"])
        rings = [line for line in ax.lines if line.get_gid() == BEST_LABEL]
        assert [len(ring.get_xdata()) for ring in rings] == [len(rows)]
    assert figure.axes[0].get_xlabel() == name


def test_plot_study_draws_arms_that_ratio_and_unit_do_not_tell_apart():
    table = study_table(ratios=(0.5,), units=("",))
    fixed = pd.concat([table, table.assign(arm="fixed #2", value=0.05, low=np.nan, high=np.nan)])
    figure = plotting.plot_study(fixed, told_apart=pairs_of(fixed, lambda *_: True))
    (names,) = [[text.get_text() for text in ax.get_yticklabels()] for ax in figure.axes[:1]]
    assert names == [table["arm"].iloc[0], "fixed #2"]
    (line, *_) = figure.axes[1].containers[0]
    np.testing.assert_allclose(line.get_xdata(), [table["value"].iloc[0], 0.05])


def test_plot_study_draws_one_panel_per_latent_and_wraps_them():
    table = study_table(latents=("a", "b", "long name of a latent ", "d"))
    figure = plotting.plot_study(table)
    maps = [ax for ax in figure.axes if ax.images]
    assert len(maps) == 16
    assert len({round(ax.get_position().y0, 3) for ax in maps}) == 6
    assert "a2 (height 2)" in texts(figure)


def test_plot_study_of_other_scores_says_which():
    table = study_table()
    figure = plotting.plot_study(pd.concat([table, table.assign(score="accuracy", value=0.3)]))
    assert {"height 2, R²", "height 2, accuracy", "measured: R² or accuracy"} <= set(texts(figure))


def test_plot_study_keeps_strange_names():
    table = study_table(networks=("<script>$x_1$", "κ" * 3 + "n" * 300, "a\nb"))
    found = texts(plotting.plot_study(table))
    assert "measured, <script>$x_1$: R²" in found
    assert "measured, a·b: R²" in found
    assert any(text.startswith("measured, κκκ") and "…" in text for text in found)


@pytest.mark.parametrize("n_ratios", [2, 12])
def test_plot_study_can_be_read(n_ratios):
    """No two texts lie on each other, and none is cut off."""
    ratios = [round(0.05 * (i + 1), 2) for i in range(n_ratios)]
    table = study_table(ratios=ratios, units=(1, 2, 4, "8 × 4"), networks=("a", "b"))
    table = table.assign(score=np.where(table["height"] == 1, "R²", "accuracy"), **{"a quantity of my own": 0.0})
    figure = plotting.plot_study(
        table, told_apart=pairs_of(table, lambda *_: False), predicted="a quantity of my own", title="t"
    )
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    seen = [text for text in figure.findobj(Text) if text.get_text().strip() and text.get_visible()]
    boxes = [(text.get_text(), text.get_window_extent()) for text in seen]
    wide, tall = canvas.get_width_height()
    assert not [text for text, box in boxes if box.x0 < 0 or box.y0 < 0 or box.x1 > wide or box.y1 > tall]
    assert not [(a, b) for (a, one), (b, two) in itertools.combinations(boxes, 2) if one.overlaps(two)]


MANY = study_table(networks=("a", "b", "c", "d"))


@pytest.mark.parametrize(
    ("table", "options", "message"),
    [
        (MANY.drop(columns="unit"), {}, "it lacks unit: give StudyResult.table"),
        ([1], {}, "must be a data frame, got a list"),
        (MANY.iloc[:0], {}, "has no rows"),
        (MANY, {}, "4 combinations of strategy, network and loss, a figure shows at most 3"),
        (MANY, {"network": "e"}, "must be one of 'a', 'b', 'c', 'd', got 'e'"),
        (MANY, {"part": "value"}, "must be one of 'noise', got 'value'"),
        (MANY, {"layout": "pie", "network": "a"}, "must be maps, curves, arms or None, got 'pie'"),
        (MANY, {"layout": "curves", "network": "a"}, "where ratio and unit vary"),
        (pd.concat([MANY, MANY.assign(arm="b")]), {"layout": "maps", "network": "a"}, "have the same ratio and unit"),
        (MANY, {"network": "a", "told_apart": pd.DataFrame({"first": []})}, "give StudyResult.told_apart as it is"),
        (study_table(latents=[str(i) for i in range(30)]), {}, "has 60 latents, a figure shows at most 40"),
    ],
)
def test_plot_study_refuses_what_does_not_fit(table, options, message):
    with pytest.raises(ValueError, match=message):
        plotting.plot_study(table, **options)
