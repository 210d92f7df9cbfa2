"""Every objective on two devices: they share members, or the batch of one, and train like one device."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from objective_cases import DEVICE_CASES

GUARD = 1800
"""Seconds after which a process is taken to hang; nothing is judged by them."""

PROGRAM = """
import json, sys
import jax
from objective_cases import DEVICE_CASES, SMALL, device_data
from hlvm.mae import Member, TrainConfig, fit_ensemble
from hlvm.mae.training import groups
from hlvm.masking import RandomMask

loss, meshes, mesh_of = DEVICE_CASES[sys.argv[1]], [], groups._mesh

def noted(*arguments):
    mesh = mesh_of(*arguments)
    meshes.append(None if mesh is None else mesh.devices.shape)
    return mesh

groups._mesh = noted
data, held_out = device_data(loss)
train = TrainConfig(steps=20, batch=8, warmup=2, held_out=held_out)

def losses(devices, seeds):
    members = [Member(mask=RandomMask(ratio=0.5), network=SMALL, loss=loss, seed=seed) for seed in seeds]
    fits = fit_ensemble(0, data, members, train, devices=devices)
    return [[*fit.losses.tolist(), *(fit.held_out.losses.tolist() if held_out else [])] for fit in fits]

found = {"one": losses(None, (0, 1)), "members": losses(jax.devices(), (0, 1))}
if not loss.whole_batch:
    found["batch"] = losses(jax.devices(), (0,))
print(json.dumps({"meshes": meshes, **found}))
"""


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(DEVICE_CASES))
def test_two_devices_train_any_objective_like_one(name):
    flags = os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=2"
    places = os.pathsep.join([str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = os.environ | {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags, "PYTHONPATH": places}
    command = [sys.executable, "-c", PROGRAM, name]
    process = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=GUARD)
    assert process.returncode == 0, process.stderr[-3000:]
    found = json.loads(process.stdout.splitlines()[-1])
    whole = DEVICE_CASES[name].whole_batch
    assert found["meshes"] == ([[2, 1]] if whole else [[2, 1], [1, 2]])
    assert np.isfinite(found["one"]).all()
    np.testing.assert_allclose(found["members"], found["one"], rtol=2e-4)  # as other tests of devices
    if not whole:
        np.testing.assert_allclose(found["batch"], found["one"][:1], rtol=2e-4)
