"""The command line: what it writes, and that bad input gives one line and exit code 2."""

import json
import os
import signal
import subprocess
import sys
import time
import types

import jax
import numpy as np
import pytest

import hlvm
from hlvm import _cli_input, cli
from hlvm.datasets import load_dataset
from hlvm.graph import LatentGraph
from hlvm.simulator import HierarchicalModel
from hlvm.theory import (
    GaussianOracle,
    check_assumptions,
    design_mask,
    design_strategy,
    level_profile,
    membership_probability,
    shared_information,
    target_ancestors,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder of inputs, good and bad; no test writes into it."""
    path = tmp_path_factory.mktemp("inputs")
    LatentGraph.tree(2, 2).save(path / "tree.json")
    LatentGraph.quadtree(2).save(path / "grid.json")
    LatentGraph.quadtree(5).save(path / "large.json")
    windows = [(f"z{i}", f"x{i + j}") for i in range(19) for j in range(3)]
    LatentGraph.from_edges(windows).save(path / "windows.json")
    LatentGraph.from_edges([("z", "x1"), ("z", "x2")], dims={"z": 3, "x1": 1, "x2": 1}).save(path / "dims.json")
    LatentGraph.from_edges([("a", "x1"), ("a", "x2"), ("b", "x3")]).save(path / "apart.json")
    (path / "mask.json").write_text('["x_0", "x_2"]')
    (path / "nothing.json").write_text("[]")
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


@pytest.mark.parametrize("command", ["demo", "theory", "design", "check", "sample", "score"])
def test_help_shows_an_example(command, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main([command, "--help"])
    assert stop.value.code == 0
    assert f"Example: hlvm {command} " in capsys.readouterr().out


def test_help_needs_no_jax():
    program = "import sys; from hlvm import cli; print({'jax', 'matplotlib', 'flax'} & set(sys.modules) or 'none')"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "none"


def test_help_examples_run(folder, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    above = {f"z1_{i}": ["z2_0"] for i in range(4)} | {f"x_{i}": [f"z1_{i // 4}"] for i in range(16)}
    graph = LatentGraph.from_edges([(p, child) for child, parents in above.items() for p in parents], grid=(4, 4))
    graph.save(tmp_path / "graph.json")
    for name in ("z.npy", "z_hat.npy"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    shown = ""
    for command in ("theory", "design", "check", "sample", "score"):
        with pytest.raises(SystemExit):
            cli.main([command, "--help"])
        shown += capsys.readouterr().out
    examples = [line.removeprefix("Example: hlvm ") for line in shown.splitlines() if line.startswith("Example: ")]
    lines = sorted(examples, key=lambda line: "sample" not in line)  # it writes the model that others read
    assert len(lines) == 10
    for line in lines:
        assert cli.main(line.split()) == 0, line
        assert capsys.readouterr().err == ""
    assert json.loads((tmp_path / "mask.json").read_text()) == ["x_0"]


def test_theory_masked_prints_what_the_package_finds(run):
    graph, masked = LatentGraph.tree(2, 2), ["x_0", "x_2"]
    found = shared_information(graph, masked)
    code, out, err = run("theory", "tree.json", "--masked", "x_0", "x_2", "--json")
    assert (code, err) == (0, "")
    record = json.loads(out)
    assert (set(record["members"]), set(record["frontier"])) == (found.members, found.frontier)
    assert (record["dim"], record["unique"], record["regime"]) == (4, True, "invertible")
    assert {name: set(latents) for name, latents in record["targets"].items()} == target_ancestors(graph, masked)
    assert run("theory", "tree.json", "--mask-file", "mask.json", "--json") == (0, out, "")
    code, out, err = run("theory", "tree.json", "--masked", "x_0", "x_2")
    assert "3: z2_0, z1_0, z1_1" in out
    assert "2: z1_0, z1_1" in out
    assert [line.split("│")[1:3] for line in out.splitlines() if "1: x_" in line] == [
        [" 1: x_0 ", " 1: z1_0        "],
        [" 1: x_2 ", " 1: z1_1        "],
    ]


def test_theory_takes_names_as_they_are(run):
    code, out, _ = run("theory", "odd.json", "--masked", "x/1", "--regime", "general")
    assert code == 0
    assert "1: [red] z" in out


def test_theory_ratio_prints_what_the_package_computes(run):
    graph = LatentGraph.quadtree(2)
    code, out, err = run("theory", "grid.json", "--ratio", "0.25", "0.5", "--json")
    assert (code, err) == (0, "")
    record = json.loads(out)
    assert (record["strategy"], record["regime"], record["n_masks"]) == ("uniform", "invertible", 0)
    for ratio, profile in zip((0.25, 0.5), record["profiles"], strict=True):
        assert profile["ratio"] == ratio
        found = {row["latent"]: row["probability"] for row in profile["membership"]}
        assert found == membership_probability(graph, ratio)
        assert [row["height"] for row in profile["levels"]] == [2, 1]
        assert profile["total_dim"] == level_profile(graph, [ratio]).total_dim[0]
    code, out, _ = run("theory", "grid.json", "--ratio", "0.5", "--unit", "2", "4")
    assert code == 0
    assert "2.00 dims in all" in out
    assert "±" not in out


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("--ratio 0.3 --strategy bernoulli", {"strategy": "bernoulli"}),
        ("--ratio 0.5 --strategy subtree", {"patches": 1}),
        ("--ratio 0.5 --height 1", {"patches": 1}),
    ],
)
def test_theory_of_other_strategies_with_a_closed_form(run, options, expected):
    graph = LatentGraph.quadtree(2)
    if "patches" in expected:
        expected["patches"] = hlvm.masking.Patches.of_subtrees(graph, expected["patches"])
    record = json.loads(run("theory", "grid.json", *options.split(), "--json")[1])
    (profile,) = record["profiles"]
    assert record["n_masks"] == 0
    found = {row["latent"]: row["probability"] for row in profile["membership"]}
    assert found == membership_probability(graph, profile["ratio"], **expected)


@pytest.mark.parametrize(
    ("options", "kwargs"),
    [
        ("--ratio 0.25 0.5 --strategy block", {"ratios": [0.25, 0.5], "strategy": "block"}),
        ("--strategy grid --keep-every 2 1", {"strategy": hlvm.masking.GridMask(keep_every=(2, 1))}),
        ("--ratio 0.5 --regime general", {"ratios": [0.5], "regime": "general"}),
    ],
)
def test_theory_of_masks_that_are_drawn_shows_standard_errors(run, options, kwargs):
    if kwargs.get("strategy") == "block":
        kwargs["strategy"] = hlvm.masking.BlockMask(ratio=0.25)
    expected = level_profile(LatentGraph.quadtree(2), **kwargs, key=jax.random.key(3), n_masks=50)
    arguments = ("theory", "grid.json", *options.split(), "--n-masks", "50", "--seed", "3")
    record = json.loads(run(*arguments, "--json")[1])
    assert record["n_masks"] == 50
    assert [entry["ratio"] for entry in record["profiles"]] == expected.ratios.tolist()
    for row, entry in enumerate(record["profiles"]):
        assert [level["share"] for level in entry["levels"][::-1]] == expected.share[row].tolist()
        errors = [level["standard_error"] for level in entry["levels"][::-1]]
        assert errors == expected.standard_error[row].tolist()
        assert "membership" not in entry
    code, out, err = run(*arguments)
    assert (code, err) == (0, "")
    assert "means ± standard errors over 50 masks" in out
    assert (" ± " in out.split("masks\n")[1]) == bool(expected.standard_error.any())


def test_theory_of_a_large_graph_shows_the_first_rows_and_many_ratios_side_by_side(run):
    ratios = [f"0.{i}" for i in range(1, 7)]
    code, out, _ = run("theory", "large.json", "--ratio", *ratios)
    assert code == 0
    assert out.count("… 301 more rows: --json gives all") == 2
    assert max(map(len, out.splitlines())) <= 80
    record = json.loads(run("theory", "large.json", "--ratio", *ratios, "--json")[1])
    assert [len(profile["membership"]) for profile in record["profiles"]] == [341] * 6


def test_theory_oracle_prints_what_the_oracle_computes(run, tmp_path):
    run("sample", "tree.json", "--n", "1", "--out", "{new}/a.npz", "--mechanism", "linear-gaussian",
        "--save-model", "{new}/linear.npz")  # fmt: skip
    arguments = ("theory", "{new}/linear.npz", "--masked", "x_0", "x_2", "--regime", "general", "--oracle")
    code, out, err = run(*arguments, "--json")
    assert (code, err) == (0, "")
    found, masked = json.loads(out)["oracle"], ["x_0", "x_2"]
    oracle = GaussianOracle(HierarchicalModel.load(tmp_path / "linear.npz"))
    assert found["bayes_loss"] == oracle.bayes_loss(masked).mean
    assert found["bayes_loss_relative"] == oracle.bayes_loss(masked).relative
    assert found["latent_r2"] == oracle.latent_r2(masked)
    assert found["canonical_correlations"] == oracle.canonical_correlations(masked).tolist()
    assert (found["rank"], found["trek_dim"]) == oracle.rank_agreement(masked)[:2]
    out = run(*arguments)[1]
    assert f"│ z2_0   │ {oracle.latent_r2(masked)['z2_0']:.4f} │" in out
    assert f"{oracle.bayes_loss(masked).relative:.4f}" in out


def test_theory_oracle_leaves_out_what_needs_too_large_a_matrix(run, monkeypatch):
    run("sample", "tree.json", "--n", "1", "--out", "{new}/a.npz", "--mechanism", "linear-gaussian",
        "--save-model", "{new}/linear.npz")  # fmt: skip

    def refuse(*_):
        raise ValueError("more than 8192 dims")

    monkeypatch.setattr(GaussianOracle, "canonical_correlations", refuse)
    arguments = ("theory", "{new}/linear.npz", "--masked", "x_0", "--regime", "general", "--oracle")
    code, out, err = run(*arguments)
    assert (code, err) == (0, "")
    assert "left out: more than 8192 dims" in out
    found = json.loads(run(*arguments, "--json")[1])["oracle"]
    assert (found["canonical_correlations"], found["rank"], found["trek_dim"]) == (None, None, 3)


# ---------------------------------------------------------------------- design


def test_design_writes_a_mask_that_theory_reads(run, tmp_path):
    target = ("z5_0_0", "z4_0_0")
    code, out, err = run("design", "large.json", "--target", *target, "--choose", "largest", "--out", "{new}/m.json")
    assert (code, err) == (0, "")
    found = design_mask(LatentGraph.quadtree(5), target, choose="largest")
    assert json.loads((tmp_path / "m.json").read_text()) == list(found.masked)
    words = " ".join(out.replace("│", " ").split())
    assert f"masked {len(found.masked)} of 1024: {found.masked[0]}, " in words
    assert f", … {len(found.masked) - 24} more" in words
    assert max(map(len, out.splitlines())) <= 80
    drawn = [line for line in out.splitlines() if line and set(line) <= set("#.")]
    cells = [name in found.masked for name in LatentGraph.quadtree(5).observed]
    assert "".join(drawn) == "".join("#" if hidden else "." for hidden in cells)
    record = json.loads(run("theory", "large.json", "--mask-file", "{new}/m.json", "--json")[1])
    assert set(record["members"]) == set(target)


def test_design_of_an_impossible_target_gives_the_proof_and_exit_code_1(run, tmp_path):
    found = design_mask(LatentGraph.tree(2, 2), ["z1_0"])
    code, out, err = run("design", "tree.json", "--target", "z1_0", "--out", "{new}/m.json")
    assert (code, err) == (1, "")
    assert out == f"no mask shares exactly the target: {found.reason}\n"
    assert not list(tmp_path.iterdir())
    code, out, _ = run("design", "tree.json", "--target", "z1_0", "--json")
    assert code == 1
    assert json.loads(out) == {
        "target": ["z1_0"],
        "possible": False,
        "reason": found.reason,
        "latent": "z2_0",
        "wanted": [],
        "one_of": ["z2_0"],
    }


def test_design_takes_units_and_subtrees_and_no_latents(run):
    target = ("--target", "z2_0_0", "z1_0_0")
    assert run("design", "grid.json", *target)[0] == 0
    for patches in (("--unit", "2"), ("--height", "1")):
        code, out, _ = run("design", "grid.json", *target, *patches)
        assert code == 1
        assert "'z1_0_0' cannot be had" in out
    assert run("design", "grid.json", "--target")[0] == 1
    code, out, _ = run("design", "apart.json", "--target")
    assert code == 0
    assert "1 of 3: x3" in out


def test_design_random_ranks_strategies(run):
    graph = LatentGraph.quadtree(2)
    arguments = ("design", "grid.json", "--target", "z2_0_0", "z1_0_0", "--random")
    code, out, err = run(*arguments, "--json")
    assert (code, err) == (0, "")
    expected = design_strategy(graph, ["z2_0_0", "z1_0_0"])
    found = json.loads(out)["strategies"]
    assert [match["strategy"] for match in found] == [match.description for match in expected]
    assert [match["probability"] for match in found] == [match.probability for match in expected]
    last = found[-1]
    assert (last["log_probability"], last["impossible"]) == (None, expected[-1].impossible.reason)
    out = run(*arguments, "--top", "2")[1]
    assert "the best of 32 tried" in out
    assert "1 of 16 cells at random" in out
    assert "0.2500" in out
    assert len([line for line in out.splitlines() if " at random " in line]) <= 2


def test_design_random_draws_where_nothing_is_exact(run):
    arguments = ("design", "windows.json", "--random", "--n-masks", "30", "--target", *(f"z{i}" for i in range(19)))
    code, out, _ = run(*arguments)
    assert code == 0
    assert "below 0.095" in out
    record = json.loads(run(*arguments, "--json")[1])
    assert {match["n_masks"] for match in record["strategies"]} == {30}


def test_design_shows_probabilities_that_are_tiny(run):
    out = run("design", "large.json", "--random", "--top", "6", "--target", *LatentGraph.quadtree(5).latents)[1]
    assert "1e-15 " in out
    assert max(map(len, out.splitlines())) <= 80


# ---------------------------------------------------------------------- check


def test_check_prints_every_assumption_and_fails_with_code_1(run):
    code, out, err = run("check", "dims.json")
    assert (code, err) == (1, "")
    assert "FAILS: latents can be revealed (Theorems 1 and 2)" in out
    assert "at 2: x1, x2" in out
    assert "\nfails: dims of invertible functions, latents can be revealed; 6 of 9 cannot be checked" in out
    record = json.loads(run("check", "dims.json", "--json")[1])
    report = check_assumptions(LatentGraph.load("dims.json"))
    assert record["ok"] is False
    assert [finding["message"] for finding in record["findings"]] == [f.message for f in report.findings]
    assert [tuple(finding["nodes"]) for finding in record["findings"]] == [f.nodes for f in report.findings]


def test_check_of_a_model_knows_its_mechanisms_and_the_mask(run):
    for mechanism, expected in (("invertible-mlp", 0), ("linear-gaussian", 1)):
        model = "{new}/" + mechanism + ".npz"
        run("sample", "tree.json", "--n", "1", "--out", model + ".npz", "--mechanism", mechanism, "--save-model", model)
        code, out, _ = run("check", model, "--masked", "x_0", "--json")
        status = {finding["assumption"]: finding["status"] for finding in json.loads(out)["findings"]}
        assert code == expected
        assert status["invertible mechanisms"] == ("fails" if expected else "holds")
        assert status["both sides of the mask are non-empty"] == "holds"
    assert "1 of 4 observed variables are masked" in run("check", "tree.json", "--masked", "x_0")[1]
    code, out, _ = run("check", "tree.json")
    assert code == 0
    assert "nothing is known to fail; 6 of 9" in out


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


def test_theory_of_a_noisy_model_needs_the_general_regime(run):
    assert run("sample", "tree.json", "--n", "1", "--out", "{new}/a.npz", "--mechanism", "linear-gaussian",
               "--save-model", "{new}/noisy.npz")[0] == 0  # fmt: skip
    code, _, err = run("theory", "{new}/noisy.npz", "--masked", "x_0")
    assert code == 2
    assert "not invertible: use --regime general" in err
    assert "designed for invertible" in run("design", "{new}/noisy.npz", "--target", "z2_0")[2]
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
    ("theory tree.json", "--masked with at least one NAME (or --mask-file), or --ratio"),
    ("theory tree.json --masked x_0 --ratio 0.5", "either --masked"),
    ("theory tree.json --masked x_0 --unit 2", "go with --ratio"),
    ("theory tree.json --masked x_0 --strategy block", "go with --ratio"),
    ("theory tree.json --masked x_0 --mask-file mask.json", "not both"),
    ("theory tree.json --mask-file nowhere.json", "nowhere.json: No such file"),
    ("theory tree.json --mask-file broken.json", "broken.json is not a JSON file"),
    ("theory tree.json --mask-file binary.json", "binary.json is not a JSON file"),
    ("theory tree.json --mask-file list.json", "list.json: a mask is a JSON list of names"),
    ("theory tree.json --mask-file tree.json", "tree.json: a mask is a JSON list of names"),
    ("theory tree.json --mask-file nothing.json", "nothing.json names nothing to mask"),
    ("theory tree.json --masked x_0 --oracle", "--oracle needs a saved model (.npz), got tree.json"),
    ("theory tree.json --ratio 0.5 --oracle", "--oracle goes with --masked"),
    ("theory tree.json --ratio 0.5 --strategy block", "this graph has none"),
    ("theory tree.json --ratio 0.5 --seed -1", "--seed must be"),
    ("theory grid.json --ratio 0.5 --strategy block --n-masks 1", "--n-masks must be at least 2"),
    ("theory grid.json --ratio 0.5 --strategy block --height 1", "--height does not go with --strategy block"),
    ("theory grid.json --ratio 0.5 --strategy grid", "a lattice has no ratio"),
    ("theory grid.json --strategy grid", "give --strategy grid --keep-every K"),
    ("theory grid.json --strategy grid --keep-every 1", "keeps every unit"),
    ("theory grid.json --strategy grid --keep-every 9", "is larger than the 4 x 4 grid"),
    ("theory grid.json --keep-every 2", "--keep-every goes with --strategy grid"),
    ("theory grid.json --ratio 0.5 --strategy subtree --unit 2", "--height instead of --unit"),
    ("theory grid.json --ratio 0.5 --strategy subtree --height 7", "height must be a whole number"),
    ("theory grid.json --ratio 0.5 --unit 2 --height 1", "give --unit or --height, not both"),
    ("theory grid.json --ratio 0.5 1.5", "strictly between 0 and 1, got 1.5"),
    ("theory tree.json --ratio 0", "strictly between 0 and 1, got 0.0"),
    ("theory tree.json --ratio 1", "strictly between 0 and 1, got 1.0"),
    ("theory tree.json --ratio nan", "strictly between 0 and 1, got nan"),
    ("theory tree.json --ratio 0.01", "nothing would be masked"),
    ("theory tree.json --ratio 0.5 --unit 2", "need a grid"),
    ("theory grid.json --ratio 0.5 --unit 3", "do not fill the 4 x 4 grid"),
    ("theory grid.json --ratio 0.5 --unit 0", "unit must be"),
    ("theory dims.json --ratio 0.5", "do not allow the invertible regime"),
]
DESIGN = [
    ("design nowhere.json --target z", "nowhere.json: No such file"),
    ("design dims.json --target z", "do not allow the invertible regime"),
    ("design tree.json --target x_0", "'x_0' is an observed variable"),
    ("design tree.json --target nobody", "'nobody' is not a variable"),
    ("design tree.json --target z2_0 --unit 2", "need a grid"),
    ("design tree.json --target z2_0 --height 2", "at least 2 patches"),
    ("design tree.json --target z2_0 --random --n-masks 1", "--n-masks must be at least 2"),
    ("design tree.json --target z2_0 --random --top 0", "--top at least 1, got 1000 and 0"),
    ("design tree.json --target z2_0 --out {new}/mask.txt", "ends in .json"),
    ("design tree.json --target z2_0 --out mask.json", "mask.json exists already"),
    ("design tree.json --target z2_0 --seed -1", "--seed must be"),
]
CHECK = [
    ("check nowhere.json", "nowhere.json: No such file"),
    ("check archive.npz", "archive.npz is not a model file"),
    ("check cycle.json", "the edges contain a cycle"),
    ("check tree.json --masked nobody", "'nobody' is not a variable"),
    ("check tree.json --masked z1_0", "'z1_0' is a latent"),
]
SAMPLE = [
    ("sample nowhere.json --n 5 --out {new}/a.npz", "nowhere.json: No such file"),
    ("sample nowhere.npz --n 5 --out {new}/a.npz", "nowhere.npz: No such file"),
    ("sample broken.json --n 5 --out {new}/a.npz", "not a JSON graph file"),
    ("sample archive.npz --n 5 --out {new}/a.npz", "not a model file"),
    ("sample archive.npz --n 5 --out {new}/a.npz --mechanism linear-gaussian", "leave --mechanism out"),
    ("sample tree.json --n 0 --out {new}/a.npz", "--n must be at least 1, got 0"),
    ("sample tree.json --n 5000000000 --out {new}/a.npz", "take a smaller --n"),
    ("sample tree.json --n 5 --out {new}/a.csv", "ends in .npz or .h5 or .hdf5"),
    ("sample tree.json --n 5 --out archive.npz", "archive.npz exists already"),
    ("sample tree.json --n 5 --out {new}/no/a.npz", "does not exist: make it first"),
    ("sample shapes --n 5 --out {new}/a.npz --levels 2", "--levels goes with grammar, not with shapes"),
    ("sample grammar --n 5 --out {new}/a.npz --objects 1 2", "--objects goes with shapes"),
    ("sample shapes --n 5 --out {new}/a.npz --mechanism coupling", "--mechanism goes with graphs and models"),
    ("sample tree.json --n 5 --out {new}/a.npz --size 8", "--size goes with a family of images"),
    ("sample tree.json --n 5 --out {new}/a.npz --preview {new}/a.png", "--preview goes with a family of images"),
    ("sample circles --n 5 --out {new}/a.npz", "neither a family of images"),
    ("sample quadtree --n 5 --out {new}/a.npz --size 20", "size must be one of 8, 16, 32, 64"),
    ("sample shapes --n 5 --out {new}/a.npz --preview {new}/a.jpg", "ends in .png"),
    ("sample tree.json --n 5 --out {new}/a.npz --chunk-size 0", "--chunk-size must be at least 1"),
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


@pytest.mark.parametrize(("line", "message"), THEORY + DESIGN + CHECK + SAMPLE + SCORE + DEMO)
def test_bad_input_gives_one_line_and_exit_code_2(run, tmp_path, line, message):
    code, out, err = run(*line.split())
    assert (code, out) == (2, "")
    assert message in err
    assert err.startswith("hlvm: ")
    assert err.count("\n") == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "line",
    [
        "",
        "nonsense",
        "demo",
        "theory",
        "design tree.json",
        "check",
        "sample tree.json --n five --out a.npz",
        "score z.npy",
        "score a b c",
    ],
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
    assert "a.npz.partial: go on with --resume, or remove it" in err
    assert not (tmp_path / "a.npz").exists()
    code, _, err = run(*line)
    assert code == 2
    assert "interrupted run: take it up again with resume (--resume)" in err
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
    before = jax.config.values["jax_compilation_cache_dir"]
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR", raising=False)
    monkeypatch.setenv(variable, str(tmp_path))
    try:
        _cli_input.use_compilation_cache()
        chosen = jax.config.values["jax_compilation_cache_dir"]
    finally:
        jax.config.update("jax_compilation_cache_dir", before)
    # JAX has read its own variable when it was imported: the command leaves that alone.
    assert chosen == (before if variable.startswith("JAX") else str(tmp_path / "hlvm" / "jax"))
