"""An autoencoder in training, as an accumulator: fed by a sample, or by rows as they stream."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from torchprobe import Field
from torchprobe.accumulators.slots import Slot, Slots, float64, int64
from torchprobe.errors import InsufficientDataError, MergeError
from torchprobe_projection.network import PLANE, PlaneNetwork
from torchprobe_projection.projector import Fitted, Learner

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torchprobe.accumulators import State
    from torchprobe_projection.autoencoder import Autoencoder
    from torchprobe_projection.labelled_sample import LabelledSample

__all__ = ["Training"]

ROUNDING = 1e-12  # a standard deviation below this share of a channel's size is that of a constant
LEAST_ROWS = 10
PROGRESS = 0.999  # a loss counts as fallen below this share of the best so far


class Training(Learner):
    """Adam on mini-batches of rows in the order in which they come.

    Rows that do not fill a mini-batch wait for the next ones: how they were cut into batches does
    not matter, their order does. Two trainings cannot be merged into what one would have found.

    Args:
        recipe: widths, mini-batches, rate and stopping.
        channels: of a row.
        shown: how many of the sampled rows may be shown, which are not learnt from.
        seed: of the weights at the beginning.
    """

    def __init__(self, recipe: Autoencoder, channels: int, shown: int, seed: int) -> None:
        super().__init__()
        self.recipe, self.channels, self.shown, self.seed = recipe, channels, shown, seed
        self.widths = (channels, *recipe.hidden, PLANE, *reversed(recipe.hidden), channels)

    @property
    def slots(self) -> Slots:
        """What a training under way consists of."""
        pairs = zip(self.widths, self.widths[1:], strict=False)
        vector = Slot(torch.float32, (sum((inputs + 1) * outputs for inputs, outputs in pairs),))
        channel = float64(self.channels)
        return {
            **dict.fromkeys(("mean", "scale"), channel),
            **dict.fromkeys(("parameters", "best", "first", "second"), vector),
            "steps": Slot(torch.float32, ("tensor",)),
            "rows": Slot(torch.float32, ("waiting", self.channels)),
            "judged": Slot(torch.float32, ("judged", self.channels)),
            "losses": float64("epoch", 2),
            "learnt": float64(2),
            "number": int64(),
        }

    # -- from a sample, and from the stream after it

    def begin(self, rows: Tensor, judged: Tensor) -> State:
        """The state before any step: what rows [row, channel] look like, and fresh weights."""
        mean, scale = _standard(rows, self.recipe.standardise)
        network = _network(mean, scale, self.widths).draw(self.seed)
        parameters = parameters_to_vector(network.parameters()).detach()
        state = {
            "mean": mean,
            "scale": scale,
            "parameters": parameters,
            "best": parameters.clone(),
            "first": torch.zeros_like(parameters),
            "second": torch.zeros_like(parameters),
            "steps": torch.zeros(len(list(network.parameters()))),
            "rows": rows.new_zeros(0, self.channels, dtype=torch.float32),
            "judged": standardised(judged, mean, scale),
            "losses": torch.zeros(0, 2, dtype=torch.float64),
            "learnt": torch.zeros(2, dtype=torch.float64),  # sum of losses, and of how many rows
            "number": torch.tensor(0),
        }
        return {name: tensor.to(rows.device) for name, tensor in state.items()}

    def reduce(self, rows: Tensor, ids: Tensor, number: int, sample: LabelledSample) -> State:
        """The rows of one batch that are learnt from, in passes after the first, standardised.

        Args:
            rows: float64 [row, channel].
            ids: int64 [row].
            number: which pass it is.
            sample: of all rows, from the first pass; it says what rows look like, and its first
                ones, that may be shown, and the next, by which progress is judged, are left out.
        """
        if not 1 <= number <= self.recipe.passes or len(sample.ids) < LEAST_ROWS:
            return {}
        shown, judged = self._apart(len(sample.ids))
        begun = self.state or self.begin(sample.rows[judged:], sample.rows[shown:judged])
        others = ~torch.isin(ids.cpu(), sample.ids[:judged])
        kept = standardised(rows[others.to(rows.device)], begun["mean"], begun["scale"])
        own = {} if self.state else begun
        return {**own, "rows": kept, "number": torch.tensor(number, device=kept.device)}

    def absorb(self, state: State) -> None:
        """Take a state over, or learn from the rows of a batch's."""
        if not self.state:
            self.state = {**state, "rows": state["rows"][:0]}
        elif bool(state.get("steps", torch.zeros(1)).any()):
            raise MergeError(
                "two trainings of an autoencoder cannot be merged into one; let it learn from the "
                "stream in one process, or from the sample: options={'autoencoder': {'passes': 0}}"
            )
        if state["number"] > self.state["number"]:
            self.end_epoch()
            self.state["number"] = state["number"]
        self.learn(state["rows"])

    def _apart(self, rows: int) -> tuple[int, int]:
        """Where, among the sample's rows, those shown and those judged by end."""
        shown = min(self.shown, rows // 2)
        return shown, shown + self.recipe.judged(rows - shown)

    # -- gradient descent

    def learn(self, rows: Tensor) -> None:
        """Go on with standardised rows [row, channel]; those that fill no mini-batch wait."""
        size = self.recipe.batch
        waiting = torch.cat([self.state["rows"], rows])
        whole = 0 if self.ended else len(waiting) // size * size
        self._descend(waiting[:whole].split(size) if whole else ())
        self.state["rows"] = waiting[len(waiting) if self.ended else whole :].clone()

    @torch.no_grad()
    def end_epoch(self) -> None:
        """Use up the rows that wait, and judge progress by the rows held out."""
        if self.ended:
            return
        if len(self.state["rows"]):
            self._descend([self.state["rows"]])
            self.state["rows"] = self.state["rows"][:0]
        if not self.state["learnt"][1]:
            return
        unseen = _loss(_whole(self._network("parameters")), self.state["judged"])
        total, count = self.state["learnt"]
        losses = torch.stack([total / count, unseen.double()])
        if not (unseen >= self.state["losses"][:, 1]).any():
            self.state["best"] = self.state["parameters"].clone()
        self.state["losses"] = torch.cat([self.state["losses"], losses[None]])
        self.state["learnt"] = torch.zeros_like(self.state["learnt"])

    @property
    def ended(self) -> bool:
        """Whether the rows held out have gained nothing for as long as patience lasts."""
        best, waited = np.inf, 0
        for unseen in self.state["losses"][:, 1].tolist():
            waited = 0 if unseen < PROGRESS * best else waited + 1
            best = min(best, unseen)
        return waited >= self.recipe.patience

    def fitted(self) -> Fitted:
        """What was found, as of now.

        Raises:
            InsufficientDataError: no row was learnt from.
        """
        if not self.state:
            raise InsufficientDataError(
                f"an autoencoder with passes={self.recipe.passes} learns in further passes over "
                "the 'fit' data, which brought too few rows, or none; use probe.run(fit=...), or "
                "passes=0"
            )
        now = copy.copy(self)
        now.state = {name: tensor.clone().cpu() for name, tensor in self.state.items()}
        now.end_epoch()
        network = now._network("best").kept()  # noqa: SLF001 - a copy of this very object
        losses = Field("epoch part", now.state["losses"], range=(0, None))
        return Fitted(transform=network.transform, network=network, fields={"loss": losses})

    def _network(self, weights: str) -> PlaneNetwork:
        """The network with some weights of the state, whose memory it shares."""
        network = _network(self.state["mean"], self.state["scale"], self.widths)
        vector_to_parameters(self.state[weights], network.parameters())
        return network

    @torch.enable_grad()
    def _descend(self, batches: Iterable[Tensor]) -> None:
        """A step for each mini-batch, written into the state."""
        whole = _whole(self._network("parameters"))
        adam = self._adam(list(whole.parameters()))
        for rows in batches:
            with torch.autocast(rows.device.type, enabled=False):  # whatever the model's loop uses
                loss = _loss(whole, rows)
            adam.zero_grad()
            loss.backward()
            adam.step()
            self.state["learnt"] += torch.stack(
                [loss.detach() * len(rows), loss.new_tensor(len(rows))]
            )

    def _adam(self, parameters: list[nn.Parameter]) -> torch.optim.Adam:
        """Adam where it was left, its moments being views of the state."""
        # fused: an ordinary step spends more time in Python than in its arithmetic
        adam = torch.optim.Adam(parameters, self.recipe.rate, fused=True)
        sizes = [each.numel() for each in parameters]
        first, second = (self.state[name].split(sizes) for name in ("first", "second"))
        for each, step, one, two in zip(
            parameters, self.state["steps"], first, second, strict=True
        ):
            shape = each.shape
            moments = {"exp_avg": one.view(shape), "exp_avg_sq": two.view(shape)}
            adam.state[each] = {"step": step, **moments}
        return adam


def standardised(rows: Tensor, mean: Tensor, scale: Tensor) -> Tensor:
    """Rows as the network learns from them: float32 [row, channel]."""
    return ((rows - mean) / scale).float()


def _standard(rows: Tensor, standardise: bool) -> tuple[Tensor, Tensor]:
    """What is subtracted from rows, and what they are divided by: float64 [channel] each."""
    mean = rows.mean(dim=0, dtype=torch.float64)
    spread = (rows - mean).square().mean(dim=0).sqrt()
    spread[spread <= ROUNDING * rows.abs().amax(dim=0)] = 0.0
    if not standardise:
        spread[:] = spread.square().mean().sqrt()
    return mean, torch.where(spread > 0, spread, 1.0)


def _network(mean: Tensor, scale: Tensor, widths: tuple[int, ...]) -> PlaneNetwork:
    return PlaneNetwork(mean.numpy(force=True), scale.numpy(force=True), widths)


def _whole(network: PlaneNetwork) -> nn.Sequential:
    return nn.Sequential(*network.encode_layers, *network.decode_layers)


def _loss(network: nn.Module, rows: Tensor) -> Tensor:
    return nn.functional.mse_loss(network(rows), rows)
