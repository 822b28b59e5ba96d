"""The training loop that the networks of this plugin share."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import OneCycleLR

from .progress import bar

__all__ = ["one_thread", "one_thread_of_blas", "train"]


class Cycle(Protocol):
    """What settings of a training with one cycle of the learning rate say."""

    @property
    def epochs(self) -> int:
        """Passes over the batches."""

    @property
    def peak_rate(self) -> float:
        """Highest learning rate of the cycle."""

    @property
    def seed(self) -> int:
        """Seeds the global random state (dropout, masks), which is restored at the end."""


def train(
    model: nn.Module,
    optimiser: torch.optim.Optimizer,
    batches: Any,
    loss_of: Callable[[Any], Tensor],
    settings: Cycle,
    *,
    validation: tuple[str, Callable[[], float]] | None = None,
    progress: bool | None,
) -> list[float]:
    """Trains in place with one cycle of the learning rate and leaves the model in eval mode.

    Args:
        model: What is trained.
        optimiser: Over the model's parameters.
        batches: Has a length and can be iterated over once an epoch.
        loss_of: Returns the loss of a batch.
        settings: Passes, rate and seed.
        validation: What is measured after each epoch and shown beside the bar, and how.
        progress: Whether to show a bar; None shows it in a terminal.

    Returns:
        What validation has measured after each epoch; empty without it.
    """
    history: list[float] = []
    steps = settings.epochs * len(batches)
    schedule = OneCycleLR(
        optimiser, settings.peak_rate, total_steps=max(steps, 2)
    )  # 1 divides by zero
    with (
        torch.random.fork_rng(),
        torch.enable_grad(),
        bar(steps, "training", "step", show=progress) as shown,
    ):
        torch.manual_seed(settings.seed)
        for _ in range(settings.epochs):
            model.train()
            for batch in batches:
                _step(loss_of(batch), optimiser, schedule)
                shown.update()
            if validation is not None:
                said, measure = validation
                history.append(measure())
                shown.set_postfix_str(f"validation {said} {history[-1]:.3f}")
    model.eval()
    return history


def _step(loss: Tensor, optimiser: torch.optim.Optimizer, schedule: OneCycleLR) -> None:
    optimiser.zero_grad()
    torch.autograd.backward(loss)
    optimiser.step()
    schedule.step()


@contextmanager
def one_thread() -> Iterator[None]:
    """Lets torch compute with one thread.

    The nets of the demo are too small to gain from more, and where cores are shared, threads wait
    by spinning: two were seen to take ten times as long as one.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@contextmanager
def one_thread_of_blas() -> Iterator[None]:
    """Lets numpy and scipy compute with one thread, beside those of torch.

    On two cores OpenBLAS's threads wait for each other by spinning: the demo's linear probes were
    seen to take four times as long with two.
    """
    from threadpoolctl import threadpool_limits

    with threadpool_limits(limits=1, user_api="blas"):
        yield
