"""The command line: training."""

import json
import signal
import subprocess
import sys
import time

import jax
import numpy as np
import pandas as pd
import pytest

from hlvm import mae
from hlvm._files import only_writer
from hlvm._files.digests import read_json, write_json
from hlvm.cli import train as cli_train
from hlvm.datasets import load_dataset, write_dataset
from hlvm.graph import LatentGraph
from hlvm.images import QuadtreeImages
from hlvm.mae import images_of_rows
from hlvm.mae.networks.networks import init_flat
from hlvm.mae.training import arrays_on_disk
from hlvm.mae.training.data import ArrayData
from hlvm.mae.training.run_state import devices_of_run
from hlvm.masking import RandomMask
from hlvm.mechanisms import LinearGaussian
from hlvm.simulator import HierarchicalModel

NETWORK = {"kind": "bottleneck", "code_dim": 2, "width": 8, "depth": 1}
SETTINGS = {
    "seed": 3,
    "seeds": [0, 1],
    "network": NETWORK,
    "mask": {"kind": "random", "ratio": 0.5},
    "train": {"steps": 150, "batch": 8, "warmup": 5},
}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    path = tmp_path_factory.mktemp("training")
    model = HierarchicalModel.init(jax.random.key(0), LatentGraph.quadtree(1), LinearGaussian())
    model.save(path / "model.npz")
    images = QuadtreeImages.init(jax.random.key(0), height=2)
    write_dataset(path / "images.h5", images, key=jax.random.key(1), n=40)
    LatentGraph.quadtree(1).save(path / "graph.json")
    (path / "settings.json").write_text(json.dumps(SETTINGS))
    train = SETTINGS["train"] | {"held_out": 12}
    (path / "held_out.json").write_text(json.dumps(SETTINGS | {"seeds": [0], "train": train}))
    (path / "tokens.json").write_text(json.dumps(SETTINGS | {"network": {"kind": "vit", "patch": 2}}))
    HierarchicalModel.init(jax.random.key(0), LatentGraph.tree(2, 1), LinearGaussian()).save(path / "tree.npz")
    np.savez(path / "arrays.npz", z=np.zeros(3))
    np.savez(path / "no_graph.npz", images=np.zeros((2, 4, 4, 1)))
    return path


@pytest.fixture
def run(inputs, run, monkeypatch):
    monkeypatch.chdir(inputs)
    return run


def test_run_is_that_of_the_package(run, tmp_path):
    code, out, err = run("train", "model.npz", "--config", "settings.json", "--out", "{new}/a", "--tensorboard")
    assert (code, err) == (0, "")
    assert "bottleneck, random, seed 1: loss " in out
    members = [
        mae.Member(mask=RandomMask(ratio=0.5), network=mae.BottleneckConfig(code_dim=2, width=8, depth=1), seed=seed)
        for seed in (0, 1)
    ]
    expected = mae.fit_ensemble(
        jax.random.key(3), HierarchicalModel.load("model.npz"), members, mae.TrainConfig(steps=150, batch=8, warmup=5)
    )
    found = mae.load_fits(tmp_path / "a" / "fits")
    table = pd.read_csv(tmp_path / "a" / "losses.csv")
    for i, (one, other) in enumerate(zip(expected, found, strict=True)):
        np.testing.assert_array_equal(one.params, other.params)
        np.testing.assert_allclose(table[table.member == i].loss, one.losses, rtol=1e-6)
    names = {path.name for path in (tmp_path / "a").iterdir()}
    assert names == {"fits", "losses.csv", "losses.png", "events"}
    assert len(list((tmp_path / "a" / "events").glob("*/*tfevents*"))) == 2
    code, _, err = run("train", "model.npz", "--config", "settings.json", "--out", "{new}/a", "--resume")
    assert (code, "holds a finished run" in err) == (2, True)


def test_resume_takes_as_many_devices_as_the_run_began_with_or_refuses(run, tmp_path, monkeypatch, in_terminal):
    line = ["train", "model.npz", "--config", "settings.json", "--out"]
    with monkeypatch.context() as patch:
        patch.setattr(cli_train._Watcher, "__call__", lambda *_: signal.raise_signal(signal.SIGINT))
        assert run(*line, "{new}/stopped")[0] == 130
    path = tmp_path / "stopped" / "run" / "run.json"
    assert devices_of_run(path.parent) == 1
    recorded = read_json(path)
    recorded["environments"][-1]["n_devices"] = 7
    write_json(path, recorded)
    assert devices_of_run(path.parent) == 7
    code, _, err = run(*line, "{new}/stopped", "--resume")
    assert (code, "the run was started on 7 devices" in err) == (2, True)
    assert devices_of_run(tmp_path / "nowhere") is None


@pytest.mark.parametrize("broken", [1, 2])
def test_divergence_is_reported(run, monkeypatch, broken):
    """One or both of the two members start from NaN; exit code 1 if nothing came out of it."""

    def poisoned(network, keys):
        return init_flat(network, keys).at[:broken].set(np.nan)

    monkeypatch.setattr("hlvm.mae.objectives.base.init_flat", poisoned)
    code, out, err = run("train", "model.npz", "--config", "settings.json", "--out", "{new}/a")
    assert code == (broken == 2)
    assert out.count("diverged after 0 steps") == broken
    assert err == f"hlvm: {broken} of 2 diverged: try a lower learning_rate or a longer warmup in [train]\n"


def test_interrupted_run_goes_on_where_it_was(run, tmp_path, monkeypatch, in_terminal):
    """Ctrl-C in the middle of the first steps: their state is kept, although none was due."""
    line = ["train", "model.npz", "--config", "settings.json", "--out"]
    assert run(*line, "{new}/whole")[0] == 0
    with monkeypatch.context() as patch:
        patch.setattr(cli_train._Watcher, "__call__", lambda *_: signal.raise_signal(signal.SIGINT))
        code, out, err = run(*line, "{new}/stopped")
    assert (code, out) == (130, "")
    assert "resume with --resume" in err
    assert (tmp_path / "stopped" / "run" / "states" / "0" / "100").exists()
    code, _, err = run(*line, "{new}/stopped")
    assert (code, "holds an interrupted run" in err) == (2, True)
    code, _, err = run("train", "images.h5", "--config", "settings.json", "--out", "{new}/stopped", "--resume")
    assert (code, "another run, which differs in data" in err) == (2, True)
    assert run(*line, "{new}/stopped", "--resume")[0] == 0
    whole, stopped = (pd.read_csv(tmp_path / name / "losses.csv") for name in ("whole", "stopped"))
    pd.testing.assert_frame_equal(whole, stopped)
    assert not (tmp_path / "stopped" / "run").exists()


def test_a_folder_that_another_run_writes_to_is_one_line(run, tmp_path):
    with only_writer(tmp_path / "a"):
        code, out, err = run("train", "model.npz", "--config", "settings.json", "--out", "{new}/a")
    assert (code, out) == (2, "")
    assert err == f"hlvm: another run is writing to {tmp_path / 'a'}: wait until it ends, or choose another name\n"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("resume", [(), ("--resume",)], ids=["new", "resume"])
def test_run_killed_before_its_first_file_can_go_on(run, tmp_path, resume):
    """In a folder whose name Orbax takes for a pattern."""
    (tmp_path / "lr=[0.1]" / "run").mkdir(parents=True)
    (tmp_path / "lr=[0.1]" / ".run.hlvm-lock").touch()
    (tmp_path / ".lr=[0.1].hlvm-lock").touch()
    line = ["train", "model.npz", "--config", "settings.json", "--out", "{new}/lr=[0.1]", *resume]
    assert run(*line)[0] == 0
    assert len(mae.load_fits(tmp_path / "lr=[0.1]" / "fits")) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["lr=[0.1]"]
    assert {path.name for path in (tmp_path / "lr=[0.1]").iterdir()} == {"fits", "losses.csv", "losses.png"}


def test_fits_that_are_not_read_back_as_they_were_keep_their_states(run, tmp_path, monkeypatch):
    """A disk that gives other numbers back."""
    written = arrays_on_disk.ocp.StandardCheckpointer.save

    def save(self, path, arrays, *options, **more):
        fits = path.parent.name == "fits"
        written(self, path, jax.tree.map(lambda a: a * 0, arrays) if fits else arrays, *options, **more)

    monkeypatch.setattr(arrays_on_disk.ocp.StandardCheckpointer, "save", save)
    code, out, err = run("train", "model.npz", "--config", "settings.json", "--out", "{new}/a")
    assert (code, out) == (2, "")
    assert "other numbers are read back" in err
    assert not (tmp_path / "a" / "fits").exists()
    assert (tmp_path / "a" / "run" / "states" / "0" / "150").exists()


@pytest.mark.slow
def test_interrupted_process_ends_with_130_and_goes_on(inputs, tmp_path):
    """A real Ctrl-C some steps into training."""
    settings = SETTINGS | {"train": {"steps": 400_000, "batch": 8, "warmup": 5}}  # it is stopped long before
    (tmp_path / "long.json").write_text(json.dumps(settings))
    program = (
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "  # as in a terminal
        "from hlvm.cli import main; sys.exit(main())"
    )
    line = [sys.executable, "-c", program, "train", inputs / "model.npz", "--config", tmp_path / "long.json"]
    line += ["--out", tmp_path / "a", "--save-every", "200"]
    process = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    states = tmp_path / "a" / "run" / "states" / "0"
    while process.poll() is None and not (states / "200").exists():
        time.sleep(0.001)
    process.send_signal(signal.SIGINT)
    out, errors = process.communicate(timeout=600)
    assert (process.returncode, out) == (130, "")
    assert "resume with --resume" in errors
    assert "Traceback" not in errors
    assert max(int(path.name) for path in states.glob("[0-9]*")) >= 200


@pytest.mark.slow
def test_images_are_shown_with_their_reconstructions(run, tmp_path):
    assert run("train", "images.h5", "--config", "settings.json", "--out", "{new}/a")[0] == 0
    assert (tmp_path / "a" / "reconstructions.png").stat().st_size > 1000
    with load_dataset("images.h5") as data:
        found = ArrayData.of(data)
        images = np.asarray(data.images)
        rows = images_of_rows(found.rows(np.arange(5)), found.graph, images.shape[1:])
        np.testing.assert_array_equal(rows, images[:5])


@pytest.mark.parametrize("where", [(), ("--out", "{new}/a")], ids=["no folder", "folder"])
def test_plan_writes_nothing(run, tmp_path, where):
    code, out, _ = run("train", "model.npz", "--config", "settings.json", *where, "--plan")
    assert code == 0
    assert out.startswith("2 members in 1 program, each compiled once; 150 steps")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("model.npz --config settings.json --save-every 0", "--save-every must be at least 1, got 0"),
        (
            "model.npz --config settings.json --microbatch 5",
            "--microbatch must divide the 8 samples that each device has of the batches of member 0, got 5",
        ),
        ("model.npz --config settings.json --microbatch 0", "--microbatch must be at least 1, got 0"),
        ("model.npz --config settings.json --resume", "holds no interrupted run"),
        ("model.npz --config missing.json", "missing.json: No such file"),
        ("model.npz --config model.npz", "settings are a .toml or .json file"),
        ("missing.h5 --config settings.json", "missing.h5"),
        ("settings.json --config settings.json", "settings.json: "),
        ("graph.json --config settings.json", "graph.json is a graph, which has no mechanisms to draw data with"),
        ("no.txt --config settings.json", "no.txt"),
        ("arrays.npz --config settings.json", "arrays.npz is neither a data set nor a saved model"),
        ("no_graph.npz --config settings.json", "no_graph.npz has no graph"),
        ("model.npz --config held_out.json", "held_out.json: train: held_out=12 is for data sets"),
        ("model.npz --config tokens.json", "tokens.json: vit, random, seed 0: the mask cuts through"),
        (
            "tree.npz --config tokens.json",
            'network: patch must be 1 for a graph without a grid, got 2: put "grid": [ROWS, COLUMNS] into the graph',
        ),
    ],
)
def test_bad_input_is_one_line(inputs, monkeypatch, refused, line, message):
    monkeypatch.chdir(inputs)
    refused(f"train {line} --out {{new}}/a", message)


@pytest.mark.parametrize("source", ["quadtree", "{new}/model"])
def test_plan_takes_families_of_images_and_saved_ones(run, source):
    """A family has the seed of the settings, as hlvm sample has it from --seed."""
    if source != "quadtree":
        assert run("sample", "quadtree", "--n", "1", "--out", "{new}/a.npz", "--save-model", source)[0] == 0
    code, out, err = run("train", source, "--config", "settings.json", "--plan")
    assert (code, err) == (0, "")
    assert out.startswith("2 members in 1 program")


def test_training_needs_a_folder(inputs, monkeypatch, refused):
    monkeypatch.chdir(inputs)
    refused("train model.npz --config settings.json", "--out DIR is missing: give a folder for the results")


@pytest.mark.slow
def test_held_out_losses_are_written_and_shown(run, tmp_path):
    code, out, _ = run("train", "images.h5", "--config", "held_out.json", "--out", "{new}/a", "--tensorboard")
    assert code == 0
    (made,) = mae.load_fits(tmp_path / "a" / "fits")
    table = pd.read_csv(tmp_path / "a" / "losses.csv").dropna()
    assert table.step.tolist() == [100, 150]
    np.testing.assert_allclose(table.held_out_loss, made.held_out.losses, rtol=1e-6)
    assert f"held out {made.held_out.losses[-1]:.4f}" in out


@pytest.mark.slow
@pytest.mark.parametrize("devices", ["cores", "auto"])
def test_devices_of_cores_train_like_one(run, inputs, tmp_path, devices):
    """In a process of its own, since devices are made once per process."""
    program = "import sys; from hlvm.cli import main; sys.exit(main())"
    line = [sys.executable, "-c", program, "train", inputs / "model.npz", "--config", inputs / "settings.json"]
    line += ["--out", tmp_path / "out", "--devices", devices]
    done = subprocess.run([*map(str, line)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    run("train", "model.npz", "--config", "settings.json", "--out", "{new}/one")
    cores, one = (pd.read_csv(folder / "losses.csv") for folder in (tmp_path / "out", tmp_path / "one"))
    assert list(cores) == list(one)
    np.testing.assert_allclose(cores["loss"], one["loss"], rtol=2e-4)
