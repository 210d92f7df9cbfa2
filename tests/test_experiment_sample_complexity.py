"""Sample complexity: scales and ceilings against counting over all strings, verdicts on made-up records."""

import itertools
import math

import jax
import numpy as np
import pandas as pd
import pytest

from experiments.sample_complexity import LAPTOP, Config, ceilings, mask_of, new_strings, one_hot, predict, scale_of
from experiments.sample_complexity_claims import crossing, crossings, judge, recoveries, spreads
from hlvm.images import GrammarImages

LONG = "n_c m^(2L-1)"


def grammar_of(draw, synonyms, levels, symbols, tuple_size=(1, 2)):
    sizes = {"n_symbols": symbols, "n_classes": symbols, "n_synonyms": synonyms, "n_levels": levels}
    return GrammarImages.init(jax.random.key(draw), **sizes, tuple_size=tuple_size, patch_pixels=1, style="one-hot")


def samples_where_pairs_show(grammar, partner):
    """Sampling variance over signal variance of the joint frequencies of a visible tuple and something else."""
    strings = grammar.enumerate_strings()
    cells = np.asarray(strings.cells).reshape(grammar.n_strings, -1)
    other = {"class": np.asarray(strings.labels), "hidden cell": cells[:, 0]}[partner]
    _, tuples = np.unique(cells[:, -grammar.tuple_size :], axis=0, return_inverse=True)
    joint = np.zeros((other.max() + 1, tuples.max() + 1))
    np.add.at(joint, (other, tuples.ravel()), 1 / len(cells))
    independent = joint.sum(axis=1, keepdims=True) * joint.sum(axis=0)
    return (independent * (1 - independent)).mean() / ((joint - independent) ** 2).mean()


@pytest.mark.parametrize(("synonyms", "levels"), [(2, 2), (4, 2), (2, 3), (3, 3)])
@pytest.mark.parametrize(("partner", "scale"), [("class", "n_c m^L"), ("hidden cell", "n_c m^(2L-1)")])
def test_pairs_show_at_the_predicted_number_of_samples(synonyms, levels, partner, scale):
    """The scales are those of many symbols; that rules do not repeat makes signals smaller by 1 - m / v^(s - 1)."""
    symbols = 32
    grammars = [grammar_of(draw, synonyms, levels, symbols) for draw in range(2)]
    found = 1 / np.mean([1 / samples_where_pairs_show(grammar, partner) for grammar in grammars])
    assert found * (1 - synonyms / symbols) == pytest.approx(scale_of(symbols, synonyms, levels)[scale], rel=0.3)


def test_ceilings_are_those_of_the_conditional_mean_over_all_strings():
    grammar = grammar_of(3, synonyms=4, levels=2, symbols=4, tuple_size=(1, 3))
    strings = grammar.enumerate_strings()
    shown = ~np.isin(grammar.graph.observed, mask_of(grammar).masked)
    assert shown.tolist() == [False] * 3 + [True] * 6
    visible = np.asarray(strings.cells).reshape(len(strings), -1)[:, shown]
    below = np.asarray(strings.symbols[1]).reshape(len(strings), -1)
    contents = {
        "class": np.asarray(strings.labels)[:, None],
        "hidden symbols": below[:, :1],
        "visible symbols": below[:, 1:],
    }
    found = ceilings(grammar)
    assert max(found["class"], found["hidden symbols"]) < 1  # else the test says little
    for name, values in contents.items():
        indicators = pd.DataFrame(one_hot(values, 4))
        best = indicators.groupby([*visible.T]).transform("mean")
        assert found[name] == pytest.approx((best.var() / indicators.var().sum()).sum())


def test_new_strings_are_neither_known_nor_repeated():
    drawn = np.asarray([[[1, 2]], [[3, 4]], [[1, 2]], [[5, 6]], [[0, 0]]])
    assert new_strings(drawn, np.asarray([[[3, 4]], [[6, 5]]])).tolist() == [0, 3, 4]


def test_samples_must_divide_the_last():
    with pytest.raises(ValueError, match="powers of two"):
        Config(samples=(48, 64))
    with pytest.raises(ValueError, match="at least 2"):
        Config(draws=1)


# ---------------------------------------------------------------------- verdicts

PREDICTION = predict(LAPTOP)
SIZES = 2 ** np.arange(4, 18)


def made_up(scale, noise=0.1, sizes=SIZES, shift=1.0):
    """Records of 5 draws whose recovery crosses one half at ``shift`` times a scale, floor 0.2, ceiling 0.8."""
    rng, rows = np.random.default_rng(0), []
    for (name, scales), seed, score in itertools.product(
        PREDICTION["scales"].items(), range(5), ("class", "hidden symbols")
    ):
        about = {"grammar": name, "seed": seed, "score": score}
        place = math.log2(shift * scales[scale]) + noise * rng.normal()
        rows += [about | {"samples": 0, "control": c, "value": v} for c, v in (("untrained", 0.2), ("ceiling", 0.8))]
        for size in sizes:
            recovery = np.clip(0.5 + 0.1 * (math.log2(size) - place), 0, 1)  # linear, so interpolation is exact
            rows.append(about | {"samples": size, "control": "code", "value": 0.2 + 0.6 * recovery})
    return pd.DataFrame(rows)


def test_recovery_is_zero_at_the_floor_and_one_at_the_ceiling():
    records = made_up("samples")
    code = (records["control"] == "code") & (records["grammar"] == "m = 4, L = 2") & (records["seed"] == 1)
    records.loc[code & (records["samples"] == 16), "value"] = 0.2
    records.loc[code & (records["samples"] == 32), "value"] = 0.8
    records.loc[code & (records["samples"] == 64), "value"] = 0.35
    found = recoveries(records).query("grammar == 'm = 4, L = 2' and seed == 1 and score == 'class'")
    assert found.sort_values("samples")["recovery"].tolist()[:3] == pytest.approx([0, 1, 0.25])


def test_crossing_is_the_first_from_below_between_its_limits():
    sizes = np.asarray([64, 128, 256, 512])
    assert crossing(sizes, np.asarray([0.1, 0.4, 0.8, 0.3])) == pytest.approx((7.25, 7.25))
    assert crossing(sizes, np.asarray([0.1, 0.2, 0.3, 0.4])) == (9, math.inf)
    assert crossing(sizes, np.asarray([0.6, 0.2, 0.7, 0.8])) == (-math.inf, 6)


def test_crossings_and_spreads_are_those_of_the_records():
    low, high = crossings(made_up(LONG, noise=0.0), "class")
    assert (low == high).all(axis=None)
    for name, scales in PREDICTION["scales"].items():
        assert low[name].to_numpy() == pytest.approx(math.log2(scales[LONG]))
    least, greatest = spreads(low, high, PREDICTION)
    # n_c m^3 and n_c m^5 for m = 2, 3, 4, 8; what is left of the supervised scale is m^(L - 1): 4, 8, 4, 9
    expected = {"samples": math.log2(8**3 / 2**5), "n_c m^L": math.log2(9 / 4), LONG: 0.0}
    for scale, octaves in expected.items():
        assert least[scale].to_numpy() == pytest.approx(octaves)
        assert greatest[scale].to_numpy() == pytest.approx(octaves)


@pytest.mark.parametrize(
    ("scale", "shift", "collapse", "gains", "agrees"),
    [
        (LONG, 1, [False, True], [True, True], [True, True, True, True]),
        ("n_c m^L", 4, [True, False], [True, False], [False, False, True, False]),
        ("samples", 1000, [False, False], [False, False], [True, False, False, False]),
    ],
)
def test_judge_tells_the_scale(scale, shift, collapse, gains, agrees):
    found = judge(made_up(scale, noise=0.02, shift=shift), PREDICTION)
    assert [claim.holds for claim in found] == [*collapse, *gains] * 2
    assert [claim.theory_agrees for claim in found] == agrees * 2


def test_judge_is_open_where_grammars_do_not_reach_one_half_but_sees_what_is_certain():
    few = made_up(LONG, noise=0.02, sizes=2 ** np.arange(4, 11))  # up to 1024: short of 1944 and 4096
    found = judge(few, PREDICTION)
    assert [claim.holds for claim in found[:4]] == [None, None, None, None]
    assert found[0].reason.endswith("in every draw of m = 3, L = 3, m = 8, L = 2")
    assert any("m = 3, L = 3" in name for name in found[2].scores)
    apart = judge(made_up("samples", noise=0.02, sizes=2 ** np.arange(1, 11), shift=2.0**11), PREDICTION)
    assert [claim.holds for claim in apart[:2]] == [None, None]
    late = made_up("samples", noise=0.02, sizes=2 ** np.arange(4, 15), shift=2.0**8)
    late = late[~((late["grammar"] == "m = 2, L = 3") & (late["samples"] > 128))]
    found = judge(late, PREDICTION)  # its P* is above 128, the others' about 256: at least log2(16 / 2) = 3 octaves
    assert [claim.holds for claim in found[:4]] == [False, False, None, None]


def test_judge_is_open_where_draws_differ():
    found = judge(made_up(LONG, noise=0.6), PREDICTION)
    assert found[1].holds is None
