"""Masked autoencoders: leaks, masks, ensembles against solo runs, divergence, encoding, checkpoints."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hlvm import mae
from hlvm.graph import LatentGraph
from hlvm.mae import BottleneckConfig, HeldOut, Member, TrainConfig, ViTConfig
from hlvm.mae.networks.blocks import Block, sine_cosine_positions
from hlvm.mae.networks.networks import init_flat
from hlvm.mae.networks.tokens import Tokens
from hlvm.mae.training.program import EXPLODED
from hlvm.masking import FixedMask, RandomMask
from hlvm.mechanisms import InvertibleMLP, LinearGaussian
from hlvm.simulator import HierarchicalModel
from hlvm.theory import GaussianOracle

SHORT = TrainConfig(steps=12, batch=32, warmup=2)
VIT = ViTConfig(width=16, depth=2, heads=2, decoder_width=16)


@pytest.fixture(scope="module")
def model() -> HierarchicalModel:
    return HierarchicalModel.init(jax.random.key(0), LatentGraph.quadtree(2), InvertibleMLP())


@pytest.fixture(scope="module")
def trained(model):
    """Two ViT ratios x units x seeds and three bottlenecks, trained together."""
    members = [
        *(Member(mask=RandomMask(ratio=0.5, unit=u), network=VIT, seed=s) for u in (1, 2) for s in (0, 1)),
        *(Member(mask=FixedMask(masked=("x_0_0",)), network=BottleneckConfig(code_dim=d, width=16)) for d in (2, 3)),
        Member(mask=FixedMask(masked=("x_0_0", "x_3_3")), network=BottleneckConfig(code_dim=3, width=16)),
    ]
    return members, mae.fit_ensemble(jax.random.key(1), model, members, SHORT)


# ---------------------------------------------------------------------- training


@pytest.mark.parametrize("index", [0, 3, 5, 6])
def test_ensemble_member_has_the_losses_of_its_solo_run(model, trained, index):
    members, fits = trained
    solo = mae.fit_ensemble(jax.random.key(1), model, [members[index]], SHORT)[0]
    # Float32 sums in another order; Adam amplifies it a little over 12 steps.
    np.testing.assert_allclose(fits[index].losses, solo.losses, rtol=2e-4)


def test_paired_members_start_alike_and_seeds_differ(trained):
    _, fits = trained
    start = [np.asarray(fit.untrained().params) for fit in fits[:4]]
    assert (start[0] == start[2]).all()  # other unit, same seed
    assert (start[0] != start[1]).any()  # other seed


def test_fit_reaches_the_bayes_loss_of_the_gaussian_oracle():
    """One root of one dim: a code of one number can carry all that the visible leaf tells."""
    graph = LatentGraph.tree(2, 1, root_dim=1, noise_dim=1)
    tree = HierarchicalModel.init(jax.random.key(0), graph, LinearGaussian(snr=4.0))
    mask = FixedMask(masked=("x_0",))
    train = TrainConfig(steps=600, batch=256, learning_rate=3e-3)
    fit = mae.fit(jax.random.key(1), tree, mask, BottleneckConfig(code_dim=1, width=32), train)
    bayes = GaussianOracle(tree).bayes_loss(["x_0"]).relative
    # 100 steps x 256 samples x 2 columns: the mean loss is known to about 1 %, and training ends within a few per cent.
    assert 0.95 < fit.losses[-100:].mean() / bayes < 1.1
    sample = tree.sample(jax.random.key(2), 500)
    code = np.asarray(mae.encode(fit, sample, mask))[:, 0]
    recovered = np.corrcoef(code, np.asarray(sample.latents["z1_0"])[:, 0])[0, 1] ** 2
    assert recovered == pytest.approx(GaussianOracle(tree).latent_r2(["x_0"])["z1_0"], abs=0.1)


def test_training_is_reproducible_bit_for_bit(model):
    mask, config = FixedMask(masked=("x_0_0",)), BottleneckConfig(code_dim=2, width=8)
    first, second = (mae.fit(jax.random.key(7), model, mask, config, SHORT) for _ in range(2))
    assert (first.losses == second.losses).all()
    assert (first.params == second.params).all()


def test_progress_counts_steps_and_programs(model):
    seen = []
    members = [
        Member(mask=FixedMask(masked=("x_0_0",)), network=BottleneckConfig(code_dim=2, width=w)) for w in (8, 12)
    ]
    mae.fit_ensemble(
        jax.random.key(0), model, members, TrainConfig(steps=150, batch=8, warmup=1), on_progress=seen.append
    )
    assert [(p.group, p.step, p.n_groups, p.members) for p in seen] == [
        (0, 100, 2, (0,)),
        (0, 150, 2, (0,)),
        (1, 100, 2, (1,)),
        (1, 150, 2, (1,)),
    ]


def test_diverging_member_stops_and_leaves_the_others_running(model, monkeypatch):
    """One member of two starts from NaN: it stops at once, the other ends as it does alone."""
    mask = FixedMask(masked=("x_0_0",))
    members = [Member(mask=mask, network=BottleneckConfig(code_dim=2, width=8), seed=s) for s in (0, 1)]
    alone = mae.fit_ensemble(jax.random.key(0), model, members[1:], SHORT)[0]

    def poisoned(network, keys):
        return init_flat(network, keys).at[0].set(jnp.nan)

    monkeypatch.setattr("hlvm.mae.objectives.base.init_flat", poisoned)
    with pytest.warns(mae.DivergenceWarning, match="1 of 2 diverged and stopped early: member 0 after 0 steps"):
        broken, sound = mae.fit_ensemble(jax.random.key(0), model, members, SHORT)
    assert broken.diverged
    assert "0 steps, diverged" in repr(broken)
    assert len(broken.losses) == 0
    assert not sound.diverged
    np.testing.assert_allclose(sound.losses, alone.losses, rtol=2e-4)


@pytest.mark.parametrize("learning_rate", [10.0, 1e30])  # losses that would stay finite, and that would not
def test_exploding_training_keeps_the_last_sound_parameters(model, learning_rate):
    huge = TrainConfig(steps=60, batch=16, warmup=0, learning_rate=learning_rate)
    mask, network = FixedMask(masked=("x_0_0",)), BottleneckConfig(code_dim=2, width=8)
    with pytest.warns(mae.DivergenceWarning, match="1 of 1 diverged"):
        fit = mae.fit(jax.random.key(0), model, mask, network, huge)
    assert fit.diverged
    assert 0 < len(fit.losses) < 60
    assert (fit.losses <= EXPLODED).all()
    assert np.isfinite(np.asarray(fit.params)).all()


# ---------------------------------------------------------------------- encoding


def test_encode_shapes(model, trained):
    _, fits = trained
    sample = model.sample(jax.random.key(9), 6)
    assert mae.encode(fits[0], sample, None).shape == (6, 16)
    assert mae.encode(fits[0], sample, None, pooling="class").shape == (6, 16)
    assert mae.encode(fits[0], sample, None, pooling="tokens").shape == (6, 17, 16)
    assert mae.encode(fits[0], sample, ["x_0_0", "x_3_3"], pooling="tokens").shape == (6, 15, 16)
    assert mae.encode(fits[4], sample, ["x_0_0"]).shape == (6, 2)


def test_no_rows_have_no_codes_and_no_reconstructions(model, trained):
    _, fits = trained
    for fit, width in ((fits[0], 16), (fits[4], 2)):
        none = model.sample(jax.random.key(9), 1).observed_matrix[:0]
        assert mae.encode(fit, none, ["x_0_0"]).shape == (0, width)
        assert mae.reconstruct(fit, none, ["x_0_0"]).shape == none.shape
        images = np.zeros((0, 8, 8, 1), np.float32)  # 2 x 2 pixels per variable of 4 numbers
        assert mae.encode(fit, images, ["x_0_0"]).shape == (0, width)
    assert mae.attention(fits[0], none, ["x_0_0"]).weights.shape[0] == 0


def test_encode_takes_a_sample_its_observed_part_or_a_matrix(model, trained):
    _, fits = trained
    sample = model.sample(jax.random.key(9), 3)
    codes = mae.encode(fits[4], sample, ["x_0_0"])
    for same in (sample.observed, dict(sample.observed), sample.observed_matrix, np.asarray(sample.observed_matrix)):
        assert (mae.encode(fits[4], same, ["x_0_0"]) == codes).all()
    with pytest.raises(ValueError, match="no values for 'x_0_0'"):
        mae.encode(fits[4], {"x_0_1": codes}, ["x_0_0"])


def test_encode_ignores_masked_values(model, trained):
    _, fits = trained
    values = np.array(model.sample(jax.random.key(9), 4).observed_matrix)
    changed = values.copy()
    changed[:, :4] += 100.0
    for fit in (fits[0], fits[5]):
        assert (mae.encode(fit, values, ["x_0_0"]) == mae.encode(fit, changed, ["x_0_0"])).all()


def test_encode_row_masks_equal_single_masks(model, trained):
    _, fits = trained
    sample = model.sample(jax.random.key(9), 2)
    rows = np.zeros((2, 16), dtype=bool)
    rows[0, 0] = rows[1, 5] = True
    both = mae.encode(fits[0], sample, rows)
    for i, name in enumerate(("x_0_0", "x_1_1")):
        np.testing.assert_allclose(both[i], mae.encode(fits[0], sample, [name])[i], atol=1e-5)


def test_reconstruct_keeps_the_visible_part(model, trained):
    _, fits = trained
    values = model.sample(jax.random.key(9), 3).observed_matrix
    for fit in (fits[1], fits[6]):
        guess = mae.reconstruct(fit, values, ["x_0_0"])
        np.testing.assert_allclose(guess[:, 4:], values[:, 4:], atol=1e-5)
        assert np.abs(np.asarray(guess[:, :4] - values[:, :4])).max() > 0.01


def test_tokens_of_several_cells_are_cut_and_put_back():
    tokens = Tokens(grid=(4, 4), cell_dims=(4,) * 16, patch=2)
    values = jax.random.normal(jax.random.key(0), (3, 64))
    cut = tokens.cut(values)
    cells = values.reshape(3, 4, 4, 4)
    np.testing.assert_array_equal(cut[:, 1], cells[:, :2, 2:].reshape(3, 16))
    np.testing.assert_array_equal(tokens.join(cut), values)


def test_vit_block_attention_equals_jax_dot_product_attention():
    block = Block(width=8, heads=2, mlp_ratio=1)
    tokens = jax.random.normal(jax.random.key(0), (2, 5, 8))
    params = block.init(jax.random.key(1), tokens)["params"]
    # Without its perceptron the block is: tokens + projection of attention over normed tokens.
    for name in ("kernel", "bias"):
        params["Dense_1"][name] = jnp.zeros_like(params["Dense_1"][name])
    mean, spread = tokens.mean(-1, keepdims=True), tokens.std(-1, keepdims=True)
    normed = (tokens - mean) / jnp.sqrt(spread**2 + 1e-6)
    mixed = jnp.einsum("ntw,whd->nthd", normed, params["DenseGeneral_0"]["kernel"])
    query, key, value = jnp.split(mixed + params["DenseGeneral_0"]["bias"], 3, axis=-1)
    attended = jax.nn.dot_product_attention(query, key, value)
    expected = tokens + jnp.einsum("nthd,hdw->ntw", attended, params["DenseGeneral_1"]["kernel"])
    np.testing.assert_allclose(block.apply({"params": params}, tokens)[0], expected, atol=1e-5)


def test_sine_cosine_positions_are_distinct_and_bounded():
    positions = sine_cosine_positions(8, 4, 16)
    assert positions.shape == (32, 16)
    assert np.abs(positions).max() <= 1
    distance = np.linalg.norm(positions[:, None] - positions[None], axis=-1) + 10 * np.eye(32)
    assert distance.min() > 0.1


# ---------------------------------------------------------------------- checkpoints


def test_save_and_load_fits_round_trip(tmp_path, model, trained):
    _, fits = trained
    mae.save_fits(tmp_path / "fits", fits)
    loaded = mae.load_fits(tmp_path / "fits")
    sample = model.sample(jax.random.key(9), 4)
    assert (
        loaded[0].model.sample(jax.random.key(3), 2).values.tolist()
        == model.sample(jax.random.key(3), 2).values.tolist()
    )
    mae.save_fits(tmp_path / "mixed", [loaded[0], fits[1]])  # equal generators are the same generator
    for before, after in zip(fits, loaded, strict=True):
        assert (after.mask, after.network, after.train, after.seed) == (
            before.mask,
            before.network,
            before.train,
            before.seed,
        )
        assert (after.losses == before.losses).all()
        assert (mae.encode(after, sample, None) == mae.encode(before, sample, None)).all()
        assert (after.untrained().params == before.untrained().params).all()


def test_save_fits_refuses_to_overwrite_and_leaves_nothing_behind(tmp_path, trained):
    _, fits = trained
    (tmp_path / "fits").mkdir()
    (tmp_path / "fits" / "kept.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="exists already"):
        mae.save_fits(tmp_path / "fits", fits)
    assert [p.name for p in tmp_path.rglob("*")] == ["fits", "kept.txt"]


def test_fits_without_a_step_are_saved(model, trained, tmp_path):
    """Those that diverged at once, before the first report on rows held out, and untrained ones."""
    _, fits = trained
    rows = np.zeros(0)
    early = dataclasses.replace(fits[0].untrained(), diverged=True, held_out=HeldOut(np.arange(3), rows, rows))
    mae.save_fits(tmp_path / "fits", [early, fits[0].untrained(), fits[0]])
    found = mae.load_fits(tmp_path / "fits")
    assert [len(fit.losses) for fit in found] == [0, 0, 12]
    assert [fit.diverged for fit in found] == [True, False, False]
    assert [None if fit.held_out is None else [len(part) for part in fit.held_out] for fit in found] == [
        [3, 0, 0],
        None,
        None,
    ]


def test_load_fits_rejects_other_folders(tmp_path):
    with pytest.raises(FileNotFoundError, match="no-such-folder"):
        mae.load_fits(tmp_path / "no-such-folder")
    for text in ("{}", "[]"):
        (tmp_path / "fits.json").write_text(text)
        with pytest.raises(ValueError, match="does not hold fits"):
            mae.load_fits(tmp_path)
    with pytest.raises(ValueError, match="not a folder"):
        mae.load_fits(tmp_path / "fits.json")


def test_load_fits_says_where_those_of_a_run_or_a_study_are(tmp_path):
    with pytest.raises(ValueError, match="holds no fits: give a folder that hlvm train"):
        mae.load_fits(tmp_path)
    for group in ("g1-b", "g0-a"):
        (tmp_path / "fits" / group).mkdir(parents=True)
        (tmp_path / "fits" / group / "fits.json").write_text("{}")
    with pytest.raises(ValueError, match=r"apart: give \S*g0-a or another of 2 such folders"):
        mae.load_fits(tmp_path)
    (tmp_path / "fits" / "fits.json").write_text("{}")
    with pytest.raises(ValueError, match=r"holds no fits itself: give \S*fits$"):
        mae.load_fits(tmp_path)


# ---------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: BottleneckConfig(code_dim=0), "code_dim must be a whole number of at least 1"),
        (lambda: ViTConfig(width=10), "width must be a multiple of 4"),
        (lambda: TrainConfig(steps=10, warmup=10), "warmup must lie in"),
        (lambda: TrainConfig(learning_rate=0.0), "learning_rate must be a finite number, above 0"),
        (lambda: TrainConfig(weight_decay=float("nan")), "weight_decay must be a finite number"),
        (lambda: Member(mask=RandomMask(ratio=0.5), network=VIT, seed=-1), "seed must be a whole number of at least 0"),
        (lambda: Member(mask=RandomMask(ratio=0.5), network=VIT, seed=2**32), r"seed must be at most 2\*\*32 - 1"),
    ],
)
def test_configs_refuse_bad_values(make, match):
    with pytest.raises(ValueError, match=match):
        make()


@pytest.mark.parametrize(
    ("mask", "config", "match"),
    [
        (FixedMask(masked=("z2_0_0",)), BottleneckConfig(code_dim=1), "is a latent"),
        (FixedMask(masked=("nope",)), BottleneckConfig(code_dim=1), "not a variable"),
        (RandomMask(ratio=0.01), BottleneckConfig(code_dim=1), "nothing would be masked"),
        (RandomMask(ratio=0.5, unit=1), ViTConfig(patch=2), "cuts through the network's tokens"),
        (FixedMask(masked=("x_0_0",)), ViTConfig(patch=2), "cuts through the network's tokens"),
        (RandomMask(ratio=0.5), ViTConfig(patch=3), "does not divide"),
    ],
)
def test_fit_refuses_what_does_not_fit_together_before_training(model, mask, config, match):
    with pytest.raises(ValueError, match=match):
        mae.fit(jax.random.key(0), model, mask, config, SHORT)


def test_fit_ensemble_names_the_member_at_fault(model):
    good = Member(mask=FixedMask(masked=("x_0_0",)), network=BottleneckConfig(code_dim=1))
    bad = dataclasses.replace(good, mask=FixedMask(masked=("nope",)))
    with pytest.raises(ValueError, match="member 1: "):
        mae.fit_ensemble(jax.random.key(0), model, [good, bad], SHORT)
    with pytest.raises(ValueError, match="at least one member"):
        mae.fit_ensemble(jax.random.key(0), model, [], SHORT)


def test_encode_refuses_wrong_input(model, trained):
    _, fits = trained
    values = model.sample(jax.random.key(0), 3).observed_matrix
    with pytest.raises(ValueError, match=r"observed must have shape \(n, 64\)"):
        mae.encode(fits[0], values[:, :5], None)
    with pytest.raises(ValueError, match="one mask per sample"):
        mae.encode(fits[0], values, np.eye(4, 16, dtype=bool))
    uneven = np.zeros((3, 16), dtype=bool)
    uneven[0, :2] = uneven[1:, 0] = True
    with pytest.raises(ValueError, match="different numbers of tokens visible"):
        mae.encode(fits[0], values, uneven, pooling="tokens")
    graph = LatentGraph.tree(16, 1, root_dim=3, noise_dim=1)  # as many columns, another graph
    other = HierarchicalModel.init(jax.random.key(0), graph, InvertibleMLP()).sample(jax.random.key(0), 3)
    with pytest.raises(ValueError, match="another graph"):
        mae.encode(fits[0], other, None)


def test_fit_refuses_an_empty_list_of_devices(model):
    with pytest.raises(ValueError, match="devices is empty"):
        mae.fit(jax.random.key(0), model, RandomMask(ratio=0.5), VIT, SHORT, devices=[])
