"""Scores of every latent for every autoencoder of the demo, and the claims that rest on them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

from hlvm import mae
from hlvm.claims import Claim, block_claim, interval_claim, mean_claim, no, yes
from hlvm.demo.setting import DemoConfig, Frame, MaskCase, by_case
from hlvm.graph import LatentGraph
from hlvm.mae import Fit
from hlvm.mae.networks.networks import code_dim_of
from hlvm.scoring import (
    RegressionConfig,
    block_verdict,
    kernel_r2_many,
    paired_difference,
    score_by_height,
)
from hlvm.simulator import Sample
from hlvm.study import StudyResult

__all__ = ["bottleneck_claims", "score_bottlenecks", "study_claims"]

_SCORES = ("kernel_r2", "cca")

_CLAIM_REGRESSION = RegressionConfig(max_train=1000, bandwidths=(0.5, 1.0, 2.0, 4.0), ridges=(1e-6, 1e-4, 1e-2, 1.0))


def score_bottlenecks(
    key: jax.Array, sample: Sample, cases: Sequence[MaskCase], fits: Sequence[Fit], advance: Any
) -> pd.DataFrame:
    """Every latent from every bottleneck code, with floor (untrained), ceiling (visible values) and chance."""
    graph, truth = sample.graph, _truth(sample)
    tables: list[pd.DataFrame] = []
    for case in cases:
        own = {
            f"{case.label}, code dim {code_dim_of(fit.network)}": fit for of, fit in by_case(cases, fits) if of is case
        }
        visible = [sample.observed[name] for name in graph.observed if name not in case.mask.masked]
        table = score_by_height(
            {name: mae.encode(fit, sample, case.mask) for name, fit in own.items()},
            truth,
            heights={name: graph.height(name) for name in truth},
            predicted={name: name in case.shared.members for name in truth},
            of="noise",
            floors={name: mae.encode(fit.untrained(), sample, case.mask) for name, fit in own.items()},
            ceiling=jnp.concatenate(visible, axis=1),
            scores=_SCORES,
            key=key,
            config=_CLAIM_REGRESSION,
        )
        tables.append(table)
        advance(len(tables), len(cases))
    return pd.concat(tables, ignore_index=True)


def _truth(sample: Sample) -> dict[str, np.ndarray]:
    """Noises that enter at every latent, as float64.

    Membership is about this: a value holds its ancestors too, and would score outside of c as far as these are in c.
    """
    noises = jax.device_get(sample).noise
    return {name: np.asarray(noises[name], dtype=np.float64) for name in sample.graph.latents}


# ---------------------------------------------------------------------- claims


def bottleneck_claims(
    key: jax.Array,
    sample: Sample,
    cases: Sequence[MaskCase],
    fits: Sequence[Fit],
    config: DemoConfig,
    advance: Any,
) -> list[Claim]:
    """Theorem 2, mask by mask: a code of d_c numbers identifies c and nothing outside it, a narrower one does not."""
    claims: list[Claim] = []
    graph = sample.graph
    for number, (case, fit) in enumerate(by_case(cases, fits)):
        codes = mae.encode(fit, sample, case.mask)
        content = jnp.concatenate([sample.latents[name] for name in sorted(case.shared.frontier)], axis=1)
        members = sorted(case.shared.members, key=graph.position)
        outside = _first_outside(graph, case)
        known = {name: sample.latents[name] for name in (*members, *([outside] if outside else []))}
        from_code = kernel_r2_many(codes, known, key=key, config=_CLAIM_REGRESSION)
        from_content = kernel_r2_many(content, known, key=key, config=_CLAIM_REGRESSION)
        exact = code_dim_of(fit.network) == case.shared.dim
        where = f"{case.label}, {code_dim_of(fit.network)} code dims"
        claims.append(
            block_claim(
                f"{where}: code = c = {{{', '.join(members)}}}, d_c = {case.shared.dim}",
                block_verdict(codes, content, key=key, threshold=config.threshold, config=_CLAIM_REGRESSION),
                members={
                    f"R²({given} → {name})": scores[name].interval
                    for name in members
                    if name not in case.shared.frontier
                    for given, scores in (("ẑ", from_code), ("c", from_content))
                },
                theory=yes("as many numbers as c has") if exact else no("fewer numbers than c has"),
            )
        )
        if exact and outside is not None:
            claims.append(
                interval_claim(  # its plain R² would say nothing: a latent that depends on c can be read off c
                    f"{where}: code holds of {outside} (outside c) no more than c does",
                    {"R² − R² from c": paired_difference(from_code[outside], from_content[outside], key=key)},
                    (-math.inf, 1 - config.threshold),
                    shown={
                        f"R²(ẑ → {outside})": from_code[outside].interval,
                        f"R²(c → {outside})": from_content[outside].interval,
                    },
                    theory=yes(),
                )
            )
        advance(number + 1)
    return claims


def _first_outside(graph: LatentGraph, case: MaskCase) -> str | None:
    """A latent that the mask does not identify, highest first and nearest to what is masked."""
    above = graph.ancestors(case.mask.masked)
    outside = [name for name in graph.latents if name not in case.shared.members]
    return next((name for name in outside if name in above), None)


def study_claims(found: StudyResult, root: str) -> list[Claim]:
    """Random masks that always have the root in c: training brings out more of it than an untrained encoder holds.

    Nothing is claimed of latents that are never in c: a wide code may hold anything.
    """
    of_root: Frame = found.records[found.records["latent"] == root]
    leads = {arm: (rows["value"] - rows["floor"]).to_numpy() for arm, rows in of_root.groupby("arm")}
    return [
        mean_claim(
            f"ViT, unit {arm['unit']} x {arm['unit']}, ratio {arm['ratio']:g}: more of the root (always in c) than "
            "untrained",
            {f"R² − floor, mean over {len(leads[arm['arm']])} seeds": leads[arm["arm"]]},
            theory=yes(),
        )
        for arm in found.settings["arms"]
        if found.prediction.of_latents(arm["mask_name"])[root] == 1
    ]
