"""Numerical checks of a mechanism, above all of one that a user wrote."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PRNGKeyArray

from hlvm._keys import checked_key
from hlvm.mechanisms.base import Mechanism
from hlvm.mechanisms.noises import Noise

__all__ = ["MechanismReport", "check_mechanism"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class MechanismReport:
    """Findings of a numerical check of a mechanism, over random samples.

    Attributes:
        mechanism: what was checked.
        samples: number of samples.
        finite: whether all values were finite.
        rank: smallest rank of the derivative of the value by (parents, noise), from 0 to the smaller of its two sides;
            ``None`` for symbols, which have no derivative.
        smallest_singular_value: smallest singular value of that derivative, at least 0; ``None`` for symbols.
        round_trip_error: largest distance between (parents, noise) and what the inverse gives back, relative to one
            plus their size; ``None`` for a mechanism that is not invertible.
        log_det_error: largest distance between the mechanism's log-determinant and that of the derivative, relative
            likewise; ``None`` for a mechanism that is not invertible, or whose derivative lacks rank.
        noise_error: largest distance between the noise and what ``noise_of`` gives back, relative likewise; ``None``
            for a mechanism without ``explicit_noise``.
        problems: what is wrong, one sentence each; empty when nothing is.
    """

    mechanism: Mechanism
    samples: int
    finite: bool
    rank: int | None = None
    smallest_singular_value: float | None = None
    round_trip_error: float | None = None
    log_det_error: float | None = None
    noise_error: float | None = None
    problems: tuple[str, ...] = ()

    def __str__(self) -> str:
        found = "no problems" if self.ok else "; ".join(self.problems)
        measured = {
            "rank": self.rank,
            "smallest singular value": self.smallest_singular_value,
            "round-trip error": self.round_trip_error,
            "error of the log-determinant": self.log_det_error,
            "error of the noise": self.noise_error,
        }
        lines = [f"  {name}: {value:.3g}" for name, value in measured.items() if value is not None]
        return "\n".join([f"{type(self.mechanism).__name__} at {self.samples} random points: {found}", *lines])

    @property
    def ok(self) -> bool:
        """Tell whether there are no problems."""
        return not self.problems

    def require(self) -> MechanismReport:
        """This report, if there are no problems.

        Raises:
            ValueError: there are; the message lists them.
        """
        if self.ok:
            return self
        raise ValueError(
            f"{type(self.mechanism).__name__} fails at {self.samples} random points: {'; '.join(self.problems)}"
        )


def check_mechanism(
    mechanism: Mechanism,
    key: Any,
    *,
    parent_dim: int,
    noise_dim: int,
    dim: int,
    noise: Noise | None = None,
    samples: int = 256,
    tolerance: float = 1e-3,
) -> MechanismReport:
    """Check a mechanism numerically at random points, in float32.

    Values must have the right shape and be finite. For an invertible mechanism the inverse must give parents and noise
    back, the derivative must have full rank, and the log-determinant must be that of the derivative. For one with
    ``explicit_noise``, ``noise_of`` must give the noise back.

    Args:
        mechanism: what to check.
        key: a JAX key or an int, for parameters, parents and noises.
        parent_dim: total dims of the parents; they are drawn standard normal, or as productions for
            :class:`ProductionRules`.
        noise_dim: the graph's noise dim.
        dim: dim of the variable.
        noise: the law of the noise; ``None``: the mechanism's own.
        samples: how many points, at least 1.
        tolerance: largest error that is no problem, relative to one plus the size of what is compared.

    Returns:
        The findings. ``check_mechanism(...).require()`` raises an error when something is wrong.

    Raises:
        ValueError: the mechanism refuses the dims or the noise, or a function returns another shape than it must.
    """
    law = noise or mechanism.default_noise
    size = mechanism.noise_size(parent_dim, noise_dim, dim)
    productions = getattr(mechanism, "inputs", None) if mechanism.n_symbols else None
    mechanism.check_inputs(law, (productions,) * parent_dim)
    measured = _measure(mechanism, law, productions, (parent_dim, size, dim), samples, checked_key(key))
    m = {name: np.asarray(array, dtype=np.float64) for name, array in measured.items()}
    found: dict[str, Any] = {"finite": bool(np.isfinite(m["values"]).all())}
    problems = [] if found["finite"] else ["some values are not finite"]
    if "jacobians" in m:
        problems += _check_derivative(m["jacobians"], m.get("log_dets"), tolerance, found)
    if "inverses" in m:
        error = found["round_trip_error"] = _distance(m["inverses"], m["inputs"])
        if not error <= tolerance:
            problems.append(f"invert(apply(parents, noise)) is off by {error:.2g} from (parents, noise)")
    if "noises" in m:
        error = found["noise_error"] = _distance(m["noises"], m["inputs"][:, parent_dim:])
        if not error <= tolerance:
            problems.append(f"noise_of is off by {error:.2g} from the noise")
    return MechanismReport(mechanism=mechanism, samples=samples, problems=tuple(problems), **found)


@functools.partial(jax.jit, static_argnums=(0, 1, 2, 3, 4))
def _measure(
    mechanism: Mechanism,
    law: Noise,
    productions: int | None,
    dims: tuple[int, int, int],
    samples: int,
    key: PRNGKeyArray,
) -> dict[str, Array]:
    """Everything that is compared, at random points; dims are those of parents, noise and value."""
    parent_dim, size, dim = dims
    keys = dict(zip(("params", "parents", "noise"), jax.random.split(key, 3), strict=True))
    params = mechanism.init(keys["params"], parent_dim, size, dim)
    if productions is None:
        parents = jax.random.normal(keys["parents"], (samples, parent_dim))
    else:
        parents = jax.random.randint(keys["parents"], (samples, parent_dim), 0, productions).astype(jnp.float32)
    numbers = law.sample(keys["noise"], (samples * size,)).reshape(samples, size)
    inputs = jnp.concatenate([parents, numbers], axis=1)

    def value(at: Array) -> Array:
        return mechanism.apply(params, at[:parent_dim], at[parent_dim:])

    values = _shaped("apply", dim, jax.vmap(value)(inputs))
    found = {"inputs": inputs, "values": values}
    if mechanism.n_symbols is None:
        found["jacobians"] = jax.vmap(jax.jacfwd(value))(inputs)
    if mechanism.invertible:
        back = jax.vmap(mechanism.invert, in_axes=(None, 0))(params, values)
        found["inverses"] = _shaped("invert", parent_dim + size, back)
        found["log_dets"] = jax.vmap(mechanism.log_det, in_axes=(None, 0, 0))(params, parents, numbers)
    if mechanism.explicit_noise:
        found["noises"] = jax.vmap(mechanism.noise_of, in_axes=(None, 0, 0))(params, parents, values)[0]
    return found


def _check_derivative(
    jacobians: np.ndarray, log_dets: np.ndarray | None, tolerance: float, found: dict[str, Any]
) -> list[str]:
    """Rank, smallest singular value and log-determinant of the derivative by (parents, noise), and what is wrong."""
    if not np.isfinite(jacobians).all():
        return ["some derivatives are not finite"]
    singular, full = np.linalg.svd(jacobians, compute_uv=False), min(jacobians.shape[1:])
    # Below this a singular value of a float32 derivative cannot be told from zero.
    floor = np.finfo(np.float32).eps * max(jacobians.shape[1:]) * singular[:, :1]
    found["smallest_singular_value"] = float(singular.min())
    found["rank"] = int((singular > floor).sum(axis=1).min())
    if log_dets is None:
        return []
    if found["rank"] < full:
        return [f"the derivative has rank {found['rank']} somewhere, and a bijection needs {full}"]
    error = found["log_det_error"] = _distance(log_dets, np.linalg.slogdet(jacobians)[1])
    return [] if error <= tolerance else [f"log_det is off by {error:.2g} from that of the derivative"]


def _shaped(name: str, size: int, found: Array) -> Array:
    """The array that a batched function returned, if it is (samples, size)."""
    if found.shape[1:] != (size,):
        raise ValueError(f"{name} must return shape ({size},) for one sample, got {found.shape[1:]}")
    return found


def _distance(found: np.ndarray, expected: np.ndarray) -> float:
    """Largest distance, relative to one plus the size of what was expected."""
    if not expected.size:
        return 0.0
    return float((np.abs(found - expected) / (1 + np.abs(expected))).max())
