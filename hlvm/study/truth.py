"""The data of a study: what is trained on, and samples with every latent known to score on."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import jax
import numpy as np
from jaxtyping import Float, Int, PRNGKeyArray

from hlvm._numbers import UsageError
from hlvm.datasets import Dataset
from hlvm.graph import LatentGraph
from hlvm.images import ImageSample
from hlvm.mae import ArrayData, ImageData, Images, rows_of_images
from hlvm.mae.training.data import Source, check_data, hold_out
from hlvm.masking import masked_array
from hlvm.mechanisms import InvertibleMLP
from hlvm.simulator import HierarchicalModel, Sample
from hlvm.theory import Regime

__all__ = ["Factory", "StudyData", "Truth", "generator_key", "regime_of", "source_of", "truth_of"]

Factory: TypeAlias = Callable[[PRNGKeyArray], Any]
"""Called with a typed key, makes a generator; all that it makes must have the same graph."""

_Given: TypeAlias = HierarchicalModel | Images | Dataset | ArrayData
StudyData: TypeAlias = _Given | LatentGraph | Factory | Sequence[_Given | str | os.PathLike[str]]
"""Data of a study. A graph stands for generators with invertible mechanisms drawn at random, a list for one generator
after the other."""

_MOST_ROWS, _SHARE_OF_ROWS = 1600, 4
_DATA_STREAM, _TRUTH_STREAM, _GENERATOR_STREAM = 0, 2, 4


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Truth:
    """Samples to score on, none of which is trained on.

    Attributes:
        observed: the samples as :func:`hlvm.mae.encode` takes them.
        inputs: the observed variables side by side, shape (n, columns).
        cell_of_column: the observed variable that each column belongs to, by its position, shape (columns,).
        values: variable -> its values, (n, dim).
        noise: variable -> the noise that enters there, (n, noise size); empty where it is not known.
        categories: latents whose values are categories, in whole numbers.
        images: the samples as images, (n, height, width, channels), or ``None``.
    """

    observed: Any
    inputs: Float[np.ndarray, "n columns"]
    cell_of_column: Int[np.ndarray, " columns"]
    values: Mapping[str, np.ndarray]
    noise: Mapping[str, np.ndarray]
    categories: frozenset[str]
    images: np.ndarray | None

    def visible(self, graph: LatentGraph, masked: Any) -> Float[np.ndarray, "n visible"]:
        """Columns that the encoder sees; all of them where nothing is masked."""
        if masked is None:
            return self.inputs
        return self.inputs[:, ~masked_array(graph, masked)[self.cell_of_column]]


def generator_key(key: PRNGKeyArray, generator: int) -> PRNGKeyArray:
    """The key of everything about one generator; the first one has the key of the study itself."""
    return key if generator == 0 else jax.random.fold_in(jax.random.fold_in(key, _GENERATOR_STREAM), generator)


def source_of(data: StudyData, key: PRNGKeyArray, generator: int = 0) -> Any:
    """The generator or data set behind one generator of a study.

    Args:
        data: what the study is of.
        key: of this generator.
        generator: its number, from 0.

    Raises:
        ValueError: nothing that can be trained on.
    """
    of_data = jax.random.fold_in(key, _DATA_STREAM)
    if isinstance(data, list | tuple):
        listed: Any = data[generator]  # opened, where it was a path
        return source_of(listed, key)
    if isinstance(data, LatentGraph):
        if (problem := data.invertible_dims_error()) is not None:
            raise ValueError(
                f"data: these dims allow no invertible mechanisms ({problem}): give a model, or a function of a key "
                "that makes one, with the mechanisms that you want"
            )
        return HierarchicalModel.init(of_data, data, InvertibleMLP())
    if isinstance(data, HierarchicalModel | Dataset | ArrayData | Images | Sample | ImageSample):
        return data
    if callable(data):
        made: Any = data(of_data)
        if not isinstance(made, HierarchicalModel | Images):
            raise ValueError(
                f"data: a function of a key must make a HierarchicalModel or an image model, got a "
                f"{type(made).__name__}"
            )
        return made
    return check_data(data)  # which says what else could be given


def truth_of(
    source: Any, key: PRNGKeyArray, rows: int | None, categories: frozenset[str] = frozenset()
) -> tuple[Source, Truth]:
    """Split what to train on from samples to score on.

    Of a data set the samples are rows that are split off; of a generator they are drawn.

    Args:
        source: a generator or a data set.
        key: of this generator.
        rows: samples to score on; ``None`` for 1,600, and of a data set for at most a quarter of the rows.
        categories: latents of a data set whose values are categories.

    Raises:
        ValueError: a data set without latents or with too few rows, or values that are not finite.
    """
    of_truth = jax.random.fold_in(key, _TRUTH_STREAM)
    if isinstance(source, HierarchicalModel):
        sample = source.sample(of_truth, rows or _MOST_ROWS)
        graph = source.graph
        truth = Truth(
            observed=sample,
            inputs=np.asarray(sample.observed_matrix),
            cell_of_column=graph.arrays.cell_of_column,
            values={name: np.asarray(values) for name, values in sample.variables.items()},
            noise={name: np.asarray(noise) for name, noise in sample.noise.items()},
            categories=categories,
            images=None,
        )
        return source, truth
    if isinstance(source, Images):
        drawn = jax.device_get(source.sample(of_truth, rows or _MOST_ROWS))
        training = ImageData(source)
        images = np.asarray(drawn.images)
        latents = _latents_of(drawn, source)
        truth = Truth(
            observed=images,
            inputs=np.asarray(rows_of_images(images, training.graph)),
            cell_of_column=training.graph.arrays.cell_of_column,
            values=latents,
            noise={name: np.asarray(noise) for name, noise in getattr(drawn, "noise", {}).items()},
            categories=categories | frozenset(getattr(source, "n_values", {})),
            images=images,
        )
        return training, truth
    return _split_off(source, of_truth, rows, categories)


def _latents_of(drawn: Any, source: Any) -> dict[str, np.ndarray]:
    latents = getattr(drawn, "latents", None)
    if not latents:
        raise ValueError(
            f"data: a study scores latents, but what {type(source).__name__} draws has none: give it an attribute "
            "latents, name -> values (n, dim)"
        )
    return {name: np.asarray(values) for name, values in latents.items()}


def _split_off(source: Any, key: PRNGKeyArray, rows: int | None, categories: frozenset[str]) -> tuple[ArrayData, Truth]:
    latents, noise = (getattr(source, part, None) or {} for part in ("latents", "noise"))
    if not latents:
        raise ValueError("data: a study scores latents, and this data set has none: give latents= to from_arrays")
    data: Any = check_data(source)
    wanted = rows or min(_MOST_ROWS, len(data) // _SHARE_OF_ROWS)
    if not 0 < wanted < len(data):
        raise UsageError(
            f"must leave rows to train on, got {wanted} of {len(data)} rows: bring more rows, or score fewer",
            argument="rows",
            of="ScoreConfig",
        )
    kept, held = hold_out(data, wanted, key)
    if held is None or not isinstance(kept, ArrayData):
        raise TypeError(f"a data set is held out as rows, got {type(kept).__name__}")
    chosen = held.positions
    inputs = held.numbers(np.arange(len(held)))
    images = getattr(source, "images", None)

    def of_rows(columns: Mapping[str, Any]) -> dict[str, np.ndarray]:
        return {name: np.asarray(values[chosen]) for name, values in columns.items()}

    truth = Truth(
        observed=held,
        inputs=inputs,
        cell_of_column=data.graph.arrays.cell_of_column,
        values=of_rows(latents),
        noise=of_rows(noise),
        categories=categories,
        images=None if images is None else np.asarray(images[chosen]),
    )
    _check_finite(truth)
    return kept, truth


def _check_finite(truth: Truth) -> None:
    for part, arrays in (("latents", truth.values), ("noise", truth.noise)):
        for name, values in arrays.items():
            wrong = np.asarray(~np.isfinite(values).all(axis=1))
            if wrong.any():
                raise ValueError(
                    f"data: {part} {name!r} has values that are not finite in {int(wrong.sum())} of {len(wrong)} rows "
                    "to score on: leave such rows out of the data set"
                )


def regime_of(source: Any) -> Regime | None:
    """The regime of the theory that a generator is known to be in; ``None`` where nothing is known of it."""
    model = getattr(source, "model", source)
    if isinstance(model, HierarchicalModel):
        return "invertible" if model.invertible else "general"
    return "general" if isinstance(source, Images) else None
