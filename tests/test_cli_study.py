"""The command line: studies."""

import json
import pickle
import re
import shutil
import signal
import subprocess
import sys
import time
import traceback

import jax
import numpy as np
import pandas as pd
import pytest

from hlvm import mae
from hlvm._files.digests import read_json
from hlvm._html import outcomes
from hlvm.claims import ClaimConfig
from hlvm.cli import study as cli_study
from hlvm.cli.settings_tables import checked_fields
from hlvm.cli.study_data import load_study_data
from hlvm.cli.study_settings import load_study_settings
from hlvm.datasets import write_dataset
from hlvm.graph import LatentGraph
from hlvm.mae import LossConfig, TrainConfig
from hlvm.masking import RandomMask
from hlvm.mechanisms import LinearGaussian
from hlvm.scoring import RegressionConfig
from hlvm.simulator import HierarchicalModel
from hlvm.study import Comparison, ScoreConfig, Study, load_study

SETTINGS = {
    "seed": 3,
    "seeds": 2,
    "mask": {"kind": "random", "ratio": [0.25, 0.75]},
    "network": {"kind": "bottleneck", "code_dim": 2, "width": [4, 8], "depth": 1},
    "train": {"steps": 150, "batch": 8, "warmup": 5},
    "score": {"rows": 60, "parts": ["noise"], "regression": {"max_train": 20}},
    "claim": {
        "more": {"ratio": 0.25, "network": "bottleneck width=8"},
        "less": {"ratio": 0.75, "network": "bottleneck width=8"},
        "height": 1,
    },
}
"""Two groups of four fits: networks of different widths are different programs."""
VIT = {"kind": "vit", "patch": 2, "width": 8, "depth": 1, "heads": 2, "decoder_width": 8}


def settings(**changes):
    """Settings with tables that replace those of the same name, without those that are ``None``."""
    return {name: value for name, value in (SETTINGS | changes).items() if value is not None}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    path = tmp_path_factory.mktemp("studies")
    graph = LatentGraph.quadtree(1)
    model = HierarchicalModel.init(0, graph, LinearGaussian())
    model.save(path / "model.npz")
    graph.save(path / "graph.json")
    LatentGraph.from_edges([("z", "x1"), ("z", "x2")], dims={"z": 3, "x1": 1, "x2": 1}).save(path / "dims.json")
    write_dataset(path / "data.npz", model, key=jax.random.key(1), n=200)
    arrays = dict(np.load(path / "data.npz"))
    for name, column in (("nan_observed", "observed/x_0_0"), ("nan_latents", "latents/z1_0_0")):
        values = arrays[column].copy()
        values[::3] = np.nan
        np.savez(path / f"{name}.npz", **{**arrays, column: values})
    np.savez(path / "no_graph.npz", images=np.zeros((2, 4, 4, 1)))
    observed = {name: values for name, values in arrays.items() if name.startswith("observed/")}
    np.savez(path / "no_latents.npz", graph=arrays["graph"], **observed)
    (path / "study.json").write_text(json.dumps(SETTINGS))
    (path / "generators.json").write_text(json.dumps(settings(generators=2)))
    return path


@pytest.fixture
def run(inputs, run, monkeypatch):
    monkeypatch.chdir(inputs)
    return run


@pytest.fixture(scope="module")
def whole(inputs, tmp_path_factory):
    """The study of these settings, undisturbed, from the package alone."""
    folder = tmp_path_factory.mktemp("whole") / "a"
    load_study_settings(inputs / "study.json").study(LatentGraph.load(inputs / "graph.json")).run(3, out=folder)
    return folder


def check_same(folder, whole):
    """Results and tables are equal to the digit; only the circumstances may differ."""
    one, other = (json.loads((path / "results.json").read_text()) for path in (folder, whole))
    assert one.keys() == other.keys()
    for name in one.keys() - {"environment", "digest"}:
        assert one[name] == other[name]
    for name in ("study.json", "prediction.json"):
        assert (folder / name).read_text() == (whole / name).read_text()
    found = load_study(whole)
    for name, by in (("table.csv", "latent"), ("heights.csv", "height")):
        assert (folder / name).read_text() == found.table(by).to_csv(index=False)


# ---------------------------------------------------------------------- settings


def test_study_settings_from_dict_reads_every_table(tmp_path):
    (tmp_path / "a.toml").write_text(
        """
        seed = 7
        seeds = 5
        generators = 2
        regime = "general"
        until = "decided"
        most = 9
        [[mask]]
        kind = "random"
        ratio = [0.25, 0.5]
        unit = [[1, 1], 2]
        [[mask]]
        kind = "bernoulli"
        ratio = 0.5
        [loss]
        region = ["masked", "all"]
        [train]
        steps = 10
        warmup = 0
        [score]
        latents = ["a"]
        rows = 50
        [score.regression]
        ridges = [1, 2]
        [claims]
        margin = 0.1
        [[claim]]
        more = { ratio = 0.25, unit = [1, 2] }
        less = { ratio = 0.5 }
        latent = "a"
        part = "value"
        text = "as expected"
        """
    )
    found = load_study_settings(tmp_path / "a.toml")
    assert (found.seed, found.numbers) == (7, {"seeds": 5, "generators": 2, "regime": "general"})
    assert found.stages == {"until": "decided", "most": 9}
    assert found.masks[:4] == tuple(RandomMask(ratio=r, unit=u) for r in (0.25, 0.5) for u in ((1, 1), 2))
    assert (len(found.masks), found.networks) == (5, None)
    assert found.losses == (LossConfig(region="masked"), LossConfig(region="all"))
    assert found.train == TrainConfig(steps=10, warmup=0)
    assert (found.score.latents, found.score.rows, found.score.per_height) == (("a",), 50, 4)
    assert found.score.regression.ridges == (1.0, 2.0)
    assert found.score.regression.max_train == ScoreConfig().regression.max_train
    assert found.claim_config == ClaimConfig(margin=0.1)
    own = {"more": {"ratio": 0.25, "unit": [1, 2]}, "less": {"ratio": 0.5}}
    assert found.claims == (Comparison(**own, latent="a", part="value", text="as expected"),)


@pytest.mark.parametrize("cls", [ScoreConfig, ClaimConfig, RegressionConfig, Comparison])
def test_every_field_can_stand_in_a_file(cls):
    """All but what a paper says of a claim."""
    with pytest.raises(ValueError, match="'nothing' is not a field of it") as caught:
        checked_fields(cls, {"nothing": 1}, "a table")
    known = str(caught.value).split("known are ")[1].split(", ")
    assert set(cls.__dataclass_fields__) - set(known) == ({"paper"} if cls is Comparison else set())


def test_example_writes_settings_that_can_be_read(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run("study", "--example")[0] == 0
    assert run("study", "--example", "--config", "other.toml")[0] == 0
    text = (tmp_path / "study.toml").read_text()
    assert (tmp_path / "other.toml").read_text() == text
    code, out, err = run("study", "--example")
    assert (code, out) == (2, "")
    assert "study.toml exists already" in err
    # Lines that are commented out are settings as well.
    (tmp_path / "study.toml").write_text(re.sub(r"(?m)^# (?=[a-z_\[][a-z_.\]]* *(=|#))", "", text))
    for name in ("study.toml", "other.toml"):
        found = load_study_settings(tmp_path / name)
        graph = LatentGraph.quadtree(2)
        study = found.study(graph)
        assert study.predict().of_heights(study.arms[0].mask_name).keys() >= {1, 2}
        assert len(found.claims) == 1
    assert study.score.regression == found.score.regression


# ---------------------------------------------------------------------- a study


def test_study_is_that_of_the_package(run, whole, tmp_path):
    code, out, err = run("study", "graph.json", "--config", "study.json", "--out", "{new}/a", "--devices", "one")
    assert (code, err) == (0, "")
    check_same(tmp_path / "a", whole)
    assert (tmp_path / "a" / "report.html").read_text().startswith("<!DOCTYPE html>")
    found = load_study(tmp_path / "a")
    best = found.table("height").sort_values("value").iloc[-1]
    assert out.startswith("Best of 4 arms")
    assert f"{best['value']:.3f}" in out
    assert f"claims: {outcomes([claim.holds for claim in found.claims()])}" in out
    assert f"the page is {tmp_path / 'a' / 'report.html'}" in out
    names = {path.name for path in (tmp_path / "a").iterdir()}
    kept = {"study.json", "prediction.json", "results.json", "groups", "fits"}
    assert names == kept | {"table.csv", "heights.csv", "figure.png", "report.html"}
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_finished_study_is_read(run, whole, tmp_path, monkeypatch):
    """Nothing is trained, and what is missing of tables and pages is written again."""
    shutil.copytree(whole, tmp_path / "a")
    code, out, err = run("study", "graph.json", "--config", "study.json", "--out", "{new}/a")
    assert (code, out) == (2, "")
    assert "holds a study already: resume it with --resume" in err
    code, _, err = run("study", "model.npz", "--config", "study.json", "--out", "{new}/a", "--resume")
    assert (code, "holds another study, which differs in data" in err) == (2, True)
    monkeypatch.setattr("hlvm.mae.fit_ensemble", None)
    code, out, err = run("study", "graph.json", "--config", "study.json", "--out", "{new}/a", "--resume")
    assert (code, err) == (0, "")
    assert "wrote 8 fits" in out
    check_same(tmp_path / "a", whole)


def test_study_tells_of_codes_that_collapsed(run, whole, tmp_path, monkeypatch):
    shutil.copytree(whole, tmp_path / "a")
    monkeypatch.setattr("hlvm.study.results.collapsed_in_words", lambda _: ("mine, generator 0, seed 1 (total)",))
    code, _, err = run("study", "graph.json", "--config", "study.json", "--out", "{new}/a", "--resume")
    assert code == 0  # a result, and no failure of the run
    assert "1 of 8 have a code that collapsed, the first is mine, generator 0, seed 1 (total)" in err
    assert err.count("\n") == 1


def test_interrupted_study_goes_on(run, whole, tmp_path, monkeypatch, in_terminal):
    with monkeypatch.context() as patch:
        patch.setattr(cli_study._Watcher, "__call__", lambda *_: signal.raise_signal(signal.SIGINT))
        code, out, err = run("study", "graph.json", "--config", "study.json", "--out", "{new}/a")
    assert (code, out) == (130, "")
    assert f"finished parts are kept in {tmp_path / 'a'}: resume with --resume, or remove it" in err
    assert err.count("\n") == 1
    assert not (tmp_path / "a" / "results.json").exists()
    assert run("study", "graph.json", "--config", "study.json", "--out", "{new}/a", "--resume")[0] == 0
    check_same(tmp_path / "a", whole)


def test_killed_study_goes_on(run, inputs, whole, tmp_path, monkeypatch):
    """It kills itself as soon as one group is kept: only the other one is left to train."""
    program = (
        "import os, signal, sys; from hlvm.study.running import Work; keep = Work._keep; "
        "Work._keep = lambda *given: (keep(*given), os.kill(os.getpid(), signal.SIGKILL)); "
        "from hlvm.cli import main; sys.exit(main())"
    )
    line = ["study", inputs / "graph.json", "--config", inputs / "study.json", "--out", tmp_path / "a"]
    line += ["--devices", "one"]  # as in this process, whose devices are made already
    done = subprocess.run([sys.executable, "-c", program, *map(str, line)], capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (-signal.SIGKILL, b"")
    assert read_json(tmp_path / "a" / "study.json")["devices"] == 1
    assert len(list((tmp_path / "a" / "groups").glob("*.json"))) == 1
    trained = []
    fit = mae.fit_ensemble
    monkeypatch.setattr(mae, "fit_ensemble", lambda *given, **more: trained.append(given) or fit(*given, **more))
    code, _, err = run(*map(str, line), "--resume")
    assert (code, err, len(trained)) == (0, "", 1)
    check_same(tmp_path / "a", whole)


@pytest.mark.slow
def test_study_killed_at_random_moments_ends_as_if_undisturbed(inputs, tmp_path):
    """Twenty kills; after each the study goes on, and begins anew when it is finished."""
    train = {"steps": 2000, "batch": 8, "warmup": 5}
    network = SETTINGS["network"] | {"width": [4, 6, 8]}
    (tmp_path / "long.json").write_text(json.dumps(settings(train=train, network=network)))
    program = "import sys; from hlvm.cli import main; sys.exit(main())"
    line = [sys.executable, "-c", program, "study", inputs / "graph.json", "--config", tmp_path / "long.json"]
    line += ["--save-every", "100", "--resume", "--out"]

    def begin(name):
        command = [*map(str, line), str(tmp_path / name)]
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)

    def end(process, seconds=None):
        """The exit code; after some seconds by a kill. Nothing is said in either case."""
        try:
            errors = process.communicate(timeout=seconds)[1]
        except subprocess.TimeoutExpired:
            process.kill()
            errors = process.communicate()[1]
        assert errors == ""
        return process.returncode

    began = time.monotonic()
    process = begin("whole")
    while process.poll() is None and not (tmp_path / "whole" / "study.json").exists():
        time.sleep(0.01)
    first = time.monotonic() - began
    assert end(process) == 0
    lasted = time.monotonic() - began
    rng = np.random.default_rng(0)
    # Most of them after the first file is written: before, there is only one thing that can go wrong.
    moments = [*rng.uniform(0, lasted, 5), *rng.uniform(first, lasted, 15)]
    number = 0
    while moments:
        code = end(begin(str(number)), moments[-1])
        assert code in (0, -signal.SIGKILL)
        if code == 0:  # faster than the first one: sooner next time
            check_same(tmp_path / str(number), tmp_path / "whole")
            number, moments[-1] = number + 1, moments[-1] * 0.5
        else:
            moments.pop()
    assert end(begin(str(number))) == 0
    check_same(tmp_path / str(number), tmp_path / "whole")


@pytest.mark.slow
def test_study_ends_with_143_at_sigterm_and_goes_on(run, inputs, whole, tmp_path):
    """In the middle of the first steps."""
    program = (
        "import os, signal, sys; from hlvm.cli import main, study; "
        "study._Watcher.__call__ = lambda *_: os.kill(os.getpid(), signal.SIGTERM); sys.exit(main())"
    )
    line = ["study", inputs / "graph.json", "--config", inputs / "study.json", "--out", tmp_path / "a"]
    line += ["--devices", "one"]  # as in this process, whose devices are made already
    done = subprocess.run([sys.executable, "-c", program, *map(str, line)], capture_output=True, check=False, text=True)
    assert (done.returncode, done.stdout) == (143, "")
    assert "resume with --resume" in done.stderr
    assert "Traceback" not in done.stderr
    assert run(*map(str, line), "--resume")[0] == 0
    check_same(tmp_path / "a", whole)


@pytest.mark.slow
def test_study_on_workers_of_this_machine_draws_generators(run, tmp_path):
    """Mechanisms that are asked for travel to the workers, and are the same there."""
    for name, options in (("here", []), ("there", ["--scheduler", "local"])):
        line = ["study", "graph.json", "--config", "generators.json", "--out", f"{{new}}/{name}"]
        assert run(*line, "--mechanism", "linear-gaussian", *options)[0] == 0
    one, other = (pd.read_csv(tmp_path / name / "table.csv") for name in ("here", "there"))
    assert (one["generators"] == 2).all()
    pd.testing.assert_frame_equal(one, other, rtol=1e-5)


@pytest.mark.parametrize("data", ["graph.json", "model.npz", "data.npz", "grammar"])
def test_plan_writes_nothing(run, tmp_path, monkeypatch, data):
    """Everything that can be a study's data."""
    planned = []
    monkeypatch.setattr(Study, "plan", lambda study, key, devices: planned.append(study) or f"the plan of {key}")
    code, out, err = run("study", data, "--config", "study.json", "--plan", "--out", "{new}/a")
    assert (code, out, err) == (0, "the plan of 3\n", "")
    assert [arm.ratio for arm in planned[0].arms] == [0.25, 0.25, 0.75, 0.75]
    assert not list(tmp_path.iterdir())


def test_drawn_generators_are_those_of_their_key(inputs):
    graph = LatentGraph.load(inputs / "graph.json")
    for place, mechanism in (("graph.json", "linear-gaussian"), ("grammar", None)):
        where = place if mechanism is None else str(inputs / place)
        draw = pickle.loads(pickle.dumps(load_study_data(where, seed=0, generators=2, mechanism=mechanism)))
        one, same, other = (draw(jax.random.key(seed)).sample(0, 20) for seed in (0, 0, 1))
        one, same, other = (np.concatenate([np.ravel(a) for a in jax.tree.leaves(s)]) for s in (one, same, other))
        np.testing.assert_array_equal(one, same)
        assert not np.array_equal(one, other)
    assert load_study_data(str(inputs / "graph.json"), seed=0, generators=2, mechanism=None) == graph


# ---------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"masks": {}}, "'masks' is not a setting: known are seed, seeds, generators, regime, until"),
        ({"mask": None}, "'mask' is missing"),
        ({"score": {"latent": ["a"]}}, "score: 'latent' is not a field of it; known are representation"),
        ({"score": {"regression": {"splits": 3}}}, "regression of score: 'splits' is not a field of it"),
        ({"score": {"view": "half"}}, "score: view must be one of whole, masked, got 'half'"),
        ({"score": {"parts": ["values"]}}, "score: parts must be some of value, noise, got ('values',)"),
        ({"score": {"rows": 3}}, "score: rows must be at least 40, got 3"),
        ({"score": {"rows": [50, 60]}}, "score: rows must be a whole number"),
        ({"claims": {"margins": 1}}, "claims: 'margins' is not a field of it; known are apart, margin, error"),
        ({"claims": {"margin": 0}}, "claims: margin must be above 0, got 0.0"),
        ({"claim": {**SETTINGS["claim"], "paper": "yes"}}, "claim: 'paper' is not a field of it"),
        ({"claim": {"more": {}, "height": 1}}, "claim: 'less' is missing"),
        ({"claim": {**SETTINGS["claim"], "latent": "z1_0_0"}}, "claim: give height or latent, one of them"),
        ({"claim": {**SETTINGS["claim"], "more": 3}}, "claim: more must be a table, got 3"),
        ({"claim": 3}, "claim must be a table, got 3"),
        ({"seeds": [0, 1]}, "seeds must be a whole number of at least 1, got [0, 1]"),
        ({"seeds": 0}, "seeds must be a whole number of at least 1, got 0"),
        ({"generators": True}, "generators must be a whole number of at least 1, got True"),
        ({"seed": -1}, "seed must be a whole number from 0"),
        ({"regime": "any"}, "regime must be one of invertible, general, got 'any'"),
        ({"until": "open"}, "until must be one of decided, got 'open'"),
        ({"most": 9}, 'most goes with until = "decided": leave it out'),
        ({"until": "decided", "most": 1.5}, "most must be a whole number of at least 1, got 1.5"),
        ({"train": {"steps": 5}}, "train: warmup must lie in [0, steps=5)"),
    ],
)
def test_study_settings_that_are_not_understood(tmp_path, changes, message):
    (tmp_path / "a.json").write_text(json.dumps(settings(**changes)))
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        load_study_settings(tmp_path / "a.json")
    assert str(caught.value).startswith(str(tmp_path / "a.json"))


@pytest.fixture(scope="module")
def costly_compiles():
    """Programs that training or scoring has compiled since the list was cleared, each with the module that asked.

    Settings are checked against data, and drawing these compiles small programs of simulator and data sources before
    anything can be refused. So a program counts by the innermost module of the package on the stack.
    """
    compiled = []

    def listen(event, duration, **details):
        if event == "/jax/core/compile/backend_compile_duration":
            modules = (frame.f_globals.get("__name__", "") for frame, _ in traceback.walk_stack(None))
            asking = next((name for name in modules if name.startswith("hlvm.")), "")
            if re.match(r"hlvm\.(mae|scoring|study)\b(?!\.training\.data)", asking):
                compiled.append((details["fun_name"], asking))

    jax.clear_caches()  # what other tests compiled would be silent
    jax.monitoring.register_event_duration_secs_listener(listen)
    yield compiled
    jax.monitoring.unregister_event_duration_listener(listen)


@pytest.fixture
def refused_study(inputs, monkeypatch, refused, tmp_path_factory, costly_compiles):
    """Check that settings are refused in one line, exit code 2, before anything is compiled for training or written."""

    def refused_study(changes, message, data="graph.json", options=""):
        monkeypatch.chdir(inputs)
        monkeypatch.setattr("hlvm.mae.fit_ensemble", None)
        config = tmp_path_factory.mktemp("config") / "a.json"
        config.write_text(json.dumps(settings(**changes)))
        costly_compiles.clear()
        found = refused(f"study {data} --config {config} --out {{new}}/a {options}", message)
        assert not costly_compiles
        return found

    return refused_study


def test_compiles_of_training_are_seen(inputs, costly_compiles):
    """The check above can fail: training compiles in sight of it, and drawing data does not."""
    costly_compiles.clear()
    model = HierarchicalModel.load(inputs / "model.npz")
    model.sample(0, 7)
    assert not costly_compiles
    config = TrainConfig(steps=1, batch=4, warmup=0)
    mae.fit(0, model, RandomMask(ratio=0.5), mae.LinearConfig(code_dim=1), config)
    assert costly_compiles


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"score": {"latents": ["zz"]}},
            "a.json: score: latents must be latents of the data, got 'zz'; known are z1_0_0",
        ),
        ({"score": {"categories": ["zz"]}}, "a.json: score: categories must be latents of the data, got 'zz'"),
        ({"claim": {**SETTINGS["claim"], "height": 4}}, "a.json: claim: height must be scored, got 4; scored are 1"),
        (
            {"claim": {"more": {"ratio": 0.5}, "less": {"ratio": 0.75}, "height": 1}},
            "a.json: claim: more must name one arm by its columns (arm, strategy, ratio, unit, network, loss), got "
            "{'ratio': 0.5}, which is 0 arms",
        ),
        (
            {"mask": {"kind": "random", "ratio": [0.5, 0.01]}},
            "a.json: mask random ratio=0.01: ratio 0.01 of 4 patches rounds to 0: nothing would be masked",
        ),
        (
            {"mask": {"kind": "random", "ratio": 0.5, "unit": 3}},
            "a.json: mask: blocks of 3 x 3 do not fill the 2 x 2 grid: choose a unit",
        ),
        ({"seeds": 1}, "a.json: seeds of 1 leaves no interval: use at least 2, or set intervals = false in [score]"),
        (
            {"score": {"intervals": False}},
            "a.json: tables [[claim]] need intervals: without them nothing is decided: set intervals = true in [score]",
        ),
        (
            {"until": "decided", "most": 2},
            "a.json: most must be above the seeds=2 of the first look, got 2",
        ),
        (
            {"until": "decided", "score": {"intervals": False}, "claim": []},
            "a.json: until needs intervals, or nothing is decided: set intervals = true in [score]",
        ),
        ({"network": VIT, "claim": []}, "a.json: random ratio=0.25: the mask cuts through the network's tokens"),
        ({"network": VIT, "score": {"representation": "code"}}, "a.json: score: representation must be mean, class or"),
    ],
)
def test_settings_that_do_not_fit_are_one_line(refused_study, changes, message):
    refused_study(changes, message)


@pytest.mark.parametrize(
    ("data", "options", "changes", "message"),
    [
        ("nan_observed.npz", "", {}, "row 9 of the data has the value nan in 'x_0_0'"),
        ("nan_latents.npz", "", {}, "data: latents 'z1_0_0' has values that are not finite in "),
        ("data.npz", "", {"score": {"rows": 200}}, "score: rows must leave rows to train on, got 200 of 200 rows"),
        (
            "data.npz",
            "",
            {"generators": 2},
            "generators of 2 need data that draws them, got one Dataset: give",
        ),
        ("no_graph.npz", "", {}, "no_graph.npz has no graph, so nobody knows what can be masked"),
        ("no_latents.npz", "", {}, "no_latents.npz has no latents to score"),
        ("dims.json", "", {}, "dims.json allows no invertible mechanisms ('x1' has dim 1"),
        (
            "shapes",
            "",
            {"generators": 2},
            "shapes draws nothing anew for each generator",
        ),
        ("model.npz", "--mechanism coupling", {}, "--mechanism goes with graphs, and model.npz is data already"),
        ("quadtree", "--mechanism coupling", {}, "--mechanism goes with graphs, not with quadtree"),
        ("graph.json", "--mechanism other", {}, "--mechanism: expected one of invertible-mlp, linear-gaussian"),
        ("graph.json", "--save-every 0", {}, "--save-every must be at least 1, got 0"),
        ("graph.json", "--scheduler here", {}, '--scheduler must be "local" or an address such as tcp://host:8786'),
        ("graph.json", "--scheduler local --devices one", {}, "--devices is for this process only: leave it out"),
        ("missing.json", "", {}, "missing.json: No such file"),
    ],
)
def test_data_and_options_that_do_not_fit_are_one_line(refused_study, data, options, changes, message):
    refused_study(changes, message, data, options)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("", "DATA is missing: give a graph"),
        ("graph.json", "--out DIR is missing: give a folder for the results"),
        ("graph.json --config missing.toml --out {new}/a", "missing.toml: No such file"),
        ("graph.json --config model.npz --out {new}/a", "settings are a .toml or .json file"),
        ("graph.json --example", "--example needs no DATA"),
        ("--example --config a.json", "the name of this output must end in .toml"),
    ],
)
def test_arguments_that_are_missing_are_one_line(inputs, monkeypatch, refused, line, message):
    monkeypatch.chdir(inputs)
    refused(f"study {line}", message)
