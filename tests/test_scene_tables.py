"""The table behind the pages on scenes: means, and differences within replicates."""

import pandas as pd
import pytest

from experiments import scene_tables

ARMS = {(0.5, 1): 0.1, (0.75, 2): 0.3}


def records():
    """Scores of two arms and of floors, each with something of its replicate, and a map that is no score."""
    rows = []
    for seed in range(3):
        own = 0.1 * seed
        of = {("trained", *arm): value for arm, value in ARMS.items()} | {("untrained", None, None): 0.0}
        rows += [
            {
                "code": code,
                "ratio": ratio,
                "unit": unit,
                "seed": seed,
                "score": "accuracy",
                "task": "a",
                "value": own + v,
            }
            for (code, ratio, unit), v in of.items()
        ]
    rows.append(rows[0] | {"score": "map", "value": 9.0})
    return pd.DataFrame(rows)


def test_rows_compare_within_replicates():
    found = scene_tables.rows(records(), 0.75, 2)
    assert [row[:2] for row in found] == [("accuracy, a", "0.5, 1"), ("accuracy, a", "0.75, 2")]
    assert [row[3:] for row in found] == [
        ("-0.2000 [-0.2000, -0.2000]", "0.1000 [0.1000, 0.1000]", ""),
        ("", "0.3000 [0.3000, 0.3000]", ""),
    ]
    assert found[0][2].startswith("0.2000 [")


@pytest.mark.parametrize("name", ["transfer", "attention", "reconstruction"])
def test_main_prints_the_table_of_committed_results(name, capsys):
    scene_tables.main([name])
    assert "0.75, 4" in capsys.readouterr().out
