"""Model files: what is written comes back, and nothing else is read."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from plain_simulator import DIAMOND, KEY_DATA, KEY_MODEL, MIXED, NOISES

from hlvm.graph import LatentGraph
from hlvm.mechanisms import InvertibleMLP, Mechanism, mechanism_from_function
from hlvm.simulator import HierarchicalModel


@pytest.fixture(scope="module")
def mixed():
    return HierarchicalModel.init(KEY_MODEL, DIAMOND, MIXED)


@pytest.fixture(scope="module")
def noisy():
    return HierarchicalModel.init(KEY_MODEL, DIAMOND, MIXED, noise=NOISES)


def test_save_and_load_give_back_the_same_model(mixed, tmp_path):
    mixed.save(tmp_path / "model.npz")
    loaded = HierarchicalModel.load(tmp_path / "model.npz")
    assert loaded.graph == mixed.graph
    assert loaded.layout == mixed.layout
    for own, other in zip(jax.tree.leaves(mixed), jax.tree.leaves(loaded), strict=True):
        np.testing.assert_array_equal(own, other)
        assert own.dtype == other.dtype
    np.testing.assert_array_equal(mixed.sample(KEY_DATA, 5).values, loaded.sample(KEY_DATA, 5).values)
    assert [path.name for path in tmp_path.iterdir()] == ["model.npz"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Doubling(Mechanism):
    """Twice the sum of the parents; a mechanism from outside the package."""

    invertible = False
    factor: float = 2.0

    def noise_size(self, parent_dim, noise_dim, dim):
        return dim

    def init(self, key, parent_dim, noise_size, dim):
        return {"factor": jnp.full((), self.factor)}

    def apply(self, params, parents, noise):
        return params["factor"] * parents.sum() + 0 * noise


def test_own_mechanisms_work_and_are_loaded_by_name(tmp_path):
    graph = LatentGraph.from_edges([("z", "x")], dims=2)
    model = HierarchicalModel.init(KEY_MODEL, graph, Doubling(factor=3.0), standardize=False)
    drawn = model.sample(KEY_DATA, 5)
    np.testing.assert_allclose(drawn.observed["x"][:, 0], 3 * drawn.latents["z"].sum(axis=1), rtol=1e-5)
    model.save(tmp_path / "model.npz")
    with pytest.raises(ValueError, match="unknown mechanism 'Doubling'"):
        HierarchicalModel.load(tmp_path / "model.npz")
    loaded = HierarchicalModel.load(tmp_path / "model.npz", known={"Doubling": Doubling})
    np.testing.assert_array_equal(loaded.sample(KEY_DATA, 5).values, drawn.values)


@pytest.mark.slow
def test_save_and_load_keep_noises_changes_and_the_key(noisy, tmp_path):
    changed = noisy.intervene({"m": np.ones((4, 4))}).conditional_shift({"x": (1.0, 2.0)})
    changed.save(tmp_path / "model.npz")
    loaded = HierarchicalModel.load(tmp_path / "model.npz")
    assert loaded.layout == changed.layout
    assert loaded.layout.noises == changed.layout.noises
    assert loaded.key == KEY_MODEL
    assert loaded.standardized
    assert loaded.interventions == ("m",)
    np.testing.assert_array_equal(loaded.sample(KEY_DATA, 4).values, changed.sample(KEY_DATA, 4).values)


def test_load_finds_mechanisms_from_functions_by_name(tmp_path):
    graph = LatentGraph.from_edges([("z", "x"), ("z", "y")], dims=1)
    named, unnamed = (mechanism_from_function(lambda parents, noise: parents - noise, name=n) for n in ("minus", None))
    model = HierarchicalModel.init(KEY_MODEL, graph, named)
    model.save(tmp_path / "model.npz")
    with pytest.raises(ValueError, match="uses the function 'minus': pass the mechanism made from it as known="):
        HierarchicalModel.load(tmp_path / "model.npz")
    loaded = HierarchicalModel.load(tmp_path / "model.npz", known={"minus": named})
    np.testing.assert_array_equal(loaded.sample(KEY_DATA, 5).values, model.sample(KEY_DATA, 5).values)
    with pytest.raises(ValueError, match="a mechanism from a function cannot be written to a file: give it a name"):
        HierarchicalModel.init(KEY_MODEL, graph, unnamed).save(tmp_path / "unnamed.npz")
    with pytest.raises(ValueError, match="'x' was set by a function, which cannot be written to a file"):
        model.intervene({"x": lambda parents, noise: noise}).save(tmp_path / "function.npz")


def test_load_reads_files_of_the_first_format(mixed, tmp_path):
    """Which knew Gaussian noises only, no changes and no key."""
    mixed.save(tmp_path / "model.npz")
    with np.load(tmp_path / "model.npz") as file:
        arrays = dict(file)
    header = json.loads(str(arrays.pop("header"))) | {"version": 1}
    for name in ("noises", "noise_of", "standardized", "key_impl", "arrays", "digest"):
        del header[name]
    for mechanism in filter(None, header["mechanisms"]):
        for field in ("activation", "weights", "condition"):
            mechanism.pop(field, None)
    del arrays["key_data"]
    np.savez(tmp_path / "old.npz", header=np.array(json.dumps(header)), **arrays)
    loaded = HierarchicalModel.load(tmp_path / "old.npz")
    assert loaded.key is None
    assert loaded.standardized
    assert loaded.layout == mixed.layout
    np.testing.assert_array_equal(loaded.sample(KEY_DATA, 5).values, mixed.sample(KEY_DATA, 5).values)


def test_save_refuses_another_suffix(mixed, tmp_path):
    with pytest.raises(ValueError, match=r"saved as a \.npz file, got 'model\.json'"):
        mixed.save(tmp_path / "model.json")


def test_save_that_fails_leaves_nothing_behind(mixed, tmp_path, monkeypatch):
    def fail_halfway(path, **arrays):
        path.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(np, "savez", fail_halfway)
    with pytest.raises(KeyboardInterrupt):
        mixed.save(tmp_path / "model.npz")
    assert not list(tmp_path.iterdir())


def test_load_refuses_a_damaged_file(mixed, tmp_path):
    mixed.save(tmp_path / "model.npz")
    whole = (tmp_path / "model.npz").read_bytes()
    (tmp_path / "model.npz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="not a model file"):
        HierarchicalModel.load(tmp_path / "model.npz")


def test_load_refuses_other_archives(tmp_path):
    np.savez(tmp_path / "arrays.npz", a=np.zeros(3))
    with pytest.raises(ValueError, match="not a model file"):
        HierarchicalModel.load(tmp_path / "arrays.npz")
    np.savez(tmp_path / "other.npz", header=np.array(json.dumps({"format": "hlvm.model", "version": 99})))
    with pytest.raises(ValueError, match="not a model file of format version 1 or 2"):
        HierarchicalModel.load(tmp_path / "other.npz")


@pytest.mark.parametrize("content", [b"", b"plain text", b"\x93NUMPY\x01\x00"])
def test_load_refuses_files_that_are_no_archive(tmp_path, content):
    (tmp_path / "model.npz").write_bytes(content)
    with pytest.raises(ValueError, match="not a model file"):
        HierarchicalModel.load(tmp_path / "model.npz")


@pytest.mark.parametrize("header", ["[]", "1", '{"format": "hlvm.model", "version": 1, "mechanisms": 5}'])
def test_load_refuses_headers_of_another_kind(tmp_path, header):
    np.savez(tmp_path / "model.npz", header=np.array(header))
    with pytest.raises(ValueError, match="not a model file"):
        HierarchicalModel.load(tmp_path / "model.npz")


def test_load_of_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere\.npz"):
        HierarchicalModel.load(tmp_path / "nowhere.npz")


def test_load_refuses_pickles_missing_and_misshapen_arrays(tmp_path):
    np.savez(tmp_path / "pickle.npz", header=np.array({"format": "hlvm.model"}, dtype=object))
    with pytest.raises(ValueError, match="is not a model file"):
        HierarchicalModel.load(tmp_path / "pickle.npz")
    model = HierarchicalModel.init(jax.random.key(0), LatentGraph.tree(2, 1), InvertibleMLP())
    model.save(tmp_path / "good.npz")
    with np.load(tmp_path / "good.npz") as file:
        arrays = dict(file)
    header = json.loads(str(arrays["header"]))
    arrays["header"] = np.array(json.dumps({k: v for k, v in header.items() if k not in ("arrays", "digest")}))
    for name, change, match in (
        ("missing", lambda a: {k: v for k, v in a.items() if not k.startswith("params/")}, "is not a model file"),
        ("short", lambda a: {**a, "shift": a["shift"][:-1]}, "is damaged"),
    ):
        np.savez(tmp_path / f"{name}.npz", **change(arrays))
        with pytest.raises(ValueError, match=match):
            HierarchicalModel.load(tmp_path / f"{name}.npz")
