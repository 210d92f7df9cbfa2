import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from enumerated_trees import Enumeration, random_tree, varying_tables
from linear_gaussian import dense, parameters

from hlvm.graph import LatentGraph
from hlvm.mae.networks.linear import LinearNetwork
from hlvm.masking import MaskList, RandomMask
from hlvm.mechanisms import InvertibleMLP, LinearGaussian
from hlvm.simulator import HierarchicalModel
from hlvm.theory import (
    EstimatedOracle,
    GaussianOracle,
    GrammarOracle,
    estimated_oracle,
    mask_profile,
    mask_signal,
)
from hlvm.theory.signal import ridge as ridge_module
from hlvm.theory.signal.ridge import ridge_numbers

DIAMOND = LatentGraph.from_edges(
    [("a", "b"), ("a", "c"), ("b", "x1"), ("b", "x2"), ("c", "x2"), ("c", "x3"), ("c", "x4")],
    dims={"a": 2, "b": 1, "c": 3, "x1": 2, "x2": 1, "x3": 3, "x4": 1},
)
CROSSED = LatentGraph.from_edges([("a", "x1"), ("b", "x2"), ("a", "x3"), ("b", "x4"), ("b", "x1")], dims=2)
QUADTREE = LatentGraph.from_edges(LatentGraph.quadtree(2).edges, dims=1)
RIDGES = [0.0, 0.5, 3.0, math.inf]


def masks_of(n_cells, n=6, seed=0):
    """Masks at random, one that hides everything, and one that hides nothing."""
    masks = np.random.default_rng(seed).random((n, n_cells)) < 0.5
    masks[0], masks[1] = True, False
    return masks


def by_definition(sigma, noises, target, visible, ridge, n_cells):
    """Signal, relevance and readability of each latent, written out.

    Args:
        sigma: covariance of all columns, each cell of variance 1.
        noises: of each latent, the covariance of its noise with the columns, and of the noise with itself.
        target: masked columns.
        visible: visible columns.
    """
    s_vv, s_tv = sigma[np.ix_(visible, visible)], sigma[np.ix_(target, visible)]
    if math.isinf(ridge):
        inverse = np.eye(visible.sum())
    else:
        inverse = np.linalg.pinv(s_vv + ridge * np.eye(visible.sum()), rcond=1e-9, hermitian=True)
    weights = s_tv @ inverse
    total = np.trace(weights @ s_vv @ weights.T)
    found = []
    for with_columns, own in noises:
        c = with_columns.T @ np.linalg.pinv(own, rcond=1e-9, hermitian=True) @ with_columns
        signal = np.trace(c[np.ix_(target, visible)] @ inverse @ c[np.ix_(visible, target)]) / n_cells
        relevance = np.trace(weights @ c[np.ix_(visible, visible)] @ weights.T) / total if total > 1e-12 else 0.0
        # Of a noise of several numbers, each counts by the variance that it causes.
        effect = with_columns.T @ np.linalg.pinv(own, rcond=1e-9, hermitian=True)
        estimate = effect @ with_columns[:, visible] @ inverse
        spread, caused = np.trace(estimate @ s_vv @ estimate.T), np.trace(effect @ own @ effect.T)
        common = np.trace(estimate @ with_columns[:, visible].T @ effect.T)
        readability = common**2 / (spread * caused) if spread > 1e-12 else 0.0
        found.append((signal, relevance, readability if caused > 1e-12 else np.nan))
    return np.array(found).T


def check(found, masks, cells, sigma, noises, ridge, tolerance=1e-8):
    each = np.stack([found.signal.value, found.relevance.value, found.readability.value], axis=1)
    for mask, numbers in zip(masks, each, strict=True):
        known = by_definition(sigma, noises, mask[cells], ~mask[cells], ridge, masks.shape[1])
        np.testing.assert_allclose(numbers, known, atol=tolerance)


# ---------------------------------------------------------------------- linear-Gaussian models


@pytest.mark.parametrize("ridge", RIDGES)
@pytest.mark.parametrize("graph", [DIAMOND, CROSSED, QUADTREE], ids=["diamond", "crossed", "quadtree"])
def test_mask_signal_of_linear_models_follows_its_definition(graph, ridge):
    given = parameters(graph, 3)
    given["noise_scales"][graph.latents[0]] = np.random.default_rng(1).normal(size=(graph.dims[0], 3))
    _, covariance, place = dense(graph, given)
    columns = np.concatenate([place[name] for name in graph.observed])
    cells = np.repeat(np.arange(graph.n_observed), [graph.dim(name) for name in graph.observed])
    units = np.sqrt(np.diag(covariance)[columns] * np.bincount(cells)[cells])
    noises = []
    for name in graph.latents:  # without all other noises
        alone = {n: np.asarray(scale) * (n == name) for n, scale in given["noise_scales"].items()}
        silenced = {n: dict(given["noise_scales"])[n] if n == name else alone[n] for n in graph.nodes}
        _, joint, _ = dense(graph, {**given, "noise_scales": silenced})
        scale = np.asarray(given["noise_scales"][name])
        own = np.diag(scale**2) if scale.ndim == 1 else scale @ scale.T
        # The latent is its noise where all else is silent.
        np.testing.assert_allclose(joint[np.ix_(place[name], place[name])], own, atol=1e-12)
        noises.append((joint[np.ix_(place[name], columns)] / units, own))
    masks = masks_of(graph.n_observed)
    found = mask_signal(GaussianOracle.from_parameters(graph, **given), masks, ridge=ridge)
    check(found, masks, cells, covariance[np.ix_(columns, columns)] / np.outer(units, units), noises, ridge)
    assert found.signal.how == "exact"
    assert not found.signal.error.any()


@pytest.mark.parametrize("ridge", [0.0, 1e-3, 3.0, 99.0, 1e6, math.inf])
def test_ridge_numbers_do_not_depend_on_what_is_worked_on_together(monkeypatch, ridge):
    each = [GaussianOracle.from_parameters(CROSSED, **parameters(CROSSED, seed)).noise_effects() for seed in range(3)]
    state = np.random.default_rng(0).integers(0, 3, (20, 4))
    asked = state == 1, state == 2, ridge
    together = ridge_numbers(each, *asked)
    monkeypatch.setattr(ridge_module, "_NUMBERS_OF_MASKS", 1)
    monkeypatch.setattr(ridge_module, "_NUMBERS_AT_ONCE", 1)
    np.testing.assert_allclose(together, ridge_numbers(each, *asked), rtol=1e-9, atol=1e-15)
    if ridge:  # the other way to Σ_vv K, which the rounding of the largest ridges forbids
        monkeypatch.setattr(ridge_module, "_LARGE_RIDGE", 0.0)
        np.testing.assert_allclose(together, ridge_numbers(each, *asked), rtol=1e-9, atol=1e-15)
    assert (together[0] != together[1]).any()


@pytest.mark.parametrize("ridge", RIDGES)
def test_relevances_of_a_model_without_observed_noise_add_up_to_one(ridge):
    oracle = GaussianOracle.from_parameters(DIAMOND, **parameters(DIAMOND, 0, quiet=DIAMOND.observed))
    masks = masks_of(4)[2:]
    np.testing.assert_allclose(mask_signal(oracle, masks, ridge=ridge).relevance.value.sum(axis=1), 1)


def test_readability_without_a_ridge_is_the_availability_of_the_noise():
    graph = LatentGraph.from_edges(DIAMOND.edges, dims=1)
    oracle = GaussianOracle.from_parameters(graph, **parameters(graph, 0))
    masks = masks_of(4)
    known = oracle.latent_r2_batch(masks, part="noise").value
    np.testing.assert_allclose(mask_signal(oracle, masks, ridge=0).readability.value, known, atol=1e-9)
    assert (mask_signal(oracle, masks, ridge=2.0).readability.value <= known + 1e-12).all()


def test_signal_times_a_large_ridge_is_its_limit():
    oracle = GaussianOracle.from_parameters(DIAMOND, **parameters(DIAMOND, 0))
    large, limit = (mask_signal(oracle, masks_of(4), ridge=ridge) for ridge in (1e8, math.inf))
    np.testing.assert_allclose(1e8 * large.signal.value, limit.signal.value, rtol=1e-6)
    np.testing.assert_allclose(large.relevance.value, limit.relevance.value, rtol=1e-6)
    np.testing.assert_allclose(large.readability.value, limit.readability.value, rtol=1e-6)


def test_latents_without_noise_have_no_readability():
    graph = LatentGraph.from_edges([("a", "b"), ("b", "x"), ("b", "y")], dims=1)
    oracle = GaussianOracle.from_parameters(graph, **parameters(graph, 0, quiet=["b"]))
    masks = np.array([[True, False]])
    found = mask_signal(oracle, masks)
    assert np.isnan(found.readability.value).tolist() == [[False, True]]
    assert found.signal.value[0, 1] == found.relevance.value[0, 1] == 0
    table = mask_profile(oracle, {"one": MaskList.of(graph, masks)}, ["readability"]).of_heights("readability")
    assert table.columns.tolist() == [2]


def test_constant_cells_change_nothing():
    graph = LatentGraph.from_edges([("a", "x"), ("a", "y"), ("a", "z")], dims=1)
    given = parameters(graph, 0)
    smaller = LatentGraph.from_edges([("a", "x"), ("a", "y")], dims=1)
    part = {what: {n: given[what][n] for n in ("a", "x", "y") if n in given[what]} for what in given}
    given["coefficients"]["z"], given["noise_scales"]["z"] = np.zeros((1, 1)), np.zeros(1)
    more = mask_signal(GaussianOracle.from_parameters(graph, **given), np.array([[True, False, True]]))
    less = mask_signal(GaussianOracle.from_parameters(smaller, **part), np.array([[True, False]]))
    np.testing.assert_allclose(more.signal.value * 3, less.signal.value * 2)
    np.testing.assert_allclose(more.relevance.value, less.relevance.value)


# ---------------------------------------------------------------------- closed forms of trees


def even_quadtree(levels, coupling=0.8, noise=0.6, branching=4):
    """A tree in which every cell has the same law."""
    graph = LatentGraph.from_edges(LatentGraph.tree(branching, levels).edges, dims=1)
    coefficients = {name: [[coupling]] for name in graph.nodes if graph.parents(name)}
    noises = {name: noise if graph.parents(name) else 1.0 for name in graph.nodes}
    return graph, GaussianOracle.from_parameters(graph, coefficients=coefficients, noise_scales=noises)


def test_limit_of_signals_on_trees_is_the_pair_law():
    """``v_u² M_u V_u``: share of a cell's variance squared, times pairs of masked and visible cells below."""
    graph, oracle = even_quadtree(2)
    masks = masks_of(graph.n_observed)
    found = mask_signal(oracle, masks, ridge=math.inf).signal.value * graph.n_observed
    variance = (0.8**2 + 0.6**2) * 0.8**2 + 0.6**2
    below = graph.arrays.reached(np.eye(graph.n_observed, dtype=bool))[: graph.n_latents]
    share = np.where(np.arange(graph.n_latents) == 0, 0.8**4, 0.6**2 * 0.8**2) / variance
    pairs = (below @ masks.T.astype(int)) * (below @ (~masks).T.astype(int))
    np.testing.assert_allclose(found, (share[:, None] ** 2 * pairs).T, atol=1e-12)


def units_model(n_units, size, root=0.5, unit=0.3):
    """Cells that share a root, those of a unit also what the unit adds; each has variance 1."""
    edges = [("root", f"u{i}") for i in range(n_units)]
    edges += [(f"u{i}", f"x{i}_{j}") for i in range(n_units) for j in range(size)]
    graph = LatentGraph.from_edges(edges, dims=1)
    coefficients = {name: [[1.0]] for name in graph.nodes if graph.parents(name)}
    noises = {name: math.sqrt(1 - root - unit) for name in graph.observed}
    noises |= {f"u{i}": math.sqrt(unit) for i in range(n_units)} | {"root": math.sqrt(root)}
    oracle = GaussianOracle.from_parameters(graph, coefficients=coefficients, noise_scales=noises)
    far = 1 + (size - 1) * (root + unit) + (n_units - 1) * size * root  # of the mean mode in the covariance
    return graph, oracle, far, 1 + (size - 1) * (root + unit)


@pytest.mark.parametrize("ridge", [0.0, 3.0])
def test_signal_of_the_root_under_units_has_a_closed_form(ridge):
    """With N units, M masked, ``λ`` and ``β``: ``g² M (N-M) / (β + (N-M-1) g + τ)`` with ``g = (λ-β)/(N-1)``."""
    n_units, size = 12, 3
    graph, oracle, far, near = units_model(n_units, size)
    g = (far - near) / (n_units - 1)
    for masked in (1, 5, 11):
        mask = np.repeat(np.arange(n_units) < masked, size)[None]
        found = mask_signal(oracle, mask, ridge=ridge).signal.value[0, 0] * graph.n_observed
        shown = n_units - masked
        assert found == pytest.approx(g**2 * masked * shown / (near + (shown - 1) * g + ridge))


def test_signal_of_the_root_tends_to_the_formula_of_units_and_its_best_ratio():
    """``r (1-r) (λ-β)² / ((1-r) λ + r β + τ)``, at τ = 0 largest at ``√λ / (√λ + √β)``."""
    n_units, size = 100, 2
    graph, oracle, far, near = units_model(n_units, size, root=0.05)
    masked = np.arange(5, 100, 5)
    masks = np.repeat(np.arange(n_units) < masked[:, None], size, axis=1)
    r = masked / n_units
    for ridge in (0.0, 3.0):
        found = mask_signal(oracle, masks, ridge=ridge).signal.value[:, 0] * graph.n_observed
        formula = r * (1 - r) * (far - near) ** 2 / ((1 - r) * far + r * near + ridge)
        np.testing.assert_allclose(found, formula, rtol=0.08)
        if not ridge:
            best = math.sqrt(far) / (math.sqrt(far) + math.sqrt(near))
            assert abs(r[found.argmax()] - best) <= 0.05
            assert best > 0.6


# ---------------------------------------------------------------------- discrete trees


def of_productions(graph, known):
    """Covariance of the cells and of the productions with them by enumeration, written symbols taken off."""
    chance, tables = known.chance, known.tables
    shown, cells, spreads = [], [], []
    for cell in range(graph.n_observed):
        symbols = known.shown(graph.n_latents + cell)
        values = tables.values.get(graph.n_latents + cell, np.eye(symbols.shape[1]))
        law = chance @ symbols
        variance = law @ values**2 - (law @ values) ** 2
        varies = variance > 1e-12
        unit = np.sqrt(variance[varies] * varies.sum())
        shown.append((symbols @ values - law @ values)[:, varies] / unit)
        second = (values.T * law) @ values - np.outer(law @ values, law @ values)
        spreads.append(second[np.ix_(varies, varies)] / np.outer(unit, unit))
        cells += [cell] * int(varies.sum())
    columns, cells = np.concatenate(shown, axis=1), np.array(cells)
    sigma = (columns.T * chance) @ columns
    for cell, spread in enumerate(spreads):
        sigma[np.ix_(cells == cell, cells == cell)] = spread
    noises = []
    for u in range(graph.n_latents):
        production = known.symbols[:, u] * 100 + known.choices[:, u]
        if u in tables.priors:
            written = np.zeros_like(production)
        elif u in tables.channels:
            above = graph.parent_indices[u][0]
            place = graph.child_indices[above].index(u)
            written = tables.rules[above][known.symbols[:, above], known.choices[:, above], place]
        else:
            written = known.symbols[:, u]
        hot = (production[:, None] == np.unique(production)).astype(float)
        for w in np.unique(written):
            rows = written == w
            hot[rows] -= chance[rows] @ hot[rows] / chance[rows].sum()
        noises.append(((hot.T * chance) @ columns, (hot.T * chance) @ hot))
    return cells, sigma, noises


@pytest.mark.parametrize("ridge", RIDGES)
@pytest.mark.parametrize("seed", range(4))
def test_mask_signal_of_discrete_trees_agrees_with_enumeration(seed, ridge):
    graph = random_tree(np.random.default_rng(seed), branching=2, levels=2, regular=seed % 2 == 0)
    tables, known = varying_tables(graph)
    cells, sigma, noises = of_productions(graph, known)
    masks = masks_of(graph.n_observed)
    found = mask_signal(GrammarOracle.from_parameters(graph, **tables), masks, ridge=ridge)
    check(found, masks, cells, sigma, noises, ridge, tolerance=1e-7)
    assert found.relevance.how == "exact"


def test_mask_signal_of_rendered_symbols_agrees_with_enumeration():
    graph = random_tree(np.random.default_rng(0), branching=2, levels=2, regular=True)
    tables, _ = varying_tables(graph)
    rng = np.random.default_rng(5)
    tables["values"] = {name: rng.normal(size=(tables["n_symbols"][name], 5)) for name in graph.observed}
    cells, sigma, noises = of_productions(graph, Enumeration(graph, tables))
    masks = masks_of(graph.n_observed)
    found = mask_signal(GrammarOracle.from_parameters(graph, **tables), masks)
    check(found, masks, cells, sigma, noises, 3.0, tolerance=1e-7)


def test_productions_of_common_ancestors_explain_the_covariance_of_cells():
    graph = random_tree(np.random.default_rng(1), branching=2, levels=3, regular=True)
    tables, known = varying_tables(graph, most_symbols=2)
    effects = GrammarOracle.from_parameters(graph, **tables).noise_effects()
    explained = np.zeros_like(effects.covariance)
    for columns, loadings in zip(effects.columns, effects.loadings, strict=True):
        explained[np.ix_(columns, columns)] += loadings @ loadings.T
    apart = effects.cells[:, None] != effects.cells
    np.testing.assert_allclose(explained[apart], effects.covariance[apart], atol=1e-12)
    values = np.stack([known.shown(graph.n_latents + cell)[:, 0] for cell in range(graph.n_observed)], axis=1)
    seen = np.cov(values.T, aweights=known.chance, bias=True)
    mean = known.chance @ values
    corr = seen / np.sqrt(np.outer(mean * (1 - mean), mean * (1 - mean)))
    np.testing.assert_allclose(np.abs(corr)[apart], np.abs(effects.covariance)[apart], atol=1e-12)


def test_numbers_of_choices_do_not_matter_as_they_would_for_their_mean_effect():
    """The first-order effect of a choice's number, over all symbols, depends on how choices are numbered."""
    graph = LatentGraph.from_edges([("r", "z"), ("r", "w"), ("z", "x"), ("z", "y"), ("w", "q")], dims=1)
    copies = {"r": np.array([[[0, 0]], [[1, 1]]]), "w": np.array([[[0]], [[1]]])}
    same = np.array([[[0, 0], [1, 1]], [[0, 0], [1, 1]]])  # choice 0 writes 0, 0 whatever the symbol
    turned = same[:, ::-1].copy()
    turned[0] = same[0]
    sizes = dict.fromkeys(graph.nodes, 2)
    masks = np.array([[True, False, False], [False, True, False]])
    found, mean_effects = [], []
    for rule in (same, turned):
        rules = {**copies, "z": rule}
        found.append(mask_signal(GrammarOracle.from_parameters(graph, n_symbols=sizes, rules=rules), masks))
        mean_effects.append(float(rule.mean(axis=(0, 2)).var()))
    for part in ("signal", "relevance", "readability"):
        one, other = (getattr(signals, part).value for signals in found)
        np.testing.assert_allclose(one, other)
        assert one[0, graph.latents.index("z")] > 0.01
    assert mean_effects == [0.25, 0.0]


# ---------------------------------------------------------------------- estimates


@pytest.fixture(scope="module")
def drawn():
    model = HierarchicalModel.init(0, QUADTREE, LinearGaussian())
    return GaussianOracle(model), estimated_oracle(model, rows=4000, key=1), model


@pytest.mark.parametrize("ridge", RIDGES[1:])
def test_estimated_signals_agree_with_exact_ones_within_their_errors(drawn, ridge):
    exact, oracle, _ = drawn
    masks = masks_of(QUADTREE.n_observed)[2:]
    known, found = (mask_signal(of, masks, ridge=ridge) for of in (exact, oracle))
    for part in ("signal", "relevance", "readability"):
        answers = getattr(found, part)
        assert answers.how == "estimated"
        assert answers.rows == 4000
        assert ((answers.error > 0) == (answers.value > 0)).all()
        assert (np.abs(answers.value - getattr(known, part).value) <= 5 * answers.error + 1e-3).all()
        assert (answers.error < 0.1 * getattr(known, part).value.max()).all()


def test_errors_of_estimated_signals_are_those_of_repeated_draws(drawn):
    _, _, model = drawn
    masks = masks_of(QUADTREE.n_observed)[2:3]
    found = [mask_signal(estimated_oracle(model, rows=300, key=seed), masks).signal for seed in range(24)]
    spread = np.std([answers.value for answers in found], axis=0, ddof=1)
    told = np.sqrt(np.mean([answers.error**2 for answers in found], axis=0))
    assert (told / spread > 0.6).all()
    assert (told / spread < 1.7).all()


def test_linearised_signals_of_linear_models_are_exact(drawn):
    exact, _, model = drawn
    masks = masks_of(QUADTREE.n_observed)
    found = mask_signal(estimated_oracle(model, method="linearised"), masks)
    assert found.signal.how == "linearised"
    np.testing.assert_allclose(found.signal.value, mask_signal(exact, masks).signal.value, rtol=1e-4, atol=1e-7)


def test_latents_whose_noise_is_not_known_have_no_signal(drawn):
    _, _, model = drawn
    sample = model.sample(jax.random.key(0), 200)
    first = QUADTREE.latents[0]
    oracle = EstimatedOracle.from_arrays(
        QUADTREE, observed=sample.observed, latents=sample.latents, noise={first: sample.noise[first]}
    )
    found = mask_signal(oracle, masks_of(QUADTREE.n_observed)[2:])
    for answers in (found.signal, found.relevance, found.readability):
        assert np.isfinite(answers.value[:, 0]).all()
        assert np.isnan(answers.value[:, 1:]).all()


def test_signals_refuse_what_they_cannot_answer(drawn):
    exact, oracle, model = drawn
    sample = model.sample(jax.random.key(0), 60)
    without = EstimatedOracle.from_arrays(QUADTREE, observed=sample.observed, latents=sample.latents)
    masks = masks_of(QUADTREE.n_observed)
    with pytest.raises(ValueError, match="lacks the latents' noises"):
        mask_signal(without, masks)
    with pytest.raises(ValueError, match="oracle that was cut"):
        oracle.cut(1).noise_effects()
    tables, _ = varying_tables(DISCRETE)
    with pytest.raises(ValueError, match="oracle that was cut"):
        GrammarOracle.from_parameters(DISCRETE, **tables).cut(1).noise_effects()
    for ridge in (-1.0, math.nan, "a", True, None):
        with pytest.raises(ValueError, match="ridge must be a number of at least 0"):
            mask_signal(exact, masks, ridge=ridge)
    wide = LatentGraph.from_edges([("z", "x"), ("z", "y")], dims={"z": 40, "x": 1, "y": 1})
    rng = np.random.default_rng(0)
    columns = {"x": rng.normal(size=(100, 1)), "y": rng.normal(size=(100, 1))}
    noise = {"z": rng.normal(size=(100, 40))}
    few = EstimatedOracle.from_arrays(wide, observed=columns, latents=noise, noise=noise)
    with pytest.raises(
        ValueError, match="rows must be at least 1280 for a regression on 320 functions of noises, got 100"
    ):
        mask_signal(few, np.array([[True, False]]))
    large = LatentGraph.from_edges([("z", "x"), ("z", "y")], dims={"z": 1, "x": 2000, "y": 100})
    ones = {"x": np.ones((2000, 1)), "y": np.ones((100, 1))}
    many = GaussianOracle.from_parameters(large, coefficients=ones, noise_scales=dict.fromkeys(large.nodes, 1.0))
    with pytest.raises(ValueError, match="graph has 2100 observed columns, and signals are computed for at most 2048"):
        mask_signal(many, np.array([[True, False]]))


DISCRETE = LatentGraph.from_edges([("a", "b"), ("a", "x"), ("b", "y"), ("b", "z")], dims=1)


def test_signals_of_nonlinear_models_are_estimated():
    model = HierarchicalModel.init(0, LatentGraph.quadtree(1), InvertibleMLP())
    found = mask_signal(estimated_oracle(model, rows=400, key=1), np.array([[True, False, False, False]]))
    assert found.signal.how == "estimated"
    assert 0 < found.readability.value[0, 0] <= 1
    assert 0 < found.relevance.value[0, 0] <= 1 + 5 * found.relevance.error[0, 0]


def test_effects_of_noises_that_choose_categories_are_estimated():
    """A category that is cut out of a uniform number, with values that no line follows: half of each cell."""
    graph = LatentGraph.from_edges([("z", "x"), ("z", "y")], dims=1)
    rng = np.random.default_rng(0)
    uniform, n = rng.random((4000, 1)), 4000
    category = np.floor(4 * uniform)
    value = np.array([1.0, -1.0, -1.0, 1.0])[category.astype(int)]
    observed = {name: value + rng.normal(size=(n, 1)) for name in ("x", "y")}
    oracle = EstimatedOracle.from_arrays(graph, observed=observed, latents={"z": category}, noise={"z": uniform})
    found = mask_signal(oracle, np.array([[True, False]]), ridge=1.0)
    for answers, known in ((found.signal, 0.5**2 / 2 / 2), (found.relevance, 0.5), (found.readability, 0.5)):
        assert abs(answers.value[0, 0] - known) < 5 * answers.error[0, 0] + 2e-3


# ---------------------------------------------------------------------- profiles


def test_mask_profile_averages_signals_over_masks():
    graph, oracle = even_quadtree(2)
    masks = masks_of(graph.n_observed, 20)[2:]
    quantities = ("signal", "relevance", "readability")
    profile = mask_profile(oracle, {"list": MaskList.of(graph, masks)}, quantities, ridge=2.0)
    found = mask_signal(oracle, masks, ridge=2.0)
    heights = np.asarray(graph.heights)[: graph.n_latents]
    for quantity in quantities:
        mean = getattr(found, quantity).value.mean(axis=0)
        np.testing.assert_allclose(profile.of_latents(quantity).to_numpy()[0], mean)
        merge = np.mean if quantity == "readability" else np.sum
        by_height = profile.of_heights(quantity)
        np.testing.assert_allclose(by_height.loc["list", 1], merge(mean[heights == 1]))
        np.testing.assert_allclose(by_height.loc["list", 2], mean[0])
    assert not profile.table["error"].any()
    assert set(profile.table["how"]) == {"exact"}


def test_mask_profile_of_drawn_masks_has_the_errors_of_masks_and_draws(drawn):
    exact, oracle, _ = drawn
    strategy = {"half": RandomMask(ratio=0.5)}
    few = mask_profile(exact, strategy, ["signal"], n_masks=40).table
    many = mask_profile(exact, strategy, ["signal"], n_masks=4000, key=7).table
    assert (np.abs(few["value"] - many["value"]) < 5 * np.hypot(few["error"], many["error"])).all()
    assert (few["error"] > 0).all()
    both = mask_profile(oracle, strategy, ["signal"], n_masks=40).table
    assert set(both["how"]) == {"estimated"}
    assert (both["error"] > few["error"]).sum() >= len(both) - 1
    assert (np.abs(both["value"] - many["value"]) < 5 * both["error"] + 1e-3).all()


def test_signal_of_a_root_has_an_optimum_over_the_ratio_where_shares_have_none():
    graph, oracle = even_quadtree(3)
    masks = {str(r): RandomMask(ratio=r) for r in (0.125, 0.75, 0.96875)}
    top = max(graph.heights)
    shares = mask_profile(LatentGraph.tree(4, 3), masks, ["share"], regime="invertible")
    assert (shares.of_heights("share")[top] == 1).all()
    low, middle, high = mask_profile(oracle, masks, ["signal"], n_masks=64).of_heights("signal")[top]
    assert middle > 1.3 * max(low, high)


# ---------------------------------------------------------------------- the first gradient


def test_squared_gradient_of_a_linear_map_at_zero_is_the_limit_of_the_signal():
    """The loss is half the squared error, summed over masked cells."""
    oracle = GaussianOracle.from_parameters(DIAMOND, **parameters(DIAMOND, 2))
    mask = np.array([[True, False, False, True]])
    effects = oracle.noise_effects()
    target = jnp.asarray(mask[0, effects.cells])
    limit = mask_signal(oracle, mask, ridge=math.inf).signal.value[0] * DIAMOND.n_observed

    def loss(matrix, second_moments):
        read = matrix * ~target  # masked columns are not read
        error = jnp.eye(len(target)) - read
        return 0.5 * jnp.trace((error @ second_moments @ error.T)[target][:, target])

    n = len(target)
    for u, (columns, loadings) in enumerate(zip(effects.columns, effects.loadings, strict=True)):
        alone = np.zeros((n, n))
        alone[np.ix_(columns, columns)] = loadings @ loadings.T
        with_it = jax.grad(loss)(jnp.zeros((n, n)), jnp.asarray(effects.covariance))
        without = jax.grad(loss)(jnp.zeros((n, n)), jnp.asarray(effects.covariance - alone))
        assert float(((with_it - without) ** 2).sum()) == pytest.approx(limit[u], rel=1e-3, abs=1e-6)


def test_gradient_descent_on_a_linear_map_is_a_ridge_of_one_over_rate_times_steps_up_to_a_factor():
    """Each direction of the visible part is learned as by that ridge, or at most 1.30 times as much."""
    oracle = GaussianOracle.from_parameters(DIAMOND, **parameters(DIAMOND, 2))
    sigma = oracle.noise_effects().covariance
    s_vv, s_tv = sigma[1:, 1:], sigma[:1, 1:]
    rate, steps = 0.001, 2000
    matrix = np.zeros_like(s_tv)
    for _ in range(steps):
        matrix -= rate * (matrix @ s_vv - s_tv)
    strengths, directions = np.linalg.eigh(s_vv)
    ridge = s_tv @ directions / (strengths + 1 / (rate * steps))
    ratio = (matrix @ directions)[np.abs(ridge) > 1e-9] / ridge[np.abs(ridge) > 1e-9]
    assert len(ratio) > 3
    assert (ratio > 1).all()
    assert (ratio < 1.3).all()


def test_squared_gradient_of_a_linear_autoencoder_at_its_start_is_the_limit_of_the_signal():
    """For a code of k numbers and c columns, started with variances 1/c and 1/k: times ``(1 + k/c) (2/M)²``.

    The loss is the mean squared error of the M masked columns. The start is made small, so that only what is linear in
    the weights counts.
    """
    _, oracle = even_quadtree(1)
    mask = np.array([[True, True, False, False]])
    effects = oracle.noise_effects()
    root = effects.loadings[0]
    limit = float(mask_signal(oracle, mask, ridge=math.inf).signal.value[0, 0]) * 4
    code, c, small = 64, 4, 1e-3
    network = LinearNetwork(cell_dims=(1,) * 4, padded_code=code)
    values = jnp.asarray(np.concatenate([root.T, -root.T]), jnp.float32)  # all that varies is the root's noise
    masked = jnp.broadcast_to(jnp.asarray(mask), values.shape)

    def loss(params):
        error = network.reconstruct(params, values, masked, jnp.asarray(code), jnp.zeros((1, 2, 0)))[0] - values
        return (error**2 * masked).sum() / masked.sum()

    def squared(key):
        start = jax.tree.map(lambda weights: small * weights, network.init(key))
        return sum(jnp.vdot(part, part) for part in jax.tree.leaves(jax.grad(loss)(start)))

    found = jax.vmap(squared)(jax.random.split(jax.random.key(0), 200)) / small**2
    expected = (1 + code / c) * (2 / 2) ** 2 * limit
    error = float(found.std()) / math.sqrt(len(found))
    assert abs(float(found.mean()) - expected) < 5 * error
    assert error < 0.02 * expected
