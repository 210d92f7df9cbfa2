"""Scenes of coloured, textured objects on a ground."""
