"""Names in any script are drawn without boxes and warnings (pytest makes warnings errors)."""

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.font_manager import FontProperties, fontManager
from matplotlib.ft2font import FT2Font

from hlvm import plotting
from hlvm.claims import interval_claim
from hlvm.graph import LatentGraph
from hlvm.plotting import letters
from hlvm.plotting.letters import families_for, printable, printable_lines
from hlvm.scoring import Interval
from hlvm.theory import shared_information

SCRIPT = "\N{MATHEMATICAL SCRIPT CAPITAL A}"
"""Matplotlib brings a font that has it, and its default font does not."""

NAMES = ("\u65e5\u672c", "\u753b\u50cf 1", "\u753b\u50cf 2", "\u0939\u093f\u0928", "\u03ba\u03b1\u03bb\u03ae")


@pytest.fixture
def no_font_has(monkeypatch):
    """Make some letters unknown to every font."""

    def no_font_has(unknown):
        found = letters._found
        monkeypatch.setattr(letters, "_found", lambda path, wanted: found(path, wanted) - set(unknown))
        letters._lacking.cache_clear()
        letters._fallbacks.cache_clear()

    yield no_font_has
    monkeypatch.undo()
    letters._lacking.cache_clear()
    letters._fallbacks.cache_clear()


def has(family, letter):
    return FT2Font(fontManager.findfont(FontProperties(family=[family]))).get_char_index(ord(letter)) > 0


def test_another_font_helps_out():
    plain = list(mpl.rcParams["font.family"])
    assert not any(has(family, SCRIPT) for family in plain)
    assert families_for(["z1", "\u03ba\u03b1\u03bb\u03ae"]) == plain
    first, *more = families_for(["a", SCRIPT])[len(plain) :]
    assert has(first, SCRIPT)
    assert more == []
    with plotting.style([SCRIPT]):
        assert printable(f"a{SCRIPT}") == f"a{SCRIPT}"
    assert printable(SCRIPT) == "\\U0001d49c"  # not with the fonts set outside


def test_a_letter_that_no_font_has_is_written_as_its_code_point(no_font_has):
    no_font_has("\u65e5" + SCRIPT)
    assert families_for(["\u65e5", SCRIPT]) == mpl.rcParams["font.family"]
    with plotting.style(["\u65e5"]):
        assert printable("z_\u65e5\n\u03ba") == "z_\\u65e5\N{MIDDLE DOT}\u03ba"
        assert printable_lines(f"a\n{SCRIPT}") == "a\n\\U0001d49c"


def test_fonts_that_cannot_be_read_are_left_out(tmp_path):
    (tmp_path / "broken.ttf").write_bytes(b"no font")
    assert letters._found(str(tmp_path / "broken.ttf"), "a") == set()
    assert letters._found(str(tmp_path / "missing.ttf"), "a") == set()


@pytest.mark.parametrize("lacking", ["", "".join(NAMES)])
def test_figures_with_names_in_any_script_give_no_warnings(no_font_has, tmp_path, lacking):
    no_font_has(lacking)
    graph = LatentGraph.from_edges([(NAMES[0], name) for name in NAMES[1:4]] + [(SCRIPT, NAMES[3]), (SCRIPT, NAMES[4])])
    masked = [NAMES[1]]
    small = plotting.plot_graph(graph, masked=masked, shared=shared_information(graph, masked), title=NAMES[0])
    written = {text.get_text() for text in small.axes[0].texts}
    assert SCRIPT in written
    if lacking:
        assert "\\u65e5\\u672c" in written
    table = pd.DataFrame(
        {"latent": NAMES[:2], "r2": 0.5, "r2_low": 0.4, "r2_high": 0.6, "floor_r2": 0.1, "ceiling_r2": 0.9,
         "predicted_in_c": 1.0}
    )  # fmt: skip
    ratios, title = (0.25, 0.5), NAMES[0]
    figures = [
        small,
        plotting.plot_level_profile(np.full((2, 2, 1), 0.5), ratios=ratios, units=NAMES[:2], heights=[1], title=title),
        plotting.plot_losses({title: {NAMES[1]: np.ones(100)}}),
        plotting.plot_scores_by_latent({title: table}, title=title),
        plotting.plot_claims([interval_claim(title, {NAMES[1]: Interval(0.1, 0.2, 0.3)})], x_label=title, title=title),
        plotting.plot_picture(np.zeros((4, 4, 1)), title=title),
    ]
    for number, figure in enumerate(figures):
        for suffix in ("png", "svg"):
            plotting.save_figure(figure, tmp_path / f"{number}.{suffix}")
