"""Quadtree images: pixels are the model's values, and back."""

import jax
import numpy as np
import pytest

from hlvm.graph import LatentGraph
from hlvm.images import QuadtreeImages
from hlvm.mechanisms import InvertibleMLP, LinearGaussian
from hlvm.simulator import HierarchicalModel


@pytest.mark.parametrize(
    ("height", "root_dim", "shape"), [(1, 1, (2, 4, 1)), (2, 2, (8, 8, 1)), (2, 4, (8, 12, 1)), (3, 1, (16, 16, 1))]
)
def test_images_have_one_pixel_per_observed_dim(height, root_dim, shape):
    images = QuadtreeImages.init(jax.random.key(0), height=height, root_dim=root_dim)
    pictures, sample = images.sample(jax.random.key(1), 3)
    assert images.shape == shape
    assert pictures.shape == (3, *shape)
    assert np.prod(shape) == sample.observed_matrix.shape[1]


def test_unrender_inverts_render():
    images = QuadtreeImages.init(jax.random.key(0), height=2)
    pictures, sample = images.sample(jax.random.key(1), 200)
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
