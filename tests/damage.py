"""Damage to files, each time another and always the same: by bytes, and by the members of archives and folders."""

from __future__ import annotations

import shutil
import zipfile

import h5py
import numpy as np

EDITED = "edited: "
"""Such as no disk makes: check sums inside the file fit."""


def damage(path, rng):
    """Damage a file, or one of a folder; says how; with ``EDITED`` if it is a sound file with another content."""
    if path.is_dir():
        files = sorted(inside for inside in path.rglob("*") if inside.is_file())
        chosen = files[rng.integers(len(files))]
        name = chosen.relative_to(path)
        if rng.random() < 0.1:
            chosen.unlink()
            return f"{name} removed"
        return f"{name}: {damage(chosen, rng)}"
    ways = {".npz": (_members, _content), ".h5": (_entries, _entries)}.get(path.suffix, ())
    if ways and rng.random() < 0.4:
        return EDITED + ways[rng.integers(len(ways))](path, rng)
    return _bytes(path, rng)


def _bytes(path, rng):
    content = bytearray(path.read_bytes())
    if not content:
        path.write_bytes(b"\0")
        return "a byte where there was none"
    start = int(rng.integers(len(content)))
    length = int(min(len(content) - start, rng.choice([1, 4, 64, 1000, 4096])))
    how = str(
        rng.choice(["flipped", "flipped", "flipped", "cut off", "zeroed", "zeroed to the end", "left out", "repeated"])
    )
    if how == "zeroed to the end":  # as power loss leaves files that were made longer before they were filled
        length = len(content) - start
    if how == "flipped":
        places = rng.integers(len(content), size=int(rng.choice([1, 1, 2, 8])))
        for place in places:
            content[place] ^= int(rng.integers(1, 256))
        path.write_bytes(content)
        return f"bytes {', '.join(map(str, places))} flipped"
    piece = content[start : start + length]
    content[start:] = {
        "cut off": b"",
        "zeroed": b"\0" * length + content[start + length :],
        "zeroed to the end": b"\0" * length,
        "left out": content[start + length :],
        "repeated": piece + content[start:],
    }[how]
    path.write_bytes(content)
    return f"from byte {start} {'all' if how == 'cut off' else length} {how}"


# ---------------------------------------------------------------------- .npz: valid archives of other members


def _rewritten(path, members):
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members:
            archive.writestr(name, content)


def _read_members(path):
    with zipfile.ZipFile(path) as archive:
        return [(name, archive.read(name)) for name in archive.namelist()]


def _members(path, rng):
    """One member removed, renamed, there twice, or exchanged with another."""
    members = _read_members(path)
    i, j = (int(n) for n in rng.integers(len(members), size=2))
    name, content = members[i]
    how = str(rng.choice(["removed", "renamed", "added", "exchanged"]))
    if how == "removed":
        del members[i]
    elif how == "renamed":
        members[i] = (f"x{name}", content)
    elif how == "added":
        members.append((f"x{name}", content))
    else:
        members[i], members[j] = (name, members[j][1]), (members[j][0], content)
    _rewritten(path, members)
    return f"member {name} {how}{f' with {members[j][0]}' if how == 'exchanged' else ''}"


def _content(path, rng):
    """Bytes of one member damaged, with a check sum that fits."""
    members = _read_members(path)
    i = int(rng.integers(len(members)))
    name, content = members[i]
    beside = path.with_suffix(".member")
    beside.write_bytes(content)
    how = _bytes(beside, rng)
    members[i] = (name, beside.read_bytes())
    beside.unlink()
    _rewritten(path, members)
    return f"member {name}: {how}"


# ---------------------------------------------------------------------- HDF5: valid files with other entries


def _entries(path, rng):
    """A group, an array or an attribute removed, renamed or made another."""
    with h5py.File(path, "r+") as file:
        places = ["/"]
        file.visit(places.append)
        place = places[rng.integers(len(places))]
        entry = file[place]
        attributes = list(entry.attrs)
        if attributes and rng.random() < 0.5:
            name = attributes[rng.integers(len(attributes))]
            how = str(rng.choice(["removed", "renamed", "made another"]))
            value = entry.attrs[name]
            if how != "made another":
                del entry.attrs[name]
            if how == "renamed":
                entry.attrs[f"x{name}"] = value
            elif how == "made another":
                entry.attrs[name] = f"x{value}" if isinstance(value, str) else 7
            return f"attribute {name} of {place} {how}"
        if place == "/":
            file["x"] = np.zeros(3)
            return "an array added"
        how = str(rng.choice(["removed", "renamed", "cut", "a number changed"]))
        if how == "cut" and isinstance(entry, h5py.Dataset) and entry.ndim:
            values, attrs = entry[1:], dict(entry.attrs)
            del file[place]
            file.create_dataset(place, data=values).attrs.update(attrs)
            return f"{place} without its first row"
        if how == "a number changed" and isinstance(entry, h5py.Dataset) and entry.size and entry.dtype.kind in "fiu":
            values = entry[()]
            values.flat[rng.integers(values.size)] += 1
            entry[...] = values
            return f"a number of {place} changed"
        if how == "renamed":
            file.move(place, f"{place}x")
        else:
            del file[place]
    return f"{place} {'renamed' if how == 'renamed' else 'removed'}"


def copy(source, target):
    """A fresh copy of a file or folder."""
    if target.is_dir():
        shutil.rmtree(target)
    elif target.exists():
        target.unlink()
    if source.is_dir():
        shutil.copytree(source, target)
    else:
        shutil.copyfile(source, target)
