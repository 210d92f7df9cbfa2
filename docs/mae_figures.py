"""Figure of the page on masked autoencoders, drawn from the committed results of an experiment."""

import json
from pathlib import Path

import matplotlib
from figures import STYLE
from matplotlib.figure import Figure

RESULTS = Path(__file__).parent.parent / "experiments" / "results" / "identification.json"
WAYS = {
    "code -> c": "from the code to c",
    "c -> code": "from c to the code",
    "untrained code -> c": "untrained code to c",
}


def draw_all(folder: Path) -> None:
    """Write the figure into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    with matplotlib.rc_context(STYLE):
        identification().savefig(folder / "mae_identification.svg", metadata={"Date": None})


def identification() -> Figure:
    """Scores of every seed, with the mean and its interval."""
    records = json.loads(RESULTS.read_text(encoding="utf-8"))["records"]
    cases = list(dict.fromkeys(record["case"] for record in records))
    figure = Figure(figsize=(7.2, 3.3))
    axes = figure.add_subplot()
    for number, (way, label) in enumerate(WAYS.items()):
        colour, shift = f"C{number}", 0.22 * (1 - number)
        for record in (r for r in records if r["score"] == way):
            height = len(cases) - 1 - cases.index(record["case"]) + shift
            axes.plot([record["low"], record["high"]], [height, height], color=colour, linewidth=2, alpha=0.5)
            axes.plot(record["seeds"], [height] * len(record["seeds"]), "o", color=colour, markersize=4, alpha=0.6)
        axes.plot([], [], "o-", color=colour, label=label)
    axes.set_yticks(range(len(cases)), cases[::-1])
    axes.set_xlim(-0.15, 1.03)
    axes.set_xlabel("held-out kernel R²; dots are seeds, lines 95 % intervals of their mean")
    axes.grid(axis="x", alpha=0.3)
    figure.legend(loc="outside upper center", ncols=3, frameon=False)
    figure.set_layout_engine("constrained")
    return figure
