"""Quadtree images: pixels are the model's values, and back. Contact sheets: every pixel in its place."""

import jax
import numpy as np
import pytest

from hlvm.graph import LatentGraph
from hlvm.images import QuadtreeImages, contact_sheet, latents_of_patches, save_png
from hlvm.mechanisms import InvertibleMLP, LinearGaussian
from hlvm.simulator import HierarchicalModel
from hlvm.theory import check_assumptions


@pytest.mark.parametrize(
    ("height", "root_dim", "shape"), [(1, 1, (2, 4, 1)), (2, 2, (8, 8, 1)), (2, 4, (8, 12, 1)), (3, 1, (16, 16, 1))]
)
def test_images_have_one_pixel_per_observed_dim(height, root_dim, shape):
    images = QuadtreeImages.init(jax.random.key(0), height=height, root_dim=root_dim)
    sample = images.model.sample(jax.random.key(1), 3)
    assert images.shape == shape
    assert images.render(sample.observed_matrix).shape == (3, *shape)
    assert np.prod(shape) == sample.observed_matrix.shape[1]


@pytest.mark.parametrize(("height", "noise_dim", "side"), [(1, 1, 4), (2, 1, 8), (3, 1, 16), (4, 1, 48), (2, 4, 12)])
def test_init_draws_square_images_of_square_cells(height, noise_dim, side):
    images = QuadtreeImages.init(0, height=height, noise_dim=noise_dim, mechanism=LinearGaussian())
    assert images.shape == (side, side, 1)
    assert images.cell_pixels == (side // 2**height,) * 2


def test_init_keeps_the_dims_that_it_is_given():
    assert QuadtreeImages.init(0, height=2, root_dim=3, mechanism=LinearGaussian()).shape == (4, 20, 1)


def test_init_refuses_sizes_out_of_range():
    with pytest.raises(ValueError, match="height must be a whole number of at least 1, got 0"):
        QuadtreeImages.init(0, height=0)
    with pytest.raises(ValueError, match="noise_dim must be"):
        QuadtreeImages.init(0, height=2, noise_dim=0)


@pytest.mark.parametrize(
    ("size", "height", "root_dim", "noise_dim"),
    [
        (8, 2, 2, 1),
        (16, 2, 8, 4),
        *(pytest.param(*sizes, marks=pytest.mark.slow) for sizes in ((32, 3, 4, 4), (64, 4, 4, 3))),
    ],
)
def test_sample_shows_the_models_sample_from_8_to_64_pixels(size, height, root_dim, noise_dim):
    images = QuadtreeImages.init(  # a mechanism that compiles fast
        jax.random.key(0), height=height, root_dim=root_dim, noise_dim=noise_dim, mechanism=LinearGaussian()
    )
    found, behind = images.sample(jax.random.key(1), 2), images.model.sample(jax.random.key(1), 2)
    assert images.shape == (size, size, 1)
    assert found.graph == images.graph
    assert (images.graph.grid, images.n_values) == ((2**height, 2**height), {})
    np.testing.assert_array_equal(found.images, images.render(behind.observed_matrix))
    assert list(found.latents) == list(images.graph.latents)
    for name, value in found.latents.items():
        np.testing.assert_array_equal(value, behind.latents[name])
    assert list(found.noise) == list(images.graph.nodes)
    for name, value in found.noise.items():
        np.testing.assert_array_equal(value, behind.noise[name])
    np.testing.assert_array_equal(found.latent_matrix(), behind.latent_matrix())
    picked = list(images.graph.latents[1:3])
    np.testing.assert_array_equal(
        behind.latent_matrix(picked), np.concatenate([behind.latents[name] for name in picked], axis=1)
    )
    for wrong, message in ((["x_0_0"], "'x_0_0' is not a latent of this sample"), ([], "names is empty")):
        with pytest.raises(ValueError, match=message):
            behind.latent_matrix(wrong)


def test_sample_sets_latents_and_changes_their_squares_only():
    images = QuadtreeImages.init(jax.random.key(0), height=2)
    plain = images.sample(jax.random.key(1), 5)
    value = plain.latents["z1_0_1"] + 1
    moved = images.sample(jax.random.key(1), 5, do={"z1_0_1": value})
    np.testing.assert_array_equal(moved.latents["z1_0_1"], value)
    changed = (np.asarray(plain.images) != np.asarray(moved.images))[..., 0]
    assert changed[:, :4, 4:].any(axis=(1, 2)).all()
    assert not changed[:, 4:].any()
    assert not changed[:, :, :4].any()
    assert check_assumptions(images.graph, images.model).ok
    reached = latents_of_patches(images.graph)
    assert {name for name, above in reached.items() if "z1_0_1" in above} == {"x_0_2", "x_0_3", "x_1_2", "x_1_3"}


def test_unrender_inverts_render():
    images = QuadtreeImages.init(jax.random.key(0), height=2)
    sample = images.model.sample(jax.random.key(1), 200)
    pictures = images.render(sample.observed_matrix)
    assert 0 < float(pictures.min()) < float(pictures.max()) < 1
    # float32 near 0 and 1: a grey level of 1 - 1e-4 has its logit known to about 1e-3.
    np.testing.assert_allclose(images.unrender(pictures), sample.observed_matrix, atol=2e-3)


def test_render_draws_each_cell_at_its_place():
    images = QuadtreeImages.init(jax.random.key(0), height=1, root_dim=3)  # 2 x 2 cells of 2 x 2 pixels
    values = np.zeros((1, 16), dtype=np.float32)
    cell = images.graph.observed.index("x_1_0")
    values[0, 4 * cell : 4 * cell + 4] = 5.0
    picture = np.asarray(images.render(jax.numpy.asarray(values)))[0, ..., 0]
    assert (picture[2:, :2] > 0.9).all()
    assert (np.delete(picture.ravel(), [8, 9, 12, 13]) == 0.5).all()


def test_images_take_another_mechanism():
    images = QuadtreeImages.init(jax.random.key(0), height=1, mechanism=LinearGaussian())
    assert not images.model.invertible


def test_images_refuse_graphs_they_cannot_draw():
    tree = HierarchicalModel.init(jax.random.key(0), LatentGraph.tree(4, 1), InvertibleMLP())
    with pytest.raises(ValueError, match="form a grid"):
        QuadtreeImages(tree)
    graph = LatentGraph.from_edges(
        [("a", "x"), ("a", "y")], noise_dims={"a": 1, "x": 1, "y": 2}, observed=["x", "y"], grid=(1, 2)
    )
    with pytest.raises(ValueError, match="equal dims"):
        QuadtreeImages(HierarchicalModel.init(jax.random.key(0), graph, InvertibleMLP()))


def test_unrender_refuses_other_images():
    images = QuadtreeImages.init(jax.random.key(0), height=1)
    with pytest.raises(ValueError, match="must have shape"):
        images.unrender(np.full((2, 3, 3, 1), 0.5, dtype=np.float32))
    with pytest.raises(ValueError, match="strictly between 0 and 1"):
        images.unrender(np.zeros((1, *images.shape), dtype=np.float32))


# ---------------------------------------------------------------------- contact sheets


@pytest.mark.parametrize("channels", [1, 3])
def test_contact_sheet_puts_every_pixel_in_its_place(channels):
    images = np.random.default_rng(0).uniform(size=(5, 3, 2, channels))
    sheet = contact_sheet(images, columns=3, pad=2, scale=2)
    gap = 4
    assert sheet.shape == (gap + 2 * (6 + gap), gap + 3 * (4 + gap), channels)
    seen = np.zeros(sheet.shape, dtype=bool)
    for i, image in enumerate(images):
        for row in range(6):
            for column in range(4):
                place = gap + i // 3 * (6 + gap) + row, gap + i % 3 * (4 + gap) + column
                np.testing.assert_array_equal(sheet[place], image[row // 2, column // 2])
                seen[place] = True
    assert (sheet[~seen] == 1).all()


def test_contact_sheet_enlarges_small_images_and_draws_captions():
    images = np.full((2, 20, 40, 1), 0.5)
    assert contact_sheet(images, pad=0).shape == (80, 320, 1)
    plain, captioned = contact_sheet(images, pad=0), contact_sheet(images, pad=0, captions=["a star", ""])
    below = captioned[80:]
    np.testing.assert_array_equal(captioned[:80], plain)
    assert below.shape[1] == 320
    assert below[:, :160].min() < 0.5
    assert (below[:, 160:] == 1).all()


def test_contact_sheet_refuses_what_is_not_images():
    images = np.zeros((2, 4, 4, 1))
    with pytest.raises(ValueError, match=r"shape \(n, height, width, 1 or 3\), got \(2, 4, 4, 2\)"):
        contact_sheet(np.zeros((2, 4, 4, 2)))
    with pytest.raises(ValueError, match=r"must lie in \[0, 1\], got 0 to 2: clip"):
        contact_sheet(images.repeat(3, axis=-1) + 2 * np.eye(4)[:, :, None])
    with pytest.raises(ValueError, match="columns must be a whole number of at least 1, got 0"):
        contact_sheet(images, columns=0)
    with pytest.raises(ValueError, match="one caption for each of 2 images, got 1"):
        contact_sheet(images, captions=["a"])


def test_save_png_writes_what_was_given(tmp_path):
    from matplotlib.image import imread

    picture = np.random.default_rng(0).uniform(size=(5, 7, 3))
    save_png(tmp_path / "colour.png", picture)
    save_png(tmp_path / "grey.png", picture[..., :1])
    # PNG holds 8 bits: half a level is the largest error.
    np.testing.assert_allclose(imread(tmp_path / "colour.png")[..., :3], picture, atol=0.501 / 255)
    np.testing.assert_allclose(imread(tmp_path / "grey.png")[..., 1:2], picture[..., :1], atol=0.501 / 255)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["colour.png", "grey.png"]


def test_save_png_refuses_other_files_and_arrays(tmp_path):
    with pytest.raises(ValueError, match=r"saved as \.png files, got 'sheet.jpg'"):
        save_png(tmp_path / "sheet.jpg", np.zeros((2, 2, 3)))
    with pytest.raises(ValueError, match=r"\(height, width, 1 or 3\), got \(2, 2, 4\)"):
        save_png(tmp_path / "sheet.png", np.zeros((2, 2, 4)))
    with pytest.raises(ValueError, match="clip or rescale"):
        save_png(tmp_path / "sheet.png", np.full((2, 2, 3), np.nan))
