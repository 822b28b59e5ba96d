"""Axes as products of atoms: merged, divided, united."""

from hypothesis import given, settings
from hypothesis import strategies as st

from torchprobe.layouts.atoms import (
    Atom,
    Label,
    Role,
    Strength,
    fit,
    fresh,
    known,
    length,
    regroup,
    relabel,
    unite,
)


def named(**sizes):
    """Axes by name; a plain name is what a module said for sure."""
    return [(Atom(size, label=Label(name, Strength.SURE)),) for name, size in sizes.items()]


def names(axes):
    return [label.name if (label := known(axis)) else None for axis in axes]


def test_merged_axes_come_apart_again():
    axes = named(sample=2, time=3, channel=4)
    rows = regroup(axes, (6, 4))
    assert names(rows) == ["sample", "channel"]
    assert regroup(rows, (2, 3, 4)) == axes


def test_a_divided_axis_becomes_whole_again():
    axes = named(sample=2, channel=12)
    heads = regroup(axes, (2, 3, 4))
    assert names(heads) == ["sample", "head", "channel"]
    assert regroup(heads, (2, 12)) == axes
    assert regroup(regroup(heads, (2, 3, 2, 2)), (2, 12)) == axes


def test_parts_in_another_order_are_not_the_whole():
    outer, inner = regroup(named(channel=6), (2, 3))
    (swapped,) = regroup([inner, outer], (6,))
    assert len(swapped) == 2


def test_equal_sizes_are_told_apart_by_order():
    a, b, c = named(sample=4, time=4, channel=4)
    assert regroup(regroup([a, b, c], (16, 4)), (4, 4, 4)) == [a, b, c]
    assert regroup(regroup([b, a, c], (16, 4)), (4, 4, 4)) == [b, a, c]


def test_what_does_not_divide_is_not_known():
    assert names(regroup(named(time=2, channel=9), (3, 6))) == [None, None]


def test_merged_positions_are_tokens():
    assert names(regroup(named(sample=2, height=3, width=4), (2, 12))) == ["sample", "token"]


def test_axes_of_size_one_come_and_go():
    axes = named(sample=2, channel=3)
    with_one = regroup(axes, (2, 1, 3, 1))
    assert names(with_one) == ["sample", None, "channel", None]
    assert names(regroup(with_one, (2, 3))) == ["sample", "channel"]


def test_a_batch_of_one_is_still_the_batch():
    rows = regroup(named(sample=1, time=3, channel=4), (3, 4))
    assert names(rows) == ["sample", "channel"]
    assert names(regroup(rows, (1, 3, 4))) == ["sample", "time", "channel"]


def test_an_axis_cut_or_padded_is_still_that_axis():
    (time,) = named(time=5)
    (cut,) = fit([time], (3,))
    assert cut[0].role is time[0].role
    assert names([cut]) == ["time"]
    assert fit([time], (5,)) == [time]


def test_axes_of_another_number_are_unknown():
    assert names(fit(named(sample=2, channel=3), (2, 3, 1))) == [None, None, None]


def test_united_axes_share_what_is_said_of_them():
    (one,), (other,) = fresh((3, 3))
    unite([(one,), (other,)])
    other.role.claim(Label("time", Strength.USUAL), "layer")
    assert names([(one,)]) == ["time"]


def test_axes_of_other_sizes_are_not_united():
    one, other = fresh((3, 4))
    unite([one, other])
    assert one[0].role.first is not other[0].role.first


def test_merged_axes_are_united_part_by_part():
    ones, others = regroup(fresh((2, 3)), (6,)), regroup(named(sample=2, time=3), (6,))
    unite([ones[0], others[0]])
    assert [a.role.first is b.role.first for a, b in zip(ones[0], others[0], strict=True)] == [
        True
    ] * 2


def test_the_makers_name_counts_more_than_an_equally_trusted_one():
    (axis,) = named(time=3)
    axis[0].role.claim(Label("token", Strength.SURE), "later")
    assert names([axis]) == ["time"]
    axis[0].role.claim(Label("frame", Strength.GIVEN), "user")
    assert names([axis]) == ["frame"]


def test_the_most_frequent_name_wins_among_equally_trusted():
    (axis,) = fresh((3,))
    for name in ("token", "time", "time"):
        axis[0].role.claim(Label(name, Strength.USUAL), "layer")
    assert names([axis]) == ["time"]


def test_sample_and_position_at_once_is_no_name():
    (axis,) = fresh((3,))
    axis[0].role.claim(Label("sample", Strength.SURE), "conv")
    axis[0].role.claim(Label("time", Strength.SURE), "rnn")
    assert names([axis]) == [None]
    assert axis[0].role.contradiction() == "'conv' calls an axis sample that 'rnn' calls time"


def test_usual_names_do_not_contradict():
    (axis,) = fresh((3,))
    axis[0].role.claim(Label("sample", Strength.USUAL), "dense")
    axis[0].role.claim(Label("time", Strength.SURE), "rnn")
    assert names([axis]) == ["time"]


def test_relabelling_makes_another_axis_of_the_same_role():
    (axis,) = named(time=3)
    (renamed,) = relabel(axis, Label("frame", Strength.SURE))
    assert renamed.role is axis[0].role
    assert names([axis, (renamed,)]) == ["time", "frame"]


@settings(max_examples=60, derandomize=True, deadline=None)
@given(
    pairs=st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=8),
    claims=st.lists(
        st.tuples(st.integers(0, 5), st.sampled_from("abc"), st.sampled_from(Strength)), max_size=8
    ),
)
def test_the_order_of_uniting_and_claiming_does_not_matter(pairs, claims):
    def told(unite_first):
        roles = [Role() for _ in range(6)]
        steps = [
            lambda: [roles[a].unite(roles[b]) for a, b in pairs],
            lambda: [roles[at].claim(Label(name, how), "x") for at, name, how in claims],
        ]
        for step in steps if unite_first else reversed(steps):
            step()
        return [
            sorted((label, role.count(label.name)) for label in role.labels()) for role in roles
        ]

    assert told(unite_first=True) == told(unite_first=False)


@settings(max_examples=100, derandomize=True, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 6), max_size=5), shape=st.lists(st.integers(1, 12), max_size=5)
)
def test_regrouped_axes_have_the_sizes_asked_for(sizes, shape):
    assert [length(axis) for axis in regroup(fresh(sizes), shape)] == shape
