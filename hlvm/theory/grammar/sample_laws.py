"""Laws of the literature: how many strings a learner of a random hierarchy model needs.

All laws are orders of magnitude, without prefactor. They come from one argument: a learner finds symbols by the
correlation of their tuples with something outside, and it needs so many strings that this correlation exceeds the noise
of the sample. With s symbols a tuple, m rules and v symbols, a correlation shrinks by a factor m in variance with
every edge of the tree between the two. The laws differ in what the tuples are correlated with.

Nothing here is proved for trained networks. The sources measure networks that follow the laws, and say where they do
not. No law is known for grammars whose rules are ambiguous or not equally likely, nor for masks of whole patches, nor
how the number changes with the masked share.
"""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Callable, Mapping

from hlvm._numbers import UsageError
from hlvm.theory.grammar.sizes import GrammarSizes, SizedGrammar

__all__ = ["SAMPLE_LAWS", "SampleLaw", "expected_samples"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class SampleLaw:
    """A law for the number of samples, with where it comes from.

    Attributes:
        name: the key in ``SAMPLE_LAWS``.
        formula: the law as text; h is the height, L the height of the class.
        title: title of the source.
        arxiv: its number on arXiv.
        assumption: what has to hold of learner and data.
        counts: what one sample is.
        learned: what is learned with so many samples, and for which heights.
        unknown: what the source leaves open.
        samples: (sizes, height) -> number of samples.
    """

    name: str
    formula: str
    title: str
    arxiv: str
    assumption: str
    counts: str
    learned: str
    unknown: str
    samples: Callable[[GrammarSizes, int], int] = dataclasses.field(repr=False)


def _labels(sizes: GrammarSizes, height: int) -> int:
    return sizes.n_classes * sizes.n_synonyms**sizes.n_levels


def _tokens(sizes: GrammarSizes, height: int) -> int:
    return sizes.n_symbols * sizes.n_synonyms ** (2 * height - 1)


def _weight_sharing(sizes: GrammarSizes, height: int) -> int:
    # With nothing below to share, the two laws are one.
    return sizes.n_symbols * sizes.n_synonyms ** (height + 1 if height > 1 else 1)


def _latent_targets(sizes: GrammarSizes, height: int) -> int:
    return sizes.n_symbols * sizes.n_synonyms**3


_LAWS = (
    SampleLaw(
        name="labels",
        formula="n_c m^L",
        title="How Deep Neural Networks Learn Compositional Data: The Random Hierarchy Model",
        arxiv="2307.02129",
        assumption="A deep network that learns features, trained on classes; random rules, all equally likely.",
        counts="labelled strings",
        learned=(
            "Symbols of all heights at once: the lowest tuples are furthest from the class, and all above follow from "
            "them. So the number is the same for every height."
        ),
        unknown="Measured, not proved. Shallow and lazy networks need a share of all strings, which is far more.",
        samples=_labels,
    ),
    SampleLaw(
        name="tokens",
        formula="v m^(2h - 1)",
        title="Towards a Theory of How the Structure of Language Is Acquired by Deep Neural Networks",
        arxiv="2406.00048",
        assumption="Tokens predict tokens: one masked or next token a string, from all others, without weight sharing.",
        counts="unlabelled strings, one target each",
        learned=(
            "Correlations between tokens whose lowest common ancestor has height h, for h from 1 to L. With them the "
            "symbols below that ancestor, up to height h - 1, can be told from their contexts; those of height h need "
            "v m^(2h + 1) (2505.07070 counts so)."
        ),
        unknown=(
            "The source divides by 1 - m / v^(s - 1), left out here. Networks with weight sharing need fewer from the "
            "third height on. How many targets of one string count as one sample is not known."
        ),
        samples=_tokens,
    ),
    SampleLaw(
        name="weight sharing",
        formula="v m^(h + 1); v m at h = 1",
        title="How Compositional Generalization and Creativity Improve as Diffusion Models Are Trained",
        arxiv="2502.12089",
        assumption=(
            "Tokens are the targets, and one network is applied to all tuples of a height, so that symbols found at "
            "one place serve everywhere; convolutions and diffusion models do so."
        ),
        counts="unlabelled strings",
        learned=(
            "Rules of height h, from 2 to L, by the correlation of one token with tuples of symbols already found; "
            "with them symbols up to height h - 1. At h = 1 there is nothing to find below, and v m strings show all "
            "tuples."
        ),
        unknown="A scaling argument. 2605.27734 restates it as v m^(h + 2) for the symbols of height h themselves.",
        samples=_weight_sharing,
    ),
    SampleLaw(
        name="latent targets",
        formula="v m^3",
        title="Learn from your own latents and not from tokens: A sample-complexity theory",
        arxiv="2605.27734",
        assumption=(
            "A learner predicts its own symbols of masked tuples, height by height, as data2vec and JEPA do; fixed "
            "tree, rules without ambiguity or recursion."
        ),
        counts="unlabelled strings",
        learned=(
            "Symbols of every height below the class, up to logarithms: a tuple and its neighbouring symbol are three "
            "edges apart at every height. At h = 1 it is more than the v m that show all tuples."
        ),
        unknown="A preprint whose code is not public; proved for a clustering algorithm, measured for networks.",
        samples=_latent_targets,
    ),
)

SAMPLE_LAWS: Mapping[str, SampleLaw] = types.MappingProxyType({law.name: law for law in _LAWS})
"""Laws of samples by name: "labels", "tokens", "weight sharing", "latent targets"."""


def expected_samples(grammar: SizedGrammar, height: int, law: str) -> int:
    """Number of samples with which latents of a height are learned, by a law of the literature.

    An order of magnitude, without prefactor. What is counted, and what exactly is learned at a height, differs between
    the laws: read ``SAMPLE_LAWS[law]``.

    Args:
        grammar: anything with the sizes of a grammar, such as a :class:`~hlvm.images.StringGrammar` or
            :class:`GrammarSizes`.
        height: height h of the ancestor whose correlations are used, 1 to L.
        law: a name in ``SAMPLE_LAWS``.

    Returns:
        The number of samples, exactly as the formula gives it.

    Raises:
        ValueError: no such law or height, or something without sizes.

    References:
        "labels" :cite:p:`cagnetta2024rhm`, "tokens" :cite:p:`cagnetta2024language,cagnetta2025scaling`,
        "weight sharing" :cite:p:`favero2025compositional`, "latent targets" :cite:p:`korchinski2026latents`.

    Example:
        >>> sizes = GrammarSizes(n_symbols=8, n_classes=8, n_synonyms=4, n_levels=3, tuple_size=2)
        >>> {law: expected_samples(sizes, 3, law) for law in SAMPLE_LAWS}
        {'labels': 512, 'tokens': 8192, 'weight sharing': 2048, 'latent targets': 512}
    """
    sizes = GrammarSizes.of(grammar)
    if law not in SAMPLE_LAWS:
        raise UsageError(f"must be one of {', '.join(map(repr, SAMPLE_LAWS))}, got {law!r}", argument="law")
    return SAMPLE_LAWS[law].samples(sizes, sizes.checked_height(height))
