"""``hlvm doctor``: it tells what is there, and a library that is missing or broken does not break it."""

import json
import subprocess
import sys
from importlib import metadata

import jax
import pytest
from packaging.requirements import Requirement

import hlvm
from hlvm.cli.doctor import _lacking, _probe, _recorded, _settings_that_change_numbers

GOOD = {"errors": {}, "devices": [{"kind": "cpu", "platform": "cpu", "id": 0}], "devices_error": None}
GOOD |= {"settings": {}, "notes": []}


@pytest.fixture
def recorded(tmp_path, monkeypatch):
    """Let a test say what pip knows of this package."""

    def recorded(*lines, version=hlvm.__version__):
        folder = tmp_path / "pip" / "hlvm.dist-info"
        folder.mkdir(parents=True)
        head = ["Metadata-Version: 2.4", "Name: hlvm", f"Version: {version}"]
        (folder / "METADATA").write_text("\n".join([*head, *lines]) + "\n")
        known = metadata.distribution
        fake = metadata.PathDistribution(folder)
        monkeypatch.setattr(metadata, "distribution", lambda name: fake if name == "hlvm" else known(name))

    return recorded


@pytest.fixture
def libraries(tmp_path, monkeypatch):
    """Modules that another process finds before those that are installed: name -> what their import does."""

    def libraries(**programs):
        for name, program in programs.items():
            (tmp_path / name).mkdir()
            (tmp_path / name / "__init__.py").write_text(program)
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    return libraries


def test_doctor_tells_what_is_there(run, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR", raising=False)
    (tmp_path / "hlvm" / "jax" / "deep").mkdir(parents=True)
    (tmp_path / "hlvm" / "jax" / "one").write_bytes(b"12345")
    (tmp_path / "hlvm" / "jax" / "deep" / "two").write_bytes(b"123")
    code, out, err = run("doctor", "--json")
    told = json.loads(out)
    assert (code, err, told["healthy"]) == (0, "", True)
    assert told["hlvm"] == hlvm.__version__
    assert {each["name"]: each["version"] for each in told["packages"]}["jax"] == jax.__version__
    assert [each["error"] for each in told["packages"]] == [None] * len(told["packages"])
    assert [each["kind"] for each in told["devices"]] == [each.device_kind for each in jax.devices()]
    assert told["cache"] == {"folder": str(tmp_path / "hlvm" / "jax"), "exists": True, "files": 2, "bytes": 8}


def test_doctor_exits_1_where_something_needed_is_missing_or_old(run, recorded, monkeypatch):
    recorded(
        "Requires-Dist: numpy>=1000",
        "Requires-Dist: no-such-distribution>=1",
        "Requires-Dist: rich>=1",
        "Requires-Dist: also-none>=2; extra == 'torch'",
        "Requires-Dist: rich>=1; extra == 'torch'",
        "Provides-Extra: torch",
    )
    monkeypatch.setattr("hlvm.cli.doctor._probe", lambda names: GOOD)
    code, out, err = run("doctor", "--json")
    told = json.loads(out)
    states = {each["name"]: each["error"] for each in told["packages"]}
    assert (code, err, told["healthy"]) == (1, "", False)
    assert {name: error for name, error in states.items() if error} == {
        "numpy": "needs >=1000",
        "no-such-distribution": "missing",
    }
    rich = f"rich {metadata.version('rich')}"
    assert told["extras"] == [
        {"name": "torch", "installed": [rich], "missing": ["also-none"], "install": "pip install 'hlvm[torch]'"}
    ]
    code, out, _ = run("doctor")
    assert code == 1
    assert "pip install 'hlvm[torch]'" in " ".join(out.split())
    assert out.splitlines()[-1] == (
        "not in order: numpy, no-such-distribution; begin with: "
        "pip install --upgrade 'numpy>=1000' 'no-such-distribution>=1'"
    )


def test_doctor_says_how_to_mend_what_is_broken(run, recorded, monkeypatch):
    recorded("Requires-Dist: optax>=0.1")
    errors = {"optax": "ImportError: no luck", "jax": "ImportError: no luck"}
    monkeypatch.setattr("hlvm.cli.doctor._probe", lambda names: GOOD | {"errors": errors})
    code, out, _ = run("doctor")
    assert code == 1
    assert "ImportError: no luck" in " ".join(out.replace("│", " ").split())
    assert out.splitlines()[-1] == "not in order: jax, optax; begin with: pip install --force-reinstall jax"


def test_doctor_needs_no_extra(run, recorded, monkeypatch):
    recorded("Requires-Dist: also-none>=2; extra == 'torch'", "Provides-Extra: torch")
    monkeypatch.setattr("hlvm.cli.doctor._probe", lambda names: GOOD)
    code, out, _ = run("doctor")
    assert code == 0
    assert out.splitlines()[-1] == "all that hlvm needs is there"


def test_doctor_exits_1_without_a_device(run, recorded, monkeypatch):
    recorded()
    monkeypatch.setattr("hlvm.cli.doctor._probe", lambda names: GOOD | {"devices": [], "devices_error": "no luck"})
    code, out, _ = run("doctor")
    assert code == 1
    assert "JAX has no device: no luck" in out
    assert out.splitlines()[-1] == "not in order: the devices of JAX"


@pytest.mark.parametrize(("command", "expected"), [("doctor", 1), ("graph", 2)])
def test_commands_tell_in_one_line_what_keeps_them_from_starting(libraries, command, expected):
    libraries(tyro="raise ModuleNotFoundError('No module', name='tyro.conf')")
    run = subprocess.run([sys.executable, "-m", "hlvm.cli", command], capture_output=True, text=True)
    assert (run.returncode, run.stdout) == (expected, "")
    assert run.stderr.startswith("hlvm: tyro is missing")
    assert run.stderr.count("\n") == 1


def test_recorded_says_where_pip_knows_nothing_or_another_version(recorded, monkeypatch):
    recorded(version="0.0.1")
    assert "0.0.1" in _recorded()[2][0]["effect"]

    def lost(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "distribution", lost)
    requirements, extras, (doubt,) = _recorded()
    assert (requirements, extras) == ([], [])
    assert doubt["effect"].startswith("pip has no record")


def test_lacking_looks_into_extras_of_what_is_required(monkeypatch):
    lines = {"outer": ["none-a; extra == 'x'", "none-b; extra == 'y'", "rich", "outer[x]; extra == 'x'"]}
    found = {"outer": "1.0", "rich": "14.0"}

    def version(name):
        if name not in found:
            raise metadata.PackageNotFoundError(name)
        return found[name]

    monkeypatch.setattr(metadata, "version", version)
    monkeypatch.setattr(metadata, "requires", lines.get)
    assert list(_lacking(Requirement("outer[x]>=1"))) == ["none-a"]
    assert list(_lacking(Requirement("outer>=1"))) == []
    assert list(_lacking(Requirement("outer>=2"))) == ["outer>=2 (not 1.0)"]
    assert list(_lacking(Requirement("none-a"))) == ["none-a"]


def test_probe_tells_errors_of_imports_in_one_line(libraries):
    libraries(jax="raise ImportError('no\\nluck')", optax="print('{}'); print(3)")
    found = _probe(["optax", "jax"])
    assert found["errors"] == {"jax": "ImportError: no luck"}
    assert (found["devices"], found["devices_error"]) == ([], "ImportError: no luck")


def test_probe_survives_a_library_that_ends_the_process(libraries):
    libraries(optax="import os, signal; os.kill(os.getpid(), signal.SIGILL)", jax="raise ImportError")
    found = _probe(["optax", "jax"])
    assert found["errors"] == {"optax": "ended Python by SIGILL"}
    assert found["devices_error"] == "not asked, since optax ended Python by SIGILL"


def test_probe_finds_settings_of_jax_that_change_numbers(monkeypatch):
    for name in ("XLA_FLAGS", "NVIDIA_TF32_OVERRIDE", "JAX_PLATFORMS", "JAX_DISABLE_JIT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("JAX_ENABLE_X64", "1")
    monkeypatch.setenv("JAX_DEFAULT_PRNG_IMPL", "rbg")
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    told = _settings_that_change_numbers(_probe([])["settings"])
    assert [(each["name"], each["value"]) for each in told] == [
        ("jax_enable_x64", "True"),
        ("jax_default_prng_impl", "rbg"),
        ("JAX_PLATFORMS", "cpu"),
    ]
