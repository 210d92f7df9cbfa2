"""The pytest plugin, in test runs of its own: a claim in ten lines, failing and passing."""

import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

import hlvm.testing  # noqa: F401  # runs inside this process drop what they import themselves: JAX dies of coming twice

pytest_plugins = ["pytester"]

README = Path(__file__).parent.parent / "README.md"
CLAIM = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), flags=re.DOTALL)[1]


@pytest.fixture
def run(pytester):
    """Run a test file with the plugin and without this repository's options."""

    def run(text, *options):
        pytester.makepyfile(test_in_a_run_of_its_own=text)
        return pytester.runpytest("-p", "hlvm.pytest_plugin", "-p", "no:cacheprovider", "-p", "no:jaxtyping", *options)

    return run


def test_claim_of_the_readme_passes_and_fails_and_is_summed_up(run):
    assert len([line for line in CLAIM.splitlines() if line]) == 9
    result = run(CLAIM, "--hlvm-seed", "7", "--strict-markers")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["hlvm: --hlvm-seed=7"])
    result.stdout.fnmatch_lines(
        [
            "*expected the latents to be identified, found not identified (two-way, threshold 0.9)",
            "*direction*R²*95% interval*threshold*chance",
            "*to pass: the lower end of both intervals must reach 0.9*",
        ]
    )
    result.stdout.fnmatch_lines_random(
        [
            "*claims: 1 of 2 held*",
            "held *test_code_identifies_z?1.0?: the code identifies z",
            "failed *test_code_identifies_z?0.0?: the code identifies z",
            "*identified: R²(ẑ → c) = 0.9*",
            "*not identified: R²(ẑ → c) = *",
        ]
    )


def test_hlvm_key_depends_on_seed_file_classes_function_and_parameters_alone(run, pytester):
    text = """
        import jax
        import pytest
        from pathlib import Path
        def note(key):
            with Path("keys.txt").open("a") as file:
                file.write(f"{jax.random.key_data(key).tolist()}\\n")
        def test_a(hlvm_key): note(hlvm_key)
        class TestB:
            @pytest.mark.parametrize("x", [1, 2])
            def test_a(self, hlvm_key, x): note(hlvm_key)
    """
    keys = []

    def add_keys():
        keys.append(Path("keys.txt").read_text().split("\n")[:-1])
        Path("keys.txt").unlink()

    for options in ((), ("-k", "TestB"), ("--hlvm-seed", "1")):
        run(text, *options)
        add_keys()
    below = pytester.mkdir("below") / "test_in_a_run_of_its_own.py"
    Path("test_in_a_run_of_its_own.py").rename(below)
    # What pytest-xdist does to the ids of groups.
    pytester.makeconftest("def pytest_itemcollected(item): item._nodeid = item.nodeid + '@group'")
    pytester.runpytest("-p", "hlvm.pytest_plugin", "-p", "no:cacheprovider", "-p", "no:jaxtyping", below)
    add_keys()
    first, some, other_seed, elsewhere = keys
    assert first[1:] == some
    assert first == elsewhere
    assert len({*first, *other_seed}) == 6


RERUN_AS_PYTEST_RERUNFAILURES_DOES = """
    from _pytest.runner import runtestprotocol
    def pytest_runtest_protocol(item, nextitem):
        item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
        for last in (False, True):
            for report in runtestprotocol(item, nextitem=nextitem, log=False):
                again = "again" in item.name and report.failed and not last
                report.outcome = "rerun" if again else report.outcome
                item.ihook.pytest_runtest_logreport(report=report)
                if again:
                    item._initrequest()
                    break
            else:
                break
        return True
    def pytest_report_teststatus(report):
        return ("rerun", "R", "RERUN") if report.outcome == "rerun" else None
"""
OUTCOMES = """
    import numpy as np
    import pytest
    from hlvm.testing import assert_rank
    a = np.random.default_rng(0).normal(size=(50, 1))
    @pytest.fixture
    def broken(): raise RuntimeError
    @pytest.fixture
    def broken_after():
        yield
        raise RuntimeError
    @pytest.fixture
    def asserting(): assert_rank(a, a, 1)
    pytestmark = pytest.mark.claim("c")
    def test_setup(broken): pass
    def test_teardown(broken_after): pass
    def test_skipped(): pytest.skip("later")
    @pytest.mark.xfail
    def test_xfail(): assert_rank(a, a, 0)
    @pytest.mark.xfail(strict=True)
    def test_strict_xfail(): assert False
    @pytest.mark.xfail
    def test_xpass(): pass
    @pytest.mark.xfail(strict=True)
    def test_strict_xpass(): pass
    @pytest.mark.xfail(run=False)
    def test_not_run(): assert False
    @pytest.mark.parametrize("rank", [0, 1])
    def test_parameter(rank): assert_rank(a, a, rank)
    def test_in_a_fixture(asserting): pass
    tries = {"once": 0, "twice": 0}
    @pytest.mark.parametrize("fails", tries)
    def test_again(fails):
        tries[fails] += 1
        assert_rank(a, a, int(tries[fails] > len(fails) - 3))
    def test_subtests(subtests):
        for rank in (1, 0, 1):
            with subtests.test(rank=rank): assert_rank(a, a, rank)
"""
LISTED = [
    ("error", "test_setup", []),
    ("error", "test_teardown", []),
    ("skipped", "test_skipped", []),
    ("failed as expected", "test_xfail", ["rank 1, expected 0"]),
    ("failed as expected", "test_strict_xfail", []),
    ("held unexpectedly", "test_xpass", []),
    ("failed", "test_strict_xpass", []),
    ("skipped", "test_not_run", []),
    ("failed", "test_parameter[0]", ["rank 1, expected 0"]),
    ("held", "test_parameter[1]", ["rank 1, expected 1"]),
    ("held", "test_in_a_fixture", ["rank 1, expected 1"]),
    ("held", "test_again[once]", ["rank 1, expected 1"]),
    ("failed", "test_again[twice]", ["rank 1, expected 0"]),
]


@pytest.mark.parametrize("processes", ["0", "1"])
def test_claims_are_listed_with_the_outcome_that_the_run_tells(run, pytester, processes):
    pytester.makeconftest(RERUN_AS_PYTEST_RERUNFAILURES_DOES)
    listed, tail = LISTED, ("test_subtests", ["rank 1, expected 1", "rank 1, expected 0", "rank 1, expected 1"])
    if tuple(map(int, version("pytest").split(".")[:1])) >= (9,):  # has subtests of its own
        listed = [*listed, ("failed", *tail)]
    else:
        listed = [*listed, ("error", tail[0], [])]
    result = run(OUTCOMES, "-n", processes)
    result.stdout.fnmatch_lines(
        [f"*claims: 3 of {len(listed)} held, 2 failed as expected, 1 held unexpectedly*"]
        + [
            line
            for outcome, name, found in listed
            for line in (f"{outcome:<18} *::{name}: c".replace("[", "[[]"), *(f"{'':<18} {each}" for each in found))
        ],
        consecutive=True,
    )


def test_claims_of_stopped_tests_have_no_outcome_and_other_tests_are_not_listed(run):
    result = run(
        """
        import pytest
        def test_plain(): pass
        @pytest.mark.claim("c")
        def test_stopped(): pytest.exit("enough")
        """
    )
    result.stdout.fnmatch_lines(["*claims: 0 of 1 held*", "no outcome *::test_stopped: c"])
    result.stdout.no_fnmatch_line("*test_plain*")


def test_runs_without_claims_have_no_summary_and_do_not_import_jax(run):
    result = run("import sys\ndef test_plain(): assert True")
    result.stdout.no_fnmatch_line("*claims:*")
    program = "import sys, hlvm.pytest_plugin; print({'jax', 'sklearn', 'hlvm.scoring'} & set(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert loaded.strip() == "set()"


@pytest.mark.parametrize(
    ("options", "message"), [(("--hlvm-seed", "x"), "expected a whole number"), ((), "write the claim")]
)
def test_bad_seed_and_bad_marker_are_refused(run, options, message):
    result = run("import pytest\n@pytest.mark.claim()\ndef test_a(): pass", *options)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert message in result.stderr.str() + result.stdout.str()
