"""Collapse: what has collapsed is called so, and nothing else."""

import numpy as np
import pytest

from experiments.calibration_codes import CODES
from hlvm.claims import block_claim
from hlvm.scoring import RegressionConfig, Verdict, block_verdict, collapse, containment_verdict
from hlvm.testing import assert_identified, assert_not_identified

SMALL = RegressionConfig(max_train=300, n_boot=200, bandwidths=(0.5, 1.0, 2.0, 4.0), ridges=(1e-6, 1e-4, 1e-2, 1.0))
RNG = np.random.default_rng(0)
CONTENT = RNG.normal(size=(500, 4))
WIDE = np.outer(CONTENT[:, 0], RNG.normal(size=32))
NOISY = WIDE + 0.03 * RNG.normal(size=WIDE.shape)


@pytest.fixture(autouse=True)
def _draws_of_its_own():
    """Each test draws the same numbers, whichever others run."""
    global RNG
    RNG = np.random.default_rng(1)


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (np.zeros((500, 4)), "total"),
        (np.full((500, 4), 1e6), "total"),
        (np.ones((500, 1)), "total"),
        (WIDE, "dimensional"),
        (NOISY, "dimensional"),
        (WIDE.astype(np.float32), "dimensional"),
        (WIDE * np.logspace(-6, 6, 32), "dimensional"),
        (WIDE + np.linspace(-1e7, 1e7, 32), "dimensional"),
        (np.c_[WIDE, np.ones((500, 3))], "dimensional"),
        (CONTENT, "none"),
        (CONTENT + 1e9, "none"),
        (CONTENT * [1e6, 1, 1, 1], "none"),
        (CONTENT @ RNG.normal(size=(4, 32)), "none"),
        (CONTENT[:, :1], "none"),
        (np.c_[CONTENT[:, :3], np.ones(500)], "none"),
        (CONTENT[:, :3] @ RNG.normal(size=(3, 4)), "none"),
        (CONTENT[:, :3] @ RNG.normal(size=(3, 32)), "none"),
        (np.where(np.arange(500)[:, None] == 7, 1e5, CONTENT), "none"),
        (RNG.normal(size=(500, 6)), "none"),
    ],
    ids=[
        "zero",
        "large constant",
        "constant column",
        "rank 1",
        "rank 1 with noise",
        "float32",
        "units",
        "offsets",
        "dead columns beside",
        "exact",
        "exact beside an offset",
        "exact with a large unit",
        "exact in many columns",
        "narrow",
        "one latent constant",
        "one latent lost",
        "one latent lost in many columns",
        "an outlier",
        "noise",
    ],
)
def test_collapse_of_known_codes(code, kind):
    found = collapse(code, CONTENT)
    assert found.kind == kind, found
    assert bool(found) is (kind != "none")
    assert (found.used == 0) is (kind == "total")


@pytest.mark.parametrize("d", [2, 3, 4, 8])
def test_collapse_of_a_code_that_lacks_one_latent_is_none(d):
    rng = np.random.default_rng(d)
    content = rng.normal(size=(300, d))
    dead = content.copy()
    dead[:, -1] = 0.7
    assert collapse(dead, content).kind == "none"
    assert collapse(dead @ np.linalg.qr(rng.normal(size=(d, d)))[0], content).kind == "none"


def test_collapse_is_told_in_numbers_and_words():
    found = collapse(WIDE, CONTENT)
    assert found.used == pytest.approx(1)
    assert found.expected == pytest.approx(4, abs=0.03)
    assert found.limit == pytest.approx(1 + (found.expected - 1) / 4)
    assert found.reason == "the 32 columns of the code vary along 1.00 directions, the content along 3.99"
    beside = collapse(WIDE, CONTENT, untrained=CONTENT[:, :3] @ RNG.normal(size=(3, 40)))
    assert beside.expected == pytest.approx(3, abs=0.1)
    assert "and the untrained code along 3.00" in beside.reason
    assert collapse(np.ones((500, 2))).reason == "all 500 rows of the code are the same"


def test_collapse_without_references_tells_a_total_one_only():
    assert collapse(WIDE).kind == "none"
    assert np.isnan(collapse(WIDE).limit)
    assert collapse(np.ones((20, 3))).kind == "total"
    assert collapse(WIDE, untrained=RNG.normal(size=(500, 32))).kind == "dimensional"
    assert collapse(WIDE, CONTENT[:, 0]).kind == "none"  # all that the content asks for


def test_collapse_of_no_code_of_the_calibration_that_has_not():
    rng = np.random.default_rng(0)
    for d in (1, 2, 4, 8):
        content, style = rng.normal(size=(2, 400, d))
        found = {name: collapse(code_of(content, style, rng), content).kind for name, (_, code_of) in CODES.items()}
        assert found.pop("constant") == "total"
        assert set(found.values()) == {"none"}


def test_collapse_refuses_bad_input():
    with pytest.raises(ValueError, match="representation: expected finite numbers"):
        collapse(np.where(WIDE > 1, np.nan, WIDE), CONTENT)
    with pytest.raises(ValueError, match="expected one row per sample in both arrays, got 500 rows in representation"):
        collapse(WIDE, CONTENT[:-1])
    with pytest.raises(ValueError, match="and 499 in untrained"):
        collapse(WIDE, untrained=CONTENT[:-1])
    with pytest.raises(ValueError, match=r"content: expected shape \(rows, columns\)"):
        collapse(WIDE, CONTENT[None])


@pytest.mark.parametrize("judge", [block_verdict, containment_verdict])
@pytest.mark.parametrize("code", [WIDE, NOISY, WIDE + 1e6, np.full((500, 4), 3.0)], ids=["1", "noisy", "offset", "0"])
def test_verdicts_call_a_collapsed_code_collapsed(judge, code):
    found = judge(code, CONTENT, key=0, config=SMALL)
    assert found.verdict is Verdict.COLLAPSED
    assert found.collapse.kind == ("total" if np.ptp(code) == 0 else "dimensional")
    assert found.reason.startswith(found.collapse.reason)
    assert found.forward.value < 0.5


def test_verdict_of_a_total_collapse_needs_no_test_rows_and_no_power():
    found = block_verdict(np.ones((20, 3)), CONTENT[:20], key=0)
    assert (found.verdict, found.power) == (Verdict.COLLAPSED, None)
    assert block_verdict(np.ones((20, 3)), np.ones((20, 2)), key=0).verdict is Verdict.INCONCLUSIVE


def test_verdicts_of_other_codes_that_fail_are_not_identified():
    rng = np.random.default_rng(1)
    dead = np.c_[CONTENT[:, :3], np.full(500, 0.2)]
    for code in (dead, CONTENT[:, :3] @ rng.normal(size=(3, 16)), rng.normal(size=(500, 8)), CONTENT**2):
        found = block_verdict(code, CONTENT, key=0, config=SMALL)
        assert found.verdict is Verdict.NOT_IDENTIFIED
        assert found.collapse is None
    # One direction holds nearly all of the variance, and the code is exact all the same.
    ill = CONTENT @ np.diag([1, 1e-3, 1e-3, 1e-3]) @ np.linalg.qr(rng.normal(size=(4, 4)))[0]
    assert collapse(ill, CONTENT).kind == "dimensional"
    assert containment_verdict(ill, CONTENT, key=0, config=SMALL).verdict is not Verdict.COLLAPSED


def test_verdict_of_a_copy_of_the_input_is_no_collapse():
    content = CONTENT[:, :2]
    loud = np.c_[content, 200 * CONTENT[:, 2:3]] @ np.linalg.qr(RNG.normal(size=(3, 3)))[0]
    assert collapse(loud, content).used < 1.25
    assert block_verdict(loud, content, key=0, config=SMALL).verdict is not Verdict.COLLAPSED


def test_verdict_with_others_stays_collapsed():
    found = block_verdict(WIDE, CONTENT, others=RNG.normal(size=500), key=0, config=SMALL)
    assert found.verdict is Verdict.COLLAPSED


def test_claims_and_assertions_know_collapse():
    found = block_verdict(WIDE, CONTENT, key=0, config=SMALL)
    claim = block_claim("the code identifies z", found)
    assert claim.holds is False
    assert "vary along 1.00 directions" in claim.reason
    assert type(claim).from_dict(claim.to_dict()) == claim
    assert assert_not_identified(WIDE, CONTENT, key=0, config=SMALL).verdict is Verdict.COLLAPSED
    with pytest.raises(AssertionError, match="expected the latents to be identified, found collapsed"):
        assert_identified(WIDE, CONTENT, key=0, config=SMALL)
