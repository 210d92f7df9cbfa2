"""Modules of PyTorch as encoders. PyTorch is imported by whoever made the module, never here first."""

from __future__ import annotations

import copy
import sys
from typing import Any

import numpy as np

from hlvm._numbers import UsageError

__all__ = ["check_module", "is_module", "module_codes", "reinitialised_module"]


def is_module(thing: Any) -> bool:
    """Tell whether something is a ``torch.nn.Module``, without importing PyTorch."""
    return any(
        base.__name__ == "Module" and base.__module__.partition(".")[0] == "torch" for base in type(thing).__mro__
    )


def check_module(name: str, module: Any) -> None:
    """Refuse modules that no batch can be sent to.

    Raises:
        UsageError: its parameters and buffers lie on several devices, or on none that holds numbers.
    """
    devices = sorted({str(each.device) for each in (*module.parameters(), *module.buffers())})
    if len(devices) > 1:
        raise UsageError(
            f"has parameters on {' and '.join(devices)}: move all to one device with .to(...)",
            argument=f"encoder {name!r}",
        )
    if devices == ["meta"]:
        raise UsageError(
            "has its parameters on the device meta, which holds no numbers: load them first",
            argument=f"encoder {name!r}",
        )


def module_codes(module: Any, inputs: Any, masked: Any = None) -> Any:
    """Codes by ``module.encode``, or else by the module itself, on its device and in its precision.

    It is in evaluation mode meanwhile and keeps no gradients; each of its parts is left in the mode that it was in.
    """
    torch: Any = sys.modules["torch"]
    first = next((each for each in module.parameters() if each.is_floating_point()), None)
    device, dtype = (None, torch.float32) if first is None else (first.device, first.dtype)
    given = [torch.tensor(np.asarray(inputs, np.float32), dtype=dtype, device=device)]
    if masked is not None:
        given.append(torch.tensor(np.asarray(masked, bool), device=device))
    modes = {part: part.training for part in module.modules()}
    call = module.encode if callable(getattr(module, "encode", None)) else module
    try:
        module.eval()
        with torch.no_grad():
            return call(*given)
    finally:
        for part, mode in modes.items():
            part.training = mode


def reinitialised_module(name: str, module: Any, seed: int) -> Any:
    """A copy whose parts were given new parameters by their ``reset_parameters``; PyTorch's own random state stays.

    Args:
        name: of the encoder, for messages.
        module: the module.
        seed: of the new parameters.

    Raises:
        UsageError: some parameters are not reset, so that the copy would be no floor.
    """
    torch: Any = sys.modules["torch"]
    place = next((each.device for each in module.parameters()), None)
    made = copy.deepcopy(module).cpu()  # where one generator draws all
    floating = [(path, each) for path, each in made.named_parameters() if each.is_floating_point()]
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        torch.random.default_generator.manual_seed(seed)
        for _, each in floating:
            each.fill_(torch.nan)  # what is still there afterwards was not reset
        for part in reversed(list(made.modules())):  # a part's own rule comes after those of its parts
            reset = getattr(part, "reset_parameters", None) or getattr(part, "_reset_parameters", None)
            if callable(reset):
                reset()
        left = [path for path, each in floating if bool(each.isnan().any())]
    if left:
        shown = ", ".join(left[:3]) + (", ..." if len(left) > 3 else "")
        raise UsageError(
            f"cannot be re-initialised: {shown} {'is' if len(left) == 1 else 'are'} set by no reset_parameters",
            argument=f"encoder {name!r}",
            remedies={"method": "give its class a method reset_parameters", "floor": "give floor= to wrap"},
        )
    return made.to(place)
