"""The page of a study: the picture on top, then claims, samples, reconstructions, losses and settings."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from hlvm._files import as_path
from hlvm._html import outcomes
from hlvm.claims import Claim
from hlvm.graph import LatentGraph
from hlvm.plotting import plot_losses, plot_reconstructions, plot_study, save_figure
from hlvm.report import Section, Table, claim_table, write_html
from hlvm.study.pictures import pictures_of

__all__ = ["write_page"]

_MOST_CLAIMS, _MOST_PICTURED, _MOST_LINES, _MOST_HEIGHTS, _MOST_BESIDE = 30, 24, 3, 12, 12
_WORDS = {True: "holds", False: "does not hold", None: "open"}
_LOOKS = {True: "good", False: "bad", None: "open"}
_PARTS = {"noise": "What enters at the latents", "value": "Values of the latents"}


def write_page(
    path: str | os.PathLike[str],
    *,
    title: str,
    table: pd.DataFrame,
    told_apart: pd.DataFrame,
    own_claims: Sequence[Claim],
    drawn_claims: Sequence[Claim],
    needed: Mapping[str, int | None],
    losses: Sequence[Mapping[str, Any]],
    pictures: Sequence[Mapping[str, Any]],
    encoders: Sequence[Mapping[str, Any]],
    diverged: Sequence[str],
    collapsed: Sequence[str],
    notes: Mapping[str, str],
    settings: Mapping[str, Any],
    environment: Mapping[str, Any],
) -> None:
    """Write the page, all or nothing.

    Args:
        path: file to write.
        title: of the page.
        table: tidy table by height.
        told_apart: see :attr:`hlvm.study.StudyResult.told_apart`.
        own_claims: comparisons of the user's.
        drawn_claims: those that the prediction draws.
        needed: name of a difference whose claim is open -> seeds of each generator that would decide it with a chance
            of 80 %; ``None`` where very many would be.
        losses: per fit, see :class:`hlvm.study.StudyResult`.
        pictures: likewise.
        encoders: likewise.
        diverged: fits that diverged, in words.
        collapsed: fits whose code has collapsed, in words.
        notes: name of a difference -> which of its arms have such fits.
        settings: everything that the results depend on.
        environment: versions and machine.

    Raises:
        FileNotFoundError: the folder does not exist.
    """
    folder_of_page = as_path(path).parent
    if not folder_of_page.is_dir():
        raise FileNotFoundError(f"the folder {folder_of_page} does not exist: make it first")
    with tempfile.TemporaryDirectory() as folder:
        files = _Files(Path(folder))
        sections = [
            *_results(files, table, told_apart),
            *_encoders(files, table, encoders),
            *_claims(own_claims, drawn_claims, needed, notes),
            *_reconstructions(files, settings, pictures),
            *_losses(files, settings, losses, diverged, collapsed),
            _scores(table),
            *_settings(settings, environment),
        ]
        write_html(path, title=title, lead=_lead(own_claims, drawn_claims, diverged, collapsed), sections=sections)


class _Files:
    """Figures as files until they are embedded."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._count = folder, 0

    def add(self, figure: Figure) -> Path:
        self._count += 1
        path = self._folder / f"{self._count}.png"
        save_figure(figure, path)
        return path


def _lead(own: Sequence[Claim], drawn: Sequence[Claim], diverged: Sequence[str], collapsed: Sequence[str]) -> str:
    told = [_counted("Theory makes", drawn)] if drawn else ["Theory makes no claim that this study can decide."]
    if own:
        told.append(_counted("You make", own))
    if diverged:
        told.append(f"{len(diverged)} {'fits' if len(diverged) > 1 else 'fit'} diverged and are left out.")
    if collapsed:
        told.append(f"The code of {len(collapsed)} {'fits' if len(collapsed) > 1 else 'fit'} collapsed.")
    return " ".join(told)


def _counted(source: str, claims: Sequence[Claim]) -> str:
    claimed = f"{len(claims)} claim{'s' if len(claims) > 1 else ''}"
    return f"{source} {claimed} about the arms: {outcomes([claim.holds for claim in claims])}."


# ---------------------------------------------------------------------- results


def _results(files: _Files, table: pd.DataFrame, told_apart: pd.DataFrame) -> Iterator[Section]:
    rows: Any = table[table["ratio"].notna()]  # encoders from outside have no mask
    for part in sorted(set(rows["part"]), key=lambda part: part != "noise"):
        figures = [
            (files.add(figure), caption)
            for figure, caption in _pictures_of_part(rows[rows["part"] == part], told_apart)
        ]
        yield Section(heading=f"{_PARTS.get(part, part)}: predicted, and measured", figures=figures)
    yield from _how_much(files, rows, told_apart)


def _how_much(files: _Files, rows: Any, told_apart: pd.DataFrame) -> Iterator[Section]:
    """Pictures of what exact oracles say, above what was measured; of noises, where they were scored."""
    rows = rows[rows["part"] == ("noise" if (rows["part"] == "noise").any() else "value")]
    rows = rows[rows["ratio"].notna()]  # encoders from outside have no mask
    largest = rows.groupby("height")["demand"].transform("max")
    rows = rows.assign(**{_DEMAND: rows["demand"] / largest.where(largest > 0)})
    figures = [
        (files.add(figure), words)
        for column, caption in _QUANTITIES.items()
        if rows[column].notna().any()
        for figure, words in _pictures_of_part(rows, told_apart, column, caption)
    ]
    if figures:
        yield Section(heading="How much can be known, and how much is asked for", figures=figures)


def _encoders(files: _Files, table: pd.DataFrame, encoders: Sequence[Mapping[str, Any]]) -> Iterator[Section]:
    """Encoders from outside beside the arms, of which the best are shown where there are many."""
    if not encoders:
        return
    rows: Any = table
    rows = rows[rows["part"] == ("noise" if (rows["part"] == "noise").any() else "value")]
    names = [one["arm"] for one in encoders]
    own = rows[~rows["arm"].isin(names)].groupby("arm", sort=False)["value"].mean().nlargest(_MOST_BESIDE).index
    shown = rows[rows["arm"].isin([*own, *names])]
    seeds = rows.groupby("arm")["seeds"].min()
    cells = [
        (one["arm"], one["kind"], f"{one['sees']}, {one['units']} units", one["floor"], str(seeds.get(one["arm"], "–")))
        for one in encoders
    ]
    yield Section(
        heading="Encoders from outside",
        text=["Nothing is predicted of them. They are scored on the same samples, with the same controls."],
        table=Table(header=("encoder", "kind", "sees", "floor", "seeds"), rows=cells, wrap=3),
        figures=[(files.add(plot_study(shown, layout="arms")), "Scores of encoders from outside and of arms.")],
    )


_DEMAND = "demand / largest"
_QUANTITIES = {
    "availability": (
        "Predicted R² of each latent for the best prediction from the visible part, by an exact oracle, and the score "
        "measured after training. It bounds an R² of the same quantity from masked samples; it is no bound where whole "
        "samples are encoded, or categories scored by accuracy."
    ),
    _DEMAND: (
        "Predicted demand, what knowing the latents of a height takes off the loss of a masked cell, as a share of the "
        "largest among the arms, and the score measured after training."
    ),
}


def _pictures_of_part(
    rows: Any, told_apart: pd.DataFrame, predicted: str = "share_in_c", caption: str = ""
) -> Iterator[tuple[Figure, str]]:
    """One figure, or one per network and loss where there are more than a figure shows."""
    heights = sorted(set(rows["height"]), reverse=True)
    part = rows["part"].iloc[0]
    caption = caption or _CAPTION
    caption += _MARKED if (told_apart["part"] == part).any() else _UNMARKED.get(part, "")
    for start in range(0, len(heights), _MOST_HEIGHTS):
        shown = rows[rows["height"].isin(heights[start : start + _MOST_HEIGHTS])]
        if len(shown[["strategy", "network", "loss"]].drop_duplicates()) <= _MOST_LINES:
            yield plot_study(shown, told_apart=told_apart, predicted=predicted), caption
            continue
        for (network, loss), own in shown.groupby(["network", "loss"], sort=False):
            layout = None if own["strategy"].nunique() <= _MOST_LINES else "arms"
            name = ", ".join(filter(None, (network, loss)))
            figure = plot_study(own, told_apart=told_apart, layout=layout, predicted=predicted, title=name)
            yield figure, f"{name}. {caption}"


_CAPTION = (
    "Predicted share of masks that put a latent into c, before training, and the score measured after it: means over "
    "the latents of a height, seeds and generators."
)
_MARKED = " Differences that the claims do not tell apart are marked."
_UNMARKED = {
    "value": " Values hold the latents above too, and score as far as these are found: no claim is drawn of them here."
}


# ---------------------------------------------------------------------- claims


def _claims(
    own: Sequence[Claim], drawn: Sequence[Claim], needed: Mapping[str, int | None], notes: Mapping[str, str]
) -> Iterator[Section]:
    """Own claims first, then what is decided; of many the rest is folded."""
    claims = [*own, *sorted(drawn, key=lambda claim: claim.holds is None)]
    if not claims:
        text = "Nothing is decided: there is one arm, or no interval, since one seed of one generator was trained."
        yield Section(heading="Claims", text=[text])
        return
    first = max(_MOST_CLAIMS, len(own))
    text = [
        "Claims that theory draws were fixed before training, and are decided as one family: the chance that any of "
        "them is wrongly said to hold is bounded, and so are their intervals widened."
    ]
    yield Section(heading="Claims", text=text if drawn else [], table=_claim_table(claims[:first], 1, needed, notes))
    if len(claims) > first:
        rest = claims[first:]
        table = _claim_table(rest, first + 1, needed, notes)
        yield Section(heading=f"{len(rest)} further claims", table=table, folded=True)


def _claim_table(
    claims: Sequence[Claim], first: int, needed: Mapping[str, int | None], notes: Mapping[str, str]
) -> Table:
    ends = [(_outcome(claim, needed, notes), _LOOKS[claim.theory_agrees]) for claim in claims]
    return claim_table(claims, ends, said="theory", first=first)


def _outcome(claim: Claim, needed: Mapping[str, int | None], notes: Mapping[str, str]) -> str:
    """The outcome, of a drawn claim that is open what it would take, and what is to be known of its arms."""
    (name, *_) = claim.limits or [""]
    outcome = _WORDS[claim.holds]
    if claim.holds is None and name in needed:
        seeds = needed[name]
        outcome = "open: needs very many seeds" if seeds is None else f"open: about {seeds} seeds would do"
    return f"{outcome}; {notes[name]}" if name in notes else outcome


# ---------------------------------------------------------------------- samples and losses


def _reconstructions(
    files: _Files, settings: Mapping[str, Any], pictures: Sequence[Mapping[str, Any]]
) -> Iterator[Section]:
    if not pictures:
        return
    places = np.unique(np.linspace(0, len(pictures) - 1, min(len(pictures), _MOST_PICTURED)).round().astype(int))
    samples, arms, proportion = pictures_of(LatentGraph.from_dict(settings["graph"]), [pictures[i] for i in places])
    text = [f"{len(places)} of {len(pictures)} arms are shown."] if len(places) < len(pictures) else []
    if not pictures[0].get("shape"):
        text.append(
            "Each patch of grey is a number; observed variables lie as in their grid, or side by side without one."
        )
    if any(made is None for _, made in arms.values()):
        text.append(
            "Not shown: transformers whose targets are normalised patch by patch, which reconstruct in other units; "
            "and what is trained to predict codes, which reconstructs nothing."
        )
    yield Section(
        heading="Samples, what the encoder saw, reconstructions",
        text=text,
        figures=[
            (
                files.add(plot_reconstructions(samples, arms, proportion=proportion)),
                "Samples that were not trained on, under a mask of each arm; masked is blue. First seed.",
            )
        ],
    )


def _losses(
    files: _Files,
    settings: Mapping[str, Any],
    losses: Sequence[Mapping[str, Any]],
    diverged: Sequence[str],
    collapsed: Sequence[str],
) -> Iterator[Section]:
    """Curves of every arm, in one panel per network and loss."""
    panels: dict[str, dict[str, np.ndarray]] = {}
    for arm in settings["arms"]:
        curves = [one["loss"] for one in losses if one["arm"] == arm["arm"] and not one["diverged"] and one["loss"]]
        if curves:
            panel = ", ".join(filter(None, (arm["network"], arm["loss"])))
            panels.setdefault(panel, {})[arm["mask_name"]] = np.mean(curves, axis=0)
    text = [f"Diverged and left out: {'; '.join(diverged)}."] if diverged else []
    if collapsed:
        text.append(
            f"Collapsed: {'; '.join(collapsed)}. Their codes are the same for all samples, or vary along hardly more "
            "than one direction. Their scores count as they are."
        )
    if not panels:
        if text:
            yield Section(heading="Training", text=text)
        return
    steps = next(one["step"] for one in losses if not one["diverged"] and one["loss"])
    figure = plot_losses(panels, y_label="training loss", names_below=True, smooth=1, steps=steps)
    caption = "Training loss of every arm, averaged over stretches of steps, seeds and generators."
    yield Section(heading="Training", text=text, figures=[(files.add(figure), caption)])


# ---------------------------------------------------------------------- tables and settings


def _scores(table: pd.DataFrame) -> Section:
    rows: Any = table
    known = [name for name in ("availability", "demand") if rows[name].notna().any()]
    measured = ["value", "low", "high", "floor", "ceiling", "chance"]
    counts = ["seeds", "generators", *(["collapsed"] if rows["collapsed"].any() else [])]
    cells = [
        (
            row["arm"],
            f"{row['height']}",
            row["part"],
            row["score"],
            *(_number(row[name]) for name in ("share_in_c", *known, *measured)),
            *(str(row[name]) for name in counts),
        )
        for row in rows.to_dict("records")
    ]
    header = ("arm", "height", "part", "score", "share in c", *known, *measured, *counts)
    return Section(
        heading="Scores by height",
        text=[
            "Low and high: ends of 95 % intervals. Floor: untrained encoders. Ceiling: the visible part itself. "
            "Chance: rows shuffled."
        ],
        table=Table(header=header, rows=cells),
        folded=True,
    )


def _number(value: float) -> str:
    return "–" if np.isnan(value) else f"{value:.3f}"


def _settings(settings: Mapping[str, Any], environment: Mapping[str, Any]) -> Iterator[Section]:
    again = {name: value for name, value in settings.items() if name not in ("arms", "graph")}
    parts = [arm["settings"] for arm in settings["arms"]]
    for part in ("mask", "network", "loss"):
        # Each once, though many arms share it.
        known = {json.dumps(of[part]): of[part] for of in parts if part in of}
        again |= {f"{part}s" if part != "loss" else "losses": list(known.values())}
    yield Section(heading="Settings to run it again", code=_lines(again))
    yield Section(heading="Graph", code=json.dumps(settings["graph"], ensure_ascii=False), folded=True)
    yield Section(heading="Versions and machine", code=_lines(environment))


def _lines(table: Mapping[str, Any]) -> str:
    """JSON with a line per name, and one per entry of a list of tables."""
    lines = []
    for name, value in table.items():
        text = json.dumps(value, ensure_ascii=False)
        if isinstance(value, list) and value and isinstance(value[0], dict):
            text = "[\n  " + ",\n  ".join(json.dumps(one, ensure_ascii=False) for one in value) + "\n ]"
        lines.append(f" {json.dumps(name, ensure_ascii=False)}: {text}")
    return "{\n" + ",\n".join(lines) + "\n}"
