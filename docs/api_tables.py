"""Lists at the top of the API pages: every public name of a module, functions before classes, with its first line."""

import importlib
import inspect
from typing import Any

import hlvm

_LONGEST = 80
"""Characters of a constant that is shown."""


def kind(obj: Any) -> int:
    """Functions first, then classes, then all else, which is the order of the API pages."""
    return 0 if inspect.isroutine(obj) else 1 if inspect.isclass(obj) else 2


def put_functions_first() -> None:
    """Sort ``__all__`` of every public module, which is the order in which autodoc writes its members."""
    for name in hlvm.__all__:
        if name.islower() and not name.startswith("_"):
            module: Any = importlib.import_module(f"hlvm.{name}")
            module.__all__ = sorted(module.__all__, key=lambda each, of=module: kind(getattr(of, each)))


def list_members(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Append the list of a module's public names to its description."""
    if what != "module" or name.removeprefix("hlvm.") not in hlvm.__all__:
        return
    lines += ["", ".. list-table::", "   :class: members", ""]
    for member in obj.__all__:
        lines += [f"   * - :py:obj:`~{name}.{member}`", f"     - {first_line(getattr(obj, member))}"]
    lines.append("")


def first_line(obj: Any) -> str:
    """First line of a docstring; a constant or an alias, which has none of its own, is shown as it is."""
    if kind(obj) < 2:
        return (inspect.getdoc(obj) or "").partition("\n")[0]
    shown = repr(obj)
    return f"``{shown}``" if len(shown) <= _LONGEST else ""
