"""Makes one naming of a tensor's axes out of what is known of each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torchprobe.layouts.atoms import Label, Strength, known, length

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torchprobe.layouts.atoms import Axis
    from torchprobe.layouts.rules import Rule

__all__ = ["contradictions", "settle"]


def settle(axes: Sequence[Axis], rule: Rule) -> list[Label | None]:
    """The best name for each axis, None where it cannot be told.

    Of each axis counts, in this order: what the module's type leaves no doubt about; what the data
    flow says (the maker of the axis, then whoever else met it); what is usual after modules of
    this type. Names that only follow from the others come last: a single unnamed axis beside
    samples and positions holds the channels; attention weights, with the same axis twice, have
    queries and, as channels, keys.
    """
    labels = [
        Label(sure, Strength.SURE) if sure else known(axis)
        for axis, sure in zip(axes, rule.sure, strict=True)
    ]
    _keep_one_channel(labels, axes, rule)
    _fill(labels, axes, rule)
    _find_lone_sample(labels, axes)
    _find_channel(labels)
    _name_positions(labels)
    return labels


def contradictions(axes: Sequence[Axis]) -> list[str]:
    """What modules disagree about."""
    found = (atom.role.contradiction() for axis in axes for atom in axis)
    return [text for text in found if text]


def _names(labels: Sequence[Label | None]) -> list[str | None]:
    return [label.name if label else None for label in labels]


def _keep_one_channel(labels: list[Label | None], axes: Sequence[Axis], rule: Rule) -> None:
    """Channels of one layer may be positions of another: a mixer's linear layer over tokens."""
    claimed = [at for at, name in enumerate(_names(labels)) if name == "channel"]
    if len(claimed) > 1:
        others = {at: _other_names(axes[at]) for at in claimed}
        trust = {at: label.strength for at in claimed if (label := labels[at])}
        kept = max(
            claimed,
            key=lambda at: (
                rule.sure[at] == "channel",
                trust[at],
                not others[at],
                _count(axes[at]),
                at,
            ),
        )
        for at in claimed:
            if at != kept:
                labels[at] = next((o for o in others[at] if o.name not in _names(labels)), None)


def _count(axis: Axis) -> int:
    return axis[0].role.count("channel") if len(axis) == 1 else 0


def _other_names(axis: Axis) -> list[Label]:
    """What else an axis is called that someone takes for channels."""
    labels = axis[0].role.labels() if len(axis) == 1 else []
    return [label for label in labels if label.name != "channel"]


def _fill(labels: list[Label | None], axes: Sequence[Axis], rule: Rule) -> None:
    """Usual names for what is unknown: channels where they usually are, the rest in order."""
    free = [name for name in rule.usual if name and name not in _names(labels)]
    for at, label in enumerate(labels):
        if label is None and free and not contradictions([axes[at]]):
            in_place = rule.usual[at] == "channel" and "channel" in free
            name = "channel" if in_place else free[0]
            free.remove(name)
            labels[at] = Label(name, Strength.USUAL)


def _find_lone_sample(labels: list[Label | None], axes: Sequence[Axis]) -> None:
    """Without samples a tensor is one sample: so is an axis of size one that is nothing else."""
    names = _names(labels)
    if "sample" not in names and names.count(None) == 1 and length(axes[names.index(None)]) == 1:
        labels[names.index(None)] = Label("sample", Strength.GUESSED)


def _find_channel(labels: list[Label | None]) -> None:
    names = _names(labels)
    if "channel" in names or not names:
        return
    last = len(names) - 1
    if names.count(None) == 1 and last > 0:
        labels[names.index(None)] = Label("channel", Strength.GUESSED)
    elif None not in names and (names.count(names[last]) > 1 or last == 1):
        labels[last] = Label("channel", Strength.GUESSED)
        twin = names.index(names[last])
        if twin != last and names[last] != "sample":
            labels[twin] = Label("query", Strength.GUESSED)


def _name_positions(labels: list[Label | None]) -> None:
    """A name for the rest once samples and channels are told, and no name twice."""
    if {"sample", "channel"} <= set(_names(labels)):
        labels[:] = [label or Label("position", Strength.GUESSED) for label in labels]
    for at, label in enumerate(labels):
        if label and label.name in _names(labels[:at]):
            labels[at] = Label(_numbered(label.name, _names(labels)), Strength.GUESSED)


def _numbered(name: str, taken: Sequence[str | None]) -> str:
    if name == "sample":
        name = "position"
        if name not in taken:
            return name
    return next(new for n in range(2, 99) if (new := f"{name}_{n}") not in taken)
