"""What every accumulator promises, whatever it counts."""

import copy
import functools
import warnings

import numpy as np
import pytest
import torch
from accumulators.kinds import KINDS, Data
from hypothesis import given
from hypothesis import strategies as st
from strategies import batches, orders, repeatable, seeds

from torchprobe.accumulators import Accumulator, Transaction
from torchprobe.errors import EmptyStateError, MergeError, TorchprobeError

N = 13

every_kind = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS.keys())


def assert_close(got, expected):
    assert got.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(got[name], value, rtol=1e-12, atol=1e-10, msg=name)


def assert_same(got, expected):
    assert got.keys() == expected.keys()
    for name, value in expected.items():
        assert got[name].dtype == value.dtype, name
        assert torch.equal(got[name], value), name


@every_kind
@repeatable
@given(cuts=batches(N), seed=seeds)
def test_any_batches_give_what_one_pass_gives(kind, cuts, seed):
    data, accumulator = Data(N, seed), kind.make()
    for rows in cuts:
        kind.feed(accumulator, data, rows)
    assert_close(kind.read(accumulator), kind.read(kind.fed(data)))


@every_kind
@repeatable
@given(order=orders(N), seed=seeds)
def test_order_of_rows_does_not_matter(kind, order, seed):
    data = Data(N, seed)
    shuffled = kind.make()
    for row in order:
        kind.feed(shuffled, data, torch.tensor([row]))
    assert_close(kind.read(shuffled), kind.read(kind.fed(data)))


@every_kind
@repeatable
@given(cuts=batches(N), seed=seeds, draw=st.data())
def test_merging_in_any_order_gives_what_one_pass_gives(kind, cuts, seed, draw):
    data = Data(N, seed)
    parts = [kind.fed(data, rows) for rows in cuts]
    while len(parts) > 1:  # a random tree of merges
        left, right = draw.draw(orders(len(parts)))[:2]
        parts[left].merge(parts[right])
        parts.pop(right)
    assert_close(kind.read(parts[0]), kind.read(kind.fed(data)))


@every_kind
def test_a_large_batch_taken_in_parts_gives_the_same(kind, monkeypatch):
    expected = kind.read(kind.fed(Data(N)))
    monkeypatch.setattr("torchprobe.accumulators.rows._CPU_PIECE", 12)
    for module in ("centred_rows", "gram"):
        monkeypatch.setattr(f"torchprobe.accumulators.{module}.PRODUCT_ROWS", 4)
    assert_close(kind.read(kind.fed(Data(N))), expected)


@every_kind
def test_merging_leaves_the_other_unchanged_and_independent(kind):
    data = Data(N)
    other = kind.fed(data, slice(0, 6))
    before = other.state_dict()
    merged = kind.make().merge(other)
    kind.feed(merged, data, slice(6, None))
    assert_same(other.state_dict(), before)
    assert_close(kind.read(merged), kind.read(kind.fed(data)))


@every_kind
def test_merging_with_nothing_seen_changes_no_bit(kind):
    data = Data(N)
    full, expected = kind.fed(data), kind.read(kind.fed(data))
    assert_same(kind.read(full.merge(kind.make())), expected)
    assert_same(kind.read(kind.make().merge(full)), expected)


@every_kind
def test_a_batch_without_rows_changes_nothing(kind):
    data = Data(N)
    assert kind.fed(data, slice(0, 0)).state == {}
    accumulator = kind.fed(data)
    before = accumulator.state_dict()
    assert_same(kind.feed(accumulator, data, slice(0, 0)).state_dict(), before)


@every_kind
def test_saved_state_goes_on_where_it_stopped(kind):
    data = Data(N)
    first = kind.fed(data, slice(0, 5))
    second = kind.make()
    second.load_state_dict(first.state_dict())
    assert_same(second.state_dict(), first.state_dict())
    assert_close(
        kind.read(kind.feed(second, data, slice(5, None))),
        kind.read(kind.feed(first, data, slice(5, None))),
    )


@every_kind
def test_what_is_saved_has_one_order_whatever_came_first(kind):
    data = Data(N)
    forward, backward = kind.fed(data), kind.make()
    for row in reversed(range(N)):
        kind.feed(backward, data, slice(row, row + 1))
    if "QR" not in repr(forward):  # R is unique up to signs only
        assert_close(lower(backward.state_dict()), lower(forward.state_dict()))


def lower(state):
    """Of symmetric matrices, the half that is kept."""
    halves = ("scatter", "gram")
    return {name: tensor.tril() if name in halves else tensor for name, tensor in state.items()}


@every_kind
def test_saved_state_shares_no_memory(kind):
    data = Data(N)
    accumulator = kind.fed(data)
    saved = accumulator.state_dict()
    before = {name: tensor.clone() for name, tensor in saved.items()}
    loaded = kind.make()
    loaded.load_state_dict(saved)
    for one in (accumulator, loaded):
        kind.feed(one, Data(N, seed=1))
    assert_same(saved, before)


@every_kind
def test_saved_state_is_int64_and_float64_of_the_planned_shape(kind):
    state = kind.fed(Data(N)).state_dict()
    kind.make().check(state)
    assert {tensor.dtype for tensor in state.values()} <= {torch.int64, torch.float64}


@every_kind
def test_foreign_state_is_refused_and_what_was_held_is_kept(kind):
    mine = kind.fed(Data(N))
    before = mine.state_dict()
    for other in KINDS.values():
        theirs = other.fed(Data(N))
        if repr(theirs) == repr(mine):
            continue
        with pytest.raises(MergeError, match="merge accumulators of the same class and settings"):
            mine.merge(theirs)
        state = theirs.state_dict()
        if not fits(state, before) or vars(mine).get("seed") != vars(theirs).get("seed"):
            with pytest.raises(MergeError, match="made with the same settings"):
                mine.load_state_dict(state)
        assert_same(mine.state_dict(), before)


def fits(state, other):
    return {name: tensor.shape[1:] for name, tensor in state.items()} == {
        name: tensor.shape[1:] for name, tensor in other.items()
    }


@every_kind
def test_damaged_state_is_refused(kind):
    state = kind.fed(Data(N)).state_dict()
    for name, tensor in state.items():
        damaged = [{**state, name: tensor[None]}, {k: t for k, t in state.items() if k != name}]
        if name != "rows":
            damaged.append({**state, name: tensor.to(torch.int32)})
        for states in damaged:
            with pytest.raises(MergeError, match="does not fit"):
                kind.make().load_state_dict(states)


@every_kind
def test_reading_before_any_data_says_so(kind):
    for name in kind.reads:
        with pytest.raises(EmptyStateError, match="has seen no data"):
            kind.read_one(kind.make(), name)


@every_kind
def test_reset_forgets_everything(kind):
    accumulator = kind.fed(Data(N))
    accumulator.reset()
    assert accumulator.state == {}
    assert_same(kind.read(kind.feed(accumulator, Data(N, 1))), kind.read(kind.fed(Data(N, 1))))


@every_kind
def test_rows_of_another_shape_are_refused(kind):
    for at in range(len(kind.arguments)):
        arguments = Data(N).select(kind.arguments)
        arguments[at] = torch.zeros(N, 2, 2, 2).to(arguments[at].dtype)
        with pytest.raises(TorchprobeError, match=r"shape|labels"):
            kind.make().update(*arguments)
        arguments[at] = Data(N + 1).select(kind.arguments[at])[0]
        if len(arguments) > 1:
            with pytest.raises(TorchprobeError, match=r"rows|predictions"):
                kind.make().update(*arguments)


# -- transactions


@every_kind
def test_a_transaction_changes_nothing_until_it_commits(kind):
    data = Data(N)
    accumulator = kind.fed(data, slice(0, 4))
    before = accumulator.state_dict()
    with Transaction() as transaction:
        kind.feed(accumulator, data, slice(4, 8))
        kind.feed(accumulator, data, slice(8, None))
    assert_same(accumulator.state_dict(), before)
    transaction.commit()
    assert_close(kind.read(accumulator), kind.read(kind.fed(data)))


@every_kind
def test_a_transaction_that_is_dropped_leaves_no_trace(kind):
    data = Data(N)
    accumulator = kind.fed(data, slice(0, 4))
    before = accumulator.state_dict()
    with Transaction():
        kind.feed(accumulator, data, slice(4, None))
    assert_same(accumulator.state_dict(), before)
    assert_same(
        kind.read(kind.feed(accumulator, data, slice(4, None))),
        kind.read(kind.feed(kind.fed(data, slice(0, 4)), data, slice(4, None))),
    )


@every_kind
def test_a_batch_may_be_overwritten_as_soon_as_it_was_taken_in(kind):
    data = Data(2)  # fewer rows than channels: what waits are the rows themselves
    arguments = [tensor.clone() for tensor in data.select(kind.arguments)]
    accumulator = kind.make()
    with Transaction() as transaction:
        accumulator.update(*arguments)
        for tensor in arguments:
            tensor.zero_()
    transaction.commit()
    assert_same(kind.read(accumulator), kind.read(kind.fed(data)))


@every_kind
def test_absorbing_a_state_only_reads_it(kind):
    data = Data(N)
    for n in (2, N):
        state = kind.make().reduce(*data.select(kind.arguments, slice(0, n)))
        before = {name: tensor.clone() for name, tensor in state.items()}
        accumulators = [kind.make(), kind.make()]
        for accumulator in accumulators:
            accumulator.absorb(state)
            kind.feed(accumulator, data, slice(n, None))
            kind.feed(accumulator, Data(N, 1))
        assert_same(state, before)
        assert_same(kind.read(accumulators[0]), kind.read(accumulators[1]))


@every_kind
def test_results_do_not_change_with_later_data(kind):
    accumulator = kind.fed(Data(N))
    results = kind.read(accumulator)
    before = {name: value.clone() for name, value in results.items()}
    kind.feed(accumulator, Data(N, 1))
    assert_same(results, before)


# -- memory


@every_kind
def test_memory_does_not_grow_with_the_number_of_batches(kind):
    accumulator = kind.make()
    data = Data(60)
    kind.feed(accumulator, data)
    once = accumulator.nbytes
    for seed in range(20):
        again = Data(60, seed)
        again.columns["l"], again.columns["p"] = data.columns["l"], data.columns["p"]
        again.columns["i"] = again.columns["i"] + 1000 * seed
        kind.feed(accumulator, again)
    assert accumulator.nbytes == once


@every_kind
def test_planned_bytes_are_what_is_known_beforehand(kind):
    accumulator = kind.make()
    planned = accumulator.nbytes
    kind.feed(accumulator, Data(60))
    unknown = {"group", "pair"} & {
        axis for slot in accumulator.slots.values() for axis in slot.axes
    }
    if unknown or getattr(accumulator, "per_group", False):
        assert planned <= accumulator.nbytes
    else:
        assert planned == accumulator.nbytes


@every_kind
def test_what_waits_is_never_larger_than_the_state(kind):
    for n in (1, 2, 3, 4, 5, 60):
        data = Data(n)
        if state := kind.make().reduce(*data.select(kind.arguments)):
            waiting = sum(tensor.nbytes for tensor in state.values())
            assert waiting <= kind.fed(data).nbytes


# -- where and how it runs


@every_kind
def test_default_dtype_and_autocast_change_nothing(kind):
    expected = kind.read(kind.fed(Data(N)))
    data, accumulator = Data(N), kind.make()
    torch.set_default_dtype(torch.float16)
    try:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            for rows in (slice(0, 5), slice(5, None)):
                kind.feed(accumulator, data, rows)
            got = kind.read(accumulator)
    finally:
        torch.set_default_dtype(torch.float32)
    assert_close(got, expected)
    assert_close(kind.read(accumulator), expected)


@every_kind
def test_state_made_under_inference_mode_can_be_changed_outside(kind):
    data, accumulator = Data(N), kind.make()
    with torch.inference_mode():
        inside = Data(N)
        kind.feed(accumulator, inside, slice(0, 2))
        kind.feed(accumulator, inside, slice(2, 5))
        with Transaction() as transaction:
            kind.feed(accumulator, inside, slice(5, 8))
        transaction.commit()
        accumulator.merge(kind.fed(inside, slice(8, 10)))
        saved = accumulator.state_dict()
    accumulator.load_state_dict(saved)
    assert not any(tensor.is_inference() for tensor in accumulator.state.values())
    kind.feed(accumulator, data, slice(10, None))
    assert_close(kind.read(accumulator), kind.read(kind.fed(data)))


@every_kind
@pytest.mark.parametrize("way", ["update", "commit", "merge", "load_state_dict", "to"])
def test_no_way_in_leaves_inference_tensors(kind, way):
    data, accumulator = Data(N), kind.make()
    with Transaction() as transaction:
        kind.feed(accumulator, data, slice(0, 5))
    with torch.inference_mode():
        if way in ("update", "to"):
            kind.feed(accumulator, Data(N), slice(0, 5))
        if way == "to":
            accumulator.to("cpu")
        if way == "commit":
            transaction.commit()
        if way == "merge":
            accumulator.merge(kind.fed(data, slice(0, 5)))
        if way == "load_state_dict":
            accumulator.load_state_dict(kind.fed(data, slice(0, 5)).state_dict())
    assert not any(tensor.is_inference() for tensor in accumulator.state.values())
    kind.feed(accumulator, data, slice(5, None))
    assert_close(kind.read(accumulator), kind.read(kind.fed(data)))


@every_kind
def test_gradients_are_neither_needed_nor_kept(kind):
    data = Data(N)
    for name, column in data.columns.items():
        if column.is_floating_point():
            data.columns[name] = column.requires_grad_()
    accumulator = kind.fed(data, slice(0, 2))
    kind.feed(accumulator, data, slice(2, None))
    assert not any(tensor.requires_grad for tensor in accumulator.state.values())
    assert_close(kind.read(accumulator), kind.read(kind.fed(Data(N))))


@every_kind
def test_strided_rows_give_the_same(kind):
    data, wide = Data(N), Data(N)
    for name, column in data.columns.items():
        wide.columns[name] = torch.stack([column, column], dim=-1)[..., 1]
        if column.ndim > 1:
            wide.columns[name] = wide.columns[name].mT.contiguous().mT
    assert_close(kind.read(kind.fed(wide)), kind.read(kind.fed(data)))


@every_kind
def test_read_only_rows_are_taken_and_left_alone(kind):
    data = Data(N)
    for name, column in data.columns.items():
        array = column.numpy().copy()
        array.flags.writeable = False
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns that writing would be undefined
            data.columns[name] = torch.from_numpy(array)
    accumulator = kind.fed(data, slice(0, 2))
    kind.feed(accumulator, data)
    for name, column in Data(N).columns.items():
        assert torch.equal(data.columns[name], column)


@every_kind
def test_no_random_numbers_are_drawn(kind):
    states = torch.get_rng_state(), np.random.get_state()[1]  # noqa: NPY002 - the global one
    kind.read(kind.fed(Data(N)))
    assert torch.equal(states[0], torch.get_rng_state())
    assert (states[1] == np.random.get_state()[1]).all()  # noqa: NPY002


@every_kind
def test_a_copy_is_independent(kind):
    data = Data(N)
    original = kind.fed(data, slice(0, 5))
    before = original.state_dict()
    twin = copy.deepcopy(original)
    kind.feed(twin, data, slice(5, None))
    assert_same(original.state_dict(), before)
    assert_close(kind.read(twin), kind.read(kind.fed(data)))


@every_kind
def test_moving_to_a_device_keeps_everything(kind):
    data = Data(N)
    accumulator = kind.fed(data, slice(0, 5)).to("cpu")
    kind.feed(accumulator, data, slice(5, None))
    assert_close(kind.read(accumulator), kind.read(kind.fed(data)))


@every_kind
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
def test_a_gpu_gives_what_the_cpu_gives(kind):
    data, accumulator = Data(N), kind.make().to("cuda")
    for rows in (slice(0, 2), slice(2, None)):
        accumulator.update(*(tensor.cuda() for tensor in data.select(kind.arguments, rows)))
    kind.feed(accumulator, Data(N, 1))  # rows on the CPU are moved
    expected = kind.feed(kind.fed(data), Data(N, 1))
    assert_close({k: v.cpu() for k, v in kind.read(accumulator).items()}, kind.read(expected))


# -- groups


@pytest.mark.parametrize(
    "kind", [k for k in KINDS.values() if k.relabels], ids=lambda k: repr(k.make())
)
@repeatable
@given(names=st.permutations([10, 11, 2, 3, 4, 0]), seed=seeds)
def test_relabelling_afterwards_is_relabelling_before(kind, names, seed):
    mapping = dict(enumerate(names[:5]))
    data, renamed = Data(N, seed), Data(N, seed)
    for column in "lp":
        renamed.columns[column].apply_(lambda label: mapping.get(label, label))
    accumulator = kind.fed(data, slice(0, 6))
    kind.feed(accumulator, data, slice(6, None))
    accumulator.relabel(mapping)
    assert_close(kind.read(accumulator), kind.read(kind.fed(renamed)))


@every_kind
def test_relabelling_nothing_is_harmless(kind):
    accumulator = kind.make()
    accumulator.relabel({0: 1})
    assert accumulator.state == {}


def test_every_public_accumulator_is_under_this_contract():
    from torchprobe import accumulators

    public = {getattr(accumulators, name) for name in accumulators.__all__}
    classes = {one for one in public if isinstance(one, type) and issubclass(one, Accumulator)}
    assert classes - {Accumulator} == {type(kind.make()) for kind in KINDS.values()}


def test_all_names_are_sorted():
    from torchprobe import accumulators

    assert accumulators.__all__ == sorted(accumulators.__all__)


def test_folding_states_by_hand_is_merging():
    kind, data = KINDS["WithinScatter"], Data(N)
    states = [kind.make().reduce(*data.select("xl", rows)) for rows in (slice(0, 4), slice(4, N))]
    accumulator = kind.make()
    functools.reduce(lambda _, state: accumulator.absorb(state), states, None)
    assert_close(kind.read(accumulator), kind.read(kind.fed(data)))
