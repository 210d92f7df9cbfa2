"""A CPU as several devices, one per core, so that members of an ensemble are trained side by side."""

from __future__ import annotations

import os
from typing import Any

import jax

from hlvm._numbers import positive
from hlvm._process.provenance import available_cores

__all__ = ["environment_of_cores", "one_device_per_core"]

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
