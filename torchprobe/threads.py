"""How many threads things are computed with."""

from __future__ import annotations

import functools
import itertools
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["blas_threads", "in_threads"]

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


def in_threads(work: Callable[[slice], None], n: int, at_least: int = 1) -> None:
    """Do work that leaves the interpreter's lock on as many threads as torch has.

    Args:
        work: of some of the items, which the others do not depend on.
        n: how many items there are.
        at_least: items that are worth a thread.

    Example:
        >>> done = [0] * 5
        >>> def work(items):
        ...     done[items] = [1] * len(done[items])
        >>> in_threads(work, 5)
        >>> done
        [1, 1, 1, 1, 1]
    """
    n_threads = min(torch.get_num_threads(), max(1, n // at_least))
    bounds = [n * thread // n_threads for thread in range(n_threads + 1)]
    first, *others = (slice(*ends) for ends in itertools.pairwise(bounds))
    if not others:
        work(first)
        return
    with ThreadPoolExecutor(len(others)) as pool:
        begun = [pool.submit(work, part) for part in others]
        work(first)  # in this thread: to begin another one takes time
        for each in begun:
            each.result()
