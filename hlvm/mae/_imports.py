"""Imports Flax and Orbax so that nothing of the process changes; the package imports this first."""

from hlvm._process.imports import undoing_side_effects

with undoing_side_effects():
    import flax.linen  # noqa: F401
    import orbax.checkpoint  # noqa: F401
