"""Every public score is the same in any units, at any offset and in any memory, and refuses what holds no numbers."""

import numpy as np
import pytest

from hlvm import scoring
from hlvm.scoring import RegressionConfig
from hlvm.scoring.inputs import matrix, paired_matrices
from hlvm.testing import check_score
from hlvm.testing.invariance import CASES

SMALL = RegressionConfig(n_boot=20, bandwidths=(0.5, 1.0, 2.0), ridges=(1e-4, 1e-2, 1.0))
HOW = {"key": 0, "config": SMALL}
HEIGHTS = {"z": 1}


def _paired(a, b):
    """The first array, for scores of one array alone: the second one must have its rows."""
    return paired_matrices("a", a, "b", b)[0]


def _beliefs(b):
    """Of probabilities, which have no units: those of the signs of latents."""
    first = matrix("b", b)[:, 0]
    signs = first > np.median(first)
    return np.column_stack([0.3 + 0.4 * signs, 0.7 - 0.4 * signs]), signs.astype(int)


SCORES = {
    "alignment": lambda a, b: scoring.alignment(a, b).value,
    "belief_r2": lambda a, b: scoring.belief_r2(a, *_beliefs(b), **HOW).belief.value,
    "block_verdict": lambda a, b: scoring.block_verdict(a, b, **HOW).forward.value,
    "cca": lambda a, b: scoring.cca(a, b).mean,
    "cca_many": lambda a, b: scoring.cca_many(a, {"b": b})["b"].in_sample[0],
    "cca_rank": lambda a, b: scoring.cca_rank(a, b).correlations[0],
    "cka": scoring.cka,
    "containment_verdict": lambda a, b: scoring.containment_verdict(a, b, **HOW).worst.r2.value,
    "collapse": lambda a, b: scoring.collapse(a, b).used,
    "controlled_r2": lambda a, b: scoring.controlled_r2(a, b, ceiling=b, n_permutations=3, **HOW).score.value,
    "dci": lambda a, b: scoring.dci(a, b, key=0, n_trees=5).informativeness,
    "effective_rank": lambda a, b: scoring.effective_rank(_paired(a, b)).plain,
    "kernel_r2": lambda a, b: scoring.kernel_r2(a, b, **HOW).value,
    "leakage": lambda a, b: scoring.leakage(a, b, np.asarray(b, dtype=np.float64)[:, 0], **HOW).beyond.value,
    "linear_r2": lambda a, b: scoring.linear_r2(a, b, **HOW).value,
    "mcc": scoring.mcc,
    "mig": lambda a, b: scoring.mig(a, b, bins=5),
    "mlp_r2": lambda a, b: scoring.mlp_r2(a, b, **HOW).value,
    "mutual_information": lambda a, b: scoring.mutual_information(a, b, key=0).sum(),
    "participation_ratio": lambda a, b: scoring.participation_ratio(_paired(a, b)).value,
    "permutation_null": lambda a, b: scoring.permutation_null(a, b, n_permutations=3, **HOW).observed,
    "permutation_test": lambda a, b: scoring.permutation_test(scoring.cka, a, b, key=0, n_permutations=3).observed,
    "pwcca": lambda a, b: scoring.pwcca(a, b).value,
    "sap": scoring.sap,
    "score_by_height": lambda a, b: scoring.score_by_height({"f": a}, {"z": b}, heights=HEIGHTS, **HOW)["value"][0],
    "score_layers": lambda a, b: scoring.score_layers({"l": a}, {"z": b}, **HOW)["value"][0],
    "shape_distance": lambda a, b: scoring.shape_distance(a, b).angle,
    "subspace_angles": lambda a, b: scoring.subspace_angles(a, b)[0],
    "svcca": lambda a, b: scoring.svcca(a, b).mean,
    "uniformity": lambda a, b: scoring.uniformity(_paired(a, b)).value,
}

# Splits of trees, edges of bins and nearest neighbours are decided by the last digits.
EXEMPT = {
    "alignment": {"column order"},  # of one of two views
    "mlp_r2": {"sign", "column order"},  # its weights start at random: another network
    "cca_many": {"constant representation"},  # no correlation is left
    "cca_rank": {"constant representation"},
    "subspace_angles": {"constant representation"},  # nor an angle
    "containment_verdict": {"constant representation"},
    "leakage": {"text", "other rows"},
    "dci": {
        "row order",
        "column order",
        "shift by 1e12",
        "sign",
        "float16",
        "float32",
        "scale up",
        "scale beyond squares",
    },
    "mig": {"sign", "row order", "shift by 1e12", "float16"},
    "mutual_information": {"row order"},
}


@pytest.mark.parametrize("name", SCORES)
def test_scores_pass_the_table_of_invariances(name):
    check_score(SCORES[name], exempt=EXEMPT.get(name, ()))


def test_table_of_invariances_has_every_public_score():
    others = {"bootstrap_mean", "holm", "normalised_r2", "paired_difference", "r2_over_seeds"}
    others |= {"check_seeds", "circular", "means_over_seeds", "one_hot", "over_generators", "over_seeds"}
    many = {"block_verdicts", "kernel_r2_many", "leakage_many", "linear_r2_many"}  # which others are made of
    functions = {name for name in scoring.__all__ if name.islower()}
    assert set(SCORES) == functions - others - many


def test_check_score_names_what_fails():
    with pytest.raises(AssertionError, match=r"fails \d+ of 27 cases:\n(.*\n)*  shift: expected"):
        check_score(lambda a, b: float(np.asarray(a).mean()))
    with pytest.raises(ValueError, match="exempt: expected some of scale up"):
        check_score(scoring.mcc, exempt=["scale"])
    assert len(CASES) == 27
