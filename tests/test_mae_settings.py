"""What to train, from files."""

import contextlib
import dataclasses
import json
import re
from pathlib import Path

import jax
import numpy as np
import pytest
from mae_cases import untyped

from hlvm import HierarchicalModel, LatentGraph
from hlvm.cli.settings import load_settings, settings_from_dict
from hlvm.cli.settings_tables import expand_table
from hlvm.mae import (
    BottleneckConfig,
    Checkpoints,
    LinearConfig,
    LossConfig,
    Member,
    TrainConfig,
    ViTConfig,
    plan_ensemble,
)
from hlvm.masking import BernoulliMask, BlockMask, FixedMask, GridMask, Patches, RandomMask, RatioRange, SubtreeMask
from hlvm.mechanisms import LinearGaussian

CODE = {"kind": "bottleneck", "code_dim": 3}
HALF = {"kind": "random", "ratio": 0.5}

NETWORKS = [
    ({"kind": "linear", "code_dim": 2}, LinearConfig(code_dim=2)),
    (CODE | {"width": 8, "encoder": {"width": 8}}, BottleneckConfig(code_dim=3, width=8, encoder=ViTConfig(width=8))),
    ({"kind": "vit", "normalize_targets": True}, ViTConfig(normalize_targets=True)),
]
MASKS = [
    (HALF | {"unit": [2, 1]}, RandomMask(ratio=0.5, unit=(2, 1))),
    (HALF | {"patches": [["a", "b"], ["c"]]}, RandomMask(ratio=0.5, patches=Patches((("a", "b"), ("c",))))),
    ({"kind": "ratio_range", "low": 0.2, "high": 0.7}, RatioRange(low=0.2, high=0.7)),
    ({"kind": "bernoulli", "ratio": 0.3}, BernoulliMask(ratio=0.3)),
    ({"kind": "block", "ratio": 0.3}, BlockMask(ratio=0.3)),
    ({"kind": "grid", "keep_every": [2, 1]}, GridMask(keep_every=(2, 1))),
    ({"kind": "subtree", "height": 1, "ratio": 0.5}, SubtreeMask(height=1, ratio=0.5)),
    ({"kind": "fixed", "masked": ["x", "y"]}, FixedMask(masked=("x", "y"))),
]


def settings(**changes):
    return {"network": CODE, "mask": HALF} | changes


def test_every_network_with_every_mask_loss_and_seed():
    losses = [{"region": "all", "height_weights": [0.0, 1]}, {"score": "energy"}]
    found = settings_from_dict(
        {
            "seed": 5,
            "seeds": [2, 7],
            "train": {"steps": 50, "warmup": 3, "compute": "bfloat16"},
            "network": [table for table, _ in NETWORKS],
            "mask": [table for table, _ in MASKS],
            "loss": losses,
        }
    )
    assert (found.seed, found.train) == (5, TrainConfig(steps=50, warmup=3, compute="bfloat16"))
    assert found.members == tuple(
        Member(network=network, mask=mask, loss=loss, seed=seed)
        for _, network in NETWORKS
        for _, mask in MASKS
        for loss in (LossConfig(region="all", height_weights=(0.0, 1.0)), LossConfig(score="energy"))
        for seed in (2, 7)
    )
    assert len(set(found.names)) == len(found.names) == 96


def test_names_say_what_differs():
    networks = [CODE, CODE | {"code_dim": 4}, {"kind": "vit"}]
    masks = [{"kind": "fixed", "masked": ["a_long_name", "a_longer_name"]}, {"kind": "fixed", "masked": ["x" * 30]}]
    assert settings_from_dict(settings(network=networks, mask=masks)).names == (
        "bottleneck code_dim=3, fixed #1, seed 0",
        "bottleneck code_dim=3, fixed #2, seed 0",
        "bottleneck code_dim=4, fixed #1, seed 0",
        "bottleneck code_dim=4, fixed #2, seed 0",
        "vit, fixed #1, seed 0",
        "vit, fixed #2, seed 0",
    )


def test_lists_of_values_are_every_combination():
    found = settings_from_dict(
        {
            "network": {"kind": "bottleneck", "code_dim": [2, 3], "encoder": {"width": [16, 32], "heads": 2}},
            "mask": [
                {"kind": "random", "ratio": [0.25, 0.75], "unit": [[1, 1], 2, [2, 1]]},
                {"kind": "fixed", "masked": [["x"], ["x", "y"]]},
                {"kind": "random", "ratio": 0.5, "patches": [[["x"], ["y", "z"]], [["x", "y"], ["z"]]]},
            ],
            "loss": {"region": ["masked", "all"], "weights": [[1, 2], [3, 4]]},
        }
    )
    masks = [RandomMask(ratio=ratio, unit=unit) for ratio in (0.25, 0.75) for unit in ((1, 1), 2, (2, 1))]
    masks += [FixedMask(masked=("x",)), FixedMask(masked=("x", "y"))]
    masks += [RandomMask(ratio=0.5, patches=Patches(p)) for p in ((("x",), ("y", "z")), (("x", "y"), ("z",)))]
    assert found.members == tuple(
        Member(
            network=BottleneckConfig(code_dim=code_dim, encoder=ViTConfig(width=width, heads=2)),
            mask=mask,
            loss=LossConfig(region=region, weights=weights),
            seed=0,
        )
        for code_dim in (2, 3)
        for width in (16, 32)
        for mask in masks
        for region in ("masked", "all")
        for weights in ((1.0, 2.0), (3.0, 4.0))
    )
    assert len(set(found.names)) == len(found.names)


def test_a_list_that_is_one_value_stays_one():
    one = settings_from_dict(settings(mask=HALF | {"unit": [1, 2]}, loss={"weights": [1, 2]}))
    assert [(m.mask, m.loss.weights) for m in one.members] == [(RandomMask(ratio=0.5, unit=(1, 2)), (1.0, 2.0))]
    grid = settings_from_dict(settings(mask={"kind": "grid", "keep_every": [[2, 1], [1, 2]]}))
    assert [member.mask for member in grid.members] == [GridMask(keep_every=(2, 1)), GridMask(keep_every=(1, 2))]


def test_names_say_which_value_of_a_list():
    named = settings_from_dict(settings(mask=HALF | {"ratio": [0.25, 0.75], "unit": [[1, 1], [2, 2]]})).names
    assert named[1] == "bottleneck, random ratio=0.25 unit=[2, 2], seed 0"


def test_expand_table_leaves_alone_what_is_no_list_of_values():
    table = {"kind": "random", "ratio": 0.5, "strange": [1, 2], "unit": [2, 4]}
    assert expand_table(table, RandomMask) == [table]
    encoders = expand_table({"code_dim": 2, "encoder": [{"width": 16}, {"depth": [1, 2]}]}, BottleneckConfig)
    assert [one["encoder"] for one in encoders] == [{"width": 16}, {"depth": 1}, {"depth": 2}]


def test_both_kinds_of_file_say_the_same(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps(settings(seeds=[1, 2], train={"steps": 9, "warmup": 0})))
    (tmp_path / "a.toml").write_text(
        'seeds = [1, 2]\n[train]\nsteps = 9\nwarmup = 0\n[network]\nkind = "bottleneck"\ncode_dim = 3\n'
        '[[mask]]\nkind = "random"\nratio = 0.5\n'
    )
    assert load_settings(tmp_path / "a.json") == load_settings(tmp_path / "a.toml")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([], "settings are a table with seed, seeds, train, network, mask, loss, got list"),
        ({"mask": HALF}, r"'network' is missing: give at least one table \[network\]"),
        (settings(mask=[]), r"'mask' is an empty list"),
        (settings(masks=HALF), "'masks' is not a setting"),
        (settings(network={"kind": "cnn"}), "network: kind must be one of linear, bottleneck, vit, got 'cnn'"),
        (settings(mask={"kind": "list"}), "mask: kind must be one of random, .*, fixed, got 'list'"),
        (settings(network={"kind": "linear"}), "network of kind 'linear': 'code_dim' is missing"),
        (settings(network=CODE | {"size": 3}), "network of kind 'bottleneck': 'size' is not a field of it; known are"),
        (settings(network=CODE | {"encoder": {"kind": "vit"}}), "encoder of network of kind 'bottleneck': 'kind' is"),
        (settings(mask=[HALF, HALF | {"unit": 1}]), r"mask: RandomMask\(ratio=0.5, .*\) is given twice"),
        (settings(mask=HALF | {"ratio": [0.5, 0.25, 0.5]}), "mask: RandomMask.* is given twice, in tables or in lists"),
        (settings(mask=HALF | {"ratio": [0.5, "a"]}), "mask of kind 'random': ratio must be a number, got 'a'"),
        (settings(mask=HALF | {"ratio": []}), r"mask of kind 'random': ratio must be a number, got \[\]"),
        (settings(mask=HALF | {"unit": [1, 2, 4]}), r"or a list \[rows, columns\], got \[1, 2, 4\]: write several as"),
        (settings(mask={"kind": ["random", "block"], "ratio": 0.5}), r"mask: kind must be one of .*, got \['random'"),
        (settings(train={"steps": [10, 20]}), r"train: steps must be a whole number below 2147483648, got \[10, 20\]"),
        (settings(train={"warmup": 1.5}), "train: warmup must be a whole number below 2147483648, got 1.5"),
        (settings(loss={"weights": 3}), "loss: weights must be a list of numbers, got 3"),
        (settings(seeds=[1, 1]), "seeds must be a list of different whole numbers from 0 to 4294967295"),
        (settings(seed=-1), "seed must be a whole number from 0 to 4294967295, got -1"),
    ],
)
def test_settings_that_are_not_understood(data, message):
    with pytest.raises(ValueError, match=message):
        settings_from_dict(data)


@pytest.mark.parametrize("wrong", ["a", [], [[[[1]]]], {}, {"a": 1}, True, None, 1.5, -1, 0, float("nan"), 10**400])
def test_values_of_the_wrong_kind_are_refused_by_name(wrong):
    tables = [("network", table) for table, _ in NETWORKS] + [("mask", table) for table, _ in MASKS]
    tables += [("train", dataclasses.asdict(TrainConfig())), ("loss", dataclasses.asdict(LossConfig()))]
    accepted = []
    for what, table in tables:
        fields = {name: list(v) if isinstance(v, tuple) else v for name, v in table.items() if v is not None}
        for name in fields:
            with contextlib.suppress(ValueError):
                settings_from_dict(settings(**{what: fields | {name: wrong}}))
                accepted.append(f"{what} {name}")
    expected = {
        "True": {"network normalize_targets"},
        "{}": {"network encoder"},
        "0": {"train held_out", "train warmup", "train weight_decay", "mask height"},
        "1.5": {"train learning_rate", "train weight_decay", "train clip_norm"},
    }
    assert set(accepted) == expected.get(repr(wrong), set())


def test_messages_of_files_speak_of_tables(tmp_path):
    for name, content, message in [
        ("a.toml", b"[network\n", "a.toml is not a TOML file: Expected ']'"),
        ("a.json", b"{", "a.json is not a JSON file: Expecting property name"),
        ("a.toml", b"\xff", "a.toml is not a TOML file: it is not UTF-8 text"),
        ("a.json", json.dumps(settings(train={"steps": 3})).encode(), "a.json: train: warmup must lie in"),
        ("a.json", json.dumps(settings(mask=HALF | {"unit": 0})).encode(), r"or two of them \(rows, columns\), got 0"),
    ]:
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match=message):
            load_settings(tmp_path / name)
    with pytest.raises(ValueError, match=r"settings are a .toml or .json file, got '.yaml'"):
        load_settings(tmp_path / "a.yaml")


def test_sizes_given_in_numbers_of_numpy_are_the_same_settings():
    """Settings are keys of compiled programs, and are written as JSON."""
    pairs = [
        (untyped(ViTConfig, patch=np.int64(2), width=np.int32(16)), ViTConfig(patch=2, width=16)),
        (untyped(TrainConfig, steps=np.int64(9), warmup=np.int8(0)), TrainConfig(steps=9, warmup=0)),
        (untyped(Checkpoints, folder="a", every=np.int64(5)), Checkpoints(folder="a", every=5)),
    ]
    for found, plain in pairs:
        assert (found, hash(found)) == (plain, hash(plain))
        assert json.dumps(dataclasses.asdict(found)) == json.dumps(dataclasses.asdict(plain))
    for bad in (True, 1.0, "1", 0):
        with pytest.raises(ValueError, match="ViTConfig: depth must be a whole number of at least 1"):
            untyped(ViTConfig, depth=bad)


# ---------------------------------------------------------------------- documentation

ROOT = Path(__file__).parent.parent
PAGES = [page for page in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")] if page.exists()]


def examples(language):
    """Code blocks of a language, by page."""
    pattern = re.compile(rf"^```{language}\n(.*?)^```$", re.MULTILINE | re.DOTALL)
    return [
        pytest.param(block, id=f"{page.stem} {number}")
        for page in PAGES
        for number, block in enumerate(pattern.findall(page.read_text(encoding="utf-8")))
    ]


@pytest.mark.skipif(not (ROOT / "docs").is_dir(), reason="the documentation is not here")
def test_documentation_shows_settings_and_graphs():
    assert {param.id.split()[0] for param in examples("toml")} >= {"mae", "quickstart"}
    assert examples("json")


@pytest.mark.slow
@pytest.mark.parametrize("text", examples("toml"))
def test_settings_in_the_documentation_can_be_planned(text, tmp_path):
    (tmp_path / "settings.toml").write_text(text)
    found = load_settings(tmp_path / "settings.toml")
    model = HierarchicalModel.init(jax.random.key(0), LatentGraph.quadtree(2), LinearGaussian())
    plan = plan_ensemble(jax.random.key(0), model, found.members, found.train)
    assert sum(len(program.members) for program in plan.programs) == len(found.members)
    assert plan.steps == found.train.steps


@pytest.mark.parametrize("text", examples("json"))
def test_graphs_in_the_documentation_can_be_read(text, tmp_path):
    (tmp_path / "graph.json").write_text(text)
    assert len(LatentGraph.load(tmp_path / "graph.json").edges) == len(json.loads(text)["edges"])
