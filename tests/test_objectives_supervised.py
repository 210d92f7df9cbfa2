"""Supervision: against plain loops, the labels that are drawn, what it bounds, and what it refuses."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from objective_cases import SMALL, assert_same_loss_and_gradient, one_hot_data, samples_of

from hlvm import mae
from hlvm.graph import LatentGraph
from hlvm.images import GrammarImages
from hlvm.mae import BottleneckConfig, Checkpoints, LinearConfig, Member, TrainConfig
from hlvm.mae.objectives import LossConfig, Supervised
from hlvm.mae.objectives.base import first_parameters
from hlvm.mae.training.labels import Labels, draw_labels, label_units
from hlvm.masking import RandomMask
from hlvm.mechanisms import LinearGaussian
from hlvm.simulator import HierarchicalModel

TREE = LatentGraph.from_edges(
    [("r", "u"), ("r", "v"), *(("u" if i < 3 else "v", f"x{i}") for i in range(5))],
    dims={"r": 1, "u": 2, "v": 2, **{f"x{i}": 2 for i in range(5)}},
)
MASK = RandomMask(ratio=0.4)
SHORT = TrainConfig(steps=3, batch=8, warmup=1)
GRAMMAR = GrammarImages.init(
    jax.random.key(3), n_symbols=4, n_classes=3, n_synonyms=2, n_levels=2, tuple_size=2, patch_pixels=1, style="one-hot"
)


@pytest.fixture(scope="module")
def model():
    return HierarchicalModel.init(jax.random.key(0), TREE, LinearGaussian())


@pytest.mark.parametrize("config", [SMALL, BottleneckConfig(code_dim=3, width=8, depth=1)], ids=["vit", "bottleneck"])
def test_supervised_is_that_of_a_plain_loop_with_its_gradient(config):
    rng = np.random.default_rng(0)
    case = samples_of(TREE, MASK, config, Supervised(latents=("u",), head_width=4), rng.normal(size=(6, 10)))
    labels = jnp.asarray(rng.normal(size=(6, 2)), jnp.float32)
    case = case._replace(samples=case.samples._replace(labels=labels))
    width = case.objective.head(case.network).sizes[0]
    first, bias, second, last = np.split(np.asarray(case.samples.head), np.cumsum([4 * width, 4, 8]))

    def plain(params):
        coded = case.network.encode(params, case.samples.inputs, case.samples.masked, case.samples.code_dim)
        code = coded if coded.ndim == 2 else coded[:, 1:].mean(axis=1)
        total = 0.0
        for row in range(6):
            hidden = jax.nn.gelu(code[row] @ first.reshape(width, 4) + bias)
            guess = hidden @ second.reshape(4, 2) + last
            total += ((guess - labels[row]) ** 2).sum()
        return total / 12

    assert_same_loss_and_gradient(case, plain)


def test_labels_are_the_latents_of_the_values_that_the_same_key_draws(model):
    labels = Labels(names=("v", "r"), categories=0, shuffled=False)
    found = draw_labels(model, jax.random.key(5), 7, labels)
    sample = model.sample(jax.random.key(5), 7)
    np.testing.assert_array_equal(found, np.concatenate([sample.latents["v"], sample.latents["r"]], axis=1))
    others = draw_labels(model, jax.random.key(5), 7, Labels(names=("v", "r"), categories=0, shuffled=True))
    assert (np.abs(found - others) > 1e-4).all()


def test_labels_of_categories_are_one_hot():
    data = mae.ImageData(GRAMMAR)
    labels = Labels(names=("z2_0_0",), categories=4, shuffled=False)
    found = np.asarray(draw_labels(data, jax.random.key(5), 50, labels)).reshape(50, 2, 4)
    latents = np.asarray(GRAMMAR.sample(jax.random.key(5), 50).latents["z2_0_0"])
    np.testing.assert_array_equal(found.argmax(axis=2), latents)
    np.testing.assert_array_equal(found.sum(axis=2), 1)
    mean, spread = label_units(data, labels, jax.random.key(1))
    assert mean.reshape(2, 4)[:, 3].tolist() == [0, 0]  # a category that never occurs
    assert spread.reshape(2, 4)[:, 3].tolist() == [1, 1]
    np.testing.assert_allclose(mean.reshape(2, 4)[0, :3], 1 / 3, atol=0.04)  # 5 standard errors of 4,096


def test_members_that_are_supervised_see_the_values_of_the_others(model):
    """Paired seeds: the labels beside them change neither values nor masks."""
    members = [Member(mask=MASK, network=LinearConfig(code_dim=2), loss=loss) for loss in (LossConfig(), Supervised())]
    first, second = mae.fit_ensemble(0, model, members, SHORT)
    np.testing.assert_array_equal(first.shift, second.shift)
    size = len(first.params)
    np.testing.assert_array_equal(first.untrained().params, second.untrained().params[:size])
    assert len(second.params) > size


@pytest.mark.slow
def test_supervised_codes_bound_what_is_trained_without_labels(model):
    """The loss of trained labels is below that of shuffled ones, which is that of predicting means."""
    train = TrainConfig(steps=500, batch=128, learning_rate=5e-3)
    network = LinearConfig(code_dim=3)
    losses = [Supervised(head_layers=1), Supervised(head_layers=1, shuffled=True)]
    members = [Member(mask=MASK, network=network, loss=loss) for loss in losses]
    told, shuffled = (fit.losses[-100:].mean() for fit in mae.fit_ensemble(0, model, members, train))
    assert told < 0.7
    assert 0.95 < shuffled < 1.2  # steps on noise cost a little


@pytest.mark.slow
def test_supervised_is_the_same_in_parts_and_on_images():
    members = [Member(mask=RandomMask(ratio=0.5), network=SMALL, loss=Supervised(categories=4))]
    whole, parts = (mae.fit_ensemble(0, GRAMMAR, members, SHORT, microbatch=m)[0] for m in (None, 4))
    np.testing.assert_allclose(whole.losses, parts.losses, rtol=2e-4)
    with pytest.raises(ValueError, match="trained by Supervised, which reconstructs no values"):
        mae.reconstruct(whole, GRAMMAR.sample(1, 5), ["x_0_0"])
    assert mae.encode(whole, GRAMMAR.sample(1, 5), None).shape == (5, SMALL.width)


def test_supervised_refuses_what_does_not_fit(model):
    linear = LinearConfig(code_dim=2)
    with pytest.raises(ValueError, match="Supervised: needs latents drawn together with the values, and rows"):
        mae.fit(0, one_hot_data(40), RandomMask(ratio=0.5), linear, SHORT, loss=Supervised())
    with pytest.raises(ValueError, match="latents must be latents of the graph, such as 'v', got 'x1'"):
        mae.fit(0, model, MASK, linear, SHORT, loss=Supervised(latents=("x1",)))
    with pytest.raises(ValueError, match="categories must be at least 4 here, since 'z2_0_0' is a category"):
        mae.fit(0, GRAMMAR, RandomMask(ratio=0.5), SMALL, SHORT, loss=Supervised())
    with pytest.raises(ValueError, match="categories must be above every value of the latents"):
        mae.fit(0, GRAMMAR, RandomMask(ratio=0.5), SMALL, SHORT, loss=Supervised(categories=2))
    with pytest.raises(ValueError, match="latents must be different names"):
        Supervised(latents=("u", "u"))
    with pytest.raises(ValueError, match="head_layers must be"):
        Supervised(head_layers=0)


# ---------------------------------------------------------------------- a member like any other


def test_supervised_fits_resume_bit_for_bit_and_are_kept(model, tmp_path, monkeypatch):
    monkeypatch.setattr("hlvm.mae.training.groups.CHUNK", 2)
    monkeypatch.setattr("hlvm.mae.training.program.CHUNK", 2)
    loss, train = Supervised(latents=("v", "r"), head_width=4), TrainConfig(steps=6, batch=8, warmup=1)
    members = [Member(mask=MASK, network=LinearConfig(code_dim=2), loss=loss, seed=seed) for seed in (0, 1)]

    def stop(progress):
        if progress.step == 4:
            raise RuntimeError("as if killed")

    whole = mae.fit_ensemble(0, model, members, train)
    states = Checkpoints(folder=tmp_path / "states", every=2)
    with pytest.raises(RuntimeError, match="as if killed"):
        mae.fit_ensemble(0, model, members, train, checkpoints=states, on_progress=stop)
    resumed = mae.fit_ensemble(0, model, members, train, checkpoints=states)
    mae.save_fits(tmp_path / "fits", resumed)
    sample = model.sample(3, 5)
    for one, other, loaded in zip(whole, resumed, mae.load_fits(tmp_path / "fits"), strict=True):
        np.testing.assert_array_equal(one.params, other.params)
        np.testing.assert_array_equal(one.losses, other.losses)
        assert loaded.loss == loss
        np.testing.assert_array_equal(loaded.params, one.params)
        np.testing.assert_array_equal(mae.encode(loaded, sample, None), mae.encode(one, sample, None))
        np.testing.assert_array_equal(loaded.untrained().params, one.untrained().params)
    others = [dataclasses.replace(member, loss=Supervised(latents=("r", "v"), head_width=4)) for member in members]
    with pytest.raises(ValueError, match="another run, which differs in members"):
        mae.fit_ensemble(0, model, others, train, checkpoints=states)


def test_supervised_member_diverges_alone(model, monkeypatch):
    """One of two starts from NaN in the head: it stops at once, the other ends as it does alone."""
    members = [Member(mask=MASK, network=LinearConfig(code_dim=2), loss=Supervised(), seed=seed) for seed in (0, 1)]
    alone = mae.fit_ensemble(0, model, members[1:], SHORT)[0]

    def poisoned(network, objective, keys):
        return first_parameters(network, objective, keys).at[0, -1].set(jnp.nan)

    monkeypatch.setattr("hlvm.mae.training.groups.first_parameters", poisoned)
    with pytest.warns(mae.DivergenceWarning, match="1 of 2 diverged and stopped early: member 0 after 0 steps"):
        broken, sound = mae.fit_ensemble(0, model, members, SHORT)
    assert broken.diverged
    assert not sound.diverged
    np.testing.assert_allclose(sound.losses, alone.losses, rtol=2e-4)
