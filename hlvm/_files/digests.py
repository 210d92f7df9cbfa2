"""Digests, so that damage to what was written is an error, and not another content."""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from hlvm._files import texts, write_text_atomically

if TYPE_CHECKING:
    import zipfile

    import numpy as np

__all__ = [
    "check_digests",
    "check_members",
    "check_own_digest",
    "digest_of_file",
    "digests_of",
    "parsed_json",
    "read_json",
    "read_npz",
    "text_digest",
    "with_digest",
    "write_json",
]

_DIGEST, _KIND = "digest", "sha256:"
_END = 22  # bytes at the end of a zip file, where the number of its members is
_LONGEST = 300  # characters that a library may say of damage


def _digest_of(content: Any) -> str:
    """The digest of anything that JSON can hold, whatever the order of its keys."""
    plain = json.loads(json.dumps(content))
    return _KIND + hashlib.sha256(json.dumps(plain, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def with_digest(content: Mapping[str, Any]) -> dict[str, Any]:
    """The content of a JSON object and its digest."""
    return {**content, _DIGEST: _digest_of(content)}


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON object with its digest, all or nothing."""
    write_text_atomically(path, json.dumps(with_digest(content), indent=1, ensure_ascii=False) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file, and check its digest if it holds one, as those of :func:`write_json` do.

    Returns:
        The content without the digest.

    Raises:
        ValueError: the file is damaged.
    """
    return parsed_json(path.read_bytes(), str(path))


def parsed_json(content: str | bytes, name: str) -> Any:
    """Do as :func:`read_json` does, of JSON that was read already; ``name`` is for messages."""
    try:
        found = texts.parsed_json(content if isinstance(content, str) else texts.decoded(content))
    except ValueError as error:
        raise ValueError(f"{name} is damaged, or not a JSON file: {error}") from None
    try:
        return check_own_digest(found)
    except ValueError as error:
        raise ValueError(f"{name} is damaged: {error}") from None


def check_own_digest(content: Any) -> Any:
    """Check what was read from JSON against the digest in it, if it has one.

    Returns:
        The content without the digest.

    Raises:
        ValueError: it is another content than the digest says.
    """
    if not isinstance(content, dict):
        return content
    plain = {name: value for name, value in content.items() if name != _DIGEST}
    nameless = any(isinstance(value, str) and value.startswith(_KIND) for value in plain.values())
    if nameless or content.get(_DIGEST) not in (None, _digest_of(plain)):
        raise ValueError('its content is not what its digest says; if it was edited by hand, take "digest" out')
    return plain


def text_digest(text: str) -> str:
    """The digest of a text."""
    return hashlib.sha256(text.encode()).hexdigest()


def digests_of(folder: Path) -> dict[str, str]:
    """The digest of every file in a folder and those inside it, by its path from there."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): digest_of_file(path) for path in files}


def check_digests(folder: Path, digests: Mapping[str, str]) -> None:
    """Refuse files that are missing, or not as they were when their digests were taken."""
    for name, digest in digests.items():
        if not (folder / name).is_file():
            raise ValueError(f"{folder} is damaged: {name} is missing")
        if digest_of_file(folder / name) != digest:
            raise ValueError(f"{folder / name} is damaged: its content is not what its digest says")


def digest_of_file(path: Path) -> str:
    """The digest of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_npz(path: Path, what: str = "an .npz file of arrays") -> dict[str, np.ndarray]:
    """Arrays of an ``.npz`` file by name, whose check sums are those of the archive; pickled objects are refused.

    Args:
        path: the file.
        what: the file is, for messages.

    Raises:
        OSError: the file cannot be opened.
        ValueError: it is no such file, or damaged.
    """
    arrays = {}
    with path.open("rb") as file:
        try:
            with zipfile.ZipFile(file) as archive:
                for name in archive.namelist():
                    if name.endswith(".npy"):
                        arrays[name.removesuffix(".npy")] = array_in(archive, name, f"{name} is longer than it says")
                check_members(file, archive)
        except Exception as error:  # damaged archives raise nearly anything
            reason = " ".join(f"{error}".split())[:_LONGEST] or type(error).__name__
            raise ValueError(f"{path} is not {what}, or damaged: {reason}") from None
    return arrays


def array_in(archive: zipfile.ZipFile, name: str, too_long: str) -> np.ndarray:
    """An array of an archive, by the name of its member.

    Raises:
        ValueError: it holds Python objects, or more numbers than its shape says, which ``too_long`` tells.
        Exception: of many kinds, for damaged bytes.
    """
    import numpy as np

    with archive.open(name) as stored:
        array = np.lib.format.read_array(stored, allow_pickle=False)
        if stored.read(1):  # the check sum is only looked at where a member ends, which a damaged shape does not reach
            raise ValueError(too_long)
    return array


def check_members(file: BinaryIO, archive: zipfile.ZipFile) -> None:
    """Check what zipfile does not look at by itself: the number of members, and names of those that are not read.

    Args:
        file: the file that the archive is in.
        archive: an open archive.

    Raises:
        ValueError: there is another number of members than the archive says.
        zipfile.BadZipFile: a name is another one than that beside the data.
    """
    names = archive.namelist()
    for name in names:
        archive.open(name).close()
    file.seek(-_END - len(archive.comment), os.SEEK_END)
    end = file.read(_END)
    if int.from_bytes(end[10:12], "little") not in (len(names), 2**16 - 1):
        raise ValueError(f"it holds {len(names)} arrays, and its description names another number")
