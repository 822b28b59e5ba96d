"""Results over the time of a training: by step, saved as they come, as curves and tables."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from torchprobe.archive import pack, unpack
from torchprobe.documents import dumps, loads
from torchprobe.drift import drift
from torchprobe.errors import FileFormatError, LayerNotFoundError, SettingError
from torchprobe.results import LayerResults, Results, load
from torchprobe.storage import INDEX, load_arrays, save_arrays
from torchprobe.tables import frame
from torchprobe.wording import printable, shorten, unknown

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Iterator

    import pandas as pd

__all__ = ["Curves", "History"]

Curves = dict[str, dict[int, float]]
"""A number by layer, and for each layer by step."""

_COLUMNS = ("step", "epoch", "analyzer", "layer", "grouping", "quantity", "value")
_KIND = "history"
_MOST_DRAWN = 4
_MAX_LINES = 40  # of a printed table: a screenful


class History(Mapping[int, Results]):
    """What a probe found at several steps of a training: ``history[step]`` is a `Results`.

    Args:
        directory: where every result is saved as soon as it is there, so that a crash loses
            nothing; None keeps them in memory, for `save`.

    Raises:
        SettingError: something is saved there already.

    Example:
        >>> from torchprobe.results import Field, Result
        >>> def found(accuracy):
        ...     result = Result("lda", "hidden.1", fields={"accuracy": Field("", accuracy)})
        ...     return Results({"lda": LayerResults([result])})
        >>> history = History()
        >>> history.append(0, found(0.25))
        >>> history.append(100, found(0.75), epoch=1)
        >>> history.curves("lda", "accuracy")
        {'hidden.1': {0: 0.25, 100: 0.75}}
        >>> folder = getfixture("tmp_path") / "history"
        >>> history.save(folder)
        >>> History.load(folder) == history
        True
    """

    def __init__(self, directory: str | os.PathLike[str] | None = None) -> None:
        self._results: dict[int, Results] = {}
        self._epochs: dict[int, float | None] = {}
        self.directory = None if directory is None else Path(directory)
        if self.directory is not None and (self.directory / INDEX).exists():
            raise SettingError(
                f"{str(self.directory)!r} holds saved results; go on with a history by "
                "history=History.load(directory), or choose another folder"
            )

    def append(self, step: int, results: Results, epoch: float | None = None) -> None:
        """Add the results of a step, and save them where the history has a directory.

        Args:
            step: of the optimizer, beyond those there are.
            results: of the model after that step.
            epoch: how many epochs were complete, or how much of one.

        Raises:
            SettingError: the step is not beyond the last.
            OSError: they could not be saved; nothing saved before is damaged.
        """
        if self._results and step <= self.steps[-1]:
            raise SettingError(
                f"step {step} comes after step {self.steps[-1]}; a history grows at its end, "
                "truncate() makes it shorter"
            )
        if self.directory is not None:
            self._save_step(self.directory, step, results)
            self._save_index(self.directory, [*self._entries(), (step, epoch)])
        self._results[step], self._epochs[step] = results, epoch

    def truncate(self, step: int) -> None:
        """Forget what was found after a step, when training goes on from there."""
        for later in [each for each in self._results if each > step]:
            del self._results[later], self._epochs[later]
        if self.directory is not None and (self.directory / INDEX).exists():
            self._save_index(self.directory, self._entries())

    def until(self, step: int) -> History:
        """Another history with the same results up to a step, kept in memory."""
        other = History()
        for each in [each for each in self._results if each <= step]:
            other.append(each, self._results[each], self._epochs[each])
        return other

    # -- asking

    @property
    def steps(self) -> tuple[int, ...]:
        """The steps of which there are results."""
        return tuple(self._results)

    @property
    def last(self) -> Results:
        """The newest results."""
        return self[self.steps[-1] if self._results else -1]

    @property
    def complete(self) -> bool:
        """Whether everything that was offered is in the numbers of every step."""
        return all(results.complete for results in self.values())

    def epoch(self, step: int) -> float | None:
        """How many epochs were complete at a step, where it was said."""
        self[step]
        return self._epochs[step]

    def __getitem__(self, step: int) -> Results:
        if step not in self._results:
            raise LayerNotFoundError(unknown("step", step, self._results))
        return self._results[step]

    def __iter__(self) -> Iterator[int]:
        return iter(self._results)

    def __len__(self) -> int:
        return len(self._results)

    def __eq__(self, other: object) -> bool:
        """Whether steps, epochs and everything found are the same."""
        if not isinstance(other, History):
            return NotImplemented
        return self._epochs == other._epochs and self._results == other._results

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        lines = [f"  step {step}: {_summary(results)}" for step, results in self.items()]
        head = f"History of {len(self)} step{'' if len(self) == 1 else 's'}"
        return "\n".join([head, *shorten(lines, _MAX_LINES)])

    def curves(self, analyzer: str, name: str, grouping: str | None = None) -> Curves:
        """A single number over time: by layer, then by step.

        Args:
            analyzer: whose number.
            name: which.
            grouping: which, where there are several.

        Raises:
            LayerNotFoundError: there is no such number; says which there are.
        """
        found: Curves = {}
        for step, layers in self._of(analyzer, grouping).items():
            for result in layers.values():
                scalars = result.scalars()
                if name in scalars:
                    found.setdefault(result.layer, {})[step] = scalars[name]
        if not found:
            raise LayerNotFoundError(unknown("single number", name, self.names(analyzer)))
        return found

    def names(self, analyzer: str) -> tuple[str, ...]:
        """The single numbers that an analyzer found, at any step."""
        every = (result for layers in self._of(analyzer).values() for result in layers.values())
        return tuple(dict.fromkeys(name for result in every for name in result.scalars()))

    def groupings(self, analyzer: str) -> tuple[str | None, ...]:
        """The groupings of an analyzer, at any step."""
        every = (grouping for each in self._of(analyzer).values() for grouping in each.groupings)
        return tuple(dict.fromkeys(every))

    @property
    def analyzers(self) -> tuple[str, ...]:
        """The analyzers that found something, at any step."""
        return tuple(dict.fromkeys(name for results in self.values() for name in results))

    def drift(
        self, measure: str = "cka", to: str | int = "previous", analyzer: str | None = None
    ) -> Curves:
        """How far each layer has moved on the same rows; see `torchprobe.drift.drift`."""
        return drift(self, measure, to, analyzer)

    def _of(self, analyzer: str, grouping: str | None = None) -> dict[int, LayerResults]:
        if analyzer not in self.analyzers:
            raise LayerNotFoundError(unknown("analyzer", analyzer, self.analyzers))
        found = {step: each[analyzer] for step, each in self.items() if analyzer in each}
        if grouping is None:
            return found
        return {step: layers.grouping(grouping) for step, layers in found.items()}

    def some_steps(self, analyzer: str) -> list[int]:
        """Four steps at most with results of an analyzer, evenly spread from first to last."""
        steps = list(self._of(analyzer))
        last = len(steps) - 1
        some = {round(k * last / (_MOST_DRAWN - 1)) for k in range(_MOST_DRAWN)}
        return [steps[place] for place in sorted(some)]

    def to_frame(self) -> pd.DataFrame:
        """The single numbers as a tidy table: step, epoch, analyzer, layer, ..., value."""
        return frame(
            _COLUMNS,
            (
                [step, self._epochs[step], analyzer, each.layer, each.grouping, name, value]
                for step, results in self.items()
                for analyzer, layers in results.items()
                for each in layers.values()
                for name, value in each.scalars().items()
            ),
        )

    # -- keeping

    def save(self, directory: str | os.PathLike[str]) -> None:
        """Write everything to a folder, for `load`.

        Raises:
            OSError: disk full, no permission, ...
            SettingError: something else than a history is saved there.
        """
        folder = Path(directory)
        for step, results in self.items():
            self._save_step(folder, step, results)
        self._save_index(folder, self._entries())

    @classmethod
    def load(cls, directory: str | os.PathLike[str]) -> Self:
        """The history that was saved in a folder; it goes on being saved there.

        Raises:
            FileNotFoundError: nothing was saved there.
            FileFormatError: the files are damaged, were edited or hold something else.
        """
        _, document = load_arrays(directory, kind=_KIND)
        folder, history = Path(directory), cls()
        for step, epoch in _checked(document, folder):
            history.append(step, load(_place(folder, step)), epoch)
        history.directory = folder
        return history

    def _entries(self) -> list[tuple[int, float | None]]:
        return list(self._epochs.items())

    @staticmethod
    def _save_step(folder: Path, step: int, results: Results) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        results.save(_place(folder, step))

    @staticmethod
    def _save_index(folder: Path, entries: list[tuple[int, float | None]]) -> None:
        """Written after the results that it names: a crash between the two loses one step."""
        save_arrays(folder, {}, {"steps": entries}, kind=_KIND)

    def state_dict(self) -> dict[str, Any]:
        """Everything as tensors and text, which ``torch.load(..., weights_only=True)`` reads."""
        arrays: dict[str, Any] = {}
        document = []
        for step, results in self.items():
            own, packed = pack(results)
            arrays |= {f"{step}/{name}": tensor for name, tensor in own.items()}
            document.append([step, self._epochs[step], packed, results.provenance])
        return {"document": dumps(document).decode("ascii"), "arrays": arrays}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Replace everything by a state from `state_dict`, also what is saved.

        Raises:
            FileFormatError: it is not such a state.
        """
        self.truncate(-1)
        arrays = state["arrays"]
        for step, epoch, packed, provenance in loads(state["document"].encode(), "state"):
            own = {
                name.partition("/")[2]: tensor
                for name, tensor in arrays.items()
                if name.partition("/")[0] == str(step)
            }
            layers = {name: LayerResults(each) for name, each in unpack(own, packed).items()}
            self.append(step, Results(layers, provenance), epoch)

    # Doors for convenience, imports from a higher floor made when they are opened.

    def plot(self, analyzer: str, name: str | None = None, **options: Any) -> Any:
        """Draw a single number over the training; see `torchprobe.plotting.over_training`."""
        return import_module("torchprobe.plotting").over_training(self, analyzer, name, **options)

    def evolution(
        self, analyzer: str, view: str = "", steps: Iterable[int] | None = None, **options: Any
    ) -> dict[int, Any]:
        """Draw the same view of an analyzer's results at several steps: by step, a figure.

        Args:
            analyzer: whose results.
            view: which drawing; see `torchprobe.plotting.plot`.
            steps: at which steps; four at most by default, from the first to the last.
            options: of that drawing.

        Raises:
            LayerNotFoundError: no such analyzer, or no results at a step.
            SettingError: no such view or option.
        """
        plot = import_module("torchprobe.plotting").plot
        chosen = self.some_steps(analyzer) if steps is None else steps
        return {step: plot(self[step], analyzer, view=view, **options) for step in chosen}

    def report(self, path: str | os.PathLike[str], **options: Any) -> Any:
        """Write curves and the newest results as a page; see `torchprobe.report.write_history`."""
        return import_module("torchprobe.report").write_history(self, path, **options)


def _place(folder: Path, step: int) -> Path:
    return folder / f"step-{step:09d}"


def _checked(document: Any, folder: Path) -> list[tuple[int, float | None]]:
    """The entries of an index; steps become folder names, so nothing else is let through."""
    try:
        entries = [(step, epoch) for step, epoch in document["steps"]]
    except (KeyError, TypeError, ValueError) as error:
        raise FileFormatError(f"{str(folder)!r} does not list the steps of a history") from error
    if not all(isinstance(step, int) and step >= 0 for step, _ in entries):
        raise FileFormatError(f"{str(folder)!r} lists steps that are no numbers")
    return entries


def _summary(results: Results) -> str:
    names = ", ".join(map(printable, results))
    return f"{names}{'' if results.complete else ' INCOMPLETE'}"
