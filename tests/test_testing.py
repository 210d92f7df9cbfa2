"""The assertions: green on one outcome only, and red with a table."""

import re

import numpy as np
import pytest

from hlvm.scoring import RegressionConfig, Verdict
from hlvm.testing import assert_identified, assert_not_identified

CONFIG = RegressionConfig(max_train=250, n_boot=200, bandwidths=(0.5, 1.0, 2.0, 4.0), ridges=(1e-6, 1e-4, 1e-2, 1.0))
RNG = np.random.default_rng(0)
Z, NOISE = RNG.normal(size=(600, 2)), RNG.normal(size=(600, 2))
CODE = Z[:, ::-1] + 0.5 * np.tanh(2 * Z[:, ::-1])
COPY = np.column_stack([CODE, NOISE])


def test_assert_identified_passes_on_a_curved_code():
    assert assert_identified(CODE, Z, key=0, config=CONFIG).verdict is Verdict.IDENTIFIED


def test_assert_not_identified_passes_on_noise_and_on_a_copy():
    assert_not_identified(NOISE, Z, key=0, config=CONFIG)
    assert_not_identified(COPY, Z, key=0, config=CONFIG)


def test_assert_identified_two_way_false_accepts_a_copy():
    assert_identified(COPY, Z, key=0, two_way=False, config=CONFIG)
    with pytest.raises(AssertionError, match="expected the latents to be not identified, found identified"):
        assert_not_identified(COPY, Z, key=0, two_way=False, config=CONFIG)


def test_assert_identified_failure_shows_scores_intervals_threshold_and_chance():
    with pytest.raises(AssertionError, match="expected the latents to be identified, found not identified") as caught:
        assert_identified(COPY, Z, key=0, threshold=0.85, config=CONFIG)
    message = str(caught.value)
    number = r"-?\d\.\d{3}"
    for direction in ("ẑ → c", "c → ẑ"):
        assert re.search(
            rf"^{direction}\s+{number}\s+\[{number}, {number}\]\s+0\.85\s+-?0\.0\d\d$", message, flags=re.MULTILINE
        ), message
    assert "95% interval" in message
    assert "250 training and 240 test rows" in message
    assert "to pass: the lower end of both intervals must reach 0.85" in message


def test_assert_not_identified_failure_says_what_would_pass():
    with pytest.raises(AssertionError, match=r"to pass: the upper end of either interval must fall below 0\.9"):
        assert_not_identified(CODE, Z, key=0, config=CONFIG)
    with pytest.raises(AssertionError, match=r"to pass: the upper end of the interval must fall below 0\.9"):
        assert_not_identified(CODE, Z, key=0, two_way=False, config=CONFIG)


@pytest.mark.parametrize("check", [assert_identified, assert_not_identified])
def test_assertions_fail_on_inconclusive(check):
    with pytest.raises(AssertionError, match=r"(?s)found inconclusive.*too few.*more rows are needed"):
        check(CODE[:20], Z[:20], key=0)


def test_assert_identified_constant_latents_fail_with_a_table():
    with pytest.raises(AssertionError, match=r"(?s)found inconclusive.*nan.*–"):
        assert_identified(CODE, np.ones(600), key=0, config=CONFIG)


def test_assertions_pass_bad_input_on_as_value_errors():
    with pytest.raises(ValueError, match="NaN"):
        assert_identified(np.full((600, 2), np.nan), Z, key=0)
