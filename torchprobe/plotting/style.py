"""How torchprobe's pictures look: fonts, inks, palettes that colour-blind readers can tell apart.

Figures are made through matplotlib's objects, never through pyplot: no window opens, no global
state is left behind, and the user's own settings neither change nor change these pictures.
"""

from __future__ import annotations

import functools
import itertools
from contextlib import contextmanager
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from torchprobe.plotting.text import label

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure

__all__ = [
    "COLOURS",
    "DIVERGING",
    "GRID",
    "INK",
    "MUTED",
    "SEQUENTIAL",
    "category_colours",
    "colour_map",
    "context",
    "figure",
    "heading",
    "marks",
    "styled",
]

P = ParamSpec("P")
T = TypeVar("T")

INK, MUTED, GRID = "#1f2937", "#6b7280", "#e5e7eb"
"""Text and lines; what explains them; what guides the eye."""
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#4d4d4d")
"""Okabe and Ito's colours, told apart in every common colour blindness, without the yellow that
white paper swallows."""
SEQUENTIAL = ("#ffffff", "#d9eef0", "#8ccbd2", "#3f93c0", "#1f5c9c", "#0b2a5b")
"""From nothing (the paper) to much, ever darker."""
DIVERGING = "RdBu_r"
"""From negative (blue) through 0 (pale) to positive (red)."""

_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<")
_FALLBACK_FONTS = (  # for scripts that DejaVu Sans, which comes with matplotlib, does not have
    "Noto Sans CJK SC",
    "Noto Sans CJK JP",
    "Noto Sans",
    "Microsoft YaHei",
    "PingFang SC",
    "Hiragino Sans",
    "Malgun Gothic",
    "WenQuanYi Micro Hei",
    "Arial Unicode MS",
)
_SETTINGS = {
    "figure.facecolor": "white",
    "axes.edgecolor": "#9ca3af",
    "axes.labelcolor": INK,
    "axes.labelsize": 9,
    "axes.linewidth": 0.8,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.axisbelow": True,
    "font.size": 9,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "legend.fontsize": 8.5,
    "legend.frameon": False,
    "lines.linewidth": 1.8,
    "lines.markersize": 5.5,
    "text.color": INK,
    "text.usetex": False,
    "xtick.color": "#9ca3af",
    "xtick.labelcolor": INK,
    "xtick.labelsize": 8.5,
    "ytick.color": "#9ca3af",
    "ytick.labelcolor": INK,
    "ytick.labelsize": 8.5,
}


@contextmanager
def context() -> Iterator[None]:
    """Draw in torchprobe's style inside, whatever the user's own is; theirs is kept."""
    from matplotlib import style

    with style.context(["default", {**_SETTINGS, "font.family": _fonts()}]):
        yield


def styled(draw: Callable[P, T]) -> Callable[P, T]:
    """Make a drawing function draw in `context`."""

    @functools.wraps(draw)
    def wrapper(*args: P.args, **options: P.kwargs) -> T:
        with context():
            return draw(*args, **options)

    return wrapper


def figure(width: float, height: float) -> Figure:
    """An empty figure of so many inches, which a notebook shows when a cell returns it."""
    from torchprobe.plotting._figure import NotebookFigure

    return NotebookFigure(figsize=(width, height))


def heading(axes: Axes, title: str, subtitle: str = "", limit: int = 90) -> None:
    """A title at the left above axes, a muted line under it; a blank one only keeps its room."""
    at = {"xycoords": "axes fraction", "textcoords": "offset points", "annotation_clip": False}
    if title:
        offset = (0, 22 if subtitle else 8)
        axes.annotate(label(title, limit), (0, 1), offset, size=11, weight="bold", **at)  # type: ignore[arg-type]
    if subtitle.strip():
        axes.annotate(label(subtitle, 2 * limit), (0, 1), (0, 8), size=8.5, color=MUTED, **at)  # type: ignore[arg-type]


def marks(n: int) -> list[tuple[str, str]]:
    """A colour and a marker for each of n things; all differ for up to 56 things.

    Nobody tells forty colours apart; colour and shape together stay readable.

    >>> marks(8)[0], marks(8)[7]
    (('#0072b2', 'o'), ('#0072b2', 's'))
    """
    pairs = [(colour, marker) for marker in _MARKERS for colour in COLOURS]
    return list(itertools.islice(itertools.cycle(pairs), n))


def category_colours(categories: Iterable[str]) -> dict[str, str]:
    """A colour for each category, in the order in which they first come; repeats after seven.

    >>> category_colours(["vowel", "stop", "vowel"])
    {'vowel': '#0072b2', 'stop': '#d55e00'}
    """
    distinct = dict.fromkeys(categories)
    return dict(zip(distinct, itertools.cycle(COLOURS), strict=False))


def colour_map(*, symmetric: bool) -> Colormap:
    """The colours of a heat map: around 0 where symmetric, from nothing to much otherwise."""
    import matplotlib as mpl
    from matplotlib.colors import LinearSegmentedColormap

    if symmetric:
        return mpl.colormaps[DIVERGING]
    return LinearSegmentedColormap.from_list("torchprobe", SEQUENTIAL)


@functools.cache
def _fonts() -> tuple[str, ...]:
    from matplotlib import font_manager

    installed: Sequence[str] = font_manager.get_font_names()
    return ("DejaVu Sans", *(name for name in _FALLBACK_FONTS if name in installed))
