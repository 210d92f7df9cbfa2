"""Leakage: how much of a style a code holds that the content does not explain."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import ArrayLike

from hlvm._numbers import aligned, first_labelled
from hlvm.scoring.inputs import paired_matrices, random_streams
from hlvm.scoring.intervals import Interval
from hlvm.scoring.regression.config import RegressionConfig
from hlvm.scoring.regression.r2 import KernelR2, paired_difference
from hlvm.scoring.regression.rank_regression import best_of, rank_r2_many
from hlvm.scoring.regression.scores import kernel_r2_many, linear_r2_many
from hlvm.scoring.row_groups import own_labels, row_groups
from hlvm.scoring.verdicts.power import TWINS, exact_twin

__all__ = ["Leakage", "leakage", "leakage_many", "sure_leakage_many"]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Leakage:
    """Style in a code that the content does not explain.

    Attributes:
        from_code: R² of the style given the code. Not 0 for a perfect code when style depends on content.
        from_content: R² of the style given the content itself: what a perfect code scores.
        from_both: R² of the style given content and code side by side.
        excess: ``from_code − from_content``, paired. Blind to a code that holds some style but not all of the content.
        beyond: ``from_both − from_content``, paired: what the code adds to the content. About 0, or slightly below
            because of more features, when the code is a function of the content and of noise of its own.
        of_exact: the larger of the two differences that exact codes show with these rows, since what a code says
            plainly can be hard to read off the content. Differences that are not above it are no leakage. ``None``
            where it was not looked for.
    """

    from_code: KernelR2
    from_content: KernelR2
    from_both: KernelR2
    excess: Interval
    beyond: Interval
    of_exact: float | None = None

    @property
    def larger(self) -> Interval:
        """The difference with the larger lower end."""
        return max(self.excess, self.beyond, key=lambda interval: interval.low)

    @property
    def high(self) -> float:
        """The larger upper end of the two differences."""
        return max(self.excess.high, self.beyond.high)

    def is_sure(self, tolerance: float) -> bool:
        """Tell whether a difference is surely above a tolerance, and above what exact codes show if that is known."""
        return self.larger.low > (tolerance if self.of_exact is None else max(tolerance, self.of_exact))


def leakage(
    representation: ArrayLike,
    content: ArrayLike,
    style: ArrayLike,
    *,
    key: Any,
    groups: ArrayLike | None = None,
    config: RegressionConfig | None = None,
) -> Leakage:
    """Does the representation hold more of the style than the content does?

    Args:
        representation: shape (n, p) or (n,).
        content: the latents that the representation may hold, shape (n, d) or (n,), same rows.
        style: the latents that it must not hold beyond that, shape (n, e) or (n,), same rows.
        key: a JAX key or an int; all regressions share the split.
        groups: a label per row, see :func:`hlvm.scoring.kernel_r2`; ``None`` to look for copies.
        config: sizes and grids; ``None`` for the defaults.

    Returns:
        Three scores and two paired differences.

    Raises:
        ValueError: an unfit array (see :func:`hlvm.scoring.kernel_r2`).

    References:
        docs/theory.md, section 6.
    """
    return leakage_many(representation, content, {"style": style}, key=key, groups=groups, config=config)["style"]


def leakage_many(
    representation: ArrayLike,
    content: ArrayLike,
    styles: Mapping[str, ArrayLike],
    *,
    key: Any,
    groups: ArrayLike | None = None,
    config: RegressionConfig | None = None,
) -> dict[str, Leakage]:
    """Leakage of several styles, which share every factorisation; each result is that of :func:`leakage`.

    Args:
        representation: shape (n, p) or (n,).
        content: the latents that the representation may hold, shape (n, d) or (n,), same rows.
        styles: name -> latents that it must not hold beyond that, shape (n, e) or (n,), same rows; at least one.
        key: a JAX key or an int.
        groups: a label per row, see :func:`hlvm.scoring.kernel_r2`; ``None`` to look for copies.
        config: sizes and grids; ``None`` for the defaults.

    Returns:
        Name -> leakage, in the order of ``styles``.

    Raises:
        ValueError: no styles, or an unfit array (see :func:`hlvm.scoring.kernel_r2`).
    """
    code, known, styles, groups = _arrays(representation, content, styles, groups)
    return _leakages(code, known, styles, kernel_r2_many, key, groups, config)


def sure_leakage_many(
    representation: ArrayLike,
    content: ArrayLike,
    styles: Mapping[str, ArrayLike],
    *,
    key: Any,
    tolerance: float,
    groups: ArrayLike | None = None,
    config: RegressionConfig | None = None,
) -> dict[str, Leakage]:
    """Leakage of several styles, where those above a tolerance are looked at again before they count.

    First by the best of kernel, linear and kernel regression of normal scores. Then beside exact codes. If the code is
    exact, the content is a function of it, perhaps one that is hard to read; so such functions of the code take the
    content's place (:func:`hlvm.scoring.verdicts.power.exact_twin`), and what the code says beyond them is no leakage.

    Args:
        representation: shape (n, p) or (n,).
        content: shape (n, d) or (n,), same rows.
        styles: name -> shape (n, e) or (n,), same rows; at least one.
        key: a JAX key or an int.
        tolerance: R² that counts as none.
        groups: a label per row, see :func:`leakage`.
        config: sizes and grids; ``None`` for the defaults.

    Returns:
        Name -> leakage; ``of_exact`` is there where the lower end of a difference is above the tolerance.

    Raises:
        ValueError: no styles, or an unfit array (see :func:`hlvm.scoring.kernel_r2`).
    """
    code, known, styles, groups = _arrays(representation, content, styles, groups)
    found = _leakages(code, known, styles, kernel_r2_many, key, groups, config)

    def above(leaks: Mapping[str, Leakage]) -> dict[str, ArrayLike]:
        return {name: styles[name] for name, leak in leaks.items() if leak.is_sure(tolerance)}

    if again := above(found):
        found |= _leakages(code, known, again, _best_r2_many, key, groups, config)
    if left := above(found):
        largest = dict.fromkeys(left, -np.inf)
        rng = random_streams(key).network
        for _ in range(TWINS):
            twin = exact_twin(known, code, rng)
            for name, leak in _leakages(code, twin, left, _best_r2_many, key, groups, config).items():
                largest[name] = np.fmax(largest[name], max(leak.excess.value, leak.beyond.value))
        found |= {name: dataclasses.replace(found[name], of_exact=float(most)) for name, most in largest.items()}
    return found


def _arrays(
    representation: ArrayLike, content: ArrayLike, styles: Mapping[str, ArrayLike], groups: ArrayLike | None
) -> tuple[Float[np.ndarray, "n p"], Float[np.ndarray, "n d"], dict[str, ArrayLike], Int[np.ndarray, " n"]]:
    like = first_labelled(representation, content)
    styles = {name: aligned("representation", like, name, values) for name, values in styles.items()}
    groups = aligned("representation", like, "groups", groups)
    code, known = paired_matrices("representation", representation, "content", content)
    return code, known, styles, own_labels(row_groups(code, known, groups), len(code))


def _leakages(
    code: Float[np.ndarray, "n p"],
    content: Float[np.ndarray, "n d"],
    styles: Mapping[str, ArrayLike],
    score_many: Callable[..., dict[str, KernelR2]],
    key: Any,
    groups: Int[np.ndarray, " n"],
    config: RegressionConfig | None,
) -> dict[str, Leakage]:
    from_code, from_content, from_both = (
        score_many(features, styles, key=key, groups=groups, config=config)
        for features in (code, content, np.concatenate([content, code], axis=1))
    )
    return {
        name: Leakage(
            from_code=from_code[name],
            from_content=from_content[name],
            from_both=from_both[name],
            excess=paired_difference(from_code[name], from_content[name], key=key),
            beyond=paired_difference(from_both[name], from_content[name], key=key),
        )
        for name in styles
    }


def _best_r2_many(features: ArrayLike, targets: Mapping[str, ArrayLike], **how: Any) -> dict[str, KernelR2]:
    tables = [score(features, targets, **how) for score in (kernel_r2_many, linear_r2_many, rank_r2_many)]
    return {name: best_of([table[name] for table in tables]) for name in targets}
