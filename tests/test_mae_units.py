"""Units of training data: offsets and scales, dtypes, and every kind of rows that training and encoding take."""

import dataclasses

import jax
import numpy as np
import pytest

from hlvm.datasets import Dataset, load_dataset, write_dataset
from hlvm.graph import LatentGraph
from hlvm.images import QuadtreeImages
from hlvm.images.files import save_image_model
from hlvm.mae import (
    ArrayData,
    BottleneckConfig,
    Member,
    TrainConfig,
    encode,
    fit,
    load_fits,
    plan_ensemble,
    reconstruct,
    save_fits,
)
from hlvm.mae.training.data import check_data
from hlvm.masking import FixedMask, RandomMask
from hlvm.mechanisms import LinearGaussian
from hlvm.simulator import HierarchicalModel

KEY = jax.random.key(0)
GRAPH = LatentGraph.from_edges([("z", name) for name in "abc"], dims=2)
TREE = LatentGraph.tree(2, 1)
MASK = FixedMask(masked=("a",))
SMALL = BottleneckConfig(code_dim=2, width=16, depth=1)
TRAIN = TrainConfig(steps=60, batch=32, warmup=5)
SHORT = TrainConfig(steps=2, batch=4, warmup=1)


def columns(n=400):
    rng = np.random.default_rng(0)
    latent = rng.normal(size=(n, 2))
    return {name: latent @ rng.normal(size=(2, 2)) + 0.1 * rng.normal(size=(n, 2)) for name in "abc"}


def data_set(change=lambda values: values):
    return Dataset.from_arrays(observed={name: change(v) for name, v in columns().items()}, graph=GRAPH)


@pytest.fixture(scope="module")
def plain():
    return fit(KEY, data_set(), MASK, SMALL, TRAIN)


# ---------------------------------------------------------------------- offsets and scales


@pytest.mark.parametrize(
    ("scale", "offset", "off"),
    [(1.0, 50.0, 1e-3), (1.0, 1e12, 2e-2), (1e-35, 0.0, 1e-3)],
)
def test_fit_is_the_same_in_other_units(plain, scale, offset, off):
    """At an offset of 1e12 float64 itself has steps of 1e-4."""
    moved = data_set(lambda values: values * scale + offset)
    made = fit(KEY, moved, MASK, SMALL, TRAIN)
    np.testing.assert_allclose(made.losses, plain.losses, rtol=off)
    codes = np.asarray(encode(plain, data_set(), MASK))
    np.testing.assert_allclose(encode(made, moved, MASK), codes, atol=off * np.abs(codes).max())
    guess = (reconstruct(made, moved, MASK) - offset) / scale
    np.testing.assert_allclose(guess, reconstruct(plain, data_set(), MASK), atol=5 * off)


def test_fits_of_far_columns_are_saved_as_they_are(tmp_path):
    moved = data_set(lambda values: values + 1e9)
    made = fit(KEY, moved, MASK, SMALL, SHORT)
    save_fits(tmp_path / "fits", [made])
    (loaded,) = load_fits(tmp_path / "fits")
    np.testing.assert_array_equal(loaded.shift, made.shift)
    np.testing.assert_array_equal(reconstruct(loaded, moved, MASK), reconstruct(made, moved, MASK))
    assert np.abs(loaded.shift - 1e9).max() < 1


def test_rows_of_far_columns_are_streamed_and_held_out_alike(monkeypatch):
    from hlvm.mae.training import feeding

    train = TrainConfig(steps=20, batch=32, warmup=5, held_out=50)
    near = fit(KEY, data_set(), MASK, SMALL, train)
    monkeypatch.setattr(feeding, "_TABLE_BYTES", 0)
    far = fit(KEY, data_set(lambda values: values + 1e9), MASK, SMALL, train)
    np.testing.assert_allclose(far.losses, near.losses, rtol=1e-3)
    np.testing.assert_allclose(far.held_out.losses, near.held_out.losses, rtol=1e-3)


def test_fit_refuses_what_a_dtype_cannot_tell_apart():
    with pytest.raises(ValueError, match=r"the values of 'a' lie 1e\+07 standard deviations from zero, where float32"):
        fit(KEY, data_set(lambda values: (values + 1e7).astype(np.float32)), MASK, SMALL, SHORT)
    for kept in (np.full((400, 2), 1e9, np.float32), np.arange(800).reshape(400, 2) % 2 + 10**9):
        fit(KEY, data_set(lambda values, kept=kept: kept), MASK, SMALL, SHORT)


# ---------------------------------------------------------------------- dtypes


def test_encode_takes_every_byte_order(plain):
    rows = np.concatenate(list(columns().values()), axis=1).astype(np.float32)
    np.testing.assert_array_equal(encode(plain, rows.astype(">f4"), MASK), encode(plain, rows, MASK))


@pytest.mark.parametrize(
    "change",
    [
        lambda v: v.astype(object),
        lambda v: v.astype(str),
        lambda v: v.astype(complex),
        lambda v: np.ma.masked_greater(v, 2),
    ],
    ids=["objects", "text", "complex", "masked"],
)
def test_what_is_no_real_number_is_refused_by_name(plain, change):
    good = columns()
    bad = good | {"b": change(good["b"])}
    with pytest.raises(ValueError, match="observed 'b': expected"):
        Dataset.from_arrays(observed=bad, graph=GRAPH)
    with pytest.raises(ValueError, match="observed 'b': expected"):
        fit(KEY, ArrayData(graph=GRAPH, parts=tuple(bad.values())), MASK, SMALL, SHORT)
    with pytest.raises(ValueError, match="observed 'b': expected"):
        encode(plain, bad, MASK)


def test_images_in_other_units_are_refused(plain):
    drawn = np.random.default_rng(0).random((20, 2, 1, 3), np.float32)
    graph = LatentGraph.from_edges([("z", "a"), ("z", "b")], dims=3, grid=(2, 1))
    right = check_data(Dataset.from_arrays(images=drawn, graph=graph))
    made = dataclasses.replace(plain, model=right, mask=RandomMask(ratio=0.5), shift=np.zeros(6), scale=np.ones(6))
    for wrong in (drawn * 255, (drawn * 60_000).astype(np.uint16)):
        with pytest.raises(ValueError, match=r"images of .* hold values from 0 to (1|255), these go from"):
            encode(made, wrong, None)
        with pytest.raises(ValueError, match=r"images of .* hold values from 0 to (1|255), these go from"):
            check_data(Dataset.from_arrays(images=wrong, graph=graph)).rows([0, 3])


# ---------------------------------------------------------------------- kinds of rows


def test_training_and_encoding_take_every_kind_of_rows(tmp_path):
    images = QuadtreeImages.init(jax.random.key(1), height=1)
    write_dataset(tmp_path / "rows.h5", images.model, 20, key=KEY)
    write_dataset(tmp_path / "images.h5", images, 20, key=KEY)
    with load_dataset(tmp_path / "rows.h5") as of_rows, load_dataset(tmp_path / "images.h5") as of_images:
        drawn = images.model.sample(jax.random.fold_in(KEY, 0), 20)
        pixels = images.sample(jax.random.fold_in(KEY, 0), 20)
        for kinds, rows in (
            (
                [of_rows, drawn, ArrayData.of(of_rows), tmp_path / "rows.h5"],
                [drawn.observed_matrix, dict(drawn.observed)],
            ),
            ([of_images, pixels, ArrayData.of(of_images), str(tmp_path / "images.h5")], [pixels.images]),
        ):
            mask = RandomMask(ratio=0.5)
            made = fit(KEY, kinds[0], mask, SMALL, SHORT)
            numbers = [check_data(kind).numbers(np.arange(20)) for kind in kinds]
            codes = [np.asarray(encode(made, kind, None)) for kind in [*kinds, *rows]]
            assert all(np.array_equal(found, numbers[0]) for found in numbers)
            assert all(np.array_equal(found, codes[0]) for found in codes)
            for kind in kinds[1], kinds[3]:
                assert len(plan_ensemble(KEY, kind, [Member(mask=mask, network=SMALL)], SHORT).programs) == 1
            assert np.array_equal(fit(KEY, kinds[3], mask, SMALL, SHORT).params, made.params)


def test_training_opens_saved_models_by_their_paths(tmp_path):
    model = HierarchicalModel.init(jax.random.key(1), TREE, LinearGaussian())
    model.save(tmp_path / "model.npz")
    opened = check_data(tmp_path / "model.npz")
    assert np.array_equal(opened.sample(KEY, 3).values, model.sample(KEY, 3).values)
    images = QuadtreeImages.init(jax.random.key(1), height=1)
    (tmp_path / "images").mkdir()
    save_image_model(images, tmp_path / "images")
    assert np.array_equal(
        check_data(str(tmp_path / "images")).images.sample(KEY, 2).images, images.sample(KEY, 2).images
    )


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "graph.json",
            "data must be a file that ends in .npz, .h5, .hdf5, or the folder of an image model, got '.json'",
        ),
        ("arrays.npz", "arrays.npz is neither a data set nor a saved model"),
        (".", "is a folder that holds no image model"),
    ],
)
def test_training_refuses_paths_of_other_things(tmp_path, name, message):
    TREE.save(tmp_path / "graph.json")
    np.savez(tmp_path / "arrays.npz", z=np.zeros(3))
    with pytest.raises(ValueError, match=message):
        check_data(tmp_path / name)


def test_encode_refuses_what_draws_rows_and_has_none(plain):
    for source in (HierarchicalModel.init(KEY, TREE, LinearGaussian()), QuadtreeImages.init(KEY, height=1)):
        with pytest.raises(ValueError, match=r"has no rows to encode: draw some with sample\(key, n\)"):
            encode(plain, source, None)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (QuadtreeImages.init(jax.random.key(1), height=1).sample(KEY, 5), "this ImageSample comes from another graph"),
        (list(range(100_000)), r"observed must have shape \(n, 6\)"),
        ([["text"] * 6] * 10_000, "observed: expected real numbers"),
        ({"a": np.zeros((5, 2))}, "observed has no values for 'b'"),
    ],
)
def test_encode_refuses_other_things_without_showing_the_data(plain, rows, message):
    with pytest.raises(ValueError, match=message) as found:
        encode(plain, rows, None)
    assert len(str(found.value)) < 300


def test_fit_takes_keys_of_plain_numbers():
    old, new = (fit(key, data_set(), MASK, SMALL, SHORT) for key in (jax.random.PRNGKey(3), jax.random.key(3)))
    np.testing.assert_array_equal(old.params, new.params)
    assert old.key == new.key
