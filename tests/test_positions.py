"""Maps of positions over the input: exact fractions, windows, what is nearest."""

from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from references import receptive_fields as reference
from torch import nn

from torchprobe.errors import SettingError
from torchprobe.positions import BEYOND, Map, PositionsMap

fractions = st.fractions(min_value=-50, max_value=50, max_denominator=12)
strides = st.fractions(min_value=Fraction(1, 8), max_value=8, max_denominator=8)


def of_stack(operations):
    """The map of a stack of known operations."""
    spans = [reference.span(operations, at) for at in range(reference.period(operations))]
    return Map.of_spans(spans, int(reference.stride(operations) * len(spans)))


STACKS = {
    "convolution": [reference.Window(5, 2, 1)],
    "even kernel": [reference.Window(4, 3)],
    "dilated": [reference.Window(3, 1, 2, 4), reference.Window(2, 2)],
    "repeated": [reference.Window(3, 2), reference.Repeat(3)],
    "transposed": [reference.Transposed(4, 2, 1), reference.Window(3, 1, 1)],
    "down and up": [reference.Window(5, 3, 2), reference.Transposed(4, 2, 1)],
}


@pytest.mark.parametrize("operations", STACKS.values(), ids=STACKS)
def test_a_map_of_what_positions_see_says_what_each_sees(operations):
    found = of_stack(operations)
    assert found.stride == reference.stride(operations)
    assert found.offset == reference.offset(operations)
    assert found.field == reference.field(operations)
    first, last = found.spans(torch.arange(-7, 20))
    assert list(zip(first.tolist(), last.tolist(), strict=True)) == [
        reference.span(operations, at) for at in range(-7, 20)
    ]


@settings(derandomize=True, deadline=None, max_examples=60)
@given(strides, fractions, strides, fractions)
def test_the_nearest_position_is_nearest_and_the_later_of_two(stride, offset, other, start):
    found = Map(stride, offset).nearest(Map(other, start), 9)
    for at, index in enumerate(found.tolist()):
        apart = [abs(offset + stride * at - start - other * (index + by)) for by in (-1, 0, 1)]
        assert apart[1] <= apart[0]
        assert apart[1] < apart[2]


def test_the_middle_of_an_even_field_is_the_position_that_center_pooling_takes():
    window = Map(stride=4, offset=Fraction(3, 2), field=4)
    assert window.nearest(Map(), 3).tolist() == [4 // 2, 4 + 4 // 2, 8 + 4 // 2]


@settings(derandomize=True, deadline=None, max_examples=30)
@given(strides, st.integers(-9, 9), st.integers(1, 9), strides, st.integers(-9, 9))
def test_positions_seen_are_those_whose_middle_lies_within(stride, offset, field, other, start):
    window, source = Map(stride, offset, field), Map(other, start)
    first, last = window.seen_of(source, 4)
    begin, end = (each.tolist() for each in window.spans(torch.arange(4)))
    for at in range(4):
        inside = [
            j
            for j in range(int((begin[at] - start) / other) - 2, int((end[at] - start) / other) + 3)
            if begin[at] <= start + other * j <= end[at]
        ]
        assert list(range(int(first[at]), int(last[at]) + 1)) == inside


def test_a_map_without_bound_sees_to_both_ends():
    first, last = Map(2, 1, right=3).spans(torch.arange(3))
    assert first.tolist() == [-BEYOND] * 3
    assert last.tolist() == [4, 6, 8]
    assert str(Map(2, 1, right=3)) == "Map(stride 2, offset 1, field past)"
    assert Map(left=0).field_text == "future"


def test_positions_inside_a_window_are_what_the_window_alone_would_compute():
    torch.manual_seed(0)
    layer = nn.Sequential(nn.Conv1d(2, 4, 5, 2), nn.Conv1d(4, 4, 3)).double()
    rest = nn.Sequential(nn.Conv1d(4, 4, 4, 2), nn.Conv1d(4, 3, 2)).double()
    of_layer = of_stack([reference.Window(5, 2), reference.Window(3)])
    of_output = of_stack(
        [
            *[reference.Window(5, 2), reference.Window(3)],
            reference.Window(4, 2),
            reference.Window(2),
        ]
    )
    x = torch.randn(1, 2, 70).double()
    whole = layer(x)
    first, last = of_layer.inside(of_output, rest(whole).shape[2])
    begins, ends = of_output.spans(torch.arange(len(first)))
    for begin, end, one, two in zip(begins, ends, first, last, strict=True):
        alone = layer(x[:, :, begin : end + 1])
        assert torch.allclose(alone, whole[:, :, one : two + 1], rtol=1e-12)


def test_windows_are_found_along_the_axes_that_layer_and_output_share():
    output = PositionsMap("out", ("time",), ("time",), (Map(2, 4, 9),))
    conv = PositionsMap("conv", ("time",), ("time",), (Map(1, 1, 3),), output=output)
    ((first, last),) = conv.windows([3])
    assert first.tolist() == [0, 2, 4]
    assert last.tolist() == [6, 8, 10]
    assert conv["time"] == Map(1, 1, 3)
    with pytest.raises(
        SettingError, match=r"no positions along the input's 'height', only .*'time'"
    ):
        conv["height"]


def test_windows_of_positions_that_see_everything_are_refused():
    with pytest.raises(SettingError, match="need receptive fields with an end"):
        Map(field=3).inside(Map(), 2)


def test_by_ratio_positions_are_spread_evenly():
    spread = Map(None).over(8, 200)
    assert (spread.stride, spread.offset) == (25, 12)
    with pytest.raises(SettingError, match=r"map\.over"):
        Map(None).nearest(Map(), 3)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"stride": 0}, "positive"),
        ({"stride": "two"}, "stride='two' is no number"),
        ({"field": 0}, "1 or more"),
        ({"offset": float("nan")}, "offset=nan is no number"),
    ],
)
def test_a_map_that_is_none_is_refused(settings, message):
    with pytest.raises(SettingError, match=message):
        Map(**settings)


@settings(derandomize=True, deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(st.integers(1, 5), st.integers(1, 3), st.integers(0, 2)), max_size=3),
    st.integers(60, 90),
    st.integers(60, 90),
    st.integers(60, 120),
)
def test_known_counts_bound_the_count_of_any_length(stack, one, two, size):
    def count(length):
        for kernel, stride, padding in stack:
            length = (length + 2 * padding - kernel) // stride + 1
        return length

    operations = [reference.Window(*each) for each in stack]
    known = [(length, count(length)) for length in (one, two)]
    least, most = of_stack(operations).counts(size, known)
    assert least <= count(size) <= most
    assert most - least <= 1
