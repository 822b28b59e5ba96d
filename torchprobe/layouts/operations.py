"""Of which axes the result of each operation is made.

Operations are those of ATen, the level at which every forward pass arrives, be it written with
methods, functions or modules; under `torch.inference_mode` composite ones (linear, einsum, ...)
arrive undivided and are listed too. An operation that is not listed gives axes of which nothing is
known: nothing is ever guessed from sizes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import torch
from torch import Tensor

from torchprobe.layouts.atoms import Atom, fresh, known, length, regroup, unite

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from torchprobe.layouts.atoms import Axis

__all__ = ["Operation", "result_axes"]


@dataclass(frozen=True)
class Operation:
    """One call of one ATen operation."""

    name: str
    """Without namespace, overload and the underscore of in-place operations."""
    pointwise: bool
    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    shape: tuple[int, ...]
    """Of the first tensor that came out."""
    axes_of: Callable[[Tensor], list[Axis]]

    def axes(self, index: int) -> list[Axis]:
        """Axes of the tensor that is this argument."""
        return self.axes_of(self.args[index])

    def arg(self, index: int, name: str, default: Any = None) -> Any:
        """An argument by place or name."""
        return self.args[index] if len(self.args) > index else self.kwargs.get(name, default)


_Rule: TypeAlias = "Callable[[Operation], list[Axis]]"


def result_axes(operation: Operation) -> list[Axis] | None:
    """Axes of an operation's result, to be fitted to its shape; None where nothing is known."""
    rule = _pointwise if operation.pointwise else _RULES.get(operation.name)
    return None if rule is None else rule(operation)


def _tensors(values: Sequence[Any]) -> Iterator[Tensor]:
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, (list, tuple)):
            yield from _tensors(value)


def _most_trusted(axes: Sequence[Axis]) -> Axis:
    """One of several axes that are the same, after uniting their roles."""
    unite(axes)
    return max(axes, key=lambda axis: label.strength if (label := known(axis)) else 0)


def _broadcast(operands: Sequence[Sequence[Axis]], shape: Sequence[int]) -> list[Axis]:
    """Each axis is that of the operands that are not repeated along it."""
    result: list[Axis] = []
    for back, size in enumerate(reversed(shape), start=1):
        aligned = [axes[-back] for axes in operands if len(axes) >= back]
        same = [axis for axis in aligned if length(axis) == size]
        result.insert(0, _most_trusted(same) if same else (Atom(size),))
    return result


def _pointwise(operation: Operation) -> list[Axis]:
    tensors = _tensors([*operation.args, *operation.kwargs.values()])
    return _broadcast([operation.axes_of(tensor) for tensor in tensors], operation.shape)


def _same(operation: Operation) -> list[Axis]:
    return operation.axes(0)


def _permuted(operation: Operation) -> list[Axis]:
    """The order is read off the shape of an empty tensor that is permuted the same way."""
    axes = operation.axes(0)
    numbered = torch.empty(
        tuple(range(len(axes))), device="meta"
    )  # axis 0 has size 0, axis 1 size 1, ...
    return [axes[at] for at in operation.function(numbered, *operation.args[1:]).shape]


def _viewed(operation: Operation) -> list[Axis]:
    return regroup(operation.axes(0), operation.shape)


def _expanded(operation: Operation) -> list[Axis]:
    return _broadcast([operation.axes(0)], operation.shape)


def _unsqueezed(operation: Operation) -> list[Axis]:
    axes, at = list(operation.axes(0)), operation.args[1]
    axes.insert(at if at >= 0 else len(axes) + 1 + at, (Atom(1),))
    return axes


def _squeezed(operation: Operation) -> list[Axis]:
    axes = operation.axes(0)
    dims = _dims(operation.arg(1, "dim"), len(axes))
    return [axis for at, axis in enumerate(axes) if at not in dims or length(axis) != 1]


def _dropped(operation: Operation) -> list[Axis]:
    """One entry along an axis, or each of them."""
    axes = list(operation.axes(0))
    del axes[operation.arg(1, "dim", 0)]
    return axes


def _reduced(operation: Operation) -> list[Axis]:
    axes = operation.axes(0)
    place = 2 if "norm" in operation.name or operation.name == "quantile" else 1
    if len(axes) == len(operation.shape):
        return axes
    dims = _dims(operation.arg(place, "dim"), len(axes))
    return [axis for at, axis in enumerate(axes) if at not in dims]


def _dims(dims: int | Sequence[int] | None, rank: int) -> set[int]:
    """Axes that are meant, all of them by None or nothing."""
    several = [dims] if isinstance(dims, int) else dims or range(rank)
    return {dim % rank for dim in several}


def _concatenated(operation: Operation) -> list[Axis]:
    operands = [operation.axes_of(tensor) for tensor in operation.args[0]]
    full = [axes for axes in operands if len(axes) == len(operation.shape)]
    return [_most_trusted(axes) for axes in zip(*full, strict=True)]


def _stacked(operation: Operation) -> list[Axis]:
    operands = [operation.axes_of(tensor) for tensor in operation.args[0]]
    axes = [_most_trusted(same) for same in zip(*operands, strict=True)]
    at = operation.arg(1, "dim", 0) % (len(axes) + 1)
    return [*axes[:at], (Atom(operation.shape[at]),), *axes[at:]]


def _multiplied(operation: Operation) -> list[Axis]:
    left, right = operation.axes(0), operation.axes(1)
    return _product(left, right, operation.shape)


def _multiplied_and_added(operation: Operation) -> list[Axis]:
    return _product(operation.axes(1), operation.axes(2), operation.shape)


def _product(left: list[Axis], right: list[Axis], shape: tuple[int, ...]) -> list[Axis]:
    rows = left[-2:-1]
    columns = right[-1:] if len(right) > 1 else []
    batch = shape[: len(shape) - len(rows) - len(columns)]
    return [*_broadcast([left[:-2], right[:-2]], batch), *rows, *columns]


def _linear(operation: Operation) -> list[Axis]:
    return [*operation.axes(0)[:-1], operation.axes(1)[0]]


def _convolved(operation: Operation) -> list[Axis]:
    axes = list(operation.axes(0))
    at = len(axes) - len(operation.axes(1)) + 1  # 0 where there are no samples
    axes[at] = (Atom(operation.shape[at]),)
    return axes


def _attended(operation: Operation) -> list[Axis]:
    """A mask or bias has the axes of the scores: those of the queries, with keys last."""
    queries, keys, values = (operation.axes(index) for index in range(3))
    mask = operation.kwargs.get("attn_mask", operation.arg(3, "attn_bias"))
    if isinstance(mask, Tensor):
        scores = [*queries[:-1], keys[-2]]
        for pair in zip(reversed(scores), reversed(operation.axes_of(mask)), strict=False):
            unite(pair)
    return [*queries[:-1], values[-1]]


def _embedded(operation: Operation) -> list[Axis]:
    return [*operation.axes(1), operation.axes(0)[-1]]


def _indexed(operation: Operation) -> list[Axis]:
    """One index replaces its axis by its own axes; a list of entries keeps what the axis is."""
    axes, indices = operation.axes(0), operation.args[1]
    used = [at for at, index in enumerate(indices) if index is not None]
    if len(used) != 1 or indices[used[0]].dtype == torch.bool:
        return fresh(operation.shape)
    at, index = used[0], indices[used[0]]
    inserted = [axes[at]] if index.ndim == 1 else operation.axes_of(index)
    return [*axes[:at], *inserted, *axes[at + 1 :]]


def _windowed(operation: Operation) -> list[Axis]:
    return [*operation.axes(0), (Atom(operation.shape[-1]),)]


def _einsum(operation: Operation) -> list[Axis]:
    """Axes by their letters; with an ellipsis or without an arrow, nothing is known."""
    sources, arrow, target = operation.args[0].replace(" ", "").partition("->")
    if not arrow or "." in sources:
        return fresh(operation.shape)
    lettered: dict[str, list[Axis]] = {}
    for letters, tensor in zip(sources.split(","), operation.args[1], strict=True):
        for letter, axis in zip(letters, operation.axes_of(tensor), strict=True):
            lettered.setdefault(letter, []).append(axis)
    return [_most_trusted(lettered[letter]) for letter in target]


_BY_RULE: dict[_Rule, str] = {
    _same: """
        alias contiguous detach lift_fresh to _to_copy type_as clone float double half
        empty_like zeros_like ones_like rand_like randn_like full_like
        slice narrow split split_with_sizes chunk tensor_split roll flip index_select gather sort
        topk cumsum cumprod tril triu repeat repeat_interleave tile scatter index_put index_add
        index_copy index_fill masked_fill masked_scatter slice_scatter select_scatter fill zero
        softmax _softmax log_softmax _log_softmax _safe_softmax softmin glu log_sigmoid_forward
        log_sigmoid logsigmoid gelu hardswish hardsigmoid prelu _prelu_kernel rrelu rrelu_with_noise
        rrelu_with_noise_functional selu celu silu mish softplus
        dropout native_dropout alpha_dropout feature_dropout feature_alpha_dropout bernoulli
        normal uniform exponential
        layer_norm native_layer_norm rms_norm _fused_rms_norm group_norm native_group_norm
        batch_norm native_batch_norm cudnn_batch_norm miopen_batch_norm instance_norm
        _native_batch_norm_legit _native_batch_norm_legit_no_training _batch_norm_impl_index
        _batch_norm_with_update _batch_norm_no_update batch_norm_with_update
        pad constant_pad_nd reflection_pad1d reflection_pad2d reflection_pad3d replication_pad1d
        replication_pad2d replication_pad3d _pad_circular _pad_enum
        avg_pool1d avg_pool2d avg_pool3d max_pool1d max_pool2d max_pool3d
        max_pool1d_with_indices max_pool2d_with_indices max_pool3d_with_indices
        adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d _adaptive_avg_pool2d
        _adaptive_avg_pool3d adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d
        mkldnn_max_pool2d mkldnn_adaptive_avg_pool2d fractional_max_pool2d fractional_max_pool3d
        max_unpool2d max_unpool3d pixel_shuffle pixel_unshuffle channel_shuffle
        native_channel_shuffle upsample_nearest1d upsample_nearest2d upsample_nearest3d
        _upsample_nearest_exact1d _upsample_nearest_exact2d _upsample_nearest_exact3d
        upsample_linear1d upsample_bilinear2d upsample_bicubic2d upsample_trilinear3d
        _upsample_bilinear2d_aa _upsample_bicubic2d_aa
        _fft_r2c _fft_c2r _fft_c2c fft_rfft fft_irfft fft_fft fft_ifft""",
    _pointwise: """
        copy add sub rsub mul div pow maximum minimum where lerp addcmul addcdiv clamp clip
        square relu relu6 leaky_relu elu hardtanh threshold sigmoid tanh softsign""",
    _permuted: """
        t transpose swapaxes swapdims permute movedim moveaxis numpy_T matrix_H mT mH adjoint""",
    _viewed: """
        view _unsafe_view reshape _reshape_alias _view_copy view_as reshape_as flatten unflatten
        ravel""",
    _expanded: "expand expand_as broadcast_to",
    _unsqueezed: "unsqueeze",
    _squeezed: "squeeze",
    _dropped: "select unbind",
    _reduced: """
        mean sum nansum nanmean amax amin max min prod std var std_mean var_mean logsumexp argmax
        argmin median nanmedian mode any all norm linalg_vector_norm quantile count_nonzero""",
    _concatenated: "cat concat concatenate",
    _stacked: "stack",
    _multiplied: "mm bmm matmul mv",
    _multiplied_and_added: "addmm baddbmm addmv _addmm_activation",
    _linear: "linear",
    _convolved: """
        convolution conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d
        _convolution""",
    _attended: """
        scaled_dot_product_attention _scaled_dot_product_attention_math
        _scaled_dot_product_flash_attention_for_cpu _scaled_dot_product_flash_attention
        _scaled_dot_product_efficient_attention _scaled_dot_product_cudnn_attention
        _scaled_dot_product_fused_attention_overrideable
        _scaled_dot_product_attention_math_for_mps""",
    _embedded: "embedding",
    _indexed: "index",
    _windowed: "unfold",
    _einsum: "einsum",
}
_RULES = {name: rule for rule, names in _BY_RULE.items() for name in names.split()}
