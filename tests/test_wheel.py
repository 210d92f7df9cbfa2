"""The wheel, installed outside of the repository: commands run from it, and nothing that they need is missing."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import hlvm

pytest.importorskip("hatchling", reason="builds the wheel: pip install hatchling")
pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    build = ["wheel", str(ROOT), "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder)]
    subprocess.run([sys.executable, "-m", "pip", *build, "--quiet"], check=True, cwd=folder)
    (found,) = folder.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def call(wheel, tmp_path_factory):
    """Run Python outside of the repository, with the package from the wheel and its dependencies from here."""
    place, empty = tmp_path_factory.mktemp("site"), tmp_path_factory.mktemp("empty")
    install = ["install", "--no-deps", "--target", str(place), str(wheel), "--quiet"]
    subprocess.run([sys.executable, "-m", "pip", *install], check=True, cwd=empty)
    environment = os.environ | {"PYTHONPATH": str(place)}

    def call(*arguments):
        run = subprocess.run([sys.executable, *arguments], cwd=empty, env=environment, capture_output=True, text=True)
        assert run.returncode == 0, run.stderr
        return run.stdout

    call.script = place / "bin" / "hlvm"
    call.place, call.folder = place, empty
    return call


def test_wheel_holds_every_file_of_the_package_and_no_other(wheel):
    skipped = ("__pycache__", ".pyc")
    there = {str(path.relative_to(ROOT)) for path in (ROOT / "hlvm").rglob("*") if path.is_file()}
    there = {name for name in there if not any(part in name for part in skipped)}
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
        (licence,) = (name for name in archive.namelist() if name.endswith("/LICENSE"))
        assert archive.read(licence) == (ROOT / "LICENSE").read_bytes()
    assert names == there
    assert {"hlvm/py.typed", "hlvm/explore/page/page.html", "hlvm/cli/study_example.toml"} <= names


def test_package_of_the_wheel_is_the_one_that_is_imported(call):
    assert call("-c", "import hlvm.explore; print(hlvm.__file__)").strip() == str(call.place / "hlvm" / "__init__.py")


@pytest.mark.parametrize("line", ["demo --help", "study --help", "study --example"])
def test_commands_of_the_wheel_run(call, line):
    assert call(str(call.script), *line.split())


def test_version_of_the_wheel(call):
    assert call(str(call.script), "--version") == f"hlvm {hlvm.__version__}\n"


def test_explorer_of_the_wheel_is_the_same(call):
    from hlvm.explore import explorer_page

    call(str(call.script), "explore", "--out", "page.html")
    assert (call.folder / "page.html").read_text(encoding="utf-8") == explorer_page()


def test_doctor_finds_the_record_of_the_wheel(call):
    told = json.loads(call(str(call.script), "doctor", "--json"))
    assert told["folder"] == str(call.place / "hlvm")
    assert {"cuda", "dask", "parquet", "torch"} <= {each["name"] for each in told["extras"]}
    assert {"jax", "packaging", "tyro"} <= {each["name"] for each in told["packages"]}
    assert not [each for each in told["warnings"] if each["name"] == "hlvm"]
