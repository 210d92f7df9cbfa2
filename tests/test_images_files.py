"""Image models in files."""

import json
import shutil

import jax
import numpy as np
import pytest

from hlvm.images import GrammarImages, QuadtreeImages, SceneImages, load_image_model, save_image_model

MODELS = {
    "scenes": SceneImages(size=16, patch=4, objects=(1, 2), n_classes=3, coupling=0.7, colour=False),
    "quadtree": QuadtreeImages.init(jax.random.key(0), height=2),
    "grammar": GrammarImages.init(
        jax.random.key(0), n_symbols=4, n_classes=3, n_synonyms=2, n_levels=2, tuple_size=2, style="grey"
    ),
    "grammar with a law": GrammarImages.init(
        jax.random.key(0),
        n_symbols=4,
        n_classes=3,
        n_synonyms=2,
        n_levels=2,
        tuple_size=2,
        rule_probabilities={1: [0.9, 0.1]},
        class_probabilities=[0.2, 0.3, 0.5],
        leaf_noise=0.1,
        filtered_at=1,
    ),
    "grammar with classes": GrammarImages.init(
        jax.random.key(0), n_symbols=4, n_classes=2, n_synonyms=2, n_levels=1, class_probabilities=[1 / 3, 2 / 3]
    ),
}


@pytest.mark.parametrize("name", MODELS)
def test_loaded_image_model_draws_the_same(name, tmp_path):
    model = MODELS[name]
    save_image_model(model, tmp_path)
    loaded = load_image_model(tmp_path)
    assert type(loaded) is type(model)
    before, after = (m.sample(jax.random.key(1), 3) for m in (model, loaded))
    np.testing.assert_array_equal(before.images, after.images)
    assert loaded.graph == model.graph


def test_saved_grammar_keeps_its_law_to_the_last_bit(tmp_path):
    model = MODELS["grammar with a law"]
    save_image_model(model, tmp_path)
    loaded = load_image_model(tmp_path)
    assert repr(loaded) == repr(model)
    np.testing.assert_array_equal(loaded.class_probabilities, model.class_probabilities)
    assert loaded.rule_probabilities.keys() == {1}
    np.testing.assert_array_equal(loaded.rule_probabilities[1], model.rule_probabilities[1])
    (tmp_path / "probabilities.npz").unlink()
    with pytest.raises(ValueError, match=r"damaged: probabilities\.npz is missing"):
        load_image_model(tmp_path)


def test_saved_grammar_without_a_law_is_as_it_always_was(tmp_path):
    save_image_model(MODELS["grammar"], tmp_path)
    header = json.loads((tmp_path / "images.json").read_text())
    assert list(header["fields"]) == ["n_symbols", "tuple_shape", "patch_pixels", "style"]
    assert list(header["digests"]) == ["rules.npz"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["images.json", "rules.npz"]


def test_load_image_model_refuses_a_law_that_is_not_there(tmp_path):
    save_image_model(MODELS["grammar with a law"], tmp_path)
    shutil.copy(tmp_path / "rules.npz", tmp_path / "probabilities.npz")
    header = json.loads((tmp_path / "images.json").read_text())
    del header["digest"], header["digests"]
    (tmp_path / "images.json").write_text(json.dumps(header))
    with pytest.raises(ValueError, match="damaged: KeyError"):
        load_image_model(tmp_path)


def test_save_image_model_refuses_others(tmp_path):
    with pytest.raises(ValueError, match="got Own"):
        save_image_model(type("Own", (), {})(), tmp_path)


def test_load_image_model_names_what_is_wrong(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"images\.json"):
        load_image_model(tmp_path)
    for content, message in (("{", "damaged"), ("{}", "damaged"), ('{"format": "x", "version": 1}', "format version")):
        (tmp_path / "images.json").write_text(content)
        with pytest.raises(ValueError, match=message):
            load_image_model(tmp_path)
    save_image_model(MODELS["scenes"], tmp_path)
    header = json.loads((tmp_path / "images.json").read_text())
    (tmp_path / "images.json").write_text(json.dumps(header | {"fields": {"sizes": 3}}))
    with pytest.raises(ValueError, match="damaged"):
        load_image_model(tmp_path)
