"""Tables of claims on the experiments' pages: one number in a cell, a row for each score, verdicts in words."""

import importlib
import math
import re
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from hlvm._html import outcomes
from hlvm.claims import Claim, interval_claim, no, yes
from hlvm.scoring import Interval

DOCS = Path(__file__).parent.parent / "docs"

pytestmark = pytest.mark.skipif(not DOCS.is_dir(), reason="the documentation is not here")


@pytest.fixture
def pages(monkeypatch):
    """The two modules that write the tables, which are no part of the package."""
    monkeypatch.syspath_prepend(str(DOCS))
    before = set(sys.modules)
    modules = importlib.import_module("claim_tables"), importlib.import_module("experiment_pages")
    yield modules
    for name in {"claim_tables", "experiment_pages", "figures"} - before:
        sys.modules.pop(name, None)


class Cells(HTMLParser):
    """Rows of all tables, each a list of its cells' texts."""

    def __init__(self, html):
        super().__init__()
        self.rows, self.inside = [], False
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.inside = True
            self.rows[-1].append("")
        elif tag == "br":
            self.rows[-1][-1] += "\n"

    def handle_endtag(self, tag):
        self.inside = self.inside and tag not in ("td", "th")

    def handle_data(self, data):
        if self.inside:
            self.rows[-1][-1] += data


def claim(**changes):
    given = {
        "text": "0.75 is better than 0.1 & 0.95",
        "scores": {"0.75 − 0.1": interval(0.089, 0.025, 0.154), "0.75 − 0.95": interval(-0.075, -0.1, 0.02)},
        "limits": {"0.75 − 0.1": (0.0, float("inf")), "0.75 − 0.95": (-0.03, 0.03)},
        "theory": no("in c at every ratio"),
        "paper": yes(),
    }
    return interval_claim(**{**given, **changes})


def interval(value, low, high):
    return Interval(low=low, value=value, high=high)


def test_verdict_table_has_a_row_for_each_score_and_a_cell_for_each_number(pages):
    header, said, first, second = Cells(pages[0].verdict_table([claim()])).rows
    assert header == ["score", "value", "low", "high", "more than", "less than", "verdict"]
    assert said[0] == "0.75 is better than 0.1 & 0.95\ntheory: no: in c at every ratio\npaper: yes"
    assert said[1] == "holds: open\ntheory agrees: open\npaper agrees: open"
    assert first == ["0.75 − 0.1", "0.089", "0.025", "0.154", "0", ""]
    assert second == ["0.75 − 0.95", "−0.075", "−0.100", "0.020", "−0.03", "0.03"]


def test_verdict_table_is_silent_about_sources_that_say_nothing(pages):
    refuted = claim(scores={"a": interval(0.01, 0.005, 0.02)}, limits={"a": (0.03, 1.0)}, theory=yes())
    silent = Claim(text="b", scores={"b": interval(1.0, 0.9, 1.1)}, holds=True)
    _, first, _, second, _ = Cells(pages[0].verdict_table([refuted, silent])).rows
    assert first[1] == "holds: no\ntheory agrees: no\npaper agrees: no"
    assert second == ["b", "holds: yes"]


def test_verdict_table_says_where_a_difference_is_too_small_to_count(pages):
    small = Claim(
        text="better",
        scores={"a": interval(0.01, 0.0, 0.02)},
        limits={"a": (0.0, math.inf)},
        margins={"a": 0.03},
        holds=False,
        reason="surely below the margin",
    )
    assert Cells(pages[0].verdict_table([small])).rows[1][1] == "holds: no\ntoo small to count"


def test_verdict_table_shows_the_scores_nearest_to_a_limit_and_counts_the_rest(pages):
    scores = {f"arm {i}": interval(float(i), i - 0.5, i + 0.5) for i in range(5)}
    several = Claim(text="all", scores=scores, limits=dict.fromkeys(scores, (-1.0, 9.0)), holds=True)
    rows = Cells(pages[0].verdict_table([several], most=2)).rows
    assert [row[0] for row in rows[2:]] == ["arm 0", "arm 1", "and 3 more"]


def test_verdict_table_folds_what_is_long(pages):
    assert "<details" not in pages[0].verdict_table([claim()])
    folded = pages[0].verdict_table([claim()] * 9)
    assert "<summary>9 claims: 0 hold, 0 do not, 9 are open. Show them with their scores.</summary>" in folded
    one = pages[0].verdict_table([claim()], folded=True)
    assert "<summary>1 claim: 0 hold, 0 do not, 1 is open. Show it with its scores.</summary>" in one


def test_outcomes_count_claims_in_singular_and_plural():
    assert outcomes([True, False, False]) == "1 holds, 2 do not, 0 are open"
    assert outcomes([True, True, False, None]) == "2 hold, 1 does not, 1 is open"


def test_twice_table_puts_the_runs_below_each_other(pages):
    later = claim(scores={"0.75 − 0.1": interval(0.2, 0.1, 0.3)}, limits={"0.75 − 0.1": (0.0, 1.0)})
    rows = Cells(pages[0].twice_table([(claim(), later)], ("short", "long"))).rows
    assert rows[1][1] == "short: open\nlong: yes"
    assert [row[:3] for row in rows[2:]] == [["0.75 − 0.1", "short", "0.089"], ["0.75 − 0.1", "long", "0.200"]]


def test_tables_of_committed_results_have_one_number_in_a_cell(pages):
    tables, experiments = pages
    names = {name for _, name, _, _ in experiments.FIVE if name != "signal"} | {"masking_ratio", "theorem2"}
    found = {name: experiments.load_results(experiments.RESULTS / name) for name in sorted(names)}
    assert sum(len(results.claims) for results in found.values()) > 20
    for results in found.values():
        html = tables.verdict_table(results.claims)
        cells = re.findall(r'<td class="number">(.*?)</td>', html)
        assert len(cells) >= 5 * len(results.claims)
        assert all(re.fullmatch(r"−?\d+(\.\d+)?|", cell) for cell in cells)
    summary = experiments.summary(found)
    assert summary.count("<details") == len(found)
    assert summary.startswith(f"{sum(c.holds is not None for r in found.values() for c in r.claims)} of ")
