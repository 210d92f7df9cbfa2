"""How fast masked autoencoders are trained: ratios against the same network in PyTorch, measured in the same run.

python benchmarks/training.py [--out benchmarks/results/training.json] [--quick] [--one-device | --sweep STEPS]
                              [--microbatch N]

The network has an encoder of width 64 and depth 4, a decoder of width 32 and depth 2, 8 tokens by 8 of 4 x 4 pixels of
three colours. Both sides start from the same weights and are shown to compute the same loss before anything is timed.
Both read rows of the same table of random images in memory, draw their own random masks and take AdamW steps with a
schedule and gradient clipping. Contenders take turns, a few steps at a time, and the table shows the median of the
rounds with the least and the most. PyTorch runs eager, with attention written out, and compiled (torch.compile, where
there is a C++ compiler); compile times stand beside.

Here every core is a device, the devices share the batch, and each goes through its samples 16 at a time, which is what
docs/mae.md advises for a CPU. --one-device measures the default instead, one device with as many threads as there are
cores and whole batches, which needs a process of its own. --microbatch N goes through N samples at a time, or through
whole batches for 0, whichever way devices are made. With either option PyTorch is not compiled.

The share of peak is the arithmetic of the network's matrix products (three times the forward pass) over the speed of a
product of two square matrices of 2048 rows, measured in the same run.

--sweep asks another question instead: 4 ratios x 4 seeds for so many steps each, compiling included; here all members
at once, every core a device of its own, in PyTorch one member after the other, each with all cores.

PyTorch is needed: pip install torch
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
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

from hlvm.mae import Member, TrainConfig, fit_ensemble, one_device_per_core
from hlvm.masking import RandomMask

SETTING = Setting(config=SMALL, side=8, cell=48)
RATIOS = (0.25, 0.5, 0.75, 0.9)
MICROBATCH = 16


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="write the results to this JSON file")
    parser.add_argument("--quick", action="store_true", help="few settings and rounds, to try the script out")
    either = parser.add_mutually_exclusive_group()
    either.add_argument("--one-device", action="store_true", help="one device for all cores instead of one per core")
    either.add_argument("--sweep", type=int, default=0, metavar="STEPS", help="steps of every member of the sweep")
    parser.add_argument("--microbatch", type=int, metavar="N", help="samples at a time, 0 for whole batches")
    arguments = parser.parse_args()
    if arguments.sweep:
        rows = sweep(arguments.sweep)
        print_rows(rows)
    else:
        devices = None if arguments.one_device else one_device_per_core()
        microbatch = arguments.microbatch
        if microbatch is None:
            microbatch = 0 if arguments.one_device else MICROBATCH
        advised = devices is not None and microbatch == MICROBATCH
        rows = all_steps(devices, microbatch, quick=arguments.quick, compiled=advised and not arguments.quick)
    if arguments.out is not None:
        write_rows(arguments.out, rows, "jax", "torch")


def all_steps(devices: Sequence[Any] | None, microbatch: int, *, quick: bool, compiled: bool) -> list[Row]:
    rows: list[Row] = []
    for batch in (64,) if quick else (64, 256):
        for ratio in (0.75,) if quick else RATIOS:
            rounds = 3 if quick else 7
            found = steps(devices, microbatch, batch=batch, ratio=ratio, rounds=rounds, compiled=compiled)
            print_rows(found)
            rows += found
    return rows


# ---------------------------------------------------------------------- the questions


def steps(
    devices: Sequence[Any] | None, microbatch: int, *, batch: int, ratio: float, rounds: int, compiled: bool
) -> list[Row]:
    data, train = images(SETTING), TrainConfig(steps=10_000, batch=batch)
    check_same(SETTING, data, ratio, train)
    this = Ours(prepared(SETTING, data, ratio, train, devices, microbatch or None))
    contenders: dict[str, Any] = {f"hlvm, {this.devices}": this}
    contenders["PyTorch, eager"] = Theirs(SETTING, data, ratio, train, compiled=False)
    if compiled:
        try:
            contenders["PyTorch, compiled"] = Theirs(SETTING, data, ratio, train, compiled=True)
        except Exception as error:
            print(f"torch.compile does not work here and is left out: {str(error).splitlines()[0]}")
    return compare_steps(
        f"one step, batch {batch}, ratio {ratio:g}",
        contenders,
        per_round=max(2, 640 // batch),
        rounds=rounds,
        flops=3 * forward_flops(SETTING, ratio, batch),
        peak=peak_flops,
    )


def sweep(n_steps: int) -> list[Row]:
    """Four ratios and four seeds, from nothing to trained."""
    devices = one_device_per_core()
    data, train = images(SETTING), TrainConfig(steps=n_steps, batch=64, warmup=min(100, n_steps // 2))

    def ours() -> None:
        members = [
            Member(mask=RandomMask(ratio=ratio), network=SMALL, seed=seed) for ratio in RATIOS for seed in range(4)
        ]
        fit_ensemble(jax.random.key(SEED), data, members, train, devices=devices)

    def theirs(ratios: Sequence[float]) -> None:
        for ratio in ratios:
            for seed in range(4):
                Theirs(SETTING, data, ratio, train, compiled=False, seed=seed)(n_steps - 1)

    question = f"4 ratios x 4 seeds x {n_steps} steps, batch 64, compiling included"
    return compare_ensembles(question, ours, RATIOS, theirs)


if __name__ == "__main__":
    main()
