"""The explorer: its answers, in a real browser, are those of hlvm.theory; its texts are texts; its hands reach all."""

import io
import json
import re

import jax
import numpy as np
import pytest
from browser import opened_browser
from matplotlib.image import imread

from hlvm.cli import main
from hlvm.explore import EXAMPLES, explorer_page, write_explorer
from hlvm.explore.pages import MODULES
from hlvm.explore.tables import tabulate
from hlvm.explore.units import units_of
from hlvm.graph import LatentGraph, overlapping_fields, random_graph
from hlvm.masking import Patches, RandomMask
from hlvm.mechanisms import InvertibleMLP, LinearGaussian
from hlvm.simulator import HierarchicalModel
from hlvm.theory import (
    DesignedMask,
    design_mask,
    level_profile,
    mask_profile,
    shared_information,
    target_ancestors,
)

REGIMES = ("invertible", "general")

# Everything on the page is done and read in one call for many graphs: each call takes longer than a graph does.
ASK = """(cases) => cases.map(({ text, masked, target }, number) => {
  const at = (id) => document.getElementById(id);
  at("own").click();
  at("paste").value = text;
  at("open").click();
  if (at("dialog").open) {
    at("dialog").close();
    return { error: at("fault").textContent };
  }
  const wanted = new Set(masked);
  const names = explorer.graph.names, first = explorer.graph.nLatents;
  // The first are masked by clicks, which need a layout of the page each time.
  if (number > 60) explorer.setMask(explorer.graph.observed.map((name) => (wanted.has(name) ? 1 : 0)));
  for (const cell of document.querySelectorAll("[data-cell]")) {
    const hidden = cell.getAttribute("aria-selected") === "true";
    if (hidden === wanted.has(cell.title)) continue;
    cell.dispatchEvent(new PointerEvent("pointerdown", { bubbles: true, button: 0 }));
    window.dispatchEvent(new PointerEvent("pointerup"));
  }
  const inside = (role) => [...document.querySelectorAll(".latent[data-variable]")]
    .filter((latent) => latent.getAttribute("aria-label").endsWith(role))
    .map((latent) => names[latent.dataset.variable]);
  const { dims, noiseDims, grid, parents, description } = explorer.graph;
  const found = { nodes: names, dims, noiseDims, grid, parents, description, regimes: {}, units: [] };
  for (const regime of ["invertible", "general"]) {
    const input = document.querySelector(`input[value="${regime}"]`);
    found.regimes[regime] = null;
    if (input.disabled) continue;
    input.click();
    const targets = [];
    for (const groups of explorer.targets()) {
      for (const { latents, cells } of groups ?? []) {
        for (const cell of cells) targets.push([names[first + cell], explorer.names(latents)]);
      }
    }
    found.regimes[regime] = {
      told: at("answer").textContent, frontier: inside(", in c, frontier"), others: inside(", in c"),
      near: explorer.names(explorer.shared.nearVisible ?? []), unique: explorer.shared.unique, targets,
    };
  }
  for (const latent of document.querySelectorAll(".latent[data-variable]")) {
    if (!target.includes(names[latent.dataset.variable])) continue;
    latent.dispatchEvent(new MouseEvent("click", { bubbles: true }));
  }
  document.querySelector("input[name=regime]:enabled").click();
  const { units } = explorer;
  for (const [place, unit] of units.entries()) {
    at("unit").value = place;
    at("unit").dispatchEvent(new Event("input"));
    const { design, membership } = explorer;
    found.units.push({
      key: unit.key, groups: unit.groups.map((group) => group.map((cell) => names[first + cell])),
      design: design.mask ? { masked: explorer.graph.observed.filter((_, i) => design.mask[i]) }
        : design.error ? design
        : { reason: design.reason, latent: names[design.latent],
            wanted: explorer.names(design.wanted), one_of: explorer.names(design.oneOf) },
      told: at("design").textContent,
      profile: membership && [1, unit.n >> 1, unit.n - 1].map((m) => membership.profile(m)),
    });
  }
  return found;
})"""


@pytest.fixture(scope="module")
def browser():
    with opened_browser() as found:
        yield found


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    path = tmp_path_factory.mktemp("explorer") / "explorer.html"
    write_explorer(path)
    return path.as_uri()


@pytest.fixture(scope="module")
def open_page(browser):
    """Open an address at a width; at the end no page may have had an error or asked a network."""
    faults, opened = [], []

    def open_page(address, width=1280, **options):
        context = browser.new_context(viewport={"width": width, "height": 900}, **options)
        page = context.new_page()
        page.set_default_timeout(20_000)
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("request", lambda request: request.url.startswith(("file:", "data:")) or faults.append(request.url))
        page.on("dialog", lambda dialog: faults.append(dialog.message))
        page.goto(address)
        page.wait_for_function("window.explorer && document.querySelector('#drawing svg') !== null")
        opened.append(context)
        return page

    yield open_page
    for context in opened:
        context.close()
    assert faults == []


@pytest.fixture(scope="module")
def page(open_page, site):
    return open_page(site)


# ---------------------------------------------------------------------- equal answers


def random_graphs(rng, n):
    """Graphs of all kinds: with several parents, trees, grids, dims that no invertible mechanism has."""
    found = []
    while len(found) < n:
        latents, observed = int(rng.integers(1, 9)), int(rng.integers(2, 12))
        dims = [None, (1, 4)][rng.integers(2)]
        kind = rng.integers(6)
        try:
            if kind < 2:
                parents = int(rng.integers(1, 4))
                sizes = {"n_latents": latents, "n_observed": observed, "max_parents": parents}
                found.append(random_graph(rng, **sizes, dims=dims, noise_dims=(0, 3)))
            elif kind == 2:
                sizes = {"n_latents": latents + 2, "n_observed": observed + 3, "max_parents": int(rng.integers(1, 4))}
                found.append(random_graph(rng, kind="layered", dims=dims, **sizes))
            elif kind == 3:
                found.append(random_graph(rng, n_latents=latents, n_observed=observed, max_parents=1, dims=dims))
            elif kind == 4:
                found.append(LatentGraph.quadtree(int(rng.integers(1, 4))))
            else:
                found.append(overlapping_fields((5, 7), stride=int(rng.integers(1, 3)), height=int(rng.integers(1, 3))))
        except ValueError:  # a layer that is too narrow
            continue
    return found


def random_names(rng, names, least):
    return [str(name) for name in rng.choice(names, int(rng.integers(least, len(names))), replace=False)]


def random_target(rng, graph):
    """Any latents; latents with their ancestors; what some mask shares."""
    kind = rng.integers(3)
    if kind < 2 or graph.invertible_dims_error() is not None:
        target = set(random_names(rng, graph.latents, 0)) if graph.n_latents > 1 else set()
        return sorted(target | graph.ancestors(target)) if kind else sorted(target)
    return sorted(shared_information(graph, random_names(rng, graph.observed, 1)).members)


@pytest.fixture(scope="module")
def asked(page):
    """Random graphs, masks and targets, with what the page says of them."""
    rng = np.random.default_rng(25)
    graphs = random_graphs(rng, 220)
    cases = [
        {
            "text": json.dumps(graph.to_dict()),
            "masked": random_names(rng, graph.observed, 1),
            "target": random_target(rng, graph),
        }
        for graph in graphs
    ]
    found = page.evaluate(ASK, cases)
    return list(zip(graphs, cases, found, strict=True))


def test_explorer_reads_graphs_as_the_package_does(asked):
    for graph, _, found in asked:
        assert found["nodes"] == list(graph.nodes)
        assert (found["dims"], found["noiseDims"]) == (list(graph.dims), list(graph.noise_dims))
        assert found["parents"] == [list(above) for above in graph.parent_indices]
        assert found["grid"] == (list(graph.grid) if graph.grid else None)


def test_copied_graphs_are_equal_up_to_the_order_of_latents(asked):
    def parts(graph):
        above = {name: (graph.parents(name), graph.dim(name), graph.noise_dim(name)) for name in graph.nodes}
        return above, graph.observed, graph.grid

    for graph, _, found in asked:
        assert parts(LatentGraph.from_dict(found["description"])) == parts(graph)


@pytest.mark.parametrize("regime", REGIMES)
def test_explorer_shares_what_theory_shares(asked, regime):
    empty = several = 0
    for graph, case, found in asked:
        shown = found["regimes"][regime]
        if regime == "invertible" and graph.invertible_dims_error() is not None:
            assert shown is None
            continue
        shared = shared_information(graph, case["masked"], regime=regime)
        assert set(shown["frontier"]) == shared.frontier
        assert set(shown["frontier"] + shown["others"]) == shared.members
        assert set(shown["near"]) == shared.near_visible
        assert shown["unique"] == shared.unique
        assert f"d_c = {shared.dim}." in shown["told"]
        assert (f"c has {len(shared.members)} latent" if shared.members else "c is empty") in shown["told"]
        targets = target_ancestors(graph, case["masked"], regime=regime)
        assert {name: frozenset(latents) for name, latents in shown["targets"]} == targets
        empty += not shared.members
        several += not shared.unique
    assert empty
    assert (several > 3) == (regime == "general")


def test_explorer_designs_as_theory_does(asked):
    masks = reasons = 0
    for graph, case, found in asked:
        units = units_of(graph)
        assert {unit["key"]: unit["groups"] for unit in found["units"]} == {
            key: list(map(list, patches.groups)) for key, patches in units.items()
        }
        for unit in found["units"]:
            shown, patches = unit["design"], units[unit["key"]]
            if graph.invertible_dims_error() is not None:
                with pytest.raises(ValueError, match="these dims do not allow") as refused:
                    design_mask(graph, case["target"])
                assert shown == {"error": str(refused.value)}
                continue
            expected = design_mask(graph, case["target"], patches=patches)
            if isinstance(expected, DesignedMask):
                # Several masks can be the smallest.
                assert len(shown["masked"]) == len(expected.masked)
                assert shared_information(graph, shown["masked"]).members == expected.shared
                assert {patches.index(graph)[graph.observed.index(name)] for name in shown["masked"]} == {
                    patch for patch, group in enumerate(patches.groups) if set(group) <= set(shown["masked"])
                }
                masks += 1
            else:
                wanted, one_of = (
                    [name for name in graph.latents if name in of] for of in (expected.wanted, expected.one_of)
                )
                assert shown == {
                    "reason": expected.reason,
                    "latent": expected.latent,
                    "wanted": wanted,
                    "one_of": one_of,
                }
                assert expected.reason in unit["told"] or not case["target"]
                reasons += 1
    assert masks > 50
    assert reasons > 50


def test_explorer_profiles_as_theory_does(asked):
    for graph, _, found in asked[:80]:
        if graph.invertible_dims_error() is not None:
            continue
        for unit in found["units"]:
            n, patches = len(unit["groups"]), Patches(tuple(map(tuple, unit["groups"])))
            strategies = [RandomMask(ratio=m / n, patches=patches) for m in (1, n // 2, n - 1)]
            expected = level_profile(graph, strategies)
            for row, shown in enumerate(unit["profile"]):
                assert shown["share"] == pytest.approx(expected.share[row], abs=1e-9)
                assert shown["frontierShare"] == pytest.approx(expected.frontier_share[row], abs=1e-9)
                assert shown["dim"] == pytest.approx(expected.total_dim[row], rel=1e-9)


def test_explorer_draws_masks_where_there_is_no_closed_form(page):
    graph = overlapping_fields(5, size=3, stride=1)
    page.evaluate("(text) => explorer.openText(text, 'fields')", json.dumps(graph.to_dict()))
    page.evaluate("explorer.setRegime('general'); explorer.setCount(8)")
    page.wait_for_function("document.getElementById('profile-note').textContent.includes('means over 200')")
    row = page.locator("#profile tbody tr").first.inner_text().split("\t")
    share, error = map(float, row[2].split(" ± "))
    expected = level_profile(graph, [RandomMask(ratio=8 / 25)], regime="general", key=0, n_masks=400)
    assert 0 < error < 0.1
    assert abs(share - expected.share[0, 0]) < 5 * np.hypot(error, expected.standard_error[0, 0]) + 0.001


# ---------------------------------------------------------------------- bad graphs


BAD = {
    "nothing": "",
    "no JSON": "{edges}",
    "an open bracket": '{"edges": [["a", "x"]',
    "a comma too many": '{"edges": [["a", "x"] ["b", "y"]]}',
    "text after it": '{"edges": [["a", "x"]]} x',
    "an open string": '{"edges": [["a',
    "a bad escape": '{"edges": [["\\q", "x"]]}',
    "a bad code": '{"edges": [["\\u12g4", "x"]]}',
    "a line in a name": '{"edges": [["a\n", "x"]]}',
    "a list": "[1, 2]",
    "a number": "7.50",
    "no graph": '{"format": "other"}',
    "another version": '{"format": "hlvm.graph", "version": 2.0, "nodes": []}',
    "a key twice": '{"edges": [["a", "x"]], "edges": []}',
    "an unknown field": '{"edges": [["a", "x"]], "dim": 3, "b": 1}',
    "no edges": '{"edges": []}',
    "edges of text": '{"edges": "ab"}',
    "half an edge": '{"edges": [["a"]]}',
    "an edge of numbers": '{"edges": [["a", 1.0]]}',
    "an edge of much": '{"edges": [["a", null], {"b": [true, 1e-7, 1e22, -0.5]}]}',
    "an empty name": '{"edges": [["", "x"]]}',
    "a loop": '{"edges": [["a", "a"]]}',
    "an edge twice": '{"edges": [["a", "x"], ["a", "x"]]}',
    "a cycle": '{"edges": [["a", "b"], ["b", "a"], ["a", "x"]]}',
    "observed text": '{"edges": [["a", "x"]], "observed": "x"}',
    "observed twice": '{"edges": [["a", "x"]], "observed": ["x", "x"]}',
    "observed unknown": '{"edges": [["a", "x"]], "observed": ["y"]}',
    "observed with a child": '{"edges": [["a", "b"], ["b", "x"]], "observed": ["b"]}',
    "observed missing": '{"edges": [["a", "x"], ["a", "y"]], "observed": ["x"]}',
    "a truth value": '{"edges": [["a", "x"]], "noise_dims": true}',
    "a fraction": '{"edges": [["a", "x"]], "noise_dims": {"a": 1, "x": 0.5}}',
    "less than nothing": '{"edges": [["a", "x"]], "noise_dims": -1}',
    "no noise at the root": '{"edges": [["a\'s", "x"]], "noise_dims": 0}',
    "dims of others": '{"edges": [["a", "x"]], "dims": {"a": 1, "b": 2}}',
    "dims missing": '{"edges": [["a", "x"]], "dims": {"a": 1}}',
    "dims of zero": '{"edges": [["a", "x"]], "dims": 0}',
    "dims too large": '{"edges": [["a", "x"]], "dims": 9007199254740992}',
    "sums too large": '{"edges": [["a", "x"]], "noise_dims": 9007199254740991}',
    "a grid of one": '{"edges": [["a", "x"]], "grid": [1]}',
    "a grid of others": '{"edges": [["a", "x"], ["a", "y"]], "grid": [1, 3]}',
    "a grid of fractions": '{"edges": [["a", "x"], ["a", "y"]], "grid": [1.0, 2]}',
    "ragged rows": '{"edges": [["a", "x"], ["a", "y"], ["a", "z"]], "grid": [["x", "y"], ["z"]]}',
    "a cell twice": '{"edges": [["a", "x"], ["a", "y"]], "grid": [["x", "x"]]}',
    "a cell of others": '{"edges": [["a", "x"], ["a", "y"]], "grid": [["x", "q"]]}',
    "a cell left out": '{"edges": [["a", "x"], ["a", "y"]], "grid": [["x"]]}',
    "two orders": '{"edges": [["a", "x"], ["a", "y"]], "grid": [["y", "x"]], "observed": ["x", "y"]}',
    "places that names tell": '{"edges": [["a", "p0_1"], ["a", "p0_0"]], "grid": [1, 2]}',
    "places in columns": '{"edges": [["a", "x1"], ["a", "x3"], ["a", "x2"], ["a", "x4"]], "grid": [2, 2]}',
    "nodes of text": '{"format": "hlvm.graph", "version": 1, "nodes": "a", "grid": null}',
    "half a node": '{"format": "hlvm.graph", "version": 1, "nodes": [{"name": "a"}], "grid": null}',
    "a node with more": '{"format": "hlvm.graph", "version": 1, "nodes": [{"name": "a", "dim": 1, "noise_dim": 1, '
    '"parents": [], "x": 1}]}',
    "a node twice": '{"format": "hlvm.graph", "version": 1, "nodes": [{"name": "a", "dim": 1, "noise_dim": 1, '
    '"parents": []}, {"name": "a", "dim": 1, "noise_dim": 1, "parents": []}]}',
    "parents of text": '{"format": "hlvm.graph", "version": 1, "nodes": [{"name": "a", "dim": 1, "noise_dim": 1, '
    '"parents": "b"}]}',
    "an unlisted parent": '{"format": "hlvm.graph", "version": 1, "nodes": [{"name": "x", "dim": 1, "noise_dim": 1, '
    '"parents": ["b"]}]}',
    "a bare node": '{"format": "hlvm.graph", "version": 1, "nodes": [{"name": "a", "dim": 1, "noise_dim": 1, '
    '"parents": []}]}',
    "another digest": '{"edges": [["a", "x"]], "digest": "sha256:00"}',
    "a digest without its name": '{"edges": [["a", "x"]], "grid": "sha256:00"}',
    "odd letters": '{"edges": [["\\ud83d\\ude00\\u0007\\u00e9\\u200b\\ud800\\"\'", 2]]}',
}


def test_explorer_refuses_bad_graphs_in_the_words_of_the_package(page, tmp_path):
    shown = page.evaluate(ASK, [{"text": text, "masked": [], "target": []} for text in BAD.values()])
    path = tmp_path / "bad.json"
    for (name, text), found in zip(BAD.items(), shown, strict=True):
        path.write_text(text, encoding="utf-8")
        with pytest.raises(ValueError, match=re.escape(str(path))) as refused:
            LatentGraph.load(path)
        expected = str(refused.value).replace(str(path), "pasted graph")
        if name == "a cycle":  # which begins anywhere
            expected, found["error"] = (
                re.sub(r": [ab] -> [ab] -> [ab]$", "", text) for text in (expected, found["error"])
            )
        assert found == {"error": expected}, name


GOOD = {
    "its own file": None,
    "names as numbers": '{"edges": [["1", "3"], ["1", "2"], ["1", "10"]]}',
    "a mark before it": '\ufeff{"edges": [["a", "x"], ["a", "y"]]}',
    "numbers as names of a mapping": '{"edges": [["b", "2"], ["b", "1"]], "noise_dims": {"2": 3, "1": 0, "b": 2}}',
    "nodes in another order": '{"format": "hlvm.graph", "version": 1, "nodes": ['
    '{"name": "x", "dim": 2, "noise_dim": 1, "parents": ["a"]}, '
    '{"name": "a", "dim": 1, "noise_dim": 1, "parents": []}, '
    '{"name": "y", "dim": 2, "noise_dim": 1, "parents": ["a"]}]}',
    "a grid of names": '{"edges": [["a", "p"], ["a", "q"], ["b", "q"], ["b", "r"], ["b", "s"]], "grid": [["s", "q"], '
    '["p", "r"]]}',
    "odd letters": '{"edges": [["\\ud83d\\ude00 é", "\\u0007"], ["\\ud83d\\ude00 é", "<b>"]], "dims": 3}',
}


def test_explorer_reads_good_graphs_as_the_package_does(page, tmp_path):
    path = tmp_path / "good.json"
    for name, text in GOOD.items():
        if text is None:
            LatentGraph.quadtree(2).save(path)  # with its digest
        else:
            path.write_text(text, encoding="utf-8")
        graph = LatentGraph.load(path)
        content = path.read_text(encoding="utf-8")
        (found,) = page.evaluate(ASK, [{"text": content, "masked": [graph.observed[0]], "target": []}])
        assert found["nodes"] == list(graph.nodes), name
        assert (found["dims"], found["noiseDims"]) == (list(graph.dims), list(graph.noise_dims)), name


def test_explorer_opens_a_file_that_is_picked(page, tmp_path):
    graph = LatentGraph.tree(3, 2)
    graph.save(tmp_path / "picked.json")
    (tmp_path / "bytes.json").write_bytes(b"\x80\xff")
    page.click("#own")
    page.set_input_files("#file", tmp_path / "bytes.json")
    page.wait_for_function("document.getElementById('fault').textContent === 'it is not UTF-8 text: save it as UTF-8'")
    page.set_input_files("#file", tmp_path / "picked.json")
    page.wait_for_function("document.getElementById('paste').value !== ''")
    page.click("#open")
    assert page.evaluate("explorer.graph.names") == list(graph.nodes)
    assert page.evaluate("explorer.entry.name") == "picked.json"


def test_explorer_gives_up_a_long_search(page):
    wide = random_graph(1, n_latents=300, n_observed=700, kind="layered", layers=3, max_parents=3)
    page.evaluate("(text) => explorer.openText(text, 'wide')", json.dumps(wide.to_dict()))
    ask = "explorer.designed(explorer.graph.latents.keys(), 0.01)"
    found = page.evaluate(f"() => {{ try {{ return {ask}; }} catch (error) {{ return error.message; }} }}")
    assert found.startswith(
        "no answer within 0.01 seconds: on graphs whose target latents overlap this problem is hard"
    )


def test_explorer_refuses_graphs_that_cannot_be_drawn(page):
    wide = LatentGraph.from_edges([("z", f"x{i}") for i in range(2000)])
    (found,) = page.evaluate(ASK, [{"text": json.dumps(wide.to_dict()), "masked": [], "target": []}])
    with pytest.raises(ValueError, match="at most 2,000 variables, this one has 2,001") as refused:
        explorer_page(wide)
    assert found == {"error": str(refused.value)}


# ---------------------------------------------------------------------- the menu


def test_menu_has_quadtrees_and_examples_as_the_package_builds_them(page):
    expected = {f"quadtree-{h}": LatentGraph.quadtree(h) for h in range(1, 6)} | {
        of.short_name: of.build() for of in EXAMPLES
    }
    keys = page.evaluate("explorer.entries.map((entry) => entry.key).filter((key) => key !== 'own')")
    assert keys == list(expected)
    for key, graph in expected.items():
        page.select_option("#menu", key)
        names, parents, dims = page.evaluate("[explorer.graph.names, explorer.graph.parents, explorer.graph.dims]")
        assert names == list(graph.nodes)
        assert parents == [list(above) for above in graph.parent_indices]
        assert dims == list(graph.dims)


# ---------------------------------------------------------------------- hands


def test_explorer_is_used_with_the_keyboard(page):
    page.evaluate("explorer.openKey('quadtree-2')")
    page.focus("[data-cell='0']")
    for key in ("ArrowRight", "ArrowDown", "Space", "Shift+ArrowRight", "Home", "Enter", "End"):
        page.keyboard.press(key)
    assert page.evaluate("explorer.maskedNames") == ["x_0_0", "x_1_0", "x_1_1", "x_1_2"]
    assert page.evaluate("document.activeElement.getAttribute('aria-label')") == "x_1_3, visible"
    assert page.inner_text("#pointed") == "x_1_3: visible. Above it: z2_0_0, z1_0_1."
    page.keyboard.press("ArrowLeft")
    page.wait_for_function("document.getElementById('pointed').textContent.includes('visible part: z1_0_1. Above')")
    page.keyboard.press("Shift+Tab")
    page.focus(".latent[data-variable='0']")
    for key in ("Space", "ArrowDown", "ArrowRight", "Space", "ArrowUp"):
        page.keyboard.press(key)
    assert page.evaluate("explorer.names(explorer.target)") == ["z2_0_0", "z1_0_1"]
    assert page.evaluate("document.activeElement.getAttribute('aria-pressed')") == "true"
    expected = design_mask(LatentGraph.quadtree(2), ["z2_0_0", "z1_0_1"])
    assert isinstance(expected, DesignedMask)
    assert page.inner_text("#design") == f"Smallest mask: 1 of 16: {expected.masked[0]}."
    page.click("#apply")
    assert page.evaluate("explorer.maskedNames") == list(expected.masked)
    page.click("#undo")
    assert len(page.evaluate("explorer.maskedNames")) == 4


def test_explorer_is_used_with_the_pointer(page):
    page.evaluate("explorer.openKey('quadtree-2'); scrollTo(0, 0)")
    first, last = (page.locator(f"[data-cell='{i}']").bounding_box() for i in (4, 7))
    page.mouse.move(first["x"] + 5, first["y"] + 5)
    page.mouse.down()
    page.mouse.move(last["x"] + 5, last["y"] + 5, steps=12)
    page.mouse.up()
    assert page.evaluate("explorer.maskedNames") == ["x_0_0", "x_1_0", "x_1_1", "x_1_2", "x_1_3"]
    page.evaluate("explorer.setUnit('blocks-2')")
    page.click("[data-cell='10']")
    assert page.evaluate("explorer.maskedNames.slice(-4)") == ["x_2_2", "x_2_3", "x_3_2", "x_3_3"]
    page.click("#invert")
    page.click("#take")
    shared = shared_information(LatentGraph.quadtree(2), page.evaluate("explorer.maskedNames"))
    assert set(page.evaluate("explorer.names(explorer.target)")) == shared.members
    assert page.locator("#answer").get_attribute("aria-live") == "polite"


def test_explorer_says_what_a_mask_with_an_empty_side_lacks(page):
    page.evaluate("explorer.openKey('quadtree-1'); explorer.setMask([0, 0, 0, 0])")
    with pytest.raises(ValueError, match="nothing is masked") as refused:
        shared_information(LatentGraph.quadtree(1), [])
    assert page.inner_text("#answer") == f"No answer: {refused.value}."


@pytest.mark.parametrize("width", [390, 1280])
def test_explorer_does_not_overflow(open_page, site, width):
    phone = {"is_mobile": True, "has_touch": True} if width < 500 else {}
    page = open_page(site, width, **phone)
    long = LatentGraph.from_edges([("z" * 90, "x" * 120), ("z" * 90, "y" * 120)])
    page.evaluate("(text) => explorer.openText(text, 'long')", json.dumps(long.to_dict()))
    for key in ("own", "quadtree-5", "hidden-markov-tree", "bifactor"):
        page.evaluate("(key) => { explorer.openKey(key); explorer.setTarget([0]); }", key)
        page.wait_for_function("document.querySelector('#drawing svg') !== null")
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def lines_in(samples):
    """Number of dark runs along a row of pixels, from 0 to 1."""
    dark = samples < 0.93
    return int(dark[0]) + int((dark[1:] & ~dark[:-1]).sum())


@pytest.mark.parametrize("width", [1000, 390])
def test_explorer_draws_a_line_on_every_side_of_a_cell(open_page, site, width):
    page = open_page(site, width)
    for height in (3, 5):
        page.evaluate("(key) => explorer.openKey(key)", f"quadtree-{height}")
        picture = imread(io.BytesIO(page.locator("#cells .grid").screenshot()))[..., :3].mean(axis=2)
        assert [lines_in(picture[-6]), lines_in(picture[:, -6])] == [2**height + 1] * 2


def test_explorer_has_a_dark_mode(open_page, site):
    page = open_page(site, color_scheme="dark")
    paper = "getComputedStyle(document.body).backgroundColor"
    assert page.evaluate(paper) == "rgb(20, 22, 26)"
    page.click("#theme")
    assert page.evaluate(paper) == "rgb(255, 255, 255)"
    assert page.get_attribute("#theme", "aria-pressed") == "false"


# ---------------------------------------------------------------------- copies


def test_copied_python_gives_what_is_shown(page, capsys):
    for graph in (LatentGraph.quadtree(2), next(of for of in EXAMPLES if of.short_name == "democracy").build()):
        text = json.dumps(graph.to_dict())
        page.evaluate(
            "(text) => { explorer.openText(text, 'own'); explorer.paint(3, 1); explorer.setTarget([0]); }", text
        )
        page.click("#copy-python")
        namespace = {}
        exec(page.input_value("#copy-text"), namespace)
        shown = page.evaluate("explorer.names(explorer.shared.members)")
        assert namespace["shared"].members == frozenset(shown)
        assert namespace["graph"].edges
        assert "share" not in capsys.readouterr().err
        assert namespace["target"] == [graph.latents[0]]


def test_copied_json_is_read_by_the_command(page, tmp_path, capsys):
    page.evaluate("explorer.openKey('fields'); explorer.paint(40, 1)")
    for button, name in (("#copy-graph", "graph.json"), ("#copy-mask", "mask.json")):
        page.click(button)
        (tmp_path / name).write_text(page.input_value("#copy-text"), encoding="utf-8")
    assert main(["theory", str(tmp_path / "graph.json"), "--mask-file", str(tmp_path / "mask.json"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert sorted(told["members"]) == sorted(page.evaluate("explorer.names(explorer.shared.members)"))


def test_copied_address_restores_what_was_shown(page, open_page, site):
    told = (
        "[explorer.entry.name, explorer.maskedNames, explorer.names(explorer.target), explorer.regime, "
        "explorer.unit.key, explorer.m]"
    )
    change = "explorer.paint(2, 1); explorer.setTarget([0, 1]); explorer.setRegime('general'); explorer.setCount(2)"
    own = json.dumps({"edges": [["z", "x y"], ["z", "<b>"], ["w", "<b>"], ["w", "q"]]})
    for begin in (
        "explorer.openKey('quadtree-3'); explorer.setUnit('blocks-2');",
        f"explorer.openText({json.dumps(own)}, 'mine');",
    ):
        page.evaluate(f"{begin} {change}")
        other = open_page(site + page.evaluate("explorer.fragment"))
        assert other.evaluate(told) == page.evaluate(told)
    bad = open_page(f"{site}#graph=nowhere&mask=12")
    assert bad.inner_text("#answer") == "The address does not fit: no graph of the menu is called nowhere."


# ---------------------------------------------------------------------- the file


ODD = "</script ><!--<script></script><script>hacked = 1</script><img src=x onerror='hacked=1'>\"&amp;"


def test_names_stay_text(open_page, tmp_path):
    graph = LatentGraph.from_edges([(f"z{ODD}", f"x{ODD}"), (f"z{ODD}", "y\u2028'`${1}")])
    write_explorer(tmp_path / "odd.html", graph, name=ODD)
    page = open_page((tmp_path / "odd.html").as_uri())
    assert page.evaluate("typeof hacked") == "undefined"
    assert page.title() == f"hlvm explorer: {ODD}"
    assert page.evaluate("explorer.graph.names") == list(graph.nodes)
    page.focus("[data-cell='0']")
    page.click(".latent[data-variable='0']")
    for shown in ("#answer", "#design", "#chosen", "#members", "#targets", "#menu", "#pointed"):
        assert page.locator(f"{shown} img, {shown} script").count() == 0
    assert f"z{ODD}" in page.text_content("#answer")
    page.click("#copy-address")
    assert page.evaluate("typeof hacked") == "undefined"


def test_page_is_one_small_file_that_asks_nobody():
    text = explorer_page()
    assert len(text.encode()) < 1_000_000
    assert not re.search(r"""(?:src|href)\s*=|url\(|@import|import\(|fetch\(""", text.replace('src = "', ""))
    assert set(re.findall(r"https?://[^\s\"']+", text)) == {"http://www.w3.org/2000/svg"}
    assert "%DATA%" not in text
    assert not re.search(r"^(?:import|export) ", text, re.MULTILINE)


def test_page_has_every_module_after_those_it_needs():
    from importlib.resources import files

    folder = files("hlvm.explore") / "page"
    assert {path.name.removesuffix(".js") for path in folder.iterdir() if path.name.endswith(".js")} == set(MODULES)
    for i, name in enumerate(MODULES):
        text = (folder / f"{name}.js").read_text(encoding="utf-8")
        needed = re.findall(r'from "\./(\w+)\.js"', text)
        assert set(needed) <= set(MODULES[:i])
        assert text.count("\nexport default") == 0
        assert len(text.splitlines()) < 400


def test_examples_have_keys_of_their_own_and_say_where_they_are_from():
    keys = [of.short_name for of in EXAMPLES]
    assert len(set(keys)) == len(keys)
    for of in EXAMPLES:
        assert re.fullmatch(r"[a-z-]+", of.short_name)
        assert not of.reference or re.search(r"\((?:19|20)\d\d\)", of.reference)
        assert isinstance(of.build(), LatentGraph)


# ---------------------------------------------------------------------- tables


def test_tables_are_those_of_mask_profile():
    model = HierarchicalModel.init(0, LatentGraph.tree(2, 2), LinearGaussian())
    found = tabulate(model, key=3, n_masks=6)
    assert set(found.units) == {"cells", "subtrees-1"}
    assert set(found.units["cells"]) == {"availability", "demand", "signal"}
    assert found.missing == ()
    profile = mask_profile(
        model,
        {str(m): RandomMask(ratio=m / 4) for m in (1, 2, 3)},
        ["availability", "demand", "signal"],
        key=3,
        n_masks=6,
    )
    for quantity, rows in found.units["cells"].items():
        assert set(rows) == {1, 2, 3}
        for m, by_height in rows.items():
            expected = profile.of_heights(quantity).loc[str(m)]
            assert [value for value, _ in by_height] == pytest.approx(expected.tolist(), rel=1e-4)


def test_tables_say_why_there_are_none():
    graph = LatentGraph.tree(2, 2)
    assert tabulate(graph).units == {}
    assert "open the explorer on a model" in tabulate(graph).missing[0]
    (reason,) = tabulate(HierarchicalModel.init(0, graph, InvertibleMLP())).missing
    assert "no exact oracle" in reason


def test_page_of_a_model_shows_its_tables(open_page, tmp_path):
    model = HierarchicalModel.init(0, LatentGraph.tree(2, 2), LinearGaussian())
    write_explorer(tmp_path / "model.html", model, name="Gaussian", n_masks=4)
    page = open_page((tmp_path / "model.html").as_uri())
    page.wait_for_selector("#profile th")
    assert page.evaluate("explorer.regime") == "general"
    page.evaluate("explorer.setRegime('invertible'); explorer.setCount(1)")
    head = page.locator("#profile th").all_inner_texts()
    assert head == ["height", "latents", "share in c", "in the frontier", "height", "availability", "demand", "signal"]
    row = page.locator("#profile table").last.locator("tbody tr").first.locator("td").all_inner_texts()
    again = open_page((tmp_path / "model.html").as_uri() + page.evaluate("explorer.fragment"))
    assert again.evaluate("[explorer.entry.key, explorer.regime, explorer.m]") == ["given", "invertible", 1]
    value, error = tabulate(model, n_masks=4).units["cells"]["demand"][1][1]
    assert row[2] == (f"{value:.3f} ± {error:.3f}" if error >= 0.0005 else f"{value:.3f}")


def test_explorer_page_refuses_what_has_no_graph():
    with pytest.raises(ValueError, match="model must be a LatentGraph, or have a graph"):
        explorer_page("graph.json")


def test_explorer_page_needs_masks_for_a_standard_error():
    with pytest.raises(ValueError, match="n_masks must be a whole number of at least 2, got 1"):
        explorer_page(n_masks=1)


def test_write_explorer_writes_the_page_whatever_form_its_key_has(tmp_path):
    for name, key in (("int", 3), ("key", jax.random.key(3))):
        write_explorer(tmp_path / name, LatentGraph.tree(2, 2), name="tree", key=key)
        assert (tmp_path / name).read_text(encoding="utf-8") == explorer_page(LatentGraph.tree(2, 2), name="tree")


def test_write_explorer_needs_a_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match="make it first"):
        write_explorer(tmp_path / "nowhere" / "page.html")


# ---------------------------------------------------------------------- the command


def test_explore_writes_a_page_of_a_graph(run, tmp_path):
    code, out, err = run("explore", "tree.json", "--out", "{new}/page.html")
    assert (code, err) == (0, "")
    assert out == f"wrote {tmp_path}/page.html: open it in a browser\n"
    assert '"first":"given"' in (tmp_path / "page.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("explore --out {new}/page.txt", "must end in .html"),
        ("explore nowhere.json --out {new}/page.html", "nowhere.json"),
        ("explore cycle.json --out {new}/page.html", "the edges contain a cycle"),
        ("explore --n-masks 1 --out {new}/page.html", "--n-masks must be from 2 to 10000"),
        ("explore z.npy --out {new}/page.html", "z.npy"),
        ("explore", "--out"),
    ],
)
def test_explore_refuses(refused, line, message):
    refused(line, message)


def test_explore_opens_the_browser_when_asked(run, monkeypatch, tmp_path):
    opened = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    assert run("explore", "--out", "{new}/page.html", "--open")[0] == 0
    assert opened == [(tmp_path / "page.html").resolve().as_uri()]
