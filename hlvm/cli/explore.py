"""The command ``explore``: the explorer as one HTML file, or served to this machine."""

from __future__ import annotations

import contextlib
import webbrowser
from pathlib import Path
from typing import Annotated

import tyro

from hlvm._files import write_text_atomically
from hlvm.cli.input import Flag, OptionalFile, check_new_file, check_seed, graph_of, load_source
from hlvm.graph import LatentGraph

__all__ = ["explore"]

_Optional = Annotated[tyro.conf.Positional[str | None], tyro.conf.arg(metavar="[GRAPH|MODEL]", help_behavior_hint="")]
_Port = Annotated[int | None, tyro.conf.arg(metavar="PORT", help_behavior_hint="")]


def explore(
    source: _Optional = None,
    *,
    out: OptionalFile = None,
    serve: Flag = False,
    port: _Port = None,
    open: Flag = False,  # noqa: A002  # the name of the option
    n_masks: int = 64,
    seed: int = 0,
) -> int:
    """Write a browser page for drawing masks by hand. It shows the answers at once.

    The page is one file and needs no network and no server. It shows what a mask shares, what each target shares, masks
    that share chosen latents, and profiles of random masks. Its menu has quadtrees and graphs of the literature. You
    can also paste another graph. For a model with an exact oracle, the command first computes tables of availability,
    demand and signal.

    Example: hlvm explore --out explorer.html

    Example: hlvm explore graph.json --out own.html

    Args:
        source: the graph or model to open, in any form that hlvm theory takes; a quadtree if left out.
        out: the file to write (.html); it must not exist. Needed, except with --serve.
        serve: serve the page to browsers of this machine, until Ctrl-C.
        port: where to serve it; a free one if left out.
        open: also open it in the browser.
        n_masks: masks to draw for each number in the tables of a model, from 2 to 10,000.
        seed: seed of these draws.
    """
    check_seed(seed)
    if not 2 <= n_masks <= 10_000:
        raise ValueError(f"--n-masks must be from 2 to 10000, got {n_masks}")
    if out is None and not serve:
        raise ValueError("give --out FILE to write the page, or --serve to serve it")
    if port is not None and not serve:
        raise ValueError("--port is of --serve: add it, or leave --port out")
    if out is not None:
        check_new_file(out, ".html")
    model = None if source is None else load_source(source)
    if hasattr(model, "close"):
        model = graph_of(model, str(source))
    from hlvm.explore import explorer_page
    from hlvm.explore.serving import PageServer

    with PageServer(port or 0) if serve else contextlib.nullcontext() as server:
        if model is not None and not isinstance(model, LatentGraph):
            print("asking an exact oracle, if the model has one; fewer --n-masks are quicker", flush=True)
        page = explorer_page(model, name=Path(source).stem if source else "", key=seed, n_masks=n_masks)
        if out is not None:
            write_text_atomically(out, page)
            print(f"wrote {out}: open it in a browser", flush=True)
        if server is not None:
            server.serve_until_stopped(page, lambda: _tell(server.address, open))
        elif out is not None and open:
            webbrowser.open(out.resolve().as_uri())
    return 0


def _tell(address: str, shown: bool) -> None:
    print(f"serving {address} to this machine only; Ctrl-C ends it", flush=True)
    if shown:
        webbrowser.open(address)
