"""What trained autoencoders find: the Gaussian oracle's optimum, and section 4 of the theory page."""

import jax
import numpy as np
import pytest

from experiments import identification, linear
from hlvm import mae, scoring
from hlvm.graph import LatentGraph
from hlvm.mae import LinearConfig, TrainConfig
from hlvm.masking import FixedMask
from hlvm.mechanisms import LinearGaussian
from hlvm.simulator import HierarchicalModel
from hlvm.theory import GaussianOracle


@pytest.mark.slow
def test_linear_mae_reaches_the_gaussian_oracle():
    """Loss within 1 % of the best of every rank, of the Bayes loss at the last; codes span the oracle's."""
    records = linear.run(linear.Config())
    for record in records:
        assert record["rank"] == 4
        # The same held-out samples, so that their noise cancels.
        assert record["held_out_loss"] / record["held_out_loss_of_oracle"] < 1.01
        # Closed form; 20,000 samples know it to about 0.5 %.
        assert record["held_out_loss"] == pytest.approx(record["loss_in_theory"], rel=0.01)
        assert record["smallest_correlation"] >= 0.99
    assert records[-1]["loss_in_theory"] == pytest.approx(records[-1]["bayes_loss"])


def test_linear_mae_with_a_code_of_one_number_finds_the_best_one():
    """The quick half of the test above, on a graph with a root of one dim."""
    graph = LatentGraph.tree(2, 1, root_dim=1, noise_dim=1)
    model = HierarchicalModel.init(jax.random.key(0), graph, LinearGaussian(snr=4.0))
    train = TrainConfig(steps=300, batch=256, warmup=10, learning_rate=2e-2)
    fit = mae.fit(jax.random.key(1), model, FixedMask(masked=("x_0",)), LinearConfig(code_dim=1), train)
    sample = model.sample(jax.random.key(2), 4000)
    values, best = np.asarray(sample.observed_matrix), GaussianOracle(model).reduced_rank(["x_0"], 1)
    guess = np.asarray(mae.reconstruct(fit, sample, ["x_0"]))[:, :2]
    losses = [
        (((g - values[:, :2]) / values[:, :2].std(axis=0)) ** 2).mean()
        for g in (guess, best.reconstruct(values[:, 2:]))
    ]
    assert 0.99 < losses[0] / losses[1] < 1.01
    code = np.asarray(mae.encode(fit, sample, ["x_0"]))
    assert scoring.cca(code, (values[:, 2:] - best.visible_means) @ best.encoder.T).mean > 0.99


@pytest.mark.slow
def test_identification_experiment_runs():
    records = identification.run(identification.SMOKE)
    claimed = [record for record in records if record["predicted"] is not None]
    assert len({record["case"] for record in records}) == 6
    assert len(claimed) == 13
    for record in records:
        assert record["low"] <= record["mean"] <= record["high"]
        assert len(record["seeds"]) == 2
    assert all(
        record["agrees"] == (record["predicted"][0] <= record["mean"] <= record["predicted"][1]) for record in claimed
    )


@pytest.mark.slow
def test_polar_mechanism_is_identified_by_the_energy_score_only():
    """Section 4: squared error no better than the untrained floor; energy score at least 0.98 both ways."""
    config = identification.Config(seeds=2, polar=TrainConfig(steps=800, batch=256))
    scores = {(r["case"], r["score"]): r for r in identification.run(config)}
    for encoder in ("", ", transformer"):
        assert scores[f"polar, squared error{encoder}", "gain over floor"]["mean"] < 0.2
        assert scores[f"polar, squared error{encoder}", "code -> c"]["mean"] < 0.7
        for way in ("code -> c", "c -> code"):
            assert min(scores[f"polar, energy score{encoder}", way]["seeds"]) >= 0.98
