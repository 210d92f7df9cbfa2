"""Reading text that people and other programs wrote."""

from __future__ import annotations

import codecs
import json
import os
from pathlib import Path
from typing import Any

__all__ = ["decoded", "parsed_json", "read_json", "read_text"]

_MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))


def decoded(content: bytes) -> str:
    """Text of a file: UTF-8, or UTF-16 with a byte order mark. The mark, which Windows writes, is no part of the text.

    Raises:
        ValueError: other bytes.
    """
    encoding = next((name for mark, name in _MARKS if content.startswith(mark)), "utf-8")
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        raise ValueError(f"it is not UTF-8 text (byte {error.start}: {error.reason}): save it as UTF-8") from None


def read_text(path: str | os.PathLike[str]) -> str:
    """The text of a file; see :func:`decoded`.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is no text; the message names the file.
    """
    try:
        return decoded(Path(path).read_bytes())
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def parsed_json(text: str, **options: Any) -> Any:
    """Parse a JSON text with options of :func:`json.loads`; whatever is wrong with it is a ValueError."""
    try:
        return json.loads(text, **options)
    except RecursionError:
        raise ValueError("too many brackets inside each other") from None


def read_json(path: str | os.PathLike[str]) -> Any:
    """Read a JSON file.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is no JSON file; the message names the file.
    """
    content = Path(path).read_bytes()
    try:
        return parsed_json(decoded(content))
    except ValueError as error:
        raise ValueError(f"{path} is not a JSON file: {error}") from None
