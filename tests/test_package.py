"""The public face: names that can be reached, and one list of modules everywhere."""

import ast
import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

import hlvm

ROOT = Path(__file__).parent.parent
# pytest loads its plugin by itself, and without pytest it cannot be imported.
MODULES = {name for name in hlvm.__all__ if name.islower() and not name.startswith("_")} | {"pytest_plugin"}


def test_every_public_name_can_be_reached():
    for name in hlvm.__all__:
        assert getattr(hlvm, name) is not None
    assert hlvm.HierarchicalModel is importlib.import_module("hlvm.simulator").HierarchicalModel
    assert hlvm.scoring.kernel_r2.__module__ == "hlvm.scoring.regression.scores"
    assert set(hlvm.__all__) <= set(dir(hlvm))


def test_unknown_names_are_refused():
    with pytest.raises(AttributeError, match="no attribute 'nope'"):
        hlvm.nope  # noqa: B018  # to look is to raise


def test_public_names_work_in_a_fresh_interpreter():
    code = "import hlvm; print(hlvm.mechanisms.InvertibleMLP(), hlvm.Sample.__name__, hlvm.mae.fit.__name__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split()[-2:] == ["Sample", "fit"]


@pytest.mark.parametrize("init", sorted((ROOT / "hlvm").rglob("__init__.py")), ids=lambda path: path.parent.name)
def test_no_module_has_the_name_of_what_its_package_exports(init):
    own = ".".join(init.parent.relative_to(ROOT).parts)
    tree = ast.parse(init.read_text(encoding="utf-8"))
    exported = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module != own:
            exported |= {alias.asname or alias.name for alias in node.names}
    modules = {path.stem for path in init.parent.iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file()}
    assert not exported & modules, f"import {own} gives one of two things by each of these names"


def test_public_modules_are_the_same_in_every_list():
    api = ROOT / "docs" / "api"
    index = (api / "index.md").read_text(encoding="utf-8")
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    (line,) = re.findall(r"^- Public modules:.*$", changes, re.MULTILINE)
    toctree = index.split("```{toctree}")[1].split("```")[0].split()
    lists = {
        "table of docs/api/index.md": re.findall(r"^\| \[\]\((\w+)\.md\) \|", index, re.MULTILINE),
        "toctree of docs/api/index.md": [name for name in toctree if name != ":hidden:"],
        "pages in docs/api": [path.stem for path in api.glob("*.md") if path.stem != "index"],
        "CHANGELOG.md": re.findall(r"`hlvm\.(\w+)`", line),
    }
    assert {name: sorted(found) for name, found in lists.items()} == dict.fromkeys(lists, sorted(MODULES))
    named = set(re.findall(r"`(\w+)`", index.split("|")[0])) - {"hlvm"}
    assert named == set(hlvm.__all__) - MODULES, "docs/api/index.md: other names that hlvm exports"
    for name in MODULES:
        assert f".. automodule:: hlvm.{name}\n" in (api / f"{name}.md").read_text(encoding="utf-8")


def test_every_file_right_under_the_package_is_public_or_has_an_underscore():
    there = {
        path.stem for path in (ROOT / "hlvm").iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file()
    }
    assert {name for name in there if not name.startswith("_")} == MODULES
