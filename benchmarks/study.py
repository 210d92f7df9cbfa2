"""Time of a study, cold, and a ratio against the same arms by hand with PyTorch and scikit-learn.

python benchmarks/study.py [--out benchmarks/results/study.json] [--quick] [--only full|nine]

full. 5 ratios x 3 units x 3 seeds on a quadtree of 8 x 8 cells: a transformer of width 32 and depth 2, 400 steps of 64,
    every height scored with all controls, claims decided, the page written. One process from its start to its end,
    compiling included, nothing compiled is taken from earlier runs.
nine. 3 ratios x 3 seeds of the same, here and as one would do it without: each member trained by eager PyTorch on rows
    of a table (the same network, loss and optimiser, see torch_mae.py), one after the other, and each latent and part
    scored by ``GridSearchCV`` of ``KernelRidge`` on the same rows and grid, with floor, ceiling and chance. Each side
    is a process of its own; ours runs before and after. Drawing the table is not counted.

PyTorch is needed for nine: pip install torch
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from hlvm._files.digests import write_json
from hlvm._process.provenance import environment

ROOT = Path(__file__).resolve().parent.parent
HEIGHT, STEPS, BATCH, ROWS, SEEDS, KEY = 3, 400, 64, 1600, 3, 0
FULL = {"ratios": (0.1, 0.25, 0.5, 0.75, 0.9), "units": (1, 2, (2, 4))}
"""A unit of 4 x 4 leaves 4 units, of which a ratio of 0.1 would mask none."""
NINE = {"ratios": (0.25, 0.5, 0.75), "units": (1,)}
PER_HEIGHT = 4


def main() -> None:
    parser = argparse.ArgumentParser(description="How long a study takes, cold.")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--quick", action="store_true", help="20 steps, to see that it runs")
    parser.add_argument("--only", choices=("full", "nine"))
    parser.add_argument("--worker", choices=("full", "nine", "torch"), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    steps = 20 if options.quick else STEPS
    if options.worker == "torch":
        by_hand(options.folder, steps)
    elif options.worker:
        ours(FULL if options.worker == "full" else NINE, options.folder, steps)
    else:
        compare(options.only, steps, options.out)


def compare(only: str | None, steps: int, out: Path | None) -> None:
    """Run every contender in a process of its own."""
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        if only != "full":
            write_table(folder, steps)
            for turn, worker in enumerate(("nine", "torch", "nine")):
                rows.append(
                    {"question": "nine members", "contender": worker} | timed(worker, folder / str(turn), steps)
                )
        if only != "nine":
            rows.append({"question": "45 members", "contender": "full"} | timed("full", folder / "full", steps))
    nine = [row["seconds"] for row in rows if row["contender"] == "nine"]
    for row in rows:
        row["ratio"] = row["seconds"] / float(np.mean(nine)) if row["contender"] == "torch" else None
    table = Table(title="Studies, cold")
    for heading in ("question", "contender", "seconds", "processor seconds", "times as long"):
        table.add_column(heading)
    for row in rows:
        ratio = "" if row["ratio"] is None else f"{row['ratio']:.1f}"
        table.add_row(row["question"], row["contender"], f"{row['seconds']:.0f}", f"{row['cpu_seconds']:.0f}", ratio)
    Console().print(table)
    if out is not None:
        used = environment("jax", "jaxlib", "flax", "numpy", "scipy", "scikit-learn", "torch")
        write_json(out, {"environment": used, "steps": steps, "rows": rows})


def timed(worker: str, folder: Path, steps: int) -> dict[str, Any]:
    """Clock and processor time of one process."""
    folder.mkdir(exist_ok=True)
    command = [sys.executable, __file__, "--worker", worker, "--folder", os.fspath(folder)]
    command += ["--quick"] if steps != STEPS else []
    before, began = os.times(), time.perf_counter()
    subprocess.run(command, check=True, env={**os.environ, "JAX_ENABLE_COMPILATION_CACHE": "false"}, cwd=ROOT)
    seconds, after = time.perf_counter() - began, os.times()
    used = after.children_user + after.children_system - before.children_user - before.children_system
    return {"seconds": seconds, "cpu_seconds": used, **json.loads((folder / "said.json").read_text())}


# ---------------------------------------------------------------------- ours


def the_study(grid: dict[str, Any], steps: int) -> Any:
    """The study of a grid of masks."""
    from hlvm import LatentGraph
    from hlvm.mae import TrainConfig, ViTConfig
    from hlvm.masking import RandomMask
    from hlvm.study import ScoreConfig, Study

    return Study(
        LatentGraph.quadtree(HEIGHT),
        masks=[RandomMask(ratio=ratio, unit=unit) for unit in grid["units"] for ratio in grid["ratios"]],
        networks=ViTConfig(width=32, depth=2, decoder_width=32),
        train=TrainConfig(steps=steps, batch=BATCH, warmup=min(50, steps // 4)),
        seeds=SEEDS,
        score=ScoreConfig(rows=ROWS, per_height=PER_HEIGHT),
    )


def ours(grid: dict[str, Any], folder: Path, steps: int) -> None:
    """One study from the prediction to the page."""
    from hlvm.mae import one_device_per_core

    one_device_per_core()
    found = the_study(grid, steps).run(KEY, out=folder / "study")
    found.report(folder / "report.html")
    spent = [json.loads(path.read_text())["seconds"] for path in (folder / "study" / "groups").iterdir()]
    said = {name: sum(one[name] for one in spent) for name in spent[0]}
    root = found.table("height").query("part == 'noise'").groupby("height")["value"].mean()
    (folder / "said.json").write_text(json.dumps({"groups": len(spent), "in_groups": said, "scores": root.to_dict()}))


# ---------------------------------------------------------------------- by hand


def write_table(folder: Path, steps: int) -> None:
    """Rows to train on, and the samples and latents to score on, as the study draws them."""
    from hlvm.study.measuring import Session

    material = Session(the_study(NINE, steps), KEY).material(0)
    training: Any = material.training
    rows = np.asarray(training.sample(7, steps * BATCH).observed_matrix)
    targets = {f"{t.part} of {t.latent}": np.asarray(t.columns) for t in material.targets}
    arrays: Any = {"rows": rows, "inputs": material.truth.inputs, **targets}
    np.savez(folder / "table.npz", **arrays)


def by_hand(folder: Path, steps: int) -> None:
    """Each member by eager PyTorch, one after the other; each latent by a grid search."""
    import torch  # pyright: ignore[reportMissingImports]
    from torch_mae import TorchMAE, optimizer, train_step

    from hlvm.mae import TrainConfig, ViTConfig
    from hlvm.masking import count_masked

    with np.load(folder.parent / "table.npz") as table:
        arrays = {name: table[name] for name in table.files}
    rows, inputs = arrays.pop("rows"), arrays.pop("inputs")
    shift, scale = rows.mean(axis=0), rows.std(axis=0)
    side = 2**HEIGHT

    def tokens(of: np.ndarray) -> Any:
        return torch.from_numpy(((of - shift) / scale).astype(np.float32).reshape(len(of), side * side, -1))

    train, seen = TrainConfig(steps=steps, batch=BATCH, warmup=min(50, steps // 4)), tokens(inputs)
    config = ViTConfig(width=32, depth=2, decoder_width=32)
    all_rows = tokens(rows)

    def code(model: Any) -> np.ndarray:
        with torch.no_grad():
            coded = torch.cat([model.class_token.expand(len(seen), -1, -1), model.embed(seen) + model.positions], dim=1)
            for block in model.encoder_blocks:
                coded = block(coded)
            return model.encoder_norm(coded)[:, 1:].mean(dim=1).numpy()

    found: dict[str, list[float]] = {}
    searched(inputs, arrays)  # the ceiling
    for ratio in NINE["ratios"]:
        n_masked = count_masked(ratio, side * side)
        for seed in range(SEEDS):
            torch.manual_seed(seed)
            model = TorchMAE(config, (side, side), all_rows.shape[-1])
            searched(code(model), arrays)  # the floor
            adam, schedule = optimizer(model, train)
            for step in range(steps):
                batch = all_rows[step * BATCH : (step + 1) * BATCH]
                hidden = torch.rand(BATCH, side * side).argsort(dim=1) < n_masked
                train_step(model.loss, model, adam, schedule, batch, hidden, side * side - n_masked, train.clip_norm)
            trained, order = code(model), np.random.default_rng(seed).permutation(len(inputs))
            searched(trained[order], arrays)  # chance
            for name, value in searched(trained, arrays).items():
                found.setdefault(name, []).append(value)
    (folder / "said.json").write_text(json.dumps({"scores": {name: float(np.mean(of)) for name, of in found.items()}}))


def searched(code: np.ndarray, targets: dict[str, np.ndarray]) -> dict[str, float]:
    """Held-out R² of every target by the field's usual protocol, on as many rows and as coarse a grid as ours."""
    from scipy.linalg import LinAlgWarning
    from scipy.spatial.distance import pdist
    from sklearn.kernel_ridge import KernelRidge
    from sklearn.model_selection import GridSearchCV

    warnings.simplefilter("ignore", LinAlgWarning)  # of pairs of the grid that lose anyway
    order = np.random.default_rng(0).permutation(len(code))
    train, test = order[:600], order[600:]
    features = (code - code[train].mean(axis=0)) / (code[train].std(axis=0) + 1e-9)
    unit = float(np.median(pdist(features[train])))
    grid = {"alpha": [1e-4, 1e-2, 1e-1, 1.0], "gamma": [1 / (2 * (unit * b) ** 2) for b in (0.5, 1.0, 2.0)]}
    found = {}
    for name, values in targets.items():
        y = (values - values[train].mean(axis=0)) / values[train].std(axis=0)
        search = GridSearchCV(KernelRidge(kernel="rbf"), grid, cv=3, scoring="r2").fit(features[train], y[train])
        score: Any = search.score(features[test], y[test])
        found[name] = float(score)
    return found


if __name__ == "__main__":
    main()
