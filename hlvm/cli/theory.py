"""The commands about graphs and masks alone: ``hlvm theory``, ``hlvm design`` and ``hlvm check``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from hlvm._files.digests import write_json
from hlvm._numbers import UsageError
from hlvm.cli import theory_tables as records
from hlvm.cli.input import (
    Flag,
    GraphFile,
    Names,
    OptionalFile,
    OptionalNames,
    Unit,
    check_n_masks,
    check_new_file,
    check_seed,
    is_model,
    load_graph,
    load_model,
    masked_names,
    patches_from,
)
from hlvm.cli.tables import to_json
from hlvm.graph import LatentGraph

__all__ = ["check", "design", "theory"]

_Strategy = Literal["uniform", "bernoulli", "block", "grid", "subtree"]
_Regime = Literal["invertible", "general"]
_KeepEvery = Annotated[int | tuple[int, int] | None, tyro.conf.arg(metavar="K|ROWS COLUMNS", help_behavior_hint="")]
_Height = Annotated[int | None, tyro.conf.arg(metavar="H", help_behavior_hint="")]


def theory(
    graph: GraphFile,
    *,
    masked: OptionalNames = None,
    mask_file: OptionalFile = None,
    ratio: Annotated[tuple[float, ...], tyro.conf.arg(metavar="R ...", help_behavior_hint="")] = (),
    strategy: _Strategy = "uniform",
    unit: Unit = 1,
    height: _Height = None,
    keep_every: _KeepEvery = None,
    regime: _Regime = "invertible",
    oracle: Flag = False,
    n_masks: int = 1000,
    seed: int = 0,
    json: Flag = False,
) -> int:
    """What a mask, or random masks, let a masked autoencoder identify; nothing is trained.

    Example: hlvm theory graph.json --masked x_0 x_1

    Example: hlvm theory graph.json --ratio 0.25 0.75 --unit 2

    Example: hlvm theory graph.json --strategy grid --keep-every 2

    Args:
        graph: a graph (.json, .graphml), a saved model (.npz), or a data set with a graph inside (.npz, .h5, .hdf5).
        masked: names of the masked observed variables; the others are visible.
        mask_file: instead of --masked: a JSON list of their names, or what hlvm design --out writes.
        ratio: instead of a mask: the shares of units that random masks hide, strictly between 0 and 1.
        strategy: with --ratio: so many units at random; each unit by chance (masks with an empty side count, and share
            nothing); one rectangle; a lattice that stays visible (with --keep-every instead of --ratio); so many
            subtrees at random.
        unit: side of the masking unit in cells, or its rows and columns. Above 1 it needs a grid.
        height: instead of --unit: mask whole subtrees of this height; 1 with --strategy subtree if left out.
        keep_every: with --strategy grid: every k-th unit is visible, along both directions or along rows and columns.
        regime: invertible mechanisms, or nothing assumed beyond the graph.
        oracle: with a mask and a saved model of linear-Gaussian mechanisms: also the best loss that any autoencoder can
            reach, how much of each latent the visible part holds, and canonical correlations.
        n_masks: number of masks drawn where there is no closed form (block, grid, and the general regime), up to a
            million.
        seed: seed of these draws.
        json: print JSON instead of tables.
    """
    check_seed(seed)
    names = masked_names(masked, mask_file)
    if strategy != "grid" and keep_every is not None:
        raise ValueError("--keep-every goes with --strategy grid")
    if bool(names) == bool(ratio or strategy == "grid"):
        raise ValueError("give either --masked with at least one NAME (or --mask-file), or --ratio R")
    if names:
        if (unit, strategy, height, keep_every) != (1, "uniform", None, None):
            raise ValueError("--unit, --strategy and --height go with --ratio: name single variables after --masked")
        record = _one_mask(graph, names, regime, oracle=oracle)
    else:
        if oracle:
            raise ValueError("--oracle goes with --masked or --mask-file: it is about one mask")
        _check_strategy(strategy, ratio, unit, height, keep_every)
        loaded = _load(graph, regime)
        check_n_masks(n_masks, loaded)
        masks = _random_masks(loaded, strategy, ratio, unit, height, keep_every)
        record = {"strategy": strategy, **_profiles(loaded, masks, regime, n_masks, seed)}
    _show(record, records.print_mask if names else records.print_profiles, json)
    return 0


def design(
    graph: GraphFile,
    *,
    target: Names,
    unit: Unit = 1,
    height: _Height = None,
    choose: Literal["smallest", "largest", "any"] = "smallest",
    random: Flag = False,
    top: int = 10,
    n_masks: int = 1000,
    seed: int = 0,
    out: OptionalFile = None,
    json: Flag = False,
) -> int:
    """A mask that shares exactly the target, or the proof that there is none (exit code 1); invertible mechanisms.

    Example: hlvm design graph.json --target z2_0 z1_0 --out mask.json

    Example: hlvm design graph.json --target z2_0 --random

    Args:
        graph: a graph (.json, .graphml), a saved model (.npz), or a data set with a graph inside (.npz, .h5, .hdf5).
        target: names of the latents that masked and visible part shall share, and no others; none: share nothing.
        unit: side of the masking unit in cells, or its rows and columns. Above 1 it needs a grid.
        height: instead of --unit: mask whole subtrees of this height.
        choose: which mask to take when there are several, by the number of masked variables.
        random: also rank random masks, of every unit, by how often they share exactly the target. Where each unit is
            masked by chance, this is among the masks that have both sides.
        top: with --random: strategies to print; JSON holds them all.
        n_masks: with --random: masks drawn for each strategy without a closed form, up to a million.
        seed: seed of these draws.
        out: also write the names of the masked variables to this new .json file, for hlvm theory --mask-file.
        json: print JSON instead of tables.
    """
    check_seed(seed)
    if top < 1:
        raise ValueError(f"--top must be at least 1, got {top}")
    if out is not None:
        check_new_file(out, ".json")
    loaded = load_graph(
        graph, must_be_invertible="masks are designed for invertible ones; give the graph (.json) instead"
    )
    check_n_masks(n_masks, loaded)
    from hlvm.theory import DesignedMask, design_mask, design_strategy

    found = design_mask(loaded, target, patches=patches_from(loaded, unit, height), choose=choose)
    matches = None
    if random:
        import jax

        matches = design_strategy(loaded, target, n_masks=n_masks, key=jax.random.key(seed))
    record = records.design_record(loaded, target, found, matches)
    if out is not None and isinstance(found, DesignedMask):
        write_json(out, {"masked": list(found.masked)})
    _show(record, lambda shown: records.print_design(loaded, shown, (matches or ())[:top]), json)
    return 0 if isinstance(found, DesignedMask) else 1


def check(graph: GraphFile, *, masked: OptionalNames = None, mask_file: OptionalFile = None, json: Flag = False) -> int:
    """Which assumptions of the theory a graph or a model meets, and what to do about the others.

    The exit code is 1 if one of them is known to fail.

    Example: hlvm check graph.json

    Example: hlvm check model.npz --masked x_0 x_1

    Args:
        graph: a graph (.json, .graphml) or a data set with one inside (.npz, .h5, .hdf5), whose mechanisms are unknown,
            or a saved model (.npz).
        masked: names of the masked observed variables, to have the mask checked as well.
        mask_file: instead of --masked: a JSON list of their names, or what hlvm design --out writes.
        json: print JSON instead of a table.
    """
    names = masked_names(masked, mask_file)
    mechanisms: Any = None
    if is_model(graph):
        model = load_model(graph)
        loaded = model.graph
        mechanisms = {name: m for name, m in zip(loaded.nodes, model.layout.mechanisms, strict=True) if m is not None}
    else:
        loaded = load_graph(graph)
    from hlvm.theory import check_assumptions

    report = check_assumptions(loaded, mechanisms, masked=names or None)
    _show(records.report_record(report), records.print_report, json)
    return 0 if report.ok else 1


# ---------------------------------------------------------------------- one call into the package each


def _load(path: Path, regime: _Regime) -> LatentGraph:
    return load_graph(path, must_be_invertible="use --regime general" if regime == "invertible" else "")


def _one_mask(path: Path, masked: tuple[str, ...], regime: _Regime, *, oracle: bool) -> records.Record:
    if oracle and not is_model(path):
        raise ValueError(
            f"--oracle needs a saved model (.npz), got {path}: draw one with hlvm sample --mechanism linear-gaussian "
            "--save-model FILE"
        )
    graph = _load(path, regime)
    from hlvm.theory import GaussianOracle, shared_information, target_ancestors

    record = records.mask_record(
        graph,
        shared_information(graph, masked, regime=regime),
        target_ancestors(graph, masked, regime=regime),
    )
    if oracle:
        try:
            found = GaussianOracle(load_model(path))
        except UsageError as error:
            raise ValueError(f"--oracle: {error}") from None
        record["oracle"] = records.oracle_record(found, masked)
    return record


def _check_strategy(
    strategy: _Strategy,
    ratio: tuple[float, ...],
    unit: int | tuple[int, int],
    height: int | None,
    keep_every: int | tuple[int, int] | None,
) -> None:
    if strategy == "grid" and (ratio or keep_every is None):
        raise ValueError("a lattice has no ratio: give --strategy grid --keep-every K, without --ratio")
    if strategy == "subtree" and unit != 1:
        raise ValueError("--strategy subtree masks subtrees: give their --height instead of --unit")
    if strategy in ("block", "grid") and height is not None:
        raise ValueError(f"--height does not go with --strategy {strategy}: give --unit")


def _random_masks(
    graph: LatentGraph,
    strategy: _Strategy,
    ratio: tuple[float, ...],
    unit: int | tuple[int, int],
    height: int | None,
    keep_every: int | tuple[int, int] | None,
) -> dict[str, Any]:
    """How level_profile is told of the strategy."""
    from hlvm.masking import BlockMask, GridMask

    if strategy == "block":
        return {"ratios": ratio, "strategy": BlockMask(ratio=ratio[0], unit=unit)}
    if strategy == "grid" and keep_every is not None:
        return {"ratios": None, "strategy": GridMask(keep_every=keep_every, unit=unit)}
    patches = patches_from(graph, unit, 1 if strategy == "subtree" and height is None else height)
    return {"ratios": ratio, "strategy": "bernoulli" if strategy == "bernoulli" else "uniform", "patches": patches}


def _profiles(graph: LatentGraph, masks: dict[str, Any], regime: _Regime, n_masks: int, seed: int) -> records.Record:
    from hlvm.theory import level_profile, membership_probability

    n_patches = len(masks["patches"]) if masks["strategy"] == "bernoulli" else None
    if "patches" in masks and regime == "invertible":
        law = {"patches": masks["patches"], "strategy": masks["strategy"]}
        members = [membership_probability(graph, ratio, **law) for ratio in masks["ratios"]]
        return records.profiles_record(graph, level_profile(graph, **masks), members, n_patches=n_patches)
    import jax

    profile = level_profile(graph, **masks, regime=regime, key=jax.random.key(seed), n_masks=n_masks)
    return records.profiles_record(graph, profile, [], n_patches=n_patches)


def _show(record: records.Record, show: Any, json: bool) -> None:
    if json:
        print(to_json(record))
    else:
        show(record)
