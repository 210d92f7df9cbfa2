"""What to train, from files."""

import contextlib
import dataclasses
import json

import pytest

from hlvm.mae import BottleneckConfig, LinearConfig, LossConfig, Member, RatioRange, TrainConfig, ViTConfig
from hlvm.mae.settings import load_settings, settings_from_dict
from hlvm.masking import BernoulliMask, BlockMask, FixedMask, GridMask, Patches, RandomMask, SubtreeMask

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
        (settings(mask=[HALF, HALF | {"unit": 1}]), "mask: two tables say the same"),
        (settings(train={"warmup": 1.5}), "train: warmup must be a whole number below 2147483648, got 1.5"),
        (settings(loss={"weights": 3}), "loss: weights must be a list of numbers, got 3"),
        (settings(seeds=[1, 1]), "seeds must be a list of different whole numbers from 0 to 4294967295"),
        (settings(seed=-1), "seed must be a whole number from 0 to 4294967295, got -1"),
    ],
)
def test_settings_that_are_not_understood(data, message):
    with pytest.raises(ValueError, match=message):
        settings_from_dict(data)


@pytest.mark.parametrize("wrong", ["a", [1], [[1]], {}, {"a": 1}, True, None, 1.5, -1, 0, float("nan"), 10**400])
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
        "0": {"train warmup", "train weight_decay", "mask height"},
        "1.5": {"train learning_rate", "train weight_decay", "train clip_norm"},
    }
    assert set(accepted) == expected.get(repr(wrong), set())


def test_messages_of_files_speak_of_tables(tmp_path):
    for name, content, message in [
        ("a.toml", b"[network\n", "a.toml is not a TOML file: Expected ']'"),
        ("a.json", b"{", "a.json is not a JSON file: Expecting property name"),
        ("a.toml", b"\xff", "a.toml is not a TOML file: 'utf-8' codec"),
        ("a.json", json.dumps(settings(train={"steps": 3})).encode(), "a.json: train: warmup must lie in"),
        ("a.json", json.dumps(settings(mask=HALF | {"unit": 0})).encode(), r"or a list \[rows, columns\], got 0"),
    ]:
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match=message):
            load_settings(tmp_path / name)
    with pytest.raises(ValueError, match=r"settings are a .toml or .json file, got '.yaml'"):
        load_settings(tmp_path / "a.yaml")
