"""Maps over checkpoints as a moving picture."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torchprobe.errors import MissingExtraError, SettingError
from torchprobe.plotting import context
from torchprobe_topography.panels import limit_of
from torchprobe_topography.plots import draw_maps, maps_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matplotlib.figure import Figure

    from torchprobe.results import LayerResults

__all__ = ["animate"]

_DPI = 144


def animate(
    checkpoints: Mapping[str, LayerResults],
    path: str | os.PathLike[str],
    *,
    layer: str | None = None,
    seconds: float = 0.6,
    progress: bool | None = None,
    **options: Any,
) -> Path:
    """Write the maps of a layer over checkpoints as a GIF, or as MP4 where ffmpeg is installed.

    Colours saturate at the same value in all frames. Units keep their places where results have
    them in common: their own order, or ``Topography(cells=cells_of(...))``.

    Args:
        checkpoints: what to write above a frame → the topography results of that checkpoint.
        path: ends in .gif or .mp4; folders are made as needed.
        layer: which; the last by default.
        seconds: that each frame is seen.
        progress: whether to show a bar; None shows it in a terminal.
        options: of ``results.plot("topography", view="maps")``: ``groups``, ``kind``, ...

    Raises:
        SettingError: no checkpoint, or another ending.
        MissingExtraError: MP4 without ffmpeg.

    Example:
        >>> import tempfile, torch, torchprobe as tp
        >>> probe = tp.Probe(torch.nn.Linear(4, 16), "model", ["topography"])
        >>> found = probe.run([(torch.eye(4), torch.arange(4))])["topography"]
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = animate({"epoch 1": found, "epoch 2": found}, f"{folder}/maps.gif")
        ...     path.name
        'maps.gif'
    """
    from tqdm.auto import tqdm

    path = Path(path)
    if not checkpoints:
        raise SettingError("no checkpoint to draw; give {'epoch 1': results['topography'], ...}")
    writer = _writer(path, 1 / seconds)
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".unfinished-{os.getpid()}-{path.name}")
    shared = {"limit": _limit(checkpoints, layer, options), "layer": layer, **options}
    frames = (_frame(name, results, shared) for name, results in checkpoints.items())
    hidden = None if progress is None else not progress
    try:
        with context(), tqdm(total=len(checkpoints), unit="frame", disable=hidden) as bar:
            first = next(frames)
            with writer.saving(first, str(unfinished), _DPI):
                writer.grab_frame()
                bar.update()
                for figure in frames:
                    writer.fig = figure
                    writer.grab_frame()
                    bar.update()
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
    return path


def _frame(name: str, results: LayerResults, options: dict[str, Any]) -> Figure:
    figure = draw_maps(results, **options)
    width, height = figure.get_size_inches()
    figure.text(1 - 0.15 / width, 1 - 0.3 / height, name, ha="right", size=11, weight="bold")
    return figure


def _limit(
    checkpoints: Mapping[str, LayerResults], layer: str | None, options: dict[str, Any]
) -> float:
    kind, grouping = options.get("kind", "interpolated"), options.get("grouping")
    return limit_of(*(maps_of(each, layer, grouping, kind) for each in checkpoints.values()))


def _writer(path: Path, rate: float) -> Any:
    from matplotlib.animation import FFMpegWriter, PillowWriter

    ending = path.suffix.lower()
    if ending == ".gif":
        return PillowWriter(fps=rate)  # type: ignore[arg-type]
    if ending != ".mp4":
        raise SettingError(f"{path.name!r} ends in {ending!r}; choose .gif or .mp4")
    if not FFMpegWriter.isAvailable():
        raise MissingExtraError(f"ffmpeg is not installed; write a GIF: {path.stem}.gif")
    return FFMpegWriter(fps=rate)  # type: ignore[arg-type]
