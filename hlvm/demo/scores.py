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
from hlvm.claims import Claim, block_claim, hull, interval_claim, no, yes
from hlvm.demo.setting import DemoConfig, Frame, MaskCase, by_case
from hlvm.graph import LatentGraph
from hlvm.mae import Fit
from hlvm.mae.networks.networks import code_dim_of
from hlvm.masking import RandomMask
from hlvm.scoring import (
    Interval,
    RegressionConfig,
    block_verdict,
    kernel_r2_many,
    paired_difference,
    score_by_height,
)
from hlvm.simulator import Sample
from hlvm.theory import membership_probability

__all__ = ["bottleneck_claims", "score_bottlenecks", "score_vits", "vit_claims"]

_SCORES = ("kernel_r2", "cca")

_CLAIM_REGRESSION = RegressionConfig(max_train=1000, bandwidths=(0.5, 1.0, 2.0, 4.0), ridges=(1e-6, 1e-4, 1e-2, 1.0))

_TABLE_REGRESSION = RegressionConfig(max_train=800, bandwidths=(0.5, 1.0, 2.0), ridges=(1e-4, 1e-2, 1.0))
"""For the transformers a coarser grid on fewer rows: these scores are many, and compared with each other only."""


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
            heights=dict(zip(graph.nodes, graph.heights, strict=True)),
            predicted={name: name in case.shared.members for name in truth},
            of="noise",
            floors={name: mae.encode(fit.untrained(), sample, case.mask) for name, fit in own.items()},
            ceiling=jnp.concatenate(visible, axis=1),
            scores=_SCORES,
            key=key,
            config=_CLAIM_REGRESSION,
        )
        tables.append(table.assign(part="bottleneck", autoencoder=table["fit"]))
        advance(len(tables), len(cases))
    return pd.concat(tables, ignore_index=True)


def score_vits(key: jax.Array, sample: Sample, fits: Sequence[Fit], advance: Any) -> pd.DataFrame:
    """Every latent from the mean token of the whole image, with floor, ceiling (the image itself) and chance."""
    graph, truth = sample.graph, _truth(sample)
    floors = {fit.seed: mae.encode(fit.untrained(), sample, None) for fit in fits}
    arms: dict[tuple[float, int], dict[str, Fit]] = {}
    for fit in fits:
        ratio, unit = fit.mask.ratio, fit.mask.unit
        arms.setdefault((ratio, unit), {})[f"{_arm(ratio, unit)}, seed {fit.seed}"] = fit
    named = {name: fit for own in arms.values() for name, fit in own.items()}
    table = score_by_height(
        {name: mae.encode(fit, sample, None) for name, fit in named.items()},
        truth,
        heights=dict(zip(graph.nodes, graph.heights, strict=True)),
        of="noise",
        floors={name: floors[fit.seed] for name, fit in named.items()},
        ceiling=sample.observed_matrix,
        scores=_SCORES,
        key=key,
        config=_TABLE_REGRESSION,
    )
    tables: list[pd.DataFrame] = []
    for (ratio, unit), own in arms.items():
        likely = membership_probability(graph, RandomMask(ratio=ratio, unit=unit))
        rows: Frame = table[table["fit"].isin(own)]
        predicted = [likely.get(name, 0.0) for name in rows["latent"]]
        tables.append(
            rows.assign(part="vit", autoencoder=_arm(ratio, unit), ratio=ratio, unit=unit, predicted=predicted)
        )
    advance(1, 1)
    return pd.concat(tables, ignore_index=True)


def _arm(ratio: float, unit: int) -> str:
    return f"random, ratio {ratio:g}, unit {unit} x {unit}"


def _truth(sample: Sample) -> dict[str, np.ndarray]:
    """Noises that enter at every variable, latent and observed, as float64.

    Membership is about this: a value holds its ancestors too, and would score outside of c as far as these are in c.
    """
    return {name: np.asarray(noise, dtype=np.float64) for name, noise in jax.device_get(sample).noise.items()}


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


def vit_claims(scores: pd.DataFrame) -> list[Claim]:
    """Random masks that always have the root in c: training brings out more of it than an untrained encoder holds.

    Nothing is claimed of latents that are never in c: a wide code may hold anything.
    """
    claims: list[Claim] = []
    vits: Frame = scores[scores["part"] == "vit"]
    for (unit, ratio), rows in vits.groupby(["unit", "ratio"]):
        root = rows[rows["height"] == rows["height"].max()]
        lead = root[root["control"] == "above_floor"]
        if (root["predicted"] == 1).all():
            of_seeds = [Interval(**ends) for ends in lead[["value", "low", "high"]].to_dict("records")]
            claims.append(
                interval_claim(
                    f"ViT, unit {unit:g} x {unit:g}, ratio {ratio:g}: more of the root (always in c) than untrained",
                    {f"R² − floor, range over {len(of_seeds)} seeds": hull(of_seeds)},
                    theory=yes(),
                )
            )
    return claims
