"""Latent targets with a regulariser: value and gradient against NumPy, files and settings, and collapse prevented."""

import itertools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree
from objective_cases import RTOL, SMALL, samples_of
from plain_transformer import latent_target_loss, pooled

from hlvm import mae
from hlvm.cli.settings import load_settings, settings_from_dict
from hlvm.graph import LatentGraph
from hlvm.mae import TrainConfig, ViTConfig
from hlvm.mae.objectives import IJEPA, Data2Vec, SIGReg, VICReg
from hlvm.mae.objectives.descriptions import objective_from_dict, objective_to_dict
from hlvm.masking import RandomMask, RatioRange
from hlvm.mechanisms import LinearGaussian
from hlvm.simulator import HierarchicalModel
from hlvm.study.arms import arms_of

LEAVES = LatentGraph.from_edges([("z", f"x{i}") for i in range(5)], dims={"z": 2, **{f"x{i}": 2 for i in range(5)}})


# ---------------------------------------------------------------------- in float64, with derivatives by hand


def vicreg(views, loss, directions):
    """VICReg's loss of two views, and its derivatives with respect to each."""
    del directions
    (n, d), difference = views[0].shape, views[0] - views[1]
    value = loss.invariance * (difference**2).mean()
    slopes = [sign * 2 * loss.invariance * difference / (n * d) for sign in (1, -1)]
    for view, slope in zip(views, slopes, strict=True):
        centred = view - view.mean(axis=0)
        covariance = centred.T @ centred / (n - 1)
        spread = np.sqrt(np.diag(covariance) + 1e-4)
        value += loss.variance * np.maximum(0, 1 - spread).mean() / 2
        slope -= loss.variance * (spread < 1) * centred / (spread * (n - 1)) / (2 * d)
        others = covariance - np.diag(np.diag(covariance))
        value += loss.covariance * (others**2).sum() / d
        slope += loss.covariance * 4 * centred @ others / ((n - 1) * d)
    return value, slopes


def sigreg(views, loss, directions):
    """LeJEPA's loss of two views, and its derivatives with respect to each."""
    points = np.linspace(-5, 5, 17)
    normal = np.exp(-(points**2) / 2)
    (n, d), difference = views[0].shape, views[0] - views[1]
    value = (1 - loss.weight) * (difference**2).mean() / 4  # each view is half as far from their mean
    slopes = [sign * (1 - loss.weight) * difference / (2 * n * d) for sign in (1, -1)]
    for view, slope in zip(views, slopes, strict=True):
        for direction in directions:
            along = direction / np.linalg.norm(direction)
            waves = np.exp(1j * np.outer(view @ along, points))
            apart = waves.mean(axis=0) - normal
            share = loss.weight / (2 * len(directions))
            value += share * n * np.trapezoid(np.abs(apart) ** 2 * normal, points)
            moved = 2 * np.real(np.conj(apart) * 1j * points * waves) * normal
            slope += share * np.outer(np.trapezoid(moved, points, axis=1), along)
    return value, slopes


CASES = {
    "ijepa, vicreg": IJEPA(
        regularizer=VICReg(invariance=3.0, variance=2.0, covariance=0.7, head_layers=0), regularizer_weight=0.5
    ),
    "ijepa, vicreg, head": IJEPA(regularizer=VICReg(head_width=5, head_layers=2), regularizer_weight=0.1),
    "ijepa, sigreg": IJEPA(regularizer=SIGReg(weight=0.3, slices=4, head_layers=0)),
    "data2vec, sigreg, head": Data2Vec(
        regularizer=SIGReg(weight=0.8, slices=4, head_width=5, head_layers=1), regularizer_weight=2.0
    ),
    "data2vec with gradient, vicreg": Data2Vec(stop_gradient=False, regularizer=VICReg(head_width=5, head_layers=1)),
}


@pytest.mark.parametrize(
    "name", [name if name == "ijepa, vicreg" else pytest.param(name, marks=pytest.mark.slow) for name in CASES]
)
def test_regularized_loss_and_gradient_are_the_sums_of_both_parts(name):
    """The distance by a plain transformer; the added loss in NumPy, whose derivatives go back through plain codes."""
    loss = CASES[name]
    case = samples_of(LEAVES, RandomMask(ratio=0.4), SMALL, loss, np.random.default_rng(0).normal(size=(6, 10)))
    teacher = jax.tree.map(lambda leaf: leaf + 0.1 * jnp.sin(jnp.arange(leaf.size).reshape(leaf.shape)), case.params)
    samples, head = case.samples, case.objective.head(case.network)
    assert not np.array_equal(samples.masked, samples.second)
    weights = () if head is None else samples.head

    def own(params, weights):
        given = samples if head is None else samples._replace(head=weights)
        return case.objective.loss(case.network, params, teacher, given).mean

    def embeddings(params, weights):
        codes = [pooled(params, samples, masked, SMALL) for masked in (samples.masked, samples.second)]
        return codes if head is None else [perceptron(code, weights, head.sizes) for code in codes]

    found, slope = jax.jit(jax.value_and_grad(own, argnums=(0, 1)))(case.params, weights)
    distance, of_distance = jax.jit(
        jax.value_and_grad(lambda params: latent_target_loss(loss, SMALL, params, teacher, samples))
    )(case.params)
    views, back = jax.vjp(jax.jit(embeddings), case.params, weights)
    reference = vicreg if isinstance(loss.regularizer, VICReg) else sigreg
    added, by_view = reference(
        [np.asarray(view, np.float64) for view in views], loss.regularizer, np.asarray(samples.noise[0], np.float64)
    )
    of_added = back([jnp.asarray(one, jnp.float32) for one in by_view])
    assert loss.regularizer_weight * added > 0.05 * distance  # neither part drowns in the other
    np.testing.assert_allclose(found, distance + loss.regularizer_weight * added, rtol=RTOL)
    a = ravel_pytree(slope)[0]
    b = loss.regularizer_weight * ravel_pytree(of_added)[0]
    b = b.at[: len(ravel_pytree(of_distance)[0])].add(ravel_pytree(of_distance)[0])
    np.testing.assert_allclose(a, b, atol=RTOL * np.abs(b).max())


def perceptron(code, weights, sizes):
    start = 0
    for layer, (inputs, outputs) in enumerate(itertools.pairwise(sizes)):
        matrix = weights[start : start + inputs * outputs].reshape(inputs, outputs)
        start += inputs * outputs
        code = code @ matrix + weights[start : start + outputs]
        start += outputs
        code = jax.nn.gelu(code) if layer < len(sizes) - 2 else code
    return code


@pytest.mark.parametrize("case", [vicreg, sigreg])
def test_derivatives_by_hand_are_those_by_differences(case):
    """The oracle itself, in float64."""
    rng = np.random.default_rng(0)
    views, directions = [rng.normal(size=(6, 4)) for _ in range(2)], rng.normal(size=(3, 4))
    loss = VICReg(invariance=3.0, variance=2.0, covariance=0.7) if case is vicreg else SIGReg(weight=0.3)
    step = 1e-6
    for which, index in ((0, (1, 2)), (1, (4, 0)), (1, (0, 3))):
        ends = []
        for sign in (1, -1):
            moved = [view.copy() for view in views]
            moved[which][index] += sign * step
            ends.append(case(moved, loss, directions)[0])
        expected = (ends[0] - ends[1]) / (2 * step)
        assert case(views, loss, directions)[1][which][index] == pytest.approx(expected, rel=1e-6, abs=1e-8)


def test_rows_that_do_not_count_change_no_regularized_loss():
    """As rows that fill up the last batch of those held out."""
    loss = IJEPA(regularizer=VICReg(head_layers=0))
    case = samples_of(LEAVES, RandomMask(ratio=0.4), SMALL, loss, np.random.default_rng(0).normal(size=(6, 10)))
    samples = case.samples._replace(weights=case.samples.weights.at[4:].set(0.0))
    changed = samples._replace(inputs=samples.inputs.at[4:].set(7.0), values=samples.values.at[4:].set(7.0))
    taken = jax.jit(lambda given: case.objective.loss(case.network, case.params, case.params, given).mean)
    assert taken(changed) == pytest.approx(float(taken(samples)), rel=1e-5)
    assert taken(case.samples) != pytest.approx(float(taken(samples)))


# ---------------------------------------------------------------------- collapse


def spread(fit, sample):
    """Share of the codes' squared length that differs between samples: near 0 where all have one code."""
    codes = np.asarray(mae.encode(fit, sample, None))
    return codes.var(axis=0).sum() / (codes**2).mean(axis=0).sum()


@pytest.mark.slow
@pytest.mark.parametrize("make", [IJEPA, Data2Vec])
def test_regularizers_prevent_the_collapse_without_stop_gradient(make):
    model = HierarchicalModel.init(jax.random.key(0), LatentGraph.quadtree(2), LinearGaussian())
    config = ViTConfig(width=16, depth=2, heads=2, decoder_width=16)
    train = TrainConfig(steps=400, batch=64, learning_rate=3e-3)
    sample, mask = model.sample(1, 200), RatioRange(low=0.3, high=0.7)
    found = {}
    for regularizer in (None, VICReg(), SIGReg()):
        loss = make(stop_gradient=False, ema_start=0.0, ema_end=0.0, regularizer=regularizer)
        fit = mae.fit(0, model, mask, config, train, loss=loss)
        assert not fit.diverged
        found[regularizer] = spread(fit, sample)
        if regularizer is None:
            assert fit.losses[-20:].mean() < 0.02  # the loss does not tell
    alone = found.pop(None)
    assert alone < 0.02
    assert min(found.values()) > max(0.02, 4 * alone)  # docs/objectives.md has the numbers


# ---------------------------------------------------------------------- files, settings and names

HELD = IJEPA(regularizer=VICReg(variance=5.0), regularizer_weight=0.1)


def test_regularized_objective_is_described_and_others_as_ever():
    described = json.loads(json.dumps(objective_to_dict(HELD)))
    assert described["regularizer"] == objective_to_dict(VICReg(variance=5.0))
    assert objective_from_dict(described) == HELD
    assert "regularizer" not in "".join(objective_to_dict(IJEPA())) + "".join(objective_to_dict(Data2Vec()))
    assert "VICReg's loss" in HELD.units
    with pytest.raises(ValueError, match="loss: regularizer: kind must be one of vicreg, sigreg, got 'ijepa'"):
        objective_from_dict({"kind": "ijepa", "regularizer": {"kind": "ijepa"}})
    with pytest.raises(ValueError, match="loss: regularizer: kind must be one of vicreg, sigreg, got 3"):
        objective_from_dict({"kind": "data2vec", "regularizer": 3})


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: IJEPA(regularizer=VICReg), "IJEPA: regularizer must be a VICReg, a SIGReg or None, got <class"),
        (lambda: Data2Vec(regularizer=IJEPA()), "Data2Vec: regularizer must be a VICReg, a SIGReg or None, got IJEPA"),
        (
            lambda: IJEPA(regularizer=VICReg(), regularizer_weight=-1.0),
            "regularizer_weight must be a finite number, at",
        ),
        (lambda: Data2Vec(regularizer_weight=0.5), r"regularizer_weight must be 1 where there is no .* got 0\.5: give"),
    ],
)
def test_regularizers_that_are_none_are_refused(make, match):
    with pytest.raises(ValueError, match=match):
        make()


def members_of(loss):
    network, mask = {"kind": "vit"}, {"kind": "random", "ratio": 0.5}
    return settings_from_dict({"network": network, "mask": mask, "loss": loss})


def test_settings_take_a_regularizer_as_a_table_inside_of_the_loss():
    table = {"kind": "ijepa", "regularizer": {"kind": "vicreg", "variance": 5}, "regularizer_weight": 0.1}
    assert [member.loss for member in members_of(table).members] == [HELD]
    several = members_of(
        [{"kind": "ijepa"}, {"kind": "ijepa", "regularizer": [{"kind": "vicreg"}, {"kind": "sigreg"}]}]
    )
    assert [member.loss.regularizer for member in several.members] == [None, VICReg(), SIGReg()]
    assert [name.split(", ")[2] for name in several.names] == [
        "ijepa",
        "ijepa regularizer=vicreg",
        "ijepa regularizer=sigreg",
    ]
    listed = members_of({"kind": "data2vec", "regularizer": {"kind": "sigreg", "weight": [0.1, 0.5]}})
    assert [member.loss.regularizer.weight for member in listed.members] == [0.1, 0.5]


@pytest.mark.parametrize(
    ("inside", "match"),
    [
        ({"kind": "hinge"}, "regularizer of loss of kind 'ijepa': kind must be one of vicreg, sigreg, got 'hinge'"),
        ({}, "regularizer of loss of kind 'ijepa': kind must be one of vicreg, sigreg, got None"),
        ("vicreg", "regularizer of loss of kind 'ijepa' must be a table, got 'vicreg'"),
        ({"kind": "vicreg", "slices": 4}, "regularizer of loss of kind 'ijepa': 'slices' is not a field of it"),
        ({"kind": "sigreg", "slices": "4"}, "regularizer of loss of kind 'ijepa': slices must be a whole number"),
    ],
)
def test_settings_refuse_what_is_no_regularizer(inside, match):
    with pytest.raises(ValueError, match=match):
        members_of({"kind": "ijepa", "regularizer": inside})


def test_errors_of_a_regularizer_are_those_of_its_file(tmp_path):
    path = tmp_path / "train.json"
    loss = {"kind": "ijepa", "regularizer": {"kind": "vicreg", "variance": -1}}
    network, mask = {"kind": "vit"}, {"kind": "random", "ratio": 0.5}
    path.write_text(json.dumps({"network": network, "mask": mask, "loss": loss}))
    with pytest.raises(ValueError, match=r"train\.json: loss: variance must be a finite number, at least 0"):
        load_settings(path)


def test_arms_are_told_by_their_regularizer():
    losses = [IJEPA(), IJEPA(regularizer=VICReg()), IJEPA(regularizer=SIGReg())]
    arms = arms_of(LEAVES, [RandomMask(ratio=0.4)], [SMALL], losses)
    assert [arm.loss_name for arm in arms] == [
        "ijepa",
        "ijepa regularizer=vicreg regularizer_weight=1.0",
        "ijepa regularizer=sigreg regularizer_weight=1.0",
    ]
