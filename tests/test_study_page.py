"""The page of a study: everything that was found, in order, and nothing that a name could break."""

import dataclasses
import html
import re
from functools import cache
from types import SimpleNamespace
from typing import Any

import jax
import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.figure import Figure
from study_cases import SHOWN, study_result

from hlvm import mae
from hlvm.claims import mean_claim, yes
from hlvm.graph import LatentGraph
from hlvm.mae import LossConfig, ViTConfig
from hlvm.mae.pixels import rows_of_images
from hlvm.masking import FixedMask, RandomMask
from hlvm.plotting import MASKED_RGB
from hlvm.study import measuring
from hlvm.study.decisions import decide
from hlvm.study.pictures import pictures_of

MASKS = [RandomMask(ratio=ratio, unit=unit) for unit in (1, 2) for ratio in (0.25, 0.5, 0.75)]
OWN = mean_claim("mine", {"a − b": [0.3, 0.31, 0.29]}, theory=yes("since <b>"))


@pytest.fixture(autouse=True)
def no_figure_in_pyplot():
    yield
    assert plt.get_fignums() == []


@cache
def result():
    return dataclasses.replace(study_result(MASKS, height=2), own_claims=(OWN,))


def page_of(result, folder):
    path = folder / "report.html"
    result.report(path)
    return path.read_text(encoding="utf-8")


def headings(page):
    return re.findall(r"<h2>(.*?)</h2>", page)


def test_told_apart_has_a_row_per_decided_claim_and_follows_its_interval():
    found = result().told_apart
    assert len(found) == len(result().drawn) == 30
    for row, claim in zip(found.itertuples(), result().drawn.values(), strict=True):
        (interval,) = claim.scores.values()
        assert (row.low, row.high) == (interval.low, interval.high)
        assert row.apart == (not interval.low <= 0 <= interval.high)
    assert 0 < found["apart"].sum() < len(found)
    assert set(found["latent"]) == {""}


def test_plot_draws_the_table_and_what_is_told_apart():
    figure = result().plot(title="t")
    maps = [np.ma.filled(ax.images[0].get_array(), np.nan) for ax in figure.axes if ax.images]
    table = result().table("height")
    for height, predicted, measured in zip((2, 1), maps[:2], maps[2:], strict=True):
        rows = table[(table["height"] == height) & (table["part"] == "noise")]
        for cells, column in ((predicted, "share_in_c"), (measured, "value")):
            np.testing.assert_allclose(cells, rows.pivot(index="unit", columns="ratio", values=column))
    assert any(line.get_gid() for ax in figure.axes for line in ax.lines)
    by_latent = result().plot(by="latent", part="value")
    assert len([ax for ax in by_latent.axes if ax.images]) == 6


def test_plot_draws_one_height_into_axes():
    found = study_result([RandomMask(ratio=ratio) for ratio in (0.25, 0.5, 0.75)], height=2)
    ax = Figure().subplots()
    assert found.plot(height=1, ax=ax) is ax.figure
    table = found.table("height")
    rows = table[(table["height"] == 1) & (table["part"] == "noise")].sort_values("ratio")
    (predicted,) = [line for line in ax.lines if line.get_marker() == "s"]
    np.testing.assert_allclose(predicted.get_ydata(), rows["share_in_c"])
    np.testing.assert_allclose(ax.containers[0][0].get_ydata(), rows["value"])
    with pytest.raises(ValueError, match=r"height 5 is none of the heights of this study: \[1, 2\]"):
        found.plot(height=5)


def test_report_has_the_picture_first_and_counts_the_claims(tmp_path):
    page = page_of(result(), tmp_path)
    assert headings(page) == [
        "What enters at the latents: predicted, and measured",
        "Values of the latents: predicted, and measured",
        "Claims",
        "1 further claims",
        "Samples, what the encoder saw, reconstructions",
        "Training",
        "Scores by height",
        "Settings to run it again",
        "Graph",
        "Versions and machine",
    ]
    outcomes = [claim.holds for claim in result().drawn.values()]
    counts = [outcomes.count(outcome) for outcome in (True, False, None)]
    lead = re.search(r'<p class="lead">(.*?)</p>', page)[1]
    assert [int(number) for number in re.findall(r"\d+", lead)] == [30, *counts, 1, 1, 0, 0]
    assert page.index("data:image/png") < page.index("<table")
    assert page.count("data:image/png") == 4
    assert not re.search(r"(src|href)=\"(?!data:)|https?://", page)
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


def test_report_lists_own_claims_first_then_what_is_decided(tmp_path):
    page = page_of(result(), tmp_path)
    rows = re.findall(r"<strong>(\d+)\. (.*?)</strong>.*?<td class=\"beside[^>]*>([^<]*)</td></tr>", page)
    assert [int(number) for number, _, _ in rows] == list(range(1, 32))
    assert rows[0][1:] == ("mine", "holds")
    open_at = [outcome == "open" for _, _, outcome in rows]
    assert open_at == sorted(open_at)
    assert {html.unescape(text) for _, text, _ in rows[1:]} == {claim.text for claim in result().drawn.values()}


def test_report_escapes_every_name(tmp_path):
    evil = "<script>alert('$x$')</script>\u202eκόσμος" + 200 * "n"
    renamed = {arm["arm"]: f"{evil}{i}" for i, arm in enumerate(result().settings["arms"])}
    settings = result().settings | {
        "arms": [
            arm | {"arm": renamed[arm["arm"]], "network": evil, "loss": evil} for arm in result().settings["arms"]
        ],
        "score": {"latents": [evil]},
        evil: evil,
    }
    records = result().records.assign(arm=result().records["arm"].map(renamed))
    records["latent"] = evil + records["latent"]
    pairs = tuple(
        dataclasses.replace(pair, name=f"{evil}{i}", first=renamed[pair.first], second=renamed[pair.second])
        for i, pair in enumerate(result().pairs)
    )
    strange = dataclasses.replace(
        result(),
        settings=settings,
        records=records,
        losses=[one | {"arm": renamed[one["arm"]]} for one in result().losses],
        pictures=[one | {"arm": renamed[one["arm"]]} for one in result().pictures],
        pairs=pairs,
        drawn=decide(pairs, records, result().claim_config),
        own_claims=(dataclasses.replace(OWN, text=evil),),
        environment={evil: evil},
    )
    page = page_of(strange, tmp_path)
    assert "<script" not in page
    assert page.count("&lt;script&gt;") > 60
    assert html.escape(evil) in page


def test_report_tells_what_diverged_and_leaves_it_out(tmp_path):
    lost = result().settings["arms"][0]["arm"]
    records = result().records.copy()
    records.loc[records["arm"] == lost, "value"] = np.nan
    losses = [one | {"diverged": one["arm"] == lost} for one in result().losses]
    drawn = decide(result().pairs, records, result().claim_config)
    found = dataclasses.replace(result(), records=records, losses=losses, drawn=drawn)
    page = page_of(found, tmp_path)
    assert "4 fits diverged and are left out." in page
    assert f"{lost}, generator 0, seed 3" in page
    assert len(found.told_apart) == 20


def test_report_table_and_claims_tell_what_collapsed(tmp_path):
    arms = [arm["arm"] for arm in result().settings["arms"]]
    records = result().records.copy()
    assert result().collapsed == ()  # records of old studies do not say
    records["collapsed"] = "none"
    records.loc[(records["arm"] == arms[0]) & (records["seed"] == 1), "collapsed"] = "total"
    records.loc[(records["arm"] == arms[1]) & (records["seed"] == 3), "collapsed"] = "dimensional"
    found = dataclasses.replace(result(), records=records)
    assert found.collapsed == (
        f"{arms[0]}, generator 0, seed 1 (total)",
        f"{arms[1]}, generator 0, seed 3 (dimensional)",
    )
    table: Any = found.table()
    assert table.groupby("arm")["collapsed"].unique().map(list).to_dict() == {
        arm: [int(arm in arms[:2])] for arm in arms
    }
    noted = {pair.name for pair in found.pairs if not {pair.first, pair.second}.isdisjoint(arms[:2])}
    assert 0 < len(noted) < len(found.pairs)
    for name, claim in zip(found.drawn, found.claims()[1:], strict=True):
        assert ("1 of 4 fits of" in claim.reason) == (name in noted)
        assert claim.holds == found.drawn[name].holds
    page = page_of(found, tmp_path)
    assert "The code of 2 fits collapsed." in page
    assert f"Collapsed: {found.collapsed[0]}; {found.collapsed[1]}." in page
    assert f"; 1 of 4 fits of {arms[0]} collapsed" in page
    assert "<th>seeds</th><th>generators</th><th>collapsed</th>" in page
    rows = found.table("height")
    assert page.count("<td>4</td><td>1</td><td>1</td></tr>") == rows["arm"].isin(arms[:2]).sum()
    assert "collapsed" not in page_of(result(), tmp_path)


def test_report_of_one_arm_and_one_seed_decides_nothing(tmp_path):
    alone = study_result([FixedMask(masked=("x_0_0",))], height=1, seeds=1, parts=("value",))
    page = page_of(dataclasses.replace(alone, pictures=[]), tmp_path)
    assert "Theory makes no claim that this study can decide." in page
    assert "Nothing is decided" in page
    assert headings(page)[:3] == ["Values of the latents: predicted, and measured", "Claims", "Training"]


def test_report_of_many_networks_has_a_figure_for_each(tmp_path):
    networks = [ViTConfig(width=width, depth=1) for width in (16, 32, 48, 64)]
    many = study_result(MASKS[:2], height=1, networks=networks, parts=("value",))
    page = page_of(dataclasses.replace(many, pictures=[], losses=[]), tmp_path)
    assert page.count("data:image/png") == 4
    assert all(f'alt="vit width={width}. ' in page for width in (16, 32, 48, 64))


def test_report_refuses_a_folder_that_does_not_exist(tmp_path):
    with pytest.raises(FileNotFoundError, match="does not exist: make it first"):
        result().report(tmp_path / "none" / "report.html")


# ---------------------------------------------------------------------- pictures


def picture(rows, masked, **more):
    return {"arm": "a", "rows": rows.tolist(), "masked": masked.tolist(), "reconstructed": rows.tolist(), **more}


@pytest.mark.parametrize("channels", [1, 3])
def test_pictures_of_images_show_every_pixel_and_mask_whole_patches(channels):
    graph = LatentGraph.quadtree(1)
    images = np.random.default_rng(0).random((SHOWN, 4, 6, channels)).astype(np.float32)
    masked = np.zeros((SHOWN, 4), int)
    masked[:, 1] = 1
    found = pictures_of(graph, [picture(rows_of_images(images, graph), masked, shape=[4, 6, channels])])
    expected = np.broadcast_to(images, (SHOWN, 4, 6, 3))
    seen, made = found.arms["a"]
    np.testing.assert_allclose(found.samples, expected, atol=1e-6)
    np.testing.assert_allclose(made, expected, atol=1e-6)
    np.testing.assert_allclose(seen[:, :2, 3:], np.broadcast_to(MASKED_RGB, (SHOWN, 2, 3, 3)))
    np.testing.assert_allclose(seen[:, 2:], expected[:, 2:], atol=1e-6)


def test_pictures_of_values_lie_as_in_the_grid():
    graph = LatentGraph.quadtree(1)
    dim = graph.dims[graph.nodes.index(graph.observed[0])]
    rows = np.repeat([[0.0, 1.0, 2.0, 3.0]], dim, axis=1)
    masked = np.array([[0, 0, 0, 1]])
    seen, _ = pictures_of(graph, [picture(rows, masked)]).arms["a"]
    (tall, wide, _) = seen[0].shape
    corners = seen[0, [0, 0, tall - 1, tall - 1], [0, wide - 1, 0, wide - 1]]
    np.testing.assert_allclose(corners[:, 0], [0, 1 / 3, 2 / 3, MASKED_RGB[0]], atol=0.03)


def test_pictures_of_cells_without_a_grid_are_strips():
    graph = LatentGraph.from_edges([("z", "x"), ("z", "y")], dims={"z": 1, "x": 1, "y": 3})
    found = pictures_of(graph, [picture(np.arange(4.0)[None], np.array([[1, 0]])) | {"reconstructed": []}])
    seen, made = found.arms["a"]
    assert made is None
    assert seen.shape == (1, 1, 6, 3)
    np.testing.assert_allclose(seen[0, 0, 0], MASKED_RGB)
    assert np.isnan(seen[0, 0, 1:3]).all()
    assert (np.diff(seen[0, 0, 3:, 0]) > 0).all()


@pytest.mark.parametrize("shape", [None, (2, 2, 1)])
def test_picture_of_a_fit_keeps_the_shape_of_images(monkeypatch, shape):
    graph = LatentGraph.quadtree(1)
    rows = np.zeros((5, 4))
    truth = SimpleNamespace(inputs=rows, images=None if shape is None else np.zeros((5, *shape)))
    material = SimpleNamespace(truth=truth, graph=graph, key=jax.random.key(0))
    mask = SimpleNamespace(sample=lambda key, n, graph: np.zeros((n, 4), bool))
    arm = SimpleNamespace(name="a", member=lambda seed: SimpleNamespace(mask=mask))
    fit = SimpleNamespace(loss=LossConfig(), network=ViTConfig())
    monkeypatch.setattr(mae, "reconstruct", lambda fit, rows, masked, **_: rows)
    found = measuring._picture(arm, fit, material)
    assert found["shape"] == (None if shape is None else list(shape))
    assert np.shape(found["rows"]) == np.shape(found["reconstructed"]) == (4, 4)
