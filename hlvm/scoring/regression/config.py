"""The one configuration of the regression scores."""

from __future__ import annotations

import dataclasses
import itertools
import math

import numpy as np

from hlvm._numbers import whole_number
from hlvm.scoring.regression.kernels import KERNELS, Kernel
from hlvm.scoring.regression.splitting import Split, random_split

__all__ = ["RegressionConfig"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class RegressionConfig:
    """Settings by which the regression scores split, search and resample.

    Attributes:
        test_fraction: share of the rows for testing, strictly between 0 and 1.
        max_train: most training rows; up to ``max_exact`` cost grows with its cube, beyond linearly. More rows raise
            the score of a curved relation.
        max_test: most test rows; they set the width of the interval.
        kernel: of the kernel regression, see :data:`hlvm.scoring.regression.kernels.Kernel`.
        max_select: most training rows on which bandwidth and ridge are chosen by leave-one-out; the fit uses all.
        max_exact: most training rows for the exact kernel, which takes about ``24 · n²`` bytes. Beyond, the Nyström
            approximation is used and what it misses is reported.
        landmarks: its number of landmarks, at most ``max_exact``.
        soft_limit: where the standardised features of the kernel regression are softly bounded, in standard
            deviations (see :func:`hlvm.scoring.regression.kernels.soften`); above 0. ``math.inf`` for plain
            standardised features. The bound costs an exactly linear code up to half a percent of R² and gains much
            more for curved ones.
        bandwidths: bandwidths to try, increasing multiples of the median training distance.
        ridges: kernel ridges λ to try, increasing; the kernel has 1 on its diagonal. Predicting the training mean
            (λ = ∞) is always tried as well, so that noise scores about 0 and not far below.
        linear_ridges: the same for linear regression, as scikit-learn's ``Ridge(alpha)`` on standardised features.
        level: coverage of the intervals, strictly between 0 and 1.
        n_boot: how many bootstrap resamples of the test rows.

    Raises:
        ValueError: a value out of its range.
    """

    test_fraction: float = 0.4
    max_train: int = 1500
    max_test: int = 4000
    kernel: Kernel = "rbf"
    max_select: int = 1500
    max_exact: int = 5000
    landmarks: int = 1000
    soft_limit: float = 4.0
    bandwidths: tuple[float, ...] = (0.25, 0.5, 1.0, 2.0, 4.0)
    ridges: tuple[float, ...] = (1e-6, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)
    linear_ridges: tuple[float, ...] = (1e-4, 1e-2, 1.0, 10.0, 100.0, 1e3, 1e4)
    level: float = 0.95
    n_boot: int = 500

    def __post_init__(self) -> None:
        for name in ("test_fraction", "level"):
            if not 0 < getattr(self, name) < 1:
                raise ValueError(f"{name}: expected a number strictly between 0 and 1, got {getattr(self, name)}")
        for name, least in (
            ("max_train", 5),
            ("max_test", 2),
            ("n_boot", 1),
            ("max_select", 5),
            ("max_exact", 5),
            ("landmarks", 1),
        ):
            whole_number(getattr(self, name), name, minimum=least)
        if self.landmarks > self.max_exact:
            raise ValueError(f"landmarks: expected at most max_exact = {self.max_exact}, got {self.landmarks}")
        if self.kernel not in KERNELS:
            raise ValueError(f"kernel: expected one of {', '.join(KERNELS)}, got {self.kernel!r}")
        if not self.soft_limit > 0:
            raise ValueError(f"soft_limit: expected a number above 0, got {self.soft_limit}")
        for name in ("bandwidths", "ridges", "linear_ridges"):
            grid = getattr(self, name)
            increasing = all(low < high for low, high in itertools.pairwise(grid))
            if not grid or not increasing or not 0 < grid[0] <= grid[-1] < math.inf:
                raise ValueError(f"{name}: expected increasing positive finite numbers, got {grid}")

    def draw_split(self, n_rows: int, rng: np.random.Generator, groups: np.ndarray | None = None) -> Split:
        """Draw the training and test rows out of ``n_rows``, groups of rows as a whole."""
        return random_split(
            n_rows,
            rng,
            test_fraction=self.test_fraction,
            max_train=self.max_train,
            max_test=self.max_test,
            groups=groups,
        )
