"""The seam: every objective is a member like any other, in ensembles, files, studies and settings."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from objective_cases import OBJECTIVES, SMALL, one_hot_data

from hlvm import mae
from hlvm.cli.settings import errors_of_settings, load_settings, settings_from_dict
from hlvm.graph import LatentGraph
from hlvm.mae import Checkpoints, LossConfig, Member, TrainConfig
from hlvm.mae.config import ObjectiveConfig
from hlvm.mae.files import describe_run
from hlvm.mae.objectives import CrossEntropy, Supervised
from hlvm.mae.objectives.descriptions import OBJECTIVES as KINDS
from hlvm.mae.objectives.descriptions import objective_from_dict, objective_to_dict
from hlvm.mae.training.data import check_data
from hlvm.mae.training.groups import group_members
from hlvm.masking import RandomMask, RatioRange
from hlvm.study.arms import arms_of

GRAPH = LatentGraph.tree(2, 2)
MASK = RandomMask(ratio=0.5)
NAMES = sorted(OBJECTIVES)
QUICK = ("cross-entropy", "data2vec", "vicreg")  # a sum over samples, a teacher, a whole batch
TRAINED = [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in NAMES]
REGULARIZED = [name for name in NAMES if getattr(OBJECTIVES[name], "regularizer", None) is not None]
ALL = [pytest.param(name, marks=pytest.mark.slow) if name in REGULARIZED else name for name in NAMES]


@pytest.fixture(scope="module")
def data():
    return one_hot_data(60)


# ---------------------------------------------------------------------- files and settings


def test_every_kind_is_tried_here():
    tried = {type(config) for config in OBJECTIVES.values()}
    assert tried | {Supervised} == set(KINDS.values())  # which rows cannot train: test_objectives_supervised.py
    described = objective_to_dict(Supervised(latents=("u", "v")))
    assert objective_from_dict(json.loads(json.dumps(described))) == Supervised(latents=("u", "v"))
    assert all(cls.kind == kind and issubclass(cls, ObjectiveConfig) for kind, cls in KINDS.items())


@pytest.mark.parametrize("name", NAMES)
def test_objective_to_dict_is_inverted(name):
    config = OBJECTIVES[name]
    described = objective_to_dict(config)
    assert objective_from_dict(described) == config
    assert ("kind" in described) == (not isinstance(config, LossConfig))  # as files of earlier versions have it
    assert config.units


def test_objective_descriptions_refuse_what_is_none():
    with pytest.raises(ValueError, match="loss: kind must be one of reconstruction, cross_entropy"):
        objective_from_dict({"kind": "hinge"})

    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Own(ObjectiveConfig):
        pass

    with pytest.raises(ValueError, match="loss: expected one of LossConfig, CrossEntropy"):
        objective_to_dict(Own())


def test_reconstruction_is_described_as_ever(data):
    members = [Member(mask=MASK, network=SMALL)]
    described = describe_run(0, check_data(data), members, TrainConfig())
    assert described["members"][0]["loss"] == dataclasses.asdict(LossConfig())


def test_settings_take_kinds_of_objectives():
    network, mask = {"kind": "vit"}, {"kind": "random", "ratio": 0.5}
    found = settings_from_dict({"network": network, "mask": mask, "loss": [{}, {"kind": "cross_entropy"}]})
    assert [member.loss for member in found.members] == [LossConfig(), CrossEntropy()]
    assert found.names == ("vit, random, reconstruction, seed 0", "vit, random, cross_entropy, seed 0")
    alone = settings_from_dict({"network": network, "mask": mask, "loss": {"score": ["squared_error", "energy"]}})
    assert alone.names == ("vit, random, score=squared_error, seed 0", "vit, random, score=energy, seed 0")
    with pytest.raises(ValueError, match="loss: kind must be one of reconstruction"):
        settings_from_dict({"network": network, "mask": mask, "loss": {"kind": "hinge"}})
    with pytest.raises(ValueError, match="loss of kind 'cross_entropy': 'score' is not a field"):
        settings_from_dict({"network": network, "mask": mask, "loss": {"kind": "cross_entropy", "score": "energy"}})


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_kind_is_a_table_of_settings(kind):
    table = {"network": {"kind": "vit"}, "mask": {"kind": "random", "ratio": 0.5}, "loss": {"kind": kind}}
    (member,) = settings_from_dict(table).members
    assert member.loss == KINDS[kind]()
    with pytest.raises(ValueError, match="'nothing' is not a field"):
        settings_from_dict({**table, "loss": {"kind": kind, "nothing": 1}})


def test_errors_of_objectives_are_those_of_their_table(tmp_path):
    path = tmp_path / "train.json"
    mask, network = {"kind": "random", "ratio": 0.5}, {"kind": "bottleneck", "code_dim": 2}
    path.write_text(json.dumps({"network": network, "mask": mask, "loss": {"kind": "ijepa", "ema_start": 2}}))
    with pytest.raises(ValueError, match=r"train\.json: loss: ema_start must be a finite number, at least 0"):
        load_settings(path)
    path.write_text(json.dumps({"network": network, "mask": mask, "loss": {"kind": "ijepa"}}))
    found = load_settings(path)
    with (
        pytest.raises(ValueError, match=r"train\.json: loss: predicts a teacher's codes of tokens"),
        errors_of_settings(path),
    ):
        group_members(GRAPH, found.members, found.train)


def test_arms_are_told_by_the_kind_of_their_objective():
    masks = [MASK]
    several = arms_of(GRAPH, masks, [SMALL], [LossConfig(), LossConfig(score="energy"), CrossEntropy()])
    assert [arm.name for arm in several] == [
        "random, reconstruction score=squared_error",
        "random, reconstruction score=energy",
        "random, cross_entropy",
    ]
    of_one_kind = arms_of(GRAPH, masks, [SMALL], [LossConfig(), LossConfig(score="energy")])
    assert [arm.name for arm in of_one_kind] == ["random, score=squared_error", "random, score=energy"]
    with pytest.raises(ValueError, match="losses: number 2 is the same"):
        arms_of(GRAPH, masks, [SMALL], [CrossEntropy(), CrossEntropy()])


# ---------------------------------------------------------------------- training

TRAIN = TrainConfig(steps=6, batch=8, warmup=1, held_out=12)


def members_of(name, seeds=(0, 1)):
    return [Member(mask=MASK, network=SMALL, loss=OBJECTIVES[name], seed=seed) for seed in seeds]


@pytest.mark.parametrize("name", TRAINED)
def test_fits_of_an_objective_resume_bit_for_bit_and_are_kept(name, data, tmp_path, monkeypatch):
    monkeypatch.setattr("hlvm.mae.training.groups.CHUNK", 2)
    monkeypatch.setattr("hlvm.mae.training.program.CHUNK", 2)
    members = members_of(name)

    def stop(progress):
        if progress.step == 4:
            raise RuntimeError("as if killed")

    whole = mae.fit_ensemble(0, data, members, TRAIN)
    states = Checkpoints(folder=tmp_path / "states", every=2)
    with pytest.raises(RuntimeError, match="as if killed"):
        mae.fit_ensemble(0, data, members, TRAIN, checkpoints=states, on_progress=stop)
    resumed = mae.fit_ensemble(0, data, members, TRAIN, checkpoints=states)
    for one, other in zip(whole, resumed, strict=True):
        np.testing.assert_array_equal(one.params, other.params)
        np.testing.assert_array_equal(one.losses, other.losses)
        np.testing.assert_array_equal(one.held_out.losses, other.held_out.losses)
        assert np.isfinite(one.losses).all()
        assert np.isfinite(one.held_out.losses).all()
        assert (one.teacher is None) == (other.teacher is None)
        if one.teacher is not None:
            np.testing.assert_array_equal(one.teacher, other.teacher)
            assert np.abs(np.asarray(one.teacher) - np.asarray(one.params)).max() > 0
    mae.save_fits(tmp_path / "fits", whole)
    for one, other in zip(whole, mae.load_fits(tmp_path / "fits"), strict=True):
        assert one.loss == other.loss
        rows = np.asarray(check_data(data).rows(range(5)))
        np.testing.assert_array_equal(mae.encode(one, rows, None), mae.encode(other, rows, None))
        if one.teacher is not None:
            np.testing.assert_array_equal(one.teacher, other.teacher)


@pytest.mark.parametrize("name", ALL)
def test_reconstruct_refuses_what_reconstructs_nothing(name, data):
    fit = mae.fit_ensemble(0, data, members_of(name, (0,)), TrainConfig(steps=2, batch=8, warmup=1))[0]
    if fit.loss.reconstructs:
        assert mae.reconstruct(fit, data, ["x1"], key=0).shape == (60, 12)
    else:
        with pytest.raises(ValueError, match=f"trained by {type(fit.loss).__name__}, which reconstructs no values"):
            mae.reconstruct(fit, data, ["x1"])
    assert mae.encode(fit, data, None).shape == (60, SMALL.width)


@pytest.mark.slow
@pytest.mark.parametrize("name", TRAINED)
def test_ensemble_member_of_any_objective_ends_as_alone(name, data):
    together = mae.fit_ensemble(0, data, members_of(name, (1, 0)), TRAIN)[1]
    alone = mae.fit_ensemble(0, data, members_of(name, (0,)), TRAIN)[0]
    np.testing.assert_allclose(together.losses, alone.losses, rtol=2e-4)  # float32 sums in another order
    np.testing.assert_array_equal(together.untrained().params, alone.untrained().params)


@pytest.mark.parametrize("name", TRAINED)
def test_microbatch_gives_the_same_or_is_refused(name, data):
    members, train = members_of(name, (0,)), TrainConfig(steps=3, batch=8, warmup=1)
    if OBJECTIVES[name].on(check_data(data).graph).needs_whole_batch:
        with pytest.raises(ValueError, match=r"microbatch must be None here: .* compares the samples of a batch"):
            mae.fit_ensemble(0, data, members, train, microbatch=4)
        mae.fit_ensemble(0, data, members, train, microbatch=8)  # all at once
    else:
        parts = mae.fit_ensemble(0, data, members, train, microbatch=4)[0]
        whole = mae.fit_ensemble(0, data, members, train)[0]
        np.testing.assert_allclose(parts.losses, whole.losses, rtol=2e-4)


def test_diverged_member_is_frozen_with_its_teacher(data):
    name = next((n for n in NAMES if OBJECTIVES[n].on(check_data(data).graph).has_teacher), None)
    if name is None:
        pytest.skip("no objective has a teacher")
    train = TrainConfig(steps=40, batch=8, warmup=1, learning_rate=1e12)
    with pytest.warns(mae.DivergenceWarning):
        (fit,) = mae.fit_ensemble(0, data, members_of(name, (0,)), train)
    assert fit.diverged
    assert np.isfinite(fit.params).all()
    assert np.isfinite(fit.teacher).all()


@pytest.mark.slow
def test_masks_that_vary_train_every_objective(data):
    members = [Member(mask=RatioRange(low=0.25, high=0.75), network=SMALL, loss=loss) for loss in OBJECTIVES.values()]
    for fit in mae.fit_ensemble(0, data, members, TrainConfig(steps=2, batch=8, warmup=1)):
        assert np.isfinite(fit.losses).all()


def test_members_that_differ_in_their_objective_have_programs_of_their_own(data):
    graph = check_data(data).graph
    groups = group_members(graph, [m for name in NAMES for m in members_of(name)], TRAIN)
    assert [group.members for group in groups] == [(2 * i, 2 * i + 1) for i in range(len(NAMES))]


@pytest.mark.slow
def test_bfloat16_changes_the_loss_little(data):
    for name in NAMES:
        members = members_of(name, (0,))
        wide, low = (
            mae.fit_ensemble(0, data, members, TrainConfig(steps=1, batch=8, warmup=0, compute=compute))[0].losses[0]
            for compute in ("float32", "bfloat16")
        )
        assert low == pytest.approx(wide, rel=0.1)
        assert jnp.asarray(low).dtype == jax.numpy.float32
