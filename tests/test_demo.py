"""The demo's chain on settings too small to conclude anything: every part runs and every file is there."""

import dataclasses
import html
import json
import re

import jax
import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from hlvm import mae, plotting
from hlvm.claims import Claim, no, nothing, yes
from hlvm.demo import DemoConfig, DemoResult, run_demo
from hlvm.demo.pictures import beside, claims_figure, gains_figure
from hlvm.demo.run import claims_table
from hlvm.demo.scenes import train_on_scenes
from hlvm.demo.scores import study_claims
from hlvm.demo.setting import mask_cases, study_of
from hlvm.graph import LatentGraph
from hlvm.images import SceneImages
from hlvm.mae import DivergenceWarning, TrainConfig, ViTConfig
from hlvm.mechanisms import InvertibleMLP
from hlvm.scoring import Interval
from hlvm.simulator import HierarchicalModel
from hlvm.study import load_study

TINY = DemoConfig(
    scenes=SceneImages(size=16, patch=8, objects=(1, 1)),
    scene_images=16,
    scene_network=ViTConfig(width=8, depth=1, heads=1, decoder_width=8),
    scene_train=TrainConfig(steps=4, batch=8, warmup=1),
    bottleneck=TrainConfig(steps=4, batch=16, warmup=1),
    vit=TrainConfig(steps=4, batch=8, warmup=1),
    network=ViTConfig(width=8, depth=1, heads=1, decoder_width=8),
    ratios=(0.5,),
    vit_seeds=2,
    score_rows=80,
)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """A finished run, and what was trained on scenes in it."""
    out = tmp_path_factory.mktemp("runs") / "demo"
    console = Console(record=True, width=160, force_terminal=False)
    scenes = []

    def train(*arguments):
        scenes.append(train_on_scenes(*arguments))
        return scenes[0]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("hlvm.demo.run.train_on_scenes", train)
        result = run_demo(TINY, out, console=console)
    return out, result, console.export_text(), scenes[0]


@pytest.fixture(scope="module")
def finished(recorded):
    return recorded[:3]


# ---------------------------------------------------------------------- predictions


def test_mask_cases_are_those_of_the_theory_page():
    cases = mask_cases(LatentGraph.quadtree(2))
    assert [(case.label, sorted(case.shared.members), case.shared.dim, case.code_dims) for case in cases] == [
        ("two of four subtrees masked", ["z2_0_0"], 2, (2,)),
        ("one leaf masked", ["z1_0_0", "z2_0_0"], 3, (3, 2)),
        ("one leaf visible", ["z1_0_0", "z2_0_0"], 3, (3,)),
    ]
    assert [len(case.mask.masked) for case in cases] == [8, 1, 15]


def test_study_of_the_demo_predicts_that_no_latent_inside_one_masking_unit_is_identified():
    model = HierarchicalModel.init(0, LatentGraph.quadtree(2), InvertibleMLP())
    prediction = study_of(model, DemoConfig()).predict()
    low = {mask: prediction.of_heights(mask)[1] for mask in prediction.masked}
    assert len(low) == 6
    assert all(share == 0 if mask.endswith("unit=2") else share > 0.5 for mask, share in low.items())


# ---------------------------------------------------------------------- files


def test_run_demo_writes_everything(finished):
    out, result, shown = finished
    names = {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()}
    files = {"prediction.json", "report.html", "results.json", "scores.csv", "config.json", "checkpoints/model.npz"}
    assert files <= names
    figures = {name for name in names if name.startswith("figures/")}
    assert len(figures) == 12
    assert "figures/demo.png" in figures
    assert all((out / name).read_bytes()[:8] == b"\x89PNG\r\n\x1a\n" for name in figures)
    assert "What the theory predicted" in shown
    assert len(result.claims) == 6 + 2
    assert sorted(path.name for path in out.parent.iterdir()) == ["demo"]


def test_run_demo_results_agree_with_what_it_returns(finished):
    out, result, _ = finished
    saved = json.loads((out / "results.json").read_text())
    assert saved["agrees"] == result.agrees
    assert [Claim.from_dict(claim) for claim in saved["claims"]] == list(result.claims)
    settings = json.loads((out / "config.json").read_text())
    assert settings["demo"]["score_rows"] == 80
    assert settings["versions"]["jax"] == jax.__version__
    scores = pd.read_csv(out / "scores.csv")
    of_each = scores.groupby(["score", "control"]).size()
    controls = {"none", "floor", "ceiling", "chance"}
    compared = {("kernel_r2", "above_floor"), ("kernel_r2", "normalised")}
    assert set(of_each.index) == {(score, c) for score in ("kernel_r2", "cca") for c in controls} | compared
    assert set(of_each) == {4 * 5}  # autoencoders x latents
    measured = scores[scores["control"] != "normalised"]  # there is no place between a floor and a ceiling below it
    assert measured[["value", "low", "high", "predicted"]].notna().all().all()
    assert set(scores["height"]) == {1, 2}


def test_run_demo_keeps_its_study(finished):
    out, result, _ = finished
    again = load_study(out / "study")
    pd.testing.assert_frame_equal(again.records, result.study.records)
    assert len(again.records) == 2 * 2 * 5  # arms x seeds x latents
    assert again.prediction.of_heights("random unit=2") == {1: 0.0, 2: 1.0}
    assert len(list((out / "study" / "fits").iterdir())) > 0


def test_study_claims_are_about_roots_that_are_always_shared(finished):
    _, result, _ = finished
    assert [claim.text for claim in study_claims(result.study, "z2_0_0")] == [
        f"ViT, unit {unit} x {unit}, ratio 0.5: more of the root (always in c) than untrained" for unit in (1, 2)
    ]
    assert study_claims(result.study, "z1_0_0") == []
    (lead, _), records = study_claims(result.study, "z2_0_0"), result.study.records
    rows = records[(records["arm"] == "random unit=1") & (records["latent"] == "z2_0_0")]
    (interval,) = lead.scores.values()
    assert interval.value == pytest.approx((rows["value"] - rows["floor"]).mean())


def test_run_demo_fills_in_scenes_that_it_was_not_trained_on(recorded):
    fit, pictures = recorded[3]
    ((seen, made),) = pictures.arms.values()
    hidden = (seen == np.asarray(plotting.MASKED_RGB)).all(axis=-1)
    assert pictures.samples.shape == (8, 16, 16, 3)
    assert hidden.mean(axis=(1, 2)).tolist() == [0.5] * 8
    blocks = hidden.reshape(8, 2, 8, 2, 8)
    assert (blocks.all(axis=(2, 4)) == blocks.any(axis=(2, 4))).all()
    np.testing.assert_allclose(made[~hidden], pictures.samples[~hidden], atol=1e-5)
    assert np.abs(made - pictures.samples)[hidden].mean() > 0.01
    shown, trained_on = pictures.samples.reshape(8, -1), fit.model.parts[0].reshape(16, -1)
    assert (shown[:, None] != trained_on[None]).any(axis=2).all()


def test_run_demo_quick_predicts_as_ever_and_tests_one_mask(finished, tmp_path):
    out = tmp_path / "demo"
    result = run_demo(TINY, out, quick=True)
    assert {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()} == {
        *("prediction.json", "report.html", "results.json", "scores.csv", "config.json"),
        "figures/bottleneck_scores.png",
    }
    assert (out / "prediction.json").read_text() == (finished[0] / "prediction.json").read_text()
    assert [claim.text for claim in result.claims] == [claim.text for claim in finished[1].claims[:2]]
    assert [claim.theory for claim in result.claims] == [claim.theory for claim in finished[1].claims[:2]]
    assert result.study is None
    page = (out / "report.html").read_text(encoding="utf-8")
    assert page.count("data:image/png;base64,") == 1
    assert "More than untrained" not in page


def test_run_demo_checkpoints_score_on_their_own_generator(finished):
    out, _, _ = finished
    fits = mae.load_fits(out / "checkpoints")
    assert len(fits) == 4
    codes = mae.encode(fits[0], fits[0].model.sample(jax.random.key(0), 5), fits[0].mask.masked)
    assert codes.shape == (5, 2)
    assert np.isfinite(np.asarray(codes)).all()


def test_report_is_self_contained(finished):
    out, result, _ = finished
    page = (out / "report.html").read_text(encoding="utf-8")
    assert page.count("data:image/png;base64,") == 11
    assert not re.search(r'(?:src|href)="(?!data:)', page)
    assert "http" not in re.sub(r"base64,[^\"]*", "", page)
    assert all(html.escape(str(claim.theory)) in page for claim in result.claims)
    numbers = re.findall('<td class="number">(.*?)</td>', page)
    assert len(numbers) == 5 * sum(len(claim.scores) for claim in result.claims)
    assert all(re.fullmatch(r"−?[\d.]+|", text) for text in numbers)
    assert not re.search(r"\[−?[\d.]+, ", re.sub("<pre>.*?</pre>", "", page, flags=re.DOTALL))  # intervals in a cell
    assert re.findall("<h2>(.*?)</h2>", page)[:4] == [
        "A masked autoencoder fills in what it does not see",
        "Random masks: predicted before training, and measured",
        "Claims",
        "Fixed masks: predicted before training",
    ]


def test_claims_figure_leaves_no_claim_out(finished):
    claims = finished[1].claims
    (ax,) = claims_figure(claims).axes
    labels = [label.get_text().replace(":\n", ": ") for label in ax.get_yticklabels()]
    assert labels == [f"{number}. {claim.text}" for number, claim in enumerate(claims, 1)]


def test_gains_figure_goes_from_the_untrained_code_to_the_visible_part():
    table = pd.DataFrame(
        [
            {"arm": f"{ratio} {unit}", "strategy": "random", "ratio": ratio, "unit": unit, "network": "", "loss": ""}
            | {
                "latent": "",
                "height": 1,
                "part": "noise",
                "score": "R²",
                "share_in_c": ratio,
                "value": 0.4 + 0.1 * unit,
            }
            | {"low": 0.3, "high": 0.6, "floor": 0.4, "ceiling": 0.8}
            for ratio in (0.25, 0.5)
            for unit in (1, 2)
        ]
    )
    figure = gains_figure(table)
    predicted, gained = [np.asarray(ax.images[0].get_array()) for ax in figure.axes[:2]]
    np.testing.assert_allclose(predicted, [[0.25, 0.5]] * 2)
    np.testing.assert_allclose(gained, [[0.25, 0.25], [0.5, 0.5]])
    assert "measured: gain in R²" in {text.get_text() for text in figure.texts}


def test_beside_puts_figures_on_white_in_the_middle_of_its_height():
    with plotting.style():
        figures = [plotting.figure_with_panels(*size)[0] for size in ((1, 1), (2, 0.5))]
    for figure in figures:
        figure.axes[0].set_facecolor("black")
    picture = beside(*figures)
    lowest = picture.min(axis=(1, 2))
    assert picture.shape[2] == 3
    assert lowest[len(lowest) // 2] == 0
    narrow = picture[:, -60:].min(axis=(1, 2))
    assert narrow[0] == narrow[-1] == 1
    assert abs(np.flatnonzero(narrow < 1).mean() - (len(narrow) - 1) / 2) < 12  # labels of the axes stand on one side


# ---------------------------------------------------------------------- failures


def test_run_demo_refuses_a_folder_in_use_before_any_work(tmp_path, monkeypatch):
    (tmp_path / "notes.txt").write_text("mine")
    monkeypatch.setattr("hlvm.demo.run.QuadtreeImages", None)  # any work would fail
    with pytest.raises(FileExistsError, match="exists already"):
        run_demo(TINY, tmp_path)


def test_run_demo_interrupted_leaves_nothing_behind(tmp_path, monkeypatch):
    predicted = []

    def interrupt(*_args, **_kwargs):
        predicted.extend(json.loads(path.read_text()) for path in tmp_path.rglob("prediction.json"))
        raise KeyboardInterrupt

    monkeypatch.setattr("hlvm.demo.run.train_bottlenecks", interrupt)
    with pytest.raises(KeyboardInterrupt):
        run_demo(TINY, tmp_path / "demo")
    assert list(tmp_path.iterdir()) == []
    (before_training,) = predicted
    assert [mask["d_c"] for mask in before_training["masks"]] == [2, 3, 3]
    shares = {(row["mask"], row["height"]): row["share_in_c"] for row in before_training["random_masks"]}
    assert shares["random unit=2", 1] == 0


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"height": 1}, "height 2 or more"),
        ({"scene_images": 0}, "scene_images must be"),
        ({"scene_ratio": 0.01}, "nothing would be masked"),
        ({"key": -1}, "key must be"),
        ({"ratios": ()}, "at least one ratio"),
        ({"vit_seeds": 1}, "seeds"),
        ({"ratios": (0.01,)}, "nothing would be masked"),
        ({"units": (3,)}, "must divide the grid"),
        ({"score_rows": 5}, "at least 80 rows"),
        ({"threshold": 2.0}, "threshold must lie"),
    ],
)
def test_demo_config_refuses_bad_values(change, match):
    with pytest.raises(ValueError, match=match):
        DemoConfig(**change)


# ---------------------------------------------------------------------- outcome


def _claim(predicted, holds):
    return Claim(text="t", scores={"R²": Interval(value=0.2, low=0.1, high=0.3)}, theory=predicted, holds=holds)


@pytest.mark.parametrize("part", ["bottleneck", "vit"])
def test_run_demo_stops_with_a_reason_when_training_diverges(part, tmp_path):
    wild = dataclasses.replace(TINY, **{part: TrainConfig(steps=30, batch=16, warmup=0, learning_rate=1e30)})
    with pytest.warns(DivergenceWarning), pytest.raises(RuntimeError, match="training diverged"):
        run_demo(wild, tmp_path / "demo")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("outcomes", "agrees", "shown"),
    [
        ([(yes(), True)], True, "yes"),
        ([(yes(), True), (yes(), None), (nothing(), False)], True, "open"),
        ([(yes(), True), (no("too narrow"), True)], False, "NO"),
    ],
)
def test_demo_result_agrees_unless_a_claim_is_contradicted(outcomes, agrees, shown, finished):
    claims = tuple(_claim(*outcome) for outcome in outcomes)
    result = DemoResult(claims=claims, scores=pd.DataFrame(), study=finished[1].study, seconds={})
    assert result.agrees is agrees
    console = Console(record=True, width=120)
    console.print(claims_table(claims))
    assert shown in console.export_text()


@pytest.mark.slow
def test_demo_reproduces_the_table_of_the_theory_page(tmp_path):
    result = run_demo(DemoConfig(), tmp_path / "demo")
    assert result.agrees
    bottlenecks = [claim for claim in result.claims if "code dims" in claim.text]
    assert [claim.theory_agrees for claim in bottlenecks] == [True] * 6
