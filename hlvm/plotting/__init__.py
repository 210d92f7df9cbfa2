"""Figures. Nothing is computed here: every function draws what it is given.

Each function returns a Matplotlib figure that pyplot does not know of; :func:`save_figure` writes it. The figure looks
the same under every style of yours. What has a single panel is also drawn into axes of yours, given as ``ax``: in the
style of these axes. The function then returns their figure. Colours are those of Okabe and Ito (``COLORS``), and what
matters is told apart by shape or hatching as well. In pictures and graphs ``MASKED_RGB`` stands for what is masked.
"""

from hlvm.plotting.advice import plot_advice
from hlvm.plotting.claims import plot_claims
from hlvm.plotting.graphs import plot_graph, plot_grid
from hlvm.plotting.images import plot_picture, plot_reconstructions
from hlvm.plotting.profiles import plot_level_curves, plot_level_profile
from hlvm.plotting.results import plot_losses, plot_scores_by_height, plot_scores_by_latent
from hlvm.plotting.studies import plot_study
from hlvm.plotting.styles import COLORS, MASKED_RGB, Panels, figure_with_panels, height_look, save_figure, style

__all__ = [
    "COLORS",
    "MASKED_RGB",
    "Panels",
    "figure_with_panels",
    "height_look",
    "plot_advice",
    "plot_claims",
    "plot_graph",
    "plot_grid",
    "plot_level_curves",
    "plot_level_profile",
    "plot_losses",
    "plot_picture",
    "plot_reconstructions",
    "plot_scores_by_height",
    "plot_scores_by_latent",
    "plot_study",
    "save_figure",
    "style",
]
