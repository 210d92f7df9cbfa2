"""The design of a study: everything about it that is known before anything is trained."""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Sequence
from typing import Any, get_args

from jaxtyping import PRNGKeyArray

from hlvm._files import as_path
from hlvm._keys import checked_key, key_or_seed
from hlvm._numbers import UsageError, positive
from hlvm.claims import ClaimConfig
from hlvm.datasets.opening import open_data
from hlvm.graph import LatentGraph
from hlvm.mae import LossConfig, Member, NetworkConfig, TrainConfig, ViTConfig
from hlvm.mae.config import ObjectiveConfig
from hlvm.mae.training.data import Source
from hlvm.mae.training.groups import group_members
from hlvm.mae.training.planner import worth_padding
from hlvm.study.arms import Arm, arms_of
from hlvm.study.comparisons import Comparison, Pair, drawn_pairs
from hlvm.study.prediction import Prediction, predict_quantities, predict_shares, regimes_of
from hlvm.study.scores import ScoreConfig, Target, targets_of
from hlvm.study.truth import StudyData, Truth, generator_key, regime_of, source_of, truth_of
from hlvm.theory import Regime

__all__ = ["Material", "StudyDesign"]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Material:
    """Everything about one generator of a study, before anything is trained.

    Attributes:
        generator: its number, from 0.
        key: its key.
        source: the generator or data set.
        training: what is trained on.
        graph: of the training data.
        truth: samples to score on.
        targets: what is scored.
    """

    generator: int
    key: PRNGKeyArray
    source: Any
    training: Source
    graph: LatentGraph
    truth: Truth
    targets: Sequence[Target]


class StudyDesign:
    """Arms, seeds, generators and scores of a study, checked; for the arguments see :class:`hlvm.study.Study`."""

    def __init__(
        self,
        data: StudyData | str | os.PathLike[str],
        *,
        masks: Sequence[Any],
        networks: NetworkConfig | Sequence[NetworkConfig] | None = None,
        losses: ObjectiveConfig | Sequence[ObjectiveConfig] | None = None,
        train: TrainConfig | None = None,
        seeds: int = 4,
        generators: int | None = None,
        score: ScoreConfig | None = None,
        claims: Sequence[Comparison] = (),
        claim_config: ClaimConfig | None = None,
        regime: Regime | None = None,
    ) -> None:
        if isinstance(data, type):
            raise ValueError(f"data: give a {data.__name__} made with its settings, got the class itself")
        self.data = data = _opened(data)
        self.masks = tuple(_several(masks))
        self.networks = tuple(_several(ViTConfig() if networks is None else networks))
        self.losses = tuple(_several(LossConfig() if losses is None else losses))
        self.train = train or TrainConfig(steps=800, batch=64)
        self.seeds, self.generators = positive(seeds, "seeds"), _n_generators(data, generators)
        self.score = score or ScoreConfig()
        for what, given in (("masks", self.masks), ("networks", self.networks), ("losses", self.losses)):
            if not given:
                raise ValueError(f"{what}: a study needs at least one, got none")
        if self.generators > 1 and not (isinstance(data, LatentGraph | list) or _is_factory(data)):
            raise UsageError(
                f"of {self.generators} need data that draws them, got one {type(data).__name__}",
                argument="generators",
                remedies={"data": "give a graph, a list of generators, or a function of a key that makes one"},
            )
        if self.score.intervals and self.seeds * self.generators < 2:
            raise UsageError(
                "of 1 leaves no interval",
                argument="seeds",
                remedies={"more": "use at least 2", "none": "set intervals=False in ScoreConfig"},
            )
        if regime not in (None, *get_args(Regime)):
            raise ValueError(f'regime: expected "invertible", "general" or None, got {regime!r}')
        if self.score.representation == "code" and any(isinstance(one, ViTConfig) for one in self.networks):
            raise UsageError(
                "must be mean, class or tokens for a transformer, which has no code of its own",
                argument="representation",
                of="ScoreConfig",
            )
        self.claims, self.claim_config = tuple(claims), claim_config or ClaimConfig()
        if not self.score.intervals and self.claims:
            raise UsageError(
                "need intervals: without them nothing is decided",
                argument="claims",
                remedies={"intervals": "set intervals=True in ScoreConfig"},
            )
        self._regime: Regime | None = regime
        self._pads: dict[LatentGraph, bool] = {}

    def __repr__(self) -> str:
        return (
            f"Study({len(self.masks)} masks, {len(self.networks)} networks, {len(self.losses)} losses, "
            f"{self.seeds} seeds, {self.generators} generators)"
        )

    @functools.cached_property
    def graph(self) -> LatentGraph:
        """The latent graph."""
        if isinstance(self.data, LatentGraph):
            return self.data
        graph = getattr(self.data, "graph", None)
        if graph is None:
            graph = source_of(self.data, checked_key(0)).graph
        if not isinstance(graph, LatentGraph):
            raise ValueError(
                "data: a study needs the latent graph, which says what can be masked: give graph= to "
                "Dataset.from_arrays or load_dataset"
            )
        return graph

    @functools.cached_property
    def arms(self) -> tuple[Arm, ...]:
        """All combinations of masks, networks and losses."""
        return arms_of(self.graph, self.masks, self.networks, self.losses)

    @functools.cached_property
    def regime(self) -> Regime:
        """The regime: as given, as is known of the generator, or what the dims allow."""
        if self._regime is not None:
            return self._regime
        if isinstance(self.data, LatentGraph):
            return "invertible"
        numbers = range(self.generators) if isinstance(self.data, list) else [0]
        sources = [source_of(self.data, checked_key(0), number) for number in numbers]
        if "invertible" in regimes_of(self.graph) and all(regime_of(source) != "general" for source in sources):
            return "invertible"
        return "general"

    def predict(self, key: Any = None, *, quantities: bool = True) -> Prediction:
        """Predict the shares of every mask from the graph, and from exact oracles how much is known and asked for.

        Args:
            key: that of the study, where ``data`` is a function: it decides which generators there are. ``None`` leaves
                their oracles out.
            quantities: whether to ask oracles, which takes some seconds.

        Returns:
            The prediction; :attr:`Prediction.quantities` is empty where a generator has no exact oracle.

        Raises:
            ValueError: a mask that does not fit the graph, or a regime that its dims do not allow.
        """
        masks = {arm.mask_name: arm.mask for arm in self.arms}
        found = predict_shares(self.graph, masks, regime=self.regime)
        if not quantities or isinstance(self.data, LatentGraph) or (key is None and _is_factory(self.data)):
            return found
        typed = checked_key(0 if key is None else key)
        models = [source_of(self.data, generator_key(typed, number), number) for number in range(self.generators)]
        return dataclasses.replace(found, quantities=predict_quantities(models, masks))

    def material(self, key: Any, generator: int) -> Material:
        """Data of one generator: what is trained on, samples to score on, and what is scored.

        Args:
            key: a JAX key or an int: that of the study.
            generator: its number, from 0.

        Raises:
            ValueError: data that cannot be trained on or scored; a factory whose generators differ in their graphs; or
                a mask, network, loss and graph that do not fit together.
        """
        own = generator_key(checked_key(key), generator)
        source = source_of(self.data, own, generator)
        training, truth = truth_of(source, own, self.score.rows, frozenset(self.score.categories))
        if source.graph != self.graph:
            raise ValueError(f"data: generator {generator} has another graph than generator 0: all must have the same")
        targets = targets_of(truth, self.graph, self.score, key_or_seed(key))
        return Material(
            generator=generator,
            key=own,
            source=source,
            training=training,
            graph=training.graph,
            truth=truth,
            targets=targets,
        )

    def pairs(self, prediction: Prediction, targets: Sequence[Target]) -> tuple[Pair, ...]:
        """Pairs of arms of which the prediction says something: of what enters, or of values where no noise is known.

        Args:
            prediction: see :meth:`predict`.
            targets: what is scored, see :meth:`material`.
        """
        if not self.score.intervals:
            return ()
        part = "noise" if any(target.part == "noise" for target in targets) else "value"
        return tuple(drawn_pairs(self.arms, prediction, targets, part))

    def programs(self, graph: LatentGraph) -> list[list[int]]:
        """Positions of the arms that one compiled program trains together.

        Args:
            graph: of the training data.

        Raises:
            ValueError: a mask, network, loss and graph that do not fit together.
        """
        pad = self.pads(graph)
        return [list(group.members) for group in group_members(graph, self._members, self.train, pad=pad)]

    def pads(self, graph: LatentGraph) -> bool:
        """Tell whether arms that differ only in the number of visible tokens share a program: sizes and steps decide.

        The study's seeds count, not those that a run ``until="decided"`` may add, so that it is known from the start.

        Args:
            graph: of the training data.

        Raises:
            ValueError: a mask, network, loss and graph that do not fit together.
        """
        if graph not in self._pads:
            self._pads[graph] = worth_padding(graph, self._members, self.train, seeds=self.seeds)
        return self._pads[graph]

    @property
    def _members(self) -> list[Member]:
        """One of each arm."""
        return [arm.member(0) for arm in self.arms]


def _several(given: Any) -> Sequence[Any]:
    return list(given) if isinstance(given, list | tuple) else [given]


def _opened(data: Any) -> Any:
    """Data, read where it is the path of a graph, a model or a data set; every entry of a list."""
    if isinstance(data, str | os.PathLike):
        return LatentGraph.load(data) if as_path(data).suffix in (".json", ".graphml") else open_data(data)
    if not isinstance(data, list | tuple):
        return data
    if not data:
        raise ValueError("data: a list of generators needs at least one, got none")
    listed = [one if isinstance(one, list | tuple) else _opened(one) for one in data]
    refused = [one for one in listed if isinstance(one, list | tuple | type | LatentGraph) or _is_factory(one)]
    if refused:
        raise ValueError(
            f"data: a list holds models, image models or data sets, got a {type(refused[0]).__name__} in it: list "
            "what it makes, or give it alone with generators=..."
        )
    return listed


def _n_generators(data: Any, given: int | None) -> int:
    """Number of generators: as given, and of a list as many as it holds."""
    if not isinstance(data, list):
        return positive(1 if given is None else given, "generators")
    if given not in (None, len(data)):
        raise UsageError(
            f"must be {len(data)}, as many as data lists, or be left out, got {given}", argument="generators"
        )
    return len(data)


def _is_factory(data: Any) -> bool:
    return callable(data) and not isinstance(data, type) and not hasattr(data, "graph")
