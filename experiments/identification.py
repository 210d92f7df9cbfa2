"""Does a code identify what squared error cannot see, with a transformer as encoder and without a bottleneck?

The polar counter-example of section 4 of docs/theory.md and its repair by the energy score, over several seeds. Masks
of other graphs, and codes that are too narrow, are for :mod:`experiments.theorem2`; further widths and mechanisms for
:mod:`experiments.assumption_violation`. Predictions are written down before anything is trained.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import jax
import numpy as np

from experiments.experiment import Record
from experiments.script import script
from hlvm import mae
from hlvm.graph import LatentGraph
from hlvm.mae import BottleneckConfig, Fit, LossConfig, Member, NetworkConfig, TrainConfig, ViTConfig
from hlvm.masking import FixedMask
from hlvm.mechanisms import Polar
from hlvm.scoring import RegressionConfig, check_seeds, kernel_r2, over_seeds
from hlvm.simulator import HierarchicalModel, Sample

Limits = Mapping[str, tuple[float, float]]
"""Score -> interval."""

MASK = FixedMask(masked=("x1", "x2"))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """What is run.

    Attributes:
        seeds: training seeds; at least 2, for an interval.
        polar: training, for both losses.
        rows: held-out samples for scoring: 60 % fit the regressions, 40 % test them.
        max_train: most rows a regression is fitted on.
        key: everything random follows from it.
    """

    seeds: int = 5
    polar: TrainConfig = dataclasses.field(default_factory=lambda: TrainConfig(steps=3000, batch=512))
    rows: int = 2500
    max_train: int = 1500
    key: int = 0

    def __post_init__(self) -> None:
        check_seeds(self.seeds)


SMOKE = Config(seeds=2, polar=TrainConfig(steps=3, batch=8, warmup=1), rows=100)


def polar_graph() -> LatentGraph:
    """A root of one number with four children of two, on a grid of 2 x 2 for a transformer's positions."""
    names = [f"x{i}" for i in range(1, 5)]
    dims = {"c": 1} | dict.fromkeys(names, 2)
    return LatentGraph.from_edges([("c", name) for name in names], dims=dims, noise_dims=1, grid=(2, 2))


def cases() -> dict[str, tuple[NetworkConfig, LossConfig, Limits]]:
    """Three autoencoders, each with either loss: codes of one number by a perceptron and a transformer, and wide ones.

    A wide code has c before training, and nothing makes it drop the rest: it cannot be a function of c. The energy
    score needs c all the same, to the loss of the others, so the code should follow c more than with squared error.

    Returns:
        Label -> the autoencoder, whose code is its class token where it has no bottleneck; its loss; and of scores the
        interval in which the mean over seeds must lie, for the prediction to hold.
    """
    none = {"gain over floor": (-1.0, 0.1)}
    both = {"code -> c": (0.98, 1.0), "c -> code": (0.98, 1.0)}
    contained = {"untrained code -> c": (0.98, 1.0), "code -> c": (0.98, 1.0)}
    networks: list[tuple[str, NetworkConfig, tuple[Limits, Limits]]] = [
        ("", BottleneckConfig(code_dim=1), (none, both)),
        (", transformer", BottleneckConfig(code_dim=1, encoder=ViTConfig()), (none, both)),
        (
            ", no bottleneck",
            ViTConfig(),
            (
                {**contained, "c -> code": (-1.0, 0.4)},
                {**contained, "c -> code": (0.4, 0.95), "final loss": (0.589, 0.609)},
            ),
        ),
    ]
    losses = {"squared error": LossConfig(), "energy score": LossConfig(score="energy")}
    return {
        f"polar, {score}{name}": (network, loss, predicted)
        for name, network, predictions in networks
        for (score, loss), predicted in zip(losses.items(), predictions, strict=True)
    }


def run(config: Config) -> list[Record]:
    """Train, score every seed, and compare with the predictions.

    Returns:
        One record per case and score: the scores of all seeds, their mean with a 95 % interval (Student), what was
        predicted, and whether the mean lies there.
    """
    _, model_key, fit_key, sample_key = jax.random.split(jax.random.key(config.key), 4)
    model = HierarchicalModel.init(model_key, polar_graph(), Polar())
    members = [
        Member(mask=MASK, network=network, seed=seed, loss=loss)
        for network, loss, _ in cases().values()
        for seed in range(config.seeds)
    ]
    fits = mae.fit_ensemble(fit_key, model, members, config.polar)
    sample = model.sample(sample_key, config.rows)
    records: list[Record] = []
    for number, (label, (network, _, predicted)) in enumerate(cases().items()):
        of_case = fits[number * config.seeds : (number + 1) * config.seeds]
        width = network.width if isinstance(network, ViTConfig) else network.code_dim
        scores = [_scores(fit, sample, config) for fit in of_case]
        for name in scores[0]:
            values = [score[name] for score in scores]
            mean, limits = over_seeds(values), predicted.get(name)
            agrees = None if limits is None else limits[0] <= mean.value <= limits[1]
            about = {"case": label, "code_dim": width, "score": name}
            interval = {"mean": mean.value, "low": mean.low, "high": mean.high, "seeds": values}
            records.append({**about, **interval, "predicted": limits, "agrees": agrees})
    return records


def _scores(fit: Fit, sample: Sample, config: Config) -> dict[str, float]:
    """Held-out R² of one fit, and of the same encoder before training."""
    content = np.asarray(sample.latents["c"])
    code, untrained = (
        np.asarray(mae.encode(network, sample, MASK, pooling="class")) for network in (fit, fit.untrained())
    )

    def r2(given: np.ndarray, wanted: np.ndarray) -> float:
        return kernel_r2(given, wanted, key=config.key, config=RegressionConfig(max_train=config.max_train)).value

    found = {"code -> c": r2(code, content), "c -> code": r2(content, code)}
    found["untrained code -> c"] = r2(untrained, content)
    found["gain over floor"] = found["code -> c"] - found["untrained code -> c"]
    found["final loss"] = float(fit.losses[-100:].mean())
    return found


if __name__ == "__main__":
    script("identification", __doc__, lambda config: {"records": run(config)}, smoke=SMOKE, laptop=Config())
