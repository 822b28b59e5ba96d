"""What hypothesis draws: batches, orders and rows that break naive sums."""

from itertools import pairwise

import torch
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

repeatable = settings(
    derandomize=True,
    deadline=None,
    max_examples=25,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
"""Settings of every property: the same examples each time, never timed."""

seeds = st.integers(0, 2**32 - 1)


@st.composite
def batches(draw, n):
    """Slices that cover n rows in order; empty ones among them."""
    cuts = draw(st.lists(st.integers(0, n), max_size=5).map(sorted))
    return [slice(*ends) for ends in pairwise([0, *cuts, n])]


def orders(n):
    """Permutations of n things."""
    return st.permutations(range(n))


@st.composite
def offset_rows(draw, max_rows=60, channels=3):
    """Rows as a model delivers them: offset up to 1e6 of their spread, in any precision.

    Values, not formulas, are rounded to the dtype: the truth is what was delivered.
    """
    n = draw(st.sampled_from([2, 3, 17, max_rows]))
    dtype = draw(st.sampled_from([torch.float64, torch.float32, torch.bfloat16, torch.float16]))
    largest = {torch.float16: 1, torch.bfloat16: 3}.get(dtype, 6)
    offset = 10.0 ** draw(st.integers(0, largest)) * draw(st.sampled_from([-1, 0, 1]))
    scale = 10.0 ** draw(st.integers(-3, 0))
    generator = torch.Generator().manual_seed(draw(seeds))
    values = torch.randn(n, channels, generator=generator, dtype=torch.float64)
    return ((values + offset) * scale).to(dtype)
