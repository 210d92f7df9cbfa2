"""The words of the command line: for what the package says of arguments, and for arguments that do not parse."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable

from hlvm._numbers import UsageError

__all__ = ["in_command_words", "parse_error_in_one_line"]

_REMEDIES = {
    "choose": "try --choose any",
    "dims": "leave dims out of the graph's file, which then takes those that invertible mechanisms imply",
    "filter": "leave it out for no filter",
    "grid": 'put "grid": [ROWS, COLUMNS] into the graph\'s file',
    "groups": "",
    "height": "choose another --height",
    "max_seconds": "",
    "patches": "a larger --unit or --height",
    "regime": "use hlvm theory --regime general",
    "strategy": "use --strategy random, bernoulli or subtree",
    "subtrees": "give --height instead of --unit",
    "target": "fewer latents after --target",
    "target_height": "give --height instead",
}
"""Advice of the package's errors, and how it is followed from the shell; nothing where it cannot be."""


def in_command_words(error: ValueError, command: Callable[..., int]) -> str:
    """Word an error with options of the command in the place of arguments of the package."""
    if not isinstance(error, UsageError):
        return str(error)
    options = {name: f"--{name.replace('_', '-')}" for name in inspect.signature(command).parameters}
    return error.told(options, _REMEDIES)


# ---------------------------------------------------------------------- arguments that do not parse

_NO_NUMBER = {
    "invalid literal for int() with base 10": "a whole number",
    "could not convert string to float": "a number",
}


def parse_error_in_one_line(box: str, command: str | None) -> str:
    """Say in one line what tyro says in a box of several, with the remedy.

    Args:
        box: the box.
        command: the subcommand that was called, if there is one of that name.
    """
    rows = box.splitlines()[1:]
    # Where text is not UTF-8 there are spaces for the sides, and a rule below the title.
    lines = [row.strip("│") if "│" in row else row[1:] for row in rows if not re.fullmatch(r"╰.*| -+ *", row)]
    sections = re.split(r"(?m)^ [─-]+ *$", "\n".join(lines))
    first = " ".join(sections[0].split("Got errors:")[0].split())
    words = _missing(sections[0]) or _bad_value(first, sections[1:]) or first
    for text in sections[1:]:
        if text.strip().startswith("Available"):
            words += f". {' '.join(text.split())}"
        elif text.strip().startswith("Perhaps") and (likely := re.search(r"--\S+", text)):
            words += f". Perhaps you meant {likely[0]}"
    return f"{words.rstrip('.')}; see {' '.join(['hlvm', *([command] if command else []), '--help'])}"


def _missing(section: str) -> str | None:
    """Find which arguments are missing: their names are set in further than the title, and less than their help."""
    if not section.strip().startswith("Missing from"):
        return None
    names = re.findall(r"(?m)^ {5}(\S.*?) *$", section)
    return f"{section.strip().splitlines()[0].strip()} {', '.join(names)}"


def _bad_value(text: str, more: list[str]) -> str | None:
    """Find which argument has a value that it cannot take, what it takes, and what came."""
    if found := re.fullmatch(r"invalid choice '(.*)' for argument '(\S+)'\. Expected one of \((.*)\)\.", text):
        value, name, choices = found.groups()
        return f"{name}: expected one of {choices.replace(chr(39), '').rstrip(',')}, got {value!r}"
    if not (found := re.fullmatch(r"Error parsing (\S+?)(?:/\S+)?: (.*)", text)):
        return None
    name, what = found.groups()
    for says, expected in _NO_NUMBER.items():
        if what.startswith(says):
            return f"{name}: expected {expected}, got {what.removeprefix(says).lstrip(': ')}"
    shown = re.search(rf"(?m)^\s+{re.escape(name)} (\S.*?) *$", more[0]) if more else None
    if shown and (given := re.search(r"\[(.*)\]\.?$", what)):
        return f"{name}: expected {shown[1]}, got {given[1].replace(',', '')}"
    return f"{name}: {what}"
