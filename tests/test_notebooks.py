"""Results in notebooks: HTML that is well formed, escaped, small, and readable on light and on dark themes."""

import dataclasses
import io
import math
import re
import sys
import types
from html.parser import HTMLParser

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from study_cases import study_result

from hlvm._html import escaped, number, table
from hlvm.claims import interval_claim, mean_claim, no, yes
from hlvm.graph import LatentGraph, pure_children_chain, random_graph
from hlvm.mae import BottleneckConfig, Fit, LinearConfig, Progress, ProgressBar, TrainConfig, fit
from hlvm.masking import FixedMask, RandomMask
from hlvm.mechanisms import LinearGaussian
from hlvm.scoring import Interval, block_verdict
from hlvm.simulator import HierarchicalModel
from hlvm.study import StudyProgress

NASTY = '<script>alert("1")</script>&amp;\''
MOST_BYTES = 50_000


class Read(HTMLParser):
    """Elements with their attributes, and texts; fails where tags do not close in order."""

    def __init__(self, page):
        super().__init__()
        self.elements, self.texts, self.open = [], [], []
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


def read(shown):
    """The HTML a notebook would be given; every result is checked for what holds of all."""
    page = shown._repr_html_()
    found = Read(page)
    assert {tag for tag, _ in found.elements} <= {
        *("div", "p", "strong", "table", "thead", "tbody", "tr", "th", "td"),
        *("svg", "g", "title", "rect", "line", "text"),
    }
    assert "background" not in page
    assert "color:" not in page
    assert len(page.encode("utf-8")) < MOST_BYTES
    return found


def fit_of(**changes):
    model = HierarchicalModel.init(0, LatentGraph.tree(2, 1), LinearGaussian())
    found = Fit(
        model=model,
        mask=RandomMask(ratio=0.5),
        network=BottleneckConfig(code_dim=2),
        train=TrainConfig(),
        seed=3,
        key=jax.random.key(0),
        params=jnp.zeros(4),
        losses=np.array([1.0, 0.5, 0.125]),
        diverged=False,
        shift=jnp.zeros(6),
        scale=jnp.ones(6),
    )
    return dataclasses.replace(found, **changes)


# ---------------------------------------------------------------------- graphs


def test_graph_is_drawn_by_height():
    graph = LatentGraph.quadtree(2)
    found = read(graph)
    boxes, lines = found.all("rect"), found.all("line")
    assert len(boxes) == len(graph.nodes)
    assert len(lines) == len(graph.edges)
    assert set(graph.nodes) <= set(found.texts)
    levels = [float(box["y"]) for box in boxes]
    for height, level in zip(graph.heights, levels, strict=True):
        assert level == levels[0] + (2 - height) * (levels[1] - levels[0])
    middles = [float(box["x"]) + float(box["width"]) / 2 for box in boxes]
    for (parent, child), line in zip(graph.edges, lines, strict=True):
        ends = middles[graph.position(parent)], middles[graph.position(child)]
        assert (float(line["x1"]), float(line["x2"])) == pytest.approx(ends, abs=1)


@pytest.mark.parametrize("seed", range(5))
def test_graph_draws_no_box_upon_another_or_outside(seed):
    graph = random_graph(seed, n_latents=12, n_observed=14, max_parents=3)
    found = read(graph)
    right, bottom = map(float, found.all("svg")[0]["viewbox"].split()[2:])
    corners = [tuple(float(box[name]) for name in ("x", "y", "width", "height")) for box in found.all("rect")]
    assert len(corners) == 26
    for i, (x, y, width, tall) in enumerate(corners):
        assert 60 < x < x + width <= right
        assert 0 <= y < y + tall <= bottom
        assert not any(abs(x - a) < width and abs(y - b) < tall for a, b, *_ in corners[:i])


def test_graph_writes_on_its_boxes_in_a_colour_of_its_own():
    for tag, attributes in read(LatentGraph.tree(2, 1)).elements:
        if tag == "text":
            assert attributes["fill"] == ("#111111" if attributes.get("text-anchor") else "currentColor")


def test_graph_escapes_names():
    found = read(LatentGraph.from_edges([(NASTY, "x1"), (NASTY, "half \ud800")]))
    assert f"{NASTY}: 1 dims, of which noise 1" in found.texts
    assert any(text.startswith("half ?: ") for text in found.texts)


def test_graph_with_long_names_is_small():
    graph = LatentGraph.from_edges([(f"z{i}" * 400, f"{j}x" * 400) for i in range(6) for j in range(24)])
    assert len(read(graph).all("rect")) == 30


def test_large_graph_is_counted_by_height():
    found = read(LatentGraph.tree(10, 3))
    assert found.all("svg") == []
    rows = np.array(found.texts[5:]).reshape(-1, 4).tolist()
    assert rows == [
        ["3", "1 latent", "2", "2"],
        ["2", "10 latents", "3", "1"],
        ["1", "100 latents", "4", "1"],
        ["0", "1000 observed", "5", "1"],
    ]


def test_deep_graph_counts_what_it_leaves_out():
    graph = pure_children_chain(300, children=2)
    words = [text.split() for text in read(graph).texts if text.endswith(("latent", "latents", "below"))]
    assert len(words) == 21
    assert sum(int(each[0]) for each in words) == len(graph.nodes)


def test_graph_of_a_thousand_variables_is_small():
    wide = LatentGraph.from_edges([(NASTY, f"x{i}") for i in range(1_000)])
    assert read(wide).all("svg") == []
    assert len(wide._repr_html_()) < 2_000


# ---------------------------------------------------------------------- verdicts and claims


def test_verdict_shows_its_scores():
    z = np.random.default_rng(0).normal(size=(400, 3))
    verdict = block_verdict(z[:, :2] @ [[1.0, 1.0], [-1.0, 2.0]], z[:, :2], others={NASTY: z[:, 2]}, key=0)
    found = read(verdict)
    assert found.texts[0] == f"{verdict.verdict}: {verdict.reason}"
    assert "kernel R², ẑ → c" in found.texts
    forward = verdict.forward
    assert {number(forward.value), number(forward.low), number(forward.high)} <= set(found.texts)
    assert f"more of {NASTY} than c tells, R²" in found.texts


@pytest.mark.parametrize(("low", "word"), [(0.2, "holds"), (-0.6, "does not hold"), (-0.1, "open")])
def test_claim_shows_outcome_limits_and_stances(low, word):
    scores = {NASTY: Interval(value=low + 0.2, low=low, high=low + 0.4)}
    claim = interval_claim(f"{NASTY} is large", scores, theory=yes("it <b>must"), paper=no())
    found = read(claim)
    agrees = {"holds": (" (agrees)", " (does not agree)"), "does not hold": (" (does not agree)", " (agrees)")}
    theory, paper = agrees.get(word, ("", ""))
    assert found.texts[0] == f"{NASTY} is large: {word}"
    row = [NASTY, *(f"{end:.3f}".replace("-", "\N{MINUS SIGN}") for end in (low + 0.2, low, low + 0.4)), "0"]
    assert found.texts[found.texts.index("less than") + 1 :][:5] == row
    assert {f"yes: it <b>must{theory}", f"no{paper}"} <= set(found.texts)


# ---------------------------------------------------------------------- studies and fits


def test_study_counts_decided_claims_and_shows_the_head_of_its_table():
    own = mean_claim(NASTY, {"a − b": [0.3, 0.31, 0.29]}, theory=yes())
    masks = [RandomMask(ratio=ratio) for ratio in (0.25, 0.5, 0.75)]
    result = dataclasses.replace(study_result(masks, height=2), own_claims=(own,))
    decided = [claim for claim in result.claims() if claim.holds is not None]
    found = read(result)
    assert found.texts[0] == repr(result)
    assert found.texts[1].startswith(f"{len(decided)} of {len(result.claims())} claims decided: ")
    rows = result.table("height")
    assert len(found.all("tr")) == 1 + min(10, len(rows))
    assert number(rows["value"][0]) in found.texts
    assert (f"{len(rows) - 10} more rows in table()" in found.texts) == (len(rows) > 10)


def test_fit_shows_what_made_it_and_its_last_loss():
    found = read(fit_of())
    assert found.texts[0] == "Fit, seed 3"
    rows = dict(zip(found.texts[1::2], found.texts[2::2], strict=True))
    assert rows["steps"] == "3"
    assert rows["last loss"] == "0.125"
    assert rows["mask"] == str(RandomMask(ratio=0.5))
    assert rows["network"].startswith("BottleneckConfig(code_dim=2")
    assert rows["loss"].startswith("LossConfig(score='squared_error'")


def test_fit_before_training_has_no_last_loss():
    found = read(fit_of(losses=np.zeros(0)))
    assert found.texts[0] == "Fit, seed 3 (untrained)"
    assert "last loss" not in found.texts


def test_fit_with_a_long_mask_is_small():
    found = read(fit_of(mask=FixedMask(masked=tuple(f"x{i}" for i in range(50_000))), diverged=True))
    assert found.texts[0] == "Fit, seed 3 (diverged)"


# ---------------------------------------------------------------------- progress


@pytest.fixture
def notebook(monkeypatch):
    """A notebook as far as a bar can tell: IPython with a kernel; what is shown below the cell, by its place."""
    cell = []

    class Handle:
        def __init__(self, place):
            self.place = place

        def update(self, shown):
            cell[self.place].append(shown._repr_html_())

    def display(shown, *, display_id):
        assert display_id is True
        cell.append([shown._repr_html_()])
        return Handle(len(cell) - 1)

    ipython = types.SimpleNamespace(
        get_ipython=lambda: types.SimpleNamespace(kernel=object()), display=types.SimpleNamespace(display=display)
    )
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    return cell


def bars_of(page):
    (bar,) = Read(page).all("progress")
    return float(bar["value"]), Read(page).texts


def test_progress_bar_is_one_element_of_a_notebook(notebook, capsys):
    fit(
        0,
        HierarchicalModel.init(0, LatentGraph.tree(2, 1), LinearGaussian()),
        FixedMask(masked=("x_0",)),
        LinearConfig(code_dim=1),
        TrainConfig(steps=220, batch=4, warmup=1),
        on_progress=ProgressBar(NASTY),
    )
    (pages,) = notebook
    values, texts = zip(*map(bars_of, pages), strict=True)
    assert len(values) > 1
    assert list(values) == sorted(values)
    assert values[-1] == 1
    assert texts[-1] == [f"{NASTY} ", " done"]
    assert capsys.readouterr() == ("", "")


def test_progress_bar_takes_the_progress_of_a_study(notebook):
    bar = ProgressBar()
    for share in (0.25, 0.5):
        bar(StudyProgress(groups_done=0, groups=2, share=share, seconds_left=None))
    first, second = map(bars_of, notebook[0])
    assert first == (0.25, ["training ", " 25%"])
    assert second[0] == 0.5
    assert re.fullmatch(r" 50%, \d+ s left", second[1][1])


class Terminal(io.StringIO):
    def __init__(self, is_terminal):
        super().__init__()
        self.isatty = lambda: is_terminal


@pytest.mark.parametrize("is_terminal", [True, False])
def test_progress_bar_is_one_line_of_a_terminal_and_nothing_in_a_log(is_terminal, monkeypatch):
    stream, bar = Terminal(is_terminal), ProgressBar("fit")
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(get_ipython=lambda: object()))  # no kernel
    for share in (0.5, 1.0):
        bar(StudyProgress(groups_done=0, groups=2, share=share, seconds_left=None))
    begun = f"\rfit [{15 * '#'}{15 * '.'}] 50%\x1b[K"
    assert stream.getvalue() == (f"{begun}\rfit [{30 * '#'}] done\x1b[K\n" if is_terminal else "")


def test_progress_is_the_share_of_all_programs():
    given = dict.fromkeys(Progress._fields) | {"group": 1, "n_groups": 4, "step": 30, "steps": 40}
    assert Progress(**given).share == (1 + 0.75) / 4


# ---------------------------------------------------------------------- pieces


def test_pieces():
    assert escaped("a" * 400) == "a" * 299 + "…"
    assert [number(value) for value in (math.nan, -0.25, 1e-7)] == ["–", "−0.25", "1e−07"]
    found = Read(table(("<a>",), [(1, 0.5, "<b>")]))
    assert found.texts == ["<a>", "1", "0.5", "<b>"]
