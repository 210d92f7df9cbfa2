"""The best linear code for random masks, against masks drawn one by one, all masks, and gradient descent."""

from itertools import product

import jax
import numpy as np
import pytest
import scipy.optimize
from hypothesis import given, settings
from hypothesis import strategies as st
from linear_gaussian import parameters
from strategies import graphs, property_test

from hlvm.graph import LatentGraph, overlapping_fields
from hlvm.masking import BernoulliMask, MaskList, Patches, RandomMask, RatioRange
from hlvm.theory import GaussianOracle, critical_ratio
from hlvm.theory.gaussian.visibility import Visibility

few = settings(property_test, max_examples=25)

UNITS = Patches((("x1", "x2"), ("x3",), ("x4", "x5"), ("x6",)))
GRAPH = LatentGraph.from_edges(
    [(parent, f"x{i}") for i in range(1, 7) for parent in (("a", "b") if i % 2 else ("b", "c"))],
    dims={"a": 2, "b": 1, "c": 1, "x1": 2} | {f"x{i}": 1 for i in range(2, 7)},
)
STRATEGIES = {
    "counted": RandomMask(ratio=0.5, patches=UNITS),
    "range": RatioRange(low=0.25, high=0.75, patches=UNITS),
    "chance": BernoulliMask(ratio=0.4, patches=UNITS),
    "listed": MaskList.of(GRAPH, np.random.default_rng(0).random((5, 6)) < [0.1, 0.9, 0.5, 0.5, 0.4, 0.5]),
}


def gaussian(graph=GRAPH, seed=3):
    return GaussianOracle.from_parameters(graph, **parameters(graph, seed))


def all_masks(strategy, graph=GRAPH):
    """Every mask that a strategy can draw, and its probability, by the words of its law and not by its moments."""
    law = strategy.law(graph)
    if hasattr(law, "masks"):
        masks = law.masks()
        return masks, np.full(len(masks), 1 / len(masks))
    of_units = np.asarray(list(product([False, True], repeat=len(law.patches))))
    count = of_units.sum(axis=1)
    if hasattr(law, "ratio"):
        weights = law.ratio**count * (1 - law.ratio) ** (len(law.patches) - count)
        weights[(count == 0) | (count == len(law.patches))] = 0
    else:
        per_count = np.bincount(count)
        weights = np.where(np.isin(count, law.counts), 1 / per_count[count], 0.0)
    return of_units[:, law.patches.index(graph)], weights / weights.sum()


def columns(graph, masks):
    return np.repeat(masks, [graph.dim(name) for name in graph.observed], axis=1)


def expected_loss(covariance, maps, masks, weights, only_masked):
    """Error per column that counts of reconstructions ``maps @ (visible part)``, one mask after the other."""
    error, count = 0.0, 0.0
    for mask, weight in zip(masks, weights, strict=True):
        seen = maps * ~mask
        each = np.diag(covariance - 2 * seen @ covariance + seen @ covariance @ seen.T)
        counts = mask if only_masked else np.ones(len(mask))
        error += weight * (each * counts).sum()
        count += weight * counts.sum()
    return error / count


def observed_covariance(oracle, standardize):
    covariance = oracle.covariance(oracle.graph.observed)
    scale = np.sqrt(np.diag(covariance)) if standardize else np.ones(len(covariance))
    return covariance / np.outer(scale, scale), scale


# ---------------------------------------------------------------------- the law of what is visible


@pytest.mark.parametrize("name", STRATEGIES)
def test_visibility_matches_all_masks(name):
    masks, weights = all_masks(STRATEGIES[name])
    found = Visibility.of(STRATEGIES[name], GRAPH)
    seen = ~masks
    unit = found.unit_of
    for i, j in product(range(6), repeat=2):
        assert found.pairs[unit[i], unit[j]] == pytest.approx(weights @ (seen[:, i] & seen[:, j]))
        for t in range(6):
            beside = found.beside(unit[t])[unit[i], unit[j]]
            assert beside == pytest.approx(weights @ (masks[:, t] & seen[:, i] & seen[:, j]), abs=1e-15)
    assert found.n_masks == 0


def test_visibility_of_two_units_has_none_beside_a_masked_and_a_visible_one():
    graph = LatentGraph.from_edges([("z", "x1"), ("z", "x2")], dims=1)
    found = Visibility.of(BernoulliMask(ratio=0.3), graph)
    np.testing.assert_allclose(found.pairs, np.eye(2) / 2)
    np.testing.assert_allclose(found.beside(0), [[0, 0], [0, 0.5]])


# ---------------------------------------------------------------------- losses, codes and what they hold


@pytest.mark.parametrize("standardize", [True, False])
@pytest.mark.parametrize("loss", ["all", "masked"])
@pytest.mark.parametrize("name", STRATEGIES)
def test_code_attains_the_loss_it_says_under_all_masks(name, loss, standardize):
    oracle = gaussian()
    masks, weights = all_masks(STRATEGIES[name])
    masks = columns(GRAPH, masks)
    covariance, scale = observed_covariance(oracle, standardize)
    for k in (0, 1, 3, 7):
        found = oracle.random_mask_autoencoder(STRATEGIES[name], k, loss=loss, standardize=standardize)
        assert found.encoder.shape == (k, 7)
        maps = (found.decoder @ found.encoder) * scale / scale[:, None]
        expected = expected_loss(covariance, maps, masks, weights, loss == "masked")
        assert found.loss == pytest.approx(expected, abs=1e-9)
        assert found.n_masks == 0


@pytest.mark.parametrize("name", STRATEGIES)
def test_losses_of_all_columns_fall_with_rank_from_the_variance_to_the_best_linear_map(name):
    oracle = gaussian()
    masks, weights = all_masks(STRATEGIES[name])
    masks = columns(GRAPH, masks)
    covariance, _ = observed_covariance(oracle, True)
    found = oracle.random_mask_autoencoder(STRATEGIES[name], 2)
    assert found.losses[0] == pytest.approx(1.0)
    assert (np.diff(found.losses) <= 1e-12).all()
    np.testing.assert_allclose(found.explained, -np.diff(found.losses))
    for k in (1, 2, 5):
        other = oracle.random_mask_autoencoder(STRATEGIES[name], k)
        np.testing.assert_allclose(other.losses, found.losses)
    # The best linear map by least squares over all masks.
    second = np.einsum("m,mi,mj->ij", weights, ~masks, ~masks) * covariance
    cross = covariance * (weights @ ~masks)
    expected = (np.trace(covariance) - np.trace(cross @ np.linalg.pinv(second) @ cross.T)) / 7
    assert found.losses[-1] == pytest.approx(expected)


@pytest.mark.parametrize("name", STRATEGIES)
def test_masked_only_loss_of_full_rank_is_least_squares_for_each_column(name):
    oracle = gaussian()
    masks, weights = all_masks(STRATEGIES[name])
    masks = columns(GRAPH, masks)
    covariance, _ = observed_covariance(oracle, True)
    error = 0.0
    for t in range(7):
        where = weights * masks[:, t]
        second = np.einsum("m,mi,mj->ij", where, ~masks, ~masks) * covariance
        cross = covariance[t] * (where @ ~masks)
        error += where.sum() - cross @ np.linalg.pinv(second, rcond=1e-10) @ cross
    found = oracle.random_mask_autoencoder(STRATEGIES[name], 7, loss="masked")
    assert found.losses[-1] == found.loss == pytest.approx(error / (weights @ masks).sum(), abs=1e-9)
    assert found.losses[0] == pytest.approx(1.0)
    assert np.isnan(found.losses[1:-1]).all()
    fewer = [oracle.random_mask_autoencoder(STRATEGIES[name], k, loss="masked").loss for k in range(5)]
    assert (np.diff([*fewer, found.loss]) <= 1e-9).all()


@pytest.mark.parametrize("loss", ["all", "masked"])
@pytest.mark.parametrize("name", ["range", "chance", "listed"])
def test_no_code_found_by_gradient_descent_is_better(name, loss):
    """From its own and from random places, on the error written out mask by mask."""
    oracle = gaussian()
    masks, weights = all_masks(STRATEGIES[name])
    masks = columns(GRAPH, masks)
    covariance, _ = observed_covariance(oracle, True)
    counts = masks if loss == "masked" else np.ones(masks.shape)
    k = 2

    def error(flat):
        decoder, encoder = flat[: 7 * k].reshape(7, k), flat[7 * k :].reshape(k, 7)
        seen = decoder @ (encoder * ~masks[:, None])
        rest = np.eye(7) - seen
        left = rest @ covariance
        total = (((left * rest).sum(axis=2) * counts).sum(axis=1) * weights).sum()
        slope = -2 * weights[:, None, None] * counts[:, :, None] * left * ~masks[:, None]
        slopes = [(slope @ encoder.T).sum(axis=0), (decoder.T @ slope).sum(axis=0)]
        norm = (weights @ counts).sum()
        return total / norm, np.concatenate([slope.ravel() for slope in slopes]) / norm

    rng = np.random.default_rng(5)
    assert scipy.optimize.check_grad(lambda x: error(x)[0], lambda x: error(x)[1], rng.normal(size=14 * k)) < 1e-5
    found = oracle.random_mask_autoencoder(STRATEGIES[name], k, loss=loss)
    scale = np.sqrt(np.diag(oracle.covariance(GRAPH.observed)))
    own = np.concatenate([(found.decoder / scale[:, None]).ravel(), (found.encoder * scale).ravel()])
    assert error(own)[0] == pytest.approx(found.loss)
    assert np.abs(error(own)[1]).max() < 1e-4
    others = [
        scipy.optimize.minimize(error, start, jac=True, method="L-BFGS-B", options={"maxiter": 500}).fun
        for start in [own, *rng.normal(size=(6, 14 * k))]
    ]
    assert min(others) == pytest.approx(found.loss, abs=1e-7)
    assert min(others[1:]) < found.loss + 0.02, "descent gets nowhere, and would not find a better code"


@pytest.mark.parametrize("loss", ["all", "masked"])
def test_code_holds_of_latents_and_data_what_samples_say(loss):
    """Data, masks and codes drawn; R² of latents by least squares from the code, and the error of reconstructions."""
    graph = LatentGraph.quadtree(2)
    oracle = gaussian(graph)
    strategy = RandomMask(ratio=0.75, unit=2)
    found = oracle.random_mask_autoencoder(strategy, 3, loss=loss)
    n, rng = 60_000, np.random.default_rng(0)
    joint = oracle.covariance()
    mean = np.concatenate(oracle._parameters.means)
    sample = mean + rng.standard_normal((n, len(joint))) @ np.linalg.cholesky(joint).T
    first = len(joint) - len(found.means)
    masks = columns(graph, np.asarray(strategy.sample(jax.random.key(0), n, graph)))
    values = np.where(masks, np.nan, sample[:, first:])  # masked values must not be read
    code = found.codes(values, masks)
    starts = np.cumsum([0, *graph.dims])
    for i, name in enumerate(graph.latents):
        target = sample[:, starts[i] : starts[i + 1]] - mean[starts[i] : starts[i + 1]]
        rest = target - code @ np.linalg.lstsq(code, target, rcond=None)[0]
        # Five standard errors of an R²: at most 2 / sqrt(n) each.
        assert found.latent_r2[name] == pytest.approx(1 - (rest**2).sum() / (target**2).sum(), abs=10 / np.sqrt(n))
    assert max(found.latent_r2.values()) > 0.1
    error = (sample[:, first:] - found.reconstruct(values, masks)) ** 2 / np.diag(joint)[first:]
    error = error[masks] if loss == "masked" else error
    assert error.mean() == pytest.approx(found.loss, rel=0.02)


def test_strategies_without_a_law_are_drawn_from():
    graph = LatentGraph.quadtree(2)
    oracle = gaussian(graph)
    one = oracle.random_mask_autoencoder(Drawn(), 2, key=0, n_masks=200)
    other = oracle.random_mask_autoencoder(Drawn(), 2, key=jax.random.key(0), n_masks=200)
    assert one.n_masks == 200
    np.testing.assert_array_equal(one.losses, other.losses)


@few
@given(graph=graphs(kind="dag", free_dims=True, max_latents=4), seed=st.integers(0, 2**31))
def test_code_for_a_single_mask_is_reduced_rank_regression(graph, seed):
    """One mask only: errors on masked columns are those of the best bottleneck between the two sides."""
    rng = np.random.default_rng(seed)
    mask = rng.permutation(np.arange(len(graph.observed)) < rng.integers(1, len(graph.observed)))
    given_parameters = parameters(graph, seed, quiet=graph.observed[:1] if seed % 3 == 0 else ())
    oracle = GaussianOracle.from_parameters(graph, **given_parameters)
    strategy = MaskList.of(graph, mask[None])
    most = int(min(columns(graph, mask[None]).sum(), columns(graph, ~mask[None]).sum()))
    k = int(rng.integers(0, min(most, 3) + 1))
    found = oracle.random_mask_autoencoder(strategy, k, loss="masked")
    bottleneck = oracle.reduced_rank(mask, k)
    assert found.loss == pytest.approx(bottleneck.loss, abs=1e-6)
    assert found.losses[-1] == pytest.approx(bottleneck.losses[-1], abs=1e-7)


# ---------------------------------------------------------------------- critical ratios


def two_scales(far, near, own):
    """Two units of two cells: one factor of all cells, one difference within each unit, and noise of each cell."""
    edges = [(parent, f"x{u}{i}") for u in range(2) for i in range(2) for parent in ("far", f"near{u}")]
    graph = LatentGraph.from_edges(edges, dims=1)
    signs = {f"x{u}{i}": [[far, near * (-1) ** i]] for u in range(2) for i in range(2)}
    oracle = GaussianOracle.from_parameters(
        graph, coefficients=signs, noise_scales=dict.fromkeys(graph.latents, 1.0) | dict.fromkeys(graph.observed, own)
    )
    return oracle, Patches((("x00", "x01"), ("x10", "x11")))


def test_critical_ratio_is_where_the_code_changes_what_it_holds():
    far, near, own = 1.0, 1.7, 0.5
    oracle, patches = two_scales(far, near, own)
    wide = (4 * far**2 + own**2, 2 * far**2 + own**2)
    within = (2 * near**2 + own**2,) * 2
    expected = critical_ratio(wide, within)
    assert expected == pytest.approx(1 - (wide[0] ** 2 / within[0] - wide[1]) / (wide[0] - wide[1]))
    assert 0.2 < expected < 0.8
    assert oracle.critical_ratios(patches, 1, standardize=False) == (pytest.approx(expected, abs=1e-5),)
    assert oracle.critical_ratios(patches, 1) == (pytest.approx(expected, abs=1e-5),)  # equal variances
    # With two numbers, one is for a difference within units on either side, and with three all are held.
    covariance = oracle.covariance(oracle.graph.observed)
    blocks = covariance * np.kron(np.eye(2), np.ones((2, 2)))
    for ratio, held in ((expected - 0.02, 0.0), (expected + 0.02, 1.0)):
        second = covariance @ np.linalg.inv((1 - ratio) * covariance + ratio * blocks) @ covariance
        leading = np.linalg.eigh(second)[1][:, -1]
        assert abs(leading @ np.full(4, 0.5)) == pytest.approx(held, abs=1e-6)


def test_critical_ratio_of_modes_that_do_not_cross_is_nan():
    assert np.isnan(critical_ratio((2.0, 1.2), (1.8, 1.8)))
    assert np.isnan(critical_ratio((2.0, 1.0), (1.0, 0.5)))
    assert np.isnan(critical_ratio((2.0, 2.0), (1.0, 1.0)))
    assert critical_ratio((2.5, 2.5), (2.0, 1.2)) == pytest.approx(critical_ratio((2.0, 1.2), (2.5, 2.5)))
    one, other = (3.0, 1.0), (3.3, 2.8)
    visible = 1 - critical_ratio(one, other)
    worth = [total**2 / (visible * total + (1 - visible) * b) for total, b in (one, other)]
    assert worth[0] == pytest.approx(worth[1])


def test_critical_ratios_of_quadtrees_are_none():
    """Units that are subtrees of a symmetric tree: every mode is worth less by the same order at every ratio."""
    graph = LatentGraph.quadtree(2, root_dim=1, noise_dim=0)
    oracle = GaussianOracle.from_parameters(
        graph,
        coefficients={name: [[0.8]] for name in graph.nodes[1:]},
        noise_scales=dict.fromkeys(graph.nodes, 0.6) | {graph.nodes[0]: 1.0},
    )
    for k in range(1, 16):
        assert oracle.critical_ratios(Patches.blocks(graph, 2), k) == ()


# ---------------------------------------------------------------------- bad questions


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda o: o.random_mask_autoencoder(RandomMask(ratio=0.5), 8), "k must be a whole number from 0 to 7"),
        (lambda o: o.random_mask_autoencoder(RandomMask(ratio=0.5), True), "got True"),
        (lambda o: o.random_mask_autoencoder(RandomMask(ratio=0.5), 1, loss="visible"), 'loss must be "all" or'),
        (lambda o: o.random_mask_autoencoder(Drawn(), 1), "key is needed to draw masks"),
        (lambda o: o.random_mask_autoencoder(Drawn(), 1, key=0, n_masks=0), "n_masks must be a whole number"),
        (lambda o: o.random_mask_autoencoder("half", 1), "expected a mask strategy"),
        (lambda o: o.critical_ratios(UNITS, 0), "k must be a whole number from 1 to 6"),
        (lambda o: o.critical_ratios(UNITS, 7), "k must be a whole number from 1 to 6"),
        (lambda o: o.critical_ratios(Patches((("x1",),)), 1), "is in no patch"),
        (lambda _: critical_ratio((1.0, 0.0), (1.0, 1.0)), "pair of positive eigenvalues"),
    ],
)
def test_bad_questions_about_random_masks_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call(gaussian())


class Drawn:
    """A strategy that does not tell its law."""

    def sample(self, key, n, graph):
        return RandomMask(ratio=0.5).sample(key, n, graph)


def test_masked_only_loss_refuses_what_would_not_fit():
    graph = overlapping_fields(21, dims=1, noise_dims=1)
    oracle = gaussian(graph)
    with pytest.raises(ValueError, match="at most 67108864 = units x columns² numbers, got 441 x 441²"):
        oracle.random_mask_autoencoder(RandomMask(ratio=0.5), 1, loss="masked")
