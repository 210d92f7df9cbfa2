"""Rows held out of training, and image models as training data."""

import dataclasses

import jax
import numpy as np
import pytest

from hlvm import HierarchicalModel, LatentGraph
from hlvm.cli.training_results import loss_curves, loss_table
from hlvm.datasets import Dataset
from hlvm.images import GrammarImages, QuadtreeImages, SceneImages
from hlvm.mae import (
    ArrayData,
    BottleneckConfig,
    Checkpoints,
    ImageData,
    LossConfig,
    Member,
    TrainConfig,
    ViTConfig,
    encode,
    fit,
    fit_ensemble,
    load_fits,
    plan_ensemble,
    reconstruct,
    save_fits,
)
from hlvm.mae.training import data
from hlvm.mae.training import held_out as held_out_module
from hlvm.masking import FixedMask, RandomMask, RatioRange
from hlvm.mechanisms import LinearGaussian
from hlvm.plotting import plot_losses

KEY = jax.random.key(0)
GRAPH = LatentGraph.quadtree(1)
MODEL = HierarchicalModel.init(jax.random.key(1), GRAPH, LinearGaussian())
MASK = FixedMask(masked=GRAPH.observed[:2])
SMALL = BottleneckConfig(code_dim=2, width=8, depth=1)
HELD = 70
TRAIN = TrainConfig(steps=150, batch=32, warmup=5, held_out=HELD)  # batches of 32, 32 and 6 rows


def table(n=300):
    return np.array(MODEL.sample(jax.random.key(2), n).observed_matrix)


def dataset(values):
    dims = [GRAPH.dim(name) for name in GRAPH.observed]
    parts = np.split(values, np.cumsum(dims)[:-1], axis=1)
    return Dataset.from_arrays(observed=dict(zip(GRAPH.observed, parts, strict=True)), graph=GRAPH)


class OwnHalves:
    """Hides one half or the other."""

    def sample(self, key, n, graph):
        first = np.arange(graph.n_observed) < graph.n_observed // 2
        return np.where(np.asarray(jax.random.bernoulli(key, 0.5, (n, 1))), first, ~first)


# ---------------------------------------------------------------------- rows held out


def test_hold_out_splits_all_rows_the_same_way_for_one_key():
    whole = ArrayData.of(dataset(table()))
    kept, held = data.hold_out(whole, HELD, KEY)
    assert (len(kept), len(held)) == (300 - HELD, HELD)
    assert sorted([*kept.positions, *held.positions]) == list(range(300))
    again, other = data.hold_out(whole, HELD, KEY)[1], data.hold_out(whole, HELD, jax.random.key(5))[1]
    np.testing.assert_array_equal(held.positions, again.positions)
    assert set(held.positions) != set(other.positions)
    np.testing.assert_array_equal(held.rows([3, 0, 3]), whole.rows(held.positions[[3, 0, 3]]))
    twice = data.hold_out(kept, 10, KEY)[1]
    assert set(twice.positions) <= set(kept.positions)


def test_nothing_is_learnt_from_rows_held_out():
    values = table()
    first = fit(KEY, dataset(values), MASK, SMALL, TRAIN)
    values[first.held_out.rows] += 1000.0
    second = fit(KEY, dataset(values), MASK, SMALL, TRAIN)
    np.testing.assert_array_equal(first.params, second.params)
    np.testing.assert_array_equal(first.losses, second.losses)
    np.testing.assert_array_equal(first.held_out.rows, second.held_out.rows)
    assert second.held_out.losses[-1] > 1e3 * first.held_out.losses[-1]


def test_held_out_loss_is_the_error_of_reconstructions_of_those_rows():
    values = table()
    made = fit(KEY, dataset(values), MASK, SMALL, TRAIN)
    rows = values[made.held_out.rows]
    hidden = np.isin(GRAPH.observed, MASK.masked)[GRAPH.arrays.cell_of_column]
    errors = (rows - np.asarray(reconstruct(made, rows, MASK))) / np.asarray(made.scale)
    assert made.held_out.steps.tolist() == [100, 150]
    assert made.held_out.losses[-1] == pytest.approx((errors[:, hidden] ** 2).mean(), rel=1e-5)


@pytest.mark.slow
def test_few_rows_learnt_by_heart_show_in_the_held_out_loss():
    train = TrainConfig(steps=600, batch=32, warmup=5, held_out=100, learning_rate=1e-2)
    made = fit(KEY, dataset(table(132)), MASK, BottleneckConfig(code_dim=8, width=64), train)
    assert made.losses[-1] < 1e-3
    assert made.held_out.losses[-1] > 0.5  # of the variance


@pytest.mark.parametrize("mask", [OwnHalves(), RatioRange(low=0.3, high=0.6)], ids=["own", "range"])
def test_members_share_the_rows_held_out_and_are_scored_as_alone(mask, tmp_path):
    seen = []
    members = [Member(mask=mask, network=SMALL, seed=seed) for seed in (0, 1)]
    rows = dataset(table())
    both = fit_ensemble(KEY, rows, members, TRAIN, on_progress=seen.append)
    (alone,) = fit_ensemble(KEY, rows, members[1:], TRAIN)
    np.testing.assert_array_equal(both[0].held_out.rows, both[1].held_out.rows)
    np.testing.assert_allclose(both[1].held_out.losses, alone.held_out.losses, rtol=1e-4)
    assert [p.held_out.tolist() for p in seen] == np.stack([f.held_out.losses for f in both], axis=1).tolist()


@pytest.mark.parametrize(
    "held_out", [pytest.param(HELD, id="batches", marks=pytest.mark.slow), pytest.param(6, id="less than one")]
)
@pytest.mark.parametrize(
    ("network", "loss"),
    [
        pytest.param(ViTConfig(width=8, depth=1, decoder_width=8), LossConfig(), id="vit", marks=pytest.mark.slow),
        pytest.param(SMALL, LossConfig(score="energy"), id="energy"),
    ],
)
def test_held_out_losses_are_the_same_in_parts(network, loss, held_out, monkeypatch):
    """Parts of 4 rows: 6 rows do not fill two of them."""
    seen = []
    of_member = held_out_module.loss_of_member

    def noted(program, train, units, weights, code_dim, values, batch):
        seen.append(len(values))
        return of_member(program, train, units, weights, code_dim, values, batch)

    monkeypatch.setattr(held_out_module, "loss_of_member", noted)
    train = dataclasses.replace(TRAIN, steps=3, warmup=1, held_out=held_out)
    members = [Member(mask=RandomMask(ratio=0.5), network=network, loss=loss, seed=seed) for seed in (0, 1)]
    whole, parts = (fit_ensemble(KEY, dataset(table()), members, train, microbatch=part) for part in (None, 4))
    for a, b in zip(whole, parts, strict=True):
        assert b.held_out.losses == pytest.approx(a.held_out.losses, rel=1e-4)
    assert set(seen) == {min(held_out, 32), 4}


class StopEarlyError(Exception):
    """Raised by a callback in the middle of a run."""


def test_held_out_losses_survive_a_stop_and_a_file(tmp_path):
    def stop(progress):
        raise StopEarlyError

    rows, checkpoints = dataset(table()), Checkpoints(folder=tmp_path / "run", every=100)
    whole = fit(KEY, rows, MASK, SMALL, TRAIN)
    with pytest.raises(StopEarlyError):
        fit(KEY, rows, MASK, SMALL, TRAIN, checkpoints=checkpoints, on_progress=stop)
    resumed = fit(KEY, rows, MASK, SMALL, TRAIN, checkpoints=checkpoints)
    save_fits(tmp_path / "fits", [resumed])
    (loaded,) = load_fits(tmp_path / "fits")
    for one in (resumed, loaded):
        for found, expected in zip(one.held_out, whole.held_out, strict=True):
            np.testing.assert_array_equal(found, expected)


def test_loss_table_and_curves_hold_both_losses():
    rows = dataset(table())
    short = dataclasses.replace(TRAIN, steps=120)
    made = fit_ensemble(
        KEY,
        rows,
        [Member(mask=MASK, network=SMALL, loss=loss) for loss in (LossConfig(), LossConfig(score="energy"))],
        short,
    )
    found = loss_table(["a", "b"], made)
    assert len(found) == 240
    known = found.dropna()
    assert known.step.tolist() == [100, 120, 100, 120]
    np.testing.assert_array_equal(known.held_out_loss[known.name == "b"], made[1].held_out.losses)
    trained, held_out = loss_curves(["a", "b"], made)
    assert list(trained) == ["squared error / variance", "energy score / standard deviation"]
    np.testing.assert_array_equal(trained["squared error / variance"]["a"], made[0].losses)
    np.testing.assert_array_equal(held_out["squared error / variance"]["a"][0], [100, 120])
    figure = plot_losses(trained, held_out=held_out, names_below=True)
    curve, dots = figure.axes[1].get_lines()
    of_energy = held_out["energy score / standard deviation"]["b"]
    np.testing.assert_array_equal(dots.get_xydata(), np.stack(of_energy, axis=1))
    assert dots.get_color() == curve.get_color()
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["a", "b"]


@pytest.mark.parametrize(
    ("source", "n", "message"),
    [
        (MODEL, 5, "held_out=5 is for data sets: a generator draws fresh samples"),
        (dataset(table(20)), 20, "held_out=20 leaves none of the 20 rows"),
    ],
)
def test_rows_that_cannot_be_held_out_are_refused(source, n, message):
    train = dataclasses.replace(TRAIN, held_out=n)
    with pytest.raises(ValueError, match=message):
        fit(KEY, source, MASK, SMALL, train)
    with pytest.raises(ValueError, match=message):
        plan_ensemble(KEY, source, [Member(mask=MASK, network=SMALL)], train)


# ---------------------------------------------------------------------- image models

IMAGES = {
    "quadtree": QuadtreeImages.init(jax.random.key(0), height=1),
    "scenes": SceneImages(size=16, patch=8, objects=(1, 1)),
    "grammar": GrammarImages.init(
        jax.random.key(0), n_symbols=3, n_classes=2, n_synonyms=2, n_levels=1, patch_pixels=2, style="grey"
    ),
}


@pytest.mark.parametrize(
    "name", ["quadtree", *(pytest.param(name, marks=pytest.mark.slow) for name in ("scenes", "grammar"))]
)
def test_image_models_train_inside_the_program(name, tmp_path):
    images = IMAGES[name]
    mask, short = RandomMask(ratio=0.5), TrainConfig(steps=3, batch=4, warmup=1)
    made = fit(KEY, images, mask, SMALL, short)
    assert np.isfinite(made.losses).all()
    drawn = images.sample(jax.random.key(3), 5).images
    stored = ArrayData.of(Dataset.from_arrays(images=np.asarray(drawn), graph=images.graph)).rows(np.arange(5))
    np.testing.assert_allclose(data.draw_rows(ImageData(images), jax.random.key(3), 5), stored, atol=1e-6)
    _, height, width, channels = drawn.shape
    rows, columns = images.graph.grid
    assert {made.model.graph.dim(x) for x in images.graph.observed} == {height * width * channels // (rows * columns)}
    code = encode(made, drawn, mask.sample(KEY, 5, images.graph))
    assert code.shape == (5, 2)
    save_fits(tmp_path / "fits", [made])
    (loaded,) = load_fits(tmp_path / "fits")
    np.testing.assert_array_equal(encode(loaded, drawn, mask.sample(KEY, 5, images.graph)), code)
    np.testing.assert_array_equal(loaded.model.images.sample(jax.random.key(3), 5).images, drawn)
    save_fits(tmp_path / "again", [loaded])
