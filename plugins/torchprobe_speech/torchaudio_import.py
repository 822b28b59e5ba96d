"""Importing torchaudio beside a CPU build of torch.

The wheel of torchaudio on PyPI is linked against CUDA. Beside CPU torch its extension library does
not load, and `import torchaudio` ends in OSError, although almost everything in it is Python.
"""

import importlib
import sys
import threading
from types import ModuleType
from typing import Any, NoReturn

from torchprobe.errors import MissingExtraError

__all__ = ["import_torchaudio"]

_EXTENSION = "torchaudio._extension"
_LOCK = threading.RLock()


def import_torchaudio() -> Any:
    """Imports torchaudio, without its compiled extension where that cannot be loaded.

    Where the extension loads, this is a plain import. Where loading it ends in OSError, torchaudio
    is imported as if its library files were absent, a state that torchaudio itself provides for:
    transforms, functional, models and datasets work; `forced_align`, `rnnt_loss` and the CUDA
    decoder do not, and `lfilter` falls back to Python.

    Returns:
        The module `torchaudio`, the same that a later `import torchaudio` finds.

    Raises:
        MissingExtraError: torchaudio is not installed.
        OSError: It cannot be imported without its extension either; the first error is raised.

    >>> import_torchaudio().transforms.MelSpectrogram.__name__
    'MelSpectrogram'
    """
    with _LOCK:
        try:
            return _import()
        except OSError as error:
            return _import_without_extension(error)


def _import() -> ModuleType:
    try:
        return importlib.import_module("torchaudio")
    except ModuleNotFoundError as error:
        if error.name != "torchaudio":
            raise
        raise MissingExtraError(
            "torchaudio is not installed; the speech plugin computes its spectrograms with it: "
            "pip install 'torchprobe[speech]'"
        ) from error


def _import_without_extension(first: OSError) -> ModuleType:
    _forget()
    stand_in = _absent_extension()
    sys.modules[_EXTENSION] = stand_in
    try:
        torchaudio = importlib.import_module("torchaudio")
    except BaseException as second:
        _forget()
        if isinstance(second, Exception):
            raise first from second
        raise
    torchaudio._extension = stand_in  # type: ignore[attr-defined]  # noqa: SLF001 (a hit in sys.modules binds nothing)
    return torchaudio


def _forget() -> None:
    """Drops what a failed import left behind, so that the next one starts afresh."""
    for name in [name for name in sys.modules if f"{name}.".startswith("torchaudio.")]:
        del sys.modules[name]


def _absent_extension() -> ModuleType:
    """Returns what `torchaudio._extension` is where its library files are absent."""
    module = ModuleType(_EXTENSION, "Stand-in by torchprobe: the compiled library does not load.")
    vars(module).update(
        _IS_TORCHAUDIO_EXT_AVAILABLE=False,
        _IS_ALIGN_AVAILABLE=False,
        fail_if_no_align=_fail_if_no_align,
        _load_lib=lambda _library: False,
        _check_cuda_version=lambda: None,
    )
    return module


def _fail_if_no_align(_function: Any) -> Any:
    def fail(*_arguments: Any, **_options: Any) -> NoReturn:
        raise RuntimeError(
            "torchaudio's forced_align needs its compiled library, which does not load beside this "
            "build of torch; install builds of torch and torchaudio that match"
        )

    return fail
