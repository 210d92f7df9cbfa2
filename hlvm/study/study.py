"""A study: arms of masks, networks and losses, trained over seeds and generators, predicted first and scored after."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import pandas as pd

from hlvm._keys import checked_key, key_or_seed
from hlvm._numbers import UsageError, positive, whole_number
from hlvm.claims import Looks
from hlvm.study.batches import Batches
from hlvm.study.decisions import power_of
from hlvm.study.design import StudyDesign
from hlvm.study.measuring import Session
from hlvm.study.planning import StudyPlan, plan_study
from hlvm.study.progress import StudyProgress
from hlvm.study.results import StudyResult
from hlvm.study.running import run_study

__all__ = ["Study"]


class Study(StudyDesign):
    """A masking ablation: every combination of masks, networks and losses, with seeds within generators.

    Args:
        data: what is trained on: a :class:`~hlvm.HierarchicalModel`, an image model, a data set with latents and a
            graph, or a list of several; a graph, whose invertible mechanisms are drawn at random; the path of one of
            these; or a function that makes a generator of a typed key.
        masks: mask strategies, at least one.
        networks: architectures; one, or several.
        losses: what is made small; one, or several.
        train: the optimisation, common to all.
        seeds: training seeds of every arm and generator, at least 1. Arms of one seed are paired: same data, same
            initial parameters, same mask noise.
        generators: how many generators are drawn, at least 1; more than one needs a graph or a function as ``data``.
            ``None`` for one, and of a list for as many as it holds: each is a generator, all with the same graph.
        score: what is scored, and how.
        claims: comparisons of your own, beside those that the prediction draws of every pair of arms.
        claim_config: margins and error rate of the claims that are drawn.
        regime: what theory may assume; ``None`` for what is known of the generator, or else what the graph's dims
            allow: see :func:`hlvm.theory.shared_information`.

    Raises:
        ValueError: no masks, arms that are the same, numbers out of range, or intervals asked for where one seed of one
            generator leaves none.

    Example:
        >>> from hlvm import LatentGraph
        >>> from hlvm.masking import RandomMask
        >>> study = Study(LatentGraph.quadtree(2), masks=[RandomMask(ratio=r) for r in (0.25, 0.75)], seeds=2)
        >>> [arm.name for arm in study.arms]
        ['random ratio=0.25', 'random ratio=0.75']
        >>> {height: round(share, 2) for height, share in study.predict().of_heights("random ratio=0.25").items()}
        {1: 0.73, 2: 1.0}
    """

    def plan(
        self,
        key: Any,
        *,
        devices: Sequence[Any] | None = None,
        until: Literal["decided"] | None = None,
        most: int = 16,
    ) -> StudyPlan:
        """Say what the study will take, compiling and scoring included, and what it can decide.

        Args:
            key: a JAX key or an int, as for :meth:`run`; the plan hardly depends on it.
            devices: as for :meth:`run`.
            until: as for :meth:`run`.
            most: as for :meth:`run`.

        Returns:
            The plan; ``print`` it.

        Raises:
            ValueError: whatever :meth:`run` would refuse.
        """
        looks = None if until is None else self.looks(until, most)
        return plan_study(self, key_or_seed(key), devices=devices, looks=looks)

    def run(
        self,
        key: Any,
        *,
        out: str | os.PathLike[str] | None = None,
        resume: bool = False,
        scheduler: str | None = None,
        devices: Sequence[Any] | None = None,
        save_every: int = 1000,
        until: Literal["decided"] | None = None,
        most: int = 16,
        on_progress: Callable[[StudyProgress], None] | None = None,
        encoders: Mapping[str, Any] | Sequence[Any] | None = None,
    ) -> StudyResult:
        """Predict, train, score and decide.

        Everything that can be wrong is found before anything is trained, and the prediction is written first. Groups of
        arms that share a compiled program are trained and scored several at a time; each is kept when it is done.

        Args:
            key: a JAX key or an int; everything random follows from it.
            out: folder of the study: prediction, scores, states of training while it runs, and, without a scheduler,
                the fits. ``None`` keeps nothing.
            resume: resume a study that was stopped, or read one that is finished: what is done is not done again.
            scheduler: ``None`` for this process, ``"local"`` for one Dask worker per core of this machine, or the
                address of a Dask scheduler.
            devices: devices of this process to train on; ``None`` for all of JAX's.
            save_every: steps between two states of training.
            until: ``"decided"`` trains in stages: seeds are doubled, or with several generators these, for those arms
                only whose claims are open, until all are decided or ``most`` are used up. Each look is strict enough
                that all together err no more often than one; see :class:`hlvm.claims.Looks`.
            most: seeds of every arm, more than ``seeds``; with several generators the number of these. Used with
                ``until`` only.
            on_progress: called with a :class:`StudyProgress` now and then, from several threads, one at a time.
            encoders: name -> encoder from outside, anything that :func:`hlvm.encoders.wrap` takes, or a list with one
                per seed; scored on the same samples as the arms, with the same controls, before these are trained and
                in this process. They cannot be saved; their records are, and stay when a study goes on without them.

        Returns:
            What was found.

        Raises:
            ValueError: anything that does not fit together, an encoder that fails, or a folder that belongs to
                something else.
            KeyboardInterrupt: Ctrl-C; what is done is kept in ``out``.
        """
        looks = None
        if until is not None:
            looks = self.looks(until, most)
        return run_study(
            self,
            key,
            out=out,
            resume=resume,
            scheduler=scheduler,
            devices=devices,
            save_every=save_every,
            looks=looks,
            on_progress=on_progress,
            encoders=encoders,
        )

    def batches(
        self,
        key: Any,
        arm: str = "",
        *,
        generator: int = 0,
        seed: int = 0,
        sees: Literal["rows", "images"] = "rows",
        units: Literal["standard", "own"] = "standard",
    ) -> Batches:
        """Batches and masks of an arm, for a training loop of your own.

        Args:
            key: that of the study.
            arm: its name; ``""`` for the only one.
            generator: its number, from 0.
            seed: training seed, from 0.
            sees: ``"rows"``, the observed variables side by side, or ``"images"``.
            units: ``"standard"``: columns less their means, in their standard deviations, which are
                :attr:`hlvm.mae.Fit.shift` and :attr:`hlvm.mae.Fit.scale` of own fits; or ``"own"``.

        Returns:
            As many batches as the study's training takes steps, the same as it takes.

        Raises:
            UsageError: an arm that there is not, a number out of its range, or images of data that have none.
        """
        typed = checked_key(key)
        known = {each.name: each for each in self.arms}
        if arm not in known and (arm or len(known) > 1):
            raise UsageError(f"must be one of {', '.join(map(repr, known))}, got {arm!r}", argument="arm")
        if whole_number(generator, "generator", minimum=0) >= self.generators:
            raise UsageError(f"must be below {self.generators}, got {generator}", argument="generator")
        mask = (known[arm] if arm else self.arms[0]).mask
        stream = Session(self, typed).stream(generator)
        return Batches(stream, mask=mask, seed=seed, generator=generator, sees=sees, units=units)

    def looks(self, until: str, most: int) -> Looks:
        """The stages of a run ``until="decided"``: the study's seeds or generators, doubled as long as that is allowed.

        Raises:
            ValueError: something else than ``"decided"``, no more than the study has, or no intervals.
        """
        if until != "decided":
            raise UsageError(f'must be "decided" or None, got {until!r}', argument="until")
        if not self.score.intervals:
            remedies = {"intervals": "set intervals=True in ScoreConfig"}
            raise UsageError("needs intervals, or nothing is decided", argument="until", remedies=remedies)
        what = "seeds" if self.generators == 1 else "generators"
        if what == "generators" and isinstance(self.data, list):
            remedies = {"data": "give a function of a key that makes generators"}
            raise UsageError("draws further generators, and a list has none", argument="until", remedies=remedies)
        first: int = getattr(self, what)
        if positive(most, "most") <= first:
            problem = f"must be above the {what}={first} of the first look, got {most}"
            raise UsageError(problem, argument="most")
        stages = [first]
        while stages[-1] < most:
            stages.append(min(2 * stages[-1], most))
        return Looks(**{"seeds": self.seeds, "generators": self.generators, what: tuple(stages)})

    def power(self, pilot: StudyResult, *, power: float = 0.8, most: int | None = None) -> pd.DataFrame:
        """Estimate how likely this study decides each claim that was drawn in a pilot and is about its arms.

        Args:
            pilot: a study of the same arms, with fewer seeds or generators.
            power: chance of a decision that is enough, between 0 and 1.
            most: of a run ``until="decided"``; ``None`` for a single look at the seeds of this study.

        Returns:
            One row per claim, see :func:`hlvm.claims.power_table`: the chance that it is decided with the seeds and
            generators of this study, and how many of either would do.

        Raises:
            ValueError: the pilot has other arms; or see :func:`hlvm.claims.power_table`.
        """
        known = set(pilot.records["arm"])
        missing = [arm.name for arm in self.arms if arm.name not in known]
        if missing:
            raise UsageError(f"must have all arms of this study, lacks {missing[0]!r}", argument="pilot")
        looks = None if most is None else self.looks("decided", most)
        generators, seeds = (self.generators, self.seeds) if looks is None else looks.designs[-1]
        own = {arm.name for arm in self.arms}
        return power_of(
            [pair for pair in pilot.pairs if pair.name in pilot.drawn and {pair.first, pair.second} <= own],
            pilot.records,
            self.claim_config,
            seeds=seeds,
            generators=generators,
            looks=looks,
            power=power,
        )
