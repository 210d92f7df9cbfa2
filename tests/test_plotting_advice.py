"""The picture of advice: every candidate in both panels, with its errors, the best and the front marked."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from hlvm import plotting
from hlvm.masking import RandomMask
from hlvm.theory import Advice


def advice_of(rows, **options):
    """Advice with rows of (kind, unit, ratio, demand, its error, availability, tie, front)."""
    names = ["kind", "unit", "masked_share", "demand", "demand_error", "availability", "tie", "front"]
    table = pd.DataFrame(rows, columns=names)
    table["availability_error"] = table["demand_error"]
    table["strategy"] = [f"s{i}" for i in range(len(rows))]
    fields = {"target": ("z",), "height": 2, "no_design": ""}
    return Advice(strategies={name: RandomMask(ratio=0.5) for name in table["strategy"]}, table=table, **fields)


SMALL = [
    ("random", "cells", 0.5, 0.4, 0.02, 0.6, True, True),
    ("random", "cells", 0.25, 0.38, 0.02, 0.8, True, True),
    ("designed", "cells", 0.1, 0.2, 0.0, 0.7, False, False),
    ("block", "units of 2 x 2 cells", 0.75, 0.1, 0.0, 0.9, False, True),
]


def points(ax):
    """What is drawn at most places: of each line with a marker its points, rings apart."""
    lines = [line for line in ax.lines if line.get_marker() not in ("None", "", "|", "_") and len(line.get_xdata())]
    return [line for line in lines if line.get_markerfacecolor() != "none"]


def test_plot_advice_draws_every_candidate_in_both_panels():
    figure = plotting.plot_advice(advice_of(SMALL))
    over_ratio, trade_off = figure.axes
    for ax, column in ((over_ratio, 2), (trade_off, 5)):
        drawn = {(x, y) for line in points(ax) for x, y in zip(line.get_xdata(), line.get_ydata(), strict=True)}
        assert {(row[column], row[3]) for row in SMALL} <= drawn
    (curve,) = (line for line in points(over_ratio) if len(line.get_xdata()) == 2)
    assert list(curve.get_xdata()) == [0.25, 0.5]  # a line goes from low to high ratios
    (front,) = (line for line in trade_off.lines if len(line.get_xdata()) == 3 and line.get_marker() == "None")
    assert list(front.get_xdata()) == [0.6, 0.8, 0.9]
    assert [figure._suptitle.get_text(), over_ratio.get_xlabel()] == ["masks for height 2", "masking ratio"]
    assert plotting.plot_advice(advice_of(SMALL), title="$a$")._suptitle.get_text() == "$a$"
    assert plt.get_fignums() == []


def test_plot_advice_shows_two_standard_errors_where_there_are_any():
    over_ratio, trade_off = plotting.plot_advice(advice_of(SMALL)).axes
    bars = [segment for bar in over_ratio.collections for segment in bar.get_segments()]
    assert sorted(np.round([float(np.ptp(segment[:, 1])) for segment in bars], 6)) == [0.08, 0.08]
    assert len(trade_off.collections) == 2  # across and along


def test_plot_advice_marks_the_best_and_what_is_not_told_apart_from_it():
    figure = plotting.plot_advice(advice_of(SMALL))
    for ax, column in zip(figure.axes, (2, 5), strict=True):
        rings = [line for line in ax.lines if line.get_markerfacecolor() == "none" and line.get_marker() == "o"]
        assert [(list(r.get_xdata()), list(r.get_ydata())) for r in rings] == [
            ([SMALL[0][column]], [0.4]),
            ([SMALL[1][column]], [0.38]),
        ]
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert texts == [
        "random, cells",
        "designed, cells",
        "block, units of 2 x 2 cells",
        "not beaten in both",
        "asks most",
        "not told apart from it",
    ]
    alone = plotting.plot_advice(advice_of(SMALL[2:3]))
    assert [text.get_text() for text in alone.legends[0].get_texts()] == ["designed, cells", "asks most"]


def test_plot_advice_tells_many_families_apart_and_takes_what_is_not_known():
    kinds = ("random", "block", "grid", "subtree", "bernoulli", "designed", "My_Own$")
    rows = [(kind, f"unit {i}", 0.5, 0.1 * i, 0.01, np.nan, i == 6, False) for i, kind in enumerate(kinds)][::-1]
    figure = plotting.plot_advice(advice_of(rows))
    FigureCanvasAgg(figure).draw()
    looks = {(handle.get_color(), handle.get_marker()) for handle in figure.legends[0].legend_handles[: len(kinds)]}
    assert len(looks) == len(kinds)
    colors = {line.get_color() for line in points(figure.axes[0])}
    assert colors <= set(plotting.COLORS.values())
    assert len(colors) == len(kinds)


def test_plot_advice_refuses_what_is_no_advice():
    with pytest.raises(ValueError, match=r"expected an Advice, got list: call hlvm\.theory\.advise"):
        plotting.plot_advice([])
