"""Data from arrays, runs that are killed and go on, several devices and several processes."""

import dataclasses
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import time
import warnings
from concurrent.futures import ThreadPoolExecutor

import jax
import numpy as np
import pytest

from hlvm import HierarchicalModel, LatentGraph
from hlvm.datasets import Dataset, load_dataset, write_dataset
from hlvm.mae import (
    ArrayData,
    BottleneckConfig,
    Checkpoints,
    LossConfig,
    Member,
    TensorBoard,
    TrainConfig,
    ViTConfig,
    encode,
    feeding,
    fit,
    fit_ensemble,
    groups,
    load_fits,
    one_device_per_core,
    plan_ensemble,
    save_fits,
)
from hlvm.mae import data as data_module
from hlvm.mae import program as program_module
from hlvm.mae.checkpoints import describe_run
from hlvm.mae.data import check_data
from hlvm.mae.groups import shares
from hlvm.mae.interrupts import Interrupts
from hlvm.masking import RandomMask
from hlvm.mechanisms import LinearGaussian, Polar

KEY = jax.random.key(0)
GRAPH = LatentGraph.quadtree(2)
MASK = RandomMask(ratio=0.5)
SMALL = BottleneckConfig(code_dim=2, width=8, depth=1)
TRAIN = TrainConfig(steps=250, batch=16, warmup=10)


@pytest.fixture(scope="module")
def model():
    return HierarchicalModel.init(jax.random.key(1), GRAPH, LinearGaussian())


@pytest.fixture(scope="module")
def rows(model):
    sample = model.sample(jax.random.key(2), 300)
    return Dataset.from_arrays(
        observed={name: np.asarray(sample.observed[name]) for name in GRAPH.observed}, graph=GRAPH
    )


# ---------------------------------------------------------------------- arrays


def test_rows_of_an_epoch_are_all_rows_in_an_order_of_its_own(rows):
    key = jax.random.key(3)
    epochs = feeding._positions(key, 300, 0, 600).reshape(2, 300)
    assert all(sorted(epoch) == list(range(300)) for epoch in epochs.tolist())
    assert (epochs[0] != epochs[1]).any()
    assert feeding._positions(key, 300, 250, 100).tolist() == epochs.reshape(-1)[250:350].tolist()
    assert (feeding._positions(jax.random.key(4), 300, 0, 300) != epochs[0]).any()


def test_array_data_takes_rows_in_any_order_from_memory_and_files(model, rows, tmp_path):
    whole = np.concatenate([rows.observed[name] for name in GRAPH.observed], axis=1)
    assert np.array_equal(ArrayData.of(rows).rows([5, 2, 5, 299]), whole[[5, 2, 5, 299]])
    write_dataset(tmp_path / "rows.h5", model, key=jax.random.key(2), n=50)
    with load_dataset(tmp_path / "rows.h5") as stored:
        found = ArrayData.of(stored)
        assert np.array_equal(found.rows([7, 3, 7]), found.rows(np.arange(50))[[7, 3, 7]])


def test_array_data_cuts_images_into_the_graphs_patches():
    graph = LatentGraph.from_edges(
        [("z", f"x{i}") for i in range(4)], dims={"z": 1} | {f"x{i}": 12 for i in range(4)}, grid=(2, 2)
    )
    images = np.arange(3 * 4 * 4 * 3).reshape(3, 4, 4, 3).astype(np.float32)
    found = ArrayData.of(Dataset.from_arrays(images=images, graph=graph)).rows([1])
    expected = [images[1, r : r + 2, c : c + 2].reshape(-1) for r in (0, 2) for c in (0, 2)]
    assert np.array_equal(found[0], np.concatenate(expected))
    bytes_ = ArrayData.of(Dataset.from_arrays(images=images.astype(np.uint8), graph=graph)).rows([0])
    assert bytes_.max() == pytest.approx(47 / 255)
    with pytest.raises(ValueError, match="a 2 x 2 grid of patches does not fill images of 5 x 6 pixels"):
        ArrayData.of(Dataset.from_arrays(images=np.zeros((2, 5, 6, 3)), graph=graph))


def test_rows_are_placed_once_for_all_programs(rows, monkeypatch):
    made = []
    of_rows = groups.table_of
    monkeypatch.setattr(groups, "table_of", lambda *arguments: made.append(of_rows(*arguments)) or made[-1])
    vit = ViTConfig(width=8, depth=1, decoder_width=8)
    members = [Member(mask=RandomMask(ratio=ratio), network=vit) for ratio in (0.25, 0.5)]
    train = TrainConfig(steps=5, batch=4, warmup=1)
    assert len(plan_ensemble(rows, members, train).programs) == 2
    assert len(made) == 1
    fit_ensemble(KEY, rows, members, train)
    assert len(made) == 2
    assert [len(table) for table in made] == [300, 300]


@pytest.mark.parametrize(("copies", "kept"), [(1, True), (2, True), (3, False)])
def test_copies_in_one_memory_count(rows, monkeypatch, copies, kept):
    data = check_data(rows)
    shift, scale = data_module.standardization(data, KEY)
    monkeypatch.setattr(feeding, "_TABLE_BYTES", 2 * 4 * len(data) * data.n_columns)
    assert (feeding.table_of(data, shift, scale, copies) is not None) is kept


@pytest.mark.slow
def test_streamed_rows_train_like_rows_kept_on_the_device(rows, monkeypatch):
    kept = fit(KEY, rows, MASK, SMALL, TRAIN)
    monkeypatch.setattr(feeding, "_TABLE_BYTES", 0)
    monkeypatch.setattr(feeding, "_STREAM_BYTES", 4 * 16 * 56 * 70)  # chunks of 70 steps or fewer
    streamed = fit(KEY, rows, MASK, SMALL, TRAIN)
    assert np.allclose(kept.losses, streamed.losses, rtol=1e-4)
    assert kept.losses[-50:].mean() < kept.losses[:20].mean()


def test_fits_on_arrays_are_saved_with_their_graph(rows, tmp_path):
    made = fit(KEY, rows, MASK, SMALL, TrainConfig(steps=5, batch=4, warmup=1))
    save_fits(tmp_path / "fits", [made])
    (loaded,) = load_fits(tmp_path / "fits")
    assert loaded.model.graph == GRAPH
    observed = ArrayData.of(rows).rows(np.arange(3))
    masked = np.arange(16) < 8
    assert np.array_equal(encode(made, observed, masked), encode(loaded, observed, masked))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (Dataset.from_arrays(images=np.zeros((2, 4, 4, 1))), "the data set has no graph"),
        (
            Dataset.from_arrays(observed={"x_0_0": np.zeros((2, 4))}, graph=GRAPH),
            "neither images nor values of 'x_0_1'",
        ),
        (np.zeros((4, 4)), "expected a HierarchicalModel, an image model or a Dataset to train on, got ndarray"),
    ],
)
def test_data_that_cannot_be_trained_on_is_refused(data, message):
    with pytest.raises(ValueError, match=message):
        data_module.check_data(data)


# ---------------------------------------------------------------------- states on disk


class StopEarlyError(Exception):
    """Raised by a callback in the middle of a run."""


def members():
    vit = ViTConfig(patch=1, width=8, depth=1, heads=2, decoder_width=8)
    return [
        Member(mask=MASK, network=SMALL, seed=0),
        Member(mask=MASK, network=SMALL, seed=1),
        Member(mask=MASK, network=vit),
    ]


def test_stopped_run_goes_on_bit_for_bit(model, tmp_path):
    whole = fit_ensemble(KEY, model, members(), TRAIN)
    checkpoints = Checkpoints(folder=tmp_path / "run", every=100, keep=1)
    reports = []

    def stop_in_second_program(progress):
        reports.append((progress.group, progress.step))
        if (progress.group, progress.step) == (1, 200):
            raise StopEarlyError

    with pytest.raises(StopEarlyError):
        fit_ensemble(KEY, model, members(), TRAIN, checkpoints=checkpoints, on_progress=stop_in_second_program)
    assert len(list((tmp_path / "run" / "states" / "0").glob("[0-9]*"))) == 1
    again = []
    resumed = fit_ensemble(
        KEY, model, members(), TRAIN, checkpoints=checkpoints, on_progress=lambda p: again.append((p.group, p.step))
    )
    assert again == [(1, 250)]
    for one, other in zip(whole, resumed, strict=True):
        assert np.array_equal(one.losses, other.losses)
        assert np.array_equal(one.params, other.params)
    third = fit_ensemble(KEY, model, members(), TRAIN, checkpoints=checkpoints)  # nothing is left to do
    assert all(np.array_equal(a.params, b.params) for a, b in zip(whole, third, strict=True))


def test_folder_of_another_run_is_refused(model, tmp_path):
    checkpoints = Checkpoints(folder=tmp_path / "run")
    short = TrainConfig(steps=5, batch=4, warmup=1)
    fit(KEY, model, MASK, SMALL, short, checkpoints=checkpoints)
    other = HierarchicalModel.init(jax.random.key(9), GRAPH, LinearGaussian())
    for changed, name in [
        ((KEY, other, MASK, SMALL, short), "data"),
        ((jax.random.key(1), model, MASK, SMALL, short), "key"),
    ]:
        with pytest.raises(ValueError, match=f"states of another run, which differs in {name}"):
            fit(*changed, checkpoints=checkpoints)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match="holds other files"):
        fit(KEY, model, MASK, SMALL, short, checkpoints=Checkpoints(folder=tmp_path / "other"))


def test_interrupt_waits_for_the_running_steps_and_keeps_their_state(model, tmp_path, capsys, in_terminal):
    """Ctrl-C, with no state due before the end; afterwards the handler is the one of before."""
    checkpoints = Checkpoints(folder=tmp_path / "run", every=10**6)
    before, whole = signal.getsignal(signal.SIGINT), fit(KEY, model, MASK, SMALL, TRAIN)

    def interrupt(progress):
        if progress.step == 100:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt, match="the same call goes on from there"):
        fit(KEY, model, MASK, SMALL, TRAIN, checkpoints=checkpoints, on_progress=interrupt)
    assert signal.getsignal(signal.SIGINT) is before
    assert "Ctrl-C again to stop at once" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "run" / "states" / "0").glob("[0-9]*")] == ["100"]
    resumed = fit(KEY, model, MASK, SMALL, TRAIN, checkpoints=checkpoints)
    assert np.array_equal(resumed.losses, whole.losses)
    assert np.array_equal(resumed.params, whole.params)


def test_interrupts_that_are_ignored_stay_ignored(in_terminal):
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with Interrupts() as interrupts:
        signal.raise_signal(signal.SIGINT)
    assert not interrupts.wanted


def test_second_interrupt_is_not_held_back(model, tmp_path, in_terminal):
    checkpoints = Checkpoints(folder=tmp_path / "run")

    def interrupt_twice(progress):
        for _ in range(2):
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        fit(KEY, model, MASK, SMALL, TRAIN, checkpoints=checkpoints, on_progress=interrupt_twice)
    assert not list((tmp_path / "run" / "states" / "0").glob("[0-9]*"))


def test_run_that_goes_on_elsewhere_says_so(model, tmp_path):
    checkpoints = Checkpoints(folder=tmp_path / "run")
    short = TrainConfig(steps=5, batch=4, warmup=1)
    fit(KEY, model, MASK, SMALL, short, checkpoints=checkpoints)
    path = tmp_path / "run" / "run.json"
    here = json.loads(path.read_text())["environments"][-1]
    assert here["jax"] == jax.__version__
    assert (here["device"], here["n_devices"], here["parts"]) == ("cpu: cpu", 1, [1])
    path.write_text(path.read_text().replace(f'"jax": "{jax.__version__}"', '"jax": "0.1"'))
    with pytest.warns(UserWarning, match=f"goes on with jax 0.1 before and {jax.__version__} now: .* not bit for bit"):
        fit(KEY, model, MASK, SMALL, short, checkpoints=checkpoints)
    assert [e["jax"] for e in json.loads(path.read_text())["environments"]] == ["0.1", jax.__version__]
    with warnings.catch_warnings(action="error"):
        fit(KEY, model, MASK, SMALL, short, checkpoints=checkpoints)


def test_progress_tells_speed_and_gives_fits_to_evaluate(model):
    seen = []

    def evaluate(progress):
        (made,) = progress.fits()
        seen.append((progress.step, made.losses.shape, made.diverged, progress.history.shape))
        assert progress.samples_per_second > 0
        assert progress.seconds_left >= 0

    fit(KEY, model, MASK, SMALL, TRAIN, on_progress=evaluate)
    assert seen == [(100, (100,), False, (100, 1)), (200, (200,), False, (100, 1)), (250, (250,), False, (50, 1))]


# ---------------------------------------------------------------------- part by part


@pytest.mark.parametrize(
    ("network", "loss", "seeds"),
    [
        (ViTConfig(width=8, depth=1, decoder_width=8), LossConfig(region="interior"), (0,)),
        (SMALL, LossConfig(score="energy"), (0, 1)),
    ],
    ids=["vit", "energy"],
)
def test_batch_gone_through_in_parts_gives_the_same_losses(model, network, loss, seeds):
    """Samples without weight leave parts with unequal sums; several seeds have batches of their own."""
    members = [Member(mask=RandomMask(ratio=0.75), network=network, loss=loss, seed=seed) for seed in seeds]
    train = TrainConfig(steps=6, batch=12, warmup=1)
    whole, parts = (fit_ensemble(KEY, model, members, train, microbatch=part) for part in (None, 3))
    for a, b in zip(whole, parts, strict=True):
        np.testing.assert_allclose(b.losses, a.losses, rtol=1e-4)
        assert not np.array_equal(b.params, a.params)  # rounding: it was gone through in another way


@pytest.mark.parametrize(("microbatch", "message"), [(3, "must divide the 4 samples"), (0, "microbatch")])
def test_microbatch_that_does_not_fit_is_refused(model, microbatch, message):
    with pytest.raises(ValueError, match=message):
        fit(KEY, model, MASK, SMALL, TrainConfig(steps=5, batch=4, warmup=1), microbatch=microbatch)


def test_parts_are_the_same_work_in_less_memory(rows):
    wide = BottleneckConfig(code_dim=2, width=256, depth=1)
    members, train = [Member(mask=MASK, network=wide)], TrainConfig(steps=5, batch=256, warmup=1)
    whole, parts = (
        plan_ensemble(rows, members, train, microbatch=part, measure=True).programs[0] for part in (None, 16)
    )
    assert parts.flops_per_step == whole.flops_per_step
    assert parts.working_bytes < whole.working_bytes / 1.5


@pytest.mark.parametrize("network", ["vit", "bottleneck"])
def test_work_of_all_blocks_is_counted(model, network):
    """Of more than four blocks, which are a loop, as of fewer."""

    def flops(depth):
        vit = ViTConfig(width=16, depth=depth, decoder_width=8)
        config = vit if network == "vit" else BottleneckConfig(code_dim=2, encoder=vit)
        member = Member(mask=RandomMask(ratio=0.5), network=config)
        return plan_ensemble(model, [member], TrainConfig(steps=5, batch=8, warmup=1)).programs[0].flops_per_step

    two, four, eight = map(flops, (2, 4, 8))
    assert eight - four == pytest.approx(2 * (four - two), rel=0.02)


# ---------------------------------------------------------------------- other processes

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

def train(folder, devices=None, steps=1500, held_out=0, microbatch=None, every=100, on_progress=None):
    data = model = HierarchicalModel.init(jax.random.key(1), LatentGraph.quadtree(2), LinearGaussian())
    small = BottleneckConfig(code_dim=2, width=8, depth=1)
    members = [Member(mask=RandomMask(ratio=0.5), network=small, seed=s) for s in range(4)]
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


def python(program, *arguments, **environment):
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT + program, *map(str, arguments)],
        env=os.environ | {"JAX_PLATFORMS": "cpu", **environment},
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
        return list(pool.map(lambda process: process.communicate(timeout=300), processes))


LOSSES = "\nprint(json.dumps([f.losses.tolist() for f in fits]))"


@pytest.mark.slow
def test_killed_run_goes_on_bit_for_bit(tmp_path):
    """Killed twice without warning: some time into training, and while a state is being written."""
    whole = finished(python("fits = train(None)" + LOSSES))
    folder = tmp_path / "run"
    states = folder / "states" / "0"
    kills = [lambda: (states / "200").exists(), lambda: any("tmp" in path.name for path in states.glob("*"))]
    program = "fits = train(sys.argv[1])" + LOSSES
    for due in kills:
        process = python(program, folder)
        while process.poll() is None and not (states.exists() and due()):
            time.sleep(0.0005)
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert finished(python(program, folder)) == whole


@pytest.mark.slow
def test_interrupted_process_keeps_its_state_and_goes_on_with_other_devices(tmp_path):
    """A real Ctrl-C, as a terminal sends it; the run ends on two devices, with a warning."""
    flags = "--xla_force_host_platform_device_count=2"
    whole = finished(python("fits = train(None)" + LOSSES, XLA_FLAGS=flags))
    folder = tmp_path / "run"
    process = python("train(sys.argv[1])", folder, XLA_FLAGS=flags)
    while process.poll() is None and not (folder / "states" / "0" / "200").exists():
        time.sleep(0.0005)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=100)
    assert process.returncode == -signal.SIGINT  # which a shell shows as 130
    assert "KeyboardInterrupt: stopped; the state is kept in" in errors
    process = python("fits = train(sys.argv[1], jax.devices())" + LOSSES, folder, XLA_FLAGS=flags)
    out, errors = process.communicate(timeout=300)
    assert "n_devices 1 before and 2 now" in errors
    np.testing.assert_allclose(json.loads(out.splitlines()[-1]), whole, rtol=2e-4)


@pytest.mark.slow
def test_eight_devices_train_like_one():
    """Two share each member's batch of 16; in parts of 4 as well."""
    program = "fits = train(None, {}, 300, microbatch={})" + LOSSES
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
from hlvm.mae import feeding
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
from hlvm.mae import groups
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
from hlvm.mae.groups import group_members, prepare
from hlvm.mae.data import check_data, standardization
from hlvm.mae.program import compile_program
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
plan = plan_ensemble(model, members, TrainConfig(steps=10, batch=16, warmup=1), devices=devices, microbatch=4)
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


# ---------------------------------------------------------------------- precision, plans, watching


@pytest.mark.slow
@pytest.mark.parametrize(
    "config",
    [
        SMALL,
        ViTConfig(patch=1, width=8, depth=1, heads=2, decoder_width=8),
    ],
)
def test_bfloat16_is_used_for_every_product_and_comes_near(model, config):
    short = TrainConfig(steps=20, batch=64, warmup=2)
    low = dataclasses.replace(short, compute="bfloat16")
    text = plan_ensemble_lowered(model, config, low)
    products = [line for line in text.splitlines() if "dot_general" in line and "tensor<1x64x" in line]
    assert products
    assert all("bf16" in line for line in products)
    exact, rough = (fit(KEY, model, MASK, config, train) for train in (short, low))
    assert rough.params.dtype == np.float32
    np.testing.assert_allclose(rough.losses, exact.losses, rtol=0.03)


def plan_ensemble_lowered(model, config, train):
    members = [Member(mask=MASK, network=config)]
    (group,) = groups.group_members(GRAPH, members, train)
    shift, scale = data_module.standardization(model, KEY)
    return groups.prepare(KEY, model, group, members, train, shift, scale).lower().as_text()


def test_plan_counts_programs_parameters_and_time(model):
    plan = plan_ensemble(model, members(), TRAIN)
    assert [p.members for p in plan.programs] == [(0, 1), (2,)]
    (made,) = fit_ensemble(KEY, model, members()[:1], TrainConfig(steps=1, batch=4, warmup=0))
    assert plan.programs[0].parameters == made.params.size
    assert plan.programs[0].state_bytes >= 2 * 3 * 4 * made.params.size  # two members, parameters and two moments
    assert plan.seconds > 0
    assert "3 members in 2 programs" in str(plan)
    measured = plan_ensemble(model, members()[:1], TRAIN, measure=True)
    assert measured.programs[0].compile_seconds > 0
    assert measured.bytes > plan.programs[0].state_bytes / 2


def test_programs_compile_where_jax_lacks_the_options(model, monkeypatch):
    monkeypatch.setattr(program_module, "_CPU_OPTIONS", {"xla_cpu_no_such_option": True})
    assert np.isfinite(fit(KEY, model, MASK, SMALL, TrainConfig(steps=3, batch=4, warmup=0)).losses).all()


class Lowered:
    """Stands for a lowered program; says with what it was compiled."""

    def __init__(self, error=None):
        self.error = error

    def compile(self, compiler_options=None):
        if compiler_options and self.error:
            raise jax.errors.JaxRuntimeError(self.error)
        return compiler_options


def test_options_are_used_on_a_cpu_where_jax_has_them():
    compiled = program_module.compile_program
    assert compiled(Lowered(), "cpu") == program_module._CPU_OPTIONS
    assert compiled(Lowered("No such compile option: 'xla_cpu_x'"), "cpu") is None
    assert compiled(Lowered(), "gpu") is None
    with pytest.raises(jax.errors.JaxRuntimeError, match="EXHAUSTED"):
        compiled(Lowered("RESOURCE_EXHAUSTED"), "cpu")


def test_interrupt_in_the_last_steps_of_a_group_stops_the_next(model, tmp_path, in_terminal):
    """Two groups of one chunk each; the same call then goes on with the second."""
    wide = [Member(mask=MASK, network=dataclasses.replace(SMALL, width=width)) for width in (8, 16)]
    short, checkpoints = TrainConfig(steps=50, batch=4, warmup=1), Checkpoints(folder=tmp_path / "run")
    groups_seen = []

    def interrupt(progress):
        groups_seen.append(progress.group)
        signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt, match="the same call goes on from there"):
        fit_ensemble(KEY, model, wide, short, checkpoints=checkpoints, on_progress=interrupt)
    assert groups_seen == [0]
    whole = fit_ensemble(KEY, model, wide, short)
    resumed = fit_ensemble(KEY, model, wide, short, checkpoints=checkpoints)
    assert [fit.losses.tolist() for fit in resumed] == [fit.losses.tolist() for fit in whole]


def test_tensorboard_files_hold_every_loss(model, tmp_path):
    from tensorboardX.proto import event_pb2

    with TensorBoard(tmp_path / "events", names=["small"]) as board:
        made = fit(KEY, model, MASK, SMALL, TRAIN, on_progress=board)
    (path,) = (tmp_path / "events").rglob("*tfevents*")
    content, found, at = path.read_bytes(), {}, 0
    while at < len(content):  # records: length, its check sum, the event, its check sum
        (length,) = struct.unpack("<Q", content[at : at + 8])
        event = event_pb2.Event.FromString(content[at + 12 : at + 12 + length])
        for value in event.summary.value:
            if value.tag.endswith("loss"):
                found[event.step] = value.simple_value
        at += 16 + length
    assert [found[step + 1] for step in range(250)] == pytest.approx(made.losses.tolist())


def test_run_depends_on_the_mechanisms_themselves():
    """Mechanisms without parameters of their own are told apart by what they are."""
    graph = LatentGraph.from_edges([("c", "x1"), ("c", "x2")], dims={"c": 1, "x1": 2, "x2": 2}, noise_dims=1)
    models = [HierarchicalModel.init(jax.random.key(0), graph, mechanism) for mechanism in (Polar(), Own())]
    jax.tree.map(np.testing.assert_array_equal, *map(jax.tree.leaves, models))
    digests = {describe_run(jax.random.key(0), one, [], TrainConfig())["data"] for one in models}
    assert len(digests) == 2


class Own(Polar):
    """Another mechanism with the same parameters: none."""
