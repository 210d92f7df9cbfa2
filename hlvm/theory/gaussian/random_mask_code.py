"""One linear code for all masks that a strategy draws: the best linear autoencoder (section 5 of ``docs/theory.md``).

The code is ``E (m * x)`` of centred data ``x``, of which only what is visible (``m`` = 1) is kept, and the
reconstruction is linear in it. Only the second moments of ``m`` matter, and where the loss is over masked columns, the
third.
"""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

import numpy as np
import scipy.linalg
import scipy.optimize
from jaxtyping import Float

from hlvm._linalg import svd
from hlvm._numbers import UsageError
from hlvm.theory.gaussian.bottleneck import checked_rank
from hlvm.theory.gaussian.parameters import Parameters
from hlvm.theory.gaussian.results import RandomMaskCode, ratio
from hlvm.theory.gaussian.visibility import Visibility

__all__ = ["RandomMaskLoss", "best_code"]

RandomMaskLoss: TypeAlias = Literal["all", "masked"]
"""Columns whose errors count: all, or those that are masked."""

_MOST_NUMBERS = 2**26
"""Units times columns squared up to which the loss on masked columns is worked on: 512 MiB in float64."""

_SHAKEN = 6
"""Starts of the search from random directions, beside two that are close to it."""


def best_code(
    parameters: Parameters, visibility: Visibility, k: int, *, loss: RandomMaskLoss, standardize: bool
) -> RandomMaskCode:
    """See :meth:`hlvm.theory.GaussianOracle.random_mask_autoencoder`."""
    graph, first = parameters.graph, parameters.starts[parameters.graph.n_latents]
    n = parameters.starts[-1] - first
    k = checked_rank(k, n, "all observed dims")
    if loss not in get_args(RandomMaskLoss):
        raise UsageError(f'must be "all" or "masked", got {loss!r}', argument="loss")
    joint = parameters.covariance(list(range(len(graph.nodes))))
    scale = np.sqrt(np.diag(joint)[first:]) if standardize else np.ones(n)
    data = ratio(ratio(joint[first:, first:], scale), scale[:, None])
    unit = visibility.unit_of[graph.arrays.cell_of_column]
    seen = visibility.pairs[np.ix_(unit, unit)] * data
    whitener = _whitener(seen)
    losses, code = np.full(n + 1, np.nan), np.zeros((k, n))
    if loss == "all":
        left, s, right = svd((data * np.diag(visibility.pairs)[unit]) @ whitener)
        explained = np.zeros(n)
        explained[: len(s)] = s**2
        losses[:] = (np.trace(data) - np.append(0.0, np.cumsum(explained))) / n
        strengths = s[:k, None] * right[:k]
        code[: len(strengths)] = strengths @ whitener.T
        decoder = np.zeros((n, k))
        decoder[:, : len(strengths)] = left[:, :k]
    else:
        problem = _MaskedOnly(data, unit, visibility, whitener)
        losses[[0, n]] = problem.empty, problem.unbounded()
        code, decoder, losses[k] = problem.solved(k)
    encoder = ratio(code, scale)
    # Covariance of the latents with the code; a variable is masked or not whatever its value.
    across = joint[:first, first:] * np.diag(visibility.pairs)[unit] @ encoder.T
    told = (across * (across @ np.linalg.pinv(code @ seen @ code.T, hermitian=True))).sum(axis=1)
    begins = parameters.starts[: graph.n_latents]
    totals = np.add.reduceat(np.diag(joint)[:first], begins)
    shares = np.where(totals > 0, ratio(np.add.reduceat(told, begins), totals), np.nan)
    return RandomMaskCode(
        encoder=encoder,
        decoder=scale[:, None] * decoder,
        means=np.concatenate(parameters.means[graph.n_latents :]),
        losses=np.maximum(losses, 0.0),
        latent_r2=dict(zip(graph.latents, np.clip(shares, 0, 1).tolist(), strict=True)),
        n_masks=visibility.n_masks,
    )


class _MaskedOnly:
    """The loss on masked columns.

    With ``a_t`` the row of the map for column ``t``, ``h_t`` the covariance of the column, where it is masked, with
    what is visible beside it, and ``K_t`` the second moment of that, the error is the sum over ``t`` of
    ``P(t masked) Var(t) - 2 a_t h_t + a_t K_t a_t'``. All columns of a unit have one ``K``. For a given encoder the
    best decoder is linear algebra. Over encoders the error is minimised numerically.
    """

    def __init__(self, data: np.ndarray, unit: np.ndarray, visibility: Visibility, whitener: np.ndarray) -> None:
        n, n_units = len(data), len(visibility.pairs)
        if n_units * n * n > _MOST_NUMBERS:
            raise ValueError(
                f'loss="masked" works on at most {_MOST_NUMBERS} = units x columns² numbers, got {n_units} x {n}²: use '
                'a smaller graph, larger units, or loss="all"'
            )
        self._whitener = whitener
        self._unit = unit
        self._columns_of = (unit == np.arange(n_units)[:, None]).astype(np.float64)
        self._moments = np.empty((n_units, n, n))
        self._across = np.empty((n, n))
        for u in range(n_units):
            rows, beside = np.flatnonzero(unit == u), visibility.beside(u)
            self._moments[u] = beside[np.ix_(unit, unit)] * data
            self._across[rows] = np.diag(beside)[unit] * data[rows]
        is_masked = 1 - np.diag(visibility.pairs)[unit]
        self._n_masked = is_masked.sum()
        self.empty = is_masked @ np.diag(data) / self._n_masked

    def unbounded(self) -> float:
        """Least error of any linear map."""
        found = self.empty * self._n_masked
        for u, moments in enumerate(self._moments):
            found -= ((self._across[self._unit == u] @ _whitener(moments)) ** 2).sum()
        return found / self._n_masked

    def solved(self, k: int) -> tuple[np.ndarray, np.ndarray, float]:
        """Encoder, decoder, and error of the best code of ``k`` numbers that was found."""
        n, rank = self._whitener.shape
        if k == 0 or rank == 0:
            return np.zeros((k, n)), np.zeros((n, k)), self.empty
        if k >= rank:
            code = np.concatenate([self._whitener.T, np.zeros((k - rank, n))])
            decoder, error = self._decoder(code)[:2]
            return code, decoder, error
        rough = [self._descended(start, 1e-7) for start in self._starts(k, rank)]
        best = self._descended(min(rough, key=lambda found: found.fun).x.reshape(k, rank), 1e-14)
        code = best.x.reshape(k, rank) @ self._whitener.T
        decoder, error, _ = self._decoder(code)
        return code, decoder, error

    def _starts(self, k: int, rank: int) -> list[np.ndarray]:
        """Directions in units of the visible part: leading ones of the cross-covariance, and random ones.

        The leading ones can be a saddle where the model is symmetric, which is why they are turned a little.
        """
        rng = np.random.default_rng(0)  # the numbers only choose where the search begins
        leading = svd(self._across @ self._whitener)[2][:k]
        noise = rng.standard_normal((_SHAKEN + 1, k, rank))
        return [leading, leading + 0.1 / np.sqrt(rank) * noise[-1], *noise[:-1]]

    def _descended(self, start: np.ndarray, tolerance: float) -> scipy.optimize.OptimizeResult:
        def error(flat: np.ndarray) -> tuple[float, np.ndarray]:
            _, value, slope = self._decoder(flat.reshape(start.shape) @ self._whitener.T)
            return value, (slope @ self._whitener).ravel()

        options = {"maxiter": 2000, "ftol": tolerance, "gtol": 1e-9}
        turned = np.linalg.qr(start.T)[0].T  # the same space; no number of the code dwarfs another
        return scipy.optimize.minimize(error, turned.ravel(), jac=True, method="L-BFGS-B", options=options)

    def _decoder(self, code: np.ndarray) -> tuple[np.ndarray, float, np.ndarray]:
        """Best decoder of an encoder, its error, and the slope of that error in the encoder."""
        seen = code @ self._moments
        across = self._across @ code.T
        inverses = np.linalg.pinv(seen @ code.T, hermitian=True)
        decoder = np.squeeze(across[:, None] @ inverses[self._unit], 1)
        error = self.empty * self._n_masked - (decoder * across).sum()
        outer = (decoder[:, :, None] * decoder[:, None]).reshape(len(decoder), -1)
        per_unit = (self._columns_of @ outer).reshape(inverses.shape)
        slope = 2 * ((per_unit @ seen).sum(axis=0) - decoder.T @ self._across)
        return decoder, float(error / self._n_masked), slope / self._n_masked


def _whitener(second_moment: Float[np.ndarray, "n n"]) -> Float[np.ndarray, "n r"]:
    """``W`` with ``W W'`` the pseudo-inverse."""
    strengths, directions = scipy.linalg.eigh(second_moment)
    kept = strengths > strengths.max(initial=0.0) * len(strengths) * np.finfo(float).eps
    return directions[:, kept] / np.sqrt(strengths[kept])
