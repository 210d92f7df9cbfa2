"""Image models behind the interface that disentanglement libraries expect of data with known factors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jaxtyping import Float

from hlvm._numbers import as_numbers
from hlvm.images.base import ImageModel

__all__ = ["GroundTruthData"]


class GroundTruthData:
    """Factors and observations as in ``disentanglement_lib``'s ``GroundTruthData``.

    A factor is one number of one latent. Unlike there, most factors here are continuous and depend on one another, as
    the graph says: :meth:`sample_factors` draws them jointly, and :attr:`factors_num_values` is 0 for those that are
    not categories. ``random_state`` is a ``numpy.random.RandomState`` or ``Generator``.

    Args:
        images: the image model.
        names: latents whose numbers are factors, in this order; ``None`` takes all. The others are drawn anew, given
            these, when observations are made.

    Raises:
        ValueError: an unknown latent, none at all, or one listed twice.

    References:
        :cite:t:`locatello2019challenging`, whose library introduced the interface.
    """

    def __init__(self, images: ImageModel, names: Sequence[str] | None = None) -> None:
        self.images = images
        self.names = tuple(images.graph.latents if names is None else names)
        for name in self.names:
            if name not in images.graph.latents:
                raise ValueError(f"{name!r} is not a latent of this image model: its latents are {_some(images)}")
        if not self.names or len(set(self.names)) < len(self.names):
            raise ValueError("names lists the latents that are factors: at least one, and each once")
        self._dims = [images.graph.dim(name) for name in self.names]

    @property
    def num_factors(self) -> int:
        """Number of factors: the dims of the latents added up."""
        return sum(self._dims)

    @property
    def factor_names(self) -> tuple[str, ...]:
        """A name for every factor: that of its latent, with a position where the latent has several dims."""
        pairs = zip(self.names, self._dims, strict=True)
        return tuple(f"{name}[{i}]" if dim > 1 else name for name, dim in pairs for i in range(dim))

    @property
    def factors_num_values(self) -> tuple[int, ...]:
        """Number of values of each factor; 0 for continuous ones."""
        sizes = self.images.n_values
        pairs = zip(self.names, self._dims, strict=True)
        return tuple(int(k) for name, dim in pairs for k in np.broadcast_to(sizes.get(name, 0), dim))

    @property
    def observation_shape(self) -> tuple[int, int, int]:
        """Image height, width and channels."""
        return self.images.shape

    def sample_factors(self, num: int, random_state: Any) -> Float[np.ndarray, "num factors"]:
        """Draw the factors of ``num`` images jointly."""
        latents = self.images.sample(_key(random_state), num).latents
        return np.concatenate([np.asarray(latents[name]) for name in self.names], axis=1)

    def sample_observations_from_factors(
        self, factors: Float[Any, "num factors"], random_state: Any
    ) -> Float[np.ndarray, "num height width channels"]:
        """Draw one image for each row of factors.

        Raises:
            ValueError: no numbers, another number of columns, or values that the image model refuses.
        """
        rows = as_numbers("factors", factors).astype(np.float32)
        if rows.ndim != 2 or rows.shape[1] != self.num_factors:
            raise ValueError(f"factors must have shape (num, {self.num_factors}), got {rows.shape}")
        columns = np.split(rows, np.cumsum(self._dims)[:-1], axis=1)
        given = dict(zip(self.names, columns, strict=True))
        return np.asarray(self.images.sample(_key(random_state), len(rows), do=given).images)

    def sample(self, num: int, random_state: Any) -> tuple[np.ndarray, np.ndarray]:
        """Draw ``num`` factors and one image for each."""
        drawn = self.images.sample(_key(random_state), num)
        factors = np.concatenate([np.asarray(drawn.latents[name]) for name in self.names], axis=1)
        return factors, np.asarray(drawn.images)

    def sample_observations(self, num: int, random_state: Any) -> np.ndarray:
        """Draw ``num`` images."""
        return self.sample(num, random_state)[1]


def _key(random_state: Any) -> jax.Array:
    """A key from NumPy's old or new generators."""
    draw = random_state.integers if isinstance(random_state, np.random.Generator) else random_state.randint
    return jax.random.key(int(draw(0, 2**31 - 1)))


def _some(images: ImageModel) -> str:
    latents = images.graph.latents
    return ", ".join(map(repr, latents[:6])) + (f", ... ({len(latents)} in all)" if len(latents) > 6 else "")
