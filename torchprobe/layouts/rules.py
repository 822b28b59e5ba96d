"""What the type of a module says about the axes of its inputs and outputs."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from torch import nn

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Rule", "input_rule", "keeps_leading", "nothing", "output_rule", "unknown"]

Names: TypeAlias = tuple[str | None, ...]

_SPATIAL = {1: "time", 2: "height width", 3: "depth height width"}
_LEADING = {2: "sample", 3: "sample token", 4: "sample height width"}
"""What stands before the channels, by rank, where nothing else is known."""


class Rule(NamedTuple):
    """What is known of a tensor's axes; None where nothing is."""

    sure: Names
    """What the module's type leaves no doubt about: a convolution's channels, a batch_first."""
    usual: Names
    """What is most often so; anything that is known of the tensor itself counts more."""


def output_rule(module: nn.Module, path: str, rank: int, input_rank: int | None = None) -> Rule:
    """What a module's type says about one part of its output.

    Example:
        >>> output_rule(nn.Linear(2, 3), "", 3)
        Rule(sure=(None, None, 'channel'), usual=('sample', 'token', 'channel'))
        >>> output_rule(nn.LSTM(2, 3), "[1][0]", 3).sure
        ('stack', 'sample', 'channel')
    """
    types = _torch_types(module)
    known = next((name for name in types if name in _RULES), None)
    if known is None:
        return unknown(rank)
    rule = _RULES[known](module, rank, _Part(path in ("", "[0]"), input_rank))
    return rule if _unchanged(module) else rule._replace(sure=(None,) * rank)


def input_rule(module: nn.Module, index: int, rank: int) -> Rule:
    """What a module's type says about one of its input tensors, counted from 0.

    Modules that lay out their input differently from their output say nothing of it, nor does any
    module of masks and states.
    """
    types = set(_torch_types(module))
    inputs = max((n for name, n in _INPUTS.items() if name in types), default=1)
    if types.isdisjoint(_RULES) or not types.isdisjoint(_OTHER_INPUT) or index >= inputs:
        return nothing(rank)
    return output_rule(module, "", rank, rank)


def unknown(rank: int) -> Rule:
    """A vector is channels, a matrix samples of them; of more axes nothing is known."""
    return {1: _usual("channel"), 2: _usual("sample channel")}.get(rank, nothing(rank))


def nothing(rank: int) -> Rule:
    """Nothing is known of so many axes."""
    return Rule((None,) * rank, (None,) * rank)


def keeps_leading(module: nn.Module) -> bool:
    """Whether a module leaves all axes but the last as they are."""
    return not _KEEP_LEADING.isdisjoint(_torch_types(module))


class _Part(NamedTuple):
    main: bool
    """Whether this is the output proper, not states or weights beside it."""
    input_rank: int | None


def _torch_types(module: nn.Module) -> list[str]:
    """The classes of torch's own that a module is of, by name: quantized ones have equal names."""
    classes = type(module).__mro__
    return [cls.__name__ for cls in classes if cls.__module__.startswith("torch.")]


def _unchanged(module: nn.Module) -> bool:
    """Whether a module computes what torch's class does: a subclass may turn its axes around."""
    own = next(cls for cls in type(module).__mro__ if cls.__module__.startswith("torch."))
    return getattr(module.forward, "__func__", None) is getattr(own, "forward", None)


def _sure(names: str) -> Rule:
    return Rule(tuple(names.split()), tuple(names.split()))


def _usual(names: str) -> Rule:
    usual = tuple(names.split())
    return Rule((None,) * len(usual), usual)


def _channel_last(_: nn.Module, rank: int, __: _Part) -> Rule:
    leading = tuple(_LEADING.get(rank, "").split()) or (None,) * (rank - 1)
    return Rule((*(None,) * (rank - 1), "channel"), (*leading, "channel"))


def _layer_norm(module: nn.Module, rank: int, part: _Part) -> Rule:
    one_axis = len(getattr(module, "normalized_shape", ())) == 1
    return _channel_last(module, rank, part) if one_axis else unknown(rank)


def _batched_channels(_: nn.Module, rank: int, __: _Part) -> Rule:
    """Samples, channels (each with its own parameters), then positions of any kind."""
    if rank < 2:  # noqa: PLR2004 - sample and channel
        return nothing(rank)
    usual = f"sample channel {_SPATIAL.get(rank - 2, '')}".split()
    sure = ("sample", "channel", *(None,) * (rank - 2))
    return Rule(sure, tuple(usual) if len(usual) == rank else sure)


def _spatial(dims: int, *, sure: bool) -> Callable[[nn.Module, int, _Part], Rule]:
    """Channels before ``dims`` positions, with or without samples in front."""
    layouts = {dims + 2: f"sample channel {_SPATIAL[dims]}", dims + 1: f"channel {_SPATIAL[dims]}"}

    def rule(_: nn.Module, rank: int, __: _Part) -> Rule:
        if rank not in layouts:
            return unknown(rank)
        return (_sure if sure else _usual)(layouts[rank])

    return rule


def _any_spatial(_: nn.Module, rank: int, __: _Part) -> Rule:
    return _usual(f"sample channel {_SPATIAL[rank - 2]}") if rank - 2 in _SPATIAL else nothing(rank)


def _pixels(_: nn.Module, rank: int, __: _Part) -> Rule:
    images = {3: "channel height width", 4: "sample channel height width"}
    return _sure(images[rank]) if rank in images else nothing(rank)


def _unfolded(_: nn.Module, rank: int, __: _Part) -> Rule:
    return {2: _sure("channel token"), 3: _sure("sample channel token")}.get(rank, nothing(rank))


def _sequence(position: str, *, batch_first: bool, rank: int) -> Rule:
    batched = f"sample {position} channel" if batch_first else f"{position} sample channel"
    return {3: _sure(batched), 2: _sure(f"{position} channel")}.get(rank, nothing(rank))


def _recurrent(module: nn.Module, rank: int, part: _Part) -> Rule:
    """Outputs follow batch_first; states are [layers and directions, sample, channel] always."""
    if part.main:
        return _sequence("time", batch_first=bool(module.batch_first), rank=rank)
    return {3: _sure("stack sample channel"), 2: _sure("stack channel")}.get(rank, nothing(rank))


def _cell(_: nn.Module, rank: int, __: _Part) -> Rule:
    return {1: _sure("channel"), 2: _sure("sample channel")}.get(rank, nothing(rank))


def _attention(module: nn.Module, rank: int, part: _Part) -> Rule:
    """Attention weights have a query at each position; the keys it looks at are its channels."""
    if part.main:
        return _sequence("token", batch_first=bool(module.batch_first), rank=rank)
    names = ["sample", "head", "query", "channel"]
    if part.input_rank == 2:  # noqa: PLR2004 - one sequence without samples
        names.remove("sample")
    if rank < len(names):  # averaged over heads
        names.remove("head")
    return _sure(" ".join(names)) if rank == len(names) else nothing(rank)


def _transformer(module: nn.Module, rank: int, _: _Part) -> Rule:
    """Encoders and decoders say batch_first in their attention only."""
    attentions = (part for part in module.modules() if isinstance(part, nn.MultiheadAttention))
    first = next(attentions, None)
    if first is None:
        return nothing(rank)
    return _sequence("token", batch_first=first.batch_first, rank=rank)


_RuleFunction: TypeAlias = "Callable[[nn.Module, int, _Part], Rule]"


def _rules() -> dict[str, _RuleFunction]:
    by_names: dict[str, _RuleFunction] = {
        "Linear Bilinear Embedding": _channel_last,
        "LayerNorm RMSNorm": _layer_norm,
        "EmbeddingBag RNNCellBase": _cell,
        "_BatchNorm GroupNorm LocalResponseNorm CrossMapLRN2d ChannelShuffle": _batched_channels,
        "PixelShuffle PixelUnshuffle Fold": _pixels,
        "Unfold": _unfolded,
        "Upsample ConstantPad": _any_spatial,
        "RNNBase": _recurrent,
        "MultiheadAttention": _attention,
        "TransformerEncoderLayer TransformerEncoder": _transformer,
        "TransformerDecoderLayer TransformerDecoder Transformer": _transformer,
    }
    for dims in _SPATIAL:
        sure = f"Conv{dims}d ConvTranspose{dims}d InstanceNorm{dims}d LazyInstanceNorm{dims}d"
        usual = (
            f"MaxPool{dims}d MaxUnpool{dims}d AvgPool{dims}d LPPool{dims}d Dropout{dims}d "
            f"FractionalMaxPool{dims}d AdaptiveMaxPool{dims}d AdaptiveAvgPool{dims}d "
            f"ConstantPad{dims}d ReflectionPad{dims}d ReplicationPad{dims}d ZeroPad{dims}d "
            f"CircularPad{dims}d"
        )
        by_names |= {sure: _spatial(dims, sure=True), usual: _spatial(dims, sure=False)}
    return {name: rule for names, rule in by_names.items() for name in names.split()}


_RULES = _rules()
_OTHER_INPUT = {"Embedding", "EmbeddingBag", "Fold", "Unfold"}
_INPUTS = {
    "Bilinear": 2,
    "MultiheadAttention": 3,
    "Transformer": 2,
    "TransformerDecoder": 2,
    "TransformerDecoderLayer": 2,
}
_KEEP_LEADING = {"Linear", "LayerNorm", "RMSNorm"}
