"""How many threads numpy and scipy compute with."""

from __future__ import annotations

import functools
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["blas_threads"]

_WIDE = 1024
"""Units from which a matrix of them is worth several threads."""


@contextmanager
def blas_threads(width: int) -> Iterator[None]:
    """Let BLAS use one thread for matrices of a width that gains nothing from more.

    OpenBLAS's threads wait for their next task by spinning. Where cores are few, that keeps torch's
    own threads from working in the passes that follow: a run with LDA on 256 units was seen to take
    eight times as long.

    Example:
        >>> import numpy as np
        >>> with blas_threads(256):
        ...     float(np.linalg.det(np.eye(3)))
        1.0
    """
    if width >= _WIDE:
        yield
        return
    with _controller().limit(limits=1, user_api="blas"):
        yield


@functools.cache
def _controller() -> Any:
    import scipy.linalg  # noqa: F401 - loads the library that is to be told
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()
