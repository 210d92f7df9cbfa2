"""Claims of a study: every pair of arms whose prediction says something, by height, and the user's own."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol, get_args

import numpy as np
import pandas as pd
from jaxtyping import Float

from hlvm._numbers import UsageError
from hlvm.claims import (
    Stance,
    nothing,
)
from hlvm.study.arms import Arm, unit_name
from hlvm.study.prediction import Prediction
from hlvm.study.scores import ALL_SEEDS, Part, Target

__all__ = ["Comparison", "Pair", "drawn_pairs", "measured_differences", "own_pair"]


class Compared(Protocol):
    """A side of a comparison: an arm of the study, or an encoder from outside."""

    @property
    def name(self) -> str:
        """Name that tells it from the others."""
        ...

    @property
    def mask_name(self) -> str:
        """The mask that something is predicted of; ``""`` for none."""
        ...

    @property
    def columns(self) -> dict[str, Any]:
        """Its columns in a table."""
        ...


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pair:
    """Two arms compared at one height, or at one latent.

    Attributes:
        name: of the difference.
        first: name of the arm whose score comes first.
        second: name of the arm whose score is subtracted.
        height: of the latents whose mean score is compared.
        latent: the only latent that is compared; ``None`` for all of the height.
        part: ``"noise"`` or ``"value"``.
        score: ``"R²"`` or ``"accuracy"``: means are over latents of one score, as the other has other units.
        predicted: share in ``c`` of the first less that of the second; ``None`` where theory says nothing.
    """

    name: str
    first: str
    second: str
    height: int
    latent: str | None
    part: str
    score: str
    predicted: float | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Comparison:
    """A claim of the user's own: one arm finds more of something than another.

    Attributes:
        more: columns of the arm that should find more -> their values, such as ``{"ratio": 0.5, "unit": 1}``: those
            that tell it from the other arms; of an encoder from outside its name, ``{"arm": "mine"}``.
        less: the same of the arm that should find less.
        height: of the latents whose mean score is compared.
        latent: the only latent that is compared; give it or ``height``.
        part: ``"noise"``, what enters there, or ``"value"``.
        score: ``"R²"`` or ``"accuracy"``, needed where a height has both.
        text: the claim in words; made from the rest if left empty.
        paper: what a paper says of it.

    Raises:
        ValueError: neither height nor latent, or both.
    """

    more: Mapping[str, Any]
    less: Mapping[str, Any]
    height: int | None = None
    latent: str | None = None
    part: str = "noise"
    score: str = ""
    text: str = ""
    paper: Stance = dataclasses.field(default_factory=nothing)

    def __post_init__(self) -> None:
        if (self.height is None) == (self.latent is None):
            raise UsageError("give height or latent, one of them", of="Comparison")
        if self.part not in ("noise", "value"):
            raise UsageError(f"must be noise or value, got {self.part!r}", argument="part", of="Comparison")


def drawn_pairs(arms: Sequence[Arm], prediction: Prediction, targets: Iterable[Target], part: str) -> list[Pair]:
    """Every pair of arms with the same network and loss at every height; of others the prediction says nothing.

    Args:
        arms: of the study.
        prediction: shares by mask and latent.
        targets: what is scored; observed variables are left out.
        part: what is compared.
    """
    places: dict[tuple[int, str], list[str]] = {}
    for target in targets:
        if target.part == part and target.height > 0:
            places.setdefault((target.height, target.score), []).append(target.latent)
    several = {height for height, _ in places if sum(one == height for one, _ in places) > 1}
    found: list[Pair] = []
    for (height, score), latents in sorted(places.items()):
        shares = {arm.mask_name: prediction.of_heights(arm.mask_name, latents)[height] for arm in arms}
        where = f"height {height}, {score}" if height in several else f"height {height}"
        for first, second in itertools.combinations(arms, 2):
            if (first.network, first.loss) != (second.network, second.loss):
                continue
            difference = shares[first.mask_name] - shares[second.mask_name]
            # The arm that should find more comes first.
            more, less = (first, second) if difference >= 0 else (second, first)
            found.append(
                Pair(
                    name=f"{where}: {more.name} − {less.name}",
                    first=more.name,
                    second=less.name,
                    height=height,
                    latent=None,
                    part=part,
                    score=score,
                    predicted=abs(difference),
                )
            )
    return found


def own_pair(
    comparison: Comparison, arms: Sequence[Compared], prediction: Prediction, targets: Sequence[Target]
) -> Pair:
    """The two arms that a comparison of the user's is about.

    Args:
        comparison: what is claimed.
        arms: of the study, and encoders from outside, of which nothing is predicted.
        prediction: shares by mask, latent and height.
        targets: what is scored.

    Raises:
        ValueError: columns that name no arm or several, or a latent, height or part that is not scored.
    """
    more, less = (_named(what, getattr(comparison, what), arms) for what in ("more", "less"))
    latent = comparison.latent
    heights_of_parts = {part: {t.latent: t.height for t in targets if t.part == part} for part in get_args(Part)}
    heights = heights_of_parts[comparison.part]
    if not heights:
        (scored,) = (part for part, known in heights_of_parts.items() if known)
        raise UsageError(f'must be "{scored}": {comparison.part} is not scored', argument="part", of="Comparison")
    known = heights.get(latent) if latent is not None else comparison.height
    if known is None or known not in heights.values():
        scored = ", ".join(heights) if latent is not None else ", ".join(map(str, sorted(set(heights.values()))))
        what = "latent" if latent is not None else "height"
        raise UsageError(
            f"must be scored, got {latent if latent is not None else comparison.height!r}; scored are {scored}",
            argument=what,
            of="Comparison",
        )
    scores = {
        t.score for t in targets if t.part == comparison.part and known == t.height and latent in (None, t.latent)
    }
    if (comparison.score and comparison.score not in scores) or (not comparison.score and len(scores) > 1):
        problem = f"must be one of {', '.join(sorted(scores))}, got {comparison.score!r}"
        raise UsageError(problem, argument="score", of="Comparison")
    score = comparison.score or next(iter(scores))
    of_score = {t.latent for t in targets if t.part == comparison.part and t.score == score}
    of = [
        prediction.of_heights(arm.mask_name, of_score).get(known)
        if latent is None
        else prediction.of_latents(arm.mask_name).get(latent)
        for arm in (more, less)
    ]
    predicted = None if more.mask_name == less.mask_name or of[0] is None or of[1] is None else of[0] - of[1]
    where = f"height {known}" if latent is None else latent
    return Pair(
        name=f"{where}, {comparison.part}: {more.name} − {less.name}",
        first=more.name,
        second=less.name,
        height=known,
        latent=latent,
        part=comparison.part,
        score=score,
        predicted=predicted,
    )


def measured_differences(pairs: Sequence[Pair], records: pd.DataFrame) -> dict[str, list[Float[np.ndarray, " seeds"]]]:
    """Differences of mean scores, paired by generator and seed; one array of seeds per generator.

    Args:
        pairs: what is compared.
        records: one row per fit, latent and part.

    Returns:
        Name -> arrays; seeds that only one of the arms has, or in which one diverged, are left out. An encoder that no
        seed changes is paired with every seed of its generator.
    """
    found: dict[str, list[np.ndarray]] = {}
    table: Any = records
    cell = ["part", "height", "score", "arm", "generator", "seed"]
    by: Any = table.groupby(cell)["value"].agg(lambda values: values.mean(skipna=False))
    single: Any = table.set_index(["part", "latent", "score", "arm", "generator", "seed"])["value"]
    for pair in pairs:
        source, where = (by, pair.height) if pair.latent is None else (single, pair.latent)
        first, second = (source.loc[(pair.part, where, pair.score, name)] for name in (pair.first, pair.second))
        difference = (_over(second, first) - _over(first, second)).dropna()
        found[pair.name] = [
            values.sort_index().to_numpy() for _, values in difference.groupby(level="generator") if len(values)
        ]
    return found


def _over(other: Any, scores: Any) -> Any:
    """Scores by generator and seed; those that no seed changes stand for every seed of the other arm."""
    fixed = scores.index.get_level_values("seed") == ALL_SEEDS
    if not fixed.any():
        return scores
    of_generator = scores[fixed].droplevel("seed")
    places = other.index[other.index.get_level_values("generator").isin(of_generator.index)]
    spread = of_generator.reindex(places.get_level_values("generator")).set_axis(places)
    return pd.concat([scores[~fixed], spread])


def _named(what: str, columns: Mapping[str, Any], arms: Sequence[Compared]) -> Compared:
    unknown = [name for name in columns if name not in arms[0].columns]
    wanted = {name: unit_name(value) if name == "unit" else value for name, value in columns.items()}
    matches = [arm for arm in arms if all(arm.columns.get(name) == value for name, value in wanted.items())]
    if unknown or len(matches) != 1:
        told = f"no column {unknown[0]!r}" if unknown else f"{len(matches)} arms"
        raise UsageError(
            f"must name one arm by its columns ({', '.join(arms[0].columns)}), got {dict(columns)!r}, which is {told}",
            argument=what,
            of="Comparison",
        )
    return matches[0]
