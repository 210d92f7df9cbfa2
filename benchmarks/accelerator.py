"""Training on a GPU: one larger transformer as share of the peak, and an ablation of 75 small ones, against PyTorch.

python benchmarks/accelerator.py [--out benchmarks/results/accelerator.json] [--only step | ablation] [--quick]

Step: an encoder of width 384 and depth 12, a decoder of width 192 and depth 4, images of 64 x 64 pixels in patches of
4, batches of 256, in bfloat16 with parameters in float32. In PyTorch with torch.autocast, fused attention and fused
AdamW, compiled (torch.compile) and eager. Loss and gradient are shown to be the same on both sides in float32
beforehand. The share of peak is the arithmetic of the matrix products, three times the forward pass, over the speed of
a product of two square matrices of 8,192 rows in bfloat16.

Ablation: 5 masking ratios x 3 units x 5 seeds of the network of benchmarks/training.py on the same images, 500 steps of
64 each, from nothing to trained, compiling included. Here as one ensemble; in PyTorch eager, one after the other, half
of them before and half after.

--quick runs both questions at a size that a CPU can do in a few minutes, to try the script out; its figures mean
nothing.

PyTorch is needed: pip install torch
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # the other side needs memory too

import jax
import torch  # pyright: ignore[reportMissingImports]
from records import write_rows
from training_contenders import (
    SEED,
    SMALL,
    Ours,
    Row,
    Setting,
    Theirs,
    check_same,
    compare_ensembles,
    compare_steps,
    forward_flops,
    images,
    peak_flops,
    prepared,
    print_rows,
)

from hlvm.mae import Member, TrainConfig, ViTConfig, fit_ensemble
from hlvm.masking import RandomMask

LARGE = ViTConfig(width=384, depth=12, heads=6, decoder_width=192, decoder_depth=4, mlp_ratio=4)
SIDE, CELL = 16, 48
RATIOS, UNITS, SEEDS = (0.1, 0.25, 0.5, 0.75, 0.9), (1, 2, 4), range(5)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="write the results to this JSON file")
    parser.add_argument("--only", choices=("step", "ablation"), help="one of the questions; both, if not given")
    parser.add_argument("--quick", action="store_true", help="a small size, to try the script out")
    arguments = parser.parse_args()
    if jax.default_backend() != "gpu" and not arguments.quick:
        raise SystemExit(f"JAX computes on a {jax.default_backend()} here: this needs a GPU, or --quick")
    rows: list[Row] = []
    for name, question in (("step", step), ("ablation", ablation)):
        if arguments.only in (None, name):
            found = question(quick=arguments.quick)
            print_rows(found)
            rows += found
            if arguments.out is not None:
                write_rows(arguments.out, rows, "jax", "torch")


def torch_device() -> str:
    """Where PyTorch computes: on a GPU if JAX does."""
    if jax.default_backend() != "gpu":
        return "cpu"
    if not torch.cuda.is_available():
        raise SystemExit("JAX sees a GPU here and PyTorch does not: install PyTorch for CUDA")
    return "cuda"


def step(*, quick: bool) -> list[Row]:
    """One step of the larger network."""
    device, on_gpu = torch_device(), torch_device() == "cuda"
    small = ViTConfig(width=48, depth=5, heads=6, decoder_width=24, decoder_depth=1, mlp_ratio=4)
    setting = Setting(config=small if quick else LARGE, side=4 if quick else SIDE, cell=CELL)
    batch, ratio = 16 if quick else 256, 0.75
    data, train = images(setting), TrainConfig(steps=10_000, batch=batch, compute="bfloat16")
    check_same(setting, data, ratio, train)
    this = Ours(prepared(setting, data, ratio, train))
    contenders = {
        f"hlvm, {this.devices}": this,
        "PyTorch, compiled": Theirs(setting, data, ratio, train, compiled=True, device=device, fused=on_gpu),
        "PyTorch, eager": Theirs(setting, data, ratio, train, compiled=False, device=device, fused=on_gpu),
    }
    return compare_steps(
        f"one step in bfloat16, width {setting.config.width}, depth {setting.config.depth}, {setting.side**2} tokens, "
        f"batch {batch}, ratio {ratio:g}",
        contenders,
        per_round=2 if quick else 20,
        rounds=2 if quick else 7,
        flops=3 * forward_flops(setting, ratio, batch),
        peak=lambda: peak_flops(512 if quick else 8192, dtype="bfloat16", device=device),
    )


def ablation(*, quick: bool) -> list[Row]:
    """All members of the ablation, from nothing to trained."""
    device, on_gpu = torch_device(), torch_device() == "cuda"
    setting = Setting(config=SMALL, side=8 if quick else SIDE, cell=CELL)
    arms = [(ratio, unit) for ratio in (RATIOS[2:4] if quick else RATIOS) for unit in (UNITS[:2] if quick else UNITS)]
    seeds = range(2) if quick else SEEDS
    n_steps = 4 if quick else 500
    data, train = images(setting), TrainConfig(steps=n_steps, batch=64, warmup=min(100, n_steps // 2))

    def ours() -> None:
        members = [
            Member(mask=RandomMask(ratio=ratio, unit=unit), network=SMALL, seed=seed)
            for ratio, unit in arms
            for seed in seeds
        ]
        fit_ensemble(jax.random.key(SEED), data, members, train)

    def theirs(some: Sequence[tuple[float, int]]) -> None:
        for ratio, unit in some:
            for seed in seeds:
                one = Theirs(
                    setting, data, ratio, train, compiled=False, seed=seed, unit=unit, device=device, fused=on_gpu
                )
                one(n_steps - 1)

    question = f"{len(arms) * len(seeds)} members x {n_steps} steps, batch 64, compiling included"
    return compare_ensembles(question, ours, arms, theirs)


if __name__ == "__main__":
    main()
