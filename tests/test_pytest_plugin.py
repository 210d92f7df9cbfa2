"""The pytest plugin, in test runs of its own: a claim in ten lines, failing and passing."""

import re
import subprocess
import sys
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


def test_hlvm_key_depends_on_the_seed_and_the_test_alone(run):
    text = """
        import jax
        import numpy as np
        from pathlib import Path
        def note(key):
            with Path("keys.txt").open("a") as file:
                file.write(f"{jax.random.key_data(key).tolist()}\\n")
        def test_a(hlvm_key): note(hlvm_key)
        def test_b(hlvm_key): note(hlvm_key)
    """
    keys = []
    for options in ((), ("-k", "test_b"), ("--hlvm-seed", "1")):
        run(text, *options).assert_outcomes(passed=1 if "-k" in options else 2, deselected=1 if "-k" in options else 0)
        keys.append(Path("keys.txt").read_text().split("\n")[:-1])
        Path("keys.txt").unlink()
    assert keys[0][1] == keys[1][0]
    assert len({*keys[0], *keys[2]}) == 4


def test_claims_that_error_or_are_skipped_are_listed_and_other_tests_are_not(run):
    result = run(
        """
        import pytest
        @pytest.fixture
        def broken(): raise RuntimeError
        @pytest.mark.claim("first")
        def test_error(broken): pass
        @pytest.mark.claim("second")
        def test_skipped(): pytest.skip("later")
        def test_plain(): pass
        """
    )
    result.assert_outcomes(errors=1, skipped=1, passed=1)
    result.stdout.fnmatch_lines_random(["*claims: 0 of 2 held*", "error *test_error: first", "skipped *: second"])
    result.stdout.no_fnmatch_line("*held *test_plain*")


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
