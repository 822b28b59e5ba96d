import pytest
import torch

from torchprobe.accumulators import rows as module
from torchprobe.accumulators.rows import as_shape, check_rows, float64_rows, parts, pieces
from torchprobe.errors import SettingError, ShapeError


def test_pieces_cover_all_rows_in_order(monkeypatch):
    monkeypatch.setattr(module, "_CPU_PIECE", 12)
    rows = torch.randn(7, 2, 3)
    got = list(pieces(rows))
    assert [len(piece) for piece in got] == [2, 2, 2, 1]
    assert torch.equal(torch.cat(got), rows.double().flatten(1))


def test_wide_rows_come_one_at_a_time_or_as_many_as_needed(monkeypatch):
    monkeypatch.setattr(module, "_CPU_PIECE", 2)
    rows = torch.zeros(5, 100)
    assert len(list(parts(rows))) == 5
    assert len(list(parts(rows, at_least=3))) == 2


def test_rows_without_features_are_rows():
    assert [piece.shape for piece in pieces(torch.zeros(3, 0))] == [(3, 0)]
    assert [piece.shape for piece in pieces(torch.zeros(3))] == [(3, 1)]


def test_half_precision_is_widened_before_it_is_summed():
    rows = float64_rows(torch.ones(2, 1, dtype=torch.float16, requires_grad=True))
    assert rows.dtype == torch.float64
    assert not rows.requires_grad


def test_shapes_are_checked_at_the_door():
    assert as_shape(3) == (3,)
    assert as_shape([2, 3]) == (2, 3)
    with pytest.raises(SettingError, match="0 or more"):
        as_shape(-1)
    with pytest.raises(ShapeError, match=r"shape \(4, 2\); expected \[row, 3\]"):
        check_rows(torch.zeros(4, 2), (3,))
    with pytest.raises(ShapeError, match=r"shape \(\); expected \[row, 3\]"):
        check_rows(torch.tensor(1.0), (3,))
