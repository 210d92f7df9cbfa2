"""The demo's scenes: a small transformer that fills in hidden patches, and what it made of images it never saw."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from hlvm import mae
from hlvm.demo.setting import DemoConfig
from hlvm.mae import ArrayData, Fit, Member
from hlvm.mae.pixels import graph_of_patches
from hlvm.masking import RandomMask
from hlvm.study.measuring import microbatch_of
from hlvm.study.pictures import Pictures, pictures_of

__all__ = ["SceneFit", "train_on_scenes"]

_SHOWN = 8
"""Scenes that are kept out of training, to be shown."""


class SceneFit(NamedTuple):
    """A transformer that was trained on scenes, and its pictures.

    Attributes:
        fit: the transformer.
        pictures: scenes it was not trained on, what its encoder saw of them, and its reconstructions.
    """

    fit: Fit
    pictures: Pictures


def train_on_scenes(key: Any, config: DemoConfig, advance: Callable[[int, int], None]) -> SceneFit:
    """Train a transformer on scenes, and let it reconstruct others.

    Args:
        key: a JAX key.
        config: what is run.
        advance: called with steps done, and steps in all.
    """
    keys = dict(zip(("images", "training", "masks"), jax.random.split(key, 3), strict=True))
    scenes, drawn = config.scenes, config.scene_images
    # One call draws both: each other number of images is another program to compile.
    images = np.asarray(scenes.sample(keys["images"], drawn + _SHOWN).images)
    data = ArrayData(graph=graph_of_patches(scenes.graph, scenes.shape), parts=(images[:drawn],))
    member = Member(mask=RandomMask(ratio=config.scene_ratio), network=config.scene_network)
    fit = mae.fit(
        keys["training"],
        data,
        member.mask,
        member.network,
        config.scene_train,
        on_progress=lambda p: advance(p.step, p.steps),
        microbatch=microbatch_of([member], config.scene_train.batch, None),
    )
    rows = np.asarray(mae.rows_of_images(images[drawn:], data.graph))
    masked = np.asarray(RandomMask(ratio=config.scene_ratio).sample(keys["masks"], len(rows), data.graph))
    shown = {
        "arm": f"ratio {config.scene_ratio:g}",
        "shape": scenes.shape,
        "rows": rows,
        "masked": masked,
        "reconstructed": np.asarray(mae.reconstruct(fit, rows, masked)),
    }
    return SceneFit(fit, pictures_of(data.graph, [shown]))
