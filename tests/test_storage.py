"""Folders of arrays: exact round trips, refusal of every damaged or hostile file, atomic saves."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import pickle
import stat
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import psutil
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from torchprobe import storage
from torchprobe.documents import freeze
from torchprobe.errors import FileFormatError, MemoryBudgetError, SettingError
from torchprobe.storage import INDEX, load_arrays, save_arrays, write_file

DTYPES = list(storage._DTYPES)
HOSTILE = [
    "../../evil",
    "/etc/evil",
    "nul\0byte",
    "long" * 75,
    "CON",
    "",
    "a/b",
    "a_b",
    "</script><img src=x onerror=alert(1)>",
    "javascript:alert(1)",
    "{{7*7}}",
    '=HYPERLINK("http://evil")',
    r"$\frac{$",
    "\x1b[2J",
    "__metadata__",
    "$float",
    "lone \ud800 surrogate",
    "ʃ",
]
NAMES = st.one_of(st.sampled_from(HOSTILE), st.text(max_size=8))
JSON = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(-(2**127), 2**127), st.floats(allow_nan=False), NAMES
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(NAMES, inner, max_size=3)),
    max_leaves=8,
)
PROPERTY = settings(
    max_examples=60,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def filled(dtype, shape, seed):
    """Any bits at all, NaN payloads included; 0 and 1 where only these are allowed."""
    generator = torch.Generator().manual_seed(seed)
    bits = torch.randint(0, 256, (*shape, dtype.itemsize), dtype=torch.uint8, generator=generator)
    return bits[..., 0] % 2 == 0 if dtype == torch.bool else bits.view(dtype)[..., 0]


TENSORS = st.builds(
    filled,
    st.sampled_from(DTYPES),
    st.lists(st.integers(0, 3), max_size=3),
    st.integers(0, 2**31),
)


def bits(tensor):
    return (
        tensor.dtype,
        tuple(tensor.shape),
        tensor.numpy(force=True).tobytes()
        if (tensor.dtype != torch.bfloat16)
        else tensor.contiguous().view(torch.int16).numpy().tobytes(),
    )


def files(folder):
    return sorted(path.name for path in folder.iterdir())


def arrays_file(folder):
    (path,) = folder.glob("arrays-*.safetensors")
    return path


@pytest.fixture
def folder(tmp_path):
    """A folder with two arrays and a document."""
    folder = tmp_path / "saved"
    save_arrays(folder, {"a": torch.arange(6.0).reshape(2, 3), "b": torch.tensor(7)}, {"n": 1})
    return folder


# -- what is saved comes back


@PROPERTY
@given(arrays=st.dictionaries(NAMES, TENSORS, max_size=4), document=JSON)
def test_any_tensors_under_any_names_come_back_to_the_bit(tmp_path, arrays, document):
    save_arrays(tmp_path / "x", arrays, document)
    found, restored = load_arrays(tmp_path / "x")
    assert list(found) == list(arrays)
    assert [bits(found[name]) for name in arrays] == [bits(arrays[name]) for name in arrays]
    assert restored == freeze(document)
    assert len(files(tmp_path / "x")) == 2


def test_views_shared_memory_gradients_and_repetitions_are_saved_by_value(tmp_path):
    base = torch.arange(12.0, requires_grad=True)
    arrays = {
        "strided": base[::2],
        "transposed": base.reshape(3, 4).T,
        "expanded": torch.ones(1).expand(3),
        "again": base,
        "once more": base,
        "negated view": torch.tensor([1 + 2j]).conj().imag,
    }
    save_arrays(tmp_path, arrays, None)
    found, _ = load_arrays(tmp_path)
    for name, tensor in arrays.items():
        assert torch.equal(found[name], tensor.detach()), name
        assert not found[name].requires_grad


def test_safetensors_itself_reads_the_arrays_and_finds_them_aligned(tmp_path):
    safetensors = pytest.importorskip("safetensors.torch")
    arrays = {str(i): filled(dtype, (3,), i) for i, dtype in enumerate(reversed(DTYPES))}
    save_arrays(tmp_path, arrays, None)
    found = safetensors.load_file(arrays_file(tmp_path))
    assert {k: bits(v) for k, v in found.items()} == {
        f"{i:04d}": bits(tensor) for i, tensor in enumerate(arrays.values())
    }
    payload = arrays_file(tmp_path).read_bytes()
    length = 8 + int.from_bytes(payload[:8], "little")
    for key, described in json.loads(payload[8:length]).items():
        assert (length + described["data_offsets"][0]) % found[key].itemsize == 0, key


def test_the_same_content_is_always_the_same_bytes(tmp_path):
    for name in ("x", "y"):
        save_arrays(tmp_path / name, {"a": torch.ones(2), "b": torch.ones(3).bool()}, {"k": [1]})
    assert files(tmp_path / "x") == files(tmp_path / "y")
    for name in files(tmp_path / "x"):
        assert (tmp_path / "x" / name).read_bytes() == (tmp_path / "y" / name).read_bytes()


def test_names_reach_neither_paths_nor_the_arrays_file(tmp_path):
    save_arrays(tmp_path / "x", {name: torch.ones(1) for name in HOSTILE}, HOSTILE)
    assert files(tmp_path) == ["x"]
    payload = arrays_file(tmp_path / "x").read_bytes()
    assert not any(name.encode("utf-8", "surrogatepass") in payload for name in HOSTILE if name)


def test_loaded_tensors_do_not_hang_on_the_file(folder):
    found, _ = load_arrays(folder)
    arrays_file(folder).write_bytes(b"")
    found["a"] += 1
    assert found["a"].sum() == 21


def test_others_can_read_what_the_umask_lets_them(tmp_path):
    before = os.umask(0o022)
    try:
        save_arrays(tmp_path / "x", {}, None)
    finally:
        os.umask(before)
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "x").iterdir()} == {0o644}


@pytest.mark.parametrize(
    "tensor",
    [torch.ones(2, dtype=torch.complex64), torch.eye(2).to_sparse()],
    ids=["complex", "sparse"],
)
def test_what_the_format_cannot_hold_is_refused_by_name(tmp_path, tensor):
    with pytest.raises(SettingError, match=r"'weights'.*dense tensor of a real dtype"):
        save_arrays(tmp_path / "x", {"weights": tensor}, None)
    assert not (tmp_path / "x").exists()


# -- what may be replaced


def test_saving_again_replaces_the_old_and_leaves_other_files_alone(folder):
    (folder / "report.html").write_text("mine")
    (folder / "arrays-of-mine.safetensors").write_text("mine too")
    save_arrays(folder, {"c": torch.ones(5)}, "new")
    assert load_arrays(folder)[1] == "new"
    assert len(files(folder)) == 4
    assert (folder / "report.html").read_text() == "mine"


def test_saving_the_same_again_keeps_it(folder):
    arrays, document = load_arrays(folder)
    save_arrays(folder, arrays, document)
    assert load_arrays(folder)[1] == document
    assert len(files(folder)) == 2


@pytest.mark.parametrize("content", [b"{}", b"not json", b"", b'{"format": "other"}'])
def test_an_index_that_is_not_ours_is_not_replaced(tmp_path, content):
    (tmp_path / INDEX).write_bytes(content)
    with pytest.raises(SettingError, match=r"did not write.*another folder"):
        save_arrays(tmp_path, {}, None)
    assert (tmp_path / INDEX).read_bytes() == content
    assert files(tmp_path) == [INDEX]


def test_one_kind_does_not_replace_another(folder):
    with pytest.raises(SettingError, match=r"refusing to replace the 'arrays'.*by 'results'"):
        save_arrays(folder, {}, None, kind="results")
    with pytest.raises(FileFormatError, match="holds 'arrays', not 'results'"):
        load_arrays(folder, kind="results")
    assert load_arrays(folder)[1] == {"n": 1}


def test_a_linked_folder_is_followed_a_linked_index_is_not(tmp_path, folder):
    (tmp_path / "link").symlink_to(folder, target_is_directory=True)
    save_arrays(tmp_path / "link", {}, "through the link")
    assert load_arrays(folder)[1] == "through the link"
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / INDEX).symlink_to(folder / INDEX)
    with pytest.raises(SettingError, match="is a link"):
        save_arrays(tmp_path / "other", {}, "over the link")
    assert load_arrays(folder)[1] == "through the link"


# -- faults in the middle


class Killed(BaseException):
    """The process is gone: nothing of it runs any more, clean-up included."""


class Faults:
    """Makes the k-th call to the file system fail; a kill also stops all that follow."""

    POINTS = (
        (os, "fsync"),
        (os, "open"),
        (Path, "mkdir"),
        (Path, "open"),
        (Path, "replace"),
        (Path, "unlink"),
    )

    def __init__(self, monkeypatch, at, error):
        self.calls, self.at, self.error = 0, at, error
        for owner, name in self.POINTS:
            monkeypatch.setattr(owner, name, self.wrap(getattr(owner, name)))

    def wrap(self, call):
        def faulty(*args, **kwargs):
            self.strike()
            done = call(*args, **kwargs)
            return Leaky(done, self) if isinstance(done, io.BufferedWriter) else done

        return faulty

    def strike(self):
        self.calls += 1
        dead = self.calls > self.at and isinstance(self.error, Killed)
        if self.calls == self.at or dead:
            raise self.error


class Leaky:
    """A file that fails half way through a write."""

    def __init__(self, file, faults):
        self.file, self.faults = file, faults

    def writelines(self, parts):
        data = b"".join(parts)
        self.file.write(data[: len(data) // 2])
        self.faults.strike()
        self.file.write(data[len(data) // 2 :])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()

    def __getattr__(self, name):
        return getattr(self.file, name)


NEVER = 10**6
OLD, NEW = {"a": torch.zeros(3)}, {"a": torch.ones(4)}
ERRORS = {
    "disk full": OSError(errno.ENOSPC, "No space left on device"),
    "no permission": PermissionError(errno.EACCES, "Permission denied"),
    "interrupt": KeyboardInterrupt(),
    "killed": Killed(),
}


def save_with_fault(folder, at, error, *, tidy=False):
    """Save a new content; how many calls were made and what was raised.

    Where ``tidy``, cleaning up is spared the fault.
    """
    with pytest.MonkeyPatch.context() as monkeypatch:
        if tidy:
            monkeypatch.setattr(Faults, "POINTS", Faults.POINTS[:-1])
            monkeypatch.setattr(storage, "_remove", spared(storage._remove, monkeypatch))
        faults = Faults(monkeypatch, at, error)
        try:
            save_arrays(folder, NEW, "new")
        except type(error) as raised:
            return faults.calls, raised
        return faults.calls, None


def spared(call, monkeypatch):
    def undisturbed(*args):
        monkeypatch.undo()
        return call(*args)

    return undisturbed


def steps_of_a_save(folder):
    save_arrays(folder, OLD, "old")
    return save_with_fault(folder, NEVER, Killed())[0]


@pytest.mark.parametrize("kind", ERRORS)
def test_a_save_stopped_anywhere_leaves_the_old_or_the_new_whole(tmp_path, kind):
    steps = steps_of_a_save(tmp_path / "count")
    assert steps >= 12  # every write, flush and rename is among them
    seen = set()
    for at in range(1, steps + 1):
        folder = tmp_path / str(at)
        save_arrays(folder, OLD, "old")
        save_with_fault(folder, at, ERRORS[kind])
        arrays, document = load_arrays(folder)
        assert torch.equal(arrays["a"], (OLD if document == "old" else NEW)["a"]), at
        seen.add(document)
        save_arrays(folder, NEW, "after")
        assert load_arrays(folder)[1] == "after"
    assert seen == {"old", "new"}


@pytest.mark.parametrize("kind", ["disk full", "interrupt"])
def test_a_failed_save_leaves_nothing_behind(tmp_path, kind):
    for at in range(1, steps_of_a_save(tmp_path / "count") + 1):
        folder = tmp_path / str(at)
        save_arrays(folder, OLD, "old")
        save_with_fault(folder, at, ERRORS[kind], tidy=True)
        assert len(files(folder)) == 2, at


def test_a_failed_first_save_leaves_no_half_of_one(tmp_path):
    for at in range(1, steps_of_a_save(tmp_path / "count") + 1):
        folder = tmp_path / str(at)
        folder.mkdir()
        save_with_fault(folder, at, ERRORS["disk full"], tidy=True)
        assert len(files(folder)) in (0, 2), at


def test_a_full_disk_is_an_oserror_that_says_what_happened(folder):
    _, raised = save_with_fault(folder, 4, ERRORS["disk full"])
    assert raised.errno == errno.ENOSPC
    message = f"could not save to {str(folder)!r}: No space left on device; nothing saved there"
    assert message in str(raised)


def test_a_folder_that_cannot_be_made_is_an_oserror(tmp_path, folder):
    with pytest.raises(OSError, match="could not save to") as raised:
        save_arrays(folder / INDEX / "x", {}, None)
    assert isinstance(raised.value, NotADirectoryError)
    with pytest.raises(OSError, match="could not save to") as raised:
        save_arrays(tmp_path / ("x" * 300), {}, None)
    assert raised.value.errno == errno.ENAMETOOLONG
    with pytest.raises(SettingError, match="NUL"):
        save_arrays(f"{tmp_path}/a\0b", {}, None)


def test_content_is_on_the_disk_before_it_is_named_and_the_name_after(tmp_path, monkeypatch):
    """The order that a power cut needs: file flushed, renamed, folder flushed."""
    events = []
    fsync, replace = os.fsync, Path.replace

    def flushed(handle):
        events.append("folder" if stat.S_ISDIR(os.fstat(handle).st_mode) else "file")
        fsync(handle)

    def renamed(path, target):
        events.append(target.name.partition("-")[0])
        return replace(path, target)

    monkeypatch.setattr(os, "fsync", flushed)
    monkeypatch.setattr(Path, "replace", renamed)
    save_arrays(tmp_path, NEW, None)
    assert events == ["file", "arrays", "folder", "file", INDEX, "folder"]


def test_write_file_replaces_at_once_or_not_at_all(tmp_path):
    path = tmp_path / "page.html"
    write_file(path, b"old")
    with pytest.MonkeyPatch.context() as monkeypatch:
        Faults(monkeypatch, 2, ERRORS["disk full"])  # half of it is written
        with pytest.raises(OSError, match="No space"):
            write_file(path, b"new and longer")
    assert path.read_bytes() == b"old"
    assert files(tmp_path) == ["page.html"]


# -- damaged and hostile folders


def refused(folder, match, error=FileFormatError):
    with pytest.raises(error, match=match) as raised:
        load_arrays(folder)
    assert str(folder) in str(raised.value)


def test_nothing_there_is_file_not_found(tmp_path):
    for folder in (tmp_path, tmp_path / "missing"):
        refused(folder, "nothing saved by torchprobe here: no torchprobe.json", FileNotFoundError)


class Bomb:
    """Leaves a trace when it is unpickled."""

    def __init__(self, trace):
        self.trace = trace

    def __reduce__(self):
        return Path.touch, (self.trace,)


@pytest.mark.parametrize("form", ["pickle", "pt", "npy"])
def test_pickles_are_never_executed_wherever_they_stand(tmp_path, folder, form):
    bomb, path = Bomb(tmp_path / "trace"), tmp_path / f"bomb.{form}"
    if form == "pickle":
        path.write_bytes(pickle.dumps(bomb))
    elif form == "pt":
        torch.save(bomb, path)
    else:
        np.save(path, np.array([bomb], dtype=object), allow_pickle=True)
    refused(path, "is a file.*never unpickles")
    forge(folder, payload=path.read_bytes())
    refused(folder, "is not a safetensors file")
    (folder / INDEX).write_bytes(path.read_bytes())
    refused(folder, "is not a document torchprobe wrote")
    assert not (tmp_path / "trace").exists()


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"", "is not a document"),
        (b"\xff\xfe{}", "is not a document"),
        (b"[]", "not a torchprobe index"),
        (b'{"format": "other"}', "not a torchprobe index"),
        (b'{"format": NaN}', "NaN is not JSON"),
        (b'{"format": -Infinity}', "-Infinity is not JSON"),
        (b'{"format": 1e999}', "1e999 is too large"),
        (b"[" * 100_000, "nests too deep"),
        (b"[" * 40 + b"]" * 40, "nests deeper than 32"),
        (b'{"format": 1, "format": 2}', "'format' is there twice"),
        (b'{"n": ' + b"9" * 5000 + b"}", "has 5000 digits, more than 40"),
        (b'{"$float": "1e5"}', "is not one of"),
        (b'{"$x": 1}', "has no meaning"),
    ],
)
def test_a_malformed_index_is_refused(folder, content, match):
    (folder / INDEX).write_bytes(content)
    refused(folder, match)


@pytest.mark.parametrize("schema", [2, 10**9])
def test_a_newer_schema_says_upgrade(folder, schema):
    index = json.loads((folder / INDEX).read_text())
    (folder / INDEX).write_text(json.dumps({**index, "schema": schema}))
    refused(folder, f"has schema {schema}.*reads up to 1.*--upgrade")


@pytest.mark.parametrize("schema", [0, -1, 1.0, "1", None, [1]])
def test_a_senseless_schema_is_refused(folder, schema):
    index = json.loads((folder / INDEX).read_text())
    (folder / INDEX).write_text(json.dumps({**index, "schema": schema}))
    refused(folder, "has schema")


def test_an_edited_document_is_refused(folder):
    text = (folder / INDEX).read_text()
    (folder / INDEX).write_text(text.replace('"n": 1', '"n": 2'))
    refused(folder, "checksum")


def test_every_flipped_bit_of_the_index_is_refused_or_harmless(folder):
    arrays, document = load_arrays(folder)
    original = (folder / INDEX).read_bytes()
    for place in range(len(original)):
        damaged = bytearray(original)
        damaged[place] ^= 1 << place % 8
        (folder / INDEX).write_bytes(damaged)
        try:
            found, read = load_arrays(folder)
        except FileFormatError:
            continue
        assert read == document, place
        assert {k: bits(v) for k, v in found.items()} == {k: bits(v) for k, v in arrays.items()}


def test_every_flipped_bit_of_the_arrays_is_refused(folder):
    path = arrays_file(folder)
    original = path.read_bytes()
    for place in range(len(original)):
        damaged = bytearray(original)
        damaged[place] ^= 1 << place % 8
        path.write_bytes(damaged)
        refused(folder, "checksum")


def test_truncated_extended_and_missing_arrays_are_refused(folder):
    path = arrays_file(folder)
    original = path.read_bytes()
    path.write_bytes(original[:-1])
    refused(folder, rf"has {len(original) - 1} bytes of {len(original)}")
    path.write_bytes(original + b"\0")
    refused(folder, "more than")
    path.unlink()
    refused(folder, "is missing")


def test_links_devices_and_folders_in_place_of_files_are_refused(tmp_path, folder):
    path = arrays_file(folder)
    path.rename(tmp_path / "outside")
    path.symlink_to(tmp_path / "outside")
    refused(folder, "is a link or a device")
    path.unlink()
    os.mkfifo(path)
    refused(folder, "is a link or a device")  # and does not wait for a writer
    path.unlink()
    path.mkdir()
    refused(folder, "is a link or a device")
    (folder / INDEX).rename(tmp_path / INDEX)
    (folder / INDEX).symlink_to(tmp_path / INDEX)
    refused(folder, "is a link or a device")


def test_an_index_of_gigabytes_is_refused_unread(folder):
    os.truncate(folder / INDEX, 2**33)  # sparse: it takes no room on the disk
    refused(folder, "more than")


def test_arrays_larger_than_the_memory_are_refused_unread(folder, monkeypatch):
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=100))
    monkeypatch.setattr(hashlib, "file_digest", pytest.fail)
    refused(folder, "but 100 of memory are free", MemoryBudgetError)


# -- forged folders, whose checksums are right


def rewrite(folder, **changes):
    """Change the content of the index, with a checksum that fits."""
    content = {**storage._read_index(folder), **changes}
    (folder / INDEX).write_bytes(storage._index(content))


def forge(folder, payload, **changes):
    """Exchange the arrays file, with size and checksum that fit."""
    checksum = hashlib.sha256(payload).hexdigest()
    (folder / storage._arrays_name(checksum)).write_bytes(payload)
    rewrite(folder, arrays_sha256=checksum, arrays_bytes=len(payload), **changes)


def safetensors_file(header, data=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def entry(dtype, shape, start, end):
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}


DATA = bytes(32)
A, B = entry("F32", [2, 3], 0, 24), entry("I64", [], 24, 32)
FORGED = {
    "empty": b"",
    "half a length": b"\1\0\0",
    "header of 2^63 bytes": (2**63).to_bytes(8, "little") + b"{}",
    "header longer than the file": (1000).to_bytes(8, "little") + b"{}",
    "no json": safetensors_file(b"x" * 16),
    "no utf-8": safetensors_file(b'{"\xff\xff": 1}'),
    "deep": safetensors_file(b"[" * 100_000),
    "a list": safetensors_file([]),
    "80 TB": safetensors_file({"0000": entry("F64", [10**13], 0, 8 * 10**13)}, DATA),
    "shape overflows": safetensors_file({"0000": entry("F64", [2**40, 2**40], 0, 24)}, DATA),
    "negative": safetensors_file({"0000": entry("F32", [2, 3], -24, 0)}, DATA),
    "backwards": safetensors_file({"0000": entry("F32", [2, 3], 24, 0)}, DATA),
    "overlapping": safetensors_file({"0000": A, "0001": entry("I64", [], 16, 24)}, DATA[:24]),
    "gap": safetensors_file({"0000": A, "0001": entry("I64", [], 32, 40)}, bytes(40)),
    "uncovered": safetensors_file({"0000": A}, DATA),
    "unknown dtype": safetensors_file({"0000": entry("PICKLE", [2, 3], 0, 24)}, DATA),
    "one missing": safetensors_file({"0000": A}, DATA[:24]),
    "one too many": safetensors_file(
        {"0000": A, "0001": B, "evil": entry("U8", [0], 32, 32)}, DATA
    ),
    "other keys": safetensors_file({"0000": A, "../evil": B}, DATA),
    "other dtype": safetensors_file({"0000": entry("I32", [2, 3], 0, 24), "0001": B}, DATA),
    "other shape": safetensors_file({"0000": entry("F32", [3, 2], 0, 24), "0001": B}, DATA),
}


@pytest.mark.parametrize("case", FORGED)
def test_forged_arrays_are_refused(folder, case):
    forge(folder, FORGED[case])
    refused(folder, "is not a safetensors file|holds")


def test_a_repeated_key_is_refused_or_reads_as_one_of_the_two(folder):
    doubled = b'{"0000":%b,"0000":%b,"0001":%b}' % tuple(
        json.dumps(each).encode() for each in (A, A, B)
    )
    forge(folder, safetensors_file(doubled, DATA))
    try:
        found, _ = load_arrays(folder)
    except FileFormatError:
        return
    assert found["a"].shape == (2, 3)


def test_the_forger_of_these_tests_makes_a_valid_file(folder):
    forge(
        folder, safetensors_file({"0000": A, "0001": B, "__metadata__": {"x": "y" * 10**6}}, DATA)
    )
    assert load_arrays(folder)[0]["a"].shape == (2, 3)


ARRAY = {"name": "a", "dtype": "F32", "shape": [2, 3]}


@pytest.mark.parametrize(
    "changes",
    [
        {"arrays": None},
        {"arrays": {"a": 1}},
        {"arrays": [1]},
        {"arrays": [{"name": "a"}]},
        {"arrays": [{**ARRAY, "name": 3}]},
        {"arrays": [{**ARRAY, "dtype": "F1"}]},
        {"arrays": [{**ARRAY, "dtype": ["F32"]}]},
        {"arrays": [{**ARRAY, "shape": 6}]},
        {"arrays": [{**ARRAY, "shape": ["2", 3]}]},
        {"arrays": [ARRAY, ARRAY]},
        {"arrays_bytes": "many"},
        {"arrays_bytes": -1},
        {"arrays_sha256": 5},
        {"arrays_sha256": "../../../../etc/passwd"},
        {"arrays_sha256": "A" * 64},
        {"arrays_sha256": "a" * 63 + "\n"},
        {"more": 1},
    ],
    ids=str,
)
def test_a_forged_index_is_refused(folder, changes):
    rewrite(folder, **changes)
    refused(folder, "does not describe arrays|more than the -1")


@PROPERTY
@given(data=st.data())
def test_random_edits_of_the_header_never_give_other_shapes(tmp_path, data):
    folder = tmp_path / "x"
    save_arrays(folder, {"a": torch.zeros(2, 3), "b": torch.tensor(7)}, None)
    payload = bytearray(arrays_file(folder).read_bytes())
    for place in data.draw(st.lists(st.integers(0, 120), min_size=1, max_size=3)):
        payload[place] = data.draw(st.integers(0, 255))
    forge(folder, bytes(payload))
    try:
        found, _ = load_arrays(folder)
    except FileFormatError:
        pass
    else:
        assert found["a"].shape == (2, 3)
        assert found["b"].dtype == torch.int64
    for path in folder.glob("arrays-*"):
        path.unlink()
