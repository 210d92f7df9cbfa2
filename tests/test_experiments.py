"""How experiments are carried out: what is written when, going on after a stop, Dask workers that die."""

import collections
import dataclasses
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import counting_experiment
import jax
import pandas as pd
import pytest
from counting_experiment import EXPERIMENT, Config

from experiments import NAMES, groups, training
from experiments.experiment import FURTHER, conduct, load_results, named_experiment
from experiments.groups import UnusableError
from experiments.script import script
from hlvm import HierarchicalModel, LatentGraph
from hlvm._files.digests import parsed_json, read_json
from hlvm.mae import BottleneckConfig, Member, TrainConfig, ViTConfig
from hlvm.masking import RandomMask
from hlvm.mechanisms import LinearGaussian

ROOT = Path(__file__).parent.parent


@pytest.fixture
def config(tmp_path):
    return Config(notes=str(tmp_path / "notes"))


def measured(config):
    """How often each group was measured."""
    lines = Path(config.notes).read_text().splitlines()
    return collections.Counter(int(line.split()[0]) for line in lines)


# ---------------------------------------------------------------------- in one process


def test_conduct_writes_results_that_read_back(tmp_path, config):
    out = tmp_path / "out"
    results = conduct(EXPERIMENT, config, out=out)
    again = load_results(out)
    assert {path.name for path in out.iterdir()} == {
        "config.json", "prediction.json", "groups", "records.csv", "results.json", "draws.png",
    }  # fmt: skip
    pd.testing.assert_frame_equal(again.records, results.records)
    assert again.claims == results.claims
    assert again.claims[0].holds is True
    assert again.config == dataclasses.asdict(config)
    assert EXPERIMENT.judge(again.records, again.prediction) == results.claims
    assert "jax" in again.environment


def test_prediction_is_written_before_anything_is_measured(tmp_path, config, monkeypatch):
    out = tmp_path / "out"

    def looks(config, group, states):
        assert read_json(out / "prediction.json") == {"low": 0.0, "high": 1.0}
        return counting_experiment.measure(config, group, states)

    conduct(dataclasses.replace(EXPERIMENT, measure=looks), config, out=out)


def test_what_is_registered_is_asked_before_anything_is_measured(tmp_path, config, monkeypatch):
    """A prediction that is committed, or changed, after groups were measured changes nothing of a run that goes on."""
    out = tmp_path / "out"
    monkeypatch.setattr("experiments.experiment.registered_in", lambda name, prediction: "before")
    with pytest.raises(RuntimeError, match="stopped"):
        conduct(dataclasses.replace(EXPERIMENT, measure=_failing_at_2), config, out=out)
    monkeypatch.setattr("experiments.experiment.registered_in", lambda name, prediction: "after")
    changed = dataclasses.replace(EXPERIMENT, predict=lambda config: {"low": 0.5, "high": 1.0})
    assert conduct(changed, config, out=out, resume=True).registered == "before"
    found = load_results(out)
    assert (found.registered, found.prediction) == ("before", {"low": 0.0, "high": 1.0})
    assert conduct(EXPERIMENT, config, out=tmp_path / "other").registered == "after"


def test_a_stopped_run_goes_on_without_repeating_groups(tmp_path, config):
    out, plain = tmp_path / "out", conduct(EXPERIMENT, config)
    os.remove(config.notes)
    failing = dataclasses.replace(EXPERIMENT, measure=_failing_at_2)
    with pytest.raises(RuntimeError, match="stopped"):
        conduct(failing, config, out=out)
    with pytest.raises(UnusableError, match="--resume"):
        conduct(EXPERIMENT, config, out=out)
    with pytest.raises(UnusableError, match="other settings: seeds"):
        conduct(EXPERIMENT, dataclasses.replace(config, seeds=2), out=out, resume=True)
    results = conduct(EXPERIMENT, config, out=out, resume=True)
    pd.testing.assert_frame_equal(results.records, plain.records)
    assert measured(config) == {0: 1, 1: 1, 2: 1, 3: 1}


def _failing_at_2(config, group, states):
    if group["number"] == 2:
        raise RuntimeError("stopped")
    return counting_experiment.measure(config, group, states)


def test_a_run_killed_while_it_wrote_its_first_file_can_go_on(tmp_path, config):
    out = tmp_path / "out"
    (out / ".config.json-x1y2z3.hlvm-tmp").mkdir(parents=True)
    assert len(conduct(EXPERIMENT, config, out=out, resume=True).records) == config.n_groups * config.seeds


def test_damaged_results_are_named(tmp_path, config):
    """Numbers may not become others unseen."""
    out = tmp_path / "out"
    conduct(EXPERIMENT, config, out=out)
    for name, old, new in (
        ("records.csv", b",0.", b",1."),
        ("records.csv", b"number", b"\xffumber"),
        ("results.json", b'"high": 1.0', b'"high": 7.0'),
        ("results.json", b'"claims"', b'"claim"'),
    ):
        whole = (out / name).read_bytes()
        (out / name).write_bytes(whole.replace(old, new, 1))
        with pytest.raises(ValueError, match=f"^{re.escape(str(out / name))} is damaged: [^\n]*$"):
            load_results(out)
        (out / name).write_bytes(whole)


def test_a_run_goes_on_only_from_what_it_wrote(tmp_path, config):
    """Settings that are damaged are refused, and a group whose records are is measured again."""
    out = tmp_path / "out"
    results = conduct(EXPERIMENT, config, out=out)
    settings, group = out / "config.json", sorted((out / "groups").iterdir())[2]
    whole = settings.read_bytes()
    settings.write_bytes(whole.replace(b'"seeds": 3', b'"seeds": 8'))
    with pytest.raises(UnusableError, match=f"^{re.escape(str(settings))} is damaged"):
        conduct(EXPERIMENT, config, out=out, resume=True)
    settings.write_bytes(whole)
    group.write_bytes(group.read_bytes().replace(b"0.", b"1.", 1))
    os.remove(config.notes)
    again = conduct(EXPERIMENT, config, out=out, resume=True)
    pd.testing.assert_frame_equal(again.records, results.records)
    assert measured(config) == {2: 1}


def test_results_from_before_there_were_digests_are_read(tmp_path, config):
    out = tmp_path / "out"
    results = conduct(EXPERIMENT, config, out=out)
    for path in (out / "results.json", out / "config.json", *(out / "groups").iterdir()):
        content = read_json(path)
        content.pop("digests", None)
        path.write_text(json.dumps(content.get("records", content)))
    assert load_results(out).claims == results.claims
    os.remove(config.notes)
    again = conduct(EXPERIMENT, config, out=out, resume=True)
    pd.testing.assert_frame_equal(again.records, results.records)
    assert not Path(config.notes).exists()  # nothing was measured again


def test_second_process_in_a_folder_is_told_at_once(tmp_path, config, capsys):
    def another(config, group, states):
        with pytest.raises(UnusableError, match="another run is writing to"):
            conduct(EXPERIMENT, config, out=tmp_path / "out", resume=True)
        return counting_experiment.measure(config, group, states)

    conduct(dataclasses.replace(EXPERIMENT, measure=another), config, out=tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir() if path.name != "notes"] == ["out"]


def test_folder_that_disappears_ends_the_experiment(tmp_path, config):
    def remove(config, group, states):
        shutil.rmtree(tmp_path / "out")
        return counting_experiment.measure(config, group, states)

    with pytest.raises(OSError, match=r"out/groups does not exist"):
        conduct(dataclasses.replace(EXPERIMENT, measure=remove), config, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_damage_to_an_experiment_is_seen_and_groups_are_measured_again(tmp_path, config):
    out, failing = tmp_path / "out", dataclasses.replace(EXPERIMENT, measure=_failing_at_2)
    with pytest.raises(RuntimeError, match="stopped"):
        conduct(failing, config, out=out)
    first, _ = sorted((out / "groups").iterdir())
    first.write_bytes(first.read_bytes().replace(b'"value": 0', b'"value": 1'))
    results = conduct(EXPERIMENT, config, out=out, resume=True)
    assert measured(config)[0] == 2
    pd.testing.assert_frame_equal(load_results(out).records, results.records)
    for name in ("config.json", "results.json", "records.csv"):
        whole = (out / name).read_bytes()
        (out / name).write_bytes(whole[:-20])
        with pytest.raises(ValueError, match=rf"{name} is damaged"):
            conduct(EXPERIMENT, config, out=out, resume=True) if name == "config.json" else load_results(out)
        (out / name).write_bytes(whole)


def test_conduct_refuses_a_folder_with_other_files(tmp_path, config):
    (tmp_path / "mine.txt").write_text("keep me")
    with pytest.raises(UnusableError, match="other files"):
        conduct(EXPERIMENT, config, out=tmp_path)


# ---------------------------------------------------------------------- scripts without a page


def test_script_prints_what_it_found_and_writes_it_with_settings(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["check", "--preset", "smoke", "--out", str(tmp_path / "new")])
    small, large = Config(n_groups=1), Config(n_groups=9)

    def run(config):
        return {"records": [{"case": "first", "groups": config.n_groups, "values": [0.1234567, 2.0]}]}

    script("check", "Does it run?", run, smoke=small, laptop=large)
    assert capsys.readouterr().out == "case: first, groups: 1, values: 0.12346 2\n"
    written = read_json(tmp_path / "new" / "check.json")
    assert written["config"] == dataclasses.asdict(small)
    assert written["versions"]["jax"] == jax.__version__
    assert written["records"] == run(small)["records"]


# ---------------------------------------------------------------------- Dask

ANY_PORT = {"dashboard": False, "dashboard_address": "127.0.0.1:0"}  # or clusters of two test runs want the same


@pytest.fixture
def patient():
    """Dask waits for as long as a busy machine may take."""
    pytest.importorskip("distributed")  # now, since it adds its settings to those of Dask
    import dask.config

    with dask.config.set({"distributed.comm.timeouts.connect": GUARD, "distributed.comm.timeouts.tcp": GUARD}):
        yield


GUARD = 1800
"""Seconds after which a process is taken to hang; nothing is judged by them."""


@pytest.mark.usefixtures("patient")
def test_a_killed_worker_loses_only_its_group(tmp_path, config):
    """Of two workers one dies in the middle of a group: same results, nothing begun twice but that group."""
    distributed = pytest.importorskip("distributed")
    plain = conduct(EXPERIMENT, config)
    os.remove(config.notes)
    config = dataclasses.replace(config, dies_at=2)
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, scheduler_kwargs=ANY_PORT) as cluster:
        results = conduct(EXPERIMENT, config, out=tmp_path / "out", scheduler=cluster.scheduler_address)
    pd.testing.assert_frame_equal(results.records, plain.records)
    assert measured(config) == {0: 1, 1: 1, 2: 2, 3: 1}


@pytest.mark.slow
@pytest.mark.usefixtures("patient")
def test_records_are_equal_to_the_bit_with_workers_of_this_machine(tmp_path):
    pytest.importorskip("distributed")
    code = (
        "import sys, unrounded_theorem2; from experiments import command\n"
        "command.named_experiment = lambda name: unrounded_theorem2.EXPERIMENT\n"
        "if __name__ == '__main__':\n"
        "    sys.exit(command.command('theorem2', sys.argv[1:]))\n"
    )
    (tmp_path / "script.py").write_text(code)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")]), "XLA_FLAGS": ""}
    found = []
    for name, scheduler in (("alone", []), ("workers", ["--scheduler", "local"])):
        subprocess.run(
            [sys.executable, tmp_path / "script.py", "--preset", "smoke", "--out", tmp_path / name, *scheduler],
            env=environment,
            capture_output=True,
            check=True,
        )
        found.append({path.name: path.read_bytes() for path in (tmp_path / name / "groups").iterdir()})
    assert found[0] == found[1]
    assert len(found[0]) == 3
    kept = parsed_json(next(iter(found[0].values())), "group")["records"]
    losses = [record["value"] for record in kept if record["score"] == "loss"]
    assert losses != [round(loss, 5) for loss in losses]  # or digits could differ unseen


@pytest.mark.usefixtures("patient")
def test_groups_on_workers_keep_their_states_apart(tmp_path, config):
    """Those of two groups that train the same may otherwise write to one folder at the same time."""
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=2, processes=False, protocol="tcp", scheduler_kwargs=ANY_PORT
    ) as cluster:
        conduct(EXPERIMENT, config, out=tmp_path / "out", scheduler=cluster.scheduler_address)
    found = [line.split()[2] for line in Path(config.notes).read_text().splitlines()]
    assert len(set(found)) == len(found) == config.n_groups
    assert {Path(folder).parent for folder in found} == {tmp_path / "out" / "states"}


def test_a_worker_that_cannot_write_there_trains_without_states(tmp_path, config):
    (tmp_path / "file").write_text("no folder")
    records = groups._measure_by_name("counting_experiment", config, ({"number": 1}, tmp_path / "file" / "x"))
    assert len(records) == config.seeds
    assert Path(config.notes).read_text().split()[2] == "None"


def test_fits_of_one_process_are_not_for_workers(tmp_path, config):
    with pytest.raises(UnusableError, match="--fits is for one process"):
        conduct(EXPERIMENT, config, scheduler="local", fits=tmp_path)


def test_scheduler_that_is_none_is_refused_in_words_of_the_command_line(config):
    pytest.importorskip("distributed")
    with pytest.raises(
        UnusableError, match=r"^--scheduler must be \"local\" or an address such as tcp://host:8786, got 'remote'$"
    ):
        conduct(EXPERIMENT, config, scheduler="remote")


# ---------------------------------------------------------------------- training


def test_accelerators_go_through_large_ensembles_in_parts(monkeypatch):
    """Never more than 2,048 samples of transformers at once; a part divides the batch."""
    vit, narrow = (
        Member(mask=RandomMask(ratio=0.5), network=network) for network in (ViTConfig(), BottleneckConfig(code_dim=2))
    )
    assert training.microbatch([vit] * 70, 256) is None  # on a CPU
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert training.microbatch([vit] * 70, 256) == 16
    assert training.microbatch([vit] * 8, 256) is None
    assert training.microbatch([vit] * 9, 256) == 128
    assert training.microbatch([vit] * 30, 96) == 32
    assert training.microbatch([vit] * 5000, 32) == 1
    assert training.microbatch([narrow] * 144, 512) is None


def test_states_and_parts_reach_the_training(monkeypatch, tmp_path):
    given = []
    monkeypatch.setattr(training, "microbatch", lambda members, batch: 7)
    monkeypatch.setattr(training.mae, "fit_ensemble", lambda *arguments, **options: given.append(options) or ())
    model = HierarchicalModel.init(jax.random.key(0), LatentGraph.tree(2, 2), LinearGaussian())
    member = Member(mask=RandomMask(ratio=0.5), network=BottleneckConfig(code_dim=2))
    for states in (None, tmp_path / "states"):
        training.train(jax.random.key(0), model, [member], TrainConfig(steps=3, warmup=1), states)
    assert [options["microbatch"] for options in given] == [7, 7]
    assert given[1]["checkpoints"].folder.parent == tmp_path / "states"


# ---------------------------------------------------------------------- committed results


@pytest.mark.parametrize(
    ("name", "preset"),
    [(name, preset) for name in NAMES for preset in ("laptop", *FURTHER) if preset in named_experiment(name).presets],
)
def test_committed_results_are_those_of_the_code(name, preset):
    """Settings and prediction are the script's, and its verdicts follow from the records."""
    folder = ROOT / "experiments" / "results" / (name if preset == "laptop" else f"{name}_{preset}")
    experiment, found = named_experiment(name), load_results(folder)
    config = experiment.presets[preset]
    assert found.config == json.loads(json.dumps(dataclasses.asdict(config)))
    if name != "signal":  # whose forecasts take minutes, and have a test of their own
        assert experiment.predict(config) == _approx(found.prediction)
    judged = [claim.to_dict() for claim in experiment.judge(found.records, found.prediction)]
    assert judged == [_approx(claim.to_dict()) for claim in found.claims]


def _approx(content):
    """Numbers up to rounding: a CSV keeps them to the last digit but one."""
    if isinstance(content, dict):
        return {key: _approx(value) for key, value in content.items()}
    if isinstance(content, list):
        return [_approx(value) for value in content]
    return pytest.approx(content, rel=1e-6, abs=1e-9) if isinstance(content, float) else content


@pytest.mark.parametrize("name", [*NAMES, "training_time"])
def test_every_measured_experiment_has_a_page(name):
    text = (ROOT / "docs" / "experiments" / f"{name}.md").read_text()
    assert f"{{include}} generated/{name}.md" in text
    assert name in (ROOT / "docs" / "experiments" / "index.md").read_text()
    assert f"generated/experiments/{name}_" in text
    if name == "masking_ratio":
        assert f"{{include}} generated/{name}_long.md" in text
