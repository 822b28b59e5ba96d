"""Mergeable streaming statistics: constant memory, float64, exact in any order."""

from torchprobe.accumulators.base import Accumulator, State, Transaction
from torchprobe.accumulators.group_means import GroupMeans
from torchprobe.accumulators.groups import Groups
from torchprobe.accumulators.mean import Mean

__all__ = ["Accumulator", "GroupMeans", "Groups", "Mean", "State", "Transaction"]
