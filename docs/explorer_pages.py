"""The explorer that the documentation embeds, and the one of a model, written when the pages are built."""

from pathlib import Path

from hlvm import HierarchicalModel, LatentGraph
from hlvm.explore import write_explorer
from hlvm.mechanisms import LinearGaussian


def draw_all(folder: Path) -> None:
    """Write both pages into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    write_explorer(folder / "explorer.html")
    model = HierarchicalModel.init(0, LatentGraph.quadtree(2), LinearGaussian())
    write_explorer(folder / "explorer_model.html", model, name="linear-Gaussian quadtree, 4 × 4 cells")
