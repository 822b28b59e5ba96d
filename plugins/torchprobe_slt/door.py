"""What is asked of a network before its Jacobians are computed, and what is refused."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

from torchprobe.errors import SettingError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torchprobe_slt.arguments import Arguments
    from torchprobe_slt.program import Program

__all__ = ["Findings", "examine"]

_NUDGE = 256.0
"""Relative change of the input, in units of rounding, that hardly ever crosses a kink but changes
the derivative of anything curved."""


@dataclass(frozen=True, eq=False)
class Findings:
    """What a look at one batch told."""

    exact: bool
    """Whether the derivative stays the same, to the bit, when the input moves a little."""
    weights: tuple[Tensor, ...]
    """Random weights of each layer's nodes [node], to check any route with."""
    gradients: tuple[Tensor, ...]
    """Derivative of each layer's weighted sum, in the first sample, by its input: [input]."""

    def agrees(self, jacobians: Sequence[Tensor]) -> bool:
        """Whether the first sample's Jacobians, [node, input] each, have these derivatives."""
        every = zip(self.weights, jacobians, self.gradients, strict=True)
        return all(_agree(*each) for each in every)


def examine(program: Program, arguments: Arguments, start: Tensor) -> Findings:
    """Look at a network once, before any work.

    Raises:
        SettingError: it draws random numbers, normalises by the batch, lets samples influence each
            other, or a layer does not depend on the point.
    """
    _refuse_training(program.model)
    first, second = (program.outputs(arguments, start) for _ in range(2))
    for readout, one, two in zip(program.readouts, first, second, strict=True):
        overwritten = readout.name in program.overwritten  # then the first was not caught in time
        if not overwritten and not torch.equal(one.nan_to_num(), two.nan_to_num()):
            raise SettingError(
                f"layer {readout.name!r} differs between two passes over the same input: the model "
                "draws random numbers, so that its derivative is not defined. Switch that off "
                "(model.eval(), or the option that adds the noise)"
            )
    generator = torch.Generator().manual_seed(0)
    nodes = program.nodes(arguments, start)
    weights = tuple(
        torch.randn(values.shape[1], generator=generator, dtype=torch.float64).to(values.device)
        for values in nodes
    )
    gradients = _gradients(program, arguments, start, weights, slice(0, 1))
    if any(bool((gradient[1:] != 0).any()) for gradient in gradients):
        raise SettingError(
            "the first sample's layers change when other samples do, so that there is no linear "
            "function for each sample. Layers that mix samples (normalising by the batch) must be "
            "in eval mode; if the first axis is not the sample, say which is: sample_axis=1"
        )
    exact = _is_piecewise_linear(program, arguments, start, weights)
    return Findings(exact, weights, tuple(gradient[0].flatten() for gradient in gradients))


def _agree(weights: Tensor, jacobian: Tensor, gradient: Tensor) -> bool:
    """Whether weights @ jacobian is the gradient, up to rounding."""
    error = (weights @ jacobian.double() - gradient.double()).abs().amax()
    size = (weights.abs() @ jacobian.double().abs()).amax()
    return bool(error <= 1e4 * torch.finfo(gradient.dtype).eps * size)


def _refuse_training(model: nn.Module) -> None:
    for name, module in model.named_modules():
        by_batch = isinstance(module, _BatchNorm) and (
            module.training or module.running_mean is None
        )
        if by_batch:
            raise SettingError(
                f"{name or type(module).__name__!r} normalises by the batch, so that each sample's "
                "function depends on the others; call model.eval() (probe.run() does), and use "
                "batch norm that keeps running statistics"
            )
        if isinstance(module, _DropoutNd) and module.training and module.p > 0:
            raise SettingError(
                f"{name or type(module).__name__!r} drops out at random in training mode; call "
                "model.eval() (probe.run() does)"
            )


def _gradients(
    program: Program, arguments: Arguments, start: Tensor, weights: Sequence[Tensor], part: slice
) -> list[Tensor]:
    """Derivative of each layer's weighted sum over some samples by the point: [sample, ...]."""
    with torch.enable_grad():
        start = start.detach().clone().requires_grad_()
        layers = program.nodes(arguments, start)
        sums = [(each[part].double() @ w).sum() for each, w in zip(layers, weights, strict=True)]
        return [
            _gradient(total, start, readout.name)
            for total, readout in zip(sums, program.readouts, strict=True)
        ]


def _gradient(total: Tensor, start: Tensor, layer: str) -> Tensor:
    gradient = None
    if total.requires_grad:
        (gradient,) = torch.autograd.grad(total, start, retain_graph=True, allow_unused=True)
    if gradient is None:
        raise SettingError(
            f"layer {layer!r} does not depend on the point by which to differentiate: it comes "
            "before it, or is cut off by detach() or no_grad() in the model; choose one behind it"
        )
    return gradient


def _is_piecewise_linear(
    program: Program, arguments: Arguments, start: Tensor, weights: Sequence[Tensor]
) -> bool:
    """Whether derivatives stay the same, to the bit, in most samples when the input moves a little.

    The backward pass of a piecewise linear network depends on nothing but the piece.
    """
    nudged = start * (1 + _NUDGE * torch.finfo(start.dtype).eps)
    here, there = (
        torch.cat(
            [g.flatten(1) for g in _gradients(program, arguments, at, weights, slice(None))], 1
        )
        for at in (start, nudged)
    )
    alive = here.ne(0).any(1)
    same = (here == there).all(1)
    return bool((same & alive).sum() * 2 >= alive.sum())
