"""Gradients of an objective at every layer, in one backward pass that touches no parameter."""

from __future__ import annotations

import threading
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import get_gradient_edge
from torch.nn.utils.rnn import PackedSequence, pad_packed_sequence
from torch.utils import _pytree as pytree

from torchprobe import compat
from torchprobe.errors import SettingError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["Origin", "differentiable", "everything_recorded", "sensitivities"]


_REENTRANT = (
    "the model uses reentrant checkpointing, which cannot be differentiated at layers; use "
    "torch.utils.checkpoint.checkpoint(..., use_reentrant=False), or switch checkpointing off "
    "while probing"
)


class Origin:
    """Where in autograd's graph a value was produced, noted before anything overwrites it.

    The gradient there is the one at the module's output as the module produced it, whatever
    in-place operations follow. Autograd moves the history of a view to its base when the view is
    overwritten (``relu_`` of a flattened map); then the gradient is read off the base.

    Example:
        >>> x = torch.tensor([-1.0, 2.0], requires_grad=True)
        >>> y = 3 * x
        >>> origin = Origin(y)
        >>> y = y.relu_()
        >>> sensitivities((y * y).sum(), [origin])
        [tensor([ 0., 12.])]
    """

    def __init__(self, value: Tensor | PackedSequence) -> None:
        self.packed: PackedSequence | None = None
        if isinstance(value, PackedSequence):
            self.packed = value._replace(data=torch.empty(0))
        tensor: Tensor = value.data if isinstance(value, PackedSequence) else value
        self.edge = get_gradient_edge(tensor) if tensor.requires_grad else None
        base = compat.base_of(tensor) if self.edge is not None else None
        self.view = None if base is None else _View(tensor, base)

    def point(self) -> Any:
        """What `torch.autograd.grad` is asked for."""
        return self.view.edge if self.view is not None and self.view.overwritten else self.edge

    def gradient(self, found: Tensor) -> Tensor:
        """The gradient at the value from the one at `point`, shaped like the padded value."""
        if self.view is not None and self.view.overwritten:
            found = self.view.seen_in(found)
        if found.is_nested:
            found = torch.nested.to_padded_tensor(found, 0.0)
        if self.packed is None:
            return found.to_dense() if found.layout != torch.strided else found
        padded, _ = pad_packed_sequence(self.packed._replace(data=found), batch_first=True)
        return padded


class _View:
    """A tensor that looks into another, which may be overwritten through either."""

    def __init__(self, tensor: Tensor, base: Tensor) -> None:
        self.tensor, self.version = tensor, compat.version_of(tensor)
        self.edge = get_gradient_edge(base)
        self.base = base.shape, base.stride(), base.storage_offset()

    @property
    def overwritten(self) -> bool:
        return compat.version_of(self.tensor) != self.version

    def seen_in(self, gradient: Tensor) -> Tensor:
        """The part of the base's gradient that the view looks at."""
        shape, stride, start = self.base
        same = gradient.new_empty_strided(shape, stride).copy_(gradient)
        offset = self.tensor.storage_offset() - start
        return same.as_strided(self.tensor.shape, self.tensor.stride(), offset)


def sensitivities(objective: Tensor, origins: Sequence[Origin]) -> list[Tensor | None]:
    """The gradient of an objective at every origin, None where it does not depend on it.

    One backward pass for all of them; no gradient of a parameter is computed, none is touched.
    The graph is left for a backward pass of the user's own, except inside `differentiable`.

    Args:
        objective: one number.
        origins: where gradients are wanted.

    Raises:
        SettingError: nothing that the objective was made from can be differentiated, or the model
            uses reentrant checkpointing.
    """
    if not objective.requires_grad:
        raise SettingError(
            "the objective has no gradients: nothing it was made from requires them. In a loop of "
            "your own, run the model with gradients enabled (no torch.no_grad()) and with inputs "
            "or parameters that require them; probe.run() sees to it. A model that detaches its "
            "output or returns integers cannot be differentiated"
        )
    if any(each.edge is None for each in origins) and _reentrant(objective):
        raise SettingError(_REENTRANT)  # layers inside would seem cut off
    points = [each.point() for each in origins if each.edge is not None]
    found = iter(_backward(objective, points) if points else ())
    gradients = [None if each.edge is None else next(found) for each in origins]
    return [
        None if gradient is None else origin.gradient(gradient)
        for origin, gradient in zip(origins, gradients, strict=True)
    ]


def _backward(objective: Tensor, points: list[Any]) -> tuple[Any, ...]:
    try:
        keep = not everything_recorded()
        return torch.autograd.grad(objective, points, retain_graph=keep, allow_unused=True)
    except RuntimeError as error:
        if "use_reentrant=True" not in str(error):
            raise
        raise SettingError(_REENTRANT) from error


def _reentrant(objective: Tensor) -> bool:
    """Whether reentrant checkpointing stands in the graph."""
    nodes, known = [objective.grad_fn], set()
    while nodes:
        node = nodes.pop()
        if node is None or node in known:
            continue
        if node.name() == "CheckpointFunctionBackward":
            return True
        known.add(node)
        nodes += [before for before, _ in node.next_functions]
    return False


class _Scope(threading.local):
    everything: bool = False


_scope = _Scope()


def everything_recorded() -> bool:
    """Whether autograd records all that a model does, inside `differentiable` in this thread.

    A value without gradients is then one that the model itself cut off.
    """
    return _scope.everything


@contextmanager
def differentiable(model: nn.Module, inputs: Any) -> Iterator[Any]:
    """Inputs for a call of the model inside that autograd records at every layer.

    Floating inputs are copies that require gradients. Where inputs are integers (tokens), frozen
    parameters require gradients meanwhile, or nothing would be recorded from the embedding on;
    none are computed for them. cuDNN's recurrent layers refuse gradients in eval mode: there
    torch's own are used. Distributed wrappers do not wait for gradients of parameters.

    Raises:
        SettingError: inference mode is on, or parameters were made in it.

    Example:
        >>> model = nn.Linear(2, 2).requires_grad_(False)
        >>> with differentiable(model, torch.ones(1, 2)) as inputs:
        ...     model(inputs).requires_grad
        True
    """
    _refuse_inference(model)
    tensors = [each for each in pytree.tree_leaves(inputs) if isinstance(each, Tensor)]
    tokens = any(not each.is_floating_point() and not each.is_complex() for each in tensors)
    frozen = [each for each in model.parameters() if tokens and _could_require(each)]
    with ExitStack() as stack:
        if any(isinstance(each, nn.RNNBase) for each in model.modules()):
            stack.enter_context(torch.backends.cudnn.flags(enabled=False))
        no_sync: Any = getattr(model, "no_sync", None)
        if no_sync is not None:
            stack.enter_context(no_sync())
        stack.enter_context(torch.enable_grad())
        stack.callback(setattr, _scope, "everything", everything_recorded())
        _scope.everything = True
        for parameter in frozen:
            stack.callback(parameter.requires_grad_, parameter.requires_grad)
            parameter.requires_grad_(True)
        yield pytree.tree_map_only((Tensor, PackedSequence), _recorded, inputs)


def _refuse_inference(model: nn.Module) -> None:
    if torch.is_inference_mode_enabled():
        raise SettingError(
            "gradients cannot be computed inside torch.inference_mode(); call probe.run() outside "
            "of it"
        )
    made_in_it = next((name for name, p in model.named_parameters() if p.is_inference()), None)
    if made_in_it is not None:
        raise SettingError(
            f"parameter {made_in_it!r} was made in torch.inference_mode() and cannot take part in "
            "gradients; build or load the model outside of it"
        )


def _could_require(parameter: Tensor) -> bool:
    return parameter.is_floating_point() and not parameter.requires_grad


def _recorded(value: Tensor | PackedSequence) -> Tensor | PackedSequence:
    if isinstance(value, PackedSequence):
        return value._replace(data=_leaf_copy(value.data))
    return _leaf_copy(value)


def _leaf_copy(value: Tensor) -> Tensor:
    """A copy that requires gradients and may be overwritten in place, as a leaf may not."""
    if not (value.is_floating_point() or value.is_complex()) or value.layout != torch.strided:
        return value
    leaf = value.clone() if value.is_inference() else value.detach()
    return leaf.requires_grad_().clone()
