"""What the package says in terms of Python, said in terms of the command line.

The package words its remedies for people who call it. :func:`in_command_words` is applied where such text leaves the
command line, so that no message of the package has to know of two kinds of readers.
"""

from __future__ import annotations

import re

__all__ = ["in_command_words"]

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
        f"{_GRID}, or use --strategy uniform, bernoulli or subtree",
    ),
    (r"choose another height or list the groups yourself", "choose another --height"),
    (r"keep_every=\((\d+), (\d+)\)", r"--keep-every \1 \2"),
    (r"keep_every=(\d+)", r"--keep-every \1"),
    (r"keep_every must be", "--keep-every must be"),
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
