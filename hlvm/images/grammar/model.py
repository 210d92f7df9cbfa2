"""Grammar images: a random grammar turns a class into a grid of symbols, and every symbol is drawn as a patch.

This is the Random Hierarchy Model of :cite:t:`cagnetta2024rhm`. The class stands at level L. A symbol of level ``l``
is replaced by a tuple of ``s`` symbols of level ``l - 1``, by one of its ``m`` rules, its *synonyms*, chosen at random.
No two rules of a level give the same tuple, so that every string can be parsed. Departures from the source: tuples may
be blocks, so that the string fills a grid, and symbols may be drawn as pictures rather than one-hot.

What a node of the graph holds. The tuple below a node depends on its symbol *and* on its synonym. Given the symbol
alone, the symbols of the tuple are dependent, because they come from the same rule. Given both they are constant, and
so independent. A graph whose nodes held symbols only would claim independences that do not hold. Here every latent
holds the pair (symbol, synonym): its symbol is a function of its parent's pair, its synonym is its own noise. With
these nodes the tree is exact.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Shaped

from hlvm._keys import checked_key
from hlvm.images.base import ImageSample
from hlvm.images.grammar import derivations
from hlvm.images.grammar import symbol_patches as pictures
from hlvm.images.grammar.derivations import Derivation
from hlvm.images.grammar.rules import check_sizes, draw_grammar, whole_numbers
from hlvm.images.grammar.strings import StringGrammar
from hlvm.images.grammar.symbol_patches import PatchStyle

__all__ = ["Derivation", "GrammarImages", "PatchStyle", "StringGrammar"]


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class GrammarImages(StringGrammar):
    """Images written by a grammar with known rules.

    Draw one with :meth:`init`, or give your own rules. Sizes, strings and parsing are those of
    :class:`~hlvm.images.StringGrammar`; here the strings become images.

    Attributes:
        patch_pixels: pixels along each side of a cell.
        style: how cells are drawn: "colour" (3 channels), "grey" (1) or "one-hot" (one channel per symbol, as in the
            source).

    Raises:
        ValueError: a size out of range, a table of another shape or type, or two rules of a level with one tuple.

    References:
        :cite:t:`cagnetta2024rhm`.

    Example:
        >>> grammar = GrammarImages.init(jax.random.key(0), n_symbols=8, n_classes=4, n_synonyms=4, n_levels=2)
        >>> grammar.shape, grammar.n_strings
        ((32, 32, 3), 4096)
        >>> sample = grammar.sample(jax.random.key(1), 5)
        >>> sample.latents["z2_0_0"].shape  # class and synonym
        (5, 2)
        >>> bool(grammar.parse(grammar.unrender(sample.images)).valid.all())
        True
    """

    patch_pixels: int = 8
    style: PatchStyle = "colour"

    def __post_init__(self) -> None:
        pictures.check_style(self.patch_pixels, self.style)
        super().__post_init__()

    @classmethod
    def init(
        cls,
        key: Any,
        *,
        n_symbols: int,
        n_classes: int,
        n_synonyms: int,
        n_levels: int,
        tuple_size: int | tuple[int, ...] = (2, 2),
        patch_pixels: int = 8,
        style: PatchStyle = "colour",
        rule_probabilities: Any = None,
        class_probabilities: Any = None,
        leaf_noise: float | int = 0.0,
        filtered_at: int | None = None,
    ) -> GrammarImages:
        """Draw the rules: at each level uniformly without replacement from all v^s tuples.

        Args:
            key: a JAX key or an int; the same key and sizes give the same rules on every platform.
            n_symbols: number of symbols v; with two levels or more ``v * m <= v**s`` is needed.
            n_classes: number of classes; ``n_classes * m <= v**s`` is needed.
            n_synonyms: rules m of each symbol and class. At ``m = v**(s - 1)`` and v classes every string belongs to
                the grammar.
            n_levels: levels L above the cells; an image has ``s**L`` of them, at most 1,048,576.
            tuple_size: symbols s per tuple: ``(rows, columns)`` of a block, or one number for strips. At least 2
                symbols.
            patch_pixels: pixels along each side of a cell.
            style: see the class.
            rule_probabilities: see :class:`~hlvm.images.StringGrammar`, as the following. The rules are the same with
                and without them.
            class_probabilities: of the classes.
            leaf_noise: probability that a cell is replaced by a random symbol.
            filtered_at: level whose symbols are independent given the class.

        Raises:
            ValueError: a size out of range, more rules than there are tuples, or probabilities that do not add up.
        """
        shape = check_sizes(n_symbols, tuple_size, n_levels)
        pictures.check_style(patch_pixels, style)
        rules = draw_grammar(
            checked_key(key),
            n_symbols=n_symbols,
            n_classes=n_classes,
            n_synonyms=n_synonyms,
            n_levels=n_levels,
            tuple_size=shape[0] * shape[1],
        )
        return cls(
            rules=rules,
            n_symbols=n_symbols,
            tuple_shape=shape,
            rule_probabilities=rule_probabilities,
            class_probabilities=class_probabilities,
            leaf_noise=leaf_noise,
            filtered_at=filtered_at,
            patch_pixels=patch_pixels,
            style=style,
        )

    def __repr__(self) -> str:
        return f"GrammarImages({self._settings}, patch_pixels={self.patch_pixels}, style={self.style!r})"

    def discrete_tree_parameters(self) -> dict[str, Any]:
        """The grammar as tables, see :meth:`StringGrammar.discrete_tree_parameters`.

        Returns:
            Also "values": cell -> the pixels of each symbol's patch, float64 of shape (v, pixels), the same object for
            all cells.
        """
        pixels = np.asarray(self.patches, dtype=np.float64).reshape(self.n_symbols, -1)
        return {**super().discrete_tree_parameters(), "values": dict.fromkeys(self.graph.observed, pixels)}

    # ------------------------------------------------------------------ images

    @property
    def shape(self) -> tuple[int, int, int]:
        """Image height, width and channels."""
        rows, columns = self.level_shape(0)
        return rows * self.patch_pixels, columns * self.patch_pixels, self.patches.shape[-1]

    def sample(
        self,
        key: Any,
        n: int,
        labels: Shaped[Array | np.ndarray, "..."] | None = None,
        *,
        do: Mapping[str, Any] | None = None,
    ) -> ImageSample:
        """Draw images with every latent: :meth:`derive`, then :meth:`images_of`.

        Raises:
            ValueError: as :meth:`derive`.
        """
        return self.images_of(self.derive(key, n, labels, do=do))

    @functools.cached_property
    def patches(self) -> Float[Array, "symbols pixels pixels channels"]:
        """The patch of each symbol, values in [0, 1]."""
        with jax.ensure_compile_time_eval():
            return pictures.symbol_patches(self.n_symbols, self.patch_pixels, self.style)

    def images_of(self, derivation: Derivation) -> ImageSample:
        """Images of strings, with every latent under its name: (n, 2), symbol and synonym.

        Raises:
            ValueError: strings of another shape, or with unknown cells.
        """
        images = self.render(derivation.cells)
        return ImageSample(images=images, latents=derivations.named(self.graph, derivation), graph=self.graph)

    def render(self, cells: Shaped[Array | np.ndarray, "..."]) -> Float[Array, "n height width channels"]:
        """Images of grids of symbols, whether or not they belong to the grammar.

        Args:
            cells: whole numbers from 0 to v - 1, shape (n, rows, columns).

        Returns:
            Values in [0, 1].

        Raises:
            ValueError: another shape, type or range.
        """
        return pictures.render(
            self.patches, whole_numbers(cells, "cells", (None, *self.level_shape(0)), self.n_symbols)
        )

    def unrender(self, images: Shaped[Array | np.ndarray, "..."]) -> Int[Array, "n rows columns"]:
        """Symbols of images: for each cell the one whose patch is nearest in squared error.

        The exact inverse of :meth:`render`. A reconstruction is read as the nearest grid of symbols.

        Raises:
            ValueError: images of another shape.
        """
        if len(images.shape) != 4 or images.shape[1:] != self.shape:
            raise ValueError(f"images must have shape (n, {', '.join(map(str, self.shape))}), got {images.shape}")
        return pictures.unrender(self.patches, jnp.asarray(images, dtype=jnp.float32))
