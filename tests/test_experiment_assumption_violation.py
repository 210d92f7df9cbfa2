"""Leaving the assumptions: mechanisms against integrals and simulation, verdicts on made-up records."""

import dataclasses
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
import scipy.stats

from experiments import assumption_violation as experiment
from experiments.assumption_violation_claims import judge
from experiments.violating_mechanisms import Folded, Hyperbolic, Noisy, best_r2_of_fold, fold
from hlvm.graph import LatentGraph
from hlvm.mechanisms import InvertibleMLP, LinearGaussian, check_mechanism
from hlvm.simulator import HierarchicalModel

# ---------------------------------------------------------------------- mechanisms


def moments(mechanism, parent):
    """Mean and second moments of the value given its parent, integrated over the noise."""
    noises = np.linspace(-9, 9, 4001).astype(np.float32)
    weights = scipy.stats.norm.pdf(noises) * (noises[1] - noises[0])
    values = jax.vmap(lambda noise: mechanism.apply({}, jnp.asarray([parent]), noise[None]))(jnp.asarray(noises))
    values = np.asarray(values, dtype=float)
    return weights @ values, np.einsum("n,ni,nj->ij", weights, values, values)


@pytest.mark.parametrize("name", list(experiment.BLIND))
def test_mean_of_blind_mechanisms_does_not_depend_on_the_parent_but_the_law_does(name):
    means, seconds = zip(*(moments(experiment.BLIND[name], parent) for parent in (-1.5, 0.0, 1.5)), strict=True)
    assert np.abs(means).max() < 1e-3
    expected = {
        "polar": [np.exp(c) / 2 * np.eye(2) for c in (-1.5, 0.0, 1.5)],
        "hyperbolic": [np.asarray([[np.exp(c), 1.0], [1.0, np.exp(-c)]]) for c in (-1.5, 0.0, 1.5)],
    }[name]
    np.testing.assert_allclose(seconds, expected, atol=2e-3)


def test_hyperbolic_is_inverted():
    report = check_mechanism(Hyperbolic(), jax.random.key(0), parent_dim=2, noise_dim=2, dim=4, tolerance=1e-2)
    report.require()


def test_hyperbolic_refuses_dims_that_do_not_fit():
    with pytest.raises(ValueError, match="set noise_dims"):
        Hyperbolic().noise_size(2, 1, 3)


def test_noisy_adds_noise_of_its_level_to_an_invertible_value():
    clean = InvertibleMLP()
    size = Noisy(level=0.5).noise_size(2, 1, 3)
    assert size == 1 + 3
    params = Noisy(level=0.5).init(jax.random.key(0), 2, size, 3)
    parents, noise = jnp.asarray([0.3, -1.2]), jnp.asarray([0.7, 1.0, -2.0, 3.0])
    apart = Noisy(level=0.5).apply(params, parents, noise) - clean.apply(params, parents, noise[:1])
    np.testing.assert_allclose(apart, [0.5, -1.0, 1.5], atol=1e-6)
    np.testing.assert_allclose(
        clean.invert(params, clean.apply(params, parents, noise[:1])), [0.3, -1.2, 0.7], atol=1e-5
    )


@pytest.mark.parametrize(("level", "of_minus_two"), [(0.0, -2.0), (0.25, -1.0), (0.5, 0.0), (0.75, 1.0), (1.0, 2.0)])
def test_fold_by_hand(level, of_minus_two):
    np.testing.assert_allclose(fold(np.asarray([-2.0, 3.0]), level), [of_minus_two, 3.0])


def test_folded_cannot_tell_signs_at_level_one_only():
    noise = jnp.asarray([0.4])
    for level, told in ((0.25, True), (1.0, False)):
        mechanism = Folded(level=level)
        params = mechanism.init(jax.random.key(0), 2, 1, 3)
        values = [mechanism.apply(params, sign * jnp.asarray([0.5, -1.5]), noise) for sign in (1, -1)]
        assert np.allclose(*values, atol=1e-6) is not told


@pytest.mark.parametrize("level", [0.3, 0.5, 0.6, 0.75, 1.0])
def test_best_r2_of_fold_is_that_of_means_over_bins(level):
    """Draw, sort by the fold, and guess the mean of each of 1,000 bins."""
    numbers = np.random.default_rng(0).normal(size=200_000)
    folded = fold(numbers, level)
    order = np.argsort(folded, kind="stable")
    bins = numbers[order].reshape(1000, 200)
    within = bins.var(axis=1).mean()
    if level == 0.5:  # the negative half is one bin, whatever the order inside
        below = numbers[numbers < 0]
        within = below.var() * len(below) / len(numbers)
    assert best_r2_of_fold(level) == pytest.approx(1 - within / numbers.var(), abs=0.01)


# ---------------------------------------------------------------------- predictions


def test_predicted_r2_of_linear_mechanisms_is_that_of_least_squares():
    config = experiment.SMOKE
    found = experiment.predict(config)
    (case,) = experiment.cases(config, {"part": "children", "mechanism": "linear"})
    model = HierarchicalModel.init(jax.random.split(jax.random.key(0), 5)[0], case.graph, case.mechanism)
    sample = model.sample(jax.random.key(5), 20_000)
    root = np.asarray(sample.latents["z1_0"], dtype=float)
    for (level, (predicted, _)), (n, (masked, dim)) in zip(found["children"], case.arms.items(), strict=True):
        visible = [name for name in case.graph.observed if name not in masked]
        assert (level, len(visible), dim) == (n, n, 2)
        features = np.concatenate([np.asarray(sample.observed[name], dtype=float) for name in visible], axis=1)
        rest = root - features @ np.linalg.lstsq(features, root, rcond=None)[0]
        assert predicted == pytest.approx(1 - rest.var() / root.var(), abs=0.02)


@pytest.mark.parametrize(
    "changes", [{"code_dims": (2, 4)}, {"noises": (0.0,)}, {"folds": ()}, {"children": (8,)}, {"seeds": 1}]
)
def test_settings_that_would_fail_after_training_are_refused(changes):
    with pytest.raises(ValueError, match=next(iter(changes))):
        dataclasses.replace(experiment.SMOKE, **changes)


def test_conditional_mean_of_a_linear_model_is_linear_in_the_root():
    model = HierarchicalModel.init(jax.random.key(0), LatentGraph.tree(2, 1), LinearGaussian(snr=1.0))
    known = model.linear_gaussian_parameters()
    root = np.random.default_rng(0).normal(size=(50, 2)).astype(np.float32)
    found = experiment.conditional_mean(model, root, ("x_1",), jax.random.key(1), 300)
    wanted = root @ known["coefficients"]["x_1"].T + known["offsets"]["x_1"]
    assert np.abs(found - wanted).max() < 5 / np.sqrt(300)
    assert np.abs(found - wanted).mean() < 1 / np.sqrt(300)


def test_every_level_has_its_mask_and_code():
    for group in experiment.groups(experiment.LAPTOP):
        for case in experiment.cases(experiment.LAPTOP, group):
            dims = {dim for _, dim in case.arms.values()}
            wide = set(experiment.LAPTOP.code_dims)
            assert dims == (wide if group["part"] == "gap" else {case.graph.dim(case.root)})
            assert case.graph.parents(case.root) == ()
            assert all(set(masked) < set(case.graph.observed) for masked, _ in case.arms.values())


# ---------------------------------------------------------------------- verdicts

PREDICTION = {
    "threshold": 0.9,
    "tolerance": 0.05,
    "noise": [[0.5, 0.8], [1.0, 0.5]],
    "children": [[1.0, 0.5], [4.0, 0.8]],
    "fold": [[0.25, 1.0], [1.0, 0.0]],
    "fold curve": [[0.0, 1.0], [0.5, 0.82], [1.0, 0.0]],
}
AS_PREDICTED = {
    **{("noise", "linear", "squared_error", level, "code -> c"): r2 for level, r2 in ((0.5, 0.79), (1.0, 0.5))},
    **{
        ("noise", "mlp", "squared_error", level, "code -> c"): r2 for level, r2 in ((0.0, 0.97), (0.5, 0.6), (1.0, 0.3))
    },
    **{
        ("noise", "mlp", "squared_error", level, "c -> code"): r2 for level, r2 in ((0.0, 0.97), (0.5, 0.6), (1.0, 0.3))
    },
    **{("noise", "mlp", "none", level, "visible -> c"): r2 for level, r2 in ((0.0, 0.98), (0.5, 0.62), (1.0, 0.33))},
    ("noise", "mlp", "none", 0.0, "conditional mean -> c"): 0.98,
    ("fold", "mlp", "squared_error", 0.25, "code -> c"): 0.96,
    ("fold", "mlp", "squared_error", 1.0, "code -> c"): 0.01,
    ("fold", "mlp", "squared_error", 0.25, "code -> folded root"): 0.96,
    ("fold", "mlp", "squared_error", 1.0, "code -> folded root"): 0.96,
    **{("children", "mlp", "squared_error", level, "code -> c"): 0.95 for level in (1.0, 4.0)},
    **{("children", "linear", "squared_error", level, "code -> c"): r2 for level, r2 in ((1.0, 0.49), (4.0, 0.79))},
    **{
        ("gap", mechanism, "squared_error", level, score): r2
        for mechanism, level in itertools.product(("polar", "hyperbolic"), (1.0, 2.0))
        for score, r2 in (("code -> c", 0.3), ("explained", 0.0))
    },
    **{
        ("gap", mechanism, "energy", level, score): 0.97
        for mechanism, level in itertools.product(("polar", "hyperbolic"), (1.0, 2.0))
        for score in ("code -> c", "c -> code")
    },
}


def records(changes=None, spread=0.005):
    """What the predictions say, with some scores replaced, over three seeds, and the points of the picture."""
    cells = AS_PREDICTED | (changes or {})
    floors = {
        (*cell[:-1], "untrained code -> c"): 0.25
        for cell in cells
        if cell[2] == "squared_error" and cell[-1] == "code -> c"
    }
    rows = [
        dict(zip(("part", "mechanism", "loss", "level", "score"), cell, strict=True))
        | {"seed": seed, "value": value + (0 if cell[2] == "none" else spread * ((seed + number) % 3 - 1))}
        for number, (cell, value) in enumerate((floors | cells).items())
        for seed in range(1 if cell[2] == "none" else 3)
    ]
    rows += [
        {"part": "gap", "mechanism": mechanism, "loss": loss, "level": 1.0, "seed": 0}
        | {"score": f"point {name}", "point": point, "value": point - 1.0}
        for mechanism, loss in itertools.product(("polar", "hyperbolic"), ("squared_error", "energy"))
        for name, point in itertools.product(("c", "x1", "x2", "code"), range(3))
    ]
    return pd.DataFrame(rows)


def test_judge_agrees_with_records_as_predicted():
    claims = judge(records(), PREDICTION)
    squared = [claim for claim in claims if "Squared error identifies" in claim.text]
    assert [claim.holds for claim in claims if claim not in squared] == [True] * (len(claims) - 1)
    assert all(claim.theory_agrees for claim in claims if claim.theory.says != "nothing")
    assert [(claim.holds, claim.theory_agrees, claim.paper_agrees) for claim in squared] == [(False, True, False)]


@pytest.mark.parametrize(
    ("cell", "value", "text"),
    [
        (("noise", "linear", "squared_error", 1.0, "code -> c"), 0.3, "Linear, noise"),
        (("noise", "mlp", "squared_error", 0.0, "c -> code"), 0.5, "Nonlinear, no noise"),
        (("noise", "mlp", "squared_error", 1.0, "code -> c"), 0.7, "every step of noise"),
        (("noise", "mlp", "none", 1.0, "visible -> c"), 0.5, "what labels find"),
        (("noise", "mlp", "none", 0.0, "conditional mean -> c"), 0.7, "the conditional mean"),
        (("fold", "mlp", "squared_error", 0.25, "code -> c"), 0.7, "while it is one-to-one"),
        (("fold", "mlp", "squared_error", 1.0, "code -> c"), 0.3, "what its fold tells"),
        (("fold", "mlp", "squared_error", 1.0, "code -> folded root"), 0.6, "the folded root"),
        (("children", "mlp", "squared_error", 1.0, "code -> c"), 0.6, "one visible child"),
        (("children", "linear", "squared_error", 1.0, "code -> c"), 0.6, "however many"),
        (("gap", "polar", "squared_error", 2.0, "explained"), 0.2, "explains at most"),
        (("gap", "hyperbolic", "squared_error", 2.0, "code -> c"), 0.8, "gains at most"),
        (("gap", "polar", "energy", 1.0, "c -> code"), 0.5, "The energy score identifies"),
        (("gap", "polar", "energy", 2.0, "code -> c"), 0.5, "with more numbers"),
    ],
)
def test_judge_sees_what_is_not_as_predicted(cell, value, text):
    (found,) = [claim for claim in judge(records({cell: value}), PREDICTION) if text in claim.text]
    assert found.holds is False
    assert found.theory_agrees is (None if found.theory.says == "nothing" else False)


def test_judge_sees_squared_error_find_what_it_should_not():
    cells = {("gap", name, "squared_error", 1.0, "code -> c"): 0.97 for name in ("polar", "hyperbolic")}
    (found,) = [f for f in judge(records(cells), PREDICTION) if "Squared error identifies" in f.text]
    assert (found.holds, found.theory_agrees, found.paper_agrees) == (True, False, True)


def test_judge_leaves_open_what_seeds_do_not_decide():
    assert all(claim.holds is None for claim in judge(records(spread=0.8), PREDICTION))


def test_figures_are_drawn_from_records_alone():
    figures = experiment.draw(records(), PREDICTION)
    assert set(figures) == {"violations", "gap"}
    dots = [np.asarray(found.get_offsets()) for found in figures["gap"].axes[2].collections]
    (points,) = [found for found in dots if len(found) == 3]
    np.testing.assert_allclose(points[:, 1], [-1.0, 0.0, 1.0])
