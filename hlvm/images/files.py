"""Image models in files: everything that a generator of images draws with, in one folder."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any

import numpy as np

from hlvm._files import as_path, atomic_path
from hlvm._files.digests import check_digests, digest_of_file, read_json, read_npz, write_json
from hlvm.images.grammar.model import GrammarImages
from hlvm.images.quadtree import QuadtreeImages
from hlvm.images.scenes.model import SceneImages
from hlvm.simulator import HierarchicalModel

__all__ = ["can_be_saved", "load_image_model", "save_image_model"]

_FORMAT, _FORMAT_VERSION = "hlvm.images", 1
_FAMILIES: dict[str, type[Any]] = {"scenes": SceneImages, "quadtree": QuadtreeImages, "grammar": GrammarImages}
_TUPLES = ("objects", "tuple_shape")
_DIGESTS = "digests"
_PROBABILITIES, _CLASSES = "probabilities.npz", "classes"


def can_be_saved(model: Any) -> bool:
    """Tell whether this is one of the families of this package."""
    return type(model) in _FAMILIES.values()


def save_image_model(model: Any, folder: str | os.PathLike[str]) -> None:
    """Write ``images.json`` into a folder and, beside it, the arrays that the model draws with.

    Args:
        model: scenes, quadtree or grammar images.
        folder: an existing folder.

    Raises:
        ValueError: an image model of another kind.
    """
    if not can_be_saved(model):
        raise ValueError(f"only scenes, quadtree and grammar images can be saved, got {type(model).__name__}")
    place = as_path(folder)
    family = next(name for name, kind in _FAMILIES.items() if kind is type(model))
    fields = {field.name: getattr(model, field.name) for field in dataclasses.fields(type(model))}
    arrays: tuple[str, ...] = ()
    if isinstance(model, QuadtreeImages):
        fields.pop("model").save(place / "model.npz")
        arrays = ("model.npz",)
    if isinstance(model, GrammarImages):
        rules: dict[str, Any] = {str(level): np.asarray(table) for level, table in fields.pop("rules").items()}
        with atomic_path(place / "rules.npz") as temporary:
            np.savez(temporary, **rules)
        arrays = ("rules.npz", *_write_law(model, fields, place))
    header = {"format": _FORMAT, "version": _FORMAT_VERSION, "family": family, "fields": fields}
    write_json(place / "images.json", {**header, _DIGESTS: {name: digest_of_file(place / name) for name in arrays}})


def _write_law(model: GrammarImages, fields: dict[str, Any], place: Path) -> tuple[str, ...]:
    """Write the probabilities of a grammar, if it has any, and leave in its fields only what was given."""
    tables: dict[str, Any] = {}
    for level, table in (fields.pop("rule_probabilities") or {}).items():
        tables[str(level)], fields["rule_probabilities"] = table, _PROBABILITIES
    if fields.pop("class_probabilities") is not None:
        tables[_CLASSES], fields["class_probabilities"] = model.class_probabilities, _PROBABILITIES
    for name, default in (("leaf_noise", 0.0), ("filtered_at", None)):
        if fields[name] == default:
            fields.pop(name)
    if not tables:
        return ()
    with atomic_path(place / _PROBABILITIES) as temporary:
        np.savez(temporary, **tables)
    return (_PROBABILITIES,)


def _read_law(fields: dict[str, Any], place: Path) -> None:
    """Put the probabilities of a grammar into its fields, where they name the file."""
    given = [name for name in ("rule_probabilities", "class_probabilities") if name in fields]
    if given:
        tables = dict(read_npz(place / _PROBABILITIES))
        if "class_probabilities" in given:
            fields["class_probabilities"] = tables.pop(_CLASSES)
        if "rule_probabilities" in given:
            fields["rule_probabilities"] = {int(level): table for level, table in tables.items()}


def load_image_model(folder: str | os.PathLike[str]) -> Any:
    """Read what :func:`save_image_model` wrote.

    Returns:
        The scenes, quadtree or grammar images.

    Raises:
        FileNotFoundError: the folder holds no image model.
        ValueError: the file is damaged or of another version.
    """
    place = as_path(folder)
    path = place / "images.json"
    try:
        header = read_json(path)
        if (header["format"], header["version"]) != (_FORMAT, _FORMAT_VERSION):
            raise ValueError(f"{path} does not hold an image model of format version {_FORMAT_VERSION}")
        fields: dict[str, Any] = {
            name: tuple(value) if name in _TUPLES else value for name, value in header["fields"].items()
        }
        family = _FAMILIES[header["family"]]
        check_digests(place, header.get(_DIGESTS, {}))  # files of earlier versions have none
        if family is QuadtreeImages:
            fields["model"] = HierarchicalModel.load(place / "model.npz")
        if family is GrammarImages:
            fields["rules"] = {int(level): table for level, table in read_npz(place / "rules.npz").items()}
            _read_law(fields, place)
        return family(**fields)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} is damaged: {error!r}") from None
