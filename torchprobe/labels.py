"""What a user says of a batch: labels by grouping, padding, sample ids; checked at the door."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from torchprobe.accumulators import Groups
from torchprobe.class_names import ClassNames, encode
from torchprobe.errors import LabelError

if TYPE_CHECKING:
    from torchprobe.matching import Matching

__all__ = ["ClassNames", "Labels"]

DEFAULT_GROUPING = "label"
"""The name of a grouping whose labels are given without one."""


class Labels:
    """What is known of one batch: labels by grouping, which positions count, sample ids.

    Args:
        labels: one array (grouping "label") or arrays by grouping; [sample] or
            [sample, *positions]; integers or strings, -1 or -100 (or None) to leave a row out.
        lengths: valid positions of each sample, [sample]; of the model's input, where `matching`
            knows it.
        mask: which positions count, bool [sample, *positions] or [sample].
        ids: a stable number for each sample, int64 [sample].
        names: class names by grouping; string labels are added to them.

    Raises:
        LabelError: anything malformed; sizes are checked against each layer later.
    """

    matching: Matching | None = None
    """How positions of the input and of layers lie to each other in the current forward pass."""

    def __init__(
        self,
        labels: object = None,
        *,
        lengths: object = None,
        mask: object = None,
        ids: object = None,
        names: dict[str, ClassNames] | None = None,
    ) -> None:
        self.names = names if names is not None else {}
        self._at: dict[tuple[object, ...], Tensor] = {}
        self._groups: dict[tuple[object, ...], Groups] = {}
        self._keep: dict[tuple[object, ...], Tensor | None] = {}
        self._own_lengths = False
        by_grouping = labels if isinstance(labels, dict) else {DEFAULT_GROUPING: labels}
        self.labels: dict[str, Tensor] = {}
        for grouping, values in by_grouping.items():
            if values is not None:
                self.add(grouping, values)
        self.lengths = None if lengths is None else _counts(lengths)
        self.mask = None if mask is None else _mask(mask)
        self._ids: Tensor | range | None = None if ids is None else _counts(ids, "ids")

    @property
    def ids(self) -> Tensor | None:
        """A number for each sample, int64 [sample]; None where nobody gave any."""
        if isinstance(self._ids, range):  # only now: few analyzers ask, and every hook would pay
            self._ids = torch.arange(self._ids.start, self._ids.stop, self._ids.step)
        return self._ids

    @ids.setter
    def ids(self, ids: Tensor | range | None) -> None:
        self._ids = ids

    @property
    def n_ids(self) -> int | None:
        """How many samples have a number; None where none has one."""
        return None if self._ids is None else len(self._ids)

    def add(self, grouping: str, values: object) -> None:
        """Add a grouping, e.g. one computed from the model's outputs."""
        names = self.names.setdefault(grouping, ClassNames())
        self.labels[grouping] = encode(values, grouping, names)
        self._at = {key: labels for key, labels in self._at.items() if key[0] != grouping}
        self._groups = {key: groups for key, groups in self._groups.items() if key[0] != grouping}

    def slice(self, start: int, stop: int) -> Labels:
        """The same for samples ``start`` to ``stop`` only."""
        part = Labels(names=self.names)
        part.labels = {name: values[start:stop] for name, values in self.labels.items()}
        for name in ("lengths", "mask", "_ids"):
            values = getattr(self, name)
            setattr(part, name, None if values is None else values[start:stop])
        part.matching, part._own_lengths = self.matching, self._own_lengths
        return part

    def with_lengths(self, lengths: Tensor) -> Labels:
        """The same with the lengths that a packed or nested tensor carries itself."""
        other = self.slice(0, len(lengths))
        other.lengths, other._own_lengths = lengths.cpu(), True  # noqa: SLF001
        return other

    @property
    def samples(self) -> int | None:
        """How many samples something was said of; None where nothing was."""
        said = (*self.labels.values(), self.lengths, self.mask)
        return next((len(values) for values in said if values is not None), None)

    @property
    def whole(self) -> bool:
        """Whether every position of every sample counts."""
        return self.mask is None and self.lengths is None

    @property
    def positional(self) -> bool:
        """Whether anything is said of positions, so that layers' positions matter."""
        by_position = any(values.ndim > 1 for values in self.labels.values())
        return by_position or self.lengths is not None or self.mask is not None

    def valid(self, shape: tuple[int, ...], layer: str) -> Tensor | None:
        """Which positions count, bool [sample, *positions], or None where all do."""
        if self.whole:
            return None
        mask = torch.ones(shape, dtype=torch.bool)
        if self.lengths is not None:
            mask = mask & self._within_lengths(shape, layer)
        if self.mask is not None:
            given = self.mask if len(shape) > 1 else self.mask.view(len(self.mask), -1).any(1)
            mask = mask & self._spread(given, shape, layer, "mask")
        return mask

    def keep(self, shape: tuple[int, ...], layer: str) -> Tensor | None:
        """Indices of the rows that count among [sample, *positions] flattened, None for all."""
        if self.whole:
            return None  # almost always, and in every hook
        key = self._key(shape, layer, self.mask)
        if key not in self._keep:
            mask = self.valid(shape, layer)
            whole = mask is None or bool(mask.all())
            self._keep[key] = None if whole else mask.flatten().nonzero().flatten()  # type: ignore[union-attr]
        return self._keep[key]

    def groups(
        self, grouping: str, shape: tuple[int, ...], layer: str, device: torch.device
    ) -> Groups:
        """The groups of the rows that count, worked out once for all layers of the same rows."""
        key = grouping, self._key(shape, layer, self._given(grouping), self.mask), device
        if key not in self._groups:
            flat, keep = self.at(grouping, shape, layer).flatten(), self.keep(shape, layer)
            self._groups[key] = Groups.of(flat if keep is None else flat[keep]).to(device)
        return self._groups[key]

    def at(self, grouping: str, shape: tuple[int, ...], layer: str) -> Tensor:
        """The labels of a layer's samples and positions: int64 [sample, *positions].

        Raises:
            LabelError: they do not fit this layer.
        """
        given = self._given(grouping)
        key = grouping, self._key(shape, layer, given)
        if key not in self._at:
            self._at[key] = self._spread(given, shape, layer, f"labels {grouping!r}", grouping)
        return self._at[key]

    def _key(self, shape: tuple[int, ...], layer: str, *given: Tensor | None) -> tuple[object, ...]:
        """What layers with the same rows have in common: a shape, and a map where it is needed."""
        fits = (each is None or each.ndim == 1 or tuple(each.shape) == shape for each in given)
        if self.matching is None or len(shape) == 1 or (all(fits) and self._counted_here(shape)):
            return shape
        return shape, self.matching.key(layer)

    def _counted_here(self, shape: tuple[int, ...]) -> bool:
        """Whether lengths count the positions of a layer of this shape."""
        if self.lengths is None or self._own_lengths or self.matching is None:
            return True
        return self.matching.fits_lengths(shape)

    def _given(self, grouping: str) -> Tensor:
        if grouping not in self.labels:
            raise LabelError(
                f"this batch has no labels {grouping!r}; it has "
                f"{', '.join(map(repr, self.labels)) or 'none'}: pass labels={{{grouping!r}: ...}}"
            )
        return self.labels[grouping]

    def _within_lengths(self, shape: tuple[int, ...], layer: str) -> Tensor:
        lengths = self.lengths
        assert lengths is not None
        if len(lengths) != shape[0]:
            raise LabelError(
                f"lengths are given for {len(lengths)} samples but layer {layer!r} has {shape[0]}"
            )
        if len(shape) == 1:  # no positions: a sample counts unless it is empty
            return lengths > 0
        if self.matching is not None and not self._counted_here(shape):
            try:
                return self.matching.within(lengths, shape, layer)
            except LabelError as error:
                raise LabelError(f"layer {layer!r} has positions {shape[1:]}: {error}") from error
        if len(shape) != 2:  # noqa: PLR2004 - [sample, position]
            raise LabelError(
                f"layer {layer!r} has {len(shape) - 1} position axes {shape[1:]}; lengths describe "
                "one: pass mask=[sample, *positions] instead"
            )
        if bool((lengths > shape[1]).any()):
            raise LabelError(
                f"a length of {int(lengths.max())} exceeds the {shape[1]} positions of layer "
                f"{layer!r}; lengths count positions of that layer"
            )
        return torch.arange(shape[1])[None] < lengths[:, None]

    def _spread(
        self,
        values: Tensor,
        shape: tuple[int, ...],
        layer: str,
        what: str,
        grouping: str | None = None,
    ) -> Tensor:
        """Per-sample or per-position values as [sample, *positions]; of a mask, or a grouping."""
        if tuple(values.shape) == shape:
            return values
        if values.ndim == 1 and len(values) == shape[0]:
            return values.view(-1, *[1] * (len(shape) - 1)).expand(shape)
        if self.matching is None or 1 in (values.ndim, len(shape)) or len(values) != shape[0]:
            raise LabelError(_misfit(values, shape, layer, what))
        try:
            if grouping is None:
                return self.matching.mask(values, shape, layer)
            return self.matching.labels(values, grouping, shape, layer)
        except LabelError as error:
            raise LabelError(f"{_misfit(values, shape, layer, what)}; {error}") from error


def _misfit(values: Tensor, shape: tuple[int, ...], layer: str, what: str) -> str:
    got = f"{what} have shape {tuple(values.shape)}"
    need = f"layer {layer!r} has {shape[0]} samples"
    if len(shape) > 1:
        need += f" with positions {shape[1:]}: give [{shape[0]}] or {list(shape)}"
    else:
        need += f" without positions: give [{shape[0]}]"
    return f"{got} but {need}{_hint(values, shape)}"


def _hint(values: Tensor, shape: tuple[int, ...]) -> str:
    if values.ndim != 2:  # noqa: PLR2004
        return ""
    if values.shape == (shape[0], 1):
        return "; a column is not a row of labels: labels.squeeze(1)"
    if bool(((values == 0) | (values == 1)).all() and (values.sum(1) == 1).all()):
        return "; it looks one-hot: labels.argmax(1)"
    return ""


def _counts(values: object, what: str = "lengths") -> Tensor:
    counts = torch.as_tensor(values).detach().cpu()
    if counts.ndim != 1 or counts.is_floating_point() or counts.dtype == torch.bool:
        raise LabelError(
            f"{what} are {counts.dtype} of shape {tuple(counts.shape)}; give one integer per sample"
        )
    if len(counts) and int(counts.min()) < 0:
        raise LabelError(f"{what} hold {int(counts.min())}; they must not be negative")
    return counts.long()


def _mask(values: object) -> Tensor:
    mask = torch.as_tensor(values).detach().cpu()
    if mask.ndim == 0 or (mask.dtype != torch.bool and not bool(((mask == 0) | (mask == 1)).all())):
        raise LabelError(
            f"mask is {mask.dtype} of shape {tuple(mask.shape)}; give booleans (or 0 and 1) "
            "[sample] or [sample, *positions], true where a position counts"
        )
    return mask.bool()
