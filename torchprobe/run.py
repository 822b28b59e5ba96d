"""A run: a model called with all that loaders yield, heard by a record, turn by turn."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from torchprobe import distributed
from torchprobe.buffers import those_of_the_first
from torchprobe.errors import SettingError
from torchprobe.labels import Labels
from torchprobe.loading import device_of, eval_mode, moved
from torchprobe.sample_ids import SampleIds
from torchprobe.sandbox import all_generators_kept
from torchprobe.sensitivity import differentiable
from torchprobe.turns import Turns

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from torchprobe.attachment import Attachment
    from torchprobe.course import Course
    from torchprobe.forks import Phase
    from torchprobe.loading import Batch
    from torchprobe.portions import Item
    from torchprobe.results import Results

__all__ = ["Run"]


class Run:
    """Takes a model through a course.

    Args:
        attachment: of the model, to a record that has seen nothing when the run begins.
        course: over which loaders, and how far it is.

    Raises:
        SettingError: a loader cannot be read as often as an analyzer needs.
    """

    def __init__(self, attachment: Attachment, course: Course) -> None:
        self.attachment, self.record, self.course = attachment, attachment.record, course
        self._phases = _planned(course.loaders, self.record.design.passes)

    def results(self, device: torch.device | str | None) -> Results:
        """Go through all of it, or what is left of it, and compute all results.

        Args:
            device: where inputs go; None: where the model is.
        """
        self._begin()
        model, saved = self.record.design.model, self.course.checkpoint
        where = torch.device(device) if device is not None else device_of(model)
        with (
            all_generators_kept(where),
            eval_mode(model),
            torch.no_grad(),
            those_of_the_first(model, self.course.team),
        ):
            going = bool(self._phases)
            while going:
                self._take_turn(where)
                self._agree_on_turns()
                going = self.record.next_turn()
            results = self.record.results()
        if saved is not None:
            saved.found.remove()
            saved.remove()
        return results

    def _begin(self) -> None:
        """Know again what a run had seen that is gone on with."""
        record, course = self.record, self.course
        if course.shares:
            record.stream.ids = SampleIds()
        again = not any(isinstance(loader, Iterator) for loader in course.loaders.values())
        record.stream.forks.turns.allowed = again
        with distributed.telling(course.team):
            mine, found = course.resume(finds=record.design.finds)
            if found is None and mine is not None:
                record.load_state_dict(mine)
            elif found is not None:
                record.go_on(mine, found, self._phases[course.at.phase])

    def _take_turn(self, device: torch.device) -> None:
        """All passes with the layers whose turn it is."""
        with self.attachment:
            for split, number in self.course.passes(self._phases):
                self.record.enter(split, number, self.course.keep_found)
                self._pass(split, device)

    def _agree_on_turns(self) -> None:
        """Let all processes take the turns that those have planned that have seen data."""
        team, forks = self.course.team, self.record.stream.forks
        if team is None:
            return
        said = team.exchange(forks.turns.state(), "take turns")
        planned = [each for each in said if each["later"] or each["now"] is not None]
        if any(each != planned[0] for each in planned):
            raise SettingError(
                "the processes have room for different layers, so that these would not take the "
                "same turns; say how many bytes each may use: Probe(memory_budget=...)"
            )
        if planned:
            forks.turns = Turns.from_state(planned[0])

    def _pass(self, split: str, device: torch.device) -> None:
        """What is left of one pass over a split."""
        course, record = self.course, self.record
        done, told = course.at.batches, f"probe {split}{record.stream.forks.turns}"
        try:
            with distributed.telling(course.team):
                for item in course.batches(split, told, record.state_dict):
                    batch = self._numbered(course.unpack(item.raw), item)
                    with self.attachment.batch(self._said(batch), split):
                        self._call(batch, device)
                    done += 1
        except BaseException as error:
            note = f"{split!r} ended after {done} batches: {type(error).__name__}"
            record.stream.coverage.notes.append(note)
            raise

    def _numbered(self, batch: Batch, item: Item) -> Batch:
        """A batch whose samples have the numbers that they would have in a single process."""
        ids, phase = self.record.stream.ids, self.record.phase
        if batch.ids is not None:
            return batch
        if item.ids is not None:
            return replace(batch, ids=torch.tensor(item.ids) + ids.enter(phase[0]))
        if item.place is not None:
            ids.seek(*phase, item.place)
        return batch

    def _said(self, batch: Batch) -> Labels:
        """What is known of a batch."""
        names = self.record.stream.class_names
        return Labels(
            batch.labels, lengths=batch.lengths, mask=batch.mask, ids=batch.ids, names=names
        )

    def _call(self, batch: Batch, device: torch.device) -> None:
        """Call the model, recorded by autograd where gradients are wanted."""
        model, forks = self.record.design.model, self.record.stream.forks
        if not forks.want("gradients", self.record.phase):
            batch.call(model, device)
            return
        with differentiable(model, moved(batch.inputs, device)) as inputs:
            replace(batch, inputs=inputs).call(model, device)


def _planned(loaders: Mapping[str, Iterable[Any]], passes: int) -> list[Phase]:
    """The passes to be made: "fit" as often as needed, then every other split once."""
    for split, loader in loaders.items():
        if not hasattr(loader, "__iter__"):
            raise SettingError(f"{split}={loader!r} is not a loader: it cannot be iterated over")
    if passes > 1 and isinstance(loaders.get("fit"), Iterator):
        raise SettingError(
            f"an analyzer needs {passes} passes over the data, but fit= is an iterator that "
            "can be read once; give a DataLoader or a list"
        )
    first = [("fit", number) for number in range(passes)] if "fit" in loaders else []
    return first + [(split, 0) for split in loaders if split != "fit"]
