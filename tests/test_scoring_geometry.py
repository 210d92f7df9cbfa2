"""Geometry of codes against closed forms, libraries, and values known in the population."""

import itertools
import math

import numpy as np
import pytest
from scipy.spatial import procrustes
from scipy.spatial.distance import pdist

from hlvm.scoring import alignment, effective_rank, participation_ratio, permutation_test, shape_distance, uniformity
from hlvm.scoring.geometry.spectra import directions
from hlvm.scoring.intervals import jackknife_blocks

RNG = np.random.default_rng(0)
SPECTRUM = np.linspace(0.2, 1.8, 20)
MEASURES = {
    "effective_rank": (effective_rank, directions(SPECTRUM, of="singular values")),
    "of variances": (lambda rows, **how: effective_rank(rows, of="variances", **how), directions(SPECTRUM)),
    "participation_ratio": (participation_ratio, SPECTRUM.sum() ** 2 / (SPECTRUM**2).sum()),
}


@pytest.fixture(autouse=True)
def _draws_of_its_own():
    """Each test draws the same numbers, whichever others run."""
    global RNG
    RNG = np.random.default_rng(0)


def rotated(k, p, rng):
    """An isometry of k dims into p columns."""
    return np.linalg.qr(rng.normal(size=(p, k)))[0].T


# ---------------------------------------------------------------------- numbers of directions


def test_effective_rank_equals_the_published_formula():
    rows = RNG.normal(size=(50, 12)) * np.linspace(0.1, 2, 12) + 3.0
    for centre in (True, False):
        singular = np.linalg.svd(rows - centre * rows.mean(axis=0), compute_uv=False)
        shares = singular / singular.sum() + 1e-7  # RankMe's epsilon, which is left out here
        published = np.exp(-(shares * np.log(shares)).sum())
        assert effective_rank(rows, centre=centre).plain == pytest.approx(published, rel=2e-5)
    assert effective_rank(rows, centre=False).plain < effective_rank(rows).plain - 1  # the offset hides the rest


def test_effective_rank_says_what_its_docstring_says():
    variances = np.r_[1.0, np.full(63, 0.01)]
    assert directions(variances, of="singular values") == pytest.approx(53, abs=0.5)
    assert directions(variances) == pytest.approx(9.7, abs=0.1)


@pytest.mark.parametrize("measure", [measure for measure, _ in MEASURES.values()], ids=MEASURES)
def test_dimension_of_rank_k_gaussians_is_k(measure):
    for k in (1, 3, 6):
        found = measure(RNG.normal(size=(4000, k)) @ rotated(k, 10, RNG) + 1e6 * (k == 3))
        assert found.value == pytest.approx(k, abs=0.02)
        assert found.rank == k
        assert 1 <= found.plain <= k + 1e-6
        assert (found.n_rows, found.n_columns) == (4000, 10)


@pytest.mark.parametrize("name", MEASURES)
def test_dimension_is_corrected_for_the_number_of_rows(name):
    measure, population = MEASURES[name]
    found = [measure(RNG.normal(size=(100, 20)) * np.sqrt(SPECTRUM)) for _ in range(40)]
    values, plain = np.array([one.value for one in found]), np.array([one.plain for one in found])
    # 0.5 % of the population is left, and the standard error of the mean is up to 0.5 %.
    assert values.mean() == pytest.approx(population, rel=0.02)
    assert plain.mean() < 0.98 * population
    covered = sum(one.low <= population <= one.high for one in found)
    assert covered >= 33  # of 40; the chance of fewer is 0.3 % at a true 95 %


def test_participation_ratio_has_no_bias_with_fewer_rows_than_columns():
    spectrum = np.linspace(0.2, 1.8, 60)
    population = spectrum.sum() ** 2 / (spectrum**2).sum()
    found = [participation_ratio(RNG.normal(size=(30, 60)) * np.sqrt(spectrum)) for _ in range(60)]
    assert np.mean([one.value for one in found]) == pytest.approx(population, abs=2)  # 4 standard errors
    assert max(one.plain for one in found) < 30 < population
    assert sum(one.low <= population <= one.high for one in found) >= 52


def test_participation_ratio_takes_unbiased_estimates_of_both_terms():
    rows = RNG.exponential(size=(11, 3)) @ RNG.normal(size=(3, 4))
    above, below = 0.0, 0.0
    for i, j, k, m in itertools.permutations(range(len(rows)), 4):
        first, second = rows[i] - rows[j], rows[k] - rows[m]
        above += (first @ first) * (second @ second) / 4
        below += (first @ second) ** 2 / 4
    assert participation_ratio(rows).value == pytest.approx(np.clip(above / below, 1, 4), rel=1e-9)
    assert 1 < above / below < 4


@pytest.mark.parametrize("measure", [measure for measure, _ in MEASURES.values()], ids=MEASURES)
def test_dimension_of_noise_is_the_mean_of_noise(measure):
    for n, p in ((30, 60), (100, 20), (40, 40)):
        found = [measure(RNG.normal(size=(n, p))) for _ in range(20)]
        assert np.mean([one.plain for one in found]) == pytest.approx(found[0].of_noise, rel=0.025)


def test_effective_rank_has_no_interval_with_few_rows():
    few = effective_rank(RNG.normal(size=(60, 40)))
    assert math.isnan(few.low)
    assert math.isnan(few.high)
    wide = effective_rank(RNG.normal(size=(60, 3)) @ RNG.normal(size=(3, 200)))  # more columns, and few directions
    assert wide.low <= wide.value <= wide.high < 3.2


@pytest.mark.parametrize("measure", [measure for measure, _ in MEASURES.values()], ids=MEASURES)
def test_dimension_of_a_constant_code_is_zero(measure):
    found = measure(np.full((30, 4), 0.3))
    assert (found.value, found.low, found.high, found.plain, found.rank) == (0, 0, 0, 0, 0)


@pytest.mark.parametrize("measure", [measure for measure, _ in MEASURES.values()], ids=MEASURES)
def test_dimension_groups_make_intervals_longer(measure):
    own = RNG.normal(size=(40, 6)) * np.linspace(0.5, 1.5, 6)
    rows = np.repeat(own, 5, axis=0)
    alone, grouped = measure(rows), measure(rows, groups=np.repeat(np.arange(40), 5))
    assert grouped.n_rows == 40
    assert grouped.high - grouped.low > 1.5 * (alone.high - alone.low)
    assert grouped.value == pytest.approx(measure(own).value, abs=0.25)


def test_jackknife_blocks_keep_groups_together():
    groups = np.repeat(np.arange(7), 3)
    blocks = jackknife_blocks(21, groups)
    assert [len(set(blocks[groups == g])) for g in range(7)] == [1] * 7
    assert sorted(set(blocks)) == list(range(7))
    assert np.bincount(jackknife_blocks(45)).tolist() == [3] * 5 + [2] * 15


@pytest.mark.parametrize("measure", [effective_rank, participation_ratio, uniformity])
def test_geometry_of_one_code_refuses_bad_input(measure):
    rows = RNG.normal(size=(20, 3))
    with pytest.raises(ValueError, match="representation: expected finite numbers, got 1 NaN"):
        measure(np.where(np.arange(60).reshape(20, 3) == 7, np.nan, rows))
    with pytest.raises(ValueError, match=r"representation: expected shape \(rows, columns\)"):
        measure(rows[None])
    with pytest.raises(ValueError, match="representation: expected at least 10 rows"):
        measure(rows[:9])
    with pytest.raises(ValueError, match=r"level: expected a number strictly between 0 and 1, got 1\.0"):
        measure(rows, level=1.0)
    with pytest.raises(ValueError, match="groups: expected one label for each of the 20 rows"):
        measure(rows, groups=np.zeros(3))


def test_effective_rank_refuses_other_shares():
    with pytest.raises(ValueError, match='of: expected "singular values" or "variances"'):
        effective_rank(RNG.normal(size=(20, 3)), of="eigenvalues")


# ---------------------------------------------------------------------- spheres


def test_uniformity_equals_the_mean_over_pairs():
    rows = RNG.normal(size=(40, 3)) + 1.0
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    plain = math.log(np.exp(-2 * pdist(unit) ** 2).mean())
    found = uniformity(rows, centre=False)
    assert found.value == pytest.approx(plain, abs=0.02)  # less the bias of the logarithm
    assert found.low < plain < found.high
    assert uniformity(rows).value < found.value - 0.5  # an offset brings all rows together


@pytest.mark.parametrize("p", [1, 2, 3, 16])
def test_uniformity_of_the_uniform_law_is_known(p):
    rows = RNG.normal(size=(2, 40_000, p))
    unit = rows / np.linalg.norm(rows, axis=2, keepdims=True)
    simulated = math.log(np.exp(-2 * ((unit[0] - unit[1]) ** 2).sum(axis=1)).mean())
    assert uniformity(rows[0, :20]).of_uniform == pytest.approx(simulated, abs=0.04)


def test_uniformity_and_its_interval_are_calibrated():
    found = [uniformity(RNG.normal(size=(100, 8))) for _ in range(40)]
    known = found[0].of_uniform
    assert np.mean([one.value for one in found]) == pytest.approx(known, abs=0.03)
    assert sum(one.low <= known <= one.high for one in found) >= 34
    assert uniformity(np.outer(RNG.normal(size=100), np.ones(8))).low > known + 1


def test_uniformity_of_a_constant_code_is_zero_and_groups_are_left_out():
    assert uniformity(np.full((30, 4), 0.3)).value == 0
    rows = RNG.normal(size=(30, 4))
    groups = np.repeat(np.arange(30), 4)
    assert uniformity(np.repeat(rows, 4, axis=0)).value > uniformity(rows).value + 0.1
    assert uniformity(np.repeat(rows, 4, axis=0), groups=groups).value == pytest.approx(
        uniformity(rows).value, abs=0.15
    )


def test_alignment_equals_distances_of_pairs_and_chance_those_of_others():
    first = RNG.normal(size=(30, 3))
    second = first + 0.5 * RNG.normal(size=(30, 3))
    unit = [rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (first, second)]
    distances = np.linalg.norm(unit[0][:, None] - unit[1], axis=2)
    for power in (1.0, 2.0, 3.0):
        found = alignment(first, second, power=power, centre=False)
        assert found.value == pytest.approx((np.diag(distances) ** power).mean())
        assert found.low < found.value < found.high
        assert found.chance == pytest.approx((distances**power)[~np.eye(30, dtype=bool)].mean())
    permuted = [alignment(first, second[RNG.permutation(30)], centre=False).value for _ in range(300)]
    chance = alignment(first, second, centre=False).chance
    assert np.mean(permuted) == pytest.approx(chance, abs=0.1)  # of which 1 in 30 rows stays in its place
    assert alignment(first + 50, second + 50).value == pytest.approx(alignment(first, second).value)


def test_alignment_of_a_collapsed_code_is_perfect_and_so_is_its_chance():
    found = alignment(np.ones((20, 3)), np.ones((20, 3)))
    assert (found.value, found.chance) == (0, 0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda a: alignment(a, a[:, :2]), "expected two views of one code, got 3 columns in first and 2 in second"),
        (lambda a: alignment(a, a[:-1]), "expected one row per sample in both arrays"),
        (lambda a: alignment(a, a, power=0.0), "power: expected a number above 0, got 0"),
        (lambda a: alignment(a, a, level=0.0), "level: expected a number strictly between 0 and 1"),
        (lambda a: uniformity(a, t=0.0), "t: expected a number above 0 and at most 100, got 0"),
        (lambda a: uniformity(a, t=math.nan), "t: expected a number above 0 and at most 100, got nan"),
        (lambda a: shape_distance(a, a[:-1]), "expected one row per sample in both arrays"),
        (lambda a: shape_distance(a, a * np.nan), "second: expected finite numbers"),
        (lambda a: shape_distance(a, a, level=2.0), "level: expected a number strictly between 0 and 1"),
        (lambda a: shape_distance(a, a, groups=np.zeros(20)), "groups: expected at least 2 groups"),
    ],
)
def test_geometry_of_two_codes_refuses_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call(RNG.normal(size=(20, 3)))


# ---------------------------------------------------------------------- shapes


def test_shape_distance_in_sample_equals_scipy_and_brute_force():
    a, b = RNG.normal(size=(2, 50, 4)) + 2.0
    found = shape_distance(a, b)
    assert procrustes(a, b)[2] == pytest.approx(math.sin(found.in_sample) ** 2)
    a, b = RNG.normal(size=(2, 30, 2))
    centred = [rows - rows.mean(axis=0) for rows in (a, b)]
    unit = [rows / np.linalg.norm(rows) for rows in centred]
    turns = np.linspace(0, 2 * np.pi, 20_001)
    best = max(
        (np.cos(turns) * (m[0, 0] + m[1, 1]) + np.sin(turns) * (m[0, 1] - m[1, 0])).max()
        for m in (unit[0].T @ unit[1], unit[0].T @ (unit[1] * [1, -1]))
    )
    assert math.cos(shape_distance(a, b).in_sample) == pytest.approx(best, abs=1e-7)


def test_shape_distance_of_rotated_copies_is_zero():
    a = RNG.normal(size=(40, 5)) * np.linspace(0.2, 2, 5)
    for copy in (3 * a @ rotated(5, 5, RNG) + 7, a @ rotated(5, 9, RNG)):
        for found in (shape_distance(a, copy), shape_distance(copy, a, key=0)):
            assert found.angle == pytest.approx(0, abs=1e-6)
            assert found.procrustes == pytest.approx(0, abs=1e-6)
            assert found.similarity == pytest.approx(1)


def test_shape_distance_of_independent_codes_is_a_right_angle_with_few_rows():
    found = [shape_distance(*RNG.normal(size=(2, 20, 8))) for _ in range(60)]
    assert np.mean([one.in_sample for one in found]) < 1.2
    assert np.mean([one.angle for one in found]) == pytest.approx(np.pi / 2, abs=0.06)  # 3 standard errors
    assert sum(one.low <= np.pi / 2 <= one.high for one in found) >= 48
    assert found[0].procrustes == pytest.approx(math.sqrt(2 - 2 * math.cos(found[0].angle)))


def test_shape_distance_lies_beside_that_of_the_population():
    def pair(n):
        z, noise = RNG.normal(size=(2, n, 6)) * np.linspace(0.5, 1.5, 6)
        return z, z @ rotated(6, 6, RNG) + 0.6 * noise @ rotated(6, 6, RNG)

    population = math.acos(1 / math.sqrt(1.36))  # of independent noise of 0.36 of the variance
    few = [shape_distance(*pair(60)) for _ in range(30)]
    assert np.mean([one.in_sample for one in few]) < population < np.mean([one.angle for one in few])
    many = shape_distance(*pair(4000))
    assert many.low < population < many.high
    assert many.high - many.low < 0.05


def test_shape_distance_has_a_permutation_null():
    z, noise = RNG.normal(size=(2, 40, 6))

    def similarity(a, b):
        return shape_distance(a, b).similarity

    related = permutation_test(similarity, z, z @ rotated(6, 6, RNG) + noise, key=0)
    assert related.p_value == 0.01
    assert related.chance == pytest.approx(0, abs=0.05)
    assert permutation_test(similarity, z, noise, key=0).p_value > 0.05


def test_shape_distance_of_a_constant_code_and_of_copies():
    constant = shape_distance(np.ones((20, 2)), RNG.normal(size=(20, 2)))
    assert constant.angle == constant.in_sample == pytest.approx(np.pi / 2)
    own = RNG.normal(size=(2, 12, 8))
    with pytest.warns(UserWarning, match="are copies of others"):
        held_out = shape_distance(*np.repeat(own, 4, axis=1))
    assert held_out.angle > 1.2  # not the copies' own distance, which is that in sample
    assert held_out.in_sample < 1.1
