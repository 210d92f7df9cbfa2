"""The table of the page on objectives, written from what benchmarks/objectives.py found; nothing is trained here."""

import json
import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results" / "objectives.json"
FRAGMENT = ROOT / "docs" / "experiments" / "generated" / "objectives.md"
EXPECTED = {True: "asked", False: "not asked", None: "not known"}
LEARNED = {True: "learned", False: "not learned", None: "open"}


def draw_all(folder: Path) -> None:
    """Write the table to where the page includes it."""
    del folder
    FRAGMENT.parent.mkdir(parents=True, exist_ok=True)
    FRAGMENT.write_text(table(json.loads(RESULTS.read_text(encoding="utf-8"))), encoding="utf-8")


def table(found: Mapping[str, Any]) -> str:
    """Prediction and measurement, a line per objective; bold where they contradict each other."""
    most = found["most_known"]
    lines = [
        f"| objective | `t` (at most {most['t']:.2f}) | `s` (at most {most['s']:.2f}) | collapsed | effective rank | "
        "time of a step |",
        "|---|---|---|---|---|---|",
    ]
    for row in found["rows"]:
        cells = [_latent(row["latents"][name], row["predicted"][name]) for name in ("t", "s")]
        fallen = [fit["collapse"] != "none" for fit in row["fits"]]
        rank, cost = statistics.fmean(fit["effective_rank"] for fit in row["fits"]), row["cost"]
        collapsed, predicted = f"{sum(fallen)} of {len(fallen)}", row["predicted"]["collapses"]
        if predicted is not None and predicted != (2 * sum(fallen) > len(fallen)):
            collapsed = f"**{collapsed}**"
        took = f"{cost['median']:.2f} ({cost['least']:.2f} to {cost['most']:.2f})"
        lines.append(
            f"| {row['objective'].replace('_', ' ')} | {' | '.join(cells)} | {collapsed} | {rank:.1f} | {took} |"
        )
    floor = {name: statistics.fmean(fit[name]["floor"] for fit in found["rows"][0]["fits"]) for name in ("t", "s")}
    about = found["environment"]
    lines += [
        "",
        f"Before training the code gives `t` an R² of {floor['t']:.2f} and `s` one of {floor['s']:.2f}. "
        f"{found['settings']['steps']:,} steps of {found['settings']['batch']}, {found['settings']['seeds']} seeds; "
        f"hlvm {about['hlvm']}, {about['processor']}, {about['cores']} cores, load {about['load_average'][0]:.0f}.",
    ]
    return "\n".join(lines) + "\n"


def _latent(of: Mapping[str, Any], predicted: bool | None) -> str:
    wrong = predicted is not None and of["learned"] is not None and predicted != of["learned"]
    mark = "**" if wrong else ""
    return f"{EXPECTED[predicted]}: {mark}{of['value']:.2f}, {LEARNED[of['learned']]}{mark}"
