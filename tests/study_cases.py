"""Results of studies that were never trained: shares predicted by theory, scores made up around them."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pandas as pd

from hlvm.claims import ClaimConfig
from hlvm.graph import LatentGraph
from hlvm.mae import LossConfig, ViTConfig
from hlvm.masking import RandomMask
from hlvm.masking.descriptions import mask_to_dict
from hlvm.study import StudyResult
from hlvm.study.arms import arms_of
from hlvm.study.comparisons import drawn_pairs
from hlvm.study.decisions import decide
from hlvm.study.prediction import predict_shares
from hlvm.study.scores import Target

RATIOS, UNITS = (0.1, 0.25, 0.5, 0.75, 0.9), (1, 2, 4)
GRID = [RandomMask(ratio=ratio, unit=unit) for unit in UNITS for ratio in RATIOS if unit < 4 or 0.2 < ratio < 0.8]
"""On 8 x 8 cells; 0.1 and 0.9 of four units of 4 x 4 cells would be none and all."""
SHOWN = 3


def study_result(masks, *, height=3, networks=None, losses=None, seeds=4, noise=0.04, parts=("value", "noise"), seed=0):
    """A finished study of a quadtree, whose scores are the predicted shares, damped, with noise.

    Args:
        masks: strategies.
        height: of the quadtree.
        networks: architectures.
        losses: what is made small.
        seeds: of every arm.
        noise: standard deviation between seeds.
        parts: what is scored.
        seed: of everything random.
    """
    graph, rng = LatentGraph.quadtree(height), np.random.default_rng(seed)
    networks, losses = networks or [ViTConfig(width=16, depth=1)], losses or [LossConfig()]
    arms = arms_of(graph, masks, networks, losses)
    prediction = predict_shares(graph, {arm.mask_name: arm.mask for arm in arms}, regime="invertible")
    heights = dict(zip(graph.nodes, graph.heights, strict=True))
    chosen = [name for h in range(height, 0, -1) for name in [n for n in graph.latents if heights[n] == h][:2]]
    shares = {arm.name: prediction.of_latents(arm.mask_name) for arm in arms}
    records = [
        {
            "arm": arm.name,
            "generator": 0,
            "seed": number,
            "latent": latent,
            "height": heights[latent],
            "part": part,
            "score": "R²",
            "value": 0.1 + (0.7 if part == "noise" else 0.8) * shares[arm.name][latent] + rng.normal(0, noise),
            "floor": 0.12,
            "ceiling": 0.93,
            "chance": 0.0,
        }
        for arm, number, latent, part in itertools.product(arms, range(seeds), chosen, parts)
    ]
    steps = np.arange(1, 51)
    columns = sum(graph.dims[-graph.n_observed :])
    rows = rng.normal(size=(SHOWN, columns))
    pictures = []
    for arm in arms:
        masked = rng.random((SHOWN, graph.n_observed)) < arm.ratio
        pictures.append(
            {
                "arm": arm.name,
                "rows": rows.tolist(),
                "masked": masked.astype(int).tolist(),
                "reconstructed": (0.8 * rows).tolist(),
            }
        )
    settings = {
        "format": "hlvm.study",
        "graph": graph.to_dict(),
        "arms": [
            {
                **arm.columns,
                "mask_name": arm.mask_name,
                "settings": {
                    "mask": mask_to_dict(arm.mask),
                    "network": dataclasses.asdict(arm.network),
                    "loss": dataclasses.asdict(arm.loss),
                },
            }
            for arm in arms
        ],
        "train": {"steps": 50, "batch": 64},
        "seeds": seeds,
        "generators": 1,
        "score": {"view": "whole"},
        "regime": "invertible",
        "key": ["threefry2x32", 0, 0],
    }
    losses_of = [
        {
            "arm": arm.name,
            "generator": 0,
            "seed": number,
            "step": steps.tolist(),
            "loss": (0.4 + 0.6 * np.exp(-steps / 15) + rng.normal(0, 0.02, len(steps))).tolist(),
            "diverged": False,
        }
        for arm, number in itertools.product(arms, range(seeds))
    ]
    part = "noise" if "noise" in parts else "value"
    targets = [Target(latent, heights[latent], part, np.zeros((0, 1)), None) for latent in chosen]
    pairs, scored = tuple(drawn_pairs(arms, prediction, targets, part)), pd.DataFrame(records)
    return StudyResult(
        settings=settings,
        prediction=prediction,
        records=scored,
        losses=losses_of,
        pictures=pictures,
        own_claims=(),
        drawn=decide(pairs, scored, ClaimConfig()),
        pairs=pairs,
        claim_config=ClaimConfig(),
        environment={"hlvm": "0.1.0", "python": "3.11"},
    )
