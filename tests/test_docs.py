"""What the documentation shows must run, and what it cites must exist."""

import ast
import doctest
import importlib.util
import json
import re
from pathlib import Path

import jax
import pytest

import hlvm
import hlvm.theory
from hlvm.images.base import Images
from hlvm.masking import count_masked
from hlvm.study.results import COLUMNS

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]

pytestmark = pytest.mark.skipif(not DOCS.is_dir(), reason="the documentation is not here")


def code_blocks(page, language):
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def run(source, name, namespace):
    exec(compile(source, name, "exec"), namespace)


def test_readme_example_ends_in_the_verdict_it_names(capsys):
    example, _ = code_blocks(ROOT / "README.md", "python")  # the other one is run by test_pytest_plugin.py
    run(example, "README.md", {})
    assert capsys.readouterr().out.startswith("identified because")


def test_readme_example_is_short():
    example, _ = code_blocks(ROOT / "README.md", "python")  # the other one is run by test_pytest_plugin.py
    after_imports = [line for line in example.splitlines() if line and not line.startswith(("import", "from"))]
    assert len(after_imports) <= 15


@pytest.mark.slow
def test_quickstart_runs_from_top_to_bottom(capsys):
    namespace = {}
    for block in code_blocks(DOCS / "quickstart.md", "python"):
        run(block, "quickstart.md", namespace)
    said = capsys.readouterr().out
    assert said.startswith("identified because")
    assert "untrained:" in said


@pytest.mark.slow
def test_first_study_of_the_page_is_five_lines_that_run(tmp_path, monkeypatch):
    first = code_blocks(DOCS / "studies.md", "python")[0]
    assert len([line for line in first.splitlines() if line and not line.startswith(("import", "from"))]) <= 5
    namespace = {}
    write_own_graph(tmp_path, monkeypatch)
    run(first, "studies.md", namespace)
    assert set(namespace["found"].table()["latent"]) == {"top", "side", "a", "b"}


def write_own_graph(folder, monkeypatch):
    """The graph of the page that is written by hand, in the folder that is the current one then."""
    (graph,) = code_blocks(DOCS / "studies.md", "json")
    (folder / "own.json").write_text(graph)
    monkeypatch.chdir(folder)


def test_studies_page_explains_the_columns_of_its_table():
    page = (DOCS / "studies.md").read_text(encoding="utf-8")
    (table,) = re.findall(r"^\| column \| what it is \|\n\|---\|---\|\n((?:\|.*\n)+)", page, re.MULTILINE)
    explained = [name for row in table.splitlines() for name in re.findall(r"`(\w+)`", row.split("|")[1])]
    assert sorted(explained) == sorted(COLUMNS)


@pytest.mark.slow
def test_studies_page_runs_from_top_to_bottom(tmp_path, monkeypatch):
    namespace = {}
    write_own_graph(tmp_path, monkeypatch)
    for block in code_blocks(DOCS / "studies.md", "python"):
        run(block, "studies.md", namespace)
    assert set(namespace["images_table"]["latent"]) == {"light", "tilt", "left", "right"}
    assert set(namespace["scenes_table"]["score"]) == {"accuracy"}


@pytest.mark.slow
def test_encoders_page_runs_from_top_to_bottom(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    namespace = {}
    with_torch = importlib.util.find_spec("torch") is not None
    if with_torch:
        importlib.import_module("torch").set_num_threads(1)
    for block in code_blocks(DOCS / "encoders.md", "python"):
        if with_torch or "import torch" not in block:
            run(block, "encoders.md", namespace)
    assert namespace["values"].shape == (64, 64)
    assert namespace["masked"].shape == (64, 16)
    assert namespace["claim"].more == {"arm": "PCA"}
    table = namespace["beside"] if with_torch else namespace["found"].table("height")
    told = {row["arm"]: row for row in table.query("height == 1").to_dict("records")}
    assert told["first cells"]["value"] < told["PCA"]["value"] - 0.1 < told["PCA"]["ceiling"]
    for arm, row in shown_rows(DOCS / "encoders.md", told).items():
        assert row[0] == pytest.approx(told[arm]["value"], abs=0.02 if arm in ("first cells", "PCA", "ICA") else 0.15)
    if with_torch:
        row = told["PyTorch MAE"]
        assert row["floor"] + 0.2 < row["value"] < row["ceiling"]
        assert row["seeds"] == 4


def shown_rows(page, known):
    """Arm -> numbers at height 1 in a table of the encoders' page, of those arms that are known."""
    names = {"masked autoencoder, own": "random", "masked autoencoder in PyTorch": "PyTorch MAE"}
    found = {}
    for line in page.read_text(encoding="utf-8").splitlines():
        height, name, *cells = [*(cell.strip() for cell in line.strip("|").split("|")), ""]
        if height == "1" and names.get(name, name) in known:
            found[names.get(name, name)] = [float(cell) for cell in cells if cell[:1].isdigit()]
    assert set(found) == set(known)
    return found


def test_quickstart_comments_tell_the_values():
    predict = "\n".join(code_blocks(DOCS / "quickstart.md", "python")[:2])
    namespace = {}
    run(predict, "quickstart.md", namespace)
    assert check_comments(predict, namespace) == 5


def check_comments(block, namespace):
    """Compare values with the comments behind the expressions that give them; returns how many there are."""
    expressions = {ast.unparse(node.value) for node in ast.parse(block).body if isinstance(node, ast.Expr)}
    shown = [(line, value) for line, value in re.findall(r"^(\S.*?) +# (.*)$", block, re.MULTILINE) if is_code(line)]
    shown = [(line, value) for line, value in shown if ast.unparse(ast.parse(line).body[0]) in expressions]
    for expression, value in shown:
        found = eval(expression, namespace)
        expected = value.split(":")[0] if isinstance(found, float) else value
        assert (f"{found:.2f}" if isinstance(found, float) else repr(found)) == expected, expression
    return len(shown)


def is_code(line):
    try:
        compile(line, "a line of a page", "eval")
    except SyntaxError:
        return False
    return True


@pytest.mark.parametrize(
    ("page", "n_shown"),
    [
        ("predict", 7),
        ("testing", 3),
        pytest.param("how_do_i", 9, marks=pytest.mark.slow),
        pytest.param("own_images", 2, marks=pytest.mark.slow),
        pytest.param("own_masks", 5, marks=pytest.mark.slow),
    ],
)
def test_page_runs_from_top_to_bottom_and_its_comments_tell_the_values(page, n_shown):
    namespace, shown = {}, 0
    for block in code_blocks(DOCS / f"{page}.md", "python"):
        run(block, f"{page}.md", namespace)
        shown += check_comments(block, namespace)
    assert shown == n_shown
    check = {"testing": check_testing, "own_images": check_own_images, "own_masks": check_own_masks}.get(page)
    if check:
        check(namespace)


def check_testing(namespace):
    namespace["test_code_identifies_the_latents"](jax.random.key(0))
    assert dict(zip(namespace["found"].table["what"], namespace["found"].table["value"], strict=True))["floor"] < 0.7
    table = namespace["table"].query("control == 'none'")
    told = table.set_index(["fit", "latent"])["value"]
    assert told["first", "a"] > 0.9 > 0.1 > told["first", "b"]


def check_own_images(namespace):
    images = namespace["sample"].images
    assert images.shape == (8, 8, 16, 1)
    assert 0 <= float(images.min()) <= float(images.max()) <= 1
    bars, graph = namespace["bars"], namespace["bars"].graph
    assert isinstance(bars, Images)
    assert set(namespace["table"]["latent"]) == set(graph.latents)
    assert set(namespace["table"]["part"]) == {"value", "noise"}


def check_own_masks(namespace):
    for mask in (namespace["Rows"](0.5), namespace["Disc"](0.8)):
        drawn = mask.sample(jax.random.key(0), 500, namespace["graph"])
        assert bool(drawn.any(axis=1).all())
        assert not bool(drawn.all(axis=1).any())
    assert namespace["table"]["arm"].nunique() == 2


def test_how_do_i_answers_are_short_and_link_further():
    answers = re.split(r"^### ", (DOCS / "how_do_i.md").read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    assert len(answers) >= 15
    for answer in answers:
        code = re.findall(r"^```.*?^```$", answer, re.MULTILINE | re.DOTALL)
        assert len(code) <= 1, answer
        assert "](" in answer or "{func}" in answer or "{class}" in answer, answer


def test_index_leads_to_every_page():
    index = (DOCS / "index.md").read_text(encoding="utf-8")
    listed = {name for tree in re.findall(r"```{toctree}\n(.*?)```", index, re.DOTALL) for name in tree.split()}
    assert {page.stem for page in DOCS.glob("*.md")} - {"index"} <= listed


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(
            page,
            id=str(page.relative_to(ROOT)),
            marks=[pytest.mark.slow] if page.name in ("how_much.md", "mae.md", "objectives.md", "simulator.md") else [],
        )
        for page in PAGES
    ],
)
def test_interactive_examples_show_what_they_give(page, tmp_path):
    namespace = {"folder": tmp_path}  # where examples may write
    runner = doctest.DocTestRunner()
    for block in code_blocks(page, "pycon"):
        example = doctest.DocTestParser().get_doctest(block, namespace, page.name, str(page), 0)
        runner.run(example, clear_globs=False)
        namespace = example.globs
    assert runner.failures == 0


def test_citations_have_entries():
    entries = set(re.findall(r"^@\w+\{([^,\s]+),", (DOCS / "references.bib").read_text(encoding="utf-8"), re.MULTILINE))
    cited = {}
    for file in [*PAGES, *(ROOT / "hlvm").rglob("*.py")]:
        text = file.read_text(encoding="utf-8")
        for keys in re.findall(r"\{cite:\w+\}`([^`]+)`|:cite:\w+:`([^`]+)`", text):
            for key in "".join(keys).split(","):
                cited.setdefault(key.strip(), file)
    assert cited
    assert {key: str(file) for key, file in cited.items() if key not in entries} == {}
    assert entries - set(cited) == set()


def test_every_public_module_has_a_page():
    documented = {
        m for page in PAGES for m in re.findall(r"automodule:: hlvm\.(\S+)", page.read_text(encoding="utf-8"))
    }
    modules = {
        path.stem for path in (ROOT / "hlvm").iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()
    }
    assert documented == {name for name in modules if not name.startswith("_")}


def test_links_between_files_lead_somewhere():
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#:\s]+)\)", page.read_text(encoding="utf-8")):
            if "generated" not in target:
                assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_how_much_page_has_the_demands_that_were_measured():
    found = json.loads((ROOT / "benchmarks" / "results" / "how_much.json").read_text(encoding="utf-8"))
    measured = {f"class, {of['synonyms']} synonyms": _demands(of["curves"], 5) for of in found["grammars"]}
    measured |= {name: _demands(found["quadtree"], h) for h, name in ((1, "height 1"), (2, "height 2"), (3, "root"))}
    ladder = (DOCS / "how_much.md").read_text(encoding="utf-8").partition("## The ladder")[2].partition("###")[0]
    seen, ratios = set(), []
    for line in ladder.splitlines():
        name, *cells = (cell.strip() for cell in line.strip("|").split("|"))
        if name in ("masked share", "noisy quadtree"):
            ratios = [int(a) / int(b) for a, _, b in (cell.partition("/") for cell in cells)]
        elif name in measured:
            seen.add(name)
            values = [measured[name][ratio] for ratio in ratios]
            assert [float(cell.strip("*")) for cell in cells] == pytest.approx(values, abs=0.6)
            bold = [cell.startswith("*") for cell in cells]
            assert values[bold.index(True)] == max(measured[name].values())
    assert seen == set(measured)


def _demands(curves, height):
    """Masked share -> thousandths of a cell's variance."""
    (curve,) = (of for of in curves if (of["quantity"], of["height"]) == ("demand", height))
    return {ratio: 1000 * value for ratio, value in zip(curve["ratio"], curve["value"], strict=True)}


def test_theory_page_mean_heights_are_what_the_engine_computes():
    """Section 3: mean height of members, and of one target's nearest visible ancestor."""
    graph = hlvm.LatentGraph.quadtree(3)
    profile = hlvm.theory.level_profile(
        graph, [hlvm.masking.RandomMask(ratio=ratio) for ratio in (1 / 64, 63 / 64, 0.5)]
    )
    assert profile.mean_height.round(1).tolist() == [2.0, 2.0, 1.3]
    assert [round(_mean_target_height(m), 1) for m in (1, 32, 48, 63)] == [1.0, 1.1, 1.4, 2.7]
    assert count_masked(0.5, 64) == 32


def _mean_target_height(n_masked, n=64):
    """By the formula of section 2: one, plus the chances of lying above height 1 and above height 2."""
    height = 1.0
    for k in (4, 16):
        chance = 1.0
        for i in range(1, k):
            chance *= max(n_masked - i, 0) / (n - i)
        height += chance
    return height


def test_api_pages_list_every_public_name_functions_first(monkeypatch):
    monkeypatch.syspath_prepend(str(DOCS))
    tables = importlib.import_module("api_tables")
    modules = [getattr(hlvm, name) for name in hlvm.__all__ if name.islower() and not name.startswith("_")]
    for module in modules:
        monkeypatch.setattr(module, "__all__", module.__all__)  # put back afterwards
    before = {module.__name__: set(module.__all__) for module in modules}
    tables.put_functions_first()
    for module in modules:
        lines = []
        tables.list_members(None, "module", module.__name__, module, {}, lines)
        rows = re.findall(rf":py:obj:`~{module.__name__}\.(\w+)`\n     - (.*)", "\n".join(lines))
        names = [name for name, _ in rows]
        assert names == module.__all__
        assert set(names) == before[module.__name__]
        kinds = [tables.kind(getattr(module, name)) for name in names]
        assert kinds == sorted(kinds)
        assert all(line for (_, line), kind in zip(rows, kinds, strict=True) if kind == 0)
