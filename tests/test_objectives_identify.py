"""Objectives on generators with a known answer: SIGReg on Gaussian and uniform latents, data2vec."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import norm

from hlvm import mae
from hlvm.graph import LatentGraph
from hlvm.mae import BottleneckConfig, Member, TrainConfig, ViTConfig
from hlvm.mae.objectives import Data2Vec, SIGReg
from hlvm.masking import RandomMask
from hlvm.mechanisms import LinearGaussian, Uniform, mechanism_from_function
from hlvm.scoring import collapse, kernel_r2, linear_r2
from hlvm.simulator import HierarchicalModel

MASK = RandomMask(ratio=0.5)

# ---------------------------------------------------------------------- SIGReg: what is predicted
#
# A latent z has two noisy copies u0 and u1, two numbers each, and x_i = g(u_i) with one invertible g that is not
# linear. The mask hides x0 or x1, so that a view is one cell, and its code is a function h_i of u_i. SIGReg asks that
# the code of a random view is standard normal and that two views agree.
#
# Gaussian latents (pairs with correlation r = 0.8). Split h_i by degree of Hermite polynomials. Parts of degree m agree
# with correlation r^m across cells, and the mean is 0, so that the sum of all agreements is largest where only degree 1
# is there, with one matrix Q for both cells; the law makes Q orthogonal. So h_i(u) = Qu: the linear R2 of u is 1.
# (Klindt, LeCun and Balestriero 2026, theorem 1; here with views of several cells.)
#
# Uniform latents (z uniform, u_i a step of a normal random walk from z that is reflected at the borders, so that u_i is
# uniform too; correlation 0.80). Let C be the covariances of u with a normal code. The sum of its singular values is at
# most E[Q h(u) . u] at its largest over normal codes, which is 2 sqrt(3/pi): that of normal scores, number by number,
# the optimal transport. None is above 1, so the mean of their squares, which is the linear R2, is at most
# (1 + (2 sqrt(3/pi) - 1)^2) / 2 = 0.9556, whatever the pairs are. That the code still tells u (kernel R2 near 1) is
# expected, and not proved.
#
# Bounds, from this alone. Where no code is perfect, half of the way between 1 and the cap is left to training:
# Gaussian linear R2 and uniform kernel R2 above 0.978, and a gap between kernel and linear above 0.022. The law holds
# only as far as its weight makes it: a batch of 256 pays 0.5 * 256 * 0.0076 = 0.98 for uniform codes, and normal scores
# agree worse by about 0.008; the sum is smallest where codes have gone 99 % of the way to normal scores. So the cap may
# be passed by a hundredth of that way, less than 0.001, and by the error of 4,000 rows, 0.002: 0.96.
# Singular values of C are 1 for Gaussian latents; a code that is 5 % too long or short is let pass.
#
# (All of this was written before anything was trained. What came out stands at the tests.)
#
# The objective itself, not training, is to blame if the loss of the trained code is below that of u for uniform
# latents. For Gaussian latents it cannot be below, beyond chance.

CAP = (1 + (2 * np.sqrt(3 / np.pi) - 1) ** 2) / 2
HALF_WAY = (1 + CAP) / 2
PAIR = LatentGraph.from_edges([("z", "u0"), ("z", "u1"), ("u0", "x0"), ("u1", "x1")], dims=2)
TRAIN = TrainConfig(steps=4000, batch=256)
LOSS = SIGReg(weight=0.5, slices=16, head_layers=0)
HALF_WIDTH = 3**0.5
SEEDS = 3


def nearby(parents, noise):
    return 0.8**0.5 * parents + 0.2**0.5 * noise


def nearby_inside(parents, noise):
    moved = (parents + 0.5 * noise + HALF_WIDTH) % (4 * HALF_WIDTH)
    return jnp.where(moved > 2 * HALF_WIDTH, 4 * HALF_WIDTH - moved, moved) - HALF_WIDTH


def mixed(parents, noise):
    del noise
    first = parents[0] + jnp.sin(1.5 * parents[1])
    return jnp.stack([first, parents[1] + jnp.sin(1.5 * first)])


def world(law):
    step = mechanism_from_function({"gaussian": nearby, "uniform": nearby_inside}[law], noise_size=2)
    mixing = mechanism_from_function(mixed, noise_size=0)
    return HierarchicalModel.init(
        jax.random.key(0),
        PAIR,
        {"u0": step, "u1": step, "x0": mixing, "x1": mixing},
        noise={"z": Uniform()} if law == "uniform" else None,
        standardize=False,
    )


def seen(sample, key):
    """Masks of some rows, and what the visible cell of each has: its latent and its values."""
    masked = np.asarray(MASK.sample(key, len(sample.latents["z"]), PAIR))
    shown = np.argmin(masked, axis=1)
    latents, values = (
        np.stack([np.asarray(part[f"{name}{i}"]) for i in (0, 1)])
        for part, name in ((sample.latents, "u"), (sample.observed, "x"))
    )
    rows = np.arange(len(shown))
    return masked, latents[shown, rows], values[shown, rows]


def losses(first, second, loss=LOSS):
    """The loss of 40 batches of two views, with the same directions for all codes."""
    batches = [jnp.asarray(view, jnp.float32).reshape(40, TRAIN.batch, 2) for view in (first, second)]
    counted, used = jnp.ones(TRAIN.batch), jnp.ones(2)
    drawn = jnp.stack([loss.draw(key, 2) for key in jax.random.split(jax.random.key(3), 40)])
    taken = jax.lax.map(lambda x: loss.of_views((x[0], x[1]), counted, used, x[2]), (*batches, drawn))
    return np.asarray(taken, np.float64)


def excess(first, second):
    """Mean of the differences between losses of the same batches, in standard errors."""
    apart = first - second
    return apart.mean() / (apart.std(ddof=1) / len(apart) ** 0.5)


def turned(code, angles):
    cosines, sines = np.cos(angles), np.sin(angles)
    return np.stack([cosines * code[:, 0] - sines * code[:, 1], sines * code[:, 0] + cosines * code[:, 1]], axis=1)


def twisted(code):
    """Turned by an angle that is the length: a normal law stays as it is."""
    return turned(code, np.linalg.norm(code, axis=1))


def normal_scores(code):
    return norm.ppf(np.clip((code / HALF_WIDTH + 1) / 2, 1e-6, 1 - 1e-6))


@pytest.mark.parametrize("law", ["gaussian", "uniform"])
def test_sigreg_is_lowest_at_latents_where_they_are_gaussian_and_at_normal_scores_where_they_are_uniform(law):
    """Of codes that are functions of the latents, without any training, at the usual weight.

    At the weight of the training above, 0.5, 10,240 pairs hardly tell twisted codes from the best.
    """
    loss = dataclasses.replace(LOSS, weight=SIGReg().weight)
    sample = world(law).sample(jax.random.key(4), 40 * TRAIN.batch)
    latents = [seen(sample, jax.random.key(5 + view))[1] for view in (0, 1)]
    normal = latents if law == "gaussian" else [normal_scores(view) for view in latents]
    best = losses(*normal, loss)
    assert abs(excess(losses(*[turned(view, 0.7) for view in normal], loss), best)) < 4
    assert excess(losses(*[twisted(view) for view in normal], loss), best) > 4  # the same law, which agrees less
    bent = [HALF_WIDTH * (2 * norm.cdf(view) - 1) for view in latents] if law == "gaussian" else latents
    assert excess(losses(*bent, loss), best) > 4


@pytest.fixture(scope="module", params=["gaussian", "uniform"])
def found(request):
    """Measured numbers, seed by seed."""
    law = request.param
    model, network = world(law), BottleneckConfig(code_dim=2, width=64, depth=2)
    members = [Member(mask=MASK, network=network, loss=LOSS, seed=seed) for seed in range(SEEDS)]
    fits = mae.fit_ensemble(0, model, members, TRAIN)
    sample = model.sample(jax.random.key(1), 4000)
    masked, latents, values = seen(sample, jax.random.key(2))
    many = model.sample(jax.random.key(4), 40 * TRAIN.batch)
    views = [seen(many, jax.random.key(5 + view)) for view in (0, 1)]
    of_latents = losses(*[view[1] for view in views])
    rows = {"law": law, "mixed": linear_r2(values, latents, key=0).value}
    for name in ("kernel", "linear", "singular values", "excess loss", "its standard error"):
        rows[name] = []
    for fit in fits:
        code = np.asarray(mae.encode(fit, sample, masked))
        rows["kernel"].append(kernel_r2(code, latents, key=0).value)
        rows["linear"].append(linear_r2(code, latents, key=0).value)
        shared = np.cov(code.T, latents.T)[:2, 2:]
        rows["singular values"].append(np.linalg.svd(shared, compute_uv=False))
        more = losses(*[np.asarray(mae.encode(fit, many, view[0])) for view in views]) - of_latents
        rows["excess loss"].append(more.mean())
        rows["its standard error"].append(more.std(ddof=1) / len(more) ** 0.5)
    rows = {name: np.array(one) if isinstance(one, list) else one for name, one in rows.items()}
    return rows


@pytest.mark.slow
@pytest.mark.xfail(
    strict=True,
    reason="training stops short: linear R2 0.66 to 0.68 and kernel R2 0.82 to 0.84 of Gaussian latents, at a loss "
    "within 1.4 standard errors of that of the latents; of uniform ones 0.68 to 0.69 and 0.91 to 0.92",
)
def test_sigreg_finds_gaussian_latents_up_to_a_rotation_and_bends_uniform_ones(found):
    """The bounds above, as they were written before the first run."""
    assert found["mixed"] < 0.9  # cells do not tell latents by a linear map
    if found["law"] == "gaussian":
        assert (found["linear"] > HALF_WAY).all()
        np.testing.assert_allclose(found["singular values"], 1, atol=0.05)
    else:
        assert (found["kernel"] > HALF_WAY).all()
        assert (found["linear"] < 0.96).all()
        assert (found["kernel"] - found["linear"] > HALF_WAY - CAP).all()


@pytest.mark.slow
def test_sigreg_trains_codes_whose_loss_is_below_that_of_latents_only_where_these_are_uniform(found):
    standard_errors = found["excess loss"] / found["its standard error"]
    if found["law"] == "gaussian":
        assert (standard_errors > -3).all()
    else:
        assert (standard_errors < -3).all()


# ---------------------------------------------------------------------- data2vec


@pytest.mark.slow
def test_data2vec_finds_latents_of_a_quadtree_and_does_not_collapse():
    """Beside the same transformer before training."""
    graph = LatentGraph.quadtree(2)
    model = HierarchicalModel.init(jax.random.key(0), graph, LinearGaussian())
    train = TrainConfig(steps=1000, batch=64)
    network = ViTConfig(width=16, depth=2, heads=2, decoder_width=16)
    fit = mae.fit(0, model, MASK, network, train, loss=Data2Vec())
    sample = model.sample(jax.random.key(1), 2000)
    code, before = (np.asarray(mae.encode(one, sample, None)) for one in (fit, fit.untrained()))
    latents = np.concatenate([sample.latents[name] for name in graph.latents if graph.height(name) > 1], axis=1)
    assert not collapse(code, latents, untrained=before)
    found, floor = (kernel_r2(rows, sample.latents["z2_0_0"], key=0) for rows in (code, before))
    assert found.interval.low > floor.interval.high
