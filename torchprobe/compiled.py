"""Loops that no library has, as machine code where numba is installed."""

from __future__ import annotations

import functools
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["can_compile", "compiled"]

_RELAXED = {"contract", "reassoc", "nsz"}
"""What the compiler may do to sums: reorder them and fuse products in, as BLAS does."""


@functools.cache
def can_compile() -> bool:
    """Whether numba is there (the extra ``fast``, and all that uses umap-learn)."""
    return find_spec("numba") is not None


@functools.cache
def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function of numpy arrays and numbers as machine code, which leaves the interpreter's lock.

    Compiled when it is first called with arguments of some types, in a second or so; what it stands
    in for must be there too, for those without numba and for work that is over sooner. Nothing is
    written to disk.

    Args:
        function: of a module; what it uses of other modules must be known to numba.

    Raises:
        ImportError: numba is not installed; see `can_compile`.

    Example:
        >>> import numpy as np
        >>> def double(values):
        ...     for at in range(len(values)):
        ...         values[at] *= 2
        >>> values = np.arange(3.0)
        >>> compiled(double)(values)
        >>> values.tolist()
        [0.0, 2.0, 4.0]
    """
    from numba import njit

    made: Callable[..., Any] = njit(function, nogil=True, fastmath=_RELAXED)
    return made
