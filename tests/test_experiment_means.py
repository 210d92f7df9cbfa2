"""The table behind the pages of experiments: means, and differences within replicates."""

import pandas as pd
import pytest

from experiments import means

ARMS = {(0.5, 1): 0.1, (0.75, 2): 0.3}


def records():
    """Scores of two arms and of a floor, each with something of its replicate, and a map that is no score."""
    rows = []
    for seed in range(3):
        own = 0.1 * seed
        of = {("trained", *arm): value for arm, value in ARMS.items()} | {("untrained", None, None): 0.0}
        rows += [
            {"code": code, "ratio": ratio, "unit": unit, "seed": seed, "score": "accuracy", "value": own + value}
            for (code, ratio, unit), value in of.items()
        ]
    rows.append(rows[0] | {"score": "map", "value": 9.0})
    return pd.DataFrame(rows)


def test_rows_compare_within_replicates():
    found = means.rows(records(), {}, {"ratio": "0.75", "unit": "2"})
    assert [row[:4] for row in found] == [
        ("trained", "0.5", "1", "accuracy"),
        ("trained", "0.75", "2", "accuracy"),
        ("untrained", "", "", "accuracy"),
    ]
    assert found[0][4].startswith("0.2000 [")
    assert [row[5] for row in found] == ["-0.2000 [-0.2000, -0.2000]", "", ""]


def test_rows_reach_a_floor_that_has_no_arm():
    found = means.rows(records(), {"code": "trained"}, {"code": "untrained", "ratio": "", "unit": ""})
    assert [row[5] for row in found] == ["0.1000 [0.1000, 0.1000]", "0.3000 [0.3000, 0.3000]"]


@pytest.mark.parametrize(
    ("where", "less", "match"),
    [
        ({"task": "a"}, {}, "no column 'task': use code, ratio, unit, score"),
        ({}, {"task": "a"}, "no column 'task'"),
        ({"ratio": "0.9"}, {}, "no cell has ratio=0.9"),
    ],
)
def test_rows_refuse_what_is_not_there(where, less, match):
    with pytest.raises(ValueError, match=match):
        means.rows(records(), where, less)


@pytest.mark.parametrize("name", ["transfer", "masking_ratio_long", "mask_design"])
def test_main_prints_the_table_of_committed_results(name, capsys):
    means.main([name])
    assert "mean" in capsys.readouterr().out


def test_main_refuses_what_is_no_pair(capsys):
    with pytest.raises(SystemExit, match="2"):
        means.main(["transfer", "--where", "task"])
    assert "expected COLUMN=VALUE" in capsys.readouterr().err
