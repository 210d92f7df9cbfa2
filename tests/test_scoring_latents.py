"""Scores of many latents with their controls."""

import numpy as np
import pytest

from hlvm.scoring import chance_scores, kernel_r2, paired_difference, score_latents, score_table

RNG = np.random.default_rng(0)
LATENTS = {"a": RNG.normal(size=(200, 2)), "b": RNG.normal(size=(200, 1))}
CODE = np.concatenate([LATENTS["a"] @ [[1.0, 1.0], [-1.0, 2.0]], RNG.normal(size=(200, 1))], axis=1)


def test_score_table_puts_every_control_beside_the_score():
    trained = score_latents(CODE, LATENTS, key=0)
    floor = score_latents(RNG.normal(size=(200, 3)), LATENTS, key=0)
    table = score_table(trained, key=1, heights={"a": 2, "b": 1}, floor=floor).set_index("latent")
    assert list(table["height"]) == [2, 1]
    assert list(table["dim"]) == [2, 1]
    alone = kernel_r2(CODE, LATENTS["a"], key=0)
    assert table.loc["a", "r2"] == alone.value
    assert table.loc["a", "r2"] > 0.95 > 0.2 > table.loc["b", "r2"]
    assert table.loc["a", "cca"] > 0.95
    assert abs(table.loc["b", "cca"]) < 0.4
    assert table.loc["a", "floor_r2_low"] == floor.r2["a"].low
    expected = paired_difference(alone, floor.r2["a"], key=1, n_boot=500)
    assert tuple(table.loc["a", ["above_floor_low", "above_floor", "above_floor_high"]]) == pytest.approx(expected)
    assert table.loc["a", "above_floor_low"] > 0.5


def test_chance_scores_find_nothing_in_a_perfect_code():
    chance = chance_scores(CODE, LATENTS, key=0)
    assert chance.r2["a"].value < 0.1
    assert abs(chance.cca["a"].mean) < 0.25
    again = chance_scores(CODE, LATENTS, key=0)
    assert again.r2["a"].value == chance.r2["a"].value


def test_score_table_refuses_controls_on_other_rows():
    trained, other = score_latents(CODE, LATENTS, key=0), score_latents(CODE, LATENTS, key=1)
    with pytest.raises(ValueError, match="same rows"):
        score_table(trained, key=0, floor=other)
