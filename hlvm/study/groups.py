"""Groups of work, one after the other in this process or handed to Dask workers, each kept when it is done."""

from __future__ import annotations

import logging
import pickle
import sys
import threading
import time
import uuid
from collections.abc import Callable, Container, Mapping
from contextlib import suppress
from typing import Any, TypeVar

from hlvm.study.workers import LOCAL, check_scheduler, open_client

__all__ = ["run_groups"]

Group = TypeVar("Group")
Result = TypeVar("Result")


def run_groups(
    function: Callable[[Group], Result],
    groups: Mapping[str, Group],
    keep: Callable[[str, Result], None],
    *,
    kept: Container[str] = (),
    scheduler: str | None = None,
    progress: Callable[[str, float], None] | None = None,
) -> None:
    """Do independent pieces of work, and keep the result of each as soon as it comes.

    A group is done again only if the process that does it ends before its result has left that process: whoever kills
    a worker loses the group in its hands, and no other. A worker sends each result to the memory of the scheduler
    before it ends the group, and this process fetches it from there, so results need no worker that lives. A group
    that was begun on a worker begins anew on another one. The scheduler gives a group up whose workers died four
    times (``distributed.scheduler.allowed-failures``). If the scheduler ends, or this process does, only what was
    kept is left. A worker that the scheduler takes for dead, since the network between them failed, may still work:
    then a group can be done twice, and the first result is kept.

    Args:
        function: group -> result. With a scheduler it must be picklable, and workers must be able to import its
            module.
        groups: the work, by names that stay the same from one call to the next. With a scheduler they are pickled:
            give paths rather than large arrays. The same holds for results, which the scheduler has in its memory
            until they are kept.
        keep: called in this process with the name of a group and its result, in the order of arrival. The group counts
            as kept when it returns: write what a later call shall know to a file.
        kept: names of groups that are kept already, which are not done.
        scheduler: see :func:`~hlvm.study.workers.check_scheduler`. If any worker has the resource ``GPU``, each group
            takes one.
        progress: called after ``keep`` with the name of a group and the seconds that it took.

    Raises:
        UsageError: the scheduler cannot be used.
        OSError: the scheduler ended while groups were left.
        Exception: of ``function``, with a note that names the group. Results that have come by then are kept, other
            groups are given up; those of ``keep`` and Ctrl-C end the run likewise.
    """
    check_scheduler(scheduler)
    left = {name: group for name, group in groups.items() if name not in kept}

    def done(name: str, result: Result, seconds: float) -> None:
        keep(name, result)
        if progress is not None:
            progress(name, seconds)

    if scheduler is not None:
        if left:
            _run_on_workers(function, left, done, scheduler)
        return
    for name, group in left.items():
        try:
            result, seconds = _timed(function, group)
        except Exception as error:
            _name_group(error, name)
            raise
        done(name, result, seconds)


def _timed(function: Callable[[Group], Result], group: Group) -> tuple[Result, float]:
    began = time.perf_counter()
    return function(group), time.perf_counter() - began


def _name_group(error: Exception, name: str) -> None:
    error.add_note(f"it failed in group {name}")


# ---------------------------------------------------------------------- Dask


def _run_on_workers(
    function: Callable[[Group], Result],
    left: Mapping[str, Group],
    done: Callable[[str, Result, float], None],
    scheduler: str,
) -> None:
    with open_client(scheduler) as client:
        from distributed import as_completed

        workers = client.scheduler_info(n_workers=-1)["workers"].values()
        resources = {"GPU": 1} if any("GPU" in worker.get("resources", {}) for worker in workers) else None
        run, names = uuid.uuid4().hex, {}
        for name, group in left.items():
            key = f"group-{run}-{name}"
            future = client.submit(
                _do_and_send, function, group, key, shares_terminal=scheduler == LOCAL, key=key, resources=resources
            )
            names[future] = name

        def sent(future: Any) -> bytes | None:
            try:
                packed = client.get_metadata(future.key, default=None)
            except OSError:
                packed, ended = None, True
            else:
                ended = packed is None and future.cancelled()
            if ended:
                raise OSError(f"{len(names)} groups were not done: the Dask scheduler at {scheduler} ended")
            return packed

        def take(future: Any, packed: bytes) -> None:
            done(names[future], *pickle.loads(packed))
            del names[future]
            future.release()  # or the death of its worker would have the group done again

        try:
            for future in as_completed(list(names)):
                packed = sent(future)
                if packed is None:
                    try:
                        packed = future.result()
                    except Exception as error:
                        for other in list(names):  # those that came at the same time
                            if (of_other := sent(other)) is not None:
                                take(other, of_other)
                        _name_group(error, names[future])
                        raise
                take(future, packed)
        finally:
            client.cancel(list(names))


def _do_and_send(function: Callable[[Any], Any], group: Any, key: str, *, shares_terminal: bool) -> bytes:
    """Do a group in a worker, unless the scheduler has its result, and send that there before the group ends.

    Dask itself leaves a result with the worker until it is fetched, and has it done again if the worker dies first.
    The scheduler forgets the result with the group, when that is released.

    Args:
        function: group -> result.
        group: the work.
        key: of the group at the scheduler.
        shares_terminal: this process writes to the terminal of the one that handed the group out. That one says in one
            line why a group failed; what threads and logs of libraries say of it here is left out.

    Returns:
        The pickled result and the seconds it took, for the case that it did not reach the scheduler; nothing if
        nobody waits for the group any more.
    """
    from distributed import get_client

    if shares_terminal:
        logging.getLogger("absl").addFilter(_without_traceback)
        sys.excepthook = threading.excepthook = sys.unraisablehook = _say_nothing
    client: Any = None
    with suppress(OSError):
        client = get_client()
        earlier = client.get_metadata(key, default=None)
        if earlier is not None:
            return earlier
        # A group that was begun here since its worker died may have been taken, and so forgotten, at the same moment.
        if client.sync(client.scheduler.get_task_status, keys=[key])[key] is None:
            return b""
    packed = pickle.dumps(_timed(function, group))
    with suppress(OSError):
        client = client or get_client()
        client.set_metadata(key, packed)
    return packed


def _without_traceback(record: logging.LogRecord) -> bool:
    return not record.exc_info


def _say_nothing(*_: Any) -> None:
    pass
