"""Training one masked autoencoder, or many at once.

Members of an ensemble whose networks have the same shape run in one compiled program, vectorised over members; all
programs are compiled at the same time. Data is generated on the device, inside the program, or comes from arrays.
Members with the same seed see the same data, start from the same parameters and draw the same mask noise, so that arms
of an ablation are paired.
"""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, nullcontext
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Shaped

from hlvm._keys import checked_key
from hlvm._process.interrupts import Interrupts
from hlvm.mae.config import NetworkConfig, ObjectiveConfig, TrainConfig
from hlvm.mae.files import describe_run
from hlvm.mae.objectives.reconstruction import LossConfig
from hlvm.mae.result import DivergenceWarning, Fit
from hlvm.mae.training.data import TrainingData, check_data, hold_out, standardization
from hlvm.mae.training.groups import Member, Prepared, group_members, prepare
from hlvm.mae.training.held_out import HeldOut
from hlvm.mae.training.mask_draws import TrainingMask
from hlvm.mae.training.placing import Tables
from hlvm.mae.training.program import State, compile_program
from hlvm.mae.training.run_state import Checkpoints, GroupFolder, GroupState, run_folder
from hlvm.masking.strategies import as_strategy

__all__ = ["Progress", "fit", "fit_ensemble"]


class Progress(NamedTuple):
    """Where a running ensemble is.

    Attributes:
        group: number of the program that is running, from 0.
        n_groups: number of programs.
        members: positions of that program's members in the list given.
        step: steps done by this program.
        steps: steps in all.
        losses: loss of each of these members at the latest step; ``loss.units`` says in what units.
        history: losses of the steps since the last report, (steps, members).
        held_out: loss of each of these members on the rows held out, as they are now; ``None`` where there are none.
        samples_per_second: samples that all members of this program together went through per second of clock time,
            since its first step in this call, compiling left out.
        seconds_left: what is left of this program at that speed.
        fits: call it inside the callback for the members as they are now, to evaluate or to keep.
    """

    group: int
    n_groups: int
    members: tuple[int, ...]
    step: int
    steps: int
    losses: np.ndarray
    history: np.ndarray
    held_out: np.ndarray | None
    samples_per_second: float
    seconds_left: float
    fits: Callable[[], tuple[Fit, ...]]

    @property
    def share(self) -> float:
        """Share of the steps of all programs that are done, 0 to 1."""
        return (self.group + self.step / self.steps) / self.n_groups


def fit(
    key: Any,
    data: TrainingData,
    mask: TrainingMask,
    network: NetworkConfig,
    train: TrainConfig,
    *,
    loss: ObjectiveConfig | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    checkpoints: Checkpoints | None = None,
    devices: Sequence[Any] | None = None,
    microbatch: int | None = None,
) -> Fit:
    """Train one masked autoencoder.

    Args:
        key: a JAX key or an int; everything random follows from it.
        data: the generator, of values or of images (see :mod:`hlvm.images`), which draws fresh samples for every step;
            or a :class:`~hlvm.datasets.Dataset` or :class:`~hlvm.mae.ArrayData`, whose rows are taken in a new random
            order in every epoch.
        mask: which observed variables are hidden from the encoder; see :data:`hlvm.mae.TrainingMask`.
        network: its architecture.
        train: the optimisation.
        loss: what is made small, one of :mod:`hlvm.mae.objectives`; ``None`` for the squared error of the masked part.
        on_progress: called between chunks of steps.
        checkpoints: where the state is kept, so that a stopped run can go on; ``None`` keeps nothing.
        devices: devices that share the work; ``None`` for JAX's default device. Where all of them cannot share it
            evenly, as many as can do it.
        microbatch: most samples of a batch whose gradients a device works out at a time, at least 1; it must divide the
            samples that the device has, where it has more. ``None`` for all of them. Smaller parts need less memory,
            and are faster where arrays then fit into a cache. The result is the same up to rounding. Losses on rows
            held out are taken in the same parts.

    Returns:
        The trained autoencoder with its losses.

    Raises:
        ValueError: data, mask, network, loss and graph do not fit together; the microbatch does not divide a device's
            samples; devices of several processes cannot share evenly; or the folder of states belongs to another run.
        KeyboardInterrupt: Ctrl-C; with checkpoints the running steps are done first and their state is kept.

    Warns:
        UserWarning: a stopped run goes on with another JAX or other flags of it, other devices or another microbatch,
            or from an earlier state because the newest one is damaged.
        DivergenceWarning: training diverged and stopped early.
    """
    member = Member(mask=mask, network=network, loss=loss or LossConfig())
    return _trained(key, data, [member], train, on_progress, checkpoints, devices, microbatch)[0]


def fit_ensemble(
    key: Any,
    data: TrainingData,
    members: Sequence[Member],
    train: TrainConfig,
    *,
    on_progress: Callable[[Progress], None] | None = None,
    checkpoints: Checkpoints | None = None,
    devices: Sequence[Any] | None = None,
    microbatch: int | None = None,
    pad: bool = False,
) -> tuple[Fit, ...]:
    """Train many masked autoencoders in as few compiled programs as there are network shapes.

    Every member ends as it would alone under the same key, up to rounding. One that diverges stops where it was; the
    others go on.

    Args:
        key: a JAX key or an int; everything random follows from it and the members' seeds.
        data: as for :func:`fit`; common to all.
        members: what to train.
        train: the optimisation, common to all.
        on_progress: called between chunks of steps.
        checkpoints: as for :func:`fit`; groups of members that are done are not done again.
        devices: devices that share the members of each program, and batches where there are more devices than members;
            of each program, as many of them as can do so evenly. In several processes (``jax.distributed``) every
            process makes the same call with all devices, which then must be able to, and with the same folder of
            checkpoints on a file system that all of them see.
        microbatch: as for :func:`fit`.
        pad: whether transformers that differ only in the number of visible tokens share a program. It lets all of them
            see as many tokens as the one that sees most, the others padded: less to compile, and longer steps. Every
            member ends as without it, up to rounding.

    Returns:
        One fit per member, in the given order.

    Raises:
        ValueError: before any training, no members; data, a mask, network, loss and graph that do not fit together; a
            microbatch that does not divide a device's samples; devices of several processes that cannot share evenly; a
            folder of states that belongs to another run; or, in several processes, checkpoints without devices of all
            of them. A value that is not finite: of rows that are kept on the device before any training, of rows that
            are streamed when they are read. Later, a strategy of your own that draws masks it must not.
        KeyboardInterrupt: as for :func:`fit`.

    Warns:
        UserWarning: as for :func:`fit`.
    """
    return _trained(key, data, members, train, on_progress, checkpoints, devices, microbatch, pad)


def _trained(
    key: Any,
    data: TrainingData,
    members: Sequence[Member],
    train: TrainConfig,
    on_progress: Callable[[Progress], None] | None,
    checkpoints: Checkpoints | None,
    devices: Sequence[Any] | None,
    microbatch: int | None,
    pad: bool = False,
) -> tuple[Fit, ...]:
    key = checked_key(key)
    data = check_data(data)
    groups = group_members(data.graph, members, train, devices, microbatch, pad=pad)
    standardize_key, members_key = jax.random.split(key)
    kept, held_out = hold_out(data, train.held_out, members_key)
    folder = None
    fits: dict[int, Fit] = {}
    interrupts = Interrupts()
    with ExitStack() as stack:
        if checkpoints is not None:
            n_devices = 1 if devices is None else len(devices)
            parts = [group.program.parts for group in groups]
            _check_processes(devices)
            what = describe_run(key, data, members, train, pad=pad)
            folder = stack.enter_context(run_folder(checkpoints, what, n_devices, parts))
        # One process of several must not stop while programs are compiled: the others would wait for it.
        if folder is not None and jax.process_count() > 1:
            stack.enter_context(interrupts)
        shift, scale = standardization(kept, standardize_key)
        tables = Tables(kept, shift, scale)
        prepared = [
            prepare(members_key, kept, group, members, train, shift, scale, held_out, tables) for group in groups
        ]
        if folder is not None:
            folder.open()  # only now, when all rows that are read beforehand have been found to be sound
        programs = stack.enter_context(_compiling([(one, one.lower()) for one in prepared]))
        for number, (one, program) in enumerate(zip(prepared, programs, strict=True)):

            def fits_of(reached: GroupState, one: Prepared = one) -> tuple[Fit, ...]:
                return _fits(one, reached)

            reporter = None if on_progress is None else _Reporter(on_progress, number, len(groups), one, fits_of)
            states = None if folder is None else folder.group(number)
            reached = _run(program, one, states, reporter, interrupts)
            fits.update(zip(one.group.members, fits_of(reached), strict=True))
        wanted = folder is not None and interrupts.wanted_by_any()
    if folder is not None and (wanted or interrupts.wanted):
        raise interrupts.exception(f"stopped; all is done and kept in {folder.folder}: the same call reads it")
    found = tuple(fits[i] for i in range(len(members)))
    _warn_of_divergence(found)
    return found


def _warn_of_divergence(fits: Sequence[Fit]) -> None:
    ended = [f"member {i} after {len(fit.losses)} steps" for i, fit in enumerate(fits) if fit.diverged]
    if ended:
        shown = "; ".join(ended[:5]) + ("; ..." if len(ended) > 5 else "")
        warnings.warn(
            f"{len(ended)} of {len(fits)} diverged and stopped early: {shown}. Try a lower learning rate or a longer "
            f"warm-up",
            DivergenceWarning,
            stacklevel=4,
        )


def _check_processes(devices: Sequence[Any] | None) -> None:
    """States are kept by all processes together, each of which waits for the others."""
    taking_part = {device.process_index for device in devices or jax.local_devices()}
    if len(taking_part) < jax.process_count():
        raise ValueError(
            f"checkpoints are kept by all {jax.process_count()} processes together, but devices are those of "
            f"{len(taking_part)}: use devices=jax.devices() in all of them, or no checkpoints"
        )


def _fits(one: Prepared, reached: GroupState) -> tuple[Fit, ...]:
    steps_done = _on_host(reached.state.steps_done)
    params, teacher = reached.state.weights
    if one.program.mesh:
        params = jnp.asarray(_on_host(params))
        teacher = None if teacher is None else jnp.asarray(_on_host(teacher))
    return tuple(
        Fit(
            model=one.feeder.data,
            mask=as_strategy(member.mask),
            network=member.network,
            train=one.train,
            loss=member.loss,
            seed=member.seed,
            key=one.key,
            params=params[row],
            losses=reached.losses[: steps_done[row], row].copy(),
            diverged=bool(steps_done[row] < reached.step),
            shift=one.feeder.shift,
            scale=one.feeder.scale,
            held_out=_held_out(one, reached, row, int(steps_done[row])),
            teacher=None if teacher is None else teacher[row],
        )
        for row, member in enumerate(one.members)
    )


def _held_out(one: Prepared, reached: GroupState, row: int, steps_done: int) -> HeldOut | None:
    if one.held_out_positions is None:
        return None
    steps = np.minimum(one.program.chunk * np.arange(1, one.reports + 1), one.train.steps)
    taken = int(np.searchsorted(steps, min(steps_done, reached.step), side="right"))
    return HeldOut(one.held_out_positions, steps[:taken], reached.held_out[:taken, row].copy())


@contextmanager
def _compiling(lowered: Sequence[tuple[Prepared, Any]]) -> Iterator[list[Future[Any]]]:
    """Compile all programs, as many at a time as there are processors; a group trains while later ones compile.

    Leaving early (an error, Ctrl-C) drops those not begun.
    """
    pool = ThreadPoolExecutor(max_workers=os.cpu_count() or 1)
    try:
        yield [pool.submit(compile_program, program, one.program.platform) for one, program in lowered]
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


class _Reporter:
    """Turns what a group has reached into reports."""

    def __init__(
        self,
        on_progress: Callable[[Progress], None],
        number: int,
        n_groups: int,
        one: Prepared,
        fits_of: Callable[[GroupState], tuple[Fit, ...]],
    ) -> None:
        self._on_progress, self._number, self._n_groups = on_progress, number, n_groups
        self._one, self._fits_of = one, fits_of
        self._began, self._first = 0.0, 0

    def begin(self, step: int) -> None:
        """Start the clock."""
        self._began, self._first = time.perf_counter(), step

    def report(self, reached: GroupState, count: int) -> None:
        """Report after ``count`` more steps."""
        one, seconds = self._one, time.perf_counter() - self._began
        per_step = seconds / (reached.step - self._first)
        self._on_progress(
            Progress(
                group=self._number,
                n_groups=self._n_groups,
                members=one.group.members,
                step=reached.step,
                steps=one.train.steps,
                losses=reached.losses[reached.step - 1].copy(),
                history=reached.losses[reached.step - count : reached.step].copy(),
                held_out=reached.held_out[(reached.step - 1) // one.program.chunk].copy() if one.reports else None,
                samples_per_second=one.train.batch * len(one.members) / per_step,
                seconds_left=per_step * (one.train.steps - reached.step),
                fits=lambda: self._fits_of(reached),
            )
        )


def _run(
    compiling: Future[Any],
    one: Prepared,
    states: GroupFolder | None,
    reporter: _Reporter | None,
    interrupts: Interrupts,
) -> GroupState:
    """Run a group chunk by chunk to the end, from the newest state that is kept."""
    steps, n_members = one.train.steps, len(one.members)
    if states is None:
        losses, held_out = (np.zeros((n, n_members), np.float32) for n in (steps, one.reports))
        reached = GroupState(one.state, losses, held_out, 0)
    else:
        reached = states.latest(one.state, steps, n_members, one.reports)
    _stop_if_wanted(interrupts, states, reached)
    if reached.step == steps:
        return reached
    program = compiling.result()
    if reporter is not None:
        reporter.begin(reached.step)
    with nullcontext() if states is None else interrupts:
        _stop_if_wanted(interrupts, states, reached)
        for start in range(reached.step, steps, one.program.chunk):
            count = min(one.program.chunk, steps - start)
            arguments = one.arguments(reached.state, start)
            state, chunk = program(*arguments, jnp.int32(start), jnp.int32(count))
            reached.losses[start : start + count] = np.asarray(chunk)[:count]
            reached = reached._replace(state=State(*state), step=start + count)
            if one.reports:
                reached.held_out[start // one.program.chunk] = _on_host(one.held_out_losses(reached.state))
            if states is not None:
                states.keep(reached)
            if reporter is not None:
                reporter.report(reached, count)
            _stop_if_wanted(interrupts, states, reached)
    return reached


def _stop_if_wanted(interrupts: Interrupts, states: GroupFolder | None, reached: GroupState) -> None:
    """Stop after a Ctrl-C that was held back, and keep what there is; in all processes if there was one in any."""
    if states is None or not interrupts.wanted_by_any():
        return
    states.keep(reached, now=True)
    kept = f"the state is kept in {states.folder}" if reached.step else "this program has done no step yet"
    raise interrupts.exception(f"stopped; {kept}: the same call resumes from there")


def _on_host(array: Shaped[Array, "..."]) -> np.ndarray:
    """An array spread over devices, of other processes as well, in this process."""
    if not array.is_fully_addressable:
        from jax.experimental import multihost_utils

        return np.asarray(multihost_utils.process_allgather(array, tiled=True))
    return np.asarray(array)
