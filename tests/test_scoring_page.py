"""The page on how to read a score: its numbers are those of its figure and of the committed calibration."""

import importlib
import json
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "scoring.md"

pytestmark = pytest.mark.skipif(not PAGE.exists(), reason="the documentation is not here")


@pytest.mark.slow
def test_page_quotes_the_values_of_its_figure(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "docs"))
    figures = importlib.import_module("scoring_figures")
    values = figures.values()
    for name in ("scoring_figures", "figures"):
        sys.modules.pop(name)
    page = " ".join(PAGE.read_text(encoding="utf-8").split())
    null, floor, half, exact = figures.LOOKS
    mcc, cca, dci, r2 = (values[name] for name in list(values)[:2] + list(values)[3:])
    assert f"gives {mcc[null]:.2f} to shuffled rows and {mcc[floor]:.2f} to an untrained network" in page
    assert mcc[exact] < mcc[half]
    assert f"gives {cca[null]:.2f} to shuffled rows" in page
    assert f"the exact code gets {dci[exact]:.1f} from 120 rows" in page
    assert f"about 0 by chance and {r2[exact]:.2f} for the exact code" in page
    assert f"the {r2[half]:.2f} of the noisy code" in page
    assert abs(r2[null]) < 0.05
    assert r2[half] - r2[floor] < 0.05


def test_page_quotes_the_calibration():
    record = json.loads((ROOT / "experiments" / "results" / "calibration.json").read_text(encoding="utf-8"))
    page = " ".join(PAGE.read_text(encoding="utf-8").split())
    found, few = record["summary"], ("{:.1f} to {:.1f} %".format)
    wrong = [row for row in record["verdicts"] if row.get(row["expected"], 0) < row["cases"]]
    assert f"Of {found['clear_cases']} cases {100 * found['right']:.1f} % came out right" in page
    assert f"none of the {found['negative_cases']} negative cases was called identified" in page
    assert {row["code"] for row in wrong} == {"overcomplete", "curved, style given"}
    missed = {row["code"]: row["inconclusive"] for row in wrong}
    lost = round(found["clear_cases"] * found["inconclusive"]) - sum(missed.values())
    assert f"| codes that lack one small direction of 6 to 12 dims | {lost} |" in page
    assert (
        f"for 6 latents | {missed['overcomplete']} | | exact codes, style given | {missed['curved, style given']} |"
        in page
    )
    assert not any(row.get("not identified") for row in record["verdicts"] if row["expected"] == "identified")
    for name, spread in (("coverage", "in {} of the cases (240"), ("too_high_ranks", "in {} of the cases, by either")):
        shares = [100 * share for share in found[name]]
        assert spread.format(few(min(shares), max(shares))) in page
    assert f"{100 * min(found['coverage_of_training_means']):.1f} % of the intervals held it" in page
    given = {row["code"]: [0, 0] for row in record["verdicts"] if "style given" in row["code"]}
    for row in record["verdicts"]:
        if row["code"] in given:
            given[row["code"]][0] += row[row["expected"]]
            given[row["code"]][1] += row["cases"]
    assert "refuted in {} of {} cases".format(*given["trace of style, style given"]) in page
    assert "called identified in {} of {}".format(*given["curved, style given"]) in page
    closed = next(row for row in record["closed_form"] if row["closed_form"] == 0.36 and row["rows"] == 2400)
    assert f"was ${closed['mean_r2']:.3f} \\pm {closed['standard_error']:.3f}$" in page


def test_page_quotes_the_table_of_worst_directions():
    rows = json.loads((ROOT / "experiments" / "results" / "calibration.json").read_text(encoding="utf-8"))[
        "worst_direction"
    ]
    page = PAGE.read_text(encoding="utf-8").replace("−", "-")
    text = " ".join(page.split())
    lines = [line for line in page.splitlines() if re.match(r"\| [\d.]+ % \|.* to ", line)]
    assert len(lines) == len({row["share"] for row in rows})
    for line in lines:
        share, *ranges = (cell.strip() for cell in line.strip("|").split("|"))
        of = [row for row in rows if row["share"] == pytest.approx(float(share.removesuffix(" %")) / 100)]
        groups = [[row for row in of if row["map"] == kind and not row["lost"]] for kind in ("curved", "kinked")]
        for quoted, group in zip(ranges, [*groups, [row for row in of if row["lost"]]], strict=True):
            low, high = map(float, quoted.split(" to "))
            assert low == pytest.approx(min(row["least"] for row in group), abs=0.0051)
            assert high == pytest.approx(max(row["greatest"] for row in group), abs=0.0051)
    large = [row for row in rows if row["lost"] and row["share"] > 0.005]
    refuted, cases = (sum(row.get(what, 0) for row in large) for what in ("not identified", "cases"))
    assert (
        f"In {cases} of them the missing direction has a share of 0.75 % or more: {refuted} of these were refuted"
        in text
    )
