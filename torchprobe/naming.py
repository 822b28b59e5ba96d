"""What the modules of a model are called, whatever wraps the model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn
from torch.nn.utils.parametrize import is_parametrized

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["aliases", "canonical_names", "class_name", "input_name", "never_called", "root_name"]

_WRAPPED = {
    "ActivationWrapper": "_checkpoint_wrapped_module",
    "AveragedModel": "module",
    "DataParallel": "module",
    "DeepSpeedEngine": "module",
    "DistributedDataParallel": "module",
    "FullyShardedDataParallel": "_fsdp_wrapped_module",
    "OptimizedModule": "_orig_mod",
}
"""Wrapper classes and the child they wrap; by class name, so that nothing need be imported."""

_MOST_NAMES = 64
"""Names kept of one module: nested sharing would have exponentially many."""


def canonical_names(model: nn.Module) -> dict[str, nn.Module]:
    """Every module once, by the first name it has in the model, in the model's order.

    Names are the same with and without the wrappers of DDP, FSDP, `torch.compile` and activation
    checkpointing; of a wrapper and what it wraps, the latter has the name. The model itself is
    called "model" ("model_" where a child has that name). Parametrizations (weight norm, ...) are
    left out: they compute weights, not activations. Should two modules get one name, because a
    child's own name holds a dot, the later one gets "~2".

    Example:
        >>> model = nn.Sequential(nn.Linear(2, 3), nn.ReLU())
        >>> list(canonical_names(model))
        ['model', '0', '1']
        >>> list(canonical_names(nn.DataParallel(model)))
        ['model', '0', '1']
    """
    return {names[0]: module for module, names in _named(model)}


def aliases(model: nn.Module) -> dict[str, tuple[str, ...]]:
    """Other names of modules that stand in several places, by canonical name.

    Example:
        >>> act = nn.ReLU()
        >>> aliases(nn.Sequential(nn.Linear(2, 2), act, nn.Linear(2, 2), act))
        {'1': ('3',)}
    """
    return {names[0]: tuple(names[1:]) for _, names in _named(model) if names[1:]}


def root_name(model: nn.Module) -> str:
    """What the model itself is called: "model", or "model_" where a child has that name."""
    return _free("model", _walk(model))


def input_name(model: nn.Module) -> str:
    """What the model's input is called: "input", or "input_" where a module has that name."""
    return _free("input", _walk(model))


def class_name(module: nn.Module) -> str:
    """The module's class as the model's author knows it: FSDP2 makes a Linear an FSDPLinear."""
    bases = type(module).__bases__
    sharded = len(bases) > 1 and bases[0].__name__ == "FSDPModule"
    return (bases[1] if sharded else type(module)).__name__


def never_called(module: nn.Module) -> bool:
    """Whether this is a mere container without a forward of its own (ModuleList, ...)."""
    return getattr(getattr(module, "forward", None), "__func__", None) is nn.Module.forward


_Walk = dict[int, tuple[nn.Module, list[str]]]


def _named(model: nn.Module) -> list[tuple[nn.Module, list[str]]]:
    """Modules with their names, made unique."""
    walk = _walk(model)
    root, taken = _free("model", walk), set[str]()
    named = []
    for module, names in walk.values():
        first = names[0] or root
        count = 2
        while first in taken:
            first, count = f"{names[0]}~{count}", count + 1
        taken.add(first)
        named.append((module, [first, *names[1:]]))
    return named


def _walk(model: nn.Module) -> _Walk:
    walk: _Walk = {}
    _visit(model, "", (), walk)
    return walk


def _visit(module: nn.Module, name: str, above: tuple[int, ...], walk: _Walk) -> None:
    """Note every name by which a module is reached without passing any module twice."""
    children = list(_children(module))
    if not any(part is None for part, _ in children):  # a wrapper has no name of its own
        names = walk.setdefault(id(module), (module, []))[1]
        if name in names or len(names) == _MOST_NAMES:
            return
        names.append(name)
    if id(module) in above:
        return
    for part, child in children:
        below = name if part is None else f"{name}.{part}" if name else part
        _visit(child, below, (*above, id(module)), walk)


def _children(module: nn.Module) -> Iterator[tuple[str | None, nn.Module]]:
    """Child modules with what they are called, None for what a wrapper wraps."""
    parametrized = is_parametrized(module)
    for key, child in (getattr(module, "_modules", None) or {}).items():
        if child is not None and not (parametrized and key == "parametrizations"):
            yield (None if _wraps(module, key) else key), child


def _wraps(module: nn.Module, key: str) -> bool:
    return any(_WRAPPED.get(base.__name__) == key for base in type(module).__mro__)


def _free(name: str, walk: _Walk) -> str:
    taken = {name for _, names in walk.values() for name in names}
    while name in taken:
        name += "_"
    return name
