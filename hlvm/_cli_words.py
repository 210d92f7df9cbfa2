"""What the package says in terms of Python, said in terms of the command line.

The package words its remedies for people who call it. :func:`in_command_words` is applied where such text leaves the
command line, so that no message of the package has to know of two kinds of readers.
"""

from __future__ import annotations

import re

__all__ = ["in_command_words", "parse_error_in_one_line"]

_GRID = 'put "grid": [ROWS, COLUMNS] into the graph\'s file'

_WORDS: tuple[tuple[str, str], ...] = (
    (r"build the graph with dims=None, which takes the dims", "give the graph's file the dims"),
    (r'(use|ask for) regime="general"', "use hlvm theory --regime general"),
    (r"pass mechanism=", "give a saved model (.npz) instead"),
    (r"shared_information\(\.\.\.\)\.dim", "the dim that hlvm theory --masked prints"),
    (r"LatentGraph accepts no others", "no other graph is read"),
    (r"as hlvm\.simulator does", "as hlvm sample does"),
    (
        r'try choose="any", larger patches, fewer latents in the target, or a larger max_seconds',
        "try --choose any, a larger --unit or --height, or fewer latents after --target",
    ),
    (
        r"build the graph with grid=\(rows, columns\), use Patches\.of_subtrees, or list the groups yourself",
        f"{_GRID}, or give --height instead of --unit",
    ),
    (
        r"build the graph with grid=\(rows, columns\), or use RandomMask, BernoulliMask or SubtreeMask",
        f"{_GRID}, or use --strategy random, bernoulli or subtree",
    ),
    (r"choose another height or list the groups yourself", "choose another --height"),
    (r"keep_every=\((\d+), (\d+)\)", r"--keep-every \1 \2"),
    (r"keep_every=(\d+)", r"--keep-every \1"),
    (r"keep_every must be", "--keep-every must be"),
    (
        r"pass groups=np\.arange\(n\) if equal rows are samples of their own",
        "give --groups with a label of its own for each row",
    ),
    (r"pass groups= with a label", "give --groups with a label"),
    (r"^max_train must be", "--max-train must be"),
    (r"^threshold: expected", "--threshold: expected"),
    (r", or a tuple \(rows, columns\), got \((-?\d+), (-?\d+)\)", r", or ROWS COLUMNS, got \1 \2"),
    (r", or a tuple \(rows, columns\)", ", or ROWS COLUMNS"),
    (
        r"has the mechanism \w+: closed forms need LinearGaussian mechanisms everywhere",
        "has another mechanism than linear-gaussian: --oracle needs that one everywhere",
    ),
    (r"closed forms need Gaussian noises", "--oracle needs Gaussian noises"),
)
"""Regular expressions of what the package says, and what the command says instead."""


def in_command_words(text: str) -> str:
    """The text with arguments and names of the package replaced by options of the command."""
    for pattern, words in _WORDS:
        text = re.sub(pattern, words, text)
    return text


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
