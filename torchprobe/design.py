"""What a probe is made of: all that is needed to listen anew, nothing of what was seen."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

from torchprobe import distributed, state
from torchprobe.labels import ClassNames
from torchprobe.layouts import Layouts
from torchprobe.loading import device_of
from torchprobe.plugins import plugins
from torchprobe.sample_ids import SampleIds
from torchprobe.stream import Stream

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch
    from torch import nn

    from torchprobe.analyzer import Analyzer
    from torchprobe.axes import Axes
    from torchprobe.groupings import Grouping
    from torchprobe.objective import Objective
    from torchprobe.options import Options
    from torchprobe.receptive_fields import Book
    from torchprobe.selection import Selection
    from torchprobe.training_loss import TrainingLoss

__all__ = ["Design"]


@dataclass(frozen=True, eq=False)
class Design:
    """A model, a choice of layers, analyzers, and how a probe treats what it meets."""

    model: nn.Module
    modules: Mapping[str, nn.Module]
    """The model's modules by their names."""
    selection: Selection
    lenient: bool
    """Whether nobody chose the layers."""
    analyzers: Mapping[str, Analyzer]
    axes: Mapping[str, str | Axes]
    """What the user says that axes mean, by layer name or glob."""
    groupings: Mapping[str, Grouping]
    """Those that are computed from the outputs."""
    class_names: Mapping[str, Any]
    book: Book
    options: Options

    def aimed(self, objective: Objective | TrainingLoss) -> Self:
        """The same with another objective."""
        return replace(self, options=replace(self.options, objective=objective))

    def stream(self) -> Stream:
        """One that has seen nothing."""
        stream = Stream(
            self.selection,
            Layouts(self.model, self.axes, plugins().layout),
            self.analyzers,
            self.groupings,
            self.options,
            (self.root, self.book.input),
        )
        stream.class_names = {name: ClassNames(given) for name, given in self.class_names.items()}
        stream.lenient = self.lenient
        stream.book = self.book
        together = self.options.distributed == "auto"
        stream.ids = SampleIds(distributed.place) if together else SampleIds()
        return stream

    def described(self) -> str:
        """What states depend on, as text to be compared with another's."""
        options, rules = self.options, self.book.rules
        given = [self.book.input] if self.selection.input else []
        return state.describe(
            layers=[*self.selection.modules, *given],
            analyzers=state.analyzers_described(self.analyzers),
            groupings=list(self.groupings),
            options={name: getattr(options, name) for name in ("calls", "max_calls", "nonfinite")},
            objective=options.objective.described(),
            axes={name: str(axes) for name, axes in self.axes.items()},
            rules={name: getattr(rules, name) for name in ("labels_at", "label_rule", "mask_rule")},
        )

    @property
    def root(self) -> str:
        """What the model itself is called."""
        return self.book.root

    @property
    def unwrapped(self) -> nn.Module:
        """The model without what wraps it."""
        return self.modules[self.root]

    @property
    def devices(self) -> list[torch.device]:
        """Where the model's parameters are, at least one."""
        found = dict.fromkeys(parameter.device for parameter in self.model.parameters())
        return [*found] or [device_of(self.model)]

    @property
    def finds(self) -> bool:
        """Whether analyzers find something in a pass that later ones use."""
        return any(each.finds for each in self.analyzers.values())

    @property
    def passes(self) -> int:
        """How often analyzers must see the split "fit"."""
        return max((each.passes for each in self.analyzers.values()), default=1)
