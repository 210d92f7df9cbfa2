"""A CPU as several devices, one per core, so that members of an ensemble are trained side by side."""

from __future__ import annotations

import contextlib
import os
from typing import Any

import jax

from hlvm._numbers import positive
from hlvm._process.provenance import available_cores

__all__ = ["environment_of_cores", "fastest_devices", "one_device_per_core"]

_FLAG = "--xla_cpu_multi_thread_eigen=false"


def one_device_per_core(n: int | None = None) -> list[Any]:
    """Make JAX see each core of a CPU as a device that works on one thread.

    Pass the result to :func:`hlvm.mae.fit_ensemble` as ``devices``. Threads that share one small matrix product wait
    for each other; members that run side by side do not. Call this before JAX computes anything, since devices are
    made once per process: it sets ``jax_num_cpu_devices`` and adds ``--xla_cpu_multi_thread_eigen=false`` to
    ``XLA_FLAGS``, for the rest of the process. Where JAX computes on a GPU or TPU it makes no difference to these.

    Args:
        n: number of devices; ``None`` for as many as there are cores.

    Returns:
        The devices.

    Raises:
        ValueError: ``n`` is below 1, or JAX was told to leave CPUs out (``JAX_PLATFORMS``).
        RuntimeError: JAX has computed something already.
    """
    count = available_cores() if n is None else positive(n, "n")
    config: Any = jax.config
    platforms = config.jax_platforms
    if platforms and "cpu" not in platforms.split(","):
        raise ValueError(f"JAX leaves CPUs out (JAX_PLATFORMS={platforms}): add cpu to it, or use other devices")
    try:
        jax.config.update("jax_num_cpu_devices", count)
    except RuntimeError:
        raise RuntimeError(
            "devices are made once per process, and JAX has computed something already: call one_device_per_core first"
        ) from None
    os.environ["XLA_FLAGS"] = environment_of_cores(count)["XLA_FLAGS"]
    return list(jax.devices("cpu"))


def fastest_devices(n: int | None = None) -> list[Any] | None:
    """Choose devices to train on: the accelerators that JAX finds, otherwise one device per core.

    Call it before JAX computes anything. Later, and where the environment already says how many devices a CPU is, the
    devices that there are have to do.

    Args:
        n: as many as these, such as those that a stopped run was begun with; ``None`` for all.

    Returns:
        The devices, for :func:`hlvm.mae.fit_ensemble`; ``None`` for JAX's default device, where it is the only one.

    Raises:
        ValueError: ``n`` is below 1, or there are fewer devices.
    """
    count = available_cores() if n is None else positive(n, "n")
    config: Any = jax.config
    told = "xla_force_host_platform_device_count" in os.environ.get("XLA_FLAGS", "") or config.jax_num_cpu_devices > 0
    if count > 1 and not told:
        with contextlib.suppress(ValueError, RuntimeError):  # no CPU is wanted, or devices are made already
            one_device_per_core(count)
    devices = jax.devices()
    if n is not None and len(devices) < n:
        raise ValueError(
            f"the run was started on {n} devices, but there are {len(devices)} here: choose one, all or cores; the "
            "results then agree up to rounding"
        )
    chosen = devices[:n]
    return chosen if len(chosen) > 1 else None


def environment_of_cores(n: int) -> dict[str, str]:
    """Variables under which a new process sees the devices that :func:`one_device_per_core` makes.

    Args:
        n: number of devices.
    """
    flags = os.environ.get("XLA_FLAGS", "")
    return {
        "JAX_NUM_CPU_DEVICES": str(n),
        "XLA_FLAGS": flags if _FLAG in flags.split() else f"{flags} {_FLAG}".strip(),
    }
