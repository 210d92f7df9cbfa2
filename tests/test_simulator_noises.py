"""Noises in models, and values at great height."""

import jax
import numpy as np
import pytest
from plain_simulator import DIAMOND, FLOAT32, KEY_DATA, KEY_MODEL, MIXED, NOISES, plain_values
from scipy import stats

from hlvm.graph import LatentGraph
from hlvm.mechanisms import (
    AdditiveNoiseMLP,
    Coupling,
    Heteroscedastic,
    InvertibleMLP,
    Laplace,
    LinearGaussian,
    Polar,
    PostNonlinear,
    StudentT,
    Uniform,
    production_rules,
)
from hlvm.simulator import HierarchicalModel
from hlvm.simulator.layout import mechanism_per_node, noise_per_node


@pytest.fixture(scope="module")
def mixed():
    return HierarchicalModel.init(KEY_MODEL, DIAMOND, MIXED)


@pytest.fixture(scope="module")
def noisy():
    return HierarchicalModel.init(KEY_MODEL, DIAMOND, MIXED, noise=NOISES)


def test_init_gives_each_variable_its_noise(noisy):
    drawn = noisy.sample(KEY_DATA, 5000)
    laws = {"a": stats.uniform(-(3**0.5), 12**0.5), "x": stats.laplace(scale=0.5**0.5), "m": stats.norm()}
    for name, law in laws.items():
        # Three columns at a false-alarm rate of 1e-3 each; the seed is fixed.
        assert stats.kstest(np.asarray(drawn.noise[name])[:, 0], law.cdf).pvalue > 1e-3
    assert set(np.unique(drawn.latents["b"])) == {0.0, 1.0, 2.0}
    expected = plain_values(noisy, drawn.noise)
    for name in DIAMOND.nodes:
        np.testing.assert_allclose(drawn.variables[name], expected[name], err_msg=name, **FLOAT32)


def test_init_leaves_gaussian_noises_as_they_were_when_others_change(mixed, noisy):
    before, after = mixed.sample(KEY_DATA, 30), noisy.sample(KEY_DATA, 30)
    for name in DIAMOND.nodes:  # two programs, which may round differently
        as_it_was = np.allclose(before.noise[name], after.noise[name], rtol=1e-5, atol=1e-6)
        assert as_it_was == (name not in NOISES or name == "y")


def test_init_takes_one_noise_for_all():
    graph = LatentGraph.tree(2, 1)
    model = HierarchicalModel.init(KEY_MODEL, graph, LinearGaussian(), noise=Uniform())
    assert set(model.layout.noises) == {Uniform()}
    assert np.abs(np.asarray(model.sample(KEY_DATA, 1000).noises)).max() <= 3**0.5


def test_init_keeps_the_key_it_was_drawn_from(mixed):
    assert mixed.key == KEY_MODEL
    legacy = jax.random.PRNGKey(5)
    model = HierarchicalModel.init(legacy, LatentGraph.tree(2, 1), LinearGaussian())
    assert model.key == jax.random.key(5)


def test_init_refuses_noises_that_do_not_fit():
    with pytest.raises(ValueError, match="'q' is not a variable of this graph"):
        HierarchicalModel.init(KEY_MODEL, DIAMOND, MIXED, noise={"q": Laplace()})
    with pytest.raises(ValueError, match="the noise of 'x' has no variance, so values cannot be standardised"):
        HierarchicalModel.init(KEY_MODEL, DIAMOND, MIXED, noise={"x": StudentT(df=2.0)})


def test_noise_per_node_refuses_what_is_no_noise():
    mechanisms = mechanism_per_node(DIAMOND, MIXED)
    with pytest.raises(ValueError, match=r"unknown noise for variable 'x': expected one of .* got LinearGaussian"):
        noise_per_node(DIAMOND, mechanisms, {"x": LinearGaussian()})
    with pytest.raises(ValueError, match="noise must be a Noise such as Gaussian"):
        noise_per_node(DIAMOND, mechanisms, "normal")


def test_init_takes_noise_without_a_variance_when_nothing_is_standardized():
    graph = LatentGraph.tree(2, 1)
    model = HierarchicalModel.init(KEY_MODEL, graph, LinearGaussian(), noise=StudentT(df=1.0), standardize=False)
    assert np.isfinite(model.sample(KEY_DATA, 100).values).all()


def test_linear_gaussian_parameters_refuse_other_noises_and_interventions():
    graph = LatentGraph.tree(2, 1)
    model = HierarchicalModel.init(KEY_MODEL, graph, LinearGaussian(), noise={"x_0": Laplace()})
    with pytest.raises(ValueError, match=r"variable 'x_0' has the noise Laplace\(\): closed forms need Gaussian"):
        model.linear_gaussian_parameters()
    plain = HierarchicalModel.init(KEY_MODEL, graph, LinearGaussian())
    with pytest.raises(ValueError, match="variable 'z1_0' was set by an intervention"):
        plain.intervene({graph.nodes[0]: 1.0}).linear_gaussian_parameters()


# ---------------------------------------------------------------------- height 10

CHAIN = LatentGraph.from_edges(
    [(f"z{i + 1}", f"z{i}") for i in reversed(range(10))],
    dims=2,
    noise_dims={"z10": 2} | {f"z{i}": 0 for i in range(10)},
)
"""Ten mechanisms on top of each other; z10 is the root, z0 is observed."""


def assert_neither_blown_up_nor_collapsed(model):
    """Variance one at every height, and not from a few wild samples: the middle half is spread out as well."""
    values = np.asarray(model.sample(KEY_DATA, 20_000).values, dtype=np.float64)
    # The constants come from 4,096 draws: for values with kurtosis below 30 their standard error is below 0.09.
    assert np.abs(values.mean(axis=0)).max() < 0.15
    assert values.var(axis=0).min() > 0.7
    assert values.var(axis=0).max() < 1.4
    spread = np.subtract(*np.quantile(values, [0.75, 0.25], axis=0))
    assert spread.min() > 0.3  # 1.35 for a normal variable


@pytest.mark.slow
def test_variance_is_kept_at_height_10_by_mechanisms_in_turn():
    """Invertible and noisy mechanisms in one graph."""
    kinds = [InvertibleMLP(), AdditiveNoiseMLP(), Coupling(), Heteroscedastic(), PostNonlinear()]
    model = HierarchicalModel.init(
        KEY_MODEL, CHAIN, {f"z{i}": kinds[i % 5] for i in range(10)}, noise={"z10": Uniform()}
    )
    assert model.graph.height("z10") == 10
    assert_neither_blown_up_nor_collapsed(model)


@pytest.mark.slow
def test_variance_is_kept_at_height_10_below_nine_others_by_polar():
    """Which is made for one level: see below."""
    kinds = {f"z{i}": InvertibleMLP() for i in range(1, 10)} | {"z0": Polar()}
    noise_dims = dict.fromkeys(CHAIN.nodes, 0) | {"z10": 2, "z0": 2}
    graph = LatentGraph.from_edges(CHAIN.edges, noise_dims=noise_dims)
    assert_neither_blown_up_nor_collapsed(HierarchicalModel.init(KEY_MODEL, graph, kinds))


def test_polar_on_top_of_polar_is_refused_where_its_variance_is_that_of_a_few_draws():
    """Exponentials of exponentials. Without the check all but a few values of z3 would be within 1e-4 of each other."""
    edges = [(f"z{i + 1}", f"z{i}") for i in reversed(range(6))]
    graph = LatentGraph.from_edges(edges, noise_dims={"z6": 1} | {f"z{i}": 2 ** (5 - i) for i in range(6)})
    with pytest.raises(ValueError, match="variable 'z3': two or three of 4,096 draws from Polar make up nearly all"):
        HierarchicalModel.init(jax.random.key(0), graph, Polar())


def test_symbols_stay_in_use_at_height_10():
    """Neither do all but a few symbols die out on the way down, nor does their spread shrink."""
    edges = [(f"z{i + 1}_{side}", f"z{i}_{side}") for i in reversed(range(9)) for side in "ab"]
    graph = LatentGraph.from_edges([("z10", "z9_a"), ("z10", "z9_b"), *edges], dims=1)
    mechanisms, noises = production_rules(graph, vocabulary=8, synonyms=1)
    model = HierarchicalModel.init(KEY_MODEL, graph, mechanisms, noise=noises)
    sample = model.sample(KEY_DATA, 4000)
    for side in "ab":  # two children of one rule may share symbols; an only child has one of its own for each rule
        first, last = (
            np.bincount(np.asarray(values, dtype=int).ravel(), minlength=8)
            for values in (sample.latents[f"z9_{side}"], sample.observed[f"z0_{side}"])
        )
        assert len(last) == 8, side
        assert np.count_nonzero(first) >= 4, side
        assert sorted(first) == sorted(last), side


@pytest.mark.slow
@pytest.mark.parametrize(
    "mechanism",
    [
        InvertibleMLP(),
        InvertibleMLP(activation="smooth", weights="bounded"),
        Coupling(),
        LinearGaussian(),
        AdditiveNoiseMLP(),
        Heteroscedastic(),
        PostNonlinear(),
    ],
    ids=lambda m: type(m).__name__,
)
def test_variance_is_kept_at_height_10_by_each_mechanism(mechanism):
    assert_neither_blown_up_nor_collapsed(HierarchicalModel.init(KEY_MODEL, CHAIN, mechanism))
