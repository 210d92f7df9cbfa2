"""Running a study: the prediction first, then group by group, each kept when it is done; resumed where it stopped."""

from __future__ import annotations

import dataclasses
import functools
import json
import os
import shutil
import threading
import warnings
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, cast

import jax
import pandas as pd

from hlvm._files import as_path, check_new_folder, is_new_folder, make_folder, only_writer
from hlvm._files.digests import read_json, text_digest, write_json
from hlvm._keys import checked_key, key_or_seed
from hlvm._numbers import UsageError, positive
from hlvm._process.provenance import environment
from hlvm.claims import Looks
from hlvm.mae.files import describe_run
from hlvm.mae.training.planner import worth_sharing
from hlvm.study.comparisons import Pair, own_pair
from hlvm.study.decisions import Decisions
from hlvm.study.design import StudyDesign
from hlvm.study.encoder_arms import EncoderScores, encoders_of
from hlvm.study.groups import run_groups
from hlvm.study.measuring import Group, GroupResult, Session, group_name, measure_group
from hlvm.study.prediction import Prediction
from hlvm.study.progress import StudyProgress, Watch
from hlvm.study.results import StudyResult, result_to_dict
from hlvm.study.sharing import shares
from hlvm.study.workers import check_scheduler

__all__ = ["Work", "devices_of_study", "run_study"]

FORMAT, FORMAT_VERSION = "hlvm.study", 1
STUDY, PREDICTION, GROUPS, STATES, FITS = "study.json", "prediction.json", "groups", "states", "fits"
RESULTS, DEVICES = "results.json", "devices"
_DISTRIBUTIONS = ("jax", "jaxlib", "flax", "optax", "numpy", "scipy", "scikit-learn")


@dataclasses.dataclass(eq=False)
class Work:
    """The folder of a study and the groups that were measured.

    Attributes:
        study: what is compared.
        key: as the user gave it.
        out: its folder, or ``None``.
        scheduler: where groups are measured, see :func:`hlvm.study.workers.check_scheduler`.
        devices: devices of this process; ``None`` for all of JAX's.
        save_every: steps between two states of training.
        looks: stages of the study; ``None`` for one.
        on_progress: called with a :class:`StudyProgress`.
        given: encoders from outside, as the user gave them.
    """

    study: StudyDesign
    key: Any
    out: Path | None
    scheduler: str | None
    devices: Sequence[Any] | None
    save_every: int
    looks: Looks | None
    on_progress: Callable[[StudyProgress], None] | None
    given: Mapping[str, Any] | Sequence[Any] | None = None

    def __post_init__(self) -> None:
        self.session = Session(self.study, self.key)
        arms = encoders_of(self.given, {arm.name for arm in self.study.arms})
        self.encoders = EncoderScores(self.session, arms, None if self.out is None else self.out / GROUPS)
        self.results: dict[str, GroupResult] = {}
        self.groups: dict[str, Group] = {}
        self.described: dict[str, Any] | None = None
        self.begun_on: int | None = None
        self.measured = False

    # ------------------------------------------------------------------ folder

    def open(self, stack: ExitStack, *, resume: bool) -> Prediction:
        """Check everything that can be wrong, write down what is asked and predicted, and read what was kept.

        Raises:
            ValueError: anything that training or scoring would refuse; or the folder belongs to another study, holds
                something else, or is used by another process.
        """
        prediction = self.study.predict(quantities=False)
        for generator in range(self.study.generators):
            material = self.session.material(generator)
            self.study.programs(material.graph)
        self.own_pairs(prediction)
        generators, seeds = (self.study.generators, self.study.seeds) if self.looks is None else self.looks.designs[-1]
        self.encoders.check(seeds, generators)
        if self.out is None:
            return self.study.predict(self.key)
        described = self.described = json.loads(json.dumps(self.description()))
        stack.enter_context(only_writer(self.out))
        path = self.out / STUDY
        if path.exists():
            if not resume:
                raise ValueError(
                    f"{self.out} holds a study already: resume it with resume=True, or choose a new folder"
                )
            known = read_json(path)
            self.begun_on = known.pop(DEVICES, None)
            other = sorted(name for name in {*known, *described} if known.get(name) != described.get(name))
            if other:
                raise ValueError(
                    f"{self.out} holds another study, which differs in {', '.join(other)}: use the settings of that "
                    "study, or choose a new folder"
                )
        else:
            if not is_new_folder(self.out):
                check_new_folder(self.out)
            make_folder(self.out)
            here = {} if self.scheduler is not None else {DEVICES: len(self.devices or jax.devices())}
            write_json(path, described | here)
        if (self.out / PREDICTION).exists():
            return Prediction.from_dict(read_json(self.out / PREDICTION))
        prediction = self.study.predict(self.key)
        pairs = self.study.pairs(prediction, self.session.material(0).targets)
        write_json(self.out / PREDICTION, {**prediction.to_dict(), "pairs": [dataclasses.asdict(one) for one in pairs]})
        return prediction

    def own_pairs(self, prediction: Prediction) -> list[Pair]:
        """The arms and encoders that the user's claims are about.

        Raises:
            ValueError: a claim that names none of them, or what is not scored.
        """
        arms, targets = (*self.study.arms, *self.encoders.arms), self.session.material(0).targets
        return [own_pair(claim, arms, prediction, targets) for claim in self.study.claims]

    def description(self) -> dict[str, Any]:
        """Everything that the results depend on, ready for JSON."""
        study = self.study
        materials = [self.session.material(g) for g in range(study.generators)]
        members = [arm.member(0) for arm in study.arms]
        described = describe_run(checked_key(self.key), materials[0].training, members, study.train)
        return {
            "format": FORMAT,
            "version": FORMAT_VERSION,
            "key": described["key"],
            "data": [describe_run(checked_key(0), one.training, members, study.train)["data"] for one in materials],
            "graph": study.graph.to_dict(),
            "arms": [
                {**arm.columns, "mask_name": arm.mask_name, "settings": _settings(member)}
                for arm, member in zip(study.arms, described["members"], strict=True)
            ],
            "train": described["train"],
            **({"pad": True} if study.pads(materials[0].graph) else {}),
            "seeds": study.seeds,
            "generators": study.generators,
            "score": dataclasses.asdict(study.score),
            "regime": study.regime,
            "claims": [dataclasses.asdict(claim) for claim in study.claims],
            "claim_config": dataclasses.asdict(study.claim_config),
            "looks": None if self.looks is None else [list(design) for design in self.looks.designs],
        }

    # ------------------------------------------------------------------ groups

    def groups_of(self, arms: Container[str], generators: Iterable[int], seeds: Iterable[int]) -> dict[str, Group]:
        """Groups that train some arms with these seeds on these generators, by name: one for each program.

        Args:
            arms: names of the arms.
            generators: numbers of the generators.
            seeds: of each arm.
        """
        found: list[Group] = []
        own = list(seeds)
        for generator in generators:
            for program in self.study.programs(self.session.material(generator).graph):
                names = [self.study.arms[position].name for position in program]
                if chosen := [name for name in names if name in arms]:
                    found.append(Group(generator=generator, arms=chosen, seeds=own))
        return {group_name(group): group for group in found}

    def measure(self, groups: Mapping[str, Group]) -> None:
        """Train and score groups; those whose results are kept already are only read.

        Raises:
            KeyboardInterrupt: Ctrl-C; groups that are done are kept, the others resume from their last states.
        """
        self.groups |= groups
        kept = {name for name in groups if self._read(name)}
        if self.scheduler is None:
            left = {name: group for name, group in groups.items() if name not in kept}
            self._measure_here(left, len(groups))
            return
        watch = Watch(self.on_progress, self._sizes(groups), kept)
        folder = None if self.out is None else self.out.absolute()
        digest = text_digest(json.dumps(self.described or self.description(), sort_keys=True))
        function = functools.partial(
            measure_group,
            study=self.study,
            key=self.key,
            digest=digest,
            states=None if folder is None else os.fspath(folder / STATES),
            fits_to=None,
            save_every=self.save_every,
        )
        run_groups(
            function,
            groups,
            self._keep,
            kept=kept,
            scheduler=self.scheduler,
            progress=lambda name, _: watch.done(name),
        )

    def _measure_here(self, left: Mapping[str, Group], n_groups: int) -> None:
        """Several groups at a time, each in a thread: one compiles or is scored while others train.

        Args:
            left: those that are not done.
            n_groups: how many there were: what devices a group has must not depend on how many of them are left.
        """
        if not left:
            return
        watch = Watch(self.on_progress, self._sizes(self.groups), self.groups.keys() - left.keys())
        free = shares(self._devices_here(), n_groups)
        threads = min(len(free), len(left))
        stop = threading.Event()

        def work(name: str, group: Group) -> GroupResult:
            own = free.pop()
            try:
                with jax.default_device(own[0]):
                    return self.session.measure(
                        group,
                        states=None if self.out is None else self.out / STATES / name,
                        fits_to=None if self.out is None else self.out / FITS / name,
                        save_every=self.save_every,
                        devices=self._worth_it(group, own),
                        on_progress=functools.partial(watch.step, name, stop),
                    )
            finally:
                free.append(own)

        if self.out is not None:
            make_folder(self.out / STATES)
        pool = ThreadPoolExecutor(max_workers=threads)
        futures = {pool.submit(work, name, group): name for name, group in left.items()}
        try:
            for future in as_completed(futures):
                self._keep(futures[future], future.result())
                watch.done(futures[future])
        except BaseException:
            stop.set()
            pool.shutdown(wait=True, cancel_futures=True)
            for future, name in futures.items():  # those that ended meanwhile
                if future.done() and not future.cancelled() and future.exception() is None and name not in self.results:
                    self._keep(name, future.result())
            raise
        pool.shutdown(wait=True)

    def _devices_here(self) -> list[Any]:
        """Devices as given; else all that JAX finds, and on resume as many as the study was begun on."""
        if self.devices is not None:
            return list(self.devices)
        found, begun_on = list(jax.devices()), self.begun_on or 0
        if len(found) < begun_on:
            warnings.warn(
                f"the study was started on {begun_on} devices and resumes on {len(found)}: its results agree with an "
                "uninterrupted study up to rounding, not bit for bit",
                stacklevel=4,
            )
        return found[: begun_on or None]

    def _worth_it(self, group: Group, devices: list[Any]) -> Sequence[Any] | None:
        """The devices of a group, if sharing it is worth the waiting; ``None`` for the default device alone."""
        if len(devices) == 1:
            return None if devices[0] == jax.devices()[0] else devices
        _, data, members, train = self.session.ensemble(group)
        chosen = worth_sharing(data, members, train, devices, pad=self.study.pads(data.graph))
        return chosen if chosen is not None or devices[0] == jax.devices()[0] else devices[:1]

    def _keep(self, name: str, result: GroupResult) -> None:
        plain: Any = json.loads(json.dumps(result))  # as it is read back
        self.measured = True
        if self.out is not None:
            if not (self.out / STUDY).exists():
                raise FileNotFoundError(f"{self.out} was removed during the study: nothing is kept")
            make_folder(self.out / GROUPS)
            write_json(self.out / GROUPS / f"{name}.json", {"group": self.groups[name], **plain})
            shutil.rmtree(self.out / STATES / name, ignore_errors=True)  # not before: a kill would leave half of it
        self.results[name] = plain

    def _read(self, name: str) -> bool:
        """Read a group that was kept; one that is damaged is measured again."""
        if name in self.results:
            return True
        path = None if self.out is None else self.out / GROUPS / f"{name}.json"
        if path is None or not path.exists():
            return False
        with suppress(ValueError):
            found: Any = read_json(path)
            if isinstance(found, dict) and found.get("group") == self.groups[name]:
                found.pop("group")
                self.results[name] = cast("GroupResult", found)
                return True
        return False

    @staticmethod
    def _sizes(groups: Mapping[str, Group]) -> dict[str, int]:
        return {name: len(group["arms"]) * len(group["seeds"]) for name, group in groups.items()}

    def records(self) -> pd.DataFrame:
        """Scores of all groups that are done, arms in the order of the study, and of encoders."""
        order = {arm.name: number for number, arm in enumerate((*self.study.arms, *self.encoders.arms))}
        records = [record for name in self.groups for record in self.results[name]["records"]]
        found: Any = pd.DataFrame(records + self.encoders.records)
        found = found.assign(place=found["arm"].map(order)).sort_values(
            ["generator", "place", "seed"], kind="stable", ignore_index=True
        )
        return found.drop(columns="place").astype(dict.fromkeys(("value", "floor", "ceiling", "chance"), float))

    def environment_of_results(self) -> dict[str, Any]:
        """Versions and machine; of a study that is finished, and only read, those that it was done with."""
        if not self.measured and self.out is not None and (self.out / RESULTS).exists():
            with suppress(ValueError, KeyError):
                return read_json(self.out / RESULTS)["environment"]
        return environment(*_DISTRIBUTIONS)


def _settings(member: Mapping[str, Any]) -> dict[str, Any]:
    """Mask, network and loss of a member, without its seed."""
    return {name: member[name] for name in ("mask", "network", "loss")}


def devices_of_study(out: Path) -> int | None:
    """Number of devices that the study in a folder was begun on; ``None`` where there is no study, or it does not say.

    Raises:
        ValueError: its description is damaged.
    """
    return read_json(out / STUDY).get(DEVICES) if (out / STUDY).exists() else None


def run_study(
    study: StudyDesign,
    key: Any,
    *,
    out: str | os.PathLike[str] | None,
    resume: bool,
    scheduler: str | None,
    devices: Sequence[Any] | None,
    save_every: int,
    looks: Looks | None,
    on_progress: Callable[[StudyProgress], None] | None,
    encoders: Mapping[str, Any] | Sequence[Any] | None = None,
) -> StudyResult:
    """Run a study; see :meth:`hlvm.study.Study.run`."""
    check_scheduler(scheduler)
    if resume and out is None:
        raise UsageError("needs out, the folder of the interrupted study", argument="resume")
    if scheduler is not None and devices is not None:
        raise UsageError("are for this process only: leave them out with a scheduler", argument="devices")
    work = Work(
        study=study,
        key=key_or_seed(key),
        out=None if out is None else as_path(out),
        scheduler=scheduler,
        devices=devices,
        save_every=positive(save_every, "save_every"),
        looks=looks,
        on_progress=on_progress,
        given=encoders,
    )
    with ExitStack() as stack:
        prediction = work.open(stack, resume=resume)
        targets = work.session.material(0).targets
        decisions = Decisions(
            pairs=study.pairs(prediction, targets),
            own=list(zip(study.claims, work.own_pairs(prediction), strict=True)),
            config=study.claim_config,
            looks=looks,
        )
        result = _decided(work, prediction, decisions)
        if work.out is not None:
            write_json(work.out / RESULTS, result_to_dict(result))
            shutil.rmtree(work.out / STATES, ignore_errors=True)
    return result


def _decided(work: Work, prediction: Prediction, decisions: Decisions) -> StudyResult:
    """Train and score, look by look, until all claims are decided or the looks are used up."""
    study, looks = work.study, decisions.looks
    arms = {arm.name for arm in (*study.arms, *work.encoders.arms)}
    before = (0, 0)
    for generators, seeds in [(study.generators, study.seeds)] if looks is None else looks.designs:
        # A look adds seeds or generators, never both.
        new = range(before[0] if seeds == before[1] else 0, generators)
        further = range(before[1] if seeds > before[1] else 0, seeds)
        work.encoders.measure(arms, new, further)  # before long work: what fails should fail now
        work.measure(work.groups_of(arms, new, further))
        decisions.look(work.records(), seeds=seeds, generators=generators, arms=len(arms))
        arms, before = decisions.open_arms, (generators, seeds)
        if not arms:
            break
    results = [work.results[name] for name in work.groups]
    return StudyResult(
        settings=work.described or json.loads(json.dumps(work.description())),
        prediction=prediction,
        records=work.records(),
        losses=[one for result in results for one in result["losses"]],
        pictures=[one for result in results for one in result["pictures"]],
        own_claims=tuple(decisions.own_claims[i] for i in sorted(decisions.own_claims)),
        drawn=decisions.drawn,
        pairs=decisions.pairs,
        claim_config=decisions.config,
        environment=work.environment_of_results(),
        stages=decisions.stages,
        encoders=work.encoders.described,
    )
