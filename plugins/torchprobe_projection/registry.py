"""The methods there are, by name."""

from __future__ import annotations

from typing import TypeVar

from torchprobe.errors import SettingError
from torchprobe.wording import unknown
from torchprobe_projection.autoencoder import Autoencoder
from torchprobe_projection.linear import Pca, Random
from torchprobe_projection.neighbour_maps import Tsne, TsneTrain, Umap, UmapTrain
from torchprobe_projection.projector import Projector

__all__ = ["projectors", "register_projector", "title"]

P = TypeVar("P", bound=type[Projector])

_OWN: tuple[type[Projector], ...] = (Pca, Tsne, TsneTrain, Umap, UmapTrain, Autoencoder, Random)
_REGISTERED: dict[str, type[Projector]] = {each.name: each for each in _OWN}


def register_projector(cls: P) -> P:
    """Make a projector known by its name; also as a decorator.

    The same class again, as from a notebook's cell that is run twice, replaces what was there.

    Raises:
        SettingError: it is no `Projector` with a name, or another class has that name.

    Example:
        >>> from torchprobe_projection import Fitted, Projector
        >>> @register_projector
        ... class Last(Projector):
        ...     name = "last_two"
        ...     def fit(self, rows, seed):
        ...         return Fitted(rows[:, -2:])
        >>> projectors()["last_two"] is Last
        True
    """
    if not (isinstance(cls, type) and issubclass(cls, Projector) and cls.name.isidentifier()):
        raise SettingError(
            f"{cls!r} cannot be registered; give a subclass of Projector with name = 'my_method'"
        )
    other = _REGISTERED.get(cls.name)
    if other is not None and _origin(other) != _origin(cls):
        raise SettingError(
            f"the name {cls.name!r} is taken by {other.__module__}.{other.__qualname__}; choose "
            "another"
        )
    _REGISTERED[cls.name] = cls
    return cls


def projectors() -> dict[str, type[Projector]]:
    """The projectors that are known, by name."""
    return dict(_REGISTERED)


def projector(name: str) -> type[Projector]:
    """A projector's class by its name.

    Raises:
        SettingError: there is none of that name; says which there are.
    """
    if name not in _REGISTERED:
        raise SettingError(unknown("method", name, _REGISTERED))
    return _REGISTERED[name]


def title(method: str) -> str:
    """What tables and pictures call a method, known here or not."""
    known = _REGISTERED.get(method)
    return (known.title if known else "") or method.replace("_", " ")


def _origin(cls: type) -> tuple[str, str]:
    return cls.__module__, cls.__qualname__
