"""Receptive fields of a layer's positions, measured: where its derivative is not zero."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from torchprobe.errors import SettingError
from torchprobe.sandbox import Sandbox, unrecorded
from torchprobe_slt.windows import Window

if TYPE_CHECKING:
    from torchprobe_slt.arguments import Arguments
    from torchprobe_slt.program import Program

__all__ = ["measured"]

_SAMPLES = 8
"""Random inputs: a path that ReLUs close in one of them is open in another."""


def measured(program: Program, form: Arguments) -> dict[str, tuple[Window, ...] | None]:
    """What the positions of each layer see, one window for each position axis.

    None for layers whose positions do not see windows of one size (recurrence, attention, fields
    wider than the input), and for layers without positions.

    Args:
        program: the model and its layers.
        form: arguments of a call; only shapes and dtypes are read, values are made up.

    Raises:
        SettingError: the model cannot be run on made-up values.
    """
    arguments = _made_up(form, program)
    try:
        with unrecorded(), Sandbox(torch.device("cpu")), torch.enable_grad():
            start = program.start(arguments).clone().requires_grad_()
            found = program.outputs(arguments, start)
            shapes = [read.shape(out) for read, out in zip(program.readouts, found, strict=True)]
            nodes = [read(output) for read, output in zip(program.readouts, found, strict=True)]
            return {
                read.name: _windows(values, start, shape)
                for read, values, shape in zip(program.readouts, nodes, shapes, strict=True)
            }
    except (RuntimeError, ValueError, IndexError, TypeError) as error:
        raise SettingError(
            f"what positions see cannot be measured, for the model does not run on made-up values "
            f"({type(error).__name__}: {error}); say it with window=, or choose positions='center'"
        ) from error


def _made_up(form: Arguments, program: Program) -> Arguments:
    """Random numbers in place of floats, zeros in place of integers."""
    generator = torch.Generator().manual_seed(0)
    device = next((p.device for p in program.model.parameters()), torch.device("cpu"))

    def made(part: Tensor) -> Tensor:
        if not part.is_floating_point():
            return torch.zeros(part.shape, dtype=part.dtype, device=device)
        return torch.randn(part.shape, generator=generator).to(device, part.dtype)

    parts = [made(part) if isinstance(part, Tensor) else part for part in form.parts]
    few = torch.arange(_SAMPLES) % form.n_samples
    return form.replaced(parts, form.n_samples).rows(few[: form.n_samples].to(device))


def _windows(nodes: Tensor, start: Tensor, shape: tuple[int, ...]) -> tuple[Window, ...] | None:
    if len(shape) == 1:
        return None
    along = [_window(nodes, start, shape, axis) for axis in range(1, len(shape))]
    known = [window for window in along if window is not None]
    distinct = len({window.axis for window in known}) == len(along)
    return tuple(known) if distinct else None


def _window(nodes: Tensor, start: Tensor, shape: tuple[int, ...], axis: int) -> Window | None:
    """The window of positions along one axis, the others staying in the middle."""
    count = shape[axis]
    middle = count // 2
    places = sorted({0, *range(max(0, middle - 1), min(count, middle + 2)), count - 1})
    extents = {place: _extent(nodes, start, shape, axis, place) for place in places}
    moving = [a for a in range(start.ndim - 1) if len({each[a] for each in extents.values()}) > 1]
    if len(moving) != 1:
        return None
    seen = {place: each[moving[0]] for place, each in extents.items()}
    return _fitted(seen, start.shape[moving[0] + 1], moving[0])


def _fitted(seen: dict[int, tuple[int, int]], entries: int, axis: int) -> Window | None:
    """One window that explains the first and last entry that positions see.

    A first entry of 0 and a last one at the end may be cut off by the border; others are exact.
    """
    first = {place: low for place, (low, _) in seen.items() if low > 0}
    last = {place: high for place, (_, high) in seen.items() if high < entries - 1}
    stride = _slope(first) or _slope(last)
    if not (stride and first and last):
        return None
    start, end = (at - stride * place for place, at in (min(first.items()), min(last.items())))
    window = Window(end - start + 1, stride, start, axis)
    if window.size < 1:
        return None
    return window if all(_explains(window, *each, entries) for each in seen.items()) else None


def _slope(ends: dict[int, int]) -> int | None:
    """By how much an end moves from one position to the next; None if that cannot be told."""
    places = sorted(ends)
    steps = {(ends[b] - ends[a]) / (b - a) for a, b in itertools.pairwise(places)}
    whole = len(steps) == 1 and min(steps) >= 1 and min(steps) % 1 == 0
    return int(min(steps)) if whole else None


def _explains(window: Window, place: int, extent: tuple[int, int], entries: int) -> bool:
    low = window.start + window.stride * place
    inside = max(low, 0), min(low + window.size, entries) - 1
    return inside[0] <= extent[0] and extent[1] <= inside[1]


def _extent(
    nodes: Tensor, start: Tensor, shape: tuple[int, ...], axis: int, place: int
) -> list[tuple[int, int]]:
    """First and last entry along every input axis that the channels at one position depend on."""
    at = [size // 2 for size in shape[1:]]
    at[axis - 1] = place
    position = sum(p * math.prod(shape[n + 2 :]) for n, p in enumerate(at))
    chosen = nodes.unflatten(1, (shape[0], -1))[:, :, position]  # [sample, channel]
    weights = torch.linspace(0.5, 1.5, shape[0], dtype=nodes.dtype, device=nodes.device)
    (gradient,) = torch.autograd.grad((chosen * weights).sum(), start, retain_graph=True)
    seen = (gradient != 0).any(0)
    return [_ends(seen, a) for a in range(seen.ndim)]


def _ends(seen: Tensor, axis: int) -> tuple[int, int]:
    along = seen.movedim(axis, 0).flatten(1).any(1).nonzero()
    return (int(along[0]), int(along[-1])) if len(along) else (0, 0)
