"""Groups of work: what is kept when groups fail, workers die, or the run is stopped."""

import collections
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("distributed")  # now, since it adds its settings to those of Dask

import dask.config
import distributed
from noted_groups import Noting, die_once

from hlvm._numbers import UsageError
from hlvm.mae import environment_of_cores
from hlvm.study import workers
from hlvm.study.groups import _do_and_send, run_groups

ROOT = Path(__file__).parent.parent
ANY_PORT = {"dashboard": False, "dashboard_address": "127.0.0.1:0"}  # or clusters of two test runs want the same
GUARD = 1800
"""Seconds after which a process is taken to hang; nothing is judged by them."""


@pytest.fixture
def patient():
    """Dask waits for as long as a busy machine may take."""
    with dask.config.set({"distributed.comm.timeouts.connect": GUARD, "distributed.comm.timeouts.tcp": GUARD}):
        yield


@pytest.fixture
def cluster(patient):
    """Start a cluster with one-threaded workers in processes of their own."""
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, scheduler_kwargs=ANY_PORT) as cluster:
        yield cluster


@pytest.fixture
def threads(patient):
    """Start a cluster whose only worker is a thread of this process."""
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=1, processes=False, protocol="tcp", scheduler_kwargs=ANY_PORT
    ) as cluster:
        yield cluster


@pytest.fixture
def noting(tmp_path):
    return Noting(tmp_path / "notes")


GROUPS = {f"square of {number}": number for number in range(6)}
SQUARES = {f"square of {number}": number**2 for number in range(6)}


def addresses(request, where):
    return None if where is None else request.getfixturevalue(where).scheduler_address


@pytest.mark.parametrize("where", [None, "threads"])
def test_run_groups_keeps_each_result_and_tells_progress(request, where, noting):
    found, told = {}, []

    def progress(name, seconds):
        assert name in found
        assert seconds >= 0
        told.append(name)

    run_groups(noting, GROUPS, found.__setitem__, scheduler=addresses(request, where), progress=progress)
    assert found == SQUARES
    assert told == list(found)
    assert sorted(noting.begun()) == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("where", [None, "threads"])
def test_run_groups_leaves_out_what_is_kept(request, where, noting):
    found, kept = {}, {"square of 1", "square of 4", "of another run"}
    run_groups(noting, GROUPS, found.__setitem__, kept=kept, scheduler=addresses(request, where))
    assert found == {name: square for name, square in SQUARES.items() if name not in kept}
    assert sorted(noting.begun()) == [0, 2, 3, 5]


def test_run_groups_starts_no_worker_for_nothing(noting):
    run_groups(noting, GROUPS, pytest.fail, kept=GROUPS, scheduler="tcp://nowhere.invalid:1")


@pytest.mark.parametrize("where", [None, "threads"])
def test_run_groups_names_a_group_that_fails_and_keeps_those_before(request, where, tmp_path):
    found, failing = {}, Noting(tmp_path / "notes", fails_at=3)
    with pytest.raises(ArithmeticError, match="cannot be squared") as caught:
        run_groups(failing, GROUPS, found.__setitem__, scheduler=addresses(request, where))
    assert caught.value.__notes__ == ["it failed in group square of 3"]
    begun = failing.begun()
    before = begun[: begun.index(3)]
    assert {f"square of {number}" for number in before} <= found.keys() < GROUPS.keys()
    assert found.items() < SQUARES.items()


@pytest.mark.parametrize("where", [None, "threads"])
def test_run_groups_that_is_interrupted_goes_on_with_what_is_left(request, where, noting):
    found = {}

    def interrupt(name, seconds):
        if len(found) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_groups(noting, GROUPS, found.__setitem__, scheduler=addresses(request, where), progress=interrupt)
    assert len(found) == 2
    kept, more = set(found), {}
    run_groups(noting, GROUPS, more.__setitem__, kept=kept, scheduler=addresses(request, where))
    assert not more.keys() & kept
    assert found | more == SQUARES


def test_run_groups_does_again_only_what_a_killed_worker_had_in_its_hands(cluster, tmp_path):
    """Groups that the dead worker did before are not done again, though Dask would fetch them from it."""
    found, dying = {}, Noting(tmp_path / "notes", dies_at=4)
    run_groups(dying, GROUPS, found.__setitem__, scheduler=cluster.scheduler_address)
    assert found == SQUARES
    assert collections.Counter(dying.begun()) == {0: 1, 1: 1, 2: 1, 3: 1, 4: 2, 5: 1}


def test_run_groups_needs_no_worker_to_fetch_a_result(cluster, noting, tmp_path):
    """A worker is killed when its group is finished, before the scheduler hears that it is."""
    mark = tmp_path / "died"

    class Dies(distributed.WorkerPlugin):
        def transition(self, key, start, finish, **_):
            if finish == "memory":
                die_once(mark)

    with distributed.Client(cluster) as client:
        client.register_plugin(Dies())
    found = {}
    run_groups(noting, GROUPS, found.__setitem__, scheduler=cluster.scheduler_address)
    assert mark.exists()
    assert found == SQUARES
    assert collections.Counter(noting.begun()) == dict.fromkeys(range(6), 1)


def test_a_worker_leaves_out_a_group_that_the_scheduler_has_forgotten(threads, noting):
    """It was handed on when its worker died, and its result was taken before the next worker began with it."""
    with distributed.Client(threads) as client:
        found = client.submit(_do_and_send, noting, 3, "forgotten", shares_terminal=False).result()
        assert (found, noting.begun()) == (b"", [])
        assert client.submit(_do_and_send, noting, 3, "known", shares_terminal=False, key="known").result()
    assert noting.begun() == [3]


def test_run_groups_fetches_what_did_not_reach_the_scheduler(threads, noting, monkeypatch):
    def unreachable(*_, **__):
        raise OSError("the network is down")

    monkeypatch.setattr(distributed.Client, "set_metadata", unreachable)
    found = {}
    run_groups(noting, GROUPS, found.__setitem__, scheduler=threads.scheduler_address)
    assert found == SQUARES


def test_run_groups_leaves_nothing_with_the_scheduler(threads, noting):
    def held():
        return [key for key in threads.scheduler.task_metadata if key.startswith("group-")]

    run_groups(noting, GROUPS, lambda name, result: assert_held(held()), scheduler=threads.scheduler_address)
    until = time.monotonic() + GUARD
    while held() and time.monotonic() < until:  # it hears of the end a little later
        time.sleep(0.02)
    assert not held()


def assert_held(keys):
    assert keys


def test_run_groups_says_that_the_scheduler_was_restarted(threads, noting):
    def restart(name, result):
        with distributed.Client(threads) as other:
            other.restart(wait_for_workers=False)

    with pytest.raises(OSError, match=r"^[1-6] groups were not done: the Dask scheduler at tcp:.* ended$"):
        run_groups(noting, GROUPS, restart, scheduler=threads.scheduler_address)


@pytest.mark.parametrize("scheduler", ["remote", "http://host:80", ""])
def test_run_groups_refuses_what_is_no_scheduler(noting, scheduler):
    with pytest.raises(UsageError, match=r'^scheduler must be "local" or an address such as tcp://host:8786, got'):
        run_groups(noting, GROUPS, pytest.fail, scheduler=scheduler)


def test_run_groups_says_that_dask_is_missing(noting, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(UsageError, match=r"^scheduler needs Dask: pip install 'hlvm\[dask\]'$"):
        run_groups(noting, GROUPS, pytest.fail, scheduler="local")


@pytest.mark.parametrize("address", ["tcp://127.0.0.1", "tls://127.0.0.1:9"])
def test_open_client_says_that_no_scheduler_answers(address):
    with (
        pytest.raises(UsageError, match=f"^scheduler {address} does not answer: .") as caught,
        workers.open_client(address),
    ):
        pass
    assert caught.value.argument == "scheduler"


@pytest.mark.usefixtures("patient")
def test_open_client_starts_workers_that_compute_as_the_process_alone(monkeypatch):
    """The same devices and flags, or else sums are taken in another order; whatever the environment said before."""
    monkeypatch.setattr(workers, "available_cores", lambda: 1)  # so many workers
    monkeypatch.setattr(workers, "environment_of_cores", lambda n: environment_of_cores(n + 2))
    monkeypatch.setenv("XLA_FLAGS", "--xla_backend_optimization_level=0")
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    before = dict(os.environ)
    with workers.open_client("local") as client:
        worker = client.submit(eval, SHOWN).result()
    assert dict(os.environ) == before
    program = f"from hlvm.mae import one_device_per_core; one_device_per_core(3); print({SHOWN})"
    alone = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    assert worker == alone == "cpu 3 --xla_backend_optimization_level=0 --xla_cpu_multi_thread_eigen=false"


SHOWN = (
    "' '.join([(jax := __import__('jax')).default_backend(), str(len(jax.devices())), "
    "*sorted(__import__('os').environ['XLA_FLAGS'].split())])"
)


def blocked_signals():
    return signal.pthread_sigmask(signal.SIG_BLOCK, [])


@pytest.mark.slow
@pytest.mark.usefixtures("patient")
def test_open_client_starts_workers_that_do_not_get_interrupts(monkeypatch):
    """A terminal sends Ctrl-C to all; the process that started the workers stops them."""
    monkeypatch.setattr(workers, "available_cores", lambda: 1)
    with workers.open_client("local") as client:
        (of_worker,) = client.run(blocked_signals).values()
    assert signal.SIGINT in of_worker
    assert signal.SIGINT not in blocked_signals()
