"""Which part of the package may import which: a prediction must not depend on the evidence."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "hlvm"

# Part -> the parts it may import. A part is a module or a folder right under hlvm/; what OPEN names is open to all.
# Parts that are not listed (the demo, the command line and what they print) may use every listed one.
OPEN = {
    "_array_files",
    "_digests",
    "_environment",
    "_files",
    "_graph_checks",
    "_imports",
    "_interrupts",
    "_keys",
    "_memory",
    "_numbers",
    "_promotion",
    "_text_files",
}
MAY_IMPORT = {
    "graph": {
        "_graph_arrays",
        "_graph_builders",
        "_graph_checks",
        "_graph_families",
        "_graph_files",
        "_graph_networkx",
    },
    "_graph_checks": set(),
    # The graph's own parts name its class in annotations only.
    "_graph_arrays": {"graph"},
    "_graph_builders": {"_graph_arrays", "_graph_checks", "graph"},
    "_graph_families": {"_graph_builders", "_graph_checks", "graph"},
    "_graph_files": {"_graph_checks", "_graph_networkx", "graph"},
    "_graph_networkx": {"_graph_checks", "graph"},
    "_digests": set(),
    "_files": set(),
    "_keys": set(),
    "_numbers": set(),
    "masking": {"_graph_arrays", "graph"},
    "theory": {"_graph_arrays", "graph", "masking"},
    "mechanisms": {"graph"},
    "_layout": {"graph", "mechanisms"},
    "simulator": {"_layout", "graph", "mechanisms"},
    "images": {"_graph_checks", "_layout", "graph", "mechanisms", "simulator"},
    "datasets": {"graph", "images", "simulator"},
    "mae": {"datasets", "graph", "images", "masking", "mechanisms", "simulator"},
    "scoring": set(),
    "testing": {"graph", "masking", "scoring", "theory"},
    "plotting": {"graph", "masking", "theory"},
}
FILES = sorted(PACKAGE.rglob("*.py"))


def part_of(path):
    first = path.relative_to(PACKAGE).parts[0]
    return first.removesuffix(".py")


def imported_modules(path):
    """Absolute names of all modules a file imports, at any depth of its code."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    package = path.parent.relative_to(ROOT).parts
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join((*base, *([node.module] if node.module else [])))
            yield module
            yield from (f"{module}.{alias.name}" for alias in node.names)


def imported_parts(path):
    names = (module.split(".") for module in imported_modules(path))
    parts = {name[1] for name in names if name[0] == "hlvm" and len(name) > 1}
    return {p for p in parts if (PACKAGE / p).is_dir() or (PACKAGE / f"{p}.py").exists()} - {part_of(path)}


def test_imported_modules_sees_every_form(tmp_path, monkeypatch):
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    (tmp_path / "hlvm" / "sub").mkdir(parents=True)
    path = tmp_path / "hlvm" / "sub" / "module.py"
    path.write_text(
        "import a.b\nfrom ..graph import X\ndef f():\n    from hlvm import theory\n    from . import near\n"
    )
    assert {"a.b", "hlvm.graph", "hlvm.theory", "hlvm.sub.near"} <= set(imported_modules(path))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_run_one_way(path):
    part = part_of(path)
    if part in MAY_IMPORT:
        forbidden = imported_parts(path) - MAY_IMPORT[part] - OPEN
        assert not forbidden, f"hlvm.{part} must not import {sorted(forbidden)}"


def test_imports_table_names_existing_parts():
    assert set(MAY_IMPORT) <= {part_of(path) for path in FILES}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_of_outside_code_stay_in_their_place(path):
    roots = {module.split(".")[0] for module in imported_modules(path)}
    assert not roots & {"experiments", "benchmarks", "tests"}
    if part_of(path) != "mae":
        assert "flax" not in roots, "Flax belongs to hlvm/mae only"


def test_import_of_the_package_does_nothing_else():
    """No JAX backend, no device, no figures, no network code: a graph needs none of them."""
    program = (
        "import json, sys; before = set(sys.modules); import hlvm; "
        "print(json.dumps(sorted({name.split('.')[0] for name in set(sys.modules) - before})))"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = set(json.loads(run.stdout))
    assert "hlvm" in loaded
    assert not loaded & {"jax", "flax", "matplotlib", "optax", "orbax", "sklearn", "rich", "tyro"}


def test_import_of_every_part_leaves_jax_as_it_was():
    """Importing the numeric parts neither starts a backend nor changes JAX's configuration."""
    program = (
        "import jax; before = dict(jax.config.values); "
        "import hlvm.simulator, hlvm.theory, hlvm.scoring, hlvm.mae, hlvm.images, hlvm.testing, hlvm.cli; "
        "from jax._src import xla_bridge; "
        "changed = {k for k, v in jax.config.values.items() if k in before and before[k] != v}; "
        "print(changed or 'same', len(xla_bridge._backends))"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["same", "0"]


# What JAX, SciPy and threadpoolctl add, as in every program that imports them.
OF_OTHERS = {
    "KMP_DUPLICATE_LIB_OK",
    "TF_CPP_MIN_LOG_LEVEL",
    "TPU_SKIP_MDS_QUERY",
    "SpecialFunctionWarning",
    "the matrix subclass",
}
PUBLIC = ["masking", "mechanisms", "theory", "simulator", "images", "datasets", "mae", "scoring", "testing", "claims"]
SIDE_EFFECTS = """
import importlib, logging, os, random, sys, warnings
import numpy as np
def settings():
    return {
        "logging": [*logging.root.handlers, logging.root.level, logging.getLoggerClass()],
        "random": [random.getstate()],
        "NumPy": [str(np.random.get_state()), *np.geterr().items(), np.get_printoptions()],
        "environment": [f"{name}={value}" for name, value in os.environ.items()],
        "warnings": [str(each) for each in warnings.filters],
        "hooks": [sys.excepthook, sys.stdout, sys.stderr, os.getcwd(), sys.path.copy(), sys.getrecursionlimit()],
        "figures": [name for name in sys.modules if name == "matplotlib"],
    }
others = sys.argv[1].split(",")
for name in sys.argv[2:]:
    before = settings()
    importlib.import_module(f"hlvm.{name}")
    for what, found in settings().items():
        changed = [each for each in found if each not in before[what]]
        if [each for each in changed if not any(other in str(each) for other in others)]:
            print(name, what, str(changed)[:200])
"""


def side_effects(*modules):
    program = [sys.executable, "-c", SIDE_EFFECTS, ",".join(OF_OTHERS), *modules]
    return subprocess.run(program, capture_output=True, text=True, check=True).stdout.splitlines()


def test_import_of_any_module_changes_no_setting_of_the_process():
    # The only one that draws.
    assert side_effects(*PUBLIC, "report", "pytest_plugin", "plotting") == ["plotting figures ['matplotlib']"]


@pytest.mark.slow
@pytest.mark.parametrize("module", PUBLIC)
def test_import_of_one_module_alone_changes_no_setting_of_the_process(module):
    assert side_effects(module) == []


def test_plotting_draws_results_of_the_theory_and_computes_none():
    imported = {
        name.removeprefix("hlvm.theory.")
        for path in sorted((PACKAGE / "plotting").rglob("*.py"))
        for name in imported_modules(path)
        if name.startswith("hlvm.theory.")
    }
    assert "SharedInformation" in imported
    assert not {name for name in imported if not name[0].isupper()}
