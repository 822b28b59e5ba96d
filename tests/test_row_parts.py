"""Rows that come in parts are the rows, for every layout, padding and value."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from strategies import repeatable, seeds

from torchprobe import Axes, Layer, LayerBatch
from torchprobe.accumulators import GroupMeans, Groups
from torchprobe.accumulators import rows as module
from torchprobe.errors import NonFiniteError, ShapeError
from torchprobe.labels import Labels

AXES = {2: "sample channel", 3: "sample channel time", 4: "sample channel height width"}
LAST = {2: "sample channel", 3: "sample time channel", 4: "sample height width channel"}


def batch_of(values, labels=None, *, last=False, nonfinite="ignore", **said):
    """A batch of [sample, channel, *positions], which lie channels last if so said."""
    axes = Axes.parse((LAST if last else AXES)[values.ndim])
    delivered = values.movedim(1, -1).contiguous() if last else values
    layer = Layer("hidden", axes, tuple(delivered.shape))
    batch = LayerBatch(layer, delivered, Labels(labels, **said), nonfinite=nonfinite)
    return batch.view("label" if labels is not None else None, "each")


def rows_of(batch):
    """All parts, one behind the other."""
    return torch.cat([part.clone() for part in batch.row_parts()])


@repeatable
@given(
    ndim=st.integers(2, 4),
    last=st.booleans(),
    padded=st.booleans(),
    bad=st.booleans(),
    part=st.sampled_from([1, 40, 1 << 16]),
    dtype=st.sampled_from([torch.float16, torch.float32, torch.float64]),
    seed=seeds,
)
def test_parts_are_the_rows(ndim, last, padded, bad, part, dtype, seed):
    torch.manual_seed(seed)
    values = torch.randn(5, 3, *[4, 2][: ndim - 2]).to(dtype)
    if bad:
        values[2].view(-1)[-1] = torch.nan
    padded = padded and ndim > 2
    mask = {"mask": torch.rand(5, *values.shape[2:]) < 0.6} if padded else {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_CPU_PIECE", part)
        said = {"last": last, **mask}
        torch.testing.assert_close(
            rows_of(batch_of(values, **said)), batch_of(values, **said).rows(), rtol=0, atol=0
        )


def test_parts_are_as_small_as_the_cache_wants_them_and_nothing_is_made_of_all(monkeypatch):
    monkeypatch.setattr(module, "_CPU_PIECE", 2 * 3 * 4)
    batch = batch_of(torch.randn(5, 3, 4))
    assert [len(part) for part in batch.row_parts()] == [8, 8, 4]
    assert "_rows" not in vars(batch._values)


def test_rows_that_are_there_are_not_made_again():
    batch = batch_of(torch.randn(5, 3, 4))
    rows = batch.rows()
    assert [part.data_ptr() for part in batch.row_parts()] == [rows.data_ptr()]


def test_memory_of_parts_is_used_again_but_never_twice_at_once():
    first, second = batch_of(torch.randn(5, 3, 4)), batch_of(torch.randn(5, 3, 4))
    for part, other in zip(first.row_parts(), second.row_parts(), strict=True):
        assert part.data_ptr() != other.data_ptr()
        torch.testing.assert_close(part, first.rows(), rtol=0, atol=0)
        torch.testing.assert_close(other, second.rows(), rtol=0, atol=0)
    places = {part.data_ptr() for _ in range(3) for part in batch_of(first.values).row_parts()}
    assert len(places) == 1


def test_who_stops_early_keeps_the_last_part():
    first = next(module.row_parts(torch.ones(5, 3, 4)))
    for _ in module.row_parts(torch.zeros(5, 3, 4)):
        assert bool((first == 1).all())


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
def test_a_batch_knows_whether_its_values_are_finite(bad):
    values = torch.randn(2, 3, 4)
    assert batch_of(values).surely_finite
    values[1, 2, 3] = bad
    assert not batch_of(values).surely_finite
    assert not batch_of(values, nonfinite="propagate").surely_finite


def test_parts_may_be_asked_for_in_any_mode(monkeypatch):
    monkeypatch.setattr(module, "_spare", [])
    maps = torch.randn(5, 3, 4, requires_grad=True)
    with torch.inference_mode():
        before = [part.clone() for part in module.row_parts(maps)]
    after = [part.clone() for part in module.row_parts(maps)]
    assert not any(part.requires_grad for part in after)
    assert torch.equal(torch.cat(before), torch.cat(after))


def test_groups_need_no_rows_and_leave_out_those_that_are_not_finite():
    values, labels = torch.randn(2, 3, 4), torch.tensor([[0, 1, 1, 0], [2, 0, 1, 1]])
    batch = batch_of(values, labels)
    assert batch.groups.labels.tolist() == labels.flatten().tolist()
    assert "_rows" not in vars(batch._values)
    values[1, 0, 0] = torch.inf
    batch = batch_of(values, labels)
    assert batch.groups.labels.tolist() == [0, 1, 1, 0, 0, 1, 1]
    assert len(rows_of(batch)) == 7
    assert batch.n_nonfinite == 1
    with pytest.raises(NonFiniteError, match="1 of 8 rows"):
        rows_of(batch_of(values, labels, nonfinite="raise"))


def test_a_sum_beyond_the_models_precision_is_no_infinity():
    values = torch.full((2, 3, 4), 3e38)
    batch = batch_of(values)
    assert torch.equal(rows_of(batch), values.double().transpose(1, 2).flatten(0, 1))
    assert batch.n_nonfinite == 0


@repeatable
@given(last=st.booleans(), part=st.sampled_from([1, 40, 1 << 16]), seed=seeds)
def test_means_of_parts_are_those_of_rows_to_the_last_bit(last, part, seed):
    torch.manual_seed(seed)
    values, labels = torch.randn(5, 3, 4), torch.randint(-1, 3, (5, 4))
    labels[0, 0] = 0
    of_parts, of_rows = GroupMeans(3), GroupMeans(3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_CPU_PIECE", part)
        for batch in (batch_of(values, labels, last=last), batch_of(-values, labels, last=last)):
            of_rows.update(batch_of(batch.values, labels).rows(), batch.groups)
            of_parts.update(batch.row_parts(), batch.groups)
    assert torch.equal(of_parts.value, of_rows.value)
    assert of_parts.counts.tolist() == of_rows.counts.tolist()


@pytest.mark.parametrize("lengths", [(2, 1), (2, 3), ()])
def test_parts_must_have_one_label_to_each_row(lengths):
    parts = (torch.zeros(n, 3) for n in lengths)
    with pytest.raises(ShapeError, match=rf"{sum(lengths)} rows have 4 labels"):
        GroupMeans(3).update(parts, torch.zeros(4, dtype=torch.int64))


def test_parts_must_have_the_shape_of_rows():
    parts = [torch.zeros(2, 3), torch.zeros(2, 4)]
    with pytest.raises(ShapeError, match=r"expected \[row, 3\]"):
        GroupMeans(3).update(parts, Groups.of(torch.zeros(4, dtype=torch.int64)))


def test_parts_of_rows_may_have_any_shape():
    maps, labels = torch.randn(6, 2, 3), torch.tensor([0, 1, 0, 1, -1, 0])
    at_once, in_parts = GroupMeans((2, 3)), GroupMeans((2, 3))
    at_once.update(maps, labels)
    in_parts.update(maps.split(4), labels)
    assert torch.equal(at_once.value, in_parts.value)
