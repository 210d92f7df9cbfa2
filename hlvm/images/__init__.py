"""Toy images with every latent known."""

import hlvm._process.imports  # noqa: F401
from hlvm.images.base import ImageModel, ImageSample, latents_of_patches
from hlvm.images.files import load_image_model, save_image_model
from hlvm.images.grammar.model import Derivation, GrammarImages, StringGrammar
from hlvm.images.quadtree import QuadtreeImages
from hlvm.images.scenes.model import SceneFactor, SceneImages
from hlvm.images.sheet import contact_sheet, save_png

__all__ = [
    "Derivation",
    "GrammarImages",
    "ImageModel",
    "ImageSample",
    "QuadtreeImages",
    "SceneFactor",
    "SceneImages",
    "StringGrammar",
    "contact_sheet",
    "latents_of_patches",
    "load_image_model",
    "save_image_model",
    "save_png",
]
