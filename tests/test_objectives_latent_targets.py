"""Latent targets: against a plain transformer, how the teacher moves, and a collapse that is provoked."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from objective_cases import SMALL, assert_same_loss_and_gradient, samples_of
from plain_transformer import latent_target_loss

from hlvm import mae
from hlvm.graph import LatentGraph
from hlvm.mae import BottleneckConfig, TrainConfig, ViTConfig
from hlvm.mae.objectives import IJEPA, Data2Vec
from hlvm.masking import RandomMask, RatioRange
from hlvm.mechanisms import LinearGaussian
from hlvm.simulator import HierarchicalModel

GRAPH = LatentGraph.quadtree(2)


LEAVES = LatentGraph.from_edges([("z", f"x{i}") for i in range(5)], dims={"z": 2, **{f"x{i}": 2 for i in range(5)}})
CONFIG = dataclasses.replace(SMALL, depth=2)
CASES = {
    "ijepa": IJEPA(),
    "ijepa, smooth": IJEPA(distance="smooth_l1", beta=0.5),
    "data2vec": Data2Vec(),
    "data2vec, instance": Data2Vec(normalize="instance", distance="squared", top_blocks=1),
    "ijepa with gradient": IJEPA(stop_gradient=False),
}


@pytest.mark.parametrize(
    "name",
    [name if name == "data2vec" else pytest.param(name, marks=pytest.mark.slow) for name in CASES],
)
def test_latent_targets_are_those_of_a_plain_transformer_with_its_gradient(name):
    loss = CASES[name]
    rows = np.random.default_rng(0).normal(size=(4, 10))
    case = samples_of(LEAVES, RandomMask(ratio=0.4), CONFIG, loss, rows)
    teacher = jax.tree.map(lambda leaf: leaf + 0.1 * jnp.sin(jnp.arange(leaf.size).reshape(leaf.shape)), case.params)

    def plain(params):
        return latent_target_loss(loss, CONFIG, params, teacher, case.samples)

    assert_same_loss_and_gradient(case, plain, teacher)


# ---------------------------------------------------------------------- the teacher


def test_teacher_is_the_running_mean_of_the_student_at_a_rising_rate():
    model = HierarchicalModel.init(jax.random.key(0), LEAVES, LinearGaussian())
    loss = IJEPA(ema_start=0.5, ema_end=0.9, ema_ramp=0.5)
    train = TrainConfig(steps=4, batch=8, warmup=1)
    reached = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("hlvm.mae.training.groups.CHUNK", 1)
        patch.setattr("hlvm.mae.training.program.CHUNK", 1)
        fit = mae.fit(
            0, model, RandomMask(ratio=0.4), CONFIG, train, loss=loss, on_progress=lambda p: reached.append(p.fits()[0])
        )
    expected = np.asarray(fit.untrained().params)
    for step, one in enumerate(reached):
        rate = 0.5 + 0.4 * min(step / 2, 1)
        expected = rate * expected + (1 - rate) * np.asarray(one.params)
        np.testing.assert_allclose(one.teacher, expected, atol=1e-6)
    assert len(reached) == 4
    replaced = dataclasses.replace(fit, params=fit.teacher)
    sample = model.sample(1, 5)
    assert np.abs(np.asarray(mae.encode(replaced, sample, None) - mae.encode(fit, sample, None))).max() > 0


def spread(fit, sample):
    """Share of the codes' squared length that differs between samples: near 0 where all have one code."""
    codes = np.asarray(mae.encode(fit, sample, None))
    return codes.var(axis=0).sum() / (codes**2).mean(axis=0).sum()


@pytest.mark.slow
def test_codes_collapse_without_stop_gradient_and_not_with_it():
    model = HierarchicalModel.init(jax.random.key(0), GRAPH, LinearGaussian())
    config = ViTConfig(width=16, depth=1, heads=2, decoder_width=16)
    train = TrainConfig(steps=400, batch=64, learning_rate=3e-3)
    sample = model.sample(1, 200)
    found = {}
    for name, loss in {"sound": IJEPA(), "broken": IJEPA(stop_gradient=False, ema_start=0.0, ema_end=0.0)}.items():
        fit = mae.fit(0, model, RatioRange(low=0.3, high=0.7), config, train, loss=loss)
        found[name] = spread(fit, sample), fit.losses[-20:].mean()
        untrained = spread(fit.untrained(), sample)
    assert untrained > 0.1
    assert found["broken"][0] < 0.02 < 0.1 < found["sound"][0]
    assert found["broken"][1] < 0.02  # the loss does not tell


# ---------------------------------------------------------------------- refused


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: IJEPA(ema_start=1.5), "IJEPA: ema_start must be a finite number, at least 0 and at most 1, got 1.5"),
        (lambda: IJEPA(ema_ramp=0.0), "ema_ramp must be a finite number, above 0 and at most 1"),
        (lambda: IJEPA(beta=float("nan")), "beta must be a finite number, above 0"),
        (lambda: Data2Vec(top_blocks=0), "Data2Vec: top_blocks must be"),
    ],
)
def test_latent_targets_refuse_bad_values(make, match):
    with pytest.raises(ValueError, match=match):
        make()


def test_latent_targets_refuse_networks_that_do_not_fit():
    model = HierarchicalModel.init(jax.random.key(0), GRAPH, LinearGaussian())
    train, mask = TrainConfig(steps=2, batch=8, warmup=1), RandomMask(ratio=0.5)
    with pytest.raises(ValueError, match=r"IJEPA: predicts a teacher's codes of tokens.*use ViTConfig"):
        mae.fit(0, model, mask, BottleneckConfig(code_dim=2), train, loss=IJEPA())
    with pytest.raises(ValueError, match="normalize_targets must be False for Data2Vec"):
        mae.fit(0, model, mask, ViTConfig(normalize_targets=True), train, loss=Data2Vec())
    with pytest.raises(ValueError, match="top_blocks must be at most the encoder's depth=2, got 3"):
        mae.fit(0, model, mask, ViTConfig(), train, loss=Data2Vec(top_blocks=3))
