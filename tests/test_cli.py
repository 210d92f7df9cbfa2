"""The command line: what it writes, and that bad input gives one line and exit code 2."""

import errno
import io
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import types

import jax
import numpy as np
import pytest

import hlvm
from hlvm import cli
from hlvm._files.digests import read_json
from hlvm.cli import input as cli_input
from hlvm.datasets import load_dataset
from hlvm.graph import LatentGraph
from hlvm.images import load_image_model
from hlvm.mechanisms import LinearGaussian
from hlvm.simulator import HierarchicalModel

# ---------------------------------------------------------------------- good input


def test_version(run):
    assert run("--version") == (0, f"hlvm {hlvm.__version__}\n", "")


@pytest.mark.parametrize(
    "command",
    ["demo", "graph", "theory", "design", "advise", "check", "explore", "sample", "train", "encode", "score", "doctor"],
)
def test_help_shows_an_example(command, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main([command, "--help"])
    assert stop.value.code == 0
    assert f"Example: hlvm {command} " in capsys.readouterr().out


def test_help_needs_no_jax():
    program = "import sys; from hlvm import cli; print({'jax', 'matplotlib', 'flax'} & set(sys.modules) or 'none')"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "none"


def test_help_examples_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    graph = LatentGraph.quadtree(2)
    graph.save(tmp_path / "graph.json")
    HierarchicalModel.init(0, graph, LinearGaussian()).save(tmp_path / "gaussian.npz")
    z = np.random.default_rng(0).normal(size=(1000, 2))  # as many rows as the example of `sample` draws
    for name, rows in (("z.npy", z), ("z_hat.npy", np.tanh(z))):
        np.save(tmp_path / name, rows)
    shown = ""
    (tmp_path / "settings.toml").write_text(
        '[network]\nkind = "linear"\ncode_dim = 2\n[mask]\nkind = "random"\nratio = 0.5\n'
        "[train]\nsteps = 5\nbatch = 4\nwarmup = 1\n"
    )
    for command in ("graph", "theory", "design", "advise", "check", "explore", "sample", "train", "encode", "score"):
        with pytest.raises(SystemExit):
            cli.main([command, "--help"])
        shown += capsys.readouterr().out
    examples = [line.removeprefix("Example: hlvm ") for line in shown.splitlines() if line.startswith("Example: ")]
    lines = sorted(examples, key=lambda line: "sample" not in line)  # it writes the model that others read
    assert len(lines) == 20
    for line in lines:
        assert cli.main(line.split()) == 0, line
        assert capsys.readouterr().err == ""
    assert read_json(tmp_path / "mask.json") == {"masked": ["x_0_0"]}


# ---------------------------------------------------------------------- samples and scores


def test_sample_writes_every_variable_and_a_model_that_gives_them_again(run, tmp_path):
    options = ("--n", "7", "--seed", "3")
    code, out, err = run(
        "sample", "odd.json", *options, "--out", "{new}/a.npz", "--save-model", "{new}/model.npz",
        "--mechanism", "linear-gaussian",
    )  # fmt: skip
    assert (code, err) == (0, "")
    assert "7 samples of 4 variables" in out
    assert run("sample", "{new}/model.npz", *options, "--out", "{new}/b.npz")[0] == 0
    graph = LatentGraph.load("odd.json")
    with np.load(tmp_path / "a.npz") as first, np.load(tmp_path / "b.npz") as again:
        names = {f"latents/{name}" for name in graph.latents} | {f"observed/{name}" for name in graph.observed}
        assert set(first.files) == names | {f"noise/{name}" for name in graph.nodes} | {"graph", "about"}
        assert first["observed/../x 2"].shape == (7, 3)
        assert LatentGraph.from_dict(json.loads(str(first["graph"]))) == graph
        for name in set(first.files) - {"about"}:
            np.testing.assert_array_equal(first[name], again[name])
    assert {path.name for path in tmp_path.iterdir()} == {"a.npz", "b.npz", "model.npz"}
    assert run("theory", "{new}/model.npz", "--masked", "x/1", "--regime", "general")[0] == 0


def test_sample_draws_again_from_an_image_model_that_it_has_saved(run, tmp_path):
    first = ("--size", "8", "--save-model", "{new}/model", "--out", "{new}/a.npz")
    assert run("sample", "quadtree", "--n", "3", "--seed", "5", *first)[0] == 0
    again = ("--preview", "{new}/sheet.png", "--save-model", "{new}/again", "--out", "{new}/b.npz")
    assert run("sample", "{new}/model", "--n", "3", "--seed", "5", *again)[0] == 0
    with np.load(tmp_path / "a.npz") as a, np.load(tmp_path / "b.npz") as b:
        np.testing.assert_array_equal(a["images"], b["images"])
    assert (tmp_path / "again" / "images.json").read_bytes() == (tmp_path / "model" / "images.json").read_bytes()
    assert (tmp_path / "sheet.png").exists()


def test_sample_draws_from_a_grammar_that_is_not_uniform(run, tmp_path):
    options = ("--zipf", "1", "--synonyms", "2", "--leaf-noise", "0.25", "--filtered-at", "0", "--levels", "1")
    code, _, err = run("sample", "grammar", *options, "--n", "3", "--out", "{new}/a.npz", "--save-model", "{new}/model")
    assert (code, err) == (0, "")
    model = load_image_model(tmp_path / "model")
    np.testing.assert_allclose(model.rule_probabilities[1], [[2 / 3, 1 / 3]] * 8)
    assert (model.leaf_noise, model.filtered_at) == (0.25, 0)


def test_score_prints_and_writes_the_scores(run, tmp_path):
    code, out, err = run("score", "z_hat.npy", "z.npy", "--out", "{new}/scores.json")
    assert (code, err) == (0, "")
    assert "\nidentified: " in out
    record = json.loads((tmp_path / "scores.json").read_text(encoding="utf-8"))
    assert record["verdict"] == "identified"
    assert all(score["value"] > 0.95 for score in record["kernel_r2"].values())
    assert record["chance"]["p_value"] == 0.01
    assert set(record["kernel_r2"]) == set(record["linear_r2"])


def test_score_exits_0_whatever_the_verdict(run):
    code, out, err = run("score", "noise.npy", "z.npy")
    assert (code, err) == (0, "")
    assert "\nnot identified: " in out


def test_score_of_a_constant_code_has_no_number_to_show(run, tmp_path):
    code, out, err = run("score", "constant.npy", "z.npy", "--out", "{new}/scores.json")
    assert (code, err) == (0, "")
    assert "\ncollapsed: all " in out
    assert "nan" not in out
    assert '"value": null' in (tmp_path / "scores.json").read_text(encoding="utf-8")


@pytest.mark.parametrize(("agrees", "expected"), [(True, 0), (False, 1)])
def test_demo_exit_code_says_whether_the_theory_held(run, monkeypatch, tmp_path, agrees, expected):
    asked = []

    def run_demo(config, out, *, quick, console):
        asked.append((config.key, out, quick))
        return types.SimpleNamespace(agrees=agrees)

    stand_in = types.SimpleNamespace(DemoConfig=lambda key: types.SimpleNamespace(key=key), run_demo=run_demo)
    monkeypatch.setitem(sys.modules, "hlvm.demo", stand_in)
    code, out, _ = run("demo", "--out", "{new}/demo", "--seed", "4")
    assert (code, out) == (expected, f"the report is {tmp_path / 'demo' / 'report.html'}\n")
    assert run("demo", "--out", "{new}/demo", "--quick")[0] == expected
    assert asked == [(4, tmp_path / "demo", False), (0, tmp_path / "demo", True)]


# ---------------------------------------------------------------------- bad input

SAMPLE = [
    ("sample nowhere.json --n 5 --out {new}/a.npz", "nowhere.json: No such file"),
    ("sample nowhere.npz --n 5 --out {new}/a.npz", "nowhere.npz: No such file"),
    ("sample broken.json --n 5 --out {new}/a.npz", "not a JSON graph file"),
    ("sample archive.npz --n 5 --out {new}/a.npz", "archive.npz is neither a data set nor a saved model"),
    ("sample model.npz --n 5 --out {new}/a.npz --mechanism linear-gaussian", "leave --mechanism out"),
    ("sample full --n 5 --out {new}/a.npz", "full is a folder that holds no image model"),
    ("sample tree.json --n 0 --out {new}/a.npz", "--n must be at least 1, got 0"),
    ("sample tree.json --n 5000000000 --out {new}/a.npz", "take a smaller --n"),
    ("sample tree.json --n 5 --out {new}/a.csv", "must end in .npz or .h5 or .hdf5"),
    ("sample tree.json --n 5 --out archive.npz", "archive.npz exists already"),
    ("sample tree.json --n 5 --out {new}/no/a.npz", "does not exist: make it first"),
    ("sample shapes --n 5 --out {new}/a.npz --levels 2", "--levels goes with grammar, not with shapes"),
    ("sample grammar --n 5 --out {new}/a.npz --objects 1 2", "--objects goes with shapes"),
    ("sample shapes --n 5 --out {new}/a.npz --leaf-noise 0.1", "--leaf-noise goes with grammar, not with shapes"),
    ("sample tree.json --n 5 --out {new}/a.npz --filtered-at 1", "--filtered-at goes with a family of images"),
    (
        "sample grammar --n 5 --out {new}/a.npz --leaf-noise 2",
        "--leaf-noise must be a probability from 0 to 1, got 2.0",
    ),
    ("sample grammar --n 5 --out {new}/a.npz --filtered-at 3", "--filtered-at must be a level below the class, 0 to 2"),
    ("sample grammar --n 5 --out {new}/a.npz --zipf nan", "--zipf must be finite"),
    ("sample shapes --n 5 --out {new}/a.npz --mechanism coupling", "--mechanism goes with graphs, not with shapes"),
    ("sample tree.json --n 5 --out {new}/a.npz --size 8", "--size goes with a family of images"),
    (
        "sample tree.json --n 5 --out {new}/a.npz --preview {new}/a.png",
        "--preview goes with images, and tree.json has none",
    ),
    ("sample circles --n 5 --out {new}/a.npz", "neither a family of images"),
    ("sample quadtree --n 5 --out {new}/a.npz --size 20", "size must be one of 8, 16, 32, 64"),
    ("sample shapes --n 5 --out {new}/a.npz --preview {new}/a.jpg", "must end in .png"),
    ("sample tree.json --n 5 --out {new}/a.npz --chunk-size 0", "--chunk-size must be at least 1"),
    ("sample tree.json --n 5 --out {new}/a.npz --save-model {new}/a.npz", "the same file"),
    ("sample tree.json --n 5 --out {new}/a.npz --save-model archive.npz", "archive.npz exists already"),
    ("sample shapes --n 5 --out {new}/a.npz --save-model full", "full exists already"),
    ("sample tree.json --n 5 --out {new}/a.npz --seed -1", "--seed must be"),
]
SCORE = [
    ("score nowhere.npy z.npy", "nowhere.npy: No such file"),
    ("score full z.npy", "full: Is a directory"),
    ("score nan.npy z.npy", "nan.npy: expected finite numbers, got 1 NaN"),
    ("score z.npy short.npy", "got 300 rows in z.npy and 299 in short.npy"),
    ("score text.npy z.npy", "text.npy: expected real numbers"),
    ("score objects.npy z.npy", "objects.npy is not a .npy file of numbers"),
    ("score empty.npy z.npy", "empty.npy is not a .npy file of numbers"),
    ("score tree.json z.npy", "tree.json: its name must end in one of .npy, .npz"),
    ("score archive.npz::y z.npy", "archive.npz has no y: it has z"),
    ("score z.npy constant.npy", "expected at least one column that varies"),
    ("score z.npy z.npy --threshold 1.5", "--threshold must be a number strictly between 0 and 1, got 1.5"),
    ("score z.npy z.npy --out tree.json", "tree.json exists already"),
    ("score z.npy z.npy --out {new}/scores.txt", "must end in .json"),
    ("score z.npy z.npy --seed -1", "--seed must be"),
]
DEMO = [
    ("demo --out full", "full exists already"),
    ("demo --out tree.json", "tree.json exists already"),
    ("demo --out tree.json/demo", "is a file"),
    ("demo --out {new}/demo --seed -1", "--seed must be"),
]


@pytest.mark.parametrize(("line", "message"), SAMPLE + SCORE + DEMO)
def test_bad_input_gives_one_line_and_exit_code_2(refused, line, message):
    refused(line, message)


PARSING = [
    (
        "",
        "Expected one of {demo, graph, theory, design, advise, check, explore, sample, train, encode, score, study, "
        "doctor}; see hlvm --help",
    ),
    ("nonsense", "Unrecognized options: nonsense"),
    ("theory", "Missing from hlvm theory: GRAPH; see hlvm theory --help"),
    ("sample", "Missing from hlvm sample: SOURCE, --n INT, --out FILE; see"),
    ("sample tree.json --n five --out a.npz", "--n: expected a whole number, got 'five'; see hlvm sample --help"),
    ("sample tree.json --n", "Missing value for argument '--n'"),
    ("score z.npy z.npy --threshold high", "--threshold: expected a number, got 'high'"),
    ("score a b c", "Unrecognized options: c; see hlvm score --help"),
    ("theory tree.json --sed 3", "Unrecognized options: --sed, 3. Perhaps you meant --seed; see"),
    ("theory tree.json --unit 1 2 3", "--unit: expected SIDE|ROWS COLUMNS, got '1' '2' '3'; see"),
    (
        "theory tree.json --strategy odd",
        "--strategy must be one of random, ratio_range, bernoulli, block, grid, subtree, got 'odd'",
    ),
    (
        "sample tree.json --n 5 --out {new}/a.npz --mechanism odd",
        "--mechanism: expected one of invertible-mlp, linear-gaussian, additive-noise-mlp, coupling, post-nonlinear, "
        "heteroscedastic, got 'odd'",
    ),
]


@pytest.mark.parametrize(("line", "message"), PARSING)
def test_arguments_that_do_not_parse_are_one_line(refused, line, message):
    refused(line, message)


def test_arguments_that_do_not_parse_are_one_line_without_utf8(refused, monkeypatch):
    """Boxes of tyro are then drawn with other characters."""
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding="ascii"))
    refused("theory", "Missing from hlvm theory: GRAPH; see hlvm theory --help")


def test_names_may_begin_with_a_dash(run, tmp_path):
    LatentGraph.from_edges([("z", "-x"), ("z", "-y"), ("z", "x")]).save(tmp_path / "dashes.json")
    code, out, _ = run("theory", "{new}/dashes.json", "--masked", "-x", "-y", "--json")
    assert (code, json.loads(out)["frontier"]) == (0, ["z"])
    code, _, err = run("theory", "{new}/dashes.json", "--masked", "-x", "-z")
    assert (code, "'-z' is not a variable" in err) == (2, True)


def test_check_writable_tries(tmp_path, monkeypatch):
    """Root may write anywhere and tests may run as root, but not into a folder that cannot hold files."""

    def fail(**_):
        raise FileNotFoundError(errno.ENOENT, "No such file or directory")

    monkeypatch.setattr(tempfile, "TemporaryFile", fail)
    with pytest.raises(FileNotFoundError, match=re.escape(f"no file can be written into {tmp_path}")):
        cli_input.check_writable(tmp_path)


def test_error_from_inside_a_library_keeps_its_traceback(run, monkeypatch):
    monkeypatch.setattr("hlvm.theory.shared_information", lambda *_, **__: np.zeros(3).reshape(2, 2))
    with pytest.raises(ValueError, match="cannot reshape"):
        run("theory", "tree.json", "--masked", "x_0")


# ---------------------------------------------------------------------- interruptions and surroundings


def test_interruption_leaves_no_half_written_file(run, tmp_path, monkeypatch):
    def fail_halfway(path, **arrays):
        path.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(np, "savez", fail_halfway)
    code, out, err = run("sample", "odd.json", "--n", "7", "--out", "{new}/a.npz", "--mechanism", "linear-gaussian")
    assert (code, out) == (130, "")
    assert err == "hlvm: interrupted; no unfinished file was left behind\n"
    assert not list(tmp_path.iterdir())


def test_interrupted_sampling_says_how_to_go_on(run, tmp_path, monkeypatch):
    write, written = np.savez, []

    def fail_at_the_second(path, **arrays):
        written.append(path)
        if len(written) == 2:
            raise KeyboardInterrupt
        write(path, **arrays)

    line = [
        "sample",
        "odd.json",
        "--n",
        "7",
        "--chunk-size",
        "3",
        "--out",
        "{new}/a.npz",
        "--mechanism",
        "linear-gaussian",
    ]
    monkeypatch.setattr(np, "savez", fail_at_the_second)
    code, out, err = run(*line)
    assert (code, out) == (130, "")
    assert "a.npz.partial: resume with --resume, or remove it" in err
    assert not (tmp_path / "a.npz").exists()
    code, _, err = run(*line)
    assert code == 2
    assert "interrupted run: continue it with resume (--resume)" in err
    assert run(*line, "--resume")[0] == 0
    assert [path.name for path in tmp_path.iterdir()] == ["a.npz"]


def test_sample_shapes_with_a_contact_sheet(run, tmp_path):
    code, out, _ = run(
        "sample", "shapes", "--n", "3", "--size", "16", "--out", "{new}/a.h5", "--preview", "{new}/sheet.png",
        "--image-type", "uint8",
    )  # fmt: skip
    assert code == 0
    assert out.startswith("wrote 3 samples")
    assert (tmp_path / "sheet.png").read_bytes().startswith(b"\x89PNG")
    with load_dataset(tmp_path / "a.h5") as data:
        assert data.images.shape == (3, 16, 16, 3)
        assert data.about["note"]["source"] == "shapes"


def test_interruption_of_the_process(folder, tmp_path, in_terminal):
    """A real Ctrl-C while the command waits for its input, which never comes."""
    os.mkfifo(tmp_path / "graph.json")
    command = [sys.executable, "-m", "hlvm.cli", "theory", str(tmp_path / "graph.json"), "--masked", "x_0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    writer = os.open(tmp_path / "graph.json", os.O_WRONLY)  # returns once the command has opened the other end
    process.send_signal(signal.SIGINT)
    os.close(writer)  # or a signal just before the command begins to wait would be seen only at the next one
    out, err = process.communicate(timeout=600)
    assert (process.returncode, out) == (130, "")
    assert err == "hlvm: interrupted; no unfinished file was left behind\n"


def test_process_exits_2_with_one_line(folder):
    command = [sys.executable, "-m", "hlvm.cli", "score", str(folder / "nan.npy"), str(folder / "z.npy")]
    result = subprocess.run(command, capture_output=True, text=True)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.count("\n") == 1
    assert "expected finite numbers" in result.stderr


def test_process_whose_reader_leaves_is_quiet(folder):
    command = [sys.executable, "-m", "hlvm.cli", "theory", str(folder / "grid.json"), "--ratio", "0.5"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    process.stdout.close()
    assert process.stderr.read() == ""
    process.stderr.close()
    process.wait(timeout=600)


def test_compilation_cache_that_cannot_be_made_is_one_warning(run, folder, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "tree.json"))
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR", raising=False)
    line = "sample odd.json --n 7 --out {new}/a.npz --mechanism linear-gaussian"
    code, _, err = run(*line.split())
    assert code == 0
    assert err.startswith("hlvm: compiled programs are not kept for the next run")
    assert err.count("\n") == 1


@pytest.mark.parametrize("variable", ["JAX_COMPILATION_CACHE_DIR", "XDG_CACHE_HOME"])
def test_compilation_cache_folder(tmp_path, monkeypatch, variable):
    before = jax.config.values["jax_compilation_cache_dir"]
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR", raising=False)
    monkeypatch.setenv(variable, str(tmp_path))
    try:
        cli.use_compilation_cache()
        chosen = jax.config.values["jax_compilation_cache_dir"]
    finally:
        jax.config.update("jax_compilation_cache_dir", before)
    # JAX has read its own variable when it was imported: the command leaves that alone.
    assert chosen == (before if variable.startswith("JAX") else str(tmp_path / "hlvm" / "jax"))
