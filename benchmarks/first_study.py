"""Small studies that could show a newcomer something: candidates for ``hlvm study --example``, and what each decides.

python benchmarks/first_study.py [--out benchmarks/results/first_study.json] [--only NAME ...]

Every candidate is a study of the same six masks (ratios 0.25, 0.5, 0.75, units of 1 and 2) on a quadtree of 4 x 4
cells, with one network, number of steps and number of seeds, in a process of its own, cold: nothing compiled is taken
from earlier runs. Rows say how long it took, how many claims hold, fail and stay open, and how far the arms lie apart
at each height (largest less smallest mean R² of what enters there). The one that ``--example`` writes must decide at
least three claims within six minutes on two cores; of those that do, the one with the widest spread was taken.
docs/_static/study.png is the figure that it writes.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from hlvm._files.digests import write_json
from hlvm._process.provenance import environment

ROOT = Path(__file__).resolve().parent.parent
KEY = 0
CANDIDATES: dict[str, dict[str, Any]] = {
    "vit, 300 steps of 32": {"kind": "vit", "width": 16, "steps": 300, "batch": 32, "seeds": 3},
    "vit, 400 steps of 64": {"kind": "vit", "width": 32, "steps": 400, "batch": 64, "seeds": 4},
    "vit, 1500 steps of 64": {"kind": "vit", "width": 32, "steps": 1500, "batch": 64, "seeds": 4},
    "code of 2, 1000 steps of 128": {"kind": "bottleneck", "code_dim": 2, "steps": 1000, "batch": 128, "seeds": 4},
    "code of 6, 300 steps of 128": {"kind": "bottleneck", "code_dim": 6, "steps": 300, "batch": 128, "seeds": 4},
    "code of 6, 1000 steps of 128": {"kind": "bottleneck", "code_dim": 6, "steps": 1000, "batch": 128, "seeds": 4},
    "code of 6, 3000 steps of 128": {"kind": "bottleneck", "code_dim": 6, "steps": 3000, "batch": 128, "seeds": 4},
    "code of 12, 1000 steps of 128": {"kind": "bottleneck", "code_dim": 12, "steps": 1000, "batch": 128, "seeds": 4},
}
"""The first is what a newcomer tried by hand. A code of 6 numbers has room for the root and the four latents below."""


def main() -> None:
    parser = argparse.ArgumentParser(description="Which small study shows a newcomer something.")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--only", nargs="*", choices=tuple(CANDIDATES), metavar="NAME")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        print(json.dumps(measured(CANDIDATES[options.worker])))
        return
    rows = [{"candidate": name, **CANDIDATES[name], **in_own_process(name)} for name in options.only or CANDIDATES]
    table = Table(title="Candidates for a first study")
    for heading in ("candidate", "seconds", "hold", "fail", "open", "spread by height"):
        table.add_column(heading)
    for row in rows:
        spread = ", ".join(f"{height}: {value:.2f}" for height, value in row["spread"].items())
        table.add_row(
            row["candidate"], f"{row['seconds']:.0f}", *(str(row[n]) for n in ("hold", "fail", "open")), spread
        )
    Console().print(table)
    if options.out is not None:
        used = environment("jax", "jaxlib", "flax", "numpy", "scipy", "scikit-learn")
        write_json(options.out, {"environment": used, "rows": rows})


def in_own_process(name: str) -> dict[str, Any]:
    """Run one candidate; its time from the start of its process to the end."""
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, __file__, "--worker", name],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "JAX_ENABLE_COMPILATION_CACHE": "false"},
        cwd=ROOT,
    )
    return {"seconds": time.perf_counter() - began, **json.loads(done.stdout.splitlines()[-1])}


def measured(of: dict[str, Any]) -> dict[str, Any]:
    """Run one candidate as the command does, page and all."""
    from hlvm import LatentGraph
    from hlvm.mae import BottleneckConfig, TrainConfig, ViTConfig, fastest_devices
    from hlvm.masking import RandomMask
    from hlvm.study import Study

    devices = fastest_devices()
    vit = of["kind"] == "vit"
    study = Study(
        LatentGraph.quadtree(2),
        masks=[RandomMask(ratio=ratio, unit=unit) for ratio in (0.25, 0.5, 0.75) for unit in (1, 2)],
        networks=ViTConfig(width=of["width"], decoder_width=of["width"])
        if vit
        else BottleneckConfig(code_dim=of["code_dim"], width=64),
        train=TrainConfig(steps=of["steps"], batch=of["batch"], warmup=50),
        seeds=of["seeds"],
    )
    with tempfile.TemporaryDirectory() as folder:
        found = study.run(KEY, out=Path(folder) / "study", devices=devices)
        found.report(Path(folder) / "report.html")
    outcomes = [claim.holds for claim in found.claims()]
    table: Any = found.table("height")
    heights = table[table["part"] == "noise"].groupby("height")["value"]
    return {
        "hold": outcomes.count(True),
        "fail": outcomes.count(False),
        "open": outcomes.count(None),
        "spread": {str(height): float(values.max() - values.min()) for height, values in heights},
    }


if __name__ == "__main__":
    main()
