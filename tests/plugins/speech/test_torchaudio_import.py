"""Packages that behave like torchaudio in each situation, found on the real import path."""

import importlib
import sys
import types
from importlib.util import find_spec

import pytest
import torch
from torchprobe_speech import import_torchaudio

HEALTHY = "from torchaudio import _extension\nloaded = _extension._IS_TORCHAUDIO_EXT_AVAILABLE\n"
BROKEN_LIBRARY = "raise OSError('libc10_cuda.so: cannot open shared object file')\n"


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Hides the real torchaudio and returns a function that puts another in its place."""
    for name in [name for name in sys.modules if name.split(".")[0] == "torchaudio"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(str(tmp_path))

    def write(package: str, extension: str) -> None:
        folder = tmp_path / "torchaudio"
        (folder / "_extension").mkdir(parents=True)
        (folder / "__init__.py").write_text(package)
        (folder / "_extension" / "__init__.py").write_text(extension)

    yield write
    for name in torchaudio_modules():
        del sys.modules[name]


def torchaudio_modules():
    return [name for name in sys.modules if name.split(".")[0] == "torchaudio"]


def test_an_extension_that_loads_is_used(install):
    install(HEALTHY, "_IS_TORCHAUDIO_EXT_AVAILABLE = True\n")
    torchaudio = import_torchaudio()
    assert torchaudio.loaded
    assert torchaudio._extension.__file__.endswith("__init__.py")
    assert import_torchaudio() is torchaudio


def test_an_extension_that_does_not_load_is_replaced_by_its_absence(install):
    install(HEALTHY, BROKEN_LIBRARY)
    torchaudio = import_torchaudio()
    assert torchaudio.loaded is False
    assert torchaudio._extension is sys.modules["torchaudio._extension"]
    assert import_torchaudio() is torchaudio
    assert importlib.import_module("torchaudio") is torchaudio
    with pytest.raises(RuntimeError, match="forced_align needs its compiled library"):
        torchaudio._extension.fail_if_no_align(lambda: 1)()


def test_what_a_failed_import_of_the_user_left_behind_does_not_matter(install):
    install(HEALTHY, BROKEN_LIBRARY)
    with pytest.raises(OSError, match="libc10_cuda"):
        importlib.import_module("torchaudio")
    sys.modules["torchaudio._internal"] = types.ModuleType("torchaudio._internal")
    assert import_torchaudio().loaded is False
    assert "torchaudio._internal" not in sys.modules


def test_the_first_error_is_raised_when_the_second_attempt_fails_too(install):
    install(HEALTHY + "raise OSError('something else')\n", BROKEN_LIBRARY)
    with pytest.raises(OSError, match="libc10_cuda") as caught:
        import_torchaudio()
    assert "something else" in str(caught.value.__cause__)
    assert not torchaudio_modules()


def test_a_missing_torchaudio_names_the_extra(install, monkeypatch):
    monkeypatch.setitem(sys.modules, "torchaudio", None)
    with pytest.raises(ImportError, match=r"pip install 'torchprobe\[speech\]'"):
        import_torchaudio()


def test_another_import_error_passes_unchanged(install):
    install("import a_module_that_torchaudio_misses\n", "")
    with pytest.raises(ModuleNotFoundError, match="a_module_that_torchaudio_misses"):
        import_torchaudio()


@pytest.mark.skipif(find_spec("torchaudio") is None, reason="torchaudio is not installed")
def test_the_installed_torchaudio_computes_spectrograms():
    transform = import_torchaudio().transforms.MelSpectrogram(n_mels=8, n_fft=256)
    assert transform(torch.zeros(1000)).shape[0] == 8
