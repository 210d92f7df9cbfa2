"""The claims of a study, decided at one look or at several: those that are decided stay so."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from hlvm.claims import (
    Claim,
    ClaimConfig,
    Looks,
    drawn_claims,
    drawn_limits,
    mean_claim,
    no,
    nothing,
    power_table,
    yes,
)
from hlvm.study.comparisons import Comparison, Pair, measured_differences

__all__ = ["Decisions", "decide", "own_claim", "power_of"]

_TAIL = 0.025


@dataclasses.dataclass
class Decisions:
    """The claims of a study, from look to look: those that are decided stay so.

    Attributes:
        pairs: what the prediction draws.
        own: comparisons of the user's with the arms that they are about.
        config: margins and rate of errors.
        looks: stages, ``None`` for one.
        drawn: claims that the prediction draws, as the latest look left them.
        own_claims: the user's, likewise, by their position.
        stages: what :attr:`hlvm.study.StudyResult.stages` holds.
    """

    pairs: tuple[Pair, ...]
    own: Sequence[tuple[Comparison, Pair]]
    config: ClaimConfig
    looks: Looks | None
    drawn: dict[str, Claim] = dataclasses.field(default_factory=dict)
    own_claims: dict[int, Claim] = dataclasses.field(default_factory=dict)
    stages: list[dict[str, int]] = dataclasses.field(default_factory=list)

    @property
    def open_arms(self) -> set[str]:
        """Arms that an open claim is about."""
        left = [pair for pair in self.pairs if pair.name in self.drawn and self.drawn[pair.name].holds is None]
        left += [self.own[i][1] for i, claim in self.own_claims.items() if claim.holds is None]
        return {name for pair in left for name in (pair.first, pair.second)}

    def look(self, records: pd.DataFrame, *, seeds: int, generators: int, arms: int) -> None:
        """Decide what can be decided now."""
        self.drawn = decide(self.pairs, records, self.config, looks=self.looks, before=self.drawn)
        differences = measured_differences([pair for _, pair in self.own], records)
        for i, (comparison, pair) in enumerate(self.own):
            is_open = i not in self.own_claims or self.own_claims[i].holds is None
            if is_open and _is_usable(differences[pair.name]):
                self.own_claims[i] = own_claim(comparison, pair, differences[pair.name], self.config, self.looks)
        claims = [*self.drawn.values(), *self.own_claims.values()]
        left = sum(claim.holds is None for claim in claims)
        self.stages.append({"seeds": seeds, "generators": generators, "arms": arms, "open": left})


def own_claim(comparison: Comparison, pair: Pair, differences: Any, config: ClaimConfig, looks: Looks | None) -> Claim:
    """The outcome of a comparison of the user's, outside of the family of drawn claims; at 95 % over all looks."""
    unknown = pair.predicted is None
    theory = nothing("nothing is predicted of this difference" if unknown else "no reason for a difference")
    if pair.predicted is not None and abs(pair.predicted) > config.apart:
        theory = (yes if pair.predicted > 0 else no)(f"share in c differs by {pair.predicted:+.2f}")
    text = comparison.text or f"{pair.name}: above zero"
    level = 1 - 2 * (looks.tail(_TAIL) if looks else _TAIL)
    return mean_claim(
        text, {pair.name: differences}, margin=config.margin, level=level, theory=theory, paper=comparison.paper
    )


def decide(
    pairs: Sequence[Pair],
    records: pd.DataFrame,
    config: ClaimConfig,
    *,
    looks: Looks | None = None,
    before: Mapping[str, Claim] | None = None,
) -> dict[str, Claim]:
    """Claims drawn from the prediction, decided as one family.

    Args:
        pairs: what is compared.
        records: one row per fit, latent and part.
        config: margins and rate of errors.
        looks: stages of the study, ``None`` for one.
        before: claims as the stage before left them.

    Returns:
        Name of a difference -> claim. Pairs are left out of which fewer differences are left than the looks want, or
        than an interval needs, since fits diverged.
    """
    before = before or {}
    left = [pair for pair in pairs if pair.name not in before or before[pair.name].holds is None]
    differences = measured_differences(left, records)
    if looks:
        differences = {name: _as_planned(of, looks) for name, of in differences.items()}
    # What the first look left out stays out: the family is the same at every look.
    usable = {name: of for name, of in differences.items() if _is_usable(of) and (not before or name in before)}
    known = [pair for pair in pairs if pair.name in usable or pair.name in before]
    if not known:
        return {}
    return drawn_claims(
        {pair.name: pair.predicted for pair in known},
        usable,
        config,
        texts={pair.name: _worded(pair, config) for pair in known},
        looks=looks,
        before=before or None,
    )


def _as_planned(differences: Sequence[np.ndarray], looks: Looks) -> list[np.ndarray]:
    """The differences of the latest look that is whole: of later ones some are missing where a fit diverged."""
    for generators, seeds in reversed(looks.designs):
        if len(differences) >= generators and all(len(of) >= seeds for of in differences[:generators]):
            return [of[:seeds] for of in differences[:generators]]
    return []


def power_of(pairs: Sequence[Pair], records: pd.DataFrame, config: ClaimConfig, **planned: Any) -> pd.DataFrame:
    """Estimate from measured differences how likely a design decides; see :func:`hlvm.claims.power_table`.

    Args:
        pairs: what is compared.
        records: of a pilot, or of a study that left claims open.
        config: margins and rate of errors.
        **planned: ``seeds``, ``generators``, ``looks``, ``power`` and ``most``.
    """
    differences = {name: of for name, of in measured_differences(pairs, records).items() if _is_usable(of)}
    limits = drawn_limits({pair.name: pair.predicted for pair in pairs if pair.name in differences}, config)
    return power_table(limits, {name: differences[name] for name in limits}, config, **planned)


def _is_usable(differences: Sequence[np.ndarray]) -> bool:
    return len(differences) > 1 or (len(differences) == 1 and len(differences[0]) > 1)


def _worded(pair: Pair, config: ClaimConfig) -> str:
    what = f"what enters at height {pair.height}" if pair.part == "noise" else f"values of height {pair.height}"
    if abs(pair.predicted or 0.0) > config.apart:
        return f"{what} is found better with {pair.first} than with {pair.second}"
    return f"{what} is found alike with {pair.first} and with {pair.second}, within {config.margin:g}"
