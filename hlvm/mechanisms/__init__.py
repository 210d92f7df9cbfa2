"""Structural functions: how a variable arises from its parents and its own noise.

A mechanism is a small frozen description with pure functions, written for *one* sample of *one* variable; the
simulator batches them over samples and over the variables of a level. Roots need no mechanism: a root is its own noise.

Two regimes are kept apart (section 1 of ``docs/theory.md``): in an *invertible* mechanism
``(parents, noise) <-> value`` is a bijection; in a *noisy* one the parents are only partly recoverable from the value.

=========================== ============== =========================================================
mechanism                   regime         value
=========================== ============== =========================================================
:class:`InvertibleMLP`      invertible     layers of rotations and increasing activations
:class:`Coupling`           invertible     halves that scale and shift each other
:class:`Polar`              invertible     radius from the parent, angle from the noise
:class:`LinearGaussian`     noisy          linear, with a chosen signal-to-noise ratio
:class:`AdditiveNoiseMLP`   noisy          smooth function plus noise
:class:`Heteroscedastic`    noisy          smooth function plus noise of a size that the parents set
:class:`PostNonlinear`      noisy          increasing function of smooth function plus noise
:class:`ProductionRules`    noisy          symbols from a table of rules
``mechanism_from_function`` either         a user's own function
=========================== ============== =========================================================
"""

import hlvm._process.imports  # noqa: F401
from hlvm.mechanisms.additive_noise import AdditiveNoiseMLP
from hlvm.mechanisms.base import Mechanism, Params
from hlvm.mechanisms.checks import MechanismReport, check_mechanism
from hlvm.mechanisms.coupling import Coupling
from hlvm.mechanisms.descriptions import (
    mechanism_from_dict,
    mechanism_to_dict,
    noise_from_dict,
    noise_to_dict,
)
from hlvm.mechanisms.functions import FunctionMechanism, InvertibleFunctionMechanism, mechanism_from_function
from hlvm.mechanisms.heteroscedastic import Heteroscedastic
from hlvm.mechanisms.invertible_mlp import InvertibleMLP
from hlvm.mechanisms.linear_gaussian import LinearGaussian
from hlvm.mechanisms.noises import Bernoulli, Categorical, Gaussian, Laplace, Noise, StudentT, Uniform, zipf
from hlvm.mechanisms.polar import Polar
from hlvm.mechanisms.post_nonlinear import PostNonlinear
from hlvm.mechanisms.production import ProductionRules, production_rules

__all__ = [
    "AdditiveNoiseMLP",
    "Bernoulli",
    "Categorical",
    "Coupling",
    "FunctionMechanism",
    "Gaussian",
    "Heteroscedastic",
    "InvertibleFunctionMechanism",
    "InvertibleMLP",
    "Laplace",
    "LinearGaussian",
    "Mechanism",
    "MechanismReport",
    "Noise",
    "Params",
    "Polar",
    "PostNonlinear",
    "ProductionRules",
    "StudentT",
    "Uniform",
    "check_mechanism",
    "mechanism_from_dict",
    "mechanism_from_function",
    "mechanism_to_dict",
    "noise_from_dict",
    "noise_to_dict",
    "production_rules",
    "zipf",
]
