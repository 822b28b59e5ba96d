"""The topographic loss without touching the loss: its gradient is added before each step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from torchprobe.errors import AttachError

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch
    from torch import Tensor, nn
    from torch.utils.hooks import RemovableHandle

    from torchprobe_topography.loss import TopographicLoss

__all__ = ["Attached", "attach"]


def attach(
    topographic: TopographicLoss,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    *,
    every: int = 1,
) -> Attached:
    """Let every ``optimizer.step()`` follow the topographic loss as well.

    Just before the optimizer reads them, the loss's gradient is added to the gradients that are
    there: once a step, however many backward passes were accumulated; unscaled, or scaled where
    the optimizer does the unscaling itself (fused ones under a ``GradScaler``); the same on every
    process of DDP, after these have averaged theirs. Parameters are those that training with
    ``loss + topographic(model)`` gives, where the accumulated losses are means.

    Gradients that are clipped before the step are clipped without this one; to clip them together,
    call ``topographic.add_gradient(model)`` before clipping instead of attaching.

    Args:
        topographic: the loss, on weights.
        model: whose weights; wrapped by DDP or not.
        optimizer: whose steps count. A model with several optimizers is attached to one of them,
            or to each with a loss of its own.
        every: add the gradient at every so many steps only, as many times as strong: cheaper, and
            no longer exactly what the term in the loss gives.

    Returns:
        The attachment, a context manager; `Attached.remove` ends it.

    Raises:
        AttachError: the loss is on activations, or the optimizer trains none of its weights.
        LayerNotFoundError, ShapeError, SettingError: as the loss itself.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from torchprobe_topography import TopographicLoss
        >>> model = nn.Linear(3, 4)
        >>> sgd = torch.optim.SGD(model.parameters(), lr=0.1)
        >>> with attach(TopographicLoss("*"), model, sgd) as attached:
        ...     model(torch.ones(2, 3)).sum().backward()
        ...     sgd.step()
        >>> attached.value.item() > 0
        True
    """
    check(topographic, model, optimizer)
    return Attached(topographic, model, optimizer, every)


class Attached:
    """A topographic loss that an optimizer follows."""

    def __init__(
        self,
        topographic: TopographicLoss,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        every: int,
    ) -> None:
        self.topographic, self.model, self.every = topographic, model, every
        self.value: Tensor | None = None
        """The loss at the latest step that it was added to, detached; None before the first."""
        self._handles: list[RemovableHandle] = [
            optimizer.register_step_pre_hook(self._before),
            optimizer.register_step_post_hook(self._after),
        ]

    def remove(self) -> None:
        """Leave the optimizer as it was."""
        while self._handles:
            self._handles.pop().remove()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()

    def _before(
        self, optimizer: torch.optim.Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        """Add the gradient; where a closure is to compute gradients, have it do so after that."""
        closure = kwargs.get("closure", args[1] if len(args) > 1 else None)
        if closure is None:
            scale = getattr(optimizer, "grad_scale", None)
            self._add(1.0 if scale is None else scale)
            return None
        wrapped = self._wrapped(closure)
        if "closure" in kwargs:
            return args, {**kwargs, "closure": wrapped}
        return (args[0], wrapped, *args[2:]), kwargs

    def _wrapped(self, closure: Callable[[], Any]) -> Callable[[], Any]:
        def with_topography() -> Any:
            loss = closure()
            added = self._add(1.0)
            return loss if loss is None or added is None else loss + added

        return with_topography

    def _add(self, scale: Tensor | float) -> Tensor | None:
        added = self.topographic.add_gradient(self.model, scale, self.every)
        self.value = self.value if added is None else added
        return added

    def _after(self, *_: object) -> None:
        self.topographic.advance()


def check(topographic: TopographicLoss, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Raise `AttachError` unless an optimizer can follow the loss."""
    if topographic.on != "weights":
        raise AttachError(
            "a loss on activations needs the forward pass's graph; add topographic(model) to your "
            "loss, inside topographic.watch(model)"
        )
    if not follows(topographic, model, optimizer):
        raise AttachError(
            f"the optimizer trains none of the weights of {', '.join(topographic.terms(model))}; "
            "attach to the optimizer that does, or thaw the layers"
        )


def follows(
    topographic: TopographicLoss, model: nn.Module, optimizer: torch.optim.Optimizer
) -> bool:
    """Whether an optimizer trains weights that the loss reaches."""
    weights = {id(each) for each in topographic.trained(model)}
    steered = (id(each) for group in optimizer.param_groups for each in group["params"])
    return not weights.isdisjoint(steered)
