"""``hlvm theory``, ``hlvm design`` and ``hlvm check``: they print what the package finds, in words of the command."""

import json
import re
from typing import get_args

import jax
import numpy as np
import pytest

from hlvm._files.digests import read_json
from hlvm.cli.tables import number, share
from hlvm.cli.theory import check, theory
from hlvm.datasets import load_dataset
from hlvm.graph import LatentGraph
from hlvm.masking import BernoulliMask, BlockMask, GridMask, RandomMask, RatioRange, SubtreeMask
from hlvm.masking.descriptions import STRATEGIES
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
from hlvm.theory.assumptions.objectives import ObjectiveName

PYTHON = re.compile(r"\b[a-z_]+=|\bNone\b|\(\.\.\.\)|\w\.\w+\(|Patches|RandomMask|LatentGraph|LinearGaussian")
"""What nobody who uses the command knows."""

# ---------------------------------------------------------------------- theory


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


@pytest.mark.parametrize("suffix", [".npz", ".h5"])
def test_theory_takes_the_graph_out_of_a_data_set(run, tmp_path, suffix):
    assert run("sample", "tree.json", "--n", "3", "--out", "{new}/d" + suffix)[0] == 0
    assert run("theory", "{new}/d" + suffix, "--masked", "x_0") == run("theory", "tree.json", "--masked", "x_0")
    assert run("check", "{new}/d" + suffix) == run("check", "tree.json")
    np.savez(tmp_path / "bare.npz", **{"latents/z": np.zeros(3)})
    code, _, err = run("theory", "{new}/bare.npz", "--masked", "x_0")
    assert code == 2
    assert "bare.npz holds no graph: give a file that does" in err


def test_theory_and_check_take_families_of_images_and_saved_ones(run, tmp_path):
    for family in ("quadtree", "shapes", "grammar"):
        assert run("sample", family, "--n", "2", "--out", "{new}/" + f"{family}.npz")[0] == 0
        how = ("--ratio", "0.5", "--json", "--regime", "general", "--n-masks", "5")
        by_name = run("theory", family, *how)
        assert by_name[0] == 0
        assert run("theory", "{new}/" + f"{family}.npz", *how) == by_name
    options = ("--size", "8", "--save-model", "{new}/small", "--n", "2", "--out", "{new}/small.h5")
    assert run("sample", "quadtree", *options)[0] == 0
    small = load_dataset(tmp_path / "small.h5")
    small.close()
    for source in ("{new}/small", "{new}/small.h5"):
        out = run("theory", source, "--ratio", "0.5", "--json")[1]
        rows = json.loads(out)["profiles"][0]["membership"]
        assert {row["latent"]: row["probability"] for row in rows} == membership_probability(
            small.graph, RandomMask(ratio=0.5)
        )
    assert "invertible" in run("check", "{new}/small")[1]
    assert run("check", "{new}/small", "--json")[1] != run("check", "{new}/small.h5", "--json")[1]  # mechanisms


def test_theory_takes_names_as_they_are(run):
    code, out, _ = run("theory", "odd.json", "--masked", "x/1", "--regime", "general")
    assert code == 0
    assert "1: [red] z" in out


def test_theory_ratio_prints_what_the_package_computes(run):
    graph = LatentGraph.quadtree(2)
    code, out, err = run("theory", "grid.json", "--ratio", "0.25", "0.5", "--json")
    assert (code, err) == (0, "")
    record = json.loads(out)
    assert (record["strategy"], record["regime"], record["n_masks"]) == ("random", "invertible", 0)
    for ratio, profile in zip((0.25, 0.5), record["profiles"], strict=True):
        assert profile["ratio"] == ratio
        found = {row["latent"]: row["probability"] for row in profile["membership"]}
        assert found == membership_probability(graph, RandomMask(ratio=ratio))
        assert [row["height"] for row in profile["levels"]] == [2, 1]
        assert profile["total_dim"] == level_profile(graph, [RandomMask(ratio=ratio)]).total_dim[0]
    code, out, _ = run("theory", "grid.json", "--ratio", "0.5", "--unit", "2", "4")
    assert code == 0
    assert "2.00 dims in all" in out
    assert "±" not in out


def test_theory_prints_no_share_as_certain_that_is_not(run):
    shown = {}
    for line in run("theory", "large.json", "--ratio", "0.5")[1].splitlines():
        cells = [cell.strip() for cell in line.split("│")]
        if line.startswith("│"):
            shown[cells[1]] = cells[2:]
    assert shown["z5_0_0"][1] == "1.0000"
    assert shown["z2_0_0"][1] == ">.9999"  # above 16 cells: 1 - 2**-15, about
    assert [shown[height][1] for height in "12"] == ["0.876", ">.999"]
    assert [shown[height][2] for height in "15"] == ["0.876", "<.001"]


@pytest.mark.parametrize(
    ("options", "strategies"),
    [
        ("--ratio 0.3 --strategy bernoulli", [BernoulliMask(ratio=0.3)]),
        ("--ratio 0.5 --strategy subtree", [SubtreeMask(height=1, ratio=0.5)]),
        ("--ratio 0.5 --height 1", [SubtreeMask(height=1, ratio=0.5)]),
        ("--strategy ratio_range --low 0.25 --high 0.5 --unit 1 2", [RatioRange(low=0.25, high=0.5, unit=(1, 2))]),
        ("--ratio 0.25 0.5 --strategy block", [BlockMask(ratio=0.25), BlockMask(ratio=0.5)]),
        ("--strategy grid --keep-every 2 1", [GridMask(keep_every=(2, 1))]),
    ],
)
def test_theory_of_every_strategy_is_exact(run, options, strategies):
    graph = LatentGraph.quadtree(2)
    record = json.loads(run("theory", "grid.json", *options.split(), "--json")[1])
    expected = level_profile(graph, strategies)
    assert record["n_masks"] == 0
    for row, (entry, strategy) in enumerate(zip(record["profiles"], strategies, strict=True)):
        found = {at["latent"]: at["probability"] for at in entry["membership"]}
        assert found == membership_probability(graph, strategy)
        assert entry["ratio"] == getattr(strategy, "ratio", expected.masked_share[row])
        assert [level["share"] for level in entry["levels"][::-1]] == expected.share[row].tolist()


def test_theory_of_masks_that_are_drawn_shows_standard_errors(run):
    strategies = [RandomMask(ratio=0.5)]
    expected = level_profile(LatentGraph.quadtree(2), strategies, regime="general", key=jax.random.key(3), n_masks=50)
    arguments = ("theory", "grid.json", "--ratio", "0.5", "--regime", "general", "--n-masks", "50", "--seed", "3")
    record = json.loads(run(*arguments, "--json")[1])
    assert record["n_masks"] == 50
    (entry,) = record["profiles"]
    assert [level["share"] for level in entry["levels"][::-1]] == expected.share[0].tolist()
    assert [level["standard_error"] for level in entry["levels"][::-1]] == expected.standard_error[0].tolist()
    assert "membership" not in entry
    code, out, err = run(*arguments)
    assert (code, err) == (0, "")
    assert "means ± standard errors over 50 masks" in out
    assert " ± " in out.split("masks\n")[1]


def test_theory_offers_the_strategies_of_the_table_of_names(run):
    """All whose fields are options; the help, which is written by hand, names the same."""
    code, _, err = run("theory", "grid.json", "--strategy", "uniform", "--ratio", "0.5")
    offered = set(STRATEGIES) - {"fixed", "list"}
    assert code == 2
    assert (
        f"--strategy must be one of {', '.join(name for name in STRATEGIES if name in offered)}, got 'uniform'" in err
    )
    text = " ".join(theory.__doc__.split())
    assert all(f"{name} (" in text for name in offered)


def test_theory_of_a_large_graph_shows_the_first_rows_and_many_ratios_side_by_side(run):
    ratios = [f"0.{i}" for i in range(1, 7)]
    code, out, _ = run("theory", "large.json", "--ratio", *ratios)
    assert code == 0
    assert out.count("… 301 more rows: --json gives all") == 2
    assert max(map(len, out.splitlines())) <= 80
    record = json.loads(run("theory", "large.json", "--ratio", *ratios, "--json")[1])
    assert [len(profile["membership"]) for profile in record["profiles"]] == [341] * 6


def test_theory_oracle_prints_what_the_oracle_computes(run, tmp_path, monkeypatch):
    asked, correlations = [], GaussianOracle.canonical_correlations
    monkeypatch.setattr(
        GaussianOracle, "canonical_correlations", lambda *a, **k: asked.append(a) or correlations(*a, **k)
    )
    run("sample", "tree.json", "--n", "1", "--out", "{new}/a.npz", "--mechanism", "linear-gaussian",
        "--save-model", "{new}/linear.npz")  # fmt: skip
    arguments = ("theory", "{new}/linear.npz", "--masked", "x_0", "x_2", "--regime", "general", "--oracle")
    code, out, err = run(*arguments, "--json")
    assert (code, err) == (0, "")
    found, masked = json.loads(out)["oracle"], ["x_0", "x_2"]
    oracle = GaussianOracle(HierarchicalModel.load(tmp_path / "linear.npz"))
    assert len(asked) == 1
    assert found["bayes_loss"] == oracle.bayes_loss(masked).mean
    assert found["bayes_loss_relative"] == oracle.bayes_loss(masked).relative
    assert found["latent_r2"] == oracle.latent_r2(masked)
    assert found["canonical_correlations"] == oracle.canonical_correlations(masked).tolist()
    assert found["rank"] == oracle.cross_covariance_rank(masked)
    assert found["trek_dim"] == oracle.trek_separating_set(masked).dim
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


# ---------------------------------------------------------------------- design


def test_design_writes_a_mask_that_theory_reads(run, tmp_path):
    target = ("z5_0_0", "z4_0_0")
    code, out, err = run("design", "large.json", "--target", *target, "--choose", "largest", "--out", "{new}/m.json")
    assert (code, err) == (0, "")
    found = design_mask(LatentGraph.quadtree(5), target, choose="largest")
    assert read_json(tmp_path / "m.json") == {"masked": list(found.masked)}
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
    assert "each of 16 cells" in run(*arguments, "--top", "20")[1]


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
    messages = [finding["message"] for finding in record["findings"]]
    assert messages == [finding.message for finding in report.findings]
    assert not any(map(PYTHON.search, messages))
    assert "or assume the general regime" in messages[1]
    assert [tuple(finding["nodes"]) for finding in record["findings"]] == [f.nodes for f in report.findings]


def test_check_of_a_model_knows_its_mechanisms_and_the_mask(run):
    for mechanism, expected in (("linear-gaussian", 1), ("invertible-mlp", 0)):
        model = "{new}/" + mechanism + ".npz"
        run("sample", "tree.json", "--n", "1", "--out", model + ".npz", "--mechanism", mechanism, "--save-model", model)
        code, out, _ = run("check", model, "--masked", "x_0", "--json")
        assert not PYTHON.search(out)
        status = {finding["assumption"]: finding["status"] for finding in json.loads(out)["findings"]}
        assert code == expected
        assert status["invertible mechanisms"] == ("fails" if expected else "holds")
        assert status["both sides of the mask are non-empty"] == "holds"
    code, _, err = run("theory", "{new}/invertible-mlp.npz", "--masked", "x_0", "--oracle")
    assert code == 2
    assert "has the mechanism InvertibleMLP: closed forms need linear-Gaussian mechanisms everywhere" in err
    assert err.startswith("hlvm: --oracle: variable")
    assert not PYTHON.search(err)
    assert "1 of 4 observed variables are masked" in run("check", "tree.json", "--masked", "x_0")[1]
    code, out, _ = run("check", "tree.json")
    assert code == 0
    assert "nothing is known to fail; 6 of 9" in out
    assert not PYTHON.search(out)


@pytest.mark.parametrize("objective", get_args(ObjectiveName))
def test_check_says_what_an_objective_can_identify(run, objective):
    code, out, err = run("check", "tree.json", "--objective", objective, "--json")
    report = check_assumptions(LatentGraph.load("tree.json"), objective=objective)
    assert (code, err) == (0 if report.ok else 1, "")
    record = json.loads(out)
    assert [finding["message"] for finding in record["findings"]] == [finding.message for finding in report.findings]
    assert not PYTHON.search(out)
    assert re.search(rf"[ (]{objective}[ ,.]", " ".join(str(check.__doc__).split()))  # which --help prints


# ---------------------------------------------------------------------- bad input

THEORY = [
    ("theory nowhere.json --masked x_0", "nowhere.json: No such file"),
    ("theory full --masked x_0", "full is a folder that holds no image model"),
    ("theory circles --masked x_0", "'circles' is neither a family of images (quadtree, shapes, grammar) nor the name"),
    ("theory quadtree --masked x_0_0 --oracle", "--oracle: "),
    ("theory shapes --masked x_0_0 --oracle", "--oracle needs a saved model (.npz), got shapes"),
    ("theory broken.json --masked x_0", "broken.json is not a JSON graph file"),
    ("theory binary.json --masked x_0", "binary.json is not a JSON graph file"),
    ("theory list.json --masked x_0", "list.json: a graph description is a JSON object, got list"),
    ("theory cycle.json --masked x", "cycle.json: the edges contain a cycle"),
    ("theory archive.npz --masked x_0", "archive.npz is neither a data set nor a saved model"),
    ("theory tree.json --masked nobody", "'nobody' is not a variable of this graph"),
    ("theory tree.json --masked z1_0", "'z1_0' is a latent"),
    ("theory tree.json --masked x_0 x_1 x_2 x_3", "everything is masked"),
    ("theory tree.json --masked", "--masked names nothing to mask: give at least one NAME"),
    ("theory tree.json", "--masked with at least one NAME (or --mask-file), or --ratio"),
    ("theory tree.json --masked --ratio 0.5", "--masked names nothing"),
    ("theory tree.json --masked x_0 --ratio 0.5", "either --masked (or --mask-file), for one mask, or --ratio"),
    ("theory tree.json --masked x_0 --unit 2", "or --unit, for random masks"),
    ("theory tree.json --masked x_0 --strategy block", "or --strategy, for random masks"),
    ("theory tree.json --masked x_0 --mask-file mask.json", "not both"),
    ("theory tree.json --mask-file nowhere.json", "nowhere.json: No such file"),
    ("theory tree.json --mask-file broken.json", "broken.json is damaged, or not a JSON file"),
    ("theory tree.json --mask-file binary.json", "binary.json is damaged, or not a JSON file"),
    ("theory tree.json --mask-file list.json", "list.json: a mask is a JSON list of names"),
    ("theory tree.json --mask-file tree.json", "tree.json: a mask is a JSON list of names"),
    ("theory tree.json --mask-file nothing.json", "nothing.json names nothing to mask"),
    ("theory tree.json --masked x_0 --oracle", "--oracle needs a saved model (.npz), got tree.json"),
    ("theory tree.json --ratio 0.5 --oracle", "--oracle goes with --masked"),
    ("theory tree.json --ratio 0.5 --strategy block", "use --strategy random, bernoulli or subtree"),
    ("theory tree.json --ratio 0.5 --seed -1", "--seed must be"),
    ("theory grid.json --ratio 0.5 --strategy block --n-masks 1", "--n-masks must be at least 2"),
    ("theory grid.json --ratio 0.5 --strategy block --n-masks 1000001", "--n-masks can be at most 1000000"),
    ("theory deep.json --ratio 0.5 --regime general --n-masks 900000", "--n-masks can be at most 714285"),
    ("theory grid.json --ratio 0.5 --strategy block --height 1", "--height does not go with --strategy block"),
    (
        "theory grid.json --ratio 0.5 --strategy grid",
        "--ratio does not go with --strategy grid, which takes --keep-every, --unit",
    ),
    ("theory grid.json --strategy grid", "--strategy grid needs --keep-every"),
    (
        "theory grid.json --strategy ratio_range --low 0.8 --high 0.2",
        "hlvm: --low must not be above the highest ratio, 0.2, got 0.8",
    ),
    ("theory grid.json --strategy grid --keep-every 1", "--keep-every must be at least 2 in one direction, got 1"),
    ("theory grid.json --strategy grid --keep-every 9", "--keep-every must not be larger than the 4 x 4 grid"),
    ("theory grid.json --strategy grid --keep-every 9 1", "nothing visible, got (9, 1): use a smaller step"),
    (
        "theory grid.json --strategy grid --keep-every 0 1",
        "--keep-every must be a whole number of at least 1, or two of them (rows, columns), got (0, 1)",
    ),
    (
        "theory grid.json --keep-every 2",
        "--keep-every does not go with --strategy random, which takes --ratio, --unit, --height",
    ),
    (
        "theory grid.json --ratio 0.5 --strategy subtree --unit 2",
        "--unit does not go with --strategy subtree, which takes --height",
    ),
    ("theory grid.json --strategy block", "--strategy block needs --ratio"),
    ("theory grid.json --ratio 0.5 --strategy list", "--strategy must be one of random, ratio_range, bernoulli"),
    ("theory grid.json --ratio 0.5 --strategy subtree --height 7", "height must be a whole number"),
    ("theory grid.json --ratio 0.5 --unit 2 --height 1", "give --unit or --height, not both"),
    ("theory grid.json --ratio 0.5 1.5", "strictly between 0 and 1, got 1.5"),
    ("theory tree.json --ratio 0", "strictly between 0 and 1, got 0.0"),
    ("theory tree.json --ratio 1", "strictly between 0 and 1, got 1.0"),
    ("theory tree.json --ratio nan", "strictly between 0 and 1, got nan"),
    ("theory tree.json --ratio 0.01", "nothing would be masked"),
    ("theory tree.json --ratio 0.5 --unit 2", "or give --height instead of --unit"),
    ("theory grid.json --ratio 0.5 --unit 3", "do not fill the 4 x 4 grid"),
    (
        "theory grid.json --ratio 0.5 --unit 0",
        "--unit must be a whole number of at least 1, or two of them (rows, columns), got 0",
    ),
    ("theory dims.json --ratio 0.5", "use hlvm theory --regime general, or leave dims out of the graph's file"),
    ("theory windows.json --ratio 0.5 --height 1", "overlap: choose another --height"),
]
DESIGN = [
    ("design nowhere.json --target z", "nowhere.json: No such file"),
    ("design dims.json --target z", "do not allow the invertible regime"),
    ("design tree.json --target z2_0 --random --n-masks 1000000000", "--n-masks can be at most 1000000"),
    ("design tree.json --target x_0", "'x_0' is an observed variable"),
    ("design tree.json --target nobody", "'nobody' is not a variable"),
    ("design tree.json --target z2_0 --unit 2", "need a grid"),
    ("design tree.json --target z2_0 --height 2", "at least 2 patches"),
    ("design tree.json --target z2_0 --random --n-masks 1", "--n-masks must be at least 2"),
    ("design tree.json --target z2_0 --random --top 0", "--top must be at least 1, got 0"),
    ("design tree.json --target z2_0 --out {new}/mask.txt", "must end in .json"),
    ("design tree.json --target z2_0 --out mask.json", "mask.json exists already"),
    ("design tree.json --target z2_0 --seed -1", "--seed must be"),
]
CHECK = [
    ("check nowhere.json", "nowhere.json: No such file"),
    ("check archive.npz", "archive.npz is neither a data set nor a saved model"),
    ("check cycle.json", "the edges contain a cycle"),
    ("check tree.json --masked", "--masked names nothing to mask: give at least one NAME"),
    ("check tree.json --masked nobody", "'nobody' is not a variable"),
    ("check tree.json --masked z1_0", "'z1_0' is a latent"),
    ("check tree.json --objective hinge", "--objective must be one of reconstruction, energy, cross_entropy"),
    ("check tree.json --objective", "Missing value for argument '--objective'"),
]


@pytest.mark.parametrize(("line", "message"), THEORY + DESIGN + CHECK)
def test_bad_input_gives_one_line_in_words_of_the_command(refused, line, message):
    err = refused(line, message)
    assert not PYTHON.search(err)


def test_design_that_takes_too_long_names_options(run, monkeypatch):
    def give_up(*_, **__):
        raise TimeoutError

    monkeypatch.setattr("hlvm.theory.design.mask_design._Puzzle.solve", give_up)
    code, out, err = run("design", "windows.json", "--target", "z0")
    assert (code, out) == (2, "")
    assert "try --choose any, a larger --unit or --height, or fewer latents after --target" in err
    assert not PYTHON.search(err)


# ---------------------------------------------------------------------- numbers


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (1.0, "1.000"),
        (1 - 1e-15, "1.000"),  # what rounding leaves of a mean of ones
        (1 - 1e-9, ">.999"),
        (0.9995, ">.999"),
        (0.9994, "0.999"),
        (0.0005, "0.001"),
        (0.0004, "<.001"),
        (1e-30, "<.001"),
        (0.0, "0.000"),
        (-0.0004, ">-.001"),
        (-0.2, "-0.200"),
        (float("nan"), "–"),
    ],
)
def test_only_one_is_written_as_one_and_only_zero_as_zero(value, written):
    assert share(value) == written


def test_numbers_with_errors():
    assert share(0.99999, error=0.00001) == ">.999 ± <.001"
    assert share(0.5, 2, error=0.123) == "0.50 ± 0.12"
    assert number(0.99999) == "1.000"  # a count, which may be above 1
    assert number(0.001, 2) == "<.01"
