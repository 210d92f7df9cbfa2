"""Contact sheets of the page on images, drawn by the package when the pages are built."""

from pathlib import Path

import jax
import numpy as np

from hlvm.images import QuadtreeImages, SceneImages, contact_sheet, save_png

KEY = jax.random.key(5)
ROW = 8


def draw_all(folder: Path) -> None:
    """Write every sheet into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, draw in (
        ("scenes_classes", classes),
        ("scenes_kinds", kinds),
        ("scenes_objects", objects),
        ("scenes_conflict", conflict),
        ("scenes_shifts", shifts),
        ("quadtree", quadtree),
    ):
        save_png(folder / f"{name}.png", draw())


def classes() -> np.ndarray:
    """One class in each row."""
    scenes = SceneImages(size=64)
    of_row = np.repeat(np.arange(scenes.n_classes), ROW)
    return contact_sheet(scenes.sample(KEY, len(of_row), do={"class": of_row}).images, columns=ROW)


def kinds() -> np.ndarray:
    """Every shape with every texture."""
    scenes = SceneImages(size=64)
    shape, texture = np.divmod(np.arange(64), 8)
    do = {"shape": shape, "texture": texture, "layout": "middle", "palette": "dusk", "size": 0.95, "rotation": 0.0}
    return contact_sheet(scenes.sample(KEY, 64, do=do, freeze=["background", "lighting", "position"]).images, columns=8)


def objects() -> np.ndarray:
    """Four objects that do not follow the class."""
    scenes = SceneImages(size=64, objects=(2, 2), coupling=0.0)
    return contact_sheet(scenes.sample(KEY, 3 * ROW).images, columns=ROW)


def conflict() -> np.ndarray:
    """First row, second row, and the shapes of the first with the look of the second."""
    scenes = SceneImages(size=64)
    first, second = (scenes.sample(key, ROW) for key in jax.random.split(KEY))
    mixed = scenes.swap(first, second, scenes.low_level)
    return contact_sheet(np.concatenate([first.images, second.images, mixed.images]), columns=ROW)


def shifts() -> np.ndarray:
    """The same noises drawn from the prior, and with one factor out of its usual range in each further row."""
    scenes = SceneImages(size=64, objects=(2, 2), coupling=0.0)
    changes = (
        {},
        {"frequency": (9.0, 12.0)},
        {"rotation": (1.0, 2.0)},
        {"colour": (None, None, (4.0, 4.8))},
        {"lighting": ((2.6, 3.1), (1.0, 1.0))},
        {"texture": {"checks": 0.5, "stripes": 0.5}},
    )
    rows = [scenes.sample(KEY, ROW, shift=shift).images for shift in changes]
    return contact_sheet(np.concatenate(rows), columns=ROW)


def quadtree() -> np.ndarray:
    """Images, the same with one latent redrawn, and the difference: the root, then ever smaller squares."""
    images = QuadtreeImages.init(KEY, height=3, root_dim=4, noise_dim=4)
    before, other = (images.model.sample(key, 1) for key in jax.random.split(KEY))
    first = images.render(before.observed_matrix)
    after = [
        images.render(images.model.counterfactual(before, {name: other.latents[name]}).observed_matrix)
        for name in ("z3_0_0", "z2_0_1", "z1_2_1", "z1_3_3")
    ]
    rows = [np.repeat(first, len(after), axis=0), np.concatenate(after), np.abs(np.concatenate(after) - first)]
    return contact_sheet(np.concatenate(rows), columns=len(after), scale=4)
