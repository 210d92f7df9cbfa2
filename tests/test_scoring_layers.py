"""Tables of layers and tokens, and beliefs, against what is planted in them."""

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression

from hlvm.scoring import RegressionConfig, belief_r2, kernel_r2, linear_r2, score_layers

SMALL = RegressionConfig(n_boot=100, bandwidths=(0.5, 1.0, 2.0), ridges=(1e-6, 1e-4, 1e-2, 1.0))
HOW = {"key": 0, "config": SMALL}
RNG = np.random.default_rng(0)
LOW, HIGH, NOISE = RNG.normal(size=(3, 400, 2))
FIRST = np.stack([LOW, NOISE], axis=1)
LAST = np.stack([HIGH, LOW, NOISE], axis=1)
LATENTS, HEIGHTS = {"low": LOW, "high": HIGH[:, 0]}, {"low": 1, "high": 2}


def test_score_layers_finds_what_is_in_each_layer_and_token():
    table = score_layers({"input": NOISE, "first": FIRST, "last": LAST}, LATENTS, heights=HEIGHTS, **HOW)
    assert list(table.columns) == (
        ["layer", "token", "latent", "height", "dim", "score", "value", "low", "high", "chance", "floor", "ceiling"]
    )
    assert table["token"].dtype == "Int64"
    assert len(table) == 2 * (1 + 3 + 4)
    found = table[table["value"] > 0.9][["layer", "token", "latent", "height"]]
    assert found.to_numpy().tolist() == [["first", 0, "low", 1], ["last", 0, "high", 2], ["last", 1, "low", 1]]
    means = table[table["token"].isna()].set_index(["layer", "latent"])["value"]
    assert means["first", "low"] == pytest.approx(0.5, abs=0.1)  # beside one token of noise of equal size
    assert means["last", "low"] == pytest.approx(1 / 3, abs=0.1)
    assert means["input", "low"] < 0.05
    assert (table["chance"].abs() < 0.1).all()
    assert table[["floor", "ceiling"]].isna().all(axis=None)
    assert ((table["low"] <= table["value"]) & (table["value"] <= table["high"])).all()


def test_score_layers_values_are_those_of_the_regression():
    table = score_layers({"last": LAST}, LATENTS, score="kernel_r2", ceiling=np.c_[LOW, HIGH], **HOW)
    of_token = table[(table["token"] == 1) & (table["latent"] == "low")].iloc[0]
    alone = kernel_r2(LAST[:, 1], LOW, groups=np.arange(400), **HOW)
    assert (of_token["value"], of_token["low"], of_token["high"]) == (alone.value, alone.low, alone.high)
    assert of_token["score"] == "kernel_r2"
    assert of_token["ceiling"] == kernel_r2(np.c_[LOW, HIGH], LOW, groups=np.arange(400), **HOW).value
    assert "height" not in table


def test_score_layers_floors_and_means_alone():
    table = score_layers({"first": FIRST, "last": LAST}, LATENTS, floors={"last": LAST[:, ::-1]}, tokens=False, **HOW)
    assert len(table) == 4
    assert table["token"].isna().all()
    assert table["floor"].isna().tolist() == [True, True, False, False]
    full = score_layers({"last": LAST}, LATENTS, floors={"last": LAST[:, ::-1]}, **HOW)
    by_token = full[full["latent"] == "high"].set_index("token")["floor"]
    assert by_token[2] > 0.95 > 0.05 > by_token[0]


def test_score_layers_takes_frames_and_constant_tokens():
    frame = pd.DataFrame({"a": LOW[:, 0], "b": LOW[:, 1]})
    constant = np.stack([np.ones((400, 2)), LOW], axis=1).astype(np.float32)
    table = score_layers({"l": constant}, {"low": frame.sample(frac=1, random_state=0).sort_index()}, **HOW)
    assert table["value"].tolist() == pytest.approx([1, 0, 1], abs=0.03)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"layers": {}}, "expected at least one layer and one latent, got none"),
        ({"latents": {}}, "expected at least one layer and one latent, got none"),
        ({"layers": {"l": LOW[:, 0]}}, r"layer 'l': expected shape \(n, dims\) or \(n, tokens, dims\), got \(400,\)"),
        ({"layers": {"l": LOW[:9]}}, "layer 'l': expected 400 rows, as the latents have, got 9"),
        ({"layers": {"l": LOW * np.nan}}, "layer 'l': expected finite numbers"),
        ({"layers": {"l": LOW.astype(str)}}, "layer 'l': expected real numbers"),
        ({"latents": {"z": LOW, "y": LOW[:20]}}, "latents: expected 400 rows of each, as of z, got 20 of y"),
        ({"latents": {"z": LOW * np.nan}}, "z: expected finite numbers"),
        ({"heights": {}}, "heights: expected an entry for every latent, got none for z"),
        ({"floors": {"m": FIRST}}, "floors: expected names of layers, got m"),
        ({"floors": {"l": LOW}}, r"floors: expected the shape of layer 'l', \(400, 2, 2\), got \(400, 2\)"),
        ({"ceiling": LOW[:9]}, "ceiling: expected 400 rows"),
        ({"score": "mcc"}, "score: expected one of linear_r2, kernel_r2, got 'mcc'"),
    ],
)
def test_score_layers_refuses_bad_input(change, message):
    with pytest.raises(ValueError, match=message):
        score_layers(**{"layers": {"l": FIRST}, "latents": {"z": LOW}, "key": 0} | change)


# ---------------------------------------------------------------------- beliefs


def believed(n, k, rng):
    """Draw what is seen, the exact posterior of a symbol given it, and the symbol."""
    seen = rng.normal(size=(n, k))
    posterior = np.exp(seen) / np.exp(seen).sum(axis=1, keepdims=True)
    symbols = (rng.uniform(size=(n, 1)) > posterior.cumsum(axis=1)).sum(axis=1)
    return seen, posterior, symbols


def test_belief_r2_of_the_belief_itself():
    _, posterior, symbols = believed(3000, 3, np.random.default_rng(0))
    found = belief_r2(posterior @ RNG.normal(size=(3, 8)), posterior, symbols, **HOW)
    assert found.belief.value > 0.999
    # Σ Var(p) / Σ Var(one-hot), in units of each column's variance.
    known = (posterior.var(axis=0) / np.eye(3)[symbols].var(axis=0)).mean()
    assert found.ceiling.value == pytest.approx(known, abs=0.06)
    assert found.ceiling.low < known < found.ceiling.high
    assert found.symbol.value == pytest.approx(found.ceiling.value, abs=0.02)
    assert found.symbol.split.same_as(found.belief.split)


def test_belief_r2_ceiling_is_that_of_scikit_learn():
    _, posterior, symbols = believed(500, 3, np.random.default_rng(1))
    found = belief_r2(posterior, posterior, symbols, **HOW)
    shown, test = np.eye(3)[symbols], found.symbol.split.test
    scale = shown[found.symbol.split.train].std(axis=0)
    errors = ((shown - posterior)[test] / scale) ** 2
    spread = ((shown[test] - shown[test].mean(axis=0)) / scale) ** 2
    assert found.ceiling.value == pytest.approx(1 - errors.sum() / spread.sum())
    train = found.symbol.split.train
    fitted = LinearRegression().fit(posterior[train, :2], shown[train])
    assert found.symbol.value == pytest.approx(fitted.score(posterior[test, :2], shown[test]), abs=0.02)


def test_belief_r2_tells_symbols_from_beliefs():
    _, posterior, symbols = believed(1500, 3, np.random.default_rng(2))
    copied = belief_r2(np.eye(3)[symbols] + 0.01 * RNG.normal(size=(1500, 3)), posterior, symbols, **HOW)
    assert copied.symbol.value > 0.99 > copied.ceiling.high
    assert copied.belief.value < 0.6
    nothing = belief_r2(RNG.normal(size=(1500, 3)), posterior, symbols, score="kernel_r2", **HOW)
    assert abs(nothing.belief.value) < 0.05
    assert nothing.belief.kernel == "rbf"
    alone = linear_r2(posterior[:, :1], posterior, groups=np.arange(1500), **HOW)
    assert belief_r2(posterior[:, :1], posterior, symbols, **HOW).belief.value == pytest.approx(alone.value, abs=1e-6)


def test_belief_r2_of_certainty_and_of_ignorance():
    rng = np.random.default_rng(3)
    symbols = rng.integers(0, 3, 300)
    code = np.eye(3)[symbols] + 0.1 * rng.normal(size=(300, 3))
    certain = belief_r2(code, np.eye(3)[symbols], symbols, **HOW)
    assert certain.ceiling.value == pytest.approx(1)
    assert certain.belief.value == pytest.approx(certain.symbol.value)
    ignorant = belief_r2(code, np.full((300, 3), 1 / 3), symbols, **HOW)
    assert np.isnan(ignorant.belief.value)
    assert ignorant.ceiling.value == pytest.approx(0, abs=0.02)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"posterior": np.log([[0.5, 0.5]] * 400)},
            "posterior: expected probabilities of sum 1 in each row, got a least",
        ),
        ({"posterior": np.ones((400, 1))}, "posterior: expected shape .* with at least 2 symbols"),
        ({"posterior": np.full((400, 2), np.nan)}, "posterior: expected finite numbers"),
        ({"posterior": np.full((20, 2), 0.5)}, "expected one row per sample in both arrays"),
        ({"symbols": np.full(400, 2)}, "symbols: expected whole numbers from 0 to 1, .* got 2"),
        ({"symbols": np.full(400, 0.5)}, "symbols: expected whole numbers from 0 to 1, .* got 0.5"),
        ({"symbols": np.zeros(9)}, r"symbols: expected one for each of the 400 rows, got shape \(9,\)"),
        ({"score": "cca"}, "score: expected one of linear_r2, kernel_r2, got 'cca'"),
    ],
)
def test_belief_r2_refuses_bad_input(change, message):
    sound = {"representation": LOW, "posterior": np.full((400, 2), 0.5), "symbols": np.zeros(400), "key": 0}
    with pytest.raises(ValueError, match=message):
        belief_r2(**sound | change)
