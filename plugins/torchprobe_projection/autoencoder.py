"""An autoencoder with a bottleneck of two units: how it is made and trained."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import torch

from torchprobe.errors import SettingError
from torchprobe_projection.projector import Projector, require_rows
from torchprobe_projection.training import LEAST_ROWS, Training, standardised

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from torchprobe_projection.clouds import Array
    from torchprobe_projection.projector import Fitted

__all__ = ["Autoencoder"]


class Autoencoder(Projector):
    """D → 100 → 10 → 2 → 10 → 100 → D, trained to give back its input; its encoder is the map.

    Rectified hidden layers, linear bottleneck and output, mean squared error, Adam. A part of the
    rows is held out; training ends when their loss has not fallen by a thousandth for ``patience``
    epochs, and the best weights are kept. Losses are shares of the variance that is lost: 1 is what
    giving back the mean of each channel would lose.

    It learns from the sample, or, with ``passes``, from every row as it streams by, in memory that
    does not grow with the data. What gradient descent finds depends on the order of rows: shuffle
    the "fit" loader then, and expect other numbers from another order.

    Args:
        hidden: widths between the input and the plane.
        epochs: looks at the rows at most. The demo's layers are within a twentieth of their final
            loss after 30, which take a second or two.
        batch: rows in one step of training.
        rate: Adam's learning rate. 0.003 with 128 rows a step reaches the loss of 0.001 with 64 in
            half the time.
        patience: epochs without progress before training ends.
        held_out: share of the sampled rows kept for judging progress.
        standardise: scale channels to the same spread; if not, all by one number, which keeps the
            geometry that the Procrustes distance measures.
        passes: further looks at the "fit" data in which it learns from the stream, each an epoch;
            0 is to learn from the sample. The sample then says what is subtracted and divided by,
            and how training gets on; rows of it that may be shown are not learnt from.

    Raises:
        SettingError: an option is out of range.

    Source: Grósz & Kurimo 2020, section 2.3. Activation functions, optimiser, standardisation,
    stopping and batch are not stated there.
    """

    name = "autoencoder"
    title = "autoencoder"
    trained = True

    def __init__(
        self,
        hidden: Sequence[int] = (100, 10),
        epochs: int = 30,
        batch: int = 128,
        rate: float = 3e-3,
        patience: int = 5,
        held_out: float = 0.1,
        *,
        standardise: bool = True,
        passes: int = 0,
    ) -> None:
        counts = {"epochs": epochs, "batch": batch, "patience": patience}
        for name, count in {**counts, "hidden": min(hidden, default=1)}.items():
            if count < 1:
                raise SettingError(f"autoencoder: {name}={count}; give at least 1")
        if passes < 0:
            raise SettingError(f"autoencoder: passes={passes}; give 0 (the sample) or more")
        if not (0 < held_out < 1 and rate > 0):
            raise SettingError(
                f"autoencoder: held_out={held_out}, rate={rate}; give a share between 0 and 1 and "
                "a positive rate, e.g. 0.1 and 0.001"
            )
        self.hidden, self.epochs, self.batch, self.rate = tuple(hidden), epochs, batch, rate
        self.patience, self.held_out = patience, held_out
        self.standardise, self.passes = standardise, passes

    @torch.inference_mode(mode=False)
    def fit(self, rows: Array, seed: int) -> Fitted:
        """Train on rows [row, channel], of which the last ones are held out.

        Raises:
            InsufficientDataError: fewer than ten rows.
        """
        require_rows(rows, LEAST_ROWS, "an autoencoder", "give more training data")
        training = Training(self, rows.shape[1], shown=0, seed=seed)
        every = torch.from_numpy(np.ascontiguousarray(rows))
        held = self.judged(len(rows))
        training.absorb(training.begin(every, every[-held:]))
        standard = standardised(every[:-held], *(training.state[k] for k in ("mean", "scale")))
        order = torch.Generator().manual_seed(seed)
        with _one_thread():
            for _ in range(self.epochs):
                training.learn(standard[torch.randperm(len(standard), generator=order)])
                training.end_epoch()
                if training.ended:
                    break
        return training.fitted()

    def learner(self, channels: int, shown: int, seed: int) -> Training | None:
        """A training fed by the stream, where passes are asked for."""
        return Training(self, channels, shown, seed) if self.passes else None

    def judged(self, rows: int) -> int:
        """How many of so many rows progress is judged by."""
        return max(1, round(rows * self.held_out))


@contextmanager
def _one_thread() -> Iterator[None]:
    """Train in one thread: the steps are so short that where cores are shared, several wait."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
