"""Collapse: a code that is the same for every sample, or that varies along hardly more than one direction."""

from __future__ import annotations

import dataclasses
import math
from typing import Literal

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from hlvm._numbers import aligned, first_labelled
from hlvm.scoring.geometry.spectra import directions
from hlvm.scoring.inputs import matrix, paired_matrices
from hlvm.scoring.regression.normal_scores import normal_scores
from hlvm.scoring.regression.threads import own_settings

__all__ = ["Collapse", "collapse", "collapse_of", "directions_used"]

_NEAR = 0.25
"""A code has collapsed when it is this near to one direction, as a share of the way to what is expected of it."""

_MOST_ROWS = 5_000  # that many tell a number of directions, and ranks of a million take long
_LEAST_EXPECTED = 1.5
"""Where less is expected, one direction is nearly all there is."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Collapse:
    """Collapse of a code: whether, and how far.

    Attributes:
        kind: ``"total"``: all rows are the same to rounding. ``"dimensional"``: they vary along hardly more than one
            direction, where more are expected. ``"none"``.
        used: number of directions that the code uses: the effective rank of its variances
            (:func:`hlvm.scoring.effective_rank`), of columns at normal scores, so that neither units nor outliers fake
            a collapse; 0 for a constant code.
        expected: number that it could use at least: the least of that of the content, that of the untrained code, and
            the number of columns less one; NaN where neither content nor an untrained code was given.
        limit: with less than this the code has collapsed: ``1 + (expected − 1) / 4``; NaN where ``expected`` is, or is
            below 1.5.
        reason: why, in words.
    """

    kind: Literal["none", "dimensional", "total"]
    used: float
    expected: float
    limit: float
    reason: str

    def __bool__(self) -> bool:
        """True where it has collapsed in either way."""
        return self.kind != "none"


@own_settings
def collapse(
    representation: ArrayLike, content: ArrayLike | None = None, *, untrained: ArrayLike | None = None
) -> Collapse:
    """Tell whether a code has collapsed, totally or dimensionally.

    A code that lacks one direction has lost a latent, and has not collapsed. So one of its columns is not counted as
    expected, and the limit lies near one direction: 1.25 where two are expected, 2.75 of eight. A common offset neither
    hides nor fakes a collapse, as rows are centred first. Columns of small noise beside a large one count as
    directions, since regressions read them as well.

    Args:
        representation: the code, shape (n, p) or (n,).
        content: latents that the code should hold, shape (n, d) or (n,), same rows; ``None`` if unknown. A code of
            fewer latents uses fewer directions.
        untrained: code of the same network before training, shape (n, q) or (n,); ``None`` if there is none. It is a
            random map of the input and uses many directions: beside it alone, a code of few latents looks collapsed.

    Returns:
        The kind of collapse with the numbers behind it. Without content and untrained code only a total collapse can be
        told.

    Raises:
        ValueError: an unfit array, see :func:`hlvm.scoring.cca`.

    References:
        Dimensional collapse: :cite:t:`jing2022collapse`.

    Example:
        >>> import numpy as np
        >>> z = np.random.default_rng(0).normal(size=(300, 4))
        >>> [collapse(code, z).kind for code in (z, z[:, :3], np.outer(z[:, 0], [1, 2, -1, 1]), np.ones((300, 4)))]
        ['none', 'none', 'dimensional', 'total']
    """
    like = first_labelled(representation, content, untrained)
    code = matrix("representation", representation)

    def beside(name: str, values: ArrayLike | None) -> np.ndarray | None:
        if values is None:
            return None
        return paired_matrices("representation", code, name, aligned("representation", like, name, values))[1]

    return collapse_of(code, beside("content", content), beside("untrained", untrained))


def collapse_of(
    code: Float[np.ndarray, "n p"],
    content: Float[np.ndarray, "n d"] | None = None,
    untrained: Float[np.ndarray, "n q"] | None = None,
) -> Collapse:
    """The same of matrices that were checked."""
    known = {
        "the content": None if content is None else directions_used(content),
        "the untrained code": None if untrained is None else directions_used(untrained),
    }
    return judged(directions_used(code), {name: used for name, used in known.items() if used is not None}, code.shape)


def judged(used: float, references: dict[str, float], shape: tuple[int, ...]) -> Collapse:
    """The rule, of numbers of directions.

    Args:
        used: by the code.
        references: what else is there, in words -> number of directions that it uses.
        shape: of the code.
    """
    n, p = shape
    expected = min([*references.values(), p - 1.0, n - 1.0]) if references else math.nan
    limit = 1 + _NEAR * (expected - 1) if expected >= _LEAST_EXPECTED else math.nan
    if used == 0:
        return Collapse(
            kind="total", used=0.0, expected=expected, limit=limit, reason=f"all {n} rows of the code are the same"
        )
    beside = " and ".join(f"{name} along {number:.2f}" for name, number in references.items())
    said = f"the {p} columns of the code vary along {used:.2f} directions" + (f", {beside}" if beside else "")
    kind = "dimensional" if used < limit else "none"
    return Collapse(kind=kind, used=used, expected=expected, limit=limit, reason=said)


def directions_used(rows: Float[np.ndarray, "n p"]) -> float:
    """Effective rank of the variances of columns at normal scores; 0 where all rows are the same."""
    if not np.ptp(rows, axis=0).any():
        return 0.0
    some = rows[:: max(len(rows) // _MOST_ROWS, 1)]
    scores = normal_scores(some if np.ptp(some, axis=0).any() else rows)
    scores = scores - scores.mean(axis=0)
    spread = scores.std(axis=0)
    scores = scores[:, spread > 0] / spread[spread > 0]
    few = scores.T @ scores if scores.shape[1] <= len(scores) else scores @ scores.T
    return directions(np.linalg.eigvalsh(few))
