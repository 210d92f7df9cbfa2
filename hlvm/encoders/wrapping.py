"""Kinds of encoders, and the call of each."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, Literal, get_args

from hlvm._numbers import UsageError, positive
from hlvm.encoders.encoder import Encoder, Sees, Units, told
from hlvm.encoders.estimators import check_fitted, fitted_estimator, is_estimator, settings_digest
from hlvm.encoders.modules import check_module, is_module, module_codes, reinitialised_module

__all__ = ["is_encoder", "wrap"]

_BATCH = 256
"""Samples at a time for modules of PyTorch."""
_NO_FLOOR = "a {} cannot be re-initialised; give floor= to wrap"
_EXPECTED = (
    "must be a function of an array, a torch.nn.Module, a transformer of scikit-learn or an object with encode, got "
)


def wrap(
    encoder: Any,
    *,
    name: str = "",
    sees: Literal["rows", "images"] = "rows",
    units: Literal["standard", "own"] = "standard",
    mask: Any = None,
    floor: Any = None,
    fit: bool = False,
    batch: int | None = None,
) -> Encoder:
    """Make an encoder of what computes codes.

    Args:
        encoder: one of

            - a function of an array, one row per sample; of masked samples it gets a mask as well;
            - a ``torch.nn.Module``: its method ``encode``, or else itself, is called with float tensors on its device,
              in evaluation mode and without gradients;
            - a transformer of scikit-learn, fitted, or with ``fit=True``: its ``transform``;
            - an object with a method ``encode``, called as a function is.
        name: for tables; ``""`` for the name of the function or class.
        sees: ``"rows"`` for the observed variables side by side, (n, total observed dims) in the graph's order; or
            ``"images"`` for (n, height, width, channels).
        units: ``"standard"``: every column, or pixel, less its mean and in its standard deviations, as own training and
            :meth:`hlvm.study.Study.batches` have it; ``"own"``: as the data have it, pixels from 0 to 1.
        mask: strategy by which a part of the samples is hidden, in batches to train on and in studies of masked
            samples. There what is hidden is set to its mean, and the encoder is called with the mask beside the samples
            (a transformer without it). ``None`` for an encoder of whole samples.
        floor: the same encoder before training, of any kind that ``encoder`` may be. ``None`` for a copy of a module
            whose parameters are all reset by ``reset_parameters``; other encoders then have no floor.
        fit: the encoder is not ready yet: for every seed and generator a transformer is cloned and fitted on the rows
            that are trained on, and a function is called with batches (see :class:`hlvm.study.Batches`) and returns an
            encoder.
        batch: most samples at a time; ``None`` for 256 with a module, else for all.

    Returns:
        The encoder; one that is wrapped already is given back, under ``name`` if there is one.

    Raises:
        UsageError: something that is no encoder, a transformer that is not fitted, a module on several devices, or
            an unknown word.

    Example:
        >>> import numpy as np
        >>> first_two = wrap(lambda rows: rows[:, :2], name="first two")
        >>> first_two(np.eye(3)).shape
        (3, 2)
    """
    if isinstance(encoder, Encoder):
        return dataclasses.replace(encoder, name=name or encoder.name)
    for what, given, words in (("sees", sees, get_args(Sees)), ("units", units, get_args(Units))):
        if given not in words:
            raise UsageError(f'must be "{words[0]}" or "{words[1]}", got {given!r}', argument=what)
    if isinstance(encoder, type):
        raise UsageError(f"must be made with its settings, got the class {encoder.__name__}", argument="encoder")
    if not is_encoder(encoder):
        raise UsageError(f"{_EXPECTED}a {type(encoder).__name__}", argument="encoder")
    name = name or _name_of(encoder)
    if batch is not None:
        positive(batch, "batch")
    options: dict[str, Any] = {"name": name, "sees": sees, "units": units, "mask": mask, "batch": batch}
    if fit:
        return _to_be_fitted(encoder, options, floor)
    kind, function = _called(encoder, name)
    if kind == "torch":
        options["batch"] = batch or _BATCH
    untrained, no_floor = _floor_of(encoder, kind, options, floor)
    return Encoder(
        kind=kind,
        function=function,
        takes_mask=not hasattr(encoder, "transform"),
        untrained=untrained,
        no_floor=no_floor,
        **options,
    )


def is_encoder(thing: Any) -> bool:
    """Tell whether something can be wrapped, and is no array, frame or text."""
    if isinstance(thing, Encoder):
        return True
    if isinstance(thing, str | bytes | type) or hasattr(thing, "__array__"):
        return False
    return callable(thing) or any(callable(getattr(thing, name, None)) for name in ("encode", "transform"))


def _name_of(encoder: Any) -> str:
    of_function = getattr(encoder, "__name__", "")
    return type(encoder).__name__ if of_function in ("", "<lambda>") else of_function


def _called(encoder: Any, name: str) -> tuple[str, Callable[..., Any]]:
    """The kind of an encoder that is ready, and what is called."""
    if is_module(encoder):
        check_module(name, encoder)
        return "torch", functools.partial(module_codes, encoder)
    if callable(getattr(encoder, "transform", None)):
        check_fitted(name, encoder)
        return "scikit-learn" if is_estimator(encoder) else "transform", encoder.transform
    if callable(getattr(encoder, "encode", None)):
        return "encode", encoder.encode
    return "function", encoder


def _floor_of(
    encoder: Any, kind: str, options: dict[str, Any], floor: Any
) -> tuple[Callable[[int], Encoder] | None, str]:
    """Maker of the encoder before training, or the reason why there is none."""
    if floor is not None:
        given = wrap(floor, **{**options, "name": f"floor of {options['name']}"})
        return (lambda seed: given), ""
    if kind != "torch":
        return None, _NO_FLOOR.format({"scikit-learn": "transformer of scikit-learn"}.get(kind, "function"))
    try:
        reinitialised_module(options["name"], encoder, 0)
    except UsageError as error:
        return None, error.told()
    except Exception as error:  # a module of the user's that cannot be copied, or whose rule wants arguments
        return None, f"it cannot be re-initialised ({told(error)}); give floor= to wrap"

    def untrained(seed: int) -> Encoder:
        made = reinitialised_module(options["name"], encoder, seed)
        return wrap(made, **{**options, "name": f"floor of {options['name']}"})

    return untrained, ""


def _to_be_fitted(encoder: Any, options: dict[str, Any], floor: Any) -> Encoder:
    name = options["name"]
    if callable(getattr(encoder, "fit", None)) and callable(getattr(encoder, "transform", None)):
        if options["sees"] == "images":
            raise UsageError('must be "rows" for a transformer that is fitted, got "images"', argument="sees")
        kind = "scikit-learn" if is_estimator(encoder) else "transform"

        def fitted(batches: Any) -> Encoder:
            return wrap(fitted_estimator(encoder, batches), floor=floor, **options)

        no_floor = "" if floor is not None else _NO_FLOOR.format("transformer of scikit-learn")
        return Encoder(
            kind=kind,
            function=encoder.transform,
            fit=fitted,
            no_floor=no_floor,
            takes_mask=False,
            fingerprint=settings_digest(encoder),
            **options,
        )
    if is_module(encoder) or not callable(encoder):
        raise UsageError(
            "must be a transformer with fit and transform, or a function of batches that returns an encoder, got a "
            f"{type(encoder).__name__}",
            argument="encoder",
        )

    def trained(batches: Any) -> Encoder:
        made = encoder(batches)
        if made is None or not is_encoder(made):
            raise UsageError(
                f"must return an encoder when it is called with batches, got a {type(made).__name__}",
                argument=f"encoder {name!r}",
            )
        return made if isinstance(made, Encoder) else wrap(made, floor=floor, **options)

    return Encoder(kind="trained", function=encoder, fit=trained, **options)
