"""Does a linear masked autoencoder reach the optimum that the Gaussian oracle gives in closed form?

Predicted: the loss of the reduced-rank regression at every code dim, the Bayes loss at the rank of the covariance
between the parts, and a code that spans the oracle's.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import numpy as np

from experiments.script import script
from hlvm import mae, scoring
from hlvm.graph import LatentGraph
from hlvm.mae import LinearConfig, Member, TrainConfig
from hlvm.masking import FixedMask, Patches
from hlvm.mechanisms import LinearGaussian
from hlvm.simulator import HierarchicalModel
from hlvm.theory import GaussianOracle

Record = dict[str, Any]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """What is run.

    Attributes:
        root_dim: dims of the root of a quadtree of 16 cells, half of which are masked; code dims go from 1 to this.
        train: training.
        rows: held-out samples.
    """

    root_dim: int = 4
    train: TrainConfig = dataclasses.field(
        default_factory=lambda: TrainConfig(steps=1500, batch=512, learning_rate=1e-2)
    )
    rows: int = 20_000


SMOKE = Config(root_dim=1, train=TrainConfig(steps=50, batch=64, warmup=5), rows=500)


def run(config: Config) -> list[Record]:
    """One record per code dim; losses are relative to the variance of each column."""
    graph = LatentGraph.quadtree(2, root_dim=config.root_dim)
    model = HierarchicalModel.init(jax.random.key(0), graph, LinearGaussian(snr=4.0))
    halves = Patches.of_subtrees(graph, 1).groups
    mask = FixedMask(masked=halves[0] + halves[1])
    oracle = GaussianOracle(model)
    dims = range(1, config.root_dim + 1)
    fits = mae.fit_ensemble(
        jax.random.key(1), model, [Member(mask=mask, network=LinearConfig(code_dim=k)) for k in dims], config.train
    )
    sample = model.sample(jax.random.key(5), config.rows)
    values = np.asarray(sample.observed_matrix)
    hidden = np.isin(graph.observed, mask.masked)[graph.arrays.cell_of_column]
    visible, masked = values[:, ~hidden], values[:, hidden]
    found = []
    for k, fit in zip(dims, fits, strict=True):
        best = oracle.reduced_rank(mask.masked, k)
        guesses = np.asarray(mae.reconstruct(fit, sample, mask))[:, hidden], best.reconstruct(visible)
        trained, of_oracle = (float((((guess - masked) / masked.std(axis=0)) ** 2).mean()) for guess in guesses)
        code = np.asarray(mae.encode(fit, sample, mask))
        oracle_code = (visible - best.visible_means) @ best.encoder.T
        found.append(
            {
                "code_dim": k,
                "loss_in_theory": float(best.loss),
                "bayes_loss": float(oracle.bayes_loss(mask.masked).relative),
                "rank": oracle.cross_covariance_rank(mask.masked),
                "held_out_loss": trained,
                "held_out_loss_of_oracle": of_oracle,
                "smallest_correlation": float(scoring.cca(code, oracle_code).correlations.min()),
            }
        )
    return found


if __name__ == "__main__":
    script("linear", __doc__, lambda config: {"records": run(config)}, smoke=SMOKE, laptop=Config())
