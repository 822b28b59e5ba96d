"""The training loop that the networks of this plugin share."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import OneCycleLR

from .progress import bar

__all__ = ["one_thread", "one_thread_of_blas", "train"]


def train(
    model: nn.Module,
    optimiser: torch.optim.Optimizer,
    batches: Any,
    loss_of: Callable[[Any], Tensor],
    *,
    epochs: int,
    peak_rate: float,
    seed: int,
    after_epoch: Callable[[], str],
    progress: bool | None,
) -> None:
    """Trains in place with one cycle of the learning rate and leaves the model in eval mode.

    Args:
        model: What is trained.
        optimiser: Over the model's parameters.
        batches: Has a length and can be iterated over once an epoch.
        loss_of: Returns the loss of a batch.
        epochs: Passes over the batches.
        peak_rate: Highest learning rate of the cycle.
        seed: Seeds the global random state (dropout, masks), which is restored at the end.
        after_epoch: Called after each epoch; what it returns is shown beside the bar.
        progress: Whether to show a bar; None shows it in a terminal.
    """
    steps = epochs * len(batches)
    schedule = OneCycleLR(optimiser, peak_rate, total_steps=max(steps, 2))  # 1 divides by zero
    with (
        torch.random.fork_rng(),
        torch.enable_grad(),
        bar(steps, "training", "step", show=progress) as shown,
    ):
        torch.manual_seed(seed)
        for _ in range(epochs):
            model.train()
            for batch in batches:
                _step(loss_of(batch), optimiser, schedule)
                shown.update()
            shown.set_postfix_str(after_epoch())
    model.eval()


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
