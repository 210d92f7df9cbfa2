"""Level profiles: what random masks put into ``c``, over masking ratio, masking unit and height."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple, TypeAlias, get_args

import matplotlib as mpl
import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from hlvm.plotting.heat_maps import FONT, LINE, draw_cells, draw_key, key_colors, key_entries, thinned
from hlvm.plotting.labels import printable, printable_lines, shortened, text_width
from hlvm.plotting.styles import (
    axes_in_inches,
    height_look,
    ink_on,
    room_in,
    row_of_panels,
    set_title,
    style,
    titled_sheet,
)
from hlvm.theory import LevelProfile

__all__ = ["PanelAxis", "Quantity", "plot_level_curves", "plot_level_profile"]

PanelAxis: TypeAlias = Literal["height", "unit"]
"""Subject of each panel of a level profile."""

Quantity: TypeAlias = Literal["share", "frontier_share", "dim"]
"""Field of a :class:`~hlvm.theory.LevelProfile` that is drawn."""

_GAP, _HEAD, _FOOT, _BAR = 0.2, 0.28, 0.5, 1.35
_WIDEST = 11.0


def plot_level_profile(
    profiles: LevelProfile | Mapping[str, LevelProfile],
    *,
    panels: PanelAxis = "height",
    height: int | None = None,
    title: str = "",
    ax: Axes | None = None,
) -> Figure:
    """Heat maps of the share of latents in ``c``, over the masking ratio.

    Each cell has its number where there is room. Cells that are exactly 0, such as latents inside one masking unit,
    are hatched and not coloured, so that they are not taken for small shares. A ratio or height that a profile lacks
    is left grey. Where there are more rows or columns than room for their names, some names are left out.

    Args:
        profiles: name of the masking unit -> its level profile; or one profile, drawn in one panel.
        panels: "height" draws one panel per height, highest first, with masking unit against ratio; "unit" one panel
            per unit, with height against ratio, highest on top.
        height: draw this height only.
        title: text above.
        ax: axes to draw a single panel into; ``None`` for a new figure, unknown to pyplot.

    Returns:
        The figure.

    Raises:
        ValueError: no level profile, one that has a ratio twice, an unknown kind of panel, a height that no profile
            has, or axes for several panels.
    """
    if isinstance(profiles, LevelProfile):
        profiles, panels = {"": profiles}, "unit"
    _check_profiles(profiles, panels)
    ratios, heights = (
        np.unique(np.concatenate([getattr(profile, field) for profile in profiles.values()]))
        for field in ("masked_share", "heights")
    )
    if height is not None and height not in heights:
        raise ValueError(f"height {height!r} is none of the heights of the profiles: {heights.tolist()}")
    values = np.full((len(profiles), len(ratios), len(heights)), np.nan)
    for cells, profile in zip(values, profiles.values(), strict=True):
        cells[np.ix_(np.searchsorted(ratios, profile.masked_share), np.searchsorted(heights, profile.heights))] = (
            profile.share
        )
    order = [i for i in reversed(range(len(heights))) if height in (None, heights[i])]
    with style(ax):
        names = [printable(unit) for unit in profiles]
        levels = [f"height {heights[i]}" for i in order]
        if panels == "height":
            maps = [(level, values[:, :, i]) for level, i in zip(levels, order, strict=True)]
            rows, side = names, "masking unit"
        else:
            maps = [(name, values[unit][:, order].T) for unit, name in enumerate(names)]
            rows, side = [f"{heights[i]}" for i in order], "height"
        columns = [f"{ratio:.3g}" for ratio in ratios]
        if ax is None:
            return _draw_maps(maps, rows, side, columns, title)
        figure, (ax,) = row_of_panels(ax, len(maps), 0, 0)
        _draw_map_into(ax, *maps[0], rows, side, columns, title)
        return figure


def _check_profiles(profiles: Mapping[str, LevelProfile], panels: str) -> None:
    given = list(profiles.values()) if isinstance(profiles, Mapping) else [profiles]
    strange = [type(each).__name__ for each in given if not isinstance(each, LevelProfile)]
    if strange or not given:
        raise ValueError(
            f"expected level profiles by the name of their masking unit, got {', '.join(strange) or 'none'}: call "
            "hlvm.theory.level_profile"
        )
    for name, profile in profiles.items():
        if len(set(profile.masked_share.tolist())) < len(profile.masked_share):
            raise ValueError(f"the profile {name!r} has a ratio twice: give one profile per masking unit")
    if panels not in get_args(PanelAxis):
        raise ValueError(f'panels must be "height" or "unit", got {panels!r}')


class _Sizes(NamedTuple):
    """Sizes of the panels in inches."""

    left: float
    wide: float
    tall: float
    columns: int
    rows: int


def _sizes(n_panels: int, names: Sequence[str], n_ratios: int, titles: Sequence[str]) -> _Sizes:
    left = max(text_width(name, FONT) for name in names) + 0.45
    heading = max(text_width(text, FONT + 1) for text in titles) + 0.1
    most, row = (3.6, 0.3) if n_panels <= 3 else (2.5, 0.25) if n_panels <= 8 else (1.8, 0.17)
    wide = max(float(np.clip(0.4 * n_ratios, 0.9, most)), min(heading, most))
    tall = float(np.clip(row * len(names), 0.45, 0.17 * max(16, min(len(names), 30))))
    columns = max(1, min(n_panels, int((_WIDEST - left - _BAR + _GAP) // (wide + _GAP))))
    return _Sizes(left, wide, tall, columns, -(-n_panels // columns))


def _draw_maps(
    maps: Sequence[tuple[str, Float[np.ndarray, "rows ratios"]]],
    names: Sequence[str],
    side: str,
    ratios: Sequence[str],
    title: str,
) -> Figure:
    names = [shortened(name, 1.8, FONT) or "…" for name in names]
    sizes = _sizes(len(maps), names, len(ratios), [name for name, _ in maps])
    pitch = sizes.tall + _HEAD + 0.08
    wide = sizes.left + sizes.columns * (sizes.wide + _GAP) - _GAP + _BAR
    high = max(sizes.rows * pitch + _FOOT, 1.9)
    figure, top = titled_sheet(wide, high, title)
    for i, (name, cells) in enumerate(maps):
        row, column = divmod(i, sizes.columns)
        left = 0.1 + sizes.left + column * (sizes.wide + _GAP)
        ax = axes_in_inches(figure, left, top - row * pitch - _HEAD - sizes.tall, sizes.wide, sizes.tall)
        lowest = i + sizes.columns >= len(maps)
        _draw_map(ax, cells, names, ratios, (sizes.wide, sizes.tall), leftmost=column == 0, lowest=lowest)
        ax.set_title(shortened(name, sizes.wide, FONT + 1), fontsize=FONT + 1, pad=3)
    middle = (top - (sizes.rows * pitch - 0.08 + _HEAD) / 2) / (figure.get_size_inches()[1])
    figure.text(0.1 / figure.get_size_inches()[0], middle, side, rotation=90, va="center", fontsize=FONT + 1)
    draw_key(figure, [cells for _, cells in maps], wide - _BAR + 0.35, top - _HEAD, "share of latents in c")
    return figure


def _draw_map(
    ax: Axes,
    cells: Float[np.ndarray, "rows ratios"],
    names: Sequence[str],
    ratios: Sequence[str],
    size: tuple[float, float],
    *,
    leftmost: bool = True,
    lowest: bool = True,
) -> None:
    """One map in axes of a size in inches; names of rows and ratios stand at the outer ones only."""
    draw_cells(ax, cells, size)
    at, shown = thinned(ratios, size[0], [text_width(text, FONT) + 0.08 for text in ratios])
    ax.set_xticks(at, shown if lowest else [""] * len(at), fontsize=FONT)
    at, shown = thinned(names, size[1], [LINE] * len(names))
    ax.set_yticks(at, shown if leftmost else [""] * len(at), fontsize=FONT)
    if lowest:
        ax.set_xlabel("masking ratio", fontsize=FONT + 1)


def _draw_map_into(
    ax: Axes,
    name: str,
    cells: Float[np.ndarray, "rows ratios"],
    names: Sequence[str],
    side: str,
    ratios: Sequence[str],
    title: str,
) -> None:
    """A map with its key in axes of the user's."""
    bar = ax.figure.colorbar(key_colors(), ax=ax, ticks=[0, 0.5, 1])
    bar.set_label("share of latents in c", fontsize=FONT)
    _draw_map(ax, cells, [shortened(row, 1.8, FONT) or "…" for row in names], ratios, room_in(ax))
    ax.grid(visible=False)
    ax.set_ylabel(side, fontsize=FONT + 1)
    set_title(ax, title or name)
    if entries := key_entries([cells]):
        ax.legend(handles=entries, loc="upper right", bbox_to_anchor=(1.0, -0.12), fontsize=FONT, ncols=2)


# ---------------------------------------------------------------------- curves


def _shades(ink: str) -> ListedColormap:
    """From dark to light, but not so near the ground that a line is lost on it."""
    ends = (0.3, 1.0) if ink == "white" else (0.0, 0.85)
    return ListedColormap(mpl.colormaps["viridis"](np.linspace(*ends, 256)))


def plot_level_curves(
    profile: LevelProfile, *, quantity: Quantity = "share", title: str = "", ax: Axes | None = None
) -> Figure:
    """A level profile as one curve per height over the masking ratio.

    Where masks were drawn at random, a band of two standard errors to either side is drawn.

    Args:
        profile: what random masks put into ``c``.
        quantity: "share" (of the latents of a height that are in ``c``), "frontier_share" or "dim" (dims of ``c`` at a
            height).
        title: text above.
        ax: axes to draw into; ``None`` for a new figure, unknown to pyplot.

    Returns:
        The figure.

    Raises:
        ValueError: not a level profile, or an unknown quantity.
    """
    if not isinstance(profile, LevelProfile):
        raise ValueError(f"expected a LevelProfile, got {type(profile).__name__}: call hlvm.theory.level_profile")
    fields = {
        "share": (profile.share, profile.standard_error, "expected share of latents in c"),
        "frontier_share": (profile.frontier_share, profile.frontier_standard_error, "expected share in the frontier"),
        "dim": (profile.dim, profile.dim_standard_error, "expected dims of c"),
    }
    if quantity not in fields:
        raise ValueError(f"quantity must be one of {', '.join(map(repr, fields))}, got {quantity!r}")
    values, errors, label = fields[quantity]
    order = np.argsort(profile.masked_share, kind="stable")
    heights = profile.heights.tolist()
    few = len(heights) <= 8
    with style(ax):
        own, (figure, (ax,)) = ax is None, row_of_panels(ax, 1, 6.0, 3.6)
        ink = ink_on(ax)
        shades = ScalarMappable(Normalize(min(heights), max(heights)), _shades(ink))
        for column, height in reversed(list(enumerate(heights))):
            look = height_look(height, ink=ink) if few else {"color": shades.to_rgba(height), "marker": "."}
            x, y, error = profile.masked_share[order], values[order, column], errors[order, column]
            ax.plot(x, y, ms=4, lw=1.4, label=f"height {height}", **look)
            if profile.n_masks and len(x) > 1:
                low, high = np.clip([y - 2 * error, y + 2 * error], 0.0, None if quantity == "dim" else 1.0)
                ax.fill_between(x, low, high, color=look["color"], alpha=0.25, lw=0)
            elif profile.n_masks:
                ax.errorbar(x, y, 2 * error, capsize=3, color=look["color"])
        ax.set_xlabel("masking ratio")
        ax.set_ylabel(label)
        ax.set_xlim(0, 1)
        if quantity != "dim":
            ax.set_ylim(-0.03, 1.03)
        note = f"band: 2 standard errors,\n{profile.n_masks:,} masks per ratio" if profile.n_masks else None
        if few:
            ax.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0), fontsize=8, title=note, title_fontsize=7.5)
        else:
            figure.colorbar(shades, ax=ax, label="height", ticks=MaxNLocator(integer=True))
            if note:
                ax.set_title(note.replace("\n", " "), fontsize=8, loc="right")
        if title and own:
            figure.suptitle(printable_lines(title), fontsize=10.5)
        elif title:
            ax.set_title(printable_lines(title))
        return figure
