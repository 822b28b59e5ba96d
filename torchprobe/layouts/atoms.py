"""What axes are made of, so that they can be followed through reshapes.

An axis is a product of atoms: merging sample and time makes one axis of two atoms, and the atoms
come apart again where the axis is split. Atoms that stand for the same thing share a `Role`,
whatever their sizes: time before and after a pooling, the sample axis of every layer.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field, replace
from enum import IntEnum
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["Atom", "Axis", "Label", "Role", "Strength", "fit", "fresh", "known", "regroup", "unite"]


class Strength(IntEnum):
    """How far a name can be trusted."""

    GUESSED = 0
    """What is left over when the other axes are named; never told to other tensors."""
    USUAL = 1
    """What is most often so."""
    SURE = 2
    """What a module's type says."""
    GIVEN = 3
    """What a plugin or the user said."""


class Label(NamedTuple):
    """A name and how far it can be trusted."""

    name: str
    strength: Strength


@dataclass
class _Claim:
    strength: Strength
    count: int
    source: str


@dataclass(eq=False)
class Role:
    """What an axis is, wherever it turns up; roles found to be one are united for good."""

    claims: dict[str, _Claim] = field(default_factory=dict)
    """By name, who calls the axis so; only kept by the first of united roles, see `first`."""
    united_with: Role | None = None

    @property
    def first(self) -> Role:
        """The one that speaks for all that are united."""
        role = self
        while role.united_with is not None:
            role = role.united_with
        return role

    def claim(self, label: Label, source: str) -> None:
        """Note that a module calls this axis by a name."""
        self.first.add(label.name, _Claim(label.strength, 1, source))

    def add(self, name: str, claim: _Claim) -> None:
        """Count a name, or trust it more than before."""
        known = self.claims.get(name)
        if known is None or claim.strength > known.strength:
            self.claims[name] = claim
        elif claim.strength == known.strength:
            known.count += claim.count

    def unite(self, other: Role) -> None:
        """Make this and another role one."""
        mine, yours = self.first, other.first
        if mine is yours:
            return
        for name, claim in yours.claims.items():
            mine.add(name, claim)
        yours.united_with, yours.claims = mine, {}

    def labels(self) -> list[Label]:
        """What the axis is called, the most trusted and most frequent name first."""
        claims = self.first.claims.items()
        ranked = sorted(claims, key=lambda item: (-item[1].strength, -item[1].count))
        return [Label(name, claim.strength) for name, claim in ranked]

    def count(self, name: str) -> int:
        """How often the axis was called by a name."""
        claim = self.first.claims.get(name)
        return claim.count if claim else 0

    def contradiction(self) -> str:
        """Who says this is the sample axis and who, as trusted, says it is not; "" where none."""
        sample = self.first.claims.get("sample")
        if sample is None or sample.strength < Strength.SURE:
            return ""
        for name, claim in self.first.claims.items():
            if name != "sample" and claim.strength == sample.strength:
                return f"{sample.source!r} calls an axis sample that {claim.source!r} calls {name}"
        return ""


@dataclass(frozen=True, eq=False, slots=True)
class Atom:
    """An axis, or the factor of one, that has not been divided."""

    size: int
    role: Role = field(default_factory=Role)
    label: Label | None = None
    """What the module that made this called it."""
    whole: Atom | None = None
    """Of what this is the outer or inner part."""
    inner: bool = False

    def split(self, outer: int) -> tuple[Atom, Atom]:
        """Two factors, the outer one of a given size."""
        parts = Atom(outer, whole=self), Atom(self.size // outer, whole=self, inner=True)
        for part in parts:
            if label := part.known():
                part.role.claim(label, "")
        return parts

    def known(self) -> Label | None:
        """The best name: its maker's, else one from elsewhere, else by what it is a part of."""
        ranked = self.role.labels()
        if self.label and (not ranked or self.label.strength >= ranked[0].strength):
            return self.label
        if ranked:
            return None if self.role.contradiction() else ranked[0]
        return None if self.whole is None else self._of_whole(self.whole.known())

    def _of_whole(self, whole: Label | None) -> Label | None:
        """Channels divide into heads and the channels of each; a divided position stays one."""
        if whole is None or whole.name == "sample":
            return None
        name = "head" if whole.name == "channel" and not self.inner else whole.name
        return Label(name, Strength.USUAL)


Axis: TypeAlias = "tuple[Atom, ...]"


def fresh(shape: Iterable[int]) -> list[Axis]:
    """Axes of which nothing is known."""
    return [(Atom(size),) for size in shape]


def known(axis: Axis) -> Label | None:
    """What an axis is called, where anything is known.

    Merged with others, samples stay samples (rows), channels channels, and positions are tokens.
    """
    labels = [(atom.known(), atom.size) for atom in axis]
    met = [label for label, size in labels if label or size != 1]
    if len(met) < 2:  # noqa: PLR2004 - nothing to merge
        return met[0] if met else None
    names = [label.name if label else "" for label in met]
    for name in ("sample", "channel"):
        if name in names:
            return Label(name, Strength.USUAL)
    return Label("token", Strength.USUAL) if all(names) else None


def length(axis: Axis) -> int:
    """How long an axis is."""
    return axis[0].size if len(axis) == 1 else math.prod(atom.size for atom in axis)


def unite(axes: Sequence[Axis]) -> None:
    """Axes that are combined entry by entry are one and the same."""
    for other in axes[1:]:
        if [atom.size for atom in other] == [atom.size for atom in axes[0]]:
            for one, same in zip(axes[0], other, strict=True):
                one.role.unite(same.role)


def fit(axes: Sequence[Axis], shape: Sequence[int]) -> list[Axis]:
    """Axes with these sizes: where they differ, an axis was cut, padded or strided."""
    if len(axes) != len(shape):
        return fresh(shape)
    return [_resized(axis, size) for axis, size in zip(axes, shape, strict=True)]


def _resized(axis: Axis, size: int) -> Axis:
    if length(axis) == size:
        return axis
    if len(axis) > 1:
        return (Atom(size, label=known(axis)),)
    return (
        Atom(size, axis[0].role, axis[0].label or (axis[0].known() if axis[0].whole else None)),
    )


def relabel(axis: Axis, label: Label) -> Axis:
    """The axis under another name; one of several atoms has no name of its own."""
    return (replace(axis[0], label=label),) if len(axis) == 1 else axis


def regroup(axes: Sequence[Axis], shape: Sequence[int]) -> list[Axis]:
    """Axes of a tensor viewed with another shape: atoms keep their order, some are divided."""
    atoms = deque(atom for axis in axes for atom in axis)
    if length(tuple(atoms)) != math.prod(shape) or 0 in shape:
        return fresh(shape)
    grouped: list[Axis] = []
    for at, size in enumerate(shape):
        following = shape[at + 1] if at + 1 < len(shape) else None
        axis = _take(atoms, size, keep_ones=following == 1)
        if axis is None:
            return [*grouped, *fresh(shape[at:])]
        grouped.append(axis)
    return grouped


def _take(atoms: deque[Atom], size: int, *, keep_ones: bool) -> Axis | None:
    """The next atoms that make up an axis of this size; None where an atom does not divide."""
    taken: list[Atom] = []
    while (missing := size // length(tuple(taken))) > 1:
        atom = atoms.popleft()
        if atom.size > missing:
            if atom.size % missing:
                return None
            atom, rest = atom.split(missing)
            atoms.appendleft(rest)
        elif missing % atom.size:
            return None
        taken.append(atom)
    while atoms and atoms[0].size == 1 and not (taken and keep_ones):
        taken.append(atoms.popleft())
    return _joined(taken) or (Atom(1),)


def _joined(atoms: list[Atom]) -> Axis:
    """Neighbours that are the two parts of one whole become it again."""
    joined: list[Atom] = []
    for atom in atoms:
        joined.append(atom)
        while len(joined) > 1 and joined[-1].inner and _parts_of_one(*joined[-2:]):
            whole = joined[-1].whole
            assert whole is not None
            joined[-2:] = [whole]
    return tuple(joined)


def _parts_of_one(outer: Atom, inner: Atom) -> bool:
    return (
        not outer.inner
        and outer.whole is inner.whole is not None
        and (outer.size * inner.size == inner.whole.size)
    )
