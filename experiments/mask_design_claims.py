"""What is claimed of designed masks, of the interior loss and of very high ratios, and the verdicts."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import pandas as pd

from experiments.experiment import Frame, Prediction
from hlvm.claims import ABOVE_ZERO, BELOW_ZERO, SILENT, Claim, Limits, Stance, mean_claim, no, yes

MARGIN = 0.05
"""Largest difference of R² that counts as none."""

IDENTIFIED = 0.9
"""Least R², both ways, of a code that identifies."""

DESIGNED = "designed"
ARMS = ("middle ratio", "low ratio", "very high ratio", "interior loss", DESIGNED)
"""Arms of the transformer."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ArmClaim:
    """What a transformer's arm does to latents, against another arm.

    Attributes:
        text: the claim.
        arm: the arm.
        than: what it is compared with.
        where: "lowest" for the lowest latents, "upper" for the root and those right below it.
        limits: of the difference of R².
        theory: what the theory says of the claim.
        paper: what the paper says of it.
    """

    text: str
    arm: str
    than: str = "middle ratio"
    where: str
    limits: Limits = ABOVE_ZERO
    theory: Stance = SILENT
    paper: Stance = SILENT


CLAIMS = (
    ArmClaim(
        text="Upper latents are recovered better without masked patches that touch visible ones in the loss",
        arm="interior loss",
        where="upper",
        paper=yes("suggested for higher-level representations"),
    ),
    ArmClaim(
        text="The lowest latents are recovered less without them",
        arm="interior loss",
        where="lowest",
        limits=BELOW_ZERO,
        theory=yes("no cell that counts needs them"),
    ),
    ArmClaim(
        text="The lowest latents are recovered better at a very high ratio than at the middle one",
        arm="very high ratio",
        where="lowest",
        paper=yes("extreme ratios give low-level representations"),
        theory=no("they are shared less often"),
    ),
    ArmClaim(
        text="The lowest latents are recovered better at a low ratio than at a very high one",
        arm="low ratio",
        than="very high ratio",
        where="lowest",
        theory=yes("they are shared more often"),
    ),
    ArmClaim(
        text="With a wide code, masks designed for the upper latents recover these better than random ones",
        arm=DESIGNED,
        where="upper",
        paper=yes("masks should follow the latents"),
        theory=yes("nothing else is shared"),
    ),
    ArmClaim(
        text="With a wide code, they recover the lowest latents less",
        arm=DESIGNED,
        where="lowest",
        limits=BELOW_ZERO,
        theory=yes("these are never shared"),
    ),
)


def judge(records: Frame, prediction: Prediction) -> list[Claim]:
    """The claims of the predictions above."""
    of_targets = [_judge_target(records, name, about) for name, about in prediction["targets"].items()]
    gains = gains_over_middle(records)
    identified, better = zip(*of_targets, strict=True)
    return [*identified, *better, *(_judge_arm(claim, gains) for claim in CLAIMS)]


def _judge_target(records: Frame, name: str, about: Mapping[str, Any]) -> tuple[Claim, Claim]:
    own = records[(records["learner"] == "bottleneck") & (records["target"] == name)]
    cells = own.pivot_table(index="seed", columns=["score", "arm", "view"], values="value")
    designed = {score: cells[score, DESIGNED, "as trained"] for score in ("code -> c", "c -> code")}
    random = cells["code -> c"].drop(columns=DESIGNED, level="arm")
    arm, view = random.mean().idxmax()
    d_c = about["d_c"]
    return mean_claim(
        f"{name}: under the designed mask a code of {d_c} numbers identifies the target",
        designed,
        (IDENTIFIED, math.inf),
        shown={"untrained code -> c": cells["untrained code -> c", DESIGNED, "as trained"]},
        paper=yes("Theorem 2"),
        theory=yes(f"c is the target, d_c = {d_c}"),
    ), mean_claim(
        f"{name}: {d_c} numbers hold more of the target under the designed mask than under random ones",
        {"designed - random": designed["code -> c"] - random[arm, view]},
        margin=MARGIN,
        shown={f"{arm}, {view}": random[arm, view]},
        paper=yes("random masks are a poor tool; masks should follow the latents"),
        theory=yes(f"random masks share {about['shares'][arm]['extra']:.1f} other latents on average"),
        reason="paired difference of R²(code -> c) to the best random arm",
    )


def _judge_arm(claim: ArmClaim, gains: Frame) -> Claim:
    by = gains.pivot_table(index="seed", columns=["arm", "height"], values="gain")
    return mean_claim(
        claim.text,
        {
            f"height {height}, {claim.arm} - {claim.than}": by[claim.arm, height] - by[claim.than, height]
            for height in heights_at(gains, claim.where)
        },
        claim.limits,
        margin=MARGIN,
        theory=claim.theory,
        paper=claim.paper,
        reason="paired differences of R² of the latents' own noises, given the code of the whole image",
    )


def heights_at(gains: Frame, where: str) -> list[int]:
    """The heights that a claim is about."""
    heights = sorted(gains["height"].unique().tolist())
    return heights[:1] if where == "lowest" else heights[-2:]


def gains_over_middle(records: Frame) -> Frame:
    """R² of own noises given transformers' codes of whole images, and what it is above that of the middle ratio."""
    own = records[(records["learner"] == "vit") & (records["view"] == "whole image")]
    own = own[own["score"] == "code -> noise"][["arm", "height", "seed", "value"]].astype({"height": int, "seed": int})
    middle = own[own["arm"] == "middle ratio"].set_index(["height", "seed"])["value"]
    places = pd.MultiIndex.from_frame(own[["height", "seed"]])
    return own.assign(gain=own["value"].to_numpy() - middle.loc[places].to_numpy())
