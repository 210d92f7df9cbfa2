"""The pytest plugin: a seeded key, a marker for claims, and their summary at the end of a run.

Installed with the package. It imports nothing of it, nor JAX, until a test asks for it, so that other test suites in
the same environment do not become slower.
"""

from __future__ import annotations

import argparse
import sys
import zlib
from collections.abc import Generator
from typing import Any

import pytest

__all__ = ["hlvm_key"]

_TEXT, _FOUND = "hlvm claim", "hlvm found"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--hlvm-seed``."""
    parser.getgroup("hlvm").addoption(
        "--hlvm-seed", type=_seed, default=0, metavar="N", help="seed of the fixture hlvm_key (default: 0)"
    )


def _seed(text: str) -> int:
    if not text.isdecimal() or int(text) >= 2**32:
        raise argparse.ArgumentTypeError(f"expected a whole number from 0 to {2**32 - 1}, got {text}")
    return int(text)


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker."""
    config.addinivalue_line("markers", "claim(text): the test checks this claim; listed at the end of the run (hlvm)")


def pytest_report_header(config: pytest.Config) -> str:
    """The seed, so that any report can be repeated."""
    return f"hlvm: --hlvm-seed={config.getoption('--hlvm-seed')}"


@pytest.fixture
def hlvm_key(request: pytest.FixtureRequest) -> Any:
    """A JAX key that depends on ``--hlvm-seed`` and on the test's name, and on nothing else."""
    import jax

    key = jax.random.key(int(request.config.getoption("--hlvm-seed") or 0))
    return jax.random.fold_in(key, zlib.crc32(request.node.nodeid.encode()))


def pytest_itemcollected(item: pytest.Item) -> None:
    """Note the text of a claim; user properties travel with the reports, also between processes."""
    marker = item.get_closest_marker("claim")
    if marker is not None:
        if len(marker.args) != 1 or not isinstance(marker.args[0], str):
            raise pytest.UsageError(f'{item.nodeid}: write the claim as @pytest.mark.claim("text")')
        item.user_properties.append((_TEXT, marker.args[0]))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, None, None]:
    """Collect what the assertions of this test find."""
    _take()
    try:
        return (yield)
    finally:
        item.user_properties += [(_FOUND, text) for text in _take()]


def _take() -> list[str]:
    recording = sys.modules.get("hlvm.testing.recording")
    return recording.take() if recording is not None else []


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """List every claim with its outcome and what was found."""
    reports: dict[str, Any] = {}
    for reported in terminalreporter.stats.values():
        for report in reported:
            if isinstance(report, pytest.TestReport) and (report.when == "call" or not report.passed):
                properties = dict(report.user_properties)
                if _TEXT in properties or _FOUND in properties:
                    reports.setdefault(report.nodeid, report)
    if not reports:
        return
    held = sum(report.passed for report in reports.values())
    terminalreporter.section(f"claims: {held} of {len(reports)} held")
    for nodeid, report in reports.items():
        text = dict(report.user_properties).get(_TEXT, "")
        terminalreporter.write_line(f"{_outcome(report):<8} {nodeid}{f': {text}' if text else ''}")
        for name, found in report.user_properties:
            if name == _FOUND:
                terminalreporter.write_line(f"         {found}")


def _outcome(report: pytest.TestReport) -> str:
    if report.passed:
        return "held"
    return "skipped" if report.skipped else "failed" if report.when == "call" else "error"
