"""An encoder: arrays in, one code per sample out, checked, whatever computes it."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable
from typing import Any, Literal, TypeAlias

import numpy as np
from jaxtyping import Bool, Float

from hlvm._numbers import UsageError, as_numbers

__all__ = ["Encoder", "EncoderWarning", "Sees", "Units", "told"]

Sees: TypeAlias = Literal["rows", "images"]
Units: TypeAlias = Literal["standard", "own"]

_TRIED = 2
"""Rows that an encoder is tried on first."""
_LONGEST = 300
"""Characters that another library's error may take."""
_SAME = 0.01
"""Codes of one row may differ by this share of a column's spread: batches of other sizes round otherwise."""


class EncoderWarning(UserWarning):
    """Codes that were computed, and are not what a code should be."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Encoder:
    """One kind of thing for every encoder from outside; :func:`wrap` makes it.

    Call it with samples for their codes, ``encoder(inputs)``, or ``encoder(inputs, masked)`` where a part is hidden:
    (n, dims) in the order of the samples. Whether it keeps that order cannot be seen in general. It is tried on the
    first two samples alone, and codes that are other ones than among all samples are warned of.

    Attributes:
        name: what tables call it.
        kind: ``"function"``, ``"torch"``, ``"scikit-learn"`` or ``"encode"``.
        sees: ``"rows"``, the observed variables side by side, (n, total observed dims); or ``"images"``, (n, height,
            width, channels).
        units: ``"standard"``: every column less its mean, in its standard deviations, as own training has it; or
            ``"own"``, as the data have it.
        mask: strategy that hides a part of the samples, where masked samples are asked for; ``None`` for an encoder
            that is for whole samples only.
        function: called with the inputs, and with a mask where it takes one.
        takes_mask: whether ``function`` takes the mask, a boolean array (n, observed variables), beside masked samples.
        batch: most samples that ``function`` is called with; ``None`` for all.
        fit: makes the encoder that is called, of batches to train on; ``None`` for one that is ready.
        untrained: makes the encoder before training, of a seed; ``None`` where nothing does.
        no_floor: why nothing does.
        fingerprint: of the settings of an encoder that is to be fitted; ``""`` where they are not known.
    """

    name: str
    kind: str
    function: Callable[..., Any]
    sees: Sees = "rows"
    units: Units = "standard"
    mask: Any = None
    takes_mask: bool = True
    batch: int | None = None
    fit: Callable[[Any], Encoder] | None = None
    untrained: Callable[[int], Encoder] | None = None
    no_floor: str = ""
    fingerprint: str = ""

    def __repr__(self) -> str:
        return f"Encoder({self.name!r}, {self.kind}, sees {self.sees}{', to be fitted' if self.fit else ''})"

    def __call__(
        self, inputs: Any, masked: Bool[np.ndarray, "n observed"] | None = None, *, data: str = ""
    ) -> Float[np.ndarray, "n dims"]:
        """Codes of samples.

        Args:
            inputs: what the encoder sees, in its units.
            masked: what is hidden, for an encoder that takes it; ``None`` for whole samples.
            data: what to call the samples in messages.

        Raises:
            UsageError: the encoder fails, is not fitted yet, or gives something else than one finite row of numbers per
                sample.

        Warns:
            EncoderWarning: all samples have the same code, or the code of a sample depends on the others.
        """
        if self.fit is not None:
            raise self._error("is not fitted yet: a study fits it, or call fitted(batches)")
        alone = self._codes(inputs[:_TRIED], None if masked is None else masked[:_TRIED], data)
        if len(inputs) <= _TRIED:
            return alone
        size = self.batch or len(inputs)
        parts = [
            self._codes(inputs[i : i + size], None if masked is None else masked[i : i + size], data)
            for i in range(0, len(inputs), size)
        ]
        widths = {part.shape[1] for part in (alone, *parts)}
        if len(widths) > 1:
            raise self._error(
                f"gives codes of {min(widths)} to {max(widths)} dims, depending on how many samples it is given: all "
                "samples must have codes of one length"
            )
        codes = np.concatenate(parts)
        self._look(codes, alone)
        return codes

    def reinitialised(self, seed: int) -> Encoder:
        """The same encoder before training, which is the floor of its scores.

        Args:
            seed: other seeds give other initial parameters.

        Raises:
            UsageError: there is none, for the reason that :attr:`no_floor` says.
        """
        if self.untrained is None:
            raise self._error(f"has no floor: {self.no_floor}")
        return self.untrained(seed)

    def fitted(self, batches: Any) -> Encoder:
        """The encoder fitted on what its seed trains on; one that is ready is given back as it is.

        Args:
            batches: what :meth:`hlvm.study.Study.batches` gives.

        Raises:
            UsageError: fitting fails, or makes no encoder.
        """
        if self.fit is None:
            return self
        try:
            return self.fit(batches)
        except UsageError:
            raise
        except Exception as error:
            raise self._error(f"could not be fitted on {batches!r}: {told(error)}") from error

    @property
    def floor(self) -> str:
        """Words about its floor: that there is one, or why there is none."""
        if self.fit is not None and self.untrained is None and not self.no_floor:
            return "decided when it is fitted"
        return f"missing: {self.no_floor}" if self.untrained is None else "before training"

    def _codes(self, inputs: Any, masked: Any, data: str) -> Float[np.ndarray, "n dims"]:
        given = (inputs,) if masked is None or not self.takes_mask else (inputs, masked)
        shape = f"inputs of shape {np.shape(inputs)}{f' of {data}' if data else ''}"
        try:
            made = self.function(*given)
        except Exception as error:
            raise self._error(f"fails on {shape}: {told(error)}") from error
        return self._checked(made, len(inputs), shape)

    def _checked(self, made: Any, n: int, shape: str) -> Float[np.ndarray, "n dims"]:
        if getattr(made, "is_meta", False):
            raise self._error(
                f"gives a tensor on the device meta, which holds no numbers, for {shape}: move it to another"
            )
        try:
            codes = as_numbers("its code", made)
        except ValueError as error:
            raise self._error(f"gives no numbers for {shape}: {told(error, of_type=False)}") from None
        if codes.ndim not in (1, 2) or len(codes) != n:
            raise self._error(
                f"must give one row per sample, ({n}, dims), for {shape}, got {codes.shape}: "
                + (
                    "make one row of each sample, by a mean over tokens or .reshape(n, -1)"
                    if codes.ndim > 2
                    else "rows must neither be dropped nor added, and stay in their order"
                )
            )
        codes = codes.reshape(n, -1)
        if not codes.shape[1]:
            raise self._error(f"gives codes without numbers, shape {codes.shape}, for {shape}")
        codes = codes.astype(np.float32 if np.can_cast(codes.dtype, np.float32) else np.float64, copy=False)
        wrong = ~np.isfinite(codes).all(axis=1)
        if wrong.any():
            raise self._error(
                f"gives NaN or infinite numbers in {int(wrong.sum())} of {n} rows for {shape}, first in row "
                f"{int(np.argmax(wrong))}: mend it, or leave it out"
            )
        return codes

    def _look(self, codes: Float[np.ndarray, "n dims"], alone: Float[np.ndarray, "tried dims"]) -> None:
        spread = codes.std(axis=0)
        if not np.ptp(codes, axis=0).any():
            self._warn(
                f"gives all {len(codes)} samples the same code: it has collapsed, and nothing can be found in it"
            )
        elif (np.abs(codes[:_TRIED] - alone) > _SAME * spread + 1e-6 * np.abs(alone)).any():
            self._warn(
                "gives samples other codes when they come alone than among others: its rows come in another order, it "
                "draws at random, or a code depends on the other samples"
            )

    def _warn(self, problem: str) -> None:
        warnings.warn(f"encoder {self.name!r} {problem}", EncoderWarning, stacklevel=4)

    def _error(self, problem: str) -> UsageError:
        return UsageError(problem, argument=f"encoder {self.name!r}")


def told(error: Exception, *, of_type: bool = True) -> str:
    """An error of the user's code in one line, with its type unless that is a matter of course."""
    words = " ".join(f"{error}".split())[:_LONGEST]
    return f"{type(error).__name__}: {words}" if of_type else words
