"""Whether two runs of an analyzer gave the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torchprobe.result import Result

__all__ = ["assert_equal"]


def assert_equal(
    first: Sequence[Result], second: Sequence[Result], what: str, *, exact: bool = False
) -> None:
    """Assert that results agree to nine digits, or bit for bit; says ``what`` they differ in."""
    assert len(first) == len(second), f"{what} gave results for other layers"
    for one, two in zip(first, second, strict=True):
        _equal_result(one, two, what, exact=exact)


def _equal_result(first: Result, second: Result, what: str, *, exact: bool) -> None:
    assert first.layer == second.layer, f"{what} gave results for other layers"
    assert first.fields.keys() == second.fields.keys(), f"{what} gave other fields"
    assert first.coords == second.coords, f"{what} gave other names along an axis"
    for name, field in first.fields.items():
        one, two = field.values, second.fields[name].values
        assert one.shape == two.shape, f"{what} gave {name} of shape {two.shape}, not {one.shape}"
        if exact or one.dtype.kind not in "fc":
            assert np.array_equal(one, two, equal_nan=one.dtype.kind == "f"), (
                f"{what} changed {name}"
            )
        else:
            scale = np.abs(one[np.isfinite(one)]).max(initial=1.0)
            close = np.allclose(one, two, rtol=1e-9, atol=1e-9 * scale, equal_nan=True)
            assert close, f"{what} changed {name}: {one.ravel()[:4]} became {two.ravel()[:4]}"
