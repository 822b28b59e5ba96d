"""Passes over splits as analyzers see them: numbered, with the same samples each time."""

import torch
from torch import nn

import torchprobe as tp
from torchprobe.accumulators import BoundedSample


class Passes(tp.Analyzer):
    """Remembers which batches came and which ids their rows had."""

    name = "passes"
    passes = 2
    splits = ("fit", "score")
    seen: list = []  # noqa: RUF012 - shared on purpose, to look at from outside

    def start(self, layer):
        self.sample = BoundedSample(layer.channels, 4)

    def update(self, batch):
        self.sample.update(batch.rows(), batch.row_ids)
        self.seen.append((batch.split, batch.number, (batch.row_ids >> 20).tolist()))

    def compute(self):
        return self.result(rows=("row channel", self.sample.rows))


def watched():
    Passes.seen.clear()
    return nn.Sequential(nn.Linear(2, 3)).double(), Passes


def test_samples_without_ids_have_the_same_ones_in_every_pass_and_others_in_every_split():
    model, analyzer = watched()
    x = torch.randn(5, 2).double()
    tp.Probe(model, "0", [analyzer]).run(fit=list(x.split(3)), score=[x[:2]])
    first, second, score = Passes.seen[:2], Passes.seen[2:4], Passes.seen[4]
    assert [ids for *_, ids in first] == [ids for *_, ids in second] == [[0, 1, 2], [3, 4]]
    assert [number for _, number, _ in Passes.seen] == [0, 0, 1, 1, 0]
    assert score[0] == "score"
    assert not set(score[2]) & {0, 1, 2, 3, 4}


def test_a_loop_of_the_user_s_own_numbers_samples_on_when_it_returns_to_a_split():
    model, analyzer = watched()
    x = torch.randn(4, 2).double()
    with tp.Probe(model, "0", [analyzer]) as probe:
        for split in ("fit", "score", "fit", "score"):
            with probe.batch(split=split):
                model(x)
        probe.next_pass()
    ids = [ids for *_, ids in Passes.seen]
    assert len({each for batch in ids for each in batch}) == 16
    assert ids[2] == [4, 5, 6, 7]


def test_ids_that_are_given_are_kept():
    model, analyzer = watched()
    batch = tp.Batch(torch.randn(3, 2).double(), ids=torch.tensor([7, 9, 8]))
    tp.Probe(model, "0", [analyzer]).run([batch])
    assert {tuple(ids) for *_, ids in Passes.seen} == {(7, 9, 8)}


def test_a_loader_is_iterated_over_once_a_pass():
    class Loader(list):  # each iteration over a DataLoader starts its workers
        reads = 0

        def __iter__(self):
            Loader.reads += 1
            return super().__iter__()

    model, analyzer = watched()
    for progress in (True, False):
        Loader.reads = 0
        loader = Loader([torch.randn(3, 2).double()])
        tp.Probe(model, "0", [analyzer]).run(loader, progress=progress)
        assert Loader.reads == 2
