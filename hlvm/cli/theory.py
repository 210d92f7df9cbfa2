"""The commands about graphs and masks alone: ``hlvm theory``, ``hlvm design`` and ``hlvm check``."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import MISSING
from typing import Annotated, Any, Literal, cast

import tyro

from hlvm._files.digests import write_json
from hlvm._numbers import UsageError
from hlvm.cli import theory_tables as records
from hlvm.cli.input import (
    Flag,
    Names,
    OptionalFile,
    OptionalNames,
    Source,
    Unit,
    check_n_masks,
    check_new_file,
    check_seed,
    graph_of,
    load_graph,
    load_source,
    masked_names,
    model_of,
    patches_from,
)
from hlvm.cli.tables import to_json
from hlvm.graph import LatentGraph

__all__ = ["check", "design", "theory"]

_FIELDS = ("ratio", "unit", "height", "keep_every", "low", "high")
"""Fields of mask strategies that are options of ``hlvm theory``."""

_Regime = Literal["invertible", "general"]
_KeepEvery = Annotated[int | tuple[int, int] | None, tyro.conf.arg(metavar="K|ROWS COLUMNS", help_behavior_hint="")]
_Ratio = Annotated[float | None, tyro.conf.arg(metavar="R", help_behavior_hint="")]
_Height = Annotated[int | None, tyro.conf.arg(metavar="H", help_behavior_hint="")]


def theory(
    graph: Source,
    *,
    masked: OptionalNames = None,
    mask_file: OptionalFile = None,
    ratio: Annotated[tuple[float, ...], tyro.conf.arg(metavar="R ...", help_behavior_hint="")] = (),
    strategy: Annotated[str, tyro.conf.arg(metavar="NAME")] = "random",
    unit: Unit = 1,
    height: _Height = None,
    keep_every: _KeepEvery = None,
    low: _Ratio = None,
    high: _Ratio = None,
    regime: _Regime = "invertible",
    oracle: Flag = False,
    n_masks: int = 1000,
    seed: int = 0,
    json: Flag = False,
) -> int:
    """Predict what a mask, or random masks, let a masked autoencoder identify; nothing is trained.

    Example: hlvm theory graph.json --masked x_0_0 x_0_1

    Example: hlvm theory graph.json --ratio 0.25 0.75 --unit 2

    Example: hlvm theory graph.json --strategy grid --keep-every 2

    Args:
        graph: a graph (.json, .graphml), a saved model (.npz, or the folder of an image model), a data set with a graph
            inside (.npz, .h5, .hdf5), or a family of images: quadtree, shapes or grammar.
        masked: names of the masked observed variables; all others are visible.
        mask_file: instead of --masked: a JSON list of these names, or the file of hlvm design --out.
        ratio: instead of a mask: masking ratios of random masks, strictly between 0 and 1.
        strategy: the kind of random masks, named as in the settings of hlvm train: random (a fixed number of units),
            bernoulli (each unit by chance, both sides never empty), ratio_range (a number of units between two limits),
            block (one rectangle), grid (a lattice stays visible), subtree (a fixed number of subtrees).
        unit: the mask unit in cells: its side, or its rows and columns. A unit above 1 needs a grid.
        height: instead of --unit: mask whole subtrees of this height; 1 with --strategy subtree if left out.
        keep_every: with --strategy grid: every k-th unit is visible, in both directions, or by rows and columns.
        low: with --strategy ratio_range: the smallest ratio.
        high: with --strategy ratio_range: the largest ratio.
        regime: "invertible" assumes invertible mechanisms; "general" assumes nothing beyond the graph.
        oracle: with a mask and a saved model of linear-Gaussian mechanisms: also the best loss of any autoencoder, the
            share of each latent in the visible part, and canonical correlations.
        n_masks: number of masks to draw where there is no exact answer (general regime; very long lists of rectangles),
            up to a million.
        seed: seed of these draws.
        json: print JSON instead of tables.
    """
    check_seed(seed)
    names = masked_names(masked, mask_file)
    options = zip(_FIELDS, (ratio, None if unit == 1 else unit, height, keep_every, low, high), strict=True)
    given = {name: value for name, value in options if value not in ((), None)}
    if names:
        if given or strategy != "random":
            random = " and ".join(map(_option, given)) or "--strategy"
            raise ValueError(f"give either --masked (or --mask-file), for one mask, or {random}, for random masks")
        record = _one_mask(graph, names, regime, oracle=oracle)
    else:
        if not given and strategy == "random":
            raise ValueError("give either --masked with at least one NAME (or --mask-file), or --ratio R")
        if oracle:
            raise ValueError("--oracle goes with --masked or --mask-file: it is about one mask")
        of_graph = _random_masks(strategy, given)
        loaded = _load(graph, regime)
        check_n_masks(n_masks, loaded)
        record = {"strategy": strategy, **_profiles(loaded, of_graph(loaded), ratio, regime, n_masks, seed)}
    _show(record, records.print_mask if names else records.print_profiles, json)
    return 0


def design(
    graph: Source,
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
    """Find a mask that shares exactly the target, or prove that there is none (exit code 1).

    The mechanisms are taken to be invertible.

    Example: hlvm design graph.json --target z2_0_0 z1_0_0 --out mask.json

    Example: hlvm design graph.json --target z2_0_0 --random

    Args:
        graph: a graph (.json, .graphml), a saved model (.npz, or the folder of an image model), a data set with a graph
            inside (.npz, .h5, .hdf5), or a family of images: quadtree, shapes or grammar.
        target: names of the latents that the masked and the visible part should share, and no others. Without names the
            parts share nothing.
        unit: the mask unit in cells: its side, or its rows and columns. A unit above 1 needs a grid.
        height: instead of --unit: mask whole subtrees of this height.
        choose: which mask to take if there are several, by the number of masked variables.
        random: also rank random masks, of every unit, by how often they share exactly the target.
        top: with --random: number of strategies to print; JSON holds all of them.
        n_masks: with --random: masks to draw for each strategy without a closed form, up to a million.
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


def check(
    graph: Source,
    *,
    masked: OptionalNames = None,
    mask_file: OptionalFile = None,
    objective: Annotated[str | None, tyro.conf.arg(metavar="NAME", help_behavior_hint="")] = None,
    json: Flag = False,
) -> int:
    """Check which assumptions of the theory a graph or a model meets, and what to do about the others.

    The exit code is 1 if an assumption is known to fail.

    Example: hlvm check graph.json

    Example: hlvm check model.npz --masked x_0_0 x_0_1

    Example: hlvm check graph.json --objective ijepa

    Args:
        graph: a saved model (.npz, or the folder of an image model), a family of images (quadtree, shapes or grammar),
            a graph (.json, .graphml), or a data set with a graph inside (.npz, .h5, .hdf5). The mechanisms of a graph
            or data set are unknown.
        masked: names of the masked observed variables; the mask is then checked as well.
        mask_file: instead of --masked: a JSON list of these names, or the file of hlvm design --out.
        objective: the training objective, to show what it can identify and what it needs: reconstruction (by squared
            error), energy (reconstruction by the energy score), cross_entropy, ijepa, data2vec, vicreg, sigreg,
            uniform_mae or supervised.
        json: print JSON instead of a table.
    """
    names = masked_names(masked, mask_file)
    source = load_source(graph)
    loaded, model = graph_of(source, graph), model_of(source)
    mechanisms: Any = None
    if model is not None:
        mechanisms = {name: m for name, m in zip(loaded.nodes, model.layout.mechanisms, strict=True) if m is not None}
    from hlvm.theory import check_assumptions

    report = check_assumptions(loaded, mechanisms, masked=names or None, objective=cast(Any, objective))
    _show(records.report_record(report), records.print_report, json)
    return 0 if report.ok else 1


# ---------------------------------------------------------------------- one call into the package each


def _load(place: str, regime: _Regime) -> LatentGraph:
    return load_graph(place, must_be_invertible="use --regime general" if regime == "invertible" else "")


def _one_mask(place: str, masked: tuple[str, ...], regime: _Regime, *, oracle: bool) -> records.Record:
    model = model_of(load_source(place)) if oracle else None
    if oracle and model is None:
        raise ValueError(
            f"--oracle needs a saved model (.npz), got {place}: draw one with hlvm sample --mechanism linear-gaussian "
            "--save-model FILE"
        )
    graph = _load(place, regime)
    from hlvm.theory import GaussianOracle, shared_information, target_ancestors

    record = records.mask_record(
        graph,
        shared_information(graph, masked, regime=regime),
        target_ancestors(graph, masked, regime=regime),
    )
    if model is not None:
        try:
            found = GaussianOracle(model)
        except UsageError as error:
            raise ValueError(f"--oracle: {error}") from None
        record["oracle"] = records.oracle_record(found, masked)
    return record


def _option(field: str) -> str:
    return f"--{field.replace('_', '-')}"


def _random_masks(name: str, given: dict[str, Any]) -> Callable[[LatentGraph], list[Any]]:
    """The strategies that the options describe, on a graph: one for each ratio. Options are named as their fields."""
    from hlvm.masking import Patches
    from hlvm.masking.descriptions import STRATEGIES

    needed = {kind: [f.name for f in dataclasses.fields(of) if f.default is MISSING] for kind, of in STRATEGIES.items()}
    offered = [kind for kind, fields in needed.items() if set(fields) <= set(_FIELDS)]
    if name not in offered:
        raise ValueError(f"--strategy must be one of {', '.join(offered)}, got {name!r}")
    fields = [field.name for field in dataclasses.fields(STRATEGIES[name])]
    options = dict(given)
    subtrees = None
    if "height" in fields:
        options.setdefault("height", 1)
    elif "patches" in fields:
        subtrees = options.pop("height", None)
        if subtrees is not None and "unit" in options:
            raise ValueError("give --unit or --height, not both: they both say what is masked together")
    strangers = [option for option in options if option not in fields]
    if strangers:
        takes = [*fields, "height"] if "patches" in fields else fields
        known = ", ".join(_option(field) for field in takes if field in _FIELDS)
        raise ValueError(f"{_option(strangers[0])} does not go with --strategy {name}, which takes {known}")
    missing = [field for field in needed[name] if field not in options]
    if missing:
        raise ValueError(f"--strategy {name} needs {_option(missing[0])}")
    ratios = options.pop("ratio", [None])
    each = [options if ratio is None else {**options, "ratio": ratio} for ratio in ratios]

    def of_graph(graph: LatentGraph) -> list[Any]:
        patches = {} if subtrees is None else {"patches": Patches.of_subtrees(graph, subtrees)}
        try:
            return [STRATEGIES[name](**one, **patches) for one in each]
        except UsageError as error:  # the shell names strategies, not their classes
            raise UsageError(error.problem, argument=error.argument, remedies=error.remedies) from None

    return of_graph


def _profiles(
    graph: LatentGraph, strategies: list[Any], ratios: Sequence[float], regime: _Regime, n_masks: int, seed: int
) -> records.Record:
    import jax

    from hlvm.masking import law_of
    from hlvm.theory import level_profile, membership_probability

    for strategy in strategies:
        law_of(strategy, graph)  # refuses in words that need not say which of the strategies it is about
    profile = level_profile(graph, strategies, regime=regime, key=jax.random.key(seed), n_masks=n_masks)
    exact = regime == "invertible" and not profile.n_masks
    members = [membership_probability(graph, strategy) for strategy in strategies] if exact else []
    return records.profiles_record(graph, profile, ratios or profile.masked_share.tolist(), members)


def _show(record: records.Record, show: Any, json: bool) -> None:
    if json:
        print(to_json(record))
    else:
        show(record)
