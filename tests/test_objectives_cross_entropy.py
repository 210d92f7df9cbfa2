"""Cross-entropy over symbols: against plain loops, its refusals, and against the exact oracle of a grammar."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from objective_cases import assert_same_loss_and_gradient, samples_of

from hlvm import mae
from hlvm.datasets import Dataset
from hlvm.graph import LatentGraph
from hlvm.images import GrammarImages
from hlvm.mae import BottleneckConfig, LinearConfig, LossConfig, Member, TrainConfig, ViTConfig
from hlvm.mae.objectives import CrossEntropy
from hlvm.masking import RandomMask, RatioRange
from hlvm.mechanisms import LinearGaussian
from hlvm.simulator import HierarchicalModel
from hlvm.theory import GrammarOracle

MIXED = LatentGraph.from_edges([("z", x) for x in "abc"], dims={"z": 2, "a": 2, "b": 3, "c": 3})
EVEN = LatentGraph.from_edges([("z", x) for x in "abc"], dims={"z": 2, "a": 3, "b": 3, "c": 3})
TINY = BottleneckConfig(code_dim=2, width=8, depth=1)
SHORT = TrainConfig(steps=4, batch=8, warmup=1)
GRAMMAR = GrammarImages.init(
    jax.random.key(3), n_symbols=4, n_classes=4, n_synonyms=2, n_levels=2, tuple_size=2, patch_pixels=1, style="one-hot"
)


def one_hot_rows(graph, n, seed=0):
    rng = np.random.default_rng(seed)
    return np.concatenate([np.eye(graph.dim(x))[rng.integers(graph.dim(x), size=n)] for x in graph.observed], axis=1)


@pytest.mark.parametrize("graph", [MIXED, EVEN], ids=["cells of 2 and 3 symbols", "cells of 3"])
def test_cross_entropy_is_that_of_a_plain_loop_with_its_gradient(graph):
    rows = one_hot_rows(graph, 6)
    case = samples_of(graph, RandomMask(ratio=0.5), TINY, CrossEntropy(), rows)
    masked = np.asarray(case.samples.masked)

    def plain(params):
        logits = case.network.reconstruct(
            params, case.samples.inputs, case.samples.masked, case.samples.code_dim, case.samples.noise
        )[0]
        total, count, start = 0.0, 0, 0
        for cell, name in enumerate(graph.observed):
            stop = start + graph.dim(name)
            for row in range(len(rows)):
                if masked[row, cell]:
                    exponents = jnp.exp(logits[row, start:stop])
                    total -= jnp.log2(exponents[int(rows[row, start:stop].argmax())] / exponents.sum())
                    count += 1
            start = stop
        return total / count

    assert_same_loss_and_gradient(case, plain)


def test_cross_entropy_reads_symbols_that_are_constant_in_the_first_samples():
    """A column without variance is standardised by 1: the symbol must be told from the value as it came."""
    rows = one_hot_rows(EVEN, 6)
    rows[:, :3] = [0, 1, 0]
    shift, scale = rows.mean(axis=0), np.where(rows.std(axis=0) > 0, rows.std(axis=0), 1.0)
    rows[2, :3] = [1, 0, 0]
    case = samples_of(EVEN, RandomMask(ratio=0.5), TINY, CrossEntropy(), rows, units=(shift, scale))
    masked = jnp.zeros_like(case.samples.masked).at[2, 0].set(True)
    samples = case.samples._replace(masked=masked, weights=masked.astype(jnp.float32))
    logits = np.asarray(
        case.network.reconstruct(case.params, samples.inputs, masked, samples.code_dim, samples.noise)[0, 2, :3]
    )
    expected = -np.log2(np.exp(logits[0]) / np.exp(logits).sum())
    assert case.objective.loss(case.network, case.params, None, samples).mean == pytest.approx(expected, rel=1e-5)


def test_reconstruct_gives_probabilities_of_every_cell():
    data = Dataset.from_arrays(observed={x: one_hot_rows(MIXED, 40)[:, c] for x, c in columns(MIXED)}, graph=MIXED)
    fit = mae.fit(0, data, RandomMask(ratio=0.5), TINY, SHORT, loss=CrossEntropy())
    found = np.asarray(mae.reconstruct(fit, data, ["a", "b"]))
    for name, where in columns(MIXED):
        np.testing.assert_allclose(found[:, where].sum(axis=1), 1, rtol=1e-5)
        assert (found[:, where] > -1e-6).all()  # what is visible comes back to rounding
        assert (np.abs(found[:, where] - found[:, where].round()) < 1e-6).all() == (name == "c")


def columns(graph):
    ends = np.cumsum([graph.dim(x) for x in graph.observed])
    return [(x, slice(end - graph.dim(x), end)) for x, end in zip(graph.observed, ends, strict=True)]


@pytest.mark.parametrize(
    ("value", "match"),
    [
        ([0.2, 0.8, 0.0], r"'b' has the values 0\.2, 0\.8, 0: give one-hot"),
        ([1.0, 1.0, 0.0], "needs cells that are one-hot"),
        ([0.0, 0.0, 0.0], "needs cells that are one-hot"),
        ([1.0, -2.0, 0.0], "needs cells that are one-hot"),
    ],
)
def test_cross_entropy_refuses_cells_that_are_not_one_hot(value, match):
    rows = one_hot_rows(EVEN, 40)
    rows[7, 3:6] = value
    data = Dataset.from_arrays(observed={x: rows[:, c] for x, c in columns(EVEN)}, graph=EVEN)
    with pytest.raises(ValueError, match=match):
        mae.fit(0, data, RandomMask(ratio=0.5), TINY, SHORT, loss=CrossEntropy())


def test_cross_entropy_refuses_what_does_not_fit():
    graph = LatentGraph.quadtree(2)
    model = HierarchicalModel.init(jax.random.key(0), graph, LinearGaussian())
    mask = RandomMask(ratio=0.5)
    with pytest.raises(ValueError, match="CrossEntropy: needs cells that are one-hot"):
        mae.fit(0, model, mask, TINY, SHORT, loss=CrossEntropy())
    narrow = LatentGraph.from_edges([("z", "a"), ("z", "b")], dims={"z": 1, "a": 1, "b": 3})
    with pytest.raises(ValueError, match="'a' has a single one"):
        mae.fit(0, HierarchicalModel.init(0, narrow, LinearGaussian()), mask, TINY, SHORT, loss=CrossEntropy())
    with pytest.raises(ValueError, match="normalize_targets must be False for CrossEntropy"):
        mae.fit(0, GRAMMAR, mask, ViTConfig(normalize_targets=True), SHORT, loss=CrossEntropy())


def test_log_likelihood_refuses_what_has_none():
    data = Dataset.from_arrays(observed={x: one_hot_rows(EVEN, 40)[:, c] for x, c in columns(EVEN)}, graph=EVEN)
    fit = mae.fit(0, data, RandomMask(ratio=0.5), LinearConfig(code_dim=1), SHORT)
    with pytest.raises(ValueError, match="was trained by LossConfig"):
        mae.log_likelihood(fit, data, key=0)


def test_log_likelihood_of_an_untrained_autoencoder_is_the_sum_over_numbers_of_masked_cells():
    """Against a loop over all masks of a string of three cells, with the frequencies where nothing is visible."""
    rows = one_hot_rows(EVEN, 30)
    data = Dataset.from_arrays(observed={x: rows[:, c] for x, c in columns(EVEN)}, graph=EVEN)
    fit = mae.fit(0, data, RandomMask(ratio=0.5), TINY, SHORT, loss=CrossEntropy())
    expected = np.zeros(len(rows))
    frequencies = np.asarray(fit.shift)
    for where in (slice(0, 3), slice(3, 6), slice(6, 9)):
        expected += np.log((rows[:, where] * frequencies[where]).sum(axis=1)) / 3
    for masked in ((1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 0), (1, 0, 1), (0, 1, 1)):
        p = np.asarray(mae.reconstruct(fit, data, np.array(masked, bool))).reshape(-1, 3, 3)
        own = np.log((p * rows.reshape(-1, 3, 3)).sum(axis=2))
        expected += (own * masked).sum(axis=1) / sum(masked) / 3
    found = mae.log_likelihood(fit, data, key=1, orders=400)
    # 400 random masks of each number: about 0.02 standard deviations of a mask's loss, which is below 2 nats.
    np.testing.assert_allclose(found, expected, atol=0.15)
    again = mae.log_likelihood(fit, data, key=1, orders=400)
    np.testing.assert_array_equal(found, again)


@pytest.mark.slow
def test_cross_entropy_autoencoder_comes_within_5_percent_of_the_oracle():
    """Bits of masked cells and of whole strings, on strings that were not trained on."""
    train = TrainConfig(steps=1500, batch=128, learning_rate=3e-3)
    network = ViTConfig(width=32, depth=2, decoder_width=32, decoder_depth=2)
    fit = mae.fit(0, GRAMMAR, RatioRange(low=0.25, high=0.75), network, train, loss=CrossEntropy())
    oracle = GrammarOracle(GRAMMAR)
    drawn = GRAMMAR.derive(jax.random.key(9), 512)
    cells, images = np.asarray(drawn.cells), np.asarray(GRAMMAR.images_of(drawn).images)
    for count in (1, 2, 3):
        masked = np.asarray(RandomMask(ratio=count / 4).sample(jax.random.key(count), 512, GRAMMAR.graph))
        p = np.asarray(mae.reconstruct(fit, images, masked)).reshape(512, 4, 4)
        own = -np.log2(np.take_along_axis(p, cells.reshape(512, 4, 1), axis=2)[..., 0])
        exact = np.stack([oracle.log_loss(cells[i : i + 1], ~masked[i])[0] for i in range(0, 512, 4)])
        assert own[::4][masked[::4]].mean() == pytest.approx(exact[masked[::4]].mean(), rel=0.05, abs=0.02)
    bits = -np.asarray(mae.log_likelihood(fit, images, key=1, orders=16)).mean() / math.log(2)
    expected = -np.asarray(oracle.log_likelihood(cells)).mean() / math.log(2)
    assert expected < bits * 1.001  # an estimate from above, but for the orders drawn
    assert bits == pytest.approx(expected, rel=0.05)


def test_members_of_both_objectives_train_in_one_call_and_are_kept(tmp_path):
    data = Dataset.from_arrays(observed={x: one_hot_rows(EVEN, 40)[:, c] for x, c in columns(EVEN)}, graph=EVEN)
    members = [
        Member(mask=RandomMask(ratio=0.5), network=TINY, loss=loss, seed=seed)
        for loss in (LossConfig(), CrossEntropy())
        for seed in (0, 1)
    ]
    fits = mae.fit_ensemble(0, data, members, TrainConfig(steps=4, batch=8, warmup=1, held_out=10))
    assert [fit.loss for fit in fits] == [member.loss for member in members]
    assert "cross_entropy" in repr(fits[2])
    first = fits[2].untrained()  # paired: both objectives start from the same parameters
    np.testing.assert_array_equal(first.params, fits[0].untrained().params)
    assert all(np.isfinite(fit.held_out.losses).all() for fit in fits)
    mae.save_fits(tmp_path / "fits", fits)
    loaded = mae.load_fits(tmp_path / "fits")
    assert [fit.loss for fit in loaded] == [member.loss for member in members]
    np.testing.assert_array_equal(
        mae.reconstruct(loaded[3], one_hot_rows(EVEN, 5), ["a"]), mae.reconstruct(fits[3], one_hot_rows(EVEN, 5), ["a"])
    )
