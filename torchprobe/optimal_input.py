"""Inputs that drive chosen units of a layer as far as regularisation lets them."""

from __future__ import annotations

import math
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn

from torchprobe.errors import LayerNotFoundError, SettingError, ShapeError
from torchprobe.loading import device_of, eval_mode
from torchprobe.naming import canonical_names
from torchprobe.outputs import leaves
from torchprobe.sandbox import unrecorded
from torchprobe.sensitivity import differentiable
from torchprobe.wording import unknown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import ArrayLike

__all__ = ["OptimalInputs", "most_responsive", "optimal_inputs"]

Aim: TypeAlias = "Callable[[Tensor], Tensor]"
"""From pre-activations [target, channel, *positions] to one number for each target."""

_POINTWISE = (
    nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.RReLU, nn.ELU, nn.SELU, nn.CELU, nn.GELU,
    nn.SiLU, nn.Mish, nn.Sigmoid, nn.Tanh, nn.Hardtanh, nn.Hardswish, nn.Hardsigmoid,
    nn.Softplus, nn.Softsign, nn.LogSigmoid, nn.Threshold,
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class OptimalInputs:
    """What `optimal_inputs` found."""

    inputs: Tensor
    """[target, *shape of an input], on the CPU."""
    objective: Tensor
    """What was maximised, before each step and after the last, less penalties: float64
    [step, target]."""
    settings: dict[str, Any]

    def __len__(self) -> int:
        return len(self.inputs)


def optimal_inputs(
    model: nn.Module,
    layer: str,
    targets: ArrayLike | Tensor | Aim,
    shape: Sequence[int],
    *,
    n: int | None = None,
    at: Sequence[int] | None = None,
    receptive_field: int | None = None,
    l1: float = 0.1,
    l2: float = 0.1,
    steps: int = 16,
    lr: float = 0.1,
    mean: float = 0.0,
    std: float = 0.01,
    seed: int = 0,
    batch_size: int = 64,
    progress: bool | None = None,
) -> OptimalInputs:
    """Inputs that jointly drive chosen units up (weight > 0) or down (< 0), for many targets.

    For every target x* = argmax Σ_n w_n · z_n(x) − l1/R · ‖x‖₁ − l2/R · ‖x‖₂², where z are the
    layer's pre-activations at one position and R is the size of its receptive field, so that the
    regularisation of deep layers is not stronger. Targets share batches but not influence: in eval
    mode each is what it would be alone. Parameters and their gradients are not touched.

    Args:
        model: any module that takes one floating tensor.
        layer: a module's name. Of a pointwise activation (ReLU, ...) what goes into it is meant;
            otherwise what comes out of the module: name the one before the non-linearity.
        targets: weights [target, channel], 0 for units that do not matter (`most_responsive` makes
            them), or a function from pre-activations [target, channel, *positions] to [target].
        shape: of one input, without the axis of samples; best as long as the receptive field.
        n: how many targets, where these are a function.
        at: the position of the layer that is read, the middle ``size // 2`` by default.
        receptive_field: R, positions of the input; by default all of ``shape`` but its first axis
            (channels, frequencies).
        l1: strength of the L1 penalty. The paper's is lost; 0.1 is torchprobe's choice.
        l2: strength of the L2 penalty, likewise.
        steps: of Adam; 16 are the paper's.
        lr: of Adam. The paper's is lost; 16 steps move a value by about 16·lr, and inputs that are
            z-scored need values of about 1 (a weak guess).
        mean: of the normal distribution from which inputs begin (lost; 0 is a choice).
        std: its standard deviation (lost; 0.01 is a choice).
        seed: of a generator of its own; every target begins from values of its own.
        batch_size: targets optimised at once.
        progress: show a progress bar; by default if the output is a terminal.

    Raises:
        LayerNotFoundError: no such layer.
        ShapeError: the weights do not fit the layer.
        SettingError: the layer is not reached, or a setting is not allowed.

    Source: Krug & Stober 2020 (GradNAP), section 3.3, Eq. 2; activation maximisation is of Erhan
    et al. 2009. λ = α/R is a reading of "scaled depending on the receptive field size" (methods
    3.3).

    Example:
        >>> model = nn.Sequential(nn.Linear(2, 1, bias=False))
        >>> _ = nn.init.constant_(model[0].weight, 3.0)
        >>> found = optimal_inputs(model, "0", [[1.0]], (2,), l1=0, l2=0.5, steps=300)
        >>> found.inputs.round(decimals=1).tolist()
        [[3.0, 3.0]]
    """
    field = receptive_field or max(1, math.prod(tuple(shape)[1:]))
    _check(steps=steps, batch_size=batch_size, receptive_field=field, lr=lr)
    aims = _Aims(targets, n, None if at is None else tuple(at))
    module = _module(model, layer)
    device, dtype = device_of(model), _dtype_of(model)
    found, trace = [], []
    parts = _parts(aims.n, batch_size)
    with eval_mode(model), unrecorded(), _bar(len(parts) * steps, progress, layer) as bar:
        for part in parts:
            start = _begin(part, tuple(shape), seed, mean, std).to(device, _wide(dtype))
            ascent = _Ascent(model, module, layer, aims.of(part), l1 / field, l2 / field, dtype)
            inputs, objective = ascent.climb(start, steps, lr, bar)
            found.append(inputs.cpu())
            trace.append(objective.cpu())
    settings = {"layer": layer, "receptive_field": field, "l1": l1, "l2": l2, "steps": steps}
    settings |= {"lr": lr, "mean": mean, "std": std, "seed": seed}
    return OptimalInputs(torch.cat(found), torch.cat(trace, 1), settings)


def most_responsive(responsiveness: ArrayLike, n: int = 5) -> np.ndarray[Any, Any]:
    """Weights [target, channel] of the n units that respond most: their sign, 0 for the others.

    Args:
        responsiveness: [target, channel], signed.
        n: how many; 5 are the paper's. Of equals the first are taken.

    Source: Krug & Stober 2020 (GradNAP), section 3.3.

    >>> most_responsive([[0.5, -3.0, 0.0, 1.0]], n=2).tolist()
    [[0.0, -1.0, 0.0, 1.0]]
    """
    strength = np.atleast_2d(np.asarray(responsiveness, dtype=np.float64))
    chosen = np.argsort(-np.abs(strength), axis=1, kind="stable")[:, :n]
    weights = np.zeros_like(strength)
    np.put_along_axis(weights, chosen, np.sign(np.take_along_axis(strength, chosen, 1)), 1)
    return weights


class _Aims:
    """The targets: weights of units at one position, or a function."""

    def __init__(self, targets: Any, n: int | None, at: tuple[int, ...] | None) -> None:
        self.function = targets if callable(targets) else None
        self.at = at
        if self.function is not None:
            self.n = 1 if n is None else n
            return
        self.weights = torch.as_tensor(np.asarray(targets), dtype=torch.float64)
        if self.weights.ndim != 2:  # noqa: PLR2004
            raise ShapeError(
                f"targets have shape {tuple(self.weights.shape)}; give weights [target, channel]"
            )
        self.n = len(self.weights)

    def of(self, part: slice) -> Aim:
        """From pre-activations of these targets to what is to be large."""
        if self.function is not None:
            chosen: Aim = self.function
            return chosen
        weights = self.weights[part]

        def weighted(z: Tensor) -> Tensor:
            if z.ndim < 2 or z.shape[1] != weights.shape[1]:  # noqa: PLR2004
                raise ShapeError(
                    f"weights are for {weights.shape[1]} channels but the layer's values have "
                    f"shape {tuple(z.shape)} (axis 1 is taken for the channels)"
                )
            at: tuple[int, ...] = self.at or tuple(size // 2 for size in z.shape[2:])
            index: tuple[Any, ...] = (..., *at)
            read = z[index]  # [target, channel]
            return (read * weights.to(z.device, z.dtype)).sum(1)

        return weighted


@dataclass(frozen=True)
class _Ascent:
    """Maximises an aim by Adam."""

    model: nn.Module
    module: nn.Module
    layer: str
    aim: Aim
    l1: float
    l2: float
    dtype: torch.dtype
    """What the model takes."""

    def climb(self, start: Tensor, steps: int, lr: float, bar: Any) -> tuple[Tensor, Tensor]:
        """Inputs after so many steps, and the objective before each and after the last."""
        x = start.clone().requires_grad_()
        adam = torch.optim.Adam([x], lr=lr)
        trace = []
        for _ in range(steps):
            worth = self.worth(x)
            trace.append(worth.detach().double())
            with torch.enable_grad():
                (gradient,) = torch.autograd.grad(worth.sum(), x)
            x.grad = -gradient
            adam.step()
            bar.update()
        trace.append(self.worth(x).detach().double())
        return x.detach(), torch.stack(trace)

    def worth(self, x: Tensor) -> Tensor:
        """The aim less the penalties: [target]."""
        with differentiable(self.model, ()), torch.autocast(x.device.type, enabled=False):
            value = self.aim(_values_at(self.model, self.module, self.layer, x.to(self.dtype)))
            if value.shape != x.shape[:1]:
                raise ShapeError(
                    f"the objective returned shape {tuple(value.shape)}; return one number for "
                    f"each of {len(x)} targets"
                )
            flat = x.flatten(1)
            return value - self.l1 * flat.abs().sum(1) - self.l2 * flat.square().sum(1)


class _Reached(Exception):  # noqa: N818 - nothing is wrong
    """The layer has been computed; the rest of the model need not be."""


def _values_at(model: nn.Module, module: nn.Module, layer: str, x: Tensor) -> Tensor:
    """A layer's pre-activations for inputs; the model runs no further than needed."""
    found: list[Tensor] = []
    with _stopping(module, found), suppress(_Reached):
        try:
            model(x)
        except _Reached:
            raise
        except Exception as error:
            error.add_note(f"the model was called with inputs {tuple(x.shape)}: [target, *shape]")
            raise
    if not found:
        raise SettingError(f"layer {layer!r} was not reached, or returned no tensor of numbers")
    return found[0]


@contextmanager
def _stopping(module: nn.Module, found: list[Tensor]) -> Iterator[None]:
    def keep(value: object) -> None:
        tensor = next((leaf.tensor for leaf in leaves(value) if leaf.tensor is not None), None)
        if tensor is not None:
            found.append(tensor)
        raise _Reached

    if isinstance(module, _POINTWISE):
        handle = module.register_forward_pre_hook(lambda _, inputs: keep(inputs))
    else:
        handle = module.register_forward_hook(lambda _, __, output: keep(output))
    try:
        yield
    finally:
        handle.remove()


def _module(model: nn.Module, layer: str) -> nn.Module:
    modules = canonical_names(model)
    if layer not in modules:
        raise LayerNotFoundError(unknown("layer", layer, modules))
    return modules[layer]


def _begin(part: slice, shape: tuple[int, ...], seed: int, mean: float, std: float) -> Tensor:
    """Where targets begin, each from a generator of its own: whatever the batch, the same."""
    starts = []
    for target in range(part.start, part.stop):
        generator = torch.Generator().manual_seed((seed * 1_000_003 + target) % (1 << 63))
        starts.append(torch.randn(shape, generator=generator, dtype=torch.float64))
    return mean + std * torch.stack(starts)


def _parts(n: int, size: int) -> list[slice]:
    return [slice(start, min(start + size, n)) for start in range(0, n, size)]


def _bar(steps: int, progress: bool | None, layer: str) -> Any:
    from tqdm.auto import tqdm

    hidden = None if progress is None else not progress  # None: hidden unless on a terminal
    return tqdm(total=steps, desc=f"inputs of {layer}", unit="step", disable=hidden)


def _wide(dtype: torch.dtype) -> torch.dtype:
    """In half precision Adam divides by zero where a gradient is 0."""
    return torch.float32 if dtype.itemsize < 4 else dtype  # noqa: PLR2004 - bytes


def _dtype_of(model: nn.Module) -> torch.dtype:
    floating = (each.dtype for each in model.parameters() if each.is_floating_point())
    return next(floating, torch.get_default_dtype())


def _check(**numbers: float) -> None:
    for name, number in numbers.items():
        if not number > 0:
            raise SettingError(f"{name}={number}; give a positive number")
