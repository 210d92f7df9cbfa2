"""Sphinx configuration. The build and the finished pages need no network."""

import sys
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.utils.math import latex2mathml
from sphinx.application import Sphinx

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

import api_tables
import experiment_pages
import explorer_pages
import figures
import grammar_figures
import how_much_figures
import image_figures
import mae_figures
import mask_figures
import objectives_table
import scoring_figures

import hlvm

project = "hlvm"
author = "The hlvm authors"
copyright = "The hlvm authors"
release = version = hlvm.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.doctest",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "sphinxcontrib.bibtex",
]
exclude_patterns = ["_build", "experiments/generated"]

myst_enable_extensions = ["amsmath", "colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3

bibtex_bibfiles = ["references.bib"]
bibtex_reference_style = "author_year"
bibtex_default_style = "plain"

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_default_options = {"members": True}
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_custom_sections = [("Attributes", "params_style")]  # a list, so that autodoc does not document them twice
python_maximum_signature_line_length = 88

html_theme = "furo"
html_title = f"hlvm {release}"
html_static_path = ["_static"]
html_css_files = ["pages.css"]
html_math_renderer = "mathml"
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True


def visit_math(translator: Any, node: nodes.math) -> None:
    """Write a formula inside a sentence as MathML."""
    translator.body.append(str(latex2mathml.tex2mathml(node.astext())))
    raise nodes.SkipNode


def visit_math_block(translator: Any, node: nodes.math_block) -> None:
    """Write a displayed formula as MathML."""
    formula = latex2mathml.tex2mathml(node.astext(), as_block=True)
    translator.body.append(f'<div class="math">{formula}</div>\n')
    raise nodes.SkipNode


def skip_tuple_fields(app: Sphinx, what: str, name: str, obj: Any, skip: bool, options: Any) -> bool:
    """Leave out the automatic members of named tuples; their class describes them."""
    return skip or type(obj).__name__ == "_tuplegetter"


def shorten_signature(
    app: Sphinx, what: str, name: str, obj: Any, options: Any, signature: str | None, result: str | None
) -> tuple[str | None, str | None]:
    """Write JAX arrays as users write them."""
    return tuple(text and text.replace("jaxlib._jax.Array", "Array") for text in (signature, result))


def setup(app: Sphinx) -> None:
    """Draw the figures and register what is our own."""
    of_modules = (
        figures,
        grammar_figures,
        how_much_figures,
        image_figures,
        mae_figures,
        mask_figures,
        objectives_table,
        scoring_figures,
    )
    for module in (experiment_pages, explorer_pages, *of_modules):
        module.draw_all(HERE / "_static" / "generated")
    app.add_html_math_renderer("mathml", inline_renderers=(visit_math, None), block_renderers=(visit_math_block, None))
    api_tables.put_functions_first()
    app.connect("autodoc-process-docstring", api_tables.list_members, priority=900)  # after napoleon has read it
    app.connect("autodoc-process-signature", shorten_signature)
    app.connect("autodoc-skip-member", skip_tuple_fields)
