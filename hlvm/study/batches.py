"""Batches and masks of an arm, for training loops of the user's own: those that own training takes."""

from __future__ import annotations

import copy
import functools
import importlib
from collections.abc import Iterator
from typing import Any, NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from hlvm._numbers import UsageError, positive, whole_number
from hlvm._process.promotion import usual_promotion
from hlvm.encoders.encoder import Sees, Units
from hlvm.mae import TrainConfig, images_of_rows
from hlvm.mae.result import seed_keys
from hlvm.mae.training.data import ArrayData, Source, hold_out, standardization
from hlvm.mae.training.feeding import Feed, feeder, table_of
from hlvm.mae.training.mask_draws import MaskArrays, MaskPlan, draw_masks, draw_own, mask_plan
from hlvm.mae.training.program import CHUNK
from hlvm.mae.training.units import Columns, restored, single, standardized
from hlvm.masking import Sampled
from hlvm.masking.strategies import as_strategy

__all__ = ["Batch", "Batches", "Stream", "stream_of"]

_ROWS = 4096
"""Rows of a generator that an encoder is fitted on, unless training sees fewer."""


class Batch(NamedTuple):
    """One step's samples, and what is hidden of them.

    Attributes:
        values: whole samples: (batch, total observed dims), or images (batch, height, width, channels).
        masked: True where an observed variable, or a patch of an image, is hidden, (batch, observed variables) in the
            graph's order; ``None`` where there is no mask strategy.
    """

    values: Any
    masked: Any


class Stream(NamedTuple):
    """Where the training of one generator takes its samples from; the same for all arms and seeds.

    Attributes:
        data: the generator, or the rows that are trained on.
        key: from which, with the seed, batches and masks follow.
        shift: mean of every observed column, as :attr:`hlvm.mae.Fit.shift` has it.
        scale: standard deviation of every observed column.
        train: the optimisation.
        image_shape: height, width and channels; ``None`` where the data are no images.
    """

    data: Source
    key: PRNGKeyArray
    shift: Columns
    scale: Columns
    train: TrainConfig
    image_shape: tuple[int, int, int] | None


def stream_of(key: PRNGKeyArray, data: Source, train: TrainConfig, image_shape: tuple[int, int, int] | None) -> Stream:
    """The stream of the ensemble that is trained with a key; the same rows are held out of it.

    Args:
        key: that :func:`hlvm.mae.fit_ensemble` is called with.
        data: that it is called with.
        train: that it is called with.
        image_shape: of the samples.
    """
    standardize_key, members_key = jax.random.split(key)
    kept, _ = hold_out(data, train.held_out, members_key)
    return Stream(kept, members_key, *standardization(kept, standardize_key), train, image_shape)


class Batches:
    """Batches of one seed and generator, one per step: ``for values, masked in batches``.

    Batch ``i`` follows from the study's key, the generator, the seed and ``i`` alone, and is the one that the study's
    own training takes at step ``i``, with the same masks if the strategy is that of an arm. Samples to score on are
    never among them. Arrays are read-only ones of NumPy over JAX's memory; :meth:`torch` gives tensors over it.

    Args:
        stream: where samples come from.
        mask: mask strategy, or ``None``.
        seed: training seed.
        generator: number of the generator, for messages.
        sees: ``"rows"`` or ``"images"``.
        units: ``"standard"`` or ``"own"``.

    Raises:
        UsageError: images of data that have none, or a mask that does not fit.
    """

    def __init__(
        self,
        stream: Stream,
        *,
        mask: Any = None,
        seed: int = 0,
        generator: int = 0,
        sees: Sees = "rows",
        units: Units = "standard",
    ) -> None:
        for what, given, known in (("sees", sees, get_args(Sees)), ("units", units, get_args(Units))):
            if given not in known:
                raise UsageError(f'must be "{known[0]}" or "{known[1]}", got {given!r}', argument=what)
        if sees == "images" and stream.image_shape is None:
            raise UsageError('must be "rows": the data are no images', argument="sees")
        self.seed, self.generator = whole_number(seed, "seed", minimum=0), generator
        self._stream, self._sees, self._units = stream, sees, units
        self._mask = None if mask is None else as_strategy(mask)
        self._plan = None if mask is None else mask_plan(stream.data.graph, self._mask)
        self._torch: Any = None
        self._keys = seed_keys(stream.key, self.seed)
        table = table_of(stream.data, stream.shift, stream.scale, 1)
        self._feeder = feeder(
            stream.data,
            self._keys.data[None],
            batch=stream.train.batch,
            chunk=CHUNK,
            shift=stream.shift,
            scale=stream.scale,
            table=table,
        )
        self._feed: tuple[int, Feed] | None = None
        self._own: tuple[int, MaskArrays] | None = None

    def __repr__(self) -> str:
        return f"Batches({len(self)} of {self._stream.train.batch}, generator {self.generator}, seed {self.seed})"

    def __len__(self) -> int:
        return self._stream.train.steps

    def __iter__(self) -> Iterator[Batch]:
        return (self[step] for step in range(len(self)))

    @usual_promotion
    def __getitem__(self, step: int) -> Batch:
        """The batch of a step; steps beyond the length go on in the same way.

        Raises:
            IndexError: a step below 0.
        """
        if step < 0:
            raise IndexError(f"step {step}: steps count from 0")
        values, masked = self._drawn(step)
        shown = self._in_units(values)
        return Batch(self._given(shown), None if masked is None else self._given(masked))

    def torch(self) -> Batches:
        """The same batches as tensors of PyTorch, without a copy.

        They lie where JAX computes, so on the GPU where JAX has one and PyTorch was built for it.

        Raises:
            UsageError: PyTorch is not installed.
        """
        made = copy.copy(self)
        try:
            made._torch = importlib.import_module("torch")
        except ImportError:
            raise UsageError(
                "needs PyTorch", argument="torch", remedies={"torch": "pip install 'hlvm[torch]'"}
            ) from None
        return made

    def hidden(self, masked: Any) -> Any:
        """A batch's mask in the shape of its values: True for every number of what is hidden.

        Args:
            masked: (batch, observed variables), of NumPy or PyTorch.

        Returns:
            (batch, total observed dims), or (batch, height, width, channels); of the same framework.
        """
        cells = self._stream.data.graph.arrays.cell_of_column[None].astype(np.float32)
        return masked[:, np.array(self._shaped(cells)[0], np.int64)]

    @property
    def shift(self) -> Float[np.ndarray, " columns"]:
        """Mean of every observed column, which standard units take off."""
        return np.asarray(self._stream.shift)

    @property
    def scale(self) -> Float[np.ndarray, " columns"]:
        """Standard deviation of every observed column, by which standard units divide."""
        return np.asarray(self._stream.scale)

    @usual_promotion
    def rows(self, n: int | None = None) -> Float[np.ndarray, "n ..."]:
        """Samples that this seed trains on, for what is fitted at once.

        Args:
            n: how many; ``None`` for all rows of a data set, and of a generator for those of the first steps, 4,096 at
                most.

        Returns:
            NumPy array, of a data set in its order.
        """
        stream, data = self._stream, self._stream.data
        if isinstance(data, ArrayData) and n is None:
            values = data.numbers(np.arange(len(data)))
            standard = self._units == "standard"
            return self._shaped(standardized(values, stream.shift, stream.scale) if standard else values)
        wanted = min(_ROWS, len(self) * stream.train.batch) if n is None else positive(n, "n")
        steps = range(-(-wanted // stream.train.batch))
        return np.concatenate([np.asarray(self._in_units(self._drawn(step)[0])) for step in steps])[:wanted]

    def _drawn(self, step: int) -> tuple[Float[Array, "n columns"], Bool[Array, "n observed"] | None]:
        stream, chunk = self._stream, self._feeder.chunk
        number, i = divmod(step, chunk)
        if self._feed is None or self._feed[0] != number:
            self._feed = (number, self._feeder.for_chunk(number * chunk))
        at = (jnp.int32(step), jnp.int32(i))
        values = _values(self._feed[1], *at, stream.train.batch, single(stream.shift), single(stream.scale))
        if self._plan is None:
            return values, None
        masks = self._plan.arrays if self._plan.kind is not Sampled else self._own_masks(number, self._plan)
        return values, _masks(self._plan.kind, masks, self._keys.mask, *at, stream.train.batch)

    def _own_masks(self, number: int, plan: MaskPlan) -> MaskArrays:
        """Masks of a strategy of the user's own for one chunk of steps, as own training has them drawn."""
        if self._own is None or self._own[0] != number:
            shape = (self._feeder.chunk, self._stream.train.batch)
            key = jax.random.fold_in(self._keys.mask, number)
            rows = draw_own(self._mask, self._stream.data.graph, key, shape[0] * shape[1], plan)
            self._own = (number, plan.arrays._replace(masks=rows.reshape(*shape, -1)))
        return self._own[1]

    def _in_units(self, values: Any) -> Any:
        stream = self._stream
        return self._shaped(values if self._units == "standard" else restored(values, stream.shift, stream.scale))

    def _shaped(self, rows: Any) -> Any:
        if self._sees == "rows" or self._stream.image_shape is None:
            return rows
        return images_of_rows(rows, self._stream.data.graph, self._stream.image_shape)

    def _given(self, array: Any) -> Any:
        return np.asarray(array) if self._torch is None else self._torch.from_dlpack(array)


@functools.partial(jax.jit, static_argnums=3)
def _values(
    feed: Feed, step: Int[Array, ""], i: Int[Array, ""], n: int, shift: Array, scale: Array
) -> Float[Array, "n columns"]:
    return feed.batch(step, i, n, shift, scale)[0]


@functools.partial(jax.jit, static_argnums=(0, 5))
def _masks(
    kind: Any, masks: MaskArrays, key: PRNGKeyArray, step: Int[Array, ""], i: Int[Array, ""], n: int
) -> Bool[Array, "n observed"]:
    return draw_masks(kind, masks, jax.random.fold_in(key, step), n, i)
