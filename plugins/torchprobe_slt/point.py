"""A call of a model as a function of the values it is differentiated by."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from torchprobe.errors import LayerNotFoundError, SettingError, ShapeError
from torchprobe.naming import canonical_names
from torchprobe.outputs import leaves
from torchprobe.patterns import Pattern

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from torchprobe_slt.spots import Spot

__all__ = ["Point", "main_leaf", "point"]

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Point:
    """A model at one batch of inputs.

    `x` is the model's main input or, where that is integers, what the layer `embedded` makes of it.
    """

    model: nn.Module
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    x: Tensor
    """[sample, ...], detached."""
    embedded: str = ""
    spots: tuple[Spot, ...] = ()

    def values(self, x: Tensor) -> dict[str, Tensor]:
        """The nodes' values at other inputs, by layer: [sample, node].

        Differentiable in every way that the model is.
        """
        found = self._listened(x, {spot.layer.name: spot.values for spot in self.spots})
        missing = [spot.layer.name for spot in self.spots if spot.layer.name not in found]
        if missing:
            raise LayerNotFoundError(
                f"layer {missing[0]!r} put out nothing when the model was called again; layers of "
                "merged calls (calls='merge', 'name@*') have no transform of their own: probe "
                "single calls"
            )
        return found

    def shapes(self, layers: Iterable[str]) -> dict[str, tuple[int, ...]]:
        """The shapes that layers have here."""
        with torch.no_grad():
            return self._listened(self.x, {name: lambda out: tuple(out.shape) for name in layers})

    def _listened(self, x: Tensor, takes: Mapping[str, Callable[[Tensor], T]]) -> dict[str, T]:
        """What is taken of the outputs of layers when the model runs."""
        found: dict[str, T] = {}
        modules = canonical_names(self.model)
        with ExitStack() as stack:
            for name, take in takes.items():
                pattern = Pattern.parse(name, frozenset(modules))
                if pattern.name in modules:
                    tap = _Tap(name, pattern, take, found)
                    stack.callback(modules[pattern.name].register_forward_hook(tap).remove)
            self._call(x.clone(), stack)  # the model may overwrite it
        return found

    def output(self, x: Tensor) -> Any:
        """What the model returns at other inputs, which it may overwrite."""
        with ExitStack() as stack:
            return self._call(x, stack)

    def _call(self, x: Tensor, stack: ExitStack) -> Any:
        stack.enter_context(differentiable_kernels(self.model))
        if not self.embedded:
            args, kwargs = _with_main(self.args, self.kwargs, x)
            return self.model(*args, **kwargs)
        module = canonical_names(self.model)[self.embedded]
        handle = module.register_forward_hook(lambda *_: x)
        stack.callback(handle.remove)
        return self.model(*self.args, **self.kwargs)

    def part(self, samples: slice) -> Point:
        """The same for some samples only."""
        args, kwargs = _sliced((self.args, dict(self.kwargs)), len(self.x), samples)
        spots = tuple(spot.part(samples) for spot in self.spots)
        return replace(self, args=args, kwargs=kwargs, x=self.x[samples], spots=spots)

    def __len__(self) -> int:
        return len(self.x)


class _Tap(Generic[T]):
    """A forward hook that takes one part of the output of one call."""

    def __init__(
        self, name: str, pattern: Pattern, take: Callable[[Tensor], T], found: dict[str, T]
    ) -> None:
        self.name, self.take, self.found = name, take, found
        self.path, self.call = pattern.path, pattern.call or 0
        self.calls = 0

    def __call__(self, _module: nn.Module, _inputs: Any, output: Any) -> None:
        call, self.calls = self.calls, self.calls + 1
        if call != self.call:
            return
        for leaf in leaves(output):
            if leaf.tensor is not None and leaf.path == self.path:
                self.found[self.name] = self.take(leaf.tensor)
                return


def point(model: nn.Module, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Point:
    """A model at the inputs of one call.

    Raises:
        SettingError: there is no input that could be differentiated by.
        ShapeError: the input has no axis of samples.
    """
    args = tuple(args)
    x = main_leaf((args, dict(kwargs)))
    if x.ndim < 2:  # noqa: PLR2004 - [sample, ...]
        raise ShapeError(f"the input has shape {tuple(x.shape)}; give a batch, [sample, ...]")
    if x.is_floating_point():
        return Point(model, args, kwargs, x.detach())
    name, values = _embedding(model, args, kwargs)
    return Point(model, args, kwargs, values.detach(), name)


def main_leaf(inputs: tuple[Any, Any]) -> Tensor:
    """The input among a call's (args, kwargs): the first tensor of two axes or more.

    Raises:
        SettingError: there is none.
    """
    found = [each for each in pytree.tree_leaves(inputs) if isinstance(each, Tensor)]
    wide = [each for each in found if each.ndim > 1]
    if not found:
        raise SettingError(
            "the model is called without a tensor; there is nothing to differentiate by"
        )
    if wide and wide[0].is_complex():
        raise SettingError("the input is complex; wrap the model so that it takes real values")
    return (wide or found)[0]


def _with_main(args: Any, kwargs: Any, x: Tensor) -> tuple[tuple[Any, ...], dict[str, Any]]:
    main = main_leaf((args, dict(kwargs)))
    replaced = pytree.tree_map_only(
        Tensor, lambda each: x if each is main else each, (args, dict(kwargs))
    )
    return replaced[0], replaced[1]


def _sliced(inputs: Any, n: int, samples: slice) -> Any:
    """Inputs whose first axis is the samples', for some of these."""
    return pytree.tree_map_only(
        Tensor, lambda each: each[samples] if each.ndim and len(each) == n else each, inputs
    )


def _embedding(
    model: nn.Module, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> tuple[str, Tensor]:
    """The first layer that makes numbers of integers [sample, ...], and what it made."""
    found: dict[str, Tensor] = {}

    def note(name: str, inputs: Any, output: Any) -> None:
        tensors = [each for each in pytree.tree_leaves(inputs) if isinstance(each, Tensor)]
        integers = bool(tensors) and not any(each.is_floating_point() for each in tensors)
        if integers and isinstance(output, Tensor) and output.is_floating_point():
            found.setdefault(name, output.detach().clone())

    with ExitStack() as stack:
        for name, module in canonical_names(model).items():
            if not list(module.children()):
                hook = _noting(name, note)
                handle = module.register_forward_hook(hook)
                stack.callback(handle.remove)
        model(*args, **kwargs)
    if not found:
        raise SettingError(
            "the model's input is integers, and no layer embeds them; call it with floating values "
            "(Hugging Face models take inputs_embeds=)"
        )
    return next(iter(found.items()))


def _noting(name: str, note: Any) -> Any:
    return lambda _, inputs, output: note(name, inputs, output)


@contextmanager
def differentiable_kernels(model: nn.Module) -> Iterator[None]:
    """Kernels that can be differentiated in every way, in place of fused ones that cannot."""
    fast = torch.backends.mha.get_fastpath_enabled()
    with ExitStack() as stack:
        stack.enter_context(torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH))
        stack.callback(torch.backends.mha.set_fastpath_enabled, fast)
        torch.backends.mha.set_fastpath_enabled(False)
        if any(isinstance(each, nn.RNNBase) for each in model.modules()):
            stack.enter_context(torch.backends.cudnn.flags(enabled=False))
        yield
