"""Sample laws: forecasts, the search for the number of samples, bounds, and verdicts on made-up records."""

import itertools
import math

import jax
import numpy as np
import pandas as pd
import pytest

from experiments.sample_laws import LAPTOP, SMOKE, Config, bisect, mask_of, new_strings, predict
from experiments.sample_laws_claims import (
    Bounds,
    bounded_claim,
    crossing,
    crossings,
    difference,
    exponents,
    judge,
    recoveries,
)
from experiments.sample_laws_figures import draw
from hlvm.images import GrammarImages
from hlvm.theory import SAMPLE_LAWS, GrammarSizes, expected_samples

PREDICTION = predict(LAPTOP)
LAWS = list(SAMPLE_LAWS)
OBJECTIVES = PREDICTION["objectives"]
SIZES = 2 ** np.arange(2, 24)


# ---------------------------------------------------------------------- forecasts


def test_forecasts_are_those_of_the_registry():
    for name, of_laws in PREDICTION["samples"].items():
        synonyms, levels = (int(part.split("= ")[1]) for part in name.split(", "))
        v = LAPTOP.n_symbols
        sizes = GrammarSizes(n_symbols=v, n_classes=v, n_synonyms=synonyms, n_levels=levels, tuple_size=2)
        assert of_laws == {law: expected_samples(sizes, levels, law) for law in LAWS}


def test_exponents_are_those_of_the_formulas():
    assert PREDICTION["exponents"] == {
        "labels": {"m": 3, "L": 1},
        "tokens": {"m": 5, "L": 2},
        "weight sharing": {"m": 4, "L": 1},
        "latent targets": {"m": 3, "L": 0},
    }
    assert list(PREDICTION["formulas"].values()) == ["n_c m^L", "v m^(2L - 1)", "v m^(L + 1)", "v m^3"]


def test_no_two_laws_pass_the_same_margins():
    for one, other in itertools.combinations(PREDICTION["exponents"].values(), 2):
        assert max(abs(one[axis] - other[axis]) for axis in one) >= 2 * PREDICTION["margin"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"synonyms": (2,)}, "synonyms must be at least 2 numbers that increase"),
        ({"levels": (4, 3)}, "levels must be at least 2 numbers that increase"),
        ({"samples": ()}, "samples must be at least 1 numbers"),
        ({"samples": (48, 64)}, "samples must divide the last.*powers of two"),
        ({"draws": 1}, "at least 2"),
    ],
)
def test_config_refuses_what_gives_no_exponent(settings, message):
    with pytest.raises(ValueError, match=message):
        Config(**settings)


@pytest.mark.parametrize("config", [SMOKE, LAPTOP], ids=["smoke", "laptop"])
def test_every_grammar_has_strings_left_to_be_scored_on(config):
    for synonyms, levels in itertools.chain(*config.axes.values()):
        n_strings = config.n_symbols * synonyms ** (2**levels - 1)
        sizes = [size for size in config.samples if size <= n_strings]
        assert n_strings * math.exp(-max(sizes) / n_strings) > min(config.rows, 700)


# ---------------------------------------------------------------------- measurement


@pytest.mark.parametrize("first", range(7))
def test_bisect_asks_for_the_first_that_reaches_and_the_one_before(first):
    sizes, asked = [1, 2, 4, 8, 16, 32], []

    def reached(size):
        asked.append(size)
        return sizes.index(size) >= first

    bisect(sizes, reached)
    assert set(sizes[max(first - 1, 0) : first + 1]) <= set(asked)
    assert len(asked) == len(set(asked)) <= 3


def test_mask_hides_half_of_the_lowest_pairs():
    grammar = GrammarImages.init(0, n_symbols=4, n_classes=4, n_synonyms=2, n_levels=3, tuple_size=2)
    masked = np.asarray(mask_of(grammar).sample(jax.random.key(0), 50, grammar.graph)).reshape(50, 4, 2)
    assert (masked[..., 0] == masked[..., 1]).all()
    assert (masked[..., 0].sum(axis=1) == 2).all()
    assert masked[..., 0].any(axis=0).all()


def test_new_strings_are_neither_known_nor_repeated():
    drawn = np.asarray([[[1, 2]], [[3, 4]], [[1, 2]], [[5, 6]], [[0, 0]]])
    assert new_strings(drawn, np.asarray([[[3, 4]], [[6, 5]]])).tolist() == [0, 3, 4]


# ---------------------------------------------------------------------- bounds


def test_crossing_is_the_first_from_below_between_its_limits():
    sizes = np.asarray([64, 128, 256, 512])
    assert crossing(sizes, np.asarray([0.1, 0.4, 0.8, 0.3])) == pytest.approx((7.25, 7.25))
    assert crossing(sizes, np.asarray([0.1, 0.2, 0.3, 0.4])) == (9, math.inf)
    assert crossing(sizes, np.asarray([0.6, 0.2, 0.7, 0.8])) == (-math.inf, 6)


def test_exponents_of_bounds_are_the_least_and_greatest_slopes_within_them():
    known = Bounds(np.asarray([3.0, 3.0]), np.asarray([3.0, 3.0]))
    late = Bounds(np.asarray([7.0, 9.0]), np.asarray([math.inf, 9.0]))
    early = Bounds(np.asarray([-math.inf, 2.0]), np.asarray([2.0, 2.0]))
    x = {"a": 1.0, "b": 2.0, "c": 3.0}
    found = exponents({"a": known, "b": late, "c": late}, x)  # the one in the middle has no weight
    assert found.low.tolist() == [2.0, 3.0]
    assert found.high.tolist() == [math.inf, 3.0]
    assert not found.known
    found = exponents({"a": early, "b": known, "c": known}, x)
    assert found.low.tolist() == [0.5, 0.5]
    assert found.high.tolist() == [math.inf, 0.5]
    both = exponents({"a": late, "b": known, "c": late}, x)
    assert (both.low[0], both.high[0]) == (-math.inf, math.inf)
    assert exponents({"a": known, "c": known}, {"a": 1.0, "c": 2.0}).known


def test_difference_of_bounds_is_as_wide_as_both():
    one = Bounds(np.asarray([5.0]), np.asarray([math.inf]))
    other = Bounds(np.asarray([1.0]), np.asarray([2.0]))
    assert [side.tolist() for side in difference(one, other)] == [[3.0], [math.inf]]


INF = np.full(4, math.inf)
NEAR = np.asarray([-0.1, 0.1, -0.1, 0.1])


@pytest.mark.parametrize(
    ("low", "high", "limits", "margin", "holds"),
    [
        (3 + NEAR, None, (2.5, 3.5), 0, True),
        (5 + NEAR, None, (2.5, 3.5), 0, False),
        (3.5 + NEAR, None, (2.5, 3.5), 0, None),
        (3 + NEAR, INF, (2.5, 3.5), 0, None),  # it may be anything above
        (5 + NEAR, INF, (2.5, 3.5), 0, False),  # it is too large for certain
        (1 + NEAR, INF, (2.5, 3.5), 0, None),
        (-INF, 1 + NEAR, (2.5, 3.5), 0, False),
        (-INF, 3 + NEAR, (2.5, 3.5), 0, None),
        (2 + NEAR, INF, (0, math.inf), 1, True),  # at least 2 is above 0
        (-INF, 0.5 + NEAR, (0, math.inf), 1, False),  # at most 0.5 is too small to count
        (0.1 + NEAR, INF, (0, math.inf), 1, None),
        (0.1 + NEAR, None, (0, math.inf), 1, False),
        (0.1 + NEAR, None, (0, math.inf), 0, None),
        (-INF, INF, (0, math.inf), 1, None),
    ],
)
def test_bounded_claim_decides_only_what_is_certain(low, high, limits, margin, holds):
    bounds = Bounds(low, low if high is None else high)
    claim = bounded_claim("text", {"it": bounds}, {"it": limits}, margin=margin, reason="censored")
    assert claim.holds is holds
    assert len(claim.scores) == 1, "the known number, the bound that is known, or how many draws are"
    assert set(claim.limits) <= set(claim.scores)


# ---------------------------------------------------------------------- verdicts


def made_up(laws, noise=0.02, sizes=SIZES, shift=1.0):
    """Records of 5 draws in which each objective follows a law, times a factor; floor 0.2, threshold 0.6."""
    rng, rows = np.random.default_rng(0), []
    for (name, of_laws), (objective, law), seed in itertools.product(
        PREDICTION["samples"].items(), zip(OBJECTIVES, laws, strict=True), range(5)
    ):
        levels = int(name[-1])
        about = {"grammar": name, "levels": levels, "seed": seed, "objective": objective}
        place = math.log2(shift * of_laws[law]) + noise * rng.normal()
        rows += [about | {"samples": 0, "height": height, "value": 0.2} for height in range(1, levels)]
        for size in sizes:
            recovery = np.clip(0.5 + 0.1 * (math.log2(size) - place), 0, 1)  # linear, so interpolation is exact
            found = {levels - 1: 0.2 + 0.8 * recovery}
            rows += [about | {"samples": size, "height": h, "value": found.get(h, 0.9)} for h in range(1, levels)]
    return pd.DataFrame(rows)


def verdicts(records):
    found = judge(records, PREDICTION)
    n = len(LAWS)
    by_objective = {o: [claim.holds for claim in found[k * n : (k + 1) * n]] for k, o in enumerate(OBJECTIVES)}
    return by_objective, [claim.holds for claim in found[-2:]], found


def test_recovery_is_zero_at_the_floor_and_one_where_all_is_told():
    records = made_up(["tokens"] * 3)
    mine = (records["grammar"] == "m = 2, L = 4") & (records["seed"] == 1) & (records["objective"] == OBJECTIVES[0])
    for size, value in ((4, 0.2), (8, 1.0), (16, 0.4)):
        records.loc[mine & (records["height"] == 3) & (records["samples"] == size), "value"] = value
    found = recoveries(records)
    own = found[(found["grammar"] == "m = 2, L = 4") & (found["seed"] == 1) & (found["objective"] == OBJECTIVES[0])]
    assert own["recovery"].tolist()[:3] == pytest.approx([0, 1, 0.25])


def test_crossings_are_those_of_the_records():
    places = crossings(made_up(["tokens", "labels", "latent targets"], noise=0.0))
    for objective, law in zip(OBJECTIVES, ["tokens", "labels", "latent targets"], strict=True):
        for name, of_laws in PREDICTION["samples"].items():
            assert places[objective, name].known
            assert places[objective, name].low == pytest.approx(math.log2(of_laws[law]))


@pytest.mark.parametrize("law", LAWS)
def test_judge_tells_each_law_from_all_others(law):
    by_objective, compared, _ = verdicts(made_up([law] * 3, shift=3.0))
    assert by_objective == {objective: [other == law for other in LAWS] for objective in OBJECTIVES}
    assert compared == [False, True]


def test_judge_sees_that_objectives_differ_and_who_is_right():
    by_objective, compared, found = verdicts(made_up(["tokens", "weight sharing", "latent targets"]))
    assert [holds.index(True) for holds in by_objective.values()] == [1, 2, 3]
    assert compared == [True, False]
    by_law = {claim.text.split(", its")[0]: claim.theory_agrees for claim in found[:-2]}
    assert by_law["data2vec: P* follows v m^3"] is True
    assert by_law["data2vec: P* follows v m^(2L - 1)"] is True
    assert by_law["squared error: P* follows v m^(2L - 1)"] is None
    assert by_law["squared error: P* follows v m^3"] is True


def test_judge_does_not_confirm_what_lies_beyond_the_sizes():
    few = made_up(["tokens"] * 3, sizes=2 ** np.arange(4, 12))  # short of 3,888 and more
    by_objective, _, found = verdicts(few)
    tokens = by_objective["data2vec"]
    assert tokens[1] is None, "the right law is not confirmed"
    assert True not in tokens
    claim = found[1]
    assert "m = 4, L = 3 (5 draws)" in claim.reason
    assert "m = 2, L = 3" not in claim.reason
    assert any(name.endswith("at least") for name in claim.scores)
    assert tokens[3] is False, "without depth it is not: at 2,048 and 3 levels that is already certain"


def test_judge_says_so_where_nothing_is_reached():
    by_objective, compared, found = verdicts(made_up(["tokens"] * 3, shift=2.0**30))
    assert set(itertools.chain(*by_objective.values(), compared)) == {None}
    assert all(claim.scores and claim.reason for claim in found)


def test_judge_is_open_where_draws_differ():
    by_objective, _, _ = verdicts(made_up(["tokens"] * 3, noise=1.5))
    assert by_objective["squared error"][1] is None


@pytest.mark.parametrize("shift", [1.0, 2.0**30])
def test_draw_shows_places_and_bounds(shift):
    figure = draw(made_up(["tokens", "labels", "latent targets"], shift=shift), PREDICTION)["sample_laws"]
    axes = figure.axes[0]
    assert axes.get_yscale() == "log"
    assert [text.get_text() for text in axes.get_xticklabels()] == ["m = 2", "m = 3", "m = 4"]
    assert [axes.get_title() for axes in figure.axes] == ["synonyms, L = 3", "levels, m = 2"]
    assert not any("$" in text.get_text() for text in axes.get_yticklabels())
    assert {text.get_text() for text in figure.legends[0].get_texts()} >= {*OBJECTIVES, "v m^3"}
    arrows = [line for line in axes.lines if line.get_marker() == "^"]
    assert bool(arrows) == (shift > 1)
