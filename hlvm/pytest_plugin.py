"""The pytest plugin: a seeded key, a marker for claims, and their summary at the end of a run.

Installed with the package. It imports nothing of it, nor JAX, until a test asks for it, so that other test suites in
the same environment do not become slower.
"""

from __future__ import annotations

import argparse
import sys
import zlib
from collections import Counter
from collections.abc import Generator
from typing import Any

import pytest

__all__ = ["hlvm_key"]

_TEXT, _ID, _FOUND = "hlvm claim", "hlvm test", "hlvm found"
_HELD, _XFAILED, _XPASSED = "held", "failed as expected", "held unexpectedly"
_WORST_FIRST = ("error", "failed", "skipped", _XFAILED, _XPASSED, _HELD)


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
    """Register the marker, and what collects the outcomes; not in worker processes, whose reports come here."""
    config.addinivalue_line("markers", "claim(text): the test checks this claim; listed at the end of the run (hlvm)")
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(_Claims(), "hlvm-claims")


def pytest_report_header(config: pytest.Config) -> str:
    """The seed, so that any report can be repeated."""
    return f"hlvm: --hlvm-seed={config.getoption('--hlvm-seed')}"


@pytest.fixture
def hlvm_key(request: pytest.FixtureRequest) -> Any:
    """A JAX key that depends on ``--hlvm-seed`` and on the test's name, and on nothing else.

    The name is that of the file, the classes and the function, with the parameters. Folders are no part of it, nor what
    other plugins add to the test's id, so that the key is the same wherever and with whatever options pytest is run.
    """
    import jax

    item = request.node
    classes = [node.name for node in item.listchain() if isinstance(node, pytest.Class)]
    name = "::".join([item.path.name, *classes, item.name])
    key = jax.random.key(int(request.config.getoption("--hlvm-seed") or 0))
    return jax.random.fold_in(key, zlib.crc32(name.encode()))


def pytest_itemcollected(item: pytest.Item) -> None:
    """Note the text of a claim; user properties travel with the reports, also between processes."""
    marker = item.get_closest_marker("claim")
    if marker is not None:
        if len(marker.args) != 1 or not isinstance(marker.args[0], str):
            raise pytest.UsageError(f'{item.nodeid}: write the claim as @pytest.mark.claim("text")')
        item.user_properties += [(_TEXT, marker.args[0]), (_ID, item.nodeid)]  # before groups are added to the id


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Forget what was found before: while tests were collected, or when this one was tried before."""
    _take()
    item.user_properties[:] = [(name, value) for name, value in item.user_properties if name != _FOUND]


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Note what the assertions found since the last report, in the test or in its fixtures."""
    item.user_properties += [(_FOUND, text) for text in _take()]
    return (yield)


def _take() -> list[str]:
    recording = sys.modules.get("hlvm.testing.recording")
    return recording.take() if recording is not None else []


class _Claims:
    """The outcome of every claim, from all reports of the last attempt at its test."""

    def __init__(self) -> None:
        self._reports: dict[str, list[pytest.TestReport]] = {}
        self._properties: dict[str, list[tuple[str, object]]] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep the reports of tests with claims: set-up, call, each subtest and tear-down have one of their own."""
        if {_TEXT, _FOUND} & {name for name, _ in report.user_properties}:
            self._properties[report.nodeid] = report.user_properties
        elif report.nodeid not in self._properties:
            return
        # That a worker process died is reported without properties, and counts all the same.
        known = self._reports.setdefault(report.nodeid, [])
        if report.outcome == "rerun":  # of pytest-rerunfailures: another attempt follows
            known.clear()
        else:
            known.append(report)

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """List every claim with its outcome and what was found."""
        if not self._reports:
            return
        outcomes = {nodeid: _outcome(reports) for nodeid, reports in self._reports.items()}
        count = Counter(outcomes.values())
        marked = "".join(f", {count[outcome]} {outcome}" for outcome in (_XFAILED, _XPASSED) if count[outcome])
        terminalreporter.section(f"claims: {count[_HELD]} of {len(outcomes)} held{marked}")
        wide = max(map(len, outcomes.values()))
        for nodeid, outcome in outcomes.items():
            properties = self._properties[nodeid]
            named = dict(properties)
            text = f": {named[_TEXT]}" if _TEXT in named else ""
            terminalreporter.write_line(f"{outcome:<{wide}} {named.get(_ID, nodeid)}{text}")
            for name, found in properties:
                if name == _FOUND:
                    terminalreporter.write_line(f"{'':<{wide}} {found}")


def _outcome(reports: list[pytest.TestReport]) -> str:
    """The worst outcome of the reports; a test that was stopped before its end has none."""
    found = {_outcome_of(report) for report in reports}
    if found <= {_HELD} and not {"call", "teardown"} <= {report.when for report in reports}:
        return "no outcome"
    return min(found, key=_WORST_FIRST.index)


def _outcome_of(report: pytest.TestReport) -> str:
    expected = getattr(report, "wasxfail", None)
    if report.failed:
        return "error" if report.when in ("setup", "teardown") else "failed"
    if report.skipped:
        return "skipped" if expected is None or "[NOTRUN]" in expected else _XFAILED
    return _HELD if expected is None else _XPASSED
