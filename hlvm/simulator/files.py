"""Model files: everything that a model draws with, in one archive."""

from __future__ import annotations

import functools
import hashlib
import json
import os
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from hlvm._files import as_path, atomic_path
from hlvm._files.digests import parsed_json, read_npz, with_digest
from hlvm.graph import LatentGraph
from hlvm.mechanisms import mechanism_from_dict, mechanism_to_dict, noise_from_dict, noise_to_dict
from hlvm.simulator import forward
from hlvm.simulator.changes import NoiseShift, SetValues
from hlvm.simulator.layout import Layout
from hlvm.simulator.parts import AnyModel, ModelParts

__all__ = ["load", "save"]

_FORMAT = "hlvm.model"
_FORMAT_VERSION = 2
_ARRAYS = "arrays"
_PAIRS = {"set_values": SetValues, "noise_shift": NoiseShift}
_DAMAGED = (KeyError, TypeError, AttributeError, IndexError)


def save(model: ModelParts, path: str | os.PathLike[str]) -> None:
    """See ``HierarchicalModel.save``."""
    target = as_path(path)
    if target.suffix != ".npz":
        raise ValueError(f"a model is saved as a .npz file, got {target.name!r}")
    if model.functions:
        raise ValueError(
            f"{model.functions[0][0]!r} was set by a function, which cannot be written to a file: save the model "
            f"before the intervention"
        )
    layout = model.layout
    mechanisms, noises = list(dict.fromkeys(layout.mechanisms)), list(dict.fromkeys(layout.noises))
    header = {
        "format": _FORMAT,
        "version": _FORMAT_VERSION,
        "graph": model.graph.to_dict(),
        "mechanisms": [None if m is None else mechanism_to_dict(m) for m in mechanisms],
        "mechanism_of": [mechanisms.index(m) for m in layout.mechanisms],
        "noises": [noise_to_dict(noise) for noise in noises],
        "noise_of": [noises.index(noise) for noise in layout.noises],
        "standardized": model.standardized,
        "key_impl": model.key_impl,
    }
    arrays = {
        f"params/{i}/{name}": np.asarray(value) for i, group in enumerate(model.params) for name, value in group.items()
    }
    if model.key_data is not None:
        arrays["key_data"] = np.asarray(model.key_data)
    for name in _PAIRS:
        pair = getattr(model, name)
        arrays |= {} if pair is None else {f"{name}/{field}": np.asarray(x) for field, x in pair._asdict().items()}
    arrays |= {"shift": np.asarray(model.shift), "scale": np.asarray(model.scale)}
    arrays["header"] = np.array(json.dumps(with_digest({**header, _ARRAYS: _digests(arrays)})))
    with atomic_path(target) as temporary:
        np.savez(temporary, **arrays)  # pyright: ignore[reportArgumentType]  # numpy's stub has allow_pickle in mind
        _read(temporary)


def load(cls: type[AnyModel], path: str | os.PathLike[str], known: Mapping[str, Any] | None) -> AnyModel:
    """See ``HierarchicalModel.load``."""
    try:
        header, arrays = _read(path)
        if header.get("format") != _FORMAT or header.get("version") not in (1, _FORMAT_VERSION):
            raise ValueError(f"{path} is not a model file of format version 1 or {_FORMAT_VERSION}")
        layout = _layout(header, known)
        expected = jax.eval_shape(functools.partial(forward.draw_params, layout), jax.random.key(0))
        optional: dict[str, Any] = {
            name: kind(*(jnp.asarray(arrays[f"{name}/{field}"]) for field in kind._fields))
            for name, kind in _PAIRS.items()
            if f"{name}/{kind._fields[0]}" in arrays
        }
        model = cls(
            params=tuple(
                {name: jnp.asarray(arrays[f"params/{i}/{name}"]) for name in group} for i, group in enumerate(expected)
            ),
            shift=jnp.asarray(arrays["shift"]),
            scale=jnp.asarray(arrays["scale"]),
            layout=layout,
            # Version 1 did not say whether it standardised; without that, every constant was 0 or 1.
            standardized=header.get("standardized", bool((arrays["shift"] != 0).any() or (arrays["scale"] != 1).any())),
            key_data=jnp.asarray(arrays["key_data"]) if "key_data" in arrays else None,
            key_impl=header.get("key_impl"),
            **optional,
        )
    except _DAMAGED as error:
        raise ValueError(f"{path} is not a model file written by HierarchicalModel.save: {error}") from None
    _check_shapes(path, model, expected)
    return model


def _layout(header: Mapping[str, Any], known: Mapping[str, Any] | None) -> Layout:
    """Graph, mechanisms and noises of a file; version 1 knew no noises but Gaussian ones."""
    mechanisms = [None if m is None else mechanism_from_dict(m, known) for m in header["mechanisms"]]
    of_node = tuple(mechanisms[i] for i in header["mechanism_of"])
    graph = LatentGraph.from_dict(header["graph"])
    if header["version"] == 1:
        return Layout(graph, of_node)
    noises = [noise_from_dict(noise, known) for noise in header["noises"]]
    return Layout(graph, of_node, tuple(noises[i] for i in header["noise_of"]))


def _check_shapes(path: str | os.PathLike[str], model: ModelParts, params: Any) -> None:
    """Refuse arrays that do not fit the graph and the mechanisms."""
    layout = model.layout
    values, noises = (layout.n_values,), (layout.n_noises,)
    expected = [leaf.shape for leaf in jax.tree.leaves(params)] + [values, values]
    found = [leaf.shape for leaf in jax.tree.leaves(model.params)] + [model.shift.shape, model.scale.shape]
    for pair, shape in ((model.set_values, values), (model.noise_shift, noises)):
        expected += [] if pair is None else [shape, shape]
        found += [] if pair is None else [array.shape[:1] for array in pair]
    if found != expected:
        raise ValueError(f"{path} is damaged: its arrays have the shapes {found}, expected {expected}")


def _read(path: str | os.PathLike[str]) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The header and all other arrays of a file, which must be those that were written."""
    arrays = read_npz(as_path(path), "a model file written by HierarchicalModel.save")
    header = parsed_json(str(arrays.pop("header")), str(path))
    if header.pop(_ARRAYS, None) not in (None, _digests(arrays)):  # files of earlier versions have no digests
        raise ValueError(f"{path} is damaged: its arrays are not what their digests say")
    return header, arrays


def _digests(arrays: Mapping[str, np.ndarray]) -> dict[str, str]:
    return {
        name: hashlib.sha256(f"{array.dtype.str} {array.shape} ".encode() + array.tobytes()).hexdigest()
        for name, array in sorted(arrays.items())
    }
