"""Transformers that differ in the number of visible tokens, padded into one program; and when that is worth it."""

import dataclasses

import jax
import numpy as np
import pytest
from mae_cases import GRAPH, NETWORKS, OTHER_COUNTS, SMALL_VIT

from hlvm import HierarchicalModel, LatentGraph
from hlvm.mae import Checkpoints, Member, TrainConfig, ViTConfig, encode, fit_ensemble, plan_ensemble
from hlvm.mae.files import describe_run
from hlvm.mae.networks.networks import padded_to_most
from hlvm.mae.training.groups import group_members
from hlvm.mae.training.planner import worth_padding
from hlvm.masking import FixedMask, RandomMask
from hlvm.mechanisms import LinearGaussian

KEY = jax.random.key(1)
RATIOS = (0.25, 0.75)
TINY = ViTConfig(width=8, depth=1, heads=2, decoder_width=8)
MEMBERS = [Member(mask=RandomMask(ratio=ratio), network=TINY) for ratio in RATIOS]
TRAIN = TrainConfig(steps=120, batch=8, warmup=5)

FIVE = (0.1, 0.25, 0.5, 0.75, 0.9)
MEASURED = [Member(mask=RandomMask(ratio=ratio), network=ViTConfig()) for ratio in FIVE]
"""What benchmarks/programs.py measures, with three seeds and batches of 64 on 8 x 8 cells."""


@pytest.fixture(scope="module")
def model():
    return HierarchicalModel.init(jax.random.key(0), GRAPH, LinearGaussian())


@pytest.fixture(scope="module")
def padded(model):
    return fit_ensemble(KEY, model, MEMBERS, TRAIN, pad=True)


# ---------------------------------------------------------------------- one program


def test_group_members_pads_only_what_differs_in_visible_tokens_alone():
    members = [
        Member(mask=mask, network=network)
        for network in (NETWORKS["vit"], NETWORKS["bottleneck with a transformer"], NETWORKS["linear"], TINY)
        for mask in (RandomMask(ratio=0.75), RandomMask(ratio=0.25))
    ]
    members.append(Member(mask=OTHER_COUNTS["chance"], network=SMALL_VIT))  # masks are drawn in another way
    own, padded = (group_members(GRAPH, members, TRAIN, pad=pad) for pad in (False, True))
    assert [group.members for group in own] == [(0,), (1,), (2,), (3,), (4, 5), (6,), (7,), (8,)]
    assert [group.members for group in padded] == [(0, 1), (2, 3), (4, 5), (6, 7), (8,)]
    sizes = [
        (getattr(g.program.network, "n_visible", None), getattr(g.program.network, "padded", None)) for g in padded
    ]
    assert sizes == [(12, True), (12, True), (None, None), (12, True), (15, True)]
    assert padded[2].program == own[4].program
    assert padded[4].program == own[-1].program
    assert [plan.arrays.counts[0] for plan in padded[0].plans] == [12, 4]


def test_group_members_leaves_equal_numbers_of_visible_tokens_unpadded():
    members = [Member(mask=RandomMask(ratio=0.5, unit=unit), network=TINY) for unit in (1, 2)]
    own, padded = (group_members(GRAPH, members, TRAIN, pad=pad) for pad in (False, True))
    assert [group.program for group in own] == [group.program for group in padded]
    assert padded[0].program.network == dataclasses.replace(padded[0].program.network, n_visible=8, padded=False)


def test_padded_to_most_refuses_networks_that_differ_otherwise():
    networks = [
        group_members(GRAPH, [Member(mask=RandomMask(ratio=0.5), network=network)], TRAIN)[0].program.network
        for network in (TINY, SMALL_VIT)
    ]
    with pytest.raises(ValueError, match="2 networks do not differ in the number of visible tokens alone"):
        padded_to_most(networks)


def test_plan_ensemble_counts_padded_programs(model):
    (program,) = plan_ensemble(KEY, model, MEMBERS, TRAIN, pad=True).programs
    assert program.members == (0, 1)
    assert program.network.n_visible == 12


@pytest.mark.slow
def test_padded_ensemble_equals_programs_of_their_own(model, padded):
    own = fit_ensemble(KEY, model, MEMBERS, TRAIN)
    rows = model.sample(jax.random.key(5), 20)
    for one, other in zip(padded, own, strict=True):
        np.testing.assert_allclose(one.losses, other.losses, rtol=1e-5)  # float32 sums in another order
        assert one.built == other.built
        assert one.params.shape == other.params.shape
        np.testing.assert_allclose(encode(one, rows, None), encode(other, rows, None), atol=1e-5)
    assert (np.abs(padded[0].losses - padded[1].losses) > 1e-2).any()  # masks differ


@pytest.mark.slow
def test_padded_run_that_is_stopped_goes_on_bit_for_bit(model, padded, tmp_path):
    checkpoints = Checkpoints(folder=tmp_path / "run", every=100)

    def stop(progress):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit_ensemble(KEY, model, MEMBERS, TRAIN, pad=True, checkpoints=checkpoints, on_progress=stop)
    with pytest.raises(ValueError, match="states of another run, which differs in pad"):
        fit_ensemble(KEY, model, MEMBERS, TRAIN, checkpoints=checkpoints)
    steps = []
    resumed = fit_ensemble(
        KEY, model, MEMBERS, TRAIN, pad=True, checkpoints=checkpoints, on_progress=lambda p: steps.append(p.step)
    )
    assert steps == [120]
    for one, other in zip(padded, resumed, strict=True):
        np.testing.assert_array_equal(one.params, other.params)
        np.testing.assert_array_equal(one.losses, other.losses)


def test_describe_run_names_padding_only_where_there_is_some(model):
    plain, without, with_it = (
        describe_run(KEY, model, MEMBERS, TRAIN, **given) for given in ({}, {"pad": False}, {"pad": True})
    )
    assert plain == without
    assert with_it == {**plain, "pad": True}
    assert "pad" not in plain


# ---------------------------------------------------------------------- whether it is worth it


def _worth(steps, *, members=MEASURED, seeds=3, **train):
    config = TrainConfig(**({"steps": steps, "batch": 64, "warmup": 0} | train))
    return worth_padding(LatentGraph.quadtree(3), members, config, seeds=seeds)


def test_worth_padding_breaks_even_near_the_steps_that_were_measured():
    """168 in benchmarks/results/programs.json, within a factor of 1.5."""
    assert [_worth(steps) for steps in (60, 112, 252, 400)] == [True, True, False, False]


def test_worth_padding_pays_for_fewer_steps_of_more_work():
    last = 223
    assert [_worth(steps) for steps in (last, last + 1)] == [True, False]
    assert not _worth(last, seeds=4)
    assert not _worth(last, batch=128)
    assert _worth(last + 1, seeds=2)
    assert _worth(last + 1, held_out=10)  # another program is compiled for rows held out
    seeds = [dataclasses.replace(member, seed=seed) for member in MEASURED for seed in range(3)]
    assert [_worth(steps, members=seeds, seeds=1) for steps in (last, last + 1)] == [True, False]


@pytest.mark.parametrize(
    "members",
    [
        [Member(mask=RandomMask(ratio=0.5), network=ViTConfig(), seed=seed) for seed in (0, 1)],
        [Member(mask=FixedMask(masked=(name,)), network=ViTConfig()) for name in ("x_0_0", "x_0_1")],
        [Member(mask=RandomMask(ratio=ratio), network=NETWORKS["bottleneck"]) for ratio in RATIOS],
    ],
    ids=["one ratio", "equal numbers of visible tokens", "no transformer"],
)
def test_worth_padding_is_false_where_nothing_can_be_padded(members):
    assert not _worth(1, members=members)
