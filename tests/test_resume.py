"""A run that was stopped goes on where it was, and gives what it would have given."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
import torch
from analyzers import Above
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import torchprobe as tp
from torchprobe.errors import FileFormatError, MergeError, SettingError


class Net(nn.Module):
    """Notes which samples it sees."""

    def __init__(self, stop_at=None):
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.Sequential(nn.Linear(3, 4), nn.ReLU()).double()
        self.seen, self.stop_at = [], stop_at

    def forward(self, x):
        if len(self.seen) == self.stop_at:
            raise KeyboardInterrupt
        self.seen.append(x[:, 0].tolist())
        return self.layers(x)


def loader(n=23, **options):
    values = torch.randn(n, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return DataLoader(TensorDataset(values, torch.arange(n) % 3), batch_size=4, **options)


def make(stop_at=None, **options):
    return tp.Probe(Net(stop_at), "*", ["class_selectivity", Above], **options)


def alike(one, two):
    for analyzer in one:
        for key, result in one[analyzer].items():
            for name, field in result.fields.items():
                np.testing.assert_array_equal(field.values, two[analyzer][key].fields[name].values)
    assert one.provenance["forwards"] == two.provenance["forwards"]
    assert one.complete
    assert two.complete
    return True


@pytest.mark.parametrize("options", [{}, {"memory_budget": 200}], ids=["at once", "in turns"])
@pytest.mark.parametrize("stop_at", [0, 1, 5, 6, 7, 11])
def test_a_run_that_was_stopped_gives_what_it_would_have(tmp_path, stop_at, options):
    whole, first, second = make(**options), make(stop_at, **options), make(**options)
    expected = whole.run(loader())

    with pytest.raises(KeyboardInterrupt):
        first.run(loader(), checkpoint=tmp_path / "run", every=1)
    results = second.run(loader(), checkpoint=tmp_path / "run", every=1)

    assert alike(expected, results)
    assert [*first.model.seen, *second.model.seen] == whole.model.seen
    assert not (tmp_path / "run").exists()


def test_turns_are_gone_on_with(tmp_path):
    whole = make(memory_budget=200)
    assert whole.run(loader()).provenance["turns"] > 1
    n = len(whole.model.seen) - 2
    first, second = make(n, memory_budget=200), make(memory_budget=200)
    with pytest.raises(KeyboardInterrupt):
        first.run(loader(), checkpoint=tmp_path, every=1)
    assert alike(whole.run(loader()), second.run(loader(), checkpoint=tmp_path, every=1))
    assert len(second.model.seen) == 2


def test_what_came_after_the_last_save_is_seen_again(tmp_path):
    first, second = make(5), make()
    with pytest.raises(KeyboardInterrupt):
        first.run(loader(), checkpoint=tmp_path, every=3)
    assert alike(make().run(loader()), second.run(loader(), checkpoint=tmp_path, every=3))
    assert len(second.model.seen) == 12 - 3


def test_a_shuffled_order_comes_again(tmp_path):
    first, second = make(8), make()
    with pytest.raises(KeyboardInterrupt):
        first.run(loader(shuffle=True), checkpoint=tmp_path, every=1)
    second.run(loader(shuffle=True), checkpoint=tmp_path, every=1)
    seen = [*first.model.seen, *second.model.seen]
    passes = [[*chain(*seen[:6])], [*chain(*seen[6:])]]
    assert [len(set(each)) for each in passes] == [23, 23]
    assert passes[0] != passes[1]


def test_other_splits_and_plain_lists_are_gone_on_with(tmp_path):
    def splits():
        return {"fit": [*loader()], "score": (each for each in loader(9))}

    analyzers = ["class_selectivity", tp.analyzer("lda", sample=5)]
    whole, first, second = (tp.Probe(Net(stop), "*", analyzers) for stop in (None, 13, None))
    expected = whole.run(**splits())
    with pytest.raises(KeyboardInterrupt):
        first.run(**splits(), checkpoint=tmp_path, every=1)
    assert alike(expected, second.run(**splits(), checkpoint=tmp_path, every=1))
    assert len(second.model.seen) == len(whole.model.seen) - 13


@pytest.fixture
def stopped(tmp_path):
    """A folder in which a run was stopped after two batches."""
    with pytest.raises(KeyboardInterrupt):
        make(2).run(loader(), checkpoint=tmp_path, every=1)
    return tmp_path


@pytest.mark.parametrize(
    "other",
    [
        lambda: loader(19),
        lambda: loader(sampler=range(22, -1, -1)),
        lambda: [*loader()],
        lambda: DataLoader(TensorDataset(torch.zeros(23, 3).double(), torch.arange(23)), 4),
    ],
    ids=["shorter", "another order", "a list", "other samples"],
)
def test_another_loader_is_refused(stopped, other):
    with pytest.raises(SettingError, match="not the one that the saved run had"):
        make().run(other(), checkpoint=stopped)


def test_other_weights_and_another_probe_are_refused(stopped):
    changed = make()
    with torch.no_grad():
        changed.model.layers[0].weight[0, 0] += 1
    with pytest.raises(SettingError, match="other weights"):
        changed.run(loader(), checkpoint=stopped)
    with pytest.raises(MergeError, match="other analyzers"):
        tp.Probe(Net(), "*", [Above]).run(loader(), checkpoint=stopped)


def test_a_damaged_checkpoint_is_told(stopped):
    arrays = next(stopped.glob("arrays-*"))
    arrays.write_bytes(arrays.read_bytes()[:-1] + b"?")
    with pytest.raises(FileFormatError, match="damaged"):
        make().run(loader(), checkpoint=stopped)


def test_results_in_that_folder_are_not_replaced(tmp_path):
    make().run(loader()).save(tmp_path)
    with pytest.raises(FileFormatError, match="results"):
        make().run(loader(), checkpoint=tmp_path)
    with pytest.raises(SettingError, match="every=0"):
        make().run(loader(), checkpoint=tmp_path / "run", every=0)


_SCRIPT = """
import sys, time, torch, torchprobe as tp
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

class Slow(nn.Linear):
    def forward(self, x):
        time.sleep(0.02)
        print("seen", *x[:, 0].tolist(), flush=True)
        return super().forward(x)

folder, out = sys.argv[1:]
torch.manual_seed(0)
values = torch.randn(60, 3).double()
model = Slow(3, 4).double()
loader = DataLoader(TensorDataset(values, torch.arange(60) % 3), batch_size=2)
probe = tp.Probe(model, analyzers=["class_selectivity", tp.analyzer("lda", sample=7)])
probe.run(loader, checkpoint=folder, every=3, progress=False).save(out)
"""


def test_a_run_that_is_killed_again_and_again_gives_the_same_result(tmp_path):
    def command(name):
        script = [
            sys.executable,
            "-c",
            _SCRIPT,
            str(tmp_path / name),
            str(tmp_path / f"{name}-out"),
        ]
        return {"args": script, "stdout": subprocess.PIPE, "text": True}

    whole = subprocess.run(**command("whole"), check=True)
    generator = np.random.default_rng(0)
    kills = 0
    while kills < 2:
        with subprocess.Popen(**command("killed")) as process:
            for _ in range(generator.integers(4, 20)):
                if not process.stdout.readline():
                    break
            time.sleep(generator.uniform(0, 0.03))
            os.kill(process.pid, signal.SIGKILL)
        assert process.returncode == -signal.SIGKILL
        kills += 1
    subprocess.run(**command("killed"), check=True)

    assert len(whole.stdout.splitlines()) == 60
    assert alike(tp.load(tmp_path / "whole-out"), tp.load(tmp_path / "killed-out"))
    assert tp.load(tmp_path / "whole-out") == tp.load(tmp_path / "killed-out")
    assert not Path(tmp_path / "killed").exists()
