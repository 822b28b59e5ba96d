"""Results: frozen named arrays with axes, names and provenance, by analyzer and layer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeAlias

from torchprobe.archive import pack, unpack
from torchprobe.documents import FrozenDict, dumps, freeze
from torchprobe.errors import FileFormatError, LayerNotFoundError, SettingError
from torchprobe.fields import Field
from torchprobe.result import Result
from torchprobe.storage import load_arrays, save_arrays, write_file
from torchprobe.tables import csv_bytes, frame
from torchprobe.wording import printable, shorten, unknown

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator

    import pandas as pd

__all__ = ["Field", "LayerResults", "Result", "Results", "load"]

LayerKey: TypeAlias = "str | tuple[str, str | None]"

_COLUMNS = ("analyzer", "layer", "grouping", "quantity", "value")
_MAX_LINES = 40  # of a printed table: a screenful
_MAX_NUMBERS = 4  # of a line


class LayerResults(Mapping[LayerKey, Result]):
    """The results of one analyzer, layer by layer in the model's order.

    ``results["lda"]["hidden.3"]`` is a `Result`. Where there are several groupings, keys are pairs,
    ``["hidden.3", "phoneme"]``, and `grouping` picks one of them.

    Raises:
        SettingError: two results for one layer and grouping.
    """

    def __init__(self, results: Iterable[Result]) -> None:
        self._results: dict[tuple[str, str | None], Result] = {}
        for result in results:
            key = (result.layer, result.grouping)
            if key in self._results:
                raise SettingError(f"two results of {result.analyzer!r} for {key}; keep one")
            self._results[key] = result

    def __getitem__(self, key: LayerKey) -> Result:
        if not isinstance(key, tuple):
            return self._only(key)
        if key in self._results:
            return self._results[key]
        layer, grouping = key
        raise LayerNotFoundError(unknown("layer", layer, self.grouping(grouping).layers))

    def __iter__(self) -> Iterator[LayerKey]:
        return iter(self._results if len(self.groupings) > 1 else self.layers)

    def __len__(self) -> int:
        return len(self._results)

    def __repr__(self) -> str:
        lines = [f"  {result.origin}{_numbers(result)}" for result in self._each()]
        head = f"{len(self)} results of {printable(self.analyzer)}"
        return "\n".join([head, *shorten(lines, _MAX_LINES)])

    def _each(self) -> Iterable[Result]:
        return self._results.values()

    def _only(self, layer: str) -> Result:
        """The result of a layer that has but one grouping."""
        groupings = [grouping for name, grouping in self._results if name == layer]
        if not groupings:
            raise LayerNotFoundError(unknown("layer", layer, self.layers))
        if len(groupings) > 1:
            raise LayerNotFoundError(
                f"layer {layer!r} has results for the groupings {groupings}; "
                f"say which: [{layer!r}, {groupings[0]!r}], or .grouping({groupings[0]!r})"
            )
        return self._results[layer, groupings[0]]

    @property
    def analyzer(self) -> str:
        """The analyzer's name."""
        return next((result.analyzer for result in self._each()), "")

    @property
    def kind(self) -> str:
        """What kind of results these are: which plot draws them."""
        return next((result.kind for result in self._each()), "")

    @property
    def layers(self) -> tuple[str, ...]:
        """The layers in the model's order."""
        return tuple(dict.fromkeys(result.layer for result in self._each()))

    @property
    def groupings(self) -> tuple[str | None, ...]:
        """The groupings; ``(None,)`` for an analyzer that reads no labels."""
        return tuple(dict.fromkeys(result.grouping for result in self._each()))

    @property
    def complete(self) -> bool:
        """Whether everything that was offered is in the numbers of every layer."""
        return all(result.complete for result in self._each())

    def grouping(self, name: str | None) -> LayerResults:
        """The results of one grouping."""
        if name not in self.groupings:
            raise LayerNotFoundError(unknown("grouping", name, self.groupings))
        return LayerResults(result for result in self._each() if result.grouping == name)

    def scalars(self) -> dict[str, float]:
        """The single numbers, by ``layer/name`` or ``layer/grouping/name``."""
        return {
            "/".join([result.layer, *_named(result.grouping), name]): value
            for result in self._each()
            for name, value in result.scalars().items()
        }

    def to_frame(self) -> pd.DataFrame:
        """The single numbers, one row per layer and grouping."""
        scalars = [result.scalars() for result in self._each()]
        names = list(dict.fromkeys(name for row in scalars for name in row))
        rows = zip(self._results, scalars, strict=True)
        return frame(
            ["layer", "grouping", *names], ([*key, *map(row.get, names)] for key, row in rows)
        )


class Results(Mapping[str, LayerResults]):
    """Everything that a probe found, by analyzer.

    Args:
        results: by analyzer.
        provenance: of the run as a whole, e.g. seeds and versions.

    Example:
        >>> lda = Result("lda", "hidden.3", fields={"accuracy": Field("", 0.5)})
        >>> results = Results({"lda": LayerResults([lda])})
        >>> results.scalars()
        {'lda/hidden.3/accuracy': 0.5}
        >>> folder = getfixture("tmp_path") / "out"
        >>> results.save(folder)
        >>> load(folder) == results
        True
    """

    def __init__(
        self, results: Mapping[str, LayerResults], provenance: Mapping[str, Any] | None = None
    ) -> None:
        self._results = dict(results)
        self._provenance = FrozenDict(freeze(provenance or {}))

    def __getitem__(self, analyzer: str) -> LayerResults:
        if analyzer not in self._results:
            raise LayerNotFoundError(unknown("analyzer", analyzer, self._results))
        return self._results[analyzer]

    def __iter__(self) -> Iterator[str]:
        return iter(self._results)

    def __len__(self) -> int:
        return len(self._results)

    def __eq__(self, other: object) -> bool:
        """Whether the content is the same, NaN equal to NaN."""
        if not isinstance(other, Results):
            return NotImplemented
        return self._results == other._results and (
            dumps(self.provenance, sort_keys=True) == dumps(other.provenance, sort_keys=True)
        )

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        width = max((len(printable(name)) for name in self), default=0)
        lines = [f"  {printable(name):{width}}  {_summary(self[name])}" for name in self]
        plural = "" if len(self) == 1 else "s"
        head = f"Results of {len(self)} analyzer{plural}{'' if self.complete else ' INCOMPLETE'}"
        return "\n".join([head, *shorten(lines, _MAX_LINES)])

    @property
    def provenance(self) -> Mapping[str, Any]:
        """Where the numbers come from, for the run as a whole; each `Result` has its own."""
        return self._provenance

    @property
    def complete(self) -> bool:
        """Whether everything that was offered is in all the numbers."""
        whole_run = bool(self.provenance.get("complete", True))
        return whole_run and all(each.complete for each in self._results.values())

    def scalars(self) -> dict[str, float]:
        """The single numbers, by ``analyzer/layer/name`` or ``analyzer/layer/grouping/name``."""
        return {
            f"{analyzer}/{name}": value
            for analyzer, layers in self.items()
            for name, value in layers.scalars().items()
        }

    def to_frame(self) -> pd.DataFrame:
        """The single numbers as a tidy table: analyzer, layer, grouping, quantity, value."""
        return frame(_COLUMNS, self._rows())

    def to_csv(self, path: str | os.PathLike[str]) -> None:
        """Write the table of `to_frame`; names that a spreadsheet would run are made harmless.

        Raises:
            OSError: the file could not be written.
        """
        write_file(path, csv_bytes(_COLUMNS, self._rows()))

    def _rows(self) -> Iterable[tuple[Any, ...]]:
        for analyzer, layers in self.items():
            for result in layers.values():
                for name, value in result.scalars().items():
                    yield analyzer, result.layer, result.grouping, name, value

    def save(self, directory: str | os.PathLike[str]) -> None:
        """Write everything to a folder, for `load`; see `torchprobe.storage.save_arrays`.

        Raises:
            OSError: disk full, no permission, ...; nothing saved there before is damaged.
            SettingError: something stands there that is not results of torchprobe.
        """
        arrays, packed = pack(self._results)
        document = {"results": packed, "provenance": self.provenance}
        save_arrays(directory, arrays, document, kind="results")

    # Three doors for convenience, the only imports from a higher floor, made when they are opened.

    def plot(self, analyzer: str, **options: Any) -> Any:
        """Draw an analyzer's results; see `torchprobe.plotting.plot` for the options."""
        self[analyzer]  # a typo is told here
        return import_module("torchprobe.plotting").plot(self, analyzer, **options)

    def gallery(self, folder: str | os.PathLike[str], **options: Any) -> Any:
        """Draw every view of every analyzer into a folder; see `torchprobe.plotting.gallery`."""
        return import_module("torchprobe.plotting").gallery(self, folder, **options)

    def report(self, path: str | os.PathLike[str], **options: Any) -> Any:
        """Write everything as one self-contained HTML page; see `torchprobe.report.write`."""
        return import_module("torchprobe.report").write(self, path, **options)


def load(directory: str | os.PathLike[str]) -> Results:
    """The results that `Results.save` wrote; executes nothing and trusts nothing.

    Raises:
        FileNotFoundError: nothing was saved there.
        FileFormatError: the files are damaged, were edited, come from a newer torchprobe or hold
            something else than results.
        MemoryBudgetError: the arrays are larger than the free memory.
    """
    arrays, document = load_arrays(directory, kind="results")
    try:
        found = unpack(arrays, document["results"])
        layers = {analyzer: LayerResults(results) for analyzer, results in found.items()}
        return Results(layers, document["provenance"])
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise FileFormatError(
            f"{str(directory)!r} holds results that torchprobe cannot have written: "
            f"{type(error).__name__}: {error}; take another copy"
        ) from error


def _named(grouping: str | None) -> list[str]:
    return [] if grouping is None else [grouping]


def _numbers(result: Result) -> str:
    """The first single numbers of a result, for a line of a table."""
    parts = [f"{printable(name)} {value:.4g}" for name, value in result.scalars().items()]
    return f": {', '.join(shorten(parts, _MAX_NUMBERS))}" if parts else ""


def _summary(layers: LayerResults) -> str:
    """How many layers, which groupings, how many results miss something."""
    plural = "" if len(layers.layers) == 1 else "s"
    named = [printable(name) for name in layers.groupings if name is not None]
    by = f" by {', '.join(shorten(named, _MAX_NUMBERS))}" if named else ""
    missing = sum(not result.complete for result in layers.values())
    incomplete = f", {missing} of {len(layers)} INCOMPLETE" if missing else ""
    return f"{len(layers.layers)} layer{plural}{by}{incomplete}"
