"""Observed values in another basis: the data, its graph, exact answers, and what is refused."""

import dataclasses

import jax
import numpy as np
import pytest
from linear_gaussian import dense, parameters, posterior

from hlvm import mae
from hlvm.datasets import Dataset, Rotation
from hlvm.graph import LatentGraph
from hlvm.mae import LinearConfig, TrainConfig
from hlvm.masking import RandomMask
from hlvm.mechanisms import LinearGaussian
from hlvm.simulator import HierarchicalModel
from hlvm.theory import GaussianOracle, shared_information

GRAPH = LatentGraph.from_edges(
    [("r", "u"), ("r", "v"), ("u", "x0"), ("u", "x1"), ("v", "x1"), ("v", "x2")],
    dims={"r": 1, "u": 2, "v": 1, "x0": 2, "x1": 1, "x2": 2},
)
GIVEN = parameters(GRAPH, 0)
RANDOM = np.linalg.qr(np.random.default_rng(1).normal(size=(5, 5)))[0]


def rows_on_graph(n, seed=0):
    """Rows of the model that GIVEN describes, by dense linear algebra."""
    mean, covariance, place = dense(GRAPH, GIVEN)
    drawn = np.random.default_rng(seed).multivariate_normal(mean, covariance, size=n)
    return Dataset.from_arrays(
        observed={name: drawn[:, place[name]] for name in GRAPH.observed},
        latents={name: drawn[:, place[name]] for name in GRAPH.latents},
        graph=GRAPH,
    )


def test_rotation_apply_writes_rows_in_the_basis_and_keeps_the_rest():
    rotation, data = Rotation(source=GRAPH, basis=RANDOM), rows_on_graph(20)
    rotated = rotation.apply(data)
    assert rotated.graph is rotation.graph
    assert rotated.graph.observed == tuple(f"pc_{i}" for i in range(5))
    assert set(rotated.latents) == {*GRAPH.nodes}
    x = np.concatenate([data.observed[name] for name in GRAPH.observed], axis=1)
    found = np.concatenate([rotated.observed[name] for name in rotated.graph.observed], axis=1)
    np.testing.assert_allclose(found, x @ RANDOM.T)
    np.testing.assert_array_equal(rotated.latents["x1"], data.observed["x1"])
    np.testing.assert_array_equal(rotated.latents["u"], data.latents["u"])


def test_rotation_graph_has_cells_as_latents_where_there_is_a_loading():
    graph = Rotation(source=GRAPH, basis=RANDOM).graph
    assert graph.parents("pc_3") == ("x0", "x1", "x2")
    assert graph.parents("x1") == ("u", "v")
    shared = shared_information(graph, ["pc_0", "pc_4"], regime="general")
    assert (shared.members, shared.dim) == ({"x0", "x1", "x2"}, 5)
    own = np.eye(5)[[2, 0, 1, 4, 3]]
    assert Rotation(source=GRAPH, basis=own).graph.parents("pc_0") == ("x1",)


def test_rotation_principal_is_that_of_the_covariance_largest_first():
    data = rows_on_graph(400)
    rotation = Rotation.principal(data, prefix="component ")
    components = rotation.apply(data)
    found = np.cov(np.concatenate(list(components.observed.values()), axis=1).T)
    x = np.concatenate([data.observed[name] for name in GRAPH.observed], axis=1)
    expected = np.linalg.eigvalsh(np.cov(x.T))[::-1]
    np.testing.assert_allclose(found, np.diag(expected), atol=1e-9 * expected[0])
    assert rotation.names[0] == "component 0"


@pytest.mark.parametrize("basis", [RANDOM, np.eye(5)], ids=["random", "own"])
def test_rotation_parameters_give_the_oracle_of_rotated_observations(basis):
    """Against the conditional law of rotated columns, by dense linear algebra."""
    rotation = Rotation(source=GRAPH, basis=basis)
    oracle = GaussianOracle.from_parameters(rotation.graph, **rotation.parameters(GIVEN))
    _, covariance, place = dense(GRAPH, GIVEN)
    cells = np.concatenate([place[name] for name in GRAPH.observed])
    of_latents = np.concatenate([place[name] for name in GRAPH.latents])
    turned = np.zeros((9, 9))  # the latents, then the components
    turned[:4, :4] = covariance[np.ix_(of_latents, of_latents)]
    turned[4:, 4:] = basis @ covariance[np.ix_(cells, cells)] @ basis.T
    turned[:4, 4:] = covariance[np.ix_(of_latents, cells)] @ basis.T
    turned[4:, :4] = turned[:4, 4:].T
    np.testing.assert_allclose(oracle.covariance(rotation.names), turned[4:, 4:], atol=1e-9)
    hidden, seen = [4, 6], [5, 7, 8]
    rest = np.diag(posterior(turned, hidden, seen)[1])
    loss = oracle.bayes_loss(["pc_0", "pc_2"])
    assert loss.relative == pytest.approx(np.mean(rest / np.diag(turned)[hidden]), rel=1e-8)
    r = posterior(turned, [0], seen)[1][0, 0]
    assert oracle.latent_r2(["pc_0", "pc_2"])["r"] == pytest.approx(1 - r / turned[0, 0], rel=1e-8)


def test_principal_components_of_gaussian_data_tell_nothing_of_each_other():
    """All cells lie above both sides in the graph; the numbers say that one tells nothing of the other."""
    _, covariance, place = dense(GRAPH, GIVEN)
    cells = np.concatenate([place[name] for name in GRAPH.observed])
    basis = np.linalg.eigh(covariance[np.ix_(cells, cells)])[1].T
    rotation = Rotation(source=GRAPH, basis=basis)
    oracle = GaussianOracle.from_parameters(rotation.graph, **rotation.parameters(GIVEN))
    assert shared_information(rotation.graph, ["pc_0", "pc_1"], regime="general").dim > 0
    assert oracle.bayes_loss(["pc_0", "pc_1"]).relative == pytest.approx(1)
    mixed = Rotation(source=GRAPH, basis=RANDOM)
    other = GaussianOracle.from_parameters(mixed.graph, **mixed.parameters(GIVEN))
    assert other.bayes_loss(["pc_0", "pc_1"]).relative < 0.9


def test_rotation_takes_samples_of_models_with_their_noises():
    model = HierarchicalModel.init(jax.random.key(0), GRAPH, LinearGaussian())
    sample = model.sample(jax.random.key(1), 30)
    rotated = Rotation.principal(sample).apply(sample)
    np.testing.assert_array_equal(rotated.noise["u"], sample.noise["u"])
    assert len(rotated) == 30


def test_rotation_refuses_what_is_none():
    data = rows_on_graph(20)
    for basis, match in [
        (np.eye(4), r"basis must have shape \(5, 5\), a row for each of the 5 observed numbers, got \(4, 4\)"),
        (2 * np.eye(5), "basis must have orthonormal rows, and their products are off by 3"),
        (np.full((5, 5), np.nan), "basis must be finite numbers"),
    ]:
        with pytest.raises(ValueError, match=match):
            Rotation(source=GRAPH, basis=basis)
    with pytest.raises(ValueError, match="prefix gives the name 'x0', which the graph has"):
        Rotation(source=GRAPH, basis=np.eye(5), prefix="x")
    with pytest.raises(ValueError, match=r"data needs more rows than columns .* got 5 rows of 5"):
        Rotation.principal(rows_on_graph(5))
    with pytest.raises(ValueError, match="data needs a graph"):
        Rotation.principal(dataclasses.replace(data, graph=None))
    images = Dataset.from_arrays(images=np.zeros((4, 2, 2, 1)), graph=GRAPH)
    with pytest.raises(ValueError, match="data needs values of every observed variable, and 'x0' has none"):
        Rotation.principal(images)
    with pytest.raises(ValueError, match="data must be a Dataset or a sample of a model, got ndarray"):
        Rotation.principal(np.zeros((9, 5)))
    other = LatentGraph.from_edges([("z", f"x{i}") for i in range(5)], dims=1)
    gaps = rows_on_graph(20)
    gaps.observed["x2"][3] = np.inf
    with pytest.raises(ValueError, match="data holds values that are not finite"):
        Rotation.principal(gaps)
    with pytest.raises(ValueError, match="data must be on the graph that the rotation was made for"):
        Rotation(source=other, basis=np.eye(5)).apply(data)


def test_rotated_rows_are_trained_on_by_component():
    data = rows_on_graph(60)
    rotated = Rotation.principal(data).apply(data)
    mask, train = RandomMask(ratio=0.4), TrainConfig(steps=2, batch=8, warmup=1)
    fit = mae.fit(0, rotated, mask, LinearConfig(code_dim=2), train)
    shown = np.asarray(mae.reconstruct(fit, rotated, ["pc_0", "pc_3"]))
    seen = np.concatenate([rotated.observed[name] for name in ("pc_1", "pc_2", "pc_4")], axis=1)
    np.testing.assert_allclose(shown[:, [1, 2, 4]], seen, rtol=1e-4, atol=1e-4)
    assert np.abs(shown[:, 0] - rotated.observed["pc_0"][:, 0]).max() > 0.1
