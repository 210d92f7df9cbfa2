"""What all experiments on scenes train: arms, images, and refusals."""

import dataclasses

import jax
import numpy as np
import pytest

from experiments.scene_fits import LAPTOP, SMOKE, arms, scene_model, trained, training_data
from hlvm.datasets import Dataset
from hlvm.mae import ImageData


def test_arms_are_the_papers_and_the_shared_one_comes_once():
    found = [(arm["ratio"], arm["unit"]) for arm in arms(LAPTOP)]
    assert found == [(0.1, 2), (0.25, 2), (0.5, 2), (0.75, 2), (0.9, 2), (0.75, 1), (0.75, 4)]


def test_training_images_are_scenes_of_the_model_and_all_different():
    data = training_data(SMOKE)
    assert isinstance(data, Dataset)
    assert data.images is not None
    images = np.asarray(data.images)
    assert images.shape == (64, *scene_model(SMOKE).shape)
    assert data.graph == scene_model(SMOKE).graph
    assert len(np.unique(images.reshape(64, -1), axis=0)) == 64
    others = np.asarray(scene_model(SMOKE).sample(jax.random.key(99), 1000).images)
    brightness, other = (part.mean(axis=(1, 2, 3)) for part in (images, others))
    assert abs(brightness.mean() - other.mean()) < 4 * other.std() / len(images) ** 0.5  # of the same distribution
    training_data.cache_clear()
    np.testing.assert_array_equal(images, np.asarray(training_data(SMOKE).images))


def test_arms_and_generators_are_those_of_a_study():
    study = LAPTOP.study()
    assert [(arm.ratio, arm.unit) for arm in study.arms] == [(arm["ratio"], arm["unit"]) for arm in arms(LAPTOP)]
    assert study.generators == 12
    laws = [study.material(0, number).source for number in (0, 5)]
    assert laws == [scene_model(LAPTOP, number) for number in (0, 5)]
    assert study.train.steps == LAPTOP.steps


@pytest.mark.slow
def test_the_study_of_the_scenes_runs_as_any_other():
    found = dataclasses.replace(SMOKE, units=(1,), unit=1).study().run(0)
    table = found.table("latent")
    assert set(table["arm"]) == {"random ratio=0.25", "random ratio=0.75"}
    assert table["generators"].eq(2).all()
    of_class = table[(table["latent"] == "class") & (table["part"] == "value")]
    assert len(of_class) == 2
    assert of_class["score"].eq("accuracy").all()
    assert of_class["chance"].between(0.05, 0.4).all()  # of eight classes, some more frequent


@pytest.mark.slow
def test_each_arm_is_trained_on_every_generator():
    """Replicates of one arm have their own images and parameters; those of two arms have the same images."""
    fits = [list(trained(SMOKE, arm, None)) for arm in arms(SMOKE)[:2]]
    assert [[fit.seed for fit in of_arm] for of_arm in fits] == [[0, 1], [0, 1]]
    for replicate in (0, 1):
        data = training_data(SMOKE, replicate)
        assert isinstance(data, Dataset)
        for of_arm in fits:
            np.testing.assert_allclose(of_arm[replicate].shift.mean(), np.asarray(data.images).mean(), rtol=1e-4)
    assert not np.array_equal(fits[0][0].shift, fits[0][1].shift)
    seeds = list(trained(dataclasses.replace(SMOKE, generators=1, seeds=2), arms(SMOKE)[0], None))
    assert np.array_equal(seeds[0].shift, seeds[1].shift)
    np.testing.assert_array_equal(seeds[0].untrained().params, fits[0][0].untrained().params)
    np.testing.assert_array_equal(seeds[1].untrained().params, fits[0][1].untrained().params)


def test_without_a_number_of_images_every_step_draws_its_own():
    assert isinstance(training_data(dataclasses.replace(SMOKE, images=None)), ImageData)


def test_the_arm_of_both_series_must_be_in_both():
    with pytest.raises(ValueError, match="must be among"):
        dataclasses.replace(SMOKE, units=(2,))


@pytest.mark.parametrize("images", [0, 31, 33])
def test_numbers_of_images_that_cannot_be_drawn_are_refused(images):
    with pytest.raises(ValueError, match="multiple of 32"):
        dataclasses.replace(SMOKE, images=images)
