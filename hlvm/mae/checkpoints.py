"""Keeping fits on disk, together with the generator they were trained on."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp

from hlvm._files import atomic_folder
from hlvm.mae.config import BottleneckConfig, TrainConfig, ViTConfig
from hlvm.mae.fit import Fit
from hlvm.masking import FixedMask, MaskStrategy, Patches, RandomMask
from hlvm.simulator import HierarchicalModel

__all__ = ["load_fits", "save_fits"]

_FORMAT = "hlvm.fits"
_FORMAT_VERSION = 1
_NETWORKS: dict[str, type[BottleneckConfig] | type[ViTConfig]] = {
    "bottleneck": BottleneckConfig,
    "vit": ViTConfig,
}


def save_fits(path: str | os.PathLike[str], fits: Sequence[Fit]) -> None:
    """Write fits of one generator to a new folder, all or nothing.

    The folder holds the generator (``model.npz``), what was trained (``fits.json``) and the arrays (Orbax format), so
    that a fit can never be scored on another generator than its own.

    Args:
        path: the folder to make.
        fits: what to keep.

    Raises:
        FileExistsError: the folder exists already.
        ValueError: no fits, or fits of different generators.
    """
    if not fits:
        raise ValueError("nothing to save: give at least one fit")
    if not all(_same_model(fit.model, fits[0].model) for fit in fits):
        raise ValueError("these fits were trained on different generators: save them to one folder per generator")
    header = {"format": _FORMAT, "version": _FORMAT_VERSION, "fits": [_describe(fit) for fit in fits]}
    arrays = {str(i): _arrays(fit) for i, fit in enumerate(fits)}
    with atomic_folder(Path(path)) as temporary:
        fits[0].model.save(temporary / "model.npz")
        (temporary / "fits.json").write_text(json.dumps(header, indent=1), encoding="utf-8")
        with ocp.StandardCheckpointer() as checkpointer:
            checkpointer.save((temporary / "arrays").resolve(), arrays)


def load_fits(path: str | os.PathLike[str]) -> tuple[Fit, ...]:
    """Read fits written by :func:`save_fits`.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: the folder does not hold fits.
    """
    folder = Path(path)
    try:
        header = json.loads((folder / "fits.json").read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(f"{folder / 'fits.json'} is damaged: {error}") from None
    except NotADirectoryError:
        raise ValueError(f"{folder} is not a folder written by save_fits") from None
    if not isinstance(header, dict) or (header.get("format"), header.get("version")) != (_FORMAT, _FORMAT_VERSION):
        raise ValueError(f"{folder} does not hold fits of format version {_FORMAT_VERSION}")
    model = HierarchicalModel.load(folder / "model.npz")
    with ocp.StandardCheckpointer() as checkpointer:
        arrays = checkpointer.restore((folder / "arrays").resolve())
    try:
        return tuple(_restore(entry, model, arrays[str(i)]) for i, entry in enumerate(header["fits"]))
    except (KeyError, TypeError) as error:
        raise ValueError(f"{folder} is damaged: {error!r}") from None


def _same_model(a: HierarchicalModel, b: HierarchicalModel) -> bool:
    if a is b:
        return True
    return a.layout == b.layout and all(
        np.array_equal(x, y) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    )


def _arrays(fit: Fit) -> dict[str, Any]:
    return {
        "params": np.asarray(fit.params),
        "losses": np.asarray(fit.losses),
        "shift": np.asarray(fit.shift),
        "scale": np.asarray(fit.scale),
        "key": np.asarray(jax.random.key_data(fit.key)),
    }


def _describe(fit: Fit) -> dict[str, Any]:
    kind = next(name for name, cls in _NETWORKS.items() if isinstance(fit.config, cls))
    return {
        "network": {"kind": kind, **dataclasses.asdict(fit.config)},
        "mask": mask_to_dict(fit.mask),
        "train": dataclasses.asdict(fit.train),
        "seed": fit.seed,
        "diverged": fit.diverged,
        "key_impl": str(jax.random.key_impl(fit.key)),
    }


def _restore(entry: dict[str, Any], model: HierarchicalModel, arrays: dict[str, Any]) -> Fit:
    network = dict(entry["network"])
    return Fit(
        model=model,
        mask=mask_from_dict(entry["mask"]),
        config=_NETWORKS[network.pop("kind")](**network),
        train=TrainConfig(**entry["train"]),
        seed=entry["seed"],
        key=jax.random.wrap_key_data(jnp.asarray(arrays["key"]), impl=entry["key_impl"]),
        params=jnp.asarray(arrays["params"]),
        losses=np.asarray(arrays["losses"]),
        diverged=entry["diverged"],
        shift=jnp.asarray(arrays["shift"]),
        scale=jnp.asarray(arrays["scale"]),
    )


def mask_to_dict(mask: MaskStrategy) -> dict[str, Any]:
    """A JSON-ready description of a mask strategy."""
    if isinstance(mask, FixedMask):
        return {"kind": "fixed", "masked": list(mask.masked)}
    groups = None if mask.patches is None else [list(group) for group in mask.patches.groups]
    return {"kind": "random", "ratio": mask.ratio, "unit": mask.unit, "patches": groups}


def mask_from_dict(data: dict[str, Any]) -> MaskStrategy:
    """Rebuild a mask strategy from :func:`mask_to_dict`."""
    if data["kind"] == "fixed":
        return FixedMask(masked=tuple(data["masked"]))
    unit = data["unit"]
    return RandomMask(
        ratio=data["ratio"],
        unit=unit if isinstance(unit, int) else tuple(unit),
        patches=None if data["patches"] is None else Patches(tuple(map(tuple, data["patches"]))),
    )
