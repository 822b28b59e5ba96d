"""A bounded number of items, those with the smallest keys: what samples and top lists share."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import torch

from torchprobe.accumulators.base import Accumulator, State
from torchprobe.accumulators.groups import Groups, renamed
from torchprobe.accumulators.ranking import smallest, within_limits
from torchprobe.accumulators.rows import as_shape, check_rows
from torchprobe.accumulators.slots import Slot, Slots, any_dtype, int64
from torchprobe.errors import LabelError, SettingError, ShapeError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor

__all__ = ["Bounded"]

_BOOKS = ("keys", "ids", "labels")


class Bounded(Accumulator):
    """The ``n`` items with the smallest keys, of all or of each label; ties go to the smaller id.

    Which items stay depends on keys and ids alone, never on the order in which they came; an item
    that comes twice is kept once. Rows keep the dtype in which they came (the wider one, if it
    changes) and only those that may enter are copied. Keys, ids and labels stay on the CPU.
    """

    on_cpu = _BOOKS
    key_slot: ClassVar[Slot]

    def __init__(self, shape: int | Sequence[int], n: int, *, per_group: bool) -> None:
        super().__init__()
        if n < 1:
            raise SettingError(f"n={n}; keep at least 1 item")
        self.shape = as_shape(shape)
        self.n = n
        self.per_group = per_group

    @property
    def slots(self) -> Slots:
        item = int64("item")
        rows = any_dtype("item", *self.shape)
        return {"keys": self.key_slot, "ids": item, "labels": item, "rows": rows}

    @property
    def nbytes(self) -> int:
        """Bytes of the state; before any update, of ``n`` items (one label) with float64 rows."""
        planned = self.n * (8 * len(_BOOKS) + any_dtype(*self.shape).nbytes)
        return super().nbytes if self.state else planned

    def _reduce(
        self, keys: Tensor, ids: Tensor, rows: Tensor, labels: Tensor | Groups | None
    ) -> State:
        """The items of one batch that may enter."""
        books = self._books(keys, ids, rows, labels)
        may = self._may_enter(books, ignore=labels is not None).nonzero().squeeze(1)
        books = {name: books[name][may] for name in _BOOKS}
        best = smallest(books, self.n, per_group=self.per_group)
        if not len(best):
            return {}
        taken = _take(rows.detach(), may[best])
        books = {name: books[name][best] for name in _BOOKS}
        return {**books, "rows": taken.to(self.device or taken.device)}

    def _books(
        self, keys: Tensor, ids: Tensor, rows: Tensor, labels: Tensor | Groups | None
    ) -> State:
        """Key, id and label (-1 where there are none) of each row, checked: [row] on the CPU."""
        check_rows(rows, self.shape)
        if labels is None and self.per_group:
            raise LabelError("per_group=True needs labels: pass one for each row")
        if ids.dtype != torch.int64:
            raise LabelError(f"ids are {ids.dtype}; give int64, a number of its own to each row")
        known = torch.full((len(rows),), -1) if labels is None else Groups.of(labels).labels
        books = {"keys": keys.detach().cpu(), "ids": ids.cpu(), "labels": known.cpu()}
        for name, tensor in books.items():
            if tensor.shape != (len(rows),):
                raise ShapeError(
                    f"{name} have shape {tuple(tensor.shape)}; give one to each of {len(rows)} rows"
                )
        return books

    def _may_enter(self, books: State, *, ignore: bool) -> Tensor:
        """Which rows have a key, a label, and are not larger than all that is held: bool [row]."""
        may = books["keys"] == books["keys"]  # NaN is no key
        if ignore:
            may &= books["labels"] >= 0
        if self.per_group and self.state:
            may &= within_limits(books, self.state, self.n)
        elif self.state and len(self.state["keys"]) >= self.n:
            may &= books["keys"] <= self.state["keys"].max()
        return may

    def absorb(self, state: State) -> None:
        mine = self.state or {name: tensor[:0] for name, tensor in state.items()}
        n_mine, rows = len(mine["ids"]), mine["rows"]
        books = {name: torch.cat([mine[name], state[name]]) for name in _BOOKS}
        kept = smallest(books, self.n, per_group=self.per_group)
        stay, enter = kept[kept < n_mine], kept[kept >= n_mine]
        new = _take(state["rows"], enter - n_mine).to(rows.device)
        if len(kept) == n_mine and rows.dtype == new.dtype:  # as many leave as enter
            kept = torch.arange(n_mine)
            leave = ~torch.isin(kept, stay)
            kept[leave] = enter
            rows[leave.to(rows.device)] = new
        else:
            rows = torch.cat([_take(rows, stay), new])
            kept = torch.cat([stay, enter])
        self.state = {**{name: books[name][kept] for name in _BOOKS}, "rows": rows}

    def relabel(self, mapping: Mapping[int, int]) -> None:
        if self.state:
            self.state = {**self.state, "labels": renamed(self.state["labels"], mapping)}

    def state_dict(self) -> State:
        """A copy of the state, in an order that does not tell in which order items came."""
        return {name: self._sorted(name) for name in self.state}

    def _sorted(self, name: str) -> Tensor:
        tensor = self._seen(name)
        return _take(tensor, smallest(self.state, self.n, per_group=self.per_group))

    @property
    def ids(self) -> Tensor:
        """The ids of the items kept: int64 [item]."""
        return self._sorted("ids")

    @property
    def labels(self) -> Tensor:
        """Their labels: int64 [item], -1 where none were given."""
        return self._sorted("labels")

    @property
    def rows(self) -> Tensor:
        """Their rows: [item, *shape], in the dtype in which they came."""
        return self._sorted("rows")


def _take(rows: Tensor, at: Tensor) -> Tensor:
    return rows.index_select(0, at.to(rows.device))
