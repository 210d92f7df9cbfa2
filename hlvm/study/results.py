"""Results of a study: tables, claims, and the folder they are read back from."""

from __future__ import annotations

import dataclasses
import functools
import math
import os
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hlvm._files import as_path
from hlvm._files.digests import read_json
from hlvm.claims import Claim, ClaimConfig
from hlvm.plotting import plot_study
from hlvm.plotting.study_tables import StudyLayout
from hlvm.scoring import over_generators
from hlvm.study.collapsed import collapsed_by_arm, collapsed_in_words, notes_on_claims
from hlvm.study.comparisons import Pair
from hlvm.study.decisions import power_of
from hlvm.study.encoder_arms import encoder_columns
from hlvm.study.page import write_page
from hlvm.study.prediction import Prediction

__all__ = ["COLUMNS", "StudyResult", "load_study"]

COLUMNS = (
    "arm",
    "strategy",
    "ratio",
    "unit",
    "network",
    "loss",
    "latent",
    "height",
    "part",
    "score",
    "share_in_c",
    "availability",
    "demand",
    "value",
    "low",
    "high",
    "floor",
    "ceiling",
    "chance",
    "var_between",
    "var_within",
    "seeds",
    "generators",
    "collapsed",
)
"""Columns of :meth:`StudyResult.table`; see there."""

_TOLD_APART = ("first", "second", "height", "latent", "part", "score", "predicted", "value", "low", "high", "apart")
_HEAD = ("arm", "height", "part", "score", "share_in_c", "value", "low", "high", "floor", "ceiling")
_HEAD_ROWS = 10
_LEAST_SHARE = 1e-9  # an error rate is above 0
_ARM = ["arm", "strategy", "ratio", "unit", "network", "loss"]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class StudyResult:
    """The outcome of a study.

    Attributes:
        settings: everything that the results depend on, as ``study.json`` holds it.
        prediction: made before training.
        records: one row per arm, generator, seed, latent and part: ``value``, ``floor``, ``ceiling``, ``chance``, and
            ``collapsed``, which says of the fit ``"none"``, ``"dimensional"`` or ``"total"``. A fit that diverged has
            NaN as its values. Those of a fit that collapsed count as they are. An encoder that no seed changes has −1
            as its seed, and one without an untrained counterpart NaN as its floor.
        losses: per arm, generator and seed ``step`` and ``loss`` (lists) and whether it ``diverged``.
        pictures: samples, masks and reconstructions of the first seed of the first generator, by arm.
        own_claims: comparisons of the user's, decided.
        drawn: name of a difference -> the claim that the prediction draws of it, decided as one family.
        pairs: what is claimed of pairs of arms, before measuring.
        claim_config: margins and error rate of the claims that are drawn.
        environment: versions and machine.
        stages: looks at the claims: ``seeds`` and ``generators`` of the arms whose claims were open, ``arms`` (how many
            these were) and ``open``, how many claims were left; one look where nothing else was asked for.
        encoders: encoders from outside, which are arms of the table: ``arm``, ``kind``, what it ``sees`` and in which
            ``units``, its ``floor`` in words, and whether it was ``fitted`` by the study.
    """

    settings: Mapping[str, Any]
    prediction: Prediction
    records: pd.DataFrame
    losses: Sequence[Mapping[str, Any]]
    pictures: Sequence[Mapping[str, Any]]
    own_claims: tuple[Claim, ...]
    drawn: Mapping[str, Claim]
    pairs: tuple[Pair, ...]
    claim_config: ClaimConfig
    environment: Mapping[str, Any]
    stages: Sequence[Mapping[str, Any]] = ()
    encoders: Sequence[Mapping[str, Any]] = ()

    def __repr__(self) -> str:
        arms, fits = self.records["arm"].nunique(), len(self.losses)
        return f"StudyResult({arms} arms, {fits} fits, {len(self.pairs)} claims drawn)"

    def _repr_html_(self) -> str:
        """Counts of claims and the head of the table by height, for notebooks."""
        from hlvm._html import block, escaped, outcomes, table

        claims = (*self.own_claims, *self.drawn.values())
        holds = [claim.holds for claim in claims]
        decided = len(claims) - holds.count(None)
        words = f"{decided} of {len(claims)} claims decided: {outcomes(holds)}"
        found = self.table("height")
        rows = found.loc[:, list(_HEAD)].head(_HEAD_ROWS).itertuples(index=False)
        more = f"<p>{len(found) - _HEAD_ROWS} more rows in table()</p>" if len(found) > _HEAD_ROWS else ""
        return block(repr(self), f"<p>{escaped(words)}</p>", table(_HEAD, rows), more)

    @functools.cached_property
    def diverged(self) -> tuple[str, ...]:
        """Fits that diverged, in words; they are left out of means and claims."""
        return tuple(
            f"{one['arm']}, generator {one['generator']}, seed {one['seed']}" for one in self.losses if one["diverged"]
        )

    @functools.cached_property
    def collapsed(self) -> tuple[str, ...]:
        """Fits whose code has collapsed, in words, with the kind (:func:`hlvm.scoring.collapse`).

        Total: all samples have the same code. Dimensional: it varies along hardly more than one direction, while the
        untrained code and the scored latents use more, and reads no latent better than before training.
        """
        return collapsed_in_words(self.records)

    def table(self, by: Literal["latent", "height"] = "latent") -> pd.DataFrame:
        """One tidy table, one row per arm, latent (or height) and part.

        Args:
            by: ``"latent"`` for every latent that was scored, ``"height"`` for the mean over those of a height.

        Returns:
            Columns :data:`COLUMNS`. ``share_in_c``: predicted share in the shared information, 0 to 1.
            ``availability``: predicted R² of the part given what is visible, 0 to 1; ``demand``: predicted share of a
            masked cell's variance that knowing the latents takes off the loss, see :func:`hlvm.theory.mask_profile`;
            both NaN where the generator has no exact oracle. ``value``: mean
            of the ``score`` (R², or accuracy of categories), with ``low`` and ``high``, its 95 % interval over
            generators, or over the seeds of a single one; NaN where there is one of each. ``floor``: untrained
            encoders; ``ceiling``: the visible part itself; ``chance``: rows shuffled. ``var_between`` and
            ``var_within``: variances between generators and between seeds of one; NaN where there is one only.
            ``seeds`` of each generator (the fewest; 1 for an encoder that no seed changes) and ``generators``.
            ``collapsed``: number of the arm's fits whose code has collapsed, see :attr:`collapsed`. ``latent`` is
            ``""`` by height. Encoders from outside have no mask, so their ``strategy``, ``ratio`` and prediction are
            empty; ``network`` is their kind, ``floor`` NaN where there is none. ``unit`` is a
            whole number, or text throughout where one of them is ``"rows × columns"`` or there is none.

        Raises:
            ValueError: another ``by``.
        """
        if by not in ("latent", "height"):
            raise ValueError(f'by: expected "latent" or "height", got {by!r}')
        cell = ["latent", "height", "part", "score"] if by == "latent" else ["height", "part", "score"]
        predicted = self._predicted(cell)
        numbers = ["value", "floor", "ceiling", "chance"]
        known: Any = self.records
        per_fit: Any = (
            known.groupby(["arm", *cell, "generator", "seed"], sort=False)[numbers]
            .agg(lambda values: values.mean(skipna=False))
            .reset_index()
        )
        arms = {arm["arm"]: arm for arm in (*self.settings["arms"], *map(encoder_columns, self.encoders))}
        collapsed = collapsed_by_arm(self.records)
        rows: list[dict[str, Any]] = []
        for key, of_cell in per_fit.groupby(["arm", *cell], sort=False):
            names = dict(zip(["arm", *cell], key, strict=True))
            arm = arms[names["arm"]]
            place = (names["arm"], *key[1:])
            rows.append(
                {name: arm[name] for name in _ARM}
                | {"latent": ""}
                | names
                | predicted.get(place, {})
                | _summary(of_cell)
                | {name: float(of_cell[name].mean()) for name in ("floor", "ceiling", "chance")}
                | {"collapsed": collapsed[names["arm"]][0]}
            )
        table = pd.DataFrame(rows, columns=list(COLUMNS))
        if not all(isinstance(unit, int) for unit in table["unit"]):
            table["unit"] = table["unit"].astype(str)  # Parquet takes one type a column
        return table

    def claims(self) -> tuple[Claim, ...]:
        """The user's own claims first, then those drawn from the prediction, decided as one family.

        Pairs of which too few differences are left, since fits diverged or there is one seed only, are left out. The
        reason of a drawn claim says which of its arms have fits that collapsed.
        """
        notes = notes_on_claims(self.pairs, self.records)
        drawn = [
            dataclasses.replace(claim, reason=f"{claim.reason}; {notes[name]}") if name in notes else claim
            for name, claim in self.drawn.items()
        ]
        return (*self.own_claims, *drawn)

    def needed(self, *, power: float = 0.8) -> pd.DataFrame:
        """Say what it would take to decide the drawn claims that are open.

        Args:
            power: chance of a decision that is enough, between 0 and 1.

        Returns:
            One row per open claim, see :func:`hlvm.claims.power_table`: ``seeds_needed`` of as many generators as
            there are, ``generators_needed`` of as many seeds.
        """
        left = [pair for pair in self.pairs if pair.name in self.drawn and self.drawn[pair.name].holds is None]
        return power_of(left, self.records, self._config_of_family(len(left)), power=power)

    def _seeds_needed(self) -> dict[str, int | None]:
        table: Any = self.needed()
        found = table.set_index("claim")["seeds_needed"]
        return {name: None if pd.isna(seeds) else int(seeds) for name, seeds in found.items()}

    def _config_of_family(self, left: int) -> ClaimConfig:
        """The config under which a table of the open claims is planned at the level of the whole family."""
        # power_table shares the error among the claims it is given: these, of a larger family.
        share = left / len(self.drawn) if self.drawn else 1.0
        return dataclasses.replace(self.claim_config, error=self.claim_config.error * max(share, _LEAST_SHARE))

    @functools.cached_property
    def told_apart(self) -> pd.DataFrame:
        """Tell which pairs of arms were told apart: one row per drawn claim that was decided on.

        Columns ``first`` and ``second`` (arms), ``height``, ``latent`` (``""`` for all of the height), ``part``,
        ``score``, ``predicted`` (share of the first less that of the second), ``value``, ``low`` and ``high`` (the
        measured difference and the interval that decided the claim) and ``apart``: whether that interval leaves zero
        out.
        """
        rows = []
        for pair in self.pairs:
            claim = self.drawn.get(pair.name)
            if claim is not None:
                found = claim.scores[pair.name]
                row = {name: getattr(pair, name) for name in ("first", "second", "height", "part", "score")}
                row |= {"latent": pair.latent or "", "predicted": pair.predicted, **dataclasses.asdict(found)}
                rows.append(row | {"apart": found.low > 0 or found.high < 0})
        return pd.DataFrame(rows, columns=list(_TOLD_APART))

    def plot(
        self,
        *,
        by: Literal["latent", "height"] = "height",
        height: int | None = None,
        part: str | None = None,
        layout: StudyLayout | None = None,
        strategy: str | None = None,
        network: str | None = None,
        loss: str | None = None,
        predicted: Literal["share_in_c", "availability", "demand"] = "share_in_c",
        title: str = "",
        ax: Axes | None = None,
    ) -> Figure:
        """Draw what was predicted above what was measured; see :func:`hlvm.plotting.plot_study`.

        Args:
            by: a panel per height, or per latent.
            height: draw latents of this height only.
            part: ``"noise"`` or ``"value"``; ``None`` for noise where it was scored.
            layout: ``"maps"``, ``"curves"`` or ``"arms"``; ``None`` for what fits.
            strategy: draw this one only.
            network: draw this one only.
            loss: draw this one only.
            predicted: the prediction that is drawn; the last two need a generator with an exact oracle.
            title: text above.
            ax: axes to draw a single panel into: curves or arms of one height or latent; ``None`` for a new figure.

        Raises:
            ValueError: names that the study does not have, more than one figure shows, or axes for several panels.
        """
        table: Any = self.table(by)
        if height is not None:
            heights = sorted(set(table["height"].tolist()))
            if height not in heights:
                raise ValueError(f"height {height!r} is none of the heights of this study: {heights}")
            table = table[table["height"] == height]
        return plot_study(
            table,
            part=part,
            told_apart=self.told_apart,
            layout=layout,
            strategy=strategy,
            network=network,
            loss=loss,
            predicted=predicted,
            title=title,
            ax=ax,
        )

    def report(self, path: str | os.PathLike[str], *, title: str = "Masking study: predicted, and measured") -> None:
        """Write a self-contained page: picture, claims, samples, what the encoder saw, losses, settings.

        Args:
            path: file to write, such as ``"report.html"``; written all or nothing.
            title: of the page.

        Raises:
            FileNotFoundError: its folder does not exist.
        """
        write_page(
            path,
            title=title,
            table=self.table("height"),
            told_apart=self.told_apart,
            own_claims=self.own_claims,
            drawn_claims=tuple(self.drawn.values()),
            needed=self._seeds_needed(),
            losses=self.losses,
            pictures=self.pictures,
            encoders=self.encoders,
            diverged=self.diverged,
            collapsed=self.collapsed,
            notes=notes_on_claims(self.pairs, self.records),
            settings=self.settings,
            environment=self.environment,
        )

    def _predicted(self, cell: list[str]) -> dict[tuple[Any, ...], dict[str, float]]:
        """Arm and cell -> predicted share, availability and demand of the latents of the cell."""
        known: Any = self.records
        latents = {key: set(of["latent"]) for key, of in known.groupby(cell)}
        prediction, by_latent = self.prediction, "latent" in cell
        found: dict[tuple[Any, ...], dict[str, float]] = {}
        for arm in self.settings["arms"]:
            mask = arm["mask_name"]
            shares = prediction.of_latents(mask)
            for key, names in latents.items():
                chosen = None if by_latent else names
                of = {
                    "share_in_c": shares if by_latent else prediction.of_heights(mask, names),
                    "availability": prediction.quantity(mask, "availability", key[cell.index("part")], chosen),
                    "demand": prediction.quantity(mask, "demand", "", chosen),
                }
                found[arm["arm"], *key] = {name: numbers.get(key[0], math.nan) for name, numbers in of.items()}
        return found


def _can_be_decided(differences: Sequence[np.ndarray]) -> bool:
    return len(differences) > 1 or (len(differences) == 1 and len(differences[0]) > 1)


def _summary(of_cell: Any) -> dict[str, Any]:
    """Mean and interval of the fits of one cell; those that diverged are left out."""
    sound = of_cell.dropna(subset=["value"])
    groups = [values.to_numpy() for _, values in sound.groupby("generator")["value"]]
    counts = {"seeds": min(map(len, groups), default=0), "generators": len(groups)}
    if not _can_be_decided(groups):
        value = float(sound["value"].mean()) if len(sound) else math.nan
        return {
            "value": value,
            "low": math.nan,
            "high": math.nan,
            "var_between": math.nan,
            "var_within": math.nan,
        } | counts
    found = over_generators(groups if len(groups) > 1 else groups[0])
    return {
        **dataclasses.asdict(found.interval),
        "var_between": math.nan if found.var_between is None else found.var_between,
        "var_within": math.nan if found.var_within is None else found.var_within,
        **counts,
    }


def result_to_dict(result: StudyResult) -> dict[str, Any]:
    """The content of ``results.json``: all but what other files of the folder hold."""
    return {
        "records": {
            "columns": list(result.records.columns),
            "data": [[None if one != one else one for one in row] for row in result.records.to_dict("split")["data"]],
        },
        "losses": list(result.losses),
        "pictures": list(result.pictures),
        "own_claims": [claim.to_dict() for claim in result.own_claims],
        "drawn_claims": {name: claim.to_dict() for name, claim in result.drawn.items()},
        "pairs": [dataclasses.asdict(pair) for pair in result.pairs],
        "claim_config": dataclasses.asdict(result.claim_config),
        "environment": dict(result.environment),
        "stages": list(result.stages),
        **({"encoders": [dict(one) for one in result.encoders]} if result.encoders else {}),
    }


def load_study(path: str | os.PathLike[str]) -> StudyResult:
    """Read what a study has found from its folder.

    Args:
        path: the folder that was given as ``out``.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: it holds no study, one that is not finished, or is damaged.
    """
    folder = as_path(path)
    if not folder.exists():
        raise FileNotFoundError(f"{folder} does not exist")
    if not (folder / "study.json").exists():
        raise ValueError(f"{folder} holds no study: give the folder that a study was run with as out")
    if not (folder / "results.json").exists():
        raise ValueError(f"{folder} holds a study that is not finished: run it again with resume=True")
    settings, prediction, found = (read_json(folder / f"{name}.json") for name in ("study", "prediction", "results"))
    settings.pop("devices", None)  # on which the study was begun: results depend on it by rounding only
    try:
        records = pd.DataFrame(found["records"]["data"], columns=found["records"]["columns"])
        return StudyResult(
            settings=settings,
            prediction=Prediction.from_dict(prediction),
            records=records.astype(dict.fromkeys(("value", "floor", "ceiling", "chance"), float)),
            losses=found["losses"],
            pictures=found["pictures"],
            own_claims=tuple(Claim.from_dict(one) for one in found["own_claims"]),
            drawn={name: Claim.from_dict(one) for name, one in found["drawn_claims"].items()},
            pairs=tuple(Pair(**one) for one in found["pairs"]),
            claim_config=ClaimConfig(**found["claim_config"]),
            environment=found["environment"],
            stages=found["stages"],
            encoders=found.get("encoders", ()),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{folder / 'results.json'} is damaged: {error!r}") from None
