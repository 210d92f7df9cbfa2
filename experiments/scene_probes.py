"""Linear probes of the frozen codes of unmasked scenes."""

from __future__ import annotations

import jax
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from hlvm import mae
from hlvm.images import ImageSample, SceneImages
from hlvm.mae import Fit
from hlvm.scoring.regression.threads import own_settings

_AT_ONCE = 500
_STRENGTHS = (1e-4, 1e-2, 1.0)


def codes_of(fit: Fit | None, images: Float[Array, "n h w c"]) -> Float[np.ndarray, "n _"]:
    """The mean token of each unmasked image, or, without an autoencoder, its pixels.

    Args:
        fit: a ViT autoencoder; ``None`` for pixels.
        images: values in [0, 1].
    """
    if fit is None:
        return np.asarray(images).reshape(len(images), -1)
    parts = [images[start : start + _AT_ONCE] for start in range(0, len(images), _AT_ONCE)]
    return np.concatenate([np.asarray(mae.encode(fit, part, None)) for part in parts])


def label_of(sample: ImageSample, latent: str) -> Int[np.ndarray, " n"]:
    """Whole numbers of a category; "shape" and "texture" are those of the first object."""
    name = latent if latent in sample.latents else f"{latent}_0"
    return np.asarray(sample.latents[name])[:, 0].astype(int)


def crossed(scenes: SceneImages, key: PRNGKeyArray, n: int) -> ImageSample:
    """Images whose objects all have one shape and one texture, drawn independently of each other and of the class.

    Args:
        scenes: the generator.
        key: a typed key.
        n: how many.
    """
    of_images, of_shapes, of_textures = jax.random.split(key, 3)
    do = {
        name: jax.random.randint(of_cue, (n,), 0, scenes.n_values[f"{name}_0"])
        for name, of_cue in (("shape", of_shapes), ("texture", of_textures))
    }
    return scenes.sample(of_images, n, do=do)


@own_settings
def linear_probe(codes: Float[np.ndarray, "n d"], labels: Int[np.ndarray, " n"]) -> Pipeline:
    """Multinomial logistic regression on standardised codes.

    How much the weights are held back is chosen among three strengths by the last quarter of the rows; then all rows
    are used.
    """
    kept = 3 * len(codes) // 4

    def fitted(strength: float, rows: slice) -> Pipeline:
        regression = LogisticRegression(C=strength, max_iter=1000, tol=1e-3)
        return make_pipeline(StandardScaler(), regression).fit(codes[rows], labels[rows])

    on_rest = [fitted(strength, slice(kept)).score(codes[kept:], labels[kept:]) for strength in _STRENGTHS]
    return fitted(_STRENGTHS[int(np.argmax(on_rest))], slice(None))


def accuracies(fit: Fit | None, train: ImageSample, test: ImageSample, latents: tuple[str, ...]) -> dict[str, float]:
    """Held-out accuracy of a probe of each latent.

    Args:
        fit: an autoencoder, or ``None`` for pixels.
        train: what the probes are trained on.
        test: what they are tested on.
        latents: categories of the scenes.
    """
    codes = codes_of(fit, train.images), codes_of(fit, test.images)
    return {
        latent: float(linear_probe(codes[0], label_of(train, latent)).score(codes[1], label_of(test, latent)))
        for latent in latents
    }
