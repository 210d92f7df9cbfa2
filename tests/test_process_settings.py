"""The settings of the process are the user's: after any call, from any thread, they are as before."""

import logging
import os
import threading
import warnings

import jax
import matplotlib as mpl
import numpy as np
import pytest
import sklearn.neural_network  # noqa: F401  # it sets variables of the environment when it is imported
from threadpoolctl import threadpool_info, threadpool_limits

from hlvm import plotting
from hlvm._files import write_text_atomically
from hlvm.scoring import RegressionConfig, kernel_r2, mlp_r2
from hlvm.scoring.regression.threads import own_settings


def settings():
    return {
        "BLAS threads": [library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"],
        "environment": {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"},
        "JAX": dict(jax.config.values),
        "logging": list(logging.root.handlers),
        "Matplotlib": dict(mpl.rcParams),
        "NumPy errors": np.geterr(),
        "NumPy random numbers": str(np.random.get_state()),  # noqa: NPY002  # the user's
        "umask": [(os.umask(mask), mask)[1] for mask in [os.umask(0)]],
        "warnings": list(warnings.filters),
    }


def in_a_thread(function):
    """Of a limit that a thread sets and keeps, threadpoolctl makes it the owner as long as it lives."""
    thread = threading.Thread(target=function)
    thread.start()
    thread.join()


@pytest.fixture
def unchanged():
    old = [library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"]
    in_a_thread(lambda: threadpool_limits(2, user_api="blas"))
    with np.errstate(under="raise", over="raise"):
        before = settings()
        yield
        after = settings()
    in_a_thread(lambda: threadpool_limits(max(old), user_api="blas"))
    assert {name: value for name, value in after.items() if value != before[name]} == {}


@pytest.mark.usefixtures("unchanged")
def test_settings_are_as_before_after_calls_from_several_threads(tmp_path):
    rng = np.random.default_rng(0)
    z, few = rng.normal(size=(80, 1)), RegressionConfig(max_train=40)
    failures = []

    def work():
        for _ in range(2):
            try:
                kernel_r2(z, z, key=0, config=few)
                mlp_r2(z, z, key=0)
                plotting.save_figure(
                    plotting.plot_picture(np.ones((4, 4, 3))), tmp_path / f"{threading.get_ident()}.png"
                )
                write_text_atomically(tmp_path / f"{threading.get_ident()}.txt", "")
                with pytest.raises(ValueError, match="rows"):
                    kernel_r2(z, z[:3], key=0)
            except BaseException as error:
                failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


@pytest.mark.usefixtures("unchanged")
def test_own_settings_hold_until_the_last_call_has_ended():
    """The first call ends while a second, begun during it, goes on: the order that left one thread for good."""
    begun, ended = threading.Event(), threading.Event()
    during = []

    @own_settings
    def long():
        begun.set()
        ended.wait()
        during.append(settings())

    @own_settings
    def short():
        thread.start()
        begun.wait()
        raise ValueError("short")

    thread = threading.Thread(target=long)
    with pytest.raises(ValueError, match="short"):
        short()
    ended.set()
    thread.join()
    assert set(during[0]["BLAS threads"]) == {1}
    assert during[0]["NumPy errors"] == {"divide": "warn", "over": "warn", "under": "ignore", "invalid": "warn"}
