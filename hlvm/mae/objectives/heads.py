"""Perceptrons between a code and an objective: parameters that training needs and codes do not."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

__all__ = ["Head"]


@dataclasses.dataclass(frozen=True)
class Head:
    """A perceptron whose parameters are one flat vector.

    Attributes:
        sizes: numbers that go in, hidden units of each layer, and numbers that come out.
    """

    sizes: tuple[int, ...]

    def init(self, key: PRNGKeyArray) -> Float[Array, " parameters"]:
        """Fresh parameters: normal weights of variance 1 over the number of inputs, biases 0."""
        parts = []
        for layer, (inputs, outputs) in enumerate(zip(self.sizes, self.sizes[1:], strict=False)):
            weights = jax.random.normal(jax.random.fold_in(key, layer), (inputs * outputs,)) / inputs**0.5
            parts += [weights, jnp.zeros(outputs)]
        return jnp.concatenate(parts)

    def apply(self, flat: Float[Array, " parameters"], code: Float[Array, "n inputs"]) -> Float[Array, "n outputs"]:
        """Gaussian error linear units between its layers; traced."""
        start, last = 0, len(self.sizes) - 2
        for layer, (inputs, outputs) in enumerate(zip(self.sizes, self.sizes[1:], strict=False)):
            middle, end = start + inputs * outputs, start + (inputs + 1) * outputs
            code = code @ flat[start:middle].reshape(inputs, outputs) + flat[middle:end]
            code = jax.nn.gelu(code) if layer < last else code
            start = end
        return code
