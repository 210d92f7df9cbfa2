"""The demo's figures and its report."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hlvm import plotting
from hlvm.claims import Claim
from hlvm.demo.setting import DemoConfig, Frame, MaskCase, by_case
from hlvm.images import QuadtreeImages, contact_sheet
from hlvm.mae import Fit
from hlvm.mae.networks.networks import code_dim_of
from hlvm.report import Section, Table, write_html
from hlvm.simulator import Sample
from hlvm.study import StudyResult
from hlvm.study.pictures import pictures_of

__all__ = ["claim_cells", "write_page"]

_CONTROLS = ("floor", "ceiling", "chance")


def write_page(
    folder: Path,
    config: DemoConfig,
    images: QuadtreeImages,
    pictures: Sample,
    cases: Sequence[MaskCase],
    bottlenecks: Sequence[Fit],
    found: StudyResult,
    scores: pd.DataFrame,
    claims: Sequence[Claim],
    settings: Mapping[str, Any],
) -> None:
    """Draw every figure into ``folder/figures`` and write ``folder/report.html``.

    Args:
        folder: the results' folder.
        config: what was run.
        images: the generator.
        pictures: the sample that example images show.
        cases: masks with their predictions.
        bottlenecks: the bottleneck autoencoders.
        found: the study of the vision transformers.
        scores: one row per bottleneck autoencoder, latent, score and control.
        claims: what was claimed, and how it came out.
        settings: configuration and versions, for the record.
    """
    figures = folder / "figures"
    figures.mkdir()
    drawn = {
        "graph": plotting.plot_graph(images.graph, title="Quadtree of latents over a grid of cells"),
        "images": plotting.plot_picture(contact_sheet(images.render(pictures.observed_matrix)), title="Sample images"),
        "claims": plotting.plot_claims(
            [dataclasses.replace(c, text=f"{i}. {_short(c.text)}") for i, c in enumerate(claims, 1)],
            x_label="held-out kernel R², or a difference of two",
            title="Claims, and the limits that were set for them",
        ),
        "bottleneck_scores": _bottleneck_figure(scores),
        "study": found.plot(title="ViT, random masks: predicted, and found in the mean token of whole images"),
        "reconstructions": _reconstruction_figure(images, found),
        "losses": _loss_figure(cases, bottlenecks, found),
    }
    for number, case in enumerate(cases, start=1):
        drawn[f"mask_{number}"] = plotting.plot_graph(
            images.graph, masked=case.mask.masked, shared=case.shared, title=f"{case.label}: d_c = {case.shared.dim}"
        )
    paths: dict[str, Path] = {}
    for name, figure in drawn.items():
        paths[name] = figures / f"{name}.png"
        plotting.save_figure(figure, paths[name])
    write_html(
        folder / "report.html",
        title="hlvm demo: what can a masked autoencoder recover, and did it?",
        lead=_lead(claims),
        sections=_sections(paths, config, images, cases, found, scores, claims, settings),
    )


# ---------------------------------------------------------------------- figures


def _bottleneck_figure(scores: pd.DataFrame) -> Any:
    latents: Frame = scores[scores["height"] > 0]
    title = "Bottleneck codes: kernel R² of what enters at every latent"
    return plotting.plot_scores_by_latent(latents, title=title)


def _reconstruction_figure(images: QuadtreeImages, found: StudyResult) -> Any:
    samples, arms, proportion = pictures_of(images.graph, found.pictures)
    return plotting.plot_reconstructions(samples, arms, proportion=proportion)


def _loss_figure(cases: Sequence[MaskCase], bottlenecks: Sequence[Fit], found: StudyResult) -> Any:
    narrow = {
        f"{case.label}, code dim {code_dim_of(fit.network)}": fit.losses for case, fit in by_case(cases, bottlenecks)
    }
    wide = {one["arm"]: np.repeat(one["loss"], np.diff([0, *one["step"]])) for one in found.losses if one["seed"] == 0}
    return plotting.plot_losses({"Bottleneck autoencoders": narrow, "Vision transformers": wide})


# ---------------------------------------------------------------------- page


def _lead(claims: Sequence[Claim]) -> str:
    agree = sum(claim.theory_agrees is True for claim in claims)
    against = sum(claim.theory_agrees is False for claim in claims)
    inconclusive = len(claims) - agree - against
    return (
        f"{len(claims)} claims were predicted from graph and masks before training. {agree} came out as predicted, "
        f"{against} against the theory, {inconclusive} inconclusive."
    )


def _short(text: str) -> str:
    """A label in two lines, broken after the first colon."""
    return text.replace(": ", ":\n", 1)


def claim_cells(claim: Claim) -> tuple[str, str, str, str]:
    """The claim, what was predicted of it, what was measured, and whether it holds, for tables."""
    measured = "\n".join(f"{name}: {interval}" for name, interval in claim.measured)
    return claim.text, str(claim.theory), measured, {True: "yes", False: "no", None: "open"}[claim.holds]


def _claims_table(claims: Sequence[Claim]) -> Table:
    words = {True: ("yes", "good"), False: ("NO", "bad"), None: ("open", "open")}
    return Table(
        header=("", "claim", "predicted", "measured [95 % interval]", "holds?", "as predicted?"),
        rows=[(str(i), *claim_cells(c), words[c.theory_agrees][0]) for i, c in enumerate(claims, start=1)],
        classes=[words[c.theory_agrees][1] for c in claims],
        wrap=1,
    )


def _bottleneck_table(scores: pd.DataFrame) -> Table:
    """Scores by autoencoder and height, averaged over the latents of that height."""
    table: Frame = scores
    rows: list[tuple[str, ...]] = []
    for (fit, height, likely), group in table.groupby(["fit", "height", "predicted"], sort=False):
        mean = group.groupby(["score", "control"])[["value", "low", "high"]].mean()
        cells = [fit, f"{height}", f"{likely:.2f}", str(group["latent"].nunique())]
        for score in ("kernel_r2", "cca"):
            cells.append("{value:.2f} [{low:.2f}, {high:.2f}]".format(**mean.loc[score, "none"]))
            cells += [f"{mean.loc[(score, control), 'value']:.2f}" for control in _CONTROLS]
        rows.append(tuple(cells))
    return Table(
        header=("autoencoder", "height", "in c", "variables", "R² [95 %]", *_CONTROLS, "CCA [95 %]", *_CONTROLS),
        rows=rows,
    )


def _study_table(found: StudyResult) -> Table:
    """Scores of the study by arm and height."""
    return Table(
        header=("arm", "height", "P(in c)", "R² [95 %]", *_CONTROLS),
        rows=[
            (
                row["arm"],
                f"{row['height']}",
                f"{row['share_in_c']:.2f}",
                "{value:.2f} [{low:.2f}, {high:.2f}]".format(**row),
                *(f"{row[control]:.2f}" for control in _CONTROLS),
            )
            for row in found.table("height").to_dict("records")
        ],
    )


def _sections(
    paths: Mapping[str, Path],
    config: DemoConfig,
    images: QuadtreeImages,
    cases: Sequence[MaskCase],
    found: StudyResult,
    scores: pd.DataFrame,
    claims: Sequence[Claim],
    settings: Mapping[str, Any],
) -> list[Section]:
    tall, wide, _ = images.shape
    masks = [
        (
            paths[f"mask_{number}"],
            f"{case.label}: c = {{{', '.join(sorted(case.shared.members))}}}, intrinsic dimension {case.shared.dim}.",
        )
        for number, case in enumerate(cases, start=1)
    ]
    return [
        Section(
            heading="Claims",
            text=[
                "code = c means: the code and the shared information c predict each other, R² at least "
                f"{config.threshold:g} both ways at the lower end of the 95 % interval (bootstrap over test samples). "
                "Members that the others of c determine are shown beside, with what c itself gives.",
                "No more than c does means: a latent outside c that depends on it is predicted no better from the code "
                "than from c itself.",
                "More than untrained means: more of the latent than in an untrained encoder of the same shape, on the "
                "same test samples; the interval is that of the mean over seeds.",
            ],
            figures=[
                (
                    paths["claims"],
                    "Intervals that decide each claim, and the limits between which they must lie for it to hold.",
                )
            ],
            table=_claims_table(claims),
        ),
        Section(
            heading="The generator",
            text=[
                f"A quadtree of height {config.height}: each latent owns a square and has four children; its value is "
                "an invertible function of its parent's value and one new noise number. Every cell at the bottom is "
                f"drawn as a small block of pixels, which gives {tall} x {wide} grey images."
            ],
            figures=[
                (paths["graph"], "The latent graph; observed cells are squares."),
                (paths["images"], "Samples."),
            ],
        ),
        Section(
            heading="Predicted before training: fixed masks",
            text=[
                "With invertible mechanisms, what visible and masked part share is the set c of their common "
                "ancestors. An autoencoder whose code has exactly d_c numbers, the intrinsic dimension of c, must "
                "recover c as a block."
            ],
            figures=masks,
        ),
        Section(
            heading="What the bottleneck codes hold",
            text=["Floor: an untrained encoder of the same shape. Ceiling: the visible values themselves."],
            figures=[
                (
                    paths["bottleneck_scores"],
                    "Kernel R² of what enters at every latent, its noise, with intervals over test samples.",
                )
            ],
        ),
        Section(
            heading="Random masks: predicted before training, and what the vision transformers hold",
            text=[
                "Predicted is the chance of each latent to be in c, over ratio and masking unit, in closed form. A "
                "latent inside one masking unit is never identified. A wide representation can hold anything, so only "
                "the difference to the untrained encoder tells. "
                f"These transformers were trained for {config.vit.steps} steps of {config.vit.batch} images only."
            ],
            figures=[
                (
                    paths["study"],
                    "Share of masks with the latents of a height in c; kernel R² of what enters there.",
                ),
                (
                    paths["reconstructions"],
                    "Held-out images: what the encoder of each arm saw, and what it made of the rest.",
                ),
            ],
        ),
        Section(
            heading="Scores by height: vision transformers",
            text=["Means over the latents of a height, with 95 % intervals over seeds."],
            table=_study_table(found),
        ),
        Section(
            heading="Scores by height: bottlenecks",
            text=[
                "Means over the variables of a height, of values and of interval ends. CCA is the mean held-out "
                "canonical correlation."
            ],
            table=_bottleneck_table(scores),
        ),
        Section(
            heading="Training",
            figures=[(paths["losses"], "Loss in units of the data's variance; first seed of each transformer.")],
        ),
        Section(heading="Configuration and versions", code=json.dumps(settings, indent=1, ensure_ascii=False)),
    ]
