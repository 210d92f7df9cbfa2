"""Running a study: the prediction first, then group by group, each kept when it is done; resumed where it stopped."""

from __future__ import annotations

import dataclasses
import functools
import json
import os
import shutil
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, NamedTuple

import jax
import pandas as pd

from hlvm._files import as_path, check_new_folder, is_new_folder, make_folder, only_writer
from hlvm._files.digests import read_json, text_digest, write_json
from hlvm._keys import checked_key, key_or_seed
from hlvm._numbers import positive
from hlvm._process.provenance import available_cores, environment
from hlvm.claims import Looks
from hlvm.mae import Progress
from hlvm.mae.files import describe_run
from hlvm.study.comparisons import own_pair
from hlvm.study.decisions import Decisions
from hlvm.study.design import StudyDesign
from hlvm.study.groups import run_groups
from hlvm.study.measuring import Group, GroupResult, Session, group_name, measure_group
from hlvm.study.prediction import Prediction
from hlvm.study.results import StudyResult, result_to_dict
from hlvm.study.workers import check_scheduler

__all__ = ["StudyProgress", "Work", "run_study"]

FORMAT, FORMAT_VERSION = "hlvm.study", 1
STUDY, PREDICTION, GROUPS, STATES, FITS = "study.json", "prediction.json", "groups", "states", "fits"
RESULTS = "results.json"
_DISTRIBUTIONS = ("jax", "jaxlib", "flax", "optax", "numpy", "scipy", "scikit-learn")


class StudyProgress(NamedTuple):
    """Where a running study is.

    Attributes:
        groups_done: groups that are trained and scored.
        groups: groups in all.
        share: share of the work that is done, 0 to 1: steps of all members, scores counted as the last tenth of each.
        seconds_left: what is left at the speed until now; ``None`` before anything was done.
    """

    groups_done: int
    groups: int
    share: float
    seconds_left: float | None


class _Stopped(BaseException):
    """Ends a thread's training between two chunks of steps."""


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
    """

    study: StudyDesign
    key: Any
    out: Path | None
    scheduler: str | None
    devices: Sequence[Any] | None
    save_every: int
    looks: Looks | None
    on_progress: Callable[[StudyProgress], None] | None

    def __post_init__(self) -> None:
        self.session = Session(self.study, self.key)
        self.results: dict[str, GroupResult] = {}
        self.groups: dict[str, Group] = {}
        self.described: dict[str, Any] | None = None

    # ------------------------------------------------------------------ folder

    def open(self, stack: ExitStack, *, resume: bool) -> Prediction:
        """Check everything that can be wrong, write down what is asked and predicted, and read what was kept.

        Raises:
            ValueError: anything that training or scoring would refuse; or the folder belongs to another study, holds
                something else, or is used by another process.
        """
        prediction = self.study.predict()
        for generator in range(self.study.generators):
            material = self.session.material(generator)
            self.study.programs(material.graph)
        heights = {target.latent: target.height for target in self.session.material(0).targets}
        for claim in self.study.claims:
            own_pair(claim, self.study.arms, prediction, heights)
        if self.out is None:
            return prediction
        described = self.described = json.loads(json.dumps(self.description()))
        stack.enter_context(only_writer(self.out))
        path = self.out / STUDY
        if path.exists():
            if not resume:
                raise ValueError(f"{self.out} holds a study already: go on with resume=True, or choose a new folder")
            known = read_json(path)
            known.pop("environments", None)
            other = sorted(name for name in {*known, *described} if known.get(name) != described.get(name))
            if other:
                raise ValueError(
                    f"{self.out} holds another study, which differs in {', '.join(other)}: go on with exactly what it "
                    "was started with, or choose a new folder"
                )
        else:
            if not is_new_folder(self.out):
                check_new_folder(self.out)
            make_folder(self.out)
            write_json(path, described)
        if (self.out / PREDICTION).exists():
            return Prediction.from_dict(read_json(self.out / PREDICTION))
        write_json(self.out / PREDICTION, prediction.to_dict())
        return prediction

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
            "seeds": study.seeds,
            "generators": study.generators,
            "score": dataclasses.asdict(study.score),
            "regime": study.regime,
            "claims": [dataclasses.asdict(claim) for claim in study.claims],
            "claim_config": dataclasses.asdict(study.claim_config),
            "looks": None if self.looks is None else [list(design) for design in self.looks.designs],
        }

    # ------------------------------------------------------------------ groups

    def groups_of(self, seeds: Mapping[str, Sequence[int]]) -> dict[str, Group]:
        """Groups that train arms with these seeds, by name: arms of one program with the same seeds go together.

        Args:
            seeds: arm -> its seeds.
        """
        found: list[Group] = []
        for generator in range(self.study.generators):
            graph = self.session.material(generator).graph
            for program in self.study.programs(graph):
                by_seeds: dict[tuple[int, ...], list[str]] = {}
                for position in program:
                    name = self.study.arms[position].name
                    if seeds.get(name):
                        by_seeds.setdefault(tuple(seeds[name]), []).append(name)
                found += [Group(generator=generator, arms=names, seeds=list(own)) for own, names in by_seeds.items()]
        return {group_name(group): group for group in found}

    def measure(self, groups: Mapping[str, Group]) -> None:
        """Train and score groups; those whose results are kept already are only read.

        Raises:
            KeyboardInterrupt: Ctrl-C; groups that are done are kept, the others go on from their last states.
        """
        self.groups |= groups
        kept = {name for name in groups if self._read(name)}
        if self.scheduler is None:
            left = {name: group for name, group in groups.items() if name not in kept}
            self._measure_here(left)
            return
        watch = _Watch(self, groups, kept)
        folder = None if self.out is None else self.out.absolute()
        digest = text_digest(json.dumps(self.description(), sort_keys=True))
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

    def _measure_here(self, left: Mapping[str, Group]) -> None:
        """Several groups at a time, each in a thread: one compiles or is scored while others train."""
        if not left:
            return
        watch = _Watch(self, self.groups, self.groups.keys() - left.keys())
        devices = list(jax.devices() if self.devices is None else self.devices)
        threads = min(len(left), max(available_cores(), len(devices)))
        free = [devices[i::threads] or [devices[i % len(devices)]] for i in range(threads)]
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
                        devices=own if len(devices) > 1 else None,
                        on_progress=functools.partial(watch.step, name, stop),
                    )
            finally:
                free.append(own)

        if self.out is not None:
            make_folder(self.out / STATES)
        pool = ThreadPoolExecutor(max_workers=threads)
        try:
            futures = {pool.submit(work, name, group): name for name, group in left.items()}
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

    def _keep(self, name: str, result: GroupResult) -> None:
        plain = json.loads(json.dumps(result))
        if self.out is not None:
            if not (self.out / STUDY).exists():
                raise FileNotFoundError(f"{self.out} was removed while its study went on: nothing of it is kept")
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
            found = read_json(path)
            if isinstance(found, dict) and found.get("group") == self.groups[name]:
                found.pop("group")
                self.results[name] = found
                return True
        return False

    def records(self) -> pd.DataFrame:
        """Scores of all groups that are done, arms in the order of the study."""
        order = {arm.name: number for number, arm in enumerate(self.study.arms)}
        found: Any = pd.DataFrame([record for name in self.groups for record in self.results[name]["records"]])
        found = found.assign(place=found["arm"].map(order)).sort_values(
            ["generator", "place", "seed"], kind="stable", ignore_index=True
        )
        return found.drop(columns="place").astype(dict.fromkeys(("value", "floor", "ceiling", "chance"), float))

    @staticmethod
    def environment() -> dict[str, Any]:
        """Versions and machine."""
        return environment(*_DISTRIBUTIONS)


def _settings(member: Mapping[str, Any]) -> dict[str, Any]:
    """What an arm trains, without its seed."""
    return {name: member[name] for name in ("mask", "network", "loss")}


_SCORING_SHARE = 0.1


class _Watch:
    """Turns what threads report into the progress of the study."""

    def __init__(self, work: Work, groups: Mapping[str, Group], done: Any) -> None:
        self._tell, self._lock, self._began = work.on_progress, threading.Lock(), time.perf_counter()
        self._sizes = {name: len(group["arms"]) * len(group["seeds"]) for name, group in groups.items()}
        self._shares = {name: 1.0 if name in done else 0.0 for name in groups}
        self._first = self._share()

    def step(self, name: str, stop: threading.Event, progress: Progress) -> None:
        if stop.is_set():
            raise _Stopped
        self._set(name, (1 - _SCORING_SHARE) * progress.step / progress.steps)

    def done(self, name: str) -> None:
        self._set(name, 1.0)

    def _share(self) -> float:
        total = sum(self._sizes.values())
        return sum(self._sizes[name] * share for name, share in self._shares.items()) / total

    def _set(self, name: str, share: float) -> None:
        with self._lock:
            self._shares[name] = share
            if self._tell is None:
                return
            now, gone = self._share(), time.perf_counter() - self._began
            gained = now - self._first
            self._tell(
                StudyProgress(
                    groups_done=sum(share == 1.0 for share in self._shares.values()),
                    groups=len(self._shares),
                    share=now,
                    seconds_left=gone * (1 - now) / gained if gained > 0 else None,
                )
            )


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
) -> StudyResult:
    """Run a study; see :meth:`hlvm.study.Study.run`."""
    check_scheduler(scheduler)
    work = Work(
        study=study,
        key=key_or_seed(key),
        out=None if out is None else as_path(out),
        scheduler=scheduler,
        devices=devices,
        save_every=positive(save_every, "save_every"),
        looks=looks,
        on_progress=on_progress,
    )
    with ExitStack() as stack:
        prediction = work.open(stack, resume=resume)
        targets = work.session.material(0).targets
        heights = {target.latent: target.height for target in targets}
        decisions = Decisions(
            pairs=study.pairs(prediction, targets),
            own=[(claim, own_pair(claim, study.arms, prediction, heights)) for claim in study.claims],
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
    arms, done = {arm.name for arm in work.study.arms}, 0
    seeds = [work.study.seeds] if work.looks is None else [seeds for _, seeds in work.looks.designs]
    for upto in seeds:
        work.measure(work.groups_of({name: range(done, upto) for name in arms}))
        records, done = work.records(), upto
        decisions.look(records, upto, len(arms))
        arms = decisions.open_arms
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
        environment=work.environment(),
        stages=decisions.stages,
    )
