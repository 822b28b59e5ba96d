"""What turns rows into points of the plane: one interface, and a registry open to everybody."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from dataclasses import dataclass
from dataclasses import field as default
from importlib import metadata
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from torchprobe.accumulators import Accumulator
from torchprobe.errors import (
    InsufficientDataError,
    MissingExtraError,
    PluginError,
    SettingError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch import Tensor

    from torchprobe import Field
    from torchprobe.accumulators import State
    from torchprobe_projection.clouds import Array, Cloud
    from torchprobe_projection.labelled_sample import LabelledSample
    from torchprobe_projection.network import PlaneNetwork

__all__ = ["Fitted", "Learner", "Picture", "Projector", "made", "place", "require_rows"]


@dataclass(frozen=True)
class Fitted:
    """What a projector found.

    A projector with ``trained = True`` gives ``transform``, any other ``coordinates``.
    """

    coordinates: Array | None = None
    """Where the rows it was fitted to lie: [row, 2]."""
    transform: Callable[[Array], Array] | None = None
    """Where other rows lie: [row, channel] → [row, 2]."""
    network: PlaneNetwork | None = None
    """The map itself, if it is one that results can keep for ever."""
    fields: Mapping[str, Field] = default(default_factory=dict)
    """What else the result shall keep; each name gets the method's before it."""


class Learner(Accumulator):
    """What a projector learns from every row of "fit", in passes after the first."""

    @abstractmethod
    def reduce(self, rows: Tensor, ids: Tensor, number: int, sample: LabelledSample) -> State:
        """What rows [row, channel] of pass ``number`` (from 1) teach, given the first's sample."""

    @abstractmethod
    def fitted(self) -> Fitted:
        """What it found."""


class Projector(ABC):
    """A method that puts rows into the plane; subclass it and `register` the subclass.

    ``__init__`` takes the method's settings, which users give as ``options={name: {...}}``.

    Example:
        >>> class FirstTwo(Projector):
        ...     name = "first_two"
        ...     def fit(self, rows, seed):
        ...         return Fitted(rows[:, :2])
        >>> FirstTwo().fit(np.eye(3), seed=0).coordinates.tolist()
        [[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]]
    """

    name: ClassVar[str] = ""
    """How users ask for it."""
    title: ClassVar[str] = ""
    """What tables and pictures call it; the name by default."""
    trained: ClassVar[bool] = False
    """Whether it learns from the "fit" rows and then maps the points, which it has not seen; if
    not, it lays out the points themselves."""
    packages: ClassVar[tuple[str, ...]] = ()
    """Distributions it needs; their versions go into the result."""
    extra: ClassVar[str] = ""
    """The extra of torchprobe that brings them."""
    passes: int = 0
    """Further looks at the "fit" data that its learner wants."""

    @abstractmethod
    def fit(self, rows: Array, seed: int) -> Fitted:
        """Fit to rows [row, channel], finite; the same rows and seed give the same numbers.

        Raises:
            InsufficientDataError: too few rows.
        """

    def learner(self, channels: int, shown: int, seed: int) -> Learner | None:  # noqa: ARG002
        """What learns from the stream in its place; None where the sample is enough.

        Args:
            channels: of a row.
            shown: how many rows of the sample may be shown.
            seed: as of `fit`.
        """
        return None

    @classmethod
    def require_packages(cls) -> None:
        """Raise `MissingExtraError` where a distribution is not installed."""
        for package in cls.packages:
            if not any(metadata.distributions(name=package)):
                how = f"torchprobe[{cls.extra}]" if cls.extra else package
                raise MissingExtraError(
                    f"method {cls.name!r} needs {package}, which is not installed: "
                    f"pip install '{how}'"
                )


def made(projector: type[Projector], options: Mapping[str, Any]) -> Projector:
    """A projector with its options.

    Raises:
        SettingError: it has no such option; says which it has.
        MissingExtraError: a package that it needs is not installed.
    """
    projector.require_packages()
    try:
        inspect.signature(projector).bind(**options)
    except TypeError as error:
        known = ", ".join(inspect.signature(projector).parameters) or "none"
        raise SettingError(f"method {projector.name!r}: {error}; options: {known}") from error
    return projector(**options)


@dataclass(frozen=True)
class Picture:
    """Where a method put the points of a cloud."""

    projector: Projector
    coordinates: Array
    """float64 [point, 2]."""
    fitted: Fitted


def place(projector: Projector, cloud: Cloud, seed: int, learner: Learner | None = None) -> Picture:
    """Fit a method to what it learns from, unless it has learnt, and put the points where it says.

    Raises:
        InsufficientDataError: too few rows for this method.
        PluginError: it did not give each point two finite coordinates.
    """
    taught = cloud.training if projector.trained else cloud.points
    fitted = learner.fitted() if learner is not None else projector.fit(taught, seed)
    if not projector.trained:
        found = fitted.coordinates
    else:
        found = fitted.transform(cloud.points) if fitted.transform else None
    coordinates = np.asarray(np.nan if found is None else found, dtype=np.float64)
    if coordinates.shape != (len(cloud.points), 2) or not np.isfinite(coordinates).all():
        raise PluginError(
            f"method {projector.name!r} gave {_said(found)} for {len(cloud.points)} points; a "
            "projector gives each point two finite coordinates (see Projector.fit)"
        )
    return Picture(projector, coordinates, fitted)


def require_rows(rows: Array, least: int, why: str, remedy: str) -> None:
    """Raise `InsufficientDataError` where there are fewer rows than a method can work with."""
    if len(rows) < least:
        have = f"{len(rows)} row{'' if len(rows) == 1 else 's'}"
        raise InsufficientDataError(f"{why} needs at least {least} rows but has {have}; {remedy}")


def _said(found: object) -> str:
    if found is None:
        return "nothing"
    array = np.asarray(found)
    bad = "" if array.dtype.kind not in "fc" or np.isfinite(array).all() else ", not all finite,"
    return f"an array of shape {array.shape}{bad}"
