"""The explorer: one page on which masks are drawn by hand, and what they let a masked autoencoder identify is seen.

The page is a single file that needs no network and no server. It computes what :mod:`hlvm.theory` computes, in the
browser and with equal answers. What needs an exact oracle is tabulated beforehand and put into the page.
"""

import hlvm._process.imports  # noqa: F401
from hlvm.explore.examples import EXAMPLES, Example
from hlvm.explore.pages import explorer_page, write_explorer

__all__ = ["EXAMPLES", "Example", "explorer_page", "write_explorer"]
