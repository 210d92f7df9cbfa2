"""Image families by their names on the command line, and the options that each takes."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

__all__ = ["FAMILIES", "image_model"]

FAMILIES: dict[str, tuple[str, ...]] = {
    "quadtree": ("size",),
    "shapes": ("size", "objects", "classes"),
    "grammar": ("classes", "symbols", "synonyms", "levels", "strips"),
}
"""Name -> the options of ``hlvm sample`` that go with it."""


def image_model(name: str, seed: int, given: Mapping[str, Any] | None = None) -> Any:
    """An image model of a family, as ``hlvm sample`` draws from it with this seed.

    Args:
        name: the family.
        seed: from 0; mechanisms and rules follow from it.
        given: options of this family; those that are missing have the values that ``hlvm sample --help`` tells.

    Raises:
        ValueError: a value that the family does not take.
    """
    import jax

    from hlvm.images import GrammarImages, QuadtreeImages, SceneImages

    key, _ = jax.random.split(jax.random.key(seed))
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
    return GrammarImages.init(
        key,
        n_symbols=options.get("symbols", 8),
        n_classes=options.get("classes", 8),
        n_synonyms=options.get("synonyms", 4),
        n_levels=options.get("levels", 3),
        tuple_size=2 if options.get("strips") else (2, 2),
    )
