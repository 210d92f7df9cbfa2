"""Could these rows have found an exact code? Without that, a low score refutes nothing.

A low R² has two causes: the latents are not in the code, or they are and the regressor needs more rows. So before a
claim is refuted, exact codes of the same content are made and put through the same regressions: its *twins*. A twin is
an invertible function of the content, curved by two layers of leaky rectifiers. Then it is made as hard to read as the
code at hand: its columns have the code's distributions, and are correlated as strongly. Where a twin scores below the
threshold, too, nobody can tell, and the verdict is inconclusive.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from hlvm.scoring.inputs import MIN_ROWS, random_streams
from hlvm.scoring.regression.normal_scores import NormalScores, normal_scores
from hlvm.scoring.regression.splitting import Standardiser
from hlvm.scoring.verdicts.judging import Ground, Measured, Question, measure, measure_again

__all__ = ["TWINS", "Power", "exact_twin", "power_of"]

TWINS = 2
"""Number of exact codes that are looked at; the one that is read worst counts."""

_FEW_ROWS = 600
"""Rows for a first look: what they find, more rows find as well, and they cost a fraction."""

_SLOPE = 0.3  # of the second layer's and the first layer's rectifiers, as in experiments/calibration.py
_NEARLY_EQUAL = 1e-6  # eigenvalues below this share of the largest belong to columns that say nothing of their own
_MOST_ROWS, _LEAST_RATE = 100, 0.1  # beyond so many times the rows, or as slow as that, an extrapolation says nothing


class Power(NamedTuple):
    """Scores of exact codes with these rows, where a code was found wanting.

    Attributes:
        r2: least R² of the twins: of all columns, of a single column or of the worst direction, as ``ground`` says.
        asked: the R² that a code must have there.
        rows: number of rows that this was found with.
        rows_needed: about how many rows would bring ``r2`` to ``asked``, extrapolated; ``rows`` if they do, infinite if
            it hardly grows with them.
        ground: what is compared; the first ground on which the twins score enough, or the first one of all.
    """

    r2: float
    asked: float
    rows: int
    rows_needed: float
    ground: Ground

    @property
    def enough(self) -> bool:
        """Tell whether a code that scores less than the twins is surely not exact."""
        return self.r2 >= self.asked


def power_of(question: Question, against: Sequence[Ground]) -> Power:
    """Score exact twins of a code with the rows, dims and regressions of a question.

    Args:
        question: what was judged.
        against: what speaks against the claim, at least one ground. One on which the twins score enough is enough.

    Returns:
        What exact codes score. A first look at 600 of the rows is enough if it finds the twins.
    """
    n_rows = len(question.code)
    found: dict[int, list[Measured]] = {}
    for size in [n_rows] if n_rows <= _FEW_ROWS else [_FEW_ROWS, n_rows]:
        found[size] = _twins(question, size, against)
        for ground in against:
            power = Power(_least(found[size], ground), ground.asks(question.threshold), size, size, ground)
            if power.enough:
                return power
    ground = against[0]
    fewer = _FEW_ROWS if n_rows >= 2 * _FEW_ROWS else n_rows // 2  # sizes that hardly differ tell no rate
    if fewer not in found and fewer >= 2 * MIN_ROWS:
        found[fewer] = _twins(question, fewer, against[:1])
    asked, needed = ground.asks(question.threshold), math.inf
    if fewer in found:
        pair = [(size, float(np.mean([ground.value(twin) for twin in found[size]]))) for size in (fewer, n_rows)]
        needed = max(_needed(asked, *pair), n_rows)
    return Power(_least(found[n_rows], ground), asked, n_rows, needed, ground)


def _least(twins: Sequence[Measured], ground: Ground) -> float:
    return float(np.min([ground.value(twin) for twin in twins]))  # NaN if one is


def _needed(asked: float, before: tuple[int, float], now: tuple[int, float]) -> float:
    """Rows at which a deficit that falls as a power of the rows reaches the one that is allowed."""
    if not before[1] < now[1] < 1:
        return math.inf
    rate = math.log((1 - before[1]) / (1 - now[1])) / math.log(now[0] / before[0])
    times = ((1 - now[1]) / (1 - asked)) ** (1 / rate) if rate > _LEAST_RATE else math.inf
    return now[0] * times if times <= _MOST_ROWS else math.inf


def _twins(question: Question, n_rows: int, against: Sequence[Ground]) -> list[Measured]:
    """Scores of twins with so many of the rows."""
    rng = random_streams(question.key).network
    rows = _some_rows(question.groups, n_rows, rng)
    code, source = question.code[rows], question.source[rows]
    hidden = not question.two_way and code.shape[1] > source.shape[1]
    measured = []
    for _ in range(TWINS):
        of_twin = dataclasses.replace(
            question,
            code=exact_twin(code, source, rng, hidden=hidden),
            latents=question.latents[rows],
            source=source,
            groups=question.groups[rows],
        )
        found = measure(of_twin)
        if any(ground.value(found) < ground.asks(question.threshold) for ground in against):
            found = measure_again(of_twin, found)
        measured.append(found)
    return measured


def _some_rows(groups: Int[np.ndarray, " n"], n_rows: int, rng: np.random.Generator) -> Int[np.ndarray, " m"]:
    """About so many rows, in whole groups, at least three of them."""
    known, numbered = np.unique(groups, return_inverse=True)
    order = rng.permutation(len(known))
    ends = np.cumsum(np.bincount(numbered)[order])
    count = max(int(np.searchsorted(ends, n_rows, side="right")), 3)
    return np.flatnonzero(np.isin(numbered, order[:count]))


def exact_twin(
    code: Float[np.ndarray, "n p"],
    latents: Float[np.ndarray, "n d"],
    rng: np.random.Generator,
    *,
    hidden: bool = False,
) -> Float[np.ndarray, "n q"]:
    """Make an exact code of the latents that is as hard to read as a given code.

    Args:
        code: the code to resemble.
        latents: what the twin is an invertible function of.
        rng: where its weights come from.
        hidden: whether the twin is d columns among others that are independent of the latents, those of the code in
            another order of the rows, instead of being a function of the latents as a whole.

    Returns:
        Shape (n, max(p, d)). Its columns have the distributions of the code's columns. Their correlations have about
        the spectrum of the code's, with as many directions as the latents have; a direction that the code lacks is as
        large as the others.
    """
    content = Standardiser.fit(latents).apply(latents)
    content = content[:, content.std(axis=0) > 0]
    d = content.shape[1]
    if d == 0:  # these rows show nothing of the content
        return np.zeros_like(code)
    curved = _curved(content, rng)
    if hidden:
        others = code[rng.permutation(len(code))][:, rng.permutation(code.shape[1])]
        return np.concatenate([curved, Standardiser.fit(others).apply(others)[:, d:]], axis=1)
    scores = normal_scores(code)
    varying = scores.std(axis=0) > 0
    correlations = np.corrcoef(scores[:, varying], rowvar=False).reshape(varying.sum(), varying.sum())
    values, vectors = np.linalg.eigh(correlations) if varying.any() else (np.zeros(0), np.zeros((0, 0)))
    values, vectors = values[::-1][:d], vectors[:, ::-1][:, :d]
    real = values > _NEARLY_EQUAL * values.max(initial=0.0)
    values, vectors = values[real], vectors[:, real]
    missing = d - len(values)
    mixing = np.zeros((d, len(vectors) + missing))
    mixing[: len(values), : len(vectors)] = np.sqrt(values)[:, None] * vectors.T
    mixing[len(values) :, len(vectors) :] = np.eye(missing)
    mixed = normal_scores(curved @ _rotation(d, rng) @ mixing)
    like = code[:, varying]
    mixed[:, : like.shape[1]] = _with_distributions_of(like, mixed[:, : like.shape[1]])
    return mixed


def _with_distributions_of(like: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Columns with given normal scores, mapped to the values of other columns; ties become slightly different."""
    values = NormalScores.fit(like).invert(scores)
    # A discrete column would merge values of the twin, which then were no longer a function of it.
    return values + 1e-3 * like.std(axis=0) * scores


def _curved(content: Float[np.ndarray, "n d"], rng: np.random.Generator) -> Float[np.ndarray, "n d"]:
    """Two layers of rotations and leaky rectifiers: invertible, and harder to read than smooth maps."""
    for _ in range(2):
        mixed = content @ _rotation(content.shape[1], rng)
        content = np.where(mixed > 0, mixed, _SLOPE * mixed)
    content = content - content.mean(axis=0)
    return content / np.sqrt((content**2).mean())


def _rotation(d: int, rng: np.random.Generator) -> np.ndarray:
    return np.linalg.qr(rng.normal(size=(d, d)))[0]
