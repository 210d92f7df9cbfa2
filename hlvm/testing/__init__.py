"""Assertions about identifiability, for test suites.

A claim holds, fails or stays open, and an assertion passes on one of these only: an inconclusive result fails both
:func:`assert_identified` and :func:`assert_not_identified`, because a test that cannot tell must not be green. A
failure shows the scores, their intervals and controls, and what would make it pass.

Installing the package also installs a pytest plugin, :mod:`hlvm.pytest_plugin`: a fixture ``hlvm_key`` with its seed
in the report's header, a marker ``claim``, and a summary of all claims at the end of the run.
"""

from hlvm.testing.assertions import (
    assert_claim,
    assert_contains,
    assert_identified,
    assert_no_leakage,
    assert_not_identified,
    assert_rank,
)
from hlvm.testing.invariance import check_score
from hlvm.testing.predictions import assert_shared_information, score_against_theory

__all__ = [
    "assert_claim",
    "assert_contains",
    "assert_identified",
    "assert_no_leakage",
    "assert_not_identified",
    "assert_rank",
    "assert_shared_information",
    "check_score",
    "score_against_theory",
]
