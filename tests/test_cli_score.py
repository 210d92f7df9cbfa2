"""``hlvm score`` on every format of file, with a graph, and from ten rows up."""

import json

import h5py
import numpy as np
import pandas as pd
import pytest

from hlvm.cli.arrays import columns_of
from hlvm.datasets.writing import hdf5_name
from hlvm.graph import LatentGraph
from hlvm.theory import shared_information

RNG = np.random.default_rng(0)
TABLE = RNG.normal(size=(60, 2))
TREE = LatentGraph.tree(2, 2)


def written(path, values):
    if path.suffix == ".npy":
        np.save(path, values)
    elif path.suffix == ".npz":
        np.savez(path, z=values, about=np.array("text"))
    elif path.suffix == ".csv":
        pd.DataFrame(values, columns=["a", "b"]).to_csv(path, index=False)
    elif path.suffix == ".parquet":
        pytest.importorskip("pyarrow")
        pd.DataFrame(values, columns=["a", "b"]).to_parquet(path)
    else:
        with h5py.File(path, "w") as file:
            file["deep/z"] = values
            file["about"] = "text"
    return path


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".csv", ".parquet", ".h5", ".hdf5"])
def test_columns_of_reads_every_format(tmp_path, suffix):
    path = written(tmp_path / f"file{suffix}", TABLE)
    np.testing.assert_allclose(columns_of(str(path)).values, TABLE, rtol=1e-15)
    if suffix in (".csv", ".parquet"):
        np.testing.assert_allclose(columns_of(f"{path}::b").values, TABLE[:, 1], rtol=1e-15)
        np.testing.assert_allclose(columns_of(f"{path}::b,a").values, TABLE[:, ::-1], rtol=1e-15)
    if suffix == ".h5":
        np.testing.assert_array_equal(columns_of(f"{path}::deep/z").values, TABLE)


def test_columns_of_csv_without_a_row_of_names(tmp_path):
    path = tmp_path / "plain.csv"
    path.write_text("1,2\n3,4\n5,6.5\n")
    np.testing.assert_array_equal(columns_of(str(path)).values, [[1, 2], [3, 4], [5, 6.5]])


def test_columns_of_csv_with_row_numbers_is_refused_until_columns_are_named(tmp_path):
    path = tmp_path / "index.csv"
    pd.DataFrame(TABLE, columns=["a", "b"]).to_csv(path)
    with pytest.raises(ValueError, match=r"without a name.*index\.csv::a,b"):
        columns_of(str(path))
    np.testing.assert_allclose(columns_of(f"{path}::a,b").values, TABLE, rtol=1e-15)


@pytest.mark.parametrize("name", ["a.npy", "a.npz", "a.csv", "a.parquet", "a.h5"])
def test_columns_of_broken_files_are_refused(tmp_path, name):
    if name == "a.parquet":
        pytest.importorskip("pyarrow")
    (tmp_path / name).write_bytes(b"\x80no such format\xff")
    with pytest.raises(ValueError, match=f"{name} is not a"):
        columns_of(str(tmp_path / name))


def test_columns_of_ambiguous_names_and_text_are_refused(tmp_path):
    np.savez(tmp_path / "two.npz", a=TABLE, b=TABLE)
    with pytest.raises(ValueError, match=r"several arrays: name those to take, as in .*two\.npz::a"):
        columns_of(str(tmp_path / "two.npz"))
    assert columns_of(f"{tmp_path / 'two.npz'}::a,b").values.shape == (60, 4)
    np.savez(tmp_path / "uneven.npz", a=TABLE, b=TABLE[1:])
    with pytest.raises(ValueError, match="equally many rows"):
        columns_of(f"{tmp_path / 'uneven.npz'}::a,b")
    (tmp_path / "text.csv").write_text("a,b\n1,x\n2,y\n")
    with pytest.raises(ValueError, match=r"expected columns of numbers, got b \(line 2 has 'x'\)"):
        columns_of(str(tmp_path / "text.csv"))
    np.savez(tmp_path / "text.npz", a=np.array(["x"]))
    with pytest.raises(ValueError, match="no array of real numbers"):
        columns_of(str(tmp_path / "text.npz"))


def test_score_ten_rows_are_inconclusive(run, tmp_path):
    np.save(tmp_path / "few.npy", TABLE[:10])
    code, out, err = run("score", "{new}/few.npy", "{new}/few.npy")
    assert (code, err) == (0, "")
    assert "\ninconclusive: 4 test rows are too few" in out


def test_score_with_a_graph_tells_every_latent_and_what_was_predicted(run, tmp_path):
    shared = shared_information(TREE, ["x_0"])
    latents = {name: RNG.normal(size=(300, 1)) for name in TREE.latents}
    np.savez(tmp_path / "z.npz", **{f"latents/{name}": values for name, values in latents.items()}, other=TABLE)
    frontier = next(iter(shared.frontier))
    np.save(tmp_path / "code.npy", np.tanh(latents[frontier]))
    files = ("{new}/code.npy", "{new}/z.npz", "--graph", "tree.json")
    code, out, err = run("score", *files, "--masked", "x_0", "--out", "{new}/scores.json")
    assert (code, err) == (0, "")
    assert f"judged below: {frontier}\n" in out
    assert "\nidentified: " in out
    record = json.loads((tmp_path / "scores.json").read_text(encoding="utf-8"))
    assert record["judged"] == [frontier]
    rows = pd.DataFrame(record["latents"]).query("score == 'kernel_r2' and control == 'none'").set_index("latent")
    assert rows["predicted"].to_dict() == {name: float(name in shared.members) for name in TREE.latents}
    assert rows.loc[frontier, "value"] > 0.95
    assert set(pd.DataFrame(record["latents"])["of"]) == {"value"}
    assert "the value of every latent" in out
    code, out, err = run("score", *files)
    assert (code, err) == (0, "")
    assert "outside c" not in out
    assert "\nnot identified: " in out


def test_score_with_a_graph_scores_what_enters_where_the_file_has_it(run, tmp_path):
    """A value holds its ancestors: beside membership it would seem to refute the theory."""
    root, *others = sorted(TREE.latents, key=lambda name: -TREE.heights[TREE.position(name)])
    noise = {name: RNG.normal(size=(300, 1)) for name in TREE.latents}
    values = {name: noise[name] if name == root else noise[root] + 0.3 * noise[name] for name in TREE.latents}
    parts = {"latents": values, "noise": noise}
    np.savez(tmp_path / "z.npz", **{f"{part}/{name}": x for part, of in parts.items() for name, x in of.items()})
    np.save(tmp_path / "code.npy", noise[root])
    code, out, err = run("score", "{new}/code.npy", "{new}/z.npz", "--graph", "tree.json", "--out", "{new}/s.json")
    assert (code, err) == (0, "")
    assert "what enters at every latent" in out
    rows = pd.DataFrame(json.loads((tmp_path / "s.json").read_text(encoding="utf-8"))["latents"])
    found = rows.query("score == 'kernel_r2' and control == 'none'").set_index("latent")
    assert set(found["of"]) == {"noise"}
    assert found.loc[root, "value"] > 0.95
    assert found.loc[others, "value"].max() < 0.1


@pytest.mark.parametrize("suffix", [".npz", ".h5"])
def test_score_finds_latents_of_any_name_in_every_format_and_says_what_it_does_not_score(run, tmp_path, suffix):
    graph = LatentGraph.from_edges([("top", "z.1"), ("top", "x0"), ("z.1", "x1"), ("z.1", "x2"), ("a/b", "x2")], dims=1)
    graph.save(tmp_path / "g.json")
    values = {"top": RNG.normal(size=(300, 1)), "z.1": RNG.normal(size=(300, 1)), "ü": RNG.normal(size=(300, 1))}
    if suffix == ".npz":
        np.savez(tmp_path / "z.npz", **{f"latents/{name}": array for name, array in values.items()})
    else:
        with h5py.File(tmp_path / "z.h5", "w") as file:
            for name, array in values.items():
                file[hdf5_name("latents", name)] = array
    np.save(tmp_path / "code.npy", np.column_stack([values["top"], np.tanh(values["z.1"])]))
    code, out, err = run("score", "{new}/code.npy", "{new}/z" + suffix, "--graph", "{new}/g.json")
    assert (code, err) == (0, "")
    assert "judged below: top, z.1\n" in out
    assert f"z{suffix}: not scored, since it has no a/b\n" in out
    assert f"z{suffix}: not scored, since the graph has no latent ü\n" in out
    assert "\nidentified: " in out


def test_score_says_how_it_read_tables_and_does_as_it_is_told(run, tmp_path):
    pd.DataFrame(np.tanh(TABLE)).to_csv(tmp_path / "code.csv", index=False, sep=";", decimal=",")
    np.save(tmp_path / "z.npy", TABLE)
    code, _, err = run("score", "{new}/code.csv", "{new}/z.npy")
    assert code == 2
    assert "line 1 ('0, 1') may hold names or numbers: give --header yes or no" in err
    code, out, err = run("score", "{new}/code.csv", "{new}/z.npy", "--header", "yes")
    assert (code, err) == (0, "")
    assert "code.csv: 60 rows of 0, 1 (names in line 1; 2 columns, delimiter ';', decimal ',')\n" in out
    told = ("--header", "yes", "--delimiter", "tab")
    assert "may hold names" not in run("score", "{new}/code.csv", "{new}/z.npy", *told)[2]
    code, _, err = run("score", "{new}/z.npy", "{new}/z.npy", "--decimal", ",")
    assert code == 2
    assert "--decimal is for .csv files" in err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("z.npy", "--masked", "x_0"), "--masked needs --graph"),
        (("archive.npz", "--graph", "tree.json"), "has no latent of the graph: it has z"),
        (
            ("{new}/z.npz", "--graph", "tree.json", "--masked", "x_0"),
            "the file has no z1_0, which this mask identifies",
        ),
    ],
)
def test_score_graph_that_does_not_fit_is_refused(run, tmp_path, options, message):
    np.savez(tmp_path / "z.npz", z2_0=RNG.normal(size=300))
    code, _, err = run("score", "z_hat.npy", *options)
    assert code == 2
    assert message in err


def test_score_says_of_copies_in_one_line_and_takes_groups(run, tmp_path):
    scenes = np.repeat(RNG.normal(size=(60, 2)), 5, axis=0)
    np.save(tmp_path / "z.npy", scenes)
    np.save(tmp_path / "code.npy", np.repeat(RNG.normal(size=(60, 2)), 5, axis=0))
    np.save(tmp_path / "scene.npy", np.repeat(np.arange(60), 5))
    code, out, err = run("score", "{new}/code.npy", "{new}/z.npy")
    assert (code, err.count("\n")) == (0, 1)
    assert err.startswith("hlvm: note: 240 of 300 rows are copies of others")
    assert "\nidentified: " not in out
    code, again, err = run("score", "{new}/code.npy", "{new}/z.npy", "--groups", "{new}/scene.npy")
    assert (code, err) == (0, "")
    assert "\nidentified: " not in again
    code, _, err = run("score", "{new}/code.npy", "{new}/z.npy", "--groups", "{new}/z.npy")
    assert code == 2
    assert "groups must be one column, got 2" in err
