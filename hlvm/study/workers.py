"""Dask workers: those of this machine, or of a scheduler that runs already."""

from __future__ import annotations

import gc
import logging
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker
from typing import Any
from unittest.mock import patch

from hlvm._numbers import UsageError
from hlvm._process.provenance import available_cores
from hlvm.mae import environment_of_cores

__all__ = ["LOCAL", "check_scheduler", "open_client"]

LOCAL = "local"
"""The scheduler that is started here, with one worker for each core of this machine."""

_ADDRESSES = ("tcp://", "tls://", "ucx://", "ws://", "wss://")


def check_scheduler(scheduler: str | None) -> None:
    """Refuse a scheduler that cannot be one, before any work is done.

    Args:
        scheduler: ``None`` for this process, ``"local"`` for one Dask worker per core of this machine, or the address
            of a Dask scheduler.

    Raises:
        UsageError: it is none of these, or Dask is not installed.
    """
    if scheduler is None:
        return
    if scheduler != LOCAL and not scheduler.startswith(_ADDRESSES):
        raise UsageError(
            f'must be "local" or an address such as tcp://host:8786, got {scheduler!r}', argument="scheduler"
        )
    try:
        import distributed  # noqa: F401  # an optional extra
    except ImportError:
        remedy = {"dask": "pip install 'hlvm[dask]'"}
        raise UsageError("needs Dask", argument="scheduler", remedies=remedy) from None


@contextmanager
def open_client(scheduler: str) -> Iterator[Any]:
    """Connect to workers; those of this machine are started, and end with the context.

    Args:
        scheduler: ``"local"`` or an address.

    Yields:
        A ``distributed.Client``.

    Raises:
        UsageError: as :func:`check_scheduler` says, or no scheduler answers at the address.
    """
    check_scheduler(scheduler)
    if scheduler == LOCAL:
        with _workers_of_this_machine() as client:
            yield client
        return
    from distributed import Client

    log = logging.getLogger("distributed.client")
    level = log.level
    client, reason = None, ""
    log.setLevel(logging.CRITICAL)  # whoever asked says in one line that the scheduler is gone
    try:
        try:
            client = Client(scheduler, timeout=30)
        except Exception as error:  # of many kinds: nobody listens, certificates are missing, there is no port
            reason = str(error) or type(error).__name__
        if client is None:
            gc.collect()  # the client that failed stops its thread when it is collected, which could lock up another
            raise UsageError(f"{scheduler} does not answer: {reason}", argument="scheduler")
        with client:
            yield client
    finally:
        log.setLevel(level)


@contextmanager
def _workers_of_this_machine() -> Iterator[Any]:
    from distributed import Client, LocalCluster
    from distributed.utils import LoopRunner

    logging.getLogger("distributed").setLevel(logging.WARNING)
    # Ctrl-C in a terminal reaches the workers too. It is for this process to stop them: what starts them, and
    # therefore they, never get it. The tracker would unblock it when it is started.
    resource_tracker.ensure_running()
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        runner = LoopRunner()
        runner.start()
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
    with (
        # Dask has a setting for them, but prefers what the environment says, and leaves there what it adds itself.
        patch.dict(os.environ, _variables_of_workers()),
        LocalCluster(
            n_workers=available_cores(),
            threads_per_worker=1,
            memory_limit=None,  # or workers are killed at a core's share of the memory, whatever is free
            # Without a dashboard its address would still be served, at a port that another cluster may have.
            scheduler_kwargs={"dashboard": False, "dashboard_address": "127.0.0.1:0"},
            silence_logs=logging.WARNING,
            loop=runner.loop,
        ) as cluster,
        Client(cluster) as client,
    ):
        try:
            yield client
        finally:  # of workers that take their time to stop nobody needs to know
            logging.getLogger("distributed").setLevel(logging.ERROR)


def _variables_of_workers() -> dict[str, str]:
    """Environment that workers of this machine, one per core, are started with.

    Each computes with the flags, and on as many devices, as one process alone would: a program for another number of
    devices adds up in another order, so that records would not be the same to the bit. Linear algebra takes one thread,
    or there would be as many for each worker as there are cores; nor do they share a GPU.
    """
    one_thread = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    # silence_logs does not reach loggers where the root logger has a handler; what fails is said by who asked for it.
    quiet = {"DASK_LOGGING__DISTRIBUTED": "critical"}
    return {"JAX_PLATFORMS": "cpu", **environment_of_cores(available_cores()), **one_thread, **quiet}
