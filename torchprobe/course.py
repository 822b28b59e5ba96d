"""What a run goes through: passes over loaders, of which each process has its share."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

import torch

from torchprobe.checkpoint import Progress
from torchprobe.errors import SettingError
from torchprobe.loading import length_of, sizes_of
from torchprobe.portions import Item, portion

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from torchprobe.checkpoint import Checkpoint
    from torchprobe.distributed import Team
    from torchprobe.loading import Batch
    from torchprobe.state import State

__all__ = ["Course"]

T = TypeVar("T")


class Course:
    """Yields the batches of one pass after the other, and notes how far it is.

    Args:
        loaders: by split.
        team: the processes that share them; None where there is but one.
        shard: whether the loaders are to be shared out; else each process has its own.
        most: batches of a pass, of all processes together.
        progress: show a progress bar; None: on a terminal, in the first process.
        unpack: turns what a loader yields into a `torchprobe.Batch`.
        checkpoint: where to save.
    """

    def __init__(
        self,
        loaders: Mapping[str, Iterable[Any]],
        *,
        team: Team | None,
        shard: bool,
        most: int | None,
        progress: bool | None,
        unpack: Callable[[Any], Batch],
        checkpoint: Checkpoint | None,
    ) -> None:
        self.loaders, self.team, self.most = loaders, team, most
        self.progress = False if progress is None and team and team.rank else progress
        self.unpack, self.checkpoint = unpack, checkpoint
        self.shares = team is not None and shard
        self.at = Progress()

    def resume(self, *, finds: bool) -> tuple[State | None, State | None]:
        """The state of the probe when this run was saved, None where that is of no use any more.

        Args:
            finds: whether processes find something together at the end of a pass.

        Returns:
            It, and what was found together in the passes before; None where nothing was.

        Raises:
            SettingError: processes were saved at places that do not belong together.
        """
        if self.checkpoint is None:
            return None, None
        saved = self.checkpoint.load()
        mine, self.at = saved or (None, self.at)
        if self.team is None or not (self.shares or finds):
            return mine, None
        late = self._catch_up(mine, self.team, self.checkpoint)
        kept = self.checkpoint.found.load() if finds and self.at.phase else None
        return (None if late and kept else mine), (kept[0] if kept else None)

    def _catch_up(self, mine: State | None, team: Team, checkpoint: Checkpoint) -> bool:
        """Begin the pass that another process had begun; whether this one had not.

        All have seen theirs of a pass and saved it before any begins the next one, so that nothing
        is left to be seen of that before.
        """
        turn = mine["turns"]["number"] if mine else 0
        said = team.exchange([turn, self.at.phase], "go on with a run")
        furthest: int = max(phase for _, phase in said)
        if len({turn for turn, _ in said if turn or furthest}) > 1:
            raise SettingError(
                f"the parts of the run in {str(checkpoint.folder.parent)!r} do not belong "
                "together: one is missing, or processes were stopped between two turns; remove the "
                "folder to begin again"
            )
        late = self.at.phase < furthest
        if late:
            self.at = Progress(furthest)
        return late

    def keep_found(self, save: Callable[[], State]) -> None:
        """Save what processes have found together, all of them before any goes on."""
        if self.team is not None and self.checkpoint is not None:
            beside = self.checkpoint.found
            self.team.all_or_none(lambda: beside.save(save(), self.at), "save what was found")

    def passes(self, phases: list[tuple[str, int]]) -> Iterator[tuple[str, int]]:
        """The passes still to be made."""
        for at in range(self.at.phase, len(phases)):
            self.at.phase = at
            yield phases[at]
        self.at = Progress()  # of the next turn

    def batches(self, split: str, told: str, save: Callable[[], State]) -> Iterator[Item]:
        """What one pass still has to see, saved every now and then.

        Args:
            split: whose loader.
            told: what the progress bar says.
            save: gives the state of the probe.

        Raises:
            SettingError: this is not the loader of the run that is resumed, or the processes have
                loaders that are no copies of each other.
        """
        if self.team is None and self.checkpoint is None:
            yield from map(Item, _limited(self.loaders[split], self.most, self.progress, told))
            return
        items, total = self._portion(split)
        self._save(save)
        for item in _shown(items, total, self.at.batches, self.progress, told):
            yield item
            self.at.batches += 1
            if self.checkpoint and self.at.batches % self.checkpoint.every == 0:
                self._save(save)
        self._save(save)  # as one that has seen all: other processes may be in this pass still
        self.at = Progress(self.at.phase + 1)

    def _save(self, save: Callable[[], State]) -> None:
        if self.checkpoint is not None:
            self.checkpoint.save(save(), self.at)

    def _portion(self, split: str) -> tuple[Iterator[Item], int | None]:
        share = (self.team.rank, self.team.size) if self.team and self.shares else (0, 1)
        before = self.at.order
        self._agree_on_generator(again=bool(before))
        items, total, self.at.order = portion(
            self.loaders[split],
            share,
            skip=self.at.batches,
            most=self.most,
            size_of=lambda raw: sizes_of(self.unpack(raw)),
        )
        if before and self.at.order != before:
            raise SettingError(
                f"the loader of {split!r} is not the one that the saved run had: its length, its "
                "order or its first sample differ. Go on with the same data in the same order "
                "(shuffle with generator=torch.Generator().manual_seed(...)), or remove "
                f"{str(self.checkpoint.folder) if self.checkpoint else ''!r} to begin again"
            )
        self._check_copies(split)
        return items, total

    def _agree_on_generator(self, *, again: bool) -> None:
        """Let samplers draw the same order in every process, and in a run that is resumed.

        Of several processes that are resumed some may have been killed before their first save.
        """
        if again:
            torch.set_rng_state(self.at.generator)
        if self.team and self.shares:
            mine = torch.get_rng_state().numpy().tobytes().hex()
            said = self.team.exchange({"again": again, "generator": mine}, "share out a loader")
            first = max(said, key=lambda each: each["again"])  # the first of several
            known = bytearray.fromhex(first["generator"])
            torch.set_rng_state(torch.frombuffer(known, dtype=torch.uint8))
        self.at.generator = torch.get_rng_state()

    def _check_copies(self, split: str) -> None:
        """Raise `SettingError` unless the processes that share a loader have the same one."""
        if not (self.team and self.shares):
            return
        orders = self.team.exchange(self.at.order, f"share out {split!r}")
        if len(set(orders)) > 1:
            raise SettingError(
                f"the processes have different loaders for {split!r} (length, order or first "
                "sample): give all of them the same one, to be shared out, or say "
                "run(shard=False) where each one's loader yields its own part"
            )


def _limited(
    loader: Iterable[Any], most: int | None, progress: bool | None, told: str
) -> Iterator[Any]:
    """At most so many batches, with a progress bar."""
    total = length_of(loader)
    if most is not None:
        loader = islice(loader, most)
        total = most if total is None else min(total, most)
    return _shown(loader, total, 0, progress, told)


def _shown(
    batches: Iterable[T], total: int | None, done: int, progress: bool | None, told: str
) -> Iterator[T]:
    """Batches with a progress bar."""
    from tqdm.auto import tqdm

    hidden = None if progress is None else not progress  # None: hidden unless on a terminal
    # not tqdm(batches): it asks for an iterator once more, and a DataLoader starts workers twice
    with tqdm(total=total, initial=done, desc=told, unit="batch", disable=hidden) as bar:
        for batch in batches:
            yield batch
            bar.update()
