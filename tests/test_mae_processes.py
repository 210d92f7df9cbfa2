"""Runs in processes of their own: killed, interrupted, on several devices, and several processes together."""

import json
import os
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import jax
import numpy as np
import pytest

from hlvm.mae import one_device_per_core
from hlvm.mae.training.groups import shares

SCRIPT = """
import signal, sys, json
signal.signal(signal.SIGINT, signal.default_int_handler)  # as in a terminal
import jax, numpy as np
from pathlib import Path
from hlvm import HierarchicalModel, LatentGraph
from hlvm.datasets import Dataset
from hlvm.mae import *
from hlvm.masking import RandomMask
from hlvm.mechanisms import LinearGaussian

small = BottleneckConfig(code_dim=2, width=8, depth=1)

def train(folder, devices=None, steps=1500, held_out=0, microbatch=None, every=100, on_progress=None, network=small):
    data = model = HierarchicalModel.init(jax.random.key(1), LatentGraph.quadtree(2), LinearGaussian())
    members = [Member(mask=RandomMask(ratio=0.5), network=network, seed=s) for s in range(4)]
    checkpoints = None if folder is None else Checkpoints(folder=folder, every=every)
    if held_out:
        draw = np.random.default_rng(2)  # which is the same on any devices, to the last digit
        rows = {x: draw.normal(size=(200, model.graph.dim(x))) for x in model.graph.observed}
        data = Dataset.from_arrays(observed=rows, graph=model.graph)
    return fit_ensemble(
        jax.random.key(0), data, members, TrainConfig(steps=steps, batch=16, warmup=10, held_out=held_out),
        checkpoints=checkpoints, devices=devices, microbatch=microbatch, on_progress=on_progress,
    )
"""


GUARD = 1800
"""Seconds after which a process is taken to hang; nothing is judged by them."""


def python(program, *arguments, stdin=False, **environment):
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT + program, *map(str, arguments)],
        env=os.environ | {"JAX_PLATFORMS": "cpu", **environment},
        stdin=subprocess.PIPE if stdin else subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finished(process):
    (found,) = all_finished([process])
    return found


def all_finished(processes):
    """What each of them printed last."""
    found = outputs(processes)
    for process, (_, errors) in zip(processes, found, strict=True):
        assert process.returncode == 0, errors[-3000:]
    return [json.loads(out.splitlines()[-1]) for out, _ in found]


def outputs(processes):
    """What they write until they end; all are read at once, since one whose pipe is full keeps the others waiting."""
    with ThreadPoolExecutor() as pool:
        return list(pool.map(lambda process: process.communicate(timeout=GUARD), processes))


LOSSES = "\nprint(json.dumps([f.losses.tolist() for f in fits]))"


@pytest.mark.slow
def test_killed_run_goes_on_bit_for_bit(tmp_path):
    """Killed twice without warning: some time into training, and while a state is being written."""
    whole = finished(python("fits = train(None)" + LOSSES))
    folder = tmp_path / "run"
    program = "fits = train(sys.argv[1])" + LOSSES
    for killed in ("lambda p: p.step == 300 and die()", "lambda p: p.step > 300 and at_rename()"):
        process = python(f"{DIE}train(sys.argv[1], on_progress={killed})", folder)
        process.communicate(timeout=GUARD)
        assert process.returncode == -signal.SIGKILL
    assert finished(python(program, folder)) == whole


DIE = """
import os

def die():
    os.kill(os.getpid(), signal.SIGKILL)

def at_rename():
    state = Path(sys.argv[1]).absolute() / "states" / "0"
    sys.addaudithook(lambda event, given: event == "os.rename" and Path(given[1]).parent == state and die())
"""


@pytest.mark.slow
def test_interrupted_process_keeps_its_state_and_goes_on_with_other_devices(tmp_path):
    """A real Ctrl-C, as a terminal sends it; the run ends on two devices, with a warning."""
    flags = "--xla_force_host_platform_device_count=2"
    whole = finished(python("fits = train(None)" + LOSSES, XLA_FLAGS=flags))
    folder = tmp_path / "run"
    process = python(PAUSE + "train(sys.argv[1], on_progress=pause)", folder, stdin=True, XLA_FLAGS=flags)
    assert process.stdout.readline() == "pause\n"
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate("go on\n", timeout=GUARD)
    assert process.returncode == -signal.SIGINT  # which a shell shows as 130
    assert "KeyboardInterrupt: stopped; the state is kept in" in errors
    process = python("fits = train(sys.argv[1], jax.devices())" + LOSSES, folder, XLA_FLAGS=flags)
    out, errors = process.communicate(timeout=GUARD)
    assert "n_devices 1 before and 2 now" in errors
    np.testing.assert_allclose(json.loads(out.splitlines()[-1]), whole, rtol=2e-4)


PAUSE = """
def pause(progress):
    if progress.step == 300:
        print("pause", flush=True)
        sys.stdin.readline()
"""


@pytest.mark.slow
@pytest.mark.parametrize("network", ["small", "ViTConfig(width=8, depth=5, heads=2, decoder_width=8)"])
def test_eight_devices_train_like_one(network):
    """Two share each member's batch of 16; in parts of 4 as well."""
    program = "fits = train(None, {}, 100, microbatch={}, network=" + network + ")" + LOSSES
    one = finished(python(program.format(None, None)))
    for microbatch in (None, 4):
        eight = python(
            program.format("jax.devices()", microbatch), XLA_FLAGS="--xla_force_host_platform_device_count=8"
        )
        np.testing.assert_allclose(finished(eight), one, rtol=2e-4)


@pytest.mark.slow
def test_devices_that_cannot_share_evenly_train_like_one():
    """Of seven devices, four share four members; with them go rows held out, and a batch of 16 in parts."""
    train = "fits = train(None, {}, 300, held_out=40, microbatch={})"
    one = finished(python(SHARED + train.format(None, None) + ALL_LOSSES))
    seven = python(SHARED + train.format("jax.devices()", 8) + ALL_LOSSES, XLA_FLAGS=SEVEN_DEVICES)
    seven = finished(seven)
    assert [found.pop("devices") for found in (one, seven)] == [[], [4]]
    np.testing.assert_allclose(seven["losses"], one["losses"], rtol=2e-4)


@pytest.mark.slow
def test_a_run_goes_on_with_devices_that_stream_what_one_keeps(tmp_path):
    """The steps of a call, by which losses on rows held out are reported, do not follow from the devices."""
    limits = """
from hlvm.mae.training import feeding
feeding._TABLE_BYTES, feeding._STREAM_BYTES = 2 * 4 * 160 * 56, 4 * 4 * 16 * 56 * 30  # two copies; 30 steps a call

def stop(progress):
    raise KeyboardInterrupt
"""
    train = "fits = train({}, {}, 120, held_out=40, every=30, on_progress={})"
    whole = finished(python(SHARED + limits + train.format(None, None, None) + ALL_LOSSES))
    folder = repr(str(tmp_path / "run"))
    begin = limits + "\ntry:\n    " + train.format(folder, None, "stop") + "\nexcept KeyboardInterrupt:\n    print(1)"
    assert finished(python(begin)) == 1
    go_on = SHARED + limits + train.format(folder, "jax.devices()", None) + ALL_LOSSES
    found = finished(python(go_on, XLA_FLAGS=SEVEN_DEVICES))
    assert found["devices"] == [4]
    np.testing.assert_allclose(found["losses"], whole["losses"], rtol=2e-4)


SEVEN_DEVICES = "--xla_force_host_platform_device_count=7"

SHARED = """
from hlvm.mae.training import groups
sizes, mesh_of = [], groups._mesh

def noted(*arguments):
    mesh = mesh_of(*arguments)
    sizes.append(mesh.size)
    return mesh

groups._mesh = noted
"""

ALL_LOSSES = """
losses = [[*f.losses.tolist(), *f.held_out.losses.tolist()] for f in fits]
print(json.dumps({"devices": sizes, "losses": losses}))
"""


@pytest.mark.parametrize(
    ("devices", "members", "batch", "expected"),
    [
        (1, 4, 32, (1, 1)),
        (2, 4, 32, (2, 1)),
        (4, 4, 32, (4, 1)),
        (8, 4, 32, (4, 2)),
        (6, 4, 32, (4, 1)),  # not 2 and 3: 32 is no multiple of 3
        (6, 4, 33, (2, 3)),
        (12, 5, 32, (5, 2)),
        (16, 1, 64, (1, 16)),
        (7, 1, 5, (1, 5)),
        (3, 2, 7, (2, 1)),
        (5, 1, 1, (1, 1)),
    ],
)
def test_as_many_devices_as_can_share_evenly(devices, members, batch, expected):
    assert shares(devices, members, batch) == expected


@pytest.mark.slow
def test_a_single_device_is_the_one_that_was_named():
    """JAX's first needs no placing; another one is where the program runs."""
    show = """
seen = []
fits = train(None, [jax.devices()[int(sys.argv[1])]], 100, on_progress=lambda progress: seen.append(placed()))
print(json.dumps([seen, [f.losses.tolist() for f in fits]]))
"""
    placed = """
def placed():
    devices = {d.id for array in jax.live_arrays() for d in array.devices() if array.ndim == 2 and len(array) == 4}
    return sorted(devices)
"""
    flags = "--xla_force_host_platform_device_count=3"
    (first, one), (other, same) = (finished(python(placed + show, n, XLA_FLAGS=flags)) for n in (0, 2))
    assert first == [[0]]
    assert 2 in other[0]
    np.testing.assert_allclose(same, one, rtol=1e-5)


def test_cores_are_no_devices_where_jax_leaves_cpus_out():
    code = "from hlvm.mae import one_device_per_core; one_device_per_core()"
    environment = os.environ | {"JAX_PLATFORMS": "cuda"}
    found = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert "ValueError: JAX leaves CPUs out (JAX_PLATFORMS=cuda): add cpu to it" in found.stderr


@pytest.mark.slow
def test_one_device_per_core_trains_like_one_device():
    program = "fits = train(None, one_device_per_core(2) if sys.argv[1] == 'cores' else None, 300)" + LOSSES
    one, cores = (finished(python(program, devices)) for devices in ("one", "cores"))
    np.testing.assert_allclose(cores, one, rtol=2e-4)


def test_one_device_per_core_comes_first():
    jax.devices()
    with pytest.raises(RuntimeError, match="computed something already"):
        one_device_per_core(len(jax.devices()) + 1)


@pytest.mark.slow
def test_devices_that_share_a_batch_exchange_sums_only():
    """Nothing else, such as where each row's tokens go, and all sums at once: every exchange is a wait."""
    found = finished(python(EXCHANGED, XLA_FLAGS="--xla_force_host_platform_device_count=2"))
    assert found == ["all-reduce"]


EXCHANGED = """
import re
from hlvm.mae.training.groups import group_members, prepare
from hlvm.mae.training.data import check_data, standardization
from hlvm.mae.training.program import compile_program
model = HierarchicalModel.init(jax.random.key(1), LatentGraph.quadtree(2), LinearGaussian())
members = [Member(mask=RandomMask(ratio=0.5), network=ViTConfig(width=16, depth=1))]
config, data = TrainConfig(steps=10, batch=8, warmup=1), check_data(model)
(group,) = group_members(data.graph, members, config, jax.devices())
key = jax.random.key(0)
one = prepare(key, data, group, members, config, *standardization(data, key))
program = compile_program(one.lower(), one.program.platform)
print(json.dumps(re.findall(r" (all-[a-z]+|collective-[a-z]+|reduce-scatter)\\(", program.as_text())))
"""


@pytest.mark.slow
def test_plan_counts_the_work_of_all_devices():
    program = "devices = jax.devices() if len(jax.devices()) > 1 else None" + PLANNED
    one, two = (finished(python(program, XLA_FLAGS=f"--xla_force_host_platform_device_count={n}")) for n in (1, 2))
    assert one == two


PLANNED = """
model = HierarchicalModel.init(jax.random.key(1), LatentGraph.quadtree(2), LinearGaussian())
members = [Member(mask=RandomMask(ratio=0.5), network=ViTConfig(width=16, depth=1))]
train = TrainConfig(steps=10, batch=16, warmup=1)
plan = plan_ensemble(jax.random.key(0), model, members, train, devices=devices, microbatch=4)
print(json.dumps(plan.programs[0].flops_per_step))
"""


@pytest.mark.slow
@pytest.mark.parametrize("held_out", [0, 40])
def test_two_processes_train_like_one(held_out):
    """Four members over two processes of two devices each."""
    show = "\nprint(json.dumps([(f.held_out or f).losses.tolist() for f in fits]))"
    one = finished(python(f"fits = train(None, None, 300, {held_out})" + show))
    for found in all_finished(two_processes(f"fits = train(None, jax.devices(), 300, {held_out})" + show)):
        np.testing.assert_allclose(found, one, rtol=2e-4)


def two_processes(program, *arguments):
    """The program in two processes of two devices each; its own arguments come third."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    begin = (
        "jax.distributed.initialize(sys.argv[1], num_processes=2, process_id=int(sys.argv[2]))\n"
        "assert len(jax.devices()) == 4 and len(jax.local_devices()) == 2\n"
    )
    flags = "--xla_force_host_platform_device_count=2"
    return [python(begin + program, address, rank, *arguments, XLA_FLAGS=flags) for rank in range(2)]


@pytest.mark.slow
def test_two_processes_stop_together_and_go_on(tmp_path):
    """Ctrl-C reaches one of them; both keep the state of that step, where none was due, and end as if never stopped."""
    show, folder = LOSSES, tmp_path / "run"
    begin = "fits = train(sys.argv[3], jax.devices(), 900, every=10**6"
    whole = all_finished(two_processes(begin + ")" + show, tmp_path / "whole"))
    assert whole[0] == whole[1]
    interrupted = INTERRUPT + begin + ", on_progress=interrupt)"
    stopped = two_processes(interrupted, folder)
    for process, (_, errors) in zip(stopped, outputs(stopped), strict=True):
        assert process.returncode == -signal.SIGINT
        assert "KeyboardInterrupt: stopped; the state is kept in" in errors
    assert [path.name for path in (folder / "states" / "0").glob("[0-9]*")] == ["200"]
    assert all_finished(two_processes(begin + ")" + show, folder)) == whole


INTERRUPT = """
def interrupt(progress):
    if progress.step == 200 and jax.process_index() == 1:
        signal.raise_signal(signal.SIGINT)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("interrupted", "said"),
    [
        ("standardization", "stopped; this program has done no step yet"),
        ("compile_program", "stopped; this program has done no step yet"),
        ("_fits", "stopped; all is done and kept"),
    ],
)
def test_two_processes_stop_together_outside_of_steps(tmp_path, interrupted, said):
    """Ctrl-C reaches one of them before its first step or after the last one; the other must not wait for it."""
    program = INTERRUPT_IN.format(interrupted) + "train(sys.argv[3], jax.devices(), 300)"
    stopped = two_processes(program, tmp_path / "run")
    for process, (_, errors) in zip(stopped, outputs(stopped), strict=True):
        assert process.returncode == -signal.SIGINT
        assert f"KeyboardInterrupt: {said}" in errors


INTERRUPT_IN = """
import os
from hlvm.mae.training import training
call = training.{0}

def interrupted(*arguments):
    if jax.process_index() == 1:
        os.kill(os.getpid(), signal.SIGINT)
    return call(*arguments)

training.{0} = interrupted
"""


@pytest.mark.slow
def test_processes_that_do_not_train_together_keep_no_states(tmp_path):
    program = """
try:
    train(sys.argv[3], jax.local_devices(), 100)
except ValueError as error:
    print(json.dumps(str(error)))
"""
    for said in all_finished(two_processes(program, tmp_path / "run")):
        assert "checkpoints are kept by all 2 processes together" in said
    assert not (tmp_path / "run").exists()
