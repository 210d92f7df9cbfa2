"""The command ``advise``: which masks ask most for a target, and how much of it can be known under them."""

from __future__ import annotations

import dataclasses
import time
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from hlvm._files.digests import write_json
from hlvm.cli.compilation import use_compilation_cache
from hlvm.cli.input import (
    Flag,
    OptionalFile,
    OptionalNames,
    check_n_masks,
    check_new_file,
    check_seed,
    load_source,
    model_of,
)
from hlvm.cli.tables import Record, encoded, listed, number, print_table, share, to_json, without_nan
from hlvm.graph import LatentGraph

if TYPE_CHECKING:
    from hlvm.theory import Advice, Oracle

__all__ = ["advise"]

_Height = Annotated[int | None, tyro.conf.arg(metavar="H", help_behavior_hint="")]
_Rows = Annotated[int | None, tyro.conf.arg(metavar="ROWS", help_behavior_hint="")]
_Ratios = Annotated[tuple[float, ...], tyro.conf.arg(metavar="R ...", help_behavior_hint="")]
_Units = Annotated[tuple[int, ...], tyro.conf.arg(metavar="SIDE ...", help_behavior_hint="")]


def advise(
    model: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="MODEL")],
    *,
    height: _Height = None,
    latent: OptionalNames = None,
    ratio: _Ratios = (),
    unit: _Units = (),
    top: int = 10,
    n_masks: int = 512,
    estimate: _Rows = None,
    seed: int = 0,
    plot: OptionalFile = None,
    out: OptionalFile = None,
    json: Flag = False,
) -> int:
    """Rank masks by demand: how much they ask for a height or for latents.

    Demand is the part of the best loss per masked cell that knowledge of the target would remove. Availability is R² of
    the best prediction of the target from the visible part. The table shows both. Nothing is trained.

    Example: hlvm advise gaussian.npz --height 2 --plot advice.png

    Example: hlvm advise gaussian.npz --latent z1_0_0 z1_0_1 --ratio 0.25 0.5 0.75 --unit 1 2

    Args:
        model: a saved model (.npz) of linear-Gaussian mechanisms or of production rules on a tree, a saved image model
            (a folder) of a grammar, or "grammar" for the family of images with that name. With --estimate any saved
            model, saved image model or family of images.
        height: height of the target latents.
        latent: instead of --height: names of the target latents. The graph must have at most one parent per variable.
        ratio: try random masks of these ratios, strictly between 0 and 1. Without --ratio and --unit it tries single
            units; ratios 0.1, 0.25, 0.5, 0.75 and 0.9 of every unit that fits, at random and as rectangles; lattices;
            and masks that share exactly the target and its ancestors.
        unit: try random masks of these units, each the side of a square of cells; 1 if only --ratio is given.
        top: number of candidates to print, largest demand first; JSON holds all of them.
        n_masks: masks to draw for each candidate with more masks than this, up to a million.
        estimate: estimate all numbers by regression on so many fresh draws of the model, at least 50. Each mask takes a
            regression of its own, so give few candidates and few --n-masks.
        seed: seed of these draws, and of the strings that the masks are applied to. For a family also the seed of its
            rules, as in hlvm sample.
        plot: also draw the result into this new .png, .pdf or .svg file.
        out: also write the result to this new .json file.
        json: print JSON instead of a table.
    """
    check_seed(seed)
    if (height is None) == (latent is None):
        raise ValueError("give a target for the masks: either --height H or --latent NAME ...")
    if latent == ():
        raise ValueError("--latent names nothing to ask for: give at least one NAME after it, or --height")
    if top < 1:
        raise ValueError(f"--top must be at least 1, got {top}")
    for path, suffixes in ((plot, (".png", ".pdf", ".svg")), (out, (".json",))):
        if path is not None:
            check_new_file(path, *suffixes)
    if estimate is not None:
        from hlvm.theory.estimated.oracle import LEAST_ROWS

        if estimate < LEAST_ROWS:
            raise ValueError(f"--estimate must be at least {LEAST_ROWS} rows, got {estimate}")
    source = _source(model, seed)
    graph = source.graph
    check_n_masks(n_masks, graph)
    known = sorted({graph.height(name) for name in graph.latents})
    if height not in (None, *known):
        raise ValueError(f"--height must be a height of latents, one of {', '.join(map(str, known))}, got {height}")
    import jax

    from hlvm import theory
    from hlvm.theory.design.masks_for_a_target import target_of

    target: Any = latent if height is None else height
    target_of(graph, target)
    candidates = _candidates(graph, ratio, unit)
    use_compilation_cache()
    oracle = _oracle(source, model, estimate, seed)
    if not json:
        rows = "" if estimate is None else f"; estimated by regression on {estimate} draws of {model}"
        print(f"{graph.n_observed} cells, up to {n_masks} masks for each candidate{rows}", flush=True)
    begin = time.monotonic()
    found = theory.advise(oracle, target, candidates, key=jax.random.key(seed), n_masks=n_masks)
    record = {**_record(found), "estimated_from_rows": estimate}
    if plot is not None:
        from hlvm.plotting import plot_advice, save_figure

        save_figure(plot_advice(found), plot)
    if out is not None:
        write_json(out, record)
    if json:
        print(to_json(record))
    else:
        _print(record, top, time.monotonic() - begin)
    return 0


def _source(place: str, seed: int) -> Any:
    """The model at a place."""
    source = load_source(place, seed=seed)
    if hasattr(source, "close"):
        source.close()
        raise ValueError(f"{place} is a data set: give the model behind it, as hlvm sample --save-model writes it")
    if isinstance(source, LatentGraph):
        raise ValueError(
            f"{place} is a graph, which says what is shared but not how much: give a model, such as hlvm sample "
            f"{place} --mechanism linear-gaussian --n 1 --out one.npz --save-model model.npz writes it"
        )
    return source


def _oracle(source: Any, place: str, rows: int | None, seed: int) -> Oracle:
    """The exact oracle of a model, or an estimated one if a number of rows is given."""
    from hlvm.theory import estimated_oracle, oracle_of

    if rows is not None:
        import jax

        # the rows that hlvm sample draws with this seed: the first half of the key may have drawn the model itself
        return estimated_oracle(source, rows=rows, key=jax.random.split(jax.random.key(seed))[1])
    model = source if hasattr(source, "discrete_tree_parameters") else model_of(source)
    try:
        return oracle_of(source if model is None else model)
    except ValueError:
        raise ValueError(
            f"{place} has no exact oracle, which needs linear-Gaussian mechanisms everywhere, production rules on a "
            "tree, or a grammar: add --estimate ROWS for estimates from so many draws, or save such a model with "
            "hlvm sample --mechanism linear-gaussian --save-model FILE"
        ) from None


def _candidates(graph: LatentGraph, ratios: tuple[float, ...], units: tuple[int, ...]) -> list[Any] | None:
    """Random masks of these ratios and units; ``None`` if neither is given."""
    if not ratios and not units:
        return None
    from hlvm.masking import Patches, RandomMask, law_of
    from hlvm.theory.design.candidates import usable_ratios

    found = []
    for unit in dict.fromkeys(units or (1,)):
        n_patches = len(Patches.blocks(graph, unit))
        for ratio in dict.fromkeys(ratios or usable_ratios(n_patches)):
            found.append(RandomMask(ratio=ratio, unit=unit))
            law_of(found[-1], graph)  # refuses in words that need not say which of the candidates it is about
    return found


# ---------------------------------------------------------------------- the answer


def _record(found: Advice) -> Record:
    """The advice, ready for JSON; masks are described as in the settings of ``hlvm train``."""
    from hlvm.masking.descriptions import mask_to_dict

    table: Any = found.table
    rows = [
        {**row, "mask": encoded(mask_to_dict(strategy))}
        for row, strategy in zip(table.to_dict("records"), found.strategies.values(), strict=True)
    ]
    fields = {field.name: getattr(found, field.name) for field in dataclasses.fields(found)}
    return without_nan(
        {
            **{name: encoded(fields[name]) for name in ("target", "height", "no_design")},
            "best": rows[0]["strategy"],
            "candidates": rows,
            "explanation": found.explain(),
        }
    )


def _print(record: Record, top: int, seconds: float) -> None:
    """Print the first candidates of what :func:`_record` made."""
    candidates = record["candidates"]
    rows = []
    for i, row in enumerate(candidates[:top]):
        marks = ["best" if i == 0 else "tie"] if row["tie"] else []
        rows.append(
            (
                row["strategy"],
                f"{row['masked_share']:.3g}",
                number(row["demand"], 4, error=row["demand_error"]),
                *(
                    "–" if row[part] is None else share(row[part], error=row[f"{part}_error"])
                    for part in ("availability", "noise_availability")
                ),
                ", ".join([*marks, *(["front"] if row["front"] else [])]),
            )
        )
    subject = f"height {record['height']}" if record["height"] is not None else listed(record["target"])
    print_table(
        f"masks for {subject}: the {len(rows)} of {len(candidates)} that ask most ({seconds:.0f} s)",
        ("masks", "ratio", "demand", "R² of value", "R² of noise", ""),
        rows,
    )
    print(record["explanation"])
