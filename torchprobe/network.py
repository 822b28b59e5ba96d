"""A whole model and one of its calls, for analyzers that must run it themselves."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from torchprobe.errors import LabelError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torchprobe.labels import Labels
    from torchprobe.layer import Layer

__all__ = ["Network", "NetworkBatch"]


@dataclass(frozen=True, eq=False)
class Network:
    """A model and its probed layers: what an analyzer with ``scope = "network"`` is made for.

    It may run the model in `update` and `compute`; no probe records those calls.
    """

    name: str
    """What the model is called among its layers: "model"."""
    model: nn.Module
    layers: tuple[Layer, ...]
    """The layers chosen, in the order of execution, without the model's input."""
    inputs: tuple[tuple[Any, ...], Mapping[str, Any]] = ((), {})
    """(args, kwargs) of the first call, tensors without their values (on the meta device)."""
    input_axes: tuple[str, ...] = ()
    """What the axes of the main input mean, where an analyzer has ``needs_positions`` and they are
    known; tokens have no channels yet."""
    input: Layer | None = None
    """The model's input as a layer, where it was chosen."""

    @property
    def with_input(self) -> tuple[Layer, ...]:
        """All that was chosen: the model's input, where it is among it, and the layers."""
        return self.layers if self.input is None else (self.input, *self.layers)

    @property
    def width(self) -> int:
        """How many units all layers have together."""
        return sum(layer.width for layer in self.layers)

    @property
    def device(self) -> torch.device:
        """Where the first layer's values are; the input's where nothing else was chosen."""
        return (self.layers or self.with_input)[0].device

    def at(self, positions: str) -> Network:
        """The same with the positions of every layer pooled or flattened."""
        given = self.input and self.input.at(positions)
        return replace(
            self, layers=tuple(layer.at(positions) for layer in self.layers), input=given
        )


@dataclass(frozen=True, eq=False)
class NetworkBatch:
    """One call of the whole model, after it succeeded.

    Tensors among the inputs are copies made before the call, which in-place operations of the model
    have not reached.
    """

    network: Network
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    output: Any
    """What the model returned."""
    given: Labels
    """All that was said of the batch."""
    split: str = "fit"
    number: int = 0
    """Which pass over the split this is, from 0."""
    grouping: str | None = None
    """The grouping that `labels` speak of."""

    def view(self, grouping: str | None, positions: str) -> NetworkBatch:
        """This batch for one grouping and one choice of rows."""
        return replace(self, grouping=grouping, network=self.network.at(positions))

    @property
    def labels(self) -> Tensor:
        """The labels of `grouping`: int64 [sample] or [sample, *positions], -1 to be left out.

        Raises:
            LabelError: the batch came without.
        """
        if self.grouping is None or self.grouping not in self.given.labels:
            raise LabelError(
                f"this call of the model has no labels {self.grouping!r}; pass labels= with it"
            )
        return self.given.labels[self.grouping]

    def check_labels(self) -> None:
        """Raise `LabelError` if there is a `grouping` but no labels of it."""
        if self.grouping is not None:
            _ = self.labels

    @property
    def sample_ids(self) -> Tensor:
        """A stable number for each sample: int64 [sample], on the CPU.

        Raises:
            LabelError: there are none.
        """
        if self.given.ids is None:
            raise LabelError("this batch has no sample ids; pass ids= with the batch")
        return self.given.ids


def kept_inputs(inputs: tuple[Any, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Copies of a call's (args, kwargs), which in-place operations will not reach."""
    with torch.inference_mode(mode=False), torch.no_grad():
        args, kwargs = pytree.tree_map_only(Tensor, lambda t: t.detach().clone(), tuple(inputs))
    return tuple(args), dict(kwargs)


def shapes_state(inputs: tuple[Any, Any]) -> dict[str, Any]:
    """What `shapes_of` gave as plain values, for a checkpoint; other objects become None."""
    found, structure = pytree.tree_flatten(inputs)
    return {
        "structure": pytree.treespec_dumps(structure),
        "leaves": [_leaf(each) for each in found],
    }


def _leaf(value: Any) -> Any:
    if isinstance(value, Tensor):
        return {"shape": list(value.shape), "dtype": str(value.dtype).removeprefix("torch.")}
    return value if isinstance(value, (bool, int, float, str)) else None


def shapes_from_state(state: Mapping[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The inverse of `shapes_state`."""
    found = [
        torch.empty(each["shape"], dtype=getattr(torch, each["dtype"]), device="meta")
        if isinstance(each, dict)
        else each
        for each in state["leaves"]
    ]
    args, kwargs = pytree.tree_unflatten(found, pytree.treespec_loads(state["structure"]))
    return tuple(args), dict(kwargs)


def shapes_of(inputs: tuple[Any, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """A call's (args, kwargs) with tensors that have shape and dtype but no values."""
    args, kwargs = pytree.tree_map_only(Tensor, lambda t: t.to("meta"), tuple(inputs))
    return tuple(args), dict(kwargs)
