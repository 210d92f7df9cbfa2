"""Fits of a study whose code has collapsed, and what that means for its claims."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from hlvm.study.comparisons import Pair

__all__ = ["collapsed_by_arm", "collapsed_in_words", "notes_on_claims"]


def collapsed_in_words(records: pd.DataFrame) -> tuple[str, ...]:
    """Fits that collapsed, with the kind of collapse."""
    return tuple(
        f"{fit['arm']}, generator {fit['generator']}, seed {fit['seed']} ({fit['collapsed']})"
        for fit in _fits(records).to_dict("records")
        if fit["collapsed"] != "none"
    )


def collapsed_by_arm(records: pd.DataFrame) -> dict[str, tuple[int, int]]:
    """Arm -> number of its fits that collapsed, and of all its fits."""
    return {arm: (int((of != "none").sum()), len(of)) for arm, of in _fits(records).groupby("arm")["collapsed"]}


def notes_on_claims(pairs: Sequence[Pair], records: pd.DataFrame) -> dict[str, str]:
    """Name of a difference -> which of its two arms have fits that collapsed; only where there are any."""
    counts = collapsed_by_arm(records)
    notes = {
        pair.name: "; ".join(
            f"{fallen} of {fits} fits of {arm} collapsed"
            for arm in (pair.first, pair.second)
            for fallen, fits in [counts.get(arm, (0, 0))]
            if fallen
        )
        for pair in pairs
    }
    return {name: note for name, note in notes.items() if note}


def _fits(records: pd.DataFrame) -> Any:
    """One row per fit: ``arm``, ``generator``, ``seed``, ``collapsed``; "none" where nobody looked, in old studies."""
    names = ["arm", "generator", "seed"]
    fits: Any = records.drop_duplicates(names)
    return fits[names].assign(collapsed=fits["collapsed"].fillna("none") if "collapsed" in fits else "none")
