"""Pictures for TensorBoard's embedding projector: plain text files, written without TensorBoard."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from torchprobe.errors import SettingError
from torchprobe.plotting.text import visible
from torchprobe.storage import write_file
from torchprobe_projection.colouring import UNLABELLED
from torchprobe_projection.linear import Random

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Mapping

    from torchprobe import Result
    from torchprobe.results import LayerResults
    from torchprobe_projection.clouds import Array

__all__ = ["export_tensorboard"]

CONFIG = "projector_config.pbtxt"


def export_tensorboard(
    results: LayerResults,
    directory: str | os.PathLike[str],
    categories: Mapping[str, str] | None = None,
) -> Path:
    """Write every picture, with its points' labels, as TensorBoard's embedding projector reads it.

    A folder for each layer and method holds ``tensors.tsv`` [point, axis] and ``metadata.tsv``; the
    activations themselves are written too where the result keeps them (``keep_rows=True``), so that
    the projector can lay them out anew. Look at them with ``tensorboard --logdir DIRECTORY``, or
    load the two files of a folder at projector.tensorflow.org.

    Args:
        results: of the analyzer "projection".
        directory: made if need be; files of the same names are replaced.
        categories: class name → category, a further column of the metadata.

    Returns:
        The path of ``projector_config.pbtxt``.

    Raises:
        SettingError: there is nothing to write.
        OSError: the files cannot be written.
    """
    folder = Path(directory)
    entries = []
    for number, result in enumerate(results.values()):
        metadata = _metadata(result, categories or {})
        for name, values in _tensors(result):
            part = f"{number:03d}-{_slug(result.layer)}-{name}"
            (folder / part).mkdir(parents=True, exist_ok=True)
            write_file(folder / part / "tensors.tsv", _tsv(values))
            write_file(folder / part / "metadata.tsv", metadata)
            entries.append(_entry(f"{result.layer} {name}", part))
    if not entries:
        raise SettingError("there is no result of a layer to export")
    write_file(folder / CONFIG, "".join(entries).encode())
    return folder / CONFIG


def _tensors(result: Result) -> Iterator[tuple[str, Array]]:
    """Everything a layer has to show, by name."""
    if "rows" in result:
        yield "activations", result["rows"].values
    for name, places in zip(result.coords["method"], result.coordinates, strict=True):
        if name != Random.name:
            yield name, places


def _tsv(values: Array) -> bytes:
    return "".join("\t".join(map("{:.9g}".format, row)) + "\n" for row in values).encode()


def _metadata(result: Result, categories: Mapping[str, str]) -> bytes:
    """A line for each point: its id, its class in each grouping, the category of the first."""
    columns = {"id": [str(each) for each in result.ids]}
    if "labels" in result:
        names = np.array([*result.coords["class"], UNLABELLED], object)
        for grouping, places in zip(result.coords["grouping"], result.labels, strict=True):
            columns[grouping] = list(names[places])
        if categories:
            first = columns[result.coords["grouping"][0]]
            columns["category"] = [categories.get(name, name) for name in first]
    lines = list(zip(*columns.values(), strict=True))
    if len(columns) > 1:  # of a single column the projector takes the heading for a point
        lines.insert(0, tuple(columns))
    # `visible`: a tab or line break in a name would make another column or another point
    return "".join("\t".join(map(visible, line)) + "\n" for line in lines).encode(errors="replace")


def _entry(name: str, part: str) -> str:
    return (
        "embeddings {\n"
        f'  tensor_name: "{_quoted(name)}"\n'
        f'  tensor_path: "{part}/tensors.tsv"\n'
        f'  metadata_path: "{part}/metadata.tsv"\n'
        "}\n"
    )


def _quoted(text: str) -> str:
    r"""Text inside the quotes of a protocol buffer's text form.

    >>> print(_quoted('a"b\\c'))
    a\"b\\c
    """
    return visible(text).replace("\\", "\\\\").replace('"', '\\"')


def _slug(layer: str) -> str:
    r"""A layer's name as part of a folder's: letters, digits, dots and dashes.

    >>> _slug("../a[b]@2")
    'a-b-2'
    """
    return re.sub(r"[^A-Za-z0-9.]+", "-", layer).strip("-.")[:60]
