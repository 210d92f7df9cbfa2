"""Plans of training: programs, memory, and the time of compiling, steps and other work."""

import dataclasses

import jax
import numpy as np
import pytest

from hlvm import HierarchicalModel, LatentGraph
from hlvm.datasets import Dataset
from hlvm.mae import (
    BottleneckConfig,
    Cost,
    Member,
    Plan,
    ProgramPlan,
    TrainConfig,
    ViTConfig,
    fit_ensemble,
    plan_ensemble,
)
from hlvm.mae.training import planner
from hlvm.mae.training.devices import fastest_devices
from hlvm.mae.training.sizes import step_flops
from hlvm.mae.training.speed import Speed, machine_speed
from hlvm.masking import RandomMask
from hlvm.mechanisms import LinearGaussian

KEY = jax.random.key(0)
GRAPH = LatentGraph.quadtree(2)
MASK = RandomMask(ratio=0.5)
SMALL = BottleneckConfig(code_dim=2, width=8, depth=1)
TRAIN = TrainConfig(steps=250, batch=16, warmup=10)


@pytest.fixture(scope="module")
def model():
    return HierarchicalModel.init(jax.random.key(1), GRAPH, LinearGaussian())


@pytest.fixture(scope="module")
def rows(model):
    sample = model.sample(jax.random.key(2), 300)
    return Dataset.from_arrays(
        observed={name: np.asarray(sample.observed[name]) for name in GRAPH.observed}, graph=GRAPH
    )


def members():
    vit = ViTConfig(patch=1, width=8, depth=1, heads=2, decoder_width=8)
    return [
        Member(mask=MASK, network=SMALL, seed=0),
        Member(mask=MASK, network=SMALL, seed=1),
        Member(mask=MASK, network=vit),
    ]


def test_plan_counts_programs_parameters_and_time(model):
    plan = plan_ensemble(KEY, model, members(), TRAIN)
    assert [p.members for p in plan.programs] == [(0, 1), (2,)]
    (made,) = fit_ensemble(KEY, model, members()[:1], TrainConfig(steps=1, batch=4, warmup=0))
    assert plan.programs[0].parameters == made.params.size
    assert plan.programs[0].state_bytes >= 2 * 3 * 4 * made.params.size  # two members, parameters and two moments
    assert plan.times == "estimated"
    assert all(p.step.cpu_seconds > 0 and p.tracing.cpu_seconds > 0 for p in plan.programs)
    assert plan.cpu_seconds > plan.compiling.cpu_seconds + plan.training.cpu_seconds
    assert "3 members in 2 programs" in str(plan)
    measured = plan_ensemble(KEY, model, members()[:1], TRAIN, measure=True)
    assert measured.times == "measured"
    assert measured.bytes > plan.programs[0].state_bytes / 2


def test_plan_estimates_more_work_to_take_longer(model, monkeypatch):
    """Of a wider network and of larger batches, at one speed of the machine."""
    monkeypatch.setattr(planner, "machine_speed", lambda: Speed(1e-3, 1e11, 1e11))
    wide, batch = dataclasses.replace(SMALL, width=64), dataclasses.replace(TRAIN, batch=64)
    plain, wider, larger = (
        plan_ensemble(KEY, model, [Member(mask=MASK, network=network)], train)
        for network, train in [(SMALL, TRAIN), (wide, TRAIN), (SMALL, batch)]
    )
    assert wider.programs[0].flops_per_step > plain.programs[0].flops_per_step
    assert larger.training.cpu_seconds > plain.training.cpu_seconds
    assert plain.programs[0].reporting.seconds == 0.0


def test_plan_counts_losses_on_rows_held_out(rows):
    train = dataclasses.replace(TRAIN, held_out=40)
    (one,) = plan_ensemble(KEY, rows, members()[:1], train).programs
    assert one.reporting.seconds == pytest.approx(one.step.seconds * 3 * 48 / 16 / 3)  # 3 reports on 3 batches of 16


def costing(compiling, step):
    """A plan's program of so many seconds."""
    return ProgramPlan(
        members=(0,),
        network=None,
        devices=1,
        parameters=1,
        state_bytes=1,
        working_bytes=1,
        flops_per_step=1.0,
        tracing=Cost(1.0, 1.0),
        compiling=Cost(compiling, compiling),
        step=Cost(step, step),
        reporting=Cost(0.0, 0.0),
    )


@pytest.mark.parametrize(
    ("cores", "programs", "expected"),
    [
        (1, [(10.0, 0.5)], 2 + 1 + 10 + 5),
        (2, [(10.0, 0.5), (10.0, 0.5)], 2 + 2 + 10 + 5 + 5),  # compiled side by side, trained one after the other
        (1, [(10.0, 0.5), (10.0, 0.5)], 2 + 2 + 20 + 10),  # one core cannot do two things at a time
        (2, [(10.0, 0.5), (10.0, 0.5), (4.0, 0.5)], 2 + 3 + 10 + 5 + 5 + 5),  # the third compiles while others train
    ],
)
def test_plan_seconds_let_programs_compile_while_others_train(monkeypatch, cores, programs, expected):
    monkeypatch.setattr(planner, "available_cores", lambda: cores)
    plan = Plan(
        programs=tuple(costing(*seconds) for seconds in programs),
        steps=10,
        batch=8,
        times="estimated",
        preparing=Cost(2.0, 2.0),
    )
    assert plan.seconds == pytest.approx(expected)
    assert plan.cpu_seconds == pytest.approx(2 + sum(1 + c + 10 * s for c, s in programs))
    more = plan.plus("scoring", Cost(7.0, 14.0))
    assert more.seconds == pytest.approx(expected + 7)
    assert more.cpu_seconds == pytest.approx(plan.cpu_seconds + 14)
    assert "scoring: 7.0 s" in str(more)


def test_plan_of_unknown_steps_has_no_time():
    unknown = dataclasses.replace(costing(1.0, 1.0), step=None)
    plan = Plan(programs=(unknown,), steps=10, batch=8, times="estimated", preparing=Cost(2.0, 2.0))
    assert (plan.seconds, plan.cpu_seconds, plan.training) == (None, None, None)


def test_plan_encoding_grows_with_rows():
    plan = Plan(programs=(costing(10.0, 3.0),), steps=10, batch=8, times="estimated", preparing=Cost(0.0, 0.0))
    first, second = plan.encoding(80), plan.encoding(160)
    assert second.seconds - first.seconds == pytest.approx(10.0)  # a third of ten steps' work
    assert first.seconds > 10.0


def test_machine_speed_is_that_of_a_machine():
    speed = machine_speed()
    assert 1e-6 < speed.compiling < 1
    assert 1e7 < speed.arithmetic < 1e16
    assert 1e7 < speed.memory < 1e14


@pytest.mark.parametrize(
    ("network", "ratio"),
    [(BottleneckConfig(code_dim=4, width=128), 0.5), (ViTConfig(), 0.1), (ViTConfig(), 0.9)],
)
def test_step_flops_are_those_that_xla_counts(network, ratio):
    graph = LatentGraph.quadtree(3)
    wide = HierarchicalModel.init(jax.random.key(1), graph, LinearGaussian())
    member, train = Member(mask=RandomMask(ratio=ratio), network=network), TrainConfig(steps=5, batch=32, warmup=1)
    (counted,) = plan_ensemble(KEY, wide, [member], train).programs
    found = step_flops(counted.network, 1, 32)
    assert found == pytest.approx(counted.flops_per_step, rel=0.35)
    assert step_flops(counted.network, 3, 32) == 3 * found


@pytest.mark.parametrize(("network", "wanted"), [(SMALL, False), (ViTConfig(width=64, depth=4), True)])
def test_worth_sharing_leaves_short_steps_to_one_device(model, network, wanted):
    """Two devices, as far as sizes are concerned: their mesh is not run on."""
    devices = [jax.devices()[0], Device()]
    found = planner.worth_sharing(model, [Member(mask=MASK, network=network)], TRAIN, devices)
    assert (found is devices) == wanted


class Device:
    """Stands for a second core."""

    platform, process_index = "cpu", 0


def test_fastest_devices_are_those_there_are_once_jax_has_begun():
    there = len(jax.devices())
    found = fastest_devices(there)
    assert found is None if there == 1 else len(found) == there
    with pytest.raises(ValueError, match=f"started on {there + 1} devices, but there are {there}"):
        fastest_devices(there + 1)
