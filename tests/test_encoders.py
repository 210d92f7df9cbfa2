"""Encoders from outside: functions, transformers, objects with encode; what comes out of them is checked."""

import dataclasses
import subprocess
import sys
import warnings

import numpy as np
import pytest
from sklearn.decomposition import PCA, FastICA
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from hlvm._numbers import UsageError
from hlvm.encoders import EncoderWarning, wrap

ROWS = np.random.default_rng(0).normal(size=(40, 5)).astype(np.float32)


@dataclasses.dataclass
class Given:
    """Stand-in for what a study fits an encoder on."""

    seed: int = 0

    def rows(self):
        return ROWS + self.seed


class Halves:
    """An object with a method ``encode``."""

    def encode(self, rows):
        return rows / 2


# ---------------------------------------------------------------------- kinds


def test_wrap_takes_a_function_and_gives_its_codes():
    encoder = wrap(lambda rows: rows[:, :2], name="two")
    np.testing.assert_array_equal(encoder(ROWS), ROWS[:, :2])
    assert (encoder.name, encoder.kind, encoder.sees, encoder.units) == ("two", "function", "rows", "standard")
    assert wrap(encoder, name="other").name == "other"
    assert wrap(encoder) is not None
    assert repr(encoder) == "Encoder('two', function, sees rows)"


def test_wrap_takes_an_object_with_encode():
    encoder = wrap(Halves())
    assert (encoder.name, encoder.kind) == ("Halves", "encode")
    np.testing.assert_array_equal(encoder(ROWS), ROWS / 2)


def test_wrap_makes_one_column_of_one_number_per_row():
    assert wrap(lambda rows: rows.mean(axis=1))(ROWS).shape == (40, 1)


def test_wrap_takes_a_fitted_transformer():
    pca = PCA(2).fit(ROWS)
    np.testing.assert_allclose(wrap(pca)(ROWS), pca.transform(ROWS))
    assert wrap(pca).kind == "scikit-learn"
    assert wrap(FunctionTransformer(np.tanh))(ROWS).shape == ROWS.shape  # it has nothing to fit


def test_wrap_calls_at_most_a_batch_at_a_time():
    sizes = []

    def noted(rows):
        sizes.append(len(rows))
        return rows

    np.testing.assert_array_equal(wrap(noted, batch=16)(ROWS), ROWS)
    assert sizes == [2, 16, 16, 8]  # two rows are tried first


def test_encoder_gets_the_mask_beside_masked_rows_and_a_transformer_does_not():
    masked = np.arange(200).reshape(40, 5) % 2 == 0
    encoder = wrap(lambda rows, hidden: np.where(hidden, 0, rows), mask=object())
    np.testing.assert_array_equal(encoder(ROWS, masked), np.where(masked, 0, ROWS))
    assert wrap(PCA(2).fit(ROWS))(ROWS, masked).shape == (40, 2)


# ---------------------------------------------------------------------- fitting


def test_fitted_clones_a_transformer_and_gives_it_the_seed():
    ica = FastICA(2, whiten="unit-variance")
    encoder = wrap(make_pipeline(StandardScaler(), ica), fit=True, name="ICA")
    made = encoder.fitted(Given(seed=3))
    by_hand = make_pipeline(StandardScaler(), FastICA(2, whiten="unit-variance", random_state=3)).fit(ROWS + 3)
    np.testing.assert_allclose(made(ROWS), by_hand.transform(ROWS), rtol=1e-5)
    assert ica.random_state is None
    assert not hasattr(ica, "components_")
    assert made.fitted(Given()) is made


def test_fitted_keeps_a_random_state_that_was_given():
    encoder = wrap(FastICA(2, random_state=7), fit=True)
    by_hand = FastICA(2, random_state=7).fit(ROWS)
    np.testing.assert_allclose(encoder.fitted(Given(seed=0))(ROWS), by_hand.transform(ROWS), rtol=1e-5)


def test_fitted_calls_a_function_with_what_there_is_to_train_on():
    encoder = wrap(lambda batches: lambda rows: rows * batches.seed, fit=True, name="scaled")
    np.testing.assert_array_equal(encoder.fitted(Given(seed=3))(ROWS), 3 * ROWS)
    assert encoder.fitted(Given(seed=3)).name == "scaled"


def test_fingerprint_tells_settings_apart():
    two, again, three = (wrap(PCA(n), fit=True).fingerprint for n in (2, 2, 3))
    assert two == again != three
    assert wrap(lambda batches: len, fit=True).fingerprint == ""


# ---------------------------------------------------------------------- floors


def test_reinitialised_is_the_floor_that_was_given():
    encoder = wrap(lambda rows: rows, floor=lambda rows: rows[:, :1])
    assert encoder.floor == "before training"
    np.testing.assert_array_equal(encoder.reinitialised(0)(ROWS), ROWS[:, :1])


@pytest.mark.parametrize("encoder", [PCA(2).fit(ROWS), lambda rows: rows], ids=["transformer", "function"])
def test_reinitialised_refuses_where_there_is_no_floor(encoder):
    found = wrap(encoder, name="mine")
    assert found.floor.startswith("missing: a ")
    with pytest.raises(UsageError, match=r"encoder 'mine' has no floor: a .* cannot be re-initialised; give floor="):
        found.reinitialised(0)


# ---------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("encoder", "options", "message"),
    [
        ("text", {}, "encoder must be a function of an array, .* got a str"),
        (ROWS, {}, "encoder must be a function .* got a ndarray"),
        (3, {}, "encoder must be a function .* got a int"),
        (PCA, {}, "encoder must be made with its settings, got the class PCA"),
        (PCA(2), {}, r"encoder 'PCA' is a PCA that is not fitted: fit it, or use wrap\(\.\.\., fit=True\)"),
        (PCA(2), {"fit": True, "sees": "images"}, 'sees must be "rows" for a transformer'),
        (Halves(), {"fit": True}, "encoder must be a transformer with fit and transform, or a function of batches"),
        (len, {"sees": "pixels"}, 'sees must be "rows" or "images", got \'pixels\''),
        (len, {"units": "bits"}, 'units must be "standard" or "own", got \'bits\''),
        (len, {"batch": 0}, "batch must be a whole number of at least 1, got 0"),
    ],
)
def test_wrap_refuses(encoder, options, message):
    with pytest.raises(UsageError, match=message):
        wrap(encoder, **options)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda rows: rows[1:], r"must give one row per sample, \(2, dims\), for inputs of shape \(2, 5\) of the test"),
        (lambda rows: rows.sum(), r"must give one row per sample, .* got \(\)"),
        (lambda rows: rows[:, None] * np.ones((1, 3, 1)), r"must give .* got \(2, 3, 5\): make one row of each"),
        (lambda rows: rows[:, :0], "gives codes without numbers"),
        (lambda rows: np.where(rows > 0, np.nan, rows), r"gives NaN or infinite numbers in 2 of 2 rows .* row 0"),
        (lambda rows: rows / 0.0, "gives NaN or infinite numbers in 2 of 2 rows"),
        (
            lambda rows: np.array(["a"] * len(rows)),
            r"gives no numbers for inputs of shape \(2, 5\) .* real numbers, got",
        ),
        (lambda rows: None, "gives no numbers .* got Python objects"),
        (lambda rows: rows @ np.ones((4, 2)), r"fails on inputs of shape \(2, 5\) of the test: ValueError: matmul"),
        (lambda rows: np.ones((len(rows), len(rows))), "gives codes of 2 to 40 dims, depending on how many samples"),
    ],
)
@pytest.mark.filterwarnings("ignore:divide by zero")
def test_encoder_says_what_is_wrong_with_its_codes_in_one_line(function, message):
    with pytest.raises(UsageError, match=f"^encoder 'mine' {message}") as caught:
        wrap(function, name="mine")(ROWS, data="the test")
    assert "\n" not in str(caught.value)


def test_encoder_that_is_to_be_fitted_has_no_codes():
    with pytest.raises(UsageError, match="encoder 'PCA' is not fitted yet"):
        wrap(PCA(2), fit=True)(ROWS)


@pytest.mark.parametrize(
    ("train", "message"),
    [
        (lambda batches: None, "encoder 'mine' must return an encoder when it is called with batches, got a NoneType"),
        (lambda batches: ROWS, "must return an encoder .* got a ndarray"),
        (lambda batches: 1 / 0, r"encoder 'mine' could not be fitted on Given\(seed=0\): ZeroDivisionError: division"),
    ],
)
def test_fitted_refuses_what_makes_no_encoder(train, message):
    with pytest.raises(UsageError, match=message):
        wrap(train, fit=True, name="mine").fitted(Given())


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda rows: np.ones((len(rows), 2)), "encoder 'mine' gives all 40 samples the same code: it has collapsed"),
        (lambda rows: rows[::-1], "encoder 'mine' gives samples other codes when they come alone"),
        (lambda rows: rows - rows.mean(axis=0), "a code depends on the other samples"),
    ],
)
def test_encoder_warns_of_codes_that_are_none(function, message):
    with pytest.warns(EncoderWarning, match=message):
        wrap(function, name="mine")(ROWS)


def test_encoder_is_silent_about_codes_that_only_round_otherwise():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        wrap(lambda rows: rows * (1 + 1e-6 * len(rows)))(ROWS)


def test_wrap_imports_neither_torch_nor_sklearn():
    program = (
        "import sys; from hlvm.encoders import wrap; wrap(lambda rows: rows)([[1.0], [2.0]]); "
        "print(sorted({'torch', 'sklearn', 'jax'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
