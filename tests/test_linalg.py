"""Decompositions that LAPACK's fastest routine gives up on."""

import numpy as np
import pytest

from hlvm import _linalg


@pytest.mark.parametrize("full_matrices", [False, True])
@pytest.mark.parametrize("stack", [(), (2,)])
def test_svd_finishes_where_divide_and_conquer_gives_up(monkeypatch, stack, full_matrices):
    def gives_up(*_, **__):
        raise np.linalg.LinAlgError("SVD did not converge")

    matrix = np.random.default_rng(0).normal(size=(*stack, 5, 3))
    expected = np.linalg.svd(matrix, full_matrices=full_matrices)
    monkeypatch.setattr(np.linalg, "svd", gives_up)
    left, s, right = _linalg.svd(matrix, full_matrices=full_matrices)
    np.testing.assert_allclose(s, expected[1])
    np.testing.assert_allclose(left[..., :3] * s[..., None, :] @ right, matrix)
    assert (left.shape, right.shape) == (expected[0].shape, expected[2].shape)


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_svd_refuses_numbers_that_are_not_finite(wrong):
    with pytest.raises(ValueError, match="infs or NaNs"):
        _linalg.svd(np.array([[1.0, wrong], [1.0, 1.0]]))
