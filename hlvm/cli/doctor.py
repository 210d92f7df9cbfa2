"""The command ``doctor``: what is installed, what JAX sees, and what is missing or changes numbers."""

from __future__ import annotations

import json
import os
import platform
import signal
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

from hlvm._version import __version__
from hlvm.cli.compilation import compilation_cache_folder
from hlvm.cli.input import Flag
from hlvm.cli.tables import Record, print_table, to_json

__all__ = ["doctor"]

_MODULES = {"scikit-learn": "sklearn", "orbax-checkpoint": "orbax.checkpoint"}
"""Distribution -> what is imported, where the names differ."""

_NEEDED = ("numpy", "scipy", "scikit-learn", "jaxlib", "jax", "flax", "optax")
"""Shown first, each after what it builds on; the only ones known where pip has no record of this package."""

_USUAL = {
    "jax_enable_x64": (False, "numbers are of 64 bits, where results of this package are made with 32"),
    "jax_disable_jit": (False, "programs run step by step: slow, and rounded differently"),
    "jax_default_matmul_precision": (None, "products of matrices are rounded differently"),
    "jax_default_prng_impl": ("threefry2x32", "all that is random is drawn differently"),
    "jax_threefry_partitionable": (True, "all that is random is drawn differently"),
    "jax_numpy_dtype_promotion": ("standard", "types are mixed by other rules, which may be an error"),
}
"""Setting of JAX that changes numbers -> its usual value, and the effect of another one."""

_VARIABLES = {
    "XLA_FLAGS": "may change rounding, and the number of devices",
    "NVIDIA_TF32_OVERRIDE": "products of matrices are rounded differently on a GPU",
    "JAX_PLATFORMS": "chooses the devices; numbers of a GPU and of a CPU differ in their last digits",
}

_PROBE = """
import importlib, json, logging, sys

def say(**told):
    print(json.dumps(told), flush=True)

for name in sys.argv[2:]:
    say(begun=name)
    try:
        importlib.import_module(name)
        error = None
    except BaseException as raised:
        error = f"{type(raised).__name__}: {raised}"
    say(module=name, error=error)

class Kept(logging.Handler):
    def emit(self, record):
        say(note=record.getMessage())

logging.getLogger("jax").addHandler(Kept(logging.WARNING))
say(begun="the devices of JAX")
try:
    import jax
    say(settings={name: getattr(jax.config, name, None) for name in json.loads(sys.argv[1])})
    say(devices=[{"kind": each.device_kind, "platform": each.platform, "id": each.id} for each in jax.devices()])
except BaseException as raised:
    say(devices_error=f"{type(raised).__name__}: {raised}")
"""
"""Runs in a process of its own, since a library that is broken may end the process that imports it."""


def doctor(*, json: Flag = False) -> int:
    """Show versions, devices, the cache, missing parts of each extra, and settings that change numbers.

    Exit code 1 means that something required is missing, too old or broken. GPUs and extras are not required.

    Example: hlvm doctor --json

    Args:
        json: print JSON.
    """
    record = _examined()
    if json:
        print(to_json(record))
    else:
        _print(record)
    return 0 if record["healthy"] else 1


def _examined() -> Record:
    requirements, extras, warnings = _recorded()
    names = [requirement.name for requirement in requirements]
    order = [*_NEEDED, *sorted(set(names) - set(_NEEDED))]
    needs = {requirement.name: str(requirement.specifier) for requirement in requirements}
    lacking = {requirement.name for requirement in requirements if any(_lacking(requirement))}
    found = _probe([name for name in order if _version(name)])
    packages: list[Record] = []
    for name in order:
        installed, error = _version(name), found["errors"].get(name)
        if installed is None:
            error = "missing"
        elif name in lacking:
            error = f"needs {needs[name]}" + (f"; {error}" if error else "")
        lacks = installed is None or name in lacking
        packages.append(
            {"name": name, "version": installed, "needs": needs.get(name, ""), "lacking": lacks, "error": error}
        )
    return {
        "hlvm": __version__,
        "folder": str(Path(__file__).parents[1]),
        "python": platform.python_version(),
        "executable": sys.executable,
        "platform": platform.platform(),
        "packages": packages,
        "devices": found["devices"],
        "devices_error": found["devices_error"],
        "notes": found["notes"],
        "cache": _cache(),
        "extras": extras,
        "warnings": [*warnings, *_settings_that_change_numbers(found["settings"])],
        "healthy": not found["devices_error"] and not any(each["error"] for each in packages),
    }


# ---------------------------------------------------------------------- what is installed


def _recorded() -> tuple[list[Requirement], list[Record], list[Record]]:
    """Record of pip: the requirements, what each extra has and lacks, and where the record is in doubt."""
    try:
        record = metadata.distribution("hlvm")
    except metadata.PackageNotFoundError:
        lost = "pip has no record of this package, so that its extras are not known: install it with pip"
        return [], [], [{"name": "hlvm", "value": __version__, "effect": lost}]
    doubts: list[Record] = []
    if record.version != __version__:
        doubts.append({"name": "hlvm", "value": __version__, "effect": f"pip has installed {record.version}, not this"})
    parsed = [Requirement(line) for line in record.requires or ()]
    needed = [each for each in parsed if each.marker is None or each.marker.evaluate({"extra": ""})]
    extras: list[Record] = []
    for extra in sorted(record.metadata.get_all("Provides-Extra") or ()):
        of_extra = [
            each for each in parsed if each not in needed and each.marker and each.marker.evaluate({"extra": extra})
        ]
        missing = list(dict.fromkeys(lack for each in of_extra for lack in _lacking(each)))
        extras.append(
            {
                "name": extra,
                "installed": [f"{each.name} {_version(each.name)}" for each in of_extra if not any(_lacking(each))],
                "missing": missing,
                "install": f"pip install 'hlvm[{extra}]'" if missing else None,
            }
        )
    return needed, extras, doubts


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _lacking(requirement: Requirement, seen: tuple[tuple[str, str], ...] = ()) -> Iterator[str]:
    """Distributions that are missing or too old for a requirement, those of its own extras among them."""
    if (installed := _version(requirement.name)) is None:
        yield requirement.name
        return
    if not requirement.specifier.contains(installed, prereleases=True):
        yield f"{requirement.name}{requirement.specifier} (not {installed})"
    for extra in requirement.extras:
        if (requirement.name, extra) in seen:
            continue
        for line in metadata.requires(requirement.name) or ():
            inner = Requirement(line)
            if inner.marker and inner.marker.evaluate({"extra": extra}) and not inner.marker.evaluate({"extra": ""}):
                yield from _lacking(inner, (*seen, (requirement.name, extra)))


# ---------------------------------------------------------------------- what works


def _probe(names: list[str]) -> Record:
    """Import distributions and ask JAX for its devices in another process; its errors are one line each."""
    modules = {_MODULES.get(name, name): name for name in names}
    run = subprocess.run(
        [sys.executable, "-P", "-c", _PROBE, json.dumps([*_USUAL]), *modules],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        encoding="utf-8",
        errors="replace",
    )
    found: Record = {"errors": {}, "devices": [], "devices_error": None, "settings": {}, "notes": []}
    begun = ""
    for told in _told(run.stdout):
        begun = told.get("begun", begun)
        if told.get("error"):
            found["errors"][modules[told["module"]]] = _one_line(told["error"])
        if "note" in told:
            found["notes"].append(_one_line(told["note"]))
        for name in ("devices", "devices_error", "settings"):
            if name in told:
                found[name] = _one_line(told[name]) if name == "devices_error" else told[name]
    if run.returncode:
        ended = f"ended Python by {_ending(run.returncode)}"
        if begun in modules:
            found["errors"][modules[begun]] = ended
            found["devices_error"] = f"not asked, since {modules[begun]} {ended}"
        else:
            found["devices_error"] = ended
    return found


def _told(output: str) -> Iterator[Record]:
    """Lines of the probe among what libraries print."""
    for line in output.splitlines():
        try:
            told = json.loads(line)
        except ValueError:
            continue
        if isinstance(told, dict):
            yield told


def _ending(code: int) -> str:
    """Name of a signal, or the exit code."""
    return signal.Signals(-code).name if code < 0 else f"exit code {code}"


def _one_line(text: str, most: int = 300) -> str:
    line = " ".join(text.split())
    return line if len(line) <= most else f"{line[: most - 1]}…"


def _settings_that_change_numbers(settings: Record) -> list[Record]:
    found = [
        {"name": name, "value": str(settings[name]), "effect": effect}
        for name, (usual, effect) in _USUAL.items()
        if name in settings and settings[name] != usual
    ]
    given = ((name, os.environ.get(name, ""), effect) for name, effect in _VARIABLES.items())
    return [*found, *({"name": name, "value": value, "effect": effect} for name, value, effect in given if value)]


def _cache() -> Record:
    """The folder of compiled programs: number of files, and their size in bytes."""
    folder = compilation_cache_folder()
    files = size = 0
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                size += os.lstat(os.path.join(place, name)).st_size
            except OSError:
                continue  # another process has just removed it
            files += 1
    return {"folder": str(folder), "exists": folder.is_dir(), "files": files, "bytes": size}


# ---------------------------------------------------------------------- for people


def _print(record: Record) -> None:
    print(f"hlvm {record['hlvm']} in {record['folder']}")
    print(f"Python {record['python']} ({record['executable']}) on {record['platform']}")
    print_table(
        "what it needs",
        ("package", "version", "needs", "state"),
        [(each["name"], each["version"] or "–", each["needs"], each["error"] or "good") for each in record["packages"]],
    )
    if record["devices_error"]:
        print(f"JAX has no device: {record['devices_error']}")
    else:
        kinds = [f"{each['platform']}:{each['id']} ({each['kind']})" for each in record["devices"]]
        print(f"devices of JAX: {', '.join(kinds)}")
    for note in record["notes"]:
        print(f"JAX says: {note}")
    cache = record["cache"]
    held = f"{cache['files']} files, {cache['bytes'] / 2**20:.1f} MiB" if cache["exists"] else "not there yet"
    print(f"compiled programs are kept in {cache['folder']}: {held}")
    if record["extras"]:
        print_table(
            "extras",
            ("extra", "installed", "missing", "install with"),
            [
                (
                    each["name"],
                    ", ".join(line.split()[0] for line in each["installed"]),
                    ", ".join(each["missing"]),
                    each["install"] or "",
                )
                for each in record["extras"]
            ],
        )
    for each in record["warnings"]:
        print(f"warning: {each['name']}={each['value']}: {each['effect']}")
    print(_mending(record))


def _mending(record: Record) -> str:
    """One line: all is there, or what to call."""
    if record["healthy"]:
        return "all that hlvm needs is there"
    wrong = [each for each in record["packages"] if each["error"]]
    lacking = [f"'{each['name']}{each['needs']}'" for each in wrong if each["lacking"]]
    broken = [each["name"] for each in wrong if not each["lacking"]]
    call = ""  # what is missing or broken may be all that is wrong with those that build on it
    if lacking or broken:
        call = f"pip install --upgrade {' '.join(lacking)}" if lacking else f"pip install --force-reinstall {broken[0]}"
    names = [each["name"] for each in wrong] or ["the devices of JAX"]
    return f"not in order: {', '.join(names)}" + (f"; begin with: {call}" if call else "")
