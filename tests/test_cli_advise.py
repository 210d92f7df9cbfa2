"""``hlvm advise`` prints, draws and writes what :func:`hlvm.theory.advise` finds, in words of the command."""

import json

import jax
import numpy as np
import pytest

from hlvm._files.digests import read_json
from hlvm.graph import LatentGraph
from hlvm.masking import RandomMask
from hlvm.masking.descriptions import mask_from_dict
from hlvm.mechanisms import InvertibleMLP, LinearGaussian, production_rules
from hlvm.simulator import HierarchicalModel
from hlvm.theory import advise, estimated_oracle


def test_advise_prints_what_the_package_finds(run):
    code, out, err = run("advise", "model.npz", "--height", "2", "--n-masks", "8", "--json")
    assert (code, err) == (0, "")
    record = json.loads(out)
    model = HierarchicalModel.load("model.npz")
    found = advise(model, 2, key=jax.random.key(0), n_masks=8)
    assert (record["target"], record["height"], record["no_design"]) == (["z2_0"], 2, "")
    assert record["best"] == next(iter(found.strategies))
    assert record["explanation"] == found.explain()
    assert [row["strategy"] for row in record["candidates"]] == list(found.strategies)
    for row, strategy in zip(record["candidates"], found.strategies.values(), strict=True):
        expected = found.table.set_index("strategy").loc[row["strategy"]]
        assert {name: row[name] for name in expected.index} == pytest.approx(dict(expected), nan_ok=True)
        assert mask_from_dict(row["mask"]) == strategy
    code, out, err = run("advise", "model.npz", "--height", "2", "--n-masks", "8", "--top", "3")
    assert (code, err) == (0, "")
    assert out.startswith("4 cells, up to 8 masks for each candidate\n")
    assert f"masks for height 2: the 3 of {len(found.table)} that ask most" in out
    assert "best" in out
    assert out.endswith(f"{found.explain()}\n")


def test_advise_tries_the_ratios_and_units_that_are_given(run, tmp_path):
    HierarchicalModel.init(0, LatentGraph.quadtree(2), LinearGaussian()).save(tmp_path / "grid.npz")

    def tried(*options):
        out = run("advise", "{new}/grid.npz", "--latent", "z1_0_0", "--n-masks", "4", "--json", *options)[1]
        return {mask_from_dict(row["mask"]) for row in json.loads(out)["candidates"]}

    several = ("--ratio", "0.5", "0.25", "0.5", "--unit", "1", "2")
    assert tried(*several) == {RandomMask(ratio=r, unit=u) for r in (0.25, 0.5) for u in (1, 2)}
    assert tried("--ratio", "0.5") == {RandomMask(ratio=0.5)}
    assert tried("--unit", "2") == {RandomMask(ratio=r, unit=2) for r in (0.25, 0.5, 0.75)}


def test_advise_takes_production_rules_and_leaves_out_no_undefined_number(run, tmp_path):
    graph = LatentGraph.from_edges(LatentGraph.tree(2, 2).edges, dims=1)
    mechanisms, noises = production_rules(graph, vocabulary=2, synonyms=1)
    model = HierarchicalModel.init(jax.random.key(0), graph, mechanisms, noise=noises)
    model.save(tmp_path / "rules.npz")
    options = ("advise", "{new}/rules.npz", "--height", "1", "--ratio", "0.5", "--n-masks", "6")
    code, out, err = run(*options, "--json")
    assert (code, err) == (0, "")
    row = json.loads(out)["candidates"][0]
    assert row["noise_availability"] is None  # without synonyms nothing enters below the root
    assert row["how"] == "exact"
    assert "–" in run(*options)[1]


def test_advise_writes_and_draws(run, tmp_path):
    options = ("advise", "model.npz", "--height", "1", "--n-masks", "4", "--json")
    code, out, err = run(*options, "--out", "{new}/advice.json", "--plot", "{new}/advice.svg")
    assert (code, err) == (0, "")
    assert read_json(tmp_path / "advice.json") == json.loads(out)
    assert (
        "masks for height 1" in (tmp_path / "advice.svg").read_text(encoding="utf-8")
        or (tmp_path / "advice.svg").stat().st_size
    )
    assert out == run(*options)[1]
    assert out != run(*options, "--seed", "1", "--n-masks", "3")[1]


def test_advise_takes_the_graph_that_it_tells_to_sample(run, tmp_path):
    line = run("advise", "tree.json", "--height", "1")[2].split("such as hlvm ")[1].split(" writes it")[0]
    options = [word if word not in ("one.npz", "model.npz") else "{new}/" + word for word in line.split()]
    assert run(*options)[0] == 0
    assert run("advise", "{new}/model.npz", "--height", "1", "--n-masks", "4")[0] == 0


def test_advise_estimates_where_nothing_is_exact(run, tmp_path):
    model = HierarchicalModel.init(0, LatentGraph.tree(2, 2), InvertibleMLP())
    model.save(tmp_path / "curved.npz")
    options = ("advise", "{new}/curved.npz", "--height", "2", "--ratio", "0.25", "0.5", "--n-masks", "4")
    code, out, err = run(*options)
    assert (code, out) == (2, "")
    assert "curved.npz has no exact oracle" in err
    assert "add --estimate ROWS for estimates from so many draws" in err
    code, out, err = run(*options, "--estimate", "60", "--seed", "3", "--json")
    assert (code, err) == (0, "")
    record = json.loads(out)
    assert record["estimated_from_rows"] == 60
    assert record["explanation"].endswith("All numbers are estimated.")
    key = jax.random.key(3)
    oracle = estimated_oracle(model, rows=60, key=jax.random.split(key)[1])
    found = advise(oracle, 2, [RandomMask(ratio=r) for r in (0.25, 0.5)], key=key, n_masks=4)
    for row, expected in zip(record["candidates"], found.table.to_dict("records"), strict=True):
        assert row["how"] == "estimated"
        for name in ("demand", "demand_error", "availability", "availability_error"):
            assert row[name] == pytest.approx(expected[name])
    out = run(*options, "--estimate", "60")[1]
    assert out.startswith("4 cells, up to 4 masks for each candidate; estimated by regression on 60 draws of ")
    assert out.endswith("All numbers are estimated.\n")


def test_advise_estimates_for_exact_models_only_if_asked(run):
    options = ("advise", "model.npz", "--height", "2", "--ratio", "0.25", "--n-masks", "4", "--json")
    exact, estimated = (json.loads(run(*options, *more)[1]) for more in ((), ("--estimate", "2000")))
    assert (exact["estimated_from_rows"], estimated["estimated_from_rows"]) == (None, 2000)
    (one,), (other,) = exact["candidates"], estimated["candidates"]
    assert (one["how"], other["how"]) == ("exact", "estimated")
    assert other["availability_error"] > 0
    assert other["availability"] == pytest.approx(one["availability"], abs=5 * other["availability_error"])


@pytest.mark.slow
@pytest.mark.parametrize("family", ["quadtree", "shapes"])
def test_advise_estimates_for_families_of_images(run, family):
    options = ("advise", family, "--height", "1", "--ratio", "0.5", "--n-masks", "2", "--estimate", "100", "--json")
    code, out, err = run(*options)
    assert (code, err) == (0, "")
    assert [row["how"] for row in json.loads(out)["candidates"]] == ["estimated"]


@pytest.mark.slow
def test_advise_takes_the_grammar_family(run):
    code, out, err = run("advise", "grammar", "--height", "3", "--ratio", "0.25", "0.75", "--n-masks", "64", "--json")
    assert (code, err) == (0, "")
    record = json.loads(out)
    assert record["target"] == ["z3_0_0"]
    assert all(row["how"] == "estimated" and row["demand_error"] > 0 for row in record["candidates"])


BAD = [
    ("advise model.npz", "give a target for the masks: either --height H or --latent NAME ..."),
    ("advise model.npz --height 1 --latent z2_0", "give a target for the masks: either --height H or --latent"),
    ("advise model.npz --latent", "--latent names nothing to ask for: give at least one NAME"),
    ("advise model.npz --height 3", "--height must be a height of latents, one of 1, 2, got 3"),
    ("advise model.npz --latent q", "'q'"),
    ("advise model.npz --latent x_0", "'x_0' is an observed variable"),
    ("advise model.npz --height 1 --ratio 1.5", "ratio"),
    ("advise model.npz --height 1 --unit 2", "grid"),
    ("advise model.npz --height 1 --n-masks 1", "--n-masks must be at least 2"),
    ("advise model.npz --height 1 --top 0", "--top must be at least 1, got 0"),
    ("advise model.npz --height 1 --seed -1", "--seed must be a whole number"),
    ("advise model.npz --height 1 --plot {new}/a.txt", "must end in .png or .pdf or .svg, got"),
    ("advise model.npz --height 1 --plot mask.json", "must end in .png or .pdf or .svg, got mask.json"),
    ("advise model.npz --height 1 --plot {new}/no/a.png", "does not exist: make it first"),
    ("advise model.npz --height 1 --out {new}/a.npz", "must end in .json, got"),
    ("advise model.npz --height 1 --out mask.json", "mask.json exists already"),
    ("advise tree.json --height 1", "tree.json is a graph, which says what is shared but not how much: give a model"),
    ("advise quadtree --height 1", "quadtree has no exact oracle, which needs linear-Gaussian mechanisms everywhere"),
    ("advise shapes --height 1", "shapes has no exact oracle"),
    ("advise shapes --height 1", "add --estimate ROWS for estimates from so many draws"),
    ("advise shapes --height 1 --estimate 49", "--estimate must be at least 50 rows, got 49"),
    ("advise tree.json --height 1 --estimate 100", "tree.json is a graph, which says what is shared"),
    ("advise missing.npz --height 1", "missing.npz"),
    ("advise model.npz --height one", "--height: expected H, got 'one'"),
]


@pytest.mark.parametrize(("line", "message"), BAD)
def test_advise_bad_input_gives_one_line_and_exit_code_2(refused, line, message):
    err = refused(line, message)
    assert "hlvm.theory" not in err
    assert "strategies[" not in err


def test_advise_refuses_data_and_names_where_variables_have_several_parents(run, tmp_path):
    assert run("sample", "tree.json", "--n", "3", "--out", "{new}/data.npz")[0] == 0
    code, out, err = run("advise", "{new}/data.npz", "--height", "1")
    assert (code, out) == (2, "")
    assert "data.npz is a data set: give the model behind it" in err
    graph = LatentGraph.from_edges([(z, x) for z in "ab" for x in ("x1", "x2", "x3")], dims=1)
    HierarchicalModel.init(0, graph, LinearGaussian()).save(tmp_path / "both.npz")
    code, _, err = run("advise", "{new}/both.npz", "--latent", "a", "--ratio", "0.5")
    assert code == 2
    assert err.endswith("defined on forests only: give --height instead\n")
    out = run("advise", "{new}/both.npz", "--height", "1", "--ratio", "0.5", "--json")[1]
    assert np.isfinite(json.loads(out)["candidates"][0]["demand"])
