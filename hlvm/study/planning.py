"""The plan of a study: what it will take and can decide, before anything is trained."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any

import jax
import numpy as np
import pandas as pd

from hlvm.claims import ABOVE_ZERO, ClaimConfig, Looks, decision_power, drawn_limits
from hlvm.mae import Cost, Plan, ViTConfig, plan_ensemble
from hlvm.mae.training.groups import group_members, padded_groups
from hlvm.mae.training.speed import clocked
from hlvm.study.comparisons import Pair
from hlvm.study.design import StudyDesign
from hlvm.study.measuring import TRAIN_STREAM, Session
from hlvm.study.sharing import shares

__all__ = ["StudyPlan", "plan_study", "smallest_differences"]

_SPREADS = (0.005, 0.01, 0.02, 0.05)
"""Standard deviations, between seeds, of differences of R²; those of the committed experiments lie between them."""
_POWER = 0.8


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class StudyPlan:
    """The time that a study will take, and what it can decide; ``str(plan)`` is readable.

    Attributes:
        training: programs, memory and time of the members of one generator.
        pad: whether transformers that differ only in the number of visible tokens share a program.
        saved: how many programs this saves, or would save.
        generators: how many are trained.
        at_once: groups that are trained and scored at a time.
        scoring: time of all scores, floors and ceilings, on one core; estimated from one that was made.
        seconds: by the clock, from the call to the end, on an otherwise idle machine; ``None`` if not known.
        cpu_seconds: of all processors together, likewise.
        claims: how many claims the prediction draws.
        directions: how many of them say which arm finds more; the others say that both find the same.
        decides: what is decided, by how much seeds differ; see :func:`smallest_differences`.
        stages: looks at the claims, of which the first is what the time is for.
    """

    training: Plan
    pad: bool
    saved: int
    generators: int
    at_once: int
    scoring: Cost
    seconds: float | None
    cpu_seconds: float | None
    claims: int
    directions: int
    decides: pd.DataFrame
    stages: int = 1

    def __str__(self) -> str:
        lines = [str(self.training)]
        if self.saved:
            saves, at = f"saves {self.saved} program{'' if self.saved == 1 else 's'}", f"at {self.training.steps} steps"
            lines.append(
                f"numbers of visible tokens are padded into one program, which {saves}: {at} that is cheaper"
                if self.pad
                else f"one program per number of visible tokens: {at} cheaper than padding"
            )
        if self.generators > 1:
            lines.append(f"this for each of {self.generators} generators")
        lines.append(f"scores: {self.scoring.cpu_seconds:,.0f} s of processor time")
        if self.seconds is not None and self.cpu_seconds is not None:
            groups = f"{self.at_once} group{'' if self.at_once == 1 else 's'} at a time"
            times = f"about {self.seconds:,.0f} s, {self.cpu_seconds:,.0f} s of processor time"
            lines.append(f"the study, {groups}: {times}")
        if self.stages > 1:
            lines.append(f"this is the first of {self.stages} looks; later ones train arms whose claims are open")
        alike = self.claims - self.directions
        lines.append(
            f"claims that are drawn from the prediction, and decided as one family: {self.claims}. Of these {alike} "
            f"say that two arms find the same, and {self.directions} which of two finds more"
        )
        if len(self.decides):
            between = "seeds" if self.generators == 1 else "generators"
            lines.append(f"what is decided, by the standard deviation between {between} of the difference of two arms:")
            for row in self.decides.to_dict("records"):
                parts = []
                if alike:
                    parts.append(f"that two arms find the same, with a chance of {row['alike']:.0%}")
                if self.directions:
                    parts.append(f"which finds more, from {row['difference']:.3f} on with a chance of {_POWER:.0%}")
                lines.append(f"  {row['sd']:g}: {'; '.join(parts)}")
        return "\n".join(lines)


def plan_study(
    study: StudyDesign, key: Any, *, devices: Sequence[Any] | None = None, looks: Looks | None = None
) -> StudyPlan:
    """Say what a study will take and can decide, without training.

    Args:
        study: what is compared.
        key: as for the run.
        devices: as for the run.
        looks: stages of the study; the time is that of the first, and what is decided is that of all.

    Raises:
        ValueError: whatever the run would refuse.
    """
    session = Session(study, key)
    material = session.material(0)
    programs = study.programs(material.graph)
    here = list(jax.devices() if devices is None else devices)
    of_groups = shares(here, len(programs) * study.generators)
    members = [arm.member(seed) for arm in study.arms for seed in range(study.seeds)]
    own = group_members(material.graph, [arm.member(0) for arm in study.arms], study.train)
    training = plan_ensemble(
        jax.random.fold_in(material.key, TRAIN_STREAM),
        material.training,
        members,
        study.train,
        devices=of_groups[0] if len(of_groups[0]) > 1 else None,
        pad=study.pads(material.graph),
    )
    scoring = _scoring(study, session, training)
    seconds, cpu_seconds = _together(study, training, scoring, min(len(of_groups), len(programs) * study.generators))
    pairs = study.pairs(study.predict(quantities=False), material.targets)
    design = (study.generators, study.seeds) if looks is None else looks.designs[-1]
    return StudyPlan(
        training=training,
        pad=study.pads(material.graph),
        saved=len(own) - len(padded_groups(own)),
        generators=study.generators,
        at_once=min(len(of_groups), len(programs) * study.generators),
        scoring=scoring,
        seconds=seconds,
        cpu_seconds=cpu_seconds,
        claims=len(pairs),
        directions=sum(limits == ABOVE_ZERO for limits in _limits(pairs, study.claim_config)),
        decides=smallest_differences(
            len(pairs), study.claim_config, seeds=design[1], generators=design[0], looks=looks
        ),
        stages=1 if looks is None else len(looks.designs),
    )


def _limits(pairs: Sequence[Pair], config: ClaimConfig) -> Iterable[Any]:
    return drawn_limits({pair.name: pair.predicted for pair in pairs if pair.predicted is not None}, config).values()


def smallest_differences(
    claims: int, config: ClaimConfig, *, seeds: int, generators: int = 1, looks: Looks | None = None
) -> pd.DataFrame:
    """The smallest differences that a design decides with a chance of 80 %, at the strictest step of the family.

    Args:
        claims: how many are one family.
        config: margins and rate of errors.
        seeds: of each generator.
        generators: how many.
        looks: stages of the study.

    Returns:
        One row per standard deviation ``sd`` of a difference (between generators where there are several, else between
        seeds): ``difference``, the smallest true one whose direction is found, and ``alike``, the chance that
        equivalence is found where there is none. Empty without claims.
    """
    if not claims or seeds * generators < 2:
        return pd.DataFrame(columns=["sd", "difference", "alike"])
    tail = config.error / claims
    tail = looks.tail(tail) if looks else tail
    margin = drawn_limits({"alike": 0.0}, config)["alike"]
    rows = []
    for sd in _SPREADS:
        spread = {"var_within": sd**2 if generators == 1 else 0.0, "var_between": 0.0 if generators == 1 else sd**2}
        design: dict[str, Any] = {**spread, "seeds": seeds, "generators": generators, "tail": tail}
        low, high = 0.0, sd
        while decision_power(ABOVE_ZERO, high, margin=config.margin, **design).holds < _POWER:
            low, high = high, 2 * high
        for _ in range(20):
            middle = (low + high) / 2
            enough = decision_power(ABOVE_ZERO, middle, margin=config.margin, **design).holds >= _POWER
            low, high = (low, middle) if enough else (middle, high)
        alike = decision_power(margin, 0.0, margin=config.margin, **design).holds
        rows.append({"sd": sd, "difference": high, "alike": alike})
    return pd.DataFrame(rows)


def _scoring(study: StudyDesign, session: Session, training: Plan) -> Cost:
    """Time of all scores: one is made of random numbers, and codes follow from the plan of training."""
    material = session.material(0)
    rows = len(material.truth.inputs)
    tokens = study.graph.n_observed + 1 if study.score.representation == "tokens" else 1
    width = max(one.width * tokens if isinstance(one, ViTConfig) else one.code_dim for one in study.networks)
    code = np.random.default_rng(0).normal(size=(rows, width)).astype(np.float32)
    scorer = session.scorer(0)
    _, one = clocked(lambda: scorer.scores(code, chance=True))
    fits = len(study.arms) * study.seeds * study.generators
    of_view = len(study.masks) if study.score.view == "masked" else 1
    floors = len(study.networks) * len(study.losses) * study.seeds * study.generators * of_view
    codes = training.encoding(rows).times(study.generators * (1 + floors / fits))
    cost = one.times(fits + floors + study.generators)
    return Cost(cost.seconds + codes.seconds, cost.cpu_seconds + codes.cpu_seconds)


def _together(study: StudyDesign, training: Plan, scoring: Cost, at_once: int) -> tuple[float | None, float | None]:
    """Clock and processor time of all groups, each after the other on the next that is free."""
    if training.training is None:
        return None, None
    n_members = sum(len(program.members) for program in training.programs)
    free = [training.preparing.seconds] * at_once
    used = training.preparing.cpu_seconds
    for _ in range(study.generators):
        for program in training.programs:
            if program.step is None:
                return None, None
            share = len(program.members) / (n_members * study.generators)
            parts = [program.tracing, program.compiling, program.step.times(training.steps), program.reporting]
            parts.append(scoring.times(share))
            first = free.index(min(free))
            free[first] += sum(cost.seconds for cost in parts)
            used += sum(cost.cpu_seconds for cost in parts)
    return max(free), used
