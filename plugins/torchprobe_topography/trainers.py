"""The topographic loss in Lightning and in Hugging Face's Trainer."""

from __future__ import annotations

import functools
import sys
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from torchprobe.errors import AttachError, MissingExtraError
from torchprobe_topography.attach import check, follows

if TYPE_CHECKING:
    from torch import Tensor, nn

    from torchprobe_topography.loss import TopographicLoss

__all__ = ["lightning_callback", "transformers_callback"]

_LIGHTNINGS = ("lightning.pytorch", "pytorch_lightning")


def lightning_callback(topographic: TopographicLoss, *, log: bool = True, every: int = 1) -> Any:
    """A callback that lets a LightningModule follow the topographic loss.

    The gradient is added once for each optimiser step: after the backward passes that are
    accumulated and after unscaling, before clipping; on every process, once DDP has averaged the
    gradients. Parameters are those of a training step that returns ``loss + topographic(self)``.

    Args:
        topographic: the loss, on weights of the LightningModule (layers by the module's names).
            The step of its schedule is kept in checkpoints.
        log: whether to log "topographic_loss" at every step that it is added to.
        every: add the gradient at every so many steps only, as many times as strong.

    Returns:
        A ``Callback`` for ``Trainer(callbacks=[...])``, of ``lightning`` or ``pytorch_lightning``,
        whichever is imported.

    Raises:
        MissingExtraError: neither is installed.

    When training begins it raises `AttachError` if weights are sharded, or not exactly one
    optimizer trains them.
    """
    return _class(_Lightning, _lightning_bases())(topographic, log=log, every=every)


def transformers_callback(topographic: TopographicLoss, *, every: int = 1) -> Any:
    """A callback that lets a model follow the topographic loss in Hugging Face's Trainer.

    The gradient is there before the backward passes of a step add theirs to it, scaled as they
    will be, so that what is accumulated, averaged by DDP, unscaled and clipped is the sum.
    Parameters are those of a ``compute_loss`` that returns ``loss + topographic(model)``.

    Args:
        topographic: the loss, on weights of the model.
        every: add the gradient at every so many steps only, as many times as strong.

    Returns:
        A ``TrainerCallback``.

    Raises:
        MissingExtraError: transformers is not installed.

    When training begins it raises `AttachError` under DeepSpeed, where gradients are the engine's,
    and where weights are sharded.
    """
    if not find_spec("transformers"):
        raise MissingExtraError(
            "transformers is not installed: pip install 'torchprobe[transformers]'"
        )
    from transformers import TrainerCallback

    return _class(_Transformers, (TrainerCallback,))(topographic, every=every)


class _Lightning:
    """What does the work under either name of Lightning."""

    def __init__(self, topographic: TopographicLoss, *, log: bool, every: int) -> None:
        super().__init__()
        self.topographic, self.log, self.every = topographic, log, every
        self.value: Tensor | None = None
        """The loss at the latest step that it was added to, detached."""

    @property
    def state_key(self) -> str:
        """Under which a checkpoint keeps the step of the schedule."""
        return "torchprobe:topography"

    def state_dict(self) -> dict[str, Any]:
        """The step of the schedule."""
        return self.topographic.get_extra_state()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        self.topographic.set_extra_state(state)

    def on_train_start(self, trainer: Any, pl_module: nn.Module) -> None:
        """Refuse what would go wrong silently."""
        steering = [
            each for each in trainer.optimizers if follows(self.topographic, pl_module, each)
        ]
        if len(steering) > 1:
            raise AttachError(
                f"{len(steering)} optimizers train weights of this topographic loss; make a "
                "callback for each, with the layers that it trains"
            )
        for optimizer in steering or trainer.optimizers:
            check(self.topographic, pl_module, optimizer)

    def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
        """Gradients are complete and not clipped yet: add the loss's own."""
        if not follows(self.topographic, pl_module, optimizer):
            return
        scaler = getattr(trainer.precision_plugin, "scaler", None)
        still_scaled = scaler is not None and hasattr(optimizer, "_step_supports_amp_scaling")
        scale = scaler.get_scale() if scaler is not None and still_scaled else 1.0
        added = self.topographic.add_gradient(pl_module, scale, self.every)
        self.topographic.advance()
        if added is None:
            return
        self.value = added
        if self.log:
            pl_module.log("topographic_loss", added)


class _Transformers:
    """What does the work in Hugging Face's Trainer."""

    def __init__(self, topographic: TopographicLoss, *, every: int) -> None:
        super().__init__()
        self.topographic, self.every = topographic, every
        self.value: Tensor | None = None
        """The loss at the latest step that it was added to, detached."""

    def on_train_begin(
        self, args: Any, state: Any, _: Any, *, model: nn.Module, optimizer: Any, **__: Any
    ) -> None:
        """Refuse what would go wrong silently; go on with the schedule where a run is resumed."""
        if getattr(args, "deepspeed", None):
            raise AttachError(
                "DeepSpeed keeps gradients to itself; add topographic(model) in compute_loss"
            )
        check(self.topographic, model, optimizer)
        self.topographic.steps = state.global_step

    def on_step_begin(self, *_: Any, model: nn.Module, optimizer: Any, **__: Any) -> None:
        """Gradients are cleared: begin with the loss's own, to which the passes add theirs."""
        scaler = getattr(optimizer, "scaler", None)
        scale = 1.0 if scaler is None else scaler.get_scale()
        added = self.topographic.add_gradient(model, scale, self.every)
        self.value = self.value if added is None else added

    def on_optimizer_step(self, *_: Any, **__: Any) -> None:
        """Count the step."""
        self.topographic.advance()


def _lightning_bases() -> tuple[type, ...]:
    """The callback classes of the Lightnings that are in use, or of the first installed."""
    used = [name for name in _LIGHTNINGS if name in sys.modules]
    installed = [name for name in _LIGHTNINGS if find_spec(name.split(".")[0])]
    if not installed:
        raise MissingExtraError("Lightning is not installed: pip install 'torchprobe[lightning]'")
    return tuple(import_module(name).Callback for name in used or installed[:1])


@functools.cache
def _class(does: type, bases: tuple[type, ...]) -> Any:
    """A trainer's callback class that works as another class says."""
    return type(f"Topography{bases[0].__name__}", (does, *bases), {"__doc__": does.__doc__})
