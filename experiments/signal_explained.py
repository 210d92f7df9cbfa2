"""Relevance, readability, signal and pull behind two findings of older experiments; nothing is trained.

``python -m experiments.signal_explained`` prints the numbers that docs/experiments/signal.md quotes: of the root at
masking ratios 0.75 and 0.95, and of the targets of designed masks under these and under random ones.
"""

from __future__ import annotations

import functools

import numpy as np

from experiments.designed_masks import designed, targets
from experiments.mask_design import LAPTOP, _model
from experiments.quadtree_fits import MECHANISMS, QuadtreeFits
from experiments.signal_law import _DRAW_KEY, _ROWS, drawn_masks, effects_without_errors, load_law
from hlvm import HierarchicalModel, LatentGraph
from hlvm._keys import checked_key
from hlvm.masking import MaskSampler, RandomMask
from hlvm.study.truth import generator_key, source_of
from hlvm.theory import estimated_oracle
from hlvm.theory.oracles import NoiseEffects
from hlvm.theory.signal.ridge import ridge_numbers


def explained(effects: NoiseEffects, mask: MaskSampler, latents: list[int], graph: LatentGraph) -> str:
    """Means over masks of the numbers of these latents, in words."""
    law = load_law()
    masks = drawn_masks(mask, graph)
    numbers = ridge_numbers([effects], masks, ~masks, law.ridge)[0][:, :, latents].mean(axis=1)
    names = ("signal", "relevance", "readability")
    parts = [f"{name} {np.round(of, 3).tolist()}" for name, of in zip(names, numbers, strict=True)]
    return ", ".join([*parts, f"pull {law.pull(effects, masks)[latents].round(3).tolist()}"])


def main() -> None:
    """Print both tables."""
    fits = QuadtreeFits()
    make = functools.partial(HierarchicalModel.init, graph=fits.graph, mechanism=MECHANISMS["invertible"])
    source = source_of(make, generator_key(checked_key(fits.key), 0))
    effects = effects_without_errors(estimated_oracle(source, rows=_ROWS, key=_DRAW_KEY))
    for ratio in (0.75, 0.95):
        print(f"root, ratio {ratio}:", explained(effects, RandomMask(ratio=ratio), [0], fits.graph), flush=True)
    model = _model(LAPTOP, 0)
    effects = effects_without_errors(estimated_oracle(model, rows=_ROWS, key=_DRAW_KEY))
    for name, target in targets(model.graph).items():
        latents = [model.graph.latents.index(latent) for latent in target]
        arms = {"designed": designed(model.graph, target)[0]}
        arms |= {f"random {ratio}": RandomMask(ratio=ratio) for ratio in LAPTOP.ratios}
        for arm, mask in arms.items():
            print(f"{name}, {arm}:", explained(effects, mask, latents, model.graph), flush=True)


if __name__ == "__main__":
    main()
