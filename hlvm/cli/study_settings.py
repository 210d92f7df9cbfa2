"""Settings of a study from a TOML or JSON file."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from typing import Any, get_args

from hlvm._numbers import positive
from hlvm.claims import ClaimConfig
from hlvm.cli.settings import read_settings
from hlvm.cli.settings_tables import (
    checked_fields,
    checked_tables,
    losses_of,
    masks_of,
    networks_of,
    seed_of,
    tables_of,
)
from hlvm.mae.config import NetworkConfig, ObjectiveConfig, TrainConfig
from hlvm.masking.descriptions import without_lists
from hlvm.study import Comparison, ScoreConfig, Study
from hlvm.theory import Regime

__all__ = ["StudySettings", "load_study_settings", "study_settings_from_dict"]

_WORDS = ("seed", "seeds", "generators", "regime", "until", "most")
_TABLES = ("mask", "network", "loss", "train", "score", "claims", "claim")


@dataclasses.dataclass(frozen=True, kw_only=True)
class StudySettings:
    """The parts of a study; see :class:`hlvm.study.Study`.

    Attributes:
        seed: of the key that everything random follows from.
        masks: strategies.
        mask_names: what to call each of them.
        networks: architectures; ``None`` for the usual one.
        losses: what is made small.
        train: the optimisation; ``None`` for the usual one.
        score: what is scored, and how.
        claim_config: margins and error rate of claims.
        claims: comparisons of the user's.
        numbers: ``seeds``, ``generators`` and ``regime``, those that were given.
        stages: ``until`` and ``most`` of :meth:`hlvm.study.Study.run`, those that were given.
    """

    seed: int
    masks: tuple[Any, ...]
    mask_names: tuple[str, ...]
    networks: tuple[NetworkConfig, ...] | None
    losses: tuple[ObjectiveConfig, ...]
    train: TrainConfig | None
    score: ScoreConfig
    claim_config: ClaimConfig
    claims: tuple[Comparison, ...]
    numbers: Mapping[str, Any]
    stages: Mapping[str, Any]

    @property
    def words(self) -> dict[str, str]:
        """Arguments of the package that the file holds, and what they are called there."""
        several = len(self.masks) > 1
        places = {f"strategies[{i}]": f"mask {name}" if several else "mask" for i, name in enumerate(self.mask_names)}
        return places | {name: name for name in _WORDS} | {"claims": "tables [[claim]]"}

    def study(self, data: Any) -> Study:
        """The study of some data.

        Raises:
            ValueError: settings that contradict each other, or do not fit the data.
        """
        return Study(
            data,
            masks=self.masks,
            networks=self.networks,
            losses=self.losses,
            train=self.train,
            score=self.score,
            claims=self.claims,
            claim_config=self.claim_config,
            **self.numbers,
        )


def load_study_settings(path: str | os.PathLike[str]) -> StudySettings:
    """Read a ``.toml`` or ``.json`` file; see :func:`study_settings_from_dict` for what it holds.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: another suffix, or content that is not understood, with the file's name.
    """
    return read_settings(path, study_settings_from_dict)


def study_settings_from_dict(data: Any) -> StudySettings:
    """Understand the settings of a study.

    Args:
        data: ``mask``, ``network`` and ``loss`` as in :func:`hlvm.cli.settings_from_dict`, tables whose lists are
            several values; ``train``, ``score`` (with ``regression`` inside) and ``claims``: fields of
            :class:`~hlvm.mae.TrainConfig`, :class:`~hlvm.study.ScoreConfig` and :class:`~hlvm.claims.ClaimConfig`.
            ``claim``: one table or several, fields of :class:`~hlvm.study.Comparison`, in which a ``unit`` may be a
            list ``[rows, columns]``. ``seeds``, ``generators`` and ``seed``: whole numbers. ``regime``. ``until`` and
            ``most`` as in :meth:`hlvm.study.Study.run`. Only ``mask`` is needed.

    Raises:
        ValueError: something missing, unknown, out of range or said twice.

    Example:
        >>> found = study_settings_from_dict(
        ...     {
        ...         "seeds": 3,
        ...         "mask": {"kind": "random", "ratio": [0.25, 0.75]},
        ...         "claim": {"more": {"ratio": 0.25}, "less": {"ratio": 0.75}, "height": 1},
        ...     }
        ... )
        >>> len(found.masks), found.claims[0].height
        (2, 1)
    """
    data = checked_tables(data, (*_WORDS, *_TABLES))
    masks = masks_of(data)
    for name, options in (("regime", get_args(Regime)), ("until", ("decided",))):
        if data.get(name, options[0]) not in options:
            raise ValueError(f"{name} must be one of {', '.join(options)}, got {data[name]!r}")
    if "most" in data and "until" not in data:
        raise ValueError('most goes with until = "decided": leave it out')
    numbers = {name: positive(data[name], name) for name in ("seeds", "generators", "most") if name in data}
    given = {name: data[name] for name in ("regime", "until") if name in data} | numbers
    return StudySettings(
        seed=seed_of(data),
        masks=tuple(mask for mask, _ in masks),
        mask_names=tuple(name for _, name in masks),
        networks=tuple(network for network, _ in networks_of(data)) if "network" in data else None,
        losses=tuple(loss for loss, _ in losses_of(data)),
        train=TrainConfig(**checked_fields(TrainConfig, data["train"], "train")) if "train" in data else None,
        score=_score(data.get("score", {})),
        claim_config=ClaimConfig(**checked_fields(ClaimConfig, data.get("claims", {}), "claims")),
        claims=tuple(map(_claim, tables_of(data, "claim"))),
        numbers={name: given[name] for name in ("seeds", "generators", "regime") if name in given},
        stages={name: given[name] for name in ("until", "most") if name in given},
    )


def _score(table: Any) -> ScoreConfig:
    """Fields of regressions that are not given have the values that are usual in studies."""
    fields = without_lists(checked_fields(ScoreConfig, table, "score"))
    if "regression" in fields:
        given = without_lists(fields["regression"])
        fields["regression"] = dataclasses.replace(ScoreConfig().regression, **given)
    return ScoreConfig(**fields)


def _claim(table: Mapping[str, Any]) -> Comparison:
    return Comparison(**checked_fields(Comparison, table, "claim"))
