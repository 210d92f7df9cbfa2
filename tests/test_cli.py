"""The command line: what it writes, and that bad input gives one line and exit code 2."""

import json
import os
import signal
import subprocess
import sys
import time
import types

import numpy as np
import pytest

import hlvm
from hlvm import cli
from hlvm.graph import LatentGraph
from hlvm.theory import membership_probability, shared_information


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder of inputs, good and bad; no test writes into it."""
    path = tmp_path_factory.mktemp("inputs")
    LatentGraph.tree(2, 2).save(path / "tree.json")
    LatentGraph.quadtree(2).save(path / "grid.json")
    # Names that are markup for rich, or paths in an archive.
    LatentGraph.from_edges([("[red] z", "x/1"), ("[red] z", "../x 2"), ("y", "../x 2")]).save(path / "odd.json")
    rng = np.random.default_rng(0)
    z = rng.normal(size=(300, 2))
    np.save(path / "z.npy", z)
    np.save(path / "z_hat.npy", np.tanh(z) @ np.array([[1.0, 2.0], [1.0, -1.0]]))
    np.save(path / "noise.npy", rng.normal(size=(300, 2)))
    np.save(path / "short.npy", z[:-1])
    np.save(path / "nan.npy", np.where(np.arange(600).reshape(300, 2) == 77, np.nan, z))
    np.save(path / "constant.npy", np.zeros((300, 2)))
    np.save(path / "text.npy", np.array(["a"] * 300))
    np.save(path / "objects.npy", np.array([{}, 1], dtype=object), allow_pickle=True)
    np.savez(path / "archive.npz", z=z)
    (path / "empty.npy").touch()
    (path / "broken.json").write_text('{"edges": [')
    (path / "list.json").write_text("[1, 2]")
    (path / "cycle.json").write_text('{"edges": [["a", "b"], ["b", "a"], ["a", "x"]]}')
    (path / "binary.json").write_bytes(b"\x80\xff")
    (path / "full").mkdir()
    (path / "full" / "results.json").touch()
    return path


@pytest.fixture
def run(folder, tmp_path, monkeypatch, capsys):
    """Run the command among the inputs; returns its exit code, output and errors. ``{new}`` is an empty folder."""
    monkeypatch.chdir(folder)

    def run(*arguments):
        code = cli.main([argument.format(new=tmp_path) for argument in arguments])
        return code, *capsys.readouterr()

    return run


# ---------------------------------------------------------------------- good input


def test_version(run):
    assert run("--version") == (0, f"hlvm {hlvm.__version__}\n", "")


@pytest.mark.parametrize("command", ["demo", "theory", "sample", "score"])
def test_help_shows_an_example(command, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main([command, "--help"])
    assert stop.value.code == 0
    assert f"Example: hlvm {command} " in capsys.readouterr().out


def test_help_needs_no_jax():
    program = "import sys; from hlvm import cli; print({'jax', 'matplotlib', 'flax'} & set(sys.modules) or 'none')"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "none"


def test_theory_masked_prints_what_the_package_finds(run):
    found = shared_information(LatentGraph.tree(2, 2), ["x_0", "x_2"])
    code, out, err = run("theory", "tree.json", "--masked", "x_0", "x_2", "--json")
    assert (code, err) == (0, "")
    record = json.loads(out)
    assert (set(record["members"]), set(record["frontier"])) == (found.members, found.frontier)
    assert (record["dim"], record["unique"], record["regime"]) == (4, True, "invertible")
    code, out, err = run("theory", "tree.json", "--masked", "x_0", "x_2")
    assert "3: z2_0, z1_0, z1_1" in out
    assert "2: z1_0, z1_1" in out


def test_theory_takes_names_as_they_are(run):
    code, out, _ = run("theory", "odd.json", "--masked", "x/1", "--regime", "general")
    assert code == 0
    assert "1: [red] z" in out


def test_theory_ratio_prints_what_the_package_computes(run):
    graph = LatentGraph.quadtree(2)
    code, out, err = run("theory", "grid.json", "--ratio", "0.25", "--json")
    assert (code, err) == (0, "")
    record = json.loads(out)
    assert {row["latent"]: row["probability"] for row in record["membership"]} == membership_probability(graph, 0.25)
    assert [row["height"] for row in record["levels"]] == [2, 1]
    code, out, _ = run("theory", "grid.json", "--ratio", "0.5", "--unit", "2", "4")
    assert code == 0
    assert "2.00 dims in all" in out


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
        assert set(first.files) == names | {f"noise/{name}" for name in graph.nodes} | {"graph"}
        assert first["observed/../x 2"].shape == (7, 3)
        assert LatentGraph.from_dict(json.loads(str(first["graph"]))) == graph
        for name in first.files:
            np.testing.assert_array_equal(first[name], again[name])
    assert {path.name for path in tmp_path.iterdir()} == {"a.npz", "b.npz", "model.npz"}
    assert run("theory", "{new}/model.npz", "--masked", "x/1", "--regime", "general")[0] == 0


def test_theory_of_a_noisy_model_needs_the_general_regime(run):
    assert run("sample", "tree.json", "--n", "1", "--out", "{new}/a.npz", "--mechanism", "linear-gaussian",
               "--save-model", "{new}/noisy.npz")[0] == 0  # fmt: skip
    code, _, err = run("theory", "{new}/noisy.npz", "--masked", "x_0")
    assert code == 2
    assert "not invertible" in err
    assert run("theory", "{new}/noisy.npz", "--masked", "x_0", "--regime", "general")[0] == 0


def test_theory_shows_both_cuts_when_the_answer_is_not_unique(run, tmp_path):
    graph = {"edges": [["z1", "z2"], ["z1", "x1"], ["z2", "x2"]], "dims": 1}
    (tmp_path / "chain.json").write_text(json.dumps(graph))
    code, out, _ = run("theory", "{new}/chain.json", "--masked", "x1", "--regime", "general")
    assert code == 0
    assert "nearest visible" in out
    assert "z2" in out.split("nearest visible")[1]


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
    assert "\nnot identified: " in out
    assert "nan" not in out
    assert '"value": null' in (tmp_path / "scores.json").read_text(encoding="utf-8")


@pytest.mark.parametrize(("agrees", "expected"), [(True, 0), (False, 1)])
def test_demo_exit_code_says_whether_the_theory_held(run, monkeypatch, tmp_path, agrees, expected):
    asked = []

    def run_demo(config, out, *, console):
        asked.append((config.seed, out))
        return types.SimpleNamespace(agrees=agrees)

    stand_in = types.SimpleNamespace(DemoConfig=lambda seed: types.SimpleNamespace(seed=seed), run_demo=run_demo)
    monkeypatch.setitem(sys.modules, "hlvm.demo", stand_in)
    assert run("demo", "--out", "{new}/demo", "--seed", "4")[0] == expected
    assert asked == [(4, tmp_path / "demo")]


# ---------------------------------------------------------------------- bad input

THEORY = [
    ("theory nowhere.json --masked x_0", "nowhere.json: No such file"),
    ("theory full --masked x_0", "full: Is a directory"),
    ("theory broken.json --masked x_0", "broken.json is not a JSON graph file"),
    ("theory binary.json --masked x_0", "binary.json is not a JSON graph file"),
    ("theory list.json --masked x_0", "list.json: a graph description is a JSON object, got list"),
    ("theory cycle.json --masked x", "cycle.json: the edges contain a cycle"),
    ("theory archive.npz --masked x_0", "archive.npz is not a model file"),
    ("theory tree.json --masked nobody", "'nobody' is not a variable of this graph"),
    ("theory tree.json --masked z1_0", "'z1_0' is a latent"),
    ("theory tree.json --masked x_0 x_1 x_2 x_3", "everything is masked"),
    ("theory tree.json --masked", "--masked with at least one NAME"),
    ("theory tree.json", "--masked with at least one NAME, or --ratio"),
    ("theory tree.json --masked x_0 --ratio 0.5", "either --masked"),
    ("theory tree.json --masked x_0 --unit 2", "--unit goes with --ratio"),
    ("theory tree.json --ratio 0", "strictly between 0 and 1, got 0.0"),
    ("theory tree.json --ratio 1", "strictly between 0 and 1, got 1.0"),
    ("theory tree.json --ratio nan", "strictly between 0 and 1, got nan"),
    ("theory tree.json --ratio 0.01", "nothing would be masked"),
    ("theory tree.json --ratio 0.5 --unit 2", "need a grid"),
    ("theory grid.json --ratio 0.5 --unit 3", "do not fill the 4 x 4 grid"),
    ("theory grid.json --ratio 0.5 --unit 0", "unit must be"),
    ("theory grid.json --ratio 0.5 --regime general", "invertible regime only"),
]
SAMPLE = [
    ("sample nowhere.json --n 5 --out {new}/a.npz", "nowhere.json: No such file"),
    ("sample nowhere.npz --n 5 --out {new}/a.npz", "nowhere.npz: No such file"),
    ("sample broken.json --n 5 --out {new}/a.npz", "not a JSON graph file"),
    ("sample archive.npz --n 5 --out {new}/a.npz", "not a model file"),
    ("sample archive.npz --n 5 --out {new}/a.npz --mechanism linear-gaussian", "leave --mechanism out"),
    ("sample tree.json --n 0 --out {new}/a.npz", "--n must be at least 1, got 0"),
    ("sample tree.json --n 5000000000 --out {new}/a.npz", "take a smaller --n"),
    ("sample tree.json --n 5 --out {new}/a.csv", "ends in .npz"),
    ("sample tree.json --n 5 --out archive.npz", "archive.npz exists already"),
    ("sample tree.json --n 5 --out {new}/no/a.npz", "does not exist: make it first"),
    ("sample tree.json --n 5 --out {new}/a.npz --save-model {new}/a.npz", "the same file"),
    ("sample tree.json --n 5 --out {new}/a.npz --save-model archive.npz", "archive.npz exists already"),
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
    ("score tree.json z.npy", "tree.json is not a .npy file of numbers"),
    ("score archive.npz z.npy", "save the one array with numpy.save"),
    ("score z.npy constant.npy", "expected at least one column that varies"),
    ("score z.npy z.npy --threshold 1.5", "threshold: expected a number strictly between 0 and 1"),
    ("score z.npy z.npy --out tree.json", "tree.json exists already"),
    ("score z.npy z.npy --out {new}/scores.txt", "ends in .json"),
    ("score z.npy z.npy --seed -1", "--seed must be"),
]
DEMO = [
    ("demo --out full", "full exists already"),
    ("demo --out tree.json", "tree.json exists already"),
    ("demo --out tree.json/demo", "is a file"),
    ("demo --out {new}/demo --seed -1", "--seed must be"),
]


@pytest.mark.parametrize(("line", "message"), THEORY + SAMPLE + SCORE + DEMO)
def test_bad_input_gives_one_line_and_exit_code_2(run, tmp_path, line, message):
    code, out, err = run(*line.split())
    assert (code, out) == (2, "")
    assert message in err
    assert err.startswith("hlvm: ")
    assert err.count("\n") == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "line", ["", "nonsense", "demo", "theory", "sample tree.json --n five --out a.npz", "score z.npy", "score a b c"]
)
def test_arguments_that_do_not_parse_exit_2(line, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(line.split())
    assert stop.value.code == 2
    assert "Traceback" not in capsys.readouterr().err


def test_bad_input_without_permission(run, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may write anywhere, and tests may run as root
    code, out, err = run("sample", "tree.json", "--n", "5", "--out", "{new}/a.npz")
    assert (code, out) == (2, "")
    assert err == f"hlvm: no permission to write into {tmp_path}: choose another folder\n"


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


def test_interruption_of_the_process(folder, tmp_path):
    """A real Ctrl-C while the command waits for its input, which never comes."""
    os.mkfifo(tmp_path / "graph.json")
    command = [sys.executable, "-m", "hlvm.cli", "theory", str(tmp_path / "graph.json"), "--masked", "x_0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    writer = os.open(tmp_path / "graph.json", os.O_WRONLY)  # returns once the command has opened the other end
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    os.close(writer)
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
    process.wait(timeout=30)


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
    import jax

    before = jax.config.values["jax_compilation_cache_dir"]
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR", raising=False)
    monkeypatch.setenv(variable, str(tmp_path))
    try:
        cli._use_compilation_cache()
        chosen = jax.config.values["jax_compilation_cache_dir"]
    finally:
        jax.config.update("jax_compilation_cache_dir", before)
    # JAX has read its own variable when it was imported: the command leaves that alone.
    assert chosen == (before if variable.startswith("JAX") else str(tmp_path / "hlvm" / "jax"))
