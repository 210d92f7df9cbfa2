"""Keeping fits on disk, together with the generator they were trained on."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from hlvm._files import as_path, atomic_folder
from hlvm._files.digests import check_digests, digests_of, read_json, write_json
from hlvm._keys import checked_key
from hlvm.graph import LatentGraph
from hlvm.images.files import can_be_saved, load_image_model, save_image_model
from hlvm.mae.config import NETWORKS, NetworkConfig, TrainConfig, ViTConfig, network_to_dict
from hlvm.mae.objectives.descriptions import objective_from_dict, objective_to_dict
from hlvm.mae.result import Fit
from hlvm.mae.training.arrays_on_disk import read_arrays, write_arrays
from hlvm.mae.training.data import ArrayData, ImageData, Source
from hlvm.mae.training.groups import Member
from hlvm.mae.training.held_out import HeldOut
from hlvm.mae.training.units import far_columns, moments
from hlvm.masking.descriptions import mask_from_dict, mask_to_dict
from hlvm.mechanisms import mechanism_to_dict, noise_to_dict
from hlvm.simulator import HierarchicalModel

__all__ = ["describe_fit", "describe_run", "load_fits", "save_fits"]

_FORMAT = "hlvm.fits"
_FORMAT_VERSION = 2
_DIGESTS = "digests"
_NONE = np.zeros(0, np.float32)


def save_fits(path: str | os.PathLike[str], fits: Sequence[Fit]) -> None:
    """Write fits of one generator to a new folder, all or nothing.

    The folder holds the generator (``model.npz``; for image models of :mod:`hlvm.images` the folder ``images``; for
    fits trained on arrays, or on an image model of your own, their graph and what is known of where they come from,
    ``data.json``), what was trained (``fits.json``, with a digest of every other file) and the arrays (Orbax format),
    so that a fit can never be scored on another generator than its own. The arrays are read back before the folder
    gets its name.

    Args:
        path: the folder to make.
        fits: what to keep.

    Raises:
        FileExistsError: the folder exists already.
        ValueError: no fits, fits of different generators, or a mask strategy of your own that JSON cannot hold.
    """
    if not fits:
        raise ValueError("nothing to save: give at least one fit")
    if not all(_same_model(fit.model, fits[0].model) for fit in fits):
        raise ValueError("these fits were trained on different generators: save them to one folder per generator")
    header = {"format": _FORMAT, "version": _FORMAT_VERSION, "fits": [describe_fit(fit) for fit in fits]}
    arrays = {str(i): _arrays(fit) for i, fit in enumerate(fits)}
    with atomic_folder(as_path(path)) as temporary:
        _save_data(temporary, fits[0].model)
        write_arrays(temporary / "arrays", arrays)
        write_json(temporary / "fits.json", {**header, _DIGESTS: digests_of(temporary)})


def load_fits(
    path: str | os.PathLike[str], *, known: Mapping[str, Callable[..., Any]] | None = None
) -> tuple[Fit, ...]:
    """Read fits written by :func:`save_fits`.

    Args:
        path: the folder.
        known: mask strategies of your own, by the names of their classes: what to call with the fields of the
            dataclass, or with nothing if it was none, to get the strategy.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: the folder does not hold fits, is damaged, or needs a mask strategy that is not known.
    """
    folder = as_path(path)
    try:
        header = read_json(folder / "fits.json")
    except NotADirectoryError:
        raise ValueError(f"{folder} is not a folder written by save_fits") from None
    except FileNotFoundError:
        if not folder.exists():
            raise
        raise ValueError(_without_fits(folder)) from None
    if not isinstance(header, dict) or (header.get("format"), header.get("version")) != (_FORMAT, _FORMAT_VERSION):
        raise ValueError(f"{folder} does not hold fits of format version {_FORMAT_VERSION}")
    check_digests(folder, header.get(_DIGESTS, {}))  # files of earlier versions have none
    model = _load_data(folder)
    arrays = read_arrays(folder / "arrays")
    try:
        return tuple(_restore(entry, model, arrays[str(i)], known) for i, entry in enumerate(header["fits"]))
    except (KeyError, TypeError) as error:
        raise ValueError(f"{folder} is damaged: {error!r}") from None


def _without_fits(folder: Path) -> str:
    """Say where the fits are of a folder that has none of its own, such as that of a run or a study."""
    if (folder / "fits" / "fits.json").exists():
        return f"{folder} holds no fits itself: give {folder / 'fits'}"
    inner = sorted(path.parent for path in folder.glob("fits/*/fits.json"))
    if not inner:
        return f"{folder} holds no fits: give a folder that hlvm train or save_fits has written"
    others = f" or another of {len(inner)} such folders" if len(inner) > 1 else ""
    return f"{folder} is of a study, which keeps the fits of each of its groups apart: give {inner[0]}{others}"


def _save_data(folder: Path, data: Source) -> None:
    if isinstance(data, HierarchicalModel):
        data.save(folder / "model.npz")
        return
    if isinstance(data, ImageData) and can_be_saved(data.images):
        (folder / "images").mkdir()
        save_image_model(data.images, folder / "images")
        return
    if isinstance(data, ImageData):
        about: dict[str, Any] = {"graph": data.graph.to_dict(), "about": {"images": repr(data.images)}}
    else:
        about = {"graph": data.graph.to_dict(), "about": dict(data.about), "rows": len(data)}
    write_json(folder / "data.json", about)


def _load_data(folder: Path) -> Source:
    if (folder / "images").exists():
        return ImageData(load_image_model(folder / "images"))
    if not (folder / "data.json").exists():
        return HierarchicalModel.load(folder / "model.npz")
    try:
        found = read_json(folder / "data.json")
        return ArrayData(graph=LatentGraph.from_dict(found["graph"]), parts=(), about=found["about"])
    except (KeyError, TypeError) as error:
        raise ValueError(f"{folder / 'data.json'} is damaged: {error!r}") from None


def describe_run(
    key: Any,
    data: Source,
    members: Sequence[Member],
    train: TrainConfig,
    *,
    pad: bool = False,
) -> dict[str, Any]:
    """Everything that the result of a run depends on, ready for JSON; ``pad`` is named only where it is true.

    Raises:
        ValueError: a mask strategy of your own that JSON cannot hold.
    """
    key = checked_key(key)
    return {
        "key": [str(jax.random.key_impl(key)), *np.asarray(jax.random.key_data(key)).tolist()],
        "data": _fingerprint(data),
        "members": [
            {
                "network": network_to_dict(member.network),
                "mask": mask_to_dict(member.mask),
                "loss": objective_to_dict(member.loss),
                "seed": member.seed,
            }
            for member in members
        ],
        "train": dataclasses.asdict(train),
        **({"pad": True} if pad else {}),
    }


def _fingerprint(data: Source) -> str:
    """A digest of where data comes from.

    It is over all of a generator, an image model's fields, and of a data set its graph, their number and some rows.
    """
    digest = hashlib.sha256()
    if isinstance(data, HierarchicalModel):
        digest.update(json.dumps([data.graph.to_dict(), _functions_of(data)], sort_keys=True).encode())
        for leaf in jax.tree.leaves(data):
            digest.update(np.asarray(leaf).tobytes())
        return digest.hexdigest()
    if isinstance(data, ImageData):
        digest.update(json.dumps([repr(data), data.graph.to_dict()], sort_keys=True).encode())
        known = dataclasses.fields(data.images) if dataclasses.is_dataclass(data.images) else ()
        for leaf in jax.tree.leaves([getattr(data.images, field.name) for field in known]):
            digest.update(np.asarray(leaf).tobytes() if hasattr(leaf, "dtype") else repr(leaf).encode())
        return digest.hexdigest()
    digest.update(json.dumps([len(data), data.graph.to_dict()], sort_keys=True).encode())
    rows = data.numbers(np.linspace(0, len(data) - 1, min(len(data), 256)).astype(np.int64))
    digest.update(rows.astype(np.float32).tobytes())
    digest.update(rows[:, far_columns(*moments(rows))].tobytes())  # which single precision does not tell apart
    return digest.hexdigest()


def _functions_of(model: HierarchicalModel) -> list[Any]:
    """Mechanisms and noises of all variables; of a user's function without a name only that it is one."""
    found: list[Any] = [noise_to_dict(noise) for noise in model.layout.noises]
    for mechanism in model.layout.mechanisms:
        try:
            found.append(None if mechanism is None else mechanism_to_dict(mechanism))
        except ValueError:
            found.append(type(mechanism).__qualname__)
    return found


def _same_model(a: Source, b: Source) -> bool:
    if a is b:
        return True
    if not isinstance(a, HierarchicalModel) or not isinstance(b, HierarchicalModel):
        return False
    return a.layout == b.layout and all(
        np.array_equal(x, y) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    )


def _arrays(fit: Fit) -> dict[str, Any]:
    """What is written; empty arrays, as those of a fit that took no step, cannot be."""
    arrays: dict[str, Any] = {
        "params": np.asarray(fit.params),
        "losses": np.asarray(fit.losses),
        "shift": np.asarray(fit.shift),
        "scale": np.asarray(fit.scale),
        "key": np.asarray(jax.random.key_data(fit.key)),
    }
    if fit.teacher is not None:
        arrays["teacher"] = np.asarray(fit.teacher)
    if fit.held_out is not None:
        arrays["held_out"] = {name: array for name, array in fit.held_out._asdict().items() if array.size}
    return {name: array for name, array in arrays.items() if name == "held_out" or array.size}


def describe_fit(fit: Fit) -> dict[str, Any]:
    """Describe what was trained, ready for JSON.

    Raises:
        ValueError: a mask strategy of your own that JSON cannot hold.
    """
    return {
        "network": network_to_dict(fit.network),
        "mask": mask_to_dict(fit.mask),
        "train": dataclasses.asdict(fit.train),
        "loss": objective_to_dict(fit.loss),
        "seed": fit.seed,
        "diverged": fit.diverged,
        "key_impl": str(jax.random.key_impl(fit.key)),
    }


def _restore(
    entry: dict[str, Any],
    model: Source,
    arrays: dict[str, Any],
    known: Mapping[str, Callable[..., Any]] | None,
) -> Fit:
    return Fit(
        model=model,
        mask=mask_from_dict(entry["mask"], known),
        network=network_from_dict(entry["network"]),
        train=TrainConfig(**entry["train"]),
        loss=objective_from_dict(entry["loss"]),
        seed=entry["seed"],
        key=jax.random.wrap_key_data(jnp.asarray(arrays["key"]), impl=entry["key_impl"]),
        params=jnp.asarray(arrays["params"]),
        losses=np.asarray(arrays.get("losses", _NONE)),
        diverged=entry["diverged"],
        shift=np.asarray(arrays["shift"]),  # of data sets in double precision, which JAX would round
        scale=np.asarray(arrays["scale"]),
        held_out=HeldOut(**{"steps": _NONE.astype(int), "losses": _NONE, **arrays["held_out"]})
        if "held_out" in arrays
        else None,
        teacher=jnp.asarray(arrays["teacher"]) if "teacher" in arrays else None,
    )


def network_from_dict(data: dict[str, Any]) -> NetworkConfig:
    fields = dict(data)
    cls = NETWORKS[fields.pop("kind")]
    if fields.get("encoder") is not None:
        fields["encoder"] = ViTConfig(**fields["encoder"])
    return cls(**fields)
