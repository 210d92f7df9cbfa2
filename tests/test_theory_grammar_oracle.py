import itertools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from enumerated_trees import Enumeration, random_tables, random_tree, varying_tables
from oracle_contract import OracleContract

from hlvm.graph import LatentGraph
from hlvm.theory import GrammarOracle
from hlvm.theory.grammar.averages import Averages

LEAST_CELLS, MOST_CELLS, MOST_WAYS = 2, 10, 20_000
WITHIN = 1e-10
"""Of numbers of float64 between 0 and some bits, each a sum of at most some thousand terms."""


def random_cases(seed, n, most_strings=math.inf):
    """Random trees with tables and everything that can happen in them."""
    rng = np.random.default_rng(seed)
    while n:
        levels, branching = int(rng.integers(1, 4)), int(rng.integers(2, 5))
        graph = random_tree(rng, branching=branching, levels=levels, regular=rng.random() < 0.5)
        if not LEAST_CELLS <= graph.n_observed <= MOST_CELLS:
            continue
        tables = random_tables(rng, graph, shared=rng.random() < 0.5)
        known = Enumeration(graph, tables)
        if len(known.chance) <= MOST_WAYS and known.n_strings <= most_strings:
            n -= 1
            yield rng, graph, tables, known


def drawn_strings(rng, known, n):
    ways = rng.choice(len(known.chance), p=known.chance / known.chance.sum(), size=n)
    first = known.graph.n_latents
    laws = [known.shown(first + i)[ways] for i in range(known.graph.n_observed)]
    return np.array([[rng.choice(len(law[k]), p=law[k]) for law in laws] for k in range(n)])


def equal_to_enumeration(seed, n, *, most_strings=27, most_cells=3):
    """Every string, or three where there are many, and every mask, or eight."""
    for rng, graph, tables, known in random_cases(seed, n):
        cells = graph.n_observed
        every_mask = np.array(list(itertools.product([False, True], repeat=cells))) if cells <= most_cells else None
        visible = rng.random((8, cells)) < rng.random() if every_mask is None else every_mask
        strings = known.strings()[0] if known.n_strings <= most_strings else drawn_strings(rng, known, 3)
        with jax.disable_jit():  # every tree would be compiled anew
            oracle = GrammarOracle.from_parameters(graph, **tables, dtype="float64")
            likelihood = oracle.log_likelihood(strings, visible)
            posterior = oracle.posterior(strings, visible, names=graph.nodes)
            joint = oracle.joint_entropy(strings, visible)
        for (i, string), (j, seen) in itertools.product(enumerate(strings), enumerate(visible)):
            ways = known.ways(string, seen)
            assert likelihood[i, j] == pytest.approx(math.log(ways.sum()), abs=1e-10)
            for node, name in enumerate(graph.nodes):
                np.testing.assert_allclose(posterior[name][i, j], known.posterior(node, string, seen), atol=1e-10)
            share = ways[ways > 0] / ways.sum()
            hidden = -(share * np.log2(share)).sum()  # of the ways, and of each leaf that is not seen along each
            for leaf in np.flatnonzero(~seen):
                law = known.shown(graph.n_latents + leaf)[ways > 0]
                hidden -= share @ np.where(law > 0, law * np.log2(np.where(law > 0, law, 1)), 0).sum(axis=1)
            assert joint[i, j] == pytest.approx(hidden, abs=1e-9)


def test_oracle_equals_enumeration():
    equal_to_enumeration(0, 2)


@pytest.mark.slow
def test_oracle_equals_enumeration_on_many_trees():
    equal_to_enumeration(1, 200, most_strings=81, most_cells=4)


# ---------------------------------------------------------------------- averages over strings


class Case(NamedTuple):
    """A tree whose strings are few: its oracle, all that can happen, and what the symbols of a cell are rendered as."""

    oracle: GrammarOracle
    known: Enumeration
    values: dict[str, np.ndarray]

    @classmethod
    def of(cls, rng, graph, tables, known):
        cell = str(rng.choice(graph.observed))
        node = graph.index[cell]
        values = {cell: rng.normal(size=(known.shown(node).shape[1], 2))}
        return cls(GrammarOracle.from_parameters(graph, **tables, values=values, dtype="float64"), known, values)


def averaged(known, masked, function):
    """Mean over all strings, by their probabilities, of a number for a string and what is visible."""
    seen = ~np.isin(known.graph.observed, masked)
    strings, chance = known.strings()
    return sum(p * function(string, seen) for string, p in zip(strings, chance, strict=True))


def law_of(known, node):
    nothing = np.zeros(known.graph.n_observed, dtype=bool)
    return known.posterior(node, np.zeros(known.graph.n_observed, dtype=int), nothing)


def entropy(law):
    return -sum(p * math.log2(p) for p in np.ravel(law) if p > 0)


def kinds(known, columns):
    """For each way, the number of its combination of values in some columns."""
    return np.unique(np.stack(columns), axis=1, return_inverse=True)[1].ravel()


def check_r2(found, spread_of, known, masked, name):
    """Compare R² of one latent with the mean spread of what is given by ``spread_of(ways)``; NaN if nothing varies."""
    total = spread_of(known.chance)
    left = averaged(known, masked, lambda *given: spread_of(known.ways(*given)))
    if total > 1e-9:
        assert found[name] == pytest.approx(1 - left / total, abs=max(WITHIN, 1e-15 / total))
    else:
        assert math.isnan(found[name])


def spread_of_kinds(kind):
    return lambda ways: 1 - (np.bincount(kind, weights=ways / ways.sum()) ** 2).sum()


def latent_r2_equals_enumeration(case, masked):
    oracle, known, _ = case
    found = oracle.latent_r2(masked)
    for node, name in enumerate(known.graph.latents):
        check_r2(found, spread_of_kinds(known.symbols[:, node]), known, masked, name)


def latent_r2_of_noise_equals_enumeration(case, masked):
    oracle, known, _ = case
    found = oracle.latent_r2(masked, part="noise")
    for node, name in enumerate(known.graph.latents):
        own = [known.choices[:, node]]
        if not known.graph.parents(name) or node in known.tables.channels:
            own.append(known.symbols[:, node])
        check_r2(found, spread_of_kinds(kinds(known, own)), known, masked, name)


def best_accuracy_equals_enumeration(case, masked):
    oracle, known, _ = case
    found = oracle.best_accuracy(masked)
    for node, name in enumerate(known.graph.latents):
        expected = averaged(known, masked, lambda *given, n=node: known.posterior(n, *given).max())
        assert found[name] == pytest.approx(expected, abs=WITHIN)


def bayes_loss_equals_enumeration(case, masked):
    oracle, known, values = case
    found = oracle.bayes_loss(masked)
    mse, variance, bits = [], [], []
    for name in masked:
        node = known.graph.index[name]
        shown = values.get(name, np.eye(len(law_of(known, node))))
        mse.append(averaged(known, masked, lambda *given, n=node, f=shown: _variance(known.posterior(n, *given), f)))
        variance.append(_variance(law_of(known, node), shown))
        bits.append(averaged(known, masked, lambda *given, n=node: entropy(known.posterior(n, *given))))
    np.testing.assert_allclose(found.mse, np.concatenate(mse), atol=WITHIN)
    np.testing.assert_allclose(found.variance, np.concatenate(variance), atol=WITHIN)
    np.testing.assert_allclose(found.bits, bits, atol=WITHIN)
    assert found.how == "exact"


def _variance(law, values):
    return law @ values**2 - (law @ values) ** 2


def information_equals_enumeration(case, masked, *sets_of_names):
    oracle, known, _ = case
    for names in sets_of_names:
        kind = kinds(known, [known.symbols[:, known.graph.index[name]] for name in names])

        def joint(ways, kind=kind):
            return entropy(np.bincount(kind, weights=ways / ways.sum()))

        rest = averaged(known, masked, lambda *given: joint(known.ways(*given)))
        found = oracle.information(names, masked)
        assert float(found) == pytest.approx(joint(known.chance) - rest, abs=WITHIN)
        assert found.how == "exact"


def averages_equal_enumeration(seed, n, *, most_strings, most_cells=4):
    """Every average, for every mask of few cells, or eight of many."""
    for rng, graph, tables, known in random_cases(seed, n, most_strings):
        case = Case.of(rng, graph, tables, known)
        pair = rng.choice(graph.latents, size=min(2, graph.n_latents), replace=False).tolist()
        for masked in masks_of(rng, graph, most_cells):  # all masks of a tree share its programs
            latent_r2_equals_enumeration(case, masked)
            latent_r2_of_noise_equals_enumeration(case, masked)
            best_accuracy_equals_enumeration(case, masked)
            bayes_loss_equals_enumeration(case, masked)
            information_equals_enumeration(case, masked, [graph.latents[0]], pair)


def masks_of(rng, graph, most_cells):
    """Names of masked cells, at least one and not all."""
    cells = np.array(graph.observed)
    if len(cells) <= most_cells:
        masks = np.array(list(itertools.product([False, True], repeat=len(cells))))[1:-1]
    else:
        masks = np.array([rng.permutation(len(cells)) < rng.integers(1, len(cells)) for _ in range(8)])
    return [cells[mask].tolist() for mask in masks]


def test_averages_equal_enumeration():
    averages_equal_enumeration(0, 2, most_strings=9)


@pytest.mark.slow
def test_averages_equal_enumeration_on_many_trees():
    averages_equal_enumeration(1, 40, most_strings=81)


# ---------------------------------------------------------------------- one tree


@pytest.fixture(scope="module")
def case():
    """A binary tree of two levels, with noise at some leaves and choices that are not equally likely."""
    graph = random_tree(np.random.default_rng(0), branching=2, levels=2, regular=True)
    return graph, *varying_tables(graph)


@pytest.fixture(scope="module")
def oracle(case):
    return GrammarOracle.from_parameters(case[0], **case[1], dtype="float64")


MASKED = ["x0", "x3"]


def test_averages_equal_enumeration_in_compiled_programs(case):
    one = Case.of(np.random.default_rng(0), *case)
    latent_r2_equals_enumeration(one, MASKED)
    latent_r2_of_noise_equals_enumeration(one, MASKED)
    best_accuracy_equals_enumeration(one, MASKED)
    bayes_loss_equals_enumeration(one, MASKED)
    information_equals_enumeration(one, MASKED, ["z0"], ["z1"], ["z1", "z2"], ["z0", "z1", "z2"])


def test_bayes_loss_of_absent_cells(case, oracle):
    """A cell that is neither seen nor asked for changes the loss as if it were masked, and is not counted."""
    alone = oracle.bayes_loss(["x0"], visible=["x1", "x2"])
    both = oracle.bayes_loss(MASKED)
    np.testing.assert_allclose(alone.bits, both.bits[:1], atol=1e-12)
    assert oracle.bayes_loss(["x0"]).bits[0] <= alone.bits[0] + 1e-12


@pytest.fixture(scope="module", params=["regular", "irregular"])
def small_tree(request, case):
    if request.param == "regular":
        return GrammarOracle.from_parameters(case[0], **case[1], dtype="float64")
    graph = LatentGraph.from_edges([("a", "b"), ("a", "x"), ("b", "y"), ("b", "z"), ("a", "w")], dims=1)
    return GrammarOracle.from_parameters(graph, **varying_tables(graph, noisy=False)[0], dtype="float64")


class TestContract(OracleContract):
    """What every oracle must pass, on a regular tree and on one with leaves at several depths."""

    tolerance = 1e-8

    @pytest.fixture
    def oracle(self, small_tree):
        return small_tree

    def information(self, oracle, latents, visible, given=()):
        return float(oracle.information(latents, visible=visible, given=given))

    def relabelled(self, oracle, rng):
        graph, parameters = oracle.graph, oracle._inference.parameters
        new = {name: f"new {name}" for name in graph.nodes}
        place = rng.permutation(graph.n_observed)
        while (place == np.arange(graph.n_observed)).any():
            place = rng.permutation(graph.n_observed)
        observed = [new[graph.observed[i]] for i in place]
        edges = [(new[a], new[b]) for a, b in graph.edges]
        other = LatentGraph.from_edges(edges, dims=1, observed=observed)
        tables = {"n_symbols": {new[name]: n for name, n in oracle.n_symbols.items()}}
        for what in ("rules", "probabilities", "priors", "channels", "values"):
            tables[what] = {new[graph.nodes[i]]: table for i, table in getattr(parameters, what).items()}
        for name in graph.latents:  # children come in the order of the other graph
            before = [new[child] for child in graph.children(name)]
            order = [before.index(child) for child in other.children(new[name])]
            tables["rules"][new[name]] = tables["rules"][new[name]][..., order]
        latents = [graph.latents.index(name.removeprefix("new ")) for name in other.latents]
        return GrammarOracle.from_parameters(other, **tables, dtype="float64"), place, latents


def test_information_of_many_latents_by_draws(oracle, monkeypatch):
    exact = float(oracle.information(["z0", "z1"], MASKED))
    monkeypatch.setattr("hlvm.theory.grammar.averages._MOST_OUTCOMES", 1)
    found = oracle.information(["z0", "z1"], MASKED, rows=4000, key=0)
    assert found.how == "estimated"
    assert found.rows > 0
    assert abs(found.value - exact) < 4 * found.error


def test_batches_equal_single_masks(oracle):
    masks = np.array([[True, False, False, True], [False, True, True, False], [True, True, True, False]])
    names = np.array(oracle.graph.observed)
    found = oracle.latent_r2_batch(masks)
    losses = oracle.relative_loss_batch(masks)
    for i, mask in enumerate(masks):
        np.testing.assert_allclose(found.value[i], list(oracle.latent_r2(mask).values()), atol=1e-12)
        loss = oracle.bayes_loss(mask)
        sizes = [oracle.n_symbols[name] for name in names[mask]]
        ends = np.cumsum([0, *sizes])[:-1]
        expected = np.add.reduceat(loss.mse, ends) / np.add.reduceat(loss.variance, ends)
        np.testing.assert_allclose(losses.value[i, mask], expected, atol=1e-9)
    assert np.isnan(losses.value[~masks]).all()
    assert found.how == losses.how == "exact"


def test_averages_over_draws_agree_with_all_strings(oracle, monkeypatch):
    masks = np.array([[True, False, False, True]])
    exact = oracle.latent_r2_batch(masks).value
    loss = oracle.relative_loss_batch(masks).value
    monkeypatch.setattr("hlvm.theory.grammar.averages._MOST_STRINGS", 1)
    with pytest.raises(ValueError, match="give a key"):
        oracle.latent_r2(masks[0])
    drawn = oracle.latent_r2_batch(masks, rows=4000, key=1)
    assert (drawn.how, drawn.rows) == ("estimated", 4000)
    assert (np.abs(drawn.value - exact) < 4.5 * drawn.error + 1e-9).all()
    estimated = oracle.relative_loss_batch(masks, rows=4000, key=1)
    assert (np.abs(estimated.value - loss)[masks] < 4.5 * estimated.error[masks]).all()
    assert np.isnan(oracle.latent_r2_batch(masks, key=1).error).all()
    one = oracle.latent_r2(masks[0], rows=4000, key=2)
    assert list(one.values()) == pytest.approx(exact[0], abs=0.05)
    assert (one.how, one.rows) == (oracle.best_accuracy(masks[0], rows=9, key=2).how, 4000) == ("estimated", 4000)
    assert (np.abs(np.array(list(one.values())) - exact[0]) < 4.5 * np.array(list(one.error.values()))).all()


def test_log_loss_averages_to_likelihood(case, oracle):
    """The identity of masked losses: over random orders, the losses of the cells in turn add up to -log2 p(x)."""
    _, _, known = case
    strings = known.strings()[0][:5]
    orders = list(itertools.permutations(range(4)))
    total = np.zeros(len(strings))
    for order in orders:
        for k, cell in enumerate(order):
            seen = np.isin(np.arange(4), order[:k])
            total += oracle.log_loss(strings, seen)[:, cell] / len(orders)
    np.testing.assert_allclose(total, -oracle.log_likelihood(strings) / math.log(2), atol=1e-9)


def test_most_likely_equals_enumeration(case, oracle):
    graph, _, known = case
    seen = np.array([True, True, True, True])
    string = known.strings()[0][4]
    found = oracle.most_likely(string[None], seen)
    ways = known.ways(string, seen)
    best = int(ways.argmax())
    assert [int(found.symbols[name][0]) for name in graph.latents] == known.symbols[best, :3].tolist()
    assert [int(found.choices[name][0]) for name in graph.latents] == known.choices[best].tolist()
    assert found.log_likelihood[0] == pytest.approx(math.log(ways.max()))
    np.testing.assert_array_equal(found.cells[0], string)


def test_sample_posterior_has_posterior_frequencies(case, oracle):
    graph, _, known = case
    string, seen = known.strings()[0][2], np.array([True, False, True, False])
    n = 4000
    drawn = oracle.sample_posterior(0, np.tile(string, (n, 1)), seen)
    assert (drawn.cells[:, seen] == string[seen]).all()
    ways = known.ways(string, seen)
    states = np.concatenate([known.symbols[:, :3], known.choices], axis=1)
    kinds, kind = np.unique(states, axis=0, return_inverse=True)
    share = np.bincount(kind.ravel(), weights=ways / ways.sum())
    found = np.stack([*(drawn.symbols[z] for z in graph.latents), *(drawn.choices[z] for z in graph.latents)], axis=1)
    counts = (found[:, None] == kinds).all(axis=2).sum(axis=0)
    assert counts.sum() == n
    assert (np.abs(counts / n - share) < 5 * np.sqrt(share * (1 - share) / n) + 1e-12).all()


def test_sample_has_the_law_of_the_strings(case, oracle):
    _, _, known = case
    strings, chance = known.strings()
    drawn = oracle.sample(0, 6000).cells
    counts = (drawn[:, None] == strings).all(axis=2).mean(axis=0)
    assert counts.sum() == pytest.approx(1)
    assert (np.abs(counts - chance) < 5 * np.sqrt(chance * (1 - chance) / 6000)).all()


def test_sample_posterior_does_not_depend_on_the_batch(oracle):
    cells = np.zeros((20, 4), dtype=int)
    nothing = np.zeros(4, dtype=bool)
    many, few = oracle.sample_posterior(1, cells, nothing), oracle.sample_posterior(1, cells[:3], nothing)
    np.testing.assert_array_equal(many.cells[:3], few.cells)


def test_log_likelihood_is_differentiable_in_probabilities(case, oracle):
    strings = case[2].strings()[0][:3]
    with jax.enable_x64(True):
        tables = jax.tree.map(jnp.asarray, dict(oracle.parameters))
        loss = jax.jit(lambda weights: oracle.log_likelihood(strings, parameters=weights).sum())
        gradient = jax.grad(loss)(tables)
        name, step = next(iter(tables["probabilities"])), 1e-6
        moved = {**tables, "probabilities": {**tables["probabilities"]}}
        slope = np.zeros(tables["probabilities"][name].shape)
        for place in np.ndindex(slope.shape):
            sides = [tables["probabilities"][name].at[place].add(sign * step) for sign in (1, -1)]
            up, down = (loss({**moved, "probabilities": {**moved["probabilities"], name: side}}) for side in sides)
            slope[place] = (up - down) / (2 * step)
    np.testing.assert_allclose(gradient["probabilities"][name], slope, atol=1e-6)


def test_posterior_may_be_traced_and_is_differentiable(case, oracle):
    strings = case[2].strings()[0][:2]
    seen = np.array([True, False, False, True])
    with jax.enable_x64(True):
        inside = jax.jit(lambda cells: oracle.posterior(cells, seen)["z1"])(jnp.asarray(strings))
        np.testing.assert_allclose(inside, oracle.posterior(strings, seen)["z1"], atol=1e-12)
        tables = jax.tree.map(jnp.asarray, dict(oracle.parameters))
        first = lambda weights: oracle.posterior(strings, seen, parameters=weights)["z1"][0, 0]  # noqa: E731
        prior, step = tables["priors"]["z0"], 1e-6
        slope = jax.grad(first)(tables)["priors"]["z0"]
        for place in range(len(prior)):
            up, down = (first({**tables, "priors": {"z0": prior.at[place].add(sign * step)}}) for sign in (1, -1))
            assert slope[place] == pytest.approx((up - down) / (2 * step), abs=1e-6)


def test_posterior_of_impossible_string_is_nan():
    graph = LatentGraph.from_edges([("z", "x1"), ("z", "x2")], dims=1)
    oracle = GrammarOracle.from_parameters(
        graph, n_symbols={"z": 2, "x1": 2, "x2": 2}, rules={"z": np.array([[[0, 0]], [[1, 1]]])}
    )
    impossible, possible = oracle.posterior([[0, 1]], np.array([[True, True], [True, False]]))["z"][0]
    assert np.isnan(impossible).all()
    np.testing.assert_array_equal(possible, [1, 0])
    assert oracle.log_likelihood(np.array([[0, 1]]))[0] == -np.inf
    assert oracle.most_likely(np.array([[0, 1]])).symbols["z"][0] == -1


def test_productions_of_posterior_sum_to_symbols(case, oracle):
    string = case[2].strings()[0][:2]
    seen = np.array([True, False, True, False])
    symbols, both = (oracle.posterior(string, seen, of=of) for of in ("symbols", "productions"))
    for name in oracle.graph.latents:
        np.testing.assert_allclose(both[name].sum(axis=-1), symbols[name], atol=1e-12)


def test_nothing_underflows_in_float32():
    """Rules with chances of 1e-9 on six levels: likelihoods are far below what 32 bits hold."""
    rng = np.random.default_rng(0)
    graph = LatentGraph.tree(2, 6)
    graph = LatentGraph.from_edges(graph.edges, dims=1)
    rules = rng.integers(0, 8, (8, 8, 2))
    chances = np.full((8, 8), 1e-9)
    chances[:, 0] = 1 - 7e-9
    shared = {"rules": dict.fromkeys(graph.latents, rules), "probabilities": dict.fromkeys(graph.latents, chances)}
    exact, short = (
        GrammarOracle.from_parameters(graph, n_symbols=dict.fromkeys(graph.nodes, 8), **shared, dtype=dtype)
        for dtype in ("float64", "float32")
    )
    cells = (
        GrammarOracle.from_parameters(graph, n_symbols=dict.fromkeys(graph.nodes, 8), rules=shared["rules"])
        .sample(0, 20)
        .cells
    )
    expected = exact.log_likelihood(cells)
    assert expected.min() < -500
    np.testing.assert_allclose(short.log_likelihood(cells), expected, rtol=1e-5)
    half = rng.random(64) < 0.5
    of_exact = exact.posterior(cells, half)
    for name, array in short.posterior(cells, half).items():
        np.testing.assert_allclose(array, of_exact[name], atol=2e-3)
        np.testing.assert_allclose(array.sum(axis=-1), 1, atol=1e-4)


def test_cut_equals_a_model_without_what_is_above(case, oracle):
    """Cutting at height 1 makes the two middle latents roots with their laws."""
    graph, tables, known = case
    middle = [name for name in graph.latents if name != "z0"]
    kept = LatentGraph.from_edges([edge for edge in graph.edges if edge[0] != "z0"], dims=1)
    own = {what: {n: t for n, t in tables[what].items() if n in kept.nodes} for what in tables}
    own["priors"] = {name: law_of(known, graph.index[name]) for name in middle}
    own["channels"] = {name: table for name, table in own["channels"].items() if name not in middle}
    expected = GrammarOracle.from_parameters(kept, **own, dtype="float64")
    masks = np.array([[True, False, False, True], [False, True, False, False]])
    order = [kept.observed.index(name) for name in graph.observed]
    found = oracle.cut(1).relative_loss_batch(masks).value
    np.testing.assert_allclose(found, expected.relative_loss_batch(masks[:, order]).value[:, order], atol=1e-9)


def test_cut_at_the_ends(oracle):
    masks = np.array([[True, False, False, True]])
    whole = oracle.relative_loss_batch(masks).value
    np.testing.assert_allclose(oracle.cut(2).relative_loss_batch(masks).value, whole, atol=1e-12)
    np.testing.assert_allclose(oracle.cut(0).relative_loss_batch(masks).value[masks], 1, atol=1e-12)
    np.testing.assert_allclose(oracle.cut(2).cut(0).relative_loss_batch(masks).value[masks], 1, atol=1e-12)


def test_shape_of_answers_follows_visible(oracle):
    cells = np.zeros((5, 4), dtype=int)
    seen = np.ones(4, dtype=bool)
    assert oracle.log_likelihood(cells).shape == oracle.log_likelihood(cells, seen).shape == (5,)
    assert oracle.log_likelihood(cells, seen[None]).shape == (5, 1)
    assert oracle.entropy(cells, seen[None]).shape == (5, 1, 3)
    assert oracle.log_likelihood(cells, ["x0"]) == pytest.approx(oracle.log_likelihood(cells, np.eye(4, dtype=bool)[0]))


PAIR = LatentGraph.from_edges([("z", "x1"), ("z", "x2")], dims=1)


def pair(values=None, channels=None, dtype="float32", **others):
    """Two copies of a symbol through a channel that is wrong one time in ten."""
    noisy = np.array([[0.9, 0.1], [0.1, 0.9]])
    return GrammarOracle.from_parameters(
        PAIR,
        n_symbols=dict.fromkeys(PAIR.nodes, 2),
        rules={"z": np.array([[[0, 0]], [[1, 1]]])},
        channels=dict.fromkeys(("x1", "x2"), noisy) if channels is None else channels,
        values=None if values is None else dict.fromkeys(("x1", "x2"), np.array(values, float)),
        dtype=dtype,
        **others,
    )


@pytest.mark.parametrize("dtypes", [("float32", "float64"), ("float64", "float32")])
def test_tables_of_their_own_work_in_either_type_and_order(dtypes):
    """Nodes of one group with different tables, read with 64 bits on and off in one process."""
    channels = {"x1": np.array([[0.9, 0.1], [0.2, 0.8]]), "x2": np.array([[0.7, 0.3], [0.0, 1.0]])}
    known = Enumeration(
        PAIR,
        {
            "n_symbols": dict.fromkeys(PAIR.nodes, 2),
            "rules": {"z": np.array([[[0, 0]], [[1, 1]]])},
            "channels": channels,
        },
    )
    strings, chance = known.strings()
    seen = np.array([True, False])
    spread = sum(p * (1 - (known.posterior(0, s, seen) ** 2).sum()) for s, p in zip(strings, chance, strict=True))
    for dtype in dtypes:
        oracle = pair(channels=channels, dtype=dtype)
        assert oracle.latent_r2(["x2"])["z"] == pytest.approx(1 - spread / 0.5, abs=1e-5)
        assert oracle.cut(0).relative_loss_batch(np.array([[True, False]])).value[0, 0] == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize(
    "values", [[[0], [255]], [[1000], [1001]], [[1e4], [1e4 + 1]], [[0], [1e-3]], [[3, 5], [3, 6]]]
)
def test_losses_do_not_depend_on_offset_and_unit_of_values(values):
    oracle = pair(values)
    expected = 1 - 0.8**4  # the squared correlation of two such copies is 0.8 to the fourth
    assert oracle.relative_loss_batch(np.array([[True, False]])).value[0, 0] == pytest.approx(expected, abs=1e-5)
    assert oracle.bayes_loss(["x1"]).relative == pytest.approx(expected, abs=1e-5)


def test_relative_loss_is_one_for_single_masks_and_for_batches():
    """A cell of three symbols, not equally likely: each column counts in units of its own variance."""
    graph = LatentGraph.from_edges([("z", "x1"), ("z", "x2")], dims=1)
    noisy = np.array([[0.8, 0.1, 0.1], [0.1, 0.7, 0.2], [0.0, 0.1, 0.9]])
    oracle = GrammarOracle.from_parameters(
        graph,
        n_symbols=dict.fromkeys(graph.nodes, 3),
        rules={"z": np.array([[[i, i]] for i in range(3)])},
        priors={"z": [0.7, 0.2, 0.1]},
        channels={"x1": noisy, "x2": noisy},
        dtype="float64",
    )
    batch = oracle.relative_loss_batch(np.array([[True, False]])).value[0, 0]
    assert oracle.bayes_loss(["x1"]).relative == pytest.approx(batch, abs=1e-12)


def test_probabilities_below_the_smallest_float_are_kept():
    channel = np.array([[1 - 1e-42, 1e-42], [0.0, 1.0]])
    oracle = pair(channels={"x1": channel, "x2": channel})
    assert oracle.log_likelihood(np.array([[1, 0]]))[0] == pytest.approx(math.log(0.5e-42), rel=1e-5)


def test_all_strings_are_gone_through_however_many_masks(oracle):
    masks = np.tile([[True, False, False, True], [False, True, True, False]], (1500, 1))
    found = oracle.latent_r2_batch(masks)
    assert found.how == "exact"
    np.testing.assert_allclose(found.value[::2], np.tile(list(oracle.latent_r2(masks[0]).values()), (1500, 1)))


def test_a_single_name_is_one_latent(oracle):
    assert float(oracle.information("z1", MASKED)) == float(oracle.information(["z1"], MASKED))
    assert list(oracle.posterior(np.zeros((1, 4), int), names="z1")) == ["z1"]


def test_levels_of_a_uniform_grammar_have_parameters_of_their_own():
    graph = LatentGraph.from_edges(LatentGraph.tree(2, 2).edges, dims=1)
    rng = np.random.default_rng(0)
    upper, lower = (rng.integers(0, 2, (2, 2, 2)) for _ in range(2))
    rules = {name: upper if name == "z2_0" else lower for name in graph.latents}
    oracle = GrammarOracle.from_parameters(graph, n_symbols=dict.fromkeys(graph.nodes, 2), rules=rules)
    assert set(oracle.parameters["probabilities"]) == {"z2_0", "z1_0"}


# ---------------------------------------------------------------------- bad input


def tables_with(case, **changes):
    tables = {name: dict(table) if isinstance(table, dict) else table for name, table in case[1].items()}
    for what, entries in changes.items():
        tables[what] = {**tables.get(what, {}), **entries}
    return tables


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n_symbols": {"z1": 0}}, r"n_symbols\['z1'\] must be a whole number of at least 1"),
        ({"n_symbols": {"other": 2}}, "'other'"),
        ({"rules": {"z1": np.zeros((2, 2))}}, r"rules\['z1'\] must be whole numbers of shape"),
        ({"probabilities": {"z1": np.full((9, 9), 1 / 9)}}, r"probabilities\['z1'\] must have shape"),
        ({"probabilities": {"x0": np.ones((2, 1))}}, r"probabilities\['x0'\] is not used"),
        ({"priors": {"z1": [1.0]}}, r"priors\['z1'\] is not used"),
        ({"channels": {"z0": np.eye(2)}}, r"channels\['z0'\] is not used"),
        ({"channels": {"x0": np.ones((2, 2))}}, r"channels\['x0'\] must"),
        ({"values": {"z1": np.eye(2)}}, r"values\['z1'\] is not used"),
        ({"values": {"x0": np.full((2, 2), np.nan)}}, r"values\['x0'\] must be finite"),
    ],
)
def test_from_parameters_refuses(case, changes, message):
    with pytest.raises(ValueError, match=message):
        GrammarOracle.from_parameters(case[0], **tables_with(case, **changes))


def test_from_parameters_refuses_bad_probabilities(case):
    size = case[1]["n_symbols"]["z0"]
    for bad, message in (([0.5] * size, "sum to one"), ([-1.0, 2.0] + [0.0] * (size - 2), "must hold probabilities")):
        if abs(sum(bad) - 1) > 1e-9 or min(bad) < 0:
            with pytest.raises(ValueError, match=message):
                GrammarOracle.from_parameters(case[0], **tables_with(case, priors={"z0": bad}))


def test_from_parameters_refuses_symbols_out_of_range(case):
    rules = case[1]["rules"]["z1"].copy()
    rules[0, 0, 0] = 9
    with pytest.raises(ValueError, match="must write symbols 0 to"):
        GrammarOracle.from_parameters(case[0], **tables_with(case, rules={"z1": rules}))


def test_from_parameters_refuses_what_is_missing(case):
    tables = tables_with(case)
    del tables["rules"]["z1"]
    with pytest.raises(ValueError, match="rules has nothing for 'z1'"):
        GrammarOracle.from_parameters(case[0], **tables)


def test_oracle_refuses_several_parents():
    graph = LatentGraph.from_edges([("a", "x"), ("b", "x")], dims=1)
    with pytest.raises(ValueError, match="'x' has several parents"):
        GrammarOracle.from_parameters(graph, n_symbols=dict.fromkeys(graph.nodes, 2), rules={})


def test_oracle_refuses_other_models():
    with pytest.raises(ValueError, match="discrete_tree_parameters"):
        GrammarOracle(object())


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda o: o.log_likelihood(np.full((1, 4), 7)), "symbols of 'x0' are 0 to"),
        (lambda o: o.log_likelihood(np.zeros((1, 3), int)), r"whole numbers of shape \(n, 4\)"),
        (lambda o: o.log_likelihood(np.zeros((1, 4))), r"whole numbers of shape \(n, 4\)"),
        (lambda o: o.log_likelihood(np.zeros((1, 4), int), np.zeros(3, bool)), "visible must be names, or booleans"),
        (lambda o: o.log_likelihood(np.zeros((1, 4), int), ["z0"]), "'z0' is a latent"),
        (lambda o: o.log_likelihood(np.zeros((1, 4), int), known={"x0": 0}), "known is about latents"),
        (lambda o: o.log_likelihood(np.zeros((1, 4), int), known={"z0": 9}), r"known\['z0'\] must be"),
        (lambda o: o.posterior(np.zeros((1, 4), int), of="rules"), 'of must be "symbols"'),
        (lambda o: o.bayes_loss([]), "nothing is masked"),
        (lambda o: o.latent_r2(["x0"], visible=["x0"]), "'x0' is masked and visible at once"),
        (lambda o: o.latent_r2(["x0"], part="all"), 'part must be "value" or "noise"'),
        (lambda o: o.latent_r2(["x0"], visible=np.ones((2, 4), bool)), "one mask|must be booleans"),
        (lambda o: o.information(["x0"], ["x0"]), "names of latents, but 'x0' is observed"),
        (lambda o: o.latent_r2_batch(np.zeros(4, bool)), r"booleans of shape \(n_masks, 4\)"),
        (lambda o: o.latent_r2_batch(np.ones((1, 4), bool), visible=np.ones((1, 4), bool)), "visible at once"),
        (lambda o: o.log_likelihood(np.zeros((0, 4), int)), "at least one string"),
        (
            lambda o: o.cut(1).log_likelihood(np.zeros((1, 4), int), parameters=o.parameters),
            "cannot be given to .* cut",
        ),
        (lambda o: jax.jit(lambda p: o.log_likelihood(np.zeros((1, 4), int), parameters=p))(o.parameters), "float64"),
        (lambda o: o.cut(-1), "height must be a whole number of at least 0"),
        (lambda o: o.sample(0, 0), "n must be a whole number of at least 1"),
    ],
)
def test_questions_refuse(oracle, call, message):
    with pytest.raises(ValueError, match=message):
        call(oracle)


def test_cells_that_are_not_visible_are_not_read(oracle):
    cells = np.array([[0, 99, 0, -5]])
    seen = np.array([True, False, True, False])
    assert oracle.log_likelihood(cells, seen) == pytest.approx(oracle.log_likelihood(np.zeros((1, 4), int), seen))


def test_dtype_is_checked(case):
    with pytest.raises(ValueError, match='dtype must be "float32" or "float64"'):
        GrammarOracle.from_parameters(case[0], **case[1], dtype="float16")


def test_cut_makes_a_latent_as_much_a_root_as_one_that_never_had_a_parent():
    graph = LatentGraph.from_edges([("r", "z"), ("r", "w"), ("z", "x"), ("z", "y"), ("w", "q")], dims=1)
    rng = np.random.default_rng(0)
    rules = {"r": rng.integers(0, 3, (3, 2, 2)), "z": rng.integers(0, 3, (3, 2, 2)), "w": rng.integers(0, 3, (3, 1, 1))}
    rules["z"][:, 0, 0] = [0, 1, 2]
    oracle = GrammarOracle.from_parameters(graph, n_symbols=dict.fromkeys(graph.nodes, 3), rules=rules)
    law = np.bincount(rules["r"][:, :, graph.children("r").index("z")].ravel(), minlength=3) / 6
    alone = LatentGraph.from_edges([("z", "x"), ("z", "y")], dims=1)
    own = GrammarOracle.from_parameters(
        alone, n_symbols=dict.fromkeys(alone.nodes, 3), rules={"z": rules["z"]}, priors={"z": law}
    )
    for part in ("value", "noise"):
        found = oracle.cut(1).latent_r2(visible=["x"], part=part)
        assert found["z"] == pytest.approx(own.latent_r2(visible=["x"], part=part)["z"], abs=1e-6)
        assert found["r"] == pytest.approx(0, abs=1e-6)
        assert 0.1 < found["z"] < 0.999


def test_averages_do_not_keep_the_cut(oracle):
    """Strings are those of the whole tree, however much is cut off."""
    cut = oracle.cut(0)
    assert isinstance(cut._averages, Averages)
    np.testing.assert_array_equal(cut._averages.strings(1, None).cells, oracle._averages.strings(1, None).cells)
    assert oracle.information(["z1"], MASKED).how == "exact"
    assert float(cut.information(["z0"], MASKED)) == pytest.approx(0, abs=1e-12)
