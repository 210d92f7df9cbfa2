"""Sources of data by their names on the command line: image families with options, and kinds of mechanisms."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Annotated, Any

import tyro

from hlvm._numbers import UsageError, positive

__all__ = ["FAMILIES", "MECHANISMS", "Mechanism", "check_mechanism", "image_model", "mechanism_of"]

FAMILIES: dict[str, tuple[str, ...]] = {
    "quadtree": ("size",),
    "shapes": ("size", "objects", "classes"),
    "grammar": ("classes", "symbols", "synonyms", "levels", "strips", "zipf", "leaf_noise", "filtered_at"),
}
"""Name -> the options of ``hlvm sample`` that go with it."""

MECHANISMS = {
    "invertible-mlp": "InvertibleMLP",
    "linear-gaussian": "LinearGaussian",
    "additive-noise-mlp": "AdditiveNoiseMLP",
    "coupling": "Coupling",
    "post-nonlinear": "PostNonlinear",
    "heteroscedastic": "Heteroscedastic",
}
"""Names after --mechanism, and the classes in hlvm.mechanisms."""

Mechanism = Annotated[str | None, tyro.conf.arg(metavar="|".join(MECHANISMS), help_behavior_hint="")]


def check_mechanism(name: str | None) -> None:
    """Check what was given after --mechanism; tyro would offer 'None' among the choices, in no order."""
    if name not in (None, *MECHANISMS):
        raise ValueError(f"--mechanism: expected one of {', '.join(MECHANISMS)}, got {name!r}")


def mechanism_of(name: str | None) -> Any:
    """A mechanism by its name on the command line; ``None`` for the one that is taken if none is named."""
    from hlvm import mechanisms

    return getattr(mechanisms, MECHANISMS[name or "invertible-mlp"])()


def image_model(name: str, key: Any, given: Mapping[str, Any] | None = None) -> Any:
    """An image model of a family.

    Args:
        name: the family.
        key: a typed key; mechanisms and rules follow from it.
        given: options of this family; those that are missing have the values that ``hlvm sample --help`` tells.

    Raises:
        ValueError: a value that the family does not take.
    """
    from hlvm.images import GrammarImages, QuadtreeImages, SceneImages
    from hlvm.mechanisms import zipf

    options = dict(given or {})
    if name == "quadtree":
        return QuadtreeImages.of_size(key, options.get("size", 32))
    if name == "shapes":
        defaults = {field.name: field.default for field in dataclasses.fields(SceneImages)}
        return SceneImages(
            size=options.get("size", 32),
            objects=options.get("objects", (1, 1)),
            n_classes=options.get("classes", defaults["n_classes"]),
        )
    synonyms, exponent = options.get("synonyms", 4), options.get("zipf")
    try:
        rules = None if exponent is None else zipf(positive(synonyms, "n_synonyms"), exponent)
    except UsageError as error:  # the option has the name of the law
        argument = "zipf" if error.argument == "exponent" else error.argument
        raise UsageError(error.problem, argument=argument) from None
    return GrammarImages.init(
        key,
        n_symbols=options.get("symbols", 8),
        n_classes=options.get("classes", 8),
        n_synonyms=synonyms,
        n_levels=options.get("levels", 3),
        tuple_size=2 if options.get("strips") else (2, 2),
        rule_probabilities=rules,
        leaf_noise=options.get("leaf_noise", 0.0),
        filtered_at=options.get("filtered_at"),
    )
