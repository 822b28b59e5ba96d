"""Several processes give what one gives, and never hang."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import time
import warnings

import numpy as np
import pytest
import torch
from analyzers import Above, ClassMean, feed
from processes import Processes, succeed
from torch import nn
from torch.utils.data import DataLoader, Dataset, DistributedSampler, IterableDataset

import torchprobe as tp
from torchprobe import Analyzer
from torchprobe.accumulators import BoundedSample, Moments
from torchprobe.checkpoint import Checkpoint
from torchprobe.cli import main
from torchprobe.errors import DistributedError, EmptyStateError, MergeError, SettingError


class Spread(Analyzer):
    """The variance, and a sample of rows."""

    name = "spread"

    def start(self, layer):
        self.moments, self.sample = Moments(layer.channels), BoundedSample(layer.channels, 5)

    def update(self, batch):
        self.moments.update(batch.rows())
        self.sample.update(batch.rows(), batch.row_ids)

    def compute(self):
        return self.result(
            variance=("channel", self.moments.variance()), ids=("item", self.sample.ids)
        )


ALL = (ClassMean, Spread, Above)


class Branches(nn.Module):
    """One layer for batches of positive sum, another for the rest."""

    def __init__(self):
        super().__init__()
        self.plus, self.minus = nn.Linear(3, 4), nn.Linear(3, 5)

    def forward(self, x):
        return self.plus(x) if x.sum() > 0 else self.minus(x)


def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)).double()


def data(n=10, labels=lambda at, size: (torch.arange(size) + at) % 3):
    generator = torch.Generator().manual_seed(1)
    sizes = [4 if at % 3 else 2 for at in range(n)]
    return [
        (torch.randn(size, 3, generator=generator, dtype=torch.float64), labels(at, size))
        for at, size in enumerate(sizes)
    ]


def strings(at, size):
    return (["b", "a", "c", "d"] if at % 2 else ["d", "e", "a", None])[:size]


def state_bits(probe):
    return {
        f"{fork['analyzer']} {fork['layer']} {name}": tensor.numpy().tobytes()
        for fork in probe.state_dict()["forks"]
        for name, tensor in fork["tensors"].items()
    }


def alike(one, two, ids=True, calls=True):
    assert [*one] == [*two]
    for analyzer in one:
        assert {*one[analyzer]} == {*two[analyzer]}
        for key, result in one[analyzer].items():
            other = two[analyzer][key]
            assert result.coords == other.coords
            for what in ("samples", "rows", *(("calls", "forwards") if calls else ())):
                assert result.provenance[what] == other.provenance[what]
            for name, field in result.fields.items():
                if name != "ids" or ids:
                    np.testing.assert_allclose(field.values, other.fields[name].values, rtol=1e-9)
    return True


# -- a loop of one's own


def own_loop(rank, shares, labels):
    batches = data(labels=labels)
    probe = tp.Probe(net(), "*", [ClassMean, Spread])
    feed(probe, [batches[at] for at in shares[rank]])
    before = state_bits(probe)
    results = [probe.results(), probe.results()]
    assert state_bits(probe) == before, "merging changed this process's own part"
    assert results[0] == results[1], "merging again gave another result"
    return results[0]


@pytest.mark.parametrize("labels", [None, strings], ids=["integers", "strings"])
@pytest.mark.parametrize(
    "shares",
    [
        (range(0, 10, 2), range(1, 10, 2)),
        (range(7), range(7, 10)),
        (range(10), ()),
        ((), range(10)),
    ],
    ids=["even", "uneven", "second idle", "first idle"],
)
def test_two_loops_equal_one(two, shares, labels):
    labels = labels or modulo
    probe = tp.Probe(net(), "*", [ClassMean, Spread])
    feed(probe, data(labels=labels))
    first, second = succeed(two.run(own_loop, [*map(list, shares)], labels))
    assert first == second
    assert alike(probe.results(), first, ids=False)


def modulo(at, size):
    return (torch.arange(size) + at) % 3


def own_passes(rank, shares):
    batches = data()
    probe = tp.Probe(net(), "*", [Above])
    with probe:
        for number in range(2):
            if number:
                probe.next_pass()
            for at in shares[rank]:
                with probe.batch(batches[at][1]):
                    probe.model(batches[at][0])
    return probe.results()


@pytest.mark.parametrize("shares", [([0, 1, 2], [3, 4]), ([], [0, 1, 2, 3, 4])])
def test_passes_of_two_loops_build_on_what_both_have_seen(two, shares):
    first, second = succeed(two.run(own_passes, shares))
    assert first == second
    assert alike(whole_run(of_batches, [Above], max_batches=5), first)


def other_passes(rank):
    probe = tp.Probe(net(), "*", [ClassMean], distributed_timeout=5)
    split = "score" if rank else "fit"
    with probe, probe.batch(torch.arange(2), split=split):
        probe.model(torch.ones(2, 3).double())
    return probe.results()


def test_processes_in_different_passes_are_told(two):
    for answer in two.run(other_passes):
        assert isinstance(answer, MergeError)
        assert "is in pass" in str(answer)


def nothing_seen(rank):
    tp.Probe(net(), "*", [ClassMean]).results()


def test_nothing_seen_anywhere_is_an_error_everywhere(two):
    assert [type(each) for each in two.run(nothing_seen)] == [EmptyStateError] * 2


def other_branches(rank):
    probe = tp.Probe(Branches(), "*us", [Spread])
    with probe:
        probe.model(torch.ones(2, 3) if rank else -torch.ones(2, 3))
    return probe.results()


def test_layers_that_only_some_have_met_are_all_there(two):
    first, second = succeed(two.run(other_branches))
    assert first == second
    assert set(first["spread"]) == {"plus", "minus"}
    assert first["spread"]["plus"].provenance["samples"] == 2


def another_order(rank):
    """The two processes meet layers in different orders."""
    probe = tp.Probe(Branches(), "*us", [Spread])
    with probe:
        for sign in (1, -1) if rank else (-1, 1):
            probe.model(sign * torch.ones(2 + rank, 3))
    return probe.results()


def test_the_order_of_layers_does_not_mix_them_up(two):
    first, second = succeed(two.run(another_order))
    assert first == second
    widths = {layer: result.variance.shape for layer, result in first["spread"].items()}
    assert widths == {"minus": (5,), "plus": (4,)}


# -- runs over a loader


class Rows(Dataset):
    """Samples and labels by index."""

    def __init__(self, n=23):
        self.n = n
        self.values = torch.randn(
            n, 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64
        )

    def __len__(self):
        return self.n

    def __getitem__(self, at):
        return self.values[at], at % 3


def whole_run(loader, analyzers=ALL, **options):
    return tp.Probe(net(), "*", list(analyzers)).run(loader(), **options)


def run_share(rank, loader, analyzers=ALL, options=None):
    return tp.Probe(net(), "*", list(analyzers)).run(loader(), **(options or {}))


def plain():
    return DataLoader(Rows(), batch_size=3)


def with_workers():
    return DataLoader(Rows(), batch_size=3, num_workers=1)


def shuffled():
    return DataLoader(Rows(), batch_size=3, shuffle=True)


def of_batches():
    return data(9)


def one_batch():
    return data(1)


def streamed():
    return DataLoader(Stream(), batch_size=3)


class Stream(IterableDataset):
    """The same samples without an index."""

    def __iter__(self):
        return iter([Rows()[at] for at in range(23)])


@pytest.mark.parametrize("loader", [plain, with_workers, shuffled, of_batches, one_batch, streamed])
def test_a_run_of_two_processes_equals_that_of_one(two, loader):
    first, second = succeed(two.run(run_share, loader))
    assert first == second
    assert alike(whole_run(loader), first, ids=loader is not shuffled)


def test_batches_that_are_counted_are_those_of_all_processes(two):
    first, second = succeed(two.run(run_share, of_batches, ALL, {"max_batches": 5}))
    assert first == second
    assert alike(whole_run(of_batches, max_batches=5), first)


def sampled(rank, shuffle, drop_last):
    sampler = DistributedSampler(Rows(), 2, rank, shuffle=shuffle, drop_last=drop_last)
    loader = DataLoader(Rows(), batch_size=4, sampler=sampler)
    return tp.Probe(net(), "*", list(ALL)).run(loader)


@pytest.mark.parametrize("shuffle", [False, True], ids=["in order", "shuffled"])
def test_samples_that_a_distributed_sampler_repeats_count_once(two, shuffle):
    first, second = succeed(two.run(sampled, shuffle, False))
    assert first == second
    assert alike(whole_run(plain), first, calls=False)
    assert first["class_mean"]["0"].provenance["samples"] == 23


def own_parts(rank):
    return tp.Probe(net(), "*", list(ALL)).run(data(9)[rank::2], shard=False)


def test_parts_that_are_divided_already_are_added_up(two):
    first, second = succeed(two.run(own_parts))
    assert first == second
    assert alike(whole_run(of_batches), first, ids=False)


def divided_twice(rank):
    return tp.Probe(net(), "*", list(ALL)).run(data(8)[rank::2])


def test_loaders_that_differ_are_not_divided_again(two):
    for answer in two.run(divided_twice):
        assert isinstance(answer, SettingError)
        assert "shard=False" in str(answer)


def real_analyzers(rank):
    probe = tp.Probe(
        net(), "*", [tp.analyzer("lda", sample=10), "linear_probe", "class_selectivity"]
    )
    return probe.run(many(), score=many())


def many():
    return DataLoader(Rows(120), batch_size=7)


def test_analyzers_that_find_something_in_a_pass_find_it_in_all_data(two):
    expected = real_analyzers(0)
    first, second = succeed(two.run(real_analyzers))
    assert first == second
    assert alike(expected, first)


def in_turns(rank, loader, analyzer, budget):
    return tp.Probe(net(), "*", [analyzer], memory_budget=budget).run(loader())


@pytest.mark.parametrize(("analyzer", "budget"), [(Above, 200), (Spread, 700)])
@pytest.mark.parametrize("loader", [of_batches, one_batch])
def test_layers_take_the_same_turns_everywhere(two, loader, analyzer, budget):
    first, second = succeed(two.run(in_turns, loader, analyzer, budget))
    assert first == second
    assert first.provenance["turns"] > 1
    assert alike(in_turns(0, loader, analyzer, budget), first)


def stopped_and_gone_on_with(rank, folder, analyzers):
    class Failing:
        def __iter__(self):
            yield from of_batches()[:6]
            raise KeyError("stop")

        def __len__(self):
            return 9

    first, second = (tp.Probe(net(), "*", analyzers) for _ in range(2))
    with pytest.raises((KeyError, DistributedError)):
        first.run(Failing(), checkpoint=folder, every=1)
    return second.run(of_batches(), checkpoint=folder, every=1)


def test_a_run_of_two_processes_goes_on_where_it_was_stopped(two, tmp_path):
    first, second = succeed(two.run(stopped_and_gone_on_with, str(tmp_path), [ClassMean, Spread]))
    assert first == second
    assert alike(whole_run(of_batches, [ClassMean, Spread]), first)
    assert not any(tmp_path.iterdir())


def killed_at_different_places(rank, folder):
    class Failing(list):
        reads = 0

        def __getitem__(self, at):
            self.reads += 1
            if self.reads > 2 + 2 + 2 * rank:  # the first sample is looked at twice before
                raise KeyError("stop")
            return super().__getitem__(at)

    def loader(samples):
        return DataLoader(samples, batch_size=1, shuffle=True)

    samples = [(torch.full((3,), float(at)).double(), at % 3) for at in range(12)]
    whole, first, second = (tp.Probe(net(), "*", [ClassMean, Spread]) for _ in range(3))
    expected = whole.run(loader(samples))
    with pytest.raises((KeyError, DistributedError)):
        first.run(loader(Failing(samples)), checkpoint=folder, every=1)
    return expected, second.run(loader(samples), checkpoint=folder, every=1)


def test_processes_that_were_killed_at_different_places_find_together(two, tmp_path):
    answers = succeed(two.run(killed_at_different_places, str(tmp_path)))
    assert answers[0][1] == answers[1][1]
    for expected, results in answers:
        assert alike(expected, results, ids=False, calls=False)


def stopped_at_every_save(rank, folder, who, made, shard):
    """Results of a run, and of those that one process has stopped in any of its saves."""
    parts = {"fit": data(5), "score": data(3)}
    if not shard:
        parts = {split: batches[rank::2] for split, batches in parts.items()}

    def run(**options):
        analyzers, settings = made
        probe = tp.Probe(net(), "*", list(analyzers), **settings)
        return probe.run(**parts, shard=shard, **options)

    expected, found = run(), []
    for at in range(100):
        saves, save = itertools.count(), Checkpoint.save

        def failing(*args, saves=saves, at=at, save=save):
            if rank == who and next(saves) == at:
                raise KeyError("stop")
            save(*args)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Checkpoint, "save", failing)
            try:
                run(checkpoint=folder, every=1)
            except (KeyError, DistributedError):
                pass
            else:
                return expected, found
        found.append(run(checkpoint=folder, every=1))
    raise AssertionError("it was never over")


PASSES = ([ClassMean, Spread], {})
FINDING = ([ClassMean, Above, tp.analyzer("lda", sample=10)], {})


@pytest.mark.parametrize(
    ("made", "who", "shard"),
    [(PASSES, 1, True), (FINDING, 0, True), (FINDING, 1, True), (FINDING, 1, False)],
    ids=["plain", "finding", "finding, the other", "finding in parts"],
)
def test_a_run_of_two_processes_goes_on_after_any_save(two, tmp_path, made, who, shard):
    """Wherever one of them is stopped, in the middle of a pass or between two."""
    (expected, found), others = succeed(
        two.run(stopped_at_every_save, str(tmp_path), who, made, shard)
    )
    assert len(found) == len(others[1]) >= 7
    for one, two_ in zip(found, others[1], strict=True):
        assert one == two_ == expected
    assert not any(tmp_path.iterdir())


def saved_merged(rank, loads):
    probe, other = (tp.Probe(net(), "*", [ClassMean, Above]) for _ in range(2))
    results = probe.run(of_batches())
    other.load_state_dict(probe.state_dict(merged=True) if loads else probe.state_dict())
    return results, other.results()


@pytest.mark.parametrize("merged", [True, False])
def test_states_of_several_processes_go_on(two, merged):
    for before, after in succeed(two.run(saved_merged, merged)):
        assert alike(before, after)


def another_part(rank):
    probe = tp.Probe(net(), "*", [ClassMean])
    probe.load_state_dict({**probe.state_dict(), "part": [1 - rank, 2]})


def test_the_part_of_another_process_is_refused(two):
    for answer in two.run(another_part):
        assert isinstance(answer, MergeError)
        assert "merged=True" in str(answer)


class Raises(ClassMean):
    """Cannot compute at one layer."""

    name = "raises"

    def compute(self):
        if self.layer.name == "1":
            raise ValueError("not this one")
        return super().compute()


def one_raises(rank):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return tp.Probe(net(), "*", [ClassMean, Raises]).run(of_batches())


def test_an_analyzer_that_raises_in_one_process_is_left_out_in_all(two):
    first, second = succeed(two.run(one_raises))
    assert first == second
    assert not first.complete
    assert "not this one" in first.provenance["disabled"]
    assert [*first["raises"]] == ["0", "2", "model"]
    assert alike(one_raises(0), first)


# -- models in the wrappers of torch


def wrapped(rank, how):
    model = net()
    if how == "DDP":
        model = nn.parallel.DistributedDataParallel(model)
    if how == "FSDP2":
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import fully_shard

        mesh = init_device_mesh("cpu", (2,))
        for layer in model[0], model[2], model:
            fully_shard(layer, mesh=mesh)
    return tp.Probe(model, "*", [ClassMean, Spread]).run(plain(), max_batches=6)


@pytest.mark.parametrize("how", ["DDP", "FSDP2"])
def test_wrapped_models_have_the_same_layers_and_results(two, how):
    first, second = succeed(two.run(wrapped, how))
    assert first == second
    assert alike(whole_run(plain, [ClassMean, Spread], max_batches=6), first)


# -- the command

_SCRIPT = """
import torch, torchprobe as tp
from torch.utils.data import DataLoader, TensorDataset

def probe():
    torch.manual_seed(0)
    return tp.Probe(torch.nn.Linear(3, 4).double(), analyzers=["class_selectivity", "lda"])

def data():
    values = torch.randn(50, 3, generator=torch.Generator().manual_seed(0)).double()
    return {"fit": DataLoader(TensorDataset(values, torch.arange(50) % 3), batch_size=4)}
"""


def test_torchrun_gives_what_one_process_gives(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(_SCRIPT)
    arguments = ["run", f"{script}:probe", "--data", f"{script}:data", "--out"]
    assert main([*arguments, str(tmp_path / "one")]) == 0
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command = [*torchrun, "--nproc-per-node", "2", "-m", "torchprobe", *arguments]
    subprocess.run([*command, str(tmp_path / "two")], check=True, capture_output=True)
    assert alike(tp.load(tmp_path / "one"), tp.load(tmp_path / "two"))


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ("nothing", "names no function"),
        ("absent.py:probe", "no file"),
        ("no_such_module:probe", "cannot be imported"),
        ("{script}:absent", "no function 'absent'"),
        ("{script}:data", "not a Probe"),
    ],
)
def test_what_is_no_probe_is_told(tmp_path, capsys, where, said):
    script = tmp_path / "script.py"
    script.write_text(_SCRIPT)
    assert main(["run", where.format(script=script), "--data", "x:y", "--out", "out"]) == 2
    assert said in capsys.readouterr().err


# -- what does not fit


def mismatched(rank, what):
    torch.manual_seed(0)
    model, analyzers, dtype = nn.Linear(3, 4), [ClassMean], torch.float32
    if rank and what == "shape":
        model = nn.Linear(3, 6)
    if rank and what == "dtype":
        model, dtype = model.double(), torch.float64
    if rank and what == "analyzers":
        analyzers = [Spread]
    probe = tp.Probe(model, analyzers=analyzers, distributed_timeout=20)
    tp.record.SCHEMA = 99 if rank and what == "schema" else 1
    tp.record.__version__ = "0.0.1" if rank and what == "version" else tp.__version__
    with probe, probe.batch(["a", "b"] if rank and what == "kind of label" else [0, 1]):
        model(torch.ones(2, 3, dtype=dtype))
    try:
        started = time.monotonic()
        return probe.results()
    except MergeError as error:
        error.took = time.monotonic() - started
        raise
    finally:
        tp.record.SCHEMA, tp.record.__version__ = 1, tp.__version__


@pytest.mark.parametrize(
    "what", ["shape", "dtype", "analyzers", "kind of label", "schema", "version"]
)
def test_what_does_not_fit_is_the_same_error_everywhere(two, what):
    first, second = two.run(mismatched, what)
    assert isinstance(first, MergeError)
    assert str(first) == str(second)
    assert max(first.took, second.took) < 10


def still_alive(rank):
    return own_loop(rank, [[0], [1]], modulo)


def test_processes_live_on_after_an_error(two):
    two.run(mismatched, "shape")
    first, second = succeed(two.run(still_alive))
    assert first == second


# -- who does not come


def late(rank):
    probe = tp.Probe(net(), "*", [ClassMean], distributed_timeout=0.5)
    feed(probe, data(2))
    if rank:
        time.sleep(1.5)
    return probe.results()


def test_who_does_not_come_in_time_is_named_and_told(two):
    first, second = two.run(late)
    assert isinstance(first, DistributedError)
    assert "process 1 did not come" in str(first)
    assert isinstance(second, DistributedError)
    assert "process 0 failed" in str(second)
    first, second = succeed(two.run(still_alive))
    assert first == second


def fails_in_run(rank):
    def loader():
        yield from data(3)
        if rank:
            raise ValueError("no more data")
        yield from data(3)

    probe = tp.Probe(net(), "*", [ClassMean])
    return probe.run(loader())


def test_an_error_in_one_process_reaches_the_others_at_once(two):
    started = time.monotonic()
    first, second = two.run(fails_in_run)
    assert isinstance(second, ValueError)
    assert isinstance(first, DistributedError)
    assert "no more data" in str(first)
    assert time.monotonic() - started < 30


def dies(rank):
    probe = tp.Probe(net(), "*", [ClassMean], distributed_timeout=3)
    feed(probe, data(2))
    if rank:
        os._exit(9)
    return probe.results()


def test_a_process_that_dies_is_an_error_in_the_others():
    processes = Processes(2)
    try:
        first, second = processes.run(dies)
        assert second is None
        assert isinstance(first, DistributedError), first
    finally:
        processes.close()
