"""Data from arrays, runs that are stopped and go on, batches in parts, precision, plans and progress."""

import contextlib
import dataclasses
import json
import os
import re
import shutil
import signal
import struct
import tempfile
import warnings
from concurrent.futures import ThreadPoolExecutor

import jax
import numpy as np
import pytest

from hlvm import HierarchicalModel, LatentGraph
from hlvm._process.interrupts import Interrupts
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
    fit,
    fit_ensemble,
    load_fits,
    plan_ensemble,
    save_fits,
)
from hlvm.mae.files import describe_run
from hlvm.mae.training import data as data_module
from hlvm.mae.training import feeding, groups, placing
from hlvm.mae.training import program as program_module
from hlvm.mae.training.arrays_on_disk import read_arrays, write_arrays
from hlvm.mae.training.data import check_data
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
    numbers = np.arange(3 * 4 * 4 * 3).reshape(3, 4, 4, 3)
    images = numbers.astype(np.float32) / 255
    found = ArrayData.of(Dataset.from_arrays(images=images, graph=graph)).rows([1])
    expected = [images[1, r : r + 2, c : c + 2].reshape(-1) for r in (0, 2) for c in (0, 2)]
    assert np.array_equal(found[0], np.concatenate(expected))
    bytes_ = ArrayData.of(Dataset.from_arrays(images=numbers.astype(np.uint8), graph=graph)).rows([0])
    assert bytes_.max() == pytest.approx(47 / 255)
    with pytest.raises(ValueError, match="a 2 x 2 grid of patches does not fill images of 5 x 6 pixels"):
        ArrayData.of(Dataset.from_arrays(images=np.zeros((2, 5, 6, 3)), graph=graph))


@pytest.mark.slow
def test_rows_are_placed_once_for_all_programs(rows, monkeypatch):
    made = []
    of_rows = placing.table_of
    monkeypatch.setattr(placing, "table_of", lambda *arguments: made.append(of_rows(*arguments)) or made[-1])
    vit = ViTConfig(width=8, depth=1, decoder_width=8)
    members = [Member(mask=RandomMask(ratio=ratio), network=vit) for ratio in (0.25, 0.5)]
    train = TrainConfig(steps=5, batch=4, warmup=1)
    assert len(plan_ensemble(KEY, rows, members, train).programs) == 2
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
        (np.zeros((4, 4)), "a ndarray has no graph, which says what can be masked: give it with a graph to"),
        (ArrayData(graph=GRAPH, parts=(np.zeros((5, 60)), np.zeros((6, 4)))), r"equally many rows, got \[5, 6\]"),
        (ArrayData(graph=GRAPH, parts=(np.zeros((5, 60)),)), "60 numbers per row, and the graph 64"),
        (ArrayData(graph=GRAPH, parts=(np.zeros((0, 64)),)), "no rows to train on"),
        (ArrayData(graph=GRAPH, parts=()), "fits are saved without the rows"),
        (ArrayData(graph=GRAPH, parts=(np.zeros((5, 32, 2)),)), r"arrays \(n, dim\), or one of images"),
    ],
)
def test_data_that_cannot_be_trained_on_is_refused(data, message):
    with pytest.raises(ValueError, match=message):
        data_module.check_data(data)


@pytest.mark.parametrize("gap", [np.nan, np.inf])
@pytest.mark.parametrize("kept", [True, False])
def test_gaps_in_rows_are_refused_before_training(rows, monkeypatch, tmp_path, gap, kept):
    """Whether all rows are kept on the device, or they are streamed."""
    if not kept:
        monkeypatch.setattr(feeding, "_TABLE_BYTES", 0)
    observed = {name: np.array(values) for name, values in rows.observed.items()}
    observed["x_1_2"][7, 1] = gap
    broken = Dataset.from_arrays(observed=observed, graph=GRAPH)
    reports, states = [], Checkpoints(folder=tmp_path / "run")
    with pytest.raises(ValueError, match=rf"row 7 of the data has the value {gap} in 'x_1_2'"):
        fit(KEY, broken, MASK, SMALL, TRAIN, on_progress=reports.append, checkpoints=states)
    assert not reports
    assert not states.folder.exists()


def test_a_gap_that_only_the_stream_meets_is_refused_when_it_is_read(rows, monkeypatch):
    """Standardisation reads some of the rows only."""
    monkeypatch.setattr(feeding, "_TABLE_BYTES", 0)
    monkeypatch.setattr(data_module, "_STANDARDIZE_ROWS", 10)
    observed = {name: np.array(values) for name, values in rows.observed.items()}
    observed["x_1_2"][7, 1] = np.nan
    broken = Dataset.from_arrays(observed=observed, graph=GRAPH)
    with pytest.raises(ValueError, match="row 7 of the data has the value nan"):
        fit(KEY, broken, MASK, SMALL, TRAIN)


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


def test_write_arrays_can_be_called_by_several_threads(tmp_path):
    """Orbax mixes up what threads write at the same time."""
    for number in range(20):
        (tmp_path / str(number)).mkdir()
    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(write_arrays, tmp_path / str(n) / "a", {"x": np.arange(9) + n}) for n in range(20)]:
            assert done.result() is None
    for number in range(20):
        np.testing.assert_array_equal(read_arrays(tmp_path / str(number) / "a")["x"], np.arange(9) + number)


def test_interrupt_waits_for_the_running_steps_and_keeps_their_state(model, tmp_path, capsys, in_terminal):
    """Ctrl-C, with no state due before the end; afterwards the handler is the one of before."""
    checkpoints = Checkpoints(folder=tmp_path / "run", every=10**6)
    before, whole = signal.getsignal(signal.SIGINT), fit(KEY, model, MASK, SMALL, TRAIN)

    def interrupt(progress):
        if progress.step == 100:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt, match="the same call resumes from there"):
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


def test_interrupts_hold_back_until_the_outermost_context_ends(in_terminal):
    before = signal.getsignal(signal.SIGINT)
    with Interrupts() as interrupts:
        with interrupts:
            pass
        signal.raise_signal(signal.SIGINT)
    assert interrupts.wanted
    assert signal.getsignal(signal.SIGINT) is before


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
    content = json.loads(path.read_text())
    content["environments"][-1]["jax"] = "0.1"
    del content["digest"]
    path.write_text(json.dumps(content))
    with pytest.warns(UserWarning, match=f"resumes with jax 0.1 before and {jax.__version__} now: .* not bit for bit"):
        fit(KEY, model, MASK, SMALL, short, checkpoints=checkpoints)
    assert [e["jax"] for e in json.loads(path.read_text())["environments"]] == ["0.1", jax.__version__]
    with (
        jax.threefry_partitionable(False),
        pytest.warns(UserWarning, match=r"jax_threefry_partitionable True before and False now: it draws other"),
    ):
        fit(KEY, model, MASK, SMALL, short, checkpoints=checkpoints)
    fit_again = json.loads(path.read_text())
    for entry in fit_again["environments"]:
        for flag in ("jax_threefry_partitionable", "jax_enable_x64"):
            del entry[flag]  # as earlier versions wrote it
    del fit_again["digest"]
    path.write_text(json.dumps(fit_again))
    with warnings.catch_warnings(action="error"):
        fit(KEY, model, MASK, SMALL, short, checkpoints=checkpoints)


def keep_states(model, folder, *, stop_at=250, **fields):
    """Train with states every 100 steps, and stop after some; the losses, if it came to the end."""

    def stop(progress):
        if progress.step >= stop_at:
            raise StopEarlyError

    checkpoints = Checkpoints(folder=folder, every=100, **fields)
    with contextlib.suppress(StopEarlyError):
        return fit(KEY, model, MASK, SMALL, TRAIN, checkpoints=checkpoints, on_progress=stop if stop_at < 250 else None)


@pytest.mark.parametrize(("stop_at", "step"), [(100, 100), (200, 200)])
def test_run_goes_on_after_a_loss_of_power(model, tmp_path, lose_power, stop_at, step):
    """Nothing that counts was only in memory: neither contents nor names."""
    whole = fit(KEY, model, MASK, SMALL, TRAIN)
    with lose_power(tmp_path):
        keep_states(model, tmp_path / "run", stop_at=stop_at)
    steps = []
    checkpoints = Checkpoints(folder=tmp_path / "run", every=100)
    again = fit(
        KEY,
        model,
        MASK,
        SMALL,
        TRAIN,
        checkpoints=checkpoints,
        on_progress=lambda progress: steps.append(progress.step),
    )
    assert steps[0] == min(step + 100, 250)
    assert np.array_equal(again.params, whole.params)


def test_fits_are_whole_after_a_loss_of_power(model, tmp_path, lose_power):
    made = fit(KEY, model, MASK, SMALL, TrainConfig(steps=5, batch=4, warmup=1))
    with lose_power(tmp_path):
        save_fits(tmp_path / "fits", [made])
    assert np.array_equal(load_fits(tmp_path / "fits")[0].params, made.params)


@pytest.fixture(scope="module")
def stopped(model, tmp_path_factory):
    """The folder of a run that was stopped at step 200, with the states of steps 100 and 200."""
    folder = tmp_path_factory.mktemp("stopped") / "run"
    keep_states(model, folder, stop_at=200)
    return folder


def halved(folder):
    """Cut the largest file to half its length."""
    path = max((path for path in folder.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)
    os.truncate(path, path.stat().st_size // 2)


def emptied(folder):
    """Leave the folder alone."""
    shutil.rmtree(folder)
    folder.mkdir()


@pytest.mark.parametrize("damage", [halved, emptied])
def test_damaged_newest_state_falls_back_to_the_one_before(model, stopped, tmp_path, damage):
    whole = fit(KEY, model, MASK, SMALL, TRAIN)
    shutil.copytree(stopped, tmp_path / "run")
    states = tmp_path / "run" / "states" / "0"
    damage(states / "200")
    with pytest.warns(UserWarning, match=r"states/0/200.* is damaged.*: the run resumes from step 100"):
        resumed = keep_states(model, tmp_path / "run")
    assert np.array_equal(resumed.params, whole.params)
    assert sorted(path.name for path in states.iterdir()) == ["200", "250"]
    for step in ("200", "250"):
        damage(states / step)
    with pytest.raises(ValueError, match=r"no state is complete; remove the folder .*/run to start again"):
        keep_states(model, tmp_path / "run")


def test_state_of_an_earlier_version_is_read(model, stopped, tmp_path):
    """It has no digests, but a file of Orbax's that is not written now."""
    shutil.copytree(stopped, tmp_path / "run")
    state = tmp_path / "run" / "states" / "0" / "200"
    (state / "state.json").rename(state / "_CHECKPOINT_METADATA")
    steps = []
    checkpoints = Checkpoints(folder=tmp_path / "run", every=100)
    fit(KEY, model, MASK, SMALL, TRAIN, checkpoints=checkpoints, on_progress=lambda p: steps.append(p.step))
    assert steps == [250]


def test_damaged_description_of_a_run_is_explained(model, stopped, tmp_path):
    shutil.copytree(stopped, tmp_path / "run")
    for content in (b"", b"\xff", (stopped / "run.json").read_bytes()[:-30]):
        (tmp_path / "run" / "run.json").write_bytes(content)
        with pytest.raises(ValueError, match=r"run\.json is damaged.*remove the folder .*/run to start again"):
            keep_states(model, tmp_path / "run")


def test_folder_of_a_run_that_was_killed_before_its_first_file_is_new(model, tmp_path):
    (tmp_path / "run" / ".run.json-12345678.hlvm-tmp").mkdir(parents=True)
    (tmp_path / ".run.hlvm-lock").touch()
    fit(
        KEY,
        model,
        MASK,
        SMALL,
        TrainConfig(steps=5, batch=4, warmup=1),
        checkpoints=Checkpoints(folder=tmp_path / "run"),
    )
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
    assert {path.name for path in (tmp_path / "run").iterdir()} == {"run.json", "states"}


def test_folder_that_disappears_ends_the_run(model, tmp_path):
    def remove(progress):
        shutil.rmtree(tmp_path / "run")

    with pytest.raises(FileNotFoundError, match=r"/run was removed during the run"):
        fit(
            KEY,
            model,
            MASK,
            SMALL,
            TRAIN,
            checkpoints=Checkpoints(folder=tmp_path / "run", every=200),
            on_progress=remove,
        )
    assert not list(tmp_path.iterdir())


def test_second_run_in_a_folder_is_told_at_once(model, tmp_path):
    def another(progress):
        with pytest.raises(ValueError, match=r"another run is writing to .*/run"):
            keep_states(model, tmp_path / "run")
        raise StopEarlyError

    with pytest.raises(StopEarlyError):
        fit(KEY, model, MASK, SMALL, TRAIN, checkpoints=Checkpoints(folder=tmp_path / "run"), on_progress=another)


@pytest.mark.parametrize("name", ["lr=[0.1]", "{a,b}*?"])
def test_any_path_holds_states_and_fits(model, tmp_path, name):
    """Of characters that Orbax takes for patterns."""
    keep_states(model, tmp_path / name / "run", stop_at=100)
    resumed = keep_states(model, tmp_path / name / "run")
    assert len(resumed.losses) == 250
    save_fits(tmp_path / name / f"fits {name}", [resumed])
    assert np.array_equal(load_fits(tmp_path / name / f"fits {name}")[0].params, resumed.params)


def test_paths_that_cannot_be_reached_are_refused_before_training(model, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", "/tmp/[a]")
    with pytest.raises(ValueError, match=r"choose another folder, or set TMPDIR"):
        keep_states(model, tmp_path / "[b]" / "run")
    assert not list(tmp_path.iterdir())


def test_damaged_fits_are_refused_in_one_line(model, tmp_path):
    """A byte in every file of the folder, of which none is without a digest."""
    made = fit(KEY, model, MASK, SMALL, TrainConfig(steps=5, batch=4, warmup=1))
    folder = tmp_path / "fits"
    save_fits(folder, [made])
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    assert len(files) > 5
    for path in files:
        whole = path.read_bytes()
        for damaged in (whole[: len(whole) // 2], whole[:-9] + bytes([whole[-9] ^ 1]) + whole[-8:]):
            path.write_bytes(damaged)
            with pytest.raises(ValueError, match=rf"^[^\n]*{re.escape(path.name)}[^\n]* is damaged[^\n]*$"):
                load_fits(folder)
        path.write_bytes(whole)
    header = json.loads((folder / "fits.json").read_text())
    (folder / "fits.json").write_text(json.dumps({name: header[name] for name in ("format", "version", "fits")}))
    assert np.array_equal(load_fits(folder)[0].params, made.params)  # as earlier versions wrote it


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
        plan_ensemble(KEY, rows, members, train, microbatch=part, measure=True).programs[0] for part in (None, 16)
    )
    assert parts.flops_per_step == whole.flops_per_step
    assert parts.working_bytes < whole.working_bytes / 1.5


@pytest.mark.slow
@pytest.mark.parametrize("network", ["vit", "bottleneck"])
def test_work_of_all_blocks_is_counted(model, network):
    """Of more than four blocks, which are a loop, as of fewer."""

    def flops(depth):
        vit = ViTConfig(width=16, depth=depth, decoder_width=8)
        config = vit if network == "vit" else BottleneckConfig(code_dim=2, encoder=vit)
        member = Member(mask=RandomMask(ratio=0.5), network=config)
        return plan_ensemble(KEY, model, [member], TrainConfig(steps=5, batch=8, warmup=1)).programs[0].flops_per_step

    two, four, eight = map(flops, (2, 4, 8))
    assert eight - four == pytest.approx(2 * (four - two), rel=0.02)


# ---------------------------------------------------------------------- precision, plans, watching


@pytest.mark.slow
@pytest.mark.parametrize(
    ("config", "n_products"),
    [
        (SMALL, 6),
        (ViTConfig(patch=1, width=8, depth=1, heads=2, decoder_width=8), 39),
    ],
)
def test_bfloat16_is_used_for_every_product_and_comes_near(model, config, n_products):
    short = TrainConfig(steps=20, batch=64, warmup=2)
    low = dataclasses.replace(short, compute="bfloat16")
    text = plan_ensemble_lowered(model, config, low)
    lengths = (64, 64 * 9, 64 * 17)  # samples; their visible tokens, and all of them, with the class token
    of_network = re.compile(rf"dot_general.*tensor<1x({'|'.join(map(str, lengths))})x")
    products = [line for line in text.splitlines() if of_network.search(line)]
    assert len(products) >= n_products  # forward and backward: no layer is left out
    assert all("bf16" in line for line in products)
    exact, rough = (fit(KEY, model, MASK, config, train) for train in (short, low))
    assert rough.params.dtype == np.float32
    np.testing.assert_allclose(rough.losses, exact.losses, rtol=0.03)


def plan_ensemble_lowered(model, config, train):
    members = [Member(mask=MASK, network=config)]
    (group,) = groups.group_members(GRAPH, members, train)
    shift, scale = data_module.standardization(model, KEY)
    return groups.prepare(KEY, model, group, members, train, shift, scale).lower().as_text()


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

    with pytest.raises(KeyboardInterrupt, match="the same call resumes from there"):
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


def test_fit_stops_where_its_folder_is_removed(model, tmp_path):
    """Its states would be lost without a word, in a folder that nothing can go on from."""
    checkpoints = Checkpoints(folder=tmp_path / "run")

    def remove(_):
        shutil.rmtree(tmp_path / "run", ignore_errors=True)

    with pytest.raises(FileNotFoundError, match=r"run was removed during the run"):
        fit(KEY, model, MASK, SMALL, TRAIN, checkpoints=checkpoints, on_progress=remove)
