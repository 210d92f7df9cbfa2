"""Objectives in files: by their kind, which reconstruction, the oldest, is written without."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from hlvm.mae.config import ObjectiveConfig
from hlvm.mae.objectives.cross_entropy import CrossEntropy
from hlvm.mae.objectives.data2vec import Data2Vec
from hlvm.mae.objectives.ijepa import IJEPA
from hlvm.mae.objectives.latent_targets import TeacherConfig
from hlvm.mae.objectives.reconstruction import LossConfig
from hlvm.mae.objectives.sigreg import SIGReg
from hlvm.mae.objectives.supervised import Supervised
from hlvm.mae.objectives.uniform_mae import UniformMAE
from hlvm.mae.objectives.vicreg import VICReg
from hlvm.masking.descriptions import without_lists

__all__ = ["OBJECTIVES", "objective_from_dict", "objective_to_dict"]

OBJECTIVES: dict[str, type[Any]] = {
    cls.kind: cls for cls in (LossConfig, CrossEntropy, Data2Vec, IJEPA, VICReg, SIGReg, UniformMAE, Supervised)
}
"""Name in files -> settings, a dataclass."""

_REGULARIZERS: tuple[type[Any], ...] = (VICReg, SIGReg)
_LATER = ("regularizer", "regularizer_weight")
"""Fields of objectives with a teacher that came later: files have them only where there is a regularizer."""


def objective_to_dict(config: Any) -> dict[str, Any]:
    """The settings of an objective, ready for JSON.

    Raises:
        ValueError: it is none of :mod:`hlvm.mae.objectives`.
    """
    if type(config) not in OBJECTIVES.values():
        known = ", ".join(cls.__name__ for cls in OBJECTIVES.values())
        raise ValueError(f"loss: expected one of {known}, got {config!r}")
    fields = dataclasses.asdict(config)
    if isinstance(config, TeacherConfig):
        added = {} if config.regularizer is None else {**fields, "regularizer": objective_to_dict(config.regularizer)}
        fields = {name: value for name, value in fields.items() if name not in _LATER} | added
    return fields if type(config) is LossConfig else {"kind": config.kind, **fields}


def objective_from_dict(data: Mapping[str, Any]) -> ObjectiveConfig:
    """The inverse of :func:`objective_to_dict`.

    Raises:
        ValueError: an unknown kind, or a regularizer that is none.
    """
    fields = without_lists(dict(data))
    kind = fields.pop("kind", LossConfig.kind)
    if kind not in OBJECTIVES:
        raise ValueError(f"loss: kind must be one of {', '.join(OBJECTIVES)}, got {kind!r}")
    if fields.get("regularizer") is not None:
        fields["regularizer"] = _regularizer(fields["regularizer"])
    return OBJECTIVES[kind](**fields)


def _regularizer(data: Any) -> ObjectiveConfig:
    kinds = [cls.kind for cls in _REGULARIZERS]
    kind = data.get("kind") if isinstance(data, Mapping) else data
    if kind not in kinds or not isinstance(data, Mapping):
        raise ValueError(f"loss: regularizer: kind must be one of {', '.join(kinds)}, got {kind!r}")
    return objective_from_dict(data)
