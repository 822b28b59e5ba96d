"""A loss that makes neighbouring units of a layer alike."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeAlias
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from torchprobe.errors import SettingError
from torchprobe.patterns import Pattern
from torchprobe.wording import unknown
from torchprobe_topography.activations import Watch
from torchprobe_topography.filters import find_filters, parameters_of
from torchprobe_topography.grid import Grid
from torchprobe_topography.neighbourhood import Neighbourhood
from torchprobe_topography.patterns import Jobs
from torchprobe_topography.terms import Term

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from torchprobe.selection import Selector
    from torchprobe_topography.grid import Uneven
    from torchprobe_topography.neighbourhood import Border
    from torchprobe_topography.schedule import Schedule

__all__ = ["TopographicLoss"]

Direction: TypeAlias = Literal["similar", "literal"]
Reduction: TypeAlias = Literal["sum", "mean"]

_WORTH_COMPILING = 1 << 20
"""Weights of all layers: a second of compiling is won back in a thousand steps."""

_CHOICES = {
    "on": ("weights", "activations"),
    "direction": ("similar", "literal"),
    "reduction": ("sum", "mean"),
    "uneven": ("error", "pad"),
}


class TopographicLoss(nn.Module):
    """Loss that arranges a layer's units in a grid in which neighbours are alike.

    L = λ Σ_layers Σ_c [ Σ_{j ∈ N(c)} ω_cj (1 − cos(w_c, w_j)) + μ · mean_{j ≠ c} cos(w_c, w_j) ]

    where w_c are all weights that lead to unit c (no bias), N(c) the cells around its own
    (`Neighbourhood`), and cos clamps norms at 1e-8. It has no parameters, does not hold the model,
    and can be used in any loop::

        topographic = TopographicLoss("hidden.*")
        loss = criterion(model(x), y) + topographic(model)

    or without touching the loss, with `attach` and the callbacks of `torchprobe_topography`.

    Args:
        layers: which layers of a model, as `torchprobe.Probe` takes them. Leave out the output
            layer: the order of its units is that of the classes.
        strength: λ, a number or a schedule (`Ramp`) over optimiser steps. The paper does not state
            it; 0.001 is torchprobe's choice: under Adam it took the five layers of the demo's
            phoneme net to a neighbour cosine of 0.27 to 0.88 (any two filters: 0.01 to 0.23) at an
            accuracy within noise of three seeds; 0.003 cost one point of accuracy, 0.01 three.
        on: "weights", as the paper; or "activations" (the paper's future work): w_c are then a
            unit's centred activations over the batch, cos is their correlation, and the model must
            run inside `watch`.
        grids: layer name or glob → (rows, columns); near a square by default (`Grid.of`).
        uneven: what becomes of layers whose number of units no near-square grid holds: "error", or
            "pad" leaves cells empty.
        size: n of the n × n neighbourhood; 3 is the paper's.
        border: "truncate" or "wrap" (`Neighbourhood`).
        direction: "similar" takes 1 − cos. The paper's text says that cosine similarity is
            minimised, which "literal" does (+cos): neighbours then become opposites.
        reduction: "sum" over units as in the paper, or the "mean", which is the sum divided by
            the layer's units.
        dissimilarity: μ, how strongly units are to differ on the whole, whatever their places: a
            global similarity penalty, which the paper names as future work without a formula.
        channel_axis: which axis of an output is that of the units, where "activations" come from
            modules that do not say so themselves (a ReLU after a convolution).

    Raises:
        SettingError: a setting that is not allowed.

    Source: Krug & Stober 2019, section 2.1; after Kavukcuoglu et al. 2009. Deviations: filters
    with a norm below 1e-8 get no gradient (by the formula it would be 1e8 long).

    Example:
        >>> model = nn.Sequential(nn.Linear(2, 4, bias=False))
        >>> _ = model[0].weight.data.copy_(torch.tensor([[1.0, 0], [1, 0], [0, 1], [0, 1]]))
        >>> round(TopographicLoss("0", strength=1.0)(model).item(), 6)
        2.522408
    """

    def __init__(
        self,
        layers: Selector,
        strength: float | Schedule = 0.001,
        *,
        on: Literal["weights", "activations"] = "weights",
        grids: Mapping[str, tuple[int, int]] | None = None,
        uneven: Uneven = "error",
        size: int = 3,
        border: Border = "truncate",
        direction: Direction = "similar",
        reduction: Reduction = "sum",
        dissimilarity: float = 0.0,
        channel_axis: int | None = None,
    ) -> None:
        super().__init__()
        self.layers, self.strength, self.on = layers, strength, on
        self.grids, self.uneven = dict(grids or {}), uneven
        self.neighbourhood = Neighbourhood(size, border)
        self.direction, self.reduction = direction, reduction
        self.dissimilarity, self.channel_axis = dissimilarity, channel_axis
        self.steps = 0
        """Optimiser steps done, which a schedule goes by."""
        self._check()
        self._terms: WeakKeyDictionary[nn.Module, dict[str, Term]] = WeakKeyDictionary()
        self._watch: Watch | None = None

    def _check(self) -> None:
        for setting, allowed in _CHOICES.items():
            if getattr(self, setting) not in allowed:
                choices = " or ".join(map(repr, allowed))
                raise SettingError(f"{setting}={getattr(self, setting)!r}; choose {choices}")
        if self.layers is None:
            raise SettingError(
                "say which layers, e.g. 'hidden.*'; leave out the output layer, the order of whose "
                "units is that of the classes"
            )
        weights = {"dissimilarity": self.dissimilarity}
        if not callable(self.strength):
            weights["strength"] = self.strength
        for name, value in weights.items():
            if not 0 <= value < float("inf"):
                raise SettingError(f"{name}={value!r}; give 0 or a positive number")

    # -- the loss

    def forward(self, model: nn.Module) -> Tensor:
        """The loss of a model: a scalar, in float64 if its weights are and float32 otherwise.

        Raises:
            LayerNotFoundError: the model has no such layers, or they have no filters.
            ShapeError: a layer's units fit no grid; says what would do.
            SettingError: fewer than four units; activations without `watch`.
        """
        terms = self.terms(model)
        values = [terms[name].value(filters) for name, filters in self._filters(terms)]
        return _sum(values) * self.strength_now

    def add_gradient(
        self, model: nn.Module, scale: Tensor | float = 1.0, every: int = 1
    ) -> Tensor | None:
        """Add the loss's gradient to the parameters' ``.grad``, as if it had been in the loss.

        For loops of one's own that do not use `attach`: once for each optimiser step, after the
        backward passes (and after ``scaler.unscale_``), before clipping. In float32 and float64
        nothing of the weights' size is allocated.

        Args:
            model: whose.
            scale: factor of the gradients that are there, if they are still scaled.
            every: only at every so many steps (as `advance` counts them), as many times as strong:
                cheaper, and nearly the same for a loss that changes slowly (lazy regularisation,
                Karras et al. 2020, "Analyzing and improving the image quality of StyleGAN", 3.1).

        Returns:
            The loss itself, unscaled and detached; None at the steps between.

        Raises:
            SettingError: the loss is on activations, which need a backward pass of their own; or
                ``every`` is below 1.
        """
        if self.on != "weights":
            raise SettingError(
                "on='activations' cannot be added after the backward pass; add the loss of "
                "topographic(model) to yours, inside topographic.watch(model)"
            )
        if every < 1:
            raise SettingError(f"every={every}; give 1 or more steps")
        if self.steps % every:
            return None
        strength, jobs = self.strength_now, Jobs()
        begun = [term.begin(jobs) for term in self.terms(model).values()]
        jobs.run()
        values = [add(scale * strength * every) for add in begun]
        jobs.run()
        return _sum(values) * strength

    def advance(self) -> None:
        """Count an optimiser step, for schedules; `attach` and the callbacks do so themselves."""
        self.steps += 1

    @property
    def strength_now(self) -> float:
        """λ at this step.

        Raises:
            SettingError: the schedule gave no number of 0 or more.
        """
        if not callable(self.strength):
            return self.strength
        now = float(self.strength(self.steps))
        if not 0 <= now < float("inf"):
            raise SettingError(f"the schedule gave a strength of {now} at step {self.steps}")
        return now

    # -- what it is about

    def watch(self, model: nn.Module) -> Watch:
        """Keep a model's activations for the loss on "activations": ``with t.watch(model): ...``.

        Of each forward pass in training mode the layers' outputs are kept, with their graph, until
        the loss is computed or the next pass begins. Padding counts as any other position.
        """
        if self.on != "activations":
            raise SettingError("on='weights' needs no watching; give on='activations'")
        self._watch = Watch(model, self.layers, self.channel_axis)
        return self._watch

    def terms(self, model: nn.Module) -> dict[str, Term]:
        """The layers of a model with their grids, by name; worked out once for a model."""
        if model not in self._terms:
            found = find_filters(model, self.layers) if self.on == "weights" else []
            loops = sum(each.of(each.weight).numel() for each in found) >= _WORTH_COMPILING
            terms = {each.name: self._term(each.name, each.units, each, loops) for each in found}
            if terms:
                self._check_grids(terms)
            self._terms[model] = terms
        return self._terms[model]

    def grids_of(self, model: nn.Module) -> dict[str, Grid]:
        """The grid of each layer, by name."""
        return {name: term.grid for name, term in self.terms(model).items()}

    def trained(self, model: nn.Module) -> list[Tensor]:
        """The parameters that the loss on weights reaches."""
        filters = [term.filters for term in self.terms(model).values() if term.filters]
        return [each for one in filters for each in parameters_of(one)]

    def _filters(self, terms: dict[str, Term]) -> Iterator[tuple[str, Tensor | None]]:
        if self.on == "weights":
            yield from ((name, None) for name in terms)
            return
        if self._watch is None:
            raise SettingError("on='activations' needs `with topographic.watch(model): ...`")
        for name, units in self._watch.take().items():
            if name not in terms:
                terms[name] = self._term(name, len(units), None, loops=False)
            yield name, units

    def _term(self, name: str, units: int, filters: Any, loops: bool) -> Term:
        shape = next(
            (s for p, s in self.grids.items() if Pattern.parse(p).matches_name(name)), None
        )
        try:
            grid = Grid.of(units, shape, self.uneven)
            pairs = self.neighbourhood.pairs(grid)
        except ValueError as error:
            raise type(error)(f"layer {name!r}: {error}") from error
        literal, mean = self.direction == "literal", self.reduction == "mean"
        factor = 1 / units if mean else 1.0
        return Term(grid, pairs, filters, literal, factor, self.dissimilarity, loops)

    def _check_grids(self, terms: dict[str, Term]) -> None:
        for pattern in self.grids:
            if not any(Pattern.parse(pattern).matches_name(name) for name in terms):
                raise SettingError(f"grids: {unknown('layer', pattern, terms)}")

    # -- nn.Module's own

    def get_extra_state(self) -> dict[str, int]:
        """What a checkpoint keeps: how far a schedule is."""
        return {"steps": self.steps}

    def set_extra_state(self, state: dict[str, int]) -> None:
        """Go on from a checkpoint."""
        self.steps = int(state["steps"])

    def __getstate__(self) -> dict[str, Any]:
        """Copies and pickles carry the settings, not the models that the loss has met."""
        return {**self.__dict__, "_terms": None, "_watch": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Begin without models."""
        super().__setstate__(  # type: ignore[no-untyped-call]
            {**state, "_terms": WeakKeyDictionary()}
        )

    def extra_repr(self) -> str:
        """The settings that say what it does."""
        return (
            f"{self.layers!r}, strength={self.strength!r}, on={self.on!r}, "
            f"size={self.neighbourhood.size}, border={self.neighbourhood.border!r}"
        )


def _sum(values: list[Tensor]) -> Tensor:
    """Of scalars that may be on several devices."""
    return torch.stack([value.to(values[0].device) for value in values]).sum()
