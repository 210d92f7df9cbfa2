"""Toy images with every latent known."""

from hlvm.images.quadtree import QuadtreeImages

__all__ = ["QuadtreeImages"]
