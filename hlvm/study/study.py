"""A study: arms of masks, networks and losses, trained over seeds and generators, predicted first and scored after."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

from hlvm.study.design import StudyDesign
from hlvm.study.results import StudyResult
from hlvm.study.running import StudyProgress, run_study

__all__ = ["Study"]


class Study(StudyDesign):
    """A masking ablation: every combination of masks, networks and losses, with seeds within generators.

    Args:
        data: what is trained on: a :class:`~hlvm.HierarchicalModel`, an image model, a data set with latents and a
            graph, a graph (whose invertible mechanisms are drawn at random), or a function that makes a generator of a
            typed key.
        masks: mask strategies, at least one.
        networks: architectures; one, or several.
        losses: what is made small; one, or several.
        train: the optimisation, common to all.
        seeds: training seeds of every arm and generator, at least 1. Arms of one seed are paired: same data, same
            initial parameters, same mask noise.
        generators: how many generators are drawn, at least 1; more than one needs a graph or a function as ``data``.
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
        >>> study.predict().of_heights("random ratio=0.25")
        {1: 0.728..., 2: 1.0}
    """

    def run(
        self,
        key: Any,
        *,
        out: str | os.PathLike[str] | None = None,
        resume: bool = False,
        scheduler: str | None = None,
        devices: Sequence[Any] | None = None,
        save_every: int = 1000,
        on_progress: Callable[[StudyProgress], None] | None = None,
    ) -> StudyResult:
        """Predict, train, score and decide.

        Everything that can be wrong is found before anything is trained, and the prediction is written first. Groups of
        arms that share a compiled program are trained and scored several at a time; each is kept when it is done.

        Args:
            key: a JAX key or an int; everything random follows from it.
            out: folder of the study: prediction, scores, fits, and states of training while it runs. ``None`` keeps
                nothing.
            resume: go on with a study that was stopped, or read one that is finished: what is done is not done again.
            scheduler: ``None`` for this process, ``"local"`` for one Dask worker per core of this machine, or the
                address of a Dask scheduler.
            devices: devices of this process to train on; ``None`` for all of JAX's.
            save_every: steps between two states of training.
            on_progress: called with a :class:`StudyProgress` now and then, from several threads, one at a time.

        Returns:
            What was found.

        Raises:
            ValueError: anything that does not fit together, or a folder that belongs to something else.
            KeyboardInterrupt: Ctrl-C; what is done is kept in ``out``.
        """
        return run_study(
            self,
            key,
            out=out,
            resume=resume,
            scheduler=scheduler,
            devices=devices,
            save_every=save_every,
            on_progress=on_progress,
        )
