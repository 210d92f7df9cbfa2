"""Simulate hierarchical latent variable models and check what a masked autoencoder recovers of them."""

from hlvm.graph import LatentGraph

__all__ = ["LatentGraph", "__version__"]

__version__ = "0.1.0"
