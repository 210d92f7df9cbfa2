"""Which part of the package may import which: a prediction must not depend on the evidence."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import networkx as nx
import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "hlvm"

# Part -> the parts it may import. A part is a module or a folder right under hlvm/; what OPEN names is open to all and
# uses nothing else. Parts that are not listed (the demo, the command line and what they print) may use every one.
OPEN = {"_files", "_html", "_keys", "_linalg", "_numbers", "_process", "_version"}
MAY_IMPORT = {
    "graph": set(),
    "masking": {"graph"},
    "theory": {"graph", "masking"},
    "mechanisms": {"graph"},
    "simulator": {"graph", "mechanisms"},
    "images": {"graph", "mechanisms", "simulator"},
    "datasets": {"graph", "images", "simulator"},
    "mae": {"datasets", "graph", "images", "masking", "mechanisms", "simulator"},
    "encoders": set(),
    "scoring": {"encoders"},
    "claims": {"scoring"},
    "testing": {"claims", "graph", "masking", "scoring", "theory"},
    "plotting": {"claims", "graph", "masking", "theory"},
    "study": {
        "claims",
        "datasets",
        "encoders",
        "graph",
        "images",
        "mae",
        "masking",
        "mechanisms",
        "plotting",
        "report",
        "scoring",
        "simulator",
        "theory",
    },
}
FILES = sorted(PACKAGE.rglob("*.py"))


def part_of(path):
    first = path.relative_to(PACKAGE).parts[0]
    return first.removesuffix(".py")


def import_statements(path):
    """Absolute names of a module and of what is taken from it, for each import in a file at any depth of its code."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    package = path.parent.relative_to(ROOT).parts
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, []) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join((*base, *([node.module] if node.module else [])))
            yield module, [f"{module}.{alias.name}" for alias in node.names]


def imported_modules(path):
    for module, taken in import_statements(path):
        yield from (module, *taken)


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
    if part in MAY_IMPORT or part in OPEN:
        forbidden = imported_parts(path) - MAY_IMPORT.get(part, set()) - OPEN
        assert not forbidden, f"hlvm.{part} must not import {sorted(forbidden)}"


def test_prediction_of_a_study_stands_behind_the_wall_of_theory():
    """What a study predicts must not depend on data, fits or scores either."""
    assert imported_parts(PACKAGE / "study" / "prediction.py") <= {"graph", "masking", "theory"}


def test_few_modules_at_the_top_are_private():
    """A prefix is a folder that nobody made."""
    private = {path.name.removesuffix(".py") for path in PACKAGE.iterdir() if path.name.startswith("_")}
    private -= {"__init__", "__pycache__"}
    assert private == {"_files", "_html", "_keys", "_linalg", "_numbers", "_process", "_version"}


def test_handler_of_signals_loads_nothing_heavy():
    """A command wants its handlers before anything else, typing included."""
    program = (
        "import json, sys; before = set(sys.modules); import hlvm._process, hlvm.cli; "
        "print(json.dumps(sorted(set(sys.modules) - before)))"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = set(json.loads(run.stdout))
    assert "hlvm._process.interrupts" in loaded
    assert not loaded & {"typing", "pathlib", "tempfile", "logging", "threading", "numpy", "jax", "tyro", "rich"}


def test_imports_table_names_existing_parts_on_floors():
    assert set(MAY_IMPORT) | OPEN <= {part_of(path) for path in FILES}
    assert nx.is_directed_acyclic_graph(
        nx.DiGraph([(part, lower) for part in MAY_IMPORT for lower in MAY_IMPORT[part]])
    )


def circles(files):
    """Modules that import each other in a circle; imports for type checkers and inside functions count."""
    names = {".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path for path in files}
    imports = nx.DiGraph()
    for name, path in names.items():
        for module, taken in import_statements(path):
            # "from hlvm.graph import arrays" needs the package only for what is no module.
            needed = {each if each in names else module for each in taken} or {module}
            imports.add_edges_from((name, each) for each in needed & names.keys())
    return [sorted(circle) for circle in nx.strongly_connected_components(imports) if len(circle) > 1]


def test_package_has_no_circle_of_imports():
    assert circles(FILES) == []


def test_circles_sees_imports_for_type_checkers(tmp_path, monkeypatch):
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    (tmp_path / "hlvm").mkdir()
    upper, lower = (tmp_path / "hlvm" / f"{name}.py" for name in ("upper", "lower"))
    upper.write_text("from hlvm import lower")
    lower.write_text("if TYPE_CHECKING:\n    from hlvm.upper import X")
    assert circles([upper, lower]) == [["hlvm.lower", "hlvm.upper"]]


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
PUBLIC = ["masking", "mechanisms", "theory", "simulator", "images", "datasets", "mae", "encoders", "scoring", "testing"]
PUBLIC += ["claims"]
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
