"""The command line: training."""

import json
import os
import signal

import jax
import numpy as np
import pandas as pd
import pytest

from hlvm import _cli_train, mae
from hlvm.datasets import load_dataset, write_dataset
from hlvm.graph import LatentGraph
from hlvm.images import QuadtreeImages
from hlvm.mae.data import ArrayData
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
    (path / "settings.json").write_text(json.dumps(SETTINGS))
    (path / "tokens.json").write_text(json.dumps(SETTINGS | {"network": {"kind": "vit", "patch": 2}}))
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


def test_interrupted_run_goes_on_where_it_was(run, tmp_path, monkeypatch):
    line = ["train", "model.npz", "--config", "settings.json", "--save-every", "100", "--out"]
    assert run(*line, "{new}/whole")[0] == 0
    with monkeypatch.context() as patch:
        patch.setattr(_cli_train._Interrupts, "check", lambda self: os.kill(os.getpid(), signal.SIGINT))
        code, out, err = run(*line, "{new}/stopped")
    assert (code, out) == (130, "")
    assert "go on with --resume" in err
    assert (tmp_path / "stopped" / "run" / "states" / "0" / "100").exists()
    code, _, err = run(*line, "{new}/stopped")
    assert (code, "holds a run that was stopped" in err) == (2, True)
    code, _, err = run(
        "train", "images.h5", "--config", "settings.json", "--save-every", "100", "--out", "{new}/stopped", "--resume"
    )
    assert (code, "another run, which differs in data" in err) == (2, True)
    assert run(*line, "{new}/stopped", "--resume")[0] == 0
    whole, stopped = (pd.read_csv(tmp_path / name / "losses.csv") for name in ("whole", "stopped"))
    pd.testing.assert_frame_equal(whole, stopped)
    assert not (tmp_path / "stopped" / "run").exists()


def test_interrupts_wait_for_the_end_of_steps_and_only_once(capsys):
    before = signal.getsignal(signal.SIGINT)
    with _cli_train._Interrupts() as interrupts:
        with pytest.raises(KeyboardInterrupt):  # nothing has begun
            signal.raise_signal(signal.SIGINT)
        interrupts.check()
        signal.raise_signal(signal.SIGINT)
        assert "Ctrl-C again" in capsys.readouterr().err
        with pytest.raises(KeyboardInterrupt):
            interrupts.check()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.slow
def test_images_are_shown_with_their_reconstructions(run, tmp_path):
    assert run("train", "images.h5", "--config", "settings.json", "--out", "{new}/a")[0] == 0
    assert (tmp_path / "a" / "reconstructions.png").stat().st_size > 1000
    with load_dataset("images.h5") as data:
        found = ArrayData.of(data)
        images = np.asarray(data.images)
        rows = _cli_train._as_images(found.rows(np.arange(5)), found.graph, images.shape[1:])
        np.testing.assert_array_equal(rows, images[:5])


def test_plan_writes_nothing(run, tmp_path):
    code, out, _ = run("train", "model.npz", "--config", "settings.json", "--out", "{new}/a", "--plan")
    assert code == 0
    assert out.startswith("2 members in 1 program, each compiled once; 150 steps")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("model.npz --config settings.json --save-every 0", "--save-every must be at least 1, got 0"),
        ("model.npz --config settings.json --resume", "holds no stopped run"),
        ("model.npz --config missing.json", "missing.json: No such file"),
        ("model.npz --config model.npz", "settings are a .toml or .json file"),
        ("missing.h5 --config settings.json", "missing.h5"),
        ("settings.json --config settings.json", "data is a .npz, .h5 or .hdf5 file, got '.json'"),
        ("arrays.npz --config settings.json", "arrays.npz is neither a data set nor a saved model"),
        ("no_graph.npz --config settings.json", "no_graph.npz has no graph"),
        ("model.npz --config tokens.json", "tokens.json: vit, random, seed 0: the mask cuts through"),
    ],
)
def test_bad_input_is_one_line(inputs, monkeypatch, refused, line, message):
    monkeypatch.chdir(inputs)
    refused(f"train {line} --out {{new}}/a", message)
