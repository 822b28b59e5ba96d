import pytest
import torch

from torchprobe.accumulators import Mean, Transaction
from torchprobe.errors import ShapeError


def test_transactions_nest_and_end_with_their_block():
    outer, inner, mean = Transaction(), Transaction(), Mean(1)
    with outer:
        with inner:
            mean.update(torch.ones(1, 1))
        mean.update(torch.ones(1, 1))
        assert Transaction.current() is outer
    assert Transaction.current() is None
    assert len(outer.pending) == len(inner.pending) == 1


def test_an_error_leaves_nothing_active():
    mean = Mean(1)
    with pytest.raises(ShapeError), Transaction():
        mean.update(torch.ones(1, 2))
    assert Transaction.current() is None
    assert mean.state == {}


def test_committing_twice_counts_once():
    transaction, mean = Transaction(), Mean(1)
    with transaction:
        mean.update(torch.ones(1, 1))
    transaction.commit()
    transaction.commit()
    assert int(mean.count) == 1


def test_what_one_accumulator_saw_can_be_discarded():
    transaction, kept, dropped = Transaction(), Mean(1), Mean(1)
    with transaction:
        for mean in (kept, dropped):
            mean.update(torch.ones(1, 1))
    transaction.discard({id(dropped)})
    transaction.commit()
    assert int(kept.count) == 1
    assert dropped.state == {}
