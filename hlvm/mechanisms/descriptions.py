"""Mechanisms and noises as plain data, for model files."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, TypeVar

from hlvm.mechanisms.additive_noise import AdditiveNoiseMLP
from hlvm.mechanisms.base import Mechanism
from hlvm.mechanisms.coupling import Coupling
from hlvm.mechanisms.functions import FunctionMechanism
from hlvm.mechanisms.heteroscedastic import Heteroscedastic
from hlvm.mechanisms.invertible_mlp import InvertibleMLP
from hlvm.mechanisms.linear_gaussian import LinearGaussian
from hlvm.mechanisms.noises import Bernoulli, Categorical, Gaussian, Laplace, Noise, StudentT, Uniform
from hlvm.mechanisms.polar import Polar
from hlvm.mechanisms.post_nonlinear import PostNonlinear
from hlvm.mechanisms.production import ProductionRules

__all__ = ["mechanism_from_dict", "mechanism_to_dict", "noise_from_dict", "noise_to_dict"]

_MECHANISMS: dict[str, type[Mechanism]] = {
    cls.__name__: cls
    for cls in (
        AdditiveNoiseMLP,
        Coupling,
        Heteroscedastic,
        InvertibleMLP,
        LinearGaussian,
        Polar,
        PostNonlinear,
        ProductionRules,
    )
}
_NOISES: dict[str, type[Noise]] = {
    cls.__name__: cls for cls in (Bernoulli, Categorical, Gaussian, Laplace, StudentT, Uniform)
}
_FUNCTION = "function"
_Described = TypeVar("_Described", Mechanism, Noise)


def mechanism_to_dict(mechanism: Mechanism) -> dict[str, Any]:
    """A JSON-ready description: the class name and the fields, or the name that a user gave to a function.

    Raises:
        ValueError: a mechanism from a user's function that has no name.
    """
    if isinstance(mechanism, FunctionMechanism):
        if mechanism.name is None:
            raise ValueError(
                "a mechanism from a function cannot be written to a file: give it a name, "
                "mechanism_from_function(..., name='mine'), and load the model with known={'mine': the mechanism}"
            )
        return {"kind": _FUNCTION, "name": mechanism.name}
    return {"kind": type(mechanism).__name__, **_fields(mechanism)}


def mechanism_from_dict(
    data: Mapping[str, Any], known: Mapping[str, type[Mechanism] | Mechanism] | None = None
) -> Mechanism:
    """Rebuild a mechanism from :func:`mechanism_to_dict`.

    Args:
        data: the description.
        known: further mechanisms by name: classes that a user wrote, and mechanisms from a user's functions.

    Raises:
        ValueError: the kind is unknown, or the fields do not fit it.
    """
    known = dict(known or {})
    if data.get("kind") == _FUNCTION:
        found = known.get(data.get("name", ""))
        if not isinstance(found, Mechanism):
            raise ValueError(
                f"this model uses the function {data.get('name')!r}: pass the mechanism made from it as "
                f"known={{{data.get('name')!r}: mechanism}}"
            )
        return found
    classes = {**_MECHANISMS, **{name: cls for name, cls in known.items() if isinstance(cls, type)}}
    return _rebuilt(data, classes, "mechanism", " (pass your own classes as `known`)")


def noise_to_dict(noise: Noise) -> dict[str, Any]:
    """A JSON-ready description: the class name and the fields."""
    return {"kind": type(noise).__name__, **_fields(noise)}


def noise_from_dict(data: Mapping[str, Any], known: Mapping[str, Any] | None = None) -> Noise:
    """Rebuild a noise from :func:`noise_to_dict`.

    Args:
        data: the description.
        known: noise classes that a user wrote, by name.

    Raises:
        ValueError: the kind is unknown, or the fields do not fit it.
    """
    own = {name: cls for name, cls in (known or {}).items() if isinstance(cls, type) and issubclass(cls, Noise)}
    return _rebuilt(data, {**_NOISES, **own}, "noise", " (pass your own classes as `known`)")


def _fields(described: Mechanism | Noise) -> dict[str, Any]:
    found = {field.name: getattr(described, field.name) for field in dataclasses.fields(described)}
    return {name: noise_to_dict(value) if isinstance(value, Noise) else value for name, value in found.items()}


def _rebuilt(data: Mapping[str, Any], classes: Mapping[str, type[_Described]], what: str, remedy: str) -> _Described:
    fields = dict(data)
    kind = fields.pop("kind", None)
    if kind not in classes:
        raise ValueError(f"unknown {what} {kind!r}; known: {sorted(classes)}{remedy}")
    for name, value in fields.items():
        if isinstance(value, dict) and value.get("kind") in _NOISES:
            fields[name] = noise_from_dict(value)
    try:
        return classes[kind](**fields)
    except TypeError as error:
        raise ValueError(f"{what} {kind}: {error}") from None
