"""Numbers of docs/how_much.md: share, availability and demand over masking ratios, and density evolution.

python benchmarks/how_much.py [--out benchmarks/results/how_much.json]

Nothing is trained: all numbers follow from generators and masks.

1. Binary grammars of 16 symbols, 16 classes and 5 levels with 2, 4 and 8 synonyms: profiles of single cells masked at
   random, means over three grammars each. Errors are those of the masks and strings, grammar by grammar; beside them
   stands the ratio that asks most for the class in each grammar alone.
2. A quadtree of 64 cells, one number at each node, correlation 0.9 from a node to its child, linear and Gaussian.
3. Density evolution of grammars with 6 levels for patches of several heights, means over grammars.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table

from hlvm._files.digests import write_json
from hlvm._process.provenance import environment
from hlvm.graph import LatentGraph
from hlvm.images import GrammarImages
from hlvm.masking import RandomMask
from hlvm.theory import GaussianOracle, GrammarSizes, MaskProfile, density_evolution, mask_profile

SYNONYMS = (2, 4, 8)
N_SYMBOLS, N_LEVELS, N_GRAMMARS, N_MASKS = 16, 5, 3, 300
MASKED_OF_32 = (1, 2, 4, 8, 12, 16, 20, 24, 28, 29, 30, 31)
COUPLING, HEIGHT, N_MASKS_OF_QUADTREE = 0.9, 3, 400
MASKED_OF_64 = (1, 6, 16, 24, 32, 40, 48, 54, 58, 61, 63)
PATCH_HEIGHTS = (0, 1, 2, 3)
MASKED_SHARES = (0.02, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.98)
POPULATION, N_POPULATIONS = 300, 8


def main() -> None:
    parser = argparse.ArgumentParser(description="Numbers of the page on how much is known and asked for.")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    began = time.perf_counter()
    grammars = list(of_grammars())
    quadtree = means([mask_profile(noisy_quadtree(), ratios(MASKED_OF_64), n_masks=N_MASKS_OF_QUADTREE)])
    evolution = list(of_patches())
    show(grammars, quadtree, evolution)
    if options.out is not None:
        used = environment("jax", "jaxlib", "numpy", "scipy", "pandas")
        found = {"seconds": time.perf_counter() - began, "environment": used}
        write_json(options.out, {**found, "grammars": grammars, "quadtree": quadtree, "density_evolution": evolution})


def ratios(masked: tuple[int, ...]) -> dict[str, RandomMask]:
    """Strategies by masking ratio, of as many cells as the last number and one more."""
    return {repr(m / (masked[-1] + 1)): RandomMask(ratio=m / (masked[-1] + 1)) for m in masked}


def of_grammars() -> Iterator[dict[str, Any]]:
    """Profiles for each number of synonyms."""
    for m in SYNONYMS:
        profiles = []
        for seed in range(N_GRAMMARS):
            grammar = GrammarImages.init(
                jax.random.key(seed),
                n_symbols=N_SYMBOLS,
                n_classes=N_SYMBOLS,
                n_synonyms=m,
                n_levels=N_LEVELS,
                tuple_size=2,
                patch_pixels=1,
                style="one-hot",
            )
            profiles.append(mask_profile(grammar, ratios(MASKED_OF_32), n_masks=N_MASKS))
        asked = [profile.of_heights("demand")[N_LEVELS] for profile in profiles]
        yield {"synonyms": m, "asks_most": [float(str(of.idxmax())) for of in asked], "rows": means(profiles)}


def noisy_quadtree() -> GaussianOracle:
    """Nodes of variance 1, each correlated with its parent."""
    tree = LatentGraph.quadtree(HEIGHT)
    graph = LatentGraph.from_edges(tree.edges, dims=1, grid=tree.grid)
    coupled = {name: [[COUPLING]] for name in graph.nodes if graph.parents(name)}
    noises = {name: math.sqrt(1 - COUPLING**2) if name in coupled else 1.0 for name in graph.nodes}
    return GaussianOracle.from_parameters(graph, coefficients=coupled, noise_scales=noises)


def means(profiles: list[MaskProfile]) -> list[dict[str, Any]]:
    """Rows of heights, as means over generators."""
    table: Any = pd.concat([profile.table for profile in profiles])
    table = table[table["latent"] == ""]
    keys = ["strategy", "quantity", "part", "height"]
    found = []
    for (ratio, quantity, part, height), rows in table.groupby(keys, sort=False):
        found.append(
            {
                "ratio": float(ratio),
                "quantity": quantity,
                "part": part,
                "height": int(height),
                "value": float(rows["value"].mean()),
                "error": float(np.sqrt((rows["error"] ** 2).sum()) / len(rows)),
                "how": rows["how"].iloc[0],
            }
        )
    return found


def of_patches() -> Iterator[dict[str, Any]]:
    """R² of the class over masked shares, for each number of synonyms and height of patches."""
    for m in SYNONYMS:
        sizes = GrammarSizes(
            n_symbols=N_SYMBOLS, n_classes=N_SYMBOLS, n_synonyms=m, n_levels=N_LEVELS + 1, tuple_size=2
        )
        for height in PATCH_HEIGHTS:
            curve = density_evolution(
                sizes,
                patch_height=height,
                masked_shares=MASKED_SHARES,
                population=POPULATION,
                n_populations=N_POPULATIONS,
                key=0,
            )
            yield {
                "synonyms": m,
                "patch_height": height,
                "masked_shares": list(MASKED_SHARES),
                "r2": curve.r2.value[:, -1].tolist(),
                "error": curve.r2.error[:, -1].tolist(),
            }


def show(grammars: list[dict[str, Any]], quadtree: list[dict[str, Any]], evolution: list[dict[str, Any]]) -> None:
    """Print where each height is asked for most, and what patches do."""
    table = Table(title="Ratio that asks most, and its demand with its standard error")
    for heading in ("generator", *(f"height {height}" for height in range(1, N_LEVELS + 1))):
        table.add_column(heading)
    each = {f"grammar, {of['synonyms']} synonyms": of["rows"] for of in grammars} | {"quadtree": quadtree}
    for name, rows in each.items():
        cells = []
        for height in range(1, N_LEVELS + 1):
            of = [row for row in rows if row["quantity"] == "demand" and row["height"] == height]
            best = max(of, key=lambda row: row["value"], default=None)
            cells.append(f"{best['ratio']:.3g}: {best['value']:.4f} ± {best['error']:.4f}" if best else "")
        table.add_row(name, *cells)
    Console().print(table)
    for of in grammars:
        print(of["synonyms"], "synonyms: the class is asked for most at", of["asks_most"], "grammar by grammar")
    for of in evolution:
        print(of["synonyms"], "synonyms, patches of height", of["patch_height"], np.round(of["r2"], 3).tolist())


if __name__ == "__main__":
    main()
