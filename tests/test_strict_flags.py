"""Under strict flags of JAX and NumPy everything runs, with the same numbers; the one thing that cannot is refused."""

import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
import strict_chain

from hlvm import HierarchicalModel
from hlvm.mae import LinearConfig, fit, plan_ensemble
from hlvm.masking import RandomMask
from hlvm.mechanisms import LinearGaussian

STRICT = {
    "JAX_NUMPY_DTYPE_PROMOTION": "strict",
    "JAX_NUMPY_RANK_PROMOTION": "raise",
    "JAX_DEBUG_KEY_REUSE": "1",
}


def digests(*parts):
    return [strict_chain.digest(found) for part in parts for found in part()]


def test_masks_and_scores_are_the_same_under_strict_flags_and_training_runs():
    parts = strict_chain.masks, strict_chain.score
    plain = digests(*parts)
    with (
        jax.numpy_dtype_promotion("strict"),
        jax.numpy_rank_promotion("raise"),
        jax.debug_key_reuse(True),
        np.errstate(all="raise"),
    ):
        assert digests(*parts) == plain
        assert len(digests(strict_chain.linear)) == 4


def test_training_without_jit_is_refused_by_name():
    model = HierarchicalModel.init(jax.random.key(0), strict_chain.GRAPH, LinearGaussian())
    mask = RandomMask(ratio=0.5)
    with jax.disable_jit():
        with pytest.raises(
            ValueError, match=r"ahead of time, which jax\.disable_jit\(\) forbids: do not use it around fit"
        ):
            fit(jax.random.key(0), model, mask, LinearConfig(code_dim=2), strict_chain.FEW)
        with pytest.raises(ValueError, match=r"jax\.disable_jit\(\) forbids"):
            plan_ensemble(jax.random.key(0), model, [], strict_chain.FEW)


@pytest.fixture(scope="module")
def run_chain(tmp_path_factory):
    """Run the whole chain in a process of its own; programs compiled for one run serve the others."""
    folder = tmp_path_factory.mktemp("compiled")
    cache = {
        "JAX_ENABLE_COMPILATION_CACHE": "true",
        "JAX_COMPILATION_CACHE_DIR": str(folder),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }

    def run_chain(*arguments, **flags):
        program = [sys.executable, "-W", "error", str(Path(strict_chain.__file__)), *arguments]
        environment = {**os.environ, **cache, **flags}
        done = subprocess.run(program, capture_output=True, text=True, check=False, env=environment)
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout.splitlines()

    return run_chain


@pytest.mark.slow
def test_whole_chain_is_the_same_under_strict_flags(run_chain):
    plain = run_chain()
    assert plain[-1] == "handlers of the root logger: []"  # Orbax's messages leave none behind
    assert [line.split()[0] for line in plain[:-1]] == [part.__name__ for part in strict_chain.PARTS]
    assert run_chain(**STRICT) == plain
    assert run_chain("--raise", JAX_DEBUG_NANS="1") == plain


@pytest.mark.slow
def test_whole_chain_runs_in_double_precision(run_chain):
    assert len(run_chain(JAX_ENABLE_X64="1")) == len(strict_chain.PARTS) + 1
