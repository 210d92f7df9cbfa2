"""What `import hlvm` offers."""

import importlib
import subprocess
import sys

import pytest

import hlvm


def test_every_public_name_can_be_reached():
    for name in hlvm.__all__:
        assert getattr(hlvm, name) is not None
    assert hlvm.HierarchicalModel is importlib.import_module("hlvm.simulator").HierarchicalModel
    assert hlvm.scoring.kernel_r2.__module__ == "hlvm.scoring.regression.scores"
    assert set(hlvm.__all__) <= set(dir(hlvm))


def test_unknown_names_are_refused():
    with pytest.raises(AttributeError, match="no attribute 'nope'"):
        hlvm.nope  # noqa: B018  # to look is to raise


def test_public_names_work_in_a_fresh_interpreter():
    code = "import hlvm; print(hlvm.mechanisms.InvertibleMLP(), hlvm.Sample.__name__, hlvm.mae.fit.__name__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split()[-2:] == ["Sample", "fit"]
