"""The demo's page: scenes, heat maps, claims, and then the details."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from hlvm import plotting
from hlvm.claims import Claim
from hlvm.demo.pictures import beside, claims_figure, gains_figure, latents_figure, losses_figure, scenes_figure
from hlvm.demo.scenes import SceneFit
from hlvm.demo.setting import DemoConfig, Frame, MaskCase
from hlvm.images import QuadtreeImages, contact_sheet, save_png
from hlvm.mae import Fit
from hlvm.report import Section, Table, claim_table, write_html
from hlvm.simulator import Sample
from hlvm.study import StudyResult

__all__ = ["write_page", "write_quick_page"]

_ENDS, _CONTROLS = ("value", "low", "high"), ("floor", "ceiling", "chance")
_TITLE = "hlvm demo: what can a masked autoencoder recover, and did it?"
_FIXED_MASKS = (
    "With invertible mechanisms, what visible and masked part share is the set c of their common ancestors. An "
    "autoencoder whose code has exactly d_c numbers, the intrinsic dimension of c, must recover c as a block."
)
_LATENTS_CAPTION = "Kernel R² of what enters at every latent, its noise, with intervals over test samples."


def write_page(
    folder: Path,
    config: DemoConfig,
    images: QuadtreeImages,
    pictures: Sample,
    cases: Sequence[MaskCase],
    bottlenecks: Sequence[Fit],
    found: StudyResult,
    scenes: SceneFit,
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
        scenes: the transformer that was trained on scenes, and what it made of some.
        scores: one row per bottleneck autoencoder, latent, score and control.
        claims: what was claimed, and how it came out.
        settings: configuration and versions, for the record.
    """
    graph = images.graph
    drawn = {
        "scenes": scenes_figure(scenes.pictures),
        "gains": gains_figure(found.table("height")),
        "study": found.plot(),
        "claims": claims_figure(claims),
        "graph": plotting.plot_graph(graph, title="Quadtree of latents over a grid of cells"),
        "images": plotting.plot_picture(contact_sheet(images.render(pictures.observed_matrix)), title="Sample images"),
        "bottleneck_scores": latents_figure(scores),
        "losses": losses_figure(cases, bottlenecks, found, scenes.fit),
    }
    for number, case in enumerate(cases, start=1):
        title = f"{case.label}: d_c = {case.shared.dim}"
        drawn[f"mask_{number}"] = plotting.plot_graph(graph, masked=case.mask.masked, shared=case.shared, title=title)
    paths = _saved(folder, drawn)
    save_png(folder / "figures" / "demo.png", beside(scenes_figure(scenes.pictures, shown=4), drawn["gains"]))
    write_html(
        folder / "report.html",
        title=_TITLE,
        lead=_lead(claims),
        sections=_sections(paths, config, images, cases, found, scenes, scores, claims, settings),
    )


def write_quick_page(
    folder: Path,
    config: DemoConfig,
    case: MaskCase,
    scores: pd.DataFrame,
    claims: Sequence[Claim],
    settings: Mapping[str, Any],
) -> None:
    """The figure and the page of a quick run: one fixed mask.

    Args:
        folder: the results' folder.
        config: what was run.
        case: the mask, with its prediction.
        scores: as for :func:`write_page`.
        claims: likewise.
        settings: likewise.
    """
    paths = _saved(folder, {"bottleneck_scores": latents_figure(scores)})
    sections = [
        _claims_section(config, claims, []),
        Section(
            heading=f"Predicted before training, and found: {case.label}",
            text=[f"{_FIXED_MASKS} Here c = {{{', '.join(sorted(case.shared.members))}}}, d_c = {case.shared.dim}."],
            figures=[(paths["bottleneck_scores"], _LATENTS_CAPTION)],
        ),
        _settings_section(settings),
    ]
    write_html(folder / "report.html", title=_TITLE, lead=_lead(claims), sections=sections)


def _saved(folder: Path, drawn: Mapping[str, Figure]) -> dict[str, Path]:
    """Write figures, and tell where they are."""
    figures = folder / "figures"
    figures.mkdir()
    paths = {name: figures / f"{name}.png" for name in drawn}
    for name, figure in drawn.items():
        plotting.save_figure(figure, paths[name])
    return paths


# ---------------------------------------------------------------------- page


def _lead(claims: Sequence[Claim]) -> str:
    agree = sum(claim.theory_agrees is True for claim in claims)
    against = sum(claim.theory_agrees is False for claim in claims)
    inconclusive = len(claims) - agree - against
    return (
        f"{len(claims)} claims were made from graph and masks before training. {agree} came out as predicted, "
        f"{against} against the theory, {inconclusive} inconclusive."
    )


def _claims_table(claims: Sequence[Claim]) -> Table:
    holds = {True: "holds", False: "does not hold", None: "open"}
    agrees = {True: ("as predicted", "good"), False: ("NOT as predicted", "bad"), None: ("", "open")}
    ends = []
    for claim in claims:
        word, look = agrees[claim.theory_agrees]
        ends.append((", ".join(filter(None, (holds[claim.holds], word))), look))
    return claim_table(claims, ends, said="predicted")


def _bottleneck_table(scores: pd.DataFrame) -> Table:
    """Scores by autoencoder and height, averaged over the latents of that height."""
    table: Frame = scores
    rows: list[tuple[str, ...]] = []
    for (fit, height, likely), group in table.groupby(["fit", "height", "predicted"], sort=False):
        mean = group.groupby(["score", "control"])[["value", "low", "high"]].mean()
        for score, name in (("kernel_r2", "R²"), ("cca", "CCA")):
            ends = [f"{mean.loc[(score, 'none'), end]:.2f}" for end in _ENDS]
            controls = [f"{mean.loc[(score, control), 'value']:.2f}" for control in _CONTROLS]
            rows.append((fit, f"{height}", f"{likely:.2f}", str(group["latent"].nunique()), name, *ends, *controls))
    return Table(
        header=("autoencoder", "height", "in c", "variables", "score", *_ENDS, *_CONTROLS),
        rows=rows,
    )


def _study_table(found: StudyResult) -> Table:
    """Scores of the study by arm and height."""
    return Table(
        header=("arm", "height", "P(in c)", *_ENDS, *_CONTROLS),
        rows=[
            (
                row["arm"],
                f"{row['height']}",
                f"{row['share_in_c']:.2f}",
                *(f"{row[name]:.2f}" for name in (*_ENDS, *_CONTROLS)),
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
    scenes: SceneFit,
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
        _scenes_section(paths, config, scenes),
        _study_section(paths, config, found),
        _claims_section(
            config,
            claims,
            [
                (
                    paths["claims"],
                    "The intervals that decide each claim. Coloured ground: where they were predicted to lie; of a "
                    "claim that was predicted to fail one interval there is enough. Dashed: the limits between which "
                    "all must lie for the claim to hold.",
                )
            ],
        ),
        Section(heading="Fixed masks: predicted before training", text=[_FIXED_MASKS], figures=masks),
        Section(
            heading="Fixed masks: what the codes hold",
            text=["Floor: an untrained encoder of the same shape. Ceiling: the visible values themselves."],
            figures=[(paths["bottleneck_scores"], _LATENTS_CAPTION)],
        ),
        Section(
            heading="The generator of both",
            text=[
                f"A quadtree of height {config.height}: each latent owns a square and has four children. Its value is "
                "an invertible function of its parent's value and of a new number, its noise. Every cell at the bottom "
                f"is drawn as a small block of pixels. This gives {tall} x {wide} grey images."
            ],
            figures=[
                (paths["graph"], "The latent graph; observed cells are squares."),
                (paths["images"], "Samples. The functions are drawn at random, so that images look like noise."),
            ],
            folded=True,
        ),
        Section(
            heading="Scores of the study by height",
            text=["R²: means over the latents of a height. Low and high: ends of 95 % intervals over seeds."],
            figures=[(paths["study"], "R² itself. Differences that are not told apart are marked.")],
            table=_study_table(found),
            folded=True,
        ),
        Section(
            heading="Scores of the bottlenecks by height",
            text=[
                "Means over the latents of a height, of values and of interval ends. CCA is the mean held-out "
                "canonical correlation."
            ],
            table=_bottleneck_table(scores),
            folded=True,
        ),
        Section(
            heading="Training",
            figures=[(paths["losses"], "Loss in units of the data's variance; of the study the first seed.")],
            folded=True,
        ),
        _settings_section(settings),
    ]


def _scenes_section(paths: Mapping[str, Path], config: DemoConfig, scenes: SceneFit) -> Section:
    size, train = config.scenes.size, config.scene_train
    last = float(np.mean(np.asarray(scenes.fit.losses)[-max(1, train.steps // 10) :]))
    return Section(
        heading="A masked autoencoder fills in what it does not see",
        text=[
            "Each scene is drawn from latents that are known: its class sets shape and texture, and others set place, "
            f"size, colours and light. A small transformer saw {1 - config.scene_ratio:.0%} of the patches, and had to "
            "fill in the rest. To do so, it must find out something about the latents. Which of them, and does the "
            "mask decide that? The rest of this page predicts it, and measures."
        ],
        figures=[
            (
                paths["scenes"],
                f"Scenes of {size} x {size} pixels that it was not trained on. Blue: hidden patches. Trained for "
                f"{train.steps} steps of {train.batch} scenes; its training loss, the squared error on hidden pixels, "
                f"is then {last:.2f} of their variance.",
            )
        ],
    )


def _study_section(paths: Mapping[str, Path], config: DemoConfig, found: StudyResult) -> Section:
    pairs: Frame = found.told_apart
    return Section(
        heading="Random masks: predicted before training, and measured",
        text=[
            "On a quadtree of latents theory says for every ratio and masking unit which latents hidden and visible "
            "part share: those in c. Predicted is the chance of a latent to be in c, in closed form.",
            "Measured is how much of what enters at a latent, its noise, can be read off the code of whole images. "
            "What a latent has from those above it does not count. An untrained encoder holds some of it, too. So the "
            "maps show what training gained: 0 is the R² of untrained encoders, 1 that of the visible values.",
            "A wide code may hold anything, so nothing follows of latents that are never in c, such as those inside "
            f"one masking unit. These transformers were trained for {config.vit.steps} steps of {config.vit.batch} "
            f"images only. Of {len(pairs)} differences between arms that theory has something to say of, "
            f"{int(pairs['apart'].sum())} are told apart.",
        ],
        figures=[
            (
                paths["gains"],
                "Above: share of masks with the latents of a height in c. Below: gain in held-out R² of what enters "
                f"there, mean over latents and {config.vit_seeds} seeds.",
            )
        ],
    )


def _claims_section(config: DemoConfig, claims: Sequence[Claim], figures: Sequence[tuple[Path, str]]) -> Section:
    text = [
        "code = c means: the code and the shared information c predict each other, R² at least "
        f"{config.threshold:g} both ways at the lower end of the 95 % interval (bootstrap over test samples). "
        "Members that the others of c determine are shown beside, with what c itself gives.",
        "No more than c does means: a latent outside c that depends on it is predicted no better from the code "
        "than from c itself.",
    ]
    if any("untrained" in claim.text for claim in claims):
        text.append(
            "More than untrained means: more of the latent than in an untrained encoder of the same shape, on the "
            "same test samples; the interval is that of the mean over seeds."
        )
    return Section(heading="Claims", text=text, figures=figures, table=_claims_table(claims))


def _settings_section(settings: Mapping[str, Any]) -> Section:
    return Section(
        heading="Configuration and versions", code=json.dumps(settings, indent=1, ensure_ascii=False), folded=True
    )
