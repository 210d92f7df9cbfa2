"""Encoders from outside as arms of a study: scored on the samples that own fits are scored on, with their controls."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import warnings
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from hlvm._files import make_folder
from hlvm._files.digests import read_json, write_json
from hlvm._numbers import UsageError
from hlvm.encoders import Encoder, wrap
from hlvm.mae import images_of_rows
from hlvm.mae.training.units import standardized
from hlvm.study.batches import Batches
from hlvm.study.measuring import Session
from hlvm.study.scores import ALL_SEEDS, Record

__all__ = ["EncoderArm", "EncoderScores", "encoder_columns", "encoders_of"]

_TRIED = 2
_PREFIX = "e"
"""Names of files of groups that are of encoders begin with it."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class EncoderArm:
    """One encoder, or one per seed, under its name.

    Attributes:
        name: what tells it from the other arms.
        encoders: one for all seeds, or one per seed; empty where only its records are left.
        described: what a table or a file says of it.
        mask_name: ``""``, since the theory predicts nothing of it.
    """

    name: str
    encoders: tuple[Encoder, ...]
    described: Mapping[str, Any]
    mask_name: str = ""

    @property
    def columns(self) -> dict[str, Any]:
        """The arm in columns of a table."""
        return encoder_columns(self.described)


def encoder_columns(described: Mapping[str, Any]) -> dict[str, Any]:
    """Columns of a table, which an encoder has neither mask nor loss for."""
    kind = {"strategy": "", "ratio": math.nan, "unit": "", "network": described["kind"], "loss": ""}
    return {"arm": described["arm"], **kind}


def encoders_of(given: Mapping[str, Any] | Sequence[Any] | None, taken: Collection[str]) -> tuple[EncoderArm, ...]:
    """The arms that encoders make.

    Args:
        given: name -> encoder, or a list of one per seed; or encoders, which have names.
        taken: names of the other arms.

    Raises:
        UsageError: something that is no encoder, or a name that there is already.
    """
    if given is None:
        return ()
    if not isinstance(given, Mapping | list | tuple):
        raise UsageError(f"must be a dict, name -> encoder, got a {type(given).__name__}", argument="encoders")
    named = list(given.items()) if isinstance(given, Mapping) else [(wrap(one).name, one) for one in given]
    found: list[EncoderArm] = []
    for name, each in named:
        several: list[Any] = list(each) if isinstance(each, list | tuple) else [each]
        if not isinstance(name, str) or not name or not several:
            raise UsageError(
                f"must be a dict of names and encoders, or lists of one per seed, got {name!r}", argument="encoders"
            )
        if name in taken or any(name == one.name for one in found):
            raise UsageError(f"must have names that no other arm has, got {name!r} twice", argument="encoders")
        own = tuple(_named(name, one) for one in several)
        first = own[0]
        described = {
            "arm": name,
            "kind": first.kind,
            "sees": first.sees,
            "units": first.units,
            "floor": first.floor,
            "fitted": first.fit is not None,
        }
        found.append(EncoderArm(name=name, encoders=own, described=described))
    return tuple(found)


def _named(name: str, encoder: Any) -> Encoder:
    """The encoder under the name of its arm, which errors then tell."""
    return wrap(encoder, name=name)


@dataclasses.dataclass(eq=False)
class EncoderScores:
    """Scores of encoders, each kept in the folder of the study when it is done.

    Attributes:
        session: the study under its key.
        given: encoders of this run.
        groups: folder of kept results; ``None`` keeps none.
    """

    session: Session
    given: tuple[EncoderArm, ...]
    groups: Path | None

    def __post_init__(self) -> None:
        self._records: dict[tuple[str, int, int], list[Record]] = {}
        self._described = {arm.name: dict(arm.described) for arm in self.given}
        for kept in self._kept():
            group = kept["group"]
            if group["encoder"] not in {arm.name for arm in self.given}:
                self._described[group["encoder"]] = kept["encoder"]
                self._records[group["encoder"], group["generator"], group["seed"]] = kept["records"]

    @property
    def arms(self) -> tuple[EncoderArm, ...]:
        """Those of this run, and those of earlier ones of which the records are kept."""
        given = {arm.name: arm for arm in self.given}
        return tuple(
            given.get(name, EncoderArm(name=name, encoders=(), described=described))
            for name, described in self._described.items()
        )

    @property
    def described(self) -> list[dict[str, Any]]:
        """The content of :attr:`hlvm.study.StudyResult.encoders`."""
        return [dict(described) for described in self._described.values()]

    @property
    def records(self) -> list[Record]:
        """Scores of all encoders; seeds that all score the same to the bit are one, :data:`ALL_SEEDS`."""
        found: list[Record] = []
        for name, generator in dict.fromkeys((name, generator) for name, generator, _ in self._records):
            of_seeds = [of for key, of in self._records.items() if key[:2] == (name, generator)]
            values = [[record["value"] for record in of] for of in of_seeds]
            if len(values) > 1 and all(each == values[0] for each in values):
                of_seeds = [[{**record, "seed": ALL_SEEDS} for record in of_seeds[0]]]
            found += [record for of in of_seeds for record in of]
        return found

    def check(self, seeds: int, generators: int) -> None:
        """Try every encoder on two samples, before anything is fitted or trained.

        Args:
            seeds: most seeds of an arm.
            generators: most generators.

        Raises:
            UsageError: encoders that do not fit the study or fail.
        """
        study, truth = self.session.study, self.session.material(0).truth
        for arm in self.given:
            told = f"encoder {arm.name!r}"
            if len(arm.encoders) > 1 and (generators > 1 or len(arm.encoders) > seeds):
                raise UsageError(
                    f"has {len(arm.encoders)} encoders, one per seed, for {seeds} seeds of {generators} generator"
                    f"{'' if generators == 1 else 's'}: give at most one per seed of a single generator, or "
                    "wrap(function, fit=True)",
                    argument=told,
                )
            for encoder in arm.encoders:
                if encoder.sees == "images" and truth.images is None:
                    raise UsageError('sees images, and the data have none: wrap it with sees="rows"', argument=told)
                if study.score.view == "masked" and encoder.mask is None:
                    raise UsageError(
                        "has no mask strategy, and the study scores masked samples",
                        argument=told,
                        remedies={"mask": "give mask= to wrap", "view": 'use view="whole" in ScoreConfig'},
                    )
                if encoder.fit is None:
                    self._codes(encoder, 0, self._masked(encoder, 0, 0), rows=_TRIED)

    def measure(self, names: Collection[str], generators: Iterable[int], seeds: Iterable[int]) -> None:
        """Score encoders on the samples of some generators; what is known or kept is not done again.

        Args:
            names: of the arms.
            generators: numbers of the generators.
            seeds: of each arm; an encoder that no seed changes is scored once for a generator.

        Raises:
            UsageError: an encoder fails, or could not be fitted.
        """
        chosen, wanted = [arm for arm in self.given if arm.name in names], list(seeds)
        for generator in generators:
            for arm in chosen:
                for seed in self._seeds_of(arm, wanted):
                    if (arm.name, generator, seed) not in self._records:
                        encoder = arm.encoders[seed if len(arm.encoders) > 1 else 0]
                        self._records[arm.name, generator, seed] = self._measured(arm, encoder, generator, seed)

    def _seeds_of(self, arm: EncoderArm, seeds: Sequence[int]) -> list[int]:
        first, *others = arm.encoders
        if others:
            return [seed for seed in seeds if seed < len(arm.encoders)]
        changes = first.fit is not None or self.session.study.score.view == "masked"
        return list(seeds) if changes else [ALL_SEEDS]

    def _measured(self, arm: EncoderArm, encoder: Encoder, generator: int, seed: int) -> list[Record]:
        group = {"generator": generator, "encoder": arm.name, "seed": seed}
        path = None if self.groups is None else self.groups / _file_name(group)
        if encoder.fingerprint and (kept := _read(path, group | {"fingerprint": encoder.fingerprint})):
            self._described[arm.name] = kept["encoder"]
            return kept["records"]
        fingerprint, own = encoder.fingerprint, max(seed, 0)
        if encoder.fit is not None:
            encoder = _named(arm.name, encoder.fitted(self._batches(encoder, generator, own)))
            self._described[arm.name] |= {"kind": encoder.kind, "floor": encoder.floor}
        masked = self._masked(encoder, generator, own)
        code = self._codes(encoder, generator, masked)
        untrained = None if encoder.untrained is None else encoder.reinitialised(own)
        floor = None if untrained is None else self._codes(untrained, generator, masked)
        group["fingerprint"] = fingerprint or _digest(code, floor)
        if kept := _read(path, group):
            return kept["records"]
        found = self.session.scorer(generator).records_of_code(seed, code, floor, masked)
        name = {"arm": arm.name, "generator": generator}
        records: list[Record] = json.loads(json.dumps([name | record for record in found]))  # as they are read back
        if path is not None:
            make_folder(path.parent)
            write_json(path, {"group": group, "encoder": self._described[arm.name], "records": records})
        return records

    def _batches(self, encoder: Encoder, generator: int, seed: int) -> Batches:
        stream = self.session.stream(generator)
        how: dict[str, Any] = {"sees": encoder.sees, "units": encoder.units}
        return Batches(stream, mask=encoder.mask, seed=seed, generator=generator, **how)

    def _masked(self, encoder: Encoder, generator: int, seed: int) -> np.ndarray | None:
        if self.session.study.score.view == "whole":
            return None
        return self.session.scorer(generator).view(seed, encoder.mask)

    def _codes(
        self, encoder: Encoder, generator: int, masked: np.ndarray | None, rows: int | None = None
    ) -> np.ndarray:
        """Codes of the samples to score on; what is hidden of them is set to its mean."""
        stream, truth = self.session.stream(generator), self.session.material(generator).truth
        inputs = truth.inputs[:rows]
        inputs = standardized(inputs, stream.shift, stream.scale) if encoder.units == "standard" else inputs
        if masked is not None:
            filler = 0.0 if encoder.units == "standard" else np.asarray(stream.shift, inputs.dtype)
            inputs = np.where(masked[truth.cell_of_column], filler, inputs).astype(inputs.dtype)
            masked = np.broadcast_to(masked, (len(inputs), len(masked)))
        if encoder.sees == "images" and truth.images is not None:
            height, width, channels = truth.images.shape[1:]
            inputs = np.asarray(images_of_rows(inputs, self.session.study.graph, (height, width, channels)))
        return encoder(inputs, masked, data=f"generator {generator}")

    def _kept(self) -> Iterator[dict[str, Any]]:
        """Results of encoders in the folder; those that are damaged are left out, which is told."""
        if self.groups is None or not self.groups.is_dir():
            return
        for path in sorted(self.groups.glob(f"{_PREFIX}[0-9]*.json")):
            try:
                found = read_json(path)
            except ValueError as error:
                warnings.warn(f"scores of an encoder are left out: {error}", stacklevel=6)
                continue
            yield found


def _read(path: Path | None, group: Mapping[str, Any]) -> dict[str, Any] | None:
    if path is not None and path.exists():
        with suppress(ValueError):
            found: Any = read_json(path)
            if isinstance(found, dict) and found.get("group") == group:
                return found
    return None


def _file_name(group: Mapping[str, Any]) -> str:
    digest = hashlib.sha256(group["encoder"].encode()).hexdigest()[:10]
    seed = "all" if group["seed"] == ALL_SEEDS else group["seed"]
    return f"{_PREFIX}{group['generator']}-{digest}-{seed}.json"


def _digest(code: np.ndarray, floor: np.ndarray | None) -> str:
    """Records follow from codes, so the codes say whether an encoder is the one that was scored."""
    found = hashlib.sha256(f"{code.shape}".encode() + np.ascontiguousarray(code).tobytes())
    if floor is not None:
        found.update(np.ascontiguousarray(floor).tobytes())
    return found.hexdigest()
