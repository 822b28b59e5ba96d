"""The Jacobians of a whole batch at once."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from torchprobe.errors import InsufficientDataError, MemoryBudgetError
from torchprobe_slt.arguments import Arguments
from torchprobe_slt.sweep import Sweep

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from torch import Tensor, nn

    from torchprobe import Layer
    from torchprobe_slt.jacobian import Jacobian, Jacobians
    from torchprobe_slt.windows import WindowSpec

__all__ = ["collect", "jacobians"]


def jacobians(
    model: nn.Module,
    layers: Sequence[Layer | str] | str,
    *args: Any,
    point: str | None = None,
    route: str = "auto",
    nodes: Mapping[str, Sequence[int]] | None = None,
    window: WindowSpec | None = None,
    memory_budget: int | None = None,
    sample_axis: int = 0,
    **kwargs: Any,
) -> Jacobians:
    """The linear function that a network applies to each sample: J and c with h(x) = J x + c.

    J [sample, node, input] is the derivative of a layer's nodes by the input, the sample-dependent
    linear transform; c [sample, node] the offset that makes it exact where the network is piecewise
    linear (ReLU and its kin; eval batch norm is a part of it). The derivative at a kink is what
    torch takes it to be: 0 for ReLU at 0. Smooth networks give their tangent, marked by
    ``exact=False``.

    All layers come out of one sweep, by the cheapest of four routes: the closed form of a chain of
    matrices and pointwise functions, pushed from the input or pulled from the nodes, and automatic
    differentiation forwards or in reverse for anything else. Flops of each, and the route taken,
    are part of the result.

    Args:
        model: any module differentiable in its input, in eval mode.
        layers: names of modules (``lstm[0]``, ``act@2``), or layers of a probe.
        args: what the model is called with; the derivative is by the first tensor.
        point: differentiate by this layer's output instead, as models of token ids need:
            ``point="embedding"``.
        route: "auto", or one of "push", "pull", "forward", "reverse".
        nodes: by layer, only these nodes.
        window: the receptive field of the positions, one `Window` for each position axis, for all
            layers or by name; then rows are (sample, position) pairs and nodes channels.
        memory_budget: bytes that the result may take; a quarter of the machine's memory by default.
        sample_axis: which axis of the input is the sample.
        kwargs: more of what the model is called with.

    Raises:
        LayerNotFoundError: the model has no such layer.
        SettingError: integer inputs, random numbers in eval mode, batch norm in training mode,
            samples that influence each other.
        MemoryBudgetError: the Jacobians exceed the budget; says by how much and what to do.

    Source: Nagamine & Mesgarani 2017, section 2.2, eq. 1-4. Deviation: biases are kept, as the
    offset, and batch norm is part of the function.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> net = nn.Sequential(nn.Linear(2, 3, bias=False), nn.ReLU(), nn.Linear(3, 1, bias=False))
        >>> _ = net[0].weight.data.copy_(torch.tensor([[1.0, 0], [0, 1], [1, -1]]))
        >>> _ = net[2].weight.data.copy_(torch.tensor([[1.0, 2, 1]]))
        >>> slt = jacobians(net.eval(), ["2"], torch.tensor([[1.0, 0], [0, 1], [2, 1]]))
        >>> slt["2"].values[:, 0].tolist(), slt["2"].offset.abs().max().item()
        ([[2.0, -1.0], [0.0, 2.0], [2.0, 1.0]], 0.0)
    """
    layers = [layers] if isinstance(layers, str) else layers
    sweep = Sweep(
        model,
        layers,
        point=point,
        route=route,
        nodes=nodes,
        window=window,
        memory_budget=memory_budget,
        sample_axis=sample_axis,
    )
    arguments = Arguments.of(args, kwargs, sample_axis)
    if not arguments.n_samples:
        raise InsufficientDataError("the batch is empty; there is nothing to differentiate")
    routes = sweep.open(arguments)
    need = routes.bytes_each * len(routes.start)
    if need > sweep.memory_budget:
        most = sweep.memory_budget // routes.bytes_each
        raise MemoryBudgetError(
            f"the Jacobians of {len(routes.start):,} samples need {need:,} bytes, more than the "
            f"budget of {sweep.memory_budget:,}; give at most {most:,} samples at once, fewer "
            "layers or nodes, or go through them block by block with Sweep(model, layers)(x)"
        )
    return collect(sweep.blocks(routes), len(routes.start))


def collect(blocks: Iterable[Jacobians], samples: int) -> Jacobians:
    """Blocks of the Jacobians of a batch as one."""
    whole: dict[str, Jacobian] = {}
    last: Jacobians | None = None
    for last in blocks:
        rows = {name: len(each.values) // _count(last) for name, each in last.items()}
        for name, block in last.items():
            if name not in whole:
                whole[name] = _room(block, rows[name] * samples)
            part = slice(last.samples.start * rows[name], last.samples.stop * rows[name])
            _copy(whole[name], block, part)
    assert last is not None, "an opened batch has samples"
    return replace(last, layers=whole, samples=slice(0, samples))


def _count(block: Jacobians) -> int:
    return int(block.samples.stop - block.samples.start)


def _room(block: Jacobian, rows: int) -> Jacobian:
    """Uninitialised space for the Jacobians of so many rows."""

    def room(tensor: Tensor) -> Tensor:
        return torch.empty(rows, *tensor.shape[1:], dtype=tensor.dtype, device=tensor.device)

    return replace(
        block,
        values=room(block.values),
        offset=room(block.offset),
        output=room(block.output),
        input=room(block.input),
    )


def _copy(whole: Jacobian, block: Jacobian, rows: slice) -> None:
    for name in ("values", "offset", "output", "input"):
        getattr(whole, name)[rows] = getattr(block, name)
