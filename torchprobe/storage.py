"""Named tensors and a JSON document in a folder: no pickle, checksums, replaced all at once.

A folder holds ``torchprobe.json`` (the index: schema version, checksums, the document, and name,
dtype and shape of every array) and ``arrays-<checksum>.safetensors``. The index names the arrays
file by its checksum and is replaced last, in one step: whatever stops a save, even a power cut,
the folder holds the old content or the new, and other files in it are never touched. Names live
only in the index; in the arrays file arrays are numbered, so that no name becomes a path or a key.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import secrets
import stat
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import torch

from torchprobe.documents import dumps, freeze, loads
from torchprobe.errors import FileFormatError, MemoryBudgetError, SettingError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from torch import Tensor

__all__ = ["INDEX", "SCHEMA", "load_arrays", "save_arrays", "write_file"]

INDEX = "torchprobe.json"
SCHEMA = 1
MAX_INDEX_BYTES = 2**28  # names and settings: room for a million names of 200 bytes
_DTYPES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}
_Part: TypeAlias = "bytes | memoryview"
_SHA256 = re.compile(r"[0-9a-f]{64}")


def save_arrays(
    directory: str | os.PathLike[str],
    arrays: Mapping[str, Tensor],
    document: Any,
    kind: str = "arrays",
) -> None:
    """Write named tensors and a document to a folder, replacing what was saved there before.

    Args:
        directory: made if it does not exist. Files that are not torchprobe's are left alone.
        arrays: dense tensors of any real dtype; any text is a name.
        document: whatever `torchprobe.documents.freeze` accepts.
        kind: what is saved, "results" for example; nothing replaces what is of another kind.

    Raises:
        SettingError: something stands there that torchprobe did not write or that is of another
            kind; or an array is complex, sparse or quantised.
        OSError: disk full, no permission, ...; nothing saved there before is damaged.

    Example:
        >>> folder = getfixture("tmp_path") / "out"
        >>> save_arrays(folder, {"../mean": torch.ones(3)}, {"n": 12})
        >>> arrays, document = load_arrays(folder)
        >>> arrays["../mean"].tolist(), document["n"]
        ([1.0, 1.0, 1.0], 12)
    """
    folder = _folder(directory)
    tensors = {name: _storable(name, tensor) for name, tensor in arrays.items()}
    document = freeze(document)
    with _explaining("save to", folder):
        before = _replaceable(folder, kind)
        folder.mkdir(parents=True, exist_ok=True)
        parts = _safetensors(list(tensors.values()))
        content = {"kind": kind, "document": document, **_arrays_content(tensors, parts)}
        after = folder / _arrays_name(content["arrays_sha256"])
        try:
            write_file(after, parts)
            write_file(folder / INDEX, _index(content))
        except BaseException:  # the index may name the one or the other by now
            _remove({before, after} - {_arrays_in_use(folder)})
            raise
        _remove({before} - {after})


def load_arrays(
    directory: str | os.PathLike[str], kind: str = "arrays"
) -> tuple[dict[str, Tensor], Any]:
    """The tensors and the document that `save_arrays` wrote; executes nothing, checks everything.

    Raises:
        FileNotFoundError: nothing was saved there.
        FileFormatError: the files are damaged, were exchanged or edited, come from a newer
            torchprobe, are not torchprobe's, or hold another kind of thing.
        MemoryBudgetError: the arrays are larger than the free memory.
    """
    folder = _folder(directory)
    if folder.is_file():
        raise FileFormatError(
            f"{str(folder)!r} is a file; torchprobe reads the folder that save() wrote, "
            "and never unpickles"
        )
    content = _read_index(folder)
    if content["kind"] != kind:
        raise FileFormatError(f"{str(folder)!r} holds {content['kind']!r:.80}, not {kind!r}")
    path = folder / _arrays_name(content["arrays_sha256"])
    _check_arrays_file(path, content)
    tensors = _read_tensors(path, content["arrays"])
    names = [entry["name"] for entry in content["arrays"]]
    return dict(zip(names, tensors, strict=True)), content["document"]


def write_file(path: str | os.PathLike[str], data: bytes | Iterable[_Part]) -> None:
    """Replace a file in one step: readers see the old content or the new, never a part.

    Raises:
        OSError: the file could not be written; the old content is intact.
    """
    path = Path(path)
    temporary = path.with_name(f".{secrets.token_hex(8)}.tmp")  # beside it: a rename stays atomic
    try:
        with temporary.open("xb") as file:
            file.writelines([data] if isinstance(data, bytes) else data)
            file.flush()
            os.fsync(file.fileno())  # otherwise a power cut may keep the rename and lose the data
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    _sync_folder(path.parent)


def _folder(directory: str | os.PathLike[str]) -> Path:
    if "\0" in os.fspath(directory):
        raise SettingError(f"no folder can be called {directory!r:.200}: it has a NUL character")
    return Path(directory)


# -- writing


def _storable(name: str, tensor: Tensor) -> Tensor:
    if tensor.layout != torch.strided or tensor.dtype not in _DTYPES:
        raise SettingError(
            f"array {name!r:.80} is {tensor.dtype}, {tensor.layout}, which cannot be saved; "
            "convert it to a dense tensor of a real dtype, e.g. torch.float64"
        )
    return tensor.detach().cpu().resolve_neg().contiguous()


def _arrays_content(tensors: Mapping[str, Tensor], parts: Sequence[_Part]) -> dict[str, Any]:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return {
        "arrays": [{"name": name, **_kind(tensor)} for name, tensor in tensors.items()],
        "arrays_bytes": sum(map(len, parts)),
        "arrays_sha256": digest.hexdigest(),
    }


def _kind(tensor: Tensor) -> dict[str, Any]:
    return {"dtype": _DTYPES[tensor.dtype], "shape": list(tensor.shape)}


def _safetensors(tensors: Sequence[Tensor]) -> list[_Part]:
    """A safetensors file in parts: its head, then the bytes of every array.

    Written here because safetensors' own writer copies everything once more, makes files that
    only their owner may read, and hides a full disk in an error that is no OSError.
    """
    # Wide items first, so that each array is aligned without gaps.
    numbered = sorted(enumerate(tensors), key=lambda pair: -pair[1].itemsize)
    entries, start = {}, 0
    for number, tensor in numbered:
        end = start + tensor.nbytes
        entries[_key(number)] = {**_kind(tensor), "data_offsets": [start, end]}
        start = end
    head = json.dumps(entries, separators=(",", ":")).encode("ascii")
    head += b" " * (-len(head) % 8)  # the first array starts at a multiple of its item size
    return [len(head).to_bytes(8, "little") + head, *(_bytes(tensor) for _, tensor in numbered)]


def _key(number: int) -> str:
    return f"{number:04d}"


def _bytes(tensor: Tensor) -> memoryview:
    flat = tensor.as_strided((tensor.numel(),), (1,))  # one element may keep any stride
    return flat.view(torch.uint8).numpy().data


def _arrays_name(checksum: str) -> str:
    return f"arrays-{checksum[:16]}.safetensors"


def _index(content: dict[str, Any]) -> bytes:
    head = {"format": "torchprobe", "schema": SCHEMA, "sha256": _checksum(content)}
    return dumps({**head, "content": content}, indent=1)


def _checksum(content: Any) -> str:
    return hashlib.sha256(dumps(content, sort_keys=True)).hexdigest()


def _replaceable(folder: Path, kind: str) -> Path | None:
    """The arrays file in use, if what is saved there may be replaced."""
    if not os.path.lexists(folder / INDEX):
        return None
    try:
        content = _read_index(folder)
    except FileFormatError as error:
        raise SettingError(
            f"refusing to replace {str(folder / INDEX)!r}, which this torchprobe did not write "
            f"({error}); save to another folder or remove that file"
        ) from error
    if content["kind"] != kind:
        raise SettingError(
            f"refusing to replace the {content['kind']!r:.80} in {str(folder)!r} by {kind!r}; "
            "save to another folder"
        )
    return folder / _arrays_name(content["arrays_sha256"])


def _arrays_in_use(folder: Path) -> Path | None:
    """The arrays file that the index names, if anything is saved there."""
    if not os.path.lexists(folder / INDEX):
        return None
    return folder / _arrays_name(_read_index(folder)["arrays_sha256"])


def _remove(paths: set[Path | None]) -> None:
    """Remove arrays files that no index names any more."""
    for path in paths:
        if path is not None:
            with suppress(OSError):  # a reader may hold it open; a file nobody names does no harm
                path.unlink()


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":  # Windows opens no folders; its rename is durable by itself
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def _explaining(action: str, path: Path) -> Iterator[None]:
    """Say in an OSError what was being done and that nothing was damaged."""
    try:
        yield
    except OSError as error:
        cause = error.strerror or error
        raise OSError(
            error.errno or errno.EIO,
            f"could not {action} {str(path)!r}: {cause}; nothing saved there before was damaged",
        ) from error


# -- reading


def _damaged(path: Path, found: str) -> FileFormatError:
    return FileFormatError(
        f"{str(path)!r} {found}; the folder is damaged or was changed after it was saved, so "
        "save it again or take another copy"
    )


def _read_index(folder: Path) -> Any:
    """The checked content of a folder's index."""
    path = folder / INDEX
    if not os.path.lexists(path):
        raise FileNotFoundError(
            errno.ENOENT, f"nothing saved by torchprobe here: no {INDEX} in", str(folder)
        )
    _check_file(path, MAX_INDEX_BYTES)
    index = loads(path.read_bytes(), path)
    _check_head(path, index)
    content = index.get("content")
    if _checksum(content) != index.get("sha256"):
        raise _damaged(path, "does not have the content that its checksum promises")
    if not _is_content(content):
        raise _damaged(path, "does not describe arrays and a document")
    return content


def _check_head(path: Path, index: Any) -> None:
    if not isinstance(index, dict) or index.get("format") != "torchprobe":
        raise FileFormatError(f"{str(path)!r} is JSON, but not a torchprobe index")
    schema = index.get("schema")
    if not isinstance(schema, int) or not 1 <= schema <= SCHEMA:
        raise FileFormatError(
            f"{str(path)!r} has schema {schema!r:.40}, this torchprobe reads up to {SCHEMA}; "
            "read it with the torchprobe that wrote it: pip install --upgrade torchprobe"
        )


def _is_content(content: Any) -> bool:
    return (
        isinstance(content, dict)
        and content.keys() == {"kind", "document", "arrays", "arrays_bytes", "arrays_sha256"}
        and isinstance(content["arrays"], tuple)
        and all(map(_is_array_entry, content["arrays"]))
        and len({entry["name"] for entry in content["arrays"]}) == len(content["arrays"])
        and isinstance(content["arrays_bytes"], int)
        and isinstance(content["arrays_sha256"], str)
        and _SHA256.fullmatch(content["arrays_sha256"]) is not None  # it becomes a file name
    )


def _is_array_entry(entry: Any) -> bool:
    return (
        isinstance(entry, dict)
        and entry.keys() == {"name", "dtype", "shape"}
        and isinstance(entry["name"], str)
        and entry["dtype"] in _DTYPES.values()
        and isinstance(entry["shape"], tuple)
        and all(isinstance(size, int) for size in entry["shape"])
    )


def _check_file(path: Path, limit: int) -> int:
    """The size of a regular file, known before anything of it is read."""
    status = path.lstat()
    if not stat.S_ISREG(status.st_mode):  # a link may lead anywhere, a pipe would wait for ever
        raise _damaged(path, "is a link or a device where a file was saved")
    if status.st_size > limit:
        raise _damaged(path, f"has {status.st_size} bytes, more than the {limit} there can be")
    return status.st_size


def _check_arrays_file(path: Path, content: Any) -> None:
    if not os.path.lexists(path):
        raise _damaged(path, "is missing")
    promised = content["arrays_bytes"]
    size = _check_file(path, promised)
    if size < promised:
        raise _damaged(path, f"has {size} bytes of {promised}")
    _check_memory(path, size)
    with path.open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != content["arrays_sha256"]:
            raise _damaged(path, "does not have the content that its checksum promises")


def _check_memory(path: Path, size: int) -> None:
    """Refuse before anything is read: a sparse file can claim terabytes that no disk holds."""
    import psutil

    free = psutil.virtual_memory().available
    if size > free:
        raise MemoryBudgetError(
            f"{str(path)!r} holds {size:,} bytes, but {free:,} of memory are free; "
            "load it on a larger machine"
        )


def _read_tensors(path: Path, entries: Sequence[Any]) -> list[Tensor]:
    from safetensors import SafetensorError, safe_open

    keys = [_key(number) for number in range(len(entries))]
    try:
        with safe_open(path, framework="pt") as file:
            if set(file.keys()) != set(keys):
                raise _damaged(path, f"holds {len(file.keys())} arrays, not the index's")
            return [_read_tensor(file, *pair, path) for pair in zip(keys, entries, strict=True)]
    except SafetensorError as error:
        raise _damaged(path, f"is not a safetensors file ({error})") from error


def _read_tensor(file: Any, key: str, entry: Any, path: Path) -> Tensor:
    found = file.get_slice(key)
    if (found.get_dtype(), tuple(found.get_shape())) != (entry["dtype"], entry["shape"]):
        raise _damaged(
            path,
            f"holds {found.get_dtype()} {found.get_shape()} as array {entry['name']!r:.80}, the "
            f"index says {entry['dtype']} {list(entry['shape'])}",
        )
    tensor: Tensor = file.get_tensor(key)
    return tensor.clone()  # memory of its own: the file may be mapped, and change under us
