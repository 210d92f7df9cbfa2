"""What is claimed of designed masks, of the interior loss and of very high ratios, and the verdicts."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import pandas as pd

from experiments.experiment import Prediction
from experiments.findings import Finding, Frame, every, over_seeds, within

__all__ = ["ARMS", "CLAIMS", "DESIGNED", "IDENTIFIED", "Claim", "gains_over_middle", "heights_at", "judge"]

IDENTIFIED = 0.9
"""Least R², both ways, of a code that identifies."""

DESIGNED = "designed"
ARMS = ("middle ratio", "low ratio", "very high ratio", "interior loss", DESIGNED)
"""Arms of the transformer."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Claim:
    """What a transformer's arm does to latents, against another arm.

    Attributes:
        words: the claim.
        arm: the arm.
        than: what it is compared with.
        where: "lowest" for the lowest latents, "upper" for the root and those right below it.
        paper: what the paper says.
        theory: what the theory says.
        sign: of the difference, as claimed.
        paper_sign: as the paper says; 0 where it says nothing.
        theory_sign: as theory says; 0 where it says nothing.
    """

    words: str
    arm: str
    than: str = "middle ratio"
    where: str
    paper: str = ""
    theory: str = ""
    sign: int = 1
    paper_sign: int = 0
    theory_sign: int = 0


CLAIMS = (
    Claim(
        words="Upper latents are recovered better without masked patches that touch visible ones in the loss",
        arm="interior loss",
        where="upper",
        paper="suggested for higher-level representations",
        paper_sign=1,
    ),
    Claim(
        words="The lowest latents are recovered less without them",
        arm="interior loss",
        where="lowest",
        theory="yes: no cell that counts needs them",
        sign=-1,
        theory_sign=-1,
    ),
    Claim(
        words="The lowest latents are recovered better at a very high ratio than at the middle one",
        arm="very high ratio",
        where="lowest",
        paper="extreme ratios give low-level representations",
        theory="no: they are shared less often",
        paper_sign=1,
        theory_sign=-1,
    ),
    Claim(
        words="The lowest latents are recovered better at a low ratio than at a very high one",
        arm="low ratio",
        than="very high ratio",
        where="lowest",
        theory="yes: they are shared more often",
        theory_sign=1,
    ),
    Claim(
        words="With a wide code, masks designed for the upper latents recover these better than random ones",
        arm=DESIGNED,
        where="upper",
        paper="masks should follow the latents",
        theory="yes: nothing else is shared",
        paper_sign=1,
        theory_sign=1,
    ),
    Claim(
        words="With a wide code, they recover the lowest latents less",
        arm=DESIGNED,
        where="lowest",
        theory="yes: these are never shared",
        sign=-1,
        theory_sign=-1,
    ),
)


def judge(records: Frame, prediction: Prediction) -> list[Finding]:
    """The claims of the predictions above."""
    of_targets = {name: _judge_target(records, name, about) for name, about in prediction["targets"].items()}
    identified = [found for found, _ in of_targets.values()]
    gains = gains_over_middle(records)
    return [*identified, *(better for _, better in of_targets.values()), *(_judge_claim(c, gains) for c in CLAIMS)]


def _judge_target(records: Frame, name: str, about: Mapping[str, Any]) -> tuple[Finding, Finding]:
    own = records[(records["learner"] == "bottleneck") & (records["target"] == name)]
    cells = own.pivot_table(index="seed", columns=["score", "arm", "view"], values="value")
    scores = {score: over_seeds(cells[score, DESIGNED, "as trained"]) for score in ("code -> c", "c -> code")}
    holds = every(within(interval, low=IDENTIFIED) for interval in scores.values())
    floor = over_seeds(cells["untrained code -> c", DESIGNED, "as trained"])
    d_c = about["d_c"]
    identified = Finding(
        claim=f"{name}: under the designed mask a code of {d_c} numbers identifies the target",
        paper="Theorem 2",
        theory=f"c is the target, d_c = {d_c}",
        scores={**scores, "untrained code -> c": floor},
        holds=holds,
        paper_agrees=holds,
        theory_agrees=holds,
        reason=f"both R² compared with {IDENTIFIED}",
    )
    random = cells["code -> c"].drop(columns=DESIGNED, level="arm")
    arm, view = random.mean().idxmax()
    difference = over_seeds(cells["code -> c", DESIGNED, "as trained"] - random[arm, view])
    better = within(difference, low=0.0)
    return identified, Finding(
        claim=f"{name}: {d_c} numbers hold more of the target under the designed mask than under random ones",
        paper="random masks are a poor tool; masks should follow the latents",
        theory=f"random masks share {about['shares'][arm]['extra']:.1f} other latents on average",
        scores={"designed - random": difference, f"{arm}, {view}": over_seeds(random[arm, view])},
        holds=better,
        paper_agrees=better,
        theory_agrees=better,
        reason="paired difference of R²(code -> c) to the best random arm",
    )


def _judge_claim(claim: Claim, gains: Frame) -> Finding:
    by = gains.pivot_table(index="seed", columns=["arm", "height"], values="gain")
    scores = {
        f"height {height}, {claim.arm} - {claim.than}": over_seeds(by[claim.arm, height] - by[claim.than, height])
        for height in heights_at(gains, claim.where)
    }
    holds = every(within(one, low=0.0) if claim.sign > 0 else within(one, high=0.0) for one in scores.values())

    def agrees(sign: int) -> bool | None:
        return None if holds is None or sign == 0 else holds == (sign == claim.sign)

    return Finding(
        claim=claim.words,
        paper=claim.paper,
        theory=claim.theory,
        scores=scores,
        holds=holds,
        paper_agrees=agrees(claim.paper_sign),
        theory_agrees=agrees(claim.theory_sign),
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
