"""Milliseconds from a click to the answer on the explorer's page, measured in the browser.

python benchmarks/explorer.py [--out benchmarks/results/explorer.json]

Each row is one deed on one graph and one regime, done 20 times: opening a graph of the menu, or masking one more cell.
*Answer* is the time by the browser's clock until members, frontier and d_c stand in the page, *painted* the time until
the next frame after that was drawn. Needs Chromium, and Playwright's client of the test extra.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import tempfile
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from hlvm._files.digests import write_json
from hlvm._process.provenance import environment
from hlvm.explore import write_explorer

REPEATS = 20
GRAPHS = ("quadtree-3", "quadtree-4", "quadtree-5", "fields")
MEASURE = """async ([key, regime, deed, repeats]) => {
  const frame = () => new Promise((done) => requestAnimationFrame(() => {
    const channel = new MessageChannel(); // its message comes before any timer, after the frame
    channel.port1.onmessage = done;
    channel.port2.postMessage(0);
  }));
  const pause = () => new Promise((done) => setTimeout(done, 300));
  const found = [];
  for (let i = 0; i < repeats; i++) {
    explorer.openKey("quadtree-1");
    if (deed === "mask a cell") {
      explorer.openKey(key);
      explorer.setRegime(regime);
      explorer.maskAtRandom();
    }
    await pause();
    const entry = explorer.entries.find((one) => one.key === key);
    if (deed === "open") {
      entry.made = undefined;
      entry.regime = regime;
    }
    const begin = performance.now();
    if (deed === "open") explorer.openKey(key);
    else explorer.paint(i, 1 - explorer.mask[i]);
    const answer = explorer.answered - begin;
    await frame();
    found.push([answer, performance.now() - begin]);
  }
  return found;
}"""


def main() -> None:
    parser = argparse.ArgumentParser(description="How quickly the explorer answers.")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    rows, version = measured()
    table = Table(title=f"Milliseconds, median (largest) of {REPEATS}")
    for heading in ("graph", "regime", "deed", "answer", "painted"):
        table.add_column(heading)
    for row in rows:
        times = [f"{row[of]['median']:.1f} ({row[of]['largest']:.1f})" for of in ("answer", "painted")]
        table.add_row(row["graph"], row["regime"], row["deed"], *times)
    Console().print(table)
    if options.out:
        record = {"environment": environment("playwright"), "browser": version, "repeats": REPEATS, "rows": rows}
        write_json(options.out, record)


def measured() -> tuple[list[dict[str, Any]], str]:
    """Rows, and the version of the browser."""
    from playwright.sync_api import sync_playwright

    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))))
    flags = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
    rows = []
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as driver:
        write_explorer(Path(folder) / "explorer.html")
        browser = driver.chromium.launch(executable_path=path, args=flags)
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.goto((Path(folder) / "explorer.html").as_uri())
        for graph in GRAPHS:
            for regime in ("invertible", "general"):
                for deed in ("open", "mask a cell"):
                    times = page.evaluate(MEASURE, [graph, regime, deed, REPEATS])
                    row: dict[str, Any] = {"graph": graph, "regime": regime, "deed": deed}
                    for name, values in zip(("answer", "painted"), zip(*times, strict=True), strict=True):
                        row[name] = {"median": round(statistics.median(values), 2), "largest": round(max(values), 2)}
                    rows.append(row)
        version = browser.version
        browser.close()
    return rows, version


if __name__ == "__main__":
    main()
