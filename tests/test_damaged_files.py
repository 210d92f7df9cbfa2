"""Damaged files of every kind: each is read equal, or refused in one line; never a traceback, a hang or other numbers.

Text and files of other programs cannot protect their numbers, and data sets not against edits that make their check
sums fit: what reads as other numbers there is counted only.
"""

import collections
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from damage import EDITED
from damaged_files import KINDS

SCRIPT = Path(__file__).parent / "damaged_files.py"


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    folder = tmp_path_factory.mktemp("damaged")
    subprocess.run([sys.executable, SCRIPT, "prepare", folder], check=True, capture_output=True)
    return folder


def test_at_least_2000_files_are_tried():
    assert sum(kind.tries for kind in KINDS.values()) >= 2000


@pytest.mark.slow
@pytest.mark.parametrize("name", KINDS)
def test_damaged_files_are_read_equal_or_refused(sound, name):
    kind = KINDS[name]
    found, first = [], 0
    while first < kind.tries:  # again where one file has ended the whole process
        done = subprocess.run(
            [sys.executable, SCRIPT, "read", sound, name, str(first), str(kind.tries)],
            env={**os.environ, "JAX_ENABLE_COMPILATION_CACHE": "false"},
            capture_output=True,
            text=True,
        )
        lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
        assert lines, done.stderr[-3000:]
        hows = {line["number"]: line["how"] for line in lines if "how" in line}
        reached = [line | {"how": hows[line["number"]]} for line in lines if "came" in line]
        found += reached
        first = max(hows) + 1
        if done.returncode:
            assert len(reached) < len(hows), done.stderr[-3000:]
            ended = {"came": "crash", "why": f"{done.returncode}: {done.stderr[-500:]}", "command": ""}
            found.append(ended | {"number": max(hows), "how": hows[max(hows)]})
    counts = collections.Counter(one["came"] for one in found)
    print(f"\n{name}: {dict(counts)}")
    wrong = [one for one in found if one["came"] not in ("equal", "refused") or one["command"]]
    if kind.protected != "all":
        edits_only = kind.protected == "damage"
        wrong = [
            one for one in wrong
            if one["came"] != "other" or one["command"] or (edits_only and EDITED not in one["how"])
        ]  # fmt: skip
    assert not wrong, f"{name}: {dict(counts)}\n" + "\n".join(map(str, wrong[:20]))
    assert len(found) == kind.tries
    assert counts["refused"] >= kind.refused * kind.tries
