"""VICReg, SIGReg and U-MAE: against plain loops, what normality means, and a collapse that is provoked."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from objective_cases import SMALL, assert_same_loss_and_gradient, samples_of

from hlvm import mae
from hlvm.graph import LatentGraph
from hlvm.mae import BottleneckConfig, LinearConfig, TrainConfig, ViTConfig
from hlvm.mae.objectives import SIGReg, UniformMAE, VICReg
from hlvm.mae.objectives.sigreg import epps_pulley
from hlvm.masking import RandomMask
from hlvm.mechanisms import LinearGaussian
from hlvm.simulator import HierarchicalModel

LEAVES = LatentGraph.from_edges([("z", f"x{i}") for i in range(5)], dims={"z": 2, **{f"x{i}": 2 for i in range(5)}})
MASK = RandomMask(ratio=0.4)
ROWS = np.random.default_rng(0).normal(size=(6, 10))
BOTTLENECK = BottleneckConfig(code_dim=3, width=8, depth=1)
NETWORKS = [pytest.param(SMALL, id="vit", marks=pytest.mark.slow), pytest.param(BOTTLENECK, id="bottleneck")]


def codes_of(case, params, masked):
    """Pooled codes sample by sample, from what the encoder gives."""
    coded = case.network.encode(params, case.samples.inputs, masked, case.samples.code_dim)
    return coded if coded.ndim == 2 else coded[:, 1:].mean(axis=1)


def embedded(case, params, masked):
    code = codes_of(case, params, masked)
    if case.samples.head is None:
        return code if isinstance(case.config, ViTConfig) else code[:, : case.config.code_dim]
    flat, sizes = np.asarray(case.samples.head), case.objective.head(case.network).sizes
    start = 0
    for layer, (a, b) in enumerate(itertools.pairwise(sizes)):
        code = code @ flat[start : start + a * b].reshape(a, b) + flat[start + a * b : start + a * b + b]
        start += a * b + b
        if layer < len(sizes) - 2:
            code = jax.nn.gelu(code)
    return code


def views_of(case, params):
    return [embedded(case, params, masked) for masked in (case.samples.masked, case.samples.second)]


@pytest.mark.parametrize("config", NETWORKS)
@pytest.mark.parametrize("layers", [0, 2])
def test_vicreg_is_that_of_plain_loops_with_its_gradient(config, layers):
    loss = VICReg(invariance=3.0, variance=2.0, covariance=0.7, head_width=5, head_layers=layers)
    case = samples_of(LEAVES, MASK, config, loss, ROWS)

    def plain(params):
        a, b = views_of(case, params)
        n, d = a.shape
        total = 3.0 * ((a - b) ** 2).mean()
        for z in (a, b):
            for i in range(d):
                total += 2.0 * jnp.maximum(0.0, 1 - jnp.sqrt(z[:, i].var(ddof=1) + 1e-4)) / d / 2
                for j in range(d):
                    if i != j:
                        moved = z[:, i] - z[:, i].mean(), z[:, j] - z[:, j].mean()
                        total += 0.7 * ((moved[0] * moved[1]).sum() / (n - 1)) ** 2 / d
        return total

    assert_same_loss_and_gradient(case, plain)


@pytest.mark.parametrize("config", NETWORKS)
@pytest.mark.parametrize("layers", [0, 1])
def test_sigreg_is_that_of_plain_loops_with_its_gradient(config, layers):
    case = samples_of(LEAVES, MASK, config, SIGReg(weight=0.3, slices=4, head_width=5, head_layers=layers), ROWS)

    def plain(params):
        views = views_of(case, params)
        middle = (views[0] + views[1]) / 2
        agreement = sum(((z - middle) ** 2).mean() for z in views) / 2
        points = np.linspace(-5, 5, 17)
        normality = 0.0
        for z, direction in itertools.product(views, case.samples.noise[0]):
            own = direction[: z.shape[1]]
            numbers = z @ own / jnp.sqrt((own**2).sum())
            heights = []
            for t in points:
                phi = jnp.exp(1j * t * numbers).mean()
                heights.append(jnp.abs(phi - np.exp(-(t**2) / 2)) ** 2 * np.exp(-(t**2) / 2))
            areas = [(x + y) / 2 * (10 / 16) for x, y in itertools.pairwise(heights)]
            normality += len(z) * sum(areas) / (2 * 4)
        return 0.7 * agreement + 0.3 * normality

    assert_same_loss_and_gradient(case, plain)


@pytest.mark.parametrize("config", NETWORKS)
def test_uniform_mae_is_that_of_plain_loops_with_its_gradient(config):
    case = samples_of(LEAVES, MASK, config, UniformMAE(weight=0.5), ROWS)

    def plain(params):
        samples = case.samples
        given = params, samples.inputs, samples.masked, samples.code_dim
        guess = case.network.reconstruct(*given, samples.noise)[0]
        hidden = np.repeat(np.asarray(samples.masked), 2, axis=1)
        error = ((guess - samples.values) ** 2)[hidden].mean()
        z = codes_of(case, params, samples.masked)
        pairs = [
            (z[i] @ z[j]) ** 2 / (z[i] @ z[i]) / (z[j] @ z[j]) for i, j in itertools.permutations(range(len(z)), 2)
        ]
        return error + 0.5 * sum(pairs) / len(pairs)

    assert_same_loss_and_gradient(case, plain)


# ---------------------------------------------------------------------- properties


def test_epps_pulley_is_small_for_normal_numbers_and_grows_with_n_for_others():
    """Of normal numbers the expectation does not depend on n: the integral of (1 - exp(-t²)) exp(-t²/2)."""
    points = np.linspace(-5, 5, 17)
    expected = np.trapezoid((1 - np.exp(-(points**2))) * np.exp(-(points**2) / 2), points)
    rng = np.random.default_rng(0)
    found = {}
    for n in (64, 1024):
        normal = jnp.asarray(rng.normal(size=(n, 400)), jnp.float32)
        uniform = jnp.asarray(rng.uniform(-(3**0.5), 3**0.5, size=(n, 400)), jnp.float32)
        found[n] = [float(epps_pulley(x, jnp.ones(n)).mean()) for x in (normal, uniform, 0 * normal)]
        assert found[n][0] == pytest.approx(expected, rel=0.15)  # 3 standard errors of 400 columns
    assert found[1024][1] > 1.5 * found[1024][0]
    assert found[64][2] > 20 * expected  # equal numbers
    assert found[1024][2] == pytest.approx(16 * found[64][2], rel=1e-3)


@pytest.mark.parametrize("loss", [VICReg(head_layers=1, head_width=4), SIGReg(slices=3), UniformMAE()], ids=str)
def test_rows_that_do_not_count_change_nothing(loss):
    """As rows that fill up the last batch of those held out."""
    case = samples_of(LEAVES, MASK, BOTTLENECK, loss, ROWS)
    samples = case.samples._replace(weights=case.samples.weights.at[4:].set(0.0))
    changed = samples._replace(inputs=samples.inputs.at[4:].set(7.0), values=samples.values.at[4:].set(7.0))
    whole, other = (case.objective.loss(case.network, case.params, None, s).mean for s in (samples, changed))
    assert other == pytest.approx(float(whole), rel=1e-5)
    assert case.objective.loss(case.network, case.params, None, case.samples).mean != pytest.approx(float(whole))


@pytest.mark.slow
def test_vicreg_collapses_without_its_variance_term_and_not_with_it():
    model = HierarchicalModel.init(jax.random.key(0), LEAVES, LinearGaussian())
    train = TrainConfig(steps=300, batch=64, learning_rate=1e-2)
    sample = model.sample(1, 200)
    spreads = []
    for loss in (VICReg(head_layers=0), VICReg(variance=0.0, covariance=0.0, head_layers=0)):
        codes = np.asarray(
            mae.encode(mae.fit(0, model, MASK, LinearConfig(code_dim=2), train, loss=loss), sample, None)
        )
        spreads.append(codes.std(axis=0).max())
    assert spreads[1] < 0.1 < 0.5 < spreads[0]


@pytest.mark.slow
def test_sigreg_makes_codes_standard_normal():
    model = HierarchicalModel.init(jax.random.key(0), LEAVES, LinearGaussian())
    train = TrainConfig(steps=1500, batch=128, learning_rate=1e-2)
    loss = SIGReg(weight=0.5, head_layers=0)
    fit = mae.fit(0, model, MASK, LinearConfig(code_dim=2), train, loss=loss)
    masked = np.asarray(MASK.sample(jax.random.key(3), 500, LEAVES))
    codes = np.asarray(mae.encode(fit, model.sample(1, 500), masked))
    np.testing.assert_allclose(np.cov(codes.T), np.eye(2), atol=0.2)  # 3 standard errors of a variance from 500 samples


# ---------------------------------------------------------------------- refused


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: VICReg(variance=-1.0), "VICReg: variance must be a finite number, at least 0"),
        (lambda: VICReg(head_layers=-1), "VICReg: head_layers must be"),
        (lambda: SIGReg(weight=2.0), "SIGReg: weight must be a finite number, at least 0 and at most 1"),
        (lambda: SIGReg(slices=0), "SIGReg: slices must be"),
        (lambda: UniformMAE(weight=float("inf")), "UniformMAE: weight must be a finite number, at least 0"),
    ],
)
def test_objectives_of_whole_batches_refuse_bad_values(make, match):
    with pytest.raises(ValueError, match=match):
        make()
