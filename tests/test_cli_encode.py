"""``hlvm encode``: what is written is what the package encodes, and ``hlvm score`` reads it."""

import json

import jax
import numpy as np
import pytest

from hlvm import HierarchicalModel, LatentGraph
from hlvm._files import arrays as array_files
from hlvm._files.digests import parsed_json
from hlvm.datasets import load_dataset, write_dataset
from hlvm.mae import LinearConfig, Member, TrainConfig, ViTConfig, encode, fit_ensemble, load_fits, save_fits
from hlvm.masking import FixedMask, RandomMask
from hlvm.mechanisms import LinearGaussian

GRAPH = LatentGraph.quadtree(1)
N = 40


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    path = tmp_path_factory.mktemp("encoding")
    model = HierarchicalModel.init(jax.random.key(0), GRAPH, LinearGaussian())
    model.save(path / "model.npz")
    for suffix in (".h5", ".npz"):
        write_dataset(path / f"samples{suffix}", model, N, key=jax.random.key(1))
    write_dataset(path / "other.npz", HierarchicalModel.init(0, LatentGraph.tree(2, 2), LinearGaussian()), 3, key=0)
    members = [
        Member(mask=RandomMask(ratio=0.5), network=LinearConfig(code_dim=2)),
        Member(mask=FixedMask(masked=("x_0_0",)), network=ViTConfig(width=8, depth=1, heads=2, decoder_width=8)),
    ]
    fits = fit_ensemble(0, model, members, TrainConfig(steps=3, batch=4, warmup=1))
    save_fits(path / "runs" / "fits", fits)
    GRAPH.save(path / "graph.json")
    (path / "mask.json").write_text('["x_0_0", "x_1_1"]')
    bare: dict = {"latents/z1_0_0": np.zeros((3, 2))}
    np.savez(path / "bare.npz", **bare)
    (path / "taken.npz").touch()
    return path


@pytest.fixture
def run(inputs, run, monkeypatch):
    monkeypatch.chdir(inputs)
    return run


def written(path):
    """The arrays, and what is said of them, whose digest is right."""
    with np.load(path) as file:
        return {name: file[name] for name in file.files if name != "about"}, parsed_json(str(file["about"]), "about")


def expected(number, masked, **options):
    with load_dataset("samples.npz") as data:
        return np.asarray(encode(load_fits("runs/fits")[number], data, masked, **options))


@pytest.mark.parametrize(("fits", "data"), [("runs", "samples.npz"), ("runs/fits", "samples.h5")])
def test_encode_writes_what_the_package_encodes(run, tmp_path, fits, data):
    code, out, err = run("encode", fits, data, "--out", "{new}/codes.npz", "--rows-at-once", "16")
    assert (code, err) == (0, "")
    arrays, about = written(tmp_path / "codes.npz")
    assert list(arrays) == ["member_0", "member_1"]
    assert (arrays["member_0"].shape, arrays["member_1"].shape) == ((N, 2), (N, 8))
    for number, codes in enumerate(arrays.values()):
        np.testing.assert_allclose(codes, expected(number, None), atol=1e-5)
    assert (about["data"], about["masked"], about["pooling"]) == (data, [], "mean")
    assert [about["members"][name]["network"]["kind"] for name in arrays] == ["linear", "vit"]
    assert "vit, fixed, seed 0" in out
    assert out.endswith(f"to score one: hlvm score {tmp_path}/codes.npz::member_0 {data} --graph {data}\n")


def test_encode_of_masked_rows_and_some_members(run, tmp_path):
    assert run("encode", "runs", "samples.npz", "--out", "{new}/a.npz", "--masked", "x_0_0", "x_1_1")[0] == 0
    assert run("encode", "runs", "samples.npz", "--out", "{new}/b.npz", "--mask-file", "mask.json")[0] == 0
    some = ("--members", "1", "--pooling", "class", "--masked", "x_0_0")
    assert run("encode", "runs", "samples.npz", "--out", "{new}/c.npz", *some)[0] == 0
    first, again, one = (written(tmp_path / f"{name}.npz")[0] for name in "abc")
    for number, name in enumerate(first):
        np.testing.assert_allclose(first[name], expected(number, ["x_0_0", "x_1_1"]), atol=1e-5)
        np.testing.assert_array_equal(first[name], again[name])
    assert list(one) == ["member_1"]
    np.testing.assert_allclose(one["member_1"], expected(1, ["x_0_0"], pooling="class"), atol=1e-5)


def test_encode_as_trained_draws_masks_of_the_training(run, tmp_path):
    how = ("--as-trained", "--seed", "7", "--pooling", "tokens")
    assert run("encode", "runs", "samples.npz", "--out", "{new}/a.npz", *how)[0] == 0
    arrays, about = written(tmp_path / "a.npz")
    assert about["masked"] == "as trained"
    drawn = np.asarray(RandomMask(ratio=0.5).sample(jax.random.key(7), N, GRAPH))
    assert len(np.unique(drawn, axis=0)) > 1
    np.testing.assert_allclose(arrays["member_0"], expected(0, drawn), atol=1e-5)
    tokens = expected(1, ["x_0_0"], pooling="tokens")
    np.testing.assert_allclose(arrays["member_1"], tokens.reshape(N, -1), atol=1e-5)


def test_score_reads_what_encode_writes(run, tmp_path):
    assert run("encode", "runs", "samples.h5", "--out", "{new}/codes.npz")[0] == 0
    code, _, err = run(
        "score", "{new}/codes.npz::member_0", "samples.h5", "--graph", "samples.h5", "--out", "{new}/scores.json"
    )
    assert (code, err) == (0, "")
    assert json.loads((tmp_path / "scores.json").read_text())["latents"][0]["latent"] == "z1_0_0"


def test_codes_that_are_read_back_otherwise_are_no_file(run, tmp_path, monkeypatch):
    read = array_files._read_npz

    def changed(path):
        found = read(path)
        found.arrays["member_0"] = found.arrays["member_0"] + 1
        return found

    monkeypatch.setattr(array_files, "_read_npz", changed)
    code, _, err = run("encode", "runs", "samples.h5", "--members", "0", "--out", "{new}/a.npz")
    assert code == 2
    assert "other numbers are read back" in err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("runs samples.npz --out taken.npz", "taken.npz exists already"),
        ("runs samples.npz --out {new}/a.h5", "must end in .npz"),
        ("runs model.npz --out {new}/a.npz", "model.npz holds no rows to encode: hlvm sample model.npz --n N"),
        ("runs quadtree --out {new}/a.npz", "quadtree holds no rows to encode"),
        ("runs graph.json --out {new}/a.npz", "graph.json holds no rows to encode"),
        ("runs bare.npz --out {new}/a.npz", "neither images nor values of 'x_0_0'"),
        ("runs other.npz --out {new}/a.npz", "comes from another graph than the one"),
        ("nowhere samples.npz --out {new}/a.npz", "fits.json: No such file"),
        ("runs samples.npz --members 2 --out {new}/a.npz", "--members: expected numbers from 0 to 1, got 2"),
        ("runs samples.npz --as-trained --masked x_0_0 --out {new}/a.npz", "give a mask or --as-trained, not both"),
        ("runs samples.npz --masked z --out {new}/a.npz", "'z' is not a variable"),
        ("runs samples.npz --rows-at-once 0 --out {new}/a.npz", "--rows-at-once must be at least 1, got 0"),
    ],
)
def test_bad_input_is_one_line(inputs, monkeypatch, refused, line, message):
    monkeypatch.chdir(inputs)
    refused(f"encode {line}", message)
