"""How far a run is, saved every few batches, so that one that was killed goes on where it was."""

from __future__ import annotations

import hashlib
from copy import copy
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import torch

from torchprobe.errors import FileFormatError, SettingError
from torchprobe.storage import INDEX, load_arrays, save_arrays

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    from torch import Tensor, nn

    from torchprobe.distributed import Team
    from torchprobe.state import State

__all__ = ["Checkpoint", "Progress"]

_KIND = "run"


@dataclass
class Progress:
    """How far a run is."""

    phase: int = 0
    """Which of its passes it is in."""
    batches: int = 0
    """How many batches of that pass were seen."""
    order: str = ""
    """What tells the loader of that pass from another."""
    model: str = ""
    """What tells the model's weights from others."""
    generator: Tensor = field(default_factory=torch.get_rng_state)
    """torch's generator as it was when the pass began, so that a shuffled order comes again."""


class Checkpoint:
    """A folder that holds the state of a run, replaced in one step, without pickle.

    Args:
        folder: made if it does not exist.
        every: batches from one save to the next.
        model: whose weights the run is about.

    Raises:
        SettingError: ``every`` is less than 1.
    """

    def __init__(self, folder: str | os.PathLike[str], every: int, model: nn.Module) -> None:
        if every < 1:
            raise SettingError(f"every={every}; save after so many batches, at least 1")
        self.folder, self.every = Path(folder), every
        self._weights = _digest(model)

    @classmethod
    def of_process(
        cls, folder: str | os.PathLike[str], every: int, model: nn.Module, team: Team | None
    ) -> Self:
        """That of this process, which of several has a folder of its own in the folder."""
        own = "" if team is None else f"{team.rank}-of-{team.size}"
        return cls(Path(folder) / own, every, model)

    @property
    def found(self) -> Checkpoint:
        """Beside it, what several processes had found together when their last pass ended."""
        beside = copy(self)
        beside.folder = self.folder / "found"
        return beside

    def save(self, state: State, progress: Progress) -> None:
        """Write the state of a probe and how far its run is.

        Raises:
            OSError: disk full, no permission, ...; what was saved before is intact.
        """
        arrays, document = _apart(state)
        how_far = {**asdict(progress), "model": self._weights}
        arrays["generator"] = how_far.pop("generator")
        save_arrays(self.folder, arrays, {"state": document, "progress": how_far}, _KIND)

    def load(self) -> tuple[State, Progress] | None:
        """What was saved; None where nothing was.

        Raises:
            FileFormatError: the files are damaged, or are not those of a run.
            SettingError: the model had other weights.
        """
        if not (self.folder / INDEX).exists():
            return None
        arrays, document = load_arrays(self.folder, _KIND)
        try:
            progress = Progress(**document["progress"], generator=arrays.pop("generator"))
            state = _together(arrays, document["state"])
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise FileFormatError(
                f"{str(self.folder)!r} holds a run that torchprobe cannot have written: "
                f"{type(error).__name__}: {error}; remove the folder to begin again"
            ) from error
        if progress.model != self._weights:
            raise SettingError(
                f"the run in {str(self.folder)!r} was about a model with other weights; go on with "
                "those, or remove the folder to begin again"
            )
        return state, progress

    def remove(self) -> None:
        """The run is over: remove what was saved, and the folder if nothing else is in it."""
        if (self.folder / INDEX).exists():
            for path in (self.folder / INDEX, *self.folder.glob("arrays-*.safetensors")):
                path.unlink(missing_ok=True)
        if self.folder.is_dir() and not any(self.folder.iterdir()):
            self.folder.rmdir()


def _digest(model: nn.Module) -> str:
    """A digest of a thousand numbers of each parameter and buffer."""
    found = hashlib.blake2b(digest_size=8)
    for name, tensor in model.state_dict().items():
        if isinstance(tensor, torch.Tensor):
            local = tensor.to_local() if hasattr(tensor, "to_local") else tensor  # FSDP
            flat = local.detach().flatten()
            some = flat[:: max(1, len(flat) // 1000)].cpu().contiguous()
            found.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
            found.update(some.view(torch.uint8).numpy().tobytes())
    return found.hexdigest()


def _apart(state: State) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors of a state, and the rest with their names in place of them."""
    arrays: dict[str, Tensor] = {}
    document = dict(state)
    for part, tensors in (("forks", "tensors"), ("finished", "arrays")):
        document[part] = []
        for at, entry in enumerate(state[part]):
            arrays |= {f"{part}/{at}/{name}": tensor for name, tensor in entry[tensors].items()}
            document[part].append({**entry, tensors: list(entry[tensors])})
    return arrays, document


def _together(arrays: Mapping[str, Tensor], document: Mapping[str, Any]) -> State:
    """The inverse of `_apart`."""
    state = dict(document)
    for part, tensors in (("forks", "tensors"), ("finished", "arrays")):
        state[part] = [
            {**entry, tensors: {name: arrays[f"{part}/{at}/{name}"] for name in entry[tensors]}}
            for at, entry in enumerate(document[part])
        ]
    return state
