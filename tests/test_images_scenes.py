"""Scenes of textured shapes: distances, areas and colours against closed forms, edges against pixels, swaps by law."""

import dataclasses
import functools
import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.path import Path as Outline

from hlvm.images import SceneImages, latents_of_patches
from hlvm.images.scenes.colours import PALETTES, radians, srgb
from hlvm.images.scenes.latents import checked_values
from hlvm.images.scenes.shapes import SHAPE_AREAS, SHAPES, shape_distance
from hlvm.images.scenes.textures import TEXTURES, texture_share
from hlvm.theory import check_assumptions, shared_information

distances, shares = jax.jit(shape_distance), jax.jit(texture_share)
PAIR = SceneImages(size=16, patch=4, objects=(1, 2), coupling=0.5)
PAIRS = 48  # rows of every sample of PAIR, so that one compiled program serves all


def sample_pair(seed, **changes):
    return PAIR.sample(jax.random.key(seed), PAIRS, **changes)


def anything(scenes, n, seed=0):
    """Latents drawn uniformly from all values allowed, not from the prior."""
    rng = np.random.default_rng(seed)
    found = {}
    for name, factor in scenes.factors.items():
        for latent in scenes.latents_of_factors[name]:
            low, high = np.array(factor.low), np.array(factor.high)
            drawn = rng.uniform(size=(n, factor.dim))
            kinds = np.floor(drawn * (high + 1)) if factor.categories else low + (high - low) * drawn
            found[latent] = kinds.astype(np.float32)
    return found


# ---------------------------------------------------------------------- shapes


def outline(shape):
    """Dense points along a shape's outline, in one or two closed curves, worked out without the code under test."""
    turn = np.linspace(0, 2 * np.pi, 20001)

    def circle(radius):
        return radius * np.stack([np.sin(turn), -np.cos(turn)], axis=-1)

    def polygon(corners):
        corners = np.array([*corners, corners[0]])
        return np.concatenate([np.linspace(a, b, 2001) for a, b in itertools.pairwise(corners)])

    def star(tips, inner):
        corners = [(r, np.pi * i / tips) for i, r in enumerate([1, inner] * tips)]
        return polygon([(r * np.sin(a), -r * np.cos(a)) for r, a in corners])

    if shape == "heart":  # a square on its corner and two half discs, of unit height, then scaled
        arc = np.linspace(-np.pi / 4, 3 * np.pi / 4, 4001)
        right = np.stack([0.25 + np.sqrt(0.125) * np.cos(arc), 0.75 + np.sqrt(0.125) * np.sin(arc)], axis=-1)
        half = np.concatenate([np.linspace((0, 0), (0.5, 0.5), 4001), right])
        points = np.concatenate([half, (half * [-1, 1])[::-1]])
        scale = 0.5 / (1.5 - math.sqrt(0.5))
        return [np.stack([points[:, 0] / scale, 1 - points[:, 1] / scale], axis=-1)]
    if shape == "cross":
        a, b = math.cos(0.4), math.sin(0.4)
        quarter = [(b, -a), (b, -b), (a, -b)]
        turned = [
            (x, y) for k in range(4) for x, y in [np.linalg.matrix_power([[0, -1], [1, 0]], k) @ q for q in quarter]
        ]
        return [polygon(turned)]
    simple = {
        "circle": [circle(1)],
        "ring": [circle(1), circle(0.52)],
        "square": [
            polygon([(s * h, t * h) for h in [math.sqrt(0.5)] for s, t in [(-1, -1), (1, -1), (1, 1), (-1, 1)]])
        ],
        "triangle": [polygon([(np.sin(a), -np.cos(a)) for a in (0, 2 * np.pi / 3, 4 * np.pi / 3)])],
        "hexagon": [polygon([(np.sin(a), -np.cos(a)) for a in np.arange(6) * np.pi / 3])],
        "star": [star(5, 0.45)],
    }
    return simple[shape]


@pytest.mark.parametrize("shape", SHAPES)
def test_shape_distance_matches_the_outline(shape):
    points = np.random.default_rng(0).uniform(-1.4, 1.4, size=(300, 2))
    curves = outline(shape)
    nearest = np.min(
        [np.hypot(*(points[:, None] - curve[None, ::2]).transpose(2, 0, 1)).min(axis=1) for curve in curves], axis=0
    )
    inside = np.logical_xor.reduce([Outline(curve).contains_points(points) for curve in curves])
    found = distances(np.array(SHAPES.index(shape)), *points.T.astype(np.float32))
    # Points of the oracle are up to 1.8e-3 apart, which moves a distance by at most half as much.
    np.testing.assert_allclose(found, np.where(inside, -nearest, nearest), atol=1e-3)


@pytest.mark.parametrize("radius", [4.0, 8.0, 24.0])
def test_covered_pixels_add_up_to_the_area(radius):
    """Over random places and turns; single placements scatter, their mean must not be off."""
    rng = np.random.default_rng(1)
    side, tries = int(2 * radius) + 5, 24
    down, right = np.mgrid[:side, :side] - (side - 1) / 2
    turn = rng.uniform(0, 2 * np.pi, size=(tries, 1, 1))
    shift = rng.uniform(-0.5, 0.5, size=(2, tries, 1, 1))
    x = (np.cos(turn) * (right - shift[0]) + np.sin(turn) * (down - shift[1])) / radius
    y = (np.cos(turn) * (down - shift[1]) - np.sin(turn) * (right - shift[0])) / radius
    for kind, area in enumerate(SHAPE_AREAS):
        distance = radius * np.asarray(distances(np.array(kind), x.astype(np.float32), y.astype(np.float32)))
        covered = np.clip(0.5 - distance, 0, 1).sum(axis=(1, 2)).mean()
        # Measured: corners cost at most 2.2 % at radius 4, and less the larger the shape.
        assert covered == pytest.approx(area * radius**2, rel=0.12 / radius), SHAPES[kind]


def test_shapes_touch_the_rim_of_their_disc():
    turn = np.linspace(0, 2 * np.pi, 7201, dtype=np.float32)
    for kind in range(len(SHAPES)):
        on_rim = np.asarray(distances(np.array(kind), np.sin(turn), np.cos(turn)))
        assert on_rim.min() == pytest.approx(0, abs=2e-3), SHAPES[kind]


# ---------------------------------------------------------------------- textures and colours


@pytest.mark.parametrize("period", [12.0, 6.0, 3.5, 2.5, 1.5])
def test_texture_keeps_its_mean_and_fades(period):
    down, right = np.mgrid[:96, :96].astype(np.float32) - 47.37
    along, across = 0.8 * right + 0.6 * down, 0.8 * down - 0.6 * right
    means = dict.fromkeys(TEXTURES, 0.5) | {"solid": 0.0, "dots": math.pi * 0.33**2}
    for kind, name in enumerate(TEXTURES):
        share = np.asarray(shares(np.array(kind), along, across, np.array(0.2), np.array(period)))
        assert share.min() >= 0
        assert share.max() <= 1
        # 96 pixels are not a whole number of periods, which leaves at most 0.04 (0.03 measured, for the blobs).
        assert share.mean() == pytest.approx(means[name], abs=0.04), name
        if period <= 2:
            np.testing.assert_allclose(share, means[name], atol=1e-6)


@pytest.mark.parametrize("name", ["stripes", "checks", "dots", "rings", "zigzag"])
def test_texture_pixels_are_means_over_the_pixel(name):
    """Against the same texture drawn without antialiasing on an 8 x 8 times finer grid."""
    fine = (np.arange(48 * 8, dtype=np.float32) + 0.5) / 8 - 24
    coarse = np.arange(48, dtype=np.float32) + 0.5 - 24

    def drawn(places, sharpness):
        y, x = np.meshgrid(places, places, indexing="ij")
        along, across = (0.8 * x + 0.6 * y) * sharpness, (0.8 * y - 0.6 * x) * sharpness
        kind = np.array(TEXTURES.index(name))
        return np.asarray(shares(kind, along, across, np.array(0.2), np.array(8.0 * sharpness)))

    exact = drawn(fine, 64.0).reshape(48, 8, 48, 8).mean(axis=(1, 3))
    # An edge is taken as straight inside a pixel; corners of checks and teeth are off by up to a third of a pixel.
    assert np.abs(drawn(coarse, 1.0) - exact).mean() < 0.02
    assert np.abs(drawn(coarse, 1.0) - exact).max() < 0.35


def test_srgb_of_known_colours():
    """Reference values of Ottosson's page for white and of CSS Color 4 for the primaries."""
    known = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 0.0], [0.62796, 0.25768, math.radians(29.234)]])
    expected = [[1, 1, 1], [0, 0, 0], [1, 0, 0]]
    np.testing.assert_allclose(srgb(known.astype(np.float32)), expected, atol=2e-3)
    np.testing.assert_allclose(srgb(np.float32([[0.59816]])), [[0.5]], atol=1e-3)  # mid grey


def test_palettes_stay_in_gamut_and_away_from_the_wrap_of_hues():
    """So that hues are plain numbers, and no colour of the prior's middle is clipped."""
    for palette in PALETTES:
        for colour in (palette.background, *palette.colours, palette.accent):
            assert colour[1] < 0.05 or 9 <= colour[2] <= 351, palette.name
            shown = np.asarray(srgb(np.array(radians(colour), dtype=np.float32)))
            assert 0 <= shown.min() <= shown.max() <= 1


# ---------------------------------------------------------------------- graph and assumptions


def test_graph_has_the_factors_and_patches_of_the_scene():
    graph = PAIR.graph
    assert graph.grid == (4, 4)
    assert graph.observed == tuple(f"x_{r}_{c}" for r in range(4) for c in range(4))
    assert graph.parents("shape_1") == ("class",)
    assert graph.parents("frequency_0") == ("texture_0",)
    assert (graph.dim("colour_0"), graph.dim("lighting"), graph.dim("x_0_0"), graph.noise_dim("x_0_0")) == (3, 2, 48, 0)
    assert set(graph.latents) == {latent for latents in PAIR.latents_of_factors.values() for latent in latents}
    reached = latents_of_patches(graph)
    assert "shape_0" in reached["x_1_1"]
    assert not {"shape_1", "colour_1"} & reached["x_1_1"]
    assert {"class", "palette", "lighting"} <= reached["x_3_3"]


def test_graph_drops_edges_of_couplings_that_are_zero():
    loose = SceneImages(coupling=0.0)
    assert loose.graph.parents("shape_0") == ()
    assert loose.graph.parents("palette") == ("class",)
    assert SceneImages(context=0.0).graph.parents("palette") == ()


def test_high_low_and_class_are_all_factors():
    high, low = set(PAIR.high_level), set(PAIR.low_level)
    assert not high & low
    assert high | low | {"class"} == set(PAIR.factors)


def test_assumptions_that_fail_are_those_of_the_invertible_regime():
    """What the class and the gallery say in words."""
    report = check_assumptions(SceneImages().graph, SceneImages())
    assert [finding.assumption for finding in report.failures] == [
        "dims of invertible functions",
        "invertible mechanisms",
    ]


def test_objects_share_what_is_above_them_and_the_light():
    """The two halves of the image hold one object each; worked out by hand from the graph."""
    left = [f"x_{row}_{column}" for row in range(4) for column in range(2)]
    shared = shared_information(PAIR.graph, left, regime="general")
    assert shared.members == {"class", "layout", "palette", "background", "lighting"}
    assert shared.dim == 1 + 1 + 1 + 3 + 2


# ---------------------------------------------------------------------- edges are what pixels say


def changed_patches(scenes, before, after):
    """Whether any pixel of a patch differs, (n, patches)."""
    side = scenes.size // scenes.patch
    blocks = (np.asarray(before) != np.asarray(after)).reshape(
        -1, side, scenes.patch, side, scenes.patch, scenes.shape[2]
    )
    return blocks.any(axis=(2, 4, 5)).reshape(len(blocks), -1)


CORNERED = SceneImages(size=16, patch=2, colour=False)  # patches so small that its corners are out of reach


@pytest.mark.parametrize("scenes", [PAIR, CORNERED, SceneImages(size=24, patch=4, objects=(3, 1))])
def test_latents_change_no_pixel_outside_their_patches(scenes):
    """Bitwise, over all values allowed, for each latent alone."""
    n = 48
    first, second = anything(scenes, n, 1), anything(scenes, n, 2)
    before = scenes.render(first)
    for latent in scenes.graph.latents:
        children = {c for c in scenes.graph.children(latent) if c in scenes.graph.observed}
        reached = np.array([patch in children for patch in scenes.graph.observed])
        changed = changed_patches(scenes, before, scenes.render(first | {latent: second[latent]}))
        assert not changed[:, ~reached].any(), latent


@pytest.mark.parametrize("scenes", [PAIR, CORNERED])
def test_every_edge_to_a_patch_is_used_by_some_image(scenes):
    """Small objects are put as near each patch as they can, with the light so that shadows fall its way."""
    tries, side = 20, scenes.size // scenes.patch
    n = tries * side**2
    first, second = anything(scenes, n, 3), anything(scenes, n, 4)
    rows, columns = scenes.objects
    patch = np.repeat(np.arange(side**2), tries)
    # Shares of the image; positions are shares of the way to the slot's edge and are cut off there.
    down, right = ((place + 0.5) / side for place in divmod(patch, side))
    for i in range(rows * columns):
        at_row, at_column = divmod(i, columns)
        away = np.stack([2 * (right * columns - at_column) - 1, 2 * (down * rows - at_row) - 1], axis=-1)
        nudge = np.random.default_rng(5).uniform(0.5, 2.5, size=(n, 1))
        first[f"position_{i}"] = np.clip(away * nudge, -1, 1).astype(np.float32)
        first[f"size_{i}"] = np.full((n, 1), 0.4, dtype=np.float32)
        if i == 0:
            first["lighting"] = np.stack([np.arctan2(-away[:, 0], away[:, 1]), np.ones(n)], axis=-1).astype(np.float32)
    before = scenes.render(first)
    latents = ["background", "lighting", *(name for name in scenes.graph.latents if name.endswith("_0"))]
    for latent in latents:
        changed = changed_patches(scenes, before, scenes.render(first | {latent: second[latent]})).any(axis=0)
        for name, is_changed in zip(scenes.graph.observed, changed, strict=True):
            assert not is_changed or latent in scenes.graph.parents(name)
            assert is_changed or latent not in scenes.graph.parents(name), f"{latent} never changed {name}"


def test_corners_out_of_reach_have_no_edges():
    assert "size_0" in CORNERED.graph.parents("x_0_0")  # by its shadow
    assert "texture_0" not in CORNERED.graph.parents("x_0_0")
    assert "texture_0" in CORNERED.graph.parents("x_0_3")
    finest = SceneImages(size=16, patch=1, colour=False).graph
    assert set(finest.parents("x_0_0")) == {"background", "lighting"}


# ---------------------------------------------------------------------- sampling and changing


def test_sample_is_in_range_and_repeats():
    sample, again, other = sample_pair(0), sample_pair(0), sample_pair(1)
    assert sample.images.shape == (PAIRS, *PAIR.shape)
    assert 0 <= float(sample.images.min()) < float(sample.images.max()) <= 1
    np.testing.assert_array_equal(sample.images, again.images)
    assert (np.asarray(sample.images) != np.asarray(other.images)).any(axis=(1, 2, 3)).all()
    assert list(sample.latents) == list(PAIR.graph.latents)
    for name, value in sample.latents.items():
        assert value.shape == (PAIRS, PAIR.graph.dim(name))
    np.testing.assert_array_equal(PAIR.render(sample.latents), sample.images)


def test_samples_of_the_prior_are_values_allowed():
    scenes = SceneImages(size=64, objects=(2, 2), coupling=0.3)
    checked_values(scenes._factor_of, scenes.latents(scenes.noises(jax.random.key(0), 400)))  # refuses others


def test_sample_gives_the_noise_of_every_latent():
    scenes = SceneImages(size=16, patch=8)
    drawn = scenes.sample(jax.random.key(0), 3)
    assert {name: value.shape for name, value in drawn.noise.items()} == {n: v.shape for n, v in drawn.latents.items()}
    np.testing.assert_array_equal(
        np.concatenate(list(drawn.noise.values()), axis=1), scenes.noises(jax.random.key(0), 3)
    )


def test_class_sets_shape_and_texture_as_strongly_as_coupled():
    n = 4000
    for coupling in (0.6, 1.0):
        scenes = SceneImages(coupling=coupling)
        latents = scenes.latents(scenes.noises(jax.random.key(2), n))
        kind = np.asarray(latents["class"], dtype=int)
        names = [scenes.factors["class"].categories[k] for k in kind[:, 0]]
        follows = np.mean(
            [
                SHAPES[int(s)] == name.split("-")[0]
                for name, s in zip(names, np.asarray(latents["shape_0"])[:, 0], strict=True)
            ]
        )
        # Four standard deviations of a share of 4,000: a false alarm in 16,000.
        chance = coupling + (1 - coupling) / len(SHAPES)
        assert follows == pytest.approx(chance, abs=4 * math.sqrt(chance * (1 - chance) / n) + 1e-12)


def test_classes_have_their_own_pairs_of_shape_and_texture():
    categories = SceneImages(n_classes=64).factors["class"].categories
    assert len(set(categories)) == 64


def test_do_sets_a_latent_and_keeps_what_does_not_depend_on_it():
    plain, moved = sample_pair(0), sample_pair(0, do={"class": "heart-blobs", "size_1": 0.5})
    below = {"class"} | {name for name in PAIR.graph.latents if "class" in PAIR.graph.ancestors(name)}
    assert (np.asarray(moved.latents["class"]) == 6).all()
    assert (np.asarray(moved.latents["size_1"]) == 0.5).all()
    followed = np.asarray(moved.latents["shape_0"]) == SHAPES.index("heart")
    assert followed.mean() > 0.4
    assert "size_0" in below
    for name in PAIR.graph.latents:
        if name not in below:
            np.testing.assert_array_equal(plain.latents[name], moved.latents[name], err_msg=name)


def test_do_takes_one_value_per_row():
    kinds = np.arange(PAIRS) % len(SHAPES)
    sample = sample_pair(0, do={"shape": kinds})
    for i in range(2):
        np.testing.assert_array_equal(np.asarray(sample.latents[f"shape_{i}"])[:, 0], kinds)
    same = np.asarray(sample.latents["class"])
    np.testing.assert_array_equal(sample_pair(0, do={"class": same}).images, sample_pair(0).images)


def test_freeze_holds_the_first_row_and_children_follow():
    plain, frozen = sample_pair(0), sample_pair(0, freeze=["palette", "phase_0"])
    assert len(np.unique(frozen.latents["palette"])) == len(np.unique(frozen.latents["phase_0"])) == 1
    assert float(frozen.latents["palette"][0, 0]) == float(plain.latents["palette"][0, 0])
    assert len(np.unique(frozen.latents["colour_0"][:, 0])) > PAIRS / 2
    np.testing.assert_array_equal(plain.latents["phase_1"], frozen.latents["phase_1"])
    everything = sample_pair(0, freeze=list(PAIR.factors))
    assert (np.asarray(everything.images) == np.asarray(everything.images[:1])).all()


def test_shift_changes_ranges_and_probabilities():
    shifted = sample_pair(
        0,
        shift={
            "frequency": (9.0, 12.0),
            "colour": (None, (0.0, 0.0), (3.0, 4.0)),
            "texture": {"dots": 0.5, "rings": 0.5},
            "size_1": lambda value: jnp.minimum(value, 0.5),
        },
    )
    plain = sample_pair(0)
    frequency = np.asarray(shifted.latents["frequency_1"])
    assert 9 <= frequency.min() < 9.5 < 11.5 < frequency.max() <= 12
    colour = np.asarray(shifted.latents["colour_0"])
    np.testing.assert_array_equal(colour[:, 0], plain.latents["colour_0"][:, 0])
    assert (colour[:, 1] == 0).all()
    assert (colour[:, 2] >= 3).all()
    assert set(np.unique(shifted.latents["texture_0"])) == {TEXTURES.index("dots"), TEXTURES.index("rings")}
    assert float(shifted.latents["size_1"].max()) <= 0.5
    np.testing.assert_array_equal(shifted.latents["size_0"], plain.latents["size_0"])


@functools.cache
def two_samples():
    return sample_pair(10), sample_pair(11)


@settings(max_examples=25)
@given(st.sets(st.sampled_from([*PAIR.factors, *PAIR.graph.latents])))
def test_swap_takes_exactly_what_is_named(names):
    a, b = two_samples()
    mixed = PAIR.swap(a, b, names)
    named = {latent for name in names for latent in PAIR.latents_of_factors.get(name, (name,))}
    for latent, value in mixed.latents.items():
        np.testing.assert_array_equal(value, (b if latent in named else a).latents[latent])
    others = [latent for latent in PAIR.graph.latents if latent not in named]
    np.testing.assert_array_equal(PAIR.swap(b, a, others).images, mixed.images)


def test_swap_of_nothing_and_of_everything():
    a, b = two_samples()
    np.testing.assert_array_equal(PAIR.swap(a, b, ()).images, a.images)
    np.testing.assert_array_equal(PAIR.swap(a, b, PAIR.factors).images, b.images)
    in_two_steps = PAIR.swap(PAIR.swap(a, b, PAIR.low_level), b, PAIR.high_level)
    np.testing.assert_array_equal(in_two_steps.images, b.images)  # the class itself is not seen


# ---------------------------------------------------------------------- a pure function


@functools.cache
def loss_of_images():
    """A loss of images as a function of all numbers behind them, where to differentiate it, and its slopes there.

    Slopes are for all numbers of one latent growing together.
    """
    scenes = SceneImages(size=16, patch=8, colour=False)
    latents = scenes.latents(scenes.noises(jax.random.key(5), 2))
    goal = np.random.default_rng(0).uniform(size=(2, *scenes.shape)).astype(np.float32)

    def loss(values):
        return ((scenes.render(latents | values) - goal) ** 2).sum()

    values = {name: value for name, value in latents.items() if name not in scenes.n_values}
    still = {name: jnp.zeros_like(value) for name, value in values.items()}
    forward = jax.jit(lambda growth: jax.jvp(loss, (values,), (growth,)))
    slopes = {name: float(forward(still | {name: jnp.ones_like(values[name])})[1]) for name in values}
    return jax.jit(loss), values, slopes


def test_render_has_finite_slopes_that_match_differences():
    loss, values, slopes = loss_of_images()
    assert np.isfinite(list(slopes.values())).all()
    assert all(slopes[name] != 0 for name in ("position_0", "size_0", "rotation_0", "frequency_0"))
    for name in ("background", "lighting", "colour_0"):  # smooth everywhere; others have kinks
        nearby = [float(loss(values | {name: values[name] + step})) for step in (-1e-2, 1e-2)]
        # Central differences of float32 losses near 100.
        assert (nearby[1] - nearby[0]) / 2e-2 == pytest.approx(slopes[name], rel=0.03, abs=0.03)


@pytest.mark.slow  # reverse mode takes a quarter of a minute to compile
def test_render_has_the_same_slopes_in_reverse_mode():
    loss, values, slopes = loss_of_images()
    for name, slope in jax.grad(loss)(values).items():
        assert float(slope.sum()) == pytest.approx(slopes[name], rel=1e-3, abs=1e-3), name


def test_render_and_sample_can_be_mapped_and_compiled():
    sample = two_samples()[0]
    latents = {name: value[:6] for name, value in sample.latents.items()}
    pairs = {name: value.reshape(3, 2, -1) for name, value in latents.items()}
    # Another program may round differently in the last bits.
    np.testing.assert_allclose(jax.vmap(PAIR.render)(pairs).reshape(6, *PAIR.shape), sample.images[:6], atol=1e-5)
    compiled = jax.jit(lambda key: PAIR.sample(key, 6, do={"shape": "ring"}))(jax.random.key(3))
    assert compiled.graph == PAIR.graph
    assert (compiled.latents["shape_1"] == SHAPES.index("ring")).all()


@pytest.mark.parametrize(
    ("options", "shape"),
    [
        ({"size": 16, "patch": 8}, (16, 16, 3)),
        ({"size": 48, "patch": 16, "objects": (2, 3), "colour": False}, (48, 48, 1)),
        ({"size": 128, "patch": 16, "objects": (4, 4)}, (128, 128, 3)),
    ],
)
def test_scenes_of_other_sizes(options, shape):
    scenes = SceneImages(**options)
    images = scenes.render(anything(scenes, 3))
    assert images.shape == (3, *shape)
    assert scenes.shape == shape
    assert 0 <= float(images.min()) < float(images.max()) <= 1


# ---------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 8}, "size must be a whole number from 16"),
        ({"size": 36, "patch": 8}, "must divide size=36"),
        ({"patch": 32}, "patch must be a whole number from 1 to 16"),
        ({"objects": (3, 1)}, "3 rows of objects must divide size=32"),
        ({"objects": (1, 8)}, "columns of objects must be a whole number from 1 to 4"),
        ({"n_classes": 65}, "n_classes must be a whole number from 2 to 64"),
        ({"coupling": 1.5}, "coupling is a probability"),
        ({"coupling": 0.0, "context": 0.0}, "make one positive"),
    ],
)
def test_scenes_refuse_what_cannot_be_drawn(options, message):
    with pytest.raises(ValueError, match=message):
        SceneImages(**options)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"do": {"colour_7": 0.0}},
            "'colour_7' is neither a factor nor a latent of these scenes; the factors are class",
        ),
        ({"do": {"shape": "blob"}}, r"do\['shape'\]: 'blob' is not a category of 'shape'; it has circle, square"),
        ({"do": {"size": "big"}}, "no categories: give numbers"),
        ({"do": {"shape": 2.5}}, "whole numbers from 0 to 7"),
        ({"do": {"size": 1.2}}, "must lie between 0.4 and 1"),
        ({"do": {"lighting": 0.3}}, "expected one value of 2 numbers"),
        ({"do": {"size": np.ones(3)}}, r"\(48, 1\); got the shape \(3,\)"),
        ({"do": {"shape": 1, "shape_0": 2}}, "'shape_0' is changed twice"),
        ({"do": {"shape": 1}, "freeze": ["shape_1"]}, "changed twice, by freeze and by do"),
        ({"freeze": "shape"}, r'such as \("shape",\)'),
        ({"shift": {"frequency": (0.1, 3.0)}}, "both between 1 and 16"),
        ({"shift": {"colour": (0.1, 0.3)}}, "for each of 3 numbers"),
        ({"shift": {"texture": (0.5, 0.5)}}, "8 probabilities that add up to 1"),
        ({"shift": {"texture": {"stripe": 1.0}}}, "'stripe' is not one of solid"),
        ({"shift": {"size_0": lambda value: value + 1}}, "shift of 'size_0': number 0 must lie between"),
    ],
)
def test_sample_refuses_changes_it_cannot_make(changes, message):
    with pytest.raises(ValueError, match=message):
        sample_pair(0, **changes)


def test_sample_and_render_refuse_other_arrays():
    with pytest.raises(ValueError, match="whole number of at least 1, got n=0"):
        PAIR.sample(jax.random.key(0), 0)
    with pytest.raises(ValueError, match=r"have the shape \(n, 38\), got \(3, 4\): use noises"):
        PAIR.latents(np.zeros((3, 4), dtype=np.float32))
    latents = {name: value[:2] for name, value in two_samples()[0].latents.items()}
    with pytest.raises(ValueError, match="'class' is missing"):
        PAIR.render({name: value for name, value in latents.items() if name != "class"})
    with pytest.raises(ValueError, match="'hue' is unknown"):
        PAIR.render(latents | {"hue": latents["phase_0"]})
    with pytest.raises(ValueError, match=r"'phase_0' must have the shape \(2, 1\), one row per image, got \(1, 1\)"):
        PAIR.render(latents | {"phase_0": latents["phase_0"][:1]})
    with pytest.raises(ValueError, match="'phase_0': number 0 must lie between -1 and 1"):
        PAIR.render(latents | {"phase_0": latents["phase_0"] + 3})


def test_swap_refuses_other_samples():
    a, b = two_samples()
    with pytest.raises(ValueError, match="got 48 and 48 images of LatentGraph"):
        PAIR.swap(a, dataclasses.replace(b, graph=CORNERED.graph), ["shape"])
    with pytest.raises(ValueError, match="'hue' is neither"):
        PAIR.swap(a, b, ["hue"])
