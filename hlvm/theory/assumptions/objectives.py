"""Findings on objectives of training: what each can identify beyond the theorems, and what it needs for that.

Theory knows objectives by their names in files only: a prediction must not depend on the trainer.
"""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

from hlvm._numbers import UsageError
from hlvm.graph import LatentGraph
from hlvm.theory.assumptions.report import Finding, finding

__all__ = ["ObjectiveName", "findings_of_objective"]

ObjectiveName: TypeAlias = Literal[
    "reconstruction",
    "energy",
    "cross_entropy",
    "ijepa",
    "data2vec",
    "vicreg",
    "sigreg",
    "uniform_mae",
    "supervised",
]
"""Objectives by the names of their kinds in files; "energy" is reconstruction by the energy score."""

_MEAN = Finding(
    assumption="mean-injectivity",
    theorems=(2,),
    status="not checkable",
    message="squared error sees the shared information c only through E[masked | c], which must be one-to-one "
    "in c; invertible mechanisms do not imply it (the polar mechanism of docs/theory.md, section 4, is a "
    "counter-example). Check on data that a regression from the reconstruction recovers c, or train with a "
    "proper score instead of squared error",
)


def findings_of_objective(graph: LatentGraph, objective: ObjectiveName | None) -> list[Finding]:
    """Findings on an objective: what it can identify, and what it needs; ``None`` is squared error.

    Raises:
        ValueError: an unknown name.
    """
    if objective is not None and objective not in get_args(ObjectiveName):
        raise UsageError(
            f"must be one of {', '.join(get_args(ObjectiveName))}, got {objective!r}", argument="objective"
        )
    if objective in (None, "reconstruction", "uniform_mae"):
        return [_MEAN]
    if objective == "energy":
        return [
            _holds(
                "joint conditional law",
                "the energy score is strictly proper (Gneiting and Raftery 2007): at its optimum reconstructions have "
                "the joint law of the masked part given c, so the code keeps all of c that this law depends on",
            )
        ]
    if objective == "cross_entropy":
        return [_symbols(graph), _CONDITIONAL]
    if objective == "supervised":
        return [
            _unknown(
                "no masked modelling",
                "latents are given as targets, so nothing is identified: a bound for what other objectives find",
            )
        ]
    if objective in ("ijepa", "data2vec"):
        return [_TEACHER, _COLLAPSE]
    return [_VIEWS, _GAUSSIAN] if objective == "sigreg" else [_VIEWS, _VARIANCE]


def _holds(name: str, message: str) -> Finding:
    return Finding(assumption=name, theorems=(2,), status="holds", message=message)


def _unknown(name: str, message: str) -> Finding:
    return Finding(assumption=name, theorems=(2,), status="not checkable", message=message)


def _symbols(graph: LatentGraph) -> Finding:
    narrow = [name for name in graph.observed if graph.dim(name) < 2]
    if narrow:
        return finding(
            "cells are symbols",
            narrow,
            good="",
            bad=f"cross-entropy needs one column per symbol, and {narrow[0]!r} has a single number: give one-hot "
            "cells, or use another objective",
            theorems=(2,),
        )
    return _unknown(
        "cells are symbols", "cross-entropy needs one-hot cells, of which a graph says nothing: training refuses others"
    )


_CONDITIONAL = _holds(
    "conditional law of each cell",
    "log-loss is strictly proper: at its optimum the code keeps all of c that the law of each masked cell given the "
    "visible part depends on, not its mean alone. What only their joint law depends on is not asked for under one "
    "mask; averaged over masks of all sizes the losses make up the likelihood (Moreno-Munoz et al. 2023)",
)
_TEACHER = _unknown(
    "a teacher that keeps c",
    "the targets are a teacher's codes (Assran et al. 2023, Baevski et al. 2022), so that the code keeps what these "
    "depend on: nothing makes the teacher keep all of c, and Theorem 2 says nothing of it. Score the code",
)
_COLLAPSE = _unknown(
    "no collapse",
    "equal codes for all samples are an optimum: the running mean and the stopped gradient keep training away from it, "
    "and no theorem here says that they do. Look at the spread of the codes beside the loss",
)
_VIEWS = _unknown(
    "two views that share c",
    "two masks of one sample are views, and the loss asks for what both tell: latents that only one of them sees are "
    "not asked for, and Theorem 2, which is about reconstruction, says nothing of it",
)
_VARIANCE = _unknown(
    "no collapse",
    "with its variance term equal codes are no optimum (Bardes et al. 2022), without it they are; no theorem says "
    "which of the shared latents the numbers of a narrow code go to",
)
_GAUSSIAN = _unknown(
    "Gaussian latents",
    "codes are held to a standard normal law (Balestriero and LeCun 2025), so equal codes are no optimum. Linear maps "
    "of the shared latents agree best where latents and views are jointly Gaussian; for other latents no linear map is "
    "normal, so the code bends them. Where views agree exactly, the law alone leaves maps that keep it, such as "
    "rotations by an angle that depends on the length",
)
